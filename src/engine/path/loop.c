#include "engine/path/loop.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/io/route.h"
#include "engine/io/tun.h"
#include "engine/io/xdp.h"
#include "engine/path/handshake.h"
#include "engine/path/host.h"
#include "engine/path/intake.h"
#include "engine/path/parcel.h"
#include "engine/path/peer.h"
#include "engine/path/receive.h"
#include "engine/path/shield.h"
#include "engine/path/space.h"
#include "engine/path/transmit.h"
#include "engine/path/worker.h"
#include "engine/table/trie.h"

#define WHEEL_ROUND 64   /* timers per round */
#define READS_CROWDED 16 /* reads per round, while handshakes wait: some milliseconds */
#define WAIT_MS_MAX 60000

enum source {
    SOURCE_WAKE,
    SOURCE_TUN,
    SOURCE_V4,
    SOURCE_V6,
    SOURCE_XDP,
    SOURCE_COUNT,
};

static void read_clock(struct worker *worker) {
    worker->mono_ns = clock_mono_ns();
    worker->now_ns = worker->mono_ns * worker->setup.clock_rate;
}

/* --- epoll --- */

static int watch(struct worker *worker, int fd, enum source source) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};
    return epoll_ctl(worker->loop.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void loop_set_sockets(struct worker *worker, const struct udp_sockets *sockets) {
    if (worker->io.sockets.v4 >= 0) {
        epoll_ctl(worker->loop.epoll_fd, EPOLL_CTL_DEL, worker->io.sockets.v4, NULL);
    }
    if (worker->io.sockets.v6 >= 0) {
        epoll_ctl(worker->loop.epoll_fd, EPOLL_CTL_DEL, worker->io.sockets.v6, NULL);
    }
    worker->io.sockets = *sockets;
    worker->io.port = udp_port(sockets);
    if (sockets->v4 >= 0) {
        watch(worker, sockets->v4, SOURCE_V4);
    }
    if (sockets->v6 >= 0) {
        watch(worker, sockets->v6, SOURCE_V6);
    }
}

int loop_set_xdp(struct worker *worker, const struct xdp *xdp) {
    worker->io.queues = xdp ? xdp_first(xdp, worker->number) : NULL;
    int error = 0;
    for (struct xdp_queue *queue = worker->io.queues; queue && !error; queue = xdp_next(queue)) {
        error = watch(worker, xdp_queue_fd(queue), SOURCE_XDP);
    }
    return error;
}

static int wait_ms(struct worker *worker, bool more_work) {
    if (more_work || worker_has_call(worker) || intake_pending(worker)) {
        return 0;
    }
    uint64_t next = wheel_next(&worker->wheel);
    if (next == WHEEL_NEVER) {
        return -1;
    }
    if (next <= worker->now_ns) {
        return 0;
    }
    /* Rounded up: waking before the time is of no use. */
    uint64_t ms = (next - worker->now_ns) / worker->setup.clock_rate / NSEC_PER_MSEC + 1;
    return ms < WAIT_MS_MAX ? (int)ms : WAIT_MS_MAX;
}

/* What is ready, as a set of 1 << enum source. */
static unsigned wait_ready(struct worker *worker, bool more_work) {
    struct epoll_event events[SOURCE_COUNT];
    /* Producers push first and exchange `sleeping` after; here it is the other way round. Whoever exchanges second sees
     * what the first did before: either they wake us, or intake_pending() sees their parcel. */
    atomic_exchange(&worker->sleeping, true);
    int count = epoll_wait(worker->loop.epoll_fd, events, SOURCE_COUNT, wait_ms(worker, more_work));
    atomic_store(&worker->sleeping, false);
    unsigned ready = 0;
    for (int i = 0; i < count; i++) {
        ready |= 1U << events[i].data.u32;
    }
    return ready;
}

static void clear_wake(struct worker *worker) {
    uint64_t count;
    ssize_t size = read(worker->loop.wake_fd, &count, sizeof count);
    (void)size; /* nothing there is as good */
}

/* --- the loop --- */

static void fire(void *context, struct wheel_node *node) {
    struct peer_state *state = (struct peer_state *)((char *)node - offsetof(struct peer_state, node));
    handshake_expire(context, state);
}

static void receive_some(struct worker *worker, int fd) {
    int reads = 0;
    size_t count;
    do {
        count = receive_round(worker, fd);
        transmit_flush(worker);
    } while (count == UDP_BATCH && shield_is_crowded(worker) && ++reads < READS_CROWDED);
}

static void receive_xdp(struct worker *worker) {
    for (struct xdp_queue *queue = worker->io.queues; queue; queue = xdp_next(queue)) {
        receive_queue(worker, queue);
        transmit_flush(worker);
    }
}

static void read_host(struct worker *worker) {
    if (intake_host(worker) == -EBADFD) {
        /* The interface was deleted. The control thread hears of it too, and ends us. */
        epoll_ctl(worker->loop.epoll_fd, EPOLL_CTL_DEL, worker->io.tun_fd, NULL);
    }
}

/* A bounded piece of everything that is ready; then what came of it leaves. True if something is left over. */
static bool round_once(struct worker *worker, unsigned ready) {
    bool more = false;
    worker->counters.rounds++;
    shield_begin_round(worker);
    if (ready & 1U << SOURCE_WAKE) {
        clear_wake(worker);
    }
    if (ready & 1U << SOURCE_V4) {
        receive_some(worker, worker->io.sockets.v4);
    }
    if (ready & 1U << SOURCE_V6) {
        receive_some(worker, worker->io.sockets.v6);
    }
    if (ready & 1U << SOURCE_XDP) {
        receive_xdp(worker);
    }
    if (ready & 1U << SOURCE_TUN) {
        read_host(worker);
    }
    more |= intake_parcels(worker);
    more |= wheel_advance(&worker->wheel, worker->now_ns, WHEEL_ROUND, fire, worker) == WHEEL_ROUND;
    more |= handshake_work(worker);
    host_flush(worker);
    transmit_flush(worker);
    worker_wake_others(worker);
    return more;
}

/* After a call too: what it dropped must not stay in memory for as long as nothing arrives. */
static void tidy(struct worker *worker) {
    session_index_sweep(&worker->tables.index);
    table_migrate(&worker->tables.keys);
}

static void *run(void *argument) {
    struct worker *worker = argument;
    bool more = false;
    char name[16];
    snprintf(name, sizeof name, "wg-worker-%u", worker->number);
    pthread_setname_np(pthread_self(), name); /* its own: for another's, libc opens a file */
    host_start(worker);
    while (!worker->loop.stopping) {
        unsigned ready = wait_ready(worker, more);
        read_clock(worker);
        more = round_once(worker, ready);
        worker_run_call(worker);
        tidy(worker);
    }
    return NULL;
}

/* --- life --- */

static int create_parts(struct worker *worker) {
    worker->device.identity = sodium_malloc(sizeof *worker->device.identity);
    worker->device.checker = sodium_malloc(sizeof *worker->device.checker);
    worker->loop.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->loop.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!worker->device.identity || !worker->device.checker) {
        return -ENOMEM;
    }
    if (worker->loop.epoll_fd < 0 || worker->loop.wake_fd < 0) {
        return -errno;
    }
    const struct key none = {0};
    sodium_memzero(worker->device.checker, sizeof *worker->device.checker);
    noise_identity_set(worker->device.identity, &none);
    cookie_checker_set(worker->device.checker, &worker->device.identity->public_key);
    randombytes_buf(worker->tables.hash_key, sizeof worker->tables.hash_key);
    randombytes_buf(&worker->jitter_state, sizeof worker->jitter_state);
    int error = worker->setup.aead->create(&worker->aead);
    error = error ? error : trie_pool_create(false, &worker->tables.tries);
    error = error ? error : udp_reader_create(&worker->io.reader);
    error = error ? error : route_open(&worker->io.route);
    error = error ? error : transmit_create(false, &worker->transmit);
    error = error ? error : host_create(worker->setup.tun, &worker->host);
    error = error ? error : shield_create(&worker->shield);
    error = error ? error : parcel_create_rings(worker);
    error = error ? error : watch(worker, worker->loop.wake_fd, SOURCE_WAKE);
    if (!error && worker->loop.tun_reads) {
        error = watch(worker, worker->io.tun_fd, SOURCE_TUN);
    }
    return error;
}

int loop_create(const struct worker_setup *setup, unsigned number, struct worker **ret_worker) {
    struct worker *worker = aligned_alloc(alignof(struct worker), sizeof *worker);
    if (!worker) {
        return -ENOMEM;
    }
    memset(worker, 0, sizeof *worker);
    worker->setup = *setup;
    worker->number = number;
    worker->io.tun_fd = setup->tun ? tun_fd(setup->tun, number) : -1;
    worker->loop.tun_reads = setup->tun && number < tun_queues(setup->tun);
    worker->device.mtu = setup->mtu;
    worker->loop.epoll_fd = -1;
    worker->loop.wake_fd = -1;
    worker->io.sockets = (struct udp_sockets){.v4 = -1, .v6 = -1};
    sem_init(&worker->mailbox.answered, 0, 0);
    read_clock(worker);
    wheel_init(&worker->wheel, worker->now_ns);
    worker->tables.index.worker = number;
    TAILQ_INIT(&worker->waiting.packets);
    TAILQ_INIT(&worker->waiting.peers);
    int error = create_parts(worker);
    if (error) {
        loop_free(worker);
        return error;
    }
    *ret_worker = worker;
    return 0;
}

int loop_start(struct worker *worker) {
    int error = pthread_create(&worker->loop.thread, NULL, run, worker);
    if (error) {
        return -error;
    }
    worker->loop.started = true;
    return 0;
}

static void stop(struct worker *worker, void *argument) {
    (void)argument;
    worker->loop.stopping = true;
}

void loop_stop(struct worker *worker) {
    if (worker->loop.started) {
        worker_call(worker, stop, NULL);
        pthread_join(worker->loop.thread, NULL);
        worker->loop.started = false;
    }
}

void loop_free(struct worker *worker) {
    if (!worker) {
        return;
    }
    for (uint32_t slot = 0; slot < worker->tables.peer_room; slot++) {
        if (worker->tables.peers[slot]) {
            space_leave(worker->tables.peers[slot]);
            peer_free(worker, worker->tables.peers[slot]);
        }
    }
    for (uint32_t slot = 0; slot < worker->tables.space_room; slot++) {
        if (worker->tables.spaces[slot]) {
            space_free(worker, worker->tables.spaces[slot]);
        }
    }
    session_index_free(&worker->tables.index);
    parcel_free_rings(worker);
    shield_free(worker->shield);
    host_free(worker->host);
    transmit_free(worker->transmit);
    route_close(worker->io.route);
    udp_reader_free(worker->io.reader);
    trie_pool_free(worker->tables.tries);
    if (worker->aead) {
        worker->setup.aead->free(worker->aead);
    }
    if (worker->loop.wake_fd >= 0) {
        close(worker->loop.wake_fd);
    }
    if (worker->loop.epoll_fd >= 0) {
        close(worker->loop.epoll_fd);
    }
    free(worker->tables.peers);
    free(worker->tables.spaces);
    table_free(&worker->tables.keys);
    sodium_free(worker->device.checker);
    sodium_free(worker->device.identity);
    sem_destroy(&worker->mailbox.answered);
    free(worker);
}
