/* No router's LAN holds what the host itself needs, and a tenant's own callers stay within the networks that the
 * operator gives them. The host is a made-up one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway.h"
#include "service/noun/lan_guard.h"

static const struct caller tenant_writer = {.scope = SCOPE_TENANT_WRITE, .actor = "token:shop"};

static int host(const char *interface_name, backend_host_fn *fn, void *context) {
    struct ip_addr address = ip_of("198.51.100.1"), address6 = ip_of("2001:db8:51::1"), hop = ip_of("198.51.100.254");
    assert_string_equal(interface_name, "wg7");
    int r = fn(context, BACKEND_HOST_ADDRESS, &address);
    r = r < 0 ? r : fn(context, BACKEND_HOST_ADDRESS, &address6);
    return r < 0 ? r : fn(context, BACKEND_HOST_NEXT_HOP, &hop);
}

static const struct backend_ops ops = {.name = "made up", .each_host_fact = host};

struct scene {
    char resolvers[64];
    struct lan_guard *guard;
};

static int setup(void **state) {
    static struct scene scene;
    struct prefix allowed[] = {prefix_of("10.0.0.0/8"), prefix_of("192.168.0.0/16"), prefix_of("fc00::/7")};
    struct lan_guard_config config = {
        .allowed = allowed, .allowed_count = 3, .interface_name = "wg7", .backend = &ops, .resolvers = scene.resolvers};
    strcpy(scene.resolvers, "/tmp/sallyport-resolvers-XXXXXX");
    FILE *file = fdopen(mkstemp(scene.resolvers), "w");
    assert_non_null(file);
    fputs("# made by hand\nsearch example.com\nnameserver 203.0.113.53\nnameserver fe80::1%eth0\n", file);
    fclose(file);
    assert_int_equal(lan_guard_open(&config, &scene.guard), 0);
    *state = &scene;
    return 0;
}

static int teardown(void **state) {
    struct scene *scene = *state;
    lan_guard_close(scene->guard);
    lan_guard_close(NULL);
    remove(scene->resolvers);
    return 0;
}

static int check(struct scene *scene, const struct caller *c, enum addressing addressing, const char *lan,
                 struct problem *ret_problem) {
    struct prefix prefix = prefix_of(lan);
    *ret_problem = (struct problem){0};
    return lan_guard_check(scene->guard, NULL, c, addressing, &prefix, "lans[3]", ret_problem);
}

static void tenants_place_lans_where_the_operator_lets_them(void **state) {
    struct scene *scene = *state;
    struct problem problem;
    static const char *const outside[] = {"2000::/3", "8.0.0.0/7", "1.1.1.1/32", "96.0.0.0/4", "192.0.0.0/8"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        assert_refused(check(scene, &tenant_writer, ADDRESSING_UNIQUE, outside[i], &problem), problem,
                       "lan-not-allowed", "lans[3]");
        assert_non_null(strstr(problem.detail, "10.0.0.0/8, 192.168.0.0/16, fc00::/7"));
        assert_refused(check(scene, &tenant_writer, ADDRESSING_PRIVATE, outside[i], &problem), problem,
                       "lan-not-allowed", "lans[3]");
    }
    assert_int_equal(check(scene, &tenant_writer, ADDRESSING_UNIQUE, "192.168.88.0/24", &problem), 0);
    assert_int_equal(check(scene, &tenant_writer, ADDRESSING_UNIQUE, "fd00:1::/64", &problem), 0);
    assert_int_equal(check(scene, &gateway_admin, ADDRESSING_UNIQUE, "1.1.1.0/24", &problem), 0);
}

static void nobody_takes_what_the_host_needs(void **state) {
    struct scene *scene = *state;
    struct problem problem;
    static const char *const needed[] = {"198.51.100.0/24", "198.51.100.1/32", "198.51.100.254/32",
                                         "203.0.113.53/32", "203.0.113.0/24",  "2000::/3"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        assert_refused(check(scene, &gateway_admin, ADDRESSING_UNIQUE, needed[i], &problem), problem,
                       "lan-holds-gateway", "lans[3]");
    }
    assert_int_equal(check(scene, &gateway_admin, ADDRESSING_UNIQUE, "198.51.100.128/26", &problem), 0);
    /* A private tenant's LANs are no routes of the host. */
    assert_int_equal(check(scene, &gateway_admin, ADDRESSING_PRIVATE, "198.51.100.0/24", &problem), 0);
}

static void what_became_so_later_is_named(void **state) {
    struct scene *scene = *state;
    char text[256];
    struct prefix wanted[] = {prefix_of("10.9.0.0/24"), prefix_of("203.0.113.0/26")};
    lan_guard_review(scene->guard, NULL, wanted, 1);
    lan_guard_warning(scene->guard, text);
    assert_string_equal(text, "");
    lan_guard_review(scene->guard, NULL, wanted, 2);
    lan_guard_warning(scene->guard, text);
    assert_non_null(strstr(text, "203.0.113.0/26"));
    assert_non_null(strstr(text, "203.0.113.53"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tenants_place_lans_where_the_operator_lets_them),
        cmocka_unit_test(nobody_takes_what_the_host_needs),
        cmocka_unit_test(what_became_so_later_is_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
