/* The feed of changes, followed: what other gateways committed comes into force here (follow.c tells how), and what is
 * done while the database is away.
 *
 * Any thread; what a function needs the data plane's turn for says so. Where the database is nobody else's there is
 * nothing to follow, and these do nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "service/sync/desired.h"
#include "store/noun/changes.h"

struct bell;
struct follow;
struct identity;
struct ledger;
struct reach;
struct routes;

struct follow_config {
    const struct desired *desired; /* with it the store, usage and the data plane */
    const struct identity *identity;
    struct reach *reach;
    struct ledger *ledger;
    struct bell *bell;
    struct routes *routes;
    unsigned grace_s; /* cut off from the database for so long: nobody new is let in; 0: never */
    bool shared;      /* other gateways may use the database too */
};

/* All that is named must outlive it. -ENOMEM. */
int follow_open(const struct follow_config *config, struct follow **ret_follow);
void follow_free(struct follow *follow); /* accepts NULL */
/* The same for one that is open, while nothing is applied. */
void follow_configure(struct follow *follow, const struct follow_config *config);
/* Before anything is applied: the data plane will hold what the store says at this revision. */
void follow_start(struct follow *follow, uint64_t revision, const struct change_mark *mark);
/* Every change up to here is in the data plane. */
uint64_t follow_applied(struct follow *follow);
/* Takes a turn: a revision up to which all is in force, be it our own or others'. */
uint64_t follow_in_force(struct follow *follow);

/* Within the turn: brings what was committed up to and including `until` into force, in order. `own_too`: our own
 * changes among them have been left to us. */
void follow_until(struct follow *follow, uint64_t until, bool own_too);
/* Within the turn: whether the feed is still the one that was applied so far, if the database was reached anew. If not,
 * everything is compared. */
void follow_verify(struct follow *follow);
/* Within the turn: the change of this mark is about to be applied by its writer. */
void follow_advance(struct follow *follow, const struct change_mark *mark);

/* One look at the feed. */
int follow_once(struct follow *follow);
/* Takes peers without a session out of the data plane while the database has been away for too long. Never touches the
 * database. */
void follow_guard(struct follow *follow);
/* Whether that is so; and its end: everybody is in again. */
bool follow_is_severed(struct follow *follow);
void follow_readmit(struct follow *follow);
