/* Names that cannot forge what they are shown in, and the words of tenants and routers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "model/router.h"
#include "model/tenant.h"

static void ordinary_names_are_fine(void **state) {
    (void)state;
    static const char *const fine[] = {
        "a",
        "Acme Hotspots",
        "M\xc3\xbcller & S\xc3\xb6hne",
        "\xe6\x97\xa5\xe6\x9c\xac",         /* Japanese */
        "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d", /* Hebrew, written right to left, needs no marks */
        "\xf0\x9f\x8f\xa8 hotel",           /* beyond the 16-bit plane */
        "it's \"quoted\" $(not) `run`; --",
        "\xc2\xa1", /* the first after C1 and the no-break space */
        "\xf4\x8f\xbf\xbd",
    };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        assert_null(name_fault(fine[i]));
    }
}

static void name_has_1_to_128_bytes(void **state) {
    (void)state;
    char name[NAME_SIZE + 1];
    memset(name, 'x', sizeof name);
    name[NAME_SIZE] = '\0';
    assert_non_null(strstr(name_fault(name), "longer than 128"));
    name[NAME_SIZE - 1] = '\0';
    assert_null(name_fault(name));
    assert_non_null(strstr(name_fault(""), "empty"));
}

static void control_characters_are_refused(void **state) {
    (void)state;
    char name[4] = "a?b";
    for (int c = 1; c < 0x80; c++) {
        name[1] = (char)c;
        assert_int_equal(name_fault(name) != NULL, c < 0x20 || c == 0x7f);
    }
    char two[5] = "a\xc2?b";
    for (int c = 0x80; c < 0xc0; c++) { /* U+0080 to U+00bf */
        two[2] = (char)c;
        const char *fault = name_fault(two);
        assert_int_equal(fault != NULL, c < 0xa0);
        if (fault) {
            assert_non_null(strstr(fault, "control"));
        }
    }
}

static void characters_that_reorder_or_end_lines_are_refused(void **state) {
    (void)state;
    static const char *const marks[] = {
        "\xd8\x9c",     "\xe2\x80\x8e", "\xe2\x80\x8f", "\xe2\x80\xa8", "\xe2\x80\xa9",
        "\xe2\x80\xaa", "\xe2\x80\xab", "\xe2\x80\xac", "\xe2\x80\xad", "\xe2\x80\xae",
        "\xe2\x81\xa6", "\xe2\x81\xa7", "\xe2\x81\xa8", "\xe2\x81\xa9", "\xef\xbb\xbf",
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        char name[16];
        strcpy(name, "a");
        strcat(name, marks[i]);
        assert_non_null(strstr(name_fault(name), "control"));
        strcat(name, "b");
        assert_non_null(strstr(name_fault(name), "control"));
    }
}

static void outer_spaces_are_refused_inner_ones_are_not(void **state) {
    (void)state;
    static const char *const spaces[] = {
        " ",           "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x8a", "\xe2\x80\xaf", "\xe2\x81\x9f",
        "\xe3\x80\x80"};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        char name[16];
        assert_non_null(strstr(name_fault(spaces[i]), "space"));
        strcpy(name, spaces[i]);
        strcat(name, "a");
        assert_non_null(strstr(name_fault(name), "space"));
        strcpy(name, "a");
        strcat(name, spaces[i]);
        assert_non_null(strstr(name_fault(name), "space"));
        strcat(name, "b");
        assert_null(name_fault(name));
    }
}

static void malformed_utf8_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "\x80", /* a continuation alone */
        "a\xbf",
        "\xc3", /* cut short */
        "\xe2\x82",
        "\xf0\x9f\x8f",
        "\xc3x", /* continued by something else */
        "\xe2\x82x",
        "\xf0\x9f\x8fx",
        "\xc0\xaf", /* overlong forms of "/" and of NUL */
        "\xc1\xbf",
        "\xe0\x80\xaf",
        "\xe0\x9f\xbf",
        "\xf0\x80\x80\xaf",
        "\xf0\x8f\xbf\xbf",
        "\xc0\x80",
        "\xed\xa0\x80", /* surrogates */
        "\xed\xbf\xbf",
        "\xf4\x90\x80\x80", /* beyond U+10ffff */
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80", /* five and six bytes */
        "\xfc\x84\x80\x80\x80\x80",
        "\xfe",
        "\xff",
        "M\xfcller", /* Latin-1 */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_non_null(name_fault(wrong[i]));
        assert_non_null(strstr(name_fault(wrong[i]), "UTF-8"));
    }
}

static void words_go_both_ways_and_others_are_refused(void **state) {
    (void)state;
    enum addressing addressing = ADDRESSING_UNIQUE;
    enum tenant_status tenant = TENANT_ACTIVE;
    enum router_status router = ROUTER_PENDING;
    assert_int_equal(addressing_parse("private", &addressing), 0);
    assert_string_equal(addressing_name(addressing), "private");
    assert_int_equal(addressing_parse("unique", &addressing), 0);
    assert_string_equal(addressing_name(addressing), "unique");
    assert_int_equal(tenant_status_parse("disabled", &tenant), 0);
    assert_string_equal(tenant_status_name(tenant), "disabled");
    assert_int_equal(tenant_status_parse("active", &tenant), 0);
    assert_string_equal(tenant_status_name(tenant), "active");
    static const char *const routers[] = {"pending", "active", "disabled"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(router_status_parse(routers[i], &router), 0);
        assert_string_equal(router_status_name(router), routers[i]);
    }
    static const char *const wrong[] = {"", "Active", "active ", "PRIVATE", "uniq", "enabled", "pending\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(addressing_parse(wrong[i], &addressing), -EINVAL);
        assert_int_equal(tenant_status_parse(wrong[i], &tenant), -EINVAL);
        assert_int_equal(router_status_parse(wrong[i], &router), -EINVAL);
    }
    assert_int_equal(addressing, ADDRESSING_UNIQUE);
    assert_int_equal(tenant, TENANT_ACTIVE);
    assert_int_equal(router, ROUTER_DISABLED);
}

static void what_does_not_fit_is_cut_between_letters(void **state) {
    (void)state;
    char text[8];
    name_fit(text, sizeof text, "short");
    assert_string_equal(text, "short");
    name_fit(text, sizeof text, "1234567");
    assert_string_equal(text, "1234567");
    name_fit(text, sizeof text, "12345678");
    assert_string_equal(text, "1234567");
    name_fit(text, sizeof text, "123456\xd0\xb6"); /* two bytes, of which one would fit */
    assert_string_equal(text, "123456");
    name_fit(text, sizeof text, "12345\xf0\x9f\x90\xa7");
    assert_string_equal(text, "12345");
    name_fit(text, sizeof text, "1234\xe6\x97\xa5\xe6");
    assert_string_equal(text, "1234\xe6\x97\xa5");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_names_are_fine),
        cmocka_unit_test(name_has_1_to_128_bytes),
        cmocka_unit_test(control_characters_are_refused),
        cmocka_unit_test(characters_that_reorder_or_end_lines_are_refused),
        cmocka_unit_test(outer_spaces_are_refused_inner_ones_are_not),
        cmocka_unit_test(malformed_utf8_is_refused),
        cmocka_unit_test(what_does_not_fit_is_cut_between_letters),
        cmocka_unit_test(words_go_both_ways_and_others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
