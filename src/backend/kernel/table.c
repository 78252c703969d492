#include "backend/kernel/table.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define ROOM_FIRST 64u
#define ROOM_MAX (1u << 30)

void kernel_table_open(struct kernel_table *table, size_t key_size, size_t entry_size) {
    *table = (struct kernel_table){.key_size = key_size, .entry_size = entry_size, .unused = KERNEL_TABLE_NONE};
    randombytes_buf(table->hash_key, sizeof table->hash_key);
}

void kernel_table_free(struct kernel_table *table) {
    if (table->entries) {
        sodium_memzero(table->entries, table->used * table->entry_size);
    }
    free(table->entries);
    free(table->slots);
    kernel_table_open(table, table->key_size, table->entry_size);
}

void *kernel_table_at(const struct kernel_table *table, uint32_t number) {
    return table->entries + (size_t)number * table->entry_size;
}

uint32_t kernel_table_number(const struct kernel_table *table, const void *entry) {
    return (uint32_t)((size_t)((const uint8_t *)entry - table->entries) / table->entry_size);
}

static uint32_t mask_of(const struct kernel_table *table) {
    return table->room * 2 - 1;
}

static uint32_t home_of(const struct kernel_table *table, const void *key) {
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, key, table->key_size, table->hash_key);
    return le32_get(hash) & mask_of(table);
}

/* Where the key is, or the free slot where it belongs. */
static uint32_t slot_of(const struct kernel_table *table, const void *key) {
    uint32_t slot = home_of(table, key);
    while (table->slots[slot] && memcmp(kernel_table_at(table, table->slots[slot] - 1), key, table->key_size) != 0) {
        slot = (slot + 1) & mask_of(table);
    }
    return slot;
}

void *kernel_table_get(const struct kernel_table *table, const void *key) {
    if (!table->count) {
        return NULL;
    }
    uint32_t slot = slot_of(table, key);
    return table->slots[slot] ? kernel_table_at(table, table->slots[slot] - 1) : NULL;
}

/* Room for one more. Secrets do not live here, but digests of them do: what moves is wiped behind it. */
static int grow(struct kernel_table *table) {
    struct kernel_table more = *table;
    if (table->room >= ROOM_MAX) {
        return -1;
    }
    more.room = table->room ? table->room * 2 : ROOM_FIRST;
    more.entries = malloc(more.room * more.entry_size);
    more.slots = calloc(more.room * 2u, sizeof *more.slots);
    if (!more.entries || !more.slots) {
        free(more.entries);
        free(more.slots);
        return -1;
    }
    if (table->entries) {
        memcpy(more.entries, table->entries, table->used * table->entry_size);
    }
    size_t at = 0;
    for (void *entry; (entry = kernel_table_each(table, &at));) {
        more.slots[slot_of(&more, entry)] = kernel_table_number(table, entry) + 1;
    }
    if (table->entries) {
        sodium_memzero(table->entries, table->used * table->entry_size);
    }
    free(table->entries);
    free(table->slots);
    table->room = more.room;
    table->entries = more.entries;
    table->slots = more.slots;
    return 0;
}

void *kernel_table_put(struct kernel_table *table, const void *key) {
    void *found = kernel_table_get(table, key);
    if (found) {
        return found;
    }
    if (table->unused == KERNEL_TABLE_NONE && table->used == table->room && grow(table) < 0) {
        return NULL;
    }
    uint32_t number = table->unused;
    if (number == KERNEL_TABLE_NONE) {
        number = table->used++;
    } else {
        memcpy(&table->unused, kernel_table_at(table, number), sizeof table->unused);
    }
    table->slots[slot_of(table, key)] = number + 1;
    uint8_t *entry = kernel_table_at(table, number);
    memset(entry, 0, table->entry_size);
    memcpy(entry, key, table->key_size);
    table->count++;
    return entry;
}

/* Whether `at` lies on the way from `home` to `slot`, going round. */
static bool between(uint32_t home, uint32_t at, uint32_t slot) {
    return home <= slot ? home <= at && at < slot : home <= at || at < slot;
}

/* Fills the hole with the next entry that may stand there, and so on: no tombstones. */
static void close_hole(struct kernel_table *table, uint32_t hole) {
    uint32_t mask = mask_of(table);
    for (uint32_t slot = (hole + 1) & mask; table->slots[slot]; slot = (slot + 1) & mask) {
        if (between(home_of(table, kernel_table_at(table, table->slots[slot] - 1)), hole, slot)) {
            table->slots[hole] = table->slots[slot];
            hole = slot;
        }
    }
    table->slots[hole] = 0;
}

void kernel_table_remove(struct kernel_table *table, void *entry) {
    uint32_t number = kernel_table_number(table, entry);
    close_hole(table, slot_of(table, entry));
    memset(entry, 0, table->entry_size);
    memcpy(entry, &table->unused, sizeof table->unused);
    table->unused = number;
    table->count--;
}

void *kernel_table_each(const struct kernel_table *table, size_t *at) {
    while (table->room && *at < table->room * 2u) {
        uint32_t number = table->slots[(*at)++];
        if (number) {
            return kernel_table_at(table, number - 1);
        }
    }
    return NULL;
}
