/* Each noun's functions: what goes in comes out, and what must be unique is. */
#include "database.h"

#include <errno.h>

#include "store/noun/answers.h"
#include "store/noun/blocks.h"
#include "store/noun/changes.h"
#include "store/noun/gateways.h"
#include "store/noun/lans.h"
#include "store/noun/ranges.h"
#include "store/noun/sessions.h"
#include "store/noun/settings.h"
#include "store/noun/tokens.h"

static const struct tenants_filter all_tenants;
static const struct routers_filter all_routers;

enum { HERE = 11, THERE = 12 }; /* gateways */

/* --- tenants --- */

static void a_tenant_comes_back_as_it_went(void **state) {
    struct database *d = *state;
    struct tenant_row row = add_tenant(d, 3, ADDRESSING_PRIVATE), back;
    assert_int_equal(tenants_get(d->conn, &row.tenant.id, &back), 0);
    assert_int_equal(back.id, row.id);
    assert_int_equal(back.next_offset, 256);
    assert_memory_equal(&back.tenant.id, &row.tenant.id, sizeof back.tenant.id);
    assert_string_equal(back.tenant.name, "Tenant 3");
    assert_int_equal(back.tenant.addressing, ADDRESSING_PRIVATE);
    assert_true(prefix_equal(&back.tenant.subnet, &row.tenant.subnet));
    assert_true(back.tenant.egress);
    assert_int_equal(back.tenant.limits.bits_per_second, 1003);
    assert_int_equal(back.tenant.limits.packets_per_second, 10);
    assert_int_equal(back.tenant.limits.routers, 7);
    assert_int_equal(back.tenant.created_at, row.tenant.created_at);
    assert_int_equal(back.tenant.updated_at, row.tenant.updated_at);
    assert_int_equal(tenants_get_row(d->conn, row.id, &back), 0);
    const struct uuid other = uuid_of(4);
    assert_int_equal(tenants_get(d->conn, &other, &back), -ENOENT);
}

static void a_tenants_id_is_unique(void **state) {
    struct database *d = *state;
    struct tenant_row row = add_tenant(d, 3, ADDRESSING_PRIVATE);
    int64_t id = -1;
    row.id = 0;
    assert_int_equal(tenants_insert(d->conn, &row, &database_gateway, &id), -EEXIST);
    assert_int_equal(id, -1);
}

static void a_tenant_changes_and_counts(void **state) {
    struct database *d = *state;
    struct tenant_row row = add_tenant(d, 3, ADDRESSING_PRIVATE), back;
    snprintf(row.tenant.name, sizeof row.tenant.name, "Other");
    row.tenant.status = TENANT_DISABLED;
    row.tenant.egress = false;
    row.tenant.limits = (struct limits){1, 2, 3};
    assert_int_equal(tenants_update(d->conn, &row), 0);
    assert_int_equal(tenants_add_routers(d->conn, row.id, 5), 0);
    assert_int_equal(tenants_add_routers(d->conn, row.id, -1), 0);
    assert_int_equal(tenants_add_usage(d->conn, row.id, 100, 10), 0);
    assert_int_equal(tenants_add_usage(d->conn, row.id, 1, 1), 0);
    assert_int_equal(tenants_add_connected(d->conn, row.id, 3), 0);
    assert_int_equal(tenants_add_connected(d->conn, row.id, -1), 0);
    assert_int_equal(tenants_set_next_offset(d->conn, row.id, 512), 0);
    assert_int_equal(tenants_get(d->conn, &row.tenant.id, &back), 0);
    assert_string_equal(back.tenant.name, "Other");
    assert_int_equal(back.tenant.status, TENANT_DISABLED);
    assert_false(back.tenant.egress);
    assert_int_equal(back.tenant.limits.routers, 3);
    assert_int_equal(back.tenant.routers, 4);
    assert_int_equal(back.tenant.bytes_received, 101);
    assert_int_equal(back.tenant.bytes_sent, 11);
    assert_int_equal(back.tenant.connected_routers, 2);
    assert_int_equal(back.next_offset, 512);
    assert_int_equal(tenants_add_connected(d->conn, row.id, -3), 0); /* never below none */
    assert_int_equal(tenants_get(d->conn, &row.tenant.id, &back), 0);
    assert_int_equal(back.tenant.connected_routers, 2);
}

static void deleting_a_tenant_takes_all_it_owns(void **state) {
    struct database *d = *state;
    struct tenant_row row = add_tenant(d, 1, ADDRESSING_UNIQUE), other = add_tenant(d, 2, ADDRESSING_UNIQUE);
    struct router_row router = add_router(d, &row, 1);
    add_router(d, &other, 2);
    const struct prefix lan = prefix_of("192.168.1.0/24");
    struct token_row token = {.id = uuid_of(9), .name = "t", .scope = "tenant-read", .tenant_id = row.tenant.id};
    struct range range = {.tunnel_id = row.id, .first = 1, .size = 32};
    uint64_t count = 0;
    struct lan_owner owner;
    token.created_at = 1;
    assert_int_equal(lans_insert(d->conn, router.id, 0, &lan, 1), 0);
    assert_int_equal(tokens_insert(d->conn, &token), 0);
    assert_int_equal(ranges_insert(d->conn, &range), 0);
    assert_int_equal(tenants_delete(d->conn, &row), 0);
    assert_int_equal(routers_count(d->conn, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(tenants_count(d->conn, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(lans_overlap(d->conn, 0, &lan, &owner), -ENOENT);
    assert_int_equal(ranges_find_address(d->conn, row.id, RANGE_HUB, 1, &range), -ENOENT);
    assert_int_equal(tokens_get_by_hash(d->conn, token.hash, &token), -ENOENT);
}

static size_t tenants_matching(struct database *d, const struct tenants_filter *filter) {
    struct tenant_row rows[20];
    size_t count = 0;
    assert_int_equal(tenants_list(d->conn, filter, 0, 20, rows, &count), 0);
    return count;
}

static void tenants_are_listed_in_pages_and_by_filter(void **state) {
    struct database *d = *state;
    struct tenant_row rows[4], disabled;
    size_t count = 0;
    for (unsigned i = 1; i <= 10; i++) {
        disabled = add_tenant(d, i, i > 7 ? ADDRESSING_PRIVATE : ADDRESSING_UNIQUE);
    }
    disabled.tenant.status = TENANT_DISABLED;
    assert_int_equal(tenants_update(d->conn, &disabled), 0);
    assert_int_equal(tenants_list(d->conn, &all_tenants, 0, 4, rows, &count), 0);
    assert_int_equal(count, 4);
    assert_string_equal(rows[3].tenant.name, "Tenant 4");
    assert_int_equal(tenants_list(d->conn, &all_tenants, rows[3].id, 4, rows, &count), 0);
    assert_string_equal(rows[0].tenant.name, "Tenant 5");
    assert_int_equal(tenants_list(d->conn, &all_tenants, rows[3].id, 4, rows, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(tenants_matching(d, &(struct tenants_filter){.name = "Tenant 1"}), 1);
    assert_int_equal(tenants_matching(d, &(struct tenants_filter){.contains = "tENANT 1"}), 2);
    assert_int_equal(tenants_matching(d, &(struct tenants_filter){.contains = "%"}), 0);
    assert_int_equal(tenants_matching(d, &(struct tenants_filter){.contains = "_"}), 0);
    assert_int_equal(tenants_matching(d, &(struct tenants_filter){.id = uuid_of(5)}), 1);
    assert_int_equal(
        tenants_matching(d, &(struct tenants_filter){.has_addressing = true, .addressing = ADDRESSING_PRIVATE}), 3);
    assert_int_equal(
        tenants_matching(d, &(struct tenants_filter){.has_status = true, .status = TENANT_DISABLED, .contains = "0"}),
        1);
}

/* --- routers --- */

static void a_router_comes_back_as_it_went(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_PRIVATE);
    struct router_row row = add_router(d, &tenant, 7), back;
    const struct prefix lans[] = {prefix_of("192.168.1.0/24"), prefix_of("fd99::/64")};
    assert_int_equal(lans_insert(d->conn, row.id, tenant.id, lans, 2), 0);
    row.router.lan_count = 2;
    row.router.status = ROUTER_ACTIVE;
    assert_int_equal(routers_update(d->conn, &row), 0);
    assert_int_equal(routers_get(d->conn, &row.router.id, &back), 0);
    assert_int_equal(back.id, row.id);
    assert_int_equal(back.tunnel_id, tenant.id);
    assert_true(uuid_equal(&back.router.tenant_id, &tenant.tenant.id));
    assert_string_equal(back.router.name, "Router 7");
    assert_int_equal(back.router.status, ROUTER_ACTIVE);
    assert_true(key_equal(&back.router.public_key, &row.router.public_key));
    assert_true(ip_equal(&back.router.address, &row.router.address));
    assert_true(ip_equal(&back.router.hub_address, &row.router.hub_address));
    assert_true(ip_equal(&back.router.address6, &row.router.address6));
    assert_int_equal(back.router.lan_count, 2);
    assert_memory_equal(back.router.lans, lans, sizeof lans);
    assert_false(back.has_preshared_key);
    assert_int_equal(back.router.created_at, row.router.created_at);
    assert_int_equal(back.router.last_handshake_at, 0);
    assert_int_equal(routers_get_by_key(d->conn, &row.router.public_key, &back), 0);
    assert_int_equal(back.router.lan_count, 2);
}

static void a_routers_id_key_and_addresses_are_unique(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_PRIVATE), other = add_tenant(d, 2, ADDRESSING_PRIVATE);
    struct router_row first = add_router(d, &tenant, 1), second = add_router(d, &tenant, 2);
    int64_t id = 0;
    assert_int_equal(routers_delete(d->conn, second.id), 0);
    struct router_row row = second;
    row.router.id = first.router.id;
    assert_int_equal(routers_insert(d->conn, &row, &database_gateway, &id), -EEXIST);
    row = second;
    row.router.public_key = first.router.public_key;
    assert_int_equal(routers_insert(d->conn, &row, &database_gateway, &id), -EEXIST);
    row = second;
    row.router.hub_address = first.router.hub_address;
    assert_int_equal(routers_insert(d->conn, &row, &database_gateway, &id), -EEXIST);
    row = second;
    row.router.address = first.router.address;
    assert_int_equal(routers_insert(d->conn, &row, &database_gateway, &id), -EEXIST);
    row.tunnel_id = other.id; /* the same tunnel address in another tenant is another router */
    assert_int_equal(routers_insert(d->conn, &row, &database_gateway, &id), 0);
    row = first;
    row.router.public_key = second.router.public_key;
    assert_int_equal(routers_set_keys(d->conn, &row), -EEXIST);
    assert_string_equal(store_constraint(d->conn), "vpn_configurations_client_public_key_key");
}

static void new_keys_leave_the_bytes(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_PRIVATE);
    struct router_row row = add_router(d, &tenant, 1), back;
    struct session_row session;
    assert_int_equal(sessions_get(d->conn, &row.router.public_key, HERE, &session), 0);
    session.bytes_received = 50;
    assert_int_equal(sessions_set(d->conn, &session), 0);
    row.router.public_key = key_of(99);
    row.has_preshared_key = true;
    memset(row.sealed, 7, sizeof row.sealed);
    assert_int_equal(routers_set_keys(d->conn, &row), 0);
    assert_int_equal(routers_get(d->conn, &row.router.id, &back), 0);
    assert_true(back.has_preshared_key);
    assert_memory_equal(back.sealed, row.sealed, sizeof row.sealed);
    assert_int_equal(back.router.bytes_received, 50);
}

/* --- sessions and gateways --- */

static void a_session_comes_back_as_it_went(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_PRIVATE);
    struct router_row row = add_router(d, &tenant, 1), back;
    struct session_row session, again;
    struct gateway_row gateway = {.name = "north"};
    assert_int_equal(gateways_put(d->conn, &gateway), 0);
    assert_int_equal(sessions_get(d->conn, &row.router.public_key, gateway.id, &session), 0);
    assert_int_equal(session.gateway_id, 0);
    session.status = ROUTER_ACTIVE;
    session.last_handshake_at = 1700000000123456;
    session.bytes_received = 1000;
    session.bytes_sent = 2000;
    session.gateway_id = gateway.id;
    session.connected_since = 1700000000000456;
    session.counted_received = 10;
    session.counted_sent = 20;
    snprintf(session.counted_generation, sizeof session.counted_generation, "%s", "abc");
    memset(session.timestamp, 0x40, sizeof session.timestamp);
    snprintf(session.endpoint, sizeof session.endpoint, "[2001:db8::1]:4000");
    assert_int_equal(sessions_set(d->conn, &session), 0);
    assert_int_equal(sessions_set_counted(d->conn, gateway.id, &session), 0);
    assert_int_equal(sessions_get_row(d->conn, row.id, gateway.id, &again), 0);
    assert_memory_equal(&again, &session, sizeof session);
    assert_int_equal(routers_get(d->conn, &row.router.id, &back), 0);
    assert_int_equal(back.router.status, ROUTER_ACTIVE);
    assert_int_equal(back.router.last_handshake_at, 1700000000123456);
    assert_int_equal(back.router.bytes_sent, 2000);
    assert_memory_equal(back.timestamp, session.timestamp, sizeof session.timestamp);
    assert_int_equal(back.router.endpoint.sa.sa_family, AF_INET6);
    assert_true(back.router.connected);
    assert_int_equal(back.router.connected_since, 1700000000000456);
    assert_string_equal(back.router.gateway, "north");
}

static void each_gateway_counts_for_itself(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_PRIVATE);
    struct router_row row = add_router(d, &tenant, 1);
    struct session_row here, there;
    assert_int_equal(sessions_get(d->conn, &row.router.public_key, HERE, &here), 0);
    here.counted_received = 5;
    assert_int_equal(sessions_set_counted(d->conn, HERE, &here), 0);
    assert_int_equal(sessions_get(d->conn, &row.router.public_key, THERE, &there), 0);
    assert_int_equal(there.counted_received, 0);
    there.counted_received = 7;
    assert_int_equal(sessions_set_counted(d->conn, THERE, &there), 0);
    here.counted_received = 6;
    assert_int_equal(sessions_set_counted(d->conn, HERE, &here), 0);
    assert_int_equal(sessions_get(d->conn, &row.router.public_key, THERE, &there), 0);
    assert_int_equal(there.counted_received, 7);
    assert_int_equal(sessions_restart_counting(d->conn, row.id, 0), 0); /* it leaves every data plane */
    assert_int_equal(sessions_get(d->conn, &row.router.public_key, HERE, &here), 0);
    assert_int_equal(sessions_get(d->conn, &row.router.public_key, THERE, &there), 0);
    assert_int_equal(here.counted_received + there.counted_received, 0);
    there.counted_sent = 9;
    assert_int_equal(sessions_set_counted(d->conn, THERE, &there), 0);
    assert_int_equal(sessions_restart_counting(d->conn, 0, tenant.id), 0);
    assert_int_equal(sessions_get(d->conn, &row.router.public_key, THERE, &there), 0);
    assert_int_equal(there.counted_sent, 0);
    assert_int_equal(routers_delete(d->conn, row.id), 0);
    assert_int_equal(sessions_get_row(d->conn, row.id, THERE, &there), -ENOENT);
}

static uint32_t connected_of(struct database *d, const struct tenant_row *tenant) {
    struct tenant_row back;
    assert_int_equal(tenants_get_row(d->conn, tenant->id, &back), 0);
    return back.tenant.connected_routers;
}

static void sessions_are_held_until_they_end(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_PRIVATE);
    struct session_row session, held[4];
    int64_t ids[4];
    size_t count = 0;
    for (unsigned i = 0; i < 4; i++) {
        ids[i] = add_router(d, &tenant, i + 1).id;
        assert_int_equal(sessions_get_row(d->conn, ids[i], HERE, &session), 0);
        session.gateway_id = i == 3 ? THERE : HERE;
        session.connected_since = 1700000000000000;
        assert_int_equal(sessions_set(d->conn, &session), 0);
        assert_int_equal(tenants_add_connected(d->conn, tenant.id, 1), 0);
    }
    assert_int_equal(sessions_list_held(d->conn, HERE, ids[0], 4, held, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(sessions_list_rows(d->conn, HERE, ids[1], ids[3], 2, held, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(held[1].id, ids[2]);
    uint64_t all = 0;
    assert_int_equal(sessions_count_held(d->conn, HERE, &all), 0);
    assert_int_equal(all, 3);
    assert_int_equal(held[0].id, ids[1]);
    assert_int_equal(sessions_end(d->conn, ids[1], 0), 0);
    assert_int_equal(sessions_end(d->conn, ids[1], 0), 0); /* once is enough */
    assert_int_equal(connected_of(d, &tenant), 3);
    assert_int_equal(sessions_list_held(d->conn, HERE, 0, 4, held, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(sessions_end(d->conn, 0, tenant.id), 0);
    assert_int_equal(connected_of(d, &tenant), 0);
    assert_int_equal(sessions_list_held(d->conn, THERE, 0, 4, held, &count), 0);
    assert_int_equal(count, 0);
}

static void a_gateway_is_known_by_its_identity_then_by_its_name(void **state) {
    struct database *d = *state;
    struct gateway_row north = {.identity = uuid_of(1), .instance = uuid_of(2), .name = "north", .region = "eu"},
                       south = {.instance = uuid_of(3), .name = "south"}, twin = {.name = "north"}, back, *list;
    const struct uuid none = {0}, other = uuid_of(9);
    int64_t now = 0;
    size_t count = 0;
    assert_int_equal(gateways_find(d->conn, &north.identity, "north", &back), -ENOENT);
    assert_int_equal(gateways_put(d->conn, &north), 0);
    assert_int_equal(gateways_put(d->conn, &south), 0);
    assert_int_equal(gateways_put(d->conn, &twin), -EEXIST);
    assert_int_equal(gateways_find(d->conn, &north.identity, "renamed", &back), 0);
    assert_int_equal(back.id, north.id);
    assert_string_equal(back.region, "eu");
    assert_int_equal(gateways_find(d->conn, &none, "south", &back), 0);
    assert_int_equal(back.id, south.id);
    assert_int_equal(gateways_find(d->conn, &other, "east", &back), -ENOENT);
    assert_int_equal(gateways_clock(d->conn, &now), 0);
    north.revision = 7;
    north.heartbeat_at = now;
    assert_int_equal(gateways_beat(d->conn, &north), 0);
    assert_int_equal(gateways_find_by_name(d->conn, "north", &back), 0);
    assert_int_equal(back.revision, 7);
    assert_int_equal(back.heartbeat_at, now);
    north.instance = uuid_of(4); /* somebody else speaks for it now */
    assert_int_equal(gateways_beat(d->conn, &north), -ENOENT);
    assert_int_equal(gateways_list(d->conn, &list, &count), 0);
    assert_int_equal(count, 2);
    assert_string_equal(list[0].name, "north");
    free(list);
}

static size_t routers_matching(struct database *d, const struct routers_filter *filter) {
    struct router_row rows[20];
    size_t count = 0;
    assert_int_equal(routers_list(d->conn, filter, 0, 20, rows, &count), 0);
    return count;
}

static void routers_are_listed_by_filter(void **state) {
    struct database *d = *state;
    struct tenant_row one = add_tenant(d, 1, ADDRESSING_PRIVATE), two = add_tenant(d, 2, ADDRESSING_PRIVATE);
    struct router_row row = {0};
    for (unsigned i = 1; i <= 6; i++) {
        row = add_router(d, i <= 2 ? &one : &two, i);
    }
    struct session_row session;
    assert_int_equal(sessions_get(d->conn, &row.router.public_key, HERE, &session), 0);
    session.gateway_id = HERE;
    session.connected_since = 1700000000000000;
    assert_int_equal(sessions_set(d->conn, &session), 0);
#define MATCHING(...) routers_matching(d, &(struct routers_filter){__VA_ARGS__})
    assert_int_equal(routers_matching(d, &all_routers), 6);
    assert_int_equal(MATCHING(.tenant_id = one.tenant.id), 2);
    assert_int_equal(MATCHING(.tenant_id = uuid_of(55)), 0);
    assert_int_equal(MATCHING(.name = "Router 3"), 1);
    assert_int_equal(MATCHING(.contains = "ROUTER", .tenant_id = two.tenant.id), 4);
    assert_int_equal(MATCHING(.has_status = true, .status = ROUTER_PENDING), 6);
    assert_int_equal(MATCHING(.has_public_key = true, .public_key = key_of(4)), 1);
    assert_int_equal(MATCHING(.address = ip_of("10.100.0.5")), 1);
    assert_int_equal(MATCHING(.address = ip_of("10.0.0.5")), 1);
    assert_int_equal(MATCHING(.address = ip_of("fd00::a00:5")), 1);
    assert_int_equal(MATCHING(.address = ip_of("fd01::a00:5")), 0);
    assert_int_equal(MATCHING(.has_connected = true, .connected = true), 1);
    assert_int_equal(MATCHING(.has_connected = true, .connected = false), 5);
    assert_int_equal(MATCHING(.tenant_id = two.tenant.id, .name = "Router 4", .contains = "4", .has_status = true,
                              .has_public_key = true, .public_key = key_of(4), .address = ip_of("10.0.0.4"),
                              .has_connected = true),
                     1);
}

static void disabled_ones_do_not_belong_into_the_data_plane(void **state) {
    struct database *d = *state;
    struct tenant_row one = add_tenant(d, 1, ADDRESSING_PRIVATE), two = add_tenant(d, 2, ADDRESSING_PRIVATE);
    struct router_row rows[8], a = add_router(d, &one, 1), b = add_router(d, &one, 2), c = add_router(d, &two, 3);
    size_t count = 0;
    a.router.status = ROUTER_DISABLED;
    two.tenant.status = TENANT_DISABLED;
    assert_int_equal(routers_update(d->conn, &a), 0);
    assert_int_equal(tenants_update(d->conn, &two), 0);
    assert_int_equal(routers_list_desired(d->conn, 0, 0, 8, rows, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].id, b.id);
    assert_int_equal(routers_list_desired(d->conn, two.id, 0, 8, rows, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(routers_get_desired(d->conn, &b.router.public_key, &rows[0]), 0);
    assert_int_equal(routers_get_desired(d->conn, &a.router.public_key, &rows[0]), -ENOENT);
    assert_int_equal(routers_get_desired(d->conn, &c.router.public_key, &rows[0]), -ENOENT);
}

static void the_gateways_columns_follow_its_configuration(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_PRIVATE);
    add_router(d, &tenant, 1);
    struct gateway_columns moved = database_gateway;
    int64_t count = 0;
    snprintf(moved.endpoint, sizeof moved.endpoint, "elsewhere.example.com");
    moved.port = 443;
    assert_int_equal(routers_set_gateway(d->conn, &moved), 0);
    assert_int_equal(query_number(d->conn,
                                  "SELECT COUNT(*) FROM vpn_configurations WHERE server_port = 443 AND "
                                  "server_endpoint = 'elsewhere.example.com'",
                                  NULL, 0, &count),
                     0);
    assert_int_equal(count, 1);
}

/* --- LANs --- */

static bool overlaps(struct database *d, int64_t space, const char *prefix) {
    const struct prefix p = prefix_of(prefix);
    struct lan_owner owner;
    int r = lans_overlap(d->conn, space, &p, &owner);
    assert_true(r == 0 || r == -ENOENT);
    return r == 0;
}

static void overlap_is_found_within_a_space_only(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_UNIQUE);
    struct router_row router = add_router(d, &tenant, 1);
    const struct prefix lans[] = {prefix_of("192.168.2.0/24"), prefix_of("192.168.16.0/20"), prefix_of("fd99::/64")};
    assert_int_equal(lans_insert(d->conn, router.id, 0, lans, 3), 0);
    assert_true(overlaps(d, 0, "192.168.2.0/24"));
    assert_true(overlaps(d, 0, "192.168.2.128/25"));
    assert_true(overlaps(d, 0, "192.168.0.0/16"));
    assert_true(overlaps(d, 0, "192.168.31.255/32"));
    assert_true(overlaps(d, 0, "fd99::1/128"));
    assert_true(overlaps(d, 0, "fd00::/8"));
    assert_false(overlaps(d, 0, "192.168.1.0/24"));
    assert_false(overlaps(d, 0, "192.168.3.0/24"));
    assert_false(overlaps(d, 0, "192.168.32.0/20"));
    assert_false(overlaps(d, 0, "fd99:0:0:1::/64"));
    assert_false(overlaps(d, 7, "192.168.2.0/24"));
    assert_int_equal(lans_insert(d->conn, router.id, 0, lans, 1), -EEXIST);
    assert_int_equal(lans_delete(d->conn, router.id), 0);
    assert_false(overlaps(d, 0, "192.168.2.0/24"));
}

static int count_prefix(void *context, const struct prefix *prefix) {
    (void)prefix;
    ++*(int *)context;
    return 0;
}

static void routes_are_of_enabled_routers_in_the_shared_space(void **state) {
    struct database *d = *state;
    struct tenant_row one = add_tenant(d, 1, ADDRESSING_UNIQUE), two = add_tenant(d, 2, ADDRESSING_PRIVATE);
    struct router_row a = add_router(d, &one, 1), b = add_router(d, &one, 2), c = add_router(d, &two, 3);
    const struct prefix la = prefix_of("192.168.1.0/24"), lb = prefix_of("192.168.2.0/24");
    int count = 0;
    assert_int_equal(lans_insert(d->conn, a.id, LAN_SPACE_SHARED, &la, 1), 0);
    assert_int_equal(lans_insert(d->conn, b.id, LAN_SPACE_SHARED, &lb, 1), 0);
    assert_int_equal(lans_insert(d->conn, c.id, two.id, &lb, 1), 0);
    b.router.status = ROUTER_DISABLED;
    assert_int_equal(routers_update(d->conn, &b), 0);
    assert_int_equal(lans_each_route(d->conn, count_prefix, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(lans_each_of_tenant(d->conn, two.id, count_prefix, &count), 0);
    assert_int_equal(count, 2);
    bool routed = false;
    assert_int_equal(lans_is_routed(d->conn, &la, &routed), 0);
    assert_true(routed);
    assert_int_equal(lans_is_routed(d->conn, &lb, &routed), 0);
    assert_false(routed); /* its router is disabled; the other is in a space of its own */
    struct prefix within = {.addr = la.addr, .length = (uint8_t)(la.length + 1)};
    assert_int_equal(lans_is_routed(d->conn, &within, &routed), 0);
    assert_false(routed);
}

static void lans_are_filled_over_dense_and_sparse_pages(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_UNIQUE);
    struct router_row rows[8];
    size_t count = 0;
    for (unsigned i = 1; i <= 60; i++) {
        struct router_row row = add_router(d, &tenant, i);
        struct prefix lan = prefix_of("192.168.0.0/24");
        lan.addr.bytes[2] = (uint8_t)i;
        row.router.lan_count = 1;
        if (i % 30 == 0) {
            snprintf(row.router.name, sizeof row.router.name, "thirty");
        }
        assert_int_equal(lans_insert(d->conn, row.id, 0, &lan, 1), 0);
        assert_int_equal(routers_update(d->conn, &row), 0);
    }
    assert_int_equal(routers_list(d->conn, &all_routers, 0, 8, rows, &count), 0);
    assert_int_equal(count, 8);
    assert_int_equal(rows[7].router.lans[0].addr.bytes[2], 8);
    assert_int_equal(routers_list(d->conn, &(struct routers_filter){.name = "thirty"}, 0, 8, rows, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(routers_list(d->conn, &(struct routers_filter){.with_lans = true, .tenant_id = tenant.tenant.id},
                                  rows[0].id, 8, rows, &count),
                     0);
    assert_int_equal(count, 8); /* a page of the thirty behind it */
    add_router(d, &tenant, 61);
    assert_int_equal(
        routers_list(d->conn, &(struct routers_filter){.with_lans = true}, rows[7].id + 20, 8, rows, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(routers_list(d->conn, &(struct routers_filter){.name = "thirty"}, 0, 8, rows, &count), 0);
    assert_int_equal(rows[0].router.lan_count, 1);
    assert_int_equal(rows[1].router.lans[0].addr.bytes[2], 60);
}

/* --- addresses --- */

static void a_range_comes_back_as_it_went(void **state) {
    struct database *d = *state;
    struct tenant_row tenant = add_tenant(d, 1, ADDRESSING_UNIQUE);
    struct range range = {.tunnel_id = tenant.id,
                          .first = 0xfffffe00,
                          .size = 256,
                          .block_first = 0xfffffe00,
                          .block_size = 512,
                          .used = 3,
                          .free = 0,
                          .rested = 2,
                          .last_freed = 9},
                 back;
    struct range_block blocks[4];
    uint64_t size = 0;
    size_t count = 0;
    bool used = false;
    memset(range.taken, 0xa5, sizeof range.taken);
    memset(range.resting, 0x5a, sizeof range.resting);
    assert_int_equal(ranges_insert(d->conn, &range), 0);
    assert_int_equal(ranges_insert(d->conn, &range), -EEXIST);
    assert_int_equal(ranges_find_address(d->conn, tenant.id, RANGE_HUB, 0xfffffeff, &back), 0);
    assert_memory_equal(&back, &range, sizeof range);
    assert_int_equal(ranges_find_address(d->conn, tenant.id, RANGE_HUB, 0xffffff00, &back), -ENOENT);
    assert_int_equal(ranges_find_address(d->conn, tenant.id, RANGE_OWN, 0xfffffeff, &back), -ENOENT);
    assert_int_equal(ranges_find_free(d->conn, tenant.id, RANGE_HUB, &back), -ENOENT);
    assert_int_equal(ranges_find_rested(d->conn, tenant.id, RANGE_HUB, &back), 0);
    range.free = 1;
    range.rested = 0;
    assert_int_equal(ranges_update(d->conn, &range), 0);
    assert_int_equal(ranges_find_free(d->conn, tenant.id, RANGE_HUB, &back), 0);
    assert_int_equal(ranges_find_rested(d->conn, tenant.id, RANGE_HUB, &back), -ENOENT);
    assert_int_equal(ranges_hub_size(d->conn, tenant.id, &size), 0);
    assert_int_equal(size, 256);
    assert_int_equal(ranges_block_used(d->conn, tenant.id, 0xfffffe00, &used), 0);
    assert_true(used);
    assert_int_equal(ranges_blocks(d->conn, tenant.id, blocks, 4, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(blocks[0].size, 512);
    assert_int_equal(ranges_delete_block(d->conn, tenant.id, 0xfffffe00), 0);
    assert_int_equal(ranges_block_used(d->conn, tenant.id, 0xfffffe00, &used), 0);
    assert_false(used);
}

static void the_smallest_fitting_block_is_found_first(void **state) {
    struct database *d = *state;
    const struct block blocks[] = {{256, 256}, {64, 32}, {128, 64}, {32, 32}};
    struct block found;
    uint64_t size = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(blocks_insert(d->conn, &blocks[i]), 0);
    }
    assert_int_equal(blocks_find(d->conn, 16, &found), 0);
    assert_int_equal(found.first, 32);
    assert_int_equal(blocks_find(d->conn, 64, &found), 0);
    assert_int_equal(found.first, 128);
    assert_int_equal(blocks_find(d->conn, 512, &found), -ENOENT);
    assert_int_equal(blocks_find_address(d->conn, 191, &found), 0);
    assert_int_equal(found.first, 128);
    assert_int_equal(blocks_find_address(d->conn, 192, &found), -ENOENT);
    assert_int_equal(blocks_get(d->conn, 64, &found), 0);
    assert_int_equal(blocks_delete(d->conn, 64), 0);
    assert_int_equal(blocks_get(d->conn, 64, &found), -ENOENT);
    assert_int_equal(blocks_free_size(d->conn, &size), 0);
    assert_int_equal(size, 256 + 64 + 32);
    assert_int_equal(blocks_insert(d->conn, &blocks[0]), -EEXIST);
}

static void resting_blocks_wake_in_order_and_when_due(void **state) {
    struct database *d = *state;
    const struct block a = {512, 32}, b = {64, 32};
    struct block found;
    assert_int_equal(blocks_rest(d->conn, &a, 2000), 0);
    assert_int_equal(blocks_rest(d->conn, &b, 1000), 0);
    assert_int_equal(blocks_wake(d->conn, 1999, &found), -ENOENT); /* the oldest is not due yet */
    assert_int_equal(blocks_wake(d->conn, 2000, &found), 0);
    assert_int_equal(found.first, 512);
    assert_int_equal(blocks_wake(d->conn, 2000, &found), 0);
    assert_int_equal(found.first, 64);
    assert_int_equal(blocks_wake(d->conn, INT64_MAX, &found), -ENOENT);
}

/* --- changes --- */

static void revisions_have_no_gaps(void **state) {
    struct database *d = *state;
    struct change changes[3];
    struct change_row rows[10];
    uint64_t revision = 0, oldest = 0;
    int64_t forgotten = 0;
    size_t count = 0;
    assert_int_equal(changes_span(d->conn, &oldest, &revision), 0);
    assert_int_equal(oldest, 1);
    assert_int_equal(revision, 0);
    for (size_t i = 0; i < 3; i++) {
        changes[i] = (struct change){.at = 1700000000000000, .kind = "router.created", .tenant_id = uuid_of(1)};
    }
    changes[1].tenant_id = uuid_of(2);
    changes[2].router_id = uuid_of(3);
    assert_int_equal(store_begin(d->conn, true), 0);
    assert_int_equal(changes_append(d->conn, changes, 3, "lost", &revision), 0);
    store_rollback(d->conn);
    assert_int_equal(changes_append(d->conn, changes, 3, "uid:0", &revision), 0);
    assert_int_equal(revision, 3); /* what was rolled back took no number */
    assert_int_equal(changes_append(d->conn, changes, 2, "uid:0", &revision), 0);
    assert_int_equal(revision, 5);
    const struct uuid all = {0}, two = uuid_of(2);
    assert_int_equal(changes_list(d->conn, 0, &all, 10, rows, &count), 0);
    assert_int_equal(count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(rows[i].revision, i + 1);
    }
    assert_string_equal(rows[2].kind, "router.created");
    assert_string_equal(rows[2].actor, "uid:0");
    assert_true(uuid_equal(&rows[2].router_id, &changes[2].router_id));
    assert_true(uuid_is_zero(&rows[0].router_id));
    assert_int_equal(rows[0].at, 1700000000000000);
    assert_int_equal(changes_list(d->conn, 2, &two, 10, rows, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].revision, 5);
    assert_int_equal(changes_forget(d->conn, 3, 2, &forgotten), 0);
    assert_int_equal(forgotten, 2);
    assert_int_equal(changes_list(d->conn, 0, &all, 10, rows, &count), 0);
    assert_int_equal(rows[0].revision, 3);
    assert_int_equal(changes_span(d->conn, &oldest, &revision), 0);
    assert_int_equal(oldest, 3);
    assert_int_equal(revision, 5);
    assert_int_equal(changes_forget(d->conn, 5, 10, &forgotten), 0);
    assert_int_equal(forgotten, 3);
    assert_int_equal(changes_span(d->conn, &oldest, &revision), 0);
    assert_int_equal(oldest, 6);
    assert_int_equal(changes_revision(d->conn, &revision), 0);
    assert_int_equal(revision, 5);
}

/* --- tokens, answers --- */

static void a_token_is_found_by_its_hash(void **state) {
    struct database *d = *state;
    struct token_row row = {.id = uuid_of(1),
                            .name = "billing",
                            .scope = "admin",
                            .created_at = 1700000000000000,
                            .expires_at = 1800000000000000},
                     back, *list = NULL;
    size_t count = 0;
    memset(row.hash, 9, sizeof row.hash);
    assert_int_equal(tokens_insert(d->conn, &row), 0);
    assert_int_equal(tokens_insert(d->conn, &row), -EEXIST);
    assert_int_equal(tokens_get_by_hash(d->conn, row.hash, &back), 0);
    assert_memory_equal(&back, &row, sizeof row);
    assert_int_equal(tokens_set_used(d->conn, &row.id, 1750000000000000), 0);
    assert_int_equal(tokens_list(d->conn, &list, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(list[0].last_used_at, 1750000000000000);
    free(list);
    assert_int_equal(tokens_delete(d->conn, &row.id), 0);
    assert_int_equal(tokens_delete(d->conn, &row.id), -ENOENT);
    assert_int_equal(tokens_get_by_hash(d->conn, row.hash, &back), -ENOENT);
}

static void a_callers_oldest_answers_give_way(void **state) {
    struct database *d = *state;
    const uint8_t ours[ANSWER_HASH_SIZE] = {1}, theirs[ANSWER_HASH_SIZE] = {2}, request[ANSWER_HASH_SIZE] = {3};
    int64_t left = 0;
    for (uint8_t i = 0; i < 10; i++) {
        const uint8_t key[ANSWER_HASH_SIZE] = {i, 9};
        assert_int_equal(
            answers_put(d->conn, key, i == 9 ? theirs : ours, request, 201, "0123456789", 10, 1000000 * (i + 1)), 0);
    }
    assert_int_equal(answers_trim(d->conn, ours, 20, 200), 0);
    assert_int_equal(query_number(d->conn, "SELECT COUNT(*) FROM vpn_answers", NULL, 0, &left), 0);
    assert_int_equal(left, 10);
    assert_int_equal(answers_trim(d->conn, ours, 5, 200), 0); /* by their number */
    assert_int_equal(query_number(d->conn, "SELECT COUNT(*) FROM vpn_answers", NULL, 0, &left), 0);
    assert_int_equal(left, 6);
    assert_int_equal(answers_trim(d->conn, ours, 5, 25), 0); /* by their bytes */
    assert_int_equal(answers_trim(d->conn, ours, 5, 1), 0);  /* the newest stays */
    assert_int_equal(query_number(d->conn, "SELECT COUNT(*) FROM vpn_answers", NULL, 0, &left), 0);
    assert_int_equal(left, 2);
}

static void an_answer_is_kept_until_it_is_too_old(void **state) {
    const uint8_t caller[ANSWER_HASH_SIZE] = {7};
    struct database *d = *state;
    const uint8_t key[ANSWER_HASH_SIZE] = {1}, request[ANSWER_HASH_SIZE] = {2};
    uint8_t back[ANSWER_HASH_SIZE];
    void *body = NULL;
    size_t size = 0;
    int status = 0;
    assert_int_equal(answers_put(d->conn, key, caller, request, 201, "a\0b", 3, 2000000), 0);
    assert_int_equal(answers_get(d->conn, key, 1000000, back, &status, &body, &size), 0);
    assert_int_equal(status, 201);
    assert_int_equal(size, 3);
    assert_memory_equal(body, "a\0b", 3);
    assert_memory_equal(back, request, sizeof back);
    free(body);
    assert_int_equal(answers_get(d->conn, key, 2000000, back, &status, &body, &size), -ENOENT);
    assert_int_equal(answers_put(d->conn, key, caller, request, 202, "c", 1, 3000000), 0);
    assert_int_equal(answers_get(d->conn, key, 2000000, back, &status, &body, &size), 0);
    assert_int_equal(status, 202);
    free(body);
    assert_int_equal(answers_forget(d->conn, 3000000), 0);
    assert_int_equal(answers_get(d->conn, key, 1, back, &status, &body, &size), -ENOENT);
}

int main(void) {
#define WITH_DATABASE(test) cmocka_unit_test_setup_teardown(test, database_setup, database_teardown)
    const struct CMUnitTest tests[] = {
        WITH_DATABASE(a_tenant_comes_back_as_it_went),
        WITH_DATABASE(a_tenants_id_is_unique),
        WITH_DATABASE(a_tenant_changes_and_counts),
        WITH_DATABASE(deleting_a_tenant_takes_all_it_owns),
        WITH_DATABASE(tenants_are_listed_in_pages_and_by_filter),
        WITH_DATABASE(a_router_comes_back_as_it_went),
        WITH_DATABASE(a_routers_id_key_and_addresses_are_unique),
        WITH_DATABASE(new_keys_leave_the_bytes),
        WITH_DATABASE(a_session_comes_back_as_it_went),
        WITH_DATABASE(each_gateway_counts_for_itself),
        WITH_DATABASE(sessions_are_held_until_they_end),
        WITH_DATABASE(a_gateway_is_known_by_its_identity_then_by_its_name),
        WITH_DATABASE(routers_are_listed_by_filter),
        WITH_DATABASE(disabled_ones_do_not_belong_into_the_data_plane),
        WITH_DATABASE(the_gateways_columns_follow_its_configuration),
        WITH_DATABASE(overlap_is_found_within_a_space_only),
        WITH_DATABASE(routes_are_of_enabled_routers_in_the_shared_space),
        WITH_DATABASE(lans_are_filled_over_dense_and_sparse_pages),
        WITH_DATABASE(a_range_comes_back_as_it_went),
        WITH_DATABASE(the_smallest_fitting_block_is_found_first),
        WITH_DATABASE(resting_blocks_wake_in_order_and_when_due),
        WITH_DATABASE(revisions_have_no_gaps),
        WITH_DATABASE(a_token_is_found_by_its_hash),
        WITH_DATABASE(a_callers_oldest_answers_give_way),
        WITH_DATABASE(an_answer_is_kept_until_it_is_too_old),
    };
    return cmocka_run_group_tests_name("nouns", tests, NULL, NULL);
}
