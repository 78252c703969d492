/* The pool's free blocks: powers of two on their own boundary, kept by size; service/pool/pool.c splits and merges
 * them. Blocks that were given back rest for a while in the order they came. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_conn;

struct block {
    uint32_t first; /* IPv4, host order */
    uint64_t size;  /* a power of two; 2^32 at most */
};

int blocks_insert(struct store_conn *conn, const struct block *block);
int blocks_delete(struct store_conn *conn, uint32_t first);
/* The smallest free block of at least `size`, the lowest of them. -ENOENT. */
int blocks_find(struct store_conn *conn, uint64_t size, struct block *ret_block);
/* The free block that starts there / that holds the address. -ENOENT. */
int blocks_get(struct store_conn *conn, uint32_t first, struct block *ret_block);
int blocks_find_address(struct store_conn *conn, uint32_t address, struct block *ret_block);

int blocks_rest(struct store_conn *conn, const struct block *block, int64_t until);
/* Takes the block that rests longest out of its rest, if its time is over by `now`. -ENOENT. */
int blocks_wake(struct store_conn *conn, int64_t now, struct block *ret_block);

/* Addresses in free and in resting blocks. */
int blocks_free_size(struct store_conn *conn, uint64_t *ret_size);
int blocks_clear(struct store_conn *conn);
