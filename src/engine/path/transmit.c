#include "engine/path/transmit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/packet/packet.h"
#include "engine/packet/segment.h"
#include "engine/path/peer.h"
#include "engine/path/space.h"
#include "engine/path/worker.h"

#define BATCH 256              /* messages sealed and sent together */
#define ARENA_SIZE (512 << 10) /* bytes: more than that batch at the usual MTU, and more than any single message */

struct outgoing {
    struct peer *peer;
    uint8_t *message;
    uint32_t size; /* on the wire */
    uint8_t ecn;
};

struct transmit {
    bool gso;
    size_t count;
    size_t used; /* of the arena */
    struct outgoing items[BATCH];
    struct aead_job jobs[BATCH];
    struct udp_run runs[BATCH];
    size_t run_items[BATCH]; /* how many messages are in each run */
    uint8_t arena[ARENA_SIZE];
};

_Static_assert(ARENA_SIZE > UDP_SIZE_MAX + MESSAGE_DATA_OVERHEAD + MESSAGE_PADDING, "any packet fits an empty arena");

int transmit_create(bool gso, struct transmit **ret_transmit) {
    struct transmit *transmit = calloc(1, sizeof *transmit);
    if (!transmit) {
        return -ENOMEM;
    }
    transmit->gso = gso;
    *ret_transmit = transmit;
    return 0;
}

void transmit_free(struct transmit *transmit) {
    free(transmit);
}

void transmit_set_gso(struct transmit *transmit, bool gso) {
    transmit->gso = gso;
}

bool transmit_gso(const struct transmit *transmit) {
    return transmit->gso;
}

/* --- gathering --- */

/* The indexed to send on now, or NULL: none, worn out, or made with a key of ours that was replaced. */
static struct indexed_keypair *usable_keypair(struct worker *worker, struct peer *peer) {
    struct keypair *current = peer->state ? peer->state->session.current : NULL;
    if (!current || !keypair_can_send(current, worker->now_ns)) {
        return NULL;
    }
    struct indexed_keypair *indexed = indexed_keypair_of(current);
    return indexed->entry.epoch == worker->device.epoch ? indexed : NULL;
}

static uint8_t *reserve(struct worker *worker, size_t size) {
    struct transmit *transmit = worker->transmit;
    if (transmit->count == BATCH || transmit->used + size > ARENA_SIZE) {
        transmit_flush(worker);
    }
    uint8_t *at = transmit->arena + transmit->used;
    transmit->used += size;
    return at;
}

static void note_sent(struct worker *worker, struct peer *peer, size_t size, size_t wire_size) {
    struct peer_state *state = peer->state;
    peer->bytes_sent += wire_size;
    peer->changed_ns = worker->mono_ns;
    if (peer->space && size > 0) {
        peer->space->usage.bytes_sent += size;
        peer->space->usage.packets_sent++;
    }
    timers_any_authenticated_traversed(&state->timers, worker->now_ns);
    timers_any_authenticated_sent(&state->timers);
    if (size > 0) {
        timers_data_sent(&state->timers, worker->now_ns, worker_jitter(worker));
    }
    peer_rearm(worker, state);
}

/* Where the inner packet of the next message goes. */
static uint8_t *gather_begin(struct worker *worker, size_t size) {
    return reserve(worker, message_padded_size(size, worker->device.mtu) + MESSAGE_DATA_OVERHEAD) +
           sizeof(struct message_data);
}

/* The message around it. Size 0: a keepalive. */
static void gather_end(struct worker *worker, struct peer *peer, struct indexed_keypair *indexed, uint8_t *payload,
                       size_t size) {
    struct transmit *transmit = worker->transmit;
    struct keypair *keypair = &indexed->keypair;
    size_t padded = message_padded_size(size, worker->device.mtu);
    size_t wire_size = padded + MESSAGE_DATA_OVERHEAD;
    struct message_data *message = (struct message_data *)(payload - sizeof *message);
    uint64_t counter = keypair->send_counter++;
    le32_put(message->type, MESSAGE_DATA);
    le32_put(message->receiver, keypair->remote_index);
    le64_put(message->counter, counter);
    memset(payload + size, 0, padded - size);
    transmit->items[transmit->count] = (struct outgoing){
        .peer = peer,
        .message = (uint8_t *)message,
        .size = (uint32_t)wire_size,
        .ecn = size > 0 ? packet_ecn(payload) : 0,
    };
    transmit->jobs[transmit->count] = (struct aead_job){
        .key = &keypair->send_key, .counter = counter, .from = payload, .to = payload, .size = padded};
    transmit->count++;
    note_sent(worker, peer, size, wire_size);
    if (keypair_wants_rekey_after_send(keypair, worker->now_ns)) {
        peer_want_session(worker, peer);
    }
}

static void gather(struct worker *worker, struct peer *peer, struct indexed_keypair *indexed, const uint8_t *bytes,
                   size_t size) {
    uint8_t *payload = gather_begin(worker, size);
    if (payload != bytes) { /* wait_segments() may have built it there */
        memcpy(payload, bytes, size);
    }
    gather_end(worker, peer, indexed, payload, size);
}

static bool has_endpoint(const struct peer *peer) {
    return peer->endpoint.sa.sa_family != AF_UNSPEC;
}

void transmit_packet(struct worker *worker, struct peer *peer, const uint8_t *bytes, size_t size) {
    if (!has_endpoint(peer)) {
        worker_drop(worker, ENGINE_DROP_NO_ENDPOINT, 1);
        return;
    }
    peer_follow_identity(worker, peer);
    struct indexed_keypair *indexed = usable_keypair(worker, peer);
    /* What waits goes first. */
    if (indexed && !peer->state->waiting_first) {
        gather(worker, peer, indexed, bytes, size);
        return;
    }
    if (peer_make_state(worker, peer) < 0) {
        worker_drop(worker, ENGINE_DROP_NO_SESSION, 1);
        return;
    }
    peer_wait_push(worker, peer, bytes, size);
    transmit_waiting(worker, peer);
}

/* Without a session. Each is built where the next message will be, and copied to wait. */
static void wait_segments(struct worker *worker, struct peer *peer, struct segments *segments) {
    struct transmit *transmit = worker->transmit;
    size_t size;
    while ((size = segments_next_size(segments)) > 0) {
        uint8_t *scratch = gather_begin(worker, size);
        segments_take(segments, scratch);
        transmit->used = (size_t)(scratch - sizeof(struct message_data) - transmit->arena);
        transmit_packet(worker, peer, scratch, size);
    }
}

void transmit_segments(struct worker *worker, struct peer *peer, struct segments *segments) {
    if (!has_endpoint(peer)) {
        worker_drop(worker, ENGINE_DROP_NO_ENDPOINT, segments->count);
        return;
    }
    peer_follow_identity(worker, peer);
    struct indexed_keypair *indexed;
    size_t size;
    while ((size = segments_next_size(segments)) > 0 && (indexed = usable_keypair(worker, peer)) &&
           !peer->state->waiting_first) {
        uint8_t *payload = gather_begin(worker, size);
        segments_take(segments, payload);
        gather_end(worker, peer, indexed, payload, size);
    }
    wait_segments(worker, peer, segments);
}

void transmit_waiting(struct worker *worker, struct peer *peer) {
    struct indexed_keypair *indexed = NULL;
    while (peer->state->waiting_first && (indexed = usable_keypair(worker, peer))) {
        struct waiting *waiting = peer_wait_pop(worker, peer);
        gather(worker, peer, indexed, waiting->bytes, waiting->size);
        free(waiting);
    }
    if (peer->state->waiting_first) {
        peer_want_session(worker, peer);
    }
}

void transmit_keepalive(struct worker *worker, struct peer *peer) {
    if (!has_endpoint(peer)) {
        return;
    }
    peer_follow_identity(worker, peer);
    struct indexed_keypair *indexed = usable_keypair(worker, peer);
    if (indexed) {
        gather_end(worker, peer, indexed, gather_begin(worker, 0), 0);
    } else {
        peer_want_session(worker, peer);
    }
}

/* --- sending --- */

/* Whether `next` may go out in the same UDP_SEGMENT write: all but the last have the same size. */
static bool joins(const struct udp_run *run, size_t items, const struct outgoing *last, const struct outgoing *next) {
    return items < UDP_SEGMENTS_MAX && next->peer == last->peer && next->ecn == last->ecn &&
           last->size == run->segment && next->size <= run->segment && run->size + next->size <= UDP_RUN_MAX &&
           next->message == run->bytes + run->size;
}

static size_t make_runs(struct transmit *transmit) {
    size_t runs = 0;
    for (size_t i = 0; i < transmit->count; i++) {
        const struct outgoing *item = &transmit->items[i];
        struct udp_run *run = runs ? &transmit->runs[runs - 1] : NULL;
        if (run && transmit->gso && joins(run, transmit->run_items[runs - 1], item - 1, item)) {
            run->size += item->size;
            transmit->run_items[runs - 1]++;
            continue;
        }
        transmit->run_items[runs] = 1;
        transmit->runs[runs++] = (struct udp_run){
            .to = &item->peer->endpoint,
            .from = &item->peer->local,
            .bytes = item->message,
            .size = item->size,
            .segment = item->size,
            .tos = item->ecn,
        };
    }
    for (size_t i = 0; i < runs; i++) {
        if (transmit->run_items[i] == 1) {
            transmit->runs[i].segment = 0;
        }
    }
    return runs;
}

static void note_result(struct worker *worker, const struct udp_run *run, size_t items) {
    if (run->error) {
        worker_drop(worker, ENGINE_DROP_UDP_FULL, items);
    } else {
        worker->counters.udp_sent += items;
    }
}

/* The path's MTU is smaller than a segment, or the device cannot: then the messages go one by one. */
static bool wants_singles(const struct udp_run *run) {
    return run->segment > 0 &&
           (run->error == -EIO || run->error == -EINVAL || run->error == -EMSGSIZE || run->error == -EOPNOTSUPP);
}

static void send_singles(struct worker *worker, const struct udp_run *run, size_t items) {
    for (size_t i = 0; i < items; i++) {
        size_t at = i * run->segment;
        struct udp_run single = *run;
        single.bytes = run->bytes + at;
        single.size = run->size - at < run->segment ? run->size - at : run->segment;
        single.segment = 0;
        worker->counters.udp_writes += udp_write(&worker->io.sockets, &single, 1);
        note_result(worker, &single, 1);
    }
}

void transmit_flush(struct worker *worker) {
    struct transmit *transmit = worker->transmit;
    if (transmit->count == 0) {
        return;
    }
    worker->setup.aead->seal(worker->aead, transmit->jobs, transmit->count);
    size_t runs = make_runs(transmit);
    worker->counters.udp_writes += udp_write(&worker->io.sockets, transmit->runs, runs);
    for (size_t i = 0; i < runs; i++) {
        const struct udp_run *run = &transmit->runs[i];
        if (!wants_singles(run)) {
            note_result(worker, run, transmit->run_items[i]);
            continue;
        }
        if (run->error == -EIO || run->error == -EOPNOTSUPP) {
            transmit->gso = false;
        }
        send_singles(worker, run, transmit->run_items[i]);
    }
    transmit->count = 0;
    transmit->used = 0;
}

int transmit_message(struct worker *worker, struct peer *peer, const union endpoint *to, struct udp_local *from,
                     const void *bytes, size_t size, uint8_t tos) {
    if (to->sa.sa_family == AF_UNSPEC) {
        worker_drop(worker, ENGINE_DROP_NO_ENDPOINT, 1);
        return -EDESTADDRREQ;
    }
    struct udp_run run = {.to = to, .from = from, .bytes = bytes, .size = size, .tos = tos};
    worker->counters.udp_writes += udp_write(&worker->io.sockets, &run, 1);
    note_result(worker, &run, 1);
    if (peer && !run.error) {
        peer->bytes_sent += size;
        peer->changed_ns = worker->mono_ns;
    }
    return run.error;
}
