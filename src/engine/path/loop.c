#include "engine/path/worker.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/io/tun.h"
#include "engine/io/xdp.h"
#include "engine/path/parcel.h"
#include "engine/path/handshake.h"
#include "engine/path/host.h"
#include "engine/path/receive.h"
#include "engine/path/space.h"
#include "engine/path/transmit.h"
#include "engine/table/limiter.h"
#include "engine/table/trie.h"

#define WHEEL_ROUND 64 /* timers a round */
#define HANDSHAKES_PER_S                                                                                               \
    3500                    /* beyond Linux's limit, to sources that proved their address: half of what a core can do */
#define COOKIES_PER_S 60000 /* about a third of a core */
#define READS_CROWDED 16    /* a round, while handshakes wait: some milliseconds */
#define WAIT_MS_MAX 60000

enum source {
    SOURCE_WAKE,
    SOURCE_TUN,
    SOURCE_V4,
    SOURCE_V6,
    SOURCE_XDP,
    SOURCE_COUNT,
};

static void fill_random(void *context, void *out, size_t size) {
    (void)context;
    randombytes_buf(out, size);
}

const struct noise_random worker_random = {.fill = fill_random};

uint64_t worker_jitter(struct worker *worker) {
    /* SplitMix64 (Steele, Lea, Flood 2014): cheap, and the hot path asks for each packet. */
    uint64_t z = worker->jitter_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % TIMERS_JITTER_NS;
}

static void read_clock(struct worker *worker) {
    worker->mono_ns = clock_mono_ns();
    worker->now_ns = worker->mono_ns * worker->setup.clock_rate;
}

/* --- epoll --- */

static int watch(struct worker *worker, int fd, enum source source) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};
    return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void worker_set_sockets(struct worker *worker, const struct udp_sockets *sockets) {
    if (worker->sockets.v4 >= 0) {
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, worker->sockets.v4, NULL);
    }
    if (worker->sockets.v6 >= 0) {
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, worker->sockets.v6, NULL);
    }
    worker->sockets = *sockets;
    if (sockets->v4 >= 0) {
        watch(worker, sockets->v4, SOURCE_V4);
    }
    if (sockets->v6 >= 0) {
        watch(worker, sockets->v6, SOURCE_V6);
    }
}

int worker_set_xdp(struct worker *worker, const struct xdp *xdp) {
    worker->queues = xdp ? xdp_first(xdp, worker->number) : NULL;
    int error = 0;
    for (struct xdp_queue *queue = worker->queues; queue && !error; queue = xdp_next(queue)) {
        error = watch(worker, xdp_queue_fd(queue), SOURCE_XDP);
    }
    return error;
}

static int wait_ms(struct worker *worker, bool more_work) {
    if (more_work || atomic_load(&worker->posted) || handover_pending(worker)) {
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
     * what the first did before: either they wake us, or handover_pending() sees their parcel. */
    atomic_exchange(&worker->sleeping, true);
    int count = epoll_wait(worker->epoll_fd, events, SOURCE_COUNT, wait_ms(worker, more_work));
    atomic_store(&worker->sleeping, false);
    unsigned ready = 0;
    for (int i = 0; i < count; i++) {
        ready |= 1U << events[i].data.u32;
    }
    return ready;
}

static void clear_wake(struct worker *worker) {
    uint64_t count;
    ssize_t size = read(worker->wake_fd, &count, sizeof count);
    (void)size; /* nothing there is as good */
}

static void wake(struct worker *worker) {
    const uint64_t one = 1;
    ssize_t size = write(worker->wake_fd, &one, sizeof one);
    (void)size; /* fails only when it is full of wake-ups already */
}

void worker_wake_later(struct worker *worker, unsigned other) {
    worker->woken[other] = 1;
}

static void wake_others(struct worker *worker) {
    for (unsigned i = 0; i < worker->setup.count; i++) {
        if (worker->woken[i]) {
            worker->woken[i] = 0;
            if (atomic_exchange(&worker->setup.workers[i]->sleeping, false)) {
                wake(worker->setup.workers[i]);
            }
        }
    }
}

/* --- the loop --- */

static void fire(void *context, struct wheel_node *node) {
    struct peer_state *state = (struct peer_state *)((char *)node - offsetof(struct peer_state, node));
    handshake_expire(context, state);
}

static void run_call(struct worker *worker) {
    if (!atomic_load_explicit(&worker->posted, memory_order_acquire)) {
        return;
    }
    worker_fn *call = worker->call;
    void *argument = worker->call_argument;
    atomic_store_explicit(&worker->posted, false, memory_order_release);
    if (call) {
        call(worker, argument);
    }
    sem_post(&worker->answered);
}

static void receive_some(struct worker *worker, int fd) {
    int reads = 0;
    size_t count;
    do {
        count = receive_round(worker, fd);
        transmit_flush(worker);
    } while (count == UDP_BATCH && handshakes_crowded(worker) && ++reads < READS_CROWDED);
}

static void receive_xdp(struct worker *worker) {
    for (struct xdp_queue *queue = worker->queues; queue; queue = xdp_next(queue)) {
        receive_queue(worker, queue);
        transmit_flush(worker);
    }
}

/* A bounded piece of everything that is ready; then what came of it leaves. True if something is left over. */
static bool round_once(struct worker *worker, unsigned ready) {
    bool more = false;
    worker->counters.rounds++;
    if (ready & 1U << SOURCE_WAKE) {
        clear_wake(worker);
    }
    if (ready & 1U << SOURCE_V4) {
        receive_some(worker, worker->sockets.v4);
    }
    if (ready & 1U << SOURCE_V6) {
        receive_some(worker, worker->sockets.v6);
    }
    if (ready & 1U << SOURCE_XDP) {
        receive_xdp(worker);
    }
    if (ready & 1U << SOURCE_TUN) {
        host_round(worker);
    }
    more |= handover_work(worker);
    more |= handshake_work(worker);
    more |= wheel_advance(&worker->wheel, worker->now_ns, WHEEL_ROUND, fire, worker) == WHEEL_ROUND;
    host_flush(worker);
    transmit_flush(worker);
    wake_others(worker);
    session_index_sweep(&worker->index);
    return more;
}

static void *run(void *argument) {
    struct worker *worker = argument;
    bool more = false;
    host_start(worker);
    while (!worker->stopping) {
        unsigned ready = wait_ready(worker, more);
        read_clock(worker);
        more = round_once(worker, ready);
        run_call(worker);
    }
    return NULL;
}

/* --- calls --- */

void worker_post(struct worker *worker, worker_fn *fn, void *argument) {
    worker->call = fn;
    worker->call_argument = argument;
    atomic_store_explicit(&worker->posted, true, memory_order_seq_cst);
    wake(worker);
}

void worker_wait(struct worker *worker) {
    while (sem_wait(&worker->answered) < 0 && errno == EINTR) {
    }
}

void worker_call(struct worker *worker, worker_fn *fn, void *argument) {
    worker_post(worker, fn, argument);
    worker_wait(worker);
}

/* --- life --- */

static int create_parts(struct worker *worker) {
    worker->identity = sodium_malloc(sizeof *worker->identity);
    worker->checker = sodium_malloc(sizeof *worker->checker);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!worker->identity || !worker->checker) {
        return -ENOMEM;
    }
    if (worker->epoll_fd < 0 || worker->wake_fd < 0) {
        return -errno;
    }
    const struct key none = {0};
    sodium_memzero(worker->checker, sizeof *worker->checker);
    noise_identity_set(worker->identity, &none);
    cookie_checker_set(worker->checker, &worker->identity->public_key);
    uint8_t limiter_key[LIMITER_KEY_SIZE];
    randombytes_buf(limiter_key, sizeof limiter_key);
    randombytes_buf(worker->hash_key, sizeof worker->hash_key);
    randombytes_buf(&worker->jitter_state, sizeof worker->jitter_state);
    int error = worker->setup.aead->create(&worker->aead);
    error = error ? error : trie_pool_create(false, &worker->tries);
    error = error ? error : udp_reader_create(&worker->reader);
    error = error ? error : transmit_create(false, &worker->transmit);
    error = error ? error : host_create(worker->setup.tun, &worker->host);
    error = error ? error : handshakes_create(&worker->handshakes);
    error = error ? error : limiter_create(limiter_key, HANDSHAKES_PER_S, COOKIES_PER_S, &worker->limiter);
    error = error ? error : handover_create(worker);
    error = error ? error : watch(worker, worker->wake_fd, SOURCE_WAKE);
    if (!error && worker->tun_reads) {
        error = watch(worker, worker->tun_fd, SOURCE_TUN);
    }
    return error;
}

int worker_create(const struct worker_setup *setup, unsigned number, struct worker **ret_worker) {
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker) {
        return -ENOMEM;
    }
    worker->setup = *setup;
    worker->number = number;
    worker->tun_fd = setup->tun ? tun_fd(setup->tun, number) : -1;
    worker->tun_reads = setup->tun && number < tun_queues(setup->tun);
    worker->mtu = setup->mtu;
    worker->epoll_fd = -1;
    worker->wake_fd = -1;
    worker->sockets = (struct udp_sockets){.v4 = -1, .v6 = -1};
    sem_init(&worker->answered, 0, 0);
    read_clock(worker);
    wheel_init(&worker->wheel, worker->now_ns);
    worker->index.worker = number;
    TAILQ_INIT(&worker->waiting);
    int error = create_parts(worker);
    if (error) {
        worker_free(worker);
        return error;
    }
    *ret_worker = worker;
    return 0;
}

int worker_start(struct worker *worker) {
    int error = pthread_create(&worker->thread, NULL, run, worker);
    if (error) {
        return -error;
    }
    char name[16];
    snprintf(name, sizeof name, "worker %u", worker->number);
    pthread_setname_np(worker->thread, name);
    worker->started = true;
    return 0;
}

static void stop(struct worker *worker, void *argument) {
    (void)argument;
    worker->stopping = true;
}

void worker_stop(struct worker *worker) {
    if (worker->started) {
        worker_call(worker, stop, NULL);
        pthread_join(worker->thread, NULL);
        worker->started = false;
    }
}

void worker_free(struct worker *worker) {
    if (!worker) {
        return;
    }
    for (uint32_t slot = 0; slot < worker->peer_room; slot++) {
        if (worker->peers[slot]) {
            peer_free(worker, worker->peers[slot]);
        }
    }
    for (uint32_t slot = 0; slot < worker->space_room; slot++) {
        if (worker->spaces[slot]) {
            space_free(worker, worker->spaces[slot]);
        }
    }
    session_index_free(&worker->index);
    handover_free(worker);
    limiter_free(worker->limiter);
    handshakes_free(worker->handshakes);
    host_free(worker->host);
    transmit_free(worker->transmit);
    udp_reader_free(worker->reader);
    trie_pool_free(worker->tries);
    if (worker->aead) {
        worker->setup.aead->free(worker->aead);
    }
    if (worker->wake_fd >= 0) {
        close(worker->wake_fd);
    }
    if (worker->epoll_fd >= 0) {
        close(worker->epoll_fd);
    }
    free(worker->peers);
    free(worker->spaces);
    table_free(&worker->keys);
    sodium_free(worker->checker);
    sodium_free(worker->identity);
    sem_destroy(&worker->answered);
    free(worker);
}
