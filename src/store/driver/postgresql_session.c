#include "store/driver/postgresql_session.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

#define CONNECT_S "5"
#define OUTCOME_WAIT_NS (5 * NSEC_PER_SEC)
#define OUTCOME_PAUSE_MS 100
#define POOLER_WORDS                                                                                                   \
    "a pooler in between hands sessions on after each transaction (pgbouncer: pool_mode = session is needed, or the "  \
    "server's own address)"

/* Defaults of ours, where neither the URL, nor a service file, nor the environment says otherwise: libpq reads the
 * environment last. */
static void defaults(void) {
    setenv("PGCONNECT_TIMEOUT", CONNECT_S, 0);
    setenv("PGAPPNAME", "sallyport", 0);
    /* of several hosts, the one that takes writes: what was read must not lag behind what was written */
    setenv("PGTARGETSESSIONATTRS", "read-write", 0);
}

static void ignore_notice(void *context, const PGresult *result) {
    (void)context;
    (void)result;
}

static void keep_words(struct driver_fault *fault, const char *words) {
    while (*words == ' ') {
        words++;
    }
    snprintf(fault->message, sizeof fault->message, "%s", words);
    for (char *c = fault->message; *c; c++) {
        *c = *c == '\n' || *c == '\t' ? ' ' : *c;
    }
    for (size_t size = strlen(fault->message); size && strchr(" .", fault->message[size - 1]); size--) {
        fault->message[size - 1] = '\0';
    }
}

/* SQLSTATE, "class" or whole (PostgreSQL manual, appendix A). The first that fits counts. */
static const struct {
    const char *state;
    int error;
} classes[] = {
    {"23505", EEXIST},  {"40001", EAGAIN},  {"40P01", EAGAIN}, {"55P03", EBUSY},    {"57014", ETIME},
    {"25006", EROFS},   {"25P03", EAGAIN},  {"53100", ENOSPC}, {"53300", ENOTCONN}, {"57P", ENOTCONN},
    {"08", ENOTCONN},   {"28", EACCES},     {"42501", EACCES}, {"3D000", ENOENT},   {"3F000", ENOENT},
    {"XX001", EBADMSG}, {"XX002", EBADMSG}, {"26000", EPROTO}, {"42P05", EPROTO},
};

/* Classes of refusals that pass: too many connections, starting or shutting down, a fault of the server's. */
static const char *const passing[] = {"08", "53", "57", "58", "XX"};

int session_fault(PGconn *pg, const PGresult *result, struct driver_fault *ret_fault) {
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    *ret_fault = (struct driver_fault){0};
    if (!state) {
        const char *words = result ? PQresultErrorMessage(result) : "";
        keep_words(ret_fault, words[0] ? words : PQerrorMessage(pg));
        return PQstatus(pg) == CONNECTION_BAD || !result ? -ENOTCONN : -EIO;
    }
    const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    keep_words(ret_fault, words ? words : PQresultErrorMessage(result));
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (strncmp(state, classes[i].state, strlen(classes[i].state)) == 0) {
            if (classes[i].error == EEXIST) {
                snprintf(ret_fault->constraint, sizeof ret_fault->constraint, "%s", constraint ? constraint : "");
            } else if (classes[i].error == EPROTO) { /* a statement of this session that is not in this session */
                keep_words(ret_fault, POOLER_WORDS);
            }
            return -classes[i].error;
        }
    }
    return -EIO;
}

static char *url_of(const char *where) {
    static const char scheme[] = "postgresql:";
    char *url = malloc(sizeof scheme + strlen(where));
    if (url) {
        memcpy(url, scheme, sizeof scheme - 1);
        memcpy(url + sizeof scheme - 1, where, strlen(where) + 1);
    }
    return url;
}

static void url_free(char *url) {
    if (url) {
        explicit_bzero(url, strlen(url));
        free(url);
    }
}

void session_describe(const char *where, char *ret_text, size_t room) {
    char *url = url_of(where);
    PQconninfoOption *options = url ? PQconninfoParse(url, NULL) : NULL;
    const char *user = "", *host = "", *port = "", *name = "", *service = "";
    for (const PQconninfoOption *o = options; o && o->keyword; o++) {
        const char *value = o->val ? o->val : "";
        user = strcmp(o->keyword, "user") == 0 ? value : user;
        host = strcmp(o->keyword, "host") == 0 ? value : host;
        port = strcmp(o->keyword, "port") == 0 ? value : port;
        name = strcmp(o->keyword, "dbname") == 0 ? value : name;
        service = strcmp(o->keyword, "service") == 0 ? value : service;
    }
    bool local = host[0] == '/';
    snprintf(ret_text, room, "postgresql://%s%s%s%s%s/%s%s%s%s%s", user, user[0] ? "@" : "", local ? "" : host,
             port[0] ? ":" : "", port, name, local ? "?host=" : "", local ? host : "", service[0] ? "?service=" : "",
             service);
    PQconninfoFree(options);
    url_free(url);
}

/* A peer that is gone without a word should be noticed within seconds, not within the kernel's two hours: what the URL
 * says of it stands. */
static void watch_peer(PGconn *pg) {
    static const char *const ours[] = {"keepalives_idle", "keepalives_interval", "keepalives_count",
                                       "tcp_user_timeout"};
    static const int options[] = {TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT};
    static const int values[] = {10, 5, 3, 20000};
    PQconninfoOption *info = PQconninfo(pg);
    for (const PQconninfoOption *o = info; o && o->keyword; o++) {
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
            if (strcmp(o->keyword, ours[i]) == 0 && (!o->val || !o->val[0])) {
                (void)setsockopt(PQsocket(pg), IPPROTO_TCP, options[i], &values[i], sizeof values[i]);
            }
        }
    }
    PQconninfoFree(info);
}

/* One more result, NULL behind the last. -ENOTCONN: it does not come. */
static int await_result(PGconn *pg, uint64_t until, PGresult **ret_result) {
    while (PQisBusy(pg)) {
        uint64_t now = clock_mono_ns();
        struct pollfd wait = {.fd = PQsocket(pg), .events = POLLIN};
        int r = now < until ? poll(&wait, 1, (int)((until - now) / NSEC_PER_MSEC) + 1) : 0;
        if (r == 0 || (r > 0 && PQconsumeInput(pg) != 1)) {
            return -ENOTCONN;
        }
    }
    *ret_result = PQgetResult(pg);
    return 0;
}

int session_ask(PGconn *pg, const char *sql, PGresult **ret_result, struct driver_fault *ret_fault) {
    uint64_t until = clock_mono_ns() + SESSION_SILENCE_MS * NSEC_PER_MSEC;
    PGresult *last = NULL, *more = NULL;
    int r = PQsendQuery(pg, sql) == 1 ? 0 : -ENOTCONN;
    for (r = r < 0 ? r : await_result(pg, until, &more); r == 0 && more; r = await_result(pg, until, &more)) {
        PQclear(last);
        last = more;
    }
    if (r < 0) {
        *ret_fault = (struct driver_fault){0};
        keep_words(ret_fault, PQerrorMessage(pg)[0] ? PQerrorMessage(pg) : "no answer");
    } else {
        ExecStatusType status = PQresultStatus(last);
        r = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? 0 : session_fault(pg, last, ret_fault);
    }
    if (r < 0 || !ret_result) {
        PQclear(last);
    } else {
        *ret_result = last;
    }
    return r;
}

/* One number or word. */
static int ask_word(PGconn *pg, const char *sql, char *ret_word, size_t room, struct driver_fault *ret_fault) {
    PGresult *result = NULL;
    int r = session_ask(pg, sql, &result, ret_fault);
    if (r == 0) {
        bool is_there = PQntuples(result) == 1 && !PQgetisnull(result, 0, 0);
        snprintf(ret_word, room, "%s", is_there ? PQgetvalue(result, 0, 0) : "");
    }
    PQclear(result);
    return r;
}

/* Names are looked up in one schema, the first of the user's path that exists, and nothing goes before it. */
static int pin_schema(PGconn *pg, struct driver_fault *ret_fault) {
    PGresult *result = NULL;
    char sql[256];
    int r = session_ask(pg, "SELECT current_schema()", &result, ret_fault);
    if (r < 0) {
        return r;
    }
    r = -EPROTO;
    if (PQgetisnull(result, 0, 0)) {
        keep_words(ret_fault, "none of the schemas in the user's search_path exists");
    } else {
        const char *schema = PQgetvalue(result, 0, 0);
        char *quoted = PQescapeIdentifier(pg, schema, strlen(schema));
        if (quoted && snprintf(sql, sizeof sql, "SET search_path = %s, pg_temp", quoted) < (int)sizeof sql) {
            r = session_ask(pg, sql, NULL, ret_fault);
        } else {
            keep_words(ret_fault, "the schema's name is too long");
        }
        PQfreemem(quoted);
    }
    PQclear(result);
    return r;
}

static int pin(PGconn *pg, const struct driver_options *options, struct driver_fault *ret_fault) {
    char sql[1024];
    snprintf(sql, sizeof sql,
             "SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; "
             "SET standard_conforming_strings = on; SET client_min_messages = warning; SET jit = off; "
             "SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off; "
             "SET default_transaction_read_only = %s; "
             /* a gateway that was stopped in mid-transaction must not hold up the others */
             "SET lock_timeout = %u; SET statement_timeout = %d; SET idle_in_transaction_session_timeout = %d; "
             /* what is acknowledged is durable, whatever is the habit of this server */
             "SELECT set_config('synchronous_commit', 'on', false) "
             "WHERE current_setting('synchronous_commit') IN ('off', 'local')",
             options->read_only ? "on" : "off", options->busy_ms, options->unhurried ? 0 : SESSION_STATEMENT_MS,
             options->unhurried ? 0 : SESSION_IDLE_MS);
    int r = session_ask(pg, sql, NULL, ret_fault);
    return r < 0 ? r : pin_schema(pg, ret_fault);
}

static int check_server(PGconn *pg, struct driver_fault *ret_fault) {
    int version = PQserverVersion(pg);
    const char *encoding = PQparameterStatus(pg, "server_encoding");
    if (version < SESSION_SERVER_LEAST) {
        snprintf(ret_fault->message, sizeof ret_fault->message, "it is PostgreSQL %d.%d, and %d or newer is needed",
                 version / 10000, version / 100 % 100, SESSION_SERVER_LEAST / 10000);
        return -EPROTO;
    }
    if (!encoding || strcmp(encoding, "UTF8") != 0) {
        snprintf(ret_fault->message, sizeof ret_fault->message,
                 "its encoding is %s, and UTF8 is needed: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
                 encoding ? encoding : "unknown");
        return -EPROTO;
    }
    return 0;
}

/* A pooler has sessions of its own, and one that hands the server's on after each transaction lets nothing last that a
 * session was told: its settings, its statements, that it listens. Then what this one is told is seen by another while
 * this one rests, or not by itself while another works. */
static int check_pooler(PGconn *pg, const char *url, struct driver_fault *ret_fault) {
    static const char seen[] = "SELECT current_setting('sallyport.session', true)";
    struct driver_fault ignored;
    char word[64], mark[64], sql[128];
    int r = ask_word(pg, "SELECT pg_backend_pid()", word, sizeof word, ret_fault);
    if (r < 0 || atoi(word) == PQbackendPID(pg)) {
        return r;
    }
    snprintf(mark, sizeof mark, "%.20s-%" PRIx64, word, clock_mono_ns());
    snprintf(sql, sizeof sql, "SET sallyport.session = '%s'", mark);
    r = session_ask(pg, sql, NULL, ret_fault);
    PGconn *other = r < 0 ? NULL : PQconnectdb(url);
    bool shared = false;
    if (other && PQstatus(other) == CONNECTION_OK) {
        shared = session_ask(other, "BEGIN", NULL, &ignored) < 0 ||
                 ask_word(other, seen, word, sizeof word, &ignored) < 0 || strcmp(word, mark) == 0;
        r = ask_word(pg, seen, word, sizeof word, ret_fault);
        shared = shared || (r == 0 && strcmp(word, mark) != 0);
    }
    PQfinish(other);
    if (shared) {
        *ret_fault = (struct driver_fault){0};
        keep_words(ret_fault, POOLER_WORDS);
        return -EPROTO;
    }
    return r;
}

/* Whether all that libpq says of its attempts, a line a server, is that it was refused for good. The verbosity is such
 * that a server's own words are "SEVERITY:  SQLSTATE". What comes without one is libpq's: nobody there, or a server
 * that takes no writes while one that does is wanted. */
static bool is_refusal(const char *words) {
    bool refused = false;
    for (const char *line = words; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t size = strcspn(line, "\n");
        const char *state = size > 7 ? line + size - 5 : "";
        if (strspn(state, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") < 5 || strncmp(state - 2, "  ", 2) != 0) {
            return false;
        }
        for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
            if (strncmp(state, passing[i], 2) == 0) {
                return false;
            }
        }
        refused = true;
    }
    return refused;
}

/* Not connected: is nobody there who could take us now, or does the server want none of us? Its words come in its own
 * language, so it is asked once more, for codes. 0: this time it took us. */
static int why_not(PGconn *pg, const char *url, struct driver_fault *ret_fault) {
    keep_words(ret_fault, PQerrorMessage(pg));
    if (PQconnectionNeedsPassword(pg)) {
        return -EACCES;
    }
    switch (PQping(url)) {
    case PQPING_OK:
        break;
    case PQPING_NO_ATTEMPT: /* a parameter that makes no sense */
        return -EPROTO;
    case PQPING_REJECT:
    case PQPING_NO_RESPONSE:
        return -ENOTCONN;
    }
    PQsetErrorVerbosity(pg, PQERRORS_SQLSTATE);
    PQreset(pg);
    PQsetErrorVerbosity(pg, PQERRORS_DEFAULT);
    return PQstatus(pg) == CONNECTION_OK ? 0 : is_refusal(PQerrorMessage(pg)) ? -EACCES : -ENOTCONN;
}

int session_open(const char *where, const struct driver_options *options, PGconn **ret_pg,
                 struct driver_fault *ret_fault) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    PQconninfoOption *parsed = NULL;
    PGconn *pg = NULL;
    int r = -ENOMEM;
    pthread_once(&once, defaults);
    *ret_fault = (struct driver_fault){0};
    char *url = url_of(where);
    if (!url) {
        keep_words(ret_fault, "no memory");
        goto fail;
    }
    /* libpq's own words about a URL may repeat it, password and all */
    parsed = PQconninfoParse(url, NULL);
    if (!parsed) {
        keep_words(ret_fault, "the URL is malformed; write postgresql://user@host/database, with %-escapes for "
                              "characters that mean something in a URL");
        r = -EPROTO;
        goto fail;
    }
    pg = PQconnectdb(url);
    if (!pg) {
        keep_words(ret_fault, "no memory");
        goto fail;
    }
    if (PQstatus(pg) != CONNECTION_OK && (r = why_not(pg, url, ret_fault)) < 0) {
        goto fail;
    }
    PQsetNoticeReceiver(pg, ignore_notice, NULL);
    watch_peer(pg);
    r = check_server(pg, ret_fault);
    r = r < 0 ? r : pin(pg, options, ret_fault);
    r = r < 0 ? r : check_pooler(pg, url, ret_fault);
    if (r < 0) {
        goto fail;
    }
    PQconninfoFree(parsed);
    url_free(url);
    *ret_pg = pg;
    return 0;
fail:
    PQfinish(pg);
    PQconninfoFree(parsed);
    url_free(url);
    return r;
}

bool session_alive(PGconn *pg) {
    struct pollfd look = {.fd = PQsocket(pg), .events = POLLIN};
    if (PQstatus(pg) != CONNECTION_OK || look.fd < 0) {
        return false;
    }
    if (poll(&look, 1, 0) == 1) {
        /* a notice, or the end */
        return PQconsumeInput(pg) == 1 && PQstatus(pg) == CONNECTION_OK && !(look.revents & (POLLERR | POLLHUP));
    }
    return true;
}

void session_timeline(PGconn *pg, char ret_timeline[SESSION_TIMELINE_SIZE]) {
    struct driver_fault ignored;
    if (ask_word(pg, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)", ret_timeline, SESSION_TIMELINE_SIZE,
                 &ignored) != 0) {
        ret_timeline[0] = '\0';
    }
}

/* The server's word: "committed", "aborted", "in progress"; NULL: too long ago. */
static int ask_outcome(PGconn *pg, const char *transaction, const char *timeline) {
    struct driver_fault ignored;
    char now[SESSION_TIMELINE_SIZE], word[16], sql[64];
    if (timeline[0]) {
        session_timeline(pg, now);
        if (strcmp(now, timeline) != 0) {
            return now[0] ? -EINPROGRESS : -EAGAIN; /* there the number may be another transaction's */
        }
    }
    snprintf(sql, sizeof sql, "SELECT pg_xact_status('%s')", transaction);
    if (ask_word(pg, sql, word, sizeof word, &ignored) < 0) {
        return -EAGAIN;
    }
    return strcmp(word, "committed") == 0     ? 0
           : strcmp(word, "aborted") == 0     ? -ENOTCONN
           : strcmp(word, "in progress") == 0 ? -EAGAIN
                                              : -EINPROGRESS;
}

int session_outcome(const char *where, const char *transaction, const char *timeline) {
    const struct driver_options options = {.busy_ms = 1000, .read_only = true};
    uint64_t until = clock_mono_ns() + OUTCOME_WAIT_NS;
    int r;
    do {
        struct driver_fault fault;
        PGconn *pg = NULL;
        r = session_open(where, &options, &pg, &fault);
        r = r < 0 ? -EAGAIN : ask_outcome(pg, transaction, timeline);
        PQfinish(pg);
        if (r == -EAGAIN) {
            (void)poll(NULL, 0, OUTCOME_PAUSE_MS);
        }
    } while (r == -EAGAIN && clock_mono_ns() < until);
    return r == -EAGAIN ? -EINPROGRESS : r;
}
