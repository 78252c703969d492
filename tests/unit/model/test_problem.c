/* Problems: their errno, their status, and the path of their field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "model/problem.h"

static void each_kind_has_its_errno_and_status(void **state) {
    (void)state;
    static const struct {
        enum problem_kind kind;
        int error, status;
    } rows[] = {
        {PROBLEM_INVALID, -EINVAL, 422},   {PROBLEM_CONFLICT, -EEXIST, 409}, {PROBLEM_NOT_FOUND, -ENOENT, 404},
        {PROBLEM_EXHAUSTED, -ENOSPC, 409}, {PROBLEM_FORBIDDEN, -EPERM, 403}, {PROBLEM_UNAVAILABLE, -EAGAIN, 503},
        {PROBLEM_INTERNAL, -EIO, 500},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct problem p;
        memset(&p, 0x55, sizeof p);
        assert_int_equal(problem_set(&p, rows[i].kind, "some-type", "name", "%s is %d", "it", 7), rows[i].error);
        assert_int_equal(problem_status(p.kind), rows[i].status);
        assert_string_equal(p.type, "some-type");
        assert_string_equal(p.field, "name");
        assert_string_equal(p.detail, "it is 7");
    }
}

static void no_field_is_an_empty_one(void **state) {
    (void)state;
    struct problem p;
    problem_set(&p, PROBLEM_INTERNAL, "x", NULL, "y");
    assert_string_equal(p.field, "");
}

static void field_paths_nest(void **state) {
    (void)state;
    struct problem p;
    problem_set(&p, PROBLEM_INVALID, "x", "lans[2]", "y");
    problem_within(&p, "routers[7]");
    assert_string_equal(p.field, "routers[7].lans[2]");
    problem_set(&p, PROBLEM_INVALID, "x", "[2]", "y");
    problem_within(&p, "lans");
    assert_string_equal(p.field, "lans[2]");
    problem_set(&p, PROBLEM_INVALID, "x", "", "y");
    problem_within(&p, "routers");
    assert_string_equal(p.field, "routers");
}

static void long_texts_are_cut_not_spilled(void **state) {
    (void)state;
    struct problem p;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    problem_set(&p, PROBLEM_INVALID, text, text, "%s", text);
    assert_int_equal(strlen(p.type), sizeof p.type - 1);
    assert_int_equal(strlen(p.field), sizeof p.field - 1);
    assert_int_equal(strlen(p.detail), sizeof p.detail - 1);
    problem_within(&p, "routers[7]");
    assert_int_equal(strlen(p.field), sizeof p.field - 1);
    assert_int_equal(strncmp(p.field, "routers[7].xx", 13), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_has_its_errno_and_status),
        cmocka_unit_test(no_field_is_an_empty_one),
        cmocka_unit_test(field_paths_nest),
        cmocka_unit_test(long_texts_are_cut_not_spilled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
