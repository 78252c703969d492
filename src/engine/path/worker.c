#include "engine/path/worker.h"

#include <errno.h>
#include <sodium.h>
#include <unistd.h>

#include "wire/timers.h"

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

/* --- waking --- */

static void wake(struct worker *worker) {
    const uint64_t one = 1;
    ssize_t size = write(worker->loop.wake_fd, &one, sizeof one);
    (void)size; /* fails only when it is full of wake-ups already */
}

void worker_wake_later(struct worker *worker, unsigned other) {
    worker->rings.woken[other] = 1;
}

void worker_wake_others(struct worker *worker) {
    for (unsigned i = 0; i < worker->setup.count; i++) {
        if (worker->rings.woken[i]) {
            worker->rings.woken[i] = 0;
            if (atomic_exchange(&worker->setup.workers[i]->sleeping, false)) {
                wake(worker->setup.workers[i]);
            }
        }
    }
}

/* --- calls --- */

void worker_post(struct worker *worker, worker_fn *fn, void *argument) {
    worker->mailbox.call = fn;
    worker->mailbox.argument = argument;
    atomic_store_explicit(&worker->mailbox.posted, true, memory_order_seq_cst);
    wake(worker);
}

void worker_wait(struct worker *worker) {
    while (sem_wait(&worker->mailbox.answered) < 0 && errno == EINTR) {
    }
}

void worker_call(struct worker *worker, worker_fn *fn, void *argument) {
    worker_post(worker, fn, argument);
    worker_wait(worker);
}

bool worker_has_call(const struct worker *worker) {
    return atomic_load(&worker->mailbox.posted);
}

void worker_run_call(struct worker *worker) {
    struct worker_mailbox *mailbox = &worker->mailbox;
    if (!atomic_load_explicit(&mailbox->posted, memory_order_acquire)) {
        return;
    }
    worker_fn *call = mailbox->call;
    void *argument = mailbox->argument;
    atomic_store_explicit(&mailbox->posted, false, memory_order_release);
    if (call) {
        call(worker, argument);
    }
    sem_post(&mailbox->answered);
}
