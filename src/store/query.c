/* Statements by their text, prepared once per connection; and columns as the model's values. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/conn.h"
#include "store/driver/backoff.h"
#include "store/store.h"

void conn_plan(struct store_conn *conn, const struct driver *driver, const char *where,
               const struct driver_options *options, struct backoff *backoff) {
    *conn = (struct store_conn){.driver = driver, .url = where, .options = *options, .backoff = backoff};
    driver->describe(where, conn->where, sizeof conn->where);
}

int conn_open(const struct driver *driver, const char *where, const struct driver_options *options,
              struct store_conn *ret_conn) {
    conn_plan(ret_conn, driver, where, options, NULL);
    return conn_revive(ret_conn);
}

static void forget_statements(struct store_conn *conn) {
    for (unsigned i = 0; i < CONN_STATEMENTS; i++) {
        if (conn->statements[i].statement) {
            conn->driver->free(conn->statements[i].statement);
            free(conn->statements[i].sql);
        }
    }
    memset(conn->statements, 0, sizeof conn->statements);
    conn->statement_count = 0;
}

int conn_revive(struct store_conn *conn) {
    if (conn->conn && (!conn->driver->alive || conn->driver->alive(conn->conn))) {
        return 0;
    }
    forget_statements(conn);
    if (conn->conn) {
        conn->driver->close(conn->conn);
        conn->conn = NULL;
    }
    if (conn->backoff && !backoff_may_try(conn->backoff, &conn->open_failure)) {
        return -ENOTCONN;
    }
    int r = conn->driver->open(conn->url, &conn->options, &conn->conn, &conn->open_failure);
    if (conn->backoff) {
        backoff_tried(conn->backoff, r, &conn->open_failure);
    }
    return r;
}

void conn_close(struct store_conn *conn) {
    forget_statements(conn);
    if (conn->conn) {
        conn->driver->close(conn->conn);
    }
    *conn = (struct store_conn){0};
}

/* Texts are literals, but for lists, whose text is put together from their filters in a buffer that is reused: so the
 * pointer finds the slot and the text confirms it. A literal that shares its slot is looked for in the next ones. */
static int find(struct store_conn *conn, const char *sql, struct driver_statement **ret_statement) {
    uintptr_t at = (uintptr_t)sql;
    unsigned slot = (unsigned)((at >> 3) * 0x9e3779b1u >> 8) & (CONN_STATEMENTS - 1);
    for (unsigned i = 0; i < CONN_STATEMENTS; i++, slot = (slot + 1) & (CONN_STATEMENTS - 1)) {
        if (!conn->statements[slot].statement) {
            break;
        }
        if (conn->statements[slot].text == sql && strcmp(conn->statements[slot].sql, sql) == 0) {
            *ret_statement = conn->statements[slot].statement;
            return 0;
        }
    }
    if (conn->statement_count >= CONN_STATEMENTS / 4 * 3) {
        forget_statements(conn); /* lists of many shapes filled it: start over rather than keep an order of use */
        slot = (unsigned)((at >> 3) * 0x9e3779b1u >> 8) & (CONN_STATEMENTS - 1);
    }
    struct driver_statement *statement;
    int r = conn->driver->prepare(conn->conn, sql, &statement);
    if (r < 0) {
        return r;
    }
    char *copy = strdup(sql);
    if (!copy) {
        conn->driver->free(statement);
        return -ENOMEM;
    }
    conn->statements[slot].text = sql;
    conn->statements[slot].sql = copy;
    conn->statements[slot].statement = statement;
    conn->statement_count++;
    *ret_statement = statement;
    return 0;
}

int query_begin(struct store_conn *conn, const char *sql, const struct value *values, size_t count,
                struct query *ret_query) {
    struct query query = {.conn = conn};
    bool free_standing = !conn->in_transaction && !conn->open_queries;
    int r;
    /* A reader whose connection turns out to be lost asks again on a new one: nobody has seen anything of it yet. */
    for (int attempt = 0; attempt < 2; attempt++) {
        r = free_standing ? conn_revive(conn) : 0;
        r = r < 0 ? r : find(conn, sql, &query.statement);
        r = r < 0 ? r : conn->driver->start(query.statement, values, count);
        if (r != -ENOTCONN || !free_standing || !conn->options.read_only || !conn->conn) {
            break;
        }
    }
    if (r < 0) {
        return r;
    }
    conn->open_queries++;
    *ret_query = query;
    return 0;
}

int query_next(struct query *query) {
    if (query->done) {
        return 0;
    }
    int r = query->conn->driver->next(query->statement);
    query->done = r <= 0;
    return r;
}

void query_end(struct query *query) {
    if (query->statement) {
        query->conn->driver->finish(query->statement);
        query->conn->open_queries--;
        query->statement = NULL;
    }
}

int query_run(struct store_conn *conn, const char *sql, const struct value *values, size_t count,
              int64_t *ret_changed) {
    struct query query;
    if (!ret_changed && conn->in_transaction && conn->driver->send) {
        struct driver_statement *statement;
        int r = find(conn, sql, &statement);
        return r < 0 ? r : conn->driver->send(statement, values, count);
    }
    int r = query_begin(conn, sql, values, count, &query);
    if (r < 0) {
        return r;
    }
    if (ret_changed) {
        *ret_changed = conn->driver->changed(query.statement);
    }
    query_end(&query);
    return 0;
}

int query_first(struct store_conn *conn, const char *sql, const struct value *values, size_t count,
                struct query *ret_query) {
    struct query query;
    int r = query_begin(conn, sql, values, count, &query);
    if (r < 0) {
        return r;
    }
    r = query_next(&query);
    if (r != 1) {
        query_end(&query);
        return r < 0 ? r : -ENOENT;
    }
    *ret_query = query;
    return 0;
}

int query_number(struct store_conn *conn, const char *sql, const struct value *values, size_t count,
                 int64_t *ret_number) {
    struct query query;
    int r = query_first(conn, sql, values, count, &query);
    if (r < 0) {
        return r;
    }
    int64_t number = query_int(&query, 0);
    r = query_next(&query); /* INSERT ... RETURNING is done only when stepped to its end */
    query_end(&query);
    if (r < 0) {
        return r;
    }
    *ret_number = number;
    return 0;
}

bool query_is_null(const struct query *query, int column) {
    return query->conn->driver->is_null(query->statement, column);
}

int64_t query_int(const struct query *query, int column) {
    return query->conn->driver->number(query->statement, column);
}

uint64_t query_count(const struct query *query, int column) {
    int64_t number = query_int(query, column);
    return number > 0 ? (uint64_t)number : 0;
}

const char *query_text(const struct query *query, int column) {
    return query->conn->driver->text(query->statement, column);
}

int64_t query_time(const struct query *query, int column) {
    return query->conn->driver->time(query->statement, column);
}

size_t query_blob(const struct query *query, int column, void *to, size_t room) {
    size_t size;
    const void *blob = query->conn->driver->blob(query->statement, column, &size);
    size = size < room ? size : room;
    if (size && blob) {
        memcpy(to, blob, size);
        return size;
    }
    return 0;
}

void query_copy(const struct query *query, int column, char *to, size_t room) {
    snprintf(to, room, "%s", query_text(query, column));
}

void query_uuid(const struct query *query, int column, struct uuid *ret_uuid) {
    if (uuid_parse(query_text(query, column), ret_uuid) < 0) {
        *ret_uuid = (struct uuid){0};
    }
}

void query_ip(const struct query *query, int column, struct ip_addr *ret_addr) {
    if (ip_parse(query_text(query, column), ret_addr) < 0) {
        *ret_addr = (struct ip_addr){0};
    }
}

void query_prefix(const struct query *query, int column, struct prefix *ret_prefix) {
    if (prefix_parse(query_text(query, column), ret_prefix, NULL) < 0) {
        *ret_prefix = (struct prefix){0};
    }
}

void query_key(const struct query *query, int column, struct key *ret_key) {
    if (key_from_base64(query_text(query, column), ret_key) < 0) {
        *ret_key = (struct key){0};
    }
}
