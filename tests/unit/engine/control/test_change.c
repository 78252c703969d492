/* What changes do to a worker's peers and tenants, and what follows from them for the hub's routes. */
#include "rig.h"

#include "base/bytes.h"
#include "engine/control/snapshot.h"

#include <errno.h>

static int setup(void **state) {
    struct rig *rig = calloc(1, sizeof *rig);
    const struct limits none = {0};
    rig_open(rig, 1);
    rig_tenant(rig, 0, 1, ADDRESSING_PRIVATE, false, none);
    rig_tenant(rig, 0, 2, ADDRESSING_UNIQUE, false, none);
    *state = rig;
    return 0;
}

static int teardown(void **state) {
    rig_close(*state);
    free(*state);
    return 0;
}

static uint32_t hub_route(const struct rig *rig, const char *text) {
    struct ip_addr addr = rig_ip(text);
    return directory_route(rig->directory, &addr);
}

static bool trie_is_empty(const struct trie *trie) {
    return trie->roots[0] == 0 && trie->roots[1] == 0;
}

static uint32_t inside_route(const struct rig *rig, uint32_t tenant, const char *text) {
    struct ip_addr addr = rig_ip(text);
    return trie_lookup(rig->workers[0]->tables.tries, &space_at(rig->workers[0], tenant)->trie, &addr);
}

/* A change of an existing peer. */
static struct change change_of(const struct peer *peer) {
    struct change change = {.kind = CHANGE_PEER};
    change.peer.public_key = peer->remote.public_key;
    return change;
}

static void the_hub_knows_what_is_unique(void **state) {
    struct rig *rig = *state;
    rig_peer(rig, 0, 1, 1, (const char *[]){"10.100.0.0/24", NULL}, "10.200.0.1=10.100.0.1");
    rig_peer(rig, 0, 2, 2, (const char *[]){"10.101.0.0/24", NULL}, NULL);
    rig_peer(rig, 0, 3, 0, (const char *[]){"10.102.0.0/24", NULL}, NULL);
    assert_int_equal(hub_route(rig, "10.100.0.1"), 0);
    assert_int_equal(hub_route(rig, "10.200.0.1"), directory_id(0, 1));
    assert_int_equal(hub_route(rig, "10.101.0.1"), directory_id(0, 2));
    assert_int_equal(hub_route(rig, "10.102.0.1"), directory_id(0, 3));
    assert_int_equal(inside_route(rig, 1, "10.100.0.1"), 1);
    assert_int_equal(inside_route(rig, 1, "10.101.0.1"), 0);
    assert_int_equal(inside_route(rig, 2, "10.101.0.1"), 2);
}

static void a_removed_peer_leaves_nothing(void **state) {
    struct rig *rig = *state;
    struct peer *peers[] = {
        rig_peer(rig, 0, 1, 1, (const char *[]){"10.100.0.0/24", "fd00::/64", NULL}, "10.200.0.1=10.100.0.1"),
        rig_peer(rig, 0, 2, 2, (const char *[]){"10.101.0.0/24", NULL}, NULL),
        rig_peer(rig, 0, 3, 0, (const char *[]){"10.102.0.0/24", "10.103.0.0/24", NULL}, NULL),
    };
    for (size_t i = 0; i < COUNT(peers); i++) {
        struct change change = change_of(peers[i]);
        change.peer.remove = true;
        assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), 0);
        assert_null(peer_find(rig->workers[0], &change.peer.public_key));
        assert_null(peer_at(rig->workers[0], (uint32_t)i + 1));
    }
    assert_int_equal(directory_route_count(rig->directory), 0);
    assert_true(trie_is_empty(&space_at(rig->workers[0], 1)->trie));
    assert_true(trie_is_empty(&space_at(rig->workers[0], 2)->trie));
    assert_int_equal(space_at(rig->workers[0], 1)->peer_count, 0);
    assert_int_equal(table_count(&rig->workers[0]->tables.keys), 0);
}

static void where_a_peer_last_was_counts_until_it_is_heard(void **state) {
    struct rig *rig = *state;
    struct peer *peer = rig_peer(rig, 0, 1, 0, (const char *[]){"10.102.0.0/24", NULL}, NULL);
    struct change change = change_of(peer);
    const union endpoint heard = peer->endpoint;
    change.peer.has_endpoint = true;
    change.peer.endpoint_if_unknown = true;
    assert_int_equal(endpoint_parse("192.0.2.9:4000", &change.peer.endpoint), 0);
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), 0);
    assert_true(endpoint_equal(&peer->endpoint, &heard));
    peer->endpoint.sa.sa_family = AF_UNSPEC;
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), 0);
    assert_true(endpoint_equal(&peer->endpoint, &change.peer.endpoint));
}

static void a_prefix_moves_between_peers_of_a_tenant(void **state) {
    struct rig *rig = *state;
    struct peer *first = rig_peer(rig, 0, 1, 2, (const char *[]){"10.101.0.0/24", "10.101.1.0/24", NULL}, NULL);
    struct peer *second = rig_peer(rig, 0, 2, 2, (const char *[]){"10.101.0.0/24", NULL}, NULL);
    assert_int_equal(first->allowed.count, 1);
    assert_int_equal(second->allowed.count, 1);
    assert_int_equal(hub_route(rig, "10.101.0.1"), directory_id(0, 2));
    assert_int_equal(inside_route(rig, 2, "10.101.0.1"), 2);
    /* Its former owner cannot take it away from the new one. */
    const struct engine_allowed_ip gone = {.prefix = rig_prefix("10.101.0.0/24"), .remove = true};
    struct change change = change_of(first);
    assert_int_equal(rig_apply(rig, 0, &change, &gone, 1), 0);
    assert_int_equal(inside_route(rig, 2, "10.101.0.1"), 2);
    change = change_of(second);
    assert_int_equal(rig_apply(rig, 0, &change, &gone, 1), 0);
    assert_int_equal(inside_route(rig, 2, "10.101.0.1"), 0);
    assert_int_equal(hub_route(rig, "10.101.0.1"), 0);
}

static void tenants_do_not_take_from_each_other(void **state) {
    struct rig *rig = *state;
    const struct limits none = {0};
    rig_tenant(rig, 0, 3, ADDRESSING_PRIVATE, false, none);
    struct peer *first = rig_peer(rig, 0, 1, 1, (const char *[]){"10.100.0.0/24", NULL}, NULL);
    rig_peer(rig, 0, 2, 3, (const char *[]){"10.100.0.0/24", NULL}, NULL);
    assert_int_equal(first->allowed.count, 1);
    assert_int_equal(inside_route(rig, 1, "10.100.0.1"), 1);
    assert_int_equal(inside_route(rig, 3, "10.100.0.1"), 2);
}

static void replacing_forgets_the_old_ones(void **state) {
    struct rig *rig = *state;
    struct peer *peer = rig_peer(rig, 0, 1, 0, (const char *[]){"10.1.0.0/16", "10.2.0.0/16", NULL}, NULL);
    const struct engine_allowed_ip list[] = {{.prefix = rig_prefix("10.2.0.0/16")},
                                             {.prefix = rig_prefix("10.3.0.0/16")}};
    struct change change = change_of(peer);
    change.peer.replace_allowed_ips = true;
    assert_int_equal(rig_apply(rig, 0, &change, list, 2), 0);
    assert_int_equal(hub_route(rig, "10.1.0.1"), 0);
    assert_int_equal(hub_route(rig, "10.2.0.1"), directory_id(0, 1));
    assert_int_equal(hub_route(rig, "10.3.0.1"), directory_id(0, 1));
    assert_int_equal(peer->allowed.count, 2);
}

static void another_tenant_means_another_space(void **state) {
    struct rig *rig = *state;
    struct peer *peer = rig_peer(rig, 0, 1, 1, (const char *[]){"10.100.0.0/24", NULL}, "10.200.0.1=10.100.0.1");
    assert_int_equal(peer_make_state(rig->workers[0], peer), 0);
    struct change change = change_of(peer);
    change.peer.has_tenant = true;
    change.tenant_slot = 2;
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), 0);
    assert_int_equal(peer->allowed.count, 0);
    assert_int_equal(peer->hub_address_count, 0);
    assert_null(peer->state);
    assert_ptr_equal(peer->space, space_at(rig->workers[0], 2));
    assert_int_equal(directory_route_count(rig->directory), 0);
    assert_true(trie_is_empty(&space_at(rig->workers[0], 1)->trie));
    /* To the same one again: nothing is dropped. */
    const struct engine_allowed_ip list = {.prefix = rig_prefix("10.101.0.0/24")};
    assert_int_equal(rig_apply(rig, 0, &change, &list, 1), 0);
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), 0);
    assert_int_equal(peer->allowed.count, 1);
}

static void only_private_tenants_translate(void **state) {
    struct rig *rig = *state;
    struct change change = change_of(rig_peer(rig, 0, 1, 2, (const char *[]){NULL}, NULL));
    change.peer.has_hub_addresses = true;
    change.peer.hub_address_count = 1;
    change.peer.hub_addresses[0] =
        (struct engine_hub_address){.hub = rig_ip("10.200.0.1"), .inside = rig_ip("10.100.0.1")};
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), -EINVAL);
    change.peer.hub_addresses[0].inside = rig_ip("10.200.0.1");
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), 0);
    change.peer.has_tenant = true;
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), -EINVAL); /* of no tenant */
}

static void hub_addresses_are_replaced(void **state) {
    struct rig *rig = *state;
    struct change change =
        change_of(rig_peer(rig, 0, 1, 1, (const char *[]){"10.100.0.1/32", NULL}, "10.200.0.1=10.100.0.1"));
    change.peer.has_hub_addresses = true;
    change.peer.hub_address_count = 1;
    change.peer.hub_addresses[0] =
        (struct engine_hub_address){.hub = rig_ip("10.200.0.9"), .inside = rig_ip("10.100.0.1")};
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), 0);
    assert_int_equal(hub_route(rig, "10.200.0.1"), 0);
    assert_int_equal(hub_route(rig, "10.200.0.9"), directory_id(0, 1));
}

static void a_timestamp_only_ever_rises(void **state) {
    struct rig *rig = *state;
    struct peer *peer = rig_peer(rig, 0, 1, 0, (const char *[]){NULL}, NULL);
    struct change change = change_of(peer);
    change.peer.has_timestamp = true;
    memset(change.peer.timestamp, 5, sizeof change.peer.timestamp);
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), 0);
    assert_int_equal(peer->remote.latest_timestamp[0], 5);
    memset(change.peer.timestamp, 4, sizeof change.peer.timestamp);
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), 0);
    assert_int_equal(peer->remote.latest_timestamp[0], 5);
}

static void a_timestamp_that_is_reset_begins_anew(void **state) {
    struct rig *rig = *state;
    struct peer *peer = rig_peer(rig, 0, 1, 0, (const char *[]){NULL}, NULL);
    struct change change = change_of(peer);
    memset(peer->remote.latest_timestamp, 9, MESSAGE_TIMESTAMP_SIZE);
    peer->clock_behind_s = 77;
    change.peer.reset_timestamp = true;
    change.peer.has_timestamp = true;
    memset(change.peer.timestamp, 4, sizeof change.peer.timestamp);
    assert_int_equal(rig_apply(rig, 0, &change, NULL, 0), 0);
    assert_int_equal(peer->remote.latest_timestamp[0], 4);
    assert_int_equal(peer->clock_behind_s, 0);
}

/* One that our own clock does not vouch for must not be kept: it would lock the router out for good. */
static void a_timestamp_from_the_future_is_not_shown(void **state) {
    struct rig *rig = *state;
    struct peer *peer = rig_peer(rig, 0, 1, 0, (const char *[]){NULL}, NULL);
    static const int64_t ahead_s[] = {-1000000, 0, 3500, 3700, 2000000000, INT64_C(1) << 62};
    static const uint8_t nothing[MESSAGE_TIMESTAMP_SIZE];
    for (size_t i = 0; i < COUNT(ahead_s); i++) {
        struct snapshot *snapshot;
        assert_int_equal(snapshot_create(&snapshot), 0);
        noise_timestamp(clock_wall_ns(), peer->remote.latest_timestamp);
        be64_put(peer->remote.latest_timestamp, be64_get(peer->remote.latest_timestamp) + (uint64_t)ahead_s[i]);
        snapshot_take_peers(rig->workers[0], snapshot);
        assert_int_equal(snapshot->count, 1);
        assert_memory_equal(snapshot->peers[0].timestamp, ahead_s[i] < 3600 ? peer->remote.latest_timestamp : nothing,
                            MESSAGE_TIMESTAMP_SIZE);
        snapshot_free(snapshot);
    }
}

static void a_tenant_with_peers_keeps_its_addressing(void **state) {
    struct rig *rig = *state;
    struct space *space = space_at(rig->workers[0], 1);
    struct engine_tenant tenant = space->tenant;
    tenant.addressing = ADDRESSING_UNIQUE;
    assert_int_equal(space_set(space, &tenant, RIG_START_NS), 0);
    rig_peer(rig, 0, 1, 1, (const char *[]){NULL}, NULL);
    tenant.addressing = ADDRESSING_PRIVATE;
    assert_int_equal(space_set(space, &tenant, RIG_START_NS), -EBUSY);
}

/* Against a plain array: who owns each of 256 prefixes of a tenant. */
static void random_changes_agree_with_a_naive_model(void **state) {
    struct rig *rig = *state;
    struct dice dice = {.state = 1};
    uint32_t owners[256] = {0};
    struct peer *peers[9] = {NULL};
    for (uint32_t slot = 1; slot < 9; slot++) {
        peers[slot] = rig_peer(rig, 0, slot, 2, (const char *[]){NULL}, NULL);
    }
    for (int step = 0; step < 3000; step++) {
        uint32_t slot = 1 + dice_below(&dice, 8);
        struct change change = change_of(peers[slot]);
        struct engine_allowed_ip list[4];
        change.peer.replace_allowed_ips = dice_chance(&dice, 3);
        for (size_t i = 0; change.peer.replace_allowed_ips && i < COUNT(owners); i++) {
            owners[i] = owners[i] == slot ? 0 : owners[i];
        }
        for (size_t i = 0; i < COUNT(list); i++) {
            uint32_t n = dice_below(&dice, COUNT(owners));
            struct ip_addr addr = ip_from_v4(0x0a650000 + n * 256);
            list[i] = (struct engine_allowed_ip){.prefix = prefix_make(&addr, 24), .remove = dice_chance(&dice, 30)};
            owners[n] = !list[i].remove ? slot : owners[n] == slot ? 0 : owners[n];
        }
        assert_int_equal(rig_apply(rig, 0, &change, list, COUNT(list)), 0);
    }
    uint32_t counts[9] = {0};
    for (uint32_t n = 0; n < COUNT(owners); n++) {
        struct ip_addr addr = ip_from_v4(0x0a650000 + n * 256 + 1);
        counts[owners[n]]++;
        assert_int_equal(trie_lookup(rig->workers[0]->tables.tries, &space_at(rig->workers[0], 2)->trie, &addr),
                         owners[n]);
        assert_int_equal(directory_route(rig->directory, &addr), owners[n] ? directory_id(0, owners[n]) : 0);
    }
    for (uint32_t slot = 1; slot < 9; slot++) {
        assert_int_equal(peers[slot]->allowed.count, counts[slot]);
    }
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG(the_hub_knows_what_is_unique),
        RIG(a_removed_peer_leaves_nothing),
        RIG(where_a_peer_last_was_counts_until_it_is_heard),
        RIG(a_prefix_moves_between_peers_of_a_tenant),
        RIG(tenants_do_not_take_from_each_other),
        RIG(replacing_forgets_the_old_ones),
        RIG(another_tenant_means_another_space),
        RIG(only_private_tenants_translate),
        RIG(hub_addresses_are_replaced),
        RIG(a_timestamp_only_ever_rises),
        RIG(a_timestamp_that_is_reset_begins_anew),
        RIG(a_timestamp_from_the_future_is_not_shown),
        RIG(a_tenant_with_peers_keeps_its_addressing),
        RIG(random_changes_agree_with_a_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
