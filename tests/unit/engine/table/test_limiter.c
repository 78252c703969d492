/* The limiter of initiations: Linux's figures for one router, room for many behind one address, and a bound for
 * everybody. */
#include "dice.h"

#include <stdlib.h>

#include "base/clock.h"
#include "engine/table/limiter.h"

#define REPLIES 20000
#define EXTRA 2000 /* a second */
#define WINDOW_EXTRA (EXTRA * (LIMITER_WINDOW_NS / NSEC_PER_SEC))
#define START (1000 * LIMITER_WINDOW_NS)

static const uint8_t secret[LIMITER_KEY_SIZE] = {1, 2, 3};

static union endpoint from4(uint32_t addr, uint32_t port) {
    union endpoint e = {0};
    e.in.sin_family = AF_INET;
    e.in.sin_addr.s_addr = htonl(addr);
    e.in.sin_port = htons((uint16_t)port);
    return e;
}

static union endpoint from6(uint64_t net, uint64_t host, uint32_t port) {
    union endpoint e;
    memset(&e, 0, sizeof e);
    e.in6.sin6_family = AF_INET6;
    for (int i = 0; i < 8; i++) {
        e.in6.sin6_addr.s6_addr[i] = (uint8_t)(net >> (56 - 8 * i));
        e.in6.sin6_addr.s6_addr[8 + i] = (uint8_t)(host >> (56 - 8 * i));
    }
    e.in6.sin6_port = htons((uint16_t)port);
    return e;
}

static struct limiter *limiter_new(uint32_t extra) {
    struct limiter *l;
    assert_int_equal(limiter_create(secret, extra, REPLIES, &l), 0);
    return l;
}

static void unproved_sources_get_what_linux_gives(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    uint64_t now = START;
    unsigned passed = 0;
    for (uint32_t i = 0; i < 1000; i++) { /* ports make no difference */
        union endpoint e = from4(0x01020304, 1000 + i);
        passed += limiter_allow(l, now, &e, false);
    }
    assert_int_equal(passed, LIMITER_ADDRESS_BURST);
    for (int tick = 0; tick < 1000; tick++) {
        union endpoint e = from4(0x01020304, 7);
        now += NSEC_PER_SEC / 100;
        passed += limiter_allow(l, now, &e, false);
    }
    assert_int_equal(passed, LIMITER_ADDRESS_BURST + 10 * LIMITER_ADDRESS_PER_S);
    limiter_free(l);
    limiter_free(NULL);
}

static void an_ipv6_source_is_its_64(void **state) {
    (void)state;
    struct limiter *l = limiter_new(0);
    unsigned passed = 0;
    for (uint64_t host = 0; host < 100; host++) {
        union endpoint e = from6(0x20010db800000001, host, 5000);
        passed += limiter_allow(l, START, &e, false);
    }
    assert_int_equal(passed, LIMITER_ADDRESS_BURST);
    union endpoint next = from6(0x20010db800000002, 0, 5000);
    assert_true(limiter_allow(l, START, &next, false));
    union endpoint alike = from4(0x20010db8, 5000);
    assert_true(limiter_allow(l, START, &alike, false)); /* the families never meet */
    limiter_free(l);
}

static void proved_never_gets_less_than_linux(void **state) {
    (void)state;
    struct limiter *l = limiter_new(0); /* no budget at all */
    union endpoint e = from4(0x01020304, 51820);
    uint64_t now = START;
    unsigned passed = 0;
    for (int tick = 0; tick <= 1000; tick++) {
        passed += limiter_allow(l, now, &e, true);
        now += NSEC_PER_SEC / 100;
    }
    assert_in_range(passed, 10 * LIMITER_ADDRESS_PER_S, LIMITER_ADDRESS_BURST + 10 * LIMITER_ADDRESS_PER_S);
    limiter_free(l);
}

/* 5,000 routers behind one address, each retries every 5 s until it passed. */
static unsigned windows_until_all_passed(struct limiter *l, uint64_t now, uint32_t addr, uint32_t routers) {
    bool *passed = calloc(routers, sizeof *passed);
    uint32_t left = routers;
    unsigned windows = 0;
    for (; left && windows < 100; windows++, now += LIMITER_WINDOW_NS) {
        for (uint32_t r = 0; r < routers; r++) {
            union endpoint e = from4(addr, 1024 + r);
            if (!passed[r] && limiter_allow(l, now + r * UINT64_C(60000), &e, true)) { /* within 0.3 s */
                passed[r] = true;
                left--;
            }
        }
    }
    free(passed);
    return windows;
}

static void a_carriers_nat_is_back_at_once(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    assert_int_equal(windows_until_all_passed(l, START, 0x64400001, 5000), 1);
    limiter_free(l);
}

static void an_attacker_with_addresses_leaves_the_nat_its_share(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    uint32_t nat_passed = 0;
    uint32_t attack_passed = 0;
    struct dice dice = {.state = 1};
    /* 9 hostile addresses with all their ports send 20 times as fast as one NAT of 5,000 routers */
    for (uint64_t window = 0; window < 4; window++) {
        uint64_t begin = START + window * LIMITER_WINDOW_NS;
        for (uint32_t i = 0; i < 105000; i++) {
            uint64_t now = begin + i * (LIMITER_WINDOW_NS / 105000);
            if (i % 21 == 0) {
                union endpoint e = from4(0x64400001, 1024 + i / 21);
                nat_passed += limiter_allow(l, now, &e, true);
            } else {
                union endpoint e = from4(0x0a000000 + dice_below(&dice, 9), dice_below(&dice, 65536));
                attack_passed += limiter_allow(l, now, &e, true);
            }
        }
    }
    /* a tenth of the budget and Linux's 20/s each window; the first, in which shares are found, may be less */
    assert_true(nat_passed >= 3 * (WINDOW_EXTRA / 10 + 5 * LIMITER_ADDRESS_PER_S - 10));
    assert_true(attack_passed + nat_passed <=
                4 * (WINDOW_EXTRA + 10 * (5 * LIMITER_ADDRESS_PER_S + LIMITER_ADDRESS_BURST)));
    limiter_free(l);
}

/* Whoever comes first in a window does not take the shares of those who drew in the last one. */
static void the_first_of_a_window_leaves_the_others_theirs(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    for (uint32_t i = 0; i < 10 * 100; i++) {
        union endpoint e = from4(0x0a000000 + i % 10, 1024 + i);
        (void)limiter_allow(l, START, &e, true);
    }
    uint32_t first_passed = 0;
    for (uint32_t i = 0; i < 60000; i++) {
        union endpoint e = from4(0x0a000000, i);
        first_passed += limiter_allow(l, START + LIMITER_WINDOW_NS, &e, true);
    }
    assert_int_equal(first_passed, WINDOW_EXTRA / 10 + LIMITER_ADDRESS_BURST);
    for (uint32_t i = 0; i < 900; i++) {
        union endpoint e = from4(0x0a000001, i);
        assert_true(limiter_allow(l, START + LIMITER_WINDOW_NS, &e, true));
    }
    limiter_free(l);
}

static void one_address_with_all_its_ports_is_bounded(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    uint32_t passed = 0;
    for (uint32_t i = 0; i < 400000; i++) {
        union endpoint e = from4(0x0a000001, i % 65536);
        passed += limiter_allow(l, START + i * (LIMITER_WINDOW_NS / 400000), &e, true);
    }
    assert_in_range(passed, WINDOW_EXTRA, WINDOW_EXTRA + 5 * LIMITER_ADDRESS_PER_S + LIMITER_ADDRESS_BURST);
    limiter_free(l);
}

static void one_busy_port_uses_up_only_its_own(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    union endpoint busy = from4(0x64400001, 9);
    uint32_t busy_passed = 0;
    uint32_t others_passed = 0;
    for (uint32_t i = 0; i < 50000; i++) { /* 10,000/s for one window, and 100 others once each */
        uint64_t now = START + i * (LIMITER_WINDOW_NS / 50000);
        busy_passed += limiter_allow(l, now, &busy, true);
        if (i % 500 == 499) {
            union endpoint other = from4(0x64400001, 1024 + i);
            others_passed += limiter_allow(l, now, &other, true);
        }
    }
    assert_int_equal(others_passed, 100);
    assert_true(busy_passed <=
                5 * (LIMITER_ADDRESS_PER_S + LIMITER_PORT_PER_S) + LIMITER_ADDRESS_BURST + LIMITER_PORT_BURST);
    limiter_free(l);
}

static void a_flood_of_forged_sources_harms_no_proved_one(void **state) {
    (void)state;
    struct limiter *l = limiter_new(0);
    struct dice dice = {.state = 2};
    uint64_t now = START;
    size_t size = limiter_size(l);
    union endpoint router = from4(0x05060708, 51820);
    for (int second = 0; second < 5; second++) {
        for (uint32_t i = 0; i < 200000; i++) {
            union endpoint e = from4(dice_u32(&dice), dice_u32(&dice));
            (void)limiter_allow(l, now, &e, false);
            now += 5000;
        }
        assert_true(limiter_allow(l, now, &router, true));
    }
    assert_int_equal(limiter_size(l), size);
    assert_true(size < (12u << 20));
    limiter_free(l);
}

static void full_tables_still_bound_and_forget_in_time(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    uint32_t passed = 0;
    uint32_t stranger_passed = 0;
    /* far more live addresses than entries, all in the same millisecond */
    for (uint32_t i = 0; i < 4 * LIMITER_ENTRIES; i++) {
        union endpoint e = from4(0x0a000000 + i, 1000);
        passed += limiter_allow(l, START + i, &e, true);
        stranger_passed += limiter_allow(l, START + i, &e, false);
    }
    assert_true(stranger_passed <= LIMITER_ENTRIES); /* whoever found no room was refused */
    assert_true(passed <= LIMITER_ENTRIES + WINDOW_EXTRA);
    union endpoint late = from4(0x7b000001, 1);
    uint32_t late_passed = 0;
    for (int i = 0; i < 100; i++) {
        late_passed += limiter_allow(l, START + 2 * LIMITER_WINDOW_NS, &late, false);
    }
    assert_int_equal(late_passed, LIMITER_ADDRESS_BURST); /* the others are idle now and make room */
    limiter_free(l);
}

static void the_budget_is_per_window_whoever_asks(void **state) {
    (void)state;
    struct limiter *l = limiter_new(100);
    struct dice dice = {.state = 3};
    for (uint64_t window = 0; window < 20; window++) {
        uint32_t extra = 0;
        uint32_t addresses = 1 + dice_below(&dice, 30);
        for (uint32_t i = 0; i < 20000; i++) {
            union endpoint e = from4(0x0b000000 + dice_below(&dice, addresses), dice_below(&dice, 5000));
            /* at one instant: only the first five of an address are Linux's */
            extra += limiter_allow(l, START + window * LIMITER_WINDOW_NS, &e, true);
        }
        assert_true(extra <= 500 + addresses * LIMITER_ADDRESS_BURST);
    }
    limiter_free(l);
}

static void a_clock_that_goes_back_gives_nothing_anew(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    uint64_t next = START + LIMITER_WINDOW_NS;
    uint32_t passed = 0;
    for (uint32_t port = 1; port <= WINDOW_EXTRA; port++) {
        union endpoint e = from4(0x01020304, port);
        passed += limiter_allow(l, START, &e, true);
    }
    union endpoint other = from4(0x05060708, 1);
    assert_true(limiter_allow(l, next, &other, true)); /* turns the window */
    for (uint32_t i = 0; i < 3 * WINDOW_EXTRA; i++) {
        union endpoint e = from4(0x01020304, 20000 + i);
        passed += limiter_allow(l, START, &e, true);
    }
    assert_in_range(passed, WINDOW_EXTRA, 2 * WINDOW_EXTRA + LIMITER_ADDRESS_BURST);
    limiter_free(l);
}

static void a_router_is_answered_and_its_repetitions_are_not(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    union endpoint router = from4(0x01020304, 7);
    union endpoint neighbour = from4(0x01020304, 8);
    unsigned answered = 0;
    for (int i = 0; i < 100; i++) {
        answered += limiter_allow_reply(l, START, &router);
    }
    assert_int_equal(answered, LIMITER_PORT_BURST);
    assert_true(limiter_allow_reply(l, START, &neighbour));
    assert_true(limiter_allow_reply(l, START + 5 * NSEC_PER_SEC, &router));
    limiter_free(l);
}

static void the_ports_of_one_address_cannot_take_all_replies(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    unsigned answered = 0;
    for (uint32_t i = 0; i < 40000; i++) { /* within two seconds */
        union endpoint forged = from4(0x01020304, i);
        answered += limiter_allow_reply(l, START + i * UINT64_C(50000), &forged);
    }
    assert_in_range(answered, 2 * LIMITER_REPLIES_PER_S, LIMITER_REPLIES_BURST + 2 * LIMITER_REPLIES_PER_S);
    union endpoint honest = from4(0x05060708, 7);
    assert_true(limiter_allow_reply(l, START + 2 * NSEC_PER_SEC, &honest));
    limiter_free(l);
}

static void replies_have_a_budget_whoever_asks(void **state) {
    (void)state;
    struct limiter *l = limiter_new(EXTRA);
    unsigned answered = 0;
    for (uint32_t i = 0; i < 200000; i++) { /* within one second */
        union endpoint forged = from4(0x10000000 + i, 7);
        answered += limiter_allow_reply(l, START + i * UINT64_C(5000), &forged);
    }
    assert_in_range(answered, REPLIES * 9 / 10, REPLIES + REPLIES / 10);
    limiter_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unproved_sources_get_what_linux_gives),
        cmocka_unit_test(an_ipv6_source_is_its_64),
        cmocka_unit_test(proved_never_gets_less_than_linux),
        cmocka_unit_test(a_carriers_nat_is_back_at_once),
        cmocka_unit_test(an_attacker_with_addresses_leaves_the_nat_its_share),
        cmocka_unit_test(the_first_of_a_window_leaves_the_others_theirs),
        cmocka_unit_test(one_address_with_all_its_ports_is_bounded),
        cmocka_unit_test(one_busy_port_uses_up_only_its_own),
        cmocka_unit_test(a_flood_of_forged_sources_harms_no_proved_one),
        cmocka_unit_test(full_tables_still_bound_and_forget_in_time),
        cmocka_unit_test(the_budget_is_per_window_whoever_asks),
        cmocka_unit_test(a_router_is_answered_and_its_repetitions_are_not),
        cmocka_unit_test(the_ports_of_one_address_cannot_take_all_replies),
        cmocka_unit_test(replies_have_a_budget_whoever_asks),
        cmocka_unit_test(a_clock_that_goes_back_gives_nothing_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
