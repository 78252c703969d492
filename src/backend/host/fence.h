/* Our own nftables table, `inet sallyport_<interface>`: what may come out of the tunnel, what may speak in its name,
 * and masquerading.
 *
 *     prerouting    out of the interface: only what bears the mark of the isolation program, if there is one. With the
 *                   program gone nothing is forwarded and nothing reaches the hub, whether or not sallyportd runs.
 *                   From elsewhere: nothing with the hub's address as its source, nor with one that the host has a
 * route to through the interface: a router's. Datagrams of the tunnels are not tracked, where we are the reason that
 * the host tracks connections. input         nothing out of the tunnel to the tunnel's own UDP port: a router would
 * have its endpoint inside output        no datagram of the tunnel's into the tunnel, for routers that have it there
 * nevertheless postrouting   masquerades what came out of the tunnel and leaves the host: its tenant has egress
 *
 * No other table is read or touched. Ours carries a comment by which we know it; a table of that name without it is
 * somebody else's and refused. Each change is one transaction. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fence;
struct prefix;
struct problem;

struct fence_rules {
    uint32_t passed;          /* the mark of what may come in, in skb->priority; 0: nobody marks */
    const struct prefix *hub; /* the hub's addresses, with the length of the pool behind them */
    size_t hub_count;
    uint16_t listen_port; /* 0: the tunnel's datagrams are no concern of the fence */
    bool egress;          /* some tenant has it: masquerade */
};

struct fence_counts {
    uint64_t forged; /* from elsewhere, in the hub's or a router's name */
    uint64_t looped; /* datagrams of the tunnel in the tunnel */
};

/* Whether the host's tools can speak of an interface of that name. */
bool fence_can_name(const char *interface_name);

/* Touches nothing. -EINVAL: a name that nft(8) cannot quote; -ENOMEM. */
int fence_open(const char *interface_name, struct fence **ret_fence, struct problem *ret_problem);
/* The table stays. Accepts NULL. */
void fence_close(struct fence *fence);

/* Idempotent: compares, and only if the table is not as it should be replaces the whole of it in one step;
 * `ret_touched` counts up. -EEXIST: a foreign table of the same name; -EPERM; -EOPNOTSUPP: no nftables in this kernel.
 */
int fence_set(struct fence *fence, const struct fence_rules *rules, unsigned *ret_touched, struct problem *ret_problem);
/* Since the table was made. */
int fence_count(struct fence *fence, struct fence_counts *ret_counts);
/* Whether this kernel cannot tell by its routes who speaks (CONFIG_NFT_FIB_INET): then only the hub's own addresses are
 * guarded. Known after fence_set(). */
#define FENCE_HALF_BLIND                                                                                               \
    "Only the hub's own addresses are guarded against forged sources: this kernel lacks CONFIG_NFT_FIB_INET."
bool fence_is_half_blind(const struct fence *fence);
/* 0 also if there is none; a foreign one is left alone. */
int fence_remove(struct fence *fence, struct problem *ret_problem);
