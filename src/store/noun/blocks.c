#include "store/noun/blocks.h"

#include <errno.h>

#include "store/store.h"

int blocks_insert(struct store_conn *conn, const struct block *block) {
    const struct value values[] = {value_number(block->first), value_count(block->size)};
    return query_run(conn, "INSERT INTO vpn_free_blocks (first, size) VALUES ($1, $2)", values, VALUE_COUNT(values),
                     NULL);
}

int blocks_delete(struct store_conn *conn, uint32_t first) {
    const struct value value = value_number(first);
    return query_run(conn, "DELETE FROM vpn_free_blocks WHERE first = $1", &value, 1, NULL);
}

static int find(struct store_conn *conn, const char *sql, const struct value *value, struct block *ret_block) {
    struct query query;
    int r = query_begin(conn, sql, value, value ? 1 : 0, &query);
    if (r < 0) {
        return r;
    }
    r = query_next(&query);
    if (r > 0) {
        *ret_block = (struct block){.first = (uint32_t)query_int(&query, 0), .size = query_count(&query, 1)};
        r = 0;
    } else if (r == 0) {
        r = -ENOENT;
    }
    query_end(&query);
    return r;
}

int blocks_find(struct store_conn *conn, uint64_t size, struct block *ret_block) {
    const struct value value = value_count(size);
    return find(conn, "SELECT first, size FROM vpn_free_blocks WHERE size >= $1 ORDER BY size, first LIMIT 1", &value,
                ret_block);
}

int blocks_get(struct store_conn *conn, uint32_t first, struct block *ret_block) {
    const struct value value = value_number(first);
    return find(conn, "SELECT first, size FROM vpn_free_blocks WHERE first = $1", &value, ret_block);
}

int blocks_find_address(struct store_conn *conn, uint32_t address, struct block *ret_block) {
    const struct value value = value_number(address);
    struct block block;
    int r = find(conn, "SELECT first, size FROM vpn_free_blocks WHERE first <= $1 ORDER BY first DESC LIMIT 1", &value,
                 &block);
    if (r < 0) {
        return r;
    }
    if (address - block.first >= block.size) {
        return -ENOENT;
    }
    *ret_block = block;
    return 0;
}

int blocks_rest(struct store_conn *conn, const struct block *block, int64_t until) {
    const struct value values[] = {value_number(block->first), value_count(block->size), value_time(until)};
    return query_run(conn, "INSERT INTO vpn_resting_blocks (first, size, rests_until) VALUES ($1, $2, $3)", values,
                     VALUE_COUNT(values), NULL);
}

int blocks_wake(struct store_conn *conn, int64_t now, struct block *ret_block) {
    struct query query;
    struct block block = {0};
    int64_t id = 0, until = 0;
    int r = query_begin(conn, "SELECT first, size, id, rests_until FROM vpn_resting_blocks ORDER BY id LIMIT 1", NULL,
                        0, &query);
    if (r < 0) {
        return r;
    }
    r = query_next(&query);
    if (r == 1) {
        block = (struct block){.first = (uint32_t)query_int(&query, 0), .size = query_count(&query, 1)};
        id = query_int(&query, 2);
        until = query_time(&query, 3);
    }
    query_end(&query);
    if (r < 0) {
        return r;
    }
    if (r == 0 || until > now) {
        return -ENOENT;
    }
    const struct value value = value_number(id);
    r = query_run(conn, "DELETE FROM vpn_resting_blocks WHERE id = $1", &value, 1, NULL);
    if (r == 0) {
        *ret_block = block;
    }
    return r;
}

int blocks_free_size(struct store_conn *conn, uint64_t *ret_size) {
    int64_t size = 0;
    int r = query_number(conn,
                         "SELECT CAST((SELECT COALESCE(SUM(size), 0) FROM vpn_free_blocks) + "
                         "(SELECT COALESCE(SUM(size), 0) FROM vpn_resting_blocks) AS BIGINT)",
                         NULL, 0, &size);
    if (r == 0) {
        *ret_size = (uint64_t)size;
    }
    return r;
}

int blocks_clear(struct store_conn *conn) {
    int r = query_run(conn, "DELETE FROM vpn_free_blocks", NULL, 0, NULL);
    return r < 0 ? r : query_run(conn, "DELETE FROM vpn_resting_blocks", NULL, 0, NULL);
}
