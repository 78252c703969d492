/* The swarm's side of the wire: a few UDP sockets, each sending from as many local addresses as are wanted
 * (IP_PKTINFO), in batches. The addresses must be local to the namespace: `ip route add local 198.18.0.0/15 dev lo`.
 * One family, the server's. Of IPv6 each source has a /64 of its own, as a site has. */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"

#define NET_SOCKETS_MAX 8192
#define NET_SLOTS 64 /* datagrams a socket sends at once */
#define NET_SLOT_SIZE 1536

struct net_options {
    union endpoint server;
    struct ip_addr first_address;
    uint32_t addresses;
    unsigned sockets;
    uint16_t first_port; /* 0: any */
};

struct net_source {
    uint32_t address; /* its number, from 0 */
    unsigned socket;
};

struct net;
typedef void net_take_fn(void *context, uint8_t *bytes, size_t size);

/* 0 or -errno. */
int net_open(const struct net_options *options, struct net **ret_net);
/* Accepts NULL. */
void net_close(struct net *net);
/* Room for a datagram of `size` bytes, to be filled before the next net_flush(); NULL if this source's socket has no
 * room until then. */
uint8_t *net_slot(struct net *net, struct net_source source, size_t size);
/* Sends what the slots hold, waiting for the socket if need be. */
void net_flush(struct net *net);
/* Sends equal datagrams of `segment` bytes (the last may be shorter) with one call, segmented by the kernel. 0 or
 * -errno.
 */
int net_burst(struct net *net, struct net_source source, uint8_t *bytes, size_t size, size_t segment);
/* Takes what has come, waiting up to `timeout_ms` for the first; at most a batch of each socket. How many datagrams. */
unsigned net_receive(struct net *net, int timeout_ms, net_take_fn *take, void *context);
/* Datagrams that could not be sent. */
uint64_t net_failed(const struct net *net);
/* Datagrams that came and found a full socket, since it was opened: the swarm was too slow. */
uint64_t net_dropped(const struct net *net);
