/* The gateways that share this database: table vpn_gateways. Functions return 0 or -errno as store.h says. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "model/router.h"
#include "model/uuid.h"

struct store_conn;

struct gateway_row {
    int64_t id;
    struct uuid identity; /* of the installation; zero: it has none */
    struct uuid instance; /* of the process that speaks for it */
    char name[GATEWAY_NAME_SIZE];
    char endpoint[256];
    char region[GATEWAY_NAME_SIZE];
    char version[32];
    char backend[16];
    uint64_t revision; /* its data plane follows up to here */
    uint64_t connected_routers;
    uint32_t load_percent;   /* of its processors, over a minute */
    int64_t clock_offset_ms; /* its clock minus the database's */
    int64_t started_at;
    int64_t heartbeat_at; /* by the database's clock */
};

/* The database's clock, wall, microseconds. */
int gateways_clock(struct store_conn *conn, int64_t *ret_now);
/* By identity, or, if it has none or is not known, by name. A row without a name (of before there were names) is
 * anybody's. -ENOENT. */
int gateways_find(struct store_conn *conn, const struct uuid *identity, const char *name, struct gateway_row *ret_row);
int gateways_find_by_name(struct store_conn *conn, const char *name, struct gateway_row *ret_row);
/* Makes it (id 0) or writes all of it. -EEXIST: the name is another's. */
int gateways_put(struct store_conn *conn, struct gateway_row *row);
/* What changes while it runs, if the row is still this instance's: -ENOENT if not. */
int gateways_beat(struct store_conn *conn, const struct gateway_row *row);
/* All with a name, by name; free() the array. */
int gateways_list(struct store_conn *conn, struct gateway_row **ret_rows, size_t *ret_count);
