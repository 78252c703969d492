#include "store/noun/routers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/noun/lans.h"
#include "store/noun/list.h"
#include "store/noun/tenants.h"
#include "store/store.h"

#define COLUMNS                                                                                                        \
    "r.id, r.tenant_id, r.tenant_vpn_tunnel_id, r.router_id, r.name, r.status, r.client_public_key, "                  \
    "r.preshared_key_sealed, r.client_ip, r.hub_address, r.address6, r.last_handshake_at, r.handshake_stamp, "         \
    "r.endpoint, r.bytes_received, r.bytes_sent, r.lans, r.created_at, r.updated_at, r.gateway_id, "                   \
    "r.connected_since, (SELECT g.name FROM vpn_gateways g WHERE g.id = r.gateway_id)"
#define DESIRED                                                                                                        \
    "SELECT " COLUMNS " FROM vpn_configurations r JOIN tenant_vpn_tunnels t ON t.id = r.tenant_vpn_tunnel_id "         \
    "WHERE r.status <> 'disabled' AND t.status = 'active'"

static void row_read(const struct query *query, struct router_row *row) {
    struct router *router = &row->router;
    memset(row, 0, sizeof *row);
    row->id = query_int(query, 0);
    query_uuid(query, 1, &router->tenant_id);
    row->tunnel_id = query_int(query, 2);
    query_uuid(query, 3, &router->id);
    query_copy(query, 4, router->name, sizeof router->name);
    (void)router_status_parse(query_text(query, 5), &router->status);
    query_key(query, 6, &router->public_key);
    row->has_preshared_key = query_blob(query, 7, row->sealed, sizeof row->sealed) == sizeof row->sealed;
    query_ip(query, 8, &router->address);
    query_ip(query, 9, &router->hub_address);
    query_ip(query, 10, &router->address6);
    router->last_handshake_at = query_time(query, 11);
    (void)query_blob(query, 12, row->timestamp, sizeof row->timestamp);
    if (!query_is_null(query, 13)) {
        (void)endpoint_parse(query_text(query, 13), &router->endpoint);
    }
    router->bytes_received = query_count(query, 14);
    router->bytes_sent = query_count(query, 15);
    router->lan_count = (uint32_t)query_count(query, 16);
    router->created_at = query_time(query, 17);
    router->updated_at = query_time(query, 18);
    row->gateway_id = query_is_null(query, 19) ? 0 : query_int(query, 19);
    router->connected_since = query_time(query, 20);
    router->connected = router->connected_since != 0;
    query_copy(query, 21, router->gateway, sizeof router->gateway);
}

static struct value stamp_value(const uint8_t timestamp[DESIRED_TIMESTAMP_SIZE]) {
    static const uint8_t none[DESIRED_TIMESTAMP_SIZE];
    return memcmp(timestamp, none, sizeof none) == 0 ? value_null() : value_blob(timestamp, DESIRED_TIMESTAMP_SIZE);
}

int routers_insert(struct store_conn *conn, const struct router_row *row, const struct gateway_columns *gateway,
                   int64_t *ret_id) {
    const struct router *router = &row->router;
    const struct value values[] = {
        value_uuid(&router->tenant_id),
        value_number(row->tunnel_id),
        value_uuid(&router->id),
        value_text(router->name),
        value_text(router_status_name(router->status)),
        value_key(&router->public_key),
        row->has_preshared_key ? value_blob(row->sealed, sizeof row->sealed) : value_null(),
        value_ip(&router->address),
        value_ip(&router->hub_address),
        value_ip(&router->address6),
        value_ip(&gateway->hub_address),
        value_text(gateway->public_key),
        value_text(gateway->endpoint),
        value_number(gateway->port),
        value_number(router->lan_count),
        value_time(router->created_at),
        value_time(router->updated_at),
        value_number(row->id),
    };
    if (row->id) { /* reserved: nobody waits for this */
        *ret_id = row->id;
        return query_run(conn,
                         "INSERT INTO vpn_configurations (tenant_id, tenant_vpn_tunnel_id, router_id, name, status, "
                         "client_public_key, preshared_key_sealed, client_ip, hub_address, address6, server_ip, "
                         "server_public_key, server_endpoint, server_port, lans, created_at, updated_at, id) "
                         "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
                         values, VALUE_COUNT(values), NULL);
    }
    /* No error on a conflict: one would spoil the whole transaction in PostgreSQL. */
    int r = query_number(conn,
                         "INSERT INTO vpn_configurations (tenant_id, tenant_vpn_tunnel_id, router_id, name, status, "
                         "client_public_key, preshared_key_sealed, client_ip, hub_address, address6, server_ip, "
                         "server_public_key, server_endpoint, server_port, lans, created_at, updated_at) "
                         "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) "
                         "ON CONFLICT DO NOTHING RETURNING id",
                         values, VALUE_COUNT(values), ret_id);
    return r == -ENOENT ? -EEXIST : r;
}

static int get(struct store_conn *conn, const char *sql, const struct value *value, struct router_row *ret_row) {
    struct query query;
    struct router_row row;
    int r = query_begin(conn, sql, value, 1, &query);
    if (r < 0) {
        return r;
    }
    r = query_next(&query);
    if (r == 1) {
        row_read(&query, &row);
    }
    query_end(&query);
    if (r <= 0) {
        return r < 0 ? r : -ENOENT;
    }
    r = lans_fill(conn, &row, 1);
    if (r == 0) {
        *ret_row = row;
    }
    return r;
}

int routers_get(struct store_conn *conn, const struct uuid *id, struct router_row *ret_row) {
    const struct value value = value_uuid(id);
    return get(conn, "SELECT " COLUMNS " FROM vpn_configurations r WHERE r.router_id = $1", &value, ret_row);
}

int routers_get_by_key(struct store_conn *conn, const struct key *public_key, struct router_row *ret_row) {
    const struct value value = value_key(public_key);
    return get(conn, "SELECT " COLUMNS " FROM vpn_configurations r WHERE r.client_public_key = $1", &value, ret_row);
}

int routers_get_desired(struct store_conn *conn, const struct key *public_key, struct router_row *ret_row) {
    const struct value value = value_key(public_key);
    return get(conn, DESIRED " AND r.client_public_key = $1", &value, ret_row);
}

int routers_update(struct store_conn *conn, const struct router_row *row) {
    const struct router *router = &row->router;
    const struct value values[] = {
        value_number(row->id),           value_text(router->name),       value_text(router_status_name(router->status)),
        value_number(router->lan_count), value_time(router->updated_at),
    };
    return query_run(conn,
                     "UPDATE vpn_configurations SET name = $2, status = $3, lans = $4, updated_at = $5 WHERE id = $1",
                     values, VALUE_COUNT(values), NULL);
}

int routers_set_keys(struct store_conn *conn, const struct router_row *row) {
    const struct router *router = &row->router;
    const struct value values[] = {
        value_number(row->id),
        value_key(&router->public_key),
        row->has_preshared_key ? value_blob(row->sealed, sizeof row->sealed) : value_null(),
        value_text(router_status_name(router->status)),
        value_time(router->last_handshake_at),
        stamp_value(row->timestamp),
        value_time(router->updated_at),
    };
    return query_run(conn,
                     "UPDATE vpn_configurations SET client_public_key = $2, preshared_key_sealed = $3, status = $4, "
                     "last_handshake_at = $5, handshake_stamp = $6, updated_at = $7 WHERE id = $1",
                     values, VALUE_COUNT(values), NULL);
}

int routers_delete(struct store_conn *conn, int64_t row_id) {
    const struct value value = value_number(row_id);
    return query_run(conn, "DELETE FROM vpn_configurations WHERE id = $1", &value, 1, NULL);
}

int routers_delete_some(struct store_conn *conn, int64_t tunnel_id, unsigned most, int64_t *ret_deleted) {
    const struct value values[] = {value_number(tunnel_id), value_number(most)};
    return query_run(conn,
                     "DELETE FROM vpn_configurations WHERE id IN (SELECT id FROM vpn_configurations "
                     "WHERE tenant_vpn_tunnel_id = $1 ORDER BY id LIMIT $2)",
                     values, 2, ret_deleted);
}

static int run_list(struct store_conn *conn, struct list *list, size_t limit, struct router_row *ret_rows,
                    size_t *ret_count) {
    struct query query;
    size_t count = 0;
    int r = list_run(list, conn, &query);
    if (r < 0) {
        return r;
    }
    while (count < limit && (r = query_next(&query)) == 1) {
        row_read(&query, &ret_rows[count++]);
    }
    query_end(&query);
    r = r < 0 ? r : lans_fill(conn, ret_rows, count);
    if (r == 0) {
        *ret_count = count;
    }
    return r;
}

/* IPv4 addresses are hub addresses or tunnel addresses. Two indexed halves rather than an OR over the table. */
static void list_and_address(struct list *list, const struct ip_addr *address) {
    if (address->family == AF_INET6) {
        struct ip_addr hub = {.family = AF_INET};
        memcpy(hub.bytes, address->bytes + 12, 4); /* the hub address is in its last four bytes: use that index */
        list_and(list, "r.hub_address = ", value_ip(&hub), "");
        list_and(list, "r.address6 = ", value_ip(address), "");
        return;
    }
    list_and(list, "r.id IN (SELECT id FROM vpn_configurations WHERE hub_address = ", value_ip(address), "");
    list_text(list, " UNION SELECT id FROM vpn_configurations WHERE client_ip = $2)");
}

int routers_list(struct store_conn *conn, const struct routers_filter *filter, int64_t after, size_t limit,
                 struct router_row *ret_rows, size_t *ret_count) {
    struct list list;
    list_begin(&list, "SELECT " COLUMNS " FROM vpn_configurations r WHERE r.id > ", value_number(after));
    if (filter->address.family) {
        list_and_address(&list, &filter->address); /* first: it refers to its parameter as $2 */
    }
    if (!uuid_is_zero(&filter->tenant_id)) {
        list_and(&list, "r.tenant_vpn_tunnel_id = (SELECT id FROM tenant_vpn_tunnels WHERE tenant_id = ",
                 value_uuid(&filter->tenant_id), ")");
    }
    if (filter->with_lans) {
        list_text(&list, " AND r.lans > 0"); /* as the index says it */
    }
    if (filter->name) {
        list_and(&list, "r.name = ", value_text(filter->name), "");
    }
    if (filter->contains) {
        list_and_contains(&list, "r.name", filter->contains);
    }
    if (filter->has_status) {
        list_and(&list, "r.status = ", value_text(router_status_name(filter->status)), "");
    }
    if (filter->has_public_key) {
        list_and(&list, "r.client_public_key = ", value_key(&filter->public_key), "");
    }
    if (filter->has_connected) {
        list_text(&list, filter->connected ? " AND r.connected_since IS NOT NULL" : " AND r.connected_since IS NULL");
    }
    list_end(&list, "r.id", limit);
    return run_list(conn, &list, limit, ret_rows, ret_count);
}

int routers_list_desired(struct store_conn *conn, int64_t tunnel_id, int64_t after, size_t limit,
                         struct router_row *ret_rows, size_t *ret_count) {
    struct list list;
    list_begin(&list, DESIRED " AND r.id > ", value_number(after));
    if (tunnel_id) {
        list_and(&list, "r.tenant_vpn_tunnel_id = ", value_number(tunnel_id), "");
    }
    list_end(&list, "r.id", limit);
    return run_list(conn, &list, limit, ret_rows, ret_count);
}

int routers_list_changed(struct store_conn *conn, uint64_t after, uint64_t until, size_t limit,
                         struct router_row *ret_rows, size_t *ret_count) {
    struct list list;
    list_begin(&list, DESIRED " AND r.router_id IN (SELECT c.router_id FROM vpn_changes c WHERE c.revision > ",
               value_count(after));
    list_and(&list, "c.revision <= ", value_count(until), ")");
    list_end(&list, "r.id", limit);
    return run_list(conn, &list, limit, ret_rows, ret_count);
}

int routers_count(struct store_conn *conn, uint64_t *ret_count) {
    int64_t count = 0;
    int r = query_number(conn, "SELECT COUNT(*) FROM vpn_configurations", NULL, 0, &count);
    if (r == 0) {
        *ret_count = (uint64_t)count;
    }
    return r;
}

int routers_set_gateway(struct store_conn *conn, const struct gateway_columns *gateway) {
    const struct value values[] = {
        value_ip(&gateway->hub_address),
        value_text(gateway->public_key),
        value_text(gateway->endpoint),
        value_number(gateway->port),
    };
    int r = query_run(conn,
                      "UPDATE vpn_configurations SET server_ip = $1, server_public_key = $2, server_endpoint = $3, "
                      "server_port = $4 WHERE server_ip <> $1 OR server_public_key <> $2 OR server_endpoint <> $3 OR "
                      "server_port <> $4",
                      values, VALUE_COUNT(values), NULL);
    return r < 0 ? r
                 : query_run(conn,
                             "UPDATE tenant_vpn_tunnels SET server_ip = $1, server_public_key = $2 "
                             "WHERE server_ip <> $1 OR server_public_key <> $2",
                             values, 2, NULL);
}
