/* What the data plane should hold, and what it holds: the words that service/ and backend/ share.
 *
 * Plain values. A desired peer is derived from a router and its tenant; a disabled router or tenant has none. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/key.h"
#include "model/prefix.h"
#include "model/router.h"
#include "model/tenant.h"
#include "model/uuid.h"

#define DESIRED_TIMESTAMP_SIZE 12 /* TAI64N */

/* What the tunnels' own UDP packets carry, for the host's policy routing. */
struct fwmark {
    bool given;    /* else whatever it is stays */
    uint32_t mark; /* 0: none */
};

struct desired_device {
    struct key private_key; /* a secret: wipe */
    uint16_t listen_port;
    struct prefix
        hub_addresses[4]; /* with the length of the pool behind it: 10.0.0.1/8, fd..::1/48; put on the interface */
    size_t hub_address_count;
    unsigned mtu;
    struct fwmark fwmark;
};

struct desired_tenant {
    struct uuid id;
    enum addressing addressing;
    bool egress;
    struct limits limits;
};

struct desired_peer {
    struct key public_key;
    struct key preshared_key; /* zero: none. A secret: wipe */
    struct uuid tenant;
    struct ip_addr hub_address; /* IPv4 */
    struct ip_addr address;     /* IPv4, in the tenant's space; equals hub_address when unique */
    struct ip_addr address6;
    struct prefix lans[ROUTER_LANS_MAX];
    uint32_t lan_count;
    union endpoint endpoint; /* where it last spoke from, until the data plane knows better; family 0: unknown */
    uint8_t timestamp[DESIRED_TIMESTAMP_SIZE]; /* greatest TAI64N seen by any gateway; zero: none */
};

enum desired_change_kind {
    DESIRED_PEER_SET,    /* add, or make it exactly so; an unchanged part is not disturbed */
    DESIRED_PEER_REMOVE, /* only peer.public_key counts */
    DESIRED_TENANT_SET,
    DESIRED_TENANT_REMOVE, /* only tenant.id counts; its peers go too */
};

struct desired_change {
    enum desired_change_kind kind;
    union {
        struct desired_peer peer;
        struct desired_tenant tenant;
    };
};

struct actual_peer {
    struct desired_peer is;       /* endpoint: where it is now */
    int64_t last_handshake_at_us; /* wall; 0: never */
    uint64_t bytes_received;      /* since the peer was added to the data plane */
    uint64_t bytes_sent;
    bool foreign_allowed_ips; /* carries allowed IPs that a desired peer could not express: mend it */
};

struct actual_tenant {
    struct desired_tenant is;
    uint64_t bytes_received, bytes_sent, packets_received, packets_sent, dropped;
};
