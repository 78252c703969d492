/* What the programs know of a packet, whichever its family. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "isolate.h"

typedef _Bool bool;
#define true 1
#define false 0

#define IPV4_HEADER 20
#define IPV6_HEADER 40

struct packet {
    struct isolate_prefix source, destination;
    __u32 header_size; /* without IPv6 extensions */
    __u8 protocol;
    bool fragment; /* a later one */
};

static __always_inline bool read_v4(struct __sk_buff *skb, struct packet *p) {
    __u8 h[IPV4_HEADER];
    if (bpf_skb_load_bytes_relative(skb, 0, h, sizeof h, BPF_HDR_START_NET) < 0 || h[0] >> 4 != 4) {
        return false;
    }
    p->source.length = p->destination.length = ISOLATE_FAMILY_BITS + 32;
    p->source.address.family = p->destination.address.family = 4;
    __builtin_memcpy(p->source.address.bytes, h + 12, 4);
    __builtin_memcpy(p->destination.address.bytes, h + 16, 4);
    p->header_size = (h[0] & 15u) * 4;
    p->protocol = h[9];
    p->fragment = (h[6] & 0x1f) || h[7];
    return p->header_size >= IPV4_HEADER;
}

static __always_inline bool read_v6(struct __sk_buff *skb, struct packet *p) {
    __u8 h[IPV6_HEADER];
    if (bpf_skb_load_bytes_relative(skb, 0, h, sizeof h, BPF_HDR_START_NET) < 0 || h[0] >> 4 != 6) {
        return false;
    }
    p->source.length = p->destination.length = ISOLATE_FAMILY_BITS + 128;
    p->source.address.family = p->destination.address.family = 6;
    __builtin_memcpy(p->source.address.bytes, h + 8, 16);
    __builtin_memcpy(p->destination.address.bytes, h + 24, 16);
    p->header_size = IPV6_HEADER;
    p->protocol = h[6];
    return true;
}

static __always_inline bool packet_read(struct __sk_buff *skb, struct packet *p) {
    __builtin_memset(p, 0, sizeof *p);
    if (skb->protocol == bpf_htons(ETH_P_IP)) {
        return read_v4(skb, p);
    }
    return skb->protocol == bpf_htons(ETH_P_IPV6) && read_v6(skb, p);
}

/* Multicast of either family and IPv4's limited broadcast. */
static __always_inline bool is_group(const struct isolate_address *a) {
    if (a->family == 6) {
        return a->bytes[0] == 0xff;
    }
    return (a->bytes[0] & 0xf0) == 0xe0 || (a->bytes[0] & a->bytes[1] & a->bytes[2] & a->bytes[3]) == 0xff;
}

static __always_inline __u32 packet_count(const struct __sk_buff *skb) {
    return skb->gso_segs ? skb->gso_segs : 1;
}

/* As on the wire: what the host put together, or has not cut yet, has its headers in each piece. */
static __always_inline __u64 wire_size(struct __sk_buff *skb, const struct packet *p) {
    __u32 pieces = packet_count(skb), headers = p->header_size;
    __u8 words = 0;
    if (pieces == 1) {
        return skb->len;
    }
    if (p->protocol == IPPROTO_UDP) {
        headers += 8;
    } else if (p->protocol == IPPROTO_TCP &&
               bpf_skb_load_bytes_relative(skb, p->header_size + 12, &words, 1, BPF_HDR_START_NET) == 0) {
        headers += (words >> 4) * 4u;
    }
    return skb->len + (__u64)(pieces - 1) * headers;
}
