/* A commit's receipt is its place in the data plane's queue: places are given in the order of revisions, a writer is
 * counted from before its commit until its receipt is redeemed, and what the data plane has no part in takes none. */
#include "scratch.h"

#include <errno.h>
#include <pthread.h>

static const struct uuid SOMEBODY = {{7}};

static void write_one(struct scratch *s, struct receipt *ret_receipt) {
    struct write w;
    struct problem p = {0};
    assert_int_equal(write_begin(s->ledger, "test", &w, &p), 0);
    assert_int_equal(write_note(&w, "tenant.updated", &SOMEBODY, NULL, NULL), 0);
    assert_int_equal(write_commit(&w, ret_receipt, &p), 0);
}

static void receipts_are_places_in_the_order_of_revisions(void **state) {
    struct scratch *s = *state;
    struct receipt receipts[3];
    for (unsigned i = 0; i < 3; i++) {
        write_one(s, &receipts[i]);
        assert_int_equal(ledger_writers(s->ledger), i + 1);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(receipts[i].place, receipts[0].place + i);
        assert_int_equal(receipts[i].first, receipts[0].first + i);
        assert_int_equal(receipts[i].last, receipts[i].first);
        assert_int_equal(receipts[i].mark.revision, receipts[i].last);
        turn_wait(&s->queue, receipts[i].place);
        ledger_redeem(s->ledger);
        turn_end(&s->queue);
    }
    assert_int_equal(ledger_writers(s->ledger), 0);
    assert_int_equal(ledger_revision(s->ledger), receipts[2].last);
}

static void a_silent_commit_has_revisions_but_no_place(void **state) {
    struct scratch *s = *state;
    struct write w;
    struct problem p = {0};
    uint64_t before = ledger_revision(s->ledger);
    assert_int_equal(write_begin(s->ledger, "test", &w, &p), 0);
    assert_int_equal(write_note(&w, "token.created", &SOMEBODY, NULL, NULL), 0);
    assert_int_equal(write_commit_silent(&w, &p), 0);
    assert_int_equal(ledger_writers(s->ledger), 0);
    assert_int_equal(ledger_revision(s->ledger), before + 1);
    assert_int_equal(turn_take(&s->queue), 0);
}

static void an_aborted_write_leaves_nothing_and_lets_the_next_one_in(void **state) {
    struct scratch *s = *state;
    struct write w;
    struct receipt receipt;
    struct problem p = {0};
    uint64_t before = ledger_revision(s->ledger);
    assert_int_equal(write_begin(s->ledger, "test", &w, &p), 0);
    assert_int_equal(write_note(&w, "tenant.updated", &SOMEBODY, NULL, NULL), 0);
    write_abort(&w);
    write_abort(&w); /* harmless */
    write_one(s, &receipt);
    assert_int_equal(receipt.first, before + 1);
    assert_int_equal(ledger_writers(s->ledger), 1);
}

static void nobody_writes_before_the_database_is_known_to_be_ours(void **state) {
    struct scratch *s = *state;
    struct write w;
    struct problem p = {0}, wrong = {.detail = "It is another one."};
    reach_settled(s->reach, &wrong, true);
    assert_true(write_begin(s->ledger, "test", &w, &p) < 0);
    assert_string_equal(p.type, PROBLEM_STORE_AWAY);
    assert_string_equal(p.detail, "It is another one.");
    assert_true(reach_is_refused(s->reach));
    assert_int_equal(write_begin_early(s->ledger, "test", &w, &p), 0); /* who finds that out may */
    write_abort(&w);
}

static void counts_follow_writes_and_a_doubt_is_settled_by_the_database(void **state) {
    struct scratch *s = *state;
    struct write w;
    struct problem p = {0};
    scratch_tenant(s, 1);
    assert_int_equal(ledger_counts(s->ledger).tenants, 0); /* nobody said so */
    ledger_doubt(s->ledger);
    ledger_recount(s->ledger);
    assert_int_equal(ledger_counts(s->ledger).tenants, 1);
    assert_int_equal(ledger_counted(s->ledger), ledger_revision(s->ledger));
    assert_int_equal(write_begin(s->ledger, "test", &w, &p), 0);
    w.more_tenants = 2;
    w.more_routers = -1;
    ledger_add(s->ledger, 0, 5);
    assert_int_equal(write_commit_silent(&w, &p), 0);
    assert_int_equal(ledger_counts(s->ledger).tenants, 3);
    assert_int_equal(ledger_counts(s->ledger).routers, 4);
}

static void *wait_for_more(void *context) {
    struct scratch *s = context;
    struct timespec until;
    uint64_t revision = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 60;
    return ledger_wait(s->ledger, ledger_revision(s->ledger), &until, &revision) ? s : NULL;
}

static void whoever_waits_wakes_by_a_commit_and_at_the_end(void **state) {
    struct scratch *s = *state;
    struct receipt receipt;
    pthread_t thread;
    void *moved = NULL;
    struct timespec until = {0};
    uint64_t revision = 0;
    write_one(s, &receipt);
    assert_true(ledger_wait(s->ledger, receipt.last - 1, &until, &revision)); /* no need to wait */
    assert_int_equal(revision, receipt.last);
    assert_false(ledger_wait(s->ledger, receipt.last, &until, &revision)); /* time is up */
    assert_int_equal(pthread_create(&thread, NULL, wait_for_more, s), 0);
    ledger_advance(s->ledger, receipt.last + 1000); /* whether it waits already or not yet */
    ledger_end(s->ledger);
    pthread_join(thread, &moved);
    (void)moved; /* whichever came first */
    until.tv_sec = INT32_MAX;
    assert_false(ledger_wait(s->ledger, UINT64_MAX, &until, &revision)); /* it has ended */
}

int main(void) {
#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(receipts_are_places_in_the_order_of_revisions),
        WITH_SCRATCH(a_silent_commit_has_revisions_but_no_place),
        WITH_SCRATCH(an_aborted_write_leaves_nothing_and_lets_the_next_one_in),
        WITH_SCRATCH(nobody_writes_before_the_database_is_known_to_be_ours),
        WITH_SCRATCH(counts_follow_writes_and_a_doubt_is_settled_by_the_database),
        WITH_SCRATCH(whoever_waits_wakes_by_a_commit_and_at_the_end),
    };
    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
