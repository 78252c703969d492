#include "service/record/table.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void table_open(struct table *table, size_t key_size, size_t entry_size) {
    *table = (struct table){.key_size = key_size, .entry_size = entry_size};
    randombytes_buf(table->hash_key, sizeof table->hash_key);
}

void table_free(struct table *table) {
    if (table->entries) {
        sodium_memzero(table->entries, table->room * table->entry_size);
    }
    free(table->entries);
    free(table->used);
    table->entries = NULL;
    table->used = NULL;
    table->room = 0;
    table->count = 0;
}

/* Where the key is, or the free slot where it belongs. */
static size_t slot_of(const struct table *table, const void *key) {
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, key, table->key_size, table->hash_key);
    size_t slot = (size_t)le64_get(hash) & (table->room - 1);
    while (table->used[slot] && memcmp(table->entries + slot * table->entry_size, key, table->key_size) != 0) {
        slot = (slot + 1) & (table->room - 1);
    }
    return slot;
}

void *table_get(const struct table *table, const void *key) {
    if (!table->count) {
        return NULL;
    }
    size_t slot = slot_of(table, key);
    return table->used[slot] ? table->entries + slot * table->entry_size : NULL;
}

static int grow(struct table *table) {
    struct table more = {.key_size = table->key_size, .entry_size = table->entry_size, .count = table->count};
    memcpy(more.hash_key, table->hash_key, sizeof more.hash_key);
    more.room = table->room ? table->room * 2 : 64;
    more.entries = calloc(more.room, more.entry_size);
    more.used = calloc(more.room, 1);
    if (!more.entries || !more.used) {
        free(more.entries);
        free(more.used);
        return -1;
    }
    size_t at = 0;
    for (void *entry = table_each(table, &at); entry; entry = table_each(table, &at)) {
        size_t slot = slot_of(&more, entry);
        memcpy(more.entries + slot * more.entry_size, entry, more.entry_size);
        more.used[slot] = 1;
    }
    table_free(table);
    table->entries = more.entries;
    table->used = more.used;
    table->room = more.room;
    table->count = more.count;
    return 0;
}

void *table_put(struct table *table, const void *key) {
    void *found = table_get(table, key);
    if (found) {
        return found;
    }
    if ((!table->entries || table->count >= table->room / 4 * 3) && grow(table) < 0) {
        return NULL;
    }
    size_t slot = slot_of(table, key);
    uint8_t *entry = table->entries + slot * table->entry_size;
    memset(entry, 0, table->entry_size);
    memcpy(entry, key, table->key_size);
    table->used[slot] = 1;
    table->count++;
    return entry;
}

void *table_each(const struct table *table, size_t *at) {
    while (*at < table->room) {
        size_t slot = (*at)++;
        if (table->used[slot]) {
            return table->entries + slot * table->entry_size;
        }
    }
    return NULL;
}
