#include "engine/table/table.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/bytes.h"

#define CAPACITY_MIN 16
#define MIGRATE_SLOTS 32 /* of the old array per operation; see start_migration() */

_Static_assert(crypto_shorthash_KEYBYTES == TABLE_KEY_SIZE, "SipHash's key");

uint32_t table_hash(const uint8_t key[TABLE_KEY_SIZE], const void *bytes, size_t size) {
    uint8_t out[crypto_shorthash_BYTES];
    crypto_shorthash(out, bytes, size, key);
    return le32_get(out);
}

/* Any capacity will do: the hash is a fraction of it. */
static uint32_t home(const struct table_array *a, uint32_t hash) {
    return (uint32_t)((uint64_t)hash * a->capacity >> 32);
}

static uint32_t after(const struct table_array *a, uint32_t at) {
    return at + 1 == a->capacity ? 0 : at + 1;
}

/* How far the entry at `at` is from where it would like to be. */
static uint32_t distance(const struct table_array *a, uint32_t at) {
    uint32_t wanted = home(a, a->slots[at].hash);
    return at >= wanted ? at - wanted : at + a->capacity - wanted;
}

/* Robin hood: on its way an entry takes the place of any that is nearer to its home, and that one goes on. So a search
 * may stop at the first entry that is nearer to home than the one sought would be. */
static void put(struct table_array *a, struct table_slot entry) {
    uint32_t at = home(a, entry.hash);
    for (uint32_t far = 0;; far++, at = after(a, at)) {
        struct table_slot *slot = &a->slots[at];
        if (!slot->value) {
            *slot = entry;
            a->used++;
            return;
        }
        uint32_t here = distance(a, at);
        if (here < far) {
            struct table_slot moved = *slot;
            *slot = entry;
            entry = moved;
            far = here;
        }
    }
}

/* Takes the entry out and moves its followers one back, up to the first that is at home. */
static void take_out(struct table_array *a, uint32_t at) {
    uint32_t next = after(a, at);
    while (a->slots[next].value && distance(a, next) > 0) {
        a->slots[at] = a->slots[next];
        at = next;
        next = after(a, next);
    }
    a->slots[at] = (struct table_slot){0};
    a->used--;
}

static uint32_t find(const struct table_array *a, uint32_t hash, table_equal_fn *equal, const void *context,
                     const void *key) {
    if (!a->used) {
        return 0;
    }
    uint32_t at = home(a, hash);
    for (uint32_t far = 0; a->slots[at].value; far++, at = after(a, at)) {
        const struct table_slot *slot = &a->slots[at];
        if (slot->hash == hash) {
            if (!equal || equal(context, slot->value, key)) {
                return slot->value;
            }
        } else if (distance(a, at) < far) {
            break;
        }
    }
    return 0;
}

uint32_t table_find(const struct table *table, uint32_t hash, table_equal_fn *equal, const void *context,
                    const void *key) {
    uint32_t value = find(&table->now, hash, equal, context, key);
    return value ? value : find(&table->old, hash, equal, context, key);
}

uint32_t table_find_exact(const struct table *table, uint32_t hash) {
    return table_find(table, hash, NULL, NULL, NULL);
}

bool table_migrate(struct table *table) {
    struct table_array *old = &table->old;
    if (!old->slots) {
        return false;
    }
    /* Whole runs of neighbours only: the slot before the cursor is free, so nothing left behind ever has to be searched
     * for across the gap. */
    for (uint32_t seen = 0; old->used && (seen < MIGRATE_SLOTS || old->slots[table->cursor].value); seen++) {
        struct table_slot *slot = &old->slots[table->cursor];
        if (slot->value) {
            put(&table->now, *slot);
            *slot = (struct table_slot){0};
            old->used--;
        }
        table->cursor = after(old, table->cursor);
    }
    if (!old->used) {
        free(old->slots);
        *old = (struct table_array){0};
        return false;
    }
    return true;
}

static bool too_full(const struct table_array *a) {
    return (uint64_t)(a->used + 1) * 20 > (uint64_t)a->capacity * 17; /* 85 % */
}

/* The new array is larger by a quarter: slots are 68 % to 85 % full in a growing table. The old one is empty after
 * capacity / 32 operations, long before the new one is full (a sixth of the capacity). */
static int start_migration(struct table *table, uint64_t capacity) {
    if (capacity > UINT32_MAX) {
        return -ENOMEM;
    }
    struct table_slot *slots = calloc(capacity, sizeof *slots);
    if (!slots) {
        return -ENOMEM;
    }
    table->old = table->now;
    table->now = (struct table_array){.slots = slots, .capacity = (uint32_t)capacity};
    table->cursor = 0;
    if (table->old.used) {
        while (table->old.slots[table->cursor].value) { /* not inside a run; there is a free slot, see too_full() */
            table->cursor = after(&table->old, table->cursor);
        }
    }
    table_migrate(table);
    return 0;
}

static int make_room(struct table *table) {
    if (!too_full(&table->now)) {
        return 0;
    }
    while (table_migrate(table)) {
        /* never reached by a table that grows: see start_migration() */
    }
    uint64_t grown = (uint64_t)table->now.capacity + table->now.capacity / 4;
    int error = start_migration(table, grown < CAPACITY_MIN ? CAPACITY_MIN : grown);
    /* without memory for more, the last free slots still serve; one must stay free for searches to end */
    return error && table->now.used + 1 < table->now.capacity ? 0 : error;
}

static void shrink(struct table *table) {
    if (table->old.slots || table->now.capacity <= CAPACITY_MIN || table->now.used > table->now.capacity / 5) {
        return;
    }
    uint64_t less = (uint64_t)table->now.used * 2;
    (void)start_migration(table, less < CAPACITY_MIN ? CAPACITY_MIN : less); /* without memory it stays as it is */
}

int table_insert(struct table *table, uint32_t hash, uint32_t value) {
    if (!value) {
        return -EINVAL;
    }
    table_migrate(table);
    int error = make_room(table);
    if (error) {
        return error;
    }
    put(&table->now, (struct table_slot){.hash = hash, .value = value});
    return 0;
}

static bool remove_from(struct table_array *a, uint32_t hash, uint32_t value) {
    if (!a->used) {
        return false;
    }
    uint32_t at = home(a, hash);
    for (uint32_t far = 0; a->slots[at].value; far++, at = after(a, at)) {
        if (a->slots[at].hash == hash) {
            if (a->slots[at].value == value) {
                take_out(a, at);
                return true;
            }
        } else if (distance(a, at) < far) {
            break;
        }
    }
    return false;
}

int table_remove(struct table *table, uint32_t hash, uint32_t value) {
    bool removed = remove_from(&table->now, hash, value) || remove_from(&table->old, hash, value);
    table_migrate(table);
    shrink(table);
    return removed ? 0 : -ENOENT;
}

size_t table_count(const struct table *table) {
    return (size_t)table->now.used + table->old.used;
}

size_t table_size(const struct table *table) {
    return ((size_t)table->now.capacity + table->old.capacity) * sizeof(struct table_slot);
}

void table_free(struct table *table) {
    if (!table) {
        return;
    }
    free(table->now.slots);
    free(table->old.slots);
    *table = (struct table){0};
}
