#include "engine/packet/translate.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/bytes.h"
#include "engine/packet/icmp.h"
#include "engine/packet/packet.h"
#include "engine/packet/transport.h"

/* in an IPv4 header */
#define AT_CHECKSUM 10
#define AT_SOURCE 12
#define AT_DESTINATION 16
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_LSRR 131
#define OPTION_SSRR 137
#define ICMP_CHECKSUM 2
#define ICMP_HEADER_SIZE 8
#define ICMP_REDIRECT 5

struct change {
    uint32_t from, to; /* addresses */
    size_t outer_at;   /* of the address in the IP header */
    size_t inner_at;   /* of the address in a quoted IP header: the other one */
    bool partial;
};

/* Where the upper layer keeps a checksum that covers the addresses, or 0 for none. */
static size_t checksum_at(uint8_t protocol) {
    switch (protocol) {
    case IPPROTO_TCP:
        return TCP_CHECKSUM;
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_DCCP: /* theirs are at the same offset */
        return UDP_CHECKSUM;
    default: /* all others: ICMP and SCTP have a checksum without pseudo header */
        return 0;
    }
}

static bool has_source_route(const uint8_t *packet, size_t header_size) {
    struct cursor c = cursor_over(packet + PACKET_IPV4_SIZE, header_size - PACKET_IPV4_SIZE);
    while (c.left) {
        uint8_t type = cursor_u8(&c);
        if (type == OPTION_END) {
            return false;
        }
        if (type == OPTION_NOP) {
            continue;
        }
        uint8_t length = cursor_u8(&c);
        cursor_take(&c, length < 2 ? SIZE_MAX : (size_t)length - 2);
        if (c.failed || type == OPTION_LSRR || type == OPTION_SSRR) {
            return true; /* or what cannot be told from one */
        }
    }
    return false;
}

/* Whether an ICMP message can be translated: not a redirect, and if it quotes a packet, one of ours. */
static int check_icmp(const uint8_t *icmp, size_t size, const struct change *change) {
    if (size < ICMP_HEADER_SIZE || icmp[0] == ICMP_REDIRECT) {
        return -EINVAL;
    }
    if (!icmp_is_v4_error(icmp[0])) {
        return 0;
    }
    const uint8_t *quoted = icmp + ICMP_HEADER_SIZE;
    size_t left = size - ICMP_HEADER_SIZE;
    if (left < PACKET_IPV4_SIZE || quoted[0] >> 4 != 4) {
        return -EINVAL;
    }
    size_t header_size = (size_t)(quoted[0] & 15) * 4;
    if (header_size < PACKET_IPV4_SIZE || header_size > left || be32_get(quoted + change->inner_at) != change->from) {
        return -EINVAL;
    }
    return 0;
}

/* Everything that can be wrong, before anything is written. */
static int check(const uint8_t *packet, const struct packet *p, const struct change *change) {
    if (p->version != 4 || be32_get(packet + change->outer_at) != change->from || p->protocol == IPPROTO_AH ||
        has_source_route(packet, p->header_size)) {
        return -EINVAL;
    }
    size_t field = checksum_at(p->protocol);
    if (p->fragment_offset) {
        return p->fragment_offset <= field ? -EINVAL : 0;
    }
    size_t upper_size = p->size - p->header_size;
    if (p->protocol == IPPROTO_ICMP) {
        return check_icmp(packet + p->header_size, upper_size, change);
    }
    return field && upper_size < field + 2 ? -EINVAL : 0;
}

/* A checksum, or with `partial` the bare sum, after an address that it covers changed. */
static void replace_address(uint8_t *field, const struct change *change, bool partial) {
    uint32_t sum = partial ? be16_get(field) : (uint16_t)~be16_get(field);
    sum += (uint16_t) ~(change->from >> 16);
    sum += (uint16_t)~change->from;
    sum += change->to >> 16;
    sum += change->to & 0xffff;
    uint16_t folded = packet_fold(sum);
    be16_put(field, partial ? folded : (uint16_t)~folded);
}

static void replace_upper(uint8_t *field, uint8_t protocol, const struct change *change, bool partial) {
    if (partial) {
        replace_address(field, change, true);
        return;
    }
    if (protocol == IPPROTO_UDP && be16_get(field) == 0) {
        return; /* the sender computed none (RFC 768) */
    }
    replace_address(field, change, false);
    if ((protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE) && be16_get(field) == 0) {
        be16_put(field, 0xffff); /* zero would say none; it is the same number */
    }
}

/* Rewrites an IP header and the upper checksum if its field is within the `left` bytes that are there. */
static void rewrite(uint8_t *ip, size_t left, size_t address_at, bool first, const struct change *change,
                    bool partial) {
    size_t header_size = (size_t)(ip[0] & 15) * 4;
    size_t field = checksum_at(ip[9]);
    replace_address(ip + AT_CHECKSUM, change, false);
    be32_put(ip + address_at, change->to);
    if (first && field && left >= header_size + field + 2) {
        replace_upper(ip + header_size + field, ip[9], change, partial);
    }
}

/* The packet quoted by an ICMP error, and the ICMP checksum over what changes in it. */
static void rewrite_quoted(uint8_t *icmp, size_t size, const struct change *change) {
    uint8_t *quoted = icmp + ICMP_HEADER_SIZE;
    size_t left = size - ICMP_HEADER_SIZE;
    size_t header_size = (size_t)(quoted[0] & 15) * 4;
    bool first = (be16_get(quoted + 6) & 0x1fff) == 0;
    size_t upper = checksum_at(quoted[9]) ? header_size + checksum_at(quoted[9]) : 0;
    bool has_upper = first && upper && left >= upper + 2;
    uint16_t ip_before = be16_get(quoted + AT_CHECKSUM);
    uint16_t upper_before = has_upper ? be16_get(quoted + upper) : 0;
    rewrite(quoted, left, change->inner_at, first, change, false);
    if (change->partial) {
        return; /* whoever computes the checksum later sums up what is here now */
    }
    uint8_t *checksum = icmp + ICMP_CHECKSUM;
    replace_address(checksum, change, false);
    packet_checksum_replace(checksum, ip_before, be16_get(quoted + AT_CHECKSUM));
    if (has_upper) {
        packet_checksum_replace(checksum, upper_before, be16_get(quoted + upper));
    }
}

static int translate(uint8_t *packet, size_t size, const struct change *change) {
    struct packet p;
    int error = packet_parse(packet, size, &p);
    if (!error) {
        error = check(packet, &p, change);
    }
    if (error) {
        return error;
    }
    rewrite(packet, p.size, change->outer_at, p.fragment_offset == 0, change, change->partial);
    uint8_t *upper = packet + p.header_size;
    if (p.protocol == IPPROTO_ICMP && p.fragment_offset == 0 && icmp_is_v4_error(upper[0])) {
        rewrite_quoted(upper, p.size - p.header_size, change);
    }
    return 0;
}

int translate_source(uint8_t *packet, size_t size, uint32_t from, uint32_t to, bool partial_checksum) {
    struct change change = {
        .from = from,
        .to = to,
        .outer_at = AT_SOURCE,
        .inner_at = AT_DESTINATION,
        .partial = partial_checksum,
    };
    return translate(packet, size, &change);
}

int translate_destination(uint8_t *packet, size_t size, uint32_t from, uint32_t to, bool partial_checksum) {
    struct change change = {
        .from = from,
        .to = to,
        .outer_at = AT_DESTINATION,
        .inner_at = AT_SOURCE,
        .partial = partial_checksum,
    };
    return translate(packet, size, &change);
}
