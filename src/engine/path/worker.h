/* One worker: a thread that owns some tenants and peers, and everything their packets need (DESIGN 5).
 *
 *        UDP sockets --+--> receive --> forward --+--> host -----> TUN queue
 *        XDP queues ---+      |  ^                |
 *                         handshake               +--> transmit --> UDP sockets
 *                             |                   ^
 *           other workers --> handover            +--- forward <--- TUN queue
 *
 * A round takes a bounded piece of work from each side and sends what came of it, so nobody starves and nothing lasts.
 * Between two rounds the worker runs what the control thread posted (worker_call()). No lock, and nothing shared on the
 * way of a packet but the directory, which the control thread writes and workers only read. */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "engine/engine.h"
#include "engine/io/udp.h"
#include "engine/path/peer.h"
#include "engine/path/session_index.h"
#include "engine/table/bucket.h"
#include "engine/table/wheel.h"
#include "wire/aead.h"
#include "wire/cookie.h"
#include "wire/noise.h"

#define WORKER_HUB_MAX 16
#define WORKER_WAITING_MAX (32 << 20) /* bytes of the packets of all its peers that wait for handshakes */

struct directory;
struct handshakes;
struct host;
struct limiter;
struct ring;
struct space;
struct transmit;
struct trie_pool;
struct tun;
struct xdp;
struct xdp_queue;

typedef void worker_fn(struct worker *worker, void *argument);

/* What all workers of an engine have in common; immutable while they run. */
struct worker_setup {
    unsigned count;
    const struct directory *directory;
    const struct aead_ops *aead;
    const struct tun *tun; /* NULL in tests, which set tun_fd */
    uint64_t clock_rate;   /* at least 1 */
    uint32_t mtu;
    bool no_uring;
    struct worker *const *workers;
};

struct worker {
    /* Immutable once it runs. */
    struct worker_setup setup;
    unsigned number;
    int tun_fd;
    bool tun_reads; /* it reads that queue; else only writes it */
    int epoll_fd;
    int wake_fd; /* eventfd: a call, or something in a ring */
    pthread_t thread;
    bool started;
    uint8_t hash_key[16];

    /* This worker only. */
    uint64_t mono_ns;                /* clock_mono_ns() of this round */
    uint64_t now_ns;                 /* the protocol's time: as above, but faster in tests */
    struct noise_identity *identity; /* owned, in locked memory */
    struct cookie_checker *checker;  /* owned, in locked memory */
    uint16_t epoch;                  /* of the identity */
    struct aead *aead;
    struct wheel wheel;
    struct table keys;   /* public key -> slot of a peer */
    struct peer **peers; /* by slot, NULL: free */
    uint32_t peer_room;
    struct space **spaces; /* by slot */
    uint32_t space_room;
    struct session_index index;
    struct trie_pool *tries;
    struct prefix hub[WORKER_HUB_MAX];
    size_t hub_count;
    unsigned interface; /* index of the TUN; 0: none here */
    bool up;
    bool stopping;
    uint32_t mtu;
    TAILQ_HEAD(waiting_list, waiting) waiting; /* packets of all its peers, oldest first */
    size_t waiting_size;                       /* bytes */
    struct udp_sockets sockets;
    struct udp_reader *reader;
    struct xdp_queue *queues; /* the first of its own; NULL: all comes by the sockets */
    struct transmit *transmit;
    struct host *host;
    struct handshakes *handshakes;
    struct limiter *limiter;
    struct bucket answers; /* ICMP errors to the host */
    uint64_t jitter_state;
    struct engine_counters counters;
    uint8_t woken[ENGINE_WORKERS_MAX]; /* whom this round pushed something for */

    /* Rings of which this worker is the one consumer; rings[n]: worker n is the one producer. */
    struct ring *rings[ENGINE_WORKERS_MAX];
    _Atomic bool sleeping; /* set by this worker, cleared by whoever wakes it */

    /* The mailbox: written by the control thread while `posted` is false, by the worker while it is true. */
    worker_fn *call;
    void *call_argument;
    _Atomic bool posted;
    sem_t answered;
};

/* Control thread. `setup->workers` must be filled in before any is started. */
int worker_create(const struct worker_setup *setup, unsigned number, struct worker **ret_worker);
int worker_start(struct worker *worker);
/* Stops and joins its thread. */
void worker_stop(struct worker *worker);
/* Accepts NULL. Stopped. */
void worker_free(struct worker *worker);

/* Control thread. Runs fn(worker, argument) on the worker's thread between two rounds. worker_call() = post and wait;
 * between the two nothing else may be posted. Returning means that the worker has been between two rounds since. */
void worker_post(struct worker *worker, worker_fn *fn, void *argument);
void worker_wait(struct worker *worker);
void worker_call(struct worker *worker, worker_fn *fn, void *argument);

/* --- the worker's own thread --- */

static inline void worker_drop(struct worker *worker, enum engine_drop reason, uint64_t packets) {
    worker->counters.drops[reason] += packets;
}
/* A small random number for timers: not for secrets. */
uint64_t worker_jitter(struct worker *worker);
/* The system's random. */
extern const struct noise_random worker_random;
/* Takes over sockets (closing is the control thread's), or none when the interface goes down. */
void worker_set_sockets(struct worker *worker, const struct udp_sockets *sockets);
/* Control thread, before it is started. Reads this worker's queues of it from then on; NULL: none. 0, or -errno. */
int worker_set_xdp(struct worker *worker, const struct xdp *xdp);
/* Something was pushed into the ring of this worker. */
void worker_wake_later(struct worker *worker, unsigned other);
