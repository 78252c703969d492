/* The command line: which command, which values, and what is said when it is not understood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/parse.h"
#include "cli/tables.h"

#define PARSE(...) parse((const char *const[]){"sallyport", __VA_ARGS__, NULL})

static struct cli cli;
static struct buf fault;

static enum cli_exit parse(const char *const *argv) {
    static char *kept[32];
    int argc = 0;
    for (; argv[argc]; argc++) {
        kept[argc] = (char *)(uintptr_t)argv[argc]; /* getopt reorders, and the result points into it */
    }
    kept[argc] = NULL;
    buf_clear(&fault);
    return cli_parse(cli_tables, argc, kept, &cli, &fault);
}

static void a_command_is_found_by_its_words_and_gets_its_arguments(void **state) {
    (void)state;
    assert_int_equal(PARSE("router", "add", "Acme", "roof"), CLI_DONE);
    assert_string_equal(cli.command->words, "router add");
    assert_int_equal(cli.argument_count, 2);
    assert_string_equal(cli.arguments[0], "Acme");
    assert_string_equal(cli.arguments[1], "roof");
}

static void options_may_stand_anywhere_behind_the_command(void **state) {
    (void)state;
    assert_int_equal(PARSE("router", "add", "--lan", "10.1.0.0/24", "Acme", "--lan=10.2.0.0/24", "roof", "-o", "x"),
                     CLI_DONE);
    assert_string_equal(cli_value_at(&cli, "lan", 0), "10.1.0.0/24");
    assert_string_equal(cli_value_at(&cli, "lan", 1), "10.2.0.0/24");
    assert_null(cli_value_at(&cli, "lan", 2));
    assert_string_equal(cli_value(&cli, "lan"), "10.2.0.0/24");
    assert_string_equal(cli_value(&cli, "output"), "x");
    assert_string_equal(cli.arguments[1], "roof");
}

static void options_of_every_command_may_stand_before_it_too(void **state) {
    (void)state;
    assert_int_equal(PARSE("--json", "--socket", "/s", "status"), CLI_DONE);
    assert_true(cli.json);
    assert_string_equal(cli_value(&cli, "socket"), "/s");
    assert_int_equal(PARSE("status", "--json"), CLI_DONE);
    assert_true(cli.json);
    assert_int_equal(PARSE("--lan", "10.0.0.0/8", "status"), CLI_USAGE);
}

static void names_that_begin_with_a_dash_follow_two_dashes(void **state) {
    (void)state;
    assert_int_equal(PARSE("tenant", "add", "--", "-x"), CLI_DONE);
    assert_string_equal(cli.arguments[0], "-x");
}

static void what_is_not_understood_is_named(void **state) {
    (void)state;
    static const struct {
        const char *argv[7];
        const char *said;
    } cases[] = {
        {{"sallyport", "tennant"}, "\"tennant\" is not a command"},
        {{"sallyport", "tenant"}, "tenant add, tenant list"},
        {{"sallyport", "tenant", "frob"}, "\"tenant frob\" is not a command"},
        {{"sallyport", "tenant", "add"}, "needs NAME"},
        {{"sallyport", "tenant", "add", "A", "B"}, "\"B\" is one argument too many"},
        {{"sallyport", "tenant", "list", "--bogus"}, "unknown option --bogus"},
        {{"sallyport", "tenant", "list", "-z"}, "unknown option -z"},
        {{"sallyport", "tenant", "list", "--limit"}, "--limit needs a value"},
        {{"sallyport", "tenant", "add", "A", "--addressing=uni"}, "must be one of unique|private"},
        {{"sallyport", "tenant", "add", "A", "--addressing="}, "must be one of unique|private"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(parse(cases[i].argv), CLI_USAGE);
        if (!strstr(fault.data, cases[i].said)) {
            fail_msg("\"%s\" should contain \"%s\"", fault.data, cases[i].said);
        }
    }
}

static void a_noun_has_help_too(void **state) {
    (void)state;
    assert_int_equal(PARSE("tenant", "--help"), CLI_DONE);
    assert_true(cli.help && !cli.command);
    assert_string_equal(cli.noun, "tenant");
    assert_int_equal(PARSE("router", "-h"), CLI_DONE);
    assert_string_equal(cli.noun, "router");
    assert_int_equal(PARSE("rout", "--help"), CLI_USAGE);
    assert_int_equal(PARSE("status", "--help"), CLI_DONE);
    assert_string_equal(cli.command->words, "status");
}

static void choices_are_whole_words(void **state) {
    (void)state;
    assert_int_equal(PARSE("tenant", "add", "A", "--addressing", "private"), CLI_DONE);
    assert_int_equal(PARSE("tenant", "add", "A", "--addressing", "unique"), CLI_DONE);
    assert_int_equal(PARSE("tenant", "add", "A", "--addressing", "unique|private"), CLI_USAGE);
    assert_int_equal(PARSE("token", "add", "A", "--scope", "tenant-read"), CLI_DONE);
    assert_int_equal(PARSE("token", "add", "A", "--scope", "read"), CLI_USAGE);
}

static void more_options_than_there_is_room_for_are_refused(void **state) {
    (void)state;
    static char words[5][16] = {"sallyport", "router", "add", "A", "r"}, option[] = "--lan=10.0.0.0/24";
    char *argv[CLI_VALUES_MAX + 16] = {words[0], words[1], words[2], words[3], words[4]};
    int argc = 5;
    for (int i = 0; i <= CLI_VALUES_MAX; i++) {
        argv[argc++] = option;
    }
    buf_clear(&fault);
    assert_int_equal(cli_parse(cli_tables, argc, argv, &cli, &fault), CLI_USAGE);
    assert_non_null(strstr(fault.data, "more than"));
}

static void every_command_is_complete(void **state) {
    (void)state;
    for (const struct cli_command *const *table = cli_tables; *table; table++) {
        for (const struct cli_command *c = *table; c->words; c++) {
            assert_non_null(c->summary);
            assert_non_null(c->help);
            assert_non_null(c->run);
            assert_true(c->most >= c->least);
            for (const struct cli_option *o = c->options; o && o->name; o++) {
                assert_true((o->kind == CLI_VALUE_WORDS) == (o->words != NULL));
                for (const struct cli_option *g = cli_global_options; g->name; g++) {
                    assert_string_not_equal(o->name, g->name);
                }
            }
        }
    }
}

static int teardown(void **state) {
    (void)state;
    buf_free(&fault);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_is_found_by_its_words_and_gets_its_arguments),
        cmocka_unit_test(options_may_stand_anywhere_behind_the_command),
        cmocka_unit_test(options_of_every_command_may_stand_before_it_too),
        cmocka_unit_test(names_that_begin_with_a_dash_follow_two_dashes),
        cmocka_unit_test(what_is_not_understood_is_named),
        cmocka_unit_test(a_noun_has_help_too),
        cmocka_unit_test(choices_are_whole_words),
        cmocka_unit_test(more_options_than_there_is_room_for_are_refused),
        cmocka_unit_test(every_command_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
