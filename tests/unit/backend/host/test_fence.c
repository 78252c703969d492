/* The fence in a network namespace of this process's own; needs root, skipped without. tests/bpf has the system tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "backend/host/fence.h"
#include "model/prefix.h"
#include "model/problem.h"

static const struct fence_rules rules = {.passed = 0x5a11c0de};
static bool able;

static int own_namespace(void **state) {
    struct fence *fence;
    struct problem problem;
    unsigned touched = 0;
    (void)state;
    able = unshare(CLONE_NEWNET) == 0 && fence_open("sptest0", &fence, &problem) == 0;
    if (able) {
        able = fence_set(fence, &rules, &touched, &problem) == 0 && fence_remove(fence, &problem) == 0;
        fence_close(fence);
    }
    return 0;
}

static void no_name_becomes_a_rule(void **state) {
    static const char *const names[] = {"",        "a b", "wg0\"", "wg0;", "wg0 drop", "{", "wg0\n", "sixteen-letters-",
                                        "\xc3\xa4"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct fence *fence = NULL;
        struct problem problem = {0};
        assert_int_equal(fence_open(names[i], &fence, &problem), -EINVAL);
        assert_null(fence);
        assert_string_equal(problem.type, "bad-interface-name");
    }
    fence_close(NULL);
}

static void usual_and_unusual_names_are_fine(void **state) {
    static const char *const names[] = {"wg0", "wg-office", "wg.7", "_", "0", "fifteen-letters"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct fence *fence;
        struct problem problem;
        unsigned touched = 0;
        assert_int_equal(fence_open(names[i], &fence, &problem), 0);
        if (able) {
            assert_int_equal(fence_set(fence, &rules, &touched, &problem), 0);
            assert_int_equal(touched, 1);
            assert_int_equal(fence_set(fence, &rules, &touched, &problem), 0);
            assert_int_equal(touched, 1);
            assert_int_equal(fence_remove(fence, &problem), 0);
        }
        fence_close(fence);
    }
}

/* A second process finds the table as the first one set it, so it touches nothing. */
static void what_is_right_is_left_alone_by_whoever_comes(void **state) {
    struct problem problem;
    (void)state;
    if (!able) {
        print_message("needs root and nftables\n");
        skip();
    }
    const struct prefix hub[] = {{.addr = ip_from_v4(0x0a000001), .length = 8},
                                 {.addr = {.family = AF_INET6, .bytes = {0xfd, [15] = 1}}, .length = 48}};
    const struct fence_rules cases[] = {
        {.passed = 0x5a11c0de},
        {.hub = hub, .hub_count = 2},
        {.passed = 0x5a11c0de, .hub = hub, .hub_count = 2, .listen_port = 51820},
        {.passed = 0x5a11c0de, .hub = hub, .hub_count = 2, .listen_port = 51820, .egress = true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (unsigned run = 0; run < 2; run++) {
            struct fence *fence;
            unsigned touched = 0;
            assert_int_equal(fence_open("wg0", &fence, &problem), 0);
            assert_int_equal(fence_set(fence, &cases[i], &touched, &problem), 0);
            assert_int_equal(touched, run == 0);
            assert_int_equal(fence_set(fence, &cases[i], &touched, &problem), 0);
            assert_int_equal(touched, run == 0);
            assert_false(fence_is_half_blind(fence));
            fence_close(fence);
        }
    }
}

/* As nft(8) made it from the text that the version before gave it: known as ours, and replaced in one transaction. */
static void the_table_of_the_version_before_is_taken_over(void **state) {
    static const char text[] = "table inet sallyport_wg7 {\n"
                               "\tcomment \"made by sallyport, which undoes changes\"\n"
                               "\tchain prerouting {\n"
                               "\t\ttype filter hook prerouting priority raw - 10; policy accept;\n"
                               "\t\tiifname \"wg7\" meta priority != 5a11:c0de drop\n"
                               "\t}\n"
                               "\tchain postrouting {\n"
                               "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
                               "\t\tiifname \"wg7\" oifname != \"wg7\" masquerade\n"
                               "\t}\n"
                               "}\n";
    struct fence *fence;
    struct problem problem;
    unsigned touched = 0;
    (void)state;
    if (!able) {
        skip();
    }
    FILE *nft = popen("nft -f -", "w");
    assert_non_null(nft);
    fputs(text, nft);
    assert_int_equal(pclose(nft), 0);
    assert_int_equal(fence_open("wg7", &fence, &problem), 0);
    assert_int_equal(fence_set(fence, &rules, &touched, &problem), 0);
    assert_int_equal(touched, 1);
    assert_int_equal(fence_set(fence, &rules, &touched, &problem), 0);
    assert_int_equal(touched, 1);
    assert_int_equal(system("nft flush chain inet sallyport_wg7 prerouting"), 0);
    assert_int_equal(fence_set(fence, &rules, &touched, &problem), 0);
    assert_int_equal(touched, 2);
    assert_int_equal(fence_remove(fence, &problem), 0);
    fence_close(fence);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_name_becomes_a_rule),
        cmocka_unit_test(usual_and_unusual_names_are_fine),
        cmocka_unit_test(what_is_right_is_left_alone_by_whoever_comes),
        cmocka_unit_test(the_table_of_the_version_before_is_taken_over),
    };
    return cmocka_run_group_tests(tests, own_namespace, NULL);
}
