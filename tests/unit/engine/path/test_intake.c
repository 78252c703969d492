/* What workers hand over: no kind takes the place of another, and a round takes a bounded piece of each. */
#include "ends.h"

#include "base/bytes.h"
#include "engine/io/steer.h"
#include "engine/path/parcel.h"

#define MORE_THAN_A_RING 2000

static void close_ends(struct ends *ends) {
    rig_close(&ends->left);
    rig_close(&ends->right);
    free(ends);
}

/* Data messages that name an index of `owner`, as a stranger makes them. */
static void flood_with_datagrams(struct worker *worker, unsigned owner, int count) {
    uint8_t bytes[64] = {MESSAGE_DATA};
    struct udp_received received = {.bytes = bytes, .size = sizeof bytes, .segment = sizeof bytes};
    received.from.in.sin_family = AF_INET;
    le32_put(bytes + 4, steer_index(owner, 7));
    for (int i = 0; i < count; i++) {
        receive_batch(worker, &received, 1);
    }
}

static void flood_with_packets(struct ends *ends, struct worker *worker, int count) {
    const struct virtio_net_hdr header = {0};
    for (int i = 0; i < count; i++) {
        size_t size = rig_packet("10.9.0.2", "10.9.0.1", 100, false, ends->packet);
        forward_from_host(worker, ends->packet, size, &header, false);
    }
}

static void a_flood_of_datagrams_takes_the_place_of_no_packet_and_no_caller(void **state) {
    (void)state;
    struct ends *ends = calloc(1, sizeof *ends);
    open_ends(ends, 2);
    struct worker *first = ends->right.workers[0];
    flood_with_datagrams(first, 1, MORE_THAN_A_RING);
    uint64_t full = rig_drops(&ends->right, ENGINE_DROP_RING_FULL);
    assert_true(full > 0);
    flood_with_packets(ends, first, 1);
    assert_int_equal(first->counters.handed_over_packets, 1);
    flood_with_packets(ends, first, MORE_THAN_A_RING);
    full = rig_drops(&ends->right, ENGINE_DROP_RING_FULL);
    struct noise_caller caller = {.public_key = ends->left.public_key};
    struct handshake_message message = {.size = sizeof(struct message_initiation)};
    assert_true(parcel_send_caller(first, 1, &caller, &message));
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_RING_FULL), full);
    /* It is the first of all. */
    shield_begin_round(ends->right.workers[1]);
    assert_true(intake_parcels(ends->right.workers[1]));
    assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_BAD_HANDSHAKE), 1);
    close_ends(ends);
}

static void a_round_takes_as_much_from_fifteen_workers_as_from_one(void **state) {
    (void)state;
    for (unsigned workers = 2; workers <= 16; workers += 14) {
        struct ends *ends = calloc(1, sizeof *ends);
        open_ends(ends, workers);
        struct worker *owner = ends->right.workers[workers - 1];
        for (unsigned i = 0; i + 1 < workers; i++) {
            flood_with_datagrams(ends->right.workers[i], workers - 1, 300);
            flood_with_packets(ends, ends->right.workers[i], 300);
        }
        shield_begin_round(owner);
        assert_true(intake_parcels(owner));
        assert_int_equal(rig_drops(&ends->right, ENGINE_DROP_UNKNOWN_INDEX), 128);
        assert_int_equal(owner->counters.drops[ENGINE_DROP_NO_ENDPOINT], 128);
        /* In the end each had its turn. */
        for (unsigned round = 0; round < 300 * workers / 128; round++) {
            intake_parcels(owner);
        }
        assert_false(intake_pending(owner));
        close_ends(ends);
    }
}

/* However many ask for it: peers that are wanted, callers of other workers, messages that wait. */
static void a_round_does_a_bounded_piece_of_public_key_work(void **state) {
    (void)state;
    struct ends *ends = calloc(1, sizeof *ends);
    open_ends(ends, 16);
    struct worker *owner = ends->right.workers[15];
    for (uint32_t i = 0; i < 1000; i++) {
        struct peer *sleeping = rig_peer(&ends->right, 15, 10 + i, 0, (const char *const[]){NULL}, NULL);
        peer_want_session(owner, sleeping);
    }
    struct noise_caller caller = {.public_key = ends->left.public_key};
    struct handshake_message message = {.size = sizeof(struct message_initiation)};
    for (unsigned i = 0; i < 15; i++) {
        for (int n = 0; n < 20; n++) {
            assert_true(parcel_send_caller(ends->right.workers[i], 15, &caller, &message));
        }
    }
    uint64_t begun = owner->counters.udp_sent + owner->counters.drops[ENGINE_DROP_UDP_FULL];
    for (int round = 1; round <= 10; round++) {
        shield_begin_round(owner);
        intake_parcels(owner);
        assert_true(handshake_work(owner));
        assert_in_range(-owner->work_left, 0, 3);
        uint64_t now = owner->counters.udp_sent + owner->counters.drops[ENGINE_DROP_UDP_FULL];
        assert_in_range(now - begun, 1, WORKER_WORK_ROUND / 2); /* an initiation costs two */
        assert_in_range(owner->counters.drops[ENGINE_DROP_BAD_HANDSHAKE], round, round * WORKER_WORK_ROUND / 2);
        begun = now;
    }
    close_ends(ends);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_of_datagrams_takes_the_place_of_no_packet_and_no_caller),
        cmocka_unit_test(a_round_takes_as_much_from_fifteen_workers_as_from_one),
        cmocka_unit_test(a_round_does_a_bounded_piece_of_public_key_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
