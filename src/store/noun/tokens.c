#include "store/noun/tokens.h"

#include <errno.h>
#include <stdlib.h>

#include "store/store.h"

#define COLUMNS "token_id, name, scope, tenant_id, hash, created_at, expires_at, last_used_at"

static void row_read(const struct query *query, struct token_row *row) {
    *row = (struct token_row){0};
    query_uuid(query, 0, &row->id);
    query_copy(query, 1, row->name, sizeof row->name);
    query_copy(query, 2, row->scope, sizeof row->scope);
    query_uuid(query, 3, &row->tenant_id);
    (void)query_blob(query, 4, row->hash, sizeof row->hash);
    row->created_at = query_time(query, 5);
    row->expires_at = query_time(query, 6);
    row->last_used_at = query_time(query, 7);
}

int tokens_insert(struct store_conn *conn, const struct token_row *row) {
    const struct value values[] = {
        value_uuid(&row->id),
        value_text(row->name),
        value_text(row->scope),
        value_uuid(&row->tenant_id),
        value_blob(row->hash, sizeof row->hash),
        value_time(row->created_at),
        value_time(row->expires_at),
    };
    int64_t changed; /* asked for, so that a duplicate shows here and not in the commit */
    return query_run(conn,
                     "INSERT INTO vpn_tokens (token_id, name, scope, tenant_id, hash, created_at, expires_at) "
                     "VALUES ($1, $2, $3, $4, $5, $6, $7)",
                     values, VALUE_COUNT(values), &changed);
}

static int get(struct store_conn *conn, const char *sql, struct value value, struct token_row *ret_row) {
    struct query query;
    int r = query_first(conn, sql, &value, 1, &query);
    if (r == 0) {
        row_read(&query, ret_row);
        query_end(&query);
    }
    return r;
}

int tokens_get(struct store_conn *conn, const struct uuid *id, struct token_row *ret_row) {
    return get(conn, "SELECT " COLUMNS " FROM vpn_tokens WHERE token_id = $1", value_uuid(id), ret_row);
}

int tokens_get_by_hash(struct store_conn *conn, const uint8_t hash[TOKEN_HASH_SIZE], struct token_row *ret_row) {
    return get(conn, "SELECT " COLUMNS " FROM vpn_tokens WHERE hash = $1", value_blob(hash, TOKEN_HASH_SIZE), ret_row);
}

int tokens_delete(struct store_conn *conn, const struct uuid *id) {
    const struct value value = value_uuid(id);
    int64_t changed = 0;
    int r = query_run(conn, "DELETE FROM vpn_tokens WHERE token_id = $1", &value, 1, &changed);
    return r < 0 ? r : changed ? 0 : -ENOENT;
}

int tokens_set_used(struct store_conn *conn, const struct uuid *id, int64_t at) {
    const struct value values[] = {value_uuid(id), value_time(at)};
    return query_run(conn, "UPDATE vpn_tokens SET last_used_at = $2 WHERE token_id = $1", values, VALUE_COUNT(values),
                     NULL);
}

int tokens_list(struct store_conn *conn, struct token_row **ret_rows, size_t *ret_count) {
    struct query query;
    struct token_row *rows = NULL;
    size_t count = 0, room = 0;
    int r = query_begin(conn, "SELECT " COLUMNS " FROM vpn_tokens ORDER BY id", NULL, 0, &query);
    if (r < 0) {
        return r;
    }
    while ((r = query_next(&query)) == 1) {
        if (count == room) {
            room = room ? room * 2 : 16;
            struct token_row *more = reallocarray(rows, room, sizeof *rows);
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
