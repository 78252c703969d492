/* Frames off a network card: what is in them comes out, and what is damaged does not, whatever is damaged. */
#include "packets.h"

#include <string.h>

#include "engine/io/frame.h"
#include "engine/io/udp.h"

#define ETHERNET 14
#define TEXT "a data message of some length"

/* A frame, and what came of reading it. */
struct probe {
    bool v6;
    uint8_t frame[256];
    size_t size;
    struct udp_received got;
    char text[256]; /* the payload */
};

static uint8_t *ip_of(struct probe *p) {
    return p->frame + ETHERNET;
}

static uint8_t *udp_of(struct probe *p) {
    return ip_of(p) + (p->v6 ? 40 : 20);
}

static uint16_t pseudo(struct probe *p) {
    return sum_words(IPPROTO_UDP + get16(udp_of(p) + 4), ip_of(p) + (p->v6 ? 8 : 12), p->v6 ? 32 : 8);
}

/* Over the 20 bytes of a plain header, whatever length it claims. */
static void sum_v4_header(struct probe *p) {
    put16(ip_of(p) + 10, 0);
    put16(ip_of(p) + 10, 0xffffu - sum_words(0, ip_of(p), 20));
}

static void put_v4(struct probe *p, uint32_t upper_size, uint8_t ecn) {
    uint8_t *ip = ip_of(p);
    ip[0] = 0x45;
    ip[1] = ecn;
    put16(ip + 2, upper_size + 20);
    put16(ip + 6, 0x4000); /* must not be fragmented */
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    put32(ip + 12, 0xc0000202);
    put32(ip + 16, 0xc0000201);
    sum_v4_header(p);
}

static void put_v6(struct probe *p, uint32_t upper_size, uint8_t ecn) {
    uint8_t *ip = ip_of(p);
    put16(ip, 0x6000u | (uint32_t)ecn << 4);
    put16(ip + 4, upper_size);
    ip[6] = IPPROTO_UDP;
    ip[7] = 64;
    put32(ip + 8, 0x20010db8);
    ip[23] = 2;
    put32(ip + 24, 0x20010db8);
    ip[39] = 1;
}

/* A whole one, all of whose checksums are right. */
static struct probe make(bool v6, const char *payload, uint8_t ecn) {
    struct probe p = {.v6 = v6};
    size_t size = strlen(payload) + 8;
    put16(p.frame + 12, v6 ? 0x86dd : 0x0800);
    if (v6) {
        put_v6(&p, (uint32_t)size, ecn);
    } else {
        put_v4(&p, (uint32_t)size, ecn);
    }
    uint8_t *udp = udp_of(&p);
    put16(udp, 40000);
    put16(udp + 2, 51820);
    put16(udp + 4, (uint32_t)size);
    memcpy(udp + 8, payload, size - 8);
    put16(udp + 6, 0xffffu - sum_words(pseudo(&p), udp, size));
    p.size = (size_t)(udp - p.frame) + size;
    return p;
}

/* Reads a copy of exact size, so that reading past it is seen by the sanitizer. */
static bool reads(struct probe *p, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, p->frame, size);
    p->got = (struct udp_received){.interface = 7, .size = 99};
    bool good = frame_read(copy, size, &p->got);
    assert_int_equal(p->got.interface, 7);
    if (good) {
        assert_int_equal(p->got.segment, p->got.size);
        memcpy(p->text, p->got.bytes, p->got.size);
        p->text[p->got.size] = '\0';
    } else {
        assert_int_equal(p->got.size, 99);
    }
    free(copy);
    return good;
}

static void a_datagram_comes_out_of_either_family(void **state) {
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        for (uint8_t ecn = 0; ecn < 4; ecn++) {
            struct probe p = make(v6, TEXT, ecn);
            assert_true(reads(&p, p.size));
            assert_string_equal(p.text, TEXT);
            assert_int_equal(p.got.ecn, ecn);
            assert_int_equal(p.got.from.sa.sa_family, v6 ? AF_INET6 : AF_INET);
            assert_int_equal(ntohs(v6 ? p.got.from.in6.sin6_port : p.got.from.in.sin_port), 40000);
            assert_int_equal(p.got.to.family, v6 ? AF_INET6 : AF_INET);
            if (v6) {
                assert_int_equal(p.got.from.in6.sin6_addr.s6_addr[15], 2);
                assert_int_equal(p.got.to.in6.s6_addr[15], 1);
            } else {
                assert_int_equal(ntohl(p.got.from.in.sin_addr.s_addr), 0xc0000202);
                assert_int_equal(ntohl(p.got.to.in.s_addr), 0xc0000201);
            }
            /* a link pads short frames */
            assert_true(reads(&p, p.size + 20));
            assert_string_equal(p.text, TEXT);
        }
    }
}

static void an_odd_or_empty_payload_is_summed_right(void **state) {
    (void)state;
    static const char *const payloads[] = {"", "1", "12", "123"};
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        for (int v6 = 0; v6 < 2; v6++) {
            struct probe p = make(v6, payloads[i], 0);
            assert_true(reads(&p, p.size));
            assert_string_equal(p.text, payloads[i]);
        }
    }
}

static void any_changed_bit_is_found(void **state) {
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct probe p = make(v6, TEXT, 0);
        for (size_t bit = ETHERNET * 8; bit < p.size * 8; bit++) {
            /* what no checksum covers: traffic class, flow label and hop limit of IPv6 */
            size_t at = bit / 8 - ETHERNET;
            bool uncovered = v6 && (at == 1 || at == 2 || at == 3 || at == 7 || (at == 0 && bit % 8 < 4));
            p.frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(reads(&p, p.size), uncovered);
            p.frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void a_cut_frame_is_refused(void **state) {
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct probe p = make(v6, TEXT, 0);
        for (size_t cut = 0; cut < p.size; cut++) {
            assert_false(reads(&p, cut));
        }
    }
}

static void a_checksum_left_to_the_card_is_right_and_none_only_in_ipv4(void **state) {
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct probe p = make(v6, TEXT, 0);
        put16(udp_of(&p) + 6, pseudo(&p));
        assert_true(reads(&p, p.size));
        put16(udp_of(&p) + 6, pseudo(&p) ^ 1);
        assert_false(reads(&p, p.size));
        put16(udp_of(&p) + 6, 0);
        assert_int_equal(reads(&p, p.size), !v6);
    }
}

static void what_is_not_a_plain_datagram_is_refused(void **state) {
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
    } changes[] = {{0, 0x46}, {0, 0x44}, {0, 0x65}, {6, 0x20}, {7, 1}, {9, IPPROTO_TCP}, {3, 19}, {3, 200}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct probe p = make(false, TEXT, 0);
        ip_of(&p)[changes[i].at] = changes[i].value;
        sum_v4_header(&p);
        assert_false(reads(&p, p.size));
    }
    struct probe tagged = make(false, TEXT, 0);
    put16(tagged.frame + 12, 0x8100); /* a VLAN tag */
    assert_false(reads(&tagged, tagged.size));
    struct probe extended = make(true, TEXT, 0);
    ip_of(&extended)[6] = 60; /* destination options */
    assert_false(reads(&extended, extended.size));
}

static void a_udp_length_that_lies_is_refused(void **state) {
    (void)state;
    static const uint32_t lies[] = {0, 7, sizeof TEXT - 1 + 9, 65535};
    for (int v6 = 0; v6 < 2; v6++) {
        for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
            struct probe p = make(v6, TEXT, 0);
            put16(udp_of(&p) + 4, lies[i]);
            put16(udp_of(&p) + 6, pseudo(&p)); /* which is taken for right */
            assert_false(reads(&p, p.size));
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
