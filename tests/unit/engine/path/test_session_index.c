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
    struct pending_handshake *pendings = calloc(MANY, sizeof *pendings);
    uint32_t different = 0;
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(session_index_add(&worker->tables.index, &pendings[i].entry, NULL, true, worker->device.epoch),
                         0);
        assert_int_equal(steer_worker(pendings[i].entry.index), 2);
        different |= pendings[i].entry.index ^ pendings[0].entry.index;
    }
    assert_int_equal(different, STEER_RANDOM_MASK); /* every other bit is random */
    for (int i = 0; i < MANY; i++) {
        assert_ptr_equal(session_index_find(&worker->tables.index, pendings[i].entry.index), &pendings[i].entry);
    }
    for (int i = 0; i < MANY; i++) {
        uint32_t number = pendings[i].entry.index;
        session_index_remove(&worker->tables.index, &pendings[i].entry);
        session_index_remove(&worker->tables.index, &pendings[i].entry); /* twice is once */
        assert_null(session_index_find(&worker->tables.index, number));
    }
    assert_int_equal(table_count(&worker->tables.index.table), 0);
    free(pendings);
}

static void a_handshakes_index_goes_over_to_its_keypair(void **state) {
    struct rig *rig = *state;
    struct worker *worker = rig->workers[0];
    struct peer peer = {0};
    struct pending_handshake *pending = calloc(1, sizeof *pending);
    struct indexed_keypair *indexed = calloc(1, sizeof *indexed);
    assert_int_equal(session_index_add(&worker->tables.index, &pending->entry, &peer, true, worker->device.epoch), 0);
    uint32_t number = pending->entry.index;
    session_index_replace(&worker->tables.index, &pending->entry, &indexed->entry);
    assert_ptr_equal(session_index_find(&worker->tables.index, number), &indexed->entry);
    assert_false(indexed->entry.is_handshake);
    assert_ptr_equal(indexed->entry.peer, &peer);
    session_index_free_handshake(&worker->tables.index, pending); /* takes nothing along */
    assert_ptr_equal(session_index_find(&worker->tables.index, number), &indexed->entry);
    struct session_dropped dropped = {.keypairs = {&indexed->keypair}};
    session_index_retire(&worker->tables.index, &dropped);
    session_index_sweep(&worker->tables.index);
}

static void a_dropped_keypair_stays_readable_until_the_sweep(void **state) {
    struct rig *rig = *state;
    struct worker *worker = rig->workers[1];
    struct peer peer = {0};
    struct indexed_keypair *indexed = calloc(1, sizeof *indexed);
    assert_int_equal(session_index_add(&worker->tables.index, &indexed->entry, &peer, false, worker->device.epoch), 0);
    uint32_t number = indexed->entry.index;
    memset(indexed->keypair.send_key.bytes, 7, KEY_SIZE);
    struct session_dropped dropped = {.keypairs = {NULL, &indexed->keypair}};
    session_index_retire(&worker->tables.index, &dropped);
    assert_null(session_index_find(&worker->tables.index, number));
    assert_null(indexed->entry.peer);                        /* what a batch looks at */
    assert_int_equal(indexed->keypair.send_key.bytes[0], 7); /* what its jobs still use */
    session_index_sweep(&worker->tables.index);
    assert_null(worker->tables.index.retired);
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
