/* This gateway among those that share the database: whether it may come, that it is here, and who else is.
 *
 * A gateway is an installation (its identity) with a name; the process that speaks for it is its instance. Heartbeats
 * are written by the database's clock, which all share. fleet_beat() and fleet_leave() by one thread at a time; all
 * else by any. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/problem.h"
#include "store/noun/gateways.h"

struct fleet;
struct identity;
struct ledger;
struct store;
struct write;

struct fleet_config {
    struct store *store;
    struct ledger *ledger;
    struct identity *identity; /* fleet_enter() gives it its id */
    struct gateway_row self;   /* name, endpoint, region, version, identity */
    unsigned clock_tolerance_s;
    uint64_t now_ns; /* monotonic */
};

/* All that is named must outlive it. -ENOMEM. */
int fleet_open(const struct fleet_config *config, struct fleet **ret_fleet);
void fleet_free(struct fleet *fleet); /* accepts NULL */
/* Within the transaction that settles the store: whether this gateway may come, and its row. `ret_alone`: no other one
 * is alive. */
int fleet_enter(struct fleet *fleet, struct write *w, bool *ret_alone, struct problem *ret_problem);

/* What our row says beside who we are. */
struct presence {
    uint64_t connected;
    uint64_t revision; /* the data plane follows up to here */
    char backend[16];
};

/* Says that we are here, and looks who else is. `now_ns`: monotonic. */
void fleet_beat(struct fleet *fleet, const struct presence *presence, uint64_t now_ns);
/* That we are not any more. */
void fleet_leave(struct fleet *fleet, const struct presence *presence);

/* As of the last beat. */
bool fleet_is_deposed(struct fleet *fleet);                     /* another process speaks for this gateway */
unsigned fleet_alive(struct fleet *fleet);                      /* with us: at least 1 */
uint64_t fleet_connected(struct fleet *fleet);                  /* sessions at the others */
void fleet_warning(struct fleet *fleet, char ret_warning[256]); /* about this gateway; "": none */
/* Of a row, by the database's clock `now`. */
bool fleet_is_alive(const struct gateway_row *row, int64_t now);
/* All, as the database says, but ourselves as of now; free() the rows. `ret_self`: which of them we are; the count if
 * none. */
int fleet_list(struct fleet *fleet, const struct presence *presence, struct gateway_row **ret_rows, size_t *ret_count,
               size_t *ret_self, int64_t *ret_now, struct problem *ret_problem);
