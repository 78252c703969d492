/* Packets for the tests of what reads and rewrites them: built from parts, with checksums computed in full and by code
 * that has nothing in common with the engine's. */
#pragma once

#include "dice.h"

#include <netinet/in.h>
#include <stdlib.h>

#define PACKET_MAX 2048

/* The complement sum of RFC 793 word by word: slow and plain. */
static inline uint16_t sum_words(uint32_t sum, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] * 256;
        if (sum > 65535) {
            sum -= 65535;
        }
    }
    return (uint16_t)sum;
}

static inline void put16(uint8_t *at, uint32_t v) {
    at[0] = (uint8_t)(v >> 8 & 255);
    at[1] = (uint8_t)(v & 255);
}

static inline void put32(uint8_t *at, uint32_t v) {
    put16(at, v >> 16);
    put16(at + 2, v & 65535);
}

static inline uint32_t get16(const uint8_t *at) {
    return (uint32_t)at[0] * 256 + at[1];
}

static inline uint32_t get32(const uint8_t *at) {
    return get16(at) * 65536 + get16(at + 2);
}

/* What a packet is made of. The checksum of TCP, UDP, UDP-Lite and DCCP covers the addresses. */
struct recipe {
    uint8_t protocol;
    uint32_t source, destination;
    size_t options;       /* bytes of IP options, a multiple of 4: record route and padding */
    uint16_t fragment;    /* the flags and offset field */
    bool no_checksum;     /* UDP: zero */
    const uint8_t *upper; /* header and payload, checksum field anything */
    size_t upper_size;
};

/* Where its upper header keeps the checksum; 0: none that we compute. */
static inline size_t sum_field(uint8_t protocol) {
    return protocol == IPPROTO_TCP                                                              ? 16
           : protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE || protocol == IPPROTO_DCCP ? 6
           : protocol == IPPROTO_ICMP                                                           ? 2
                                                                                                : 0;
}

/* The sum of the pseudo header, which ICMP has none of. */
static inline uint16_t pseudo_sum(const uint8_t *ip, size_t upper_size) {
    uint8_t pseudo[12] = {0};
    memcpy(pseudo, ip + 12, 8);
    pseudo[9] = ip[9];
    put16(pseudo + 10, (uint32_t)upper_size);
    return ip[9] == IPPROTO_ICMP ? 0 : sum_words(0, pseudo, sizeof pseudo);
}

static inline void fix_ip_sum(uint8_t *ip) {
    size_t header = (size_t)(ip[0] & 15) * 4;
    put16(ip + 10, 0);
    put16(ip + 10, (uint32_t)~sum_words(0, ip, header));
}

/* Computes the upper checksum of a whole packet anew. */
static inline void fix_upper_sum(uint8_t *ip) {
    size_t header = (size_t)(ip[0] & 15) * 4;
    size_t size = get16(ip + 2) - header;
    size_t field = sum_field(ip[9]);
    if (field && field + 2 <= size) {
        put16(ip + header + field, 0);
        uint32_t sum = (uint16_t)~sum_words(pseudo_sum(ip, size), ip + header, size);
        put16(ip + header + field, sum == 0 && ip[9] != IPPROTO_ICMP && ip[9] != IPPROTO_TCP ? 65535 : sum);
    }
}

/* Whether the sums of a whole packet are right: all words with the checksum in place add up to all ones. */
static inline bool sums_right(const uint8_t *ip, bool with_upper) {
    size_t header = (size_t)(ip[0] & 15) * 4;
    size_t size = get16(ip + 2) - header;
    bool right = sum_words(0, ip, header) == 65535;
    if (with_upper && sum_field(ip[9])) {
        right = right && sum_words(pseudo_sum(ip, size), ip + header, size) == 65535;
    }
    return right;
}

/* Returns the packet's size. Does the sums of a packet that is whole; of a fragment the caller does the upper one. */
static inline size_t cook(const struct recipe *r, uint8_t packet[PACKET_MAX]) {
    size_t header = 20 + r->options;
    memset(packet, 0, header);
    packet[0] = (uint8_t)(0x40 + header / 4);
    packet[1] = 0x28;
    put16(packet + 2, (uint32_t)(header + r->upper_size));
    put16(packet + 4, 0xbeef);
    put16(packet + 6, r->fragment);
    packet[8] = 61;
    packet[9] = r->protocol;
    put32(packet + 12, r->source);
    put32(packet + 16, r->destination);
    if (r->options) {
        packet[20] = 1; /* no operation */
        packet[21] = 7; /* record route */
        packet[22] = (uint8_t)(r->options - 1);
        packet[23] = 4;
    }
    if (r->upper_size) {
        memcpy(packet + header, r->upper, r->upper_size);
    }
    fix_ip_sum(packet);
    if ((r->fragment & 0x3fff) == 0) {
        fix_upper_sum(packet);
    }
    if (r->no_checksum) {
        put16(packet + header + 6, 0);
    }
    return header + r->upper_size;
}
