#include "engine/path/peer.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "engine/io/route.h"
#include "engine/path/worker.h"
#include "engine/table/directory.h"
#include "engine/table/table.h"

/* --- the table --- */

static bool has_key(const void *context, uint32_t slot, const void *key) {
    const struct worker *worker = context;
    return memcmp(worker->tables.peers[slot]->remote.public_key.bytes, key, KEY_SIZE) == 0;
}

static uint32_t hash_of(const struct worker *worker, const struct key *key) {
    return table_hash(worker->tables.hash_key, key->bytes, KEY_SIZE);
}

struct peer *peer_find(const struct worker *worker, const struct key *key) {
    uint32_t slot = table_find(&worker->tables.keys, hash_of(worker, key), has_key, worker, key->bytes);
    return slot ? worker->tables.peers[slot] : NULL;
}

struct peer *peer_at(const struct worker *worker, uint32_t slot) {
    return slot < worker->tables.peer_room ? worker->tables.peers[slot] : NULL;
}

static int grow_peers(struct worker *worker, uint32_t slot) {
    size_t room = worker->tables.peer_room;
    struct peer **peers = array_grow(worker->tables.peers, &room, (size_t)slot + 1, sizeof(struct peer *));
    if (!peers) {
        return -ENOMEM;
    }
    worker->tables.peers = peers;
    worker->tables.peer_room = (uint32_t)room;
    return 0;
}

int peer_create(struct worker *worker, const struct key *key, uint32_t slot, struct peer **ret_peer) {
    int error = grow_peers(worker, slot);
    if (error) {
        return error;
    }
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer) {
        return -ENOMEM;
    }
    peer->remote.public_key = *key;
    peer->slot = slot;
    peer->epoch = worker->device.epoch;
    worker->tables.peers[slot] = peer;
    error = table_insert(&worker->tables.keys, hash_of(worker, key), slot);
    if (error) {
        worker->tables.peers[slot] = NULL;
        free(peer);
        return error;
    }
    *ret_peer = peer;
    return 0;
}

void peer_free(struct worker *worker, struct peer *peer) {
    peer_reset(worker, peer);
    table_remove(&worker->tables.keys, hash_of(worker, &peer->remote.public_key), peer->slot);
    worker->tables.peers[peer->slot] = NULL;
    prefixes_clear(&peer->allowed);
    free(peer->hub_addresses);
    sodium_memzero(peer, sizeof *peer);
    free(peer);
}

/* --- hub addresses --- */

const struct engine_hub_address *peer_hub_address(const struct peer *peer, uint8_t family) {
    for (size_t i = 0; i < peer->hub_address_count; i++) {
        if (peer->hub_addresses[i].hub.family == family) {
            return &peer->hub_addresses[i];
        }
    }
    return NULL;
}

int peer_set_hub_addresses(struct peer *peer, const struct engine_hub_address *addresses, size_t count) {
    struct engine_hub_address *copy = NULL;
    if (count > 0) {
        copy = reallocarray(NULL, count, sizeof *copy);
        if (!copy) {
            return -ENOMEM;
        }
        memcpy(copy, addresses, count * sizeof *copy);
    }
    free(peer->hub_addresses);
    peer->hub_addresses = copy;
    peer->hub_address_count = (uint8_t)count;
    return 0;
}

/* --- active or idle --- */

int peer_make_state(struct worker *worker, struct peer *peer) {
    if (peer->state) {
        return 0;
    }
    struct peer_state *state = calloc(1, sizeof *state);
    if (!state) {
        return -ENOMEM;
    }
    state->peer = peer;
    state->waiting_last = &state->waiting_first;
    timers_set_persistent(&state->timers, peer->keepalive_s, worker->now_ns);
    /* Whoever needs it now sends something now; the persistent rhythm starts with that. */
    timers_any_authenticated_traversed(&state->timers, worker->now_ns);
    peer->state = state;
    peer_rearm(worker, state);
    return 0;
}

static void unlist(struct worker *worker, struct peer_state *state) {
    if (state->wants_session) {
        TAILQ_REMOVE(&worker->waiting.peers, state, of_wanting);
        state->wants_session = false;
    }
}

static void free_state(struct worker *worker, struct peer *peer) {
    unlist(worker, peer->state);
    wheel_disarm(&worker->wheel, &peer->state->node);
    sodium_memzero(peer->state, sizeof *peer->state);
    free(peer->state);
    peer->state = NULL;
}

static bool has_session(const struct peer_state *state) {
    return state->session.current || state->session.previous || state->session.next;
}

void peer_free_idle_state(struct worker *worker, struct peer *peer) {
    const struct peer_state *state = peer->state;
    if (state && !has_session(state) && !state->wants_session && !state->pending && !state->waiting_first &&
        timers_next(&state->timers) == TIMERS_NEVER) {
        free_state(worker, peer);
    }
}

void peer_reset(struct worker *worker, struct peer *peer) {
    if (!peer->state) {
        return;
    }
    peer_forget_sessions(worker, peer);
    peer_wait_purge(worker, peer);
    free_state(worker, peer);
}

void peer_rearm(struct worker *worker, struct peer_state *state) {
    uint64_t next = timers_next(&state->timers);
    if (next != TIMERS_NEVER && (!wheel_armed(&state->node) || next < state->node.deadline_ns)) {
        wheel_arm(&worker->wheel, &state->node, next);
    }
}

void peer_follow_identity(struct worker *worker, struct peer *peer) {
    if (peer->epoch == worker->device.epoch) {
        return;
    }
    peer->epoch = worker->device.epoch;
    peer->remote.has_static_static = false;
    sodium_memzero(&peer->remote.static_static, sizeof peer->remote.static_static);
    if (peer->state) {
        session_index_free_handshake(&worker->tables.index, peer->state->pending);
        peer->state->pending = NULL;
        peer->state->timers.handshake_sent_ns = 0;
    }
}

void peer_forget_sessions(struct worker *worker, struct peer *peer) {
    struct session_dropped dropped = session_clear(&peer->state->session);
    session_index_retire(&worker->tables.index, &dropped);
    session_index_free_handshake(&worker->tables.index, peer->state->pending);
    peer->state->pending = NULL;
}

/* --- handshakes that are wanted --- */

void peer_want_session(struct worker *worker, struct peer *peer) {
    if (peer_make_state(worker, peer) < 0) {
        return;
    }
    timers_handshake_wanted(&peer->state->timers);
    peer_retry_session(worker, peer);
}

void peer_retry_session(struct worker *worker, struct peer *peer) {
    struct peer_state *state = peer->state;
    if (!state->wants_session && timers_may_initiate(&state->timers, worker->now_ns)) {
        TAILQ_INSERT_TAIL(&worker->waiting.peers, state, of_wanting);
        state->wants_session = true;
    }
}

struct peer *peer_next_wanting(struct worker *worker) {
    struct peer_state *state = TAILQ_FIRST(&worker->waiting.peers);
    if (!state) {
        return NULL;
    }
    unlist(worker, state);
    return state->peer;
}

/* --- where it is --- */

static bool local_equal(const struct udp_local *a, const struct udp_local *b) {
    if (a->family != b->family) {
        return false;
    }
    return a->family == AF_INET ? a->in.s_addr == b->in.s_addr : IN6_ARE_ADDR_EQUAL(&a->in6, &b->in6);
}

/* The peer that the hub reaches at this address through the tunnel; 0: none. A default route does not count, it is for
 * every address. */
static uint32_t route_inside(const struct directory *directory, const union endpoint *to) {
    static const uint8_t nowhere[16];
    uint32_t id, otherwise;
    if (to->sa.sa_family == AF_INET) {
        id = directory_route4(directory, (const uint8_t *)&to->in.sin_addr);
        otherwise = directory_route4(directory, nowhere);
    } else {
        id = directory_route6(directory, to->in6.sin6_addr.s6_addr);
        otherwise = directory_route6(directory, nowhere);
    }
    return id == otherwise ? 0 : id;
}

static bool is_link_local(const union endpoint *at) {
    return at->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&at->in6.sin6_addr);
}

/* Whether the host would send what is for this address into the interface. */
static bool is_routed_inside(struct worker *worker, const union endpoint *to) {
    unsigned interface = 0;
    if (worker->device.interface == 0) {
        return false;
    }
    if (is_link_local(to)) {
        return to->in6.sin6_scope_id == worker->device.interface;
    }
    struct ip_addr address = endpoint_addr(to);
    uint32_t mark = udp_fwmark(&worker->io.sockets);
    return route_ask(worker->io.route, &address, mark, worker->mono_ns, &interface) == ROUTE_AWAY &&
           interface == worker->device.interface;
}

void peer_roam(struct worker *worker, struct peer *peer, const union endpoint *from, const struct udp_local *to) {
    if (!endpoint_equal(&peer->endpoint, from)) {
        if ((peer->space && route_inside(worker->setup.directory, from)) || is_routed_inside(worker, from)) {
            worker->counters.roams_refused++;
            return;
        }
        peer->endpoint = *from;
        peer->changed_ns = worker->mono_ns;
    }
    if (!local_equal(&peer->local, to)) {
        peer->local = *to;
    }
}

/* --- packets that wait --- */

struct waiting *peer_wait_pop(struct worker *worker, struct peer *peer) {
    struct peer_state *state = peer->state;
    struct waiting *oldest = state->waiting_first;
    if (!oldest) {
        return NULL;
    }
    state->waiting_first = oldest->next;
    if (!state->waiting_first) {
        state->waiting_last = &state->waiting_first;
    }
    state->waiting_count--;
    TAILQ_REMOVE(&worker->waiting.packets, oldest, of_all);
    worker->waiting.size -= sizeof *oldest + oldest->size;
    return oldest;
}

static void drop_oldest(struct worker *worker, struct peer *peer) {
    free(peer_wait_pop(worker, peer));
    worker_drop(worker, ENGINE_DROP_NO_SESSION, 1);
}

void peer_wait_push(struct worker *worker, struct peer *peer, const uint8_t *bytes, size_t size) {
    struct peer_state *state = peer->state;
    if (state->waiting_count >= PEER_WAITING_MAX) {
        drop_oldest(worker, peer);
    }
    struct waiting *waiting = malloc(sizeof *waiting + size);
    if (!waiting) {
        worker_drop(worker, ENGINE_DROP_NO_SESSION, 1);
        return;
    }
    waiting->next = NULL;
    waiting->peer = peer;
    waiting->size = size;
    memcpy(waiting->bytes, bytes, size);
    *state->waiting_last = waiting;
    state->waiting_last = &waiting->next;
    state->waiting_count++;
    TAILQ_INSERT_TAIL(&worker->waiting.packets, waiting, of_all);
    worker->waiting.size += sizeof *waiting + size;
    while (worker->waiting.size > WORKER_WAITING_MAX) {
        drop_oldest(worker, TAILQ_FIRST(&worker->waiting.packets)->peer);
    }
}

void peer_wait_purge(struct worker *worker, struct peer *peer) {
    while (peer->state->waiting_first) {
        drop_oldest(worker, peer);
    }
}
