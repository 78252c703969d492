/* The one structure all workers read: which worker owns a public key, and which peer a hub-side address leads to.
 *
 * - Keys: public key -> worker. A 56-bit keyed fingerprint (SipHash) and the worker's number share one atomic 64-bit
 * word, in open addressing. Enough to hand an initiation to its owner, who knows the key itself: a stranger's key that
 * happens to match (2^-56 per key) is merely refused there.
 * - Routes: hub-side prefix -> 32-bit id of a worker and a peer slot, by longest match. Host routes, nearly all of them
 *   (one per router), sit in hash tables, so that a lookup does not get longer with a million routers; the other
 * prefixes in a concurrent trie.
 *
 * Threads: the control thread writes, all workers read, nobody locks. What the writer takes away it retires:
 *
 *     directory_remove_...(); directory_seal(); wait until each worker has been between two batches;
 * directory_reclaim();
 *
 * Readers must not keep anything between batches; they get values, not pointers. Word stores are atomic, so a removed
 * entry is gone for every lookup that starts later; only memory waits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "model/key.h"
#include "model/prefix.h"

#define DIRECTORY_SLOT_BITS (32 - ENGINE_WORKER_BITS)
#define DIRECTORY_SLOT_MASK ((UINT32_C(1) << DIRECTORY_SLOT_BITS) - 1)

struct directory;

/* Slots start at 1 and end before DIRECTORY_SLOT_MASK: ids 0 and 0xffffffff do not exist. */
static inline uint32_t directory_id(unsigned worker, uint32_t slot) {
    return (uint32_t)worker << DIRECTORY_SLOT_BITS | slot;
}

static inline unsigned directory_id_worker(uint32_t id) {
    return id >> DIRECTORY_SLOT_BITS;
}

static inline uint32_t directory_id_slot(uint32_t id) {
    return id & DIRECTORY_SLOT_MASK;
}

/* --- any thread --- */

/* The owning worker, or -ENOENT. */
int directory_worker_of_key(const struct directory *directory, const struct key *key);
/* The id of the longest matching route, or 0. Addresses in network order. */
uint32_t directory_route4(const struct directory *directory, const uint8_t addr[4]);
uint32_t directory_route6(const struct directory *directory, const uint8_t addr[16]);
uint32_t directory_route(const struct directory *directory, const struct ip_addr *addr);
/* For a lookup that comes soon. */
void directory_prefetch(const struct directory *directory, const struct ip_addr *addr);

/* --- control thread --- */

int directory_create(struct directory **ret_directory);
/* After the readers are gone. Accepts NULL. */
void directory_free(struct directory *directory);

/* Adds a key that the caller knows to be new. 0, -ENOMEM, -EINVAL (worker), or -EEXIST: its fingerprint is there
 * already. If the caller's own records say that the key is not, this is a collision of two keys (1 chance in 10^5 among
 * a million): give all keys anew through directory_rekey_begin(). */
int directory_insert_key(struct directory *directory, const struct key *key, unsigned worker);
/* 0 or -ENOENT. */
int directory_remove_key(struct directory *directory, const struct key *key);
size_t directory_key_count(const struct directory *directory);

/* Starts a second key table under a fresh secret; readers stay with the first. Then directory_rekey_add() for every key
 * (-EEXIST: bad luck again, begin anew), then directory_rekey_commit() which readers see at once. Beginning again drops
 * an unfinished one. No other key may be inserted or removed in between. */
int directory_rekey_begin(struct directory *directory);
int directory_rekey_add(struct directory *directory, const struct key *key, unsigned worker);
void directory_rekey_commit(struct directory *directory);

/* Replaces the id of an existing prefix; `ret_previous` (may be NULL) gets the former one, or 0. 0, -EINVAL, -ENOMEM.
 */
int directory_insert_route(struct directory *directory, const struct prefix *prefix, uint32_t id,
                           uint32_t *ret_previous);
/* Removes exactly this prefix if it still leads to `id`. 0 or -ENOENT. Never fails otherwise. */
int directory_remove_route(struct directory *directory, const struct prefix *prefix, uint32_t id);
/* The id of exactly this prefix, or 0. */
uint32_t directory_get_route(const struct directory *directory, const struct prefix *prefix);
size_t directory_route_count(const struct directory *directory);

/* Marks everything retired so far; the caller's barrier must start after this. Does nothing while an earlier seal waits
 * for its reclaim. True if there is anything to reclaim, so that a barrier is worth while. */
bool directory_seal(struct directory *directory);
/* Frees what was sealed; the caller's barrier is over. */
void directory_reclaim(struct directory *directory);
/* Bytes in use, retired ones included. */
size_t directory_size(const struct directory *directory);
