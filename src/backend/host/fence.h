/* Our own nftables table, `inet sallyport_<interface>`: the default drop, and masquerading.
 *
 * - What comes in from the interface without the mark that bpf/isolate.bpf.c puts into skb->priority is dropped before
 *   anything else sees it. With the program gone nothing is forwarded and nothing reaches the hub, whether or not
 *   sallyportd runs.
 * - What leaves the host elsewhere after it came from the interface is masqueraded: the program let it through, so its
 *   tenant has egress.
 *
 * No other table is read or touched. Ours carries a comment by which we know it; a table of that name without it is
 * somebody else's and refused. Each change is one transaction. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fence;
struct problem;

struct fence_rules {
    uint32_t passed; /* the mark of what may come in */
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
/* 0 also if there is none; a foreign one is left alone. */
int fence_remove(struct fence *fence, struct problem *ret_problem);
