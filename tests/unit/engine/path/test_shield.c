/* Who is served under a flood, who is asked for a cookie, and what a flood costs. */
#include "ends.h"

#include "base/bytes.h"
#include "engine/io/steer.h"
#include "engine/table/limiter.h"

#define UNDER_LOAD 513 /* when the last of them comes, 512 wait */
#define TRUSTED_FORGERIES 16
#define WORKED_PER_ROUND WORKER_WORK_ROUND /* forgeries: one X25519 each */

/* Forged initiations wait on the right: anybody who knows the public key can make them. What they hold is rubbish. */
static void forge(struct ends *ends, int count) {
    uint8_t initiation[sizeof(struct message_initiation)] = {MESSAGE_INITIATION};
    struct udp_local local = {0};
    union endpoint from = {0};
    from.in.sin_family = AF_INET;
    initiation[50] = 1;
    cookie_stamp(NULL, &ends->right.public_key, 0, initiation, sizeof initiation);
    for (int i = 0; i < count; i++) {
        shield_receive(ends->right.workers[0], initiation, sizeof initiation, &from, &local);
    }
}

/* Brings the right under load. The forgeries that are worked off end its trust in those without a cookie. */
static void load(struct ends *ends) {
    forge(ends, UNDER_LOAD);
    for (int worked = 0; worked < TRUSTED_FORGERIES; worked += WORKED_PER_ROUND) {
        assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE), worked);
        assert_true(work(ends->right.workers[0]));
    }
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_UNDER_LOAD), 0);
}

/* The left begins (anew, if it did five seconds ago), and the right reads it. */
static void call_right(struct ends *ends) {
    if (ends->at_left->state) {
        later(&ends->left, 6 * NSEC_PER_SEC);
        let_timers_fire(&ends->left);
    } else {
        send_right(ends);
    }
    assert_int_equal(receive_round(ends->right.workers[0], ends->right.sockets[0].v4), 1);
}

static void under_load_only_the_owner_of_an_address_is_served(void **state) {
    struct ends *ends = *state;
    struct worker *right = ends->right.workers[0];
    load(ends);
    /* The left's next initiation is answered by a cookie, the one after that is served. */
    call_right(ends);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_UNDER_LOAD), 1);
    work(right);
    assert_int_equal(right->counters.cookies_sent, 1);
    turn(&ends->left);
    assert_true(ends->at_left->state->jar.has_cookie);
    uint64_t dropped = rig_drops(&ends->right, ENGINE_DROP_UNDER_LOAD);
    assert_int_equal(dropped, 1 + UNDER_LOAD - TRUSTED_FORGERIES); /* no work for the forgeries that waited */
    forge(ends, 1);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_UNDER_LOAD), dropped + 1);
    call_right(ends);
    settle(ends);
    assert_int_equal(ends->left.workers[0]->counters.handshakes, 1);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_UNDER_LOAD), dropped + 1);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE), TRUSTED_FORGERIES);
}

static void without_forgeries_nobody_waits_for_a_cookie(void **state) {
    struct ends *ends = *state;
    forge(ends, UNDER_LOAD); /* under load, but nothing is known of them yet */
    call_right(ends);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_UNDER_LOAD), 0);
    assert_int_equal(ends->right.workers[0]->counters.cookies_sent, 0);
}

static void genuine_handshakes_earn_the_trust_again(void **state) {
    struct ends *ends = *state;
    load(ends);
    while (work(ends->right.workers[0])) {
    }
    later(&ends->right, 2 * NSEC_PER_SEC); /* no load any more */
    call_right(ends);
    settle(ends);
    assert_int_equal(ends->left.workers[0]->counters.handshakes, 1);
    uint64_t worked = rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE);
    forge(ends, UNDER_LOAD);
    while (work(ends->right.workers[0])) {
    }
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE), worked + 1); /* it takes one to lose it */
}

/* A response to the left with a right mac1, and rubbish in it. */
static void forge_responses(struct ends *ends, uint32_t receiver, int count) {
    struct worker *left = ends->left.workers[0];
    struct message_response response = {.type = {MESSAGE_RESPONSE}, .ephemeral = {9}};
    struct udp_received received = {.bytes = (uint8_t *)&response, .size = sizeof response, .segment = sizeof response};
    received.from.in.sin_family = AF_INET;
    le32_put(response.receiver, receiver);
    cookie_stamp(NULL, &ends->left.public_key, 0, &response, sizeof response);
    for (int i = 0; i < count; i++) {
        receive_batch(left, &received, 1);
    }
}

static void responses_to_nothing_take_nobodys_place(void **state) {
    struct ends *ends = *state;
    struct worker *left = ends->left.workers[0];
    send_right(ends);
    uint32_t awaited = ends->at_left->state->pending->entry.index;
    forge_responses(ends, steer_index(0, awaited ^ 1), 2 * UNDER_LOAD);
    assert_int_equal(rig_drops(&ends->left, ENGINE_DROP_UNKNOWN_INDEX), 2 * UNDER_LOAD);
    assert_false(work(left)); /* none waits */
    settle(ends);
    assert_int_equal(left->counters.handshakes, 1);
    /* The index of a session is none that a response may name. */
    forge_responses(ends, ends->at_left->state->session.current->local_index, 1);
    assert_int_equal(rig_drops(&ends->left, ENGINE_DROP_UNKNOWN_INDEX), 2 * UNDER_LOAD + 1);
}

static void forged_responses_end_the_trust_too(void **state) {
    struct ends *ends = *state;
    send_right(ends);
    forge_responses(ends, ends->at_left->state->pending->entry.index, UNDER_LOAD);
    while (work(ends->left.workers[0])) {
    }
    assert_int_equal(rig_drops(&ends->left, ENGINE_DROP_BAD_HANDSHAKE), TRUSTED_FORGERIES);
    assert_int_equal(rig_drops(&ends->left, ENGINE_DROP_UNDER_LOAD), UNDER_LOAD - TRUSTED_FORGERIES);
    assert_non_null(ends->at_left->state->pending); /* the true answer may still come */
}

static void one_source_gets_few_cookies(void **state) {
    struct ends *ends = *state;
    load(ends);
    forge(ends, 1000);
    work(ends->right.workers[0]);
    /* Port 0 of no address cannot be reached. */
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_UDP_FULL), LIMITER_PORT_BURST);
}

static void cookies_of_many_sources_all_leave(void **state) {
    struct ends *ends = *state;
    struct worker *right = ends->right.workers[0];
    uint8_t initiation[200];
    struct udp_local local = {0};
    send_right(ends);
    assert_int_equal(intercept(ends, initiation, sizeof initiation), 148);
    load(ends);
    for (uint16_t i = 0; i < 200; i++) {
        union endpoint from = {0};
        from.in.sin_family = AF_INET;
        from.in.sin_port = htons(ends->left.port);
        from.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i);
        shield_receive(right, initiation, 148, &from, &local);
    }
    work(right);
    assert_int_equal(right->counters.cookies_sent, 200);
}

static void who_has_waited_too_long_costs_nothing(void **state) {
    struct ends *ends = *state;
    call_right(ends);
    later(&ends->right, 5 * NSEC_PER_SEC);
    assert_false(work(ends->right.workers[0]));
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_UNDER_LOAD), 1);
    assert_int_equal(ends->at_right->bytes_received, 0);
    call_right(ends);
    later(&ends->right, 3 * NSEC_PER_SEC);
    settle(ends);
    assert_int_equal(ends->left.workers[0]->counters.handshakes, 1);
}

static void in_a_full_queue_the_newest_waits(void **state) {
    struct ends *ends = *state;
    struct worker *right = ends->right.workers[0];
    uint8_t initiation[200];
    struct udp_local local = {0};
    forge(ends, UNDER_LOAD);
    send_right(ends);
    assert_int_equal(intercept(ends, initiation, sizeof initiation), 148);
    for (uint32_t i = 0; rig_drops(&ends->right, ENGINE_DROP_UNDER_LOAD) < UNDER_LOAD; i++) {
        union endpoint from = {0};
        from.in.sin_family = AF_INET;
        from.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i / LIMITER_ADDRESS_BURST);
        from.in.sin_port = htons(ends->left.port);
        shield_receive(right, initiation, 148, &from, &local);
        assert_true(i < 100000);
    }
    work(right);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE), 0); /* all forgeries had to go */
    assert_int_equal(ends->at_right->bytes_received, 148);
}

/* --- several workers --- */

/* What anybody can make who knows the gateway's public key and a router's: all is right but what only the router could
 * have made. */
static void forge_in_the_name_of(const struct ends *ends, const struct key *router, struct message_initiation *ret) {
    struct noise_identity somebody;
    struct key private_key;
    struct noise_remote gateway = {.public_key = ends->right.public_key};
    struct noise_handshake handshake;
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE];
    key_make_private(&private_key);
    noise_identity_set(&somebody, &private_key);
    somebody.public_key = *router;
    noise_timestamp(clock_wall_ns(), timestamp);
    assert_int_equal(noise_initiation_create(&somebody, &gateway, &worker_random, 1, timestamp, &handshake, ret), 0);
    cookie_stamp(NULL, &ends->right.public_key, 0, ret, sizeof *ret);
}

/* So many arrive at this worker, of as many sources. */
static void flood_worker(struct ends *ends, unsigned number, const struct message_initiation *message, uint32_t count) {
    struct message_initiation copy = *message;
    struct udp_received received = {.bytes = (uint8_t *)&copy, .size = sizeof copy, .segment = sizeof copy};
    for (uint32_t i = 0; i < count; i++) {
        received.from.in.sin_family = AF_INET;
        received.from.in.sin_addr.s_addr = htonl(0xc6120000 + number * 10000 + i);
        receive_batch(ends->right.workers[number], &received, 1);
    }
}

/* Rounds of all workers until nothing is left to do. */
static void work_all(struct rig *rig) {
    for (bool more = true; more;) {
        more = false;
        for (unsigned i = 0; i < rig->count; i++) {
            shield_begin_round(rig->workers[i]);
            more |= intake_parcels(rig->workers[i]);
            more |= handshake_work(rig->workers[i]);
        }
    }
}

static void forgeries_that_name_a_router_end_the_trust_at(unsigned workers) {
    struct ends *ends = calloc(1, sizeof *ends);
    struct message_initiation forged;
    const uint32_t flood = 600;
    open_ends(ends, workers);
    forge_in_the_name_of(ends, &ends->left.public_key, &forged);
    for (unsigned i = 0; i < workers; i++) {
        flood_worker(ends, i, &forged, flood);
    }
    work_all(&ends->right);
    for (unsigned i = 0; i < workers; i++) {
        struct worker *worker = ends->right.workers[i];
        /* The owner's verdict takes a round to come back. */
        assert_in_range(flood - worker->counters.drops[ENGINE_DROP_UNDER_LOAD], 1, 2 * TRUSTED_FORGERIES);
        uint64_t dropped = worker->counters.drops[ENGINE_DROP_UNDER_LOAD];
        flood_worker(ends, i, &forged, 3); /* the load of before is still felt: cookies are all they get */
        assert_int_equal(worker->counters.drops[ENGINE_DROP_UNDER_LOAD], dropped + 3);
        work_all(&ends->right);
        assert_int_equal(worker->counters.cookies_sent + worker->counters.drops[ENGINE_DROP_UDP_FULL], 3);
    }
    rig_close(&ends->left);
    rig_close(&ends->right);
    free(ends);
}

static void forgeries_that_name_a_router_end_the_trust_at_each_of_two(void **state) {
    (void)state;
    forgeries_that_name_a_router_end_the_trust_at(2);
}

static void forgeries_that_name_a_router_end_the_trust_at_each_of_four(void **state) {
    (void)state;
    forgeries_that_name_a_router_end_the_trust_at(4);
}

static void forgeries_that_name_a_router_end_the_trust_at_each_of_sixteen(void **state) {
    (void)state;
    forgeries_that_name_a_router_end_the_trust_at(16);
}

/* Gives worker `number` of the right what the left sent, as if it had arrived there. */
static size_t bring(struct ends *ends, unsigned number, uint8_t *bytes, size_t room) {
    struct pollfd ready[ENGINE_WORKERS_MAX];
    for (unsigned i = 0; i < ends->right.count; i++) {
        ready[i] = (struct pollfd){.fd = ends->right.sockets[i].v4, .events = POLLIN};
    }
    assert_true(poll(ready, ends->right.count, 1000) > 0);
    ssize_t size = -1;
    for (unsigned i = 0; i < ends->right.count && size < 0; i++) {
        size = recv(ready[i].fd, bytes, room, MSG_DONTWAIT);
    }
    assert_true(size > 0);
    struct udp_received received = {.bytes = bytes, .size = (size_t)size, .segment = (size_t)size};
    received.from.in.sin_family = AF_INET;
    received.from.in.sin_port = htons(ends->left.port);
    received.from.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    receive_batch(ends->right.workers[number], &received, 1);
    return (size_t)size;
}

/* Of a round-robin of workers each is under load and trusts nobody; the owner is the last. */
static void distrust(struct ends *ends) {
    struct message_initiation forged;
    forge_in_the_name_of(ends, &ends->left.public_key, &forged);
    for (unsigned i = 0; i < ends->right.count; i++) {
        flood_worker(ends, i, &forged, UNDER_LOAD);
    }
    work_all(&ends->right);
}

static void who_returns_a_cookie_to_any_worker_is_served(void **state) {
    (void)state;
    struct ends *ends = calloc(1, sizeof *ends);
    uint8_t bytes[200];
    open_ends(ends, 4);
    distrust(ends);
    send_right(ends);
    bring(ends, 1, bytes, sizeof bytes);
    work_all(&ends->right);
    assert_int_equal(ends->right.workers[1]->counters.cookies_sent, 1);
    turn(&ends->left);
    assert_true(ends->at_left->state->jar.has_cookie);
    later(&ends->left, 6 * NSEC_PER_SEC);
    let_timers_fire(&ends->left);
    bring(ends, 1, bytes, sizeof bytes);
    work_all(&ends->right);
    assert_int_equal(ends->right.workers[1]->counters.cookies_sent, 1);
    assert_int_equal(ends->at_right->bytes_received, 148);
    /* He proved his address: that he says the same once more takes no trust, at neither worker. */
    for (unsigned i = 0; i < ends->right.count; i++) {
        later(&ends->right, 2 * NSEC_PER_SEC); /* no load any more */
    }
    uint64_t served = rig_drops(&ends->right, ENGINE_DROP_REPLAYED_HANDSHAKE);
    struct udp_received again = {.bytes = bytes, .size = 148, .segment = 148};
    again.from.in.sin_family = AF_INET;
    again.from.in.sin_port = htons(ends->left.port);
    again.from.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    receive_batch(ends->right.workers[1], &again, 1);
    work_all(&ends->right);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_REPLAYED_HANDSHAKE), served + 1);
    assert_true(atomic_load(&ends->right.workers[1]->verdicts) == 0);
    rig_close(&ends->left);
    rig_close(&ends->right);
    free(ends);
}

static void who_proved_his_address_does_not_wait_behind_those_who_did_not(void **state) {
    struct ends *ends = *state;
    load(ends);
    call_right(ends);
    work(ends->right.workers[0]);
    turn(&ends->left); /* has a cookie now */
    while (work(ends->right.workers[0])) {
    }
    later(&ends->right, 2 * NSEC_PER_SEC); /* no load any more: all may wait */
    forge(ends, UNDER_LOAD / 2);
    call_right(ends);
    uint64_t worked = rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE);
    assert_true(work(ends->right.workers[0]));
    assert_int_equal(ends->at_right->bytes_received, 148);
    assert_in_range(rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE) - worked, 0, WORKED_PER_ROUND);
}

#define ENDS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ENDS(under_load_only_the_owner_of_an_address_is_served),
        ENDS(without_forgeries_nobody_waits_for_a_cookie),
        ENDS(genuine_handshakes_earn_the_trust_again),
        ENDS(responses_to_nothing_take_nobodys_place),
        ENDS(forged_responses_end_the_trust_too),
        ENDS(one_source_gets_few_cookies),
        ENDS(cookies_of_many_sources_all_leave),
        ENDS(who_has_waited_too_long_costs_nothing),
        ENDS(in_a_full_queue_the_newest_waits),
        ENDS(who_proved_his_address_does_not_wait_behind_those_who_did_not),
        cmocka_unit_test(forgeries_that_name_a_router_end_the_trust_at_each_of_two),
        cmocka_unit_test(forgeries_that_name_a_router_end_the_trust_at_each_of_four),
        cmocka_unit_test(forgeries_that_name_a_router_end_the_trust_at_each_of_sixteen),
        cmocka_unit_test(who_returns_a_cookie_to_any_worker_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
