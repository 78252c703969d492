/* The buddy allocator. The addresses within blocks are in pool_address.c. */
#include "service/pool/pool.h"

#include <errno.h>

#include "store/store.h"

#define STOCK_AHEAD 256     /* takes that one block of the stock is good for */
#define STOCK_LEAST_ROOM 16 /* blocks: to cut one leaves at most 8 more */

static uint64_t prefix_size(const struct prefix *prefix) {
    return UINT64_C(1) << (32 - prefix->length);
}

/* The hub's own block: none of its addresses goes to a tenant, so no tenant's prefix ever holds the hub's. */
static uint64_t reserve_size(const struct prefix *pool) {
    uint64_t quarter = prefix_size(pool) / 4;
    return quarter < 4 ? 4 : quarter > POOL_FIRST_SIZE ? POOL_FIRST_SIZE : quarter;
}

uint64_t pool_capacity(const struct prefix *prefix, bool open_reserve) {
    return prefix_size(prefix) - (open_reserve ? 1 : reserve_size(prefix));
}

/* Frees all of `whole` but the block of size `least` around an address. */
static int free_around(struct pool *pool, struct block whole, uint32_t at, uint64_t least) {
    int r = 0;
    while (r == 0 && whole.size > least) {
        whole.size /= 2;
        uint32_t upper = whole.first + (uint32_t)whole.size;
        struct block other = {.first = at >= upper ? whole.first : upper, .size = whole.size};
        whole.first = at >= upper ? upper : whole.first;
        r = blocks_insert(pool->conn, &other);
    }
    return r;
}

int pool_init(struct pool *pool, const struct prefix *prefix, const struct ip_addr *hub) {
    struct block whole = {.first = ip_to_v4(&prefix->addr), .size = prefix_size(prefix)};
    int r = blocks_clear(pool->conn);
    return r < 0 ? r : free_around(pool, whole, ip_to_v4(hub), reserve_size(prefix));
}

int pool_open_reserve(struct pool *pool, const struct prefix *prefix, const struct ip_addr *hub) {
    uint64_t size = reserve_size(prefix);
    uint32_t at = ip_to_v4(hub);
    struct block reserve = {.first = at & ~(uint32_t)(size - 1), .size = size};
    return free_around(pool, reserve, at, 1);
}

/* Puts a block among the free ones, merged with its buddy as often as that is free too. */
static int merge(struct pool *pool, struct block block) {
    for (;;) {
        struct block buddy;
        if (block.size >= UINT64_C(1) << 32) {
            break;
        }
        int r = blocks_get(pool->conn, block.first ^ (uint32_t)block.size, &buddy);
        if (r < 0 && r != -ENOENT) {
            return r;
        }
        if (r == -ENOENT || buddy.size != block.size) {
            break;
        }
        r = blocks_delete(pool->conn, buddy.first);
        if (r < 0) {
            return r;
        }
        block.first &= ~(uint32_t)block.size;
        block.size *= 2;
    }
    return blocks_insert(pool->conn, &block);
}

int pool_widen(struct pool *pool, const struct prefix *prefix, const struct prefix *wider) {
    uint32_t first = ip_to_v4(&prefix->addr);
    for (uint64_t size = prefix_size(prefix); size < prefix_size(wider); size *= 2) {
        struct block sibling = {.first = first ^ (uint32_t)size, .size = size};
        int r = merge(pool, sibling);
        if (r < 0) {
            return r;
        }
        first &= ~(uint32_t)size;
    }
    return 0;
}

/* Wakes at most `most` blocks whose rest is over by `until`. */
static int wake(struct pool *pool, int64_t until, unsigned most) {
    struct block block;
    for (unsigned i = 0; i < most; i++) {
        int r = blocks_wake(pool->conn, until, &block);
        if (r == -ENOENT) {
            return 0;
        }
        r = r < 0 ? r : merge(pool, block);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int pool_wake_all(struct pool *pool) {
    int r = pool_put_back(pool);
    return r < 0 ? r : wake(pool, INT64_MAX, UINT32_MAX);
}

/* Takes `size` off the front of a free block and puts the rest back as buddies. */
static int split(struct pool *pool, struct block block, uint32_t at, uint64_t size) {
    int r = blocks_delete(pool->conn, block.first);
    while (r == 0 && block.size > size) {
        block.size /= 2;
        uint32_t upper = block.first + (uint32_t)block.size;
        struct block other = {.first = at >= upper ? block.first : upper, .size = block.size};
        block.first = at >= upper ? upper : block.first;
        r = blocks_insert(pool->conn, &other);
    }
    return r;
}

/* The smallest block of the stock that is large enough, cut to size. -ENOENT. */
static int cut(struct pool_stock *stock, uint64_t size, struct block *ret_block) {
    unsigned best = stock->count;
    for (unsigned i = 0; i < stock->count; i++) {
        bool fits = stock->blocks[i].size >= size;
        bool better =
            best == stock->count || stock->blocks[i].size < stock->blocks[best].size ||
            (stock->blocks[i].size == stock->blocks[best].size && stock->blocks[i].first < stock->blocks[best].first);
        best = fits && better ? i : best;
    }
    if (best == stock->count) {
        return -ENOENT;
    }
    struct block block = stock->blocks[best];
    stock->blocks[best] = stock->blocks[--stock->count];
    while (block.size > size) {
        block.size /= 2;
        stock->blocks[stock->count++] = (struct block){.first = block.first + (uint32_t)block.size, .size = block.size};
    }
    *ret_block = block;
    return 0;
}

int pool_put_back(struct pool *pool) {
    int r = 0;
    while (r == 0 && pool->stock.count) {
        r = merge(pool, pool->stock.blocks[--pool->stock.count]);
    }
    return r;
}

/* From the stock, which is filled up with one larger block. -ENOENT: there is no larger one. */
static int take_from_stock(struct pool *pool, uint64_t size, struct block *ret_block) {
    struct block block;
    int r = cut(&pool->stock, size, ret_block);
    if (r != -ENOENT || pool->stock.count > STOCK_LEAST_ROOM) {
        return r;
    }
    uint64_t much = size * STOCK_AHEAD;
    r = blocks_find(pool->conn, much, &block);
    r = r < 0 ? r : split(pool, block, block.first, much);
    if (r < 0) {
        return r;
    }
    pool->stock.blocks[pool->stock.count++] = (struct block){.first = block.first, .size = much};
    return cut(&pool->stock, size, ret_block);
}

int pool_block_take(struct pool *pool, uint64_t size, struct block *ret_block) {
    struct block block;
    if (pool->ahead) {
        int taken = take_from_stock(pool, size, ret_block);
        if (taken != -ENOENT) {
            return taken;
        }
    }
    /* Some with the first of many: so those that rest are merged as fast as they come, and never all at once. */
    int r = pool->takes++ % 16 == 0 ? wake(pool, pool->now, 64) : 0;
    if (r < 0) {
        return r;
    }
    r = blocks_find(pool->conn, size, &block);
    if (r == -ENOENT) {
        r = pool_wake_all(pool);
        r = r < 0 ? r : blocks_find(pool->conn, size, &block);
    }
    while (r == -ENOENT && size > POOL_BLOCK_MIN) {
        size /= 2;
        r = blocks_find(pool->conn, size, &block);
    }
    if (r < 0) {
        return r == -ENOENT ? -ENOSPC : r;
    }
    r = split(pool, block, block.first, size);
    if (r == 0) {
        *ret_block = (struct block){.first = block.first, .size = size};
    }
    return r;
}

int pool_block_take_at(struct pool *pool, const struct block *block) {
    struct block around;
    int r = pool_put_back(pool);
    r = r < 0 ? r : blocks_find_address(pool->conn, block->first, &around);
    if (r == -ENOENT || (r == 0 && around.size < block->size)) {
        r = pool_wake_all(pool); /* it may only rest, whole or in parts */
        r = r < 0 ? r : blocks_find_address(pool->conn, block->first, &around);
    }
    if (r < 0) {
        return r == -ENOENT ? -EEXIST : r;
    }
    return around.size < block->size ? -EEXIST : split(pool, around, block->first, block->size);
}

int pool_block_around(struct pool *pool, uint32_t address, struct block *ret_block) {
    struct block around;
    int r = blocks_find_address(pool->conn, address, &around);
    uint64_t size = r == 0 && around.size < POOL_FIRST_SIZE ? around.size : POOL_FIRST_SIZE;
    if (r < 0 || size < POOL_BLOCK_MIN) {
        return r < 0 ? r : -ENOENT;
    }
    *ret_block = (struct block){.first = address & ~(uint32_t)(size - 1), .size = size};
    return 0;
}
