/* Addresses within a tenant's blocks and its own prefix: bitmaps of at most 256. */
#include <errno.h>
#include <string.h>

#include "service/pool/pool.h"
#include "store/store.h"

static bool bit_get(const uint8_t *map, uint32_t at) {
    return map[at / 8] >> (at % 8) & 1;
}

static void bit_set(uint8_t *map, uint32_t at) {
    map[at / 8] |= (uint8_t)(1 << at % 8);
}

static void bit_clear(uint8_t *map, uint32_t at) {
    map[at / 8] &= (uint8_t) ~(1 << at % 8);
}

/* Marks an address that no router may ever have. */
static void reserve(struct range *range, uint32_t at) {
    if (!bit_get(range->taken, at)) {
        bit_set(range->taken, at);
        range->free--;
    }
}

int pool_flush(struct pool *pool) {
    for (int i = 0; i < 2; i++) {
        if (pool->hands[i].open && pool->hands[i].dirty) {
            int r = pool->hands[i].fresh ? ranges_insert(pool->conn, &pool->hands[i].range)
                                         : ranges_update(pool->conn, &pool->hands[i].range);
            if (r < 0) {
                return r;
            }
            pool->hands[i].dirty = false;
            pool->hands[i].fresh = false;
        }
    }
    return 0;
}

void pool_forget(struct pool *pool) {
    pool->hands[0].open = false;
    pool->hands[1].open = false;
}

/* Puts a range into the hand, after writing back what was there. */
static int hold(struct pool *pool, const struct range *range, bool fresh) {
    int r = pool_flush(pool);
    if (r < 0) {
        return r;
    }
    pool->hands[range->space].range = *range;
    pool->hands[range->space].open = true;
    pool->hands[range->space].dirty = fresh;
    pool->hands[range->space].fresh = fresh;
    return 0;
}

int pool_block_give_to(struct pool *pool, int64_t tunnel_id, const struct block *block) {
    uint64_t at = 0;
    while (at < block->size) {
        uint64_t size = block->size - at < RANGE_SIZE_MAX ? block->size - at : RANGE_SIZE_MAX;
        struct range range = {
            .tunnel_id = tunnel_id,
            .space = RANGE_HUB,
            .first = block->first + (uint32_t)at,
            .size = (uint32_t)size,
            .block_first = block->first,
            .block_size = block->size,
            .free = (uint32_t)size,
            .last_freed = (uint32_t)size,
        };
        if (at == 0) {
            reserve(&range, 0);
        }
        at += size;
        if (at == block->size) {
            reserve(&range, range.size - 1);
        }
        int r = hold(pool, &range, true);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* The next stretch of a private tenant's prefix that has no row yet. -ENOSPC. */
static int stretch(struct pool *pool, struct tenant_row *tenant) {
    const struct prefix *subnet = &tenant->tenant.subnet;
    uint64_t whole = UINT64_C(1) << (32 - subnet->length);
    while (tenant->next_offset < whole) {
        uint32_t first = ip_to_v4(&subnet->addr) + (uint32_t)tenant->next_offset;
        struct range range;
        int r = pool_flush(pool);
        r = r < 0 ? r : ranges_find_address(pool->conn, tenant->id, RANGE_OWN, first, &range);
        if (r < 0 && r != -ENOENT) {
            return r;
        }
        uint64_t size = whole - tenant->next_offset < RANGE_SIZE_MAX ? whole - tenant->next_offset : RANGE_SIZE_MAX;
        tenant->next_offset += size;
        int kept = tenants_set_next_offset(pool->conn, tenant->id, tenant->next_offset);
        if (kept < 0) {
            return kept;
        }
        if (r == 0) {
            continue; /* a wish has made it already */
        }
        range = (struct range){
            .tunnel_id = tenant->id,
            .space = RANGE_OWN,
            .first = first,
            .size = (uint32_t)size,
            .free = (uint32_t)size,
            .last_freed = (uint32_t)size,
        };
        if (first == ip_to_v4(&subnet->addr)) {
            reserve(&range, 0);
        }
        if (tenant->next_offset == whole) {
            reserve(&range, range.size - 1);
        }
        return hold(pool, &range, true);
    }
    return -ENOSPC;
}

static int grow(struct pool *pool, const struct tenant_row *tenant) {
    uint64_t have = 0, size = POOL_FIRST_SIZE;
    struct block block;
    int r = pool_flush(pool);
    r = r < 0 ? r : ranges_hub_size(pool->conn, tenant->id, &have);
    if (r < 0) {
        return r;
    }
    while (size * 2 <= have && size < POOL_BLOCK_MAX && have < UINT64_C(2) * POOL_BLOCK_MAX) {
        size *= 2;
    }
    r = pool_block_take(pool, size, &block);
    return r < 0 ? r : pool_block_give_to(pool, tenant->id, &block);
}

/* All that rests in the range becomes free, but for what came last while there is another. */
static void refresh(struct range *range) {
    uint32_t last = range->last_freed;
    bool keep = range->rested > 1 && last < range->size && bit_get(range->resting, last);
    memset(range->resting, 0, sizeof range->resting);
    range->free += range->rested;
    range->rested = 0;
    range->last_freed = range->size;
    if (keep) {
        bit_set(range->resting, last);
        range->free--;
        range->rested = 1;
        range->last_freed = last;
    }
}

/* Brings a range with a free address into the hand. */
static int find(struct pool *pool, struct tenant_row *tenant, enum range_space space) {
    struct range range;
    if (pool->hands[space].open && pool->hands[space].range.tunnel_id == tenant->id &&
        pool->hands[space].range.free > 0) {
        return 0;
    }
    int r = pool_flush(pool);
    r = r < 0 ? r : ranges_find_free(pool->conn, tenant->id, space, &range);
    if (r == 0) {
        return hold(pool, &range, false);
    }
    if (r != -ENOENT) {
        return r;
    }
    /* A private prefix has mostly more fresh addresses than will ever be asked for; the pool's are for everybody. */
    r = ranges_find_rested(pool->conn, tenant->id, space, &range);
    if (space == RANGE_OWN && (r == -ENOENT || (r == 0 && range.rested < 16))) {
        int fresh = stretch(pool, tenant);
        if (fresh != -ENOSPC) {
            return fresh;
        }
    }
    if (r == 0) {
        refresh(&range);
        r = hold(pool, &range, false);
        pool->hands[space].dirty = true;
        return r;
    }
    if (r != -ENOENT) {
        return r;
    }
    return space == RANGE_HUB ? grow(pool, tenant) : -ENOSPC;
}

static void take(struct pool *pool, enum range_space space, uint32_t at) {
    struct range *range = &pool->hands[space].range;
    if (bit_get(range->resting, at)) {
        bit_clear(range->resting, at);
        range->rested--;
    } else {
        range->free--;
    }
    bit_set(range->taken, at);
    range->used++;
    pool->hands[space].dirty = true;
}

int pool_address_take(struct pool *pool, struct tenant_row *tenant, enum range_space space, uint32_t *ret_address) {
    int r = find(pool, tenant, space);
    if (r < 0) {
        return r;
    }
    const struct range *range = &pool->hands[space].range;
    for (uint32_t byte = 0; byte < range->size; byte += 8) {
        uint8_t busy = range->taken[byte / 8] | range->resting[byte / 8];
        if (busy == 0xff) {
            continue;
        }
        uint32_t at = byte + (uint32_t)__builtin_ctz(~(unsigned)busy);
        if (at < range->size) {
            *ret_address = range->first + at;
            take(pool, space, at);
            return 0;
        }
    }
    return -EBADMSG; /* the counts and the map disagree: somebody wrote into the table */
}

/* Brings the range that holds the address into the hand. -ENOENT. */
static int find_address(struct pool *pool, const struct tenant_row *tenant, enum range_space space, uint32_t address) {
    struct range *held = &pool->hands[space].range;
    struct range range;
    if (pool->hands[space].open && held->tunnel_id == tenant->id && address - held->first < held->size) {
        return 0;
    }
    int r = pool_flush(pool);
    r = r < 0 ? r : ranges_find_address(pool->conn, tenant->id, space, address, &range);
    return r < 0 ? r : hold(pool, &range, false);
}

/* Makes the stretch of a private prefix around a wished address. */
static int stretch_at(struct pool *pool, const struct tenant_row *tenant, uint32_t address) {
    const struct prefix *subnet = &tenant->tenant.subnet;
    uint32_t base = ip_to_v4(&subnet->addr);
    uint64_t whole = UINT64_C(1) << (32 - subnet->length);
    uint64_t offset = (address - base) & ~(uint64_t)(RANGE_SIZE_MAX - 1);
    uint64_t size = whole - offset < RANGE_SIZE_MAX ? whole - offset : RANGE_SIZE_MAX;
    struct range range = {
        .tunnel_id = tenant->id,
        .space = RANGE_OWN,
        .first = base + (uint32_t)offset,
        .size = (uint32_t)size,
        .free = (uint32_t)size,
        .last_freed = (uint32_t)size,
    };
    if (offset == 0) {
        reserve(&range, 0);
    }
    if (offset + size == whole) {
        reserve(&range, range.size - 1);
    }
    return hold(pool, &range, true);
}

uint64_t pool_subnet_start(const struct prefix *subnet) {
    uint64_t whole = UINT64_C(1) << (32 - subnet->length);
    return whole < RANGE_SIZE_MAX ? whole : RANGE_SIZE_MAX;
}

int pool_subnet_give_to(struct pool *pool, const struct tenant_row *tenant) {
    return stretch_at(pool, tenant, ip_to_v4(&tenant->tenant.subnet.addr));
}

int pool_address_take_at(struct pool *pool, struct tenant_row *tenant, enum range_space space, uint32_t address) {
    struct ip_addr addr = ip_from_v4(address);
    if (space == RANGE_OWN && !prefix_contains(&tenant->tenant.subnet, &addr)) {
        return -ERANGE;
    }
    int r = find_address(pool, tenant, space, address);
    if (r == -ENOENT) {
        r = space == RANGE_OWN ? stretch_at(pool, tenant, address) : -ERANGE;
    }
    if (r < 0) {
        return r;
    }
    const struct range *range = &pool->hands[space].range;
    if (bit_get(range->taken, address - range->first)) {
        return -EEXIST;
    }
    take(pool, space, address - range->first);
    return 0;
}

/* The smallest piece of the pool that brings the address in, with its neighbours as far as they are free together. */
static int claim_block(struct pool *pool, const struct tenant_row *tenant, uint32_t address) {
    int r = -EEXIST;
    for (uint64_t size = POOL_FIRST_SIZE; r == -EEXIST && size >= 1; size /= 2) {
        const struct block block = {.first = address & ~(uint32_t)(size - 1), .size = size};
        r = pool_block_take_at(pool, &block);
        r = r < 0 ? r : pool_block_give_to(pool, tenant->id, &block);
    }
    return r;
}

int pool_address_claim(struct pool *pool, const struct tenant_row *tenant, uint32_t address) {
    int r = find_address(pool, tenant, RANGE_HUB, address);
    if (r == -ENOENT) {
        r = claim_block(pool, tenant, address);
        r = r < 0 ? r : find_address(pool, tenant, RANGE_HUB, address);
    }
    if (r < 0) {
        return r;
    }
    struct range *range = &pool->hands[RANGE_HUB].range;
    uint32_t at = address - range->first;
    bool edge = address == range->block_first || address == range->block_first + (uint32_t)(range->block_size - 1);
    /* Kept back, or a router's already: then the database refuses the second one. */
    if (edge && bit_get(range->taken, at)) {
        bit_clear(range->taken, at);
        range->free++;
        pool->hands[RANGE_HUB].dirty = true;
    }
    return 0;
}

/* A block whose last router went goes back to the pool, unless it is the tenant's first or only one. */
static int shrink(struct pool *pool, const struct tenant_row *tenant, const struct range *range) {
    bool used = true;
    struct range_block blocks[2];
    size_t count = 0;
    const struct block block = {.first = range->block_first, .size = range->block_size};
    int r = pool_flush(pool);
    r = r < 0 ? r : ranges_block_used(pool->conn, tenant->id, block.first, &used);
    r = r < 0 ? r : ranges_blocks(pool->conn, tenant->id, blocks, 2, &count);
    if (r < 0 || used || count < 2 ||
        (tenant->tenant.addressing == ADDRESSING_UNIQUE && block.first == ip_to_v4(&tenant->tenant.subnet.addr))) {
        return r;
    }
    pool_forget(pool);
    r = ranges_delete_block(pool->conn, tenant->id, block.first);
    return r < 0 ? r : blocks_rest(pool->conn, &block, pool->now + POOL_REST_US);
}

int pool_address_free(struct pool *pool, const struct tenant_row *tenant, enum range_space space, uint32_t address) {
    int r = find_address(pool, tenant, space, address);
    if (r < 0) {
        return r == -ENOENT ? -EBADMSG : r;
    }
    struct range *range = &pool->hands[space].range;
    uint32_t at = address - range->first;
    if (!bit_get(range->taken, at)) {
        return -EBADMSG;
    }
    bit_clear(range->taken, at);
    bit_set(range->resting, at);
    range->used--;
    range->rested++;
    range->last_freed = at;
    pool->hands[space].dirty = true;
    if (space == RANGE_HUB && range->used == 0 && range->block_size) {
        const struct range emptied = *range;
        return shrink(pool, tenant, &emptied);
    }
    return 0;
}

int pool_tenant_free(struct pool *pool, int64_t tunnel_id) {
    struct range_block blocks[64]; /* more than the doublings from /30 to 65,536 addresses can make; adoption may */
    size_t count = sizeof blocks / sizeof *blocks;
    int r = pool_flush(pool);
    pool_forget(pool);
    while (r == 0 && count == sizeof blocks / sizeof *blocks) {
        r = ranges_blocks(pool->conn, tunnel_id, blocks, sizeof blocks / sizeof *blocks, &count);
        for (size_t i = 0; r == 0 && i < count; i++) {
            const struct block block = {.first = blocks[i].first, .size = blocks[i].size};
            r = ranges_delete_block(pool->conn, tunnel_id, block.first);
            r = r < 0 ? r : blocks_rest(pool->conn, &block, pool->now + POOL_REST_US);
        }
    }
    return r;
}
