/* What the kernel backend remembers of the peers it set: enough to send only differences, and to see when somebody else
 * changed them. About 110 bytes a peer, no keys but public ones.
 *
 * A revoked peer has lost its addresses and its allowed IPs and waits for its removal from the kernel, which costs
 * much more (look.c). Not thread-safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "model/desired.h"

#define KERNEL_ALLOWED_MAX (ROUTER_LANS_MAX + 2)

struct kernel_peer {
    struct key public_key;
    uint64_t secret;      /* kernel_peers_secret() of its preshared key */
    uint64_t seen;        /* digest of counters, handshake and endpoint as last dumped */
    struct prefix *lans;  /* owned; NULL: none */
    uint8_t address6[16]; /* zero: none */
    uint32_t address;     /* host order; 0: none */
    uint32_t tenant;      /* number; HASH_NONE: revoked */
    uint32_t next, previous;
    uint32_t changed; /* mark of the dump that first saw it as it is */
    uint32_t heard;   /* number of the last dump that had it */
    uint32_t set_at;  /* number of the apply() that last touched it */
    uint8_t lan_count;
    bool doubtful; /* the kernel may hold something else: say everything again */
    bool missing;  /* the kernel does not have it */
};

struct kernel_tenant {
    struct uuid id;
    uint32_t first; /* of its peers */
};

struct kernel_peers {
    struct hash peers, tenants;
    uint32_t revoked; /* first of them */
    uint32_t revoked_count;
    uint8_t digest_key[16];
};

void kernel_peers_open(struct kernel_peers *peers);
/* Forgets all; leaves it usable. */
void kernel_peers_free(struct kernel_peers *peers);
/* Without the revoked. */
size_t kernel_peers_count(const struct kernel_peers *peers);

/* NULL: unknown. */
struct kernel_peer *kernel_peers_get(const struct kernel_peers *peers, const struct key *public_key);
/* Makes it if need be and keeps what is desired; revoked no longer. NULL: no memory, and nothing was changed. */
struct kernel_peer *kernel_peers_keep(struct kernel_peers *peers, const struct desired_peer *desired);
void kernel_peers_revoke(struct kernel_peers *peers, struct kernel_peer *peer);
void kernel_peers_remove(struct kernel_peers *peers, struct kernel_peer *peer);
static inline bool kernel_peer_is_revoked(const struct kernel_peer *peer) {
    return peer->tenant == HASH_NONE;
}

/* A peer of this tenant, a revoked one; NULL: there is none. */
struct kernel_peer *kernel_peers_of(const struct kernel_peers *peers, const struct uuid *tenant);
struct kernel_peer *kernel_peers_revoked(const struct kernel_peers *peers);
/* The next one in the same list. */
struct kernel_peer *kernel_peers_next(const struct kernel_peers *peers, const struct kernel_peer *peer);

/* Key, tenant, addresses and LANs, as they were kept. */
void kernel_peers_desired(const struct kernel_peers *peers, const struct kernel_peer *peer,
                          struct desired_peer *ret_desired);
/* A digest under a key that nobody knows. */
uint64_t kernel_peers_secret(const struct kernel_peers *peers, const struct key *preshared_key);

/* --- allowed IPs --- */

/* All of a peer's. Returns how many. */
size_t kernel_allowed_of(const struct desired_peer *peer, struct prefix ret_list[KERNEL_ALLOWED_MAX]);
/* The same prefixes, in whatever order. */
bool kernel_allowed_same(const struct prefix *a, size_t a_count, const struct prefix *b, size_t b_count);
/* Those of `a` that are not in `b`, and no more than there is room for. Returns how many. */
size_t kernel_allowed_without(const struct prefix *a, size_t a_count, const struct prefix *b, size_t b_count,
                              struct prefix *ret_list, size_t room);
/* Parts allowed IPs into the peer's own addresses (hosts in the pools) and its LANs (sorted). False: there is more than
 * a desired peer could have. */
bool kernel_allowed_part(const struct prefix *list, size_t count, const struct prefix *pools, size_t pool_count,
                         struct desired_peer *peer);
