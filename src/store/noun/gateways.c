#include "store/noun/gateways.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/conn.h"
#include "store/store.h"

#define SELECT_GATEWAY                                                                                                 \
    "SELECT id, identity, instance, name, endpoint, region, version, backend, revision, connected_routers, "           \
    "load_percent, clock_offset_ms, started_at, heartbeat_at FROM vpn_gateways "

static void row_read(const struct query *query, struct gateway_row *row) {
    *row = (struct gateway_row){.id = query_int(query, 0)};
    query_uuid(query, 1, &row->identity);
    query_uuid(query, 2, &row->instance);
    query_copy(query, 3, row->name, sizeof row->name);
    query_copy(query, 4, row->endpoint, sizeof row->endpoint);
    query_copy(query, 5, row->region, sizeof row->region);
    query_copy(query, 6, row->version, sizeof row->version);
    query_copy(query, 7, row->backend, sizeof row->backend);
    row->revision = query_count(query, 8);
    row->connected_routers = query_count(query, 9);
    row->load_percent = (uint32_t)query_count(query, 10);
    row->clock_offset_ms = query_int(query, 11);
    row->started_at = query_time(query, 12);
    row->heartbeat_at = query_time(query, 13);
}

int gateways_clock(struct store_conn *conn, int64_t *ret_now) {
    struct query query;
    if (strcmp(conn->driver->name, "sqlite") == 0) {
        *ret_now = clock_wall_us(); /* it has none of its own */
        return 0;
    }
    int r = query_first(conn, "SELECT clock_timestamp()", NULL, 0, &query);
    if (r == 0) {
        *ret_now = query_time(&query, 0);
        query_end(&query);
    }
    return r;
}

static int get(struct store_conn *conn, const char *sql, const struct value *value, struct gateway_row *ret_row) {
    struct query query;
    int r = query_first(conn, sql, value, 1, &query);
    if (r == 0) {
        row_read(&query, ret_row);
        query_end(&query);
    }
    return r;
}

int gateways_find_by_name(struct store_conn *conn, const char *name, struct gateway_row *ret_row) {
    const struct value value = value_text(name);
    return get(conn, SELECT_GATEWAY "WHERE name = $1", &value, ret_row);
}

int gateways_find(struct store_conn *conn, const struct uuid *identity, const char *name, struct gateway_row *ret_row) {
    const struct value value = value_uuid(identity);
    int r = uuid_is_zero(identity) ? -ENOENT : get(conn, SELECT_GATEWAY "WHERE identity = $1", &value, ret_row);
    r = r == -ENOENT ? gateways_find_by_name(conn, name, ret_row) : r;
    return r == -ENOENT ? gateways_find_by_name(conn, "", ret_row) : r;
}

int gateways_put(struct store_conn *conn, struct gateway_row *row) {
    const struct value values[] = {
        value_uuid(&row->identity),         value_uuid(&row->instance),  value_text(row->name),
        value_text(row->endpoint),          value_text(row->region),     value_text(row->version),
        value_text(row->backend),           value_time(row->started_at), value_time(row->heartbeat_at),
        value_number(row->clock_offset_ms), value_number(row->id),
    };
    if (row->id) {
        return query_run(conn,
                         "UPDATE vpn_gateways SET identity = $1, instance = $2, name = $3, endpoint = $4, region = $5, "
                         "version = $6, backend = $7, started_at = $8, heartbeat_at = $9, clock_offset_ms = $10 "
                         "WHERE id = $11",
                         values, VALUE_COUNT(values), NULL);
    }
    int r = query_number(conn,
                         "INSERT INTO vpn_gateways (identity, instance, name, endpoint, region, version, backend, "
                         "started_at, heartbeat_at, clock_offset_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
                         "ON CONFLICT DO NOTHING RETURNING id",
                         values, VALUE_COUNT(values), &row->id);
    return r == -ENOENT ? -EEXIST : r;
}

int gateways_beat(struct store_conn *conn, const struct gateway_row *row) {
    const struct value values[] = {
        value_number(row->id),           value_uuid(&row->instance),
        value_count(row->revision),      value_count(row->connected_routers),
        value_number(row->load_percent), value_number(row->clock_offset_ms),
        value_time(row->heartbeat_at),   value_text(row->backend),
    };
    int64_t changed = 0;
    int r = query_run(conn,
                      "UPDATE vpn_gateways SET revision = $3, connected_routers = $4, load_percent = $5, "
                      "clock_offset_ms = $6, heartbeat_at = $7, backend = $8 WHERE id = $1 AND instance = $2",
                      values, VALUE_COUNT(values), &changed);
    return r < 0 ? r : changed ? 0 : -ENOENT;
}

int gateways_list(struct store_conn *conn, struct gateway_row **ret_rows, size_t *ret_count) {
    struct gateway_row *rows = NULL;
    size_t count = 0, room = 0;
    struct query query;
    int r = query_begin(conn, SELECT_GATEWAY "WHERE name <> '' ORDER BY name", NULL, 0, &query);
    if (r < 0) {
        return r;
    }
    while ((r = query_next(&query)) == 1) {
        if (count == room) {
            room = room ? room * 2 : 8;
            struct gateway_row *more = reallocarray(rows, room, sizeof *more);
            if (!more) {
                r = -ENOMEM;
                break;
            }
            rows = more;
        }
        row_read(&query, &rows[count++]);
    }
    query_end(&query);
    if (r < 0) {
        free(rows);
        return r;
    }
    *ret_rows = rows;
    *ret_count = count;
    return 0;
}
