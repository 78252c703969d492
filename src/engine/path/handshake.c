#include "engine/path/handshake.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "engine/path/parcel.h"
#include "engine/path/peer.h"
#include "engine/path/shield.h"
#include "engine/path/transmit.h"
#include "engine/path/worker.h"
#include "engine/table/directory.h"

/* What a step costs of a round's public-key work, in X25519s (worker.h). */
#define WORK_IDENTIFY 1
#define WORK_AUTHENTICATE 1
#define WORK_RESPOND 3
#define WORK_INITIATE 2
#define WORK_COMPLETE 2

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

static void note_received(struct worker *worker, struct peer *peer, const struct handshake_message *message) {
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

/* Remembers how far a caller's clock has fallen behind, for whoever wonders why it is refused. Whole seconds: what was
 * only sent once more is not behind. */
static void note_replay(struct worker *worker, struct peer *peer, const struct noise_caller *caller) {
    int64_t behind = noise_timestamp_s(peer->remote.latest_timestamp) - noise_timestamp_s(caller->timestamp);
    if (behind > 0) {
        peer->changed_ns = peer->clock_behind_s ? peer->changed_ns : worker->mono_ns;
        peer->clock_behind_s = behind < UINT32_MAX ? (uint32_t)behind : UINT32_MAX;
    }
}

/* 0, -ENOENT, -EBADMSG, -EALREADY, -ENOMEM. */
static int take_initiation(struct worker *worker, struct noise_caller *caller,
                           const struct handshake_message *message) {
    const struct message_initiation *initiation = (const struct message_initiation *)message->bytes;
    struct peer *peer = peer_find(worker, &caller->public_key);
    if (!peer || !worker->device.up) {
        return -ENOENT;
    }
    worker_spend(worker, WORK_AUTHENTICATE);
    peer_follow_identity(worker, peer);
    int error = noise_initiation_accept(worker->device.identity, &peer->remote, caller, initiation);
    if (error == -EALREADY) {
        note_replay(worker, peer, caller);
    }
    if (!error) {
        peer->clock_behind_s = 0;
        error = peer_make_state(worker, peer);
    }
    if (!error && !timers_may_accept_initiation(&peer->state->timers, worker->now_ns)) {
        error = -EALREADY;
    }
    struct message_response response;
    if (!error) {
        worker_spend(worker, WORK_RESPOND);
        error = respond(worker, peer, caller, &response);
    }
    if (error) {
        return error;
    }
    note_received(worker, peer, message);
    timers_response_sent(&peer->state->timers, worker->now_ns);
    timers_any_authenticated_sent(&peer->state->timers);
    peer_rearm(worker, peer->state);
    transmit_message(worker, peer, &peer->endpoint, &peer->local, &response, sizeof response, SHIELD_TOS);
    return 0;
}

static void judge(struct worker *worker, const struct handshake_message *message, bool accepted) {
    if (!message->proved) {
        shield_judge(worker, message->receiver, accepted);
    }
}

static void refuse(struct worker *worker, const struct handshake_message *message, enum engine_drop reason) {
    judge(worker, message, false);
    worker_drop(worker, reason, 1);
}

void handshake_accept(struct worker *worker, struct noise_caller *caller, const struct handshake_message *message) {
    switch (take_initiation(worker, caller, message)) {
    case 0:
        judge(worker, message, true);
        break;
    case -ENOENT:
        refuse(worker, message, ENGINE_DROP_UNKNOWN_PEER);
        break;
    case -EALREADY:
        refuse(worker, message, ENGINE_DROP_REPLAYED_HANDSHAKE);
        break;
    default: /* forged, or no memory for it */
        refuse(worker, message, ENGINE_DROP_BAD_HANDSHAKE);
        break;
    }
}

static void work_initiation(struct worker *worker, const struct handshake_message *message) {
    const struct message_initiation *initiation = (const struct message_initiation *)message->bytes;
    struct noise_caller caller;
    worker_spend(worker, WORK_IDENTIFY);
    if (noise_initiation_identify(worker->device.identity, initiation, &caller) < 0) {
        refuse(worker, message, ENGINE_DROP_BAD_HANDSHAKE);
        return;
    }
    int owner = directory_worker_of_key(worker->setup.directory, &caller.public_key);
    if (owner < 0) {
        refuse(worker, message, ENGINE_DROP_UNKNOWN_PEER);
    } else if ((unsigned)owner == worker->number) {
        handshake_accept(worker, &caller, message);
    } else if (parcel_send_caller(worker, (unsigned)owner, &caller, message) && !message->proved) {
        shield_await(worker);
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
    noise_timestamp(noise_stamp_next(&worker->stamp, clock_wall_ns(), worker->mono_ns), timestamp);
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

static void initiate(struct worker *worker, struct peer *peer) {
    struct peer_state *state = peer->state;
    struct message_initiation initiation;
    peer_follow_identity(worker, peer);
    if (!worker->device.up || peer->endpoint.sa.sa_family == AF_UNSPEC ||
        !timers_may_initiate(&state->timers, worker->now_ns)) {
        return;
    }
    /* One that cannot be made (no key of ours, a low-order one of the peer's) counts as lost, and is retried as such.
     */
    worker_spend(worker, WORK_INITIATE);
    timers_initiation_sent(&state->timers, worker->now_ns, worker_jitter(worker));
    peer_rearm(worker, state);
    if (begin(worker, peer, &initiation) < 0) {
        return;
    }
    cookie_stamp(&state->jar, &peer->remote.public_key, worker->now_ns, &initiation, sizeof initiation);
    timers_any_authenticated_traversed(&state->timers, worker->now_ns);
    timers_any_authenticated_sent(&state->timers);
    peer_rearm(worker, state);
    transmit_message(worker, peer, &peer->endpoint, &peer->local, &initiation, sizeof initiation, SHIELD_TOS);
}

static bool complete(struct worker *worker, struct pending_handshake *pending,
                     const struct handshake_message *message) {
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

static void work_response(struct worker *worker, const struct handshake_message *message) {
    const struct message_response *response = (const struct message_response *)message->bytes;
    struct index_entry *entry = session_index_find(&worker->tables.index, le32_get(response->receiver));
    if (!entry || !entry->is_handshake) {
        worker_drop(worker, ENGINE_DROP_UNKNOWN_INDEX, 1);
        return;
    }
    worker_spend(worker, WORK_COMPLETE);
    judge(worker, message, complete(worker, pending_handshake_of_entry(entry), message));
}

bool handshake_work(struct worker *worker) {
    shield_flush(worker);
    while (worker_may_work(worker)) {
        struct peer *wanting = peer_next_wanting(worker);
        if (wanting) {
            initiate(worker, wanting);
        }
        const struct handshake_message *message = shield_next(worker);
        if (!wanting && !message) {
            return false;
        }
        if (message && message->size == sizeof(struct message_initiation)) {
            work_initiation(worker, message);
        } else if (message) {
            work_response(worker, message);
        }
    }
    return !shield_is_empty(worker) || !TAILQ_EMPTY(&worker->waiting.peers);
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
