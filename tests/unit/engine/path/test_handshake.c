/* Two ends on real sockets, turned by hand: handshakes, sessions, and what is refused.
 *
 *   [left]  10.9.0.1  127.0.0.1:port  <-------->  127.0.0.1:port  10.9.0.2  [right]
 */
#include "rig.h"

#include <linux/virtio_net.h>
#include <poll.h>

#include "base/bytes.h"
#include "engine/io/steer.h"
#include "engine/path/forward.h"
#include "engine/table/limiter.h"

#define ROOM 66000
#define UNDER_LOAD 513 /* when the last of them comes, 512 wait */
#define TRUSTED_FORGERIES 16
#define WORKED_PER_ROUND 4

struct ends {
    struct rig left, right;
    struct peer *at_left, *at_right; /* the peer that each knows */
    uint8_t packet[ROOM];
    uint8_t heard[ROOM];
};

static struct peer *know(struct rig *rig, unsigned worker, const struct rig *other, const char *allowed,
                         bool with_endpoint) {
    const struct engine_allowed_ip list = {.prefix = rig_prefix(allowed)};
    struct change change = {.kind = CHANGE_PEER, .slot = 1};
    change.peer.public_key = other->public_key;
    if (with_endpoint) {
        char text[ENDPOINT_TEXT_SIZE];
        snprintf(text, sizeof text, "127.0.0.1:%u", other->port);
        change.peer.has_endpoint = true;
        assert_int_equal(endpoint_parse(text, &change.peer.endpoint), 0);
    }
    assert_int_equal(rig_apply(rig, worker, &change, &list, 1), 0);
    assert_int_equal(directory_insert_key(rig->directory, &other->public_key, worker), 0);
    return peer_at(rig->workers[worker], 1);
}

static void open_ends(struct ends *ends, unsigned right_workers) {
    rig_open(&ends->left, 1);
    rig_open(&ends->right, right_workers);
    rig_up(&ends->left);
    rig_up(&ends->right);
    ends->at_left = know(&ends->left, 0, &ends->right, "10.9.0.2/32", true);
    ends->at_right = know(&ends->right, right_workers - 1, &ends->left, "10.9.0.1/32", false);
}

static int setup(void **state) {
    struct ends *ends = calloc(1, sizeof *ends);
    open_ends(ends, 1);
    *state = ends;
    return 0;
}

static int teardown(void **state) {
    struct ends *ends = *state;
    rig_close(&ends->left);
    rig_close(&ends->right);
    free(ends);
    return 0;
}

/* One round of each worker; how much there was to read. */
static size_t turn(struct rig *rig) {
    size_t read = 0;
    for (unsigned i = 0; i < rig->count; i++) {
        struct worker *worker = rig->workers[i];
        read += receive_round(worker, rig->sockets[i].v4);
        intake_parcels(worker);
        while (handshake_work(worker)) {
        }
        host_flush(worker);
        transmit_flush(worker);
        session_index_sweep(&worker->tables.index);
    }
    return read;
}

/* Until nothing is on its way: the loopback delivers before the sender returns. */
static void settle(struct ends *ends) {
    for (int quiet = 0; quiet < 3;) { /* what was read in one round may be answered in the next */
        quiet = turn(&ends->left) + turn(&ends->right) > 0 ? 0 : quiet + 1;
    }
}

static void later(struct rig *rig, uint64_t ns) {
    for (unsigned i = 0; i < rig->count; i++) {
        struct worker *worker = rig->workers[i];
        worker->mono_ns += ns;
        worker->now_ns += ns;
    }
}

static void fire(void *context, struct wheel_node *node) {
    handshake_expire(context, (struct peer_state *)((char *)node - offsetof(struct peer_state, node)));
}

static void let_timers_fire(struct rig *rig) {
    for (unsigned i = 0; i < rig->count; i++) {
        wheel_advance(&rig->workers[i]->wheel, rig->workers[i]->now_ns, 1000, fire, rig->workers[i]);
        handshake_work(rig->workers[i]);
    }
}

/* The host on the left sends one to the right, and the handshake that it may want is begun. */
static size_t send_right(struct ends *ends) {
    const struct virtio_net_hdr header = {0};
    size_t size = rig_packet("10.9.0.1", "10.9.0.2", 100, false, ends->packet);
    forward_from_host(ends->left.workers[0], ends->packet, size, &header, false);
    handshake_work(ends->left.workers[0]);
    return size;
}

static size_t arrives_right(struct ends *ends) {
    settle(ends);
    return rig_heard(&ends->right, ends->heard, ROOM);
}

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

/* What is in flight towards this end, taken from its socket. */
static size_t take_from(struct rig *rig, uint8_t *bytes, size_t room) {
    struct pollfd ready = {.fd = rig->sockets[0].v4, .events = POLLIN};
    if (poll(&ready, 1, 1000) <= 0) {
        return 0;
    }
    ssize_t size = recv(ready.fd, bytes, room, MSG_DONTWAIT);
    return size > 0 ? (size_t)size : 0;
}

static size_t intercept(struct ends *ends, uint8_t *bytes, size_t room) {
    return take_from(&ends->right, bytes, room);
}

/* Gives the right a datagram as if it came from `port`. */
static void inject(struct ends *ends, const uint8_t *bytes, size_t size, uint16_t port) {
    static uint8_t copy[ROOM];
    memcpy(copy, bytes, size);
    struct udp_received received = {.bytes = copy, .size = size, .segment = size};
    received.from.in.sin_family = AF_INET;
    received.from.in.sin_port = htons(port);
    received.from.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    receive_batch(ends->right.workers[0], &received, 1);
    while (handshake_work(ends->right.workers[0])) {
    }
    transmit_flush(ends->right.workers[0]);
}

/* The wall clock stands still while the test turns the other one, so a later initiation bears the same time. */
static void forget_the_time(struct ends *ends) {
    memset(ends->at_right->remote.latest_timestamp, 0, MESSAGE_TIMESTAMP_SIZE);
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

/* Forged initiations wait on the right: anybody who knows the public key can make them. What they hold is rubbish. */
static void forge(struct ends *ends, int count) {
    uint8_t initiation[sizeof(struct message_initiation)] = {MESSAGE_INITIATION};
    struct udp_local local = {0};
    union endpoint from = {0};
    from.in.sin_family = AF_INET;
    initiation[50] = 1;
    cookie_stamp(NULL, &ends->right.public_key, 0, initiation, sizeof initiation);
    for (int i = 0; i < count; i++) {
        handshake_receive(ends->right.workers[0], initiation, sizeof initiation, &from, &local);
    }
}

/* Brings the right under load. The forgeries that are worked off end its trust in those without a cookie. */
static void load(struct ends *ends) {
    forge(ends, UNDER_LOAD);
    for (int worked = 0; worked < TRUSTED_FORGERIES; worked += WORKED_PER_ROUND) {
        assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE), worked);
        assert_true(handshake_work(ends->right.workers[0]));
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
    handshake_work(right);
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
    while (handshake_work(ends->right.workers[0])) {
    }
    later(&ends->right, 2 * NSEC_PER_SEC); /* no load any more */
    call_right(ends);
    settle(ends);
    assert_int_equal(ends->left.workers[0]->counters.handshakes, 1);
    uint64_t worked = rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE);
    forge(ends, UNDER_LOAD);
    while (handshake_work(ends->right.workers[0])) {
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
    assert_false(handshake_work(left)); /* none waits */
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
    while (handshake_work(ends->left.workers[0])) {
    }
    assert_int_equal(rig_drops(&ends->left, ENGINE_DROP_BAD_HANDSHAKE), TRUSTED_FORGERIES);
    assert_int_equal(rig_drops(&ends->left, ENGINE_DROP_UNDER_LOAD), UNDER_LOAD - TRUSTED_FORGERIES);
    assert_non_null(ends->at_left->state->pending); /* the true answer may still come */
}

static void one_source_gets_few_cookies(void **state) {
    struct ends *ends = *state;
    load(ends);
    forge(ends, 1000);
    handshake_work(ends->right.workers[0]);
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
        handshake_receive(right, initiation, 148, &from, &local);
    }
    handshake_work(right);
    assert_int_equal(right->counters.cookies_sent, 200);
}

static void who_has_waited_too_long_costs_nothing(void **state) {
    struct ends *ends = *state;
    call_right(ends);
    later(&ends->right, 5 * NSEC_PER_SEC);
    assert_false(handshake_work(ends->right.workers[0]));
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
        handshake_receive(right, initiation, 148, &from, &local);
        assert_true(i < 100000);
    }
    handshake_work(right);
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE), 0); /* all forgeries had to go */
    assert_int_equal(ends->at_right->bytes_received, 148);
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
        ENDS(data_is_taken_once_and_only_whole),
        ENDS(nobody_is_heard_from_inside_the_tunnel),
        ENDS(malformed_datagrams_cost_nothing),
        ENDS(an_unknown_key_gets_no_answer),
        ENDS(under_load_only_the_owner_of_an_address_is_served),
        ENDS(without_forgeries_nobody_waits_for_a_cookie),
        ENDS(genuine_handshakes_earn_the_trust_again),
        ENDS(responses_to_nothing_take_nobodys_place),
        ENDS(forged_responses_end_the_trust_too),
        ENDS(one_source_gets_few_cookies),
        ENDS(cookies_of_many_sources_all_leave),
        ENDS(who_has_waited_too_long_costs_nothing),
        ENDS(in_a_full_queue_the_newest_waits),
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
