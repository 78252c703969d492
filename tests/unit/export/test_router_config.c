/* What lies behind the tunnel for which tenant, and the table of formats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "export/formats.h"
#include "export/router_config.h"

static struct prefix prefix_of(const char *text) {
    struct prefix p;
    assert_int_equal(prefix_parse(text, &p, NULL), 0);
    return p;
}

static void assert_prefix(const struct prefix *p, const char *text) {
    char is[PREFIX_TEXT_SIZE];
    assert_string_equal(prefix_format(p, is), text);
}

static size_t base_of(enum addressing addressing, const char *ula, struct prefix allowed[EXPORT_ALLOWED_BASE_MAX]) {
    struct prefix pool = prefix_of("10.0.0.0/8"), subnet = prefix_of("10.100.0.0/16"), ula_prefix = {0};
    struct ip_addr hub;
    if (ula) {
        ula_prefix = prefix_of(ula);
    }
    assert_int_equal(ip_parse("10.0.0.1", &hub), 0);
    return export_allowed_base(addressing, &pool, &ula_prefix, &hub, &subnet, allowed);
}

static void a_unique_tenant_reaches_the_pool_and_the_ula(void **state) {
    (void)state;
    struct prefix allowed[EXPORT_ALLOWED_BASE_MAX];
    assert_int_equal(base_of(ADDRESSING_UNIQUE, "fd12::/48", allowed), 2);
    assert_prefix(&allowed[0], "10.0.0.0/8");
    assert_prefix(&allowed[1], "fd12::/48");
}

static void a_private_tenant_reaches_the_hub_its_own_prefix_and_the_ula_only(void **state) {
    (void)state;
    struct prefix allowed[EXPORT_ALLOWED_BASE_MAX];
    assert_int_equal(base_of(ADDRESSING_PRIVATE, "fd12::/48", allowed), 3);
    assert_prefix(&allowed[0], "10.0.0.1/32");
    assert_prefix(&allowed[1], "10.100.0.0/16");
    assert_prefix(&allowed[2], "fd12::/48");
    assert_int_equal(base_of(ADDRESSING_PRIVATE, NULL, allowed), 2);
}

static void lans_are_added_once_and_never_beyond_the_room(void **state) {
    (void)state;
    struct prefix allowed[4] = {prefix_of("10.0.0.0/8")};
    struct prefix lans[] = {prefix_of("192.168.1.0/24"), prefix_of("10.9.0.0/24"), prefix_of("192.168.1.0/24"),
                            prefix_of("192.168.2.0/24"), prefix_of("fd99::/64"),   prefix_of("192.168.3.0/24")};
    assert_int_equal(export_allowed_add(allowed, 1, 4, lans, 6), 4);
    assert_prefix(&allowed[1], "192.168.1.0/24");
    assert_prefix(&allowed[2], "192.168.2.0/24");
    assert_prefix(&allowed[3], "fd99::/64");
}

static void formats_are_found_by_exact_name(void **state) {
    (void)state;
    for (size_t i = 0; i < export_format_count; i++) {
        assert_ptr_equal(export_format_find(export_formats[i].name), &export_formats[i]);
    }
    assert_non_null(export_format_find("wg-quick"));
    assert_null(export_format_find("wg"));
    assert_null(export_format_find(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unique_tenant_reaches_the_pool_and_the_ula),
        cmocka_unit_test(a_private_tenant_reaches_the_hub_its_own_prefix_and_the_ula_only),
        cmocka_unit_test(lans_are_added_once_and_never_beyond_the_room),
        cmocka_unit_test(formats_are_found_by_exact_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
