#include "store/noun/sessions.h"

#include <errno.h>
#include <stdio.h>

#include "store/store.h"

#define SELECT_SESSION                                                                                                 \
    "SELECT r.id, r.tenant_vpn_tunnel_id, r.status, r.router_id, r.tenant_id, r.client_public_key, "                   \
    "r.last_handshake_at, r.bytes_received, r.bytes_sent, r.handshake_stamp, r.endpoint, r.gateway_id, "               \
    "r.connected_since, c.generation, c.received, c.sent FROM vpn_configurations r "                                   \
    "LEFT JOIN vpn_counted c ON c.router_id = r.id AND c.gateway_id = $1 "

static void row_read(const struct query *query, struct session_row *row) {
    *row = (struct session_row){.id = query_int(query, 0), .tunnel_id = query_int(query, 1)};
    (void)router_status_parse(query_text(query, 2), &row->status);
    query_uuid(query, 3, &row->router_id);
    query_uuid(query, 4, &row->tenant_id);
    query_key(query, 5, &row->public_key);
    row->last_handshake_at = query_time(query, 6);
    row->bytes_received = query_count(query, 7);
    row->bytes_sent = query_count(query, 8);
    (void)query_blob(query, 9, row->timestamp, sizeof row->timestamp);
    query_copy(query, 10, row->endpoint, sizeof row->endpoint);
    row->gateway_id = query_is_null(query, 11) ? 0 : query_int(query, 11);
    row->connected_since = query_time(query, 12);
    query_copy(query, 13, row->counted_generation, sizeof row->counted_generation);
    if (!query_is_null(query, 14)) {
        row->counted_received = query_count(query, 14);
        row->counted_sent = query_count(query, 15);
    }
}

static int get(struct store_conn *conn, const char *sql, const struct value *values, size_t count,
               struct session_row *ret_row) {
    struct query query;
    int r = query_first(conn, sql, values, count, &query);
    if (r == 0) {
        row_read(&query, ret_row);
        query_end(&query);
    }
    return r;
}

int sessions_get(struct store_conn *conn, const struct key *public_key, int64_t gateway_id,
                 struct session_row *ret_row) {
    const struct value values[] = {value_number(gateway_id), value_key(public_key)};
    return get(conn, SELECT_SESSION "WHERE r.client_public_key = $2", values, VALUE_COUNT(values), ret_row);
}

int sessions_get_row(struct store_conn *conn, int64_t row_id, int64_t gateway_id, struct session_row *ret_row) {
    const struct value values[] = {value_number(gateway_id), value_number(row_id)};
    return get(conn, SELECT_SESSION "WHERE r.id = $2", values, VALUE_COUNT(values), ret_row);
}

int sessions_set(struct store_conn *conn, const struct session_row *row) {
    static const uint8_t none[DESIRED_TIMESTAMP_SIZE];
    bool stamped = memcmp(row->timestamp, none, sizeof none) != 0;
    const struct value values[] = {
        value_number(row->id),
        value_text(router_status_name(row->status)),
        value_time(row->last_handshake_at),
        value_count(row->bytes_received),
        value_count(row->bytes_sent),
        stamped ? value_blob(row->timestamp, sizeof row->timestamp) : value_null(),
        row->endpoint[0] ? value_text(row->endpoint) : value_null(),
        row->gateway_id ? value_number(row->gateway_id) : value_null(),
        value_time(row->connected_since),
    };
    return query_run(conn,
                     "UPDATE vpn_configurations SET status = $2, last_handshake_at = $3, bytes_received = $4, "
                     "bytes_sent = $5, handshake_stamp = $6, endpoint = $7, gateway_id = $8, connected_since = $9 "
                     "WHERE id = $1",
                     values, VALUE_COUNT(values), NULL);
}

int sessions_set_counted(struct store_conn *conn, int64_t gateway_id, const struct session_row *row) {
    const struct value values[] = {
        value_number(row->id),
        value_number(gateway_id),
        value_text(row->counted_generation),
        value_count(row->counted_received),
        value_count(row->counted_sent),
    };
    return query_run(conn,
                     "INSERT INTO vpn_counted (router_id, gateway_id, generation, received, sent) "
                     "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (router_id, gateway_id) DO UPDATE "
                     "SET generation = excluded.generation, received = excluded.received, sent = excluded.sent",
                     values, VALUE_COUNT(values), NULL);
}

int sessions_restart_counting(struct store_conn *conn, int64_t row_id, int64_t tunnel_id) {
    const struct value value = value_number(row_id ? row_id : tunnel_id);
    return query_run(conn,
                     row_id ? "UPDATE vpn_counted SET received = 0, sent = 0 WHERE router_id = $1"
                            : "UPDATE vpn_counted SET received = 0, sent = 0 WHERE (received <> 0 OR sent <> 0) AND "
                              "router_id IN (SELECT id FROM vpn_configurations WHERE tenant_vpn_tunnel_id = $1)",
                     &value, 1, NULL);
}

int sessions_end(struct store_conn *conn, int64_t row_id, int64_t tunnel_id) {
    const struct value values[] = {value_number(row_id ? row_id : tunnel_id)};
    int r = query_run(
        conn,
        row_id
            ? "UPDATE tenant_vpn_tunnels SET connected_peers = connected_peers - 1 WHERE connected_peers > 0 AND "
              "id = (SELECT tenant_vpn_tunnel_id FROM vpn_configurations WHERE id = $1 AND connected_since IS NOT NULL)"
            : "UPDATE tenant_vpn_tunnels SET connected_peers = 0 WHERE id = $1 AND connected_peers > 0",
        values, 1, NULL);
    return r < 0 ? r
                 : query_run(conn,
                             row_id ? "UPDATE vpn_configurations SET gateway_id = NULL, connected_since = NULL "
                                      "WHERE id = $1 AND connected_since IS NOT NULL"
                                    : "UPDATE vpn_configurations SET gateway_id = NULL, connected_since = NULL "
                                      "WHERE tenant_vpn_tunnel_id = $1 AND connected_since IS NOT NULL",
                             values, 1, NULL);
}

int sessions_count_held(struct store_conn *conn, int64_t gateway_id, uint64_t *ret_count) {
    const struct value value = value_number(gateway_id);
    int64_t count = 0;
    int r = query_number(conn, "SELECT COUNT(*) FROM vpn_configurations WHERE gateway_id = $1", &value, 1, &count);
    if (r == 0) {
        *ret_count = (uint64_t)count;
    }
    return r;
}

static int list(struct store_conn *conn, const char *sql, const struct value *values, size_t value_count, size_t limit,
                struct session_row *ret_rows, size_t *ret_count) {
    struct query query;
    size_t count = 0;
    int r = query_begin(conn, sql, values, value_count, &query);
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

int sessions_list_rows(struct store_conn *conn, int64_t gateway_id, int64_t first, int64_t last, size_t limit,
                       struct session_row *ret_rows, size_t *ret_count) {
    const struct value values[] = {value_number(gateway_id), value_number(first), value_number(last),
                                   value_number((int64_t)limit)};
    return list(conn, SELECT_SESSION "WHERE r.id >= $2 AND r.id <= $3 ORDER BY r.id LIMIT $4", values,
                VALUE_COUNT(values), limit, ret_rows, ret_count);
}

int sessions_list_held(struct store_conn *conn, int64_t gateway_id, int64_t after, size_t limit,
                       struct session_row *ret_rows, size_t *ret_count) {
    const struct value values[] = {value_number(gateway_id), value_number(after), value_number((int64_t)limit)};
    return list(conn, SELECT_SESSION "WHERE r.gateway_id = $1 AND r.id > $2 ORDER BY r.id LIMIT $3", values,
                VALUE_COUNT(values), limit, ret_rows, ret_count);
}
