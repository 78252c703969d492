#include "engine/path/receive.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/prefetch.h"
#include "engine/io/steer.h"
#include "engine/io/xdp.h"
#include "engine/packet/coalesce.h"
#include "engine/path/forward.h"
#include "engine/path/handshake.h"
#include "engine/path/host.h"
#include "engine/path/parcel.h"
#include "engine/path/peer.h"
#include "engine/path/shield.h"
#include "engine/path/space.h"
#include "engine/path/transmit.h"
#include "engine/path/worker.h"

_Static_assert(sizeof(struct message_data) >= COALESCE_HEADROOM, "room in front of a packet for the host");

#define BATCH 256      /* data messages opened together */
#define ROUTES_AHEAD 4 /* packets whose route is asked for while others are forwarded */

/* A data message on its way through the batch. */
struct opening {
    struct indexed_keypair *indexed;
    const struct udp_received *received;
    size_t wire_size;
};

struct batch {
    struct worker *worker;
    size_t count;
    struct opening openings[BATCH];
    struct aead_job jobs[BATCH];
};

/* The peer proved that it has the keypair: what Linux's received_with_keypair() does. */
static void confirm(struct worker *worker, struct peer *peer) {
    timers_handshake_complete(&peer->state->timers);
    peer->last_handshake_wall_ns = clock_wall_ns();
    worker->counters.handshakes++;
    transmit_waiting(worker, peer);
}

static void note_received(struct worker *worker, struct peer *peer, struct keypair *keypair,
                          const struct opening *opening) {
    struct peer_state *state = peer->state;
    bool confirmed;
    peer_roam(worker, peer, &opening->received->from, &opening->received->to);
    peer->bytes_received += opening->wire_size;
    peer->changed_ns = worker->mono_ns;
    struct session_dropped dropped = session_received(&state->session, keypair, &confirmed);
    session_index_retire(&worker->tables.index, &dropped);
    if (confirmed) {
        confirm(worker, peer);
    }
    /* Not the keypair it came on: an old one may still bring stragglers. */
    const struct keypair *current = state->session.current;
    if (current && keypair_wants_rekey_after_receive(current, worker->now_ns)) {
        peer_want_session(worker, peer);
    }
    timers_any_authenticated_received(&state->timers);
    timers_any_authenticated_traversed(&state->timers, worker->now_ns);
}

static void finish_opening(struct worker *worker, const struct opening *opening, const struct aead_job *job) {
    struct indexed_keypair *indexed = opening->indexed;
    struct peer *peer = indexed->entry.peer;
    if (!peer) {
        /* Its keypair fell out of the session earlier in this batch. */
        worker_drop(worker, ENGINE_DROP_UNKNOWN_INDEX, 1);
        return;
    }
    if (!job->ok) {
        worker_drop(worker, ENGINE_DROP_BAD_TAG, 1);
        return;
    }
    if (!replay_accept(&indexed->keypair.replay, job->counter)) {
        worker_drop(worker, ENGINE_DROP_REPLAYED, 1);
        return;
    }
    note_received(worker, peer, &indexed->keypair, opening);
    if (job->size > 0) {
        timers_data_received(&peer->state->timers, worker->now_ns);
    }
    peer_rearm(worker, peer->state);
    if (job->size > 0) {
        forward_from_peer(worker, peer, job->to, job->size, opening->received->ecn);
    }
}

/* --- prefetching ---
 *
 * Where many peers send a little each, nothing of a peer is in a near cache when its packet comes, and one thing leads
 * to the next: the index to the keypair, the keypair to the peer, the peer to what it is doing. So they are asked for
 * step by step, each for the whole batch. */

static uint32_t index_of(const struct udp_received *received) {
    const struct message_data *message = (const struct message_data *)received->bytes;
    return received->size >= sizeof *message ? le32_get(message->receiver) : 0;
}

static void prefetch_keypairs(const struct worker *worker, const struct udp_received *received, size_t count) {
    for (size_t i = 0; i < count; i++) {
        session_index_prefetch(&worker->tables.index, index_of(&received[i]));
    }
    for (size_t i = 0; i < count; i++) {
        const struct index_entry *entry = session_index_find(&worker->tables.index, index_of(&received[i]));
        if (entry) {
            prefetch(entry, offsetof(struct indexed_keypair, keypair.replay.bitmap));
        }
    }
}

static void prefetch_peers(const struct batch *batch) {
    for (size_t i = 0; i < batch->count; i++) {
        const struct peer *peer = batch->openings[i].indexed->entry.peer;
        if (peer) {
            prefetch(peer->state, offsetof(struct peer_state, pending));
            prefetch(peer->space, sizeof *peer->space);
        }
    }
}

static void prefetch_route(const struct batch *batch, size_t at) {
    const struct aead_job *job = &batch->jobs[at];
    if (at < batch->count && job->ok && batch->openings[at].indexed->entry.peer) {
        forward_prefetch(batch->worker, batch->openings[at].indexed->entry.peer, job->to, job->size);
    }
}

/* --- data messages --- */

static void open_batch(struct batch *batch) {
    struct worker *worker = batch->worker;
    if (batch->count == 0) {
        return;
    }
    prefetch_peers(batch);
    worker->setup.aead->open(worker->aead, batch->jobs, batch->count);
    for (size_t i = 0; i < ROUTES_AHEAD; i++) {
        prefetch_route(batch, i);
    }
    for (size_t i = 0; i < batch->count; i++) {
        prefetch_route(batch, i + ROUTES_AHEAD);
        finish_opening(worker, &batch->openings[i], &batch->jobs[i]);
    }
    batch->count = 0;
}

/* Whether a message that names an index of ours is at its owner; else it is sent there. */
static bool is_mine(struct worker *worker, uint32_t index, const uint8_t *bytes, size_t size,
                    const struct udp_received *received) {
    unsigned owner = steer_worker(index);
    if (owner == worker->number) {
        return true;
    }
    if (owner < worker->setup.count) {
        parcel_send_datagram(worker, owner, bytes, size, received);
    } else {
        worker_drop(worker, ENGINE_DROP_UNKNOWN_INDEX, 1);
    }
    return false;
}

static void add_data(struct batch *batch, uint8_t *bytes, size_t size, const struct udp_received *received) {
    struct worker *worker = batch->worker;
    const struct message_data *message = (const struct message_data *)bytes;
    uint32_t index = le32_get(message->receiver);
    uint64_t counter = le64_get(message->counter);
    if (!is_mine(worker, index, bytes, size, received)) {
        return;
    }
    struct index_entry *entry = session_index_find(&worker->tables.index, index);
    if (!entry || entry->is_handshake) {
        worker_drop(worker, ENGINE_DROP_UNKNOWN_INDEX, 1);
        return;
    }
    struct indexed_keypair *indexed = indexed_keypair_of_entry(entry);
    if (!keypair_can_receive(&indexed->keypair, worker->now_ns) || counter >= SESSION_REJECT_AFTER_MESSAGES) {
        worker_drop(worker, ENGINE_DROP_EXPIRED, 1);
        return;
    }
    if (batch->count == BATCH) {
        open_batch(batch);
        if (!indexed->entry.peer) {
            worker_drop(worker, ENGINE_DROP_UNKNOWN_INDEX, 1);
            return;
        }
    }
    prefetch(indexed->entry.peer, offsetof(struct peer, remote));
    uint8_t *payload = bytes + sizeof *message;
    batch->openings[batch->count] = (struct opening){.indexed = indexed, .received = received, .wire_size = size};
    batch->jobs[batch->count] = (struct aead_job){
        .key = &indexed->keypair.receive_key,
        .counter = counter,
        .from = payload,
        .to = payload,
        .size = size - MESSAGE_DATA_OVERHEAD,
    };
    batch->count++;
}

/* Whether a response names a pending handshake. Anybody can make one whose mac1 is right, and one that answers
 * nothing must not take the place of those that wait for public-key work. */
static bool is_awaited(struct worker *worker, const struct message_response *response) {
    const struct index_entry *entry = session_index_find(&worker->tables.index, le32_get(response->receiver));
    if (entry && entry->is_handshake) {
        return true;
    }
    worker_drop(worker, ENGINE_DROP_UNKNOWN_INDEX, 1);
    return false;
}

static void receive_one(struct batch *batch, uint8_t *bytes, size_t size, const struct udp_received *received) {
    struct worker *worker = batch->worker;
    enum message_type type = message_classify(bytes, size);
    if (!type) {
        worker_drop(worker, ENGINE_DROP_MALFORMED, 1);
        return;
    }
    switch (type) {
    case MESSAGE_DATA:
        add_data(batch, bytes, size, received);
        break;
    case MESSAGE_INITIATION:
        shield_receive(worker, bytes, size, &received->from, &received->to);
        break;
    case MESSAGE_RESPONSE:
        if (is_mine(worker, le32_get(((struct message_response *)bytes)->receiver), bytes, size, received) &&
            is_awaited(worker, (struct message_response *)bytes)) {
            shield_receive(worker, bytes, size, &received->from, &received->to);
        }
        break;
    case MESSAGE_COOKIE_REPLY:
        if (is_mine(worker, le32_get(((struct message_cookie_reply *)bytes)->receiver), bytes, size, received)) {
            handshake_receive_cookie(worker, bytes);
        }
        break;
    }
}

/* Whether it came out of our own tunnel. A peer that spoke from in there would be answered into it: what we sent would
 * come back to be sent once more, larger each time, for ever. */
static bool is_looped(const struct worker *worker, const struct udp_received *received) {
    return received->interface != 0 && received->interface == worker->device.interface;
}

void receive_batch(struct worker *worker, const struct udp_received *received, size_t count) {
    struct batch batch;
    batch.worker = worker;
    batch.count = 0;
    prefetch_keypairs(worker, received, count);
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        if (is_looped(worker, &received[i])) {
            worker_drop(worker, ENGINE_DROP_LOOPED, 1);
            continue;
        }
        do {
            size_t left = received[i].size - at;
            size_t size = left < received[i].segment ? left : received[i].segment;
            receive_one(&batch, received[i].bytes + at, size, &received[i]);
            at += size;
        } while (at < received[i].size);
    }
    open_batch(&batch);
    host_flush(worker);
}

size_t receive_round(struct worker *worker, int fd) {
    struct udp_received received[UDP_BATCH];
    size_t count = udp_read(worker->io.reader, fd, UDP_BATCH, received);
    worker->counters.udp_reads++;
    for (size_t i = 0; i < count; i++) {
        size_t runs = received[i].segment ? (received[i].size + received[i].segment - 1) / received[i].segment : 0;
        worker->counters.udp_received += runs ? runs : 1;
    }
    if (count > 0) {
        receive_batch(worker, received, count);
    }
    return count;
}

void receive_queue(struct worker *worker, struct xdp_queue *queue) {
    struct udp_received received[UDP_BATCH];
    size_t bad;
    size_t count = xdp_read(queue, received, &bad);
    worker->counters.udp_received += count + bad;
    worker->counters.xdp_received += count + bad;
    if (bad > 0) {
        worker_drop(worker, ENGINE_DROP_MALFORMED, bad);
    }
    if (count > 0) {
        receive_batch(worker, received, count);
    }
}
