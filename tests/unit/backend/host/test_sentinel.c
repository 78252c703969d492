/* The sentinel, in a network namespace of this process's own. Needs root; skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>

#include "backend/host/link.h"
#include "backend/host/sentinel.h"

#define NAME "spsent0"
#define OTHER "spsent1"

static struct sentinel *sentinel;
static struct link *ours, *other;

static int begin(void **state) {
    (void)state;
    if (unshare(CLONE_NEWNET) < 0 || sentinel_open("sallyport_" NAME, &sentinel) < 0 ||
        link_create(NAME, "bridge") < 0 || link_create(OTHER, "bridge") < 0) {
        return 0;
    }
    struct link_state is;
    assert_int_equal(link_open(OTHER, &other), 0);
    assert_int_equal(link_open(NAME, &ours), 0);
    assert_int_equal(link_get(ours, &is), 0);
    sentinel_watch(sentinel, is.index);
    return 0;
}

static int end(void **state) {
    (void)state;
    link_free(ours);
    link_free(other);
    sentinel_free(sentinel);
    return 0;
}

static void need_host(void) {
    if (!ours) {
        print_message("needs root, bridges and nftables\n");
        skip();
    }
    sentinel_settle(sentinel);
    assert_false(sentinel_heed(sentinel));
}

static void only_our_interface_concerns_us(void **state) {
    struct prefix address = {.addr = ip_from_v4(0x0a000001), .length = 8};
    (void)state;
    need_host();
    assert_int_equal(link_set_mtu(other, 1300), 0);
    assert_int_equal(link_set_up(other), 0);
    assert_int_equal(link_add_address(other, &address), 0);
    assert_false(sentinel_heed(sentinel));
    assert_int_equal(link_set_mtu(ours, 1300), 0);
    assert_true(sentinel_heed(sentinel));
    assert_false(sentinel_heed(sentinel)); /* once */
    assert_int_equal(link_add_address(ours, &address), 0);
    assert_true(sentinel_heed(sentinel));
    assert_int_equal(link_remove_address(ours, &address), 0);
    assert_true(sentinel_heed(sentinel));
}

static void only_our_table_concerns_us(void **state) {
    (void)state;
    need_host();
    assert_int_equal(sentinel_usable(), 0);
    assert_int_equal(system("nft 'add table inet somebody; add chain inet somebody c'"), 0);
    assert_false(sentinel_heed(sentinel));
    assert_int_equal(system("nft add table inet sallyport_" NAME), 0);
    assert_true(sentinel_heed(sentinel));
    assert_int_equal(system("nft delete table inet somebody"), 0);
    assert_false(sentinel_heed(sentinel));
    assert_int_equal(system("nft flush ruleset"), 0);
    assert_true(sentinel_heed(sentinel));
}

static void what_was_settled_and_what_was_rung(void **state) {
    (void)state;
    need_host();
    assert_int_equal(link_set_mtu(ours, 1299), 0);
    sentinel_settle(sentinel);
    assert_false(sentinel_heed(sentinel));
    sentinel_ring(sentinel);
    assert_true(sentinel_heed(sentinel));
    assert_false(sentinel_heed(sentinel));
}

static void more_than_can_be_kept_is_a_reason_to_look(void **state) {
    (void)state;
    need_host();
    for (unsigned i = 0; i < 4000; i++) {
        assert_int_equal(link_set_mtu(other, 1200 + i % 2), 0);
    }
    assert_true(sentinel_heed(sentinel));
    assert_false(sentinel_heed(sentinel));
}

static void the_end_of_the_interface_is_noticed(void **state) {
    struct link_state is;
    (void)state;
    need_host();
    assert_int_equal(link_set_up(ours), 0);
    sentinel_settle(sentinel);
    assert_int_equal(link_set_alias(ours, "sallyport:1"), 0);
    assert_true(sentinel_heed(sentinel));
    assert_int_equal(link_get(ours, &is), 0);
    assert_string_equal(is.alias, "sallyport:1");
    assert_string_equal(is.kind, "bridge");
    assert_int_equal(link_create(NAME, "bridge"), -EEXIST);
    assert_int_equal(link_delete(NAME), 0);
    assert_true(sentinel_heed(sentinel));
    assert_int_equal(link_delete(NAME), 0); /* there is none any more */
    assert_int_equal(link_get(ours, &is), -ENODEV);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_our_interface_concerns_us),
        cmocka_unit_test(only_our_table_concerns_us),
        cmocka_unit_test(what_was_settled_and_what_was_rung),
        cmocka_unit_test(more_than_can_be_kept_is_a_reason_to_look),
        cmocka_unit_test(the_end_of_the_interface_is_noticed),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
