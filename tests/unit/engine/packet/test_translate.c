/* 1:1 translation: whatever is rewritten step by step must be what one would have built with the new address at once.
 */
#include "packets.h"

#include <errno.h>

#include "engine/packet/translate.h"

#define INSIDE UINT32_C(0x0a640002) /* 10.100.0.2 */
#define HUB_ADDRESS UINT32_C(0x0a000009)
#define HUB UINT32_C(0x0a000001)
#define ICMP_ERROR_HEADER 8

static const uint8_t protocols[] = {IPPROTO_TCP,  IPPROTO_UDP,  IPPROTO_UDPLITE, IPPROTO_DCCP,
                                    IPPROTO_ICMP, IPPROTO_SCTP, IPPROTO_GRE,     IPPROTO_ESP};

static void fill_upper(struct dice *dice, uint8_t protocol, uint8_t *upper, size_t size) {
    dice_fill(dice, upper, size);
    if (protocol == IPPROTO_ICMP) {
        upper[0] = dice_chance(dice, 50) ? 8 : 0; /* echo, echo reply */
    }
}

/* The same packet twice: before, and as it would be with the other address. */
static size_t cook_pair(struct recipe *r, bool source, uint32_t from, uint32_t to, uint8_t *before, uint8_t *after) {
    r->source = source ? to : HUB;
    r->destination = source ? HUB : to;
    cook(r, after);
    r->source = source ? from : HUB;
    r->destination = source ? HUB : from;
    return cook(r, before);
}

static int translate(bool source, uint8_t *packet, size_t size, uint32_t from, uint32_t to, bool partial) {
    return source ? translate_source(packet, size, from, to, partial)
                  : translate_destination(packet, size, from, to, partial);
}

static void every_protocol_as_if_built_anew(void **state) {
    (void)state;
    struct dice dice = {.state = 1};
    for (int i = 0; i < 40000; i++) {
        uint8_t upper[200], before[PACKET_MAX], after[PACKET_MAX];
        struct recipe r = {
            .protocol = protocols[dice_below(&dice, COUNT(protocols))],
            .options = 4 * (size_t)dice_below(&dice, 4),
            .fragment = dice_chance(&dice, 50) ? 0x4000 : 0,
            .upper = upper,
            .upper_size = 20 + dice_below(&dice, 181),
        };
        r.no_checksum = r.protocol == IPPROTO_UDP && dice_chance(&dice, 20);
        r.options = r.options == 4 ? 8 : r.options;
        bool source = dice_chance(&dice, 50);
        uint32_t from = dice_chance(&dice, 20) ? INSIDE : dice_u32(&dice);
        uint32_t to = dice_chance(&dice, 20) ? from ^ 1 : dice_u32(&dice);
        fill_upper(&dice, r.protocol, upper, r.upper_size);
        size_t size = cook_pair(&r, source, from, to, before, after);
        assert_int_equal(translate(source, before, size + dice_below(&dice, 16), from, to, false), 0);
        assert_memory_equal(before, after, size);
        assert_true(r.no_checksum || sums_right(before, true));
    }
}

/* All 65,536 values of the checksum before and after: also those where -0 and +0 meet. */
static void udp_never_turns_into_no_checksum(void **state) {
    (void)state;
    unsigned all_ones = 0;
    for (uint32_t word = 0; word < 65536; word++) {
        uint8_t upper[10] = {0x12, 0x34, 0x56, 0x78, 0, 10};
        uint8_t before[PACKET_MAX], after[PACKET_MAX];
        put16(upper + 8, word);
        struct recipe r = {.protocol = IPPROTO_UDP, .upper = upper, .upper_size = sizeof upper};
        size_t size = cook_pair(&r, true, INSIDE, HUB_ADDRESS, before, after);
        assert_int_equal(translate_source(before, size, INSIDE, HUB_ADDRESS, false), 0);
        assert_memory_equal(before, after, size);
        assert_true(get16(before + 26) != 0);
        all_ones += get16(before + 26) == 65535;
    }
    assert_true(all_ones > 0); /* the case was met */
}

static void there_and_back_is_the_same_packet(void **state) {
    (void)state;
    struct dice dice = {.state = 2};
    for (int i = 0; i < 5000; i++) {
        uint8_t upper[64], packet[PACKET_MAX], original[PACKET_MAX];
        struct recipe r = {
            .protocol = protocols[i % 8], .source = INSIDE, .destination = HUB, .upper = upper, .upper_size = 64};
        fill_upper(&dice, r.protocol, upper, sizeof upper);
        size_t size = cook(&r, packet);
        memcpy(original, packet, size);
        assert_int_equal(translate_source(packet, size, INSIDE, HUB_ADDRESS, false), 0);
        assert_memory_not_equal(original, packet, size);
        assert_int_equal(translate_source(packet, size, HUB_ADDRESS, INSIDE, false), 0);
        assert_memory_equal(original, packet, size);
    }
}

/* The TUN hands over packets whose checksum is only begun: the field holds the pseudo header's sum. */
static void partial_checksums_stay_partial(void **state) {
    (void)state;
    struct dice dice = {.state = 3};
    for (int i = 0; i < 5000; i++) {
        uint8_t upper[64], packet[PACKET_MAX];
        struct recipe r = {.protocol = i % 2 ? IPPROTO_TCP : IPPROTO_UDP,
                           .source = HUB,
                           .destination = dice_u32(&dice),
                           .upper = upper,
                           .upper_size = sizeof upper};
        uint32_t to = dice_u32(&dice);
        dice_fill(&dice, upper, sizeof upper);
        size_t size = cook(&r, packet);
        uint8_t *field = packet + 20 + sum_field(r.protocol);
        put16(field, pseudo_sum(packet, sizeof upper));
        assert_int_equal(translate_destination(packet, size, r.destination, to, true), 0);
        assert_int_equal(get32(packet + 16), to);
        assert_int_equal(get16(field) % 65535, pseudo_sum(packet, sizeof upper) % 65535);
        /* and completed as the receiver's kernel does it, it is right */
        put16(field, (uint32_t)~sum_words(0, packet + 20, sizeof upper));
        assert_true(sums_right(packet, true));
    }
}

static void fragments_are_right_once_reassembled(void **state) {
    (void)state;
    struct dice dice = {.state = 4};
    for (int i = 0; i < 4000; i++) {
        uint8_t upper[600], whole[PACKET_MAX], again[PACKET_MAX] = {0};
        struct recipe r = {.protocol = protocols[i % 8],
                           .source = INSIDE,
                           .destination = HUB,
                           .upper = upper,
                           .upper_size = 40 + dice_below(&dice, 560)};
        fill_upper(&dice, r.protocol, upper, r.upper_size);
        cook(&r, whole);
        size_t piece = 24 + 8 * (size_t)dice_below(&dice, 10);
        for (size_t at = 0; at < r.upper_size; at += piece) {
            size_t size = piece < r.upper_size - at ? piece : r.upper_size - at;
            bool last = at + size == r.upper_size;
            uint8_t fragment[PACKET_MAX];
            struct recipe f = r;
            f.upper = whole + 20 + at;
            f.upper_size = size;
            f.fragment = (uint16_t)((last ? 0 : 0x2000) | at / 8);
            size_t total = cook(&f, fragment);
            if ((f.fragment & 0x3fff) == 0) {
                memcpy(fragment, whole, total); /* it was not cut after all */
            }
            assert_int_equal(translate_source(fragment, total, INSIDE, HUB_ADDRESS, false), 0);
            assert_true(sums_right(fragment, false));
            assert_int_equal(get32(fragment + 12), HUB_ADDRESS);
            memcpy(again + 20 + at, fragment + 20, size);
        }
        r.source = HUB_ADDRESS;
        cook(&r, whole);
        memcpy(again, whole, 20);
        assert_memory_equal(again, whole, 20 + r.upper_size);
    }
}

/* An ICMP error of the router about a packet of the hub (or the other way), which quotes `quoted_size` bytes of it. */
static size_t cook_error(struct recipe *quoted, bool to_hub, uint32_t router, uint8_t type, size_t quoted_size,
                         uint8_t packet[PACKET_MAX]) {
    uint8_t inner[PACKET_MAX];
    uint8_t upper[PACKET_MAX] = {0};
    quoted->source = to_hub ? HUB : router;
    quoted->destination = to_hub ? router : HUB;
    size_t inner_size = cook(quoted, inner);
    quoted_size = quoted_size < inner_size ? quoted_size : inner_size;
    upper[0] = type;
    upper[1] = 1;
    memcpy(upper + ICMP_ERROR_HEADER, inner, quoted_size);
    struct recipe outer = {.protocol = IPPROTO_ICMP,
                           .source = to_hub ? router : HUB,
                           .destination = to_hub ? HUB : router,
                           .upper = upper,
                           .upper_size = ICMP_ERROR_HEADER + quoted_size};
    return cook(&outer, packet);
}

static void icmp_errors_speak_of_the_translated_flow(void **state) {
    (void)state;
    static const uint8_t types[] = {3, 4, 11, 12};
    struct dice dice = {.state = 5};
    for (int i = 0; i < 20000; i++) {
        uint8_t upper[100], before[PACKET_MAX], after[PACKET_MAX];
        struct recipe quoted = {
            .protocol = protocols[dice_below(&dice, 8)], .upper = upper, .upper_size = sizeof upper};
        quoted.options = dice_chance(&dice, 20) ? 12 : 0;
        quoted.no_checksum = quoted.protocol == IPPROTO_UDP && dice_chance(&dice, 20);
        fill_upper(&dice, quoted.protocol, upper, sizeof upper);
        bool to_hub = dice_chance(&dice, 50);
        uint32_t from = dice_u32(&dice);
        uint32_t to = dice_u32(&dice);
        uint8_t type = types[dice_below(&dice, COUNT(types))];
        /* from the bare header over the classic 8 bytes to all of it, also odd sizes */
        size_t quoted_size = 20 + quoted.options + dice_below(&dice, 101);
        size_t size = cook_error(&quoted, to_hub, from, type, quoted_size, before);
        cook_error(&quoted, to_hub, to, type, quoted_size, after);
        assert_int_equal(translate(to_hub, before, size, from, to, false), 0);
        assert_true(sums_right(before, true));
        size_t field = 20 + quoted.options + sum_field(quoted.protocol);
        if (quoted_size == field + 1) { /* half a checksum was quoted: nobody can tell, nobody can mend */
            before[28 + field] = after[28 + field];
        }
        /* the ICMP checksum may differ as +0 and -0 do; everything else is the same to the byte */
        memset(before + 22, 0, 2);
        memset(after + 22, 0, 2);
        assert_memory_equal(before, after, size);
    }
}

static void icmp_error_with_a_checksum_still_to_be_computed(void **state) {
    (void)state;
    uint8_t upper[40] = {0, 80, 0, 81, 1, 2, 3, 4}, packet[PACKET_MAX];
    struct recipe quoted = {.protocol = IPPROTO_TCP, .upper = upper, .upper_size = sizeof upper};
    size_t size = cook_error(&quoted, false, HUB_ADDRESS, 3, 60, packet);
    put16(packet + 22, 0);
    assert_int_equal(translate_destination(packet, size, HUB_ADDRESS, INSIDE, true), 0);
    assert_int_equal(get16(packet + 22), 0);
    assert_int_equal(get32(packet + 28 + 12), INSIDE);
    assert_true(sum_words(0, packet + 28, 20) == 65535);
}

static void refused_unchanged(uint8_t *packet, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, packet, size);
    assert_int_equal(translate_source(copy, size, INSIDE, HUB_ADDRESS, false), -EINVAL);
    assert_memory_equal(copy, packet, size);
    free(copy);
}

static void what_cannot_be_translated_is_refused(void **state) {
    (void)state;
    uint8_t upper[100] = {8}, packet[PACKET_MAX] = {0};
    struct recipe r = {
        .protocol = IPPROTO_UDP, .source = INSIDE + 1, .destination = HUB, .upper = upper, .upper_size = 60};
    refused_unchanged(packet, cook(&r, packet)); /* somebody else's address */
    r.source = INSIDE;
    for (size_t cut = 0; cut < 80; cut++) {
        cook(&r, packet);
        refused_unchanged(packet, cut);
    }
    packet[0] = 0x65; /* not IPv4 */
    refused_unchanged(packet, 80);

    r.protocol = IPPROTO_AH; /* authenticates the addresses */
    refused_unchanged(packet, cook(&r, packet));

    for (unsigned option = 0; option < 256; option++) {
        r.protocol = IPPROTO_UDP;
        r.options = 8;
        size_t size = cook(&r, packet);
        packet[21] = (uint8_t)option;
        fix_ip_sum(packet);
        if (option == 131 || option == 137) { /* loose and strict source route */
            refused_unchanged(packet, size);
        } else {
            assert_int_equal(translate_source(packet, size, INSIDE, HUB_ADDRESS, false), 0);
        }
    }
    size_t size = cook(&r, packet);
    packet[22] = 0; /* an option without length */
    refused_unchanged(packet, size);
    packet[22] = 8; /* an option beyond the header */
    refused_unchanged(packet, size);
}

static void headers_too_short_for_their_checksum_are_refused(void **state) {
    (void)state;
    uint8_t upper[100] = {8}, packet[PACKET_MAX] = {0};
    for (size_t i = 0; i < COUNT(protocols); i++) {
        for (size_t size = 0; size < 30; size++) {
            for (uint16_t fragment = 0; fragment <= 0x2000; fragment += 0x2000) {
                struct recipe r = {.protocol = protocols[i],
                                   .source = INSIDE,
                                   .destination = HUB,
                                   .fragment = fragment,
                                   .upper = upper,
                                   .upper_size = size};
                size_t total = cook(&r, packet);
                size_t field = sum_field(protocols[i]);
                size_t least = protocols[i] == IPPROTO_ICMP ? 8 : field ? field + 2 : 0;
                if (size < least) {
                    refused_unchanged(packet, total);
                } else {
                    assert_int_equal(translate_source(packet, total, INSIDE, HUB_ADDRESS, false), 0);
                }
            }
        }
    }
    for (uint16_t offset = 1; offset < 5; offset++) { /* would overwrite the checksum on reassembly */
        struct recipe r = {.protocol = IPPROTO_TCP,
                           .source = INSIDE,
                           .destination = HUB,
                           .fragment = offset,
                           .upper = upper,
                           .upper_size = 60};
        size_t total = cook(&r, packet);
        if (offset <= 2) {
            refused_unchanged(packet, total);
        } else {
            assert_int_equal(translate_source(packet, total, INSIDE, HUB_ADDRESS, false), 0);
        }
    }
}

static void icmp_that_speaks_of_others_is_refused(void **state) {
    (void)state;
    uint8_t upper[40] = {0}, packet[PACKET_MAX];
    struct recipe quoted = {.protocol = IPPROTO_TCP, .upper = upper, .upper_size = sizeof upper};
    size_t size = cook_error(&quoted, true, INSIDE, 5, 60, packet);
    refused_unchanged(packet, size); /* a redirect */

    size = cook_error(&quoted, true, INSIDE, 3, 60, packet);
    put32(packet + 28 + 16, INSIDE + 1); /* quotes a packet to another router */
    fix_upper_sum(packet);
    refused_unchanged(packet, size);

    size = cook_error(&quoted, true, INSIDE, 3, 19, packet); /* not even a header */
    refused_unchanged(packet, size);
    size = cook_error(&quoted, true, INSIDE, 3, 60, packet);
    packet[28] = 0x4f; /* a quoted header that is longer than what is quoted */
    packet[28 + 3] = 60;
    size_t short_size = 28 + 40;
    put16(packet + 2, (uint32_t)short_size);
    refused_unchanged(packet, short_size);
    packet[28] = 0x65;
    refused_unchanged(packet, size);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_protocol_as_if_built_anew),
        cmocka_unit_test(udp_never_turns_into_no_checksum),
        cmocka_unit_test(there_and_back_is_the_same_packet),
        cmocka_unit_test(partial_checksums_stay_partial),
        cmocka_unit_test(fragments_are_right_once_reassembled),
        cmocka_unit_test(icmp_errors_speak_of_the_translated_flow),
        cmocka_unit_test(icmp_error_with_a_checksum_still_to_be_computed),
        cmocka_unit_test(what_cannot_be_translated_is_refused),
        cmocka_unit_test(headers_too_short_for_their_checksum_are_refused),
        cmocka_unit_test(icmp_that_speaks_of_others_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
