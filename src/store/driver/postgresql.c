/* The PostgreSQL driver. Statements go out in libpq's pipeline mode: what nobody waits for (send(), a statement's
 * preparation) is queued, and the next one whose answer is needed brings all of them to the server in one
 * exchange.
 *
 * A write transaction takes one advisory lock a schema when it begins. So writers of all gateways are served one after
 * the other, as with SQLite: what a transaction has looked at (free addresses, LANs that must not overlap, the
 * revision) cannot change under it, revisions are without gaps and in the order of commits, and nothing deadlocks.
 * Unique constraints remain the last word. Readers never wait for it. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "store/driver/driver.h"
#include "store/driver/postgresql_session.h"

#define PARAMETERS_MAX 40
#define QUEUE_MAX 256 /* commands in the queue before they are brought to the server in any case */
#define FLUSH_EVERY 16
#define TEXT_SIZE 64 /* a number, a time, an address */
#define NAME_SIZE 32 /* "s1f3a_123", a statement's name with the server */
#define XID_SIZE 24  /* a transaction's number */
/* Of timestamptz: microseconds from the Unix epoch to the 1st of January, 2000 (PostgreSQL, datatype/timestamp.h). */
#define EPOCH_US INT64_C(946684800000000)

/* Types by their numbers, which are part of the protocol (PostgreSQL, catalog/pg_type.dat). */
enum {
    TYPE_BOOL = 16,
    TYPE_BIGINT = 20,
    TYPE_SMALLINT = 21,
    TYPE_INTEGER = 23,
    TYPE_CIDR = 650,
    TYPE_INET = 869,
    TYPE_TIMESTAMPTZ = 1184,
    TYPE_UUID = 2950,
};

enum waiting_kind {
    WAITING_PREPARE,
    WAITING_SENT, /* nobody waits for its answer */
    WAITING_RUN,
};

struct waiting {
    enum waiting_kind kind;
    struct driver_statement *statement; /* NULL: gone meanwhile, or none */
};

struct driver_conn {
    PGconn *pg;
    char *where;
    bool lost;                            /* nothing more comes of it */
    bool unhurried;                       /* waits for answers as long as the connection stands */
    bool write;                           /* in a transaction that writes */
    char transaction[XID_SIZE];           /* its number */
    unsigned names;                       /* given to statements so far */
    uint32_t tag;                         /* and what no other connection's begin with: see ensure_prepared() */
    char timeline[SESSION_TIMELINE_SIZE]; /* writers */
    struct waiting queue[QUEUE_MAX];
    unsigned waiting;
    struct driver_fault fault;
    int64_t time; /* the last one written, and its text: a transaction writes the same one many times */
    char time_text[CLOCK_TEXT_SIZE];
};

struct driver_statement {
    struct driver_conn *conn;
    char *sql;
    char name[NAME_SIZE];
    enum { PREPARED_NOT, PREPARED_SENT, PREPARED } prepared;
    int parameters;
    PGresult *result;
    int row, rows;
    char text[8][TEXT_SIZE]; /* of columns that are not text; reused in turn */
    unsigned next_text;
};

static int fault_of(struct driver_conn *conn, const PGresult *result) {
    int r = session_fault(conn->pg, result, &conn->fault);
    /* a server that takes no writes any more, or a session that is not ours: the next one may be another */
    conn->lost = conn->lost || r == -ENOTCONN || r == -EROFS || r == -EPROTO;
    return r;
}

static int fail(struct driver_conn *conn, int error, const char *words) {
    conn->fault = (struct driver_fault){0};
    conn->lost = conn->lost || error == -ENOTCONN;
    snprintf(conn->fault.message, sizeof conn->fault.message, "%s", words);
    return error;
}

/* --- the queue --- */

/* Writes out what libpq holds, and waits for more to read if `read`. A server that says nothing for too long counts as
 * gone: the next attempt opens a connection of its own. */
static int move(struct driver_conn *conn, bool read) {
    for (;;) {
        int left = PQflush(conn->pg);
        if (left < 0) {
            return fault_of(conn, NULL);
        }
        if (left == 0 && (!read || !PQisBusy(conn->pg))) {
            return 0;
        }
        struct pollfd wait = {.fd = PQsocket(conn->pg), .events = (short)(POLLIN | (left ? POLLOUT : 0))};
        int r = poll(&wait, 1, conn->unhurried ? -1 : SESSION_SILENCE_MS);
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r == 0) {
            return fail(conn, -ENOTCONN, "no answer");
        }
        if (wait.revents & ~POLLOUT && PQconsumeInput(conn->pg) == 0) {
            return fault_of(conn, NULL);
        }
    }
}

/* One command's results up to the NULL that ends them; the last one that says something is kept. */
static int take(struct driver_conn *conn, PGresult **ret_result) {
    PGresult *kept = NULL;
    for (;;) {
        int r = move(conn, true);
        if (r < 0) {
            PQclear(kept);
            return r;
        }
        PGresult *result = PQgetResult(conn->pg);
        if (!result) {
            break;
        }
        PQclear(kept);
        kept = result;
    }
    if (!kept) {
        return fail(conn, -ENOTCONN, "the connection was lost");
    }
    *ret_result = kept;
    return 0;
}

static void queue_forget(struct driver_conn *conn) {
    for (unsigned i = 0; i < conn->waiting; i++) {
        struct driver_statement *s = conn->queue[i].statement;
        if (s && conn->queue[i].kind == WAITING_PREPARE) {
            s->prepared = PREPARED_NOT;
        }
    }
    conn->waiting = 0;
}

/* Brings what is queued to the server and takes the answers. `ret_last` (may be NULL): the last command's. The first
 * failure is returned; the server skips what came behind it. */
static int exchange(struct driver_conn *conn, PGresult **ret_last) {
    PGresult *last = NULL;
    int failure = 0;
    if (conn->lost) {
        queue_forget(conn);
        return -ENOTCONN;
    }
    if (PQpipelineSync(conn->pg) != 1) {
        queue_forget(conn);
        return fault_of(conn, NULL);
    }
    for (unsigned i = 0; i < conn->waiting; i++) {
        PQclear(last);
        last = NULL;
        int r = take(conn, &last);
        if (r < 0) {
            queue_forget(conn);
            return r;
        }
        ExecStatusType status = PQresultStatus(last);
        bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
        if (!good && failure == 0 && status != PGRES_PIPELINE_ABORTED) {
            failure = fault_of(conn, last);
            /* nobody can tell what an earlier statement ran into from the call that hears of it */
            failure = failure == -EEXIST && conn->queue[i].kind == WAITING_SENT ? -ESTALE : failure;
        }
        struct driver_statement *s = conn->queue[i].statement;
        if (s && conn->queue[i].kind == WAITING_PREPARE) {
            s->prepared = good ? PREPARED : PREPARED_NOT;
        }
    }
    conn->waiting = 0;
    PGresult *sync = NULL;
    int r = move(conn, true);
    if (r == 0) {
        sync = PQgetResult(conn->pg);
        r = sync && PQresultStatus(sync) == PGRES_PIPELINE_SYNC ? 0 : fault_of(conn, sync);
    }
    PQclear(sync);
    r = failure < 0 ? failure : r;
    if (r < 0 || !ret_last) {
        PQclear(last);
    } else {
        *ret_last = last;
    }
    return r;
}

static int queue_add(struct driver_conn *conn, int queued, enum waiting_kind kind, struct driver_statement *statement) {
    if (queued != 1) {
        return fault_of(conn, NULL);
    }
    conn->queue[conn->waiting].kind = kind;
    conn->queue[conn->waiting++].statement = statement;
    return 0;
}

static int make_room(struct driver_conn *conn) {
    return conn->waiting + 4 > QUEUE_MAX ? exchange(conn, NULL) : 0;
}

/* A plain command without parameters. */
static int command(struct driver_conn *conn, const char *sql) {
    int r = make_room(conn);
    return r < 0 ? r
                 : queue_add(conn, PQsendQueryParams(conn->pg, sql, 0, NULL, NULL, NULL, NULL, 1), WAITING_RUN, NULL);
}

/* --- connection --- */

static void conn_close(struct driver_conn *conn) {
    if (!conn) {
        return;
    }
    PQfinish(conn->pg);
    if (conn->where) {
        explicit_bzero(conn->where, strlen(conn->where));
        free(conn->where);
    }
    free(conn);
}

static int conn_open(const char *where, const struct driver_options *options, struct driver_conn **ret_conn,
                     struct driver_fault *ret_fault) {
    struct driver_conn *conn = calloc(1, sizeof *conn);
    int r = -ENOMEM;
    if (!conn || !(conn->where = strdup(where))) {
        snprintf(ret_fault->message, sizeof ret_fault->message, "no memory");
        goto fail;
    }
    conn->unhurried = options->unhurried;
    if (getrandom(&conn->tag, sizeof conn->tag, 0) != sizeof conn->tag) {
        conn->tag = (uint32_t)clock_mono_ns();
    }
    r = session_open(where, options, &conn->pg, ret_fault);
    if (r < 0) {
        goto fail;
    }
    if (!options->read_only) {
        session_timeline(conn->pg, conn->timeline);
    }
    if (PQsetnonblocking(conn->pg, 1) != 0 || PQenterPipelineMode(conn->pg) != 1) {
        r = session_fault(conn->pg, NULL, ret_fault);
        goto fail;
    }
    *ret_conn = conn;
    return 0;
fail:
    conn_close(conn);
    return r;
}

static bool alive(struct driver_conn *conn) {
    return !conn->lost && session_alive(conn->pg);
}

static bool server(struct driver_conn *conn, struct ip_addr *ret_address) {
    const char *address = PQhostaddr(conn->pg); /* "" of a Unix socket */
    return address && ip_parse(address, ret_address) == 0;
}

/* Several statements in one text are beyond the pipeline. They may build indexes over large tables. */
static int run_script(struct driver_conn *conn, const char *sql) {
    int r = exchange(conn, NULL);
    if (r < 0) {
        return r;
    }
    if (PQexitPipelineMode(conn->pg) != 1 || PQsetnonblocking(conn->pg, 0) != 0) {
        return fault_of(conn, NULL);
    }
    PQclear(PQexec(conn->pg, "SET statement_timeout = 0"));
    PGresult *result = PQexec(conn->pg, sql);
    ExecStatusType status = PQresultStatus(result);
    r = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? 0 : fault_of(conn, result);
    PQclear(result);
    char again[64];
    snprintf(again, sizeof again, "SET statement_timeout = %d", conn->unhurried ? 0 : SESSION_STATEMENT_MS);
    PQclear(PQexec(conn->pg, again));
    if (PQsetnonblocking(conn->pg, 1) != 0 || PQenterPipelineMode(conn->pg) != 1) {
        return r < 0 ? r : fault_of(conn, NULL);
    }
    return r;
}

static const char *type_of(const char *word) {
    static const char *const types[][2] = {
        {"serial", "BIGSERIAL PRIMARY KEY"},
        {"id", "BIGINT PRIMARY KEY"},
        {"uuid", "UUID"},
        {"inet", "INET"},
        {"time", "TIMESTAMPTZ"},
        {"bytes", "BYTEA"},
        /* compares and sorts alike everywhere, also after an upgrade of the system's locales */
        {"text", "TEXT COLLATE \"C\""},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i][0], word) == 0) {
            return types[i][1];
        }
    }
    return NULL;
}

/* --- transactions --- */

static int begin(struct driver_conn *conn, bool write) {
    PGresult *result = NULL;
    conn->write = write;
    conn->transaction[0] = '\0';
    if (!write) {
        return command(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    }
    int r = command(conn, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
    r = r < 0 ? r
              : command(conn, "SELECT pg_current_xact_id()::text, "
                              "pg_advisory_xact_lock(hashtext('sallyport'), hashtext(current_schema()))");
    r = r < 0 ? r : exchange(conn, &result);
    if (r == 0) {
        snprintf(conn->transaction, sizeof conn->transaction, "%s", PQgetvalue(result, 0, 0));
    } else {
        struct driver_fault fault = conn->fault;
        (void)command(conn, "ROLLBACK");
        (void)exchange(conn, NULL);
        conn->fault = fault;
    }
    PQclear(result);
    return r;
}

static int commit(struct driver_conn *conn) {
    PGresult *result = NULL;
    int r = command(conn, "COMMIT");
    if (r < 0) {
        return r;
    }
    r = exchange(conn, &result);
    if (r == 0 && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        r = fail(conn, -EIO, "the transaction was rolled back"); /* an error before has spoilt it */
    }
    PQclear(result);
    if (r == -ENOTCONN && conn->write && conn->transaction[0]) {
        /* it may have been lost before or after the server did it */
        r = session_outcome(conn->where, conn->transaction, conn->timeline);
    }
    conn->transaction[0] = '\0';
    return r;
}

static void rollback(struct driver_conn *conn) {
    struct driver_fault fault = conn->fault; /* what made the caller roll back is of interest, not this */
    if (!conn->lost) {
        /* twice: an error of what is still queued would have the first skipped */
        if (conn->waiting) {
            (void)exchange(conn, NULL);
        }
        if (command(conn, "ROLLBACK") == 0) {
            (void)exchange(conn, NULL);
        }
    }
    conn->transaction[0] = '\0';
    conn->fault = fault;
}

/* --- statements --- */

static void clear(struct driver_statement *s) {
    PQclear(s->result);
    s->result = NULL;
}

static void statement_free(struct driver_statement *s) {
    if (!s) {
        return;
    }
    struct driver_conn *conn = s->conn;
    for (unsigned i = 0; i < conn->waiting; i++) {
        if (conn->queue[i].statement == s) {
            conn->queue[i].statement = NULL;
        }
    }
    /* in a transaction that failed it would be refused: then the server keeps it until the connection ends */
    if (s->prepared != PREPARED_NOT && PQtransactionStatus(conn->pg) != PQTRANS_INERROR) {
        char sql[NAME_SIZE + 16];
        snprintf(sql, sizeof sql, "DEALLOCATE %s", s->name);
        (void)command(conn, sql);
    }
    clear(s);
    free(s->sql);
    free(s);
}

/* The highest $n of a text; ours have no $ elsewhere. */
static int count_parameters(const char *sql) {
    int most = 0;
    for (const char *at = strchr(sql, '$'); at; at = strchr(at + 1, '$')) {
        int number = atoi(at + 1);
        most = number > most ? number : most;
    }
    return most;
}

static int statement_prepare(struct driver_conn *conn, const char *sql, struct driver_statement **ret_statement) {
    struct driver_statement *s = calloc(1, sizeof *s);
    if (!s || !(s->sql = strdup(sql))) {
        free(s);
        return fail(conn, -ENOMEM, "no memory");
    }
    s->conn = conn;
    s->parameters = count_parameters(sql);
    *ret_statement = s;
    return 0;
}

static int ensure_prepared(struct driver_statement *s) {
    struct driver_conn *conn = s->conn;
    if (s->prepared != PREPARED_NOT) {
        return 0;
    }
    /* should the session turn out to be another's, its statements must not be taken for ours */
    snprintf(s->name, sizeof s->name, "s%" PRIx32 "_%u", conn->tag, ++conn->names);
    int r = queue_add(conn, PQsendPrepare(conn->pg, s->name, s->sql, 0, NULL), WAITING_PREPARE, s);
    if (r == 0) {
        s->prepared = PREPARED_SENT;
    }
    return r;
}

struct bound {
    const char *values[PARAMETERS_MAX];
    int sizes[PARAMETERS_MAX], formats[PARAMETERS_MAX];
    char numbers[PARAMETERS_MAX][TEXT_SIZE];
};

/* As text, whose type the server infers; but for bytes. */
static int bind_values(struct driver_statement *s, const struct value *values, size_t count, struct bound *bound) {
    struct driver_conn *conn = s->conn;
    size_t parameters = (size_t)s->parameters;
    if (parameters > PARAMETERS_MAX || count < parameters) {
        return fail(conn, -EINVAL, "wrong number of parameters");
    }
    for (size_t i = 0; i < parameters; i++) {
        const struct value *v = &values[i];
        const char *bytes = v->bytes ? v->bytes : v->text;
        bound->formats[i] = 0;
        bound->sizes[i] = (int)v->size;
        switch (v->kind) {
        case VALUE_NULL:
            bound->values[i] = NULL;
            break;
        case VALUE_NUMBER:
            snprintf(bound->numbers[i], TEXT_SIZE, "%" PRId64, v->number);
            bound->values[i] = bound->numbers[i];
            break;
        case VALUE_TEXT:
            bound->values[i] = bytes;
            break;
        case VALUE_BLOB:
            bound->values[i] = bytes;
            bound->formats[i] = 1;
            break;
        case VALUE_TIME:
            if (v->number != conn->time || !conn->time_text[0]) {
                clock_format(v->number, conn->time_text);
                conn->time = v->number;
            }
            memcpy(bound->numbers[i], conn->time_text, CLOCK_TEXT_SIZE);
            bound->values[i] = bound->numbers[i];
            break;
        }
    }
    return 0;
}

static int put_statement(struct driver_statement *s, const struct value *values, size_t count, enum waiting_kind kind) {
    struct driver_conn *conn = s->conn;
    struct bound bound;
    int r = make_room(conn);
    r = r < 0 ? r : bind_values(s, values, count, &bound);
    r = r < 0 ? r : ensure_prepared(s);
    return r < 0 ? r
                 : queue_add(conn,
                             PQsendQueryPrepared(conn->pg, s->name, s->parameters, bound.values, bound.sizes,
                                                 bound.formats, 1),
                             kind, s);
}

static int statement_send(struct driver_statement *s, const struct value *values, size_t count) {
    struct driver_conn *conn = s->conn;
    int r = put_statement(s, values, count, WAITING_SENT);
    if (r == 0 && conn->waiting % FLUSH_EVERY == 0 && PQflush(conn->pg) < 0) {
        r = fault_of(conn, NULL); /* the server works on these while we think of the next */
    }
    return r;
}

static int statement_start(struct driver_statement *s, const struct value *values, size_t count) {
    clear(s);
    int r = put_statement(s, values, count, WAITING_RUN);
    r = r < 0 ? r : exchange(s->conn, &s->result);
    if (r == 0) {
        s->row = -1;
        s->rows = PQntuples(s->result);
    }
    return r;
}

static int statement_next(struct driver_statement *s) {
    if (s->row + 1 >= s->rows) {
        return 0;
    }
    s->row++;
    return 1;
}

static int64_t changed(struct driver_statement *s) {
    return s->result ? strtoll(PQcmdTuples(s->result), NULL, 10) : 0;
}

/* What others take from the sequence meanwhile they take before or behind ours: whoever writes has the lock. */
static int reserve(struct driver_conn *conn, const char *table, int64_t count, int64_t *ret_first) {
    char sql[256];
    PGresult *result = NULL;
    snprintf(sql, sizeof sql,
             "SELECT (setval(s, nextval(s) + %" PRId64 ") - %" PRId64
             ")::text FROM pg_get_serial_sequence('%s', 'id') s",
             count - 1, count - 1, table);
    int r = command(conn, sql);
    r = r < 0 ? r : exchange(conn, &result);
    if (r == 0) {
        *ret_first = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    }
    PQclear(result);
    return r;
}

/* --- columns, in the protocol's binary form --- */

static bool column_is_null(struct driver_statement *s, int column) {
    return PQgetisnull(s->result, s->row, column);
}

static const uint8_t *bytes_of(struct driver_statement *s, int column, size_t *ret_size) {
    *ret_size = (size_t)PQgetlength(s->result, s->row, column);
    return (const uint8_t *)PQgetvalue(s->result, s->row, column);
}

static int64_t column_number(struct driver_statement *s, int column) {
    size_t size;
    const uint8_t *bytes = bytes_of(s, column, &size);
    switch (PQftype(s->result, column)) {
    case TYPE_BOOL:
        return size == 1 ? bytes[0] : 0;
    case TYPE_SMALLINT:
        return size == 2 ? (int16_t)be16_get(bytes) : 0;
    case TYPE_INTEGER:
        return size == 4 ? (int32_t)be32_get(bytes) : 0;
    case TYPE_BIGINT:
        return size == 8 ? (int64_t)be64_get(bytes) : 0;
    }
    return size ? strtoll((const char *)bytes, NULL, 10) : 0; /* libpq puts a NUL behind every value */
}

static int64_t column_time(struct driver_statement *s, int column) {
    size_t size;
    const uint8_t *bytes = bytes_of(s, column, &size);
    if (size != 8 || PQftype(s->result, column) != TYPE_TIMESTAMPTZ) {
        return 0;
    }
    int64_t at = (int64_t)be64_get(bytes);
    /* the ends of the range are "infinity", which only a hand could have written */
    return at == INT64_MIN || at > INT64_MAX - EPOCH_US ? 0 : at + EPOCH_US;
}

/* inet and cidr: family (2, or 3 for IPv6), bits, whether it is cidr, size, address (PostgreSQL, network.c). */
static void inet_text(const uint8_t *bytes, size_t size, char text[TEXT_SIZE]) {
    struct prefix prefix = {0};
    if (size < 4 || size > 20 || bytes[3] != size - 4 || (bytes[3] != 4 && bytes[3] != 16)) {
        return;
    }
    prefix.addr.family = bytes[3] == 4 ? AF_INET : AF_INET6;
    prefix.length = bytes[1];
    memcpy(prefix.addr.bytes, bytes + 4, bytes[3]);
    if (prefix.length == ip_bits(&prefix.addr)) {
        ip_format(&prefix.addr, text); /* as text says it; read as a prefix it is the same */
    } else {
        prefix_format(&prefix, text);
    }
}

static const char *column_text(struct driver_statement *s, int column) {
    size_t size;
    const uint8_t *bytes = bytes_of(s, column, &size);
    char *text = s->text[s->next_text++ % (sizeof s->text / sizeof *s->text)];
    struct uuid uuid;
    text[0] = '\0';
    if (column_is_null(s, column)) {
        return "";
    }
    switch (PQftype(s->result, column)) {
    case TYPE_UUID:
        if (size == sizeof uuid.bytes) {
            memcpy(uuid.bytes, bytes, sizeof uuid.bytes);
            uuid_format(&uuid, text);
        }
        return text;
    case TYPE_INET:
    case TYPE_CIDR:
        inet_text(bytes, size, text);
        return text;
    case TYPE_SMALLINT:
    case TYPE_INTEGER:
    case TYPE_BIGINT:
        snprintf(text, TEXT_SIZE, "%" PRId64, column_number(s, column));
        return text;
    case TYPE_TIMESTAMPTZ:
        return clock_format(column_time(s, column), text);
    }
    return (const char *)bytes;
}

static const void *column_blob(struct driver_statement *s, int column, size_t *ret_size) {
    return bytes_of(s, column, ret_size);
}

static const struct driver_fault *fault(struct driver_conn *conn) {
    return &conn->fault;
}

const struct driver driver_postgresql = {
    .name = "postgresql",
    .other_name = "postgres",
    .remedy = "See that PostgreSQL runs there, and that the URL's host, port, user, password and database are right.",
    .read_only_remedy = "It may be a standby: name the primary in the URL, or all hosts.",
    .tables_sql = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema() "
                  "AND table_type = 'BASE TABLE' AND (table_name LIKE 'vpn!_%' ESCAPE '!' OR "
                  "table_name = 'tenant_vpn_tunnels')",
    .columns_sql = "SELECT column_name::text, data_type::text, "
                   "(COALESCE(column_default, '') LIKE 'nextval%')::integer FROM information_schema.columns "
                   "WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
    .last_id_sql = "SELECT pg_sequence_last_value(pg_get_serial_sequence($1, 'id')) "
                   "WHERE pg_sequence_last_value(pg_get_serial_sequence($1, 'id')) IS NOT NULL",
    .set_id_sql = "SELECT setval(pg_get_serial_sequence($1, 'id'), $2)",
    .takes_all = true,
    .describe = session_describe,
    .open = conn_open,
    .close = conn_close,
    .alive = alive,
    .server = server,
    .script = run_script,
    .type = type_of,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .prepare = statement_prepare,
    .free = statement_free,
    .start = statement_start,
    .send = statement_send,
    .reserve = reserve,
    .next = statement_next,
    .finish = clear,
    .changed = changed,
    .is_null = column_is_null,
    .number = column_number,
    .text = column_text,
    .blob = column_blob,
    .time = column_time,
    .fault = fault,
    .announce = "SELECT pg_notify('sallyport', '')",
    .listen = postgresql_listen,
    .await = postgresql_await,
    .deafen = postgresql_deafen,
};
