/* Opening, migrating, transactions, and everything that can be wrong with the file. */
#include "database.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/noun/changes.h"
#include "store/noun/settings.h"

static void opening_twice_migrates_once(void **state) {
    struct database *d = *state;
    struct problem problem = {0};
    int64_t steps = 0;
    assert_int_equal(settings_set(d->conn, "kept", "value"), 0);
    store_close(d->store);
    assert_int_equal(store_open(d->url, NULL, &d->store, &problem), 0);
    d->conn = store_writer(d->store);
    char value[16];
    assert_int_equal(settings_get(d->conn, "kept", value, sizeof value), 0);
    assert_string_equal(value, "value");
    assert_int_equal(query_number(d->conn, "SELECT COUNT(*) FROM vpn_migrations", NULL, 0, &steps), 0);
    assert_int_equal(steps, store_schema_version());
    assert_string_equal(store_kind(d->store), strchr(d->url, '@') ? "postgresql" : "sqlite");
}

static void known_tables_have_the_promised_columns(void **state) {
    struct database *d = *state;
    int64_t count;
    assert_int_equal(query_number(d->conn,
                                  "SELECT COUNT(*) FROM (SELECT id, tenant_id, server_public_key, server_ip, "
                                  "subnet_cidr, status, connected_peers, bytes_received, bytes_sent, created_at, "
                                  "updated_at FROM tenant_vpn_tunnels) AS t",
                                  NULL, 0, &count),
                     0);
    assert_int_equal(query_number(d->conn,
                                  "SELECT COUNT(*) FROM (SELECT id, tenant_id, tenant_vpn_tunnel_id, router_id, "
                                  "client_private_key, client_public_key, client_ip, server_ip, server_public_key, "
                                  "server_endpoint, server_port, status, last_handshake_at FROM vpn_configurations) "
                                  "AS r",
                                  NULL, 0, &count),
                     0);
}

static void commits_are_synchronous_and_logged_ahead(void **state) {
    struct database *d = *state;
    int64_t level = 0;
    struct query query;
    assert_int_equal(query_number(d->conn, "PRAGMA synchronous", NULL, 0, &level), 0);
    assert_int_equal(level, 2); /* FULL */
    assert_int_equal(query_begin(d->conn, "PRAGMA journal_mode", NULL, 0, &query), 0);
    assert_int_equal(query_next(&query), 1);
    assert_string_equal(query_text(&query, 0), "wal");
    query_end(&query);
    assert_int_equal(query_number(d->conn, "PRAGMA foreign_keys", NULL, 0, &level), 0);
    assert_int_equal(level, 1);
}

static void parameters_go_by_their_number(void **state) {
    struct database *d = *state;
    const struct value values[] = {value_number(1), value_number(20), value_number(300)};
    int64_t number = 0;
    assert_int_equal(query_number(d->conn, "SELECT CAST($3 AS BIGINT) * 2 + $1 + $3 - $2", values, 3, &number), 0);
    assert_int_equal(number, 881);
}

static void text_that_looks_like_sql_stays_text(void **state) {
    struct database *d = *state;
    static const char evil[] = "x'); DROP TABLE vpn_settings; --";
    char value[64];
    assert_int_equal(settings_set(d->conn, evil, evil), 0);
    assert_int_equal(settings_get(d->conn, evil, value, sizeof value), 0);
    assert_string_equal(value, evil);
}

static void statements_of_one_address_are_told_apart_by_text(void **state) {
    struct database *d = *state;
    char sql[32];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 400; i++) { /* more than the cache holds */
            int64_t number = -1;
            snprintf(sql, sizeof sql, "SELECT %d", i);
            assert_int_equal(query_number(d->conn, sql, NULL, 0, &number), 0);
            assert_int_equal(number, i);
        }
    }
}

static void an_undone_step_leaves_the_rest(void **state) {
    struct database *d = *state;
    char value[16];
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(settings_set(d->conn, "a", "1"), 0);
    assert_int_equal(store_step_begin(d->conn), 0);
    assert_int_equal(settings_set(d->conn, "b", "1"), 0);
    assert_int_equal(store_step_undo(d->conn), 0);
    assert_int_equal(store_step_begin(d->conn), 0);
    assert_int_equal(settings_set(d->conn, "c", "1"), 0);
    assert_int_equal(store_step_keep(d->conn), 0);
    assert_int_equal(store_commit(d->conn), 0);
    assert_int_equal(settings_get(d->conn, "a", value, sizeof value), 0);
    assert_int_equal(settings_get(d->conn, "b", value, sizeof value), -ENOENT);
    assert_int_equal(settings_get(d->conn, "c", value, sizeof value), 0);
}

static void a_rolled_back_transaction_leaves_nothing(void **state) {
    struct database *d = *state;
    char value[16];
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(settings_set(d->conn, "a", "1"), 0);
    store_rollback(d->conn);
    store_rollback(d->conn);
    assert_int_equal(settings_get(d->conn, "a", value, sizeof value), -ENOENT);
}

static void readers_see_one_state_and_never_wait(void **state) {
    struct database *d = *state;
    struct problem problem;
    struct store_conn *reader;
    char value[16];
    assert_int_equal(settings_set(d->conn, "a", "old"), 0);
    assert_int_equal(store_reader_take(d->store, &reader, &problem), 0);
    assert_int_equal(store_begin(reader, false), 0);
    assert_int_equal(settings_get(reader, "a", value, sizeof value), 0);
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(settings_set(d->conn, "a", "new"), 0);
    assert_int_equal(settings_get(reader, "a", value, sizeof value), 0); /* beside an open write */
    assert_string_equal(value, "old");
    assert_int_equal(store_commit(d->conn), 0);
    assert_int_equal(settings_get(reader, "a", value, sizeof value), 0);
    assert_string_equal(value, "old");
    store_rollback(reader);
    assert_int_equal(settings_get(reader, "a", value, sizeof value), 0);
    assert_string_equal(value, "new");
    store_reader_put(d->store, reader);
}

static void upkeep_files_the_log_beside_a_writer(void **state) {
    struct database *d = *state;
    struct stat before, after;
    char *text = calloc(1, 3001), name[16], value[16];
    memset(text, 'x', 3000);
    assert_int_equal(store_checkpoint(d->store), 0); /* nothing to do */
    assert_int_equal(stat(d->file, &before), 0);
    for (int i = 0; i < 1200; i++) {
        snprintf(name, sizeof name, "%d", i);
        assert_int_equal(store_begin(d->conn, true), 0);
        assert_int_equal(settings_set(d->conn, name, text), 0);
        assert_int_equal(store_commit(d->conn), 0);
        if (i == 1100) {
            assert_int_equal(stat(d->file, &after), 0);
            assert_int_equal(after.st_size, before.st_size); /* no commit did it */
        }
    }
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(settings_set(d->conn, "open", "1"), 0);
    assert_int_equal(store_checkpoint(d->store), 0);
    assert_int_equal(stat(d->file, &after), 0);
    assert_true(after.st_size > before.st_size + 1200 * 3000);
    assert_int_equal(store_commit(d->conn), 0);
    assert_int_equal(settings_get(d->conn, "open", value, sizeof value), 0);
    free(text);
}

static void readers_cannot_write(void **state) {
    struct database *d = *state;
    struct problem problem;
    struct store_conn *reader;
    assert_int_equal(store_reader_take(d->store, &reader, &problem), 0);
    assert_int_equal(settings_set(reader, "a", "1"), -EROFS);
    store_reader_put(d->store, reader);
}

static void *take_and_put(void *context) {
    struct database *d = context;
    for (int i = 0; i < 200; i++) {
        struct problem problem;
        struct store_conn *reader;
        uint64_t revision = 1;
        if (store_reader_take(d->store, &reader, &problem) < 0 || changes_revision(reader, &revision) < 0 || revision) {
            return context;
        }
        store_reader_put(d->store, reader);
    }
    return NULL;
}

static void more_threads_than_readers_take_turns(void **state) {
    struct database *d = *state;
    pthread_t threads[12];
    for (int i = 0; i < 12; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_put, d), 0);
    }
    for (int i = 0; i < 12; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
}

static void constraints_bear_the_names_postgresql_gives(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_UNIQUE);
    const struct value values[] = {value_uuid(&tenant.tenant.id), value_number(tenant.id)};
    assert_int_equal(
        query_run(d->conn,
                  "INSERT INTO tenant_vpn_tunnels (tenant_id, name, addressing, server_public_key, "
                  "server_ip, subnet_cidr, created_at, updated_at) "
                  "VALUES ($1, '', '', '', '10.0.0.1', '10.0.0.0/8', '2030-01-01T00:00:00Z', '2030-01-01T00:00:00Z')",
                  values, 2, NULL),
        -EEXIST);
    assert_string_equal(store_constraint(d->conn), "tenant_vpn_tunnels_tenant_id_key");
}

/* --- what may be wrong with the file --- */

static int open_again(struct database *d, struct problem *problem) {
    static const struct store_options hasty = {.busy_ms = 50};
    store_close(d->store);
    d->store = NULL;
    return store_open(d->url, &hasty, &d->store, problem);
}

static void assert_unavailable(const struct database *d, const struct problem *problem, const char *slug) {
    assert_int_equal(problem->kind, PROBLEM_UNAVAILABLE);
    assert_string_equal(problem->type, slug);
    assert_non_null(strstr(problem->detail, strchr(d->url, '@') ? "postgresql://" : d->file)); /* says which */
}

static void a_newer_schema_is_refused_and_left_alone(void **state) {
    struct database *d = *state;
    struct problem problem = {0};
    assert_int_equal(query_run(d->conn,
                               "INSERT INTO vpn_migrations (version, applied_at) VALUES (9999, '2030-01-01T00:00:00Z')",
                               NULL, 0, NULL),
                     0);
    assert_true(open_again(d, &problem) < 0);
    assert_unavailable(d, &problem, "store-newer-schema");
    assert_null(d->store);
}

static void a_file_that_is_no_database_is_refused(void **state) {
    struct database *d = *state;
    struct problem problem = {0};
    store_close(d->store);
    d->store = NULL;
    FILE *file = fopen(d->file, "w");
    for (int i = 0; i < 1000; i++) {
        fputs("this is a letter to my mother\n", file);
    }
    fclose(file);
    assert_true(store_open(d->url, NULL, &d->store, &problem) < 0);
    assert_unavailable(d, &problem, "store-corrupt");
}

static void a_missing_folder_is_named(void **state) {
    struct database *d = *state;
    struct problem problem = {0};
    store_close(d->store);
    d->store = NULL;
    snprintf(d->file, sizeof d->file, "%s/no/such/folder.db", d->folder);
    snprintf(d->url, sizeof d->url, "sqlite:%s", d->file);
    assert_true(store_open(d->url, NULL, &d->store, &problem) < 0);
    assert_unavailable(d, &problem, "store-unreachable");
}

static void an_unknown_url_is_refused(void **state) {
    struct store *store = NULL;
    struct problem problem = {0};
    static const char *const urls[] = {"", "sqlite", "sqlite:", "mysql:somewhere", "/var/lib/x.db"};
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        assert_true(store_open(urls[i], NULL, &store, &problem) < 0);
        assert_string_equal(problem.type, "store-url");
    }
    assert_null(store);
    store_close(NULL);
}

static void a_lock_of_another_process_is_named_and_nothing_changes(void **state) {
    struct database *d = *state;
    struct problem problem = {0};
    sqlite3 *other;
    assert_int_equal(sqlite3_open(d->file, &other), SQLITE_OK);
    assert_int_equal(open_again(d, &problem), 0);
    d->conn = store_writer(d->store);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    int r = store_begin(d->conn, true);
    assert_int_equal(r, -EBUSY);
    assert_true(store_problem(d->conn, r, &problem) < 0);
    assert_unavailable(d, &problem, "store-locked");
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_begin(d->conn, true), 0); /* and it goes on once the lock is gone */
    store_rollback(d->conn);
    sqlite3_close(other);
}

static void a_full_disk_is_named_and_undoes_the_transaction(void **state) {
    struct database *d = *state;
    struct problem problem = {0};
    char value[16];
    int64_t pages = 0;
    int r = 0;
    assert_int_equal(query_number(d->conn, "PRAGMA page_count", NULL, 0, &pages), 0);
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count=%d", (int)pages + 4);
    assert_int_equal(query_number(d->conn, sql, NULL, 0, &pages), 0);
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(settings_set(d->conn, "first", "1"), 0);
    char *long_text = calloc(1, 4001);
    memset(long_text, 'x', 4000);
    for (int i = 0; r == 0 && i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        r = settings_set(d->conn, name, long_text);
    }
    free(long_text);
    assert_int_equal(r, -ENOSPC);
    assert_true(store_problem(d->conn, r, &problem) < 0);
    assert_unavailable(d, &problem, "store-full");
    store_rollback(d->conn);
    assert_int_equal(settings_get(d->conn, "first", value, sizeof value), -ENOENT);
}

/* As somebody who may not write, in a process of its own: root may write anywhere. */
static void a_read_only_file_is_refused(void **state) {
    struct database *d = *state;
    store_close(d->store);
    d->store = NULL;
    assert_int_equal(chmod(d->file, 0444), 0);
    assert_int_equal(chmod(d->folder, 0555), 0);
    pid_t child = fork();
    if (child == 0) {
        struct problem problem = {0};
        struct store *store = NULL;
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) {
            _exit(3);
        }
        int r = store_open(d->url, NULL, &store, &problem);
        bool named = r < 0 && strcmp(problem.type, "store-read-only") == 0 && strstr(problem.detail, d->file);
        _exit(named ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(d->folder, 0755), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void what_was_committed_survives_a_kill(void **state) {
    struct database *d = *state;
    int pipe_fds[2];
    char acknowledged[16] = "", value[16];
    store_close(d->store);
    d->store = NULL;
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        struct problem problem;
        struct store *store;
        if (store_open(d->url, NULL, &store, &problem) < 0) {
            _exit(1);
        }
        for (int i = 1;; i++) {
            char number[16] = "";
            snprintf(number, sizeof number, "%d", i);
            if (store_begin(store_writer(store), true) < 0 || settings_set(store_writer(store), "last", number) < 0 ||
                store_commit(store_writer(store)) < 0 || write(pipe_fds[1], number, sizeof number) != sizeof number) {
                _exit(1);
            }
        }
    }
    close(pipe_fds[1]);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(read(pipe_fds[0], acknowledged, sizeof acknowledged), (ssize_t)sizeof acknowledged);
    }
    kill(child, SIGKILL);
    while (read(pipe_fds[0], acknowledged, sizeof acknowledged) == (ssize_t)sizeof acknowledged) {
    }
    waitpid(child, NULL, 0);
    close(pipe_fds[0]);
    struct problem problem;
    assert_int_equal(store_open(d->url, NULL, &d->store, &problem), 0);
    assert_int_equal(settings_get(store_writer(d->store), "last", value, sizeof value), 0);
    assert_true(atoi(value) >= atoi(acknowledged));
}

int main(void) {
#define WITH_DATABASE(test) cmocka_unit_test_setup_teardown(test, database_setup, database_teardown)
    const struct CMUnitTest tests[] = {
        WITH_DATABASE(opening_twice_migrates_once),
        WITH_DATABASE(known_tables_have_the_promised_columns),
        WITH_DATABASE(parameters_go_by_their_number),
        WITH_DATABASE(text_that_looks_like_sql_stays_text),
        WITH_DATABASE(statements_of_one_address_are_told_apart_by_text),
        WITH_DATABASE(an_undone_step_leaves_the_rest),
        WITH_DATABASE(a_rolled_back_transaction_leaves_nothing),
        WITH_DATABASE(readers_see_one_state_and_never_wait),
        WITH_DATABASE(readers_cannot_write),
        WITH_DATABASE(more_threads_than_readers_take_turns),
        WITH_DATABASE(constraints_bear_the_names_postgresql_gives),
        WITH_DATABASE(a_newer_schema_is_refused_and_left_alone),
        cmocka_unit_test(an_unknown_url_is_refused),
        WITH_DATABASE(what_was_committed_survives_a_kill),
    /* those of a file come last */
#define OF_A_FILE 7
        WITH_DATABASE(commits_are_synchronous_and_logged_ahead),
        WITH_DATABASE(upkeep_files_the_log_beside_a_writer),
        WITH_DATABASE(a_file_that_is_no_database_is_refused),
        WITH_DATABASE(a_missing_folder_is_named),
        WITH_DATABASE(a_lock_of_another_process_is_named_and_nothing_changes),
        WITH_DATABASE(a_full_disk_is_named_and_undoes_the_transaction),
        WITH_DATABASE(a_read_only_file_is_refused),
    };
    size_t count = sizeof tests / sizeof *tests;
    return _cmocka_run_group_tests("store", tests, getenv("SALLYPORT_TEST_STORE") ? count - OF_A_FILE : count, NULL,
                                   NULL);
}
