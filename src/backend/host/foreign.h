/* An interface of this host that Sallyport did not make: looking at it, and taking it over.
 *
 * Read whole into memory; holds the private key and preshared keys: foreign_free() wipes them. Reads a WireGuard
 * interface of the kernel by generic netlink, one of a userspace program by its UAPI socket. Needs CAP_NET_ADMIN, or
 * the right to open that socket. One thread at a time. Errors: 0, or -errno with `ret_problem` filled. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/key.h"
#include "model/prefix.h"
#include "model/problem.h"

#define FOREIGN_ADDRESSES_MAX 16

enum foreign_kind {
    FOREIGN_KERNEL,    /* the kernel's own WireGuard */
    FOREIGN_USERSPACE, /* a program that serves a UAPI socket */
    FOREIGN_ENGINE,    /* the same, and the program is sallyport-wg */
};

struct foreign_peer {
    struct key public_key;
    struct key preshared_key;   /* zero: none. A secret */
    union endpoint endpoint;    /* family 0: unknown */
    int64_t last_handshake_at;  /* wall, microseconds; 0: never */
    struct prefix *allowed_ips; /* owned */
    size_t allowed_ip_count;
};

struct foreign {
    enum foreign_kind kind;
    bool ours;              /* a kernel interface with our mark */
    struct key private_key; /* zero: none. A secret */
    uint16_t listen_port;
    uint32_t fwmark; /* 0: none */
    unsigned mtu;
    struct prefix addresses[FOREIGN_ADDRESSES_MAX]; /* with their host bits: 10.8.0.1/24 */
    size_t address_count;
    struct foreign_peer *peers; /* owned */
    size_t peer_count;
};

const char *foreign_kind_name(enum foreign_kind kind); /* "kernel", "userspace", "engine" */

/* -ENODEV: no such interface; -EOPNOTSUPP: none of WireGuard's. */
int foreign_read(const char *interface_name, struct foreign **ret_foreign, struct problem *ret_problem);
void foreign_free(struct foreign *foreign); /* accepts NULL */

/* Makes the interface the data plane's, as the last step of adoption. A kernel interface gets our mark and goes on as
 * it is, if the data plane is the kernel's. A userspace one is deleted, on which the program that made it ends, so that
 * the data plane can make its own. -EOPNOTSUPP: a kernel interface, for an engine. */
int foreign_take_over(const char *interface_name, bool for_kernel, struct problem *ret_problem);
/* Says that an engine cannot take a kernel interface, and the ways out. -EOPNOTSUPP. */
int foreign_refuse_kernel(const char *interface_name, struct problem *ret_problem);
