/* Inner packets: what is accepted, what is refused, and that the quick look and the careful one agree. */
#include "packets.h"

#include <errno.h>

#include "engine/packet/packet.h"

static struct packet parsed(const uint8_t *bytes, size_t size) {
    struct packet p;
    assert_int_equal(packet_parse(bytes, size, &p), 0);
    return p;
}

static void refused(const uint8_t *bytes, size_t size) {
    /* a copy of exact size: reading past it is seen by the sanitizer */
    uint8_t *copy = malloc(size ? size : 1);
    struct packet p = {.version = 99};
    memcpy(copy, bytes, size);
    assert_int_equal(packet_parse(copy, size, &p), -EINVAL);
    assert_int_equal(p.version, 99);
    free(copy);
}

static void ipv4_fields_are_read(void **state) {
    (void)state;
    uint8_t upper[100] = {1, 2, 3};
    uint8_t packet[PACKET_MAX];
    for (size_t options = 0; options <= 40; options += 4) {
        struct recipe r = {.protocol = IPPROTO_UDP,
                           .source = 0x0a640002,
                           .destination = 0x0a000001,
                           .options = options,
                           .upper = upper,
                           .upper_size = sizeof upper};
        size_t size = cook(&r, packet);
        struct packet p = parsed(packet, size + 16); /* padding after it */
        assert_int_equal(p.version, 4);
        assert_int_equal(p.tos, 0x28);
        assert_int_equal(p.protocol, IPPROTO_UDP);
        assert_int_equal(p.header_size, 20 + options);
        assert_int_equal(p.fixed_size, 20 + options);
        assert_int_equal(p.size, size);
        assert_int_equal(get32(p.source), 0x0a640002);
        assert_int_equal(get32(p.destination), 0x0a000001);
        assert_false(p.fragment || p.more_fragments || p.dont_fragment);
        for (size_t cut = 0; cut < size; cut++) {
            refused(packet, cut);
            assert_int_equal(packet_size(packet, cut), 0);
        }
    }
}

static void ipv4_lengths_that_contradict_are_refused(void **state) {
    (void)state;
    uint8_t upper[8] = {0};
    uint8_t packet[PACKET_MAX] = {0};
    struct recipe r = {.protocol = IPPROTO_UDP, .options = 8, .upper = upper, .upper_size = sizeof upper};
    cook(&r, packet);
    for (unsigned words = 0; words < 16; words++) {
        packet[0] = (uint8_t)(0x40 + words);
        struct packet p;
        int expected = words < 5 || words * 4 > 36 ? -EINVAL : 0;
        assert_int_equal(packet_parse(packet, 64, &p), expected);
        assert_int_equal(packet_size(packet, 64), expected ? 0 : 36);
    }
    for (unsigned version = 0; version < 16; version++) {
        packet[0] = (uint8_t)(version * 16 + 5);
        if (version != 4) {
            refused(packet, 36);
            assert_int_equal(packet_size(packet, 36), 0);
        }
    }
}

static void ipv4_fragments_are_told(void **state) {
    (void)state;
    uint8_t upper[64] = {0};
    uint8_t packet[PACKET_MAX];
    static const struct {
        uint16_t field;
        bool more, dont, fragment;
        unsigned offset;
    } cases[] = {{0x4000, false, true, false, 0},
                 {0x2000, true, false, true, 0},
                 {0x2001, true, false, true, 8},
                 {0x00b9, false, false, true, 1480},
                 {0x1ff0, false, false, true, 65408}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct recipe r = {
            .protocol = IPPROTO_UDP, .fragment = cases[i].field, .upper = upper, .upper_size = sizeof upper};
        struct packet p = parsed(packet, cook(&r, packet));
        assert_int_equal(p.more_fragments, cases[i].more);
        assert_int_equal(p.dont_fragment, cases[i].dont);
        assert_int_equal(p.fragment, cases[i].fragment);
        assert_int_equal(p.fragment_offset, cases[i].offset);
    }
    struct recipe beyond = {.protocol = IPPROTO_UDP, .fragment = 0x1ff8, .upper = upper, .upper_size = 64};
    refused(packet, cook(&beyond, packet)); /* would end past 65,535: the old "ping of death" */
}

static size_t cook6(uint8_t packet[PACKET_MAX], uint8_t next, const uint8_t *payload, size_t payload_size) {
    memset(packet, 0, 40);
    packet[0] = 0x6a;
    packet[1] = 0xb0;
    put16(packet + 4, (uint32_t)payload_size);
    packet[6] = next;
    packet[7] = 64;
    for (uint8_t i = 0; i < 16; i++) {
        packet[8 + i] = (uint8_t)(0x10 + i);
        packet[24 + i] = (uint8_t)(0x80 + i);
    }
    if (payload_size) {
        memcpy(packet + 40, payload, payload_size);
    }
    return 40 + payload_size;
}

static void ipv6_extension_headers_are_walked(void **state) {
    (void)state;
    uint8_t packet[PACKET_MAX];
    uint8_t chain[] = {
        IPPROTO_DSTOPTS,
        0,
        1,
        4,
        0,
        0,
        0,
        0, /* hop by hop */
        IPPROTO_ROUTING,
        1,
        1,
        12,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0, /* destination options, 16 bytes */
        IPPROTO_AH,
        0,
        4,
        0,
        0,
        0,
        0,
        0, /* routing */
        IPPROTO_FRAGMENT,
        2,
        0,
        0,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        0, /* authentication: counts in fours */
        IPPROTO_TCP,
        0,
        0,
        1,
        0xca,
        0xfe,
        0,
        0, /* first fragment, more to come */
        0,
        80,
        0,
        81,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0, /* what is upper */
    };
    size_t size = cook6(packet, IPPROTO_HOPOPTS, chain, sizeof chain);
    struct packet p = parsed(packet, size);
    assert_int_equal(p.version, 6);
    assert_int_equal(p.tos, 0xab);
    assert_int_equal(p.protocol, IPPROTO_TCP);
    assert_int_equal(p.header_size, 40 + 8 + 16 + 8 + 16 + 8);
    assert_int_equal(p.fixed_size, 40);
    assert_int_equal(p.size, size);
    assert_true(p.fragment && p.more_fragments && p.dont_fragment);
    assert_int_equal(p.source[0], 0x10);
    assert_int_equal(p.destination[15], 0x8f);
    for (size_t cut = 0; cut < size; cut++) {
        refused(packet, cut);
        assert_int_equal(packet_size(packet, cut), 0);
    }
    for (size_t payload = 0; payload < 56; payload++) { /* the chain itself cut, in a packet of that length */
        refused(packet, cook6(packet, IPPROTO_HOPOPTS, chain, payload));
    }
}

static void ipv6_later_fragments_have_no_upper_header(void **state) {
    (void)state;
    uint8_t packet[PACKET_MAX];
    uint8_t fragment[] = {IPPROTO_ROUTING, 0, 0x05, 0xa8, 0, 0, 0, 7, 255, 255, 255};
    struct packet p = parsed(packet, cook6(packet, IPPROTO_FRAGMENT, fragment, sizeof fragment));
    assert_int_equal(p.fragment_offset, 0x05a8);
    assert_false(p.more_fragments);
    assert_true(p.fragment);
    assert_int_equal(p.header_size, 48); /* what follows is not read as a routing header */
    uint8_t twice[] = {IPPROTO_FRAGMENT, 0, 0, 1, 0, 0, 0, 7, IPPROTO_TCP, 0, 0, 1, 0, 0, 0, 7};
    refused(packet, cook6(packet, IPPROTO_FRAGMENT, twice, sizeof twice));
    uint8_t beyond[] = {IPPROTO_TCP, 0, 0xff, 0xf8, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8};
    refused(packet, cook6(packet, IPPROTO_FRAGMENT, beyond, sizeof beyond));
}

static void ipv6_walk_is_bounded(void **state) {
    (void)state;
    uint8_t packet[PACKET_MAX];
    for (size_t count = 0; count < 20; count++) {
        uint8_t chain[160] = {0};
        for (size_t i = 0; i < count; i++) {
            chain[i * 8] = i + 1 < count ? IPPROTO_DSTOPTS : IPPROTO_NONE;
        }
        size_t size = cook6(packet, count ? IPPROTO_DSTOPTS : IPPROTO_NONE, chain, count * 8);
        struct packet p;
        assert_int_equal(packet_parse(packet, size, &p), count <= 8 ? 0 : -EINVAL);
    }
}

static void quick_look_agrees_with_the_careful_one(void **state) {
    (void)state;
    struct dice dice = {.state = 1};
    unsigned good = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t packet[128];
        size_t size = dice_below(&dice, sizeof packet + 1);
        dice_fill(&dice, packet, sizeof packet);
        packet[0] = (uint8_t)(dice_chance(&dice, 50) ? 0x40 + dice_below(&dice, 10) : 0x60);
        if (packet[0] == 0x60) {
            packet[4] = 0;
        } else {
            packet[2] = 0;
        }
        struct packet p;
        if (packet_parse(packet, size, &p) == 0) {
            assert_int_equal(packet_size(packet, size), p.size);
            assert_ptr_equal(packet_source(packet), p.source);
            assert_ptr_equal(packet_destination(packet), p.destination);
            assert_int_equal(packet_tos(packet), p.tos);
            assert_true(p.header_size <= p.size && p.size <= size && p.fixed_size <= p.header_size);
            struct ip_addr addr = packet_addr(packet, p.source);
            assert_int_equal(memcmp(addr.bytes, p.source, ip_bits(&addr) / 8), 0);
            good++;
        }
    }
    assert_true(good > 10000);
}

/* RFC 6040, figure 4, but for the drop. */
static void congestion_is_handed_inwards(void **state) {
    (void)state;
    enum { NOT, ECT1, ECT0, CE };
    static const uint8_t expected[4][4] = {
        [NOT] = {[NOT] = NOT, [ECT1] = NOT, [ECT0] = NOT, [CE] = NOT},
        [ECT1] = {[NOT] = ECT1, [ECT1] = ECT1, [ECT0] = ECT1, [CE] = CE},
        [ECT0] = {[NOT] = ECT0, [ECT1] = ECT1, [ECT0] = ECT0, [CE] = CE},
        [CE] = {[NOT] = CE, [ECT1] = CE, [ECT0] = CE, [CE] = CE},
    };
    uint8_t upper[20] = {9};
    uint8_t packet[PACKET_MAX];
    for (uint8_t inner = 0; inner < 4; inner++) {
        for (uint8_t outer = 0; outer < 4; outer++) {
            struct recipe r = {
                .protocol = IPPROTO_UDP, .source = 1, .destination = 2, .upper = upper, .upper_size = 20};
            cook(&r, packet);
            packet[1] = (uint8_t)(0xb8 | inner);
            fix_ip_sum(packet);
            packet_decapsulate_ecn(packet, 0x88 | outer);
            assert_int_equal(packet[1], 0xb8 | expected[inner][outer]); /* DSCP stays */
            assert_true(sums_right(packet, true));

            uint8_t before[PACKET_MAX];
            size_t size = cook6(packet, IPPROTO_UDP, upper, 20);
            packet[1] = (uint8_t)((packet[1] & 0xcf) | inner << 4);
            memcpy(before, packet, size);
            packet_decapsulate_ecn(packet, 0x88 | outer);
            assert_int_equal(packet_ecn(packet), expected[inner][outer]);
            before[1] = (uint8_t)((before[1] & 0xcf) | expected[inner][outer] << 4);
            assert_memory_equal(before, packet, size);
        }
    }
}

static void sums_match_the_plain_way(void **state) {
    (void)state;
    struct dice dice = {.state = 2};
    static uint8_t bytes[65535];
    dice_fill(&dice, bytes, sizeof bytes);
    for (int i = 0; i < 300; i++) {
        size_t size = i == 0 ? sizeof bytes : dice_below(&dice, i < 100 ? 65536 : 64);
        uint32_t start = dice_below(&dice, 65536);
        assert_int_equal(packet_fold(packet_sum(bytes, size, start)) % 65535, sum_words(start, bytes, size) % 65535);
    }
    memset(bytes, 255, sizeof bytes);
    assert_int_equal(packet_fold(packet_sum(bytes, 65534, 65535)), 65535);
    assert_int_equal(packet_fold(packet_sum(bytes, 0, 0)), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4_fields_are_read),
        cmocka_unit_test(ipv4_lengths_that_contradict_are_refused),
        cmocka_unit_test(ipv4_fragments_are_told),
        cmocka_unit_test(ipv6_extension_headers_are_walked),
        cmocka_unit_test(ipv6_later_fragments_have_no_upper_header),
        cmocka_unit_test(ipv6_walk_is_bounded),
        cmocka_unit_test(quick_look_agrees_with_the_careful_one),
        cmocka_unit_test(congestion_is_handed_inwards),
        cmocka_unit_test(sums_match_the_plain_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
