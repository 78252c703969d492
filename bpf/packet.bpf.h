/* What the programs know of a packet, whichever its family. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "isolate.h"

typedef _Bool bool;
#define true 1
#define false 0

#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define EXTENSIONS_MAX 8
#define NEXT_HIP 139   /* RFC 7401 */
#define NEXT_SHIM6 140 /* RFC 5533 */

struct packet {
    struct isolate_prefix source, destination;
    __u32 header_size; /* without IPv6 extensions, until packet_skip_extensions() */
    __u8 protocol;
    bool fragment; /* a later one */
    bool more_fragments;
};

static __always_inline bool packet_is_v6(const struct packet *p) {
    return p->source.address.family == 6;
}

static __always_inline bool read_v4(struct __sk_buff *skb, __u32 at, struct packet *p) {
    __u8 h[IPV4_HEADER];
    if (bpf_skb_load_bytes_relative(skb, at, h, sizeof h, BPF_HDR_START_NET) < 0 || h[0] >> 4 != 4) {
        return false;
    }
    p->source.length = p->destination.length = ISOLATE_FAMILY_BITS + 32;
    p->source.address.family = p->destination.address.family = 4;
    __builtin_memcpy(p->source.address.bytes, h + 12, 4);
    __builtin_memcpy(p->destination.address.bytes, h + 16, 4);
    p->header_size = (h[0] & 15u) * 4;
    p->protocol = h[9];
    p->fragment = (h[6] & 0x1f) || h[7];
    p->more_fragments = h[6] & 0x20;
    return p->header_size >= IPV4_HEADER;
}

static __always_inline bool read_v6(struct __sk_buff *skb, __u32 at, struct packet *p) {
    __u8 h[IPV6_HEADER];
    if (bpf_skb_load_bytes_relative(skb, at, h, sizeof h, BPF_HDR_START_NET) < 0 || h[0] >> 4 != 6) {
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

/* One that begins `at` bytes behind the packet's own beginning. */
static __always_inline bool packet_read_at(struct __sk_buff *skb, bool v6, __u32 at, struct packet *p) {
    __builtin_memset(p, 0, sizeof *p);
    return v6 ? read_v6(skb, at, p) : read_v4(skb, at, p);
}

static __always_inline bool packet_read(struct __sk_buff *skb, struct packet *p) {
    bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
    return (v6 || skb->protocol == bpf_htons(ETH_P_IP)) && packet_read_at(skb, v6, 0, p);
}

/* Nearly all packets: neither ICMP nor, in IPv6, something it could hide behind. */
static __always_inline bool packet_is_plain(const struct packet *p) {
    return p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP;
}

/* Whether another header of IPv6 follows one of this type (RFC 8200, 4; RFC 7045). */
static __always_inline bool is_extension(__u8 type) {
    return type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING || type == IPPROTO_DSTOPTS || type == IPPROTO_FRAGMENT ||
           type == IPPROTO_AH || type == IPPROTO_MH || type == NEXT_HIP || type == NEXT_SHIM6;
}

/* Steps over one extension header. */
static __always_inline bool skip_extension(struct __sk_buff *skb, struct packet *p) {
    __u8 h[4];
    if (bpf_skb_load_bytes_relative(skb, p->header_size, h, sizeof h, BPF_HDR_START_NET) < 0) {
        return false;
    }
    if (p->protocol == IPPROTO_FRAGMENT) {
        if (p->more_fragments || h[0] == IPPROTO_FRAGMENT) {
            return false; /* a fragment of a fragment */
        }
        p->fragment = h[2] || h[3] & 0xf8;
        p->more_fragments = h[3] & 1;
        p->header_size += 8;
    } else {
        p->header_size += p->protocol == IPPROTO_AH ? (h[1] + 2u) * 4 : (h[1] + 1u) * 8;
    }
    p->protocol = h[0];
    return p->header_size <= skb->len;
}

/* To the upper layer of an IPv6 packet, or to what a later fragment holds. False: nobody can tell what there is, or
 * there are more extensions than anybody reads. */
static __always_inline bool packet_skip_extensions(struct __sk_buff *skb, struct packet *p) {
    for (__u32 i = 0; i < EXTENSIONS_MAX && is_extension(p->protocol) && !p->fragment; i++) {
        if (!skip_extension(skb, p)) {
            return false;
        }
    }
    return p->fragment || !is_extension(p->protocol);
}

/* Multicast of either family and IPv4's limited broadcast. */
static __always_inline bool is_group(const struct isolate_address *a) {
    if (a->family == 6) {
        return a->bytes[0] == 0xff;
    }
    return (a->bytes[0] & 0xf0) == 0xe0 || (a->bytes[0] & a->bytes[1] & a->bytes[2] & a->bytes[3]) == 0xff;
}

/* What is nobody's beyond the hub: "this network", loopback, link-local (clouds hand out their machines' credentials at
 * 169.254.169.254 and fd00:ec2::254), reserved; and IPv4 in IPv6's clothes. */
static __always_inline bool is_special(const struct isolate_address *a) {
    const __u8 *b = a->bytes;
    if (a->family == 4) {
        return b[0] == 0 || b[0] == 127 || b[0] >= 240 || (b[0] == 169 && b[1] == 254);
    }
    if (b[0] == 0xfe && b[1] >= 0x80) {
        return true; /* link-local and the former site-local */
    }
    if (b[0] == 0xfd && b[1] == 0 && b[2] == 0x0e && b[3] == 0xc2) {
        return true;
    }
    for (__u32 i = 0; i < 10; i++) {
        if (b[i]) {
            return false;
        }
    }
    return true; /* ::, ::1, ::ffff:0:0/96, the former ::/96 */
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
