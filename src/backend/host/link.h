/* The room host/: what a data plane needs of this host, over rtnetlink, nfnetlink and sockets, without a shell or a
 * tool. It owns the addresses of our interface, the routes and rules that bear our number, and the table of our fence;
 * of what others made it only reads. Any thread enters, with objects of its own. Read link.h, device.h and mark.h (our
 * interface), nft.h, rule.h and fence.h (our table), sentinel.h (who changes them), foreign.h and client.h (interfaces
 * that are not ours), ruleset.h (the firewall, for doctor).
 *
 * This file: one network interface of the host, through rtnetlink: its making and end, up, MTU, addresses, routes. No
 * shell, no `ip`.
 *
 * Made for a round of work and freed after it: the interface is found by its name when opened, because the engine may
 * have made it anew since. One thread at a time. Errors: 0 or -errno as the kernel gave it; -ENODEV: no such interface.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "model/prefix.h"

/* Our routes carry this protocol number (rtnetlink(7); ip route calls it "proto 83"), so that we touch no others, and
 * lie in a table of their own. Two rules of the host (link_set_rules()) have that table asked after every route of the
 * main table but its default route: whatever the host has a route to, however wide, goes the host's way, and a LAN can
 * shadow nothing. */
#define LINK_ROUTE_PROTOCOL 83
#define LINK_ROUTE_TABLE 23057
#define LINK_RULE_PRIORITY 23057 /* of the first of the two; before 32766, the main table's */

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
/* The same by name, for who asks nothing else. */
int link_look(const char *interface_name, struct link_state *ret_state);
/* The kind of queueing discipline where incoming packets meet filters: "clsact" has a place for outgoing ones, too,
 * "ingress" has not; "": none. */
#define LINK_INGRESS_PROBLEM                                                                                           \
    "%s has a queueing discipline of kind ingress, beside which the isolation program finds no place. Remove it (tc "  \
    "qdisc "                                                                                                           \
    "del dev %s ingress), or put its filters into one of kind clsact, which takes the same filters."
int link_ingress_kind(struct link *link, char ret_kind[LINK_KIND_SIZE]);
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

typedef int link_route_fn(void *context, const struct prefix *prefix, uint32_t table);
/* Every route of ours over this interface (LINK_ROUTE_PROTOCOL), in whatever table. The kernel leaves out the others,
 * so that a host with a full routing table is asked cheaply. Stops at the first non-zero return. */
int link_each_route(struct link *link, link_route_fn *fn, void *context);
/* 0 also if it is there already. */
int link_add_route(struct link *link, const struct prefix *prefix);
/* 0 also if it is not there. */
int link_remove_route(struct link *link, const struct prefix *prefix, uint32_t table);
/* The host's two rules for a family (AF_INET, AF_INET6): 0 also if they are there. -EOPNOTSUPP, -EAFNOSUPPORT: the
 * kernel has no such rules, or not that family. */
int link_set_rules(struct link *link, uint8_t family);

/* What else the host has: addresses of other interfaces, and next hops of its routes. Reads at most
 * LINK_HOST_ROUTES_MAX routes. */
#define LINK_HOST_ROUTES_MAX 10000
/* `interface_name` is left out; it need not exist. Stops at the first non-zero return. */
int link_each_host_fact(const char *interface_name, backend_host_fn *fn, void *context);
