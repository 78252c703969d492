/* Finds numbers by what they stand for: a hash from bytes to the place of a record in the caller's table.
 *
 * Open addressing, keyed (SipHash), so nobody can aim for a place. The caller owns the records and compares them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct isolate_index {
    struct isolate_index_cell *cells;
    uint32_t room; /* power of 2 */
    uint32_t used;
    uint8_t key[16];
};

/* Whether record `place` is the one looked for. */
typedef bool isolate_index_fn(const void *records, uint32_t place, const void *wanted);

void isolate_index_init(struct isolate_index *index);
/* Accepts one that was never filled, or all zero. */
void isolate_index_free(struct isolate_index *index);
uint64_t isolate_index_hash(const struct isolate_index *index, const void *bytes, size_t size);
bool isolate_index_find(const struct isolate_index *index, uint64_t hash, isolate_index_fn *equal, const void *records,
                        const void *wanted, uint32_t *ret_place);
/* It must not be there yet. 0, or -ENOMEM. */
int isolate_index_add(struct isolate_index *index, uint64_t hash, uint32_t place);
void isolate_index_remove(struct isolate_index *index, uint64_t hash, uint32_t place);
