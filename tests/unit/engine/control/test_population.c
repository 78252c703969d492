/* A million peers that come, go, move and take each other's addresses at random, against a model of plain arrays: the
 * control thread's population, the directory, the workers' tables and tries, all as in the engine, on real workers
 * without a TUN and without sockets. Under sanitizers a tenth of them. */
#include "bare_engine.h"
#include "dice.h"

#include <errno.h>
#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "engine/control/control.h"
#include "engine/path/peer.h"
#include "engine/path/space.h"
#include "engine/path/worker.h"
#include "engine/table/trie.h"
#include "wire/aead.h"

#include "../../sanitized.h"

#define PEERS (SANITIZED ? 100000U : 1000000U)
#define STEPS (PEERS / 8)
#define TENANTS (PEERS / 500)
#define WORKERS 3
#define TENANT_ADDRESSES 1024U
#define HUB_ADDRESSES                                                                                                  \
    (TENANTS * TENANT_ADDRESSES) /* the blocks of unique tenants; plain peers take from all of them                    \
                                  */
#define OWNED_MAX 4
#define NOBODY UINT32_MAX
#define IDLE_PEER_BYTES 512 /* everything included: what the project promises */

struct member {
    bool there;
    uint32_t tenant; /* 0: none; odd ones are private, even ones unique */
    uint32_t owned_count;
    uint32_t owned[OWNED_MAX]; /* numbers: of a tenant's addresses, or of the hub's */
};

struct model {
    struct engine *engine;
    struct dice dice;
    struct member *members;
    uint32_t *hub_owners;    /* to whom the hub sends; by address number */
    uint32_t *inside_owners; /* to whom the tenant sends; by tenant and address number */
    bool *tenant_there;
    uint32_t count;
};

/* --- names --- */

static struct engine_caller caller;

static struct key key_of(uint32_t i) {
    struct key key;
    struct dice dice = {.state = UINT64_C(0x5a11) << 32 | i};
    for (size_t at = 0; at < sizeof key.bytes; at += sizeof(uint64_t)) {
        uint64_t bytes = dice_u64(&dice);
        memcpy(key.bytes + at, &bytes, sizeof bytes);
    }
    memcpy(key.bytes + sizeof key.bytes - sizeof i, &i, sizeof i);
    return key;
}

static uint32_t index_of(const struct key *key) {
    uint32_t i;
    memcpy(&i, key->bytes + sizeof key->bytes - sizeof i, sizeof i);
    return i;
}

static struct uuid tenant_id(uint32_t tenant) {
    struct uuid id = {0};
    be32_put(id.bytes, tenant);
    return id;
}

static bool is_private(uint32_t tenant) {
    return tenant % 2 == 1;
}

/* Of sixteen numbers thirteen are IPv4 hosts, one an IPv6 host, one an IPv6 /64, one an IPv4 /28. */
static struct prefix prefix_of(uint32_t number) {
    struct ip_addr addr = ip_from_v4(10U << 24 | number);
    if (number % 16 == 15) {
        addr = ip_from_v4(160U << 24 | number / 16 * 16);
        return prefix_make(&addr, 28);
    }
    if (number % 16 == 7 || number % 16 == 3) {
        addr = (struct ip_addr){.family = AF_INET6, .bytes = {0xfd}};
        be32_put(addr.bytes + 4, number);
        return prefix_make(&addr, number % 16 == 7 ? 64 : 128);
    }
    return prefix_make(&addr, 32);
}

static struct ip_addr within(const struct prefix *prefix, struct dice *dice) {
    struct ip_addr addr = prefix->addr;
    if (prefix->length == 28) {
        addr.bytes[3] |= (uint8_t)dice_below(dice, 16);
    } else if (prefix->length == 64) {
        dice_fill(dice, addr.bytes + 8, 8);
    }
    return addr;
}

static struct ip_addr hub_address_of(uint32_t i) {
    return ip_from_v4((100U << 24 | 64U << 16) + i);
}

static uint32_t hub_number(uint32_t tenant, uint32_t number) {
    return tenant * TENANT_ADDRESSES + number; /* of a plain peer they are the same */
}

static struct prefix prefix_in(uint32_t tenant, uint32_t number) {
    return prefix_of(is_private(tenant) ? number : hub_number(tenant, number));
}

static uint32_t *inside_owner(struct model *m, uint32_t tenant, uint32_t number) {
    return &m->inside_owners[hub_number(tenant, number)];
}

static uint32_t any_number(struct model *m, uint32_t tenant) {
    return dice_below(&m->dice, tenant ? TENANT_ADDRESSES : HUB_ADDRESSES);
}

/* --- the model --- */

static void disown(struct member *member, uint32_t number) {
    for (uint32_t k = 0; k < member->owned_count; k++) {
        if (member->owned[k] == number) {
            member->owned[k] = member->owned[--member->owned_count];
            return;
        }
    }
}

static bool owns(const struct member *member, uint32_t number) {
    bool found = false;
    for (uint32_t k = 0; k < member->owned_count; k++) {
        found |= member->owned[k] == number;
    }
    return found;
}

/* Another took it, and the hub sends there: gone altogether. */
static void rob(struct model *m, uint32_t i, uint32_t hub_address) {
    struct member *member = &m->members[i];
    uint32_t number = member->tenant ? hub_address - hub_number(member->tenant, 0) : hub_address;
    if (member->tenant && *inside_owner(m, member->tenant, number) == i) {
        *inside_owner(m, member->tenant, number) = NOBODY;
    }
    disown(member, number);
}

/* Within a tenant a prefix has one owner. Where the hub's space is shared, who took it last is its only one. */
static void claim(struct model *m, uint32_t i, uint32_t number) {
    struct member *member = &m->members[i];
    if (!owns(member, number)) {
        member->owned[member->owned_count++] = number;
    }
    if (member->tenant) {
        uint32_t *who = inside_owner(m, member->tenant, number);
        if (*who != NOBODY && *who != i) {
            disown(&m->members[*who], number);
        }
        *who = i;
    }
    if (!is_private(member->tenant)) {
        uint32_t *who = &m->hub_owners[hub_number(member->tenant, number)];
        if (*who != NOBODY && *who != i) {
            rob(m, *who, hub_number(member->tenant, number));
        }
        *who = i;
    }
}

static void release(struct model *m, uint32_t i, uint32_t number) {
    struct member *member = &m->members[i];
    if (member->tenant) {
        *inside_owner(m, member->tenant, number) = NOBODY;
    }
    uint32_t *who = &m->hub_owners[hub_number(member->tenant, number)];
    if (!is_private(member->tenant) && *who == i) {
        *who = NOBODY;
    }
    disown(member, number);
}

static void release_all(struct model *m, uint32_t i) {
    struct member *member = &m->members[i];
    while (member->owned_count > 0) {
        release(m, i, member->owned[0]);
    }
}

/* --- what happens, to both --- */

static void apply(struct model *m, struct engine_peer_change *change) {
    assert_int_equal(engine_peer_change(m->engine, &caller, change), 0);
}

static void flush(struct model *m) {
    assert_int_equal(engine_flush(m->engine, &caller), 0);
}

static void make_tenant(struct model *m, uint32_t tenant) {
    const struct engine_tenant made = {
        .id = tenant_id(tenant),
        .addressing = is_private(tenant) ? ADDRESSING_PRIVATE : ADDRESSING_UNIQUE,
    };
    assert_int_equal(engine_tenant_set(m->engine, &caller, &made), 0);
    m->tenant_there[tenant] = true;
}

/* Comes, or moves, to a tenant, with one or two prefixes. */
static void join(struct model *m, uint32_t i) {
    struct member *member = &m->members[i];
    uint32_t tenant = dice_chance(&m->dice, 20) ? 0 : dice_below(&m->dice, TENANTS);
    tenant = m->tenant_there[tenant] ? tenant : 0;
    release_all(m, i);
    m->count += !member->there;
    member->there = true;
    member->tenant = tenant;
    uint32_t numbers[2] = {tenant ? any_number(m, tenant) : i, any_number(m, tenant)};
    size_t count = dice_chance(&m->dice, 10) ? 2 : 1;
    struct engine_allowed_ip allowed[2];
    const struct uuid none = {0};
    for (size_t k = 0; k < count; k++) {
        allowed[k] = (struct engine_allowed_ip){.prefix = prefix_in(tenant, numbers[k])};
        claim(m, i, numbers[k]);
    }
    const struct ip_addr hub = hub_address_of(i);
    struct engine_peer_change change = {
        .public_key = key_of(i),
        .has_tenant = true,
        .tenant = tenant ? tenant_id(tenant) : none,
        .replace_allowed_ips = true,
        .allowed_ips = allowed,
        .allowed_ip_count = count,
        .has_hub_addresses = true,
        .hub_address_count = is_private(tenant) ? 1 : 0,
    };
    const struct ip_addr first = prefix_in(tenant, numbers[0]).addr;
    change.hub_addresses[0] = (struct engine_hub_address){.hub = hub, .inside = first.family == AF_INET ? first : hub};
    apply(m, &change);
}

static void leave(struct model *m, uint32_t i) {
    struct engine_peer_change change = {.public_key = key_of(i), .remove = true};
    apply(m, &change);
    release_all(m, i);
    m->count -= m->members[i].there;
    m->members[i].there = false;
}

/* Takes one more, maybe another's; or gives one up. */
static void trade(struct model *m, uint32_t i) {
    struct member *member = &m->members[i];
    bool give = member->owned_count > 0 && (member->owned_count == OWNED_MAX || dice_chance(&m->dice, 30));
    uint32_t number = give ? member->owned[dice_below(&m->dice, member->owned_count)] : any_number(m, member->tenant);
    const struct engine_allowed_ip allowed = {.prefix = prefix_in(member->tenant, number), .remove = give};
    struct engine_peer_change change = {
        .public_key = key_of(i), .update_only = true, .allowed_ips = &allowed, .allowed_ip_count = 1};
    apply(m, &change);
    if (!member->there) {
        return;
    }
    if (give) {
        release(m, i, number);
    } else {
        claim(m, i, number);
    }
}

static void remove_tenant(struct model *m, uint32_t tenant) {
    const struct uuid id = tenant_id(tenant);
    assert_int_equal(engine_tenant_remove(m->engine, &id), 0);
    m->tenant_there[tenant] = false;
    for (uint32_t i = 0; i < PEERS && m->count > 0; i++) {
        if (m->members[i].there && m->members[i].tenant == tenant) {
            release_all(m, i);
            m->members[i].there = false;
            m->count--;
        }
    }
}

/* --- comparing; between two changes the workers are at rest --- */

static void check_member(struct model *m, uint32_t i) {
    const struct member *member = &m->members[i];
    const struct key key = key_of(i);
    const struct ip_addr hub = hub_address_of(i);
    int worker = directory_worker_of_key(m->engine->directory, &key);
    uint32_t route = directory_route(m->engine->directory, &hub);
    if (!member->there) {
        assert_int_equal(worker, -ENOENT);
        assert_int_equal(route, 0);
        return;
    }
    assert_in_range(worker, 0, WORKERS - 1);
    const struct peer *peer = peer_find(m->engine->workers[worker], &key);
    assert_non_null(peer);
    assert_ptr_equal(peer_at(m->engine->workers[worker], peer->slot), peer);
    assert_int_equal(peer->allowed.count, member->owned_count);
    assert_int_equal(peer->space != NULL, member->tenant != 0);
    if (peer->space) {
        const struct uuid id = tenant_id(member->tenant);
        assert_true(uuid_equal(&peer->space->tenant.id, &id));
    }
    assert_int_equal(route, is_private(member->tenant) ? directory_id((unsigned)worker, peer->slot) : 0);
}

static void check_owner(const struct peer *peer, uint32_t who) {
    if (who == NOBODY) {
        assert_null(peer);
        return;
    }
    const struct key key = key_of(who);
    assert_non_null(peer);
    assert_true(key_equal(&peer->remote.public_key, &key));
}

static void check_inside(struct model *m, uint32_t tenant, uint32_t number, const struct ip_addr *addr) {
    const struct uuid uuid = tenant_id(tenant);
    const struct control_tenant *known = control_find_tenant(m->engine, &uuid);
    assert_non_null(known);
    const struct worker *worker = m->engine->workers[known->worker];
    uint32_t slot = trie_lookup(worker->tables.tries, &space_at(worker, known->slot)->trie, addr);
    check_owner(slot ? peer_at(worker, slot) : NULL, *inside_owner(m, tenant, number));
}

static void check_address(struct model *m, uint32_t tenant, uint32_t number) {
    const struct prefix prefix = prefix_in(tenant, number);
    const struct ip_addr addr = within(&prefix, &m->dice);
    if (tenant) {
        check_inside(m, tenant, number, &addr);
    }
    if (!is_private(tenant)) {
        uint32_t id = directory_route(m->engine->directory, &addr);
        check_owner(id ? peer_at(m->engine->workers[directory_id_worker(id)], directory_id_slot(id)) : NULL,
                    m->hub_owners[hub_number(tenant, number)]);
    }
}

static void end_growth(struct worker *worker, void *argument) {
    (void)argument;
    while (table_migrate(&worker->tables.keys)) {
    }
}

/* The model looks into the tables of workers that run: none of them moves anything meanwhile. */
static void quiet(struct model *m) {
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_call(m->engine->workers[i], end_growth, NULL);
    }
}

static void check_some(struct model *m, int times) {
    quiet(m);
    for (int k = 0; k < times; k++) {
        uint32_t i = dice_below(&m->dice, PEERS);
        uint32_t tenant = dice_below(&m->dice, TENANTS);
        check_member(m, i);
        for (uint32_t n = 0; n < m->members[i].owned_count; n++) {
            check_address(m, m->members[i].tenant, m->members[i].owned[n]);
        }
        tenant = m->tenant_there[tenant] ? tenant : 0;
        check_address(m, tenant, any_number(m, tenant));
    }
}

static void check_all(struct model *m) {
    quiet(m);
    assert_int_equal(directory_key_count(m->engine->directory), m->count);
    for (uint32_t i = 0; i < PEERS; i++) {
        check_member(m, i);
        for (uint32_t n = 0; n < m->members[i].owned_count; n++) {
            check_address(m, m->members[i].tenant, m->members[i].owned[n]);
        }
    }
}

struct listing {
    struct model *model;
    bool *seen;
    uint32_t count;
};

static int see(void *context, const struct engine_peer *peer) {
    struct listing *listing = context;
    uint32_t i = index_of(&peer->public_key);
    assert_in_range(i, 0, PEERS - 1);
    assert_true(listing->model->members[i].there);
    assert_false(listing->seen[i]);
    assert_int_equal(peer->allowed_ip_count, listing->model->members[i].owned_count);
    listing->seen[i] = true;
    listing->count++;
    return 0;
}

static void check_listing(struct model *m) {
    struct listing listing = {.model = m, .seen = calloc(PEERS, sizeof *listing.seen)};
    struct engine_walk walk = {0};
    int more;
    do {
        more = engine_walk_peers(m->engine, &walk, 0, see, &listing);
    } while (more == 1);
    assert_int_equal(more, 0);
    assert_int_equal(listing.count, m->count);
    free(listing.seen);
}

/* --- the test --- */

/* In use by the whole process; not known under sanitizers, which have an allocator of their own. */
static size_t memory_in_use(void) {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static double seconds_since(uint64_t began) {
    return (double)(clock_mono_ns() - began) / (double)NSEC_PER_SEC;
}

static uint32_t *shuffled(struct dice *dice) {
    uint32_t *order = calloc(PEERS, sizeof *order);
    for (uint32_t i = 0; i < PEERS; i++) {
        uint32_t j = dice_below(dice, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

static void churn(struct model *m) {
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t i = dice_below(&m->dice, PEERS);
        uint32_t what = dice_below(&m->dice, 100);
        if (what < 40) {
            trade(m, i);
        } else if (what < 70) {
            leave(m, i);
        } else {
            join(m, i);
        }
        if (dice_chance(&m->dice, 5)) {
            flush(m);
            check_some(m, 2);
        }
    }
    flush(m);
}

static void a_million_come_and_go_like_the_model(void **state) {
    (void)state;
    struct model m = {
        .dice = {.state = 1},
        .members = calloc(PEERS, sizeof *m.members),
        .hub_owners = malloc(HUB_ADDRESSES * sizeof *m.hub_owners),
        .inside_owners = malloc(HUB_ADDRESSES * sizeof *m.inside_owners),
        .tenant_there = calloc(TENANTS, sizeof *m.tenant_there),
    };
    uint32_t *order = shuffled(&m.dice);
    memset(m.hub_owners, 0xff, HUB_ADDRESSES * sizeof *m.hub_owners);
    memset(m.inside_owners, 0xff, HUB_ADDRESSES * sizeof *m.inside_owners);
    m.engine = bare_engine(WORKERS);
    size_t empty = memory_in_use();

    uint64_t began = clock_mono_ns();
    for (uint32_t tenant = 1; tenant < TENANTS; tenant++) {
        make_tenant(&m, tenant);
    }
    for (uint32_t i = 0; i < PEERS; i++) {
        join(&m, order[i]);
    }
    flush(&m);
    double loading = seconds_since(began);
    size_t full = memory_in_use() - empty;
    check_all(&m);

    churn(&m);
    for (int n = 0; n < 5; n++) {
        uint32_t tenant = 1 + dice_below(&m.dice, TENANTS - 1);
        if (m.tenant_there[tenant]) {
            remove_tenant(&m, tenant);
        }
    }
    flush(&m);
    check_all(&m);
    check_listing(&m);
    size_t churned = memory_in_use() - empty;

    began = clock_mono_ns();
    for (uint32_t i = 0; i < PEERS; i++) {
        leave(&m, order[i]);
        if (i % 1000 == 0) {
            flush(&m);
            check_some(&m, 2);
        }
    }
    flush(&m);
    double removing = seconds_since(began);
    assert_int_equal(m.count, 0);
    assert_int_equal(directory_key_count(m.engine->directory), 0);
    check_some(&m, 10000);
    for (uint32_t tenant = 1; tenant < TENANTS; tenant++) {
        if (m.tenant_there[tenant]) {
            remove_tenant(&m, tenant);
        }
    }
    flush(&m);
    assert_int_equal(directory_route_count(m.engine->directory), 0);
    assert_int_equal(m.engine->tenant_count, 0);
    size_t left = memory_in_use() - empty;

    printf("# %u peers: loaded in %.1f s, removed in %.1f s; %zu bytes each, %zu after churn; %zu left of each\n",
           PEERS, loading, removing, full / PEERS, churned / PEERS, left / PEERS);
    if (!SANITIZED) {
        assert_in_range(full / PEERS, 1, IDLE_PEER_BYTES);
        assert_in_range(churned / PEERS, 1, IDLE_PEER_BYTES);
        /* Slots, and nodes of tries, are kept for those who come next: never more than the largest crowd had. */
        assert_in_range(left, 0, full / 4);
    }
    engine_free(m.engine);
    free(order);
    free(m.members);
    free(m.hub_owners);
    free(m.inside_owners);
    free(m.tenant_there);
}

int main(void) {
    mallopt(M_ARENA_MAX, 1); /* mallinfo2() knows the first one only */
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_million_come_and_go_like_the_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
