/* Who holds a router's session, and what of its traffic is counted: the columns of vpn_configurations that the gateways
 * write, and table vpn_counted. Functions return 0 or -errno as store.h says.
 *
 * A session is at one gateway at a time: the one that saw the greatest timestamp. Counters are the data planes' own, a
 * row of vpn_counted a router and gateway, so that what one gateway adds is no matter of another. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/desired.h"
#include "model/router.h"

struct store_conn;

#define GENERATION_SIZE 24

struct session_row {
    int64_t id, tunnel_id; /* of the rows */
    enum router_status status;
    struct uuid router_id, tenant_id;
    struct key public_key;
    int64_t last_handshake_at; /* greatest that was written */
    uint64_t bytes_received, bytes_sent;
    uint8_t timestamp[DESIRED_TIMESTAMP_SIZE];
    char endpoint[ENDPOINT_TEXT_SIZE];
    int64_t gateway_id;      /* 0: nobody */
    int64_t connected_since; /* 0: not connected */
    /* of the gateway that was asked about: its data plane's counters as last added to the above */
    uint64_t counted_received, counted_sent;
    char counted_generation[GENERATION_SIZE];
};

int sessions_get(struct store_conn *conn, const struct key *public_key, int64_t gateway_id,
                 struct session_row *ret_row);
int sessions_get_row(struct store_conn *conn, int64_t row_id, int64_t gateway_id, struct session_row *ret_row);
/* Everything but the ids and what is counted. */
int sessions_set(struct store_conn *conn, const struct session_row *row);
int sessions_set_counted(struct store_conn *conn, int64_t gateway_id, const struct session_row *row);
/* The data planes count this one (or, with row_id 0, this tenant's) from zero again: it was taken out. */
int sessions_restart_counting(struct store_conn *conn, int64_t row_id, int64_t tunnel_id);
/* Nobody holds a session of this router (or, with row_id 0, of this tenant's) any more; its tenant counts them no
 * longer. */
int sessions_end(struct store_conn *conn, int64_t row_id, int64_t tunnel_id);
/* Rows `first` to `last`, at most `limit`, in the order of their ids. */
int sessions_list_rows(struct store_conn *conn, int64_t gateway_id, int64_t first, int64_t last, size_t limit,
                       struct session_row *ret_rows, size_t *ret_count);
int sessions_count_held(struct store_conn *conn, int64_t gateway_id, uint64_t *ret_count);
/* Up to `limit` of those that a gateway holds, after row `after`. */
int sessions_list_held(struct store_conn *conn, int64_t gateway_id, int64_t after, size_t limit,
                       struct session_row *ret_rows, size_t *ret_count);
