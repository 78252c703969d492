/* Inner IP packets: everything that is done to one by looking at its bytes alone.
 *
 * The room owns nothing, but for what coalesce.h gathers within a round. Its functions are pure, and any thread may
 * enter.
 *
 * To read it: packet (this file: headers, checksums), transport (TCP and UDP), icmp, translate (1:1 addresses of
 * private tenants), reserved (where egress does not lead), segment (large packets from the host are cut), coalesce
 * (packets to the host are put together).
 *
 * --- What the engine has to know of a header before it routes, trims, translates or answers a packet ---
 *
 * packet_parse() is the full and careful look (translation, ICMP, offloads); the inline helpers are the hot path's:
 * after packet_size() said yes the fixed header is there, so the address helpers may be used without a further check.
 * Nothing is allocated or kept; any thread. Packets need no alignment. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "model/prefix.h"

#define PACKET_IPV4_SIZE 20  /* without options */
#define PACKET_IPV6_SIZE 40  /* without extension headers */
#define PACKET_ECN_MASK 0x03 /* RFC 3168 */

struct packet {
    uint8_t version;          /* 4 or 6 */
    uint8_t tos;              /* TOS or traffic class */
    uint8_t protocol;         /* of the upper layer, behind IPv6 extension headers */
    bool dont_fragment;       /* IPv4's bit; always true for IPv6, whose routers do not fragment */
    bool more_fragments;      /* a fragment that is not the last */
    bool fragment;            /* any fragment: more to come, or offset above 0 */
    uint16_t fragment_offset; /* in bytes; above 0 there is no upper header here */
    uint16_t header_size;     /* IPv4: with options. IPv6: with the extension headers = where the upper layer starts */
    uint16_t fixed_size;      /* IPv4: with options. IPv6: 40 */
    uint32_t size;            /* the packet's own length; what follows in the buffer is padding */
    const uint8_t *source;    /* 4 or 16 bytes inside the packet */
    const uint8_t *destination;
};

/* 0, or -EINVAL: not IP, truncated, lengths that contradict each other, more than 8 extension headers, a fragment
 * beyond 65,535. Does not verify checksums. An IPv6 "no next header" has nothing after it. Jumbograms are refused. */
int packet_parse(const void *bytes, size_t size, struct packet *ret_packet);

/* Hands a congestion mark of the outer header (`outer_tos`) to the inner one (RFC 6040, 4.2), and fixes the IPv4 header
 * checksum. A packet whose sender does not know ECN is left unchanged even under an outer CE: RFC 6040 says
 * drop, Linux passes it, and we follow Linux. The packet has passed packet_size(). */
void packet_decapsulate_ecn(uint8_t *bytes, uint8_t outer_tos);

/* The packet's own length if its version, fixed header and length fit in `size` bytes, else 0: the trim of
 * whitepaper 5.4.6 and the check before anything else touches it. */
static inline size_t packet_size(const uint8_t *bytes, size_t size) {
    if (size >= PACKET_IPV4_SIZE && bytes[0] >> 4 == 4) {
        size_t header = (size_t)(bytes[0] & 15) * 4;
        size_t total = be16_get(bytes + 2);
        return header >= PACKET_IPV4_SIZE && total >= header && total <= size ? total : 0;
    }
    if (size >= PACKET_IPV6_SIZE && bytes[0] >> 4 == 6) {
        size_t total = PACKET_IPV6_SIZE + (size_t)be16_get(bytes + 4);
        return total <= size ? total : 0;
    }
    return 0;
}

static inline bool packet_is_v6(const uint8_t *bytes) {
    return bytes[0] >> 4 == 6;
}

/* 4 or 16 bytes in network order. */
static inline const uint8_t *packet_source(const uint8_t *bytes) {
    return packet_is_v6(bytes) ? bytes + 8 : bytes + 12;
}

static inline const uint8_t *packet_destination(const uint8_t *bytes) {
    return packet_is_v6(bytes) ? bytes + 24 : bytes + 16;
}

/* TOS or traffic class: six bits of DSCP, two of ECN. */
static inline uint8_t packet_tos(const uint8_t *bytes) {
    return packet_is_v6(bytes) ? (uint8_t)(be16_get(bytes) >> 4) : bytes[1];
}

static inline uint8_t packet_ecn(const uint8_t *bytes) {
    return packet_tos(bytes) & PACKET_ECN_MASK;
}

static inline struct ip_addr packet_addr(const uint8_t *bytes, const uint8_t *at) {
    struct ip_addr addr = {.family = packet_is_v6(bytes) ? AF_INET6 : AF_INET};
    memcpy(addr.bytes, at, packet_is_v6(bytes) ? 16 : 4);
    return addr;
}

/* One 16-bit word that a checksum covers changed (RFC 1624, equation 3). */
static inline void packet_checksum_replace(uint8_t *checksum, uint16_t from, uint16_t to) {
    uint32_t sum = (uint32_t)(uint16_t)~be16_get(checksum) + (uint16_t)~from + to;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    be16_put(checksum, (uint16_t)~sum);
}

/* The sum of RFC 1071 over `size` bytes that begin at an even offset of what is summed, added to `sum`; packet_fold()
 * finishes it. A checksum field holds the complement. */
uint32_t packet_sum(const void *bytes, size_t size, uint32_t sum);

static inline uint16_t packet_fold(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}
