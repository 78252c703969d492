#include "engine/packet/icmp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/packet/packet.h"
#include "engine/packet/transport.h"
#include "engine/table/bucket.h"

#define ICMP_HEADER_SIZE 8
#define V4_TOTAL_MAX 576  /* RFC 1812, 4.3.2.3 */
#define V6_TOTAL_MAX 1280 /* RFC 4443, 2.4 c */
#define V4_REDIRECT 5
#define V6_INFORMATION 128 /* below: errors (RFC 4443, 2.1) */
#define V6_REDIRECT 137
#define TOS_INTERNETWORK_CONTROL 0xc0 /* RFC 1812, 4.3.2.5 */
#define TTL 64

struct kind {
    uint8_t v4_type, v4_code, v6_type, v6_code;
};

static const struct kind kinds[] = {
    [ICMP_ERROR_PROHIBITED] = {3, 13, 1, 1},
    [ICMP_ERROR_UNREACHABLE] = {3, 1, 1, 3},
    [ICMP_ERROR_TOO_BIG] = {3, 4, 2, 0},
};

static bool v4_one_host(const uint8_t addr[4]) {
    return addr[0] != 0 && addr[0] != 127 && addr[0] < 224; /* above: multicast, reserved, broadcast */
}

static bool v6_one_host(const uint8_t addr[16]) {
    static const uint8_t zeros[15];
    bool unspecified_or_loopback = memcmp(addr, zeros, 15) == 0 && addr[15] <= 1;
    return addr[0] != 0xff && !unspecified_or_loopback;
}

bool icmp_is_v4_error(uint8_t type) {
    return type == 3 || type == 4 || type == V4_REDIRECT || type == 11 || type == 12;
}

static bool answerable(enum icmp_error error, const uint8_t *packet, const struct packet *p) {
    const uint8_t *upper = packet + p->header_size;
    bool has_type = p->size > p->header_size;
    if (p->fragment_offset) {
        return false;
    }
    if (p->version == 4) {
        return v4_one_host(p->source) && v4_one_host(p->destination) &&
               !(p->protocol == IPPROTO_ICMP && (!has_type || icmp_is_v4_error(upper[0])));
    }
    /* path MTU discovery works for multicast too (RFC 4443, 2.4 e.3) */
    bool destination_fits = p->destination[0] != 0xff || error == ICMP_ERROR_TOO_BIG;
    return v6_one_host(p->source) && destination_fits &&
           !(p->protocol == IPPROTO_ICMPV6 && (!has_type || upper[0] < V6_INFORMATION || upper[0] == V6_REDIRECT));
}

static size_t write_v4(const struct kind *kind, const uint8_t *packet, const struct packet *p, const uint8_t *from,
                       uint16_t mtu, uint8_t *answer) {
    size_t quoted = V4_TOTAL_MAX - PACKET_IPV4_SIZE - ICMP_HEADER_SIZE;
    quoted = p->size < quoted ? p->size : quoted;
    size_t total = PACKET_IPV4_SIZE + ICMP_HEADER_SIZE + quoted;
    uint8_t *icmp = answer + PACKET_IPV4_SIZE;
    memset(answer, 0, PACKET_IPV4_SIZE + ICMP_HEADER_SIZE);
    answer[0] = 0x45;
    answer[1] = TOS_INTERNETWORK_CONTROL;
    be16_put(answer + 2, (uint16_t)total);
    be16_put(answer + 6, 0x4000); /* DF: such packets need no identification (RFC 6864, 4.1) */
    answer[8] = TTL;
    answer[9] = IPPROTO_ICMP;
    memcpy(answer + 12, from, 4);
    memcpy(answer + 16, p->source, 4);
    be16_put(answer + 10, (uint16_t)~packet_fold(packet_sum(answer, PACKET_IPV4_SIZE, 0)));
    icmp[0] = kind->v4_type;
    icmp[1] = kind->v4_code;
    be16_put(icmp + 6, mtu);
    memcpy(icmp + ICMP_HEADER_SIZE, packet, quoted);
    be16_put(icmp + 2, (uint16_t)~packet_fold(packet_sum(icmp, ICMP_HEADER_SIZE + quoted, 0)));
    return total;
}

static size_t write_v6(const struct kind *kind, const uint8_t *packet, const struct packet *p, const uint8_t *from,
                       uint32_t mtu, uint8_t *answer) {
    size_t quoted = V6_TOTAL_MAX - PACKET_IPV6_SIZE - ICMP_HEADER_SIZE;
    quoted = p->size < quoted ? p->size : quoted;
    size_t message_size = ICMP_HEADER_SIZE + quoted;
    uint8_t *icmp = answer + PACKET_IPV6_SIZE;
    memset(answer, 0, PACKET_IPV6_SIZE + ICMP_HEADER_SIZE);
    answer[0] = 0x60;
    be16_put(answer + 4, (uint16_t)message_size);
    answer[6] = IPPROTO_ICMPV6;
    answer[7] = TTL;
    memcpy(answer + 8, from, 16);
    memcpy(answer + 24, p->source, 16);
    icmp[0] = kind->v6_type;
    icmp[1] = kind->v6_code;
    be32_put(icmp + 4, mtu);
    memcpy(icmp + ICMP_HEADER_SIZE, packet, quoted);
    uint32_t sum = transport_pseudo_sum(answer, IPPROTO_ICMPV6, message_size);
    be16_put(icmp + 2, (uint16_t)~packet_fold(packet_sum(icmp, message_size, sum)));
    return PACKET_IPV6_SIZE + message_size;
}

int icmp_error_create(enum icmp_error error, const uint8_t *packet, size_t size, const struct ip_addr *from,
                      uint32_t mtu, struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns,
                      uint8_t answer[ICMP_ERROR_SIZE_MAX], size_t *ret_size) {
    struct packet p;
    int failed = packet_parse(packet, size, &p);
    if (failed) {
        return failed;
    }
    if (from->family != (p.version == 4 ? AF_INET : AF_INET6)) {
        return -EINVAL;
    }
    if (!answerable(error, packet, &p)) {
        return -ENOMSG;
    }
    if (bucket && !bucket_take(bucket, rate, now_ns, 1)) {
        return -EAGAIN;
    }
    const struct kind *kind = &kinds[error];
    uint32_t told = error == ICMP_ERROR_TOO_BIG ? mtu : 0;
    *ret_size = p.version == 4
                    ? write_v4(kind, packet, &p, from->bytes, (uint16_t)(told < UINT16_MAX ? told : UINT16_MAX), answer)
                    : write_v6(kind, packet, &p, from->bytes, told, answer);
    return 0;
}

static int quoted_v4(const uint8_t *packet, const struct packet *p, const uint8_t **ret_destination) {
    const uint8_t *icmp = packet + p->header_size;
    size_t size = p->size - p->header_size;
    if (size > 0 && !icmp_is_v4_error(icmp[0])) {
        return 0;
    }
    if (p->fragment || size < ICMP_HEADER_SIZE + PACKET_IPV4_SIZE || icmp[0] == V4_REDIRECT ||
        icmp[ICMP_HEADER_SIZE] >> 4 != 4) {
        return -EINVAL;
    }
    *ret_destination = packet_destination(icmp + ICMP_HEADER_SIZE);
    return 1;
}

static int quoted_v6(const uint8_t *packet, const struct packet *p, const uint8_t **ret_destination) {
    const uint8_t *icmp = packet + p->header_size;
    size_t size = p->size - p->header_size;
    if (size > 0 && icmp[0] >= V6_INFORMATION && icmp[0] != V6_REDIRECT) {
        return 0;
    }
    if (p->fragment || size < ICMP_HEADER_SIZE + PACKET_IPV6_SIZE || icmp[0] == V6_REDIRECT ||
        icmp[ICMP_HEADER_SIZE] >> 4 != 6) {
        return -EINVAL;
    }
    *ret_destination = packet_destination(icmp + ICMP_HEADER_SIZE);
    return 1;
}

int icmp_quoted(const uint8_t *packet, size_t size, struct ip_addr *ret_destination) {
    bool is_v6 = packet_is_v6(packet);
    uint8_t next = is_v6 ? packet[6] : packet[9];
    /* Nearly all packets are of these. */
    if (next == IPPROTO_TCP || next == IPPROTO_UDP || (!is_v6 && next != IPPROTO_ICMP)) {
        return 0;
    }
    struct packet p;
    if (packet_parse(packet, size, &p) < 0) {
        return -EINVAL;
    }
    if (p.fragment_offset || (is_v6 && p.protocol != IPPROTO_ICMPV6)) {
        return 0;
    }
    const uint8_t *destination;
    int quoted = is_v6 ? quoted_v6(packet, &p, &destination) : quoted_v4(packet, &p, &destination);
    if (quoted == 1) {
        *ret_destination = packet_addr(packet, destination);
    }
    return quoted;
}
