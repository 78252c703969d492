/* A peer, in the tables of the worker that owns it. Only that worker touches it.
 *
 * Most of a hundred thousand peers are idle, so what an idle one needs is kept small: struct peer. What only a peer
 * with a session, a handshake or an armed timer needs is its struct peer_state, allocated when something happens and
 * freed when all that is over. Keypairs and pending handshakes are allocated one by one (engine/path/session_index.h).
 *
 *     peer_create() -> idle --- peer_make_state() ---> active --- peer_free_idle_state() ---> idle -> peer_free()
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "engine/engine.h"
#include "engine/io/udp.h"
#include "engine/path/session_index.h"
#include "engine/table/prefixes.h"
#include "engine/table/wheel.h"
#include "wire/cookie.h"
#include "wire/noise.h"
#include "wire/session.h"
#include "wire/timers.h"

struct space;
struct worker;

#define PEER_WAITING_MAX 32 /* packets of one peer that wait for its handshake */

/* An inner packet that waits for a session. */
struct waiting {
    struct waiting *next;        /* of its peer */
    TAILQ_ENTRY(waiting) of_all; /* of the worker's peers */
    struct peer *peer;
    size_t size;
    uint8_t bytes[];
};

struct peer_state {
    struct peer *peer;
    struct wheel_node node; /* armed no later than timers_next() */
    struct timers timers;
    struct session session;            /* each keypair is part of a struct indexed_keypair */
    struct pending_handshake *pending; /* owned */
    struct cookie_jar jar;
    struct waiting *waiting_first; /* owned, oldest first */
    struct waiting **waiting_last;
    uint32_t waiting_count;
    bool wants_session; /* it is in the worker's list */
    TAILQ_ENTRY(peer_state) of_wanting;
};

struct peer {
    struct peer_state *state; /* owned; NULL while idle */
    struct space *space;      /* NULL: plain WireGuard, no tenant */
    struct peer *space_next;
    struct peer **space_link;
    struct engine_hub_address *hub_addresses; /* owned; NULL: none */
    uint64_t bytes_received;
    uint64_t bytes_sent;
    uint64_t last_handshake_wall_ns;
    uint64_t changed_ns;     /* of clock_mono_ns(): counters, handshake or endpoint */
    struct prefixes allowed; /* only the list; the tries are the caller's */
    union endpoint endpoint;
    struct udp_local local; /* the address of ours that it speaks to */
    uint32_t slot;
    uint16_t keepalive_s;
    uint16_t epoch; /* of the identity that remote.static_static was made with */
    uint8_t hub_address_count;
    uint32_t
        clock_behind_s; /* its last initiation was refused: its clock is so far behind its newest one; 0: it was not */
    struct noise_remote remote;
};

/* Adds a peer of `key` at a free slot. 0, -ENOMEM. */
int peer_create(struct worker *worker, const struct key *key, uint32_t slot, struct peer **ret_peer);
/* Forgets its sessions and wipes its secrets. Its prefixes must have left the tries, and it its tenant. */
void peer_free(struct worker *worker, struct peer *peer);

/* NULL if this worker has none. */
struct peer *peer_find(const struct worker *worker, const struct key *key);
struct peer *peer_at(const struct worker *worker, uint32_t slot);

/* The hub address of this family, or NULL. */
const struct engine_hub_address *peer_hub_address(const struct peer *peer, uint8_t family);
/* Replaces them. 0, -ENOMEM. */
int peer_set_hub_addresses(struct peer *peer, const struct engine_hub_address *addresses, size_t count);

/* Makes sure that peer->state is there. 0, -ENOMEM. */
int peer_make_state(struct worker *worker, struct peer *peer);
/* Frees peer->state if there is nothing left in it to remember. */
void peer_free_idle_state(struct worker *worker, struct peer *peer);
/* Forgets sessions, handshake, waiting packets, timers: interface down, another tenant. */
void peer_reset(struct worker *worker, struct peer *peer);
/* Brings the wheel's node forward if a deadline now is earlier. To be called after timers_*(). */
void peer_rearm(struct worker *worker, struct peer_state *state);
/* Drops what an older identity left, if there is a newer one (engine_set_private_key). */
void peer_follow_identity(struct worker *worker, struct peer *peer);

/* Data wants to be sent: asks for a handshake, counting the attempts anew, unless one was begun just now. Handshakes
 * cost public-key work, so they are begun within the budget of a round (handshake_work()). */
void peer_want_session(struct worker *worker, struct peer *peer);
/* The same for a handshake that is tried once more. */
void peer_retry_session(struct worker *worker, struct peer *peer);
/* The first of the list, taken from it; NULL: it is empty. */
struct peer *peer_next_wanting(struct worker *worker);

/* Remembers where an authenticated message came from, unless what is sent there would go into the tunnel: to forge a
 * source address is easy. That is so where the host routes it to our interface, and for a tenant's router also where
 * the hub reaches routers, whatever the host's routes are just now. Refused ones are counted. */
void peer_roam(struct worker *worker, struct peer *peer, const union endpoint *from, const struct udp_local *to);

/* Keeps a packet until there is a session, dropping the peer's oldest when it has too many, and the oldest of all when
 * the worker has: so those of peers that never answer make room. */
void peer_wait_push(struct worker *worker, struct peer *peer, const uint8_t *bytes, size_t size);
/* The oldest, or NULL. The caller frees it. */
struct waiting *peer_wait_pop(struct worker *worker, struct peer *peer);
/* Counts each as NO_SESSION. */
void peer_wait_purge(struct worker *worker, struct peer *peer);

/* Forgets all keypairs and the pending handshake. */
void peer_forget_sessions(struct worker *worker, struct peer *peer);
