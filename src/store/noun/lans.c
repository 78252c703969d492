#include "store/noun/lans.h"

#include <errno.h>

#include "store/noun/routers.h"
#include "store/store.h"

#define BOUND_SIZE 17

/* Family and address, so that bytes compare as addresses do. */
static void low_of(const struct prefix *prefix, uint8_t low[BOUND_SIZE]) {
    low[0] = prefix->addr.family == AF_INET ? 4 : 6;
    memcpy(low + 1, prefix->addr.bytes, 16);
}

static void high_of(const struct prefix *prefix, uint8_t high[BOUND_SIZE]) {
    unsigned bits = ip_bits(&prefix->addr);
    low_of(prefix, high);
    for (unsigned bit = prefix->length; bit < bits; bit++) {
        high[1 + bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    }
}

int lans_insert(struct store_conn *conn, int64_t router_row_id, int64_t space, const struct prefix *lans,
                size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t low[BOUND_SIZE], high[BOUND_SIZE];
        low_of(&lans[i], low);
        high_of(&lans[i], high);
        const struct value values[] = {
            value_number(router_row_id), value_number((int64_t)i),    value_number(space),
            value_prefix(&lans[i]),      value_blob(low, sizeof low), value_blob(high, sizeof high),
        };
        int r = query_run(conn,
                          "INSERT INTO vpn_lans (router_id, position, space, prefix, low, high) "
                          "VALUES ($1, $2, $3, $4, $5, $6)",
                          values, VALUE_COUNT(values), NULL);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int lans_delete(struct store_conn *conn, int64_t router_row_id) {
    const struct value value = value_number(router_row_id);
    return query_run(conn, "DELETE FROM vpn_lans WHERE router_id = $1", &value, 1, NULL);
}

int lans_overlap(struct store_conn *conn, int64_t space, const struct prefix *prefix, struct lan_owner *ret_owner) {
    uint8_t low[BOUND_SIZE], high[BOUND_SIZE], other[BOUND_SIZE] = {0};
    low_of(prefix, low);
    high_of(prefix, high);
    const struct value values[] = {value_number(space), value_blob(high, sizeof high)};
    struct query query;
    /* None of a space overlaps another: so the one that starts last before our end is the only one that can reach us.
     */
    int r = query_begin(conn,
                        "SELECT l.high, l.prefix, r.router_id, r.tenant_id FROM vpn_lans l "
                        "JOIN vpn_configurations r ON r.id = l.router_id "
                        "WHERE l.space = $1 AND l.low <= $2 ORDER BY l.low DESC LIMIT 1",
                        values, VALUE_COUNT(values), &query);
    if (r < 0) {
        return r;
    }
    r = query_next(&query);
    if (r == 1) {
        (void)query_blob(&query, 0, other, sizeof other);
        if (memcmp(other, low, sizeof low) >= 0) {
            query_prefix(&query, 1, &ret_owner->prefix);
            query_uuid(&query, 2, &ret_owner->router_id);
            query_uuid(&query, 3, &ret_owner->tenant_id);
            r = 0;
        } else {
            r = -ENOENT;
        }
    } else if (r == 0) {
        r = -ENOENT;
    }
    query_end(&query);
    return r;
}

static int fill_range(struct store_conn *conn, struct router_row *rows, size_t count) {
    const struct value values[] = {value_number(rows[0].id), value_number(rows[count - 1].id)};
    struct query query;
    int r = query_begin(conn,
                        "SELECT router_id, prefix FROM vpn_lans WHERE router_id >= $1 AND router_id <= $2 "
                        "ORDER BY router_id, position",
                        values, VALUE_COUNT(values), &query);
    if (r < 0) {
        return r;
    }
    size_t at = 0;
    while ((r = query_next(&query)) == 1) {
        int64_t id = query_int(&query, 0);
        while (at < count && rows[at].id < id) {
            at++;
        }
        if (at < count && rows[at].id == id && rows[at].router.lan_count < ROUTER_LANS_MAX) {
            query_prefix(&query, 1, &rows[at].router.lans[rows[at].router.lan_count++]);
        }
    }
    query_end(&query);
    return r;
}

int lans_fill(struct store_conn *conn, struct router_row *rows, size_t count) {
    size_t some = 0;
    for (size_t i = 0; i < count; i++) {
        some += rows[i].router.lan_count > 0;
    }
    if (!some) {
        return 0;
    }
    /* One query for a dense page; one each where the rows between are many. */
    if ((uint64_t)(rows[count - 1].id - rows[0].id) < 4 * (uint64_t)count) {
        for (size_t i = 0; i < count; i++) {
            rows[i].router.lan_count = 0;
        }
        return fill_range(conn, rows, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (rows[i].router.lan_count) {
            rows[i].router.lan_count = 0;
            int r = fill_range(conn, &rows[i], 1);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

static int each(struct store_conn *conn, const char *sql, const struct value *values, size_t count, lans_fn *fn,
                void *context) {
    struct query query;
    int r = query_begin(conn, sql, values, count, &query);
    if (r < 0) {
        return r;
    }
    while ((r = query_next(&query)) == 1) {
        struct prefix prefix;
        query_prefix(&query, 0, &prefix);
        r = fn(context, &prefix);
        if (r < 0) {
            break;
        }
    }
    query_end(&query);
    return r;
}

int lans_each_route(struct store_conn *conn, lans_fn *fn, void *context) {
    return each(conn,
                "SELECT l.prefix FROM vpn_lans l JOIN vpn_configurations r ON r.id = l.router_id "
                "JOIN tenant_vpn_tunnels t ON t.id = r.tenant_vpn_tunnel_id "
                "WHERE l.space = 0 AND r.status <> 'disabled' AND t.status = 'active' ORDER BY l.low",
                NULL, 0, fn, context);
}

int lans_is_routed(struct store_conn *conn, const struct prefix *prefix, bool *ret_routed) {
    uint8_t low[BOUND_SIZE];
    struct query query;
    low_of(prefix, low);
    const struct value values[] = {value_blob(low, sizeof low), value_prefix(prefix)};
    /* The index is that of (space, low). */
    int r = query_begin(conn,
                        "SELECT 1 FROM vpn_lans l JOIN vpn_configurations r ON r.id = l.router_id "
                        "JOIN tenant_vpn_tunnels t ON t.id = r.tenant_vpn_tunnel_id "
                        "WHERE l.space = 0 AND l.low = $1 AND l.prefix = $2 AND r.status <> 'disabled' "
                        "AND t.status = 'active'",
                        values, VALUE_COUNT(values), &query);
    if (r < 0) {
        return r;
    }
    r = query_next(&query);
    query_end(&query);
    if (r >= 0) {
        *ret_routed = r == 1;
    }
    return r < 0 ? r : 0;
}

int lans_each_of_tenant(struct store_conn *conn, int64_t tunnel_id, lans_fn *fn, void *context) {
    const struct value value = value_number(tunnel_id);
    return each(conn,
                "SELECT l.prefix FROM vpn_lans l JOIN vpn_configurations r ON r.id = l.router_id "
                "WHERE r.tenant_vpn_tunnel_id = $1 AND r.status <> 'disabled'",
                &value, 1, fn, context);
}
