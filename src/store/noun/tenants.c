#include "store/noun/tenants.h"

#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "store/noun/list.h"
#include "store/store.h"

#define COLUMNS                                                                                                        \
    "id, tenant_id, name, addressing, subnet_cidr, status, egress, limit_bits_per_second, limit_packets_per_second, "  \
    "limit_routers, routers, connected_peers, bytes_received, bytes_sent, next_offset, created_at, updated_at"

static void row_read(const struct query *query, struct tenant_row *row) {
    struct tenant *t = &row->tenant;
    *row = (struct tenant_row){.id = query_int(query, 0)};
    query_uuid(query, 1, &t->id);
    query_copy(query, 2, t->name, sizeof t->name);
    (void)addressing_parse(query_text(query, 3), &t->addressing);
    query_prefix(query, 4, &t->subnet);
    (void)tenant_status_parse(query_text(query, 5), &t->status);
    t->egress = query_int(query, 6) != 0;
    t->limits.bits_per_second = query_count(query, 7);
    t->limits.packets_per_second = query_count(query, 8);
    t->limits.routers = (uint32_t)query_count(query, 9);
    t->routers = (uint32_t)query_count(query, 10);
    t->connected_routers = (uint32_t)query_count(query, 11);
    t->bytes_received = query_count(query, 12);
    t->bytes_sent = query_count(query, 13);
    row->next_offset = query_count(query, 14);
    t->created_at = query_time(query, 15);
    t->updated_at = query_time(query, 16);
}

int tenants_insert(struct store_conn *conn, const struct tenant_row *row, const struct gateway_columns *gateway,
                   int64_t *ret_id) {
    const struct tenant *t = &row->tenant;
    const struct value values[] = {
        value_uuid(&t->id),
        value_text(t->name),
        value_text(addressing_name(t->addressing)),
        value_text(gateway->public_key),
        value_ip(&gateway->hub_address),
        value_prefix(&t->subnet),
        value_text(tenant_status_name(t->status)),
        value_number(t->egress),
        value_count(t->limits.bits_per_second),
        value_count(t->limits.packets_per_second),
        value_count(t->limits.routers),
        value_count(t->routers),
        value_count(row->next_offset),
        value_time(t->created_at),
        value_time(t->updated_at),
        value_number(row->id),
    };
    if (row->id) { /* reserved: nobody waits for this */
        *ret_id = row->id;
        return query_run(conn,
                         "INSERT INTO tenant_vpn_tunnels (tenant_id, name, addressing, server_public_key, server_ip, "
                         "subnet_cidr, status, egress, limit_bits_per_second, limit_packets_per_second, limit_routers, "
                         "routers, next_offset, created_at, updated_at, id) "
                         "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
                         values, VALUE_COUNT(values), NULL);
    }
    /* No error on a conflict: one would spoil the whole transaction in PostgreSQL. */
    int r = query_number(conn,
                         "INSERT INTO tenant_vpn_tunnels (tenant_id, name, addressing, server_public_key, server_ip, "
                         "subnet_cidr, status, egress, limit_bits_per_second, limit_packets_per_second, limit_routers, "
                         "routers, next_offset, created_at, updated_at) "
                         "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) "
                         "ON CONFLICT DO NOTHING RETURNING id",
                         values, VALUE_COUNT(values), ret_id);
    return r == -ENOENT ? -EEXIST : r;
}

static int get(struct store_conn *conn, const char *sql, const struct value *value, struct tenant_row *ret_row) {
    struct query query;
    int r = query_first(conn, sql, value, 1, &query);
    if (r == 0) {
        row_read(&query, ret_row);
        query_end(&query);
    }
    return r;
}

int tenants_get(struct store_conn *conn, const struct uuid *id, struct tenant_row *ret_row) {
    const struct value value = value_uuid(id);
    return get(conn, "SELECT " COLUMNS " FROM tenant_vpn_tunnels WHERE tenant_id = $1", &value, ret_row);
}

int tenants_get_row(struct store_conn *conn, int64_t row_id, struct tenant_row *ret_row) {
    const struct value value = value_number(row_id);
    return get(conn, "SELECT " COLUMNS " FROM tenant_vpn_tunnels WHERE id = $1", &value, ret_row);
}

int tenants_update(struct store_conn *conn, const struct tenant_row *row) {
    const struct tenant *t = &row->tenant;
    const struct value values[] = {
        value_number(row->id),
        value_text(t->name),
        value_text(tenant_status_name(t->status)),
        value_number(t->egress),
        value_count(t->limits.bits_per_second),
        value_count(t->limits.packets_per_second),
        value_count(t->limits.routers),
        value_time(t->updated_at),
    };
    return query_run(conn,
                     "UPDATE tenant_vpn_tunnels SET name = $2, status = $3, egress = $4, limit_bits_per_second = $5, "
                     "limit_packets_per_second = $6, limit_routers = $7, updated_at = $8 WHERE id = $1",
                     values, VALUE_COUNT(values), NULL);
}

int tenants_delete(struct store_conn *conn, const struct tenant_row *row) {
    const struct value id = value_number(row->id);
    const struct value uuid = value_uuid(&row->tenant.id);
    int r = query_run(conn, "DELETE FROM vpn_tokens WHERE tenant_id = $1", &uuid, 1, NULL);
    return r < 0 ? r : query_run(conn, "DELETE FROM tenant_vpn_tunnels WHERE id = $1", &id, 1, NULL);
}

int tenants_add_routers(struct store_conn *conn, int64_t row_id, int64_t more) {
    const struct value values[] = {value_number(row_id), value_number(more)};
    return query_run(conn, "UPDATE tenant_vpn_tunnels SET routers = routers + $2 WHERE id = $1", values,
                     VALUE_COUNT(values), NULL);
}

int tenants_set_next_offset(struct store_conn *conn, int64_t row_id, uint64_t next_offset) {
    const struct value values[] = {value_number(row_id), value_count(next_offset)};
    return query_run(conn, "UPDATE tenant_vpn_tunnels SET next_offset = $2 WHERE id = $1", values, VALUE_COUNT(values),
                     NULL);
}

int tenants_add_usage(struct store_conn *conn, int64_t row_id, uint64_t bytes_received, uint64_t bytes_sent) {
    const struct value values[] = {value_number(row_id), value_count(bytes_received), value_count(bytes_sent)};
    return query_run(conn,
                     "UPDATE tenant_vpn_tunnels SET bytes_received = bytes_received + $2, bytes_sent = bytes_sent + $3 "
                     "WHERE id = $1",
                     values, VALUE_COUNT(values), NULL);
}

int tenants_add_connected(struct store_conn *conn, int64_t row_id, int64_t more) {
    const struct value values[] = {value_number(row_id), value_number(more)};
    return query_run(conn,
                     "UPDATE tenant_vpn_tunnels SET connected_peers = connected_peers + $2 "
                     "WHERE id = $1 AND connected_peers + $2 >= 0",
                     values, VALUE_COUNT(values), NULL);
}

int tenants_list(struct store_conn *conn, const struct tenants_filter *filter, int64_t after, size_t limit,
                 struct tenant_row *ret_rows, size_t *ret_count) {
    struct list list;
    list_begin(&list, "SELECT " COLUMNS " FROM tenant_vpn_tunnels WHERE id > ", value_number(after));
    if (!uuid_is_zero(&filter->id)) {
        list_and(&list, "tenant_id = ", value_uuid(&filter->id), "");
    }
    if (filter->name) {
        list_and(&list, "name = ", value_text(filter->name), "");
    }
    if (filter->contains) {
        list_and_contains(&list, "name", filter->contains);
    }
    if (filter->has_addressing) {
        list_and(&list, "addressing = ", value_text(addressing_name(filter->addressing)), "");
    }
    if (filter->has_status) {
        list_and(&list, "status = ", value_text(tenant_status_name(filter->status)), "");
    }
    list_end(&list, "id", limit);
    struct query query;
    size_t count = 0;
    int r = list_run(&list, conn, &query);
    if (r < 0) {
        return r;
    }
    while (count < limit && (r = query_next(&query)) == 1) {
        row_read(&query, &ret_rows[count++]);
    }
    query_end(&query);
    if (r < 0) {
        return r;
    }
    *ret_count = count;
    return 0;
}

int tenants_count(struct store_conn *conn, uint64_t *ret_count) {
    int64_t count = 0;
    int r = query_number(conn, "SELECT COUNT(*) FROM tenant_vpn_tunnels", NULL, 0, &count);
    if (r == 0) {
        *ret_count = (uint64_t)count;
    }
    return r;
}
