/* Where this host's routing would send a datagram: asked of the kernel, and remembered for a second.
 *
 * For what is rare, and must be known exactly: whether a packet that the host routed into the tunnel is a datagram of
 * our own, and whether an endpoint that a peer moved to lies in there. One worker; questions are bounded, since
 * strangers can cause them. */
#pragma once

#include <stdint.h>

#include "model/prefix.h"

enum route_kind {
    ROUTE_UNKNOWN, /* too many questions, or no answer */
    ROUTE_LOCAL,   /* an address of this host */
    ROUTE_AWAY,    /* by an interface */
    ROUTE_NONE,    /* unreachable */
};

struct route;

/* 0, -errno. */
int route_open(struct route **ret_route);
/* Accepts NULL. */
void route_close(struct route *route);

/* `mark`: of the socket that would send (SO_MARK), since rules may look at it. `ret_interface`: of ROUTE_AWAY, its
 * index; else 0. */
enum route_kind route_ask(struct route *route, const struct ip_addr *to, uint32_t mark, uint64_t now_ns,
                          unsigned *ret_interface);
