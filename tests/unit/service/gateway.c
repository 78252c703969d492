#include "gateway.h"

#include "../store/schema.h"

#include <errno.h>
#include <ftw.h>
#include <unistd.h>

#include "service/noun/noun.h"

const struct caller gateway_admin = {.scope = SCOPE_ADMIN, .actor = "uid:0"};

struct prefix prefix_of(const char *text) {
    struct prefix prefix;
    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

struct ip_addr ip_of(const char *text) {
    struct ip_addr addr;
    assert_int_equal(ip_parse(text, &addr), 0);
    return addr;
}

static void open_service(struct gateway *g) {
    struct problem problem = {0};
    if (service_open(&g->config, &g->service, &problem) < 0) {
        fail_msg("service_open: %s", problem.detail);
    }
}

int gateway_setup(void **state) {
    struct gateway *g = calloc(1, sizeof *g);
    snprintf(g->folder, sizeof g->folder, "/tmp/sallyport-test-XXXXXX");
    assert_non_null(mkdtemp(g->folder));
    if (!schema_url(g->url, sizeof g->url)) {
        snprintf(g->url, sizeof g->url, "sqlite:%s/store.db", g->folder);
    }
    static struct prefix lan_prefixes[4];
    lan_prefixes[0] = prefix_of("10.0.0.0/8");
    lan_prefixes[1] = prefix_of("172.16.0.0/12");
    lan_prefixes[2] = prefix_of("192.168.0.0/16");
    lan_prefixes[3] = prefix_of("fc00::/7");
    fake_plane_reset();
    g->config = (struct service_config){
        .store_url = g->url,
        .pool = prefix_of("10.0.0.0/8"),
        .hub_address = ip_of("10.0.0.1"),
        .lan_prefixes = lan_prefixes,
        .lan_prefix_count = sizeof lan_prefixes / sizeof *lan_prefixes,
        .resolvers = "/dev/null", /* this machine's are no matter of a test */
        .endpoint = "vpn.example.com",
        .listen_port = 51820,
        .mtu = 1420,
        .backend = &fake_plane_ops,
        .backend_why = "a test",
        .backend_config = {.interface_name = "wg0"},
        .reconcile_s = 3600,
        .usage_s = 3600,
    };
    memset(g->config.private_key.bytes, 0x41, KEY_SIZE);
    memset(g->config.identity.bytes, 0x42, sizeof g->config.identity.bytes); /* it comes back after a kill */
    open_service(g);
    *state = g;
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

int gateway_teardown(void **state) {
    struct gateway *g = *state;
    if (g->service) {
        assert_int_equal(ledger_writers(g->service->ledger), 0); /* every receipt went to force_begin() */
    }
    service_close(g->service);
    schema_drop(g->url);
    nftw(g->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    fake_plane_free();
    free(g);
    return 0;
}

void gateway_restart(struct gateway *g) {
    service_close(g->service);
    open_service(g);
}

struct tenant make_tenant(struct gateway *g, const char *name, enum addressing addressing, const char *subnet) {
    struct tenant tenant;
    struct problem problem = {0};
    struct tenant_spec spec = {.name = name, .addressing = addressing};
    if (subnet) {
        spec.subnet = prefix_of(subnet);
    }
    if (service_tenant_create(g->service, &gateway_admin, &spec, &tenant, &problem) < 0) {
        fail_msg("tenant %s: %s", name, problem.detail);
    }
    return tenant;
}

struct router_made make_router(struct gateway *g, const struct tenant *tenant, const char *name, const char *address) {
    struct router_made made;
    struct problem problem = {0};
    struct router_spec spec = {.tenant_id = tenant->id, .name = name};
    if (address) {
        spec.address = ip_of(address);
    }
    if (service_router_create(g->service, &gateway_admin, &spec, &made, &problem) < 0) {
        fail_msg("router %s: %s", name, problem.detail);
    }
    return made;
}

bool gateway_is_file(const struct gateway *g) {
    return strncmp(g->url, "sqlite:", 7) == 0;
}

int64_t gateway_number(struct gateway *g, const char *sql) {
    int64_t number = 0;
    ledger_turn_begin(g->service->ledger);
    int r = query_number(store_writer(g->service->store), sql, NULL, 0, &number);
    ledger_turn_end(g->service->ledger);
    assert_true(r == 0 || r == -ENOENT); /* a statement that changes something has no row */
    return number;
}

int64_t gateway_writes(struct gateway *g) {
    return gateway_number(g, gateway_is_file(g)
                                 ? "SELECT total_changes()"
                                 : "SELECT CAST((SELECT SUM(xmin::text::bigint) FROM vpn_configurations) + "
                                   "(SELECT SUM(xmin::text::bigint) FROM tenant_vpn_tunnels) AS BIGINT)");
}

#define PAGE 500

static size_t check_tenants(struct gateway *g) {
    struct tenant *tenants = calloc(PAGE, sizeof *tenants);
    struct tenant_filter all = {0};
    struct problem problem = {0};
    char cursor[64] = "";
    size_t active = 0, count;
    do {
        char from[64];
        memcpy(from, cursor, sizeof from);
        assert_int_equal(
            service_tenant_list(g->service, &gateway_admin, &all, from, PAGE, tenants, &count, cursor, &problem), 0);
        for (size_t i = 0; i < count; i++) {
            struct actual_tenant is;
            bool there = fake_plane_tenant(&tenants[i].id, &is);
            assert_int_equal(there, tenants[i].status == TENANT_ACTIVE);
            if (there) {
                active++;
                assert_int_equal(is.is.addressing, tenants[i].addressing);
                assert_int_equal(is.is.egress, tenants[i].egress);
                assert_int_equal(is.is.limits.bits_per_second, tenants[i].limits.bits_per_second);
            }
        }
    } while (cursor[0]);
    free(tenants);
    return active;
}

static size_t check_routers(struct gateway *g) {
    struct router *routers = calloc(PAGE, sizeof *routers);
    struct router_filter all = {0};
    struct problem problem = {0};
    char cursor[64] = "";
    size_t active = 0, routes = 0, count;
    do {
        char from[64];
        memcpy(from, cursor, sizeof from);
        assert_int_equal(
            service_router_list(g->service, &gateway_admin, &all, from, PAGE, routers, &count, cursor, &problem), 0);
        for (size_t i = 0; i < count; i++) {
            const struct router *router = &routers[i];
            struct tenant tenant;
            struct actual_peer is;
            assert_int_equal(service_tenant_get(g->service, &gateway_admin, &router->tenant_id, &tenant, &problem), 0);
            bool there = fake_plane_peer(&router->public_key, &is);
            assert_int_equal(there, tenant.status == TENANT_ACTIVE && router->status != ROUTER_DISABLED);
            if (!there) {
                continue;
            }
            active++;
            assert_true(uuid_equal(&is.is.tenant, &router->tenant_id));
            assert_true(ip_equal(&is.is.address, &router->address));
            assert_true(ip_equal(&is.is.hub_address, &router->hub_address));
            assert_true(ip_equal(&is.is.address6, &router->address6));
            assert_true(key_equal(&is.is.preshared_key, &router->preshared_key));
            assert_int_equal(is.is.lan_count, router->lan_count);
            assert_memory_equal(is.is.lans, router->lans, router->lan_count * sizeof *router->lans);
            assert_false(is.foreign_allowed_ips);
            for (uint32_t l = 0; tenant.addressing == ADDRESSING_UNIQUE && l < router->lan_count; l++) {
                assert_true(fake_plane_has_route(&router->lans[l]));
                routes++;
            }
        }
    } while (cursor[0]);
    free(routers);
    assert_int_equal(fake_plane_routes(), routes);
    return active;
}

void assert_in_force(struct gateway *g) {
    assert_int_equal(check_tenants(g), fake_plane_tenants());
    assert_int_equal(check_routers(g), fake_plane_peers());
}

void gateway_reconcile(struct gateway *g) {
    struct problem p = {0};
    int r = service_reconcile(g->service, &p);
    /* The keeper may come upon a restart at the same moment, and note later than we have mended it that nobody answers.
     */
    for (int tries = 1; r == -ENOTCONN && tries < 5; tries++) {
        r = service_reconcile(g->service, &p);
    }
    if (r < 0) {
        fail_msg("reconcile: %s", p.detail);
    }
}
