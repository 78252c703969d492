/* WireGuard in the kernel, through its generic netlink family (linux/wireguard.h). No `wg`, no shell; knows keys,
 * prefixes and endpoints, not tenants. The room owns nothing but sockets and buffers. Read this, socket.h, device.c,
 * dump.c, write.c.
 *
 * One object speaks to one interface, found by its name at each request. Blocking, but the kernel answers at once.
 * Messages hold private and preshared keys: the buffers are wiped. One thread at a time for one object; several objects
 * may speak to one interface at once. Errors: 0 or -errno as the kernel gave it. -ENODEV: no such interface;
 * -EOPNOTSUPP: it is none of WireGuard's, or (wireguard_open()) the kernel has no WireGuard; -EPERM: CAP_NET_ADMIN. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/key.h"
#include "model/prefix.h"

struct wireguard;

int wireguard_open(const char *interface_name, struct wireguard **ret_wireguard);
/* The same through sockets that `connect` makes: a descriptor with one netlink message a datagram, or -errno. For
 * tests, which have no kernel at hand. */
typedef int wireguard_connect_fn(void *context);
int wireguard_open_through(const char *interface_name, wireguard_connect_fn *connect, void *context,
                           struct wireguard **ret_wireguard);
/* What was put and not flushed is forgotten. Accepts NULL. */
void wireguard_free(struct wireguard *wireguard);

/* --- the interface --- */

struct wireguard_device {
    unsigned ifindex;
    struct key private_key; /* zero: none. A secret: wipe */
    struct key public_key;
    uint16_t listen_port;
    uint32_t fwmark; /* 0: none */
};

/* Costs one piece of a dump, not all of it. */
int wireguard_get_device(struct wireguard *w, struct wireguard_device *ret_device);

struct wireguard_settings {
    const struct key *private_key; /* NULL: as it is; sessions end when it changes */
    bool has_listen_port, has_fwmark;
    uint16_t listen_port; /* -EADDRINUSE: the former one stays. While the interface is down nothing is bound. */
    uint32_t fwmark;
};
int wireguard_set_device(struct wireguard *w, const struct wireguard_settings *settings);

/* --- what it holds --- */

struct wireguard_peer {
    struct key public_key;
    struct key preshared_key;     /* zero: none. A secret */
    union endpoint endpoint;      /* family 0: unknown */
    uint16_t keepalive_s;         /* 0: none */
    int64_t last_handshake_at_us; /* wall; 0: never */
    uint64_t bytes_received, bytes_sent;
    const struct prefix *allowed; /* with the peer: until the callback returns */
    size_t allowed_count;
};

/* Stops nothing: the rest of the dump is read, the first non-zero return is the result. */
typedef int wireguard_peer_fn(void *context, const struct wireguard_peer *peer);

/* Every peer once, merged from however many pieces the kernel says it in. `ret_device` may be NULL.
 * -EAGAIN: somebody changed the interface meanwhile: every peer that was told was so at some moment, but peers and
 * allowed IPs may be missing. */
int wireguard_dump(struct wireguard *w, struct wireguard_device *ret_device, wireguard_peer_fn *fn, void *context);

#define WIREGUARD_ATTEMPTS 8
/* The same until it is whole, WIREGUARD_ATTEMPTS times at most; before each attempt but the first `again` is told to
 * forget what `fn` heard. */
int wireguard_dump_whole(struct wireguard *w, struct wireguard_device *ret_device, void (*again)(void *context),
                         wireguard_peer_fn *fn, void *context);

/* --- changes to peers --- */

struct wireguard_change {
    struct key public_key;
    bool remove;          /* alone: nothing else counts */
    bool update_only;     /* do not make the peer if there is none */
    bool replace_allowed; /* what it has now is taken from it first */
    bool has_keepalive;
    uint16_t keepalive_s;
    const struct key *preshared_key; /* NULL: as it is; zero: none */
    const union endpoint *endpoint;  /* NULL or family 0: as it is */
    const struct prefix *allowed;    /* given to it, whoever had it before */
    size_t allowed_count;
    const struct prefix *withdrawn; /* taken from it, if it has it. Only where wireguard_can_withdraw() */
    size_t withdrawn_count;
};

/* Queues a change in a message, which is sent when it is full. On failure what was sent before stays in force, even of
 * the same message, and what is queued is forgotten. */
int wireguard_put(struct wireguard *w, const struct wireguard_change *change);
/* Sends the rest; 0: all of it is in force. */
int wireguard_flush(struct wireguard *w);

/* Whether single allowed IPs can be taken from a peer (kernels from 6.16). Asks the kernel the first time by taking
 * `example` from `owner`, which is what the caller wants done; sends what is queued before. 1, 0, or -errno. */
int wireguard_can_withdraw(struct wireguard *w, const struct key *owner, const struct prefix *example);
