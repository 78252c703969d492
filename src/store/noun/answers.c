#include "store/noun/answers.h"

#include <errno.h>
#include <stdlib.h>

#include "store/store.h"

int answers_put(struct store_conn *conn, const uint8_t key_hash[ANSWER_HASH_SIZE],
                const uint8_t caller[ANSWER_HASH_SIZE], const uint8_t request_hash[ANSWER_HASH_SIZE], int status,
                const void *body, size_t size, int64_t now) {
    const struct value values[] = {
        value_blob(key_hash, ANSWER_HASH_SIZE),
        value_blob(request_hash, ANSWER_HASH_SIZE),
        value_number(status),
        value_blob(body, size),
        value_time(now),
        value_blob(caller, ANSWER_HASH_SIZE),
        value_count(size),
    };
    return query_run(conn,
                     "INSERT INTO vpn_answers (key_hash, request_hash, status, body, created_at, caller, size) "
                     "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key_hash) DO UPDATE SET "
                     "request_hash = excluded.request_hash, status = excluded.status, body = excluded.body, "
                     "created_at = excluded.created_at, size = excluded.size",
                     values, VALUE_COUNT(values), NULL);
}

int answers_get(struct store_conn *conn, const uint8_t key_hash[ANSWER_HASH_SIZE], int64_t since,
                uint8_t ret_request_hash[ANSWER_HASH_SIZE], int *ret_status, void **ret_body, size_t *ret_size) {
    const struct value values[] = {value_blob(key_hash, ANSWER_HASH_SIZE), value_time(since)};
    struct query query;
    int r = query_begin(conn,
                        "SELECT request_hash, status, LENGTH(body), body FROM vpn_answers "
                        "WHERE key_hash = $1 AND created_at > $2",
                        values, VALUE_COUNT(values), &query);
    if (r < 0) {
        return r;
    }
    r = query_next(&query);
    if (r == 1) {
        size_t size = (size_t)query_count(&query, 2);
        void *body = malloc(size ? size : 1);
        if (body) {
            (void)query_blob(&query, 0, ret_request_hash, ANSWER_HASH_SIZE);
            *ret_status = (int)query_int(&query, 1);
            *ret_size = query_blob(&query, 3, body, size);
            *ret_body = body;
            r = 0;
        } else {
            r = -ENOMEM;
        }
    } else if (r == 0) {
        r = -ENOENT;
    }
    query_end(&query);
    return r;
}

int answers_trim(struct store_conn *conn, const uint8_t caller[ANSWER_HASH_SIZE], size_t most, uint64_t most_bytes) {
    const struct value of = value_blob(caller, ANSWER_HASH_SIZE);
    struct query query;
    uint64_t bytes = 0;
    int64_t last = 0;
    size_t count = 0;
    int r = query_begin(conn, "SELECT created_at, size FROM vpn_answers WHERE caller = $1 ORDER BY created_at DESC",
                        &of, 1, &query);
    if (r < 0) {
        return r;
    }
    while (!last && (r = query_next(&query)) == 1) {
        bytes += query_count(&query, 1);
        if (++count > most || (bytes > most_bytes && count > 1)) {
            last = query_time(&query, 0);
        }
    }
    query_end(&query);
    if (r < 0 || !last) {
        return r < 0 ? r : 0;
    }
    const struct value values[] = {of, value_time(last)};
    return query_run(conn, "DELETE FROM vpn_answers WHERE caller = $1 AND created_at <= $2", values,
                     VALUE_COUNT(values), NULL);
}

int answers_forget(struct store_conn *conn, int64_t until) {
    const struct value value = value_time(until);
    return query_run(conn, "DELETE FROM vpn_answers WHERE created_at <= $1", &value, 1, NULL);
}
