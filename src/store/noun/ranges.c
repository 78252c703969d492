#include "store/noun/ranges.h"

#include <errno.h>

#include "store/store.h"

#define SELECT_RANGE                                                                                                   \
    "SELECT first, size, block_first, block_size, taken, resting, used, free, rested, last_freed FROM "                \
    "vpn_address_ranges "                                                                                              \
    "WHERE tunnel_id = $1 AND space = $2 "

int ranges_insert(struct store_conn *conn, const struct range *range) {
    size_t bytes = (range->size + 7) / 8;
    const struct value values[] = {
        value_number(range->tunnel_id),  value_number(range->space),        value_number(range->first),
        value_number(range->size),       value_number(range->block_first),  value_count(range->block_size),
        value_blob(range->taken, bytes), value_blob(range->resting, bytes), value_number(range->used),
        value_number(range->free),       value_number(range->rested),       value_number(range->last_freed),
    };
    return query_run(conn,
                     "INSERT INTO vpn_address_ranges (tunnel_id, space, first, size, block_first, block_size, taken, "
                     "resting, used, free, rested, last_freed) "
                     "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                     values, VALUE_COUNT(values), NULL);
}

int ranges_update(struct store_conn *conn, const struct range *range) {
    size_t bytes = (range->size + 7) / 8;
    const struct value values[] = {
        value_number(range->tunnel_id),  value_number(range->space),        value_number(range->first),
        value_blob(range->taken, bytes), value_blob(range->resting, bytes), value_number(range->used),
        value_number(range->free),       value_number(range->rested),       value_number(range->last_freed),
    };
    return query_run(conn,
                     "UPDATE vpn_address_ranges SET taken = $4, resting = $5, used = $6, free = $7, rested = $8, "
                     "last_freed = $9 "
                     "WHERE tunnel_id = $1 AND space = $2 AND first = $3",
                     values, VALUE_COUNT(values), NULL);
}

int ranges_delete_block(struct store_conn *conn, int64_t tunnel_id, uint32_t block_first) {
    const struct value values[] = {value_number(tunnel_id), value_number(block_first)};
    return query_run(conn, "DELETE FROM vpn_address_ranges WHERE tunnel_id = $1 AND space = 0 AND block_first = $2",
                     values, VALUE_COUNT(values), NULL);
}

static int find(struct store_conn *conn, const char *sql, int64_t tunnel_id, enum range_space space, uint32_t address,
                struct range *ret_range) {
    const struct value values[] = {value_number(tunnel_id), value_number(space), value_number(address)};
    struct query query;
    int r = query_begin(conn, sql, values, VALUE_COUNT(values), &query);
    if (r < 0) {
        return r;
    }
    r = query_next(&query);
    if (r > 0) {
        struct range *range = ret_range;
        *range = (struct range){.tunnel_id = tunnel_id, .space = space};
        range->first = (uint32_t)query_int(&query, 0);
        range->size = (uint32_t)query_int(&query, 1);
        range->block_first = (uint32_t)query_int(&query, 2);
        range->block_size = query_count(&query, 3);
        (void)query_blob(&query, 4, range->taken, sizeof range->taken);
        (void)query_blob(&query, 5, range->resting, sizeof range->resting);
        range->used = (uint32_t)query_int(&query, 6);
        range->free = (uint32_t)query_int(&query, 7);
        range->rested = (uint32_t)query_int(&query, 8);
        range->last_freed = (uint32_t)query_int(&query, 9);
        r = range->size <= RANGE_SIZE_MAX ? 0 : -EBADMSG;
    } else if (r == 0) {
        r = -ENOENT;
    }
    query_end(&query);
    return r;
}

int ranges_find_free(struct store_conn *conn, int64_t tunnel_id, enum range_space space, struct range *ret_range) {
    return find(conn, SELECT_RANGE "AND free > 0 ORDER BY first LIMIT 1", tunnel_id, space, 0, ret_range);
}

int ranges_find_rested(struct store_conn *conn, int64_t tunnel_id, enum range_space space, struct range *ret_range) {
    /* The one with most of them: what came to rest last is then most likely left alone. */
    return find(conn, SELECT_RANGE "AND rested > 0 ORDER BY rested DESC, first LIMIT 1", tunnel_id, space, 0,
                ret_range);
}

int ranges_find_address(struct store_conn *conn, int64_t tunnel_id, enum range_space space, uint32_t address,
                        struct range *ret_range) {
    struct range range;
    int r = find(conn, SELECT_RANGE "AND first <= $3 ORDER BY first DESC LIMIT 1", tunnel_id, space, address, &range);
    if (r < 0) {
        return r;
    }
    if (address - range.first >= range.size) {
        return -ENOENT;
    }
    *ret_range = range;
    return 0;
}

int ranges_hub_size(struct store_conn *conn, int64_t tunnel_id, uint64_t *ret_size) {
    const struct value value = value_number(tunnel_id);
    int64_t size = 0;
    int r = query_number(conn,
                         "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM vpn_address_ranges "
                         "WHERE tunnel_id = $1 AND space = 0",
                         &value, 1, &size);
    if (r == 0) {
        *ret_size = (uint64_t)size;
    }
    return r;
}

int ranges_block_used(struct store_conn *conn, int64_t tunnel_id, uint32_t block_first, bool *ret_used) {
    const struct value values[] = {value_number(tunnel_id), value_number(block_first)};
    int64_t unused;
    int r = query_number(conn,
                         "SELECT first FROM vpn_address_ranges WHERE tunnel_id = $1 AND space = 0 AND block_first = $2 "
                         "AND used > 0 LIMIT 1",
                         values, VALUE_COUNT(values), &unused);
    if (r < 0 && r != -ENOENT) {
        return r;
    }
    *ret_used = r == 0;
    return 0;
}

int ranges_blocks(struct store_conn *conn, int64_t tunnel_id, struct range_block *ret_blocks, size_t room,
                  size_t *ret_count) {
    const struct value value = value_number(tunnel_id);
    struct query query;
    size_t count = 0;
    int r = query_begin(conn,
                        "SELECT DISTINCT block_first, block_size FROM vpn_address_ranges "
                        "WHERE tunnel_id = $1 AND space = 0 ORDER BY block_first",
                        &value, 1, &query);
    if (r < 0) {
        return r;
    }
    while (count < room && (r = query_next(&query)) == 1) {
        ret_blocks[count].first = (uint32_t)query_int(&query, 0);
        ret_blocks[count++].size = query_count(&query, 1);
    }
    query_end(&query);
    if (r < 0) {
        return r;
    }
    *ret_count = count;
    return 0;
}
