/* Tenants in the store: table tenant_vpn_tunnels. Functions return 0 or -errno as store.h says. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/tenant.h"

struct store_conn;

/* The gateway's side, written into every row for those who read the tables. */
struct gateway_columns {
    char public_key[64];
    struct ip_addr hub_address;
    char endpoint[256];
    uint16_t port;
};

struct tenant_row {
    int64_t id; /* of the row; never used again once deleted */
    struct tenant tenant;
    uint64_t next_offset; /* private: addresses of its prefix from here on are in no range yet */
};

/* Zero or NULL: does not count. */
struct tenants_filter {
    struct uuid id;
    const char *name;
    const char *contains;
    bool has_addressing, has_status;
    enum addressing addressing;
    enum tenant_status status;
};

/* -EEXIST: the id is in use. With a row number taken by store_reserve() it is sent ahead, and a duplicate shows later.
 */
int tenants_insert(struct store_conn *conn, const struct tenant_row *row, const struct gateway_columns *gateway,
                   int64_t *ret_id);
int tenants_get(struct store_conn *conn, const struct uuid *id, struct tenant_row *ret_row);
int tenants_get_row(struct store_conn *conn, int64_t row_id, struct tenant_row *ret_row);
/* Name, status, egress, limits, next_offset, updated_at. */
int tenants_update(struct store_conn *conn, const struct tenant_row *row);
/* Its routers, LANs, ranges and tokens go too. */
int tenants_delete(struct store_conn *conn, const struct tenant_row *row);
int tenants_add_routers(struct store_conn *conn, int64_t row_id, int64_t more);
int tenants_set_next_offset(struct store_conn *conn, int64_t row_id, uint64_t next_offset);
int tenants_add_usage(struct store_conn *conn, int64_t row_id, uint64_t bytes_received, uint64_t bytes_sent);
int tenants_add_connected(struct store_conn *conn, int64_t row_id, int64_t more);
/* Up to `limit` rows after row `after`, in order of creation. */
int tenants_list(struct store_conn *conn, const struct tenants_filter *filter, int64_t after, size_t limit,
                 struct tenant_row *ret_rows, size_t *ret_count);
int tenants_count(struct store_conn *conn, uint64_t *ret_count);
