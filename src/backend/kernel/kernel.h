/* WireGuard in the host's kernel as a backend: what its files share.
 *
 * The room says what peers WireGuard has and what the isolation programs know of them, remembers what it said
 * (peers.h), and notices when somebody else changes it. It owns the interface that bears its mark, with programs, maps
 * and fence. Threads: service/'s, each operation under the mutex of struct kernel but for long dumps, and one of its
 * own while a large batch is applied. Read kernel.c (coming up, giving up, the table of operations), device.c, apply.c,
 * look.c, peers.h; interface.c is what they all need.
 *
 * A process has one struct kernel for an interface, whichever connections (struct backend) there are to it, since what
 * was set through one must be known when looking through another:
 *
 *     struct backend (deltas)  --+             +-- kernel_peers: what was set
 *                                +-- kernel ---+-- isolate: the programs' maps
 *     struct backend (looks)   --+             +-- fence, sentinel
 *
 * Each connection has its own netlink socket, so that a long dump does not hold up a delta. */
#pragma once

#include <pthread.h>

#include "backend/backend.h"
#include "backend/host/link.h"
#include "backend/kernel/peers.h"

#define KERNEL_POOLS 4

struct fence;
struct isolate;
struct sentinel;
struct wireguard;

struct kernel {
    /* the registry's (kernel.c) */
    struct kernel *next;
    unsigned references;

    char interface_name[16]; /* immutable */

    pthread_mutex_t mutex; /* all that follows, and every use of isolate and fence */
    struct kernel_peers peers;
    struct isolate *isolate;   /* NULL until the first revive() */
    struct fence *fence;       /* the same */
    struct sentinel *sentinel; /* the same; stays until the end */
    unsigned ifindex;
    uint64_t generation; /* of the interface; 0: none yet */
    bool up;             /* it is there and ours */
    bool fresh;          /* made by us and not yet wholly set up: undone if that fails */
    bool proven;         /* was set up wholly once */
    bool configured;     /* pools are known */
    bool compared;       /* somebody asked for all its peers once: what is unknown since then is foreign */
    bool napi_calm;      /* see kernel_calm_napi() */
    struct prefix pools[KERNEL_POOLS];
    size_t pool_count;
    struct key public_key; /* that belongs to the private key that was set */
    uint16_t listen_port;
    struct fwmark fwmark;
    bool masquerades; /* the fence does */
    int claim;        /* owned; -1: none */
    char warning[BACKEND_WARNING_SIZE];
    uint32_t mark;             /* of the last dump */
    uint32_t applied, settled; /* number of the last apply() begun, ended */
    uint32_t swept;            /* how many revoked peers were removed */
    uint64_t patrol_at_ns;     /* when the next one is due */
};

struct backend {
    struct kernel *kernel;       /* counted */
    struct wireguard *wireguard; /* owned */
};

/* --- interface.c --- */

/* Fills the problem and returns -ENOTCONN: the interface is not there any more, or not ours. Under the mutex. */
int kernel_away(struct kernel *k, struct problem *ret_problem);
/* What the kernel would not do, with the reason. Returns the error. */
int kernel_fault(struct kernel *k, int error, const char *what, struct problem *ret_problem);
/* The same for an answer of WireGuard's or a link's, by which the interface may turn out to be gone. */
int kernel_refused(struct kernel *k, int error, const char *what, struct problem *ret_problem);
/* The mark by which the next run knows the interface. -ENODEV: it is another one, or gone. Under the mutex. */
int kernel_mend_mark(struct kernel *k, unsigned *touched);
/* The fence as it must be with this port, and if some tenant has egress or one will (`egress`). Under the mutex. */
int kernel_set_fence(struct kernel *k, uint16_t listen_port, bool egress, unsigned *touched,
                     struct problem *ret_problem);
/* Everything that was set went with the former interface. Under the mutex. */
void kernel_forget(struct kernel *k);
/* Deletes the interface that this attempt made. Under the mutex. */
void kernel_undo(struct kernel *k);

/* --- device.c --- */

int kernel_set_device(struct backend *b, const struct desired_device *device, unsigned *ret_touched,
                      struct problem *ret_problem);
/* Some kernels give each peer of an interface a thread of its own by default (threaded NAPI): 100,000 threads. The
 * switch exists once there is a peer. Under the mutex. */
void kernel_calm_napi(struct kernel *k);

/* --- apply.c --- */

int kernel_apply(struct backend *b, const struct desired_change *changes, size_t count, struct problem *ret_problem);

/* --- look.c --- */

int kernel_each_peer(struct backend *b, uint64_t since, backend_peer_fn *fn, void *context, uint64_t *ret_now);
/* Looks for changes by others, if that is due, and rings. */
void kernel_patrol(struct backend *b);
/* Removes some of the revoked. */
void kernel_sweep(struct backend *b);
