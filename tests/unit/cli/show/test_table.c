/* Columns line up whatever the cells hold, and no cell reaches the terminal's controls. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/show/table.h"
#include "cli/terminal.h"

static const char *const headers[] = {"NAME", ">N", "END", NULL};

static void columns_align_left_and_right(void **state) {
    (void)state;
    struct table *t = table_make(headers);
    struct buf out = {0};
    table_cell(t, "a");
    table_cellf(t, "%d", 5);
    table_cell(t, "x");
    table_cell(t, "longer");
    table_cell(t, "12345");
    table_cell(t, "");
    table_write(t, &out);
    assert_string_equal(out.data, "NAME        N  END\n"
                                  "a           5  x\n"
                                  "longer  12345  \n");
    buf_free(&out);
    table_free(t);
}

static void later_pages_have_no_headers_and_keep_the_widths(void **state) {
    (void)state;
    struct table *t = table_make(headers);
    struct buf out = {0};
    table_write(t, &out);
    assert_string_equal(out.data, "NAME  N  END\n");
    buf_clear(&out);
    table_cell(t, "a");
    table_cell(t, "1");
    table_cell(t, "x");
    table_write(t, &out);
    assert_string_equal(out.data, "a     1  x\n");
    buf_free(&out);
    table_free(t);
}

static void width_counts_what_a_terminal_shows(void **state) {
    (void)state;
    assert_int_equal(terminal_width("abc"), 3);
    assert_int_equal(terminal_width("\xc3\xa4\xc3\xb6"), 2);         /* a and o with diaeresis */
    assert_int_equal(terminal_width("\xe6\x97\xa5\xe6\x9c\xac"), 4); /* two wide characters */
    assert_int_equal(terminal_width("e\xcc\x81"), 1);                /* combining acute */
}

static void what_a_terminal_would_act_on_is_made_visible(void **state) {
    (void)state;
    static const struct {
        const char *text, *clean;
    } cases[] = {
        {"plain", "plain"},
        {"\033[2Jx", "?[2Jx"},
        {"a\nb\tc\r", "a?b?c?"},
        {"\x7f", "?"},
        {"\xff\xfe", "??"},
        {"\xc3", "?"},
        {"\xc2\x9b"
         "31m",
         "?31m"}, /* C1: CSI */
        {"a\xe2\x80\xae"
         "b",
         "a?b"}, /* right-to-left override */
        {"\xc3\xa4", "\xc3\xa4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = {0};
        terminal_clean(&out, cases[i].text);
        assert_string_equal(out.data, cases[i].clean);
        buf_free(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_align_left_and_right),
        cmocka_unit_test(later_pages_have_no_headers_and_keep_the_widths),
        cmocka_unit_test(width_counts_what_a_terminal_shows),
        cmocka_unit_test(what_a_terminal_would_act_on_is_made_visible),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
