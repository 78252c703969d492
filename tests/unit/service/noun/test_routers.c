/* Routers: addresses, keys, LANs, what is refused with which problem, and what reaches the data plane. */
#include "gateway.h"

#include <errno.h>
#include <sodium.h>

static int create(struct gateway *g, const struct caller *c, const struct router_spec *spec, struct router_made *made,
                  struct problem *p) {
    *p = (struct problem){0};
    return service_router_create(g->service, c, spec, made, p);
}

static void a_key_pair_is_made_and_its_private_half_shown_once(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct router got;
    struct problem p;
    struct key public_key;
    key_public(&made.private_key, &public_key);
    assert_true(key_equal(&public_key, &made.router.public_key));
    assert_int_equal(service_router_get(g->service, &gateway_admin, &made.router.id, &got, &p), 0);
    assert_memory_equal(&got, &made.router, sizeof got);
    struct router_spec spec = {.tenant_id = tenant.id, .name = "own", .public_key = {{9}}};
    assert_int_equal(create(g, &gateway_admin, &spec, &made, &p), 0);
    assert_true(key_is_zero(&made.private_key));
}

/* Searches what PostgreSQL has of routers for a text, or for bytes in hexadecimal as bytea is shown. */
static bool rows_contain(struct gateway *g, const void *bytes, size_t size) {
    char sql[300], hex[2 * KEY_SIZE + 1];
    if (size == KEY_SIZE) {
        sodium_bin2hex(hex, sizeof hex, bytes, size);
    }
    snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM vpn_configurations r WHERE strpos(r::text, '%s') > 0",
             size == KEY_SIZE ? hex : (const char *)bytes);
    return gateway_number(g, sql) > 0;
}

/* Searches the whole database, with its log, for bytes. */
static bool database_contains(struct gateway *g, const void *bytes, size_t size) {
    bool found = false;
    if (!gateway_is_file(g)) {
        return rows_contain(g, bytes, size);
    }
    static const char *const suffixes[] = {"", "-wal"};
    for (int i = 0; i < 2; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s/store.db%s", g->folder, suffixes[i]);
        FILE *file = fopen(path, "r");
        if (file) {
            char *content = malloc(64 << 20);
            size_t read = fread(content, 1, 64 << 20, file);
            found = found || memmem(content, read, bytes, size);
            free(content);
            fclose(file);
        }
    }
    return found;
}

static void secrets_are_not_in_the_database(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made made;
    struct router got;
    struct problem p;
    char text[KEY_BASE64_SIZE];
    struct router_spec spec = {.tenant_id = tenant.id, .name = "r", .generate_preshared_key = true};
    assert_int_equal(create(g, &gateway_admin, &spec, &made, &p), 0);
    assert_false(key_is_zero(&made.router.preshared_key));
    assert_true(database_contains(g, key_to_base64(&made.router.public_key, text), 44));
    const struct key *secrets[] = {&made.private_key, &made.router.preshared_key};
    for (int i = 0; i < 2; i++) {
        assert_false(database_contains(g, secrets[i], KEY_SIZE));
        assert_false(database_contains(g, key_to_base64(secrets[i], text), 44));
    }
    gateway_restart(g); /* the seal opens again */
    assert_int_equal(service_router_get(g->service, &gateway_admin, &made.router.id, &got, &p), 0);
    assert_true(key_equal(&got.preshared_key, &made.router.preshared_key));
    gateway_reconcile(g);
    assert_in_force(g);
}

static void a_broken_seal_opens_nothing_until_it_is_rotated(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made made;
    struct router got;
    struct problem p;
    struct router_spec spec = {.tenant_id = tenant.id, .name = "r", .generate_preshared_key = true};
    assert_int_equal(create(g, &gateway_admin, &spec, &made, &p), 0);
    (void)gateway_number(
        g, gateway_is_file(g) ? "UPDATE vpn_configurations SET preshared_key_sealed = zeroblob(72)"
                              : "UPDATE vpn_configurations SET preshared_key_sealed = decode(repeat('00', 72), 'hex')");
    assert_refused(service_router_get(g->service, &gateway_admin, &made.router.id, &got, &p), p, "seal-broken", "");
    gateway_reconcile(g);
    assert_int_equal(fake_plane_peers(), 0); /* rather none than one without its preshared key */
    assert_int_equal(service_router_rotate(g->service, &gateway_admin, &made.router.id, &spec, &made, &p), 0);
    assert_int_equal(service_router_get(g->service, &gateway_admin, &made.router.id, &got, &p), 0);
    assert_in_force(g);
}

static void addresses_are_the_tenants_and_each_given_once(void **state) {
    struct gateway *g = *state;
    struct tenant unique = make_tenant(g, "u", ADDRESSING_UNIQUE, NULL);
    struct tenant own = make_tenant(g, "p", ADDRESSING_PRIVATE, "192.168.1.0/24");
    struct router_made made;
    struct problem p;
    struct service_gateway gateway;
    service_gateway(g->service, &gateway);
    struct router_made first = make_router(g, &unique, "a", NULL), wished = make_router(g, &own, "b", "192.168.1.77");
    assert_true(prefix_contains(&unique.subnet, &first.router.address));
    assert_true(ip_equal(&first.router.address, &first.router.hub_address));
    assert_true(prefix_contains(&gateway.ula, &first.router.address6));
    assert_true(prefix_contains(&gateway.pool, &wished.router.hub_address));
    assert_false(ip_equal(&wished.router.address, &wished.router.hub_address));
    static const struct {
        bool own;
        const char *address, *slug;
    } bad[] = {
        {true, "192.168.1.77", "duplicate-address"},
        {true, "192.168.1.0", "duplicate-address"},
        {true, "192.168.1.255", "duplicate-address"},
        {true, "192.168.2.1", "address-outside-tenant"},
        {false, "10.200.0.1", "address-outside-tenant"},
        {false, "10.0.0.1", "address-outside-tenant"},
        {true, "fd00::1", "address-family"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct router_spec spec = {.tenant_id = bad[i].own ? own.id : unique.id, .name = "x"};
        spec.address = ip_of(bad[i].address);
        assert_refused(create(g, &gateway_admin, &spec, &made, &p), p, bad[i].slug, "address");
    }
    assert_in_force(g);
}

static void wrong_keys_are_refused(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL), other = make_tenant(g, "o", 0, NULL);
    struct service_gateway gateway;
    struct router_made made;
    struct problem p;
    service_gateway(g->service, &gateway);
    struct router_spec spec = {.tenant_id = tenant.id, .name = "r", .public_key = {{1}}};
    assert_refused(create(g, &gateway_admin, &spec, &made, &p), p, "weak-public-key", "public_key");
    spec.public_key = gateway.public_key;
    assert_refused(create(g, &gateway_admin, &spec, &made, &p), p, "gateways-own-key", "public_key");
    struct router_made first = make_router(g, &other, "first", NULL);
    spec.public_key = first.router.public_key;
    char id[UUID_TEXT_SIZE];
    assert_refused(create(g, &gateway_admin, &spec, &made, &p), p, "duplicate-public-key", "public_key");
    assert_non_null(strstr(p.detail, uuid_format(&first.router.id, id)));
    struct caller tenant_only = {.scope = SCOPE_TENANT_WRITE, .tenant_id = tenant.id};
    assert_refused(create(g, &tenant_only, &spec, &made, &p), p, "duplicate-public-key", "public_key");
    assert_null(strstr(p.detail, id)); /* not who has it */
    spec = (struct router_spec){.tenant_id = tenant.id, .name = "r", .id = first.router.id};
    assert_refused(create(g, &gateway_admin, &spec, &made, &p), p, "duplicate-id", "id");
    struct tenant after;
    assert_int_equal(service_tenant_get(g->service, &gateway_admin, &tenant.id, &after, &p), 0);
    assert_int_equal(after.routers, 0);
    struct router_made next = make_router(g, &tenant, "next", NULL);
    assert_int_equal(next.router.address.bytes[3] % 32, 1); /* the refused ones took no address */
}

static void a_repeat_meets_itself_before_all_else(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, "192.168.7.0/24");
    struct prefix lan = prefix_of("172.16.1.0/24");
    struct router_made made;
    struct problem p;
    struct key key;
    key_make_preshared(&key);
    const struct router_spec whole = {.tenant_id = tenant.id,
                                      .id = {{9}},
                                      .name = "r",
                                      .public_key = key,
                                      .address = ip_of("192.168.7.9"),
                                      .lans = &lan,
                                      .lan_count = 1};
    assert_int_equal(create(g, &gateway_admin, &whole, &made, &p), 0);
    for (int i = 0; i < 4; i++) { /* all at once, then what each of them alone would be refused for */
        struct router_spec again = {.tenant_id = tenant.id, .id = whole.id, .name = "r"};
        again.public_key = i == 0 || i == 1 ? key : again.public_key;
        again.address = i == 0 || i == 2 ? whole.address : again.address;
        again.lans = i == 0 || i == 3 ? &lan : NULL;
        again.lan_count = again.lans ? 1 : 0;
        assert_refused(create(g, &gateway_admin, &again, &made, &p), p, "duplicate-id", "id");
    }
}

static int create_with_lan(struct gateway *g, const struct tenant *tenant, const char *lan, struct problem *p) {
    struct prefix prefix = prefix_of(lan);
    struct router_made made;
    struct router_spec spec = {.tenant_id = tenant->id, .name = "r", .lans = &prefix, .lan_count = 1};
    return create(g, &gateway_admin, &spec, &made, p);
}

static void lans_overlap_nothing_in_their_space(void **state) {
    struct gateway *g = *state;
    struct tenant one = make_tenant(g, "1", ADDRESSING_UNIQUE, NULL), two = make_tenant(g, "2", 0, NULL);
    struct tenant own = make_tenant(g, "3", ADDRESSING_PRIVATE, "172.16.0.0/16");
    struct tenant same = make_tenant(g, "4", ADDRESSING_PRIVATE, "172.16.0.0/16");
    struct service_gateway gateway;
    struct problem p;
    char ula[PREFIX_TEXT_SIZE];
    service_gateway(g->service, &gateway);
    assert_int_equal(create_with_lan(g, &one, "192.168.88.0/24", &p), 0);
    assert_refused(create_with_lan(g, &one, "192.168.88.0/24", &p), p, "lan-overlap", "lans[0]");
    assert_refused(create_with_lan(g, &two, "192.168.0.0/16", &p), p, "lan-overlap", "lans[0]");
    assert_int_equal(p.kind, PROBLEM_CONFLICT);
    assert_refused(create_with_lan(g, &two, "10.99.0.0/24", &p), p, "lan-overlaps-tunnel", "lans[0]");
    assert_int_equal(create_with_lan(g, &own, "192.168.88.0/24", &p), 0);
    assert_int_equal(create_with_lan(g, &same, "192.168.88.0/24", &p), 0);
    assert_int_equal(create_with_lan(g, &own, "10.99.0.0/24", &p), 0);
    assert_refused(create_with_lan(g, &own, "192.168.88.128/25", &p), p, "lan-overlap", "lans[0]");
    assert_refused(create_with_lan(g, &own, "172.16.5.0/24", &p), p, "lan-overlaps-tunnel", "lans[0]");
    static const struct {
        const char *lan, *slug;
    } bad[] = {
        {"0.0.0.0/0", "default-route"},       {"::/0", "default-route"},
        {"224.1.0.0/16", "special-prefix"},   {"127.1.0.0/16", "special-prefix"},
        {"169.254.7.0/24", "special-prefix"}, {"fe80::/64", "special-prefix"},
        {"ff02::/16", "special-prefix"},      {"10.0.0.0/16", "contains-hub"},
        {"8.0.0.0/6", "contains-hub"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(create_with_lan(g, &own, bad[i].lan, &p), p, bad[i].slug, "lans[0]");
    }
    assert_refused(create_with_lan(g, &own, prefix_format(&gateway.ula, ula), &p), p, "lan-overlaps-ula", "lans[0]");
    struct prefix pair[] = {prefix_of("192.168.1.0/24"), prefix_of("192.168.1.128/25")};
    struct router_made made;
    struct router_spec spec = {.tenant_id = own.id, .name = "r", .lans = pair, .lan_count = 2};
    assert_refused(create(g, &gateway_admin, &spec, &made, &p), p, "lan-overlap", "lans[1]");
    pair[0].addr.bytes[3] = 5;
    assert_refused(create(g, &gateway_admin, &spec, &made, &p), p, "host-bits-set", "lans[0]");
    assert_non_null(strstr(p.detail, "192.168.1.0/24"));
    struct prefix many[ROUTER_LANS_MAX + 1];
    for (uint8_t i = 0; i <= ROUTER_LANS_MAX; i++) {
        many[i] = prefix_of("192.168.200.0/30");
        many[i].addr.bytes[3] = (uint8_t)(i * 4);
    }
    spec.lans = many;
    spec.lan_count = ROUTER_LANS_MAX + 1;
    assert_refused(create(g, &gateway_admin, &spec, &made, &p), p, "too-many-lans", "lans");
    spec.lan_count = ROUTER_LANS_MAX;
    assert_int_equal(create(g, &gateway_admin, &spec, &made, &p), 0);
    assert_in_force(g);
}

static void a_patch_replaces_lans_and_their_routes(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct router router;
    struct problem p;
    struct prefix before[] = {prefix_of("192.168.1.0/24"), prefix_of("192.168.2.0/24")};
    struct prefix after[] = {prefix_of("192.168.2.0/24"), prefix_of("192.168.3.0/24")};
    struct router_patch patch = {.name = "renamed", .has_lans = true, .lans = before, .lan_count = 2};
    assert_int_equal(service_router_patch(g->service, &gateway_admin, &made.router.id, &patch, &router, &p), 0);
    assert_string_equal(router.name, "renamed");
    assert_int_equal(fake_plane_routes(), 2);
    patch = (struct router_patch){.has_lans = true, .lans = after, .lan_count = 2};
    assert_int_equal(service_router_patch(g->service, &gateway_admin, &made.router.id, &patch, &router, &p), 0);
    assert_string_equal(router.name, "renamed");
    assert_int_equal(fake_plane_routes(), 2);
    assert_false(fake_plane_has_route(&before[0]));
    assert_in_force(g);
    struct router_made other = make_router(g, &tenant, "other", NULL);
    assert_refused(service_router_patch(g->service, &gateway_admin, &other.router.id, &patch, &router, &p), p,
                   "lan-overlap", "lans[0]");
    patch.lan_count = 0;
    assert_int_equal(service_router_patch(g->service, &gateway_admin, &made.router.id, &patch, &router, &p), 0);
    assert_int_equal(fake_plane_routes(), 0);
    assert_in_force(g);
}

static void a_disabled_router_leaves_the_data_plane_and_comes_back(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL);
    struct router router;
    struct problem p;
    assert_int_equal(service_router_set_disabled(g->service, &gateway_admin, &made.router.id, true, &router, &p), 0);
    assert_int_equal(router.status, ROUTER_DISABLED);
    assert_int_equal(fake_plane_peers(), 0);
    assert_int_equal(service_router_set_disabled(g->service, &gateway_admin, &made.router.id, true, &router, &p), 0);
    assert_int_equal(service_router_set_disabled(g->service, &gateway_admin, &made.router.id, false, &router, &p), 0);
    assert_int_equal(router.status, ROUTER_PENDING);
    assert_in_force(g);
    assert_int_equal(fake_plane_peers(), 1);
}

static void rotating_replaces_the_peer(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &tenant, "r", NULL), other = make_router(g, &tenant, "o", NULL), rotated;
    struct actual_peer peer;
    struct problem p;
    struct router_spec spec = {.generate_preshared_key = true};
    assert_int_equal(service_router_rotate(g->service, &gateway_admin, &made.router.id, &spec, &rotated, &p), 0);
    assert_false(key_equal(&rotated.router.public_key, &made.router.public_key));
    assert_false(key_is_zero(&rotated.private_key));
    assert_false(key_is_zero(&rotated.router.preshared_key));
    assert_true(ip_equal(&rotated.router.address, &made.router.address));
    assert_false(fake_plane_peer(&made.router.public_key, &peer));
    assert_true(fake_plane_peer(&rotated.router.public_key, &peer));
    spec = (struct router_spec){.public_key = other.router.public_key};
    assert_refused(service_router_rotate(g->service, &gateway_admin, &made.router.id, &spec, &rotated, &p), p,
                   "duplicate-public-key", "public_key");
    /* The same key with a new preshared key only. */
    spec = (struct router_spec){.public_key = other.router.public_key, .preshared_key = {{5}}};
    assert_int_equal(service_router_rotate(g->service, &gateway_admin, &other.router.id, &spec, &rotated, &p), 0);
    assert_int_equal(rotated.router.preshared_key.bytes[0], 5);
    assert_in_force(g);
}

static void a_deleted_router_is_gone_with_all_it_had(void **state) {
    struct gateway *g = *state;
    struct tenant tenant = make_tenant(g, "t", ADDRESSING_UNIQUE, NULL), after;
    struct problem p;
    struct router router;
    struct prefix lan = prefix_of("192.168.9.0/24");
    struct router_made made;
    struct router_spec spec = {.tenant_id = tenant.id, .name = "r", .lans = &lan, .lan_count = 1};
    assert_int_equal(create(g, &gateway_admin, &spec, &made, &p), 0);
    assert_int_equal(service_router_delete(g->service, &gateway_admin, &made.router.id, &p), 0);
    assert_refused(service_router_get(g->service, &gateway_admin, &made.router.id, &router, &p), p, "router-not-found",
                   "");
    assert_int_equal(fake_plane_peers(), 0);
    assert_int_equal(fake_plane_routes(), 0);
    assert_int_equal(service_tenant_get(g->service, &gateway_admin, &tenant.id, &after, &p), 0);
    assert_int_equal(after.routers, 0);
    spec.public_key = made.router.public_key; /* key and LAN are free again */
    struct router_made again;
    assert_int_equal(create(g, &gateway_admin, &spec, &again, &p), 0);
    assert_false(ip_equal(&again.router.address, &made.router.address)); /* its address rests */
    assert_in_force(g);
}

static void limits_of_routers_hold(void **state) {
    struct gateway *g = *state;
    struct tenant tenant;
    struct problem p;
    struct router_made made;
    struct tenant_spec limited = {.name = "t", .limits = {.routers = 2}};
    struct tenant tiny = make_tenant(g, "tiny", ADDRESSING_PRIVATE, "192.168.1.0/30");
    assert_int_equal(service_tenant_create(g->service, &gateway_admin, &limited, &tenant, &p), 0);
    make_router(g, &tenant, "1", NULL);
    make_router(g, &tenant, "2", NULL);
    make_router(g, &tiny, "1", NULL);
    make_router(g, &tiny, "2", NULL);
    struct router_spec spec = {.tenant_id = tenant.id, .name = "3"};
    assert_refused(create(g, &gateway_admin, &spec, &made, &p), p, "router-limit", "");
    assert_int_equal(p.kind, PROBLEM_EXHAUSTED);
    spec.tenant_id = tiny.id;
    assert_refused(create(g, &gateway_admin, &spec, &made, &p), p, "subnet-exhausted", "");
}

static void a_token_of_a_tenant_keeps_to_its_routers(void **state) {
    struct gateway *g = *state;
    struct tenant mine = make_tenant(g, "mine", ADDRESSING_UNIQUE, NULL), other = make_tenant(g, "other", 0, NULL);
    struct router_made a = make_router(g, &mine, "a", NULL), b = make_router(g, &other, "b", NULL), made;
    struct router list[4];
    struct problem p;
    size_t count;
    char next[64];
    struct caller reads = {.scope = SCOPE_TENANT_READ, .tenant_id = mine.id};
    struct caller writes = {.scope = SCOPE_TENANT_WRITE, .tenant_id = mine.id};
    struct router_patch patch = {.name = "x"};
    struct router_spec spec = {.tenant_id = other.id, .name = "x"};
    assert_int_equal(service_router_get(g->service, &reads, &a.router.id, list, &p), 0);
    assert_refused(service_router_get(g->service, &reads, &b.router.id, list, &p), p, "router-not-found", "");
    assert_refused(service_router_patch(g->service, &reads, &a.router.id, &patch, list, &p), p, "scope", "");
    assert_refused(service_router_patch(g->service, &writes, &b.router.id, &patch, list, &p), p, "router-not-found",
                   "");
    assert_refused(service_router_delete(g->service, &writes, &b.router.id, &p), p, "router-not-found", "");
    assert_refused(service_router_rotate(g->service, &writes, &b.router.id, &spec, &made, &p), p, "router-not-found",
                   "");
    assert_refused(create(g, &writes, &spec, &made, &p), p, "tenant-not-found", "");
    spec.tenant_id = mine.id;
    assert_refused(create(g, &reads, &spec, &made, &p), p, "scope", "");
    assert_int_equal(create(g, &writes, &spec, &made, &p), 0);
    struct router_filter filter = {0};
    assert_int_equal(service_router_list(g->service, &reads, &filter, "", 4, list, &count, next, &p), 0);
    assert_int_equal(count, 2);
    filter.tenant_id = other.id;
    assert_refused(service_router_list(g->service, &reads, &filter, "", 4, list, &count, next, &p), p,
                   "tenant-not-found", "");
    struct caller metrics = {.scope = SCOPE_METRICS};
    assert_refused(service_router_get(g->service, &metrics, &a.router.id, list, &p), p, "scope", "");
}

static void routers_are_found_by_either_address(void **state) {
    struct gateway *g = *state;
    struct tenant own = make_tenant(g, "p", ADDRESSING_PRIVATE, NULL);
    struct router_made made = make_router(g, &own, "a", NULL);
    make_router(g, &own, "b", NULL);
    const struct ip_addr *addresses[] = {&made.router.address, &made.router.hub_address, &made.router.address6};
    for (int i = 0; i < 3; i++) {
        struct router list[4];
        struct problem p;
        size_t count = 0;
        char next[64];
        struct router_filter filter = {.has_address = true, .address = *addresses[i]};
        assert_int_equal(service_router_list(g->service, &gateway_admin, &filter, "", 4, list, &count, next, &p), 0);
        assert_int_equal(count, 1);
        assert_true(uuid_equal(&list[0].id, &made.router.id));
    }
}

int main(void) {
#define WITH_GATEWAY(test) cmocka_unit_test_setup_teardown(test, gateway_setup, gateway_teardown)
    const struct CMUnitTest tests[] = {
        WITH_GATEWAY(a_key_pair_is_made_and_its_private_half_shown_once),
        WITH_GATEWAY(secrets_are_not_in_the_database),
        WITH_GATEWAY(a_broken_seal_opens_nothing_until_it_is_rotated),
        WITH_GATEWAY(addresses_are_the_tenants_and_each_given_once),
        WITH_GATEWAY(wrong_keys_are_refused),
        WITH_GATEWAY(a_repeat_meets_itself_before_all_else),
        WITH_GATEWAY(lans_overlap_nothing_in_their_space),
        WITH_GATEWAY(a_patch_replaces_lans_and_their_routes),
        WITH_GATEWAY(a_disabled_router_leaves_the_data_plane_and_comes_back),
        WITH_GATEWAY(rotating_replaces_the_peer),
        WITH_GATEWAY(a_deleted_router_is_gone_with_all_it_had),
        WITH_GATEWAY(limits_of_routers_hold),
        WITH_GATEWAY(a_token_of_a_tenant_keeps_to_its_routers),
        WITH_GATEWAY(routers_are_found_by_either_address),
    };
    return cmocka_run_group_tests_name("routers", tests, NULL, NULL);
}
