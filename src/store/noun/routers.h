/* Routers in the store: table vpn_configurations, with their LANs. Functions return 0 or -errno as store.h says.
 *
 * A preshared key is in the store only sealed: `router.preshared_key` is not filled here; service/ opens the seal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/desired.h"
#include "model/router.h"

struct store_conn;
struct gateway_columns;

#define ROUTER_SEALED_SIZE 72 /* nonce 24, key 32, tag 16 */

struct router_row {
    int64_t id; /* of the row; never used again once deleted */
    int64_t tunnel_id;
    struct router router;
    bool has_preshared_key;
    uint8_t sealed[ROUTER_SEALED_SIZE];
    uint8_t timestamp[DESIRED_TIMESTAMP_SIZE]; /* zero: none */
    int64_t gateway_id;                        /* that holds its session; 0: none */
};

/* Zero or NULL: does not count. */
struct routers_filter {
    struct uuid tenant_id;
    const char *name;
    const char *contains;
    bool has_status, has_public_key, has_connected;
    enum router_status status;
    struct key public_key;
    struct ip_addr address; /* IPv4 (tunnel or hub address) or IPv6 */
    bool connected;
    bool with_lans; /* only those that have LANs */
};

/* Without LANs (lans.h). -EEXIST: its id, key or address is in use; nothing was written, the transaction goes on. With
 * a row number taken by store_reserve() it is sent ahead, and a duplicate shows later. */
int routers_insert(struct store_conn *conn, const struct router_row *row, const struct gateway_columns *gateway,
                   int64_t *ret_id);
int routers_get(struct store_conn *conn, const struct uuid *id, struct router_row *ret_row);
int routers_get_by_key(struct store_conn *conn, const struct key *public_key, struct router_row *ret_row);
/* Name, status, number of LANs, updated_at. */
int routers_update(struct store_conn *conn, const struct router_row *row);
/* New keys: what was known of the old key's sessions is forgotten, the bytes stay. -EEXIST. */
int routers_set_keys(struct store_conn *conn, const struct router_row *row);
int routers_delete(struct store_conn *conn, int64_t row_id);
/* Some of a tenant's, at most `most`. `ret_deleted`: how many. */
int routers_delete_some(struct store_conn *conn, int64_t tunnel_id, unsigned most, int64_t *ret_deleted);
/* Up to `limit` rows after row `after`, in order of creation. */
int routers_list(struct store_conn *conn, const struct routers_filter *filter, int64_t after, size_t limit,
                 struct router_row *ret_rows, size_t *ret_count);
/* Likewise those that belong into the data plane: neither disabled nor of a disabled tenant. Of one tenant if
 * `tunnel_id` is not 0. */
int routers_list_desired(struct store_conn *conn, int64_t tunnel_id, int64_t after, size_t limit,
                         struct router_row *ret_rows, size_t *ret_count);
/* Likewise those that changes after revision `after`, up to and including `until`, are about, in order of creation. */
int routers_list_changed(struct store_conn *conn, uint64_t after, uint64_t until, size_t limit,
                         struct router_row *ret_rows, size_t *ret_count);
/* -ENOENT also for one that does not belong into the data plane. */
int routers_get_desired(struct store_conn *conn, const struct key *public_key, struct router_row *ret_row);
int routers_count(struct store_conn *conn, uint64_t *ret_count);

/* Writes the gateway's columns where they differ. */
int routers_set_gateway(struct store_conn *conn, const struct gateway_columns *gateway);
