/* A hash table: entries of one size, found by the key that they begin with.
 *
 * An entry keeps its number for as long as it lives, so entries can be chained by number; its memory moves when the
 * table grows, so a pointer holds until the next hash_put(). The hash is keyed, so nobody can aim for a bucket. What is
 * freed is wiped. One thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HASH_NONE UINT32_MAX /* the number of no entry */

struct hash {
    size_t key_size, entry_size; /* immutable; bytes, both at least 4 */
    uint8_t *entries;            /* owned; NULL while empty */
    uint32_t *buckets;           /* owned, twice as many as there is room for entries: number + 1; 0: empty */
    uint32_t room, used;         /* entries there is room for; entries that were ever begun */
    uint32_t unused;             /* the first that was removed, chained by number; HASH_NONE: none */
    uint32_t count;
    uint8_t key[16];
};

void hash_open(struct hash *hash, size_t key_size, size_t entry_size);
/* Empties it and leaves it usable. Accepts one that is empty or all zero. */
void hash_free(struct hash *hash);

/* The entry with this key, or NULL. */
void *hash_get(const struct hash *hash, const void *key);
/* The same, made if it is missing: zeros but for the key. NULL: no memory. */
void *hash_put(struct hash *hash, const void *key);
void hash_remove(struct hash *hash, void *entry);

uint32_t hash_number(const struct hash *hash, const void *entry);
void *hash_at(const struct hash *hash, uint32_t number);
/* The next entry of a walk, whose place is `*at`, 0 at first; NULL: there are no more. No entry may be put or removed
 * meanwhile. */
void *hash_each(const struct hash *hash, size_t *at);
