/* Tenants: what is made, what is refused with which problem, who may see and change what; and opening a service. */
#include "gateway.h"
#include "service/noun/noun.h"

#include <errno.h>

static int create(struct gateway *g, const struct tenant_spec *spec, struct problem *problem) {
    struct tenant tenant;
    *problem = (struct problem){0};
    return service_tenant_create(g->service, &gateway_admin, spec, &tenant, problem);
}

static uint64_t tenants(struct gateway *g) {
    struct service_status status;
    service_status(g->service, &status);
    return status.tenants;
}

static void a_unique_tenant_gets_a_block_of_the_pool(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "Acme", ADDRESSING_UNIQUE, NULL), again;
    struct problem problem;
    assert_int_equal(tenant.subnet.length, 27);
    assert_true(prefix_covers(&g->config.pool, &tenant.subnet));
    assert_false(prefix_contains(&tenant.subnet, &g->config.hub_address));
    assert_int_equal(tenant.id.bytes[6] >> 4, 7); /* version */
    assert_true(tenant.created_at > 0 && tenant.created_at == tenant.updated_at);
    assert_int_equal(service_tenant_get(g->service, &gateway_admin, &tenant.id, &again, &problem), 0);
    assert_memory_equal(&again, &tenant, sizeof tenant);
    assert_in_force(g);
}

static void tenants_of_their_own_space_may_have_the_same(void **state) {
    struct gateway *g = *state;
    struct tenant one = make_tenant(g, "One", ADDRESSING_PRIVATE, NULL);
    struct tenant two = make_tenant(g, "Two", ADDRESSING_PRIVATE, "10.100.0.0/16");
    assert_true(prefix_equal(&one.subnet, &two.subnet));
    struct router_made a = make_router(g, &one, "a", NULL), b = make_router(g, &two, "b", NULL);
    assert_true(ip_equal(&a.router.address, &b.router.address));
    assert_false(ip_equal(&a.router.hub_address, &b.router.hub_address));
    assert_false(ip_equal(&a.router.address6, &b.router.address6));
    assert_in_force(g);
}

static void bad_tenants_are_refused_and_change_nothing(void **state) {
    struct gateway *g = *state;
    struct problem p;
    static const struct {
        const char *name;
        enum addressing addressing;
        const char *subnet;
        const char *slug, *field;
    } bad[] = {
        {"", ADDRESSING_UNIQUE, NULL, "bad-name", "name"},
        {"a\nb", ADDRESSING_UNIQUE, NULL, "bad-name", "name"},
        {"\xff", ADDRESSING_UNIQUE, NULL, "bad-name", "name"},
        {"t", ADDRESSING_UNIQUE, "192.168.0.0/24", "subnet-outside-pool", "subnet"},
        {"t", ADDRESSING_UNIQUE, "10.128.0.0/15", "subnet-length", "subnet"},
        {"t", ADDRESSING_UNIQUE, "10.1.0.0/31", "subnet-length", "subnet"},
        {"t", ADDRESSING_UNIQUE, "10.0.0.0/24", "contains-hub", "subnet"},
        {"t", ADDRESSING_UNIQUE, "10.0.0.16/28", "subnet-taken", "subnet"},
        {"t", ADDRESSING_UNIQUE, "fd00::/64", "subnet-family", "subnet"},
        {"t", ADDRESSING_PRIVATE, "10.0.0.0/8", "contains-hub", "subnet"},
        {"t", ADDRESSING_PRIVATE, "0.0.0.0/0", "default-route", "subnet"},
        {"t", ADDRESSING_PRIVATE, "128.0.0.0/4", "subnet-length", "subnet"},
        {"t", ADDRESSING_PRIVATE, "127.0.0.0/8", "special-prefix", "subnet"},
        {"t", ADDRESSING_PRIVATE, "224.0.0.0/8", "special-prefix", "subnet"},
        {"t", ADDRESSING_PRIVATE, "172.16.0.0/31", "subnet-length", "subnet"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tenant_spec spec = {.name = bad[i].name, .addressing = bad[i].addressing};
        if (bad[i].subnet) {
            spec.subnet = prefix_of(bad[i].subnet);
        }
        assert_refused(create(g, &spec, &p), p, bad[i].slug, bad[i].field);
    }
    struct tenant_spec spec = {.name = NULL};
    assert_refused(create(g, &spec, &p), p, "bad-name", "name");
    spec = (struct tenant_spec){.name = "t", .addressing = ADDRESSING_PRIVATE, .subnet = prefix_of("10.50.0.0/16")};
    spec.subnet.addr.bytes[3] = 7;
    assert_refused(create(g, &spec, &p), p, "host-bits-set", "subnet");
    assert_non_null(strstr(p.detail, "10.50.0.0/16")); /* the way out */
    assert_int_equal(tenants(g), 0);
    assert_int_equal(fake_plane_tenants(), 0);
}

static void an_id_and_a_wished_subnet_are_given_once(void **state) {
    struct gateway *g = *state;
    struct problem p;
    struct tenant_spec spec = {.name = "t", .id = {{1, 2, 3}}, .subnet = prefix_of("10.7.0.0/16")};
    assert_int_equal(create(g, &spec, &p), 0);
    assert_refused(create(g, &spec, &p), p, "subnet-taken", "subnet");
    spec.subnet = prefix_of("10.7.3.0/24");
    assert_refused(create(g, &spec, &p), p, "subnet-taken", "subnet");
    spec.subnet = prefix_of("10.8.0.0/16");
    assert_refused(create(g, &spec, &p), p, "duplicate-id", "id");
    assert_int_equal(p.kind, PROBLEM_CONFLICT);
    spec.id = (struct uuid){0};
    assert_int_equal(create(g, &spec, &p), 0); /* the refused one has not kept it */
}

static void a_patch_changes_what_it_names(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "Acme", ADDRESSING_UNIQUE, NULL), patched;
    struct problem p = {0};
    struct tenant_patch patch = {.name = "Acme 2", .has_bits_per_second = true, .limits = {.bits_per_second = 1000}};
    assert_int_equal(service_tenant_patch(g->service, &gateway_admin, &tenant.id, &patch, &patched, &p), 0);
    assert_string_equal(patched.name, "Acme 2");
    assert_int_equal(patched.limits.bits_per_second, 1000);
    assert_true(patched.updated_at > tenant.updated_at);
    patch = (struct tenant_patch){.has_egress = true, .egress = true, .has_routers = true, .limits = {.routers = 1}};
    assert_int_equal(service_tenant_patch(g->service, &gateway_admin, &tenant.id, &patch, &patched, &p), 0);
    assert_string_equal(patched.name, "Acme 2");
    assert_true(patched.egress);
    assert_int_equal(patched.limits.bits_per_second, 1000);
    assert_in_force(g);
    patch = (struct tenant_patch){.name = " "};
    assert_refused(service_tenant_patch(g->service, &gateway_admin, &tenant.id, &patch, &patched, &p), p, "bad-name",
                   "name");
    const struct uuid none = {{9}};
    patch = (struct tenant_patch){0};
    assert_refused(service_tenant_patch(g->service, &gateway_admin, &none, &patch, &patched, &p), p, "tenant-not-found",
                   "");
}

static void a_disabled_tenant_leaves_the_data_plane_and_comes_back(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "Acme", ADDRESSING_UNIQUE, NULL), other = make_tenant(g, "B", 1, NULL);
    struct problem p;
    struct prefix lan = prefix_of("192.168.9.0/24");
    struct router_spec spec = {.tenant_id = tenant.id, .name = "r", .lans = &lan, .lan_count = 1};
    struct router_made made;
    assert_int_equal(service_router_create(g->service, &gateway_admin, &spec, &made, &p), 0);
    make_router(g, &other, "other", NULL);
    assert_true(fake_plane_has_route(&lan));
    assert_int_equal(service_tenant_set_status(g->service, &gateway_admin, &tenant.id, TENANT_DISABLED, &tenant, &p),
                     0);
    assert_int_equal(tenant.status, TENANT_DISABLED);
    assert_int_equal(fake_plane_tenants(), 1);
    assert_int_equal(fake_plane_peers(), 1);
    assert_false(fake_plane_has_route(&lan));
    make_router(g, &tenant, "made while disabled", NULL);
    assert_int_equal(fake_plane_peers(), 1);
    assert_int_equal(service_tenant_set_status(g->service, &gateway_admin, &tenant.id, TENANT_ACTIVE, &tenant, &p), 0);
    assert_int_equal(fake_plane_peers(), 3);
    assert_true(fake_plane_has_route(&lan));
    assert_in_force(g);
}

static void deleting_frees_all_that_was_taken(void **state) {
    struct gateway *g = *state;
    struct service_status before, after;
    struct problem p;
    struct tenant tenants_made[3];
    service_status(g->service, &before);
    for (int i = 0; i < 3; i++) {
        tenants_made[i] = make_tenant(g, "t", i == 1 ? ADDRESSING_PRIVATE : ADDRESSING_UNIQUE, NULL);
        for (int j = 0; j < 40; j++) { /* more than a first block has */
            make_router(g, &tenants_made[i], "r", NULL);
        }
    }
    service_status(g->service, &after);
    assert_int_equal(after.routers, 120);
    assert_int_equal(before.pool_free - after.pool_free, 3 * 64);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(service_tenant_delete(g->service, &gateway_admin, &tenants_made[i].id, &p), 0);
        assert_refused(service_tenant_delete(g->service, &gateway_admin, &tenants_made[i].id, &p), p,
                       "tenant-not-found", "");
    }
    service_status(g->service, &after);
    assert_int_equal(after.pool_free, before.pool_free);
    assert_int_equal(after.tenants, 0);
    assert_int_equal(after.routers, 0);
    assert_int_equal(fake_plane_peers(), 0);
    assert_in_force(g);
}

static void tenants_are_paged_by_cursor(void **state) {
    struct gateway *g = *state;
    struct tenant page[4];
    struct tenant_filter filter = {0};
    struct problem p;
    char name[16], cursor[64] = "", next[64];
    size_t count, seen = 0;
    for (int i = 0; i < 11; i++) {
        snprintf(name, sizeof name, "t%d", i);
        make_tenant(g, name, ADDRESSING_UNIQUE, NULL);
    }
    do {
        assert_int_equal(service_tenant_list(g->service, &gateway_admin, &filter, cursor, 4, page, &count, next, &p),
                         0);
        for (size_t i = 0; i < count; i++) {
            snprintf(name, sizeof name, "t%zu", seen++);
            assert_string_equal(page[i].name, name);
        }
        memcpy(cursor, next, sizeof cursor);
    } while (cursor[0]);
    assert_int_equal(seen, 11);
    static const char *const wrong[] = {"x", "p", "p ", "p-1", "pfffffffffffffffff", "7", "p1z"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_refused(service_tenant_list(g->service, &gateway_admin, &filter, wrong[i], 4, page, &count, next, &p), p,
                       "bad-cursor", "cursor");
    }
}

static void a_token_of_a_tenant_sees_that_tenant_only(void **state) {
    struct gateway *g = *state;
    struct tenant mine = make_tenant(g, "mine", ADDRESSING_UNIQUE, NULL), other = make_tenant(g, "other", 0, NULL);
    struct tenant page[4];
    struct tenant_filter all = {0};
    struct tenant_patch patch = {.name = "x"};
    struct tenant_spec spec = {.name = "x"};
    struct problem p;
    char next[64];
    size_t count = 0;
    for (enum scope scope = SCOPE_TENANT_READ; scope <= SCOPE_TENANT_WRITE; scope++) {
        struct caller c = {.scope = scope, .tenant_id = mine.id, .actor = "token:x"};
        assert_int_equal(service_tenant_get(g->service, &c, &mine.id, page, &p), 0);
        assert_refused(service_tenant_get(g->service, &c, &other.id, page, &p), p, "tenant-not-found", "");
        assert_int_equal(service_tenant_list(g->service, &c, &all, "", 4, page, &count, next, &p), 0);
        assert_int_equal(count, 1);
        assert_true(uuid_equal(&page[0].id, &mine.id));
        assert_refused(service_tenant_patch(g->service, &c, &other.id, &patch, page, &p), p, "tenant-not-found", "");
        assert_refused(service_tenant_patch(g->service, &c, &mine.id, &patch, page, &p), p, "scope", "");
        assert_int_equal(p.kind, PROBLEM_FORBIDDEN);
        assert_refused(service_tenant_delete(g->service, &c, &mine.id, &p), p, "scope", "");
        assert_refused(service_tenant_create(g->service, &c, &spec, page, &p), p, "scope", "");
    }
    struct caller metrics = {.scope = SCOPE_METRICS};
    assert_refused(service_tenant_get(g->service, &metrics, &mine.id, page, &p), p, "scope", "");
    assert_refused(service_tenant_list(g->service, &metrics, &all, "", 4, page, &count, next, &p), p, "scope", "");
}

static void an_exhausted_pool_says_so(void **state) {
    struct gateway *g = *state;
    struct problem p;
    struct tenant_spec spec = {.name = "t"};
    int made = 0;
    service_close(g->service);
    g->service = NULL;
    snprintf(g->url, sizeof g->url, "sqlite:%s/small.db", g->folder);
    g->config.pool = prefix_of("10.0.0.0/24");
    assert_int_equal(service_open(&g->config, &g->service, &p), 0);
    while (create(g, &spec, &p) == 0) {
        made++;
    }
    assert_int_equal(made, 7); /* eight /27, one of them the hub's */
    assert_string_equal(p.type, "pool-exhausted");
    assert_int_equal(p.kind, PROBLEM_EXHAUSTED);
    assert_int_equal(tenants(g), 7);
}

/* --- opening --- */

static void assert_open_refused(struct gateway *g, const char *slug) {
    struct problem p = {0};
    struct service *service = NULL;
    assert_true(service_open(&g->config, &service, &p) < 0);
    assert_string_equal(p.type, slug);
    assert_null(service);
}

static void a_database_keeps_what_it_was_made_with(void **state) {
    struct gateway *g = *state;
    struct service_gateway before, after;
    const struct service_config config = g->config;
    struct problem p;
    make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    service_gateway(g->service, &before);
    assert_int_equal(before.ula.addr.bytes[0], 0xfd);
    assert_int_equal(before.ula.length, 48);
    assert_int_equal(before.hub_address6.bytes[15], 1);
    service_close(g->service);
    g->service = NULL;
    g->config.private_key.bytes[0] ^= 8;
    assert_open_refused(g, "gateway-key-changed");
    g->config = config;
    g->config.hub_address = ip_of("10.0.0.2");
    assert_open_refused(g, "hub-address-changed");
    g->config = config;
    g->config.pool = prefix_of("10.0.0.0/9");
    assert_open_refused(g, "pool-changed");
    g->config = config;
    g->config.ula = prefix_of("fd00:1:2::/48");
    assert_open_refused(g, "ula-changed");
    g->config = config;
    g->config.pool = prefix_of("8.0.0.0/6"); /* wider: welcome */
    assert_int_equal(service_open(&g->config, &g->service, &p), 0);
    service_gateway(g->service, &after);
    assert_true(prefix_equal(&after.ula, &before.ula));
    struct tenant far = make_tenant(g, "far", ADDRESSING_UNIQUE, "11.5.0.0/16");
    assert_int_equal(far.subnet.length, 16);
}

static void an_empty_database_takes_another_configuration(void **state) {
    struct gateway *g = *state;
    struct problem p;
    service_close(g->service);
    g->service = NULL;
    g->config.pool = prefix_of("172.16.0.0/12");
    g->config.hub_address = ip_of("172.16.0.1");
    g->config.private_key.bytes[0] ^= 8;
    assert_int_equal(service_open(&g->config, &g->service, &p), 0);
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    assert_true(prefix_covers(&g->config.pool, &tenant.subnet));
}

static void a_wrong_configuration_is_refused(void **state) {
    struct gateway *g = *state;
    const struct service_config config = g->config;
    g->config.hub_address = ip_of("11.0.0.1");
    assert_open_refused(g, "hub-address");
    g->config.hub_address = ip_of("10.0.0.0");
    assert_open_refused(g, "hub-address");
    g->config.hub_address = ip_of("10.255.255.255");
    assert_open_refused(g, "hub-address");
    g->config = config;
    g->config.pool = prefix_of("10.0.0.0/29");
    assert_open_refused(g, "pool");
    g->config.pool = prefix_of("fd00::/8");
    assert_open_refused(g, "pool");
    g->config = config;
    g->config.ula = prefix_of("fd00::/64");
    assert_open_refused(g, "ula");
    g->config = config;
    memset(&g->config.private_key, 0, sizeof g->config.private_key);
    assert_open_refused(g, "private-key");
    g->config = config;
    g->config.store_url = "sqlite:/nonexistent/folder/x.db";
    assert_open_refused(g, "store-unreachable");
    g->config = config;
}

static void the_endpoint_is_split_into_host_and_port(void **state) {
    struct gateway *g = *state;
    static const struct {
        const char *endpoint, *host;
        uint16_t port;
    } cases[] = {
        {"vpn.example.com", "vpn.example.com", 51820},
        {"vpn.example.com:443", "vpn.example.com", 443},
        {"192.0.2.1:1", "192.0.2.1", 1},
        {"2001:db8::1", "2001:db8::1", 51820},
        {"[2001:db8::1]", "2001:db8::1", 51820},
        {"[2001:db8::1]:5000", "2001:db8::1", 5000},
        {NULL, "", 51820},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct service_gateway gateway;
        g->config.endpoint = cases[i].endpoint;
        gateway_restart(g);
        service_gateway(g->service, &gateway);
        assert_string_equal(gateway.endpoint_host, cases[i].host);
        assert_int_equal(gateway.endpoint_port, cases[i].port);
    }
}

/* One with very many routers goes in shares: others write in between, and nobody sees one half of it in force. */
static void a_tenant_with_thousands_of_routers_goes_in_shares(void **state) {
    enum { ROUTERS = 5000 };
    struct gateway *g = *state;
    struct router_spec *specs = calloc(ROUTERS, sizeof *specs);
    struct router_made *made = calloc(ROUTERS, sizeof *made);
    struct bulk_item *items = calloc(ROUTERS, sizeof *items);
    struct tenant tenant = make_tenant(g, "many", ADDRESSING_UNIQUE, NULL),
                  other = make_tenant(g, "o", ADDRESSING_UNIQUE, NULL);
    struct service_status before, after;
    struct problem p = {0};
    service_status(g->service, &before);
    for (size_t i = 0; i < ROUTERS; i++) {
        specs[i] = (struct router_spec){.tenant_id = tenant.id, .name = "r"};
        memset(specs[i].public_key.bytes, 7, KEY_SIZE);
        memcpy(specs[i].public_key.bytes, &i, sizeof i);
        items[i] = (struct bulk_item){.routers = &specs[i], .router_count = 1, .made = &made[i]};
    }
    assert_int_equal(service_bulk_create(g->service, &gateway_admin, items, ROUTERS, &p), 0);
    assert_int_equal(fake_plane_peers(), ROUTERS);
    uint64_t revision = ledger_revision(g->service->ledger);
    assert_int_equal(service_tenant_delete(g->service, &gateway_admin, &tenant.id, &p), 0);
    assert_int_equal(fake_plane_peers(), 0);
    assert_in_force(g);
    assert_int_equal(ledger_revision(g->service->ledger), revision + 2); /* disabled, deleted */
    service_status(g->service, &after);
    assert_int_equal(after.routers, before.routers);
    assert_int_equal(after.tenants, before.tenants - 1);
    assert_int_equal(after.pool_total, before.pool_total);
    assert_int_equal(gateway_number(g, "SELECT COUNT(*) FROM vpn_configurations"), 0);
    assert_int_equal(service_tenant_get(g->service, &gateway_admin, &other.id, &other, &p), 0);
    free(specs);
    free(made);
    free(items);
}

/* It was left half-way. */
static void a_deletion_that_was_left_half_way_is_done_again(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made gone = make_router(g, &tenant, "1", NULL), left = make_router(g, &tenant, "2", NULL);
    struct problem p;
    assert_int_equal(service_tenant_set_status(g->service, &gateway_admin, &tenant.id, TENANT_DISABLED, &tenant, &p),
                     0);
    (void)gateway_number(g, "DELETE FROM vpn_configurations WHERE id = (SELECT MIN(id) FROM vpn_configurations)");
    (void)gateway_number(g, "UPDATE tenant_vpn_tunnels SET routers = 1");
    (void)gone;
    (void)left;
    gateway_restart(g);
    assert_in_force(g);
    assert_int_equal(service_tenant_delete(g->service, &gateway_admin, &tenant.id, &p), 0);
    assert_int_equal(gateway_number(g, "SELECT COUNT(*) FROM vpn_configurations"), 0);
    assert_in_force(g);
}

int main(void) {
#define WITH_GATEWAY(test) cmocka_unit_test_setup_teardown(test, gateway_setup, gateway_teardown)
    const struct CMUnitTest tests[] = {
        WITH_GATEWAY(a_unique_tenant_gets_a_block_of_the_pool),
        WITH_GATEWAY(tenants_of_their_own_space_may_have_the_same),
        WITH_GATEWAY(bad_tenants_are_refused_and_change_nothing),
        WITH_GATEWAY(an_id_and_a_wished_subnet_are_given_once),
        WITH_GATEWAY(a_patch_changes_what_it_names),
        WITH_GATEWAY(a_disabled_tenant_leaves_the_data_plane_and_comes_back),
        WITH_GATEWAY(deleting_frees_all_that_was_taken),
        WITH_GATEWAY(tenants_are_paged_by_cursor),
        WITH_GATEWAY(a_token_of_a_tenant_sees_that_tenant_only),
        WITH_GATEWAY(an_exhausted_pool_says_so),
        WITH_GATEWAY(a_database_keeps_what_it_was_made_with),
        WITH_GATEWAY(an_empty_database_takes_another_configuration),
        WITH_GATEWAY(a_wrong_configuration_is_refused),
        WITH_GATEWAY(the_endpoint_is_split_into_host_and_port),
        WITH_GATEWAY(a_tenant_with_thousands_of_routers_goes_in_shares),
        WITH_GATEWAY(a_deletion_that_was_left_half_way_is_done_again),
    };
    return cmocka_run_group_tests_name("tenants", tests, NULL, NULL);
}
