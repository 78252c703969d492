/* Isolation and accounting in the kernel: loads bpf/isolate.bpf.c and keeps its maps (bpf/isolate.h draws them).
 *
 * The room owns the pins, the filters on the interface, and, while it attaches the first, a queue that holds packets
 * back. One caller at a time enters; kernel/ holds a mutex. Read bpf/isolate.h, isolate.c (hub, tenants, addresses,
 * filters), hosts.h and slots.h (the maps), load.h (programs and pins), check.c (reconciliation), hold.h.
 *
 * What the programs judge by lives in maps pinned under /sys/fs/bpf/sallyport/<interface>: programs and maps outlive
 * this process, and the next one takes them up as they are. Nothing is ever emptied and filled again: each change goes
 * from one valid state to the next, so a packet is never judged by half of a change to its own tenant.
 *
 * Tenants must be set before addresses of theirs are moved. An address that two peers were given belongs to the last
 * one, and taking it from the first later changes nothing, as with WireGuard's allowed IPs.
 *
 * Thread: one caller at a time. Errors: 0 or -errno; where there is a `ret_problem` it is filled on failure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "model/desired.h"

struct isolate;
struct isolate_check;

/* Tenants and host addresses there can be at most. */
#define ISOLATE_TENANTS_MAX ((1u << 20) - 1)
#define ISOLATE_HOSTS_MAX (1u << 22)

/* Whether this kernel, and this process's rights, can do it: loads the programs and forgets them. 0, or -errno. Needs
 * no interface, leaves nothing behind. */
int isolate_usable(struct problem *ret_why_not);

/* Takes up what an earlier run pinned for this interface, else begins with empty maps. The interface need not exist.
 * -ENOTDIR: no BPF file system; -EPERM: rights; -EOPNOTSUPP: a kernel too old. */
int isolate_open(const char *interface_name, struct isolate **ret_isolate, struct problem *ret_problem);
/* The programs, their maps and pins stay: they guard on. Accepts NULL. */
void isolate_close(struct isolate *isolate);
/* Detaches, unpins and closes: the interface is given up. Accepts NULL. */
void isolate_destroy(struct isolate *isolate);

/* Both directions of the interface. Idempotent: replaces what is not ours at our place, leaves what is right alone;
 * `ret_touched` counts up what was mended. A filter is swapped in one step: no packet passes between old and new; the
 * first ones of an interface in use take their places without loss where hold.h can be had. On return every packet that
 * is still on its way has met them: a fence that asks for their mark may follow. */
int isolate_attach(struct isolate *isolate, unsigned ifindex, unsigned *ret_touched, struct problem *ret_problem);

/* The hub's addresses, each with the length of the pool behind it (desired_device.hub_addresses: 10.0.0.1/8). Replaces
 * the earlier ones; `ret_touched` counts up what changed. */
int isolate_set_hub(struct isolate *isolate, const struct prefix *hub, size_t count, unsigned *ret_touched);

/* Creates or changes; in force at once. -EOPNOTSUPP: a private tenant; -ENOSPC: ISOLATE_TENANTS_MAX. */
int isolate_set_tenant(struct isolate *isolate, const struct desired_tenant *tenant);
/* From here on none of its addresses is known, whatever is still mapped to it. 0 also if there is none. */
int isolate_remove_tenant(struct isolate *isolate, const struct uuid *id);
size_t isolate_tenant_count(const struct isolate *isolate);
/* Whether any of them has egress. */
bool isolate_has_egress(const struct isolate *isolate);

/* Addresses (hub_address or address, address6) and LANs of one peer: what it had (NULL: nothing) and what it has now
 * (NULL: nothing). Removals are in force at once, additions after isolate_flush(). -ENOENT: tenant not set; -ENOSPC. */
int isolate_move(struct isolate *isolate, const struct desired_peer *was, const struct desired_peer *is);
int isolate_flush(struct isolate *isolate);

/* Whose the address is, as the programs see it (host first, then LANs). -ENOENT: no tenant's. */
int isolate_owner(struct isolate *isolate, const struct ip_addr *address, struct uuid *ret_tenant);

/* Reconciliation of the maps with the peers that should be: begin, tell every peer there is, end. Entries that no told
 * peer claims are removed; missing or wrong ones are set; peers that were right cost no system call. No isolate_move()
 * between. Each of them counts up `ret_touched` by addresses mended; isolate_check_end() frees in any case and accepts
 * NULL, and with `complete` false (the walk over the peers broke off) removes nothing. */
int isolate_check_begin(struct isolate *isolate, struct isolate_check **ret_check);
int isolate_check_peer(struct isolate_check *check, const struct desired_peer *peer, unsigned *ret_touched);
int isolate_check_end(struct isolate_check *check, bool complete, unsigned *ret_touched);

/* Counters are since the tenant was first set; they survive restarts of this process. */
int isolate_each_tenant(struct isolate *isolate, backend_tenant_fn *fn, void *context);
/* "drop.<reason>" with the engine's names, "answered" (ICMP errors sent). */
int isolate_each_counter(struct isolate *isolate, backend_counter_fn *fn, void *context);
