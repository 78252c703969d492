/* A kernel's WireGuard family behind a socket pair: one interface, served by a thread for each connection, with faults
 * on demand. It reads and writes netlink by itself, not with the code under test, and is as strict as Linux where that
 * matters (drivers/net/wireguard/netlink.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/key.h"
#include "model/prefix.h"

#define FAKE_KERNEL_NAME "wg0"

struct fake_peer {
    struct key public_key, preshared_key;
    union endpoint endpoint;
    uint16_t keepalive_s;
    int64_t handshake_s, handshake_ns;
    uint64_t bytes_received, bytes_sent;
    struct prefix *allowed; /* owned */
    size_t allowed_count;
};

struct fake_kernel {
    /* what it is */
    struct key private_key;
    uint16_t listen_port;
    uint32_t fwmark;
    struct fake_peer *peers; /* owned */
    size_t peer_count;

    /* how it behaves */
    bool absent;        /* no such family */
    bool no_interface;  /* -ENODEV */
    bool no_rights;     /* -EPERM */
    bool can_withdraw;  /* knows WGALLOWEDIP_F_REMOVE_ME */
    bool port_taken;    /* -EADDRINUSE when a port is set */
    size_t piece_size;  /* of a dump; 0: as Linux */
    unsigned torn;      /* so many dumps are flagged as inconsistent */
    unsigned cut;       /* so many dumps end after their first piece, and are flagged */
    size_t peers_taken; /* from the peer with this number on (counted over all messages, from 1), ... */
    int error;          /* ... set requests fail with this; 0: none */
    bool garble;        /* allowed IPs of a family that does not exist */

    /* what it saw */
    unsigned dumps, sets;
    size_t changes;                              /* peers in set requests, pieces counted each */
    size_t replaced;                             /* of them: with WGPEER_F_REPLACE_ALLOWEDIPS */
    size_t update_only;                          /* with WGPEER_F_UPDATE_ONLY */
    size_t removed;                              /* with WGPEER_F_REMOVE_ME */
    size_t endpoints;                            /* with an endpoint */
    size_t largest;                              /* message */
    void (*between)(struct fake_kernel *kernel); /* after the first piece of a dump; NULL: nothing */
};

extern struct fake_kernel fake_kernel;

/* Forgets everything. */
void fake_kernel_reset(void);
/* A connection: a wireguard_connect_fn. */
int fake_kernel_connect(void *context);
/* Returns when no request is being served: one that nobody waits for any more may still be. */
void fake_kernel_quiet(void);
/* Ends when the connections are closed; joins their threads. */
void fake_kernel_end(void);

struct fake_peer *fake_kernel_peer(const struct key *public_key);
/* A new one behind everybody's back. */
struct fake_peer *fake_kernel_add(const struct key *public_key);
/* Takes it from whoever had it. */
void fake_kernel_allow(struct fake_peer *peer, const struct prefix *prefix);
void fake_kernel_drop(const struct key *public_key);
/* A key made of a number. */
struct key fake_kernel_key(unsigned number);
