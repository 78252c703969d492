/* Who may talk to whom through the WireGuard interface. One lookup an address, however many tenants there are.
 *
 *      router --> wg0 ==[from_router]==> the host's IP stack ==[to_router]==> wg0 --> router
 *                          |   ^             |                   |
 *                          |   |             +-- hub, egress     +-- drop
 *                          |   +-- without the mark that this program leaves on what passes,
 *                          |       the fence (src/backend/host/fence.c) lets nothing in: no program, no way
 *                          +-- drop; told to the router by ICMP
 *
 *      from_router        the source names the tenant; the destination must be the hub, a sibling (a peer of the same
 *                         tenant), or beyond, if the tenant has egress; an ICMP error that leaves the tenant must be
 *                         about a packet that was for this very router
 *      to_router          the destination names the tenant; the source must be the hub, a sibling, or beyond, if the
 *                         tenant has egress
 *
 * The rules, their order and the names of what is dropped are those of src/engine/path/forward.c. The kernel's
 * WireGuard has checked before us that a source belongs to the peer that sent it. Fragments carry addresses too and are
 * judged alike.
 *
 * The interface has no link layer: packets begin with their IP header. Needs Linux 5.15; no kernel structure is read.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "isolate.h"
#include "packet.bpf.h"

#include "answer.bpf.h"
#include "icmp.bpf.h"

/* ICMP errors to a tenant's routers. */
#define ANSWERS_PER_SECOND 100
#define ANSWERS_BURST_TICKS (ISOLATE_TICKS_PER_SECOND / ANSWERS_PER_SECOND * 49)

/* --- maps --- */

/* isolate.h says what they hold. Inner ones are declared by size: clang 14 leaves out types that only they name. */

struct hosts {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1);
    __uint(key_size, sizeof(struct isolate_address));
    __uint(value_size, sizeof(struct isolate_owner));
};

/* For one CPU: src/backend/isolate/load.c puts in its place one for as many as there are. */
struct account_chunk {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, ISOLATE_CHUNK_SLOTS);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(struct isolate_account));
};

struct tenant_chunk {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, ISOLATE_CHUNK_SLOTS);
    __uint(key_size, sizeof(__u32));
    __uint(value_size, sizeof(struct isolate_tenant));
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
    __uint(max_entries, 1);
    __type(key, __u32);
    __array(values, struct hosts);
} hosts_now SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 22);
    __type(key, struct isolate_prefix);
    __type(value, struct isolate_owner);
} lans SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
    __uint(max_entries, ISOLATE_CHUNKS);
    __type(key, __u32);
    __array(values, struct account_chunk);
} accounts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
    __uint(max_entries, ISOLATE_CHUNKS);
    __type(key, __u32);
    __array(values, struct tenant_chunk);
} tenants SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
    __uint(max_entries, ISOLATE_TALLY_COUNT);
    __type(key, __u32);
    __type(value, __u64);
} tallies SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(pinning, LIBBPF_PIN_BY_NAME);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct isolate_hub);
} hub SEC(".maps");

/* --- lookups --- */

static __always_inline void *chunk_of(void *chunks, __u32 tenant) {
    __u32 number = (tenant & ISOLATE_SLOT_MASK) >> ISOLATE_CHUNK_BITS;
    return bpf_map_lookup_elem(chunks, &number);
}

static __always_inline struct isolate_tenant *tenant_of(__u32 tenant) {
    __u32 place = tenant & (ISOLATE_CHUNK_SLOTS - 1);
    void *chunk = chunk_of(&tenants, tenant);
    return chunk ? bpf_map_lookup_elem(chunk, &place) : 0;
}

/* The key's length is that of a whole address. */
static __always_inline struct isolate_owner owner_of(const struct isolate_prefix *key) {
    __u32 first = 0;
    void *hosts = bpf_map_lookup_elem(&hosts_now, &first);
    const struct isolate_owner *owner = hosts ? bpf_map_lookup_elem(hosts, &key->address) : 0;
    if (!owner) {
        owner = bpf_map_lookup_elem(&lans, key);
    }
    return owner ? *owner : (struct isolate_owner){ISOLATE_NOBODY, 0};
}

/* Of this CPU. None for those who are no tenant, and for tenants that are gone. */
static __always_inline struct isolate_account *account_of(__u32 tenant, struct isolate_policy *ret_policy) {
    __u32 place = ISOLATE_ACCOUNT(bpf_get_smp_processor_id(), tenant);
    void *chunk = chunk_of(&accounts, tenant);
    struct isolate_account *account = chunk ? bpf_map_lookup_elem(chunk, &place) : 0;
    if (!account) {
        return 0;
    }
    __u64 word = *(const volatile __u64 *)&account->policy;
    __builtin_memcpy(ret_policy, &word, sizeof *ret_policy);
    return ret_policy->tenant == tenant && tenant != ISOLATE_NOBODY ? account : 0;
}

/* --- counting and policing --- */

static __always_inline void tally(__u32 which) {
    __u64 *count = bpf_map_lookup_elem(&tallies, &which);
    if (count) {
        ++*count;
    }
}

/* The number comes last, and after what it says is anew: the exchange is a barrier to whoever reads both elsewhere. */
static __always_inline struct isolate_usage *usage_of(struct isolate_account *account, __u32 tenant) {
    struct isolate_usage *usage = &account->usage;
    if (usage->tenant != tenant) {
        usage->tenant = ISOLATE_NOBODY;
        __builtin_memset(usage->passed, 0, sizeof usage->passed);
        usage->dropped = 0;
        __sync_lock_test_and_set(&usage->tenant, tenant);
    }
    return usage;
}

static __always_inline void count(struct isolate_usage *usage, enum isolate_direction direction, __u64 bytes,
                                  __u32 packets) {
    usage->passed[direction].bytes += bytes;
    usage->passed[direction].packets += packets;
}

static __always_inline int drop(struct isolate_usage *usage, enum isolate_tally reason) {
    if (usage) {
        usage->dropped++;
    }
    tally(reason);
    return TC_ACT_SHOT;
}

static __always_inline __u64 ticks(const struct isolate_limit *limit, __u64 tokens) {
    return tokens * ISOLATE_TICKS_PER_SECOND / limit->per_second;
}

/* A token bucket as the moment at which all that passed is paid off. One packet may go into debt, whatever its size, so
 * the average is exact. CPUs that race may all pass the check, but each pays. */
static __always_inline bool take(__u64 *paid_at, const struct isolate_limit *limit, __u64 now, __u64 tokens) {
    if (limit->per_second == 0) {
        return true;
    }
    __u64 was = *paid_at;
    if (was < now) {
        __sync_val_compare_and_swap(paid_at, was, now);
        was = now;
    }
    if (was - now > limit->allowance) {
        return false;
    }
    __sync_fetch_and_add(paid_at, ticks(limit, tokens));
    return true;
}

static __always_inline void give_back(__u64 *paid_at, const struct isolate_limit *limit, __u64 tokens) {
    if (limit->per_second != 0) {
        __sync_fetch_and_add(paid_at, -ticks(limit, tokens));
    }
}

static __always_inline __u64 now_ticks(void) {
    return bpf_ktime_get_ns() * (ISOLATE_TICKS_PER_SECOND / 1000000000ull);
}

static __always_inline bool police(struct isolate_policy policy, enum isolate_direction direction, __u64 bytes,
                                   __u32 packets) {
    struct isolate_tenant *t = policy.flags & ISOLATE_LIMITED ? tenant_of(policy.tenant) : 0;
    if (!t) {
        return true;
    }
    __u64 now = now_ticks();
    if (!take(&t->packets_paid_at[direction], &t->packets, now, packets)) {
        return false;
    }
    if (!take(&t->bits_paid_at[direction], &t->bits, now, bytes * 8)) {
        give_back(&t->packets_paid_at[direction], &t->packets, packets);
        return false;
    }
    return true;
}

/* Drops it, and tells the router why, unless it has been told much already. */
static __always_inline int refuse(struct __sk_buff *skb, const struct packet *p, struct isolate_usage *usage,
                                  __u32 tenant) {
    const struct isolate_limit limit = {ANSWERS_PER_SECOND, ANSWERS_BURST_TICKS};
    drop(usage, ISOLATE_PROHIBITED);
    __u32 first = 0;
    struct isolate_tenant *t = tenant_of(tenant);
    const struct isolate_hub *from = bpf_map_lookup_elem(&hub, &first);
    if (!t || !from || !answerable(skb, p) || !take(&t->answers_paid_at, &limit, now_ticks(), 1) ||
        answer_write(skb, p, from) < 0) {
        return TC_ACT_SHOT;
    }
    tally(ISOLATE_ANSWERED);
    return (int)bpf_redirect(skb->ifindex, 0);
}

/* --- the two directions --- */

static __always_inline int pass(struct __sk_buff *skb) {
    skb->priority = ISOLATE_PASSED;
    return TC_ACT_UNSPEC; /* on to the host's own filters, if it has any */
}

static __always_inline bool may_leave(struct isolate_owner from, struct isolate_owner to,
                                      struct isolate_policy policy) {
    if (to.tenant == ISOLATE_HUB) {
        return true;
    }
    if (to.tenant == from.tenant) {
        return to.peer != from.peer; /* not back to where it came from */
    }
    return to.tenant == ISOLATE_NOBODY && (policy.flags & ISOLATE_EGRESS);
}

static __always_inline bool may_enter(struct isolate_owner from, struct isolate_owner to,
                                      struct isolate_policy policy) {
    if (from.tenant == ISOLATE_HUB || from.tenant == to.tenant) {
        return true;
    }
    return (from.tenant == ISOLATE_NOBODY || from.tenant == ISOLATE_POOL) && (policy.flags & ISOLATE_EGRESS);
}

/* False for an ICMP error about a packet that was not for this router, with which it could end another's flows. Apart
 * from the rest, which nearly all packets never leave. */
static __attribute__((noinline)) bool speaks_for_itself(struct __sk_buff *skb, struct packet *p,
                                                        const struct isolate_owner *from) {
    struct packet quoted;
    int speaks = icmp_quoted(skb, p, &quoted);
    if (speaks != 1) {
        return speaks == 0;
    }
    struct isolate_owner of = owner_of(&quoted.destination);
    return of.tenant == from->tenant && of.peer == from->peer;
}

SEC("tc")
int from_router(struct __sk_buff *skb) {
    struct packet p;
    if (!packet_read(skb, &p)) {
        return drop(0, ISOLATE_BAD_INNER);
    }
    struct isolate_owner from = owner_of(&p.source);
    struct isolate_policy policy;
    struct isolate_account *account = account_of(from.tenant, &policy);
    if (!account) {
        return drop(0, ISOLATE_BAD_SOURCE);
    }
    struct isolate_usage *usage = usage_of(account, from.tenant);
    __u64 bytes = wire_size(skb, &p);
    if (!police(policy, ISOLATE_RECEIVED, bytes, packet_count(skb))) {
        return drop(usage, ISOLATE_OVER_LIMIT);
    }
    count(usage, ISOLATE_RECEIVED, bytes, packet_count(skb));
    if (is_group(&p.destination.address)) {
        return drop(usage, ISOLATE_PROHIBITED);
    }
    struct isolate_owner to = owner_of(&p.destination);
    bool beyond = to.tenant == ISOLATE_NOBODY;
    if (!may_leave(from, to, policy) || (beyond && is_special(&p.destination.address))) {
        return refuse(skb, &p, usage, from.tenant);
    }
    if (!packet_is_plain(&p) && to.tenant != from.tenant && !speaks_for_itself(skb, &p, &from)) {
        return drop(usage, ISOLATE_BAD_SOURCE);
    }
    return pass(skb);
}

SEC("tc")
int to_router(struct __sk_buff *skb) {
    struct packet p;
    if (!packet_read(skb, &p)) {
        return drop(0, ISOLATE_BAD_INNER);
    }
    struct isolate_owner to = owner_of(&p.destination);
    struct isolate_policy policy;
    struct isolate_account *account = account_of(to.tenant, &policy);
    if (!account) {
        return drop(0, ISOLATE_NO_ROUTE);
    }
    struct isolate_usage *usage = usage_of(account, to.tenant);
    if (!may_enter(owner_of(&p.source), to, policy)) {
        return drop(usage, ISOLATE_PROHIBITED);
    }
    __u64 bytes = wire_size(skb, &p);
    if (!police(policy, ISOLATE_SENT, bytes, packet_count(skb))) {
        return drop(usage, ISOLATE_OVER_LIMIT);
    }
    count(usage, ISOLATE_SENT, bytes, packet_count(skb));
    return TC_ACT_UNSPEC;
}

/* Apache-2.0 OR GPL-2.0-only; the kernel knows the latter by name. */
const char isolate_license[] SEC("license") = "GPL";
