/* The peers of a server that exists become routers. */
#include <sodium.h>

#include "gateway.h"
#include "service/noun/adoption.h"
#include "service/noun/noun.h"

#define PEERS 600

struct server {
    struct adoption adoption;
    struct adoption_peer peers[PEERS];
    struct prefix allowed[PEERS][2];
};

/* Empty, for a tenant to make. */
static struct server *server_make(void) {
    struct server *server = calloc(1, sizeof *server);
    assert_non_null(server);
    server->adoption.tenant.name = "Acme";
    server->adoption.peers = server->peers;
    return server;
}

static struct adoption_peer *add(struct server *server, const char *address) {
    size_t at = server->adoption.count++;
    struct adoption_peer *peer = &server->peers[at];
    server->allowed[at][0] = prefix_of(address);
    peer->allowed_ips = server->allowed[at];
    peer->allowed_ip_count = 1;
    randombytes_buf(&peer->public_key, sizeof peer->public_key);
    return peer;
}

static struct adoption_peer *add_number(struct server *server, uint32_t address) {
    struct ip_addr ip = ip_from_v4(address);
    char text[IP_TEXT_SIZE];
    return add(server, ip_format(&ip, text));
}

static void server_free(struct server *server) {
    adoption_free(&server->adoption);
    free(server);
}

static void adopt(struct gateway *g, struct server *server) {
    struct problem problem = {0};
    struct adoption *a = &server->adoption;
    adoption_free(a);
    a->made = a->there = a->conflicts = 0;
    a->committed = false;
    if (service_adopt(g->service, &gateway_admin, a, &problem) < 0) {
        fail_msg("service_adopt: %s", problem.detail);
    }
}

static uint64_t free_addresses(struct gateway *g) {
    struct service_status status;
    service_status(g->service, &status);
    assert_true(status.pool_free <= status.pool_total);
    return status.pool_free;
}

static void peers_keep_the_addresses_they_have_even_beside_the_hub(void **state) {
    static const char *const addresses[] = {"10.0.0.0",  "10.0.0.2",  "10.0.0.3",       "10.0.0.31",   "10.0.0.32",
                                            "10.0.0.63", "10.0.0.64", "10.255.255.255", "10.77.1.255", "10.77.2.0"};
    struct gateway *g = *state;
    struct server *server = server_make();
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        add(server, addresses[i]);
    }
    adopt(g, server);
    assert_int_equal(server->adoption.made, sizeof addresses / sizeof *addresses);
    assert_true(server->adoption.committed);
    struct service *s = g->service;
    assert_int_equal(ledger_writers(s->ledger), 0); /* else nothing of others would be followed any more */
    assert_int_equal(follow_applied(s->follow), ledger_revision(s->ledger));
    for (size_t i = 0; i < server->adoption.count; i++) {
        struct actual_peer is;
        struct ip_addr address = ip_of(addresses[i]);
        assert_true(fake_plane_peer(&server->peers[i].public_key, &is));
        assert_true(ip_equal(&is.is.address, &address));
    }
    assert_in_force(g);
    /* and what is given out next collides with none */
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "new%d", i);
        make_router(g, &server->adoption.made_tenant, name, NULL);
    }
    assert_in_force(g);
    server_free(server);
}

static void a_dry_run_leaves_no_trace(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    uint64_t before = free_addresses(g);
    add(server, "10.0.0.2");
    add(server, "10.9.0.9");
    server->adoption.dry_run = true;
    adopt(g, server);
    assert_int_equal(server->adoption.made, 2);
    assert_false(server->adoption.committed);
    assert_int_equal(fake_plane_peers(), 0);
    assert_int_equal(gateway_number(g, "SELECT count(*) FROM tenant_vpn_tunnels"), 0);
    assert_int_equal(free_addresses(g), before);
    assert_in_force(g);
    server_free(server);
}

static void one_conflict_stops_all_unless_conflicts_are_skipped(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    add(server, "10.0.0.2");
    struct adoption_peer *bad = add(server, "10.0.0.3");
    bad->public_key = server->peers[0].public_key;
    add(server, "10.0.0.3");
    adopt(g, server);
    assert_int_equal(server->adoption.conflicts, 1);
    assert_false(server->adoption.committed);
    assert_int_equal(bad->result, ADOPTION_CONFLICT);
    assert_string_equal(bad->problem->type, "duplicate-public-key");
    assert_int_equal(fake_plane_peers(), 0);
    server->adoption.skip_conflicts = true;
    adopt(g, server);
    assert_int_equal(server->adoption.made, 2);
    assert_int_equal(fake_plane_peers(), 2);
    assert_int_equal(gateway_number(g, "SELECT count(*) FROM vpn_configurations"), 2);
    assert_in_force(g);
    server_free(server);
}

/* The tenant's own block is claimed by its making: undoing the first peer must not undo that. */
static void a_conflict_makes_no_healthy_peer_one(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    add(server, "10.0.0.2");
    server->allowed[0][1] = prefix_of("0.0.0.0/0");
    server->peers[0].allowed_ip_count = 2;
    const struct adoption_peer *healthy = add(server, "10.0.0.9");
    server->adoption.skip_conflicts = true;
    adopt(g, server);
    assert_string_equal(server->peers[0].problem->type, "default-route");
    assert_int_equal(healthy->result, ADOPTION_MADE);
    assert_int_equal(server->adoption.made, 1);
    assert_in_force(g);
    server->adoption.tenant_id = server->adoption.made_tenant.id;
    server->adoption.drop_default_routes = true;
    adopt(g, server);
    assert_int_equal(server->adoption.made, 1);
    assert_int_equal(server->adoption.there, 1);
    assert_int_equal(server->peers[0].lan_count, 0);
    assert_in_force(g);
    server_free(server);
}

static void prefixes_that_repeat_or_cover_each_other_are_one_lan(void **state) {
    struct gateway *g = *state;
    const struct prefix allowed[] = {
        prefix_of("192.168.1.0/24"), prefix_of("10.0.0.2/32"), prefix_of("192.168.1.128/25"),
        prefix_of("192.168.0.0/16"), prefix_of("10.0.0.2/32"), prefix_of("172.16.0.0/24"),
        prefix_of("172.16.0.0/24"),  prefix_of("fd77::/64"),   prefix_of("fd77::7/128")};
    static const char *const left[] = {"172.16.0.0/24", "192.168.0.0/16", "fd77::/64"};
    struct server *server = server_make();
    struct adoption_peer *peer = add(server, "10.0.0.2");
    peer->allowed_ips = allowed;
    peer->allowed_ip_count = sizeof allowed / sizeof *allowed;
    adopt(g, server);
    assert_int_equal(peer->result, ADOPTION_MADE);
    assert_int_equal(peer->lan_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct prefix prefix = prefix_of(left[i]);
        assert_true(prefix_equal(&peer->lans[i], &prefix));
    }
    assert_int_equal(gateway_number(g, "SELECT count(*) FROM vpn_lans"), 3);
    assert_in_force(g);
    server_free(server);
}

static void another_tenants_addresses_are_left_to_it(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    struct tenant other = make_tenant(g, "other", ADDRESSING_UNIQUE, "10.5.0.0/24");
    struct adoption_peer *peer = add(server, "10.5.0.77");
    adopt(g, server);
    assert_int_equal(peer->result, ADOPTION_CONFLICT);
    assert_string_equal(peer->problem->type, "address-taken");
    assert_int_equal(fake_plane_tenants(), 1);
    make_router(g, &other, "r", "10.5.0.77");
    assert_in_force(g);
    server_free(server);
}

static void what_is_there_already_is_recognized(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    add(server, "10.0.0.2");
    add(server, "10.0.0.3");
    adopt(g, server);
    server->adoption.tenant_id = server->adoption.made_tenant.id;
    add(server, "10.0.0.4");
    adopt(g, server);
    assert_int_equal(server->adoption.there, 2);
    assert_int_equal(server->adoption.made, 1);
    assert_int_equal(server->adoption.made_tenant.routers, 3);
    assert_int_equal(gateway_number(g, "SELECT count(*) FROM vpn_configurations"), 3);
    assert_in_force(g);
    server_free(server);
}

static void where_a_peer_was_is_where_the_data_plane_calls(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    struct problem problem = {0};
    struct adoption_peer *peer = add(server, "10.0.0.2");
    assert_int_equal(endpoint_parse("192.0.2.7:4500", &peer->endpoint), 0);
    peer->last_handshake_at = 1700000000000000;
    adopt(g, server);
    fake_plane_restart();
    gateway_reconcile(g);
    struct actual_peer is;
    assert_true(fake_plane_peer(&peer->public_key, &is));
    assert_true(endpoint_equal(&is.is.endpoint, &peer->endpoint));
    struct router router;
    assert_int_equal(service_router_get(g->service, &gateway_admin, &peer->router_id, &router, &problem), 0);
    assert_int_equal(router.status, ROUTER_ACTIVE);
    assert_int_equal(router.last_handshake_at, peer->last_handshake_at);
    server_free(server);
}

static void many_scattered_blocks_go_back_to_the_pool_with_their_tenant(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    struct problem problem = {0};
    for (uint32_t i = 0; i < PEERS; i++) {
        add_number(server, 0x0a100000u + i * 512);
    }
    adopt(g, server);
    assert_int_equal(server->adoption.made, PEERS);
    uint64_t before = free_addresses(g);
    assert_int_equal(service_tenant_delete(g->service, &gateway_admin, &server->adoption.made_tenant.id, &problem), 0);
    assert_true(free_addresses(g) >= before + PEERS * 32);
    assert_int_equal(gateway_number(g, "SELECT count(*) FROM vpn_address_ranges"), 0);
    server_free(server);
}

static void a_pool_that_does_not_hold_them_is_told_by_its_line(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    struct prefix wanted = prefix_of("172.29.0.0/16");
    struct ip_addr hub = ip_of("172.29.0.1");
    add(server, "172.29.200.2");
    server->adoption.server_address = (struct prefix){.addr = hub, .length = 16};
    adopt(g, server);
    assert_int_equal(server->adoption.conflicts, 1);
    assert_true(prefix_equal(&server->adoption.wanted_pool, &wanted));
    assert_true(ip_equal(&server->adoption.wanted_hub, &hub));
    server_free(server);
}

static void a_server_with_another_key_is_refused(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    struct problem problem = {0};
    add(server, "10.0.0.2");
    randombytes_buf(&server->adoption.server_key, sizeof server->adoption.server_key);
    assert_refused(service_adopt(g->service, &gateway_admin, &server->adoption, &problem), problem,
                   "gateway-key-differs", "");
    server->adoption.any_key = true;
    adopt(g, server);
    assert_int_equal(server->adoption.made, 1);
    server_free(server);
}

static void only_the_operator_adopts(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    struct problem problem = {0};
    const struct caller tenant = {.scope = SCOPE_TENANT_WRITE, .tenant_id = {{1}}, .actor = "token:t"};
    assert_true(service_adopt(g->service, &tenant, &server->adoption, &problem) < 0);
    assert_int_equal(problem.kind, PROBLEM_FORBIDDEN);
    server_free(server);
}

static void after_a_restart_the_hubs_block_is_as_it_was_left(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    server->adoption.dry_run = true;
    add(server, "10.0.0.2");
    adopt(g, server);
    gateway_restart(g); /* without tenants the pool is cut anew */
    server->adoption.dry_run = false;
    adopt(g, server);
    assert_int_equal(server->adoption.made, 1);
    gateway_restart(g);
    struct server *more = server_make();
    more->adoption.tenant.name = "Other";
    add(more, "10.0.0.9");
    adopt(g, more);
    assert_int_equal(more->adoption.made, 1);
    assert_in_force(g);
    server_free(more);
    server_free(server);
}

static void a_private_tenant_gets_a_subnet_that_holds_its_peers(void **state) {
    struct gateway *g = *state;
    struct server *server = server_make();
    struct prefix subnet = prefix_of("192.168.0.0/22");
    add(server, "192.168.1.9");
    add(server, "192.168.3.7");
    server->adoption.tenant.addressing = ADDRESSING_PRIVATE;
    adopt(g, server);
    assert_int_equal(server->adoption.made, 2);
    assert_true(prefix_equal(&server->adoption.made_tenant.subnet, &subnet));
    assert_in_force(g);
    server_free(server);
}

#define T(name) cmocka_unit_test_setup_teardown(name, gateway_setup, gateway_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(peers_keep_the_addresses_they_have_even_beside_the_hub),
        T(a_dry_run_leaves_no_trace),
        T(one_conflict_stops_all_unless_conflicts_are_skipped),
        T(a_conflict_makes_no_healthy_peer_one),
        T(prefixes_that_repeat_or_cover_each_other_are_one_lan),
        T(another_tenants_addresses_are_left_to_it),
        T(what_is_there_already_is_recognized),
        T(where_a_peer_was_is_where_the_data_plane_calls),
        T(many_scattered_blocks_go_back_to_the_pool_with_their_tenant),
        T(a_pool_that_does_not_hold_them_is_told_by_its_line),
        T(a_server_with_another_key_is_refused),
        T(only_the_operator_adopts),
        T(after_a_restart_the_hubs_block_is_as_it_was_left),
        T(a_private_tenant_gets_a_subnet_that_holds_its_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
