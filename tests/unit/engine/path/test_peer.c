/* Where a peer is, and what waits for it. */
#include "rig.h"

static union endpoint endpoint_of(const char *text) {
    union endpoint endpoint;
    assert_int_equal(endpoint_parse(text, &endpoint), 0);
    return endpoint;
}

/* Whether the peer is there, once an authenticated message came from there. */
static bool roams(struct rig *rig, struct peer *peer, const char *text) {
    const union endpoint before = endpoint_of("192.0.2.1:1");
    const union endpoint from = endpoint_of(text);
    const struct udp_local to = {.family = AF_INET, .in.s_addr = htonl(0xcb007101)};
    peer->endpoint = before;
    peer->local.family = AF_UNSPEC;
    peer_roam(rig->workers[0], peer, &from, &to);
    bool moved = endpoint_equal(&peer->endpoint, &from);
    assert_true(moved || endpoint_equal(&peer->endpoint, &before));
    assert_int_equal(peer->local.family, moved ? AF_INET : AF_UNSPEC);
    return moved;
}

static void a_tenants_router_is_never_inside_the_tunnel(void **state) {
    (void)state;
    struct rig rig;
    const struct limits none = {0};
    rig_open(&rig, 2);
    rig_tenant(&rig, 0, 1, ADDRESSING_PRIVATE, false, none);
    rig_tenant(&rig, 0, 2, ADDRESSING_UNIQUE, false, none);
    rig_tenant(&rig, 1, 3, ADDRESSING_UNIQUE, false, none);
    struct peer *private = rig_peer(&rig, 0, 1, 1, (const char *[]){"10.100.0.2/32", NULL}, "10.200.0.2=10.100.0.2");
    struct peer *unique =
        rig_peer(&rig, 0, 2, 2, (const char *[]){"10.101.0.2/32", "192.168.7.0/24", "fd00:c::/64", NULL}, NULL);
    struct peer *plain = rig_peer(&rig, 0, 3, 0, (const char *[]){"10.150.0.0/16", NULL}, NULL);
    rig_peer(&rig, 1, 4, 3, (const char *[]){"10.102.0.2/32", NULL}, NULL); /* of another worker */
    struct peer *of_tenants[] = {private, unique};
    for (size_t i = 0; i < COUNT(of_tenants); i++) {
        static const char *const inside[] = {"10.200.0.2:4", "10.101.0.2:4",   "192.168.7.9:4",
                                             "10.102.0.2:4", "[fd00:c::77]:4", "10.150.0.1:4"};
        for (size_t n = 0; n < COUNT(inside); n++) {
            assert_false(roams(&rig, of_tenants[i], inside[n]));
        }
        assert_true(roams(&rig, of_tenants[i], "198.51.100.4:4"));
        assert_true(roams(&rig, of_tenants[i], "[2001:db8::4]:4"));
        assert_true(roams(&rig, of_tenants[i], "10.100.0.2:4")); /* means nothing to the hub */
    }
    assert_int_equal(rig.workers[0]->counters.roams_refused, 2 * 6);
    assert_true(roams(&rig, plain, "10.150.0.9:4")); /* as in the kernel */
    rig_close(&rig);
}

static void a_default_route_keeps_nobody_from_roaming(void **state) {
    (void)state;
    struct rig rig;
    const struct limits none = {0};
    rig_open(&rig, 1);
    rig_tenant(&rig, 0, 1, ADDRESSING_UNIQUE, false, none);
    struct peer *exit = rig_peer(&rig, 0, 1, 1, (const char *[]){"0.0.0.0/0", "::/0", NULL}, NULL);
    struct peer *other = rig_peer(&rig, 0, 2, 1, (const char *[]){"10.101.0.2/32", NULL}, NULL);
    assert_true(roams(&rig, exit, "198.51.100.4:4"));
    assert_true(roams(&rig, other, "[2001:db8::4]:4"));
    assert_false(roams(&rig, exit, "10.101.0.2:4"));
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenants_router_is_never_inside_the_tunnel),
        cmocka_unit_test(a_default_route_keeps_nobody_from_roaming),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
