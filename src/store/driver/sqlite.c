/* The SQLite driver: WAL, and a commit is on the disk before it is acknowledged (synchronous=FULL). */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/driver/driver.h"

#define PARAMETERS_MAX 40
/* Pages in the write-ahead log at which a writer files them itself (128 MB): filing is left to another thread
 * (store_checkpoint()), which keeps it out of the way of commits, but falls behind while bulk requests follow each
 * other without a pause. */
#define BACKLOG_MAX 32000

struct driver_conn {
    sqlite3 *db;
    sqlite3_stmt *begin_read, *begin_write, *commit;
    struct driver_fault fault;
    _Atomic unsigned wal_pages; /* pages in the log after this connection's last commit */
    int64_t time;               /* the last one written, and its text: a transaction writes the same one many times */
    char time_text[CLOCK_TEXT_SIZE];
};

struct driver_statement {
    struct driver_conn *conn;
    sqlite3_stmt *stmt;
    bool started;                      /* start() made the first step already */
    int first;                         /* what it found */
    uint8_t place[PARAMETERS_MAX + 1]; /* SQLite numbers parameters in order of appearance, not by their digits */
    char times[PARAMETERS_MAX][CLOCK_TEXT_SIZE];
};

static int fail(struct driver_conn *conn, int code) {
    snprintf(conn->fault.message, sizeof conn->fault.message, "%s", conn->db ? sqlite3_errmsg(conn->db) : "no memory");
    conn->fault.constraint[0] = '\0';
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT: {
        int extended = sqlite3_extended_errcode(conn->db);
        if (extended != SQLITE_CONSTRAINT_UNIQUE && extended != SQLITE_CONSTRAINT_PRIMARYKEY) {
            return -EIO;
        }
        /* "UNIQUE constraint failed: table.a, table.b" -> "table_a_b_key", the name PostgreSQL gives it */
        const char *at = strchr(conn->fault.message, ':');
        const char *dot = at ? strchr(at, '.') : NULL;
        if (dot) {
            size_t table = (size_t)(dot - at) - 2;
            size_t size =
                (size_t)snprintf(conn->fault.constraint, sizeof conn->fault.constraint, "%.*s", (int)table, at + 2);
            for (; dot; dot = strchr(dot + 1, '.')) {
                size_t column = strcspn(dot + 1, ",");
                size += (size_t)snprintf(conn->fault.constraint + size, sizeof conn->fault.constraint - size, "_%.*s",
                                         (int)column, dot + 1);
                if (size >= sizeof conn->fault.constraint - 8) {
                    break;
                }
            }
            snprintf(conn->fault.constraint + size, sizeof conn->fault.constraint - size, "_key");
        }
        return -EEXIST;
    }
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_CANTOPEN:
        return -ENOENT;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_IOERR:
        /* a full disk shows itself so when the write-ahead log's index cannot grow */
        return sqlite3_system_errno(conn->db) == ENOSPC ? -ENOSPC : -EIO;
    }
    return -EIO;
}

static int run_script(struct driver_conn *conn, const char *sql) {
    int code = sqlite3_exec(conn->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : fail(conn, code);
}

static void conn_close(struct driver_conn *conn) {
    if (!conn) {
        return;
    }
    sqlite3_finalize(conn->begin_read);
    sqlite3_finalize(conn->begin_write);
    sqlite3_finalize(conn->commit);
    sqlite3_close(conn->db);
    free(conn);
}

/* Its statistics of memory cost a lock with every allocation, and nobody reads them. */
static void configure(void) {
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

/* In place of SQLite's own hook, which would file every 1,000 pages within a commit. */
static int committed(void *context, sqlite3 *db, const char *name, int pages) {
    struct driver_conn *conn = context;
    conn->wal_pages = (unsigned)pages;
    if (pages >= BACKLOG_MAX) {
        (void)sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    return SQLITE_OK;
}

static unsigned wal_pages(struct driver_conn *writer) {
    return writer->wal_pages;
}

static int checkpoint(struct driver_conn *conn) {
    int code = sqlite3_wal_checkpoint_v2(conn->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return code == SQLITE_OK || code == SQLITE_BUSY ? 0 : fail(conn, code);
}

static int conn_open(const char *where, const struct driver_options *options, struct driver_conn **ret_conn,
                     struct driver_fault *ret_fault) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure);
    struct driver_conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        snprintf(ret_fault->message, sizeof ret_fault->message, "no memory");
        return -ENOMEM;
    }
    char pragmas[320];
    /* Dirty pages of a bulk transaction should not spill; readers live on the kernel's page cache. */
    snprintf(pragmas, sizeof pragmas,
             "%sPRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cache_size=-%d; "
             "PRAGMA journal_size_limit=67108864; PRAGMA temp_store=MEMORY",
             options->exclusive ? "PRAGMA locking_mode=EXCLUSIVE; " : "", options->read_only ? 2048 : 32768);
    int r;
    int code = sqlite3_open_v2(where, &conn->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                                   (options->read_only || options->exclusive ? 0 : SQLITE_OPEN_CREATE),
                               NULL);
    if (code != SQLITE_OK) {
        r = fail(conn, code);
        goto fail;
    }
    sqlite3_extended_result_codes(conn->db, 1);
    sqlite3_busy_timeout(conn->db, (int)options->busy_ms);
    if (sqlite3_db_readonly(conn->db, "main") == 1) {
        snprintf(conn->fault.message, sizeof conn->fault.message, "the file is not writable");
        r = -EROFS;
        goto fail;
    }
    r = run_script(conn, pragmas);
    if (r < 0) {
        goto fail;
    }
    if (options->read_only) {
        r = run_script(conn, "PRAGMA query_only=ON");
        if (r < 0) {
            goto fail;
        }
    }
    sqlite3_wal_hook(conn->db, committed, conn);
    code = sqlite3_prepare_v2(conn->db, "BEGIN", -1, &conn->begin_read, NULL);
    code = code ? code : sqlite3_prepare_v2(conn->db, "BEGIN IMMEDIATE", -1, &conn->begin_write, NULL);
    code = code ? code : sqlite3_prepare_v2(conn->db, "COMMIT", -1, &conn->commit, NULL);
    if (code != SQLITE_OK) {
        r = fail(conn, code);
        goto fail;
    }
    *ret_conn = conn;
    return 0;
fail:
    *ret_fault = conn->fault;
    conn_close(conn);
    return r;
}

static const char *type_of(const char *word) {
    static const char *const types[][2] = {
        {"serial", "INTEGER PRIMARY KEY AUTOINCREMENT"},
        {"id", "INTEGER PRIMARY KEY"},
        {"uuid", "TEXT"},
        {"inet", "TEXT"},
        {"time", "TEXT"},
        {"bytes", "BLOB"},
        {"text", "TEXT"},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i][0], word) == 0) {
            return types[i][1];
        }
    }
    return NULL;
}

static int step_once(struct driver_conn *conn, sqlite3_stmt *stmt) {
    int code = sqlite3_step(stmt);
    int r = code == SQLITE_DONE ? 0 : fail(conn, code);
    sqlite3_reset(stmt);
    return r;
}

static int begin(struct driver_conn *conn, bool write) {
    return step_once(conn, write ? conn->begin_write : conn->begin_read);
}

static int commit(struct driver_conn *conn) {
    if (sqlite3_get_autocommit(conn->db)) {
        /* An error in a statement (disk full, I/O) has rolled the whole transaction back already. */
        snprintf(conn->fault.message, sizeof conn->fault.message, "the transaction was rolled back");
        return -EIO;
    }
    return step_once(conn, conn->commit);
}

static void rollback(struct driver_conn *conn) {
    if (!sqlite3_get_autocommit(conn->db)) {
        sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
    }
}

static void statement_free(struct driver_statement *statement) {
    if (statement) {
        sqlite3_finalize(statement->stmt);
        free(statement);
    }
}

static int statement_prepare(struct driver_conn *conn, const char *sql, struct driver_statement **ret_statement) {
    struct driver_statement *s = calloc(1, sizeof *s);
    if (!s) {
        snprintf(conn->fault.message, sizeof conn->fault.message, "no memory");
        return -ENOMEM;
    }
    s->conn = conn;
    int code = sqlite3_prepare_v3(conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->stmt, NULL);
    if (code != SQLITE_OK) {
        int r = fail(conn, code);
        statement_free(s);
        return r;
    }
    for (int i = 1; i <= PARAMETERS_MAX; i++) {
        char name[8];
        snprintf(name, sizeof name, "$%d", i);
        s->place[i] = (uint8_t)sqlite3_bind_parameter_index(s->stmt, name);
    }
    *ret_statement = s;
    return 0;
}

static int bind_value(struct driver_statement *s, size_t number, const struct value *v) {
    int place = s->place[number];
    const char *bytes = v->bytes ? v->bytes : v->text;
    if (!place) {
        return SQLITE_OK; /* a parameter that this statement does not use */
    }
    switch (v->kind) {
    case VALUE_NULL:
        return sqlite3_bind_null(s->stmt, place);
    case VALUE_NUMBER:
        return sqlite3_bind_int64(s->stmt, place, v->number);
    case VALUE_TEXT:
        return sqlite3_bind_text(s->stmt, place, bytes, (int)v->size, SQLITE_STATIC);
    case VALUE_BLOB:
        return sqlite3_bind_blob(s->stmt, place, bytes, (int)v->size, SQLITE_STATIC);
    case VALUE_TIME:
        if (v->number != s->conn->time || !s->conn->time_text[0]) {
            clock_format(v->number, s->conn->time_text);
            s->conn->time = v->number;
        }
        memcpy(s->times[number - 1], s->conn->time_text, CLOCK_TEXT_SIZE);
        return sqlite3_bind_text(s->stmt, place, s->times[number - 1], -1, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

static int row_of(struct driver_statement *s) {
    int code = sqlite3_step(s->stmt);
    return code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : fail(s->conn, code);
}

static void statement_finish(struct driver_statement *s) {
    sqlite3_reset(s->stmt);
    s->started = false;
}

static int statement_start(struct driver_statement *s, const struct value *values, size_t count) {
    if (count > PARAMETERS_MAX) {
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        int code = bind_value(s, i + 1, &values[i]);
        if (code != SQLITE_OK) {
            return fail(s->conn, code);
        }
    }
    s->first = row_of(s);
    if (s->first < 0) {
        statement_finish(s);
        return s->first;
    }
    s->started = true;
    return 0;
}

static int statement_next(struct driver_statement *s) {
    if (s->started) {
        s->started = false;
        return s->first;
    }
    return row_of(s);
}

static int64_t changed(struct driver_statement *s) {
    return sqlite3_changes64(s->conn->db);
}

static bool column_is_null(struct driver_statement *s, int column) {
    return sqlite3_column_type(s->stmt, column) == SQLITE_NULL;
}

static int64_t column_number(struct driver_statement *s, int column) {
    return sqlite3_column_int64(s->stmt, column);
}

static const char *column_text(struct driver_statement *s, int column) {
    const char *text = (const char *)sqlite3_column_text(s->stmt, column);
    return text ? text : "";
}

static const void *column_blob(struct driver_statement *s, int column, size_t *ret_size) {
    const void *blob = sqlite3_column_blob(s->stmt, column);
    *ret_size = (size_t)sqlite3_column_bytes(s->stmt, column);
    return blob;
}

static int64_t column_time(struct driver_statement *s, int column) {
    const char *text = (const char *)sqlite3_column_text(s->stmt, column);
    int64_t at = 0;
    if (text) {
        (void)clock_parse(text, &at); /* a time somebody broke by hand reads as none */
    }
    return at;
}

static const struct driver_fault *fault(struct driver_conn *conn) {
    return &conn->fault;
}

static void describe(const char *where, char *ret_text, size_t room) {
    snprintf(ret_text, room, "%s", where);
}

const struct driver driver_sqlite = {
    .name = "sqlite",
    .remedy = "See that its folder exists and that the user that sallyportd runs as may write there.",
    .read_only_remedy = "Make the file and its folder writable for the user that sallyportd runs as.",
    .tables_sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'",
    .columns_sql = "SELECT c.name, c.type, c.pk AND m.sql LIKE '%AUTOINCREMENT%' FROM pragma_table_info($1) c, "
                   "sqlite_master m WHERE m.name = $1 AND m.type = 'table' ORDER BY c.cid",
    .last_id_sql = "SELECT seq FROM sqlite_sequence WHERE name = $1",
    .set_id_sql = "UPDATE sqlite_sequence SET seq = $2 WHERE name = $1",
    .describe = describe,
    .open = conn_open,
    .close = conn_close,
    .script = run_script,
    .type = type_of,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .prepare = statement_prepare,
    .free = statement_free,
    .start = statement_start,
    .next = statement_next,
    .finish = statement_finish,
    .changed = changed,
    .is_null = column_is_null,
    .number = column_number,
    .text = column_text,
    .blob = column_blob,
    .time = column_time,
    .fault = fault,
    .wal_pages = wal_pages,
    .checkpoint = checkpoint,
};
