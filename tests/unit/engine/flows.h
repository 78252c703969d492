/* TCP and UDP flows of both families for the tests of what cuts packets up and puts them together. Checksums are
 * computed by code that has nothing in common with the engine's. */
#pragma once

#include "packets.h"

#define FLOW_ACK 0x10
#define FLOW_PSH 0x08
#define FLOW_FIN 0x01
#define FLOW_SYN 0x02
#define FLOW_CWR 0x80
#define FLOW_DF 0x4000

struct flow {
    bool v6, tcp, dont_fragment, options;
    uint8_t addresses[32]; /* source, destination; IPv4 uses the first 8 */
    uint16_t source_port, destination_port;
    uint8_t tos, ttl;
    uint16_t id; /* of the next packet */
    uint32_t sequence, acknowledged;
    uint16_t window;
};

static inline struct flow flow_make(struct dice *dice, bool v6, bool tcp) {
    struct flow flow = {
        .v6 = v6,
        .tcp = tcp,
        .dont_fragment = dice_chance(dice, 50),
        .options = dice_chance(dice, 50),
        .source_port = (uint16_t)dice_u32(dice),
        .destination_port = (uint16_t)dice_u32(dice),
        .ttl = 64,
        .id = (uint16_t)dice_u32(dice),
        .sequence = dice_u32(dice),
        .acknowledged = dice_u32(dice),
        .window = 501,
    };
    dice_fill(dice, flow.addresses, sizeof flow.addresses);
    return flow;
}

static inline size_t flow_upper(const uint8_t *packet) {
    return packet[0] >> 4 == 6 ? 40 : (size_t)(packet[0] & 15) * 4;
}

static inline bool flow_is_tcp(const uint8_t *packet) {
    return (packet[0] >> 4 == 6 ? packet[6] : packet[9]) == IPPROTO_TCP;
}

static inline size_t flow_header(const uint8_t *packet) {
    size_t upper = flow_upper(packet);
    return upper + (flow_is_tcp(packet) ? (size_t)(packet[upper + 12] >> 4) * 4 : 8);
}

/* The sum of the pseudo header of either family. */
static inline uint16_t flow_pseudo(const uint8_t *packet, size_t upper_size) {
    uint8_t pseudo[40] = {0};
    bool v6 = packet[0] >> 4 == 6;
    size_t both = v6 ? 32 : 8;
    memcpy(pseudo, packet + (v6 ? 8 : 12), both);
    put32(pseudo + both, (uint32_t)upper_size);
    pseudo[both + 7] = flow_is_tcp(packet) ? IPPROTO_TCP : IPPROTO_UDP;
    return sum_words(0, pseudo, both + 8);
}

static inline uint8_t *flow_checksum(uint8_t *packet) {
    return packet + flow_upper(packet) + (flow_is_tcp(packet) ? 16 : 6);
}

static inline void flow_fix(uint8_t *packet, size_t size) {
    size_t upper = flow_upper(packet);
    if (packet[0] >> 4 == 4) {
        fix_ip_sum(packet);
    }
    put16(flow_checksum(packet), 0);
    uint32_t sum = (uint16_t)~sum_words(flow_pseudo(packet, size - upper), packet + upper, size - upper);
    put16(flow_checksum(packet), sum == 0 && !flow_is_tcp(packet) ? 65535 : sum);
}

static inline bool flow_right(const uint8_t *packet, size_t size) {
    size_t upper = flow_upper(packet);
    bool right = packet[0] >> 4 == 6 || sum_words(0, packet, upper) == 65535;
    return right && sum_words(flow_pseudo(packet, size - upper), packet + upper, size - upper) == 65535;
}

/* The flow's next packet, whole and right. Its size. */
static inline size_t flow_next(struct flow *flow, uint8_t flags, const uint8_t *payload, size_t payload_size,
                               uint8_t *packet) {
    size_t upper = flow->v6 ? 40 : 20;
    size_t options = flow->tcp && flow->options ? 12 : 0;
    size_t header = upper + (flow->tcp ? 20 + options : 8);
    size_t size = header + payload_size;
    memset(packet, 0, header);
    if (flow->v6) {
        put32(packet, 0x60000000U | (uint32_t)flow->tos << 20 | 0x12345);
        put16(packet + 4, (uint32_t)(size - 40));
        packet[6] = flow->tcp ? IPPROTO_TCP : IPPROTO_UDP;
        packet[7] = flow->ttl;
        memcpy(packet + 8, flow->addresses, 32);
    } else {
        packet[0] = 0x45;
        packet[1] = flow->tos;
        put16(packet + 2, (uint32_t)size);
        put16(packet + 4, flow->id++);
        put16(packet + 6, flow->dont_fragment ? FLOW_DF : 0);
        packet[8] = flow->ttl;
        packet[9] = flow->tcp ? IPPROTO_TCP : IPPROTO_UDP;
        memcpy(packet + 12, flow->addresses, 8);
    }
    put16(packet + upper, flow->source_port);
    put16(packet + upper + 2, flow->destination_port);
    if (flow->tcp) {
        put32(packet + upper + 4, flow->sequence);
        put32(packet + upper + 8, flow->acknowledged);
        packet[upper + 12] = (uint8_t)((20 + options) / 4 << 4);
        packet[upper + 13] = flags;
        put16(packet + upper + 14, flow->window);
        if (options) {
            memcpy(packet + upper + 20, "\x01\x01\x08\x0a\x00\x00\x12\x34\x00\x00\x43\x21", 12); /* timestamps */
        }
        flow->sequence += (uint32_t)payload_size;
    } else {
        put16(packet + upper + 4, (uint32_t)(8 + payload_size));
    }
    if (payload_size) {
        memcpy(packet + header, payload, payload_size);
    }
    flow_fix(packet, size);
    return size;
}
