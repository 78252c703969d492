/* Two ends on real sockets, turned by hand.
 *
 *   [left]  10.9.0.1  127.0.0.1:port  <-------->  127.0.0.1:port  10.9.0.2  [right]
 */
#pragma once

#include "rig.h"

#include <linux/virtio_net.h>
#include <poll.h>

#include "engine/path/forward.h"

#define ROOM 66000

struct ends {
    struct rig left, right;
    struct peer *at_left, *at_right; /* the peer that each knows */
    uint8_t packet[ROOM];
    uint8_t heard[ROOM];
};

static inline struct peer *know(struct rig *rig, unsigned worker, const struct rig *other, const char *allowed,
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

static inline void open_ends(struct ends *ends, unsigned right_workers) {
    rig_open(&ends->left, 1);
    rig_open(&ends->right, right_workers);
    rig_up(&ends->left);
    rig_up(&ends->right);
    ends->at_left = know(&ends->left, 0, &ends->right, "10.9.0.2/32", true);
    ends->at_right = know(&ends->right, right_workers - 1, &ends->left, "10.9.0.1/32", false);
}

static inline int setup(void **state) {
    struct ends *ends = calloc(1, sizeof *ends);
    open_ends(ends, 1);
    *state = ends;
    return 0;
}

static inline int teardown(void **state) {
    struct ends *ends = *state;
    rig_close(&ends->left);
    rig_close(&ends->right);
    free(ends);
    return 0;
}

/* A round's worth of public-key work. True if there is more. */
static inline bool work(struct worker *worker) {
    shield_begin_round(worker);
    return handshake_work(worker);
}

/* One round of each worker; how much there was to read. */
static inline size_t turn(struct rig *rig) {
    size_t read = 0;
    for (unsigned i = 0; i < rig->count; i++) {
        struct worker *worker = rig->workers[i];
        read += receive_round(worker, rig->sockets[i].v4);
        shield_begin_round(worker);
        intake_parcels(worker);
        while (work(worker)) {
        }
        host_flush(worker);
        transmit_flush(worker);
        session_index_sweep(&worker->tables.index);
    }
    return read;
}

/* Until nothing is on its way: the loopback delivers before the sender returns. */
static inline void settle(struct ends *ends) {
    for (int quiet = 0; quiet < 3;) { /* what was read in one round may be answered in the next */
        quiet = turn(&ends->left) + turn(&ends->right) > 0 ? 0 : quiet + 1;
    }
}

static inline void later(struct rig *rig, uint64_t ns) {
    for (unsigned i = 0; i < rig->count; i++) {
        struct worker *worker = rig->workers[i];
        worker->mono_ns += ns;
        worker->now_ns += ns;
    }
}

static inline void fire(void *context, struct wheel_node *node) {
    handshake_expire(context, (struct peer_state *)((char *)node - offsetof(struct peer_state, node)));
}

static inline void let_timers_fire(struct rig *rig) {
    for (unsigned i = 0; i < rig->count; i++) {
        wheel_advance(&rig->workers[i]->wheel, rig->workers[i]->now_ns, 1000, fire, rig->workers[i]);
        work(rig->workers[i]);
    }
}

/* The host on the left sends one to the right, and the handshake that it may want is begun. */
static inline size_t send_right(struct ends *ends) {
    const struct virtio_net_hdr header = {0};
    size_t size = rig_packet("10.9.0.1", "10.9.0.2", 100, false, ends->packet);
    forward_from_host(ends->left.workers[0], ends->packet, size, &header, false);
    work(ends->left.workers[0]);
    return size;
}

static inline size_t arrives_right(struct ends *ends) {
    settle(ends);
    return rig_heard(&ends->right, ends->heard, ROOM);
}

/* What is in flight towards this end, taken from its socket. */
static inline size_t take_from(struct rig *rig, uint8_t *bytes, size_t room) {
    struct pollfd ready = {.fd = rig->sockets[0].v4, .events = POLLIN};
    if (poll(&ready, 1, 1000) <= 0) {
        return 0;
    }
    ssize_t size = recv(ready.fd, bytes, room, MSG_DONTWAIT);
    return size > 0 ? (size_t)size : 0;
}

static inline size_t intercept(struct ends *ends, uint8_t *bytes, size_t room) {
    return take_from(&ends->right, bytes, room);
}

/* Gives the right a datagram as if it came from `port`. */
static inline void inject(struct ends *ends, const uint8_t *bytes, size_t size, uint16_t port) {
    static uint8_t copy[ROOM];
    memcpy(copy, bytes, size);
    struct udp_received received = {.bytes = copy, .size = size, .segment = size};
    received.from.in.sin_family = AF_INET;
    received.from.in.sin_port = htons(port);
    received.from.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    receive_batch(ends->right.workers[0], &received, 1);
    while (work(ends->right.workers[0])) {
    }
    transmit_flush(ends->right.workers[0]);
}

/* The wall clock stands still while the test turns the other one, so a later initiation bears the same time. */
static inline void forget_the_time(struct ends *ends) {
    memset(ends->at_right->remote.latest_timestamp, 0, MESSAGE_TIMESTAMP_SIZE);
}
