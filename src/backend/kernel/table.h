/* Entries of one size found by the key they begin with, in one array without holes of its own: an entry keeps its
 * number for as long as it lives, so entries can be chained by number. The hash is keyed, so nobody can aim for a
 * bucket. A pointer holds until the next kernel_table_put(). Not thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define KERNEL_TABLE_NONE UINT32_MAX

struct kernel_table {
    size_t key_size, entry_size; /* immutable; both at least 4 */
    uint8_t *entries;            /* owned; NULL while empty */
    uint32_t *slots;             /* owned: number + 1; 0: free. Twice the room of entries or more */
    uint32_t room, used;         /* entries there can be; that were ever begun */
    uint32_t unused;             /* first of those that were removed, chained; KERNEL_TABLE_NONE: none */
    uint32_t count;
    uint8_t hash_key[16];
};

void kernel_table_open(struct kernel_table *table, size_t key_size, size_t entry_size);
/* Empties it, leaves it usable. Wipes what it frees. */
void kernel_table_free(struct kernel_table *table);

/* The entry with this key, or NULL. */
void *kernel_table_get(const struct kernel_table *table, const void *key);
/* The same, made if it is missing: zeros but for the key. NULL: no memory. */
void *kernel_table_put(struct kernel_table *table, const void *key);
void kernel_table_remove(struct kernel_table *table, void *entry);

uint32_t kernel_table_number(const struct kernel_table *table, const void *entry);
void *kernel_table_at(const struct kernel_table *table, uint32_t number);
/* The entry in slot `*at` or behind it, and moves `*at` past it; NULL at the end. Start with 0. Nothing may be put or
 * removed between. */
void *kernel_table_each(const struct kernel_table *table, size_t *at);
