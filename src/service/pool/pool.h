/* Addresses: the gateway's pool cut into tenants' blocks, and the blocks into routers' addresses.
 *
 * The pool is a buddy allocator whose free blocks are rows; a tenant's addresses are bitmaps in rows of at most 256: so
 * both are part of the transaction that uses them, and finding the next free one never scans. A tenant starts with a
 * /27 and doubles with each further block. What is given back rests: a block for a while before it may go to another
 * tenant, an address until the tenant has no fresh one.
 *
 * struct pool is one writer's hand in one transaction: it keeps the range it works on open, so that many addresses of
 * one tenant cost one write. pool_flush() before the transaction (or a step of it) ends; pool_forget() when it is
 * undone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/prefix.h"
#include "model/problem.h"
#include "store/noun/blocks.h"
#include "store/noun/ranges.h"
#include "store/noun/tenants.h"

struct store_conn;

#define POOL_FIRST_SIZE 32                    /* a tenant's first block: /27 */
#define POOL_BLOCK_MAX 32768                  /* and its largest further one: /17 */
#define POOL_BLOCK_MIN 4                      /* a /30 has two addresses */
#define POOL_ROUTERS_MAX 1000000              /* of a tenant */
#define POOL_RESERVE_SETTING "hub_block_open" /* the setting that is "1" once pool_open_reserve() was done */
#define POOL_REST_US INT64_C(600000000)       /* how long a block rests: 10 minutes */

/* Blocks taken out of the table ahead of their use. Many small takes would otherwise cut the same rows again and again,
 * which a database that keeps old versions of rows until a transaction ends finds harder each time. */
struct pool_stock {
    struct block blocks[32]; /* no two of a size that are buddies */
    unsigned count;
};

struct pool {
    struct store_conn *conn;
    int64_t now; /* wall, microseconds */
    unsigned takes;
    bool ahead; /* many blocks will be taken: use a stock, which who undoes a step must put back as it was before */
    struct pool_stock stock;
    struct {
        struct range range;
        bool open, dirty, fresh; /* fresh: not a row yet */
    } hands[2];                  /* by range_space */
};

/* Cuts the pool into free blocks, all but those around the hub's address. */
int pool_init(struct pool *pool, const struct prefix *prefix, const struct ip_addr *hub);
/* Frees what pool_init() kept back around the hub's address, in blocks down to a single address: servers that are
 * adopted number their first routers right behind the hub. Once a pool. */
int pool_open_reserve(struct pool *pool, const struct prefix *prefix, const struct ip_addr *hub);
/* Adds what `wider` has beyond `prefix`. */
int pool_widen(struct pool *pool, const struct prefix *prefix, const struct prefix *wider);
/* Addresses that tenants may get at most. */
uint64_t pool_capacity(const struct prefix *prefix, bool open_reserve);

/* A block for a new tenant: POOL_FIRST_SIZE, or less where that is not to be had. -ENOSPC. */
int pool_block_take(struct pool *pool, uint64_t size, struct block *ret_block);
/* Exactly this one. -EEXIST: not free. */
int pool_block_take_at(struct pool *pool, const struct block *block);
/* The largest free block of at most POOL_FIRST_SIZE around an address. -ENOENT: none of at least POOL_BLOCK_MIN. */
int pool_block_around(struct pool *pool, uint32_t address, struct block *ret_block);
/* Makes the block's addresses the tenant's. */
int pool_block_give_to(struct pool *pool, int64_t tunnel_id, const struct block *block);
/* The first stretch of a new private tenant's prefix; its row says next_offset = pool_subnet_start(subnet). */
uint64_t pool_subnet_start(const struct prefix *subnet);
int pool_subnet_give_to(struct pool *pool, const struct tenant_row *tenant);
/* All blocks of a tenant that is about to be deleted. */
int pool_tenant_free(struct pool *pool, int64_t tunnel_id);
/* Wakes every block that rests, due or not. */
int pool_wake_all(struct pool *pool);

/* The next address for a router of the tenant; RANGE_HUB grows the tenant's blocks. -ENOSPC. */
int pool_address_take(struct pool *pool, struct tenant_row *tenant, enum range_space space, uint32_t *ret_address);
/* This one. -EEXIST: in use or reserved; -ERANGE: not the tenant's. */
int pool_address_take_at(struct pool *pool, struct tenant_row *tenant, enum range_space space, uint32_t address);
/* Makes an address of the pool the tenant's if it is nobody's, the first and last of a block included, so that
 * pool_address_take_at() can give it to a router that has it already. The neighbours come along where they are free.
 * -EEXIST: in another tenant's block, or the hub's. */
int pool_address_claim(struct pool *pool, const struct tenant_row *tenant, uint32_t address);
int pool_address_free(struct pool *pool, const struct tenant_row *tenant, enum range_space space, uint32_t address);

int pool_flush(struct pool *pool);
/* Before the transaction is committed: what is left of the stock goes back into the table. */
int pool_put_back(struct pool *pool);
void pool_forget(struct pool *pool);
