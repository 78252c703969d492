/* One network interface of the host, through rtnetlink: its making and end, up, MTU, addresses, routes. No shell, no
 * `ip`.
 *
 * Made for a round of work and freed after it: the interface is found by its name when opened, because the engine may
 * have made it anew since. One thread at a time. Errors: 0 or -errno as the kernel gave it; -ENODEV: no such interface.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"

/* Our routes carry this protocol number (rtnetlink(7); ip route calls it "proto 83"), so that we touch no others, and a
 * metric so high that a route of the host to the same prefix goes first. */
#define LINK_ROUTE_PROTOCOL 83
#define LINK_ROUTE_METRIC 23057

struct link;

#define LINK_KIND_SIZE 16
#define LINK_ALIAS_SIZE 64

struct link_state {
    bool up; /* administratively */
    unsigned mtu;
    unsigned index;
    uint64_t packets_received, packets_sent;
    char kind[LINK_KIND_SIZE];   /* "wireguard", "tun"; "" for a device of hardware */
    char alias[LINK_ALIAS_SIZE]; /* ip link show calls it so; "": none. What is longer is cut. */
};

/* Makes an interface of this kind, down. -EEXIST: the name is taken; -EOPNOTSUPP: the kernel has no such kind. */
int link_create(const char *interface_name, const char *kind);
/* 0 also if it is not there. */
int link_delete(const char *interface_name);

int link_open(const char *interface_name, struct link **ret_link);
/* Accepts NULL. */
void link_free(struct link *link);

int link_get(struct link *link, struct link_state *ret_state);
int link_set_up(struct link *link);
int link_set_mtu(struct link *link, unsigned mtu);
int link_set_alias(struct link *link, const char *alias);

/* In an address the host bits count: 10.0.0.1/8. */
typedef int link_prefix_fn(void *context, const struct prefix *prefix);
/* Every address but the link-local ones the kernel makes. Stops at the first non-zero return. */
int link_each_address(struct link *link, link_prefix_fn *fn, void *context);
/* 0 also if it is there already. */
int link_add_address(struct link *link, const struct prefix *address);
/* 0 also if it is not there. */
int link_remove_address(struct link *link, const struct prefix *address);

/* Every route of ours over this interface (LINK_ROUTE_PROTOCOL). */
int link_each_route(struct link *link, link_prefix_fn *fn, void *context);
int link_add_route(struct link *link, const struct prefix *prefix);
int link_remove_route(struct link *link, const struct prefix *prefix);
