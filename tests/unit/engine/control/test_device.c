/* What the interface's changes do to the peers, on real workers. */
#include "bare_engine.h"

#include <string.h>

#include "engine/path/peer.h"

#define PEERS 9000 /* more than one call visits */

static struct engine_caller caller;

static struct key key_of(uint32_t number) {
    struct key key = {.bytes = {9}};
    memcpy(key.bytes + 4, &number, sizeof number);
    return key;
}

static int open_with_peers(void **state) {
    struct engine *engine = bare_engine(2);
    for (uint32_t i = 0; i < PEERS; i++) {
        struct engine_peer_change change = {.public_key = key_of(i)};
        assert_int_equal(engine_peer_change(engine, &caller, &change), 0);
    }
    assert_int_equal(engine_flush(engine, &caller), 0);
    *state = engine;
    return 0;
}

static int end(void **state) {
    engine_free(*state);
    return 0;
}

static void make_secrets(struct worker *worker, void *argument) {
    uint32_t *count = argument;
    for (uint32_t slot = 0; slot < worker->tables.peer_room; slot++) {
        struct peer *peer = worker->tables.peers[slot];
        if (peer) {
            memset(&peer->remote.static_static, 0xa5, sizeof peer->remote.static_static);
            peer->remote.has_static_static = true;
            ++*count;
        }
    }
}

static void count_secrets(struct worker *worker, void *argument) {
    uint32_t *count = argument;
    for (uint32_t slot = 0; slot < worker->tables.peer_room; slot++) {
        const struct peer *peer = worker->tables.peers[slot];
        *count += peer && (peer->remote.has_static_static || !key_is_zero(&peer->remote.static_static));
    }
}

static void a_new_key_wipes_what_was_made_with_the_old(void **state) {
    struct engine *engine = *state;
    struct key fresh;
    uint32_t made = 0, left = 0;
    for (unsigned i = 0; i < engine->count; i++) {
        worker_call(engine->workers[i], make_secrets, &made);
    }
    assert_int_equal(made, PEERS);
    key_make_private(&fresh);
    assert_int_equal(engine_set_private_key(engine, &fresh), 0);
    for (unsigned i = 0; i < engine->count; i++) {
        worker_call(engine->workers[i], count_secrets, &left);
    }
    assert_int_equal(left, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_key_wipes_what_was_made_with_the_old, open_with_peers, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
