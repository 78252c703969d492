/* AF_XDP: data messages straight from a network card's queues, around the kernel's IP and UDP.
 *
 *     network card --> bpf/xdp.bpf.c --+--> one AF_XDP socket per queue --> a worker (frame.h)
 *                                           +--> the kernel --> udp.h: handshakes, and whatever else
 *
 * A datagram costs the engine no system call, no copy and no socket buffer. What it costs otherwise is said in
 * docs/sallyport-wg.md: the host's packet filter does not see these messages, so it is an operator's choice, per
 * interface.
 *
 * A queue is one worker's. A network card spreads its datagrams over its queues by address, not by receiver index, so
 * what arrives at a worker that does not own it goes through the rings (engine/path/parcel.h).
 *
 * The control thread opens, closes and switches; each worker reads its own queues. When the process ends, whichever
 * way, the kernel takes the program away and everything goes its own way again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/io/udp.h"

#define XDP_INTERFACES_MAX 8

struct xdp;
struct xdp_queue;

/* On `interfaces`, names separated by commas; their queues are dealt out to `workers`. `ret_failed`: the interface that
 * an error is about (IFNAMSIZ bytes). 0, -EINVAL no such list, -ENODEV no such interface, -EBUSY another XDP program is
 * there, -EPERM no privilege, or -errno of what the kernel or the driver does not do. All or nothing. */
int xdp_open(const char *interfaces, unsigned workers, struct xdp **ret_xdp, char *ret_failed);
/* Accepts NULL. The workers have stopped. */
void xdp_close(struct xdp *xdp);
/* The UDP port whose data messages are taken; 0: none. Accepts NULL. */
void xdp_set_port(struct xdp *xdp, uint16_t port);
/* Whether all interfaces still have the program: one that was removed has not. */
bool xdp_is_attached(const struct xdp *xdp);

/* The queues of a worker: the first, and the one after `queue`. NULL: none, no more. */
struct xdp_queue *xdp_first(const struct xdp *xdp, unsigned worker);
struct xdp_queue *xdp_next(const struct xdp_queue *queue);
int xdp_queue_fd(const struct xdp_queue *queue);
/* Reads up to UDP_BATCH datagrams; there is no system call in it, or one that lets a driver go on. Their bytes are
 * valid, and may be altered, until the next call. `ret_bad`: frames that held none. The number of datagrams. */
size_t xdp_read(struct xdp_queue *queue, struct udp_received ret_received[UDP_BATCH], size_t *ret_bad);
/* How many frames the kernel had to drop since the queue was opened, because this worker was behind. Any thread. */
uint64_t xdp_queue_lost(const struct xdp_queue *queue);
