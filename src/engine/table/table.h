/* Structures that the path of a packet looks things up in: they know no packet, no peer and no socket.
 *
 * The room owns nothing: each structure belongs to who made it. One thread per structure enters, but for three that two
 * sides share without a lock, as their headers say: the directory and a concurrent trie (one writer, any number of
 * readers), and the ring (one producer, one consumer).
 *
 * To read it: table (this file: hash -> number), trie (longest prefix), prefixes (a sorted set), directory (both of
 * them, for all workers), ring, wheel (deadlines), bucket (rates), limiter (rates per source of handshakes).
 *
 * --- A hash table of one worker: 32-bit hash -> 32-bit value (public key -> peer slot, receiver index -> entry) ---
 *
 * Eight bytes per slot, robin-hood probing at up to 85 % load. It grows and shrinks by a second array into which each
 * later insert or remove moves a bounded piece (a run of neighbours), so no operation ever rehashes everything. Lookups
 * look into both arrays meanwhile.
 *
 * The table stores no keys. The caller hashes (table_hash(): SipHash with a secret key, so nobody can aim for a slot)
 * and compares candidates itself through a callback. Receiver indexes are random already: table_mix() is a bijection,
 * so equal hashes are equal indexes and table_find_exact() needs no comparison.
 *
 * One thread. Values are never 0. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefetch.h"

struct table_slot {
    uint32_t hash;
    uint32_t value; /* 0: free */
};

struct table_array {
    struct table_slot *slots; /* owned */
    uint32_t capacity;
    uint32_t used;
};

/* Zero-initialize: empty, without memory. */
struct table {
    struct table_array now; /* receives all inserts */
    struct table_array old; /* being emptied into `now`; no slots when not migrating */
    uint32_t cursor;        /* next slot of `old` to move; the slot before it is free */
};

#define TABLE_KEY_SIZE 16

/* SipHash-2-4 of the bytes, 32 bits of it. */
uint32_t table_hash(const uint8_t key[TABLE_KEY_SIZE], const void *bytes, size_t size);
/* Spreads a 32-bit number over all bits, one to one. */
static inline uint32_t table_mix(uint32_t x) {
    x ^= x >> 16;
    x *= UINT32_C(0x7feb352d);
    x ^= x >> 15;
    x *= UINT32_C(0x846ca68b);
    return x ^ (x >> 16);
}

/* Whether the entry that `value` names has this key. */
typedef bool table_equal_fn(const void *context, uint32_t value, const void *key);

/* The value whose hash is equal and of which `equal` says yes, or 0. */
uint32_t table_find(const struct table *table, uint32_t hash, table_equal_fn *equal, const void *context,
                    const void *key);
/* The value with this hash, or 0: for hashes that are unique by themselves. */
uint32_t table_find_exact(const struct table *table, uint32_t hash);
/* Fetches the slot of a lookup that comes soon. */
static inline void table_prefetch(const struct table *table, uint32_t hash) {
    if (table->now.slots) {
        prefetch(&table->now.slots[(uint64_t)hash * table->now.capacity >> 32], sizeof *table->now.slots);
    }
}

/* Adds without looking for an equal key: the caller has looked. 0, -EINVAL (value 0), -ENOMEM (only if nothing has
 * room). */
int table_insert(struct table *table, uint32_t hash, uint32_t value);
/* Removes the entry with this hash and value. 0 or -ENOENT. */
int table_remove(struct table *table, uint32_t hash, uint32_t value);
/* Moves a bounded piece of an unfinished growth, so that it does not wait for the next insert. True while there is
 * more. */
bool table_migrate(struct table *table);

size_t table_count(const struct table *table);
/* Bytes of both arrays. */
size_t table_size(const struct table *table);
/* Accepts NULL; leaves an empty table. */
void table_free(struct table *table);
