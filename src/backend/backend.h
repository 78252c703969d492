/* The data plane as the control plane sees it: one small table of operations, one implementation per backend.
 *
 * The room, from its doors down; each sub-room uses those below it:
 *
 *     kernel/     WireGuard in the host's kernel      engine/     sallyport-wg, over its UAPI socket
 *     isolate/    programs and maps that keep tenants apart in the kernel
 *     host/       this host: interfaces, addresses, routes, nftables, other people's interfaces
 *     wireguard/  WireGuard's netlink family
 *     attributes.h
 *
 * Thread: one caller at a time (service/ holds its data-plane mutex). Operations may block on the data plane for a
 * bounded time; they never touch the store. Errors: 0 or -errno with `ret_problem` filled in words for people.
 * -ENOTCONN: the data plane is not there; the caller goes on without it and reconciles when it is back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/desired.h"
#include "model/problem.h"

struct backend;

/* What sallyport-wg can be told to do without; each stands for what needs it, too (docs/sallyport-wg.md). */
enum backend_offload {
    BACKEND_OFFLOAD_GSO = 1,
    BACKEND_OFFLOAD_TSO = 2,
    BACKEND_OFFLOAD_URING = 4,
};

struct backend_config {
    const char *interface_name;   /* "wg0" */
    const char *engine_path;      /* sallyport-wg to start when none answers; NULL: never start one */
    unsigned engine_workers;      /* 0: automatic */
    const char *engine_xdp;       /* interfaces whose queues it reads itself, separated by commas; NULL: none */
    unsigned engine_offloads_off; /* backend_offload, or'ed */
    const char *engine_log;       /* file the engine's stderr is appended to; NULL: inherit */
};

#define BACKEND_WARNING_SIZE 384

struct backend_state {
    char name[16];       /* "engine", "kernel" */
    bool up;             /* answers */
    int64_t pid;         /* of the engine; 0: unknown */
    uint64_t generation; /* changes when the data plane was restarted, i.e. lost what it held */
    uint16_t listen_port;
    unsigned workers;
    char crypto[32];
    char offloads[64];      /* "gso,tso", or "none": what the kernel does for many packets at once */
    char offloads_off[192]; /* "gro:switched_off", or "none": each with why not; empty: not known */
    uint64_t peers, tenants;
    uint64_t memory_bytes;              /* resident */
    char warning[BACKEND_WARNING_SIZE]; /* what does not work although it is up; "": nothing */
};

typedef int backend_peer_fn(void *context, const struct actual_peer *peer);
typedef int backend_tenant_fn(void *context, const struct actual_tenant *tenant);
typedef int backend_counter_fn(void *context, const char *name, uint64_t value);
typedef int backend_route_fn(void *context, const struct prefix *prefix);

/* What the host itself has, apart from the data plane's interface. */
enum backend_host_fact {
    BACKEND_HOST_ADDRESS,
    BACKEND_HOST_NEXT_HOP, /* of one of its routes */
};
typedef int backend_host_fn(void *context, enum backend_host_fact fact, const struct ip_addr *address);

struct backend_ops {
    const char *name;
    bool private_tenants; /* can tenants have address spaces of their own */
    /* Connects, starting the data plane if it is not running, detached so that it outlives this process. */
    int (*open)(const struct backend_config *config, struct backend **ret_backend, struct problem *ret_problem);
    /* Disconnects; the data plane goes on. Accepts NULL. */
    void (*close)(struct backend *backend);
    /* Connects again, or starts it again, after -ENOTCONN. */
    int (*revive)(struct backend *backend, struct problem *ret_problem);
    /* Key, port, addresses, MTU, link up: compares and touches only what differs. `ret_touched` counts what was mended.
     */
    int (*set_device)(struct backend *backend, const struct desired_device *device, unsigned *ret_touched,
                      struct problem *ret_problem);
    /* Applies deltas in order; when it returns 0 all are in force. */
    int (*apply)(struct backend *backend, const struct desired_change *changes, size_t count,
                 struct problem *ret_problem);
    /* What it holds. With `since` other than 0, only peers whose counters, handshake or endpoint changed after that
     * mark; `ret_now` is the mark for next time. A peer may be told more than once, as it was then and as it is later.
     * No other operation may be called from `fn`. */
    int (*each_peer)(struct backend *backend, uint64_t since, backend_peer_fn *fn, void *context, uint64_t *ret_now);
    int (*each_tenant)(struct backend *backend, backend_tenant_fn *fn, void *context);
    int (*each_counter)(struct backend *backend, backend_counter_fn *fn, void *context);
    /* Routes on the host for prefixes behind unique tenants' routers that lie outside the pool: those there are, and
     * changing them (`remove` first; idempotent). */
    int (*each_route)(struct backend *backend, backend_route_fn *fn, void *context, struct problem *ret_problem);
    int (*set_routes)(struct backend *backend, const struct prefix *add, size_t add_count, const struct prefix *remove,
                      size_t remove_count, struct problem *ret_problem);
    /* Any thread, without a connection. NULL: nothing is known of the host. */
    int (*each_host_fact)(const char *interface_name, backend_host_fn *fn, void *context);
    int (*state)(struct backend *backend, struct backend_state *ret_state);
    /* Whether somebody else touched what is ours since the last call: then compare and mend now. Costs next to nothing:
     * ask once a second. NULL: there is nothing to touch. */
    bool (*heed)(struct backend *backend);
};

extern const struct backend_ops backend_engine;
/* WireGuard in the host's kernel. For tenants with unique addresses only. */
extern const struct backend_ops backend_kernel;

/* Whether `backend_kernel` can serve here: WireGuard and eBPF in the kernel, the right to use them, and nobody else on
 * an interface of that name. 0, or -errno with the reason. Makes nothing. -EEXIST: all is there but somebody else's
 * WireGuard has the name, which no other backend could have either. */
int backend_kernel_usable(const char *interface_name, struct problem *ret_why_not);
/* Whether an interface that an earlier run of `backend_kernel` made or adopted is there: with an engine in its place
 * every router would be cut off. */
bool backend_kernel_is_at_work(const char *interface_name);
/* Gives up the interface, the programs and the fence that an earlier run of `backend_kernel` left, so that another
 * backend can have the name; touches nothing that is not ours. 1: there was something; 0: nothing; -errno. */
int backend_kernel_release(const char *interface_name, struct problem *ret_problem);
