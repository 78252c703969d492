/* What only a server does: it goes away in the middle, others write at the same time, answers come late. */
#include "database.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "../../sanitized.h"
#include "base/clock.h"
#include "schema.h"
#include "store/driver/backoff.h"
#include "store/driver/postgresql_session.h"
#include "store/migrate.h"
#include "store/noun/changes.h"
#include "store/noun/settings.h"

/* Ends every session of the tests' database but the one that asks. */
static void end_sessions(const struct database *d) {
    schema_sql(d->url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
                       "pid <> pg_backend_pid()");
}

static void passwords_are_not_described(void **state) {
    static const char *const urls[] = {
        "//user:hunter2@host:5433/name",
        "///name?user=user&password=hunter2&host=host",
        "//user:hunter2@/name?host=/run/postgresql",
        "//user:hunter2%zz@host/name",
        "//user:hunter2@[::1/name",
    };
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        char text[256];
        struct problem problem = {0};
        struct store *store = NULL;
        char url[256];
        session_describe(urls[i], text, sizeof text);
        assert_null(strstr(text, "hunter2"));
        snprintf(url, sizeof url, "postgresql:%s", urls[i]);
        if (i >= 3) { /* malformed: libpq's own words would repeat it */
            assert_true(store_open(url, NULL, &store, &problem) < 0);
            assert_string_equal(problem.type, "store-unusable");
            assert_null(strstr(problem.detail, "hunter2"));
        }
    }
    char text[256];
    session_describe("//user:hunter2@host:5433/name", text, sizeof text);
    assert_string_equal(text, "postgresql://user@host:5433/name");
}

static void unknown_schemes_are_not_repeated_whole(void **state) {
    struct store *store = NULL;
    struct problem problem = {0};
    (void)state;
    assert_true(store_open("mysql://user:hunter2@host/name", NULL, &store, &problem) < 0);
    assert_string_equal(problem.type, "store-url");
    assert_null(strstr(problem.detail, "hunter2"));
}

static void a_connection_lost_between_transactions_is_opened_again(void **state) {
    struct database *d = *state;
    struct store_conn *reader;
    struct problem problem;
    char value[16];
    assert_int_equal(store_reader_take(d->store, &reader, &problem), 0);
    assert_int_equal(settings_set(d->conn, "a", "1"), 0);
    end_sessions(d);
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(settings_set(d->conn, "b", "1"), 0);
    assert_int_equal(store_commit(d->conn), 0);
    assert_int_equal(settings_get(reader, "b", value, sizeof value), 0);
    store_reader_put(d->store, reader);
}

static void a_connection_lost_in_a_transaction_undoes_it(void **state) {
    struct database *d = *state;
    struct problem problem = {0};
    char value[16];
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(settings_set(d->conn, "a", "1"), 0);
    end_sessions(d);
    int r = store_commit(d->conn);
    assert_int_equal(r, -ENOTCONN);
    (void)store_problem(d->conn, r, &problem);
    assert_string_equal(problem.type, PROBLEM_STORE_AWAY);
    assert_int_equal(settings_get(d->conn, "a", value, sizeof value), -ENOENT);
    assert_int_equal(settings_set(d->conn, "a", "2"), 0);
}

static void what_was_sent_ahead_fails_at_the_end(void **state) {
    struct database *d = *state;
    char value[16];
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(settings_set(d->conn, "a", "1"), 0);
    assert_int_equal(query_run(d->conn, "INSERT INTO vpn_settings (name, value) VALUES ('a', '2')", NULL, 0, NULL), 0);
    assert_int_equal(store_commit(d->conn), -ESTALE);
    assert_int_equal(settings_get(d->conn, "a", value, sizeof value), -ENOENT);
    assert_int_equal(settings_set(d->conn, "a", "3"), 0); /* and the connection is as good as before */
}

static void a_statement_that_failed_can_be_used_again(void **state) {
    struct database *d = *state;
    static const char sql[] = "SELECT COUNT(*) FROM late";
    int64_t number = 0;
    assert_int_equal(query_number(d->conn, sql, NULL, 0, &number), -EIO);
    schema_sql(d->url, "CREATE TABLE late (id bigint)");
    assert_int_equal(query_number(d->conn, sql, NULL, 0, &number), 0);
}

static void a_session_that_is_not_ours_is_noticed_and_left(void **state) {
    struct database *d = *state;
    static const char sql[] = "SELECT COUNT(*) FROM vpn_settings";
    int64_t number = 0;
    struct problem problem = {0};
    assert_int_equal(query_number(d->conn, sql, NULL, 0, &number), 0);
    assert_int_equal(query_run(d->conn, "DEALLOCATE ALL", NULL, 0, NULL), 0); /* as in another's session */
    int r = query_number(d->conn, sql, NULL, 0, &number);
    assert_int_equal(r, -EPROTO);
    (void)store_problem(d->conn, r, &problem);
    assert_string_equal(problem.type, "store-unusable");
    assert_non_null(strstr(problem.detail, "pgbouncer"));
    assert_int_equal(query_number(d->conn, sql, NULL, 0, &number), 0);
}

static void reserved_numbers_are_nobody_elses(void **state) {
    struct database *d = *state;
    int64_t first = 0, again = 0;
    assert_int_equal(store_reserve(d->conn, "tenant_vpn_tunnels", 10, &first), 0);
    assert_int_equal(store_reserve(d->conn, "tenant_vpn_tunnels", 1, &again), 0);
    assert_int_equal(again, first + 10);
    struct tenant_row row = add_tenant(d, 1, ADDRESSING_UNIQUE);
    assert_int_equal(row.id, again + 1);
}

/* --- two writers --- */

struct racer {
    const char *url;
    int error;
};

/* Reads and writes a number in one transaction, as an allocation does. */
static void *count_up(void *context) {
    struct racer *racer = context;
    struct store *store = NULL;
    struct problem problem;
    racer->error = store_open(racer->url, NULL, &store, &problem);
    for (int i = 0; racer->error == 0 && i < 100; i++) {
        struct store_conn *conn = store_writer(store);
        char value[16] = "0", next[16];
        int r = store_begin(conn, true);
        int found = r < 0 ? r : settings_get(conn, "count", value, sizeof value);
        snprintf(next, sizeof next, "%d", atoi(value) + 1);
        r = found < 0 && found != -ENOENT ? found : settings_set(conn, "count", next);
        racer->error = r < 0 ? r : store_commit(conn);
    }
    store_close(store);
    return NULL;
}

static void writers_of_several_processes_take_turns(void **state) {
    struct database *d = *state;
    struct racer racers[4];
    pthread_t threads[4];
    char value[16];
    for (int i = 0; i < 4; i++) {
        racers[i] = (struct racer){.url = d->url};
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, &racers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].error, 0);
    }
    assert_int_equal(settings_get(d->conn, "count", value, sizeof value), 0);
    assert_int_equal(atoi(value), 400);
}

static void a_writer_waits_no_longer_than_it_may(void **state) {
    struct database *d = *state;
    static const struct store_options hasty = {.busy_ms = 100};
    struct store *other = NULL;
    struct problem problem = {0};
    assert_int_equal(store_open(d->url, &hasty, &other, &problem), 0);
    assert_int_equal(store_begin(d->conn, true), 0);
    int r = store_begin(store_writer(other), true);
    assert_int_equal(r, -EBUSY);
    (void)store_problem(store_writer(other), r, &problem);
    assert_string_equal(problem.type, "store-locked");
    store_rollback(d->conn);
    assert_int_equal(store_begin(store_writer(other), true), 0);
    store_rollback(store_writer(other));
    store_close(other);
}

static void a_schema_that_another_takes_further_is_left_alone(void **state) {
    struct database *d = *state;
    struct store_conn *reader, *other;
    struct problem problem = {0};
    assert_int_equal(store_reader_take(d->store, &reader, &problem), 0);
    schema_sql(d->url, "INSERT INTO vpn_migrations (version, applied_at) VALUES (9999, now())");
    int r = store_begin(d->conn, true);
    assert_int_equal(r, -EOVERFLOW);
    assert_int_equal(store_problem(d->conn, r, &problem), -EAGAIN);
    assert_string_equal(problem.type, PROBLEM_STORE_NEWER);
    assert_int_equal(store_begin(reader, false), -EOVERFLOW);
    assert_true(store_reader_take(d->store, &other, &problem) < 0);
    assert_string_equal(problem.type, PROBLEM_STORE_NEWER);
    assert_true(store_look(d->store, &problem) < 0);
    /* nothing of it holds the others up */
    struct store *newer = NULL;
    schema_sql(d->url, "DELETE FROM vpn_migrations WHERE version = 9999");
    assert_int_equal(store_open(d->url, NULL, &newer, &problem), 0);
    assert_int_equal(store_begin(store_writer(newer), true), 0);
    store_close(newer);
    /* and once it is ours again, all goes on */
    assert_int_equal(store_look(d->store, &problem), 0);
    assert_int_equal(store_reader_take(d->store, &other, &problem), 0);
    store_reader_put(d->store, other);
    assert_int_equal(store_begin(reader, false), 0);
    store_reader_put(d->store, reader);
    assert_int_equal(store_begin(d->conn, true), 0);
    store_rollback(d->conn);
}

/* --- a move --- */

/* Longer than a session may rest in a transaction otherwise. */
static void rest(void *context, uint64_t done, uint64_t whole) {
    static const struct store_options hasty = {.busy_ms = 100};
    struct database *d = context;
    struct problem problem = {0};
    struct store *other = NULL;
    if (done == whole) {
        return;
    }
    (void)usleep((SESSION_IDLE_MS + 1000) * 1000);
    assert_int_equal(store_open(d->url, &hasty, &other, &problem), 0);
    assert_int_equal(store_begin(store_writer(other), true), -EBUSY); /* it would be left behind */
    store_close(other);
}

static void a_move_may_last_and_nobody_writes_meanwhile(void **state) {
    enum { COUNT = 1500 };
    struct database *d = *state;
    struct change *changes = calloc(COUNT, sizeof *changes);
    struct migrated moved = {0};
    struct problem problem = {0};
    uint64_t revision = 0;
    char target[128];
    for (size_t i = 0; i < COUNT; i++) {
        changes[i] = (struct change){.at = 1700000000000000, .kind = "tenant.created", .tenant_id = uuid_of(1)};
    }
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(changes_append(d->conn, changes, COUNT, "uid:0", &revision), 0);
    assert_int_equal(store_commit(d->conn), 0);
    snprintf(target, sizeof target, "sqlite:%s/moved.db", d->folder);
    if (store_migrate(d->url, target, rest, d, &moved, &problem) < 0) {
        fail_msg("%s", problem.detail);
    }
    assert_true(moved.rows > COUNT);
    free(changes);
}

static uint64_t resident(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        (void)!fscanf(file, "%*u %lu", &pages);
        fclose(file);
    }
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void grow(void *context, uint64_t done, uint64_t whole) {
    uint64_t *most = context, now = resident();
    (void)done;
    (void)whole;
    *most = now > *most ? now : *most;
}

static void a_move_does_not_hold_a_table_in_memory(void **state) {
    enum { COUNT = 3050, BODY = 30000 };
    struct database *d = *state;
    struct migrated moved = {0};
    struct problem problem = {0};
    struct store *there = NULL;
    char target[128], sql[512];
    int64_t sum = 0;
    snprintf(sql, sizeof sql,
             "INSERT INTO vpn_answers (key_hash, request_hash, status, body, created_at) SELECT "
             "decode(lpad(to_hex(n), 64, '0'), 'hex'), decode(repeat('00', 32), 'hex'), n, "
             "decode(repeat('ab', %d), 'hex'), now() FROM generate_series(1, %d) n",
             BODY, COUNT);
    schema_sql(d->url, sql);
    snprintf(target, sizeof target, "sqlite:%s/moved.db", d->folder);
    uint64_t before = resident(), most = 0;
    if (store_migrate(d->url, target, grow, &most, &moved, &problem) < 0) {
        fail_msg("%s", problem.detail);
    }
    if (!SANITIZED) { /* keeps what was freed */
        assert_true(most < before + (uint64_t)COUNT * BODY / 2);
    }
    assert_int_equal(store_open(target, NULL, &there, &problem), 0);
    assert_int_equal(query_number(store_writer(there), "SELECT SUM(status) FROM vpn_answers WHERE LENGTH(body) = 30000",
                                  NULL, 0, &sum),
                     0);
    assert_int_equal(sum, COUNT * (COUNT + 1) / 2); /* each page, the last one too, and each once */
    store_close(there);
}

/* --- what became of a commit --- */

static void outcome_of(struct database *d, bool commit, const char *timeline, int expected) {
    const char *where = strchr(d->url, ':') + 1;
    char transaction[24];
    struct query query;
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(query_begin(d->conn, "SELECT pg_current_xact_id()::text", NULL, 0, &query), 0);
    assert_int_equal(query_next(&query), 1);
    query_copy(&query, 0, transaction, sizeof transaction);
    query_end(&query);
    assert_int_equal(settings_set(d->conn, "a", "1"), 0);
    if (commit) {
        assert_int_equal(store_commit(d->conn), 0);
    } else {
        store_rollback(d->conn);
    }
    assert_int_equal(session_outcome(where, transaction, timeline), expected);
}

static void the_server_knows_what_became_of_a_transaction(void **state) {
    outcome_of(*state, true, "", 0);
    outcome_of(*state, false, "", -ENOTCONN);
    outcome_of(*state, true, "00000001", 0);
    outcome_of(*state, false, "00000001", -ENOTCONN);
    outcome_of(*state, true, "00000002", -EINPROGRESS); /* another history's */
}

/* --- away --- */

static void one_asks_at_a_time_and_pauses_grow(void **state) {
    struct backoff away;
    struct driver_fault fault = {.message = "gone"}, told = {0};
    (void)state;
    backoff_open(&away);
    assert_true(backoff_may_try(&away, &told));
    backoff_tried(&away, -ENOTCONN, &fault);
    assert_false(backoff_may_try(&away, &told)); /* too early */
    assert_string_equal(told.message, "gone");
    uint64_t before = clock_mono_ns();
    while (!backoff_may_try(&away, &told)) {
    }
    assert_true(clock_mono_ns() - before < NSEC_PER_SEC);
    assert_false(backoff_may_try(&away, &told)); /* another is at it */
    backoff_tried(&away, -ENOTCONN, &fault);
    assert_true(away.next_at > clock_mono_ns() + 100 * NSEC_PER_MSEC);
    backoff_tried(&away, 0, &fault);
    assert_true(backoff_may_try(&away, &told));
    assert_true(backoff_may_try(&away, &told)); /* it is there: everybody may */
    backoff_close(&away);
}

int main(void) {
#define WITH_DATABASE(test) cmocka_unit_test_setup_teardown(test, database_setup, database_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords_are_not_described),
        cmocka_unit_test(unknown_schemes_are_not_repeated_whole),
        WITH_DATABASE(a_connection_lost_between_transactions_is_opened_again),
        WITH_DATABASE(a_connection_lost_in_a_transaction_undoes_it),
        WITH_DATABASE(what_was_sent_ahead_fails_at_the_end),
        WITH_DATABASE(a_statement_that_failed_can_be_used_again),
        WITH_DATABASE(a_session_that_is_not_ours_is_noticed_and_left),
        WITH_DATABASE(reserved_numbers_are_nobody_elses),
        WITH_DATABASE(writers_of_several_processes_take_turns),
        WITH_DATABASE(a_writer_waits_no_longer_than_it_may),
        WITH_DATABASE(a_schema_that_another_takes_further_is_left_alone),
        WITH_DATABASE(a_move_may_last_and_nobody_writes_meanwhile),
        WITH_DATABASE(a_move_does_not_hold_a_table_in_memory),
        WITH_DATABASE(the_server_knows_what_became_of_a_transaction),
        cmocka_unit_test(one_asks_at_a_time_and_pauses_grow),
    };
    return cmocka_run_group_tests_name("postgresql", tests, NULL, NULL);
}
