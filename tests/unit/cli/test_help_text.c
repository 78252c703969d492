/* Help covers every command, and the files made from it are those in the tree. Runs in the source's root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/help_text.h"
#include "cli/tables.h"

static void file_read(const char *path, struct buf *out) {
    char bytes[4096];
    FILE *file = fopen(path, "r");
    if (!file) {
        fail_msg("%s is missing", path);
        return;
    }
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;) {
        buf_append(out, bytes, n);
    }
    fclose(file);
}

static void the_overview_names_every_command(void **state) {
    (void)state;
    struct buf out = {0};
    help_overview(cli_tables, &out);
    for (const struct cli_command *const *table = cli_tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            assert_non_null(strstr(out.data, c->words));
        }
    }
    buf_free(&out);
}

static void help_is_about_one_command_a_noun_or_nothing_known(void **state) {
    (void)state;
    struct buf out = {0};
    assert_true(help_about(cli_tables, "router add", &out));
    assert_non_null(strstr(out.data, "--public-key"));
    assert_null(strstr(out.data, "sallyport router list"));
    buf_clear(&out);
    assert_true(help_about(cli_tables, "router", &out));
    assert_non_null(strstr(out.data, "sallyport router list"));
    assert_null(strstr(out.data, "sallyport tenant"));
    assert_false(help_about(cli_tables, "rout", &out));
    assert_false(help_about(cli_tables, "router frob", &out));
    buf_free(&out);
}

static void every_line_of_an_example_is_kept_as_it_is(void **state) {
    (void)state;
    struct buf out = {0};
    size_t lines = 0;
    for (const struct cli_command *const *table = cli_tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            buf_clear(&out);
            assert_true(help_about(cli_tables, c->words, &out));
            for (const char *at = c->help; (at = strstr(at, "\n    ")); at++) {
                char line[200];
                snprintf(line, sizeof line, "%.*s\n", (int)(1 + strcspn(at + 1, "\n")), at);
                if (!strstr(out.data, line)) {
                    fail_msg("%s: lost or moved:%s", c->words, line);
                }
                lines++;
            }
        }
    }
    assert_true(lines > 5);
    buf_free(&out);
}

static void no_line_of_help_is_too_wide_for_a_terminal(void **state) {
    (void)state;
    struct buf out = {0};
    for (const struct cli_command *const *table = cli_tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            assert_true(help_about(cli_tables, c->words, &out));
        }
    }
    for (const char *line = out.data; *line; line += strcspn(line, "\n") + 1) {
        if (strcspn(line, "\n") > 110) {
            fail_msg("too wide: %.*s", (int)strcspn(line, "\n"), line);
        }
    }
    buf_free(&out);
}

static void the_manual_page_is_up_to_date(void **state) {
    (void)state;
    struct buf made = {0}, kept = {0};
    help_markdown(cli_tables, &made);
    file_read("docs/cli.md", &kept);
    if (strcmp(made.data, kept.data) != 0) {
        fail_msg("docs/cli.md is stale: sallyport help --markdown >docs/cli.md");
    }
    buf_free(&made);
    buf_free(&kept);
}

static void the_completion_is_up_to_date(void **state) {
    (void)state;
    struct buf made = {0}, kept = {0};
    help_completion_bash(cli_tables, &made);
    file_read("deploy/completion/sallyport.bash", &kept);
    if (strcmp(made.data, kept.data) != 0) {
        fail_msg("stale: sallyport completion bash >deploy/completion/sallyport.bash");
    }
    buf_free(&made);
    buf_free(&kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_overview_names_every_command),
        cmocka_unit_test(help_is_about_one_command_a_noun_or_nothing_known),
        cmocka_unit_test(every_line_of_an_example_is_kept_as_it_is),
        cmocka_unit_test(no_line_of_help_is_too_wide_for_a_terminal),
        cmocka_unit_test(the_manual_page_is_up_to_date),
        cmocka_unit_test(the_completion_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
