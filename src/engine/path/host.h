/* The worker's queue of the TUN interface: packets from the host and to the host. One worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct host;
struct tun;
struct virtio_net_hdr;
struct worker;

/* `tun` (NULL: none) says what goes in front of packets. 0, -ENOMEM. */
int host_create(const struct tun *tun, struct host **ret_host);
/* Accepts NULL. */
void host_free(struct host *host);
/* On the worker's own thread, before anything else of it: what is to be made there. */
void host_start(struct worker *worker);
/* Whether this kernel has io_uring as we need it, and whether packets are written by it. */
bool host_has_uring(const struct host *host);
bool host_uses_uring(const struct host *host);
/* Whether packets of a flow are put together: the TUN can take them, and has not refused one. */
bool host_gives_tcp(const struct host *host);
bool host_gives_udp(const struct host *host);

/* Reads one packet, and what the kernel says of it. `ret_packet` is valid until the next. Its size; 0: there is none,
 * or an empty one; -EBADFD: the interface was deleted; else -errno. */
ssize_t host_read(struct worker *worker, uint8_t **ret_packet, struct virtio_net_hdr *ret_header);
/* One whole packet for the host, with COALESCE_HEADROOM bytes in front of it; both will be written to, and must stay
 * until host_flush(). */
void host_deliver(struct worker *worker, uint8_t *bytes, size_t size);
/* Writes what was delivered in this round. */
void host_flush(struct worker *worker);
