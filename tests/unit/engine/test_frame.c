/* Frames off a network card: what is in them comes out, and what is damaged does not, whatever is damaged. */
#include "packets.h"

#include <string.h>

#include "engine/frame.h"
#include "engine/udp.h"

#define ETHERNET 14
#define TEXT "a data message of some length"

/* A frame of either family with `payload`; the UDP checksum is right. Its size. */
static size_t make(bool v6, const char *payload, uint8_t ecn, uint8_t frame[256]) {
    size_t size = strlen(payload), header = v6 ? 40 : 20;
    uint8_t *ip = frame + ETHERNET, *udp = ip + header;
    memset(frame, 0, 256);
    put16(frame + 12, v6 ? 0x86dd : 0x0800);
    put16(udp, 40000);
    put16(udp + 2, 51820);
    put16(udp + 4, (uint32_t)size + 8);
    memcpy(udp + 8, payload, size);
    if (v6) {
        put16(ip, 0x6000u | (uint32_t)ecn << 4);
        put16(ip + 4, (uint32_t)size + 8);
        ip[6] = IPPROTO_UDP;
        ip[7] = 64;
        memcpy(ip + 8, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02", 16);
        memcpy(ip + 24, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    } else {
        ip[0] = 0x45;
        ip[1] = ecn;
        put16(ip + 2, (uint32_t)size + 28);
        put16(ip + 6, 0x4000);
        ip[8] = 64;
        ip[9] = IPPROTO_UDP;
        memcpy(ip + 12, "\xc0\x00\x02\x02\xc0\x00\x02\x01", 8);
        put16(ip + 10, 0xffffu - sum_words(0, ip, 20));
    }
    return ETHERNET + header + 8 + size;
}

static uint16_t pseudo(bool v6, const uint8_t *frame) {
    const uint8_t *ip = frame + ETHERNET;
    const uint8_t *udp = ip + (v6 ? 40 : 20);
    return sum_words(IPPROTO_UDP + get16(udp + 4), ip + (v6 ? 8 : 12), v6 ? 32 : 8);
}

static void finish(bool v6, uint8_t *frame) {
    uint8_t *udp = frame + ETHERNET + (v6 ? 40 : 20);
    put16(udp + 6, 0);
    put16(udp + 6, 0xffffu - sum_words(pseudo(v6, frame), udp, get16(udp + 4)));
}

/* Reads a copy of exact size, so that reading past it is seen by the sanitizer. */
static bool reads(const uint8_t *frame, size_t size, struct udp_received *received, char *text) {
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, frame, size);
    *received = (struct udp_received){.interface = 7, .size = 99};
    bool good = frame_read(copy, size, received);
    assert_int_equal(received->interface, 7);
    if (good) {
        assert_int_equal(received->segment, received->size);
        memcpy(text, received->bytes, received->size);
        text[received->size] = '\0';
    } else {
        assert_int_equal(received->size, 99);
    }
    free(copy);
    return good;
}

static void a_datagram_comes_out_of_either_family(void **state) {
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        for (uint8_t ecn = 0; ecn < 4; ecn++) {
            uint8_t frame[256];
            char text[256];
            struct udp_received got;
            size_t size = make(v6, TEXT, ecn, frame);
            finish(v6, frame);
            assert_true(reads(frame, size, &got, text));
            assert_string_equal(text, TEXT);
            assert_int_equal(got.ecn, ecn);
            assert_int_equal(got.from.sa.sa_family, v6 ? AF_INET6 : AF_INET);
            assert_int_equal(ntohs(v6 ? got.from.in6.sin6_port : got.from.in.sin_port), 40000);
            assert_int_equal(got.to.family, v6 ? AF_INET6 : AF_INET);
            if (v6) {
                assert_int_equal(got.from.in6.sin6_addr.s6_addr[15], 2);
                assert_int_equal(got.to.in6.s6_addr[15], 1);
            } else {
                assert_int_equal(ntohl(got.from.in.sin_addr.s_addr), 0xc0000202);
                assert_int_equal(ntohl(got.to.in.s_addr), 0xc0000201);
            }
            /* a link pads short frames */
            assert_true(reads(frame, size + 20, &got, text));
            assert_string_equal(text, TEXT);
        }
    }
}

static void an_odd_or_empty_payload_is_summed_right(void **state) {
    (void)state;
    static const char *const payloads[] = {"", "1", "12", "123"};
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        for (int v6 = 0; v6 < 2; v6++) {
            uint8_t frame[256];
            char text[256];
            struct udp_received got;
            size_t size = make(v6, payloads[i], 0, frame);
            finish(v6, frame);
            assert_true(reads(frame, size, &got, text));
            assert_string_equal(text, payloads[i]);
        }
    }
}

static void any_changed_bit_is_found(void **state) {
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        uint8_t frame[256];
        char text[256];
        struct udp_received got;
        size_t size = make(v6, TEXT, 0, frame);
        finish(v6, frame);
        for (size_t bit = ETHERNET * 8; bit < size * 8; bit++) {
            /* what no checksum covers: traffic class, flow label and hop limit of IPv6 */
            size_t at = bit / 8 - ETHERNET;
            bool uncovered = v6 && (at == 1 || at == 2 || at == 3 || at == 7 || (at == 0 && bit % 8 < 4));
            frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(reads(frame, size, &got, text), uncovered);
            frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void a_cut_frame_is_refused(void **state) {
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        uint8_t frame[256];
        char text[256];
        struct udp_received got;
        size_t size = make(v6, TEXT, 0, frame);
        finish(v6, frame);
        for (size_t cut = 0; cut < size; cut++) {
            assert_false(reads(frame, cut, &got, text));
        }
    }
}

static void a_checksum_left_to_the_card_is_right_and_none_only_in_ipv4(void **state) {
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        uint8_t frame[256];
        char text[256];
        struct udp_received got;
        size_t size = make(v6, TEXT, 0, frame);
        put16(frame + ETHERNET + (v6 ? 40 : 20) + 6, pseudo(v6, frame));
        assert_true(reads(frame, size, &got, text));
        put16(frame + ETHERNET + (v6 ? 40 : 20) + 6, pseudo(v6, frame) ^ 1);
        assert_false(reads(frame, size, &got, text));
        put16(frame + ETHERNET + (v6 ? 40 : 20) + 6, 0);
        assert_int_equal(reads(frame, size, &got, text), !v6);
    }
}

static void what_is_not_a_plain_datagram_is_refused(void **state) {
    (void)state;
    uint8_t frame[256];
    char text[256];
    struct udp_received got;
    static const struct {
        size_t at;
        uint8_t value;
    } changes[] = {{0, 0x46}, {0, 0x44}, {0, 0x65}, {6, 0x20}, {7, 1}, {9, IPPROTO_TCP}, {3, 19}, {3, 200}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        size_t size = make(false, TEXT, 0, frame);
        finish(false, frame);
        frame[ETHERNET + changes[i].at] = changes[i].value;
        fix_ip_sum(frame + ETHERNET);
        assert_false(reads(frame, size, &got, text));
    }
    size_t size = make(false, TEXT, 0, frame);
    finish(false, frame);
    put16(frame + 12, 0x8100); /* a VLAN tag */
    assert_false(reads(frame, size, &got, text));
    size = make(true, TEXT, 0, frame);
    finish(true, frame);
    frame[ETHERNET + 6] = 60; /* destination options */
    assert_false(reads(frame, size, &got, text));
}

static void a_udp_length_that_lies_is_refused(void **state) {
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        uint8_t frame[256];
        char text[256];
        struct udp_received got;
        size_t header = v6 ? 40 : 20;
        size_t size = make(v6, TEXT, 0, frame);
        put16(frame + ETHERNET + header + 6, 0);
        static const uint32_t lies[] = {0, 7, sizeof TEXT - 1 + 9, 65535};
        for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
            put16(frame + ETHERNET + header + 4, lies[i]);
            put16(frame + ETHERNET + header + 6, pseudo(v6, frame)); /* which is taken for right */
            assert_false(reads(frame, size, &got, text));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_datagram_comes_out_of_either_family),
        cmocka_unit_test(an_odd_or_empty_payload_is_summed_right),
        cmocka_unit_test(any_changed_bit_is_found),
        cmocka_unit_test(a_cut_frame_is_refused),
        cmocka_unit_test(a_checksum_left_to_the_card_is_right_and_none_only_in_ipv4),
        cmocka_unit_test(what_is_not_a_plain_datagram_is_refused),
        cmocka_unit_test(a_udp_length_that_lies_is_refused),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
