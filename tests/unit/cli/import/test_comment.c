/* Names in comments, as the panels write them, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "cli/import/comment.h"
#include "model/key.h"

static void each_form_has_its_name(void **state) {
    static const struct {
        const char *comment, *name;
        enum comment_sureness sureness;
    } cases[] = {
        {" Client: fda (2)", "fda", COMMENT_KNOWN},
        {" Client: roof (0b7c1d6e-4a6f-4a51-9a3e-aaaaaaaaaaaa)", "roof", COMMENT_KNOWN},
        {" Client: roof (old)", "roof (old)", COMMENT_KNOWN},
        {"## Client laptop", "laptop", COMMENT_KNOWN},
        {"Name# = Ann's iPhone", "Ann's iPhone", COMMENT_KNOWN},
        {" x / x@example.com / Updated: 2024-01-01 10:00:00 / Created: 2023-01-01 10:00:00", "x", COMMENT_KNOWN},
        {" friendly_json={\"name\":\"bob\",\"n\":1}", "bob", COMMENT_FRIENDLY},
        {" friendly_name = roof", "roof", COMMENT_FRIENDLY},
        {" -WGP- Peer: roof / Updated: 2024-01-01 / Created: 2024-01-01", "roof", COMMENT_KNOWN},
        {" -WGP- Display name: the roof", "the roof", COMMENT_DISPLAY},
        {" Name:         x", "x", COMMENT_KNOWN},
        {" BEGIN_PEER nyr", "nyr", COMMENT_KNOWN},
        {"## begin pi ###", "pi", COMMENT_KNOWN},
        {" peer_phone", "phone", COMMENT_KNOWN},
        {" desktop1 > wgclient_desktop1.conf", "desktop1", COMMENT_KNOWN},
        {" 10: desktop1 > wgclient_desktop1.conf", "desktop1", COMMENT_KNOWN},
        {" ClientName: x", "x", COMMENT_KNOWN},
        {" Peer: J\xc3\xbcrgen", "J\xc3\xbcrgen", COMMENT_KNOWN},
        {" the roof of the hotel", "the roof of the hotel", COMMENT_WORDS},
        {" east / roof", "east / roof", COMMENT_WORDS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[NAME_SIZE] = "";
        enum comment_sureness sureness = comment_name(cases[i].comment, name);
        assert_string_equal(name, cases[i].name);
        assert_int_equal(sureness, cases[i].sureness);
    }
}

static void what_is_no_name_is_none(void **state) {
    static const char *const comments[] = {
        "",
        " ",
        " -WGP- Peer email: a@example.com",
        " -WGP- Display name: ",
        " friendly_name = ",
        " friendly_json={\"id\":1}",
        " friendly_json={broken",
        " {\"name\":\"bob\"}",
        " AddedAt: 2024-01-01",
        " Created at:   2024-01-01 10:00:00 UTC",
        " 31.01.2024",
        " added 2024-01-31",
        " Email:        ann@example.com",
        " ann@example.com",
        " https://example.com/roof",
        " Endpoint = a:1",
        "PrivateKey = ",
        " ID:           cdkk3v8dg0k1qjeqp7g0",
        " \x1b[2J",
        " Client: \xc2\x80",
    };
    static const char *const lines_across[] = {" END_PEER nyr", "## end pi ###", "################",
                                               " ----------",   "###\r\n",       " end"};
    (void)state;
    for (size_t i = 0; i < sizeof comments / sizeof *comments; i++) {
        char name[NAME_SIZE] = "untouched";
        assert_int_equal(comment_name(comments[i], name), COMMENT_NO_NAME);
        assert_string_equal(name, "untouched");
    }
    for (size_t i = 0; i < sizeof lines_across / sizeof *lines_across; i++) {
        char name[NAME_SIZE];
        assert_int_equal(comment_name(lines_across[i], name), COMMENT_ENDS);
    }
}

/* Whatever stands before and behind it, and whatever the form. */
static void a_comment_with_a_key_gives_no_name(void **state) {
    static const char *const forms[] = {" %s",
                                        " Client: %s",
                                        " Client: roof (%s)",
                                        " Client: roof, %s",
                                        " friendly_name = %s",
                                        " friendly_json={\"name\":\"%s\"}",
                                        " friendly_json={\"name\":\"bob\",\"key\":\"%s\"}",
                                        " -WGP- PrivateKey: %s",
                                        " -WGP- Peer: %s / Updated: 2024-01-01",
                                        " -WGP- Display name: %s",
                                        "Name# = %s",
                                        " %s / x@example.com / Updated: 2024-01-01 10:00:00",
                                        " roof > %s.conf",
                                        " peer_%s",
                                        "## begin %s ###",
                                        " my key is%sindeed"};
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        for (int j = 0; j < 20; j++) {
            char name[NAME_SIZE] = "", base64[KEY_BASE64_SIZE], hex[KEY_HEX_SIZE];
            struct buf comment = {0};
            struct key key;
            key_make_private(&key);
            key_to_base64(&key, base64);
            buf_printf(&comment, forms[i], base64); /* NOLINT: forms of our own */
            assert_int_equal(comment_name(comment.data, name), COMMENT_NO_NAME);
            buf_clear(&comment);
            buf_printf(&comment, forms[i], key_to_hex(&key, hex)); /* NOLINT */
            assert_int_equal(comment_name(comment.data, name), COMMENT_NO_NAME);
            buf_clear(&comment);
            base64[KEY_BASE64_SIZE - 2] = '\0';     /* without its "=" */
            buf_printf(&comment, forms[i], base64); /* NOLINT */
            assert_int_equal(comment_name(comment.data, name), COMMENT_NO_NAME);
            assert_string_equal(name, "");
            buf_free(&comment);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_has_its_name),
        cmocka_unit_test(what_is_no_name_is_none),
        cmocka_unit_test(a_comment_with_a_key_gives_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
