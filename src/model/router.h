/* A router: a tenant's site device; one WireGuard peer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/key.h"
#include "model/prefix.h"
#include "model/tenant.h"
#include "model/uuid.h"

#define ROUTER_LANS_MAX 32
#define GATEWAY_NAME_SIZE 64 /* at most 63 bytes, and NUL */

enum router_status {
    ROUTER_PENDING, /* never seen a handshake */
    ROUTER_ACTIVE,
    ROUTER_DISABLED,
};

struct router {
    struct uuid id;
    struct uuid tenant_id;
    char name[NAME_SIZE];
    enum router_status status;
    struct key public_key;
    struct key preshared_key;   /* all zero: none. A secret: wipe copies */
    struct ip_addr address;     /* tunnel address, IPv4, in the tenant's space */
    struct ip_addr hub_address; /* IPv4; equals `address` for unique tenants */
    struct ip_addr address6;    /* of the gateway's ULA; unique on the gateway, so it is the IPv6 hub address too */
    struct prefix lans[ROUTER_LANS_MAX];
    uint32_t lan_count;
    int64_t created_at; /* wall time, microseconds */
    int64_t updated_at;
    /* usage */
    int64_t last_handshake_at; /* wall time, microseconds; 0: never */
    uint64_t bytes_received;   /* by the gateway, from the router */
    uint64_t bytes_sent;
    union endpoint endpoint; /* family 0: unknown */
    /* its session */
    bool connected;
    int64_t connected_since;         /* at that gateway; wall time, microseconds; 0: not connected */
    char gateway[GATEWAY_NAME_SIZE]; /* that holds it; "": none */
};

/* "pending"/"active"/"disabled". Parser: 0, or -EINVAL. */
const char *router_status_name(enum router_status status);
int router_status_parse(const char *name, enum router_status *ret_status);
