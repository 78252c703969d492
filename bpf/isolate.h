/* What the programs in the kernel and src/backend/isolate/isolate.c share: the maps' keys and values.
 *
 *     hosts_now[0] -> a hash    address -> owner    routers and the hub; replaced by a larger one when it is full
 *     lans         a trie       prefix  -> owner    LANs behind routers, and the pools
 *     accounts     in chunks    CPU, slot -> account   what the programs need of every tenant, and what they count
 *     tenants      in chunks    slot -> tenant      what they need of limited tenants only, and the tenant's name
 *     tallies      an array     tally -> count      per CPU
 *     hub          an array     0 -> the hub
 *
 * A tenant is known by a number: its slot, and above it a generation that changes when the slot is used again. So what
 * is still mapped to a tenant that is gone means nobody, not whoever came after it. Chunks are made when their first
 * slot is needed. Layouts that differ have different numbers, and the maps of one are never read as the other's.
 *
 * A packet of a tenant that was quiet finds nothing of it in any cache. So all that most packets need of a tenant is
 * one cache line of one page, found without a look at the map's own record; each CPU has its own, and no other writes
 * it. */
#pragma once

#include <linux/types.h>

#define ISOLATE_LAYOUT 2

/* In skb->priority of what may come in; the fence (src/backend/host/fence.c) drops the rest. No class of a queueing
 * discipline is likely to be called so. */
#define ISOLATE_PASSED 0x5a11c0de

#define ISOLATE_SLOT_BITS 20
#define ISOLATE_SLOT_MASK ((1u << ISOLATE_SLOT_BITS) - 1)
#define ISOLATE_CHUNK_BITS 10
#define ISOLATE_CHUNK_SLOTS (1u << ISOLATE_CHUNK_BITS)
#define ISOLATE_CHUNKS (1u << (ISOLATE_SLOT_BITS - ISOLATE_CHUNK_BITS))

/* Owners that are no tenant: slot 0, which no tenant gets. */
#define ISOLATE_NOBODY 0u
#define ISOLATE_HUB (1u << ISOLATE_SLOT_BITS)
#define ISOLATE_POOL (2u << ISOLATE_SLOT_BITS) /* an address no router has */

/* The family is part of the key: neither family's prefixes, however short, contain the other's addresses. */
struct isolate_address {
    __u32 family;   /* 4 or 6 */
    __u8 bytes[16]; /* network order; IPv4 uses the first 4, the rest are zero */
};

/* Also the key of a trie (linux/bpf.h, struct bpf_lpm_trie_key). */
struct isolate_prefix {
    __u32 length; /* in bits, those of the family included */
    struct isolate_address address;
};

#define ISOLATE_FAMILY_BITS 32

struct isolate_owner {
    __u32 tenant; /* number, or one of the above */
    __u32 peer;   /* the first bytes of its public key: tells a tenant's peers apart */
};

enum isolate_flags {
    ISOLATE_EGRESS = 1,  /* may reach beyond the hub */
    ISOLATE_LIMITED = 2, /* its limits are to be looked up */
};

/* Read and written as a whole: flags are never taken for those of whoever has the slot next. */
struct isolate_policy {
    __u32 tenant; /* number; ISOLATE_NOBODY while the slot is free */
    __u32 flags;
} __attribute__((aligned(8)));

enum isolate_direction {
    ISOLATE_RECEIVED, /* from the tenant's routers */
    ISOLATE_SENT,     /* to them */
    ISOLATE_DIRECTIONS,
};

#define ISOLATE_TICKS_PER_SECOND 16000000000ull

struct isolate_limit {
    __u64 per_second; /* tokens; 0: no limit */
    __u64 allowance;  /* ticks of debt up to which one more packet is let through: the burst */
};

struct isolate_tenant {
    __u8 id[16];    /* UUID */
    __u32 number;   /* stays when the tenant is gone: whoever comes next gets another */
    __u32 reserved; /* zero */
    struct isolate_limit bits, packets;
    /* When what was let through so far will be paid off, in ticks of the monotonic clock. */
    __u64 bits_paid_at[ISOLATE_DIRECTIONS];
    __u64 packets_paid_at[ISOLATE_DIRECTIONS];
    __u64 answers_paid_at;
};

/* Of one CPU. Only programs write it; who finds that it is another tenant's begins anew. */
struct isolate_usage {
    __u32 tenant; /* number of whose it is */
    __u32 reserved;
    struct {
        __u64 bytes, packets;
    } passed[ISOLATE_DIRECTIONS];
    __u64 dropped;
};

/* A cache line. The policy is the same on all CPUs: sallyportd writes it to each, and last to the first, whose word is
 * taken when an earlier run did not come to that. */
struct isolate_account {
    struct isolate_policy policy;
    struct isolate_usage usage;
} __attribute__((aligned(64)));

/* Where it is in its chunk. */
#define ISOLATE_ACCOUNT(cpu, slot) ((cpu) << ISOLATE_CHUNK_BITS | ((slot) & (ISOLATE_CHUNK_SLOTS - 1)))

#define ISOLATE_HUB_MAX 8

struct isolate_hub {
    __u8 v4[4]; /* in whose name ICMP is sent; zero: none */
    __u8 v6[16];
    __u32 count;
    struct isolate_prefix addresses[ISOLATE_HUB_MAX]; /* host bits set, and the length of the pool behind them */
};

/* Names as the engine's, where the reason is the same. */
#define ISOLATE_TALLIES(X)                                                                                             \
    X(BAD_INNER, "drop.bad_inner")   /* no IP packet */                                                                \
    X(BAD_SOURCE, "drop.bad_source") /* source, or what an ICMP error is about, not the router's */                    \
    X(PROHIBITED, "drop.prohibited") /* to, or from, where the tenant may not reach */                                 \
    X(NO_ROUTE, "drop.no_route")     /* to an address that is no router's */                                           \
    X(OVER_LIMIT, "drop.over_limit") /* policed */                                                                     \
    X(ANSWERED, "answered")          /* ICMP errors sent */

enum isolate_tally {
#define X(id, name) ISOLATE_##id,
    ISOLATE_TALLIES(X)
#undef X
        ISOLATE_TALLY_COUNT
};
