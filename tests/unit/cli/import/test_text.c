/* What foreign text may hold besides text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "cli/import/text.h"
#include "model/key.h"

static void a_key_is_seen_wherever_it_stands(void **state) {
    static const char *const around[][2] = {{"", ""},           {"PrivateKey: ", ""}, {"x", "y"},
                                            {"key=", "; rest"}, {"\"", "\""},         {"(", ")"},
                                            {"/etc/", "/x"},    {"a-", "-b"},         {"roof ", " roof"}};
    (void)state;
    for (int i = 0; i < 50; i++) {
        char base64[KEY_BASE64_SIZE], hex[KEY_HEX_SIZE];
        struct key key;
        key_make_preshared(&key);
        key_to_base64(&key, base64);
        key_to_hex(&key, hex);
        for (size_t j = 0; j < sizeof around / sizeof *around; j++) {
            struct buf text = {0};
            buf_printf(&text, "%s%s%s", around[j][0], base64, around[j][1]);
            assert_true(text_holds_key(text.data) && !text_may_be_shown(text.data));
            buf_clear(&text);
            buf_printf(&text, "%s%.43s%s", around[j][0], base64, around[j][1]); /* without its "=" */
            assert_true(text_holds_key(text.data));
            buf_clear(&text);
            buf_printf(&text, "%s%s%s", around[j][0], hex, around[j][1]);
            assert_true(text_holds_key(text.data));
            buf_clear(&text);
            buf_printf(&text, "%s%.20s \t%s%s", around[j][0], base64, base64 + 20, around[j][1]);
            assert_true(text_holds_key(text.data));
            buf_clear(&text);
            buf_printf(&text, "%s%.40s%s", around[j][0], base64, around[j][1]); /* with a slip in it */
            assert_false(text_may_be_shown(text.data));
            buf_free(&text);
        }
    }
}

static void names_are_no_keys(void **state) {
    static const char *const names[] = {
        "roof",
        "0b7c1d6e-4a6f-4a51-9a3e-aaaaaaaaaaaa",
        "Hotel-Amsterdam-Zuid-2nd-floor-kitchen-router-1",
        "the router on the roof of the hotel in the east of the city, second from the left",
        "Gemeindeverwaltung Oberhausen an der Donau, Nebenstelle",
        "",
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_false(text_holds_key(names[i]));
    }
}

static void what_cannot_be_seen_has_a_name(void **state) {
    (void)state;
    assert_null(text_invisible("PublicKey =\tJ\xc3\xbcrgen's \xf0\x9f\x8f\xa0 # x\r\n"));
    assert_string_equal(text_invisible("Public\xc2\xa0Key"), "no-break space (U+00A0)");
    assert_string_equal(text_invisible("10.0.0.1\xe2\x80\x8b"), "zero width space (U+200B)");
    assert_string_equal(text_invisible("\xef\xbb\xbf[Peer]"), "byte order mark (U+FEFF)");
    assert_string_equal(text_invisible("a\x1b[2J"), "escape (U+001B)");
    assert_string_equal(text_invisible("Public\xa0Key"), "no-break space of an old encoding (byte A0)");
    assert_null(text_invisible("\xc3\xa0"));          /* its second byte is A0 */
    assert_null(text_invisible("\xf0\x9f\x8f\xa0 ")); /* and its fourth */
}

static void encodings_are_told(void **state) {
    (void)state;
    assert_true(text_is_utf16("\xff\xfe[\0", 4));
    assert_true(text_is_utf16("[\0I\0", 4));
    assert_true(text_is_utf16("\0[\0I", 4));
    assert_false(text_is_utf16("[Interface]", 11));
    assert_false(text_is_utf16("", 0));
    assert_int_equal(text_mark_size("\xef\xbb\xbf[Peer]"), 3);
    assert_int_equal(text_mark_size("[Peer]"), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_seen_wherever_it_stands),
        cmocka_unit_test(names_are_no_keys),
        cmocka_unit_test(what_cannot_be_seen_has_a_name),
        cmocka_unit_test(encodings_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
