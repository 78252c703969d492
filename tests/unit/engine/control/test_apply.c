/* What is gathered for several callers comes into force together, in bounded pieces, and each hears of its own. */
#include "bare_engine.h"
#include "rig.h"

#include <errno.h>

#define MANY 10000

static struct key key_of(uint32_t number) {
    struct key key = {.bytes = {9}};
    memcpy(key.bytes + 4, &number, sizeof number);
    return key;
}

static int open_engine(void **state) {
    *state = bare_engine(2);
    return 0;
}

static int close_engine(void **state) {
    engine_free(*state);
    return 0;
}

/* Refused by the worker: a peer without a tenant has no hub address. */
static struct engine_peer_change refused(uint32_t number) {
    struct engine_peer_change change = {
        .public_key = key_of(number), .has_hub_addresses = true, .hub_address_count = 1};
    change.hub_addresses[0] = (struct engine_hub_address){.hub = rig_ip("10.0.0.9"), .inside = rig_ip("10.0.0.9")};
    return change;
}

static void an_error_reaches_who_caused_it(void **state) {
    struct engine *engine = *state;
    struct engine_caller first = {0}, second = {0};
    const struct engine_peer_change bad = refused(1), good = {.public_key = key_of(2)};
    assert_int_equal(engine_peer_change(engine, &first, &bad), 0);
    assert_int_equal(engine_peer_change(engine, &second, &good), 0);
    assert_int_equal(engine_flush(engine, &second), 0);
    assert_int_equal(engine_flush(engine, &first), -EINVAL);
    assert_int_equal(engine_flush(engine, &first), 0);
    assert_int_equal(directory_worker_of_key(engine->directory, &bad.public_key), -ENOENT);
    assert_true(directory_worker_of_key(engine->directory, &good.public_key) >= 0);
}

/* Each of these applies what others gathered, and used to take their errors for its own. */
static void a_tenant_that_goes_or_changes_is_not_blamed(void **state) {
    struct engine *engine = *state;
    struct engine_caller first = {0}, second = {0};
    const struct engine_peer_change bad = refused(1);
    struct engine_tenant tenant = {.id.bytes = {1}, .addressing = ADDRESSING_UNIQUE};
    assert_int_equal(engine_tenant_set(engine, &second, &tenant), 0);
    assert_int_equal(engine_flush(engine, &second), 0);
    assert_int_equal(engine_peer_change(engine, &first, &bad), 0);
    tenant.addressing = ADDRESSING_PRIVATE;
    assert_int_equal(engine_tenant_set(engine, &second, &tenant), 0);
    assert_int_equal(engine_peer_change(engine, &first, &bad), 0);
    assert_int_equal(engine_tenant_remove(engine, &tenant.id), 0);
    assert_int_equal(engine_peer_change(engine, &first, &bad), 0);
    assert_int_equal(engine_remove_peers(engine), 0);
    assert_int_equal(engine_flush(engine, &second), 0);
    assert_int_equal(engine_flush(engine, &first), -EINVAL);
}

/* --- many allowed IPs --- */

static void give_many(struct rig *rig, uint32_t count) {
    for (uint32_t from = 0; from < count;) {
        struct engine_allowed_ip list[CHANGE_ALLOWED_MAX];
        struct change change = {.kind = CHANGE_PEER, .peer = {.update_only = true}};
        size_t piece = 0;
        put32(change.peer.public_key.bytes, 1);
        for (; piece < CHANGE_ALLOWED_MAX && from < count; piece++, from++) {
            struct ip_addr addr = ip_from_v4(from * UINT32_C(2654435761));
            list[piece] = (struct engine_allowed_ip){.prefix = prefix_make(&addr, 32)};
        }
        assert_int_equal(rig_apply(rig, 0, &change, list, piece), 0);
    }
}

/* Applies it call by call; each takes away no more than it may. Returns the calls. */
static unsigned apply_counted(struct rig *rig, const struct change *change) {
    struct change_batch batch = {0};
    unsigned calls = 0;
    size_t edits = 0;
    assert_int_equal(change_batch_add(&batch, change, NULL, 0), 0);
    while (!change_batch_done(&batch)) {
        change_apply(rig->workers[0], &batch);
        assert_true(batch.edit_count - edits <= CHANGE_ALLOWED_MAX);
        edits = batch.edit_count;
        calls++;
        const struct peer *peer = peer_at(rig->workers[0], 1);
        if (change->peer.remove && peer) {
            assert_int_equal(peer->endpoint.sa.sa_family, AF_UNSPEC); /* nothing is sent to it any more */
        }
    }
    assert_int_equal(batch.changes[0].error, 0);
    assert_int_equal(edits, MANY);
    for (size_t i = 0; i < batch.edit_count; i++) {
        assert_true(batch.edits[i].remove);
        assert_int_equal(directory_remove_route(rig->directory, &batch.edits[i].prefix, batch.edits[i].id), 0);
    }
    change_batch_free(&batch);
    return calls;
}

static void many_allowed_ips_go_in_pieces(void **state) {
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    rig_tenant(&rig, 0, 1, ADDRESSING_UNIQUE, false, (struct limits){0});
    rig_peer(&rig, 0, 1, 1, (const char *[]){NULL}, NULL);
    struct change replace = {.kind = CHANGE_PEER, .peer = {.update_only = true, .replace_allowed_ips = true}};
    struct change move = {.kind = CHANGE_PEER, .peer = {.update_only = true, .has_tenant = true}};
    struct change removal = {.kind = CHANGE_PEER, .peer = {.remove = true}};
    struct change *const changes[] = {&replace, &move, &removal};
    for (size_t i = 0; i < COUNT(changes); i++) {
        put32(changes[i]->peer.public_key.bytes, 1);
        give_many(&rig, MANY);
        assert_int_equal(directory_route_count(rig.directory), MANY);
        assert_int_equal(apply_counted(&rig, changes[i]), (MANY + CHANGE_ALLOWED_MAX - 1) / CHANGE_ALLOWED_MAX);
        assert_int_equal(directory_route_count(rig.directory), 0);
    }
    assert_null(peer_at(rig.workers[0], 1));
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_error_reaches_who_caused_it, open_engine, close_engine),
        cmocka_unit_test_setup_teardown(a_tenant_that_goes_or_changes_is_not_blamed, open_engine, close_engine),
        cmocka_unit_test(many_allowed_ips_go_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
