/* The path of a packet: what a worker does with everything that arrives.
 *
 *        UDP sockets --+--> receive --> forward --+--> host -----> TUN queue
 *        XDP queues ---+      |  ^                |
 *                 shield, handshake               +--> transmit --> UDP sockets
 *                             |                   ^
 *     other workers <-- parcel, intake            +--- forward <--- intake <--- TUN queue
 *
 * The room owns the workers and everything in them: their peers, tenants, sessions and timers. One thread per worker
 * enters it (loop.h). The control thread gets in by worker_call() alone, which runs between two rounds. So there is no
 * lock, and nothing is shared on the way of a packet but the directory, which the control thread writes and workers
 * only read, and the rings of parcel.h.
 *
 * To read it: worker (this struct, the mailbox), session_index, peer, space; transmit, host; shield, parcel, handshake;
 * forward, receive; intake, loop. Each file uses only those named before it. */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "engine/engine.h"
#include "engine/io/udp.h"
#include "engine/path/session_index.h"
#include "engine/table/bucket.h"
#include "engine/table/wheel.h"
#include "wire/aead.h"
#include "wire/cookie.h"
#include "wire/noise.h"

#define WORKER_WAITING_MAX (32 << 20) /* bytes of the packets of all its peers that wait for handshakes */
/* Public-key work per round, in X25519s, whoever asks for it: half a millisecond, which data may have to wait. */
#define WORKER_WORK_ROUND 16
#define WORKER_RING_KINDS 3
#define WORKER_LINE 64 /* what two threads write must not share one of these, in bytes */

struct directory;
struct host;
struct peer;
struct peer_state;
struct ring;
struct route;
struct shield;
struct space;
struct transmit;
struct trie_pool;
struct tun;
struct waiting;
struct worker;
struct xdp_queue;

typedef void worker_fn(struct worker *worker, void *argument);

/* What all workers of an engine have in common; immutable while they run. */
struct worker_setup {
    unsigned count;
    const struct directory *directory;
    const struct aead_ops *aead;
    const struct tun *tun; /* NULL in tests, which set io.tun_fd */
    uint64_t clock_rate;   /* at least 1 */
    uint32_t mtu;
    bool no_uring;
    struct worker *const *workers;
};

/* What the control thread sets, in a call; the path only reads it. */
struct worker_device {
    struct noise_identity *identity; /* owned, in locked memory */
    struct cookie_checker *checker;  /* owned, in locked memory */
    uint16_t epoch;                  /* of the identity */
    bool up;
    uint32_t mtu;
    unsigned interface; /* index of the TUN; 0: none here */
    size_t hub_count;
    struct prefix hub[ENGINE_HUB_MAX];
};

/* Who is here. Filled by the control thread in a call (control/change.c), the index by handshake.c. */
struct worker_tables {
    struct session_index index;
    struct trie_pool *tries;
    /* peer.c */
    struct peer **peers; /* by slot, NULL: free */
    uint32_t peer_room;
    struct table keys; /* public key -> slot of a peer */
    uint8_t hash_key[16];
    /* space.c */
    uint32_t space_room;
    struct space **spaces; /* by slot */
};

/* What waits for handshakes. peer.c. */
struct worker_waiting {
    TAILQ_HEAD(waiting_packets, waiting) packets; /* of all its peers, oldest first */
    size_t size;                                  /* of those, in bytes */
    TAILQ_HEAD(waiting_peers, peer_state) peers;  /* want a session, in that order; handshake.c begins them */
};

/* Descriptors and queues. Set by loop.c; the sockets are the control thread's to close. */
struct worker_io {
    int tun_fd;
    struct udp_sockets sockets;
    uint16_t port; /* of those; 0: none are open */
    struct route *route;
    struct udp_reader *reader;
    struct xdp_queue *queues; /* the first of its own; NULL: all comes by the sockets */
};

/* What the thread waits for. loop.c. */
struct worker_loop {
    pthread_t thread;
    bool started;
    bool stopping;
    bool tun_reads; /* it reads its queue of the TUN; else it only writes it */
    int epoll_fd;
    int wake_fd; /* eventfd, written by any thread: a call, or something in a ring */
};

/* What other workers push, a ring per kind (parcel.h) so that none takes another's place. parcel.c, intake.c. */
struct worker_rings {
    /* This worker is the one consumer, worker n the one producer of from[kind][n]. */
    struct ring *from[WORKER_RING_KINDS][ENGINE_WORKERS_MAX];
    uint8_t woken[ENGINE_WORKERS_MAX]; /* whom this round pushed something for */
    unsigned turn;                     /* whose rings are looked at first */
};

/* Written by the control thread while `posted` is false, by the worker while it is true. worker.c. */
struct worker_mailbox {
    worker_fn *call;
    void *argument;
    _Atomic bool posted;
    sem_t answered;
};

struct worker {
    /* Immutable once it runs. */
    struct worker_setup setup;
    unsigned number;

    /* This worker's thread only. */
    uint64_t mono_ns; /* clock_mono_ns() of this round */
    uint64_t now_ns;  /* the protocol's time: as above, but faster in tests */
    uint64_t jitter_state;
    struct noise_stamp stamp; /* of the last initiation */
    int work_left;            /* public-key work that this round may still do */
    struct aead *aead;
    struct transmit *transmit; /* what transmit.c has gathered */
    struct host *host;         /* what host.c has gathered */
    struct shield *shield;     /* handshake messages that wait in shield.c */
    struct bucket answers;     /* forward.c: ICMP errors to the host */
    struct worker_device device;
    struct worker_tables tables;
    struct worker_io io;
    struct worker_waiting waiting;
    struct engine_counters counters; /* every file counts; control/survey.c reads them in a call */
    struct wheel wheel;              /* peer.c arms, loop.c turns it */
    struct worker_loop loop;
    struct worker_rings rings;

    /* Shared with other threads. */
    alignas(WORKER_LINE) _Atomic bool sleeping; /* set by this worker, cleared by whoever wakes it */
    _Atomic uint64_t verdicts;                  /* of other workers, on callers that this one let in; shield.c */
    struct worker_mailbox mailbox;
};

/* --- the control thread --- */

/* Runs fn(worker, argument) on the worker's thread between two rounds. worker_call() = post and wait; between the two
 * nothing else may be posted. Returning means that the worker has been between two rounds since. */
void worker_post(struct worker *worker, worker_fn *fn, void *argument);
void worker_wait(struct worker *worker);
void worker_call(struct worker *worker, worker_fn *fn, void *argument);

/* --- the worker's own thread --- */

static inline void worker_drop(struct worker *worker, enum engine_drop reason, uint64_t packets) {
    worker->counters.drops[reason] += packets;
}
/* Public-key work: whether this round may do more, and some that it does. The last of a round may go beyond. */
static inline bool worker_may_work(const struct worker *worker) {
    return worker->work_left > 0;
}
static inline void worker_spend(struct worker *worker, int work) {
    worker->work_left -= work;
}
/* A small random number for timers: not for secrets. */
uint64_t worker_jitter(struct worker *worker);
/* The system's random. */
extern const struct noise_random worker_random;
/* Something was pushed into a ring of `other`: wakes it at the end of the round. */
void worker_wake_later(struct worker *worker, unsigned other);
void worker_wake_others(struct worker *worker);
/* Whether a call was posted, and running it. */
bool worker_has_call(const struct worker *worker);
void worker_run_call(struct worker *worker);
