/* AF_XDP for sallyport-wg: its data messages go from the network card's queue to the engine
 * (src/engine/io/xdp.h), around the kernel's IP and UDP.
 *
 *     network card --> [xdp_pick] --+--> AF_XDP socket of this queue --> a worker
 *                                   +--> the kernel, as without it
 *
 * What is taken is what the kernel would deliver to the engine's socket, and nothing else: a UDP datagram, not a
 * fragment, without IP options, to an address of this host and to our port, that reads like a data message. All else,
 * handshakes too, goes on to the kernel: whatever is not understood here is not treated differently.
 *
 * What is let through is not trusted any more for that: the engine looks at each frame anew (src/engine/io/frame.h).
 * Needs Linux 5.9. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "xdp.h"

#define FAMILY_V4 2 /* AF_INET and AF_INET6: sys/socket.h is none of the kernel's headers */
#define FAMILY_V6 10
#define FRAGMENT 0x3fff /* of frag_off: more fragments, or an offset */
#define DATA_HEADER 16
#define DATA_LEAST 32 /* a keepalive: header and tag */

/* By queue of the interface. A queue without a socket lets all pass. */
struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, XDP_QUEUES_MAX);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(__u32));
} xdp_queues SEC(".maps");

/* Network byte order; 0: nothing is taken. */
__u16 xdp_port = 0;

/* Whether a datagram that came by this interface is for this host. One that it would forward is not ours, though it has
 * our port. A host that forwards nothing has no use for any other. */
static __always_inline int is_local(struct xdp_md *frame, struct bpf_fib_lookup *route) {
    route->ifindex = frame->ingress_ifindex;
    route->l4_protocol = IPPROTO_UDP;
    long found = bpf_fib_lookup(frame, route, sizeof *route, 0);
    return found == BPF_FIB_LKUP_RET_NOT_FWDED || found == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

static __always_inline int is_local_v4(struct xdp_md *frame, const struct iphdr *ip) {
    struct bpf_fib_lookup route = {.family = FAMILY_V4, .ipv4_src = ip->saddr, .ipv4_dst = ip->daddr};
    return is_local(frame, &route);
}

static __always_inline int is_local_v6(struct xdp_md *frame, const struct ipv6hdr *ip) {
    struct bpf_fib_lookup route = {.family = FAMILY_V6};
    __builtin_memcpy(route.ipv6_src, &ip->saddr, sizeof route.ipv6_src);
    __builtin_memcpy(route.ipv6_dst, &ip->daddr, sizeof route.ipv6_dst);
    return is_local(frame, &route);
}

/* An address of a link means nothing without the link, which the engine is not told. */
static __always_inline int is_of_link(const struct ipv6hdr *ip) {
    return ip->saddr.s6_addr[0] == 0xfe && (ip->saddr.s6_addr[1] & 0xc0) == 0x80;
}

static __always_inline int is_data(const struct udphdr *udp, const void *end) {
    const __u32 *type = (const void *)(udp + 1);
    return (const void *)udp + sizeof *udp + DATA_HEADER <= end && udp->dest == xdp_port && xdp_port &&
           bpf_ntohs(udp->len) >= sizeof *udp + DATA_LEAST && *type == bpf_htonl(0x04000000);
}

SEC("xdp")
int xdp_pick(struct xdp_md *frame) {
    const void *at = (const void *)(long)frame->data;
    const void *end = (const void *)(long)frame->data_end;
    const struct ethhdr *ethernet = at;
    const struct iphdr *v4 = (const void *)(ethernet + 1);
    const struct ipv6hdr *v6 = (const void *)(ethernet + 1);
    if (end - at > XDP_FRAME_MAX || (const void *)(v4 + 1) > end) {
        return XDP_PASS;
    }
    if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
        if (v4->version != 4 || v4->ihl != 5 || v4->protocol != IPPROTO_UDP || v4->frag_off & bpf_htons(FRAGMENT) ||
            !is_data((const void *)(v4 + 1), end) || !is_local_v4(frame, v4)) {
            return XDP_PASS;
        }
    } else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
        if ((const void *)(v6 + 1) > end || v6->version != 6 || v6->nexthdr != IPPROTO_UDP ||
            !is_data((const void *)(v6 + 1), end) || is_of_link(v6) || !is_local_v6(frame, v6)) {
            return XDP_PASS;
        }
    } else {
        return XDP_PASS;
    }
    return (int)bpf_redirect_map(&xdp_queues, frame->rx_queue_index, XDP_PASS);
}

/* Programs that ask where a packet would go must be under the kernel's licence. */
const char xdp_license[] SEC("license") = "GPL";
