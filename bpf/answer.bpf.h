/* ICMP "communication administratively prohibited", written over the packet that is not let through, in the name of the
 * hub: IPv4 3/13 (RFC 1812, 5.2.7.1), IPv6 1/1 (RFC 4443, 3.1). It quotes as much of the packet as the standards allow.
 *
 *      IP | data            becomes           IP | ICMP | IP | data, cut
 */
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>

#include "icmp.bpf.h"
#include "packet.bpf.h"

#define V4_QUOTE_MAX (576 - IPV4_HEADER - ICMP_HEADER)  /* RFC 1812, 4.3.2.3 */
#define V6_QUOTE_MAX (1280 - IPV6_HEADER - ICMP_HEADER) /* RFC 4443, 2.4 c */
#define ANSWER_TTL 64
#define BLOCK 64 /* divides no quote: the last block is filled up with zeros, which add nothing to a sum */

struct icmp_header {
    __u8 type, code;
    __u16 checksum;
    __u32 unused;
};

struct v4_answer {
    struct iphdr ip;
    struct icmp_header icmp;
};

struct v6_answer {
    struct ipv6hdr ip;
    struct icmp_header icmp;
};

/* RFC 8200, 8.1, without the addresses. */
struct v6_pseudo {
    __be32 size, next;
};

static __always_inline __u16 fold(__s64 sum) {
    __u64 s = (__u32)sum;
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    return (__u16)~s;
}

/* Never about ICMP errors, later fragments, or what is no single host (RFC 1122, 3.2.2; RFC 4443, 2.4 e). An IPv6
 * packet whose first header is of none of these kinds might hide an ICMP error behind extensions. */
static __always_inline bool answerable(struct __sk_buff *skb, const struct packet *p) {
    const __u8 *to = p->destination.address.bytes;
    bool v6 = packet_is_v6(p);
    if (p->fragment || (!v6 && (to[0] == 0 || to[0] == 127 || to[0] >= 224))) {
        return false;
    }
    if (p->protocol != icmp_of(v6)) {
        return !v6 || packet_is_plain(p);
    }
    __u8 type;
    if (bpf_skb_load_bytes_relative(skb, p->header_size, &type, 1, BPF_HDR_START_NET) < 0) {
        return false;
    }
    return !icmp_is_error(v6, type);
}

/* One's complement sum of the first `size` bytes; negative if they cannot be read. */
static __always_inline __s64 sum_of(struct __sk_buff *skb, __u32 size) {
    __s64 sum = 0;
    for (__u32 at = 0; at < V6_QUOTE_MAX && at < size; at += BLOCK) {
        __u8 block[BLOCK] = {};
        __u32 some = size - at;
        some = some < BLOCK ? some : BLOCK;
        asm volatile(""
                     : "+r"(some)); /* what the compiler knows of it, old verifiers do not; so it is said once more */
        some = ((some - 1) & (BLOCK - 1)) + 1;
        if (bpf_skb_load_bytes_relative(skb, at, block, some, BPF_HDR_START_NET) < 0) {
            return -1;
        }
        sum = bpf_csum_diff(0, 0, (__be32 *)block, BLOCK, (__u32)sum);
    }
    return sum;
}

static __always_inline int write_v4(struct __sk_buff *skb, const struct packet *p, const __u8 from[4], __u32 quoted,
                                    __s64 sum) {
    struct v4_answer a = {};
    a.ip.version = 4;
    a.ip.ihl = sizeof a.ip / 4;
    a.ip.tos = 0xc0; /* RFC 1812, 4.3.2.5 */
    a.ip.ttl = ANSWER_TTL;
    a.ip.protocol = IPPROTO_ICMP;
    a.icmp.type = 3;
    a.icmp.code = 13;
    a.ip.tot_len = bpf_htons((__u16)(sizeof a + quoted));
    a.ip.frag_off = bpf_htons(0x4000); /* DF: such packets need no identification (RFC 6864, 4.1) */
    __builtin_memcpy(&a.ip.saddr, from, 4);
    __builtin_memcpy(&a.ip.daddr, p->source.address.bytes, 4);
    a.ip.check = fold(bpf_csum_diff(0, 0, (__be32 *)&a.ip, sizeof a.ip, 0));
    a.icmp.checksum = fold(bpf_csum_diff(0, 0, (__be32 *)&a.icmp, sizeof a.icmp, (__u32)sum));
    if (bpf_skb_adjust_room(skb, sizeof a, BPF_ADJ_ROOM_MAC, 0) < 0) {
        return -1;
    }
    return (int)bpf_skb_store_bytes(skb, 0, &a, sizeof a, 0);
}

static __always_inline int write_v6(struct __sk_buff *skb, const struct packet *p, const __u8 from[16], __u32 quoted,
                                    __s64 sum) {
    struct v6_answer a = {};
    a.ip.version = 6;
    a.ip.nexthdr = NEXT_ICMPV6;
    a.ip.hop_limit = ANSWER_TTL;
    a.icmp.type = 1;
    a.icmp.code = 1;
    struct v6_pseudo pseudo = {bpf_htonl(ICMP_HEADER + quoted), bpf_htonl(NEXT_ICMPV6)};
    a.ip.payload_len = bpf_htons((__u16)(ICMP_HEADER + quoted));
    __builtin_memcpy(&a.ip.saddr, from, 16);
    __builtin_memcpy(&a.ip.daddr, p->source.address.bytes, 16);
    sum = bpf_csum_diff(0, 0, (__be32 *)&pseudo, sizeof pseudo, (__u32)sum);
    sum = bpf_csum_diff(0, 0, (__be32 *)&a.ip.saddr, 32, (__u32)sum);
    a.icmp.checksum = fold(bpf_csum_diff(0, 0, (__be32 *)&a.icmp, sizeof a.icmp, (__u32)sum));
    if (bpf_skb_adjust_room(skb, sizeof a, BPF_ADJ_ROOM_MAC, 0) < 0) {
        return -1;
    }
    return (int)bpf_skb_store_bytes(skb, 0, &a, sizeof a, 0);
}

static __always_inline bool has_address(const __u8 *bytes, __u32 size) {
    for (__u32 i = 0; i < size; i++) {
        if (bytes[i]) {
            return true;
        }
    }
    return false;
}

/* Turns the packet into the answer to it. Negative: the hub has no address of the family, or no memory; the packet may
 * be spoilt and must be dropped. */
static __always_inline int answer_write(struct __sk_buff *skb, const struct packet *p, const struct isolate_hub *hub) {
    bool v6 = packet_is_v6(p);
    __u32 most = v6 ? V6_QUOTE_MAX : V4_QUOTE_MAX;
    __u32 quoted = skb->len < most ? skb->len : most;
    if (v6 ? !has_address(hub->v6, sizeof hub->v6) : !has_address(hub->v4, sizeof hub->v4)) {
        return -1;
    }
    if (quoted < skb->len && bpf_skb_change_tail(skb, quoted, 0) < 0) {
        return -1;
    }
    __s64 sum = sum_of(skb, quoted);
    if (sum < 0) {
        return -1;
    }
    return v6 ? write_v6(skb, p, hub->v6, quoted, sum) : write_v4(skb, p, hub->v4, quoted, sum);
}
