/* A growing hash table of fixed-size entries that begin with their key. The hash is keyed, so nobody can aim for a
 * bucket. Entries move when the table grows: a pointer holds until the next table_put(). Not thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct table {
    size_t key_size, entry_size; /* immutable */
    uint8_t *entries;            /* owned; NULL while empty */
    uint8_t *used;               /* owned: 1 where there is an entry */
    size_t room;                 /* a power of two, or 0 */
    size_t count;
    uint8_t hash_key[16];
};

void table_open(struct table *table, size_t key_size, size_t entry_size);
/* Accepts an empty one; leaves it usable. Wipes what it frees. */
void table_free(struct table *table);
/* The entry with this key, or NULL. */
void *table_get(const struct table *table, const void *key);
/* The same, made if it is missing: zeros but for the key. NULL: no memory. */
void *table_put(struct table *table, const void *key);
/* The entry in slot `*at` or behind it, and moves `*at` past it; NULL at the end. Start with 0. */
void *table_each(const struct table *table, size_t *at);
