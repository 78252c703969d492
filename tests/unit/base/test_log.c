/* A log line is one line, whatever goes into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* Runs one log_write() with stderr in a pipe and returns what was written, as a string. */
static char *captured(enum log_level level, const char *text) {
    static char line[4096];
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    int saved = dup(STDERR_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[1]);
    log_write(level, "%s", text);
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t size = read(pipe_ends[0], line, sizeof line - 1);
    close(pipe_ends[0]);
    assert_true(size >= 0);
    line[size] = '\0';
    return line;
}

static void line_has_program_level_and_text(void **state) {
    (void)state;
    unsetenv("JOURNAL_STREAM");
    log_open("prog", LOG_LEVEL_INFO);
    char *line = captured(LOG_LEVEL_WARNING, "disk is full");
    assert_non_null(strstr(line, "Z prog warning: disk is full\n"));
}

static void under_the_journal_a_line_begins_with_its_priority(void **state) {
    (void)state;
    setenv("JOURNAL_STREAM", "1:2", 1);
    log_open("prog", LOG_LEVEL_INFO);
    assert_string_equal(captured(LOG_LEVEL_ERROR, "gone"), "<3>prog: gone\n");
    unsetenv("JOURNAL_STREAM");
    log_open("prog", LOG_LEVEL_INFO);
}

static void control_characters_cannot_forge_a_line(void **state) {
    (void)state;
    char *line = captured(LOG_LEVEL_INFO, "a\nb\rc\033[31md\177e\xc2\x9b"
                                          "31mf\tg");
    assert_non_null(strstr(line, ": a?b?c?[31md?e??31mf?g\n"));
}

static void other_text_stays_as_it_is(void **state) {
    (void)state;
    char *line = captured(LOG_LEVEL_INFO, "M\xc3\xbcller \xe2\x82\xac \xc2\xa0.");
    assert_non_null(strstr(line, ": M\xc3\xbcller \xe2\x82\xac \xc2\xa0.\n"));
}

static void long_line_is_cut_and_ends(void **state) {
    (void)state;
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    char *line = captured(LOG_LEVEL_INFO, text);
    assert_in_range(strlen(line), 900, 1024);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void levels_below_the_threshold_are_silent(void **state) {
    (void)state;
    log_open("prog", LOG_LEVEL_WARNING);
    assert_string_equal(captured(LOG_LEVEL_INFO, "chatter"), "");
    assert_string_not_equal(captured(LOG_LEVEL_WARNING, "matter"), "");
    log_open("prog", LOG_LEVEL_INFO);
}

static void levels_are_known_by_name(void **state) {
    (void)state;
    enum log_level level = LOG_LEVEL_ERROR;
    assert_int_equal(log_level_parse("debug", &level), 0);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_parse("loud", &level), -EINVAL);
    assert_int_equal(log_level_parse("", &level), -EINVAL);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_has_program_level_and_text),
        cmocka_unit_test(under_the_journal_a_line_begins_with_its_priority),
        cmocka_unit_test(control_characters_cannot_forge_a_line),
        cmocka_unit_test(other_text_stays_as_it_is),
        cmocka_unit_test(long_line_is_cut_and_ends),
        cmocka_unit_test(levels_below_the_threshold_are_silent),
        cmocka_unit_test(levels_are_known_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
