#include "base/hash.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define ROOM_FIRST 64u
#define ROOM_MAX (1u << 30)

void hash_open(struct hash *hash, size_t key_size, size_t entry_size) {
    *hash = (struct hash){.key_size = key_size, .entry_size = entry_size, .unused = HASH_NONE};
    randombytes_buf(hash->key, sizeof hash->key);
}

static void free_memory(struct hash *hash) {
    if (hash->entries) {
        sodium_memzero(hash->entries, hash->used * hash->entry_size);
    }
    free(hash->entries);
    free(hash->buckets);
}

void hash_free(struct hash *hash) {
    free_memory(hash);
    hash_open(hash, hash->key_size, hash->entry_size);
}

void *hash_at(const struct hash *hash, uint32_t number) {
    return hash->entries + (size_t)number * hash->entry_size;
}

uint32_t hash_number(const struct hash *hash, const void *entry) {
    return (uint32_t)((size_t)((const uint8_t *)entry - hash->entries) / hash->entry_size);
}

static uint32_t mask_of(const struct hash *hash) {
    return hash->room * 2 - 1;
}

/* The bucket where the search for a key begins. */
static uint32_t home_of(const struct hash *hash, const void *key) {
    uint8_t digest[crypto_shorthash_BYTES];
    crypto_shorthash(digest, key, hash->key_size, hash->key);
    return le32_get(digest) & mask_of(hash);
}

/* The bucket of this key, or the empty one where it belongs. */
static uint32_t bucket_of(const struct hash *hash, const void *key) {
    uint32_t at = home_of(hash, key);
    while (hash->buckets[at] && memcmp(hash_at(hash, hash->buckets[at] - 1), key, hash->key_size) != 0) {
        at = (at + 1) & mask_of(hash);
    }
    return at;
}

void *hash_get(const struct hash *hash, const void *key) {
    if (!hash->count) {
        return NULL;
    }
    uint32_t at = bucket_of(hash, key);
    return hash->buckets[at] ? hash_at(hash, hash->buckets[at] - 1) : NULL;
}

/* Room for one more. Not by realloc(), which would leave a copy behind. */
static int grow(struct hash *hash) {
    struct hash more = *hash;
    if (hash->room >= ROOM_MAX) {
        return -1;
    }
    more.room = hash->room ? hash->room * 2 : ROOM_FIRST;
    more.entries = reallocarray(NULL, more.room, more.entry_size);
    more.buckets = calloc(more.room * 2u, sizeof *more.buckets);
    if (!more.entries || !more.buckets) {
        free(more.entries);
        free(more.buckets);
        return -1;
    }
    if (hash->entries) {
        memcpy(more.entries, hash->entries, hash->used * hash->entry_size);
    }
    size_t at = 0;
    for (void *entry; (entry = hash_each(hash, &at));) {
        more.buckets[bucket_of(&more, entry)] = hash_number(hash, entry) + 1;
    }
    free_memory(hash);
    *hash = more;
    return 0;
}

void *hash_put(struct hash *hash, const void *key) {
    void *found = hash_get(hash, key);
    if (found) {
        return found;
    }
    if (hash->unused == HASH_NONE && hash->used == hash->room && grow(hash) < 0) {
        return NULL;
    }
    uint32_t number = hash->unused;
    if (number == HASH_NONE) {
        number = hash->used++;
    } else {
        memcpy(&hash->unused, hash_at(hash, number), sizeof hash->unused);
    }
    hash->buckets[bucket_of(hash, key)] = number + 1;
    uint8_t *entry = hash_at(hash, number);
    memset(entry, 0, hash->entry_size);
    memcpy(entry, key, hash->key_size);
    hash->count++;
    return entry;
}

/* Whether `at` lies on the way from `home` to `bucket`, going round. */
static bool between(uint32_t home, uint32_t at, uint32_t bucket) {
    return home <= bucket ? home <= at && at < bucket : home <= at || at < bucket;
}

/* Fills the gap with the next entry that may stand there, and so on: no tombstones. */
static void close_gap(struct hash *hash, uint32_t gap) {
    uint32_t mask = mask_of(hash);
    for (uint32_t at = (gap + 1) & mask; hash->buckets[at]; at = (at + 1) & mask) {
        if (between(home_of(hash, hash_at(hash, hash->buckets[at] - 1)), gap, at)) {
            hash->buckets[gap] = hash->buckets[at];
            gap = at;
        }
    }
    hash->buckets[gap] = 0;
}

void hash_remove(struct hash *hash, void *entry) {
    uint32_t number = hash_number(hash, entry);
    close_gap(hash, bucket_of(hash, entry));
    sodium_memzero(entry, hash->entry_size);
    memcpy(entry, &hash->unused, sizeof hash->unused);
    hash->unused = number;
    hash->count--;
}

void *hash_each(const struct hash *hash, size_t *at) {
    while (hash->room && *at < hash->room * 2u) {
        uint32_t number = hash->buckets[(*at)++];
        if (number) {
            return hash_at(hash, number - 1);
        }
    }
    return NULL;
}
