/* What tenants number their routers from: stretches of at most 256 addresses, each with a bitmap. service/pool/pool.c
 * decides, this keeps. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_conn;

#define RANGE_SIZE_MAX 256
#define RANGE_BYTES (RANGE_SIZE_MAX / 8)

enum range_space {
    RANGE_HUB, /* out of the gateway's pool */
    RANGE_OWN, /* out of a private tenant's own prefix */
};

struct range {
    int64_t tunnel_id;
    enum range_space space;
    uint32_t first; /* IPv4, host order */
    uint32_t size;
    uint32_t block_first; /* of the pool's block it is part of; RANGE_OWN: zero */
    uint64_t block_size;
    uint32_t used;       /* handed out; `taken` marks those that never are, too */
    uint32_t free;       /* bits in neither map */
    uint32_t rested;     /* bits in `resting` */
    uint32_t last_freed; /* offset of the bit that came to rest last; `size`: none */
    uint8_t taken[RANGE_BYTES];
    uint8_t resting[RANGE_BYTES];
};

int ranges_insert(struct store_conn *conn, const struct range *range);
int ranges_update(struct store_conn *conn, const struct range *range); /* bitmaps and their counts */
int ranges_delete_block(struct store_conn *conn, int64_t tunnel_id, uint32_t block_first);
/* First one with a free address / with a resting one. -ENOENT. */
int ranges_find_free(struct store_conn *conn, int64_t tunnel_id, enum range_space space, struct range *ret_range);
int ranges_find_rested(struct store_conn *conn, int64_t tunnel_id, enum range_space space, struct range *ret_range);
/* The one that holds the address. -ENOENT. */
int ranges_find_address(struct store_conn *conn, int64_t tunnel_id, enum range_space space, uint32_t address,
                        struct range *ret_range);
/* Addresses in all of the tenant's hub blocks. */
int ranges_hub_size(struct store_conn *conn, int64_t tunnel_id, uint64_t *ret_size);
/* Whether an address of the block is taken. */
int ranges_block_used(struct store_conn *conn, int64_t tunnel_id, uint32_t block_first, bool *ret_used);

struct range_block {
    uint32_t first;
    uint64_t size;
};
/* The tenant's hub blocks, at most `room`. */
int ranges_blocks(struct store_conn *conn, int64_t tunnel_id, struct range_block *ret_blocks, size_t room,
                  size_t *ret_count);
