/* Another packet each time, for isolation.c: writes the address of a router picked at random into the packet, then goes
 * on into the program that is measured. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define LINK_HEADER 14 /* a test run has one */
#define SOURCE (LINK_HEADER + 12)
#define DESTINATION (LINK_HEADER + 16)

/* Set by isolation.c. */
__u32 first_router = 0, routers = 1, towards = 0;
__u64 seed = 1;

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} measured SEC(".maps");

SEC("tc")
int traffic(struct __sk_buff *skb) {
    __u8 *data = (__u8 *)(long)skb->data, *end = (__u8 *)(long)skb->data_end;
    if (data + DESTINATION + 4 > end) {
        return -1;
    }
    /* Knuth's MMIX; the upper bits are the good ones */
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    __u32 router = first_router + (__u32)(((seed >> 32) * routers) >> 32);
    *(__u32 *)(data + (towards ? DESTINATION : SOURCE)) = bpf_htonl(router);
    bpf_tail_call(skb, &measured, 0);
    return -1;
}

SEC("tc")
int nothing(struct __sk_buff *skb) {
    return (int)(skb->len >> 31);
}

const char traffic_license[] SEC("license") = "GPL"; /* or Apache-2.0 */
