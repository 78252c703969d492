/* Receiver indexes: whose they are, how long they live, and what still may be touched when they are gone. */
#include "rig.h"

#include "engine/io/steer.h"

#define MANY 20000

static int setup(void **state) {
    struct rig *rig = calloc(1, sizeof *rig);
    rig_open(rig, 3);
    *state = rig;
    return 0;
}

static int teardown(void **state) {
    rig_close(*state);
    free(*state);
    return 0;
}

static void indexes_name_their_worker_and_only_one_entry(void **state) {
    struct rig *rig = *state;
    struct worker *worker = rig->workers[2];
    struct flight *flights = calloc(MANY, sizeof *flights);
    uint32_t different = 0;
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(session_index_add(worker, &flights[i].entry, NULL, true), 0);
        assert_int_equal(steer_worker(flights[i].entry.index), 2);
        different |= flights[i].entry.index ^ flights[0].entry.index;
    }
    assert_int_equal(different, STEER_RANDOM_MASK); /* every other bit is random */
    for (int i = 0; i < MANY; i++) {
        assert_ptr_equal(session_index_find(&worker->index, flights[i].entry.index), &flights[i].entry);
    }
    for (int i = 0; i < MANY; i++) {
        uint32_t number = flights[i].entry.index;
        session_index_remove(&worker->index, &flights[i].entry);
        session_index_remove(&worker->index, &flights[i].entry); /* twice is once */
        assert_null(session_index_find(&worker->index, number));
    }
    assert_int_equal(table_count(&worker->index.table), 0);
    free(flights);
}

static void a_handshakes_index_goes_over_to_its_keypair(void **state) {
    struct rig *rig = *state;
    struct worker *worker = rig->workers[0];
    struct peer peer = {0};
    struct flight *flight = calloc(1, sizeof *flight);
    struct channel *channel = calloc(1, sizeof *channel);
    assert_int_equal(session_index_add(worker, &flight->entry, &peer, true), 0);
    uint32_t number = flight->entry.index;
    session_index_replace(&worker->index, &flight->entry, &channel->entry);
    assert_ptr_equal(session_index_find(&worker->index, number), &channel->entry);
    assert_false(channel->entry.is_flight);
    assert_ptr_equal(channel->entry.peer, &peer);
    session_index_free_flight(&worker->index, flight); /* takes nothing along */
    assert_ptr_equal(session_index_find(&worker->index, number), &channel->entry);
    struct session_dropped dropped = {.keypairs = {&channel->keypair}};
    session_index_drop(&worker->index, &dropped);
    session_index_sweep(&worker->index);
}

static void a_dropped_keypair_stays_readable_until_the_sweep(void **state) {
    struct rig *rig = *state;
    struct worker *worker = rig->workers[1];
    struct peer peer = {0};
    struct channel *channel = calloc(1, sizeof *channel);
    assert_int_equal(session_index_add(worker, &channel->entry, &peer, false), 0);
    uint32_t number = channel->entry.index;
    memset(channel->keypair.send_key.bytes, 7, KEY_SIZE);
    struct session_dropped dropped = {.keypairs = {NULL, &channel->keypair}};
    session_index_drop(&worker->index, &dropped);
    assert_null(session_index_find(&worker->index, number));
    assert_null(channel->entry.peer);                        /* what a batch looks at */
    assert_int_equal(channel->keypair.send_key.bytes[0], 7); /* what its jobs still use */
    session_index_sweep(&worker->index);
    assert_null(worker->index.dropped);
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG(indexes_name_their_worker_and_only_one_entry),
        RIG(a_handshakes_index_goes_over_to_its_keypair),
        RIG(a_dropped_keypair_stays_readable_until_the_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
