/* ICMP errors: their form to the byte, their sums, and when there must be none. */
#include "packets.h"

#include <errno.h>

#include "base/clock.h"
#include "engine/packet/icmp.h"
#include "engine/packet/packet.h"
#include "engine/table/bucket.h"

static struct ip_addr addr_of(const char *text) {
    struct ip_addr addr;
    assert_int_equal(ip_parse(text, &addr), 0);
    return addr;
}

static size_t cook_v4(uint8_t protocol, const char *source, const char *destination, size_t payload, uint8_t *packet) {
    static uint8_t upper[PACKET_MAX] = {8, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    struct ip_addr from = addr_of(source);
    struct ip_addr to = addr_of(destination);
    struct recipe r = {.protocol = protocol,
                       .source = ip_to_v4(&from),
                       .destination = ip_to_v4(&to),
                       .upper = upper,
                       .upper_size = payload};
    return cook(&r, packet);
}

static size_t cook_v6(uint8_t next, const char *source, const char *destination, const uint8_t *payload, size_t size,
                      uint8_t *packet) {
    struct ip_addr from = addr_of(source);
    struct ip_addr to = addr_of(destination);
    memset(packet, 0, 40);
    packet[0] = 0x60;
    put16(packet + 4, (uint32_t)size);
    packet[6] = next;
    memcpy(packet + 8, from.bytes, 16);
    memcpy(packet + 24, to.bytes, 16);
    if (size) {
        memcpy(packet + 40, payload, size);
    }
    return 40 + size;
}

static int answer_to(enum icmp_error error, const uint8_t *packet, size_t size, uint8_t *answer, size_t *ret_size) {
    struct ip_addr from = addr_of(packet[0] >> 4 == 4 ? "10.0.0.1" : "fd00::1");
    return icmp_error_create(error, packet, size, &from, 1380, NULL, NULL, 0, answer, ret_size);
}

static const struct {
    enum icmp_error error;
    uint8_t v4_type, v4_code, v6_type, v6_code;
    uint32_t mtu;
} forms[] = {
    {ICMP_ERROR_PROHIBITED, 3, 13, 1, 1, 0},
    {ICMP_ERROR_UNREACHABLE, 3, 1, 1, 3, 0},
    {ICMP_ERROR_TOO_BIG, 3, 4, 2, 0, 1380},
};

static void ipv4_errors_are_well_formed(void **state) {
    (void)state;
    uint8_t packet[PACKET_MAX], answer[ICMP_ERROR_SIZE_MAX];
    for (size_t form = 0; form < COUNT(forms); form++) {
        for (size_t payload = 0; payload < 1400; payload += 7) {
            size_t size = cook_v4(IPPROTO_UDP, "10.100.0.2", "8.8.8.8", payload, packet);
            size_t got = 0;
            assert_int_equal(answer_to(forms[form].error, packet, size + 9, answer, &got), 0);
            size_t quoted = size < 548 ? size : 548;
            assert_int_equal(got, 28 + quoted);
            assert_true(got <= 576);
            assert_int_equal(get16(answer + 2), got);
            assert_true(sums_right(answer, true));
            assert_int_equal(answer[0], 0x45);
            assert_int_equal(answer[9], IPPROTO_ICMP);
            assert_int_equal(get32(answer + 12), 0x0a000001);
            assert_int_equal(get32(answer + 16), 0x0a640002);
            assert_int_equal(answer[20], forms[form].v4_type);
            assert_int_equal(answer[21], forms[form].v4_code);
            assert_int_equal(get32(answer + 24), forms[form].mtu); /* unused, then the MTU (RFC 1191) */
            assert_memory_equal(answer + 28, packet, quoted);
        }
    }
}

static void ipv6_errors_are_well_formed(void **state) {
    (void)state;
    static uint8_t payload[1500];
    uint8_t packet[PACKET_MAX], answer[ICMP_ERROR_SIZE_MAX];
    for (size_t form = 0; form < COUNT(forms); form++) {
        for (size_t length = 0; length < 1500; length += 7) {
            size_t size = cook_v6(IPPROTO_UDP, "fd12::2", "2001:db8::1", payload, length, packet);
            size_t got = 0;
            assert_int_equal(answer_to(forms[form].error, packet, size, answer, &got), 0);
            size_t quoted = size < 1232 ? size : 1232;
            assert_int_equal(got, 48 + quoted);
            assert_int_equal(get16(answer + 4), 8 + quoted);
            assert_int_equal(answer[6], IPPROTO_ICMPV6);
            assert_int_equal(answer[8], 0xfd);
            assert_int_equal(answer[23], 1);
            assert_memory_equal(answer + 24, packet + 8, 16);
            assert_int_equal(answer[40], forms[form].v6_type);
            assert_int_equal(answer[41], forms[form].v6_code);
            assert_int_equal(get32(answer + 44), forms[form].mtu);
            assert_memory_equal(answer + 48, packet, quoted);
            uint8_t pseudo[40] = {0};
            memcpy(pseudo, answer + 8, 32);
            put32(pseudo + 32, (uint32_t)(8 + quoted));
            pseudo[39] = IPPROTO_ICMPV6;
            assert_int_equal(sum_words(sum_words(0, pseudo, 40), answer + 40, 8 + quoted), 65535);
        }
    }
}

static void silent(const uint8_t *packet, size_t size) {
    uint8_t answer[ICMP_ERROR_SIZE_MAX];
    size_t got = 4711;
    assert_int_equal(answer_to(ICMP_ERROR_PROHIBITED, packet, size, answer, &got), -ENOMSG);
    assert_int_equal(got, 4711);
}

static void no_error_about_errors(void **state) {
    (void)state;
    uint8_t packet[PACKET_MAX], answer[ICMP_ERROR_SIZE_MAX];
    size_t got;
    for (unsigned type = 0; type < 256; type++) {
        size_t size = cook_v4(IPPROTO_ICMP, "10.100.0.2", "10.0.0.1", 16, packet);
        packet[20] = (uint8_t)type;
        if (type == 3 || type == 4 || type == 5 || type == 11 || type == 12) {
            silent(packet, size);
        } else {
            assert_int_equal(answer_to(ICMP_ERROR_PROHIBITED, packet, size, answer, &got), 0);
        }
        uint8_t message[16] = {(uint8_t)type};
        size = cook_v6(IPPROTO_ICMPV6, "fd12::2", "fd00::1", message, sizeof message, packet);
        if (type < 128 || type == 137) {
            silent(packet, size);
        } else {
            assert_int_equal(answer_to(ICMP_ERROR_PROHIBITED, packet, size, answer, &got), 0);
        }
        uint8_t behind_options[24] = {IPPROTO_ICMPV6, 0, 1, 4, 0, 0, 0, 0, 1}; /* an error behind an extension header */
        silent(packet, cook_v6(IPPROTO_DSTOPTS, "fd12::2", "fd00::1", behind_options, 24, packet));
    }
    silent(packet, cook_v4(IPPROTO_ICMP, "10.100.0.2", "10.0.0.1", 0, packet)); /* may have been one */
    silent(packet, cook_v6(IPPROTO_ICMPV6, "fd12::2", "fd00::1", NULL, 0, packet));
}

static void no_error_about_later_fragments(void **state) {
    (void)state;
    uint8_t packet[PACKET_MAX], answer[ICMP_ERROR_SIZE_MAX];
    size_t got;
    size_t size = cook_v4(IPPROTO_UDP, "10.100.0.2", "8.8.8.8", 64, packet);
    put16(packet + 6, 0x2000);
    assert_int_equal(answer_to(ICMP_ERROR_PROHIBITED, packet, size, answer, &got), 0);
    put16(packet + 6, 0x2001);
    silent(packet, size);
    uint8_t fragment[16] = {IPPROTO_UDP, 0, 0, 9};
    silent(packet, cook_v6(IPPROTO_FRAGMENT, "fd12::2", "2001:db8::1", fragment, 16, packet));
}

static void no_error_to_or_about_many(void **state) {
    (void)state;
    static const char *const not_one_host[] = {"0.0.0.0",         "0.1.2.3",   "127.0.0.1",      "224.0.0.1",
                                               "239.255.255.255", "240.0.0.1", "255.255.255.255"};
    uint8_t packet[PACKET_MAX], answer[ICMP_ERROR_SIZE_MAX];
    size_t got;
    for (size_t i = 0; i < COUNT(not_one_host); i++) {
        silent(packet, cook_v4(IPPROTO_UDP, not_one_host[i], "8.8.8.8", 20, packet));
        silent(packet, cook_v4(IPPROTO_UDP, "10.100.0.2", not_one_host[i], 20, packet));
    }
    uint8_t payload[20] = {0};
    silent(packet, cook_v6(IPPROTO_UDP, "::", "2001:db8::1", payload, 20, packet));
    silent(packet, cook_v6(IPPROTO_UDP, "::1", "2001:db8::1", payload, 20, packet));
    silent(packet, cook_v6(IPPROTO_UDP, "ff02::1", "2001:db8::1", payload, 20, packet));
    size_t size = cook_v6(IPPROTO_UDP, "fd12::2", "ff0e::1", payload, 20, packet);
    silent(packet, size);
    assert_int_equal(answer_to(ICMP_ERROR_TOO_BIG, packet, size, answer, &got), 0); /* RFC 4443, 2.4 e.3 */
}

static void malformed_and_mixed_families_are_refused(void **state) {
    (void)state;
    uint8_t packet[PACKET_MAX], answer[ICMP_ERROR_SIZE_MAX];
    size_t got;
    size_t size = cook_v4(IPPROTO_UDP, "10.100.0.2", "8.8.8.8", 20, packet);
    assert_int_equal(answer_to(ICMP_ERROR_PROHIBITED, packet, size - 1, answer, &got), -EINVAL);
    struct ip_addr from6 = addr_of("fd00::1");
    assert_int_equal(icmp_error_create(ICMP_ERROR_PROHIBITED, packet, size, &from6, 0, NULL, NULL, 0, answer, &got),
                     -EINVAL);
}

static void the_rate_is_kept_and_silence_is_free(void **state) {
    (void)state;
    const struct bucket_rate rate = {.per_s = 10, .burst = 3};
    struct bucket bucket;
    struct ip_addr from = addr_of("10.0.0.1");
    uint8_t packet[PACKET_MAX], other[PACKET_MAX], answer[ICMP_ERROR_SIZE_MAX];
    size_t got;
    size_t size = cook_v4(IPPROTO_UDP, "10.100.0.2", "8.8.8.8", 20, packet);
    size_t other_size = cook_v4(IPPROTO_UDP, "10.100.0.2", "224.0.0.1", 20, other);
    bucket_fill(&bucket, &rate, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            icmp_error_create(ICMP_ERROR_PROHIBITED, other, other_size, &from, 0, &bucket, &rate, 0, answer, &got),
            -ENOMSG);
        assert_int_equal(
            icmp_error_create(ICMP_ERROR_PROHIBITED, packet, size, &from, 0, &bucket, &rate, 0, answer, &got), 0);
    }
    assert_int_equal(icmp_error_create(ICMP_ERROR_PROHIBITED, packet, size, &from, 0, &bucket, &rate, 0, answer, &got),
                     -EAGAIN);
    assert_int_equal(icmp_error_create(ICMP_ERROR_PROHIBITED, packet, size, &from, 0, &bucket, &rate, NSEC_PER_SEC / 10,
                                       answer, &got),
                     0);
}

/* Whom the packet speaks of, if it is an ICMP error. */
static int quoted(const uint8_t *packet, size_t size, const char *wanted) {
    struct ip_addr addr = {0};
    int speaks = icmp_quoted(packet, size, &addr);
    if (speaks == 1) {
        struct ip_addr whom = addr_of(wanted);
        assert_true(ip_equal(&addr, &whom));
    } else {
        assert_int_equal(addr.family, 0);
    }
    return speaks;
}

static void it_is_told_of_whom_an_ipv4_error_speaks(void **state) {
    (void)state;
    uint8_t inner[PACKET_MAX], packet[PACKET_MAX];
    uint8_t message[PACKET_MAX] = {0};
    struct ip_addr from = addr_of("10.100.0.2");
    struct ip_addr to = addr_of("10.0.0.1");
    struct recipe r = {
        .protocol = IPPROTO_ICMP, .source = ip_to_v4(&from), .destination = ip_to_v4(&to), .upper = message};
    size_t inner_size = cook_v4(IPPROTO_TCP, "10.0.0.1", "10.100.0.77", 20, inner);
    memcpy(message + 8, inner, inner_size);
    for (unsigned type = 0; type < 256; type++) {
        bool is_error = type == 3 || type == 4 || type == 11 || type == 12;
        int whole = type == 5 ? -EINVAL : is_error;
        message[0] = (uint8_t)type;
        r.upper_size = 8 + inner_size;
        for (r.options = 0; r.options <= 40; r.options += 8) {
            assert_int_equal(quoted(packet, cook(&r, packet), "10.100.0.77"), whole);
        }
        r.options = 0;
        r.upper_size = 28;
        assert_int_equal(quoted(packet, cook(&r, packet), "10.100.0.77"), whole);
        r.upper_size = 27; /* too short to say it */
        assert_int_equal(quoted(packet, cook(&r, packet), NULL), whole ? -EINVAL : 0);
        r.upper_size = 48;
        r.fragment = 0x2000; /* the rest may say something else */
        assert_int_equal(quoted(packet, cook(&r, packet), NULL), whole ? -EINVAL : 0);
        r.fragment = 0x2001;
        assert_int_equal(quoted(packet, cook(&r, packet), NULL), 0);
        r.fragment = 0;
    }
    message[0] = 3;
    message[8] = 0x65; /* not IPv4 */
    assert_int_equal(quoted(packet, cook(&r, packet), NULL), -EINVAL);
    r.protocol = IPPROTO_UDP;
    assert_int_equal(quoted(packet, cook(&r, packet), NULL), 0);
}

static void it_is_told_of_whom_an_ipv6_error_speaks(void **state) {
    (void)state;
    uint8_t message[8 + 40 + 16] = {0};
    uint8_t behind[8 + sizeof message] = {IPPROTO_ICMPV6, 0, 1, 4}; /* destination options: padding */
    uint8_t packet[PACKET_MAX];
    static const uint8_t nothing[16];
    cook_v6(IPPROTO_UDP, "fd00::1", "fd12::77", nothing, 16, message + 8);
    for (unsigned type = 0; type < 256; type++) {
        int whole = type == 137 ? -EINVAL : type < 128;
        message[0] = (uint8_t)type;
        memcpy(behind + 8, message, sizeof message);
        size_t size = cook_v6(IPPROTO_ICMPV6, "fd12::2", "fd00::1", message, sizeof message, packet);
        assert_int_equal(quoted(packet, size, "fd12::77"), whole);
        size = cook_v6(IPPROTO_DSTOPTS, "fd12::2", "fd00::1", behind, sizeof behind, packet);
        assert_int_equal(quoted(packet, size, "fd12::77"), whole);
        size = cook_v6(IPPROTO_ICMPV6, "fd12::2", "fd00::1", message, 47, packet);
        assert_int_equal(quoted(packet, size, NULL), whole ? -EINVAL : 0);
        uint8_t fragment[8 + sizeof message] = {IPPROTO_ICMPV6, 0, 0, 1};
        memcpy(fragment + 8, message, sizeof message);
        size = cook_v6(IPPROTO_FRAGMENT, "fd12::2", "fd00::1", fragment, sizeof fragment, packet);
        assert_int_equal(quoted(packet, size, NULL), whole ? -EINVAL : 0);
        fragment[3] = 9;
        size = cook_v6(IPPROTO_FRAGMENT, "fd12::2", "fd00::1", fragment, sizeof fragment, packet);
        assert_int_equal(quoted(packet, size, NULL), 0);
    }
    /* More headers than anybody reads, and one that is cut: there might be an error behind them. */
    uint8_t headers[10 * 8];
    for (size_t i = 0; i < sizeof headers; i += 8) {
        memcpy(headers + i, (uint8_t[]){IPPROTO_DSTOPTS, 0, 1, 4, 0, 0, 0, 0}, 8);
    }
    size_t size = cook_v6(IPPROTO_DSTOPTS, "fd12::2", "fd00::1", headers, sizeof headers, packet);
    assert_int_equal(quoted(packet, size, NULL), -EINVAL);
    size = cook_v6(IPPROTO_DSTOPTS, "fd12::2", "fd00::1", behind, 7, packet);
    assert_int_equal(quoted(packet, size, NULL), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4_errors_are_well_formed),
        cmocka_unit_test(ipv6_errors_are_well_formed),
        cmocka_unit_test(no_error_about_errors),
        cmocka_unit_test(no_error_about_later_fragments),
        cmocka_unit_test(no_error_to_or_about_many),
        cmocka_unit_test(malformed_and_mixed_families_are_refused),
        cmocka_unit_test(it_is_told_of_whom_an_ipv4_error_speaks),
        cmocka_unit_test(it_is_told_of_whom_an_ipv6_error_speaks),
        cmocka_unit_test(the_rate_is_kept_and_silence_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
