/* Which tables and columns there are is read from the databases: a new step of the schema is moved without a word here.
 */
#include "store/migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "store/conn.h"
#include "store/noun/gateways.h"
#include "store/store.h"

#define TABLES_MAX 64
#define COLUMNS_MAX 40
#define TABLE_NAME 64
#define TELL_EVERY 1000 /* rows */
#define PAGE_ROWS 100   /* kept answers have up to some megabytes each */
#define ALIVE_US INT64_C(20000000)

struct column {
    char name[TABLE_NAME];
    enum value_kind kind;
    bool serial;
};

struct table {
    char name[TABLE_NAME];
    struct column columns[COLUMNS_MAX];
    size_t column_count;
    uint64_t rows;
};

struct move {
    struct store *from_store, *to_store;
    struct store_conn *from, *to; /* their writers */
    struct table tables[TABLES_MAX];
    size_t count;
    uint64_t done, whole;
    migrate_told_fn *told;
    void *context;
    struct migrated moved;
    struct problem *problem;
};

/* A type's name in either database. */
static enum value_kind kind_of(const char *type) {
    static const char *const numbers[] = {"bigint", "integer", "smallint", "BIGINT", "INTEGER", "SMALLINT"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(type, numbers[i]) == 0) {
            return VALUE_NUMBER;
        }
    }
    return strcmp(type, "timestamp with time zone") == 0             ? VALUE_TIME
           : strcmp(type, "bytea") == 0 || strcmp(type, "BLOB") == 0 ? VALUE_BLOB
                                                                     : VALUE_TEXT;
}

static int read_columns(struct store_conn *conn, struct table *table) {
    const struct value value = value_text(table->name);
    struct query query;
    int r = query_begin(conn, conn->driver->columns_sql, &value, 1, &query);
    if (r < 0) {
        return r;
    }
    table->column_count = 0;
    while ((r = query_next(&query)) == 1) {
        if (table->column_count == COLUMNS_MAX) {
            r = -E2BIG;
            break;
        }
        struct column *column = &table->columns[table->column_count++];
        query_copy(&query, 0, column->name, sizeof column->name);
        column->kind = kind_of(query_text(&query, 1));
        column->serial = query_int(&query, 2) != 0;
    }
    query_end(&query);
    return r;
}

/* Those that others refer to come first. */
static int rank_of(const struct table *table) {
    return strcmp(table->name, "tenant_vpn_tunnels") == 0 ? 0 : strcmp(table->name, "vpn_configurations") == 0 ? 1 : 2;
}

static int compare_rank(const void *a, const void *b) {
    int x = rank_of(a), y = rank_of(b);
    return x != y ? x - y : strcmp(((const struct table *)a)->name, ((const struct table *)b)->name);
}

/* Of whichever side knows times from text. */
static int read_tables(struct move *m) {
    struct store_conn *conn = store_is_shared(m->from_store) ? m->from : m->to;
    struct query query;
    int r = query_begin(conn, conn->driver->tables_sql, NULL, 0, &query);
    if (r < 0) {
        return r;
    }
    while ((r = query_next(&query)) == 1 && m->count < TABLES_MAX) {
        if (strcmp(query_text(&query, 0), "vpn_migrations") != 0) {
            query_copy(&query, 0, m->tables[m->count++].name, TABLE_NAME);
        }
    }
    query_end(&query);
    for (size_t i = 0; r == 0 && i < m->count; i++) {
        r = read_columns(conn, &m->tables[i]);
    }
    qsort(m->tables, m->count, sizeof *m->tables, compare_rank);
    return r;
}

static int count_rows(struct store_conn *conn, const char *table, uint64_t *ret_count) {
    char sql[TABLE_NAME + 32];
    int64_t count = 0;
    snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM %s", table);
    int r = query_number(conn, sql, NULL, 0, &count);
    if (r == 0) {
        *ret_count = (uint64_t)count;
    }
    return r;
}

/* Nobody may work on the source any more. A file is ours alone already. */
static int check_source(struct move *m) {
    if (!store_is_shared(m->from_store)) {
        return 0;
    }
    struct value since;
    int64_t now = 0, alive = 0;
    int r = gateways_clock(m->from, &now); /* by which they are written */
    if (r == 0) {
        since = value_time(now - ALIVE_US);
        r = query_number(m->from, "SELECT COUNT(*) FROM vpn_gateways WHERE heartbeat_at > $1", &since, 1, &alive);
    }
    if (r < 0) {
        return store_problem(m->from, r, m->problem);
    }
    if (alive) {
        return problem_set(
            m->problem, PROBLEM_CONFLICT, "store-in-use", "from",
            "%d gateway%s of the database %s were heard of just now. Stop them, wait 20 seconds, and try "
            "again.",
            (int)alive, alive == 1 ? "" : "s", m->from->where);
    }
    return 0;
}

static int check_target(struct move *m) {
    uint64_t rows = 0;
    for (size_t i = 0; i < m->count; i++) {
        const char *name = m->tables[i].name;
        int64_t revision = 0;
        bool counter = strcmp(name, "vpn_revision") == 0; /* has its row from the start */
        int r = counter ? query_number(m->to, "SELECT value FROM vpn_revision WHERE id = 1", NULL, 0, &revision)
                        : count_rows(m->to, name, &rows);
        if (r < 0) {
            return store_problem(m->to, r, m->problem);
        }
        if (counter ? revision != 0 : rows != 0) {
            return problem_set(m->problem, PROBLEM_CONFLICT, "store-not-empty", "to",
                               "The database %s is in use already (table %s has rows). Nothing was changed; name an "
                               "empty one.",
                               m->to->where, name);
        }
    }
    return 0;
}

/* A column of the row that the query stands on. What is short is copied: a driver reuses its room. */
static struct value take_value(const struct query *query, int column, const struct column *as) {
    struct value value = {.kind = VALUE_NULL};
    if (query_is_null(query, column)) {
        return value;
    }
    value.kind = as->kind;
    switch (as->kind) {
    case VALUE_NULL:
        break;
    case VALUE_NUMBER:
        value.number = query_int(query, column);
        break;
    case VALUE_TIME:
        return value_time(query_time(query, column));
    case VALUE_BLOB:
        value.bytes = query->conn->driver->blob(query->statement, column, &value.size);
        break;
    case VALUE_TEXT: {
        const char *text = query_text(query, column);
        value.size = strlen(text);
        if (value.size < sizeof value.text) {
            memcpy(value.text, text, value.size + 1);
        } else {
            value.bytes = text;
        }
        break;
    }
    }
    return value;
}

/* All rows of a query, in the source's transaction; a page at a time where it would hand over all at once. */
struct scan {
    struct query query;
    char fetch[TABLE_NAME + 40]; /* "": it gives one after the other by itself */
    unsigned rows;               /* of this page, so far */
};

/* Cursors go with the transaction. Each has a name of its own: what a prepared FETCH brings must not change. */
static int scan_begin(struct store_conn *conn, const char *name, const char *select, struct scan *ret_scan) {
    struct scan scan = {0};
    struct buf declare = {0};
    if (!conn->driver->takes_all) {
        int r = query_begin(conn, select, NULL, 0, &scan.query);
        *ret_scan = scan;
        return r;
    }
    buf_printf(&declare, "DECLARE scan_%s NO SCROLL CURSOR FOR %s", name, select);
    snprintf(scan.fetch, sizeof scan.fetch, "FETCH %d FROM scan_%s", PAGE_ROWS, name);
    int r = declare.failed ? -ENOMEM : query_run(conn, declare.data, NULL, 0, NULL);
    r = r < 0 ? r : query_begin(conn, scan.fetch, NULL, 0, &scan.query);
    buf_free(&declare);
    *ret_scan = scan;
    return r;
}

/* As query_next(). */
static int scan_next(struct scan *scan) {
    struct store_conn *conn = scan->query.conn;
    int r = query_next(&scan->query);
    if (r == 0 && scan->fetch[0] && scan->rows == PAGE_ROWS) {
        query_end(&scan->query);
        scan->rows = 0;
        r = query_begin(conn, scan->fetch, NULL, 0, &scan->query);
        r = r < 0 ? r : query_next(&scan->query);
    }
    scan->rows += r == 1;
    return r;
}

static void scan_end(struct scan *scan) {
    query_end(&scan->query);
}

static void compose(const struct table *table, struct buf *select, struct buf *insert) {
    buf_text(select, "SELECT ");
    buf_printf(insert, "INSERT INTO %s (", table->name);
    for (size_t i = 0; i < table->column_count; i++) {
        buf_printf(select, "%s%s", i ? ", " : "", table->columns[i].name);
        buf_printf(insert, "%s%s", i ? ", " : "", table->columns[i].name);
    }
    buf_printf(select, " FROM %s", table->name);
    buf_text(insert, ") VALUES (");
    for (size_t i = 0; i < table->column_count; i++) {
        buf_printf(insert, "%s$%zu", i ? ", " : "", i + 1);
    }
    buf_text(insert, ")");
}

static int copy_rows(struct move *m, struct table *table) {
    struct buf select = {0}, insert = {0};
    struct value values[COLUMNS_MAX];
    struct scan scan;
    compose(table, &select, &insert);
    int r = select.failed || insert.failed
                ? problem_set(m->problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.")
                : 0;
    if (r < 0) {
        goto end;
    }
    r = scan_begin(m->from, table->name, select.data, &scan);
    if (r < 0) {
        r = store_problem(m->from, r, m->problem);
        goto end;
    }
    int written = 0;
    while (written == 0 && (r = scan_next(&scan)) == 1) {
        for (size_t i = 0; i < table->column_count; i++) {
            values[i] = take_value(&scan.query, (int)i, &table->columns[i]);
        }
        written = query_run(m->to, insert.data, values, table->column_count, NULL);
        table->rows++;
        if (++m->done % TELL_EVERY == 0) {
            m->told(m->context, m->done, m->whole);
        }
    }
    scan_end(&scan);
    r = written < 0 ? store_problem(m->to, written, m->problem) : r < 0 ? store_problem(m->from, r, m->problem) : 0;
end:
    buf_free(&select);
    buf_free(&insert);
    return r;
}

/* New rows get numbers that no row ever had. */
static int continue_ids(struct move *m, const struct table *table) {
    struct value values[2] = {value_text(table->name)};
    struct query query;
    int64_t last = 0;
    if (!table->column_count || !table->columns[0].serial) {
        return 0;
    }
    int r = query_number(m->from, m->from->driver->last_id_sql, values, 1, &last);
    if (r < 0) {
        return r == -ENOENT ? 0 : store_problem(m->from, r, m->problem); /* there never was a row */
    }
    values[1] = value_number(last);
    r = query_begin(m->to, m->to->driver->set_id_sql, values, 2, &query);
    if (r < 0) {
        return store_problem(m->to, r, m->problem);
    }
    query_end(&query);
    return 0;
}

static int check_count(struct move *m, const struct table *table) {
    uint64_t rows = 0;
    int r = count_rows(m->to, table->name, &rows);
    if (r < 0) {
        return store_problem(m->to, r, m->problem);
    }
    if (rows != table->rows) {
        return problem_set(m->problem, PROBLEM_INTERNAL, "store-miscounted", NULL,
                           "Of table %s %llu rows were read and %llu arrived. Nothing was changed.", table->name,
                           (unsigned long long)table->rows, (unsigned long long)rows);
    }
    m->moved.rows += rows;
    m->moved.tenants = strcmp(table->name, "tenant_vpn_tunnels") == 0 ? rows : m->moved.tenants;
    m->moved.routers = strcmp(table->name, "vpn_configurations") == 0 ? rows : m->moved.routers;
    return 0;
}

static int copy(struct move *m) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->count; i++) {
        uint64_t rows = 0;
        r = count_rows(m->from, m->tables[i].name, &rows);
        m->whole += rows;
    }
    if (r < 0) {
        return store_problem(m->from, r, m->problem);
    }
    r = query_run(m->to, "DELETE FROM vpn_revision", NULL, 0, NULL);
    r = r < 0 ? store_problem(m->to, r, m->problem) : 0;
    for (size_t i = 0; r == 0 && i < m->count; i++) {
        r = copy_rows(m, &m->tables[i]);
    }
    for (size_t i = 0; r == 0 && i < m->count; i++) {
        r = continue_ids(m, &m->tables[i]);
        r = r < 0 ? r : check_count(m, &m->tables[i]);
    }
    m->told(m->context, m->done, m->whole);
    return r;
}

static int run(struct move *m) {
    int r = store_begin(m->from, true); /* nobody writes what would be left behind */
    if (r < 0) {
        return store_problem(m->from, r, m->problem);
    }
    r = store_begin(m->to, true);
    if (r < 0) {
        r = store_problem(m->to, r, m->problem);
        goto end;
    }
    r = read_tables(m);
    r = r < 0 ? store_problem(m->to, r, m->problem) : 0;
    r = r < 0 ? r : check_source(m);
    r = r < 0 ? r : check_target(m);
    r = r < 0 ? r : copy(m);
    if (r < 0) {
        store_rollback(m->to);
    } else {
        r = store_commit(m->to);
        r = r < 0 ? store_problem(m->to, r, m->problem) : 0;
    }
end:
    store_rollback(m->from);
    return r;
}

int store_migrate(const char *from, const char *to, migrate_told_fn *told, void *context, struct migrated *ret_migrated,
                  struct problem *ret_problem) {
    static const struct store_options alone = {.exclusive = true, .unhurried = true, .busy_ms = 500};
    static const struct store_options target = {.unhurried = true};
    struct move *m = calloc(1, sizeof *m);
    if (!m) {
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    m->told = told;
    m->context = context;
    m->problem = ret_problem;
    int r = store_open(from, &alone, &m->from_store, ret_problem);
    r = r < 0 ? r : store_open(to, &target, &m->to_store, ret_problem);
    if (r == 0) {
        m->from = store_writer(m->from_store);
        m->to = store_writer(m->to_store);
        r = run(m);
    }
    if (r == 0) {
        *ret_migrated = m->moved;
    }
    store_close(m->from_store);
    store_close(m->to_store);
    free(m);
    return r;
}
