/* The allocator against a naive model: no address twice, none outside, and everything comes back. */
#include "gateway.h"

#include <errno.h>

#include "service/noun/noun.h"

/* The pool alone, on the writer of an idle service. */
struct pool_test {
    struct gateway *gateway;
    struct store *store;
    struct pool pool;
};

static const struct gateway_columns columns = {.public_key = "k", .hub_address = {.family = AF_INET}, .port = 1};

static int setup(void **state, const char *prefix) {
    void *gateway;
    struct problem problem;
    gateway_setup(&gateway);
    struct pool_test *t = calloc(1, sizeof *t);
    t->gateway = gateway;
    char url[160];
    snprintf(url, sizeof url, "sqlite:%s/pool.db", t->gateway->folder);
    assert_int_equal(store_open(url, NULL, &t->store, &problem), 0);
    t->pool = (struct pool){.conn = store_writer(t->store), .now = 1700000000000000};
    assert_int_equal(store_begin(t->pool.conn, true), 0); /* one transaction: no disk in the way */
    struct prefix pool = prefix_of(prefix);
    struct ip_addr hub = ip_from_v4(ip_to_v4(&pool.addr) + 1);
    assert_int_equal(pool_init(&t->pool, &pool, &hub), 0);
    *state = t;
    return 0;
}

static int setup_16(void **state) {
    return setup(state, "10.0.0.0/16");
}

static int setup_14(void **state) {
    return setup(state, "10.0.0.0/14");
}

static int setup_28(void **state) {
    return setup(state, "10.0.0.0/28");
}

static int setup_8(void **state) {
    return setup(state, "10.0.0.0/8");
}

static int teardown(void **state) {
    struct pool_test *t = *state;
    void *gateway = t->gateway;
    store_rollback(t->pool.conn);
    store_close(t->store);
    free(t);
    return gateway_teardown(&gateway);
}

static uint64_t free_size(struct pool_test *t) {
    uint64_t size = 0;
    assert_int_equal(blocks_free_size(t->pool.conn, &size), 0);
    return size;
}

static uint64_t free_blocks(struct pool_test *t) {
    int64_t count = 0;
    assert_int_equal(query_number(t->pool.conn, "SELECT COUNT(*) FROM vpn_free_blocks", NULL, 0, &count), 0);
    return (uint64_t)count;
}

static struct tenant_row new_tenant(struct pool_test *t, unsigned number, const char *private_subnet) {
    struct tenant_row row = {.tenant = {.name = "t", .created_at = 1, .updated_at = 1}};
    struct block block;
    memcpy(row.tenant.id.bytes, &number, sizeof number);
    row.tenant.id.bytes[15] = 1;
    assert_int_equal(pool_block_take(&t->pool, POOL_FIRST_SIZE, &block), 0);
    struct ip_addr first = ip_from_v4(block.first);
    row.tenant.subnet = prefix_make(&first, (uint8_t)(32 - __builtin_ctzll(block.size)));
    if (private_subnet) {
        row.tenant.addressing = ADDRESSING_PRIVATE;
        row.tenant.subnet = prefix_of(private_subnet);
        row.next_offset = pool_subnet_start(&row.tenant.subnet);
    }
    assert_int_equal(tenants_insert(t->pool.conn, &row, &columns, &row.id), 0);
    assert_int_equal(pool_block_give_to(&t->pool, row.id, &block), 0);
    if (private_subnet) {
        assert_int_equal(pool_subnet_give_to(&t->pool, &row), 0);
    }
    return row;
}

static void delete_tenant(struct pool_test *t, struct tenant_row *row) {
    assert_int_equal(pool_tenant_free(&t->pool, row->id), 0);
    assert_int_equal(tenants_delete(t->pool.conn, row), 0);
}

static void the_hubs_block_is_never_given(void **state) {
    struct pool_test *t = *state;
    struct block block;
    uint64_t total = 0;
    assert_int_equal(free_size(t), 65536 - 32);
    assert_int_equal(pool_capacity(&(struct prefix){.addr = ip_of("10.0.0.0"), .length = 16}, false), 65536 - 32);
    while (pool_block_take(&t->pool, 32, &block) == 0) {
        assert_true(block.first >= 0x0a000020 && block.first + block.size <= 0x0a010000);
        assert_int_equal(block.first % block.size, 0);
        total += block.size;
    }
    assert_int_equal(total, 65536 - 32);
    assert_int_equal(pool_block_take(&t->pool, 4, &block), -ENOSPC);
}

static void a_tiny_pool_gives_what_it_has(void **state) {
    struct pool_test *t = *state;
    struct block block;
    assert_int_equal(pool_block_take(&t->pool, 32, &block), 0); /* less than asked for */
    assert_int_equal(block.size, 8);
    assert_int_equal(pool_block_take(&t->pool, 32, &block), 0);
    assert_int_equal(block.size, 4);
    assert_int_equal(pool_block_take(&t->pool, 32, &block), -ENOSPC);
}

static void freed_blocks_merge_to_the_whole_pool(void **state) {
    struct pool_test *t = *state;
    uint64_t blocks = free_blocks(t), size = free_size(t);
    struct tenant_row rows[200];
    for (unsigned i = 0; i < 200; i++) {
        rows[i] = new_tenant(t, i, NULL);
    }
    assert_int_equal(free_size(t), size - 200 * 32);
    for (unsigned i = 0; i < 200; i++) {
        delete_tenant(t, &rows[(i * 77) % 200]);
    }
    assert_int_equal(free_size(t), size);
    assert_int_equal(pool_wake_all(&t->pool), 0);
    assert_int_equal(free_size(t), size);
    assert_int_equal(free_blocks(t), blocks);
}

static void a_freed_block_rests_before_another_tenant_gets_it(void **state) {
    struct pool_test *t = *state;
    struct tenant_row first = new_tenant(t, 1, NULL), second = new_tenant(t, 2, NULL);
    struct prefix freed = first.tenant.subnet;
    delete_tenant(t, &first);
    struct tenant_row third = new_tenant(t, 3, NULL);
    assert_false(prefix_equal(&third.tenant.subnet, &freed));
    t->pool.now += POOL_REST_US + 1;
    t->pool.takes = 0; /* as the next transaction's */
    struct tenant_row fourth = new_tenant(t, 4, NULL);
    assert_true(prefix_equal(&fourth.tenant.subnet, &freed));
    (void)second;
}

static void a_resting_block_is_woken_when_nothing_else_is_left(void **state) {
    struct pool_test *t = *state;
    struct tenant_row first = new_tenant(t, 1, NULL);
    struct block block;
    while (pool_block_take(&t->pool, 32, &block) == 0) {
    }
    struct prefix freed = first.tenant.subnet;
    delete_tenant(t, &first);
    struct tenant_row second = new_tenant(t, 2, NULL);
    assert_true(prefix_equal(&second.tenant.subnet, &freed));
}

static void a_wished_block_is_given_or_refused_whole(void **state) {
    struct pool_test *t = *state;
    const struct block wish = {0x0a008000, 0x1000}, part = {0x0a008010, 16}, hubs = {0x0a000000, 32},
                       around = {0x0a000000, 0x8000}, outside = {0x0b000000, 32};
    uint64_t size = free_size(t);
    assert_int_equal(pool_block_take_at(&t->pool, &wish), 0);
    assert_int_equal(free_size(t), size - wish.size);
    assert_int_equal(pool_block_take_at(&t->pool, &wish), -EEXIST);
    assert_int_equal(pool_block_take_at(&t->pool, &part), -EEXIST);
    assert_int_equal(pool_block_take_at(&t->pool, &hubs), -EEXIST);
    assert_int_equal(pool_block_take_at(&t->pool, &around), -EEXIST);
    assert_int_equal(pool_block_take_at(&t->pool, &outside), -EEXIST);
    assert_int_equal(free_size(t), size - wish.size);
}

static void a_wider_pool_adds_the_rest(void **state) {
    struct pool_test *t = *state;
    const struct prefix narrow = prefix_of("10.0.0.0/16"), wide = prefix_of("10.0.0.0/12");
    const struct block far = {0x0a0f0000, 65536};
    assert_int_equal(pool_widen(&t->pool, &narrow, &wide), 0);
    assert_int_equal(free_size(t), (UINT64_C(1) << 20) - 32);
    assert_int_equal(pool_block_take_at(&t->pool, &far), 0);
}

static void network_and_broadcast_are_not_given(void **state) {
    struct pool_test *t = *state;
    struct tenant_row row = new_tenant(t, 1, NULL);
    uint32_t base = ip_to_v4(&row.tenant.subnet.addr);
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_HUB, base), -EEXIST);
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_HUB, base + 31), -EEXIST);
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_HUB, base + 32), -ERANGE);
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_HUB, base + 5), 0);
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_HUB, base + 5), -EEXIST);
    for (uint32_t i = 1; i < 31; i++) {
        uint32_t address = 0;
        if (i != 5) {
            assert_int_equal(pool_address_take(&t->pool, &row, RANGE_HUB, &address), 0);
            assert_int_equal(address, base + i);
        }
    }
}

#define GROWN 65534 /* routers: eleven doublings from its first block */

static void a_tenant_grows_block_by_block_and_shrinks_again(void **state) {
    struct pool_test *t = *state;
    uint64_t size = free_size(t), blocks = free_blocks(t), hub_size = 0;
    struct tenant_row row = new_tenant(t, 1, NULL);
    uint8_t *given = calloc(1, 1 << 18);
    uint32_t *addresses = calloc(GROWN, sizeof *addresses);
    for (uint32_t i = 0; i < GROWN; i++) {
        assert_int_equal(pool_address_take(&t->pool, &row, RANGE_HUB, &addresses[i]), 0);
        uint32_t offset = addresses[i] - 0x0a000000;
        assert_true(offset > 1 && offset < (1 << 18) - 1);
        assert_false(given[offset]);
        given[offset] = 1;
    }
    assert_int_equal(pool_flush(&t->pool), 0);
    assert_int_equal(ranges_hub_size(t->pool.conn, row.id, &hub_size), 0);
    assert_in_range(hub_size, GROWN, 65536 + 64); /* doubling wastes nothing */
    for (uint32_t i = GROWN; i > 0; i--) {
        assert_int_equal(pool_address_free(&t->pool, &row, RANGE_HUB, addresses[i - 1]), 0);
    }
    assert_int_equal(pool_flush(&t->pool), 0);
    assert_int_equal(ranges_hub_size(t->pool.conn, row.id, &hub_size), 0);
    assert_int_equal(hub_size, 32); /* only its first block is left */
    delete_tenant(t, &row);
    assert_int_equal(pool_wake_all(&t->pool), 0);
    assert_int_equal(free_size(t), size);
    assert_int_equal(free_blocks(t), blocks);
    free(given);
    free(addresses);
}

static void a_freed_address_is_the_last_to_be_given_again(void **state) {
    struct pool_test *t = *state;
    struct tenant_row row = new_tenant(t, 1, NULL);
    uint32_t base = ip_to_v4(&row.tenant.subnet.addr), address = 0;
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(pool_address_take(&t->pool, &row, RANGE_HUB, &address), 0);
    }
    assert_int_equal(pool_address_free(&t->pool, &row, RANGE_HUB, base + 3), 0);
    assert_int_equal(pool_address_free(&t->pool, &row, RANGE_HUB, base + 4), 0);
    for (uint32_t i = 11; i < 31; i++) {
        assert_int_equal(pool_address_take(&t->pool, &row, RANGE_HUB, &address), 0);
        assert_int_equal(address, base + i);
    }
    assert_int_equal(pool_address_take(&t->pool, &row, RANGE_HUB, &address), 0);
    assert_int_equal(address, base + 3); /* before the one that was freed last */
    assert_int_equal(pool_address_take(&t->pool, &row, RANGE_HUB, &address), 0);
    assert_int_equal(address, base + 4); /* and that rather than another block */
    assert_int_equal(pool_address_take(&t->pool, &row, RANGE_HUB, &address), 0);
    assert_false(address >= base && address < base + 32);
}

static void a_private_prefix_is_used_up_to_its_last_address(void **state) {
    struct pool_test *t = *state;
    struct tenant_row row = new_tenant(t, 1, "192.168.0.0/22");
    uint8_t given[1024] = {0};
    uint32_t address = 0, wish = 0xc0a80207;
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_OWN, wish), 0);
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_OWN, wish), -EEXIST);
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_OWN, 0xc0a80000), -EEXIST);
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_OWN, 0xc0a803ff), -EEXIST);
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_OWN, 0xc0a80400), -ERANGE);
    given[wish - 0xc0a80000] = 1;
    for (int i = 0; i < 1021; i++) {
        assert_int_equal(pool_address_take(&t->pool, &row, RANGE_OWN, &address), 0);
        assert_false(given[address - 0xc0a80000]);
        given[address - 0xc0a80000] = 1;
    }
    assert_false(given[0] || given[1023]);
    assert_int_equal(pool_address_take(&t->pool, &row, RANGE_OWN, &address), -ENOSPC);
    assert_int_equal(pool_address_free(&t->pool, &row, RANGE_OWN, 0xc0a80105), 0);
    assert_int_equal(pool_address_take(&t->pool, &row, RANGE_OWN, &address), 0);
    assert_int_equal(address, 0xc0a80105);
}

static void a_huge_private_prefix_costs_no_more(void **state) {
    struct pool_test *t = *state;
    struct tenant_row row = new_tenant(t, 1, "20.0.0.0/8");
    uint32_t address = 0;
    int64_t ranges = 0;
    assert_int_equal(pool_address_take_at(&t->pool, &row, RANGE_OWN, 0x14fffffe), 0);
    for (int i = 0; i < 600; i++) { /* more than two stretches have */
        assert_int_equal(pool_address_take(&t->pool, &row, RANGE_OWN, &address), 0);
    }
    assert_int_equal(pool_flush(&t->pool), 0);
    assert_int_equal(
        query_number(t->pool.conn, "SELECT COUNT(*) FROM vpn_address_ranges WHERE space = 1", NULL, 0, &ranges), 0);
    assert_int_equal(ranges, 3);
}

static void what_was_not_given_cannot_be_freed(void **state) {
    struct pool_test *t = *state;
    struct tenant_row row = new_tenant(t, 1, NULL);
    uint32_t base = ip_to_v4(&row.tenant.subnet.addr);
    assert_int_equal(pool_address_free(&t->pool, &row, RANGE_HUB, base + 1), -EBADMSG);
    assert_int_equal(pool_address_free(&t->pool, &row, RANGE_HUB, base + 100), -EBADMSG);
}

static uint32_t dice_state;

static uint32_t dice(uint32_t below) {
    dice_state = dice_state * 1664525 + 1013904223;
    return (dice_state >> 8) % below;
}

#define TENANTS 12
#define OWNED 3000

/* Random tenants come, grow, shrink and go; a byte an address says who has it. */
static void random_use_never_gives_an_address_twice(void **state) {
    struct pool_test *t = *state;
    uint64_t size = free_size(t), blocks = free_blocks(t);
    uint8_t *owner = calloc(1, 1 << 16);
    struct {
        struct tenant_row row;
        bool alive;
        uint32_t *addresses, count;
    } tenants[TENANTS] = {0};
    dice_state = 7;
    for (unsigned i = 0; i < TENANTS; i++) {
        tenants[i].addresses = calloc(OWNED, sizeof(uint32_t));
    }
    for (unsigned step = 0; step < 40000; step++) {
        unsigned i = dice(TENANTS);
        t->pool.now += dice(1000000);
        if (!tenants[i].alive) {
            tenants[i].row = new_tenant(t, step + 1, NULL);
            tenants[i].alive = true;
            tenants[i].count = 0;
        } else if (dice(1000) == 0) {
            for (uint32_t a = 0; a < tenants[i].count; a++) {
                owner[tenants[i].addresses[a] - 0x0a000000] = 0;
            }
            delete_tenant(t, &tenants[i].row);
            tenants[i].alive = false;
        } else if (dice(100) < 60 && tenants[i].count < OWNED) {
            uint32_t address;
            assert_int_equal(pool_address_take(&t->pool, &tenants[i].row, RANGE_HUB, &address), 0);
            assert_true(address > 0x0a000001 && address < 0x0a00ffff);
            assert_int_equal(owner[address - 0x0a000000], 0);
            owner[address - 0x0a000000] = (uint8_t)(i + 1);
            tenants[i].addresses[tenants[i].count++] = address;
        } else if (tenants[i].count) {
            uint32_t at = dice(tenants[i].count), address = tenants[i].addresses[at];
            assert_int_equal(pool_address_free(&t->pool, &tenants[i].row, RANGE_HUB, address), 0);
            owner[address - 0x0a000000] = 0;
            tenants[i].addresses[at] = tenants[i].addresses[--tenants[i].count];
        }
        if (dice(50) == 0) {
            assert_int_equal(pool_flush(&t->pool), 0);
            pool_forget(&t->pool); /* as the next transaction would */
        }
    }
    for (unsigned i = 0; i < TENANTS; i++) {
        if (tenants[i].alive) {
            delete_tenant(t, &tenants[i].row);
        }
        free(tenants[i].addresses);
    }
    assert_int_equal(pool_wake_all(&t->pool), 0);
    assert_int_equal(free_size(t), size);
    assert_int_equal(free_blocks(t), blocks);
    free(owner);
}

static void a_hundred_thousand_tenants_fit(void **state) {
    struct pool_test *t = *state;
    struct block block;
    for (unsigned i = 0; i < 100000; i++) {
        assert_int_equal(pool_block_take(&t->pool, POOL_FIRST_SIZE, &block), 0);
        assert_int_equal(block.size, 32);
        assert_int_equal(block.first, 0x0a000020 + i * 32);
    }
}

int main(void) {
#define WITH_POOL(test, length) cmocka_unit_test_setup_teardown(test, setup_##length, teardown)
    const struct CMUnitTest tests[] = {
        WITH_POOL(the_hubs_block_is_never_given, 16),
        WITH_POOL(a_tiny_pool_gives_what_it_has, 28),
        WITH_POOL(freed_blocks_merge_to_the_whole_pool, 16),
        WITH_POOL(a_freed_block_rests_before_another_tenant_gets_it, 16),
        WITH_POOL(a_resting_block_is_woken_when_nothing_else_is_left, 16),
        WITH_POOL(a_wished_block_is_given_or_refused_whole, 16),
        WITH_POOL(a_wider_pool_adds_the_rest, 16),
        WITH_POOL(network_and_broadcast_are_not_given, 16),
        WITH_POOL(a_tenant_grows_block_by_block_and_shrinks_again, 14),
        WITH_POOL(a_freed_address_is_the_last_to_be_given_again, 16),
        WITH_POOL(a_private_prefix_is_used_up_to_its_last_address, 16),
        WITH_POOL(a_huge_private_prefix_costs_no_more, 16),
        WITH_POOL(what_was_not_given_cannot_be_freed, 16),
        WITH_POOL(random_use_never_gives_an_address_twice, 16),
        WITH_POOL(a_hundred_thousand_tenants_fit, 8),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
