/* ICMP errors: which messages are any, and of whose packets those speak that routers send. */
#pragma once

#include <linux/in.h>

#include "packet.bpf.h"

#define ICMP_HEADER 8
#define NEXT_ICMPV6 58
#define V4_REDIRECT 5
#define V6_INFORMATION 128 /* below: errors (RFC 4443, 2.1) */
#define V6_REDIRECT 137

static __always_inline __u8 icmp_of(bool v6) {
    return v6 ? NEXT_ICMPV6 : IPPROTO_ICMP;
}

static __always_inline bool icmp_is_redirect(bool v6, __u8 type) {
    return type == (v6 ? V6_REDIRECT : V4_REDIRECT);
}

/* Redirects are among them: no answer may be about one either. */
static __always_inline bool icmp_is_error(bool v6, __u8 type) {
    if (v6) {
        return type < V6_INFORMATION || type == V6_REDIRECT;
    }
    return (type >= 3 && type <= V4_REDIRECT) || type == 11 || type == 12;
}

/* As the engine's (src/engine/packet/icmp.h). 0: it is no error. 1: one, about `ret_quoted`. -1: one that must not
 * pass, since it does not say about what: a redirect, a fragment, a quotation too short; or IPv6 headers in which one
 * could hide. Of a fragment whose beginning did not pass the host makes nothing. `p` is taken behind its extensions. */
static __always_inline int icmp_quoted(struct __sk_buff *skb, struct packet *p, struct packet *ret_quoted) {
    bool v6 = packet_is_v6(p);
    __u8 type;
    if (v6 && !packet_skip_extensions(skb, p)) {
        return -1;
    }
    if (p->fragment || p->protocol != icmp_of(v6)) {
        return 0;
    }
    if (bpf_skb_load_bytes_relative(skb, p->header_size, &type, 1, BPF_HDR_START_NET) < 0) {
        return -1;
    }
    if (!icmp_is_error(v6, type)) {
        return 0;
    }
    bool says = !p->more_fragments && !icmp_is_redirect(v6, type) &&
                packet_read_at(skb, v6, p->header_size + ICMP_HEADER, ret_quoted);
    return says ? 1 : -1;
}
