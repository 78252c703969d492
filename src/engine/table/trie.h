/* Longest prefix match: prefix -> 32-bit value, IPv4 and IPv6 side by side (allowed IPs of a tenant, routes of the
 * hub).
 *
 * A path-compressed binary trie. A trie itself is 24 bytes, so a tenant with one prefix costs little more than a node;
 * nodes (20 bytes for IPv4, 32 for IPv6) come from a pool that many tries share and are named by index, never moved,
 * never given back to the system before the pool is.
 *
 * A walk costs a cache miss per level once the trie is larger than the caches. So a trie of many hosts also keeps a
 * hash table of its host prefixes (10 bytes each), nearly all there are in such a trie: a lookup then takes the same
 * time whatever the number of peers. The table is only a shortcut; all prefixes are in the trie.
 *
 * Threads: a pool with its tries has one writer. With `concurrent` at creation, any number of threads may look up at
 * the same time without a lock: a node is complete before it is linked, and a removed one keeps its content until
 * trie_pool_reclaim(). A lookup that races with a change sees the trie before it or after it. There is no shortcut
 * then. Without `concurrent` everything belongs to one thread and removed nodes are reused at once.
 *
 * Values are never 0. Prefixes must have no host bits (prefix_make()). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"

struct trie_hosts;
struct trie_pool;

/* Zero-initialize: an empty trie. Must be emptied by trie_clear() before its memory goes, unless the pool goes too. */
struct trie {
    _Atomic uint32_t roots[2]; /* node index by family: IPv4, IPv6; 0: none */
    uint32_t host_count;       /* of /32 and /128 */
    struct trie_hosts *hosts;  /* the shortcut; NULL while there are few hosts. Owned by the pool */
};

int trie_pool_create(bool concurrent, struct trie_pool **ret_pool);
/* Frees all nodes of all tries. Accepts NULL. */
void trie_pool_free(struct trie_pool *pool);
/* Bytes held by nodes in use or awaiting reuse, and by the shortcuts. */
size_t trie_pool_size(const struct trie_pool *pool);

/* Concurrent pools: trie_pool_seal() marks what was removed so far; once every reader has since been seen outside a
 * lookup, trie_pool_reclaim() makes those nodes usable again. Sealing again before that adds nothing to what is sealed.
 */
void trie_pool_seal(struct trie_pool *pool);
void trie_pool_reclaim(struct trie_pool *pool);
/* Nodes removed and neither reused nor reclaimed yet. */
size_t trie_pool_retired(const struct trie_pool *pool);

/* Replaces the value of an existing prefix. `ret_previous` (may be NULL) gets the former value, or 0. 0, -EINVAL (value
 * 0 or a bad prefix), -ENOMEM. */
int trie_insert(struct trie_pool *pool, struct trie *trie, const struct prefix *prefix, uint32_t value,
                uint32_t *ret_previous);
/* Removes exactly this prefix, and only if it still belongs to `value`. 0 or -ENOENT. Never fails otherwise. */
int trie_remove(struct trie_pool *pool, struct trie *trie, const struct prefix *prefix, uint32_t value);
/* Removes everything, in O(prefixes). */
void trie_clear(struct trie_pool *pool, struct trie *trie);

/* The value of the longest prefix that contains the address, or 0. `addr` is in network order. */
uint32_t trie_lookup4(const struct trie_pool *pool, const struct trie *trie, const uint8_t addr[4]);
uint32_t trie_lookup6(const struct trie_pool *pool, const struct trie *trie, const uint8_t addr[16]);
uint32_t trie_lookup(const struct trie_pool *pool, const struct trie *trie, const struct ip_addr *addr);
/* For a lookup of this family that comes soon. */
void trie_prefetch(const struct trie_pool *pool, const struct trie *trie, uint8_t family);
/* The value of exactly this prefix, or 0. */
uint32_t trie_get(const struct trie_pool *pool, const struct trie *trie, const struct prefix *prefix);
