#include "engine/path/handshake.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "engine/path/parcel.h"
#include "engine/path/peer.h"
#include "engine/path/transmit.h"
#include "engine/path/worker.h"
#include "engine/table/directory.h"
#include "engine/table/limiter.h"

#define QUEUE_SIZE 32768 /* more than the public-key work of STALE_NS on one core */
#define STALE_NS (4 * NSEC_PER_SEC)
#define LOAD_DEPTH 512 /* so many queued ones mean load (Linux: MAX_QUEUED_INCOMING_HANDSHAKES / 8) */
#define LOAD_STICKY_NS NSEC_PER_SEC
#define TRUST_MAX 64 /* see the top of handshake.h */
#define TRUST_LOSS 4
#define WORK_PER_ROUND 4    /* about half a millisecond: what data may have to wait */
#define HANDSHAKE_TOS 0x88  /* AF41 (Linux messages.h) */
#define PROVED_PER_S 3500   /* beyond Linux's limit, to sources that proved their address: half of what a core can do */
#define COOKIES_PER_S 60000 /* about a third of a core */

struct queued {
    uint64_t at_ns; /* of clock_mono_ns() */
    union endpoint from;
    struct udp_local to;
    bool proved; /* by a cookie */
    uint32_t size;
    uint8_t bytes[sizeof(struct message_initiation)];
};

struct reply {
    union endpoint to;
    struct udp_local from;
    struct message_cookie_reply message;
};

struct handshakes {
    struct limiter *limiter; /* owned */
    uint64_t load_until_ns;  /* of clock_mono_ns() */
    unsigned trust;
    uint32_t first;
    uint32_t count;
    size_t reply_count;
    struct reply replies[UDP_BATCH];
    struct queued queue[QUEUE_SIZE];
};

int handshakes_create(struct handshakes **ret_handshakes) {
    struct handshakes *handshakes = calloc(1, sizeof *handshakes);
    if (!handshakes) {
        return -ENOMEM;
    }
    handshakes->trust = TRUST_MAX;
    uint8_t key[LIMITER_KEY_SIZE];
    randombytes_buf(key, sizeof key);
    int error = limiter_create(key, PROVED_PER_S, COOKIES_PER_S, &handshakes->limiter);
    sodium_memzero(key, sizeof key);
    if (error) {
        free(handshakes);
        return error;
    }
    *ret_handshakes = handshakes;
    return 0;
}

void handshakes_free(struct handshakes *handshakes) {
    if (!handshakes) {
        return;
    }
    limiter_free(handshakes->limiter);
    free(handshakes);
}

static void drop_first(struct handshakes *handshakes) {
    handshakes->first = (handshakes->first + 1) % QUEUE_SIZE;
    handshakes->count--;
}

/* --- the shield --- */

static bool under_load(struct worker *worker) {
    struct handshakes *handshakes = worker->handshakes;
    if (handshakes->count >= LOAD_DEPTH) {
        handshakes->load_until_ns = worker->mono_ns + LOAD_STICKY_NS;
    }
    return worker->mono_ns < handshakes->load_until_ns;
}

bool handshakes_crowded(const struct worker *worker) {
    return worker->handshakes->count > 0 && worker->mono_ns < worker->handshakes->load_until_ns;
}

/* What became of a message that had not proved its address. */
static void judge(struct handshakes *handshakes, bool genuine) {
    if (!genuine) {
        handshakes->trust -= handshakes->trust < TRUST_LOSS ? handshakes->trust : TRUST_LOSS;
    } else if (handshakes->trust < TRUST_MAX) {
        handshakes->trust++;
    }
}

static void flush_cookies(struct worker *worker) {
    struct handshakes *handshakes = worker->handshakes;
    struct udp_run runs[UDP_BATCH];
    for (size_t i = 0; i < handshakes->reply_count; i++) {
        struct reply *reply = &handshakes->replies[i];
        runs[i] = (struct udp_run){
            .to = &reply->to,
            .from = &reply->from,
            .bytes = (const uint8_t *)&reply->message,
            .size = sizeof reply->message,
            .tos = HANDSHAKE_TOS,
        };
    }
    worker->counters.udp_writes += udp_write(&worker->io.sockets, runs, handshakes->reply_count);
    for (size_t i = 0; i < handshakes->reply_count; i++) {
        if (runs[i].error) {
            worker_drop(worker, ENGINE_DROP_UDP_FULL, 1);
        } else {
            worker->counters.udp_sent++;
            worker->counters.cookies_sent++;
        }
    }
    handshakes->reply_count = 0;
}

static void answer_by_cookie(struct worker *worker, const uint8_t *bytes, size_t size, const union endpoint *from,
                             const struct udp_local *to) {
    struct handshakes *handshakes = worker->handshakes;
    if (!limiter_allow_reply(worker->handshakes->limiter, worker->mono_ns, from)) {
        return;
    }
    struct reply *reply = &handshakes->replies[handshakes->reply_count++];
    reply->to = *from;
    reply->from = *to;
    cookie_reply_create(worker->device.checker, &worker_random, worker->now_ns, bytes, size, from, &reply->message);
    if (handshakes->reply_count == UDP_BATCH) {
        flush_cookies(worker);
    }
}

/* Whether this message may cost us public-key work. Else it is counted, and maybe answered. */
static bool admit(struct worker *worker, const uint8_t *bytes, size_t size, const union endpoint *from,
                  const struct udp_local *to, bool *ret_proved) {
    enum cookie_verdict verdict =
        cookie_check(worker->device.checker, &worker_random, worker->now_ns, bytes, size, from);
    if (verdict == COOKIE_FORGED) {
        worker_drop(worker, ENGINE_DROP_BAD_MAC, 1);
        return false;
    }
    bool proved = verdict == COOKIE_RETURNED;
    if (!under_load(worker) || ((proved || worker->handshakes->trust > 0) &&
                                limiter_allow(worker->handshakes->limiter, worker->mono_ns, from, proved))) {
        *ret_proved = proved;
        return true;
    }
    worker_drop(worker, ENGINE_DROP_UNDER_LOAD, 1);
    if (!proved) {
        answer_by_cookie(worker, bytes, size, from, to);
    }
    return false;
}

void handshake_receive(struct worker *worker, const uint8_t *bytes, size_t size, const union endpoint *from,
                       const struct udp_local *to) {
    struct handshakes *handshakes = worker->handshakes;
    bool proved;
    if (!admit(worker, bytes, size, from, to, &proved)) {
        return;
    }
    if (handshakes->count == QUEUE_SIZE) {
        /* The oldest is the first whose sender gives up. */
        drop_first(handshakes);
        worker_drop(worker, ENGINE_DROP_UNDER_LOAD, 1);
    }
    struct queued *queued = &handshakes->queue[(handshakes->first + handshakes->count) % QUEUE_SIZE];
    queued->at_ns = worker->mono_ns;
    queued->from = *from;
    queued->to = *to;
    queued->proved = proved;
    queued->size = (uint32_t)size;
    memcpy(queued->bytes, bytes, size);
    handshakes->count++;
}

void handshake_receive_cookie(struct worker *worker, const uint8_t *bytes) {
    const struct message_cookie_reply *reply = (const struct message_cookie_reply *)bytes;
    struct index_entry *entry = session_index_find(&worker->tables.index, le32_get(reply->receiver));
    if (!entry || !entry->peer->state) {
        worker_drop(worker, ENGINE_DROP_UNKNOWN_INDEX, 1);
        return;
    }
    struct peer *peer = entry->peer;
    if (cookie_reply_consume(&peer->state->jar, &peer->remote.public_key, worker->now_ns, reply) < 0) {
        worker_drop(worker, ENGINE_DROP_BAD_HANDSHAKE, 1);
    }
}

/* --- what both roles do when a handshake message proved authentic --- */

static void note_received(struct worker *worker, struct peer *peer, const struct queued *message) {
    struct peer_state *state = peer->state;
    peer_roam(worker, peer, &message->from, &message->to);
    peer->bytes_received += message->size;
    peer->changed_ns = worker->mono_ns;
    timers_any_authenticated_received(&state->timers);
    timers_any_authenticated_traversed(&state->timers, worker->now_ns);
}

static void install(struct worker *worker, struct peer *peer, struct indexed_keypair *indexed,
                    const struct noise_transport_keys *keys, uint32_t remote_index, bool initiator) {
    keypair_set(&indexed->keypair, keys, indexed->entry.index, remote_index, initiator, worker->now_ns);
    struct session_dropped dropped = session_install(&peer->state->session, &indexed->keypair);
    session_index_retire(&worker->tables.index, &dropped);
    timers_session_derived(&peer->state->timers, worker->now_ns);
}

/* --- responder --- */

static int respond(struct worker *worker, struct peer *peer, struct noise_caller *caller,
                   struct message_response *ret_response) {
    struct noise_transport_keys keys = {0};
    struct indexed_keypair *indexed = calloc(1, sizeof *indexed);
    if (!indexed) {
        return -ENOMEM;
    }
    int error = session_index_add(&worker->tables.index, &indexed->entry, peer, false, worker->device.epoch);
    if (!error) {
        error = noise_response_create(&peer->remote, &worker_random, indexed->entry.index, &caller->handshake,
                                      ret_response, &keys);
    }
    if (error) {
        session_index_remove(&worker->tables.index, &indexed->entry);
        free(indexed);
        return error;
    }
    cookie_stamp(&peer->state->jar, &peer->remote.public_key, worker->now_ns, ret_response, sizeof *ret_response);
    install(worker, peer, indexed, &keys, caller->handshake.remote_index, false);
    sodium_memzero(&keys, sizeof keys);
    return 0;
}

static void accept_initiation(struct worker *worker, struct noise_caller *caller, const struct queued *message) {
    const struct message_initiation *initiation = (const struct message_initiation *)message->bytes;
    struct peer *peer = peer_find(worker, &caller->public_key);
    if (!peer || !worker->device.up) {
        worker_drop(worker, ENGINE_DROP_UNKNOWN_PEER, 1);
        return;
    }
    peer_follow_identity(worker, peer);
    int error = noise_initiation_accept(worker->device.identity, &peer->remote, caller, initiation);
    if (!error) {
        error = peer_make_state(worker, peer);
    }
    if (!error && !timers_may_accept_initiation(&peer->state->timers, worker->now_ns)) {
        error = -EALREADY;
    }
    struct message_response response;
    if (!error) {
        error = respond(worker, peer, caller, &response);
    }
    if (error) {
        if (!message->proved) {
            judge(worker->handshakes, false);
        }
        worker_drop(worker, error == -EALREADY ? ENGINE_DROP_REPLAYED_HANDSHAKE : ENGINE_DROP_BAD_HANDSHAKE, 1);
        return;
    }
    note_received(worker, peer, message);
    timers_response_sent(&peer->state->timers, worker->now_ns);
    timers_any_authenticated_sent(&peer->state->timers);
    peer_rearm(worker, peer->state);
    transmit_message(worker, peer, &peer->endpoint, &peer->local, &response, sizeof response, HANDSHAKE_TOS);
}

void handshake_accept(struct worker *worker, struct noise_caller *caller, const uint8_t *initiation,
                      const union endpoint *from, const struct udp_local *to) {
    struct queued message = {.from = *from, .to = *to, .size = sizeof(struct message_initiation)};
    memcpy(message.bytes, initiation, message.size);
    accept_initiation(worker, caller, &message);
}

static void work_initiation(struct worker *worker, const struct queued *message) {
    const struct message_initiation *initiation = (const struct message_initiation *)message->bytes;
    struct noise_caller caller;
    bool whole = noise_initiation_identify(worker->device.identity, initiation, &caller) == 0;
    int owner = whole ? directory_worker_of_key(worker->setup.directory, &caller.public_key) : -1;
    if (!message->proved) {
        judge(worker->handshakes, owner >= 0);
    }
    if (!whole) {
        worker_drop(worker, ENGINE_DROP_BAD_HANDSHAKE, 1);
        return;
    }
    if (owner < 0) {
        worker_drop(worker, ENGINE_DROP_UNKNOWN_PEER, 1);
    } else if ((unsigned)owner == worker->number) {
        accept_initiation(worker, &caller, message);
    } else {
        parcel_send_caller(worker, (unsigned)owner, &caller, message->bytes, &message->from, &message->to);
    }
    sodium_memzero(&caller, sizeof caller);
}

/* --- initiator --- */

/* A new one takes the place of a pending one: only the latest can be answered. */
static int begin(struct worker *worker, struct peer *peer, struct message_initiation *ret_initiation) {
    struct peer_state *state = peer->state;
    struct pending_handshake *pending = calloc(1, sizeof *pending);
    if (!pending) {
        return -ENOMEM;
    }
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE];
    noise_timestamp(clock_wall_ns(), timestamp);
    int error = session_index_add(&worker->tables.index, &pending->entry, peer, true, worker->device.epoch);
    if (!error) {
        error = noise_initiation_create(worker->device.identity, &peer->remote, &worker_random, pending->entry.index,
                                        timestamp, &pending->handshake, ret_initiation);
    }
    if (error) {
        session_index_free_handshake(&worker->tables.index, pending);
        return error;
    }
    session_index_free_handshake(&worker->tables.index, state->pending);
    state->pending = pending;
    return 0;
}

/* Whether it cost public-key work. */
static bool initiate(struct worker *worker, struct peer *peer) {
    struct peer_state *state = peer->state;
    struct message_initiation initiation;
    peer_follow_identity(worker, peer);
    if (!worker->device.up || peer->endpoint.sa.sa_family == AF_UNSPEC ||
        !timers_may_initiate(&state->timers, worker->now_ns)) {
        return false;
    }
    /* One that cannot be made (no key of ours, a low-order one of the peer's) counts as lost, and is retried as such.
     */
    timers_initiation_sent(&state->timers, worker->now_ns, worker_jitter(worker));
    peer_rearm(worker, state);
    if (begin(worker, peer, &initiation) < 0) {
        return true;
    }
    cookie_stamp(&state->jar, &peer->remote.public_key, worker->now_ns, &initiation, sizeof initiation);
    timers_any_authenticated_traversed(&state->timers, worker->now_ns);
    timers_any_authenticated_sent(&state->timers);
    peer_rearm(worker, state);
    transmit_message(worker, peer, &peer->endpoint, &peer->local, &initiation, sizeof initiation, HANDSHAKE_TOS);
    return true;
}

static bool complete(struct worker *worker, struct pending_handshake *pending, const struct queued *message) {
    const struct message_response *response = (const struct message_response *)message->bytes;
    struct peer *peer = pending->entry.peer;
    struct peer_state *state = peer->state;
    struct noise_transport_keys keys = {0};
    struct indexed_keypair *indexed = calloc(1, sizeof *indexed);
    peer_follow_identity(worker, peer);
    if (!indexed || state->pending != pending ||
        noise_response_consume(worker->device.identity, &peer->remote, &pending->handshake, response, &keys) < 0) {
        worker_drop(worker, ENGINE_DROP_BAD_HANDSHAKE, 1);
        free(indexed);
        return false;
    }
    session_index_replace(&worker->tables.index, &pending->entry, &indexed->entry);
    install(worker, peer, indexed, &keys, pending->handshake.remote_index, true);
    sodium_memzero(&keys, sizeof keys);
    session_index_free_handshake(&worker->tables.index, pending);
    state->pending = NULL;
    note_received(worker, peer, message);
    timers_handshake_complete(&state->timers);
    peer->last_handshake_wall_ns = clock_wall_ns();
    worker->counters.handshakes++;
    /* The responder may not send before it has heard something on the new keypair. */
    if (state->waiting_first) {
        transmit_waiting(worker, peer);
    } else {
        transmit_keepalive(worker, peer);
    }
    peer_rearm(worker, state);
    return true;
}

static void work_response(struct worker *worker, const struct queued *message) {
    const struct message_response *response = (const struct message_response *)message->bytes;
    struct index_entry *entry = session_index_find(&worker->tables.index, le32_get(response->receiver));
    if (!entry || !entry->is_handshake) {
        worker_drop(worker, ENGINE_DROP_UNKNOWN_INDEX, 1);
        return;
    }
    bool genuine = complete(worker, pending_handshake_of_entry(entry), message);
    if (!message->proved) {
        judge(worker->handshakes, genuine);
    }
}

/* Whether it still is, now that its turn has come. */
static bool worth_working(struct worker *worker, const struct queued *message) {
    if (worker->mono_ns > message->at_ns + STALE_NS) {
        return false;
    }
    return message->proved || worker->handshakes->trust > 0 || !under_load(worker);
}

static void work_one(struct worker *worker, const struct queued *message) {
    if (message->size == sizeof(struct message_initiation)) {
        work_initiation(worker, message);
    } else {
        work_response(worker, message);
    }
}

/* The first that waits. Whether it cost public-key work. */
static bool work_first(struct worker *worker) {
    struct handshakes *handshakes = worker->handshakes;
    const struct queued *message = &handshakes->queue[handshakes->first];
    bool worth = worth_working(worker, message);
    drop_first(handshakes);
    if (worth) {
        work_one(worker, message);
    } else {
        worker_drop(worker, ENGINE_DROP_UNDER_LOAD, 1);
    }
    return worth;
}

bool handshake_work(struct worker *worker) {
    struct handshakes *handshakes = worker->handshakes;
    flush_cookies(worker);
    for (int worked = 0; worked < WORK_PER_ROUND;) {
        struct peer *wanting = peer_next_wanting(worker);
        if (!wanting && handshakes->count == 0) {
            return false;
        }
        worked += wanting && initiate(worker, wanting);
        worked += handshakes->count > 0 && work_first(worker);
    }
    return handshakes->count > 0 || !TAILQ_EMPTY(&worker->waiting.peers);
}

void handshake_expire(struct worker *worker, struct peer_state *state) {
    struct peer *peer = state->peer;
    unsigned actions = timers_expire(&state->timers, worker->now_ns, worker_jitter(worker));
    if (actions & TIMERS_GIVE_UP) {
        peer_wait_purge(worker, peer);
        session_index_free_handshake(&worker->tables.index, state->pending);
        state->pending = NULL;
    }
    if (actions & TIMERS_WIPE_KEYS) {
        peer_forget_sessions(worker, peer);
    }
    if (actions & TIMERS_SEND_INITIATION) {
        /* Maybe the address we sent from is why nothing was heard (Linux timers.c). */
        peer->local.family = AF_UNSPEC;
        peer_retry_session(worker, peer);
    }
    if (actions & TIMERS_SEND_KEEPALIVE) {
        transmit_keepalive(worker, peer);
    }
    peer_rearm(worker, state);
    peer_free_idle_state(worker, peer);
}
