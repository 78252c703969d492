/* The inner side: the TUN interface that the host routes into, its queues, and what happens to it from outside.
 *
 * Opened, watched and closed by the control thread; each worker reads and writes one queue. If the interface was made
 * persistent without IFF_MULTI_QUEUE there is one queue: the first worker reads it, all write it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define TUN_MTU_DEFAULT 1420 /* 1500 less IPv6, UDP, and the overhead of a data message */

struct tun;

/* Creates the interface `name`, or attaches to a persistent one that nobody holds. `mtu` (0: TUN_MTU_DEFAULT) applies
 * to one made here. 0, -EBUSY held by somebody, -EPERM, -ENOENT no /dev/net/tun, -EINVAL no TUN or a bad name, or
 * -errno. */
int tun_open(const char *name, unsigned queues, unsigned mtu, bool offloads, struct tun **ret_tun);
/* Closes the queues, and with them an interface made here vanishes. Accepts NULL. */
void tun_close(struct tun *tun);

unsigned tun_queues(const struct tun *tun); /* 1, or as asked for */
int tun_fd(const struct tun *tun, unsigned worker);
/* Whether packets carry a virtio_net_hdr, and whether the kernel hands out UDP segments too (USO, Linux 6.2). */
bool tun_has_header(const struct tun *tun);
bool tun_has_uso(const struct tun *tun);

/* Readable when tun_attend() has news. */
int tun_watch_fd(const struct tun *tun);

struct tun_state {
    bool up;
    unsigned mtu;
    unsigned index; /* of the interface; 0: it was moved to another network namespace */
};
/* Takes in what happened. 0, or -ENODEV: the interface was deleted. An interface that was moved to another network
 * namespace is still ours: there only up and down are followed, once a second. */
int tun_attend(struct tun *tun);
struct tun_state tun_state(const struct tun *tun);
