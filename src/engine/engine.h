/* The engine's control interface: what sallyport-wg's main and its UAPI call. The data plane behind it is the workers'.
 *
 * Thread: every function here belongs to one control thread. Changes to peers and tenants are gathered and applied by
 * the worker that owns them, between two batches of packets; engine_flush() returns when all of them are in force.
 * Nothing here blocks a worker for longer than one bounded step, however many peers there are.
 *
 * Errors: 0 or -errno. A change that is refused leaves everything as it was. What is gathered is applied together with
 * what others asked for, so each who asks has a struct engine_caller, and hears of its own changes only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/key.h"
#include "model/prefix.h"
#include "model/tenant.h"
#include "model/uuid.h"
#include "wire/message.h"

#define ENGINE_WORKER_BITS 6 /* a worker's number, in front of others that it gives out */
#define ENGINE_WORKERS_MAX (1u << ENGINE_WORKER_BITS)
#define ENGINE_HUB_MAX 16             /* prefixes of the hub */
#define ENGINE_INTERFACE_NAME_SIZE 16 /* IFNAMSIZ */

struct engine;

struct engine_options {
    const char *interface_name;
    unsigned workers;   /* 0: one per CPU this process may use, at most ENGINE_WORKERS_MAX */
    const char *crypto; /* "auto", or a name of wire/aead.h */
    unsigned mtu;       /* of a TUN made here; 0: 1420 */
    bool no_gso;        /* switch UDP_SEGMENT / UDP_GRO off */
    bool no_tso;        /* switch the TUN's virtio header and segmentation offloads off */
    bool no_uring;      /* write packets to the TUN one by one */
    const char *xdp;    /* comma-separated interfaces whose receive queues are read directly (AF_XDP); NULL: none */
    int (*before_threads)(void *context); /* called once all is opened that takes privileges; NULL: not */
    void *context;
    uint64_t clock_rate; /* tests only: protocol time runs this many times faster; 0 or 1: as it is */
};

/* Opens the TUN device (creating it, or attaching to a persistent one), starts the workers. Sockets are bound when the
 * interface is set up (its IFF_UP), as the kernel does, or at once if it is up already; a busy port is reported by the
 * call that asks for it. -EPERM no privilege, -ENOENT no /dev/net/tun, -EBUSY the interface is held by another process.
 */
int engine_create(const struct engine_options *options, struct engine **ret_engine);
/* Stops the workers, closes sockets and TUN (which removes a TUN it made), wipes secrets. Accepts NULL. */
void engine_free(struct engine *engine);
/* A descriptor for the control thread's poll(): readable when engine_attend() has work (interface up, down, gone, MTU
 * changed). */
int engine_fd(const struct engine *engine);
/* -ENODEV: the interface was deleted; time to exit. */
int engine_attend(struct engine *engine);

/* Zero-initialize. Must live until engine_flush() was called with it after the last change. */
struct engine_caller {
    int error; /* the first of its changes that were applied since it last flushed */
};

/* --- the device --- */

/* A zero key clears it. Precomputed secrets are dropped; sessions stay as Linux leaves them
 * (wg_wg_noise_set_static_identity_private_key in its noise.c_private_key()). A peer with our own public key is
 * removed. */
int engine_set_private_key(struct engine *engine, const struct key *private_key);
int engine_set_listen_port(struct engine *engine, uint16_t port); /* 0: any. -EADDRINUSE keeps the old one */
int engine_set_fwmark(struct engine *engine, uint32_t fwmark);
/* The hub's own side: prefixes a tenant's router may always talk to (ARCHITECTURE.md). Replaces the list. */
int engine_set_hub(struct engine *engine, const struct prefix *prefixes, size_t count);

/* What the kernel does for many packets at once, by direction. One list: the enum and the UAPI's names come from it. */
#define ENGINE_OFFLOADS(X)                                                                                             \
    X(GSO, "gso")           /* to routers: a run of datagrams in one write (UDP_SEGMENT) */                            \
    X(GRO, "gro")           /* from routers: a run of datagrams in one read (UDP_GRO) */                               \
    X(XDP, "xdp")           /* from routers: data messages around the kernel's IP and UDP (AF_XDP) */                  \
    X(TSO, "tso")           /* from the host: TCP larger than the MTU */                                               \
    X(USO, "uso")           /* from the host: UDP larger than the MTU (Linux 6.2) */                                   \
    X(JOIN_TCP, "join_tcp") /* to the host: TCP segments in one write */                                               \
    X(JOIN_UDP, "join_udp") /* to the host: UDP datagrams in one write (Linux 6.2) */                                  \
    X(URING, "uring")       /* to the host: many writes in one system call (Linux 6.1) */

enum engine_offload {
#define X(id, name) ENGINE_OFFLOAD_##id,
    ENGINE_OFFLOADS(X)
#undef X
        ENGINE_OFFLOAD_COUNT
};

enum engine_offload_state {
    ENGINE_OFFLOAD_ON,
    ENGINE_OFFLOAD_SWITCHED_OFF, /* by an option */
    ENGINE_OFFLOAD_UNSUPPORTED,  /* the kernel has none */
    ENGINE_OFFLOAD_REFUSED,      /* the kernel has it, but refused to do it; some worker does without */
};

struct engine_device {
    struct key private_key; /* a secret: wipe */
    struct key public_key;
    uint16_t listen_port; /* as bound */
    uint32_t fwmark;
    struct prefix hub[ENGINE_HUB_MAX];
    size_t hub_count;
    unsigned workers;
    const char *crypto;
    enum engine_offload_state offloads[ENGINE_OFFLOAD_COUNT];
    int xdp_error;                               /* why `options.xdp` could not be followed; 0: it could */
    char xdp_failed[ENGINE_INTERFACE_NAME_SIZE]; /* the interface that this is about */
    uint64_t peers;
    uint64_t tenants;
};
void engine_get_device(struct engine *engine, struct engine_device *ret_device);

/* --- tenants --- */

struct engine_tenant {
    struct uuid id;
    enum addressing addressing; /* fixed once made: -EBUSY on another value while it has peers */
    bool egress;
    struct limits limits; /* bits_per_second and packets_per_second, each direction */
};

/* What crossed the gateway for one tenant. Names are from the gateway's side. */
struct engine_usage {
    uint64_t bytes_received, packets_received; /* tunnel payload from the tenant's routers */
    uint64_t bytes_sent, packets_sent;
    uint64_t dropped;
};

int engine_tenant_set(struct engine *engine, struct engine_caller *caller, const struct engine_tenant *tenant);
/* Removes its peers too. -ENOENT. */
int engine_tenant_remove(struct engine *engine, const struct uuid *id);
/* Where a walk over all tenants or all peers stands. Zero at its beginning; a plain value, nothing to free. */
struct engine_walk {
    unsigned worker;
    uint32_t slot;
};

typedef int engine_tenant_fn(void *context, const struct engine_tenant *tenant, const struct engine_usage *usage);
/* The next tenants of a walk, a bounded piece (some thousand). 1: there are more; 0: that was the end; else the first
 * non-zero return of `fn`, or -ENOMEM, which end the walk. Anything may be done between two pieces: a tenant that
 * exists throughout is seen exactly once, one that comes or goes at most once. */
int engine_walk_tenants(struct engine *engine, struct engine_walk *walk, engine_tenant_fn *fn, void *context);

/* --- peers --- */

/* One hub address of a peer: the hub sends to `hub`, the router sees `inside`. Equal when nothing is translated. */
struct engine_hub_address {
    struct ip_addr hub;
    struct ip_addr inside;
};

struct engine_allowed_ip {
    struct prefix prefix;
    bool remove; /* take it away from this peer, if this peer has it */
};

struct engine_peer_change {
    struct key public_key;
    bool remove;
    bool update_only;         /* do nothing if the peer does not exist */
    bool replace_allowed_ips; /* forget the old ones first */
    bool has_preshared_key, has_endpoint, has_keepalive, has_tenant, has_hub_addresses, has_timestamp;
    struct key preshared_key; /* zero: none */
    union endpoint endpoint;
    bool endpoint_if_unknown; /* has_endpoint, but where the peer spoke from since counts more */
    uint16_t keepalive_s;
    struct uuid tenant; /* zero: no tenant (plain WireGuard). -ENOENT if there is no such tenant. Moving an existing
                           peer to another tenant drops its allowed IPs, hub addresses and sessions first */
    struct engine_hub_address hub_addresses[2]; /* replaces; at most one of each family */
    size_t hub_address_count;
    bool reset_timestamp; /* forget the greatest one first: an older initiation may then be replayed */
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE];   /* the least a next initiation must exceed; only ever raises */
    const struct engine_allowed_ip *allowed_ips; /* borrowed until the call returns */
    size_t allowed_ip_count;
};

/* Gathers one change; may apply earlier ones. A peer with our own public key is skipped, as Linux does. -EINVAL,
 * -ENOENT (tenant), -ENOMEM, -ENOSPC. Call engine_flush() before reporting success. */
int engine_peer_change(struct engine *engine, struct engine_caller *caller, const struct engine_peer_change *change);
/* All peers (replace_peers=true). */
int engine_remove_peers(struct engine *engine);
/* Brings into force what was gathered, of all callers. The first error of what this one asked for since it last called.
 * -EAGAIN: two keys collided in a table that has now been made anew; the same change succeeds when it is tried again.
 */
int engine_flush(struct engine *engine, struct engine_caller *caller);

struct engine_peer {
    struct key public_key;
    struct key preshared_key; /* a secret: wiped after each callback */
    union endpoint endpoint;  /* family 0: unknown */
    uint16_t keepalive_s;
    uint64_t last_handshake_wall_ns; /* 0: never */
    uint64_t bytes_received, bytes_sent;
    struct uuid tenant; /* zero: none */
    struct engine_hub_address hub_addresses[2];
    size_t hub_address_count;
    /* The greatest of its initiations, to be kept; zero: none, or one that our own clock does not vouch for (more than
     * an hour ahead), which counts as long as this process lives. */
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE];
    uint32_t clock_behind_s;          /* its last initiation was refused, being older by so much; 0: it was not */
    const struct prefix *allowed_ips; /* borrowed during the callback */
    size_t allowed_ip_count;
};

typedef int engine_peer_fn(void *context, const struct engine_peer *peer);
/* The next peers of a walk, as engine_walk_tenants(). With `since_ns` (monotonic, of clock_mono_ns()) other than 0 only
 * peers whose counters, handshake or endpoint changed after it. A peer that is moved to another tenant meanwhile may be
 * seen twice or not at all. */
int engine_walk_peers(struct engine *engine, struct engine_walk *walk, uint64_t since_ns, engine_peer_fn *fn,
                      void *context);

/* --- counters --- */

/* Why a packet went no further. One list: the enum, the UAPI's names and the metrics come from it. */
#define ENGINE_DROPS(X)                                                                                                \
    X(MALFORMED, "malformed")                   /* not a WireGuard message */                                          \
    X(LOOPED, "looped")                         /* of our own, into or out of our own tunnel */                        \
    X(BAD_MAC, "bad_mac")                       /* mac1 wrong */                                                       \
    X(UNDER_LOAD, "under_load")                 /* answered by a cookie, or over the source's rate */                  \
    X(UNKNOWN_PEER, "unknown_peer")             /* initiation of a key we do not have */                               \
    X(BAD_HANDSHAKE, "bad_handshake")           /* not authentic */                                                    \
    X(REPLAYED_HANDSHAKE, "replayed_handshake") /* timestamp not greater, or more than 50/s */                         \
    X(UNKNOWN_INDEX, "unknown_index")           /* receiver index of no session */                                     \
    X(BAD_TAG, "bad_tag")                       /* data that does not authenticate */                                  \
    X(REPLAYED, "replayed")                     /* counter seen, or too old */                                         \
    X(EXPIRED, "expired")                       /* session older than 180 s */                                         \
    X(BAD_INNER, "bad_inner")                   /* inner packet malformed */                                           \
    X(BAD_SOURCE, "bad_source")                 /* source, or what an ICMP error is about, not the peer's */           \
    X(PROHIBITED, "prohibited")                 /* destination the tenant may not reach */                             \
    X(NO_ROUTE, "no_route")                     /* no peer has the destination */                                      \
    X(NO_ENDPOINT, "no_endpoint")               /* peer's address not known yet */                                     \
    X(NO_SESSION, "no_session")                 /* queue full or given up while waiting for a handshake */             \
    X(TOO_BIG, "too_big")                       /* over the MTU and must not be fragmented */                          \
    X(OVER_LIMIT, "over_limit")                 /* policed by the tenant's limits */                                   \
    X(UNTRANSLATABLE, "untranslatable")         /* 1:1 translation cannot be done on it */                             \
    X(RING_FULL, "ring_full")                   /* another worker is too far behind */                                 \
    X(TUN_FULL, "tun_full")                     /* the kernel did not take it */                                       \
    X(UDP_FULL, "udp_full")                                                                                            \
    X(XDP_FULL, "xdp_full") /* by AF_XDP, and the worker was behind */

enum engine_drop {
#define X(id, name) ENGINE_DROP_##id,
    ENGINE_DROPS(X)
#undef X
        ENGINE_DROP_COUNT
};

/* What else a worker counts. One list: the fields and the UAPI's names come from it. */
#define ENGINE_TALLIES(X)                                                                                              \
    X(udp_received)           /* datagrams */                                                                          \
    X(udp_sent)               /* datagrams */                                                                          \
    X(udp_reads)              /* system calls, also those that found nothing */                                        \
    X(xdp_received)           /* of the datagrams received, those by AF_XDP: without a call */                         \
    X(udp_writes)             /* system calls */                                                                       \
    X(tun_received)           /* packets from the host; a large one counts once */                                     \
    X(tun_sent)               /* packets to the host, before they are joined */                                        \
    X(tun_reads)              /* system calls, also those that found nothing */                                        \
    X(tun_writes)             /* system calls */                                                                       \
    X(turned_around)          /* site to site, never crossed the TUN */                                                \
    X(handed_over)            /* crossed to another worker through a ring: the sum of the next three */                \
    X(handed_over_packets)    /* from the host, on another worker's queue */                                           \
    X(handed_over_datagrams)  /* that name a receiver index, on another worker's socket */                             \
    X(handed_over_handshakes) /* initiations: nothing in them names a worker */                                        \
    X(roams_refused)          /* a peer spoke from where the way leads into the tunnel: it is not followed */          \
    X(handshakes)             /* completed, either role */                                                             \
    X(cookies_sent)                                                                                                    \
    X(rounds) /* of the worker's loop */

struct engine_counters {
    uint64_t drops[ENGINE_DROP_COUNT];
#define X(name) uint64_t name;
    ENGINE_TALLIES(X)
#undef X
};

const char *engine_drop_name(enum engine_drop drop);
/* Summed over all workers. */
void engine_get_counters(struct engine *engine, struct engine_counters *ret_counters);
/* Of one, below engine_device.workers. */
void engine_get_worker_counters(struct engine *engine, unsigned worker, struct engine_counters *ret_counters);
