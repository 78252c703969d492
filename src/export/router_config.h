/* Router configurations: what one router needs to dial in, written in the form that its system reads.
 *
 * struct export_router is the common model, filled by api/ from a router, its tenant and the gateway; a format is one
 * function that turns it into text, listed in one table (formats.h). Borrowed pointers; nothing is kept. The text may
 * hold a private key: struct buf wipes what it frees, the caller wipes its copies. No function here reads a clock, a
 * file or a network. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "model/key.h"
#include "model/prefix.h"
#include "model/tenant.h"

#define EXPORT_KEEPALIVE_S 25 /* keeps a NAT's mapping open; set on the router's side only */

struct export_router {
    const char *router_name;
    const char *tenant_name;
    struct key public_key;
    const struct key *private_key;   /* NULL: the router keeps its own; the text says where it belongs */
    const struct key *preshared_key; /* NULL: none */
    bool preshared_key_withheld;     /* there is one, which the reader may not see: the router keeps what it has */
    struct ip_addr address;          /* tunnel address, IPv4; family 0: none */
    struct ip_addr address6;         /* family 0: none */
    struct key gateway_key;
    const char *endpoint_host; /* name, IPv4 or IPv6 address, without brackets */
    uint16_t endpoint_port;
    const struct prefix *allowed; /* what lies behind the tunnel */
    size_t allowed_count;
    unsigned mtu;         /* 0: leave it to the router */
    unsigned keepalive_s; /* 0: none */
};

/* Says the same as few prefixes as will do, and nothing more: what another covers goes, and two halves become the
 * whole. Never a default route, which some routers treat as another thing. `prefixes` are in order (prefix_compare())
 * and stay so. Returns the new count. */
size_t export_allowed_merge(struct prefix *prefixes, size_t count);

/* The family of a host that is a numeric address; 0 of one that is a name. */
sa_family_t export_host_family(const char *host);

/* 0 if every text of the model is safe to write on a line of its own and every value is in range, else -EINVAL. Each
 * format calls it first. */
int export_router_check(const struct export_router *router);
