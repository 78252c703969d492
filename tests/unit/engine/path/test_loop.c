/* What a worker does between two rounds, on its own thread. */
#include "bare_engine.h"

#include <pthread.h>
#include <string.h>

#include "engine/path/peer.h"

static struct engine_caller caller;

static struct key key_of(uint32_t number) {
    struct key key = {.bytes = {7}};
    memcpy(key.bytes + 4, &number, sizeof number);
    return key;
}

static void retire_and_stop(struct worker *worker, void *argument) {
    struct session_dropped dropped = {0};
    struct indexed_keypair *indexed = calloc(1, sizeof *indexed);
    (void)argument;
    assert_non_null(indexed);
    assert_int_equal(session_index_add(&worker->tables.index, &indexed->entry, NULL, false, 0), 0);
    dropped.keypairs[0] = &indexed->keypair;
    session_index_retire(&worker->tables.index, &dropped);
    assert_non_null(worker->tables.index.retired);
    worker->loop.stopping = true;
}

/* A peer is removed in a call; an idle worker has no round after it. */
static void keys_that_a_call_dropped_do_not_wait_for_a_packet(void **state) {
    (void)state;
    struct engine *engine = bare_engine(1);
    struct worker *worker = engine->workers[0];
    worker_call(worker, retire_and_stop, NULL);
    assert_int_equal(pthread_join(worker->loop.thread, NULL), 0);
    worker->loop.started = false;
    assert_null(worker->tables.index.retired);
    engine_free(engine);
}

static void look_at_growth(struct worker *worker, void *argument) {
    bool *growing = argument;
    *growing = worker->tables.keys.old.slots != NULL;
}

static void a_growth_ends_without_further_peers(void **state) {
    (void)state;
    struct engine *engine = bare_engine(1);
    bool growing = false;
    for (uint32_t i = 0; i < 100000 && !(growing && i > 20000); i++) {
        struct engine_peer_change change = {.public_key = key_of(i)};
        assert_int_equal(engine_peer_change(engine, &caller, &change), 0);
        if (i > 20000) {
            assert_int_equal(engine_flush(engine, &caller), 0);
            worker_call(engine->workers[0], look_at_growth, &growing);
        }
    }
    assert_true(growing);
    for (uint32_t round = 0; round < 10000 && growing; round++) {
        worker_call(engine->workers[0], look_at_growth, &growing);
    }
    assert_false(growing);
    engine_free(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_a_call_dropped_do_not_wait_for_a_packet),
        cmocka_unit_test(a_growth_ends_without_further_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
