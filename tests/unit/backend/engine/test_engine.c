/* The backend against engines in processes of their own (fake_server.h), without a network interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/backend.h"
#include "fake_server.h"

#define DEVICE "workers=1\n"

static const struct backend_ops *const ops = &backend_engine;

struct world {
    char directory[64];
    pid_t server;
    struct backend *backend;
    struct problem problem;
};

static int open_world(void **state) {
    struct world *w = calloc(1, sizeof *w);
    fake_server_directory_make(w->directory);
    *state = w;
    return 0;
}

static int open_world_with_engine(void **state) {
    struct backend_config config = {.interface_name = "wg0"};
    open_world(state);
    struct world *w = *state;
    w->server = fake_server_start("wg0");
    assert_int_equal(ops->open(&config, &w->backend, &w->problem), 0);
    return 0;
}

static int close_world(void **state) {
    struct world *w = *state;
    ops->close(w->backend);
    if (w->server) {
        fake_server_stop(w->server);
    }
    fake_server_directory_remove(w->directory);
    free(w);
    return 0;
}

static struct desired_change tenant_change(uint8_t number) {
    return (struct desired_change){.kind = DESIRED_TENANT_SET,
                                   .tenant = {.id = {{number, 1}}, .addressing = ADDRESSING_PRIVATE}};
}

static struct desired_change peer_change(unsigned number, uint8_t tenant) {
    struct desired_change change = {.kind = DESIRED_PEER_SET};
    change.peer.public_key.bytes[0] = 1;
    change.peer.public_key.bytes[1] = (uint8_t)(number >> 8);
    change.peer.public_key.bytes[2] = (uint8_t)number;
    change.peer.tenant = (struct uuid){{tenant, 1}};
    change.peer.hub_address = ip_from_v4(0x0a000000 + number);
    change.peer.address = ip_from_v4(0x0a640000 + number);
    change.peer.address6 =
        (struct ip_addr){.family = AF_INET6, .bytes = {0xfd, [14] = (uint8_t)(number >> 8), (uint8_t)number}};
    return change;
}

struct tally {
    size_t count;
    size_t foreign;
    struct actual_peer last;
    int answer;
};

static int count_peer(void *context, const struct actual_peer *peer) {
    struct tally *tally = context;
    tally->count++;
    tally->foreign += peer->foreign_allowed_ips;
    tally->last = *peer;
    return tally->answer;
}

static size_t count_peers(struct world *w, uint64_t since, uint64_t *ret_now) {
    struct tally tally = {0};
    assert_int_equal(ops->each_peer(w->backend, since, count_peer, &tally, ret_now), 0);
    assert_int_equal(tally.foreign, 0);
    return tally.count;
}

static void what_is_applied_reads_back_the_same(void **state) {
    struct world *w = *state;
    struct desired_change changes[2] = {tenant_change(7), peer_change(9, 7)};
    changes[1].peer.preshared_key.bytes[3] = 3;
    changes[1].peer.timestamp[0] = 0x40;
    assert_int_equal(prefix_parse("192.168.1.0/24", &changes[1].peer.lans[0], NULL), 0);
    changes[1].peer.lan_count = 1;
    assert_int_equal(ops->apply(w->backend, changes, 2, &w->problem), 0);
    struct tally tally = {0};
    uint64_t now = 0;
    assert_int_equal(ops->each_peer(w->backend, 0, count_peer, &tally, &now), 0);
    assert_int_equal(tally.count, 1);
    assert_false(tally.last.foreign_allowed_ips);
    assert_true(now > 0);
    const struct desired_peer *is = &tally.last.is;
    const struct desired_peer *wanted = &changes[1].peer;
    assert_memory_equal(&is->public_key, &wanted->public_key, sizeof is->public_key);
    assert_memory_equal(&is->preshared_key, &wanted->preshared_key, sizeof is->preshared_key);
    assert_memory_equal(&is->tenant, &wanted->tenant, sizeof is->tenant);
    assert_memory_equal(is->timestamp, wanted->timestamp, sizeof is->timestamp);
    assert_true(ip_equal(&is->hub_address, &wanted->hub_address));
    assert_true(ip_equal(&is->address, &wanted->address));
    assert_true(ip_equal(&is->address6, &wanted->address6));
    assert_int_equal(is->lan_count, 1);
    assert_true(prefix_equal(&is->lans[0], &wanted->lans[0]));
}

static void removals_and_tenants_take_effect_in_order(void **state) {
    struct world *w = *state;
    struct desired_change changes[] = {tenant_change(1), peer_change(1, 1), tenant_change(2), peer_change(2, 2),
                                       peer_change(3, 2)};
    assert_int_equal(ops->apply(w->backend, changes, 5, &w->problem), 0);
    changes[1].kind = DESIRED_PEER_REMOVE;
    changes[2].kind = DESIRED_TENANT_REMOVE;
    assert_int_equal(ops->apply(w->backend, changes + 1, 2, &w->problem), 0);
    assert_int_equal(count_peers(w, 0, NULL), 0);
    assert_int_equal(ops->apply(w->backend, changes + 1, 2, &w->problem), 0); /* again: gone is gone */
    assert_int_equal(ops->apply(w->backend, NULL, 0, &w->problem), 0);
}

static void a_batch_larger_than_any_buffer_goes_in_one_request(void **state) {
    struct world *w = *state;
    size_t count = 3000; /* 1.2 MB of text */
    struct desired_change *changes = calloc(count + 1, sizeof *changes);
    changes[0] = tenant_change(1);
    for (size_t i = 1; i <= count; i++) {
        changes[i] = peer_change((unsigned)i, 1);
    }
    assert_int_equal(ops->apply(w->backend, changes, count + 1, &w->problem), 0);
    assert_int_equal(count_peers(w, 0, NULL), count);
    free(changes);
}

static void only_changed_peers_are_read_after_a_mark(void **state) {
    struct world *w = *state;
    struct desired_change changes[] = {tenant_change(1), peer_change(1, 1), peer_change(2, 1)};
    assert_int_equal(ops->apply(w->backend, changes, 3, &w->problem), 0);
    uint64_t mark = 0;
    assert_int_equal(count_peers(w, 0, &mark), 2);
    assert_int_equal(count_peers(w, mark, &mark), 0);
    assert_int_equal(ops->apply(w->backend, changes + 2, 1, &w->problem), 0);
    assert_int_equal(count_peers(w, mark, &mark), 1);
}

static void a_refusal_is_told_with_the_engines_own_words(void **state) {
    struct world *w = *state;
    struct desired_change change = peer_change(1, 9); /* of no tenant that exists */
    assert_int_equal(ops->apply(w->backend, &change, 1, &w->problem), -ENOENT);
    assert_int_equal(w->problem.kind, PROBLEM_INTERNAL);
    assert_non_null(strstr(w->problem.detail, "no such tenant"));
    change = tenant_change(9);
    assert_int_equal(ops->apply(w->backend, &change, 1, &w->problem), 0); /* and the connection is in step */
}

static void a_caller_who_stops_leaves_the_connection_usable(void **state) {
    struct world *w = *state;
    struct desired_change changes[] = {tenant_change(1), peer_change(1, 1), peer_change(2, 1)};
    struct tally tally = {.answer = -ECANCELED};
    assert_int_equal(ops->apply(w->backend, changes, 3, &w->problem), 0);
    assert_int_equal(ops->each_peer(w->backend, 0, count_peer, &tally, NULL), -ECANCELED);
    assert_int_equal(tally.count, 1);
    assert_int_equal(count_peers(w, 0, NULL), 2);
}

static int take_tenant(void *context, const struct actual_tenant *tenant) {
    struct actual_tenant *last = context;
    *last = *tenant;
    return 0;
}

static int take_counter(void *context, const char *name, uint64_t value) {
    uint64_t *sum = context;
    if (strcmp(name, "drop.bad_tag") == 0 || strcmp(name, "udp_received") == 0) {
        *sum += value;
    }
    return 0;
}

static void tenants_counters_and_state_are_read(void **state) {
    struct world *w = *state;
    struct desired_change change = tenant_change(5);
    struct actual_tenant tenant = {0};
    struct backend_state s;
    uint64_t sum = 0;
    assert_int_equal(ops->apply(w->backend, &change, 1, &w->problem), 0);
    assert_int_equal(ops->each_tenant(w->backend, take_tenant, &tenant), 0);
    assert_int_equal(tenant.is.id.bytes[0], 5);
    assert_int_equal(tenant.is.addressing, ADDRESSING_PRIVATE);
    assert_int_equal(tenant.dropped, 5);
    assert_int_equal(ops->each_counter(w->backend, take_counter, &sum), 0);
    assert_int_equal(sum, 7 + 11);
    assert_int_equal(ops->state(w->backend, &s), 0);
    assert_true(s.up);
    assert_string_equal(s.name, "engine");
    assert_string_equal(s.crypto, "fake");
    assert_string_equal(s.offloads, "gso,tso,join_tcp,uring");
    assert_string_equal(s.offloads_off, "gro:switched_off,xdp:switched_off,uso:unsupported,join_udp:refused");
    assert_int_equal(s.pid, w->server);
    assert_int_equal(s.workers, 2);
    assert_int_equal(s.tenants, 1);
    assert_true(s.memory_bytes > 100000);
}

static void a_restarted_engine_is_away_until_it_is_revived(void **state) {
    struct world *w = *state;
    struct backend_state before;
    struct backend_state after;
    struct desired_change change = tenant_change(1);
    assert_int_equal(ops->state(w->backend, &before), 0);
    fake_server_stop(w->server);
    w->server = 0;
    assert_int_equal(ops->apply(w->backend, &change, 1, &w->problem), -ENOTCONN);
    assert_int_equal(w->problem.kind, PROBLEM_UNAVAILABLE);
    assert_int_equal(ops->revive(w->backend, &w->problem), -ENOTCONN);
    assert_int_equal(ops->state(w->backend, &after), 0);
    assert_false(after.up);
    w->server = fake_server_start("wg0");
    /* it has none of what was applied: no change may slip in before the caller knows */
    assert_int_equal(ops->apply(w->backend, &change, 1, &w->problem), -ENOTCONN);
    assert_int_equal(ops->revive(w->backend, &w->problem), 0);
    assert_int_equal(ops->apply(w->backend, &change, 1, &w->problem), 0);
    assert_int_equal(ops->state(w->backend, &after), 0);
    assert_true(after.up);
    assert_int_not_equal(after.generation, before.generation);
}

static void a_restart_between_two_calls_is_noticed(void **state) {
    struct world *w = *state;
    struct desired_change change = tenant_change(1);
    fake_server_stop(w->server);
    w->server = fake_server_start("wg0");
    assert_int_equal(ops->apply(w->backend, &change, 1, &w->problem), -ENOTCONN);
    assert_string_equal(w->problem.type, "engine-restarted");
}

static void a_closed_connection_is_made_again(void **state) {
    struct world *w = *state;
    struct backend_config config = {.interface_name = "wg0"};
    struct desired_change change = tenant_change(1);
    w->server = fake_server_start_scripted("wg0", DEVICE "errno=0\n\n", 1);
    assert_int_equal(ops->open(&config, &w->backend, &w->problem), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ops->apply(w->backend, &change, 1, &w->problem), 0);
    }
}

static void a_foreign_engine_is_named(void **state) {
    struct world *w = *state;
    struct backend_config config = {.interface_name = "wg0"};
    static const char *const answers[] = {"errno=-22\n\n", "errno=22\n\n", "errno=0\n\n", "what?\n\n", "\n"};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        w->server = fake_server_start_scripted("wg0", answers[i], 1);
        assert_int_equal(ops->open(&config, &w->backend, &w->problem), -ENOTCONN);
        assert_string_equal(w->problem.type, "foreign-engine");
        assert_null(w->backend);
        fake_server_stop(w->server);
        w->server = 0;
    }
}

static void nobody_there_and_nothing_to_start_is_said(void **state) {
    struct world *w = *state;
    struct backend_config config = {.interface_name = "wg0"};
    assert_int_equal(ops->open(&config, &w->backend, &w->problem), -ENOTCONN);
    assert_string_equal(w->problem.type, "engine-unreachable");
    assert_null(w->backend);
    config.interface_name = "../wg0";
    assert_int_equal(ops->open(&config, &w->backend, &w->problem), -EINVAL);
    ops->close(NULL);
}

/* A program to start: a shell script in the world's directory. */
static void write_program(struct world *w, const char *name, const char *body, char path[128]) {
    snprintf(path, 128, "%s/%s", w->directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, body, strlen(body)), (ssize_t)strlen(body));
    close(fd);
}

static void an_engine_that_fails_to_start_is_told_with_its_last_words(void **state) {
    struct world *w = *state;
    char program[128];
    char log[128];
    snprintf(log, sizeof log, "%s/log", w->directory);
    struct backend_config config = {.interface_name = "wg0",
                                    .engine_path = program,
                                    .engine_log = log,
                                    .engine_workers = 3,
                                    .engine_xdp = "eth0",
                                    .engine_offloads_off = BACKEND_OFFLOAD_GSO | BACKEND_OFFLOAD_URING};
    write_program(w, "fails", "#!/bin/sh\necho first >&2\necho \"no $* today, $SECRET\" >&2\nexit 1\n", program);
    setenv("SECRET", "password", 1);
    for (int i = 0; i < 2; i++) { /* the log is appended to: only new words count */
        assert_int_equal(ops->open(&config, &w->backend, &w->problem), -ENOTCONN);
        assert_string_equal(w->problem.type, "engine-not-started");
        assert_non_null(strstr(w->problem.detail, "no --workers 3 --xdp eth0 --no-gso --no-uring -- wg0 today, "));
        assert_null(strstr(w->problem.detail, "password"));
    }
    write_program(w, "silent", "#!/bin/sh\nexit 1\n", program);
    assert_int_equal(ops->open(&config, &w->backend, &w->problem), -ENOTCONN);
    assert_null(strstr(w->problem.detail, "today"));
    config.engine_path = "/nonexistent/sallyport-wg";
    assert_int_equal(ops->open(&config, &w->backend, &w->problem), -ENOTCONN);
    assert_non_null(strstr(w->problem.detail, "No such file"));
    config.engine_log = "/nonexistent/log";
    assert_int_equal(ops->open(&config, &w->backend, &w->problem), -ENOTCONN);
    assert_non_null(strstr(w->problem.detail, "/nonexistent/log"));
}

static void an_engine_that_never_gets_ready_is_given_up(void **state) {
    struct world *w = *state;
    char program[128];
    struct backend_config config = {.interface_name = "wg0", .engine_path = program};
    write_program(w, "hangs", "#!/bin/sh\nexec sleep 100\n", program);
    assert_int_equal(ops->open(&config, &w->backend, &w->problem), -ENOTCONN);
    assert_non_null(strstr(w->problem.detail, "not ready within 5 seconds"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_world_with_engine, close_world)
#define TEST_ALONE(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_applied_reads_back_the_same),
        TEST(removals_and_tenants_take_effect_in_order),
        TEST(a_batch_larger_than_any_buffer_goes_in_one_request),
        TEST(only_changed_peers_are_read_after_a_mark),
        TEST(a_refusal_is_told_with_the_engines_own_words),
        TEST(a_caller_who_stops_leaves_the_connection_usable),
        TEST(tenants_counters_and_state_are_read),
        TEST(a_restarted_engine_is_away_until_it_is_revived),
        TEST(a_restart_between_two_calls_is_noticed),
        TEST_ALONE(a_closed_connection_is_made_again),
        TEST_ALONE(a_foreign_engine_is_named),
        TEST_ALONE(nobody_there_and_nothing_to_start_is_said),
        TEST_ALONE(an_engine_that_fails_to_start_is_told_with_its_last_words),
        TEST_ALONE(an_engine_that_never_gets_ready_is_given_up),
    };
    (void)!unshare(CLONE_NEWNET); /* the name is claimed, and others of this machine may run this test, too */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
