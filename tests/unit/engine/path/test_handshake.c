/* Handshakes, sessions, and what is refused. */
#include "ends.h"

static void a_packet_begins_a_session_and_crosses_it(void **state) {
    struct ends *ends = *state;
    size_t size = send_right(ends);
    assert_int_equal(arrives_right(ends), size);
    assert_memory_equal(ends->heard, ends->packet, size);
    assert_int_equal(ends->left.workers[0]->counters.handshakes, 1);
    assert_int_equal(ends->right.workers[0]->counters.handshakes, 1);
    assert_int_equal(ntohs(ends->at_right->endpoint.in.sin_port), ends->left.port); /* learned */
    assert_true(ends->at_right->last_handshake_wall_ns > 0);
    /* initiation, data of 128 bytes; response */
    assert_int_equal(ends->at_left->bytes_sent, 148 + 128 + 32);
    assert_int_equal(ends->at_right->bytes_received, 148 + 128 + 32);
    assert_int_equal(ends->at_left->bytes_received, 92);
}

static void what_waits_is_bounded_and_the_oldest_goes(void **state) {
    struct ends *ends = *state;
    for (int i = 0; i < PEER_WAITING_MAX + 10; i++) {
        ends->at_left->state ? (void)0 : (void)peer_make_state(ends->left.workers[0], ends->at_left);
        uint8_t number = (uint8_t)i;
        peer_wait_push(ends->left.workers[0], ends->at_left, &number, 1);
    }
    assert_int_equal(rig_drops(&ends->left, ENGINE_DROP_NO_SESSION), 10);
    struct waiting *oldest = peer_wait_pop(ends->left.workers[0], ends->at_left);
    assert_int_equal(oldest->bytes[0], 10);
    free(oldest);
    peer_reset(ends->left.workers[0], ends->at_left);
    assert_int_equal(ends->left.workers[0]->waiting.size, 0);
}

/* Packets for peers that do not answer fill all the room there is. */
static void whoever_is_called_next_is_called_all_the_same(void **state) {
    struct ends *ends = *state;
    struct worker *left = ends->left.workers[0];
    static const uint8_t packet[60000];
    const uint32_t peers = 2 * WORKER_WAITING_MAX / sizeof packet / PEER_WAITING_MAX;
    for (uint32_t i = 0; i < peers; i++) {
        struct peer *silent = rig_peer(&ends->left, 0, 10 + i, 0, (const char *const[]){NULL}, NULL);
        assert_int_equal(peer_make_state(left, silent), 0);
        for (int n = 0; n < PEER_WAITING_MAX; n++) {
            peer_wait_push(left, silent, packet, sizeof packet);
        }
    }
    assert_in_range(left->waiting.size, WORKER_WAITING_MAX - 2 * sizeof packet, WORKER_WAITING_MAX);
    assert_int_equal(rig_drops(&ends->left, ENGINE_DROP_NO_SESSION) + left->waiting.size / sizeof packet,
                     peers * PEER_WAITING_MAX);
    assert_null(peer_at(left, 10)->state->waiting_first);
    size_t size = send_right(ends);
    assert_int_equal(arrives_right(ends), size);
}

static void a_replayed_initiation_moves_nothing(void **state) {
    struct ends *ends = *state;
    uint8_t initiation[200];
    send_right(ends);
    assert_int_equal(intercept(ends, initiation, sizeof initiation), 148);
    inject(ends, initiation, 148, ends->left.port);
    settle(ends);
    later(&ends->right, NSEC_PER_SEC);
    inject(ends, initiation, 148, 4242);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_REPLAYED_HANDSHAKE), 1);
    assert_int_equal(ntohs(ends->at_right->endpoint.in.sin_port), ends->left.port);
}

static void initiations_are_taken_fifty_times_a_second(void **state) {
    struct ends *ends = *state;
    uint8_t initiation[200];
    send_right(ends);
    assert_int_equal(intercept(ends, initiation, sizeof initiation), 148);
    inject(ends, initiation, 148, ends->left.port);
    forget_the_time(ends);
    later(&ends->right, NSEC_PER_SEC / 50 - 1);
    inject(ends, initiation, 148, 4242);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_REPLAYED_HANDSHAKE), 1);
    assert_int_equal(ntohs(ends->at_right->endpoint.in.sin_port), ends->left.port);
    forget_the_time(ends);
    later(&ends->right, 1);
    inject(ends, initiation, 148, 4242);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_REPLAYED_HANDSHAKE), 1);
    assert_int_equal(ntohs(ends->at_right->endpoint.in.sin_port), 4242);
}

static void a_caller_whose_clock_was_set_back_is_told_of(void **state) {
    struct ends *ends = *state;
    uint8_t initiation[200];
    send_right(ends);
    assert_int_equal(intercept(ends, initiation, sizeof initiation), 148);
    noise_timestamp(clock_wall_ns() + 7200 * NSEC_PER_SEC, ends->at_right->remote.latest_timestamp);
    inject(ends, initiation, 148, ends->left.port);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_REPLAYED_HANDSHAKE), 1);
    assert_in_range(ends->at_right->clock_behind_s, 7199, 7210);
    forget_the_time(ends);
    inject(ends, initiation, 148, ends->left.port);
    assert_int_equal(ends->at_right->clock_behind_s, 0);
    later(&ends->right, NSEC_PER_SEC);
    inject(ends, initiation, 148, ends->left.port); /* the same once more: a replay, and not behind */
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_REPLAYED_HANDSHAKE), 2);
    assert_int_equal(ends->at_right->clock_behind_s, 0);
}

/* Here the wall clock stands still, as if it were set back each time. */
static void a_clock_of_ours_that_is_set_back_does_not_make_us_a_replay(void **state) {
    struct ends *ends = *state;
    for (uint64_t i = 1; i <= 5; i++) {
        send_right(ends); /* the session is old enough for another one */
        assert_true(arrives_right(ends) > 0);
        settle(ends);
        assert_int_equal(ends->left.workers[0]->counters.handshakes, i);
        later(&ends->left, 185 * NSEC_PER_SEC);
        later(&ends->right, 185 * NSEC_PER_SEC);
    }
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_REPLAYED_HANDSHAKE), 0);
}

static void data_is_taken_once_and_only_whole(void **state) {
    struct ends *ends = *state;
    uint8_t data[300];
    send_right(ends);
    assert_true(arrives_right(ends) > 0);
    send_right(ends);
    transmit_flush(ends->left.workers[0]);
    size_t size = intercept(ends, data, sizeof data);
    assert_int_equal(size, 128 + 32);
    data[size - 1] ^= 1;
    inject(ends, data, size, 4242);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_BAD_TAG), 1);
    assert_int_equal(ntohs(ends->at_right->endpoint.in.sin_port), ends->left.port);
    data[size - 1] ^= 1;
    inject(ends, data, size, 4242);
    assert_int_equal(rig_heard(&ends->right, ends->heard, ROOM), 128);
    assert_int_equal(ntohs(ends->at_right->endpoint.in.sin_port), 4242); /* it roamed */
    inject(ends, data, size, 4243);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_REPLAYED), 1);
    assert_int_equal(ntohs(ends->at_right->endpoint.in.sin_port), 4242);
    data[4] ^= 1; /* another receiver */
    inject(ends, data, size, 4243);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_UNKNOWN_INDEX), 1);
}

static void nobody_is_heard_from_inside_the_tunnel(void **state) {
    struct ends *ends = *state;
    struct worker *right = ends->right.workers[0];
    struct udp_received received = {.interface = 7};
    uint8_t data[300];
    send_right(ends);
    assert_true(arrives_right(ends) > 0);
    send_right(ends);
    transmit_flush(ends->left.workers[0]);
    received.bytes = data;
    received.size = received.segment = intercept(ends, data, sizeof data);
    assert_int_equal(endpoint_parse("10.9.0.1:4242", &received.from), 0);
    right->device.interface = 7;
    receive_batch(right, &received, 1);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_LOOPED), 1);
    assert_int_equal(ntohs(ends->at_right->endpoint.in.sin_port), ends->left.port);
    right->device.interface = 0; /* its index may be another's here, now that the tunnel is elsewhere */
    receive_batch(right, &received, 1);
    assert_int_equal(rig_heard(&ends->right, ends->heard, ROOM), 128);
}

static void malformed_datagrams_cost_nothing(void **state) {
    struct ends *ends = *state;
    struct dice dice = {.state = 1};
    uint8_t bytes[400] = {0};
    for (int i = 0; i < 3000; i++) {
        size_t size = dice_below(&dice, sizeof bytes);
        dice_fill(&dice, bytes, size);
        if (size >= 4 && dice_chance(&dice, 80)) {
            memset(bytes, 0, 4);
            bytes[0] = (uint8_t)(1 + dice_below(&dice, 4));
        }
        inject(ends, bytes, dice_chance(&dice, 30) ? 148 : size, 4242);
    }
    const struct engine_counters *counters = &ends->right.workers[0]->counters;
    assert_int_equal(counters->drops[ENGINE_DROP_MALFORMED] + counters->drops[ENGINE_DROP_UNKNOWN_INDEX] +
                         counters->drops[ENGINE_DROP_BAD_MAC],
                     3000);
    assert_null(ends->at_right->state);
}

static void an_unknown_key_gets_no_answer(void **state) {
    struct ends *ends = *state;
    directory_remove_key(ends->right.directory, &ends->left.public_key);
    send_right(ends);
    settle(ends);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_UNKNOWN_PEER), 1);
    assert_int_equal(ends->at_left->bytes_received, 0);
}

static void any_worker_takes_an_initiation_and_the_owner_finishes_it(void **state) {
    (void)state;
    struct ends *ends = calloc(1, sizeof *ends);
    open_ends(ends, 3);
    size_t size = send_right(ends);
    assert_int_equal(arrives_right(ends), size);
    assert_non_null(ends->right.workers[2]->tables.peers[1]->state);
    /* Data that the kernel did not steer comes to its owner all the same. */
    send_right(ends);
    transmit_flush(ends->left.workers[0]);
    struct udp_received received[UDP_BATCH];
    struct udp_reader *reader;
    assert_int_equal(udp_reader_create(&reader), 0);
    size_t count = 0;
    for (unsigned i = 0; i < 3 && count == 0; i++) {
        count = udp_read(reader, ends->right.sockets[i].v4, 1, received);
    }
    assert_int_equal(count, 1);
    uint64_t before = ends->right.workers[0]->counters.handed_over; /* maybe it took the initiation */
    receive_batch(ends->right.workers[0], received, 1);
    assert_int_equal(ends->right.workers[0]->counters.handed_over, before + 1);
    assert_int_equal(arrives_right(ends), size);
    udp_reader_free(reader);
    rig_close(&ends->left);
    rig_close(&ends->right);
    free(ends);
}

static void a_new_key_of_ours_ends_sending_on_old_sessions(void **state) {
    struct ends *ends = *state;
    struct worker *left = ends->left.workers[0];
    send_right(ends);
    assert_true(arrives_right(ends) > 0);
    uint64_t before = ends->at_left->bytes_sent;
    left->device.epoch++;
    send_right(ends);
    transmit_flush(left);
    assert_int_equal(ends->at_left->bytes_sent, before + 148); /* an initiation, not data */
    assert_int_equal(ends->at_left->state->waiting_count, 1);
}

static void a_new_key_of_ours_is_the_one_that_calls(void **state) {
    struct ends *ends = *state;
    struct worker *left = ends->left.workers[0];
    struct key fresh;
    send_right(ends);
    assert_true(arrives_right(ends) > 0);
    key_make_private(&fresh);
    noise_identity_set(left->device.identity, &fresh);
    cookie_checker_set(left->device.checker, &left->device.identity->public_key);
    left->device.epoch++;
    struct change change = {.kind = CHANGE_PEER, .slot = 2};
    change.peer.public_key = left->device.identity->public_key;
    assert_int_equal(rig_apply(&ends->right, 0, &change, NULL, 0), 0);
    assert_int_equal(directory_insert_key(ends->right.directory, &change.peer.public_key, 0), 0);
    send_right(ends);
    settle(ends);
    assert_int_equal(left->counters.handshakes, 2);
}

static void a_handshake_begun_anew_leaves_nothing_of_the_last(void **state) {
    struct ends *ends = *state;
    struct worker *left = ends->left.workers[0];
    send_right(ends);
    uint32_t first = ends->at_left->state->pending->entry.index;
    later(&ends->left, 6 * NSEC_PER_SEC);
    let_timers_fire(&ends->left);
    assert_int_not_equal(ends->at_left->state->pending->entry.index, first);
    assert_null(session_index_find(&left->tables.index, first));
    assert_int_equal(table_count(&left->tables.index.table), 1);
}

static void an_idle_peer_forgets_its_keys_and_its_timers(void **state) {
    struct ends *ends = *state;
    send_right(ends);
    assert_true(arrives_right(ends) > 0);
    assert_non_null(ends->at_right->state->session.current);
    for (int i = 0; i < 60; i++) { /* nobody hears the other any more */
        later(&ends->right, 10 * NSEC_PER_SEC);
        let_timers_fire(&ends->right);
        session_index_sweep(&ends->right.workers[0]->tables.index);
    }
    assert_null(ends->at_right->state);
    assert_int_equal(wheel_next(&ends->right.workers[0]->wheel), WHEEL_NEVER);
    assert_int_equal(table_count(&ends->right.workers[0]->tables.index.table), 0);
}

static void handshakes_of_both_at_once_leave_a_session(void **state) {
    struct ends *ends = *state;
    char text[ENDPOINT_TEXT_SIZE];
    snprintf(text, sizeof text, "127.0.0.1:%u", ends->left.port);
    assert_int_equal(endpoint_parse(text, &ends->at_right->endpoint), 0);
    peer_want_session(ends->right.workers[0], ends->at_right);
    size_t size = send_right(ends);
    assert_int_equal(arrives_right(ends), size);
    send_right(ends);
    assert_int_equal(arrives_right(ends), size);
}

static void stragglers_of_an_old_session_begin_no_handshake(void **state) {
    struct ends *ends = *state;
    struct worker *left = ends->left.workers[0];
    const struct virtio_net_hdr header = {0};
    static uint8_t straggler[ROOM];
    send_right(ends);
    assert_true(arrives_right(ends) > 0);
    size_t size = rig_packet("10.9.0.2", "10.9.0.1", 100, false, ends->packet);
    forward_from_host(ends->right.workers[0], ends->packet, size, &header, false);
    transmit_flush(ends->right.workers[0]);
    struct udp_received received = {.bytes = straggler, .from = ends->at_left->endpoint};
    received.size = received.segment = take_from(&ends->left, straggler, ROOM);
    assert_int_equal(received.size, 128 + 32);
    later(&ends->left, 130 * NSEC_PER_SEC);
    later(&ends->right, 130 * NSEC_PER_SEC);
    forget_the_time(ends);
    send_right(ends);
    assert_true(arrives_right(ends) > 0);
    assert_int_equal(left->counters.handshakes, 2);
    uint64_t sent = ends->at_left->bytes_sent;
    later(&ends->left, 38 * NSEC_PER_SEC); /* the old one's last twelve seconds */
    receive_batch(left, &received, 1);
    assert_int_equal(rig_heard(&ends->left, ends->heard, ROOM), size);
    assert_int_equal(ends->at_left->bytes_sent, sent);
    later(&ends->left, 128 * NSEC_PER_SEC); /* but the new one's do */
    later(&ends->right, 166 * NSEC_PER_SEC);
    forget_the_time(ends);
    size = rig_packet("10.9.0.2", "10.9.0.1", 100, false, ends->packet);
    forward_from_host(ends->right.workers[0], ends->packet, size, &header, false);
    settle(ends);
    assert_int_equal(left->counters.handshakes, 3);
}

static void many_packets_of_one_batch_arrive_in_order(void **state) {
    struct ends *ends = *state;
    send_right(ends);
    assert_true(arrives_right(ends) > 0);
    for (int i = 0; i < 100; i++) {
        const struct virtio_net_hdr header = {0};
        size_t size = rig_packet("10.9.0.1", "10.9.0.2", (size_t)(i * 13), false, ends->packet);
        forward_from_host(ends->left.workers[0], ends->packet, size, &header, false);
    }
    transmit_set_gso(ends->left.workers[0]->transmit, true);
    transmit_flush(ends->left.workers[0]);
    for (int i = 0; i < 100;) {
        turn(&ends->right);
        size_t size;
        while ((size = rig_heard(&ends->right, ends->heard, ROOM)) > 0) {
            assert_int_equal(size, 28 + i * 13);
            i++;
        }
    }
}

#define ENDS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ENDS(a_packet_begins_a_session_and_crosses_it),
        ENDS(what_waits_is_bounded_and_the_oldest_goes),
        ENDS(whoever_is_called_next_is_called_all_the_same),
        ENDS(a_replayed_initiation_moves_nothing),
        ENDS(initiations_are_taken_fifty_times_a_second),
        ENDS(a_caller_whose_clock_was_set_back_is_told_of),
        ENDS(a_clock_of_ours_that_is_set_back_does_not_make_us_a_replay),
        ENDS(data_is_taken_once_and_only_whole),
        ENDS(nobody_is_heard_from_inside_the_tunnel),
        ENDS(malformed_datagrams_cost_nothing),
        ENDS(an_unknown_key_gets_no_answer),
        cmocka_unit_test(any_worker_takes_an_initiation_and_the_owner_finishes_it),
        ENDS(a_new_key_of_ours_ends_sending_on_old_sessions),
        ENDS(a_new_key_of_ours_is_the_one_that_calls),
        ENDS(a_handshake_begun_anew_leaves_nothing_of_the_last),
        ENDS(an_idle_peer_forgets_its_keys_and_its_timers),
        ENDS(handshakes_of_both_at_once_leave_a_session),
        ENDS(stragglers_of_an_old_session_begin_no_handshake),
        ENDS(many_packets_of_one_batch_arrive_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
