/* What the service asks of its data plane: can it carry private tenants, and did somebody touch it. */
#include "gateway.h"

#include <stdatomic.h>
#include <unistd.h>

static struct backend_ops shared_space; /* as fake_plane_ops, without spaces of one's own */
static atomic_bool touched;

static bool heed(struct backend *backend) {
    (void)backend;
    return atomic_exchange(&touched, false);
}

static void use_shared_space(struct gateway *g) {
    shared_space = fake_plane_ops;
    shared_space.private_tenants = false;
    shared_space.heed = heed;
    g->config.backend = &shared_space;
}

static void private_addressing_is_refused_where_the_data_plane_has_one_space(void **state) {
    struct gateway *g = *state;
    struct tenant tenant;
    struct problem problem = {0};
    struct tenant_spec spec = {.name = "acme", .addressing = ADDRESSING_PRIVATE};
    use_shared_space(g);
    gateway_restart(g);
    assert_true(service_tenant_create(g->service, &gateway_admin, &spec, &tenant, &problem) < 0);
    assert_int_equal(problem_status(problem.kind), 422);
    assert_string_equal(problem.field, "addressing");
    assert_non_null(strstr(problem.detail, "kind = engine"));
    make_tenant(g, "acme", ADDRESSING_UNIQUE, NULL);
}

static void a_store_with_private_tenants_does_not_come_up_on_one_space(void **state) {
    struct gateway *g = *state;
    struct service *other = NULL;
    struct problem problem = {0};
    make_tenant(g, "acme", ADDRESSING_PRIVATE, NULL);
    service_close(g->service);
    g->service = NULL;
    uint64_t opened = fake_plane_calls(FAKE_OPEN);
    use_shared_space(g);
    assert_true(service_open(&g->config, &other, &problem) < 0);
    assert_string_equal(problem.type, SERVICE_PRIVATE_TENANTS);
    assert_non_null(strstr(problem.detail, "acme"));
    assert_non_null(strstr(problem.detail, "kind = engine"));
    assert_int_equal(fake_plane_calls(FAKE_OPEN), opened); /* the data plane was left alone */
    g->config.backend = &fake_plane_ops;
    assert_int_equal(service_open(&g->config, &g->service, &problem), 0);
}

static void what_somebody_touched_is_mended_within_seconds(void **state) {
    struct gateway *g = *state;
    struct actual_peer peer;
    use_shared_space(g);
    gateway_restart(g);
    struct tenant tenant = make_tenant(g, "acme", ADDRESSING_UNIQUE, NULL);
    struct router_made made = make_router(g, &tenant, "r1", NULL);
    fake_plane_drop(&made.router.public_key);
    assert_false(fake_plane_peer(&made.router.public_key, &peer));
    atomic_store(&touched, true); /* the next full comparison by the clock is an hour away */
    for (int i = 0; i < 50 && !fake_plane_peer(&made.router.public_key, &peer); i++) {
        usleep(100000);
    }
    assert_true(fake_plane_peer(&made.router.public_key, &peer));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, gateway_setup, gateway_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(private_addressing_is_refused_where_the_data_plane_has_one_space),
        CASE(a_store_with_private_tenants_does_not_come_up_on_one_space),
        CASE(what_somebody_touched_is_mended_within_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
