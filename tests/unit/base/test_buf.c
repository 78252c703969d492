/* The text buffer: growth, out of memory that sticks, and its closing NUL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void empty_buffer_holds_nothing_and_frees(void **state) {
    (void)state;
    struct buf b = {0};
    buf_clear(&b);
    buf_free(&b);
    buf_free(NULL);
    buf_append(&b, NULL, 0);
    assert_string_equal(b.data, "");
    buf_free(&b);
    assert_null(b.data);
}

static void pieces_are_joined_across_any_growth(void **state) {
    (void)state;
    for (size_t piece = 1; piece < 700; piece += 13) {
        struct buf b = {0};
        char text[700], all[8000] = "";
        memset(text, 'x', piece);
        text[0] = 'a';
        text[piece] = '\0';
        for (int i = 0; i < 10; i++) {
            if (i % 2) {
                buf_text(&b, text);
            } else {
                buf_printf(&b, "%s", text);
            }
            strcat(all, text);
            assert_int_equal(b.size, strlen(all));
            assert_int_equal(strlen(b.data), b.size);
        }
        assert_string_equal(b.data, all);
        assert_false(b.failed);
        buf_free(&b);
    }
}

static void formatted_text_fits_to_the_last_byte(void **state) {
    (void)state;
    /* around the first room of 256: one less, exact, one more */
    for (int width = 250; width < 262; width++) {
        struct buf b = {0};
        buf_text(&b, ""); /* makes the first room */
        buf_printf(&b, "%*d", width, 7);
        assert_int_equal(b.size, width);
        assert_int_equal(strlen(b.data), width);
        assert_int_equal(b.data[width - 1], '7');
        buf_free(&b);
    }
}

static void bytes_may_hold_nul(void **state) {
    (void)state;
    struct buf b = {0};
    buf_append(&b, "a\0b", 3);
    buf_text(&b, "c");
    assert_int_equal(b.size, 4);
    assert_memory_equal(b.data, "a\0bc", 5);
    buf_free(&b);
}

static void out_of_memory_sticks_until_cleared(void **state) {
    (void)state;
    struct buf b = {0};
    buf_text(&b, "kept");
    buf_append(&b, "x", SIZE_MAX / 2); /* more than there can be: refused before it is read */
    assert_true(b.failed);
    buf_text(&b, "more");
    buf_printf(&b, "%s", "more");
    assert_int_equal(b.size, 4);
    assert_true(b.failed);
    buf_clear(&b);
    assert_false(b.failed);
    assert_string_equal(b.data, "");
    buf_text(&b, "again");
    assert_string_equal(b.data, "again");
    buf_free(&b);
}

static void clearing_wipes_what_was_there(void **state) {
    (void)state;
    struct buf b = {0};
    buf_text(&b, "secret");
    char *data = b.data;
    size_t room = b.room;
    buf_clear(&b);
    assert_ptr_equal(b.data, data);
    for (size_t i = 0; i < room; i++) {
        assert_int_equal(data[i], 0);
    }
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_buffer_holds_nothing_and_frees), cmocka_unit_test(pieces_are_joined_across_any_growth),
        cmocka_unit_test(formatted_text_fits_to_the_last_byte), cmocka_unit_test(bytes_may_hold_nul),
        cmocka_unit_test(out_of_memory_sticks_until_cleared),   cmocka_unit_test(clearing_wipes_what_was_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
