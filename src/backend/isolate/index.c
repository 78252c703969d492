#include "backend/isolate/index.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 64

struct isolate_index_cell {
    uint32_t hash;
    uint32_t place; /* one more than it is; 0: empty */
};

void isolate_index_init(struct isolate_index *index) {
    *index = (struct isolate_index){0};
    randombytes_buf(index->key, sizeof index->key);
}

void isolate_index_free(struct isolate_index *index) {
    free(index->cells);
    index->cells = NULL;
    index->room = index->used = 0;
}

uint64_t isolate_index_hash(const struct isolate_index *index, const void *bytes, size_t size) {
    uint64_t hash;
    _Static_assert(sizeof hash == crypto_shorthash_BYTES && sizeof index->key == crypto_shorthash_KEYBYTES, "SipHash");
    crypto_shorthash((unsigned char *)&hash, bytes, size, index->key);
    return hash;
}

static uint32_t after(const struct isolate_index *index, uint32_t at) {
    return (at + 1) & (index->room - 1);
}

bool isolate_index_find(const struct isolate_index *index, uint64_t hash, isolate_index_fn *equal, const void *records,
                        const void *wanted, uint32_t *ret_place) {
    if (index->room == 0) {
        return false;
    }
    uint32_t at = (uint32_t)hash & (index->room - 1);
    for (; index->cells[at].place; at = after(index, at)) {
        const struct isolate_index_cell *cell = &index->cells[at];
        if (cell->hash == (uint32_t)hash && equal(records, cell->place - 1, wanted)) {
            *ret_place = cell->place - 1;
            return true;
        }
    }
    return false;
}

static void put(struct isolate_index *index, struct isolate_index_cell cell) {
    uint32_t at = cell.hash & (index->room - 1);
    while (index->cells[at].place) {
        at = after(index, at);
    }
    index->cells[at] = cell;
}

static int grow(struct isolate_index *index) {
    struct isolate_index larger = *index;
    larger.room = index->room ? index->room * 2 : FIRST_ROOM;
    larger.cells = larger.room ? calloc(larger.room, sizeof *larger.cells) : NULL;
    if (!larger.cells) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < index->room; i++) {
        if (index->cells[i].place) {
            put(&larger, index->cells[i]);
        }
    }
    free(index->cells);
    *index = larger;
    return 0;
}

int isolate_index_add(struct isolate_index *index, uint64_t hash, uint32_t place) {
    if (index->used >= index->room / 4 * 3) {
        int error = grow(index);
        if (error) {
            return error;
        }
    }
    put(index, (struct isolate_index_cell){.hash = (uint32_t)hash, .place = place + 1});
    index->used++;
    return 0;
}

/* What follows in the row moves up, unless it would come to stand before the place its hash names. */
static void close_gap(struct isolate_index *index, uint32_t gap) {
    for (uint32_t at = after(index, gap); index->cells[at].place; at = after(index, at)) {
        uint32_t home = index->cells[at].hash & (index->room - 1);
        uint32_t from_home = (at - home) & (index->room - 1), from_gap = (at - gap) & (index->room - 1);
        if (from_home >= from_gap) {
            index->cells[gap] = index->cells[at];
            gap = at;
        }
    }
    index->cells[gap].place = 0;
}

void isolate_index_remove(struct isolate_index *index, uint64_t hash, uint32_t place) {
    if (index->room == 0) {
        return;
    }
    uint32_t at = (uint32_t)hash & (index->room - 1);
    for (; index->cells[at].place; at = after(index, at)) {
        if (index->cells[at].place == place + 1) {
            close_gap(index, at);
            index->used--;
            return;
        }
    }
}
