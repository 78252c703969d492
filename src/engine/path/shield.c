#include "engine/path/shield.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/path/worker.h"
#include "engine/table/limiter.h"

#define QUEUE_SIZE 32768 /* more than the public-key work of STALE_NS on one core */
#define STALE_NS (4 * NSEC_PER_SEC)
#define LOAD_DEPTH 512 /* so many that wait mean load (Linux: MAX_QUEUED_INCOMING_HANDSHAKES / 8) */
#define LOAD_STICKY_NS NSEC_PER_SEC
#define TRUST_MAX 64
#define TRUST_LOSS 4
#define PROVED_PER_S 3500 /* beyond Linux's limit, to sources that proved their address: half of what a core can do */
#define COOKIES_PER_S 120000 /* about half of a core */

struct queue {
    uint32_t first;
    uint32_t count;
    struct handshake_message messages[QUEUE_SIZE];
};

struct reply {
    union endpoint to;
    struct udp_local from;
    struct message_cookie_reply message;
};

struct shield {
    struct limiter *limiter; /* owned */
    uint64_t load_until_ns;  /* of clock_mono_ns() */
    int trust;               /* in messages without a cookie: 0 to TRUST_MAX */
    int awaited;             /* callers without a cookie that other workers have not judged yet */
    size_t reply_count;
    struct reply replies[UDP_BATCH];
    struct queue proved;
    struct queue others;
};

int shield_create(struct shield **ret_shield) {
    struct shield *shield = calloc(1, sizeof *shield);
    if (!shield) {
        return -ENOMEM;
    }
    uint8_t key[LIMITER_KEY_SIZE];
    randombytes_buf(key, sizeof key);
    int error = limiter_create(key, PROVED_PER_S, COOKIES_PER_S, &shield->limiter);
    sodium_memzero(key, sizeof key);
    if (error) {
        free(shield);
        return error;
    }
    shield->trust = TRUST_MAX;
    *ret_shield = shield;
    return 0;
}

void shield_free(struct shield *shield) {
    if (!shield) {
        return;
    }
    limiter_free(shield->limiter);
    free(shield);
}

/* --- load and trust --- */

static bool under_load(struct worker *worker) {
    struct shield *shield = worker->shield;
    if (shield->proved.count + shield->others.count >= LOAD_DEPTH) {
        shield->load_until_ns = worker->mono_ns + LOAD_STICKY_NS;
    }
    return worker->mono_ns < shield->load_until_ns;
}

bool shield_is_empty(const struct worker *worker) {
    return worker->shield->proved.count == 0 && worker->shield->others.count == 0;
}

bool shield_is_crowded(const struct worker *worker) {
    return !shield_is_empty(worker) && worker->mono_ns < worker->shield->load_until_ns;
}

/* What became of so many messages. */
static void add_verdicts(struct shield *shield, int accepted, int failed) {
    int trust = shield->trust + accepted - failed * TRUST_LOSS;
    shield->trust = trust < 0 ? 0 : trust > TRUST_MAX ? TRUST_MAX : trust;
}

/* Verdicts of other workers: how many in the lower half, how many of those failed in the upper. */
#define VERDICT UINT64_C(1)
#define VERDICT_FAILED (UINT64_C(1) << 32)

void shield_judge(struct worker *worker, unsigned receiver, bool accepted) {
    if (receiver == worker->number) {
        add_verdicts(worker->shield, accepted, !accepted);
    } else {
        atomic_fetch_add(&worker->setup.workers[receiver]->verdicts, accepted ? VERDICT : VERDICT + VERDICT_FAILED);
    }
}

void shield_await(struct worker *worker) {
    worker->shield->awaited++;
}

void shield_begin_round(struct worker *worker) {
    worker->work_left = WORKER_WORK_ROUND;
    if (atomic_load_explicit(&worker->verdicts, memory_order_relaxed) != 0) {
        uint64_t verdicts = atomic_exchange(&worker->verdicts, UINT64_C(0));
        int failed = (int)(verdicts >> 32);
        int all = (int)(verdicts & UINT32_MAX);
        add_verdicts(worker->shield, all - failed, failed);
        worker->shield->awaited -= all;
    }
}

/* --- cookie replies --- */

void shield_flush(struct worker *worker) {
    struct shield *shield = worker->shield;
    struct udp_run runs[UDP_BATCH];
    for (size_t i = 0; i < shield->reply_count; i++) {
        struct reply *reply = &shield->replies[i];
        runs[i] = (struct udp_run){
            .to = &reply->to,
            .from = &reply->from,
            .bytes = (const uint8_t *)&reply->message,
            .size = sizeof reply->message,
            .tos = SHIELD_TOS,
        };
    }
    worker->counters.udp_writes += udp_write(&worker->io.sockets, runs, shield->reply_count);
    for (size_t i = 0; i < shield->reply_count; i++) {
        if (runs[i].error) {
            worker_drop(worker, ENGINE_DROP_UDP_FULL, 1);
        } else {
            worker->counters.udp_sent++;
            worker->counters.cookies_sent++;
        }
    }
    shield->reply_count = 0;
}

static void answer_by_cookie(struct worker *worker, const uint8_t *bytes, size_t size, const union endpoint *from,
                             const struct udp_local *to) {
    struct shield *shield = worker->shield;
    if (!limiter_allow_reply(shield->limiter, worker->mono_ns, from)) {
        return;
    }
    struct reply *reply = &shield->replies[shield->reply_count++];
    reply->to = *from;
    reply->from = *to;
    cookie_reply_create(worker->device.checker, &worker_random, worker->now_ns, bytes, size, from, &reply->message);
    if (shield->reply_count == UDP_BATCH) {
        shield_flush(worker);
    }
}

/* --- the queues --- */

static void drop_first(struct queue *queue) {
    queue->first = (queue->first + 1) % QUEUE_SIZE;
    queue->count--;
}

static bool may_wait(struct worker *worker, const union endpoint *from, bool proved) {
    struct shield *shield = worker->shield;
    return !under_load(worker) ||
           ((proved || shield->trust > 0) && limiter_allow(shield->limiter, worker->mono_ns, from, proved));
}

void shield_receive(struct worker *worker, const uint8_t *bytes, size_t size, const union endpoint *from,
                    const struct udp_local *to) {
    enum cookie_verdict verdict =
        cookie_check(worker->device.checker, &worker_random, worker->now_ns, bytes, size, from);
    if (verdict == COOKIE_FORGED) {
        worker_drop(worker, ENGINE_DROP_BAD_MAC, 1);
        return;
    }
    bool proved = verdict == COOKIE_RETURNED;
    if (!may_wait(worker, from, proved)) {
        worker_drop(worker, ENGINE_DROP_UNDER_LOAD, 1);
        if (!proved) {
            answer_by_cookie(worker, bytes, size, from, to);
        }
        return;
    }
    struct queue *queue = proved ? &worker->shield->proved : &worker->shield->others;
    if (queue->count == QUEUE_SIZE) {
        /* The oldest is the first whose sender gives up. */
        drop_first(queue);
        worker_drop(worker, ENGINE_DROP_UNDER_LOAD, 1);
    }
    struct handshake_message *message = &queue->messages[(queue->first + queue->count) % QUEUE_SIZE];
    message->at_ns = worker->mono_ns;
    message->from = *from;
    message->to = *to;
    message->proved = proved;
    message->receiver = (uint8_t)worker->number;
    message->size = (uint32_t)size;
    memcpy(message->bytes, bytes, size);
    queue->count++;
}

/* False if its sender has given up, or the trust that let it in is gone. */
static bool is_worth_work(struct worker *worker, const struct handshake_message *message) {
    if (worker->mono_ns > message->at_ns + STALE_NS) {
        return false;
    }
    return message->proved || worker->shield->trust > 0 || !under_load(worker);
}

/* Whether those without a cookie are to wait for verdicts: as many are with other workers as would end the trust if
 * they all failed. */
static bool must_await(struct worker *worker) {
    const struct shield *shield = worker->shield;
    return shield->awaited > 0 && shield->awaited * TRUST_LOSS >= shield->trust && under_load(worker);
}

const struct handshake_message *shield_next(struct worker *worker) {
    struct shield *shield = worker->shield;
    while (!shield_is_empty(worker)) {
        bool proved = shield->proved.count > 0;
        struct queue *queue = proved ? &shield->proved : &shield->others;
        const struct handshake_message *message = &queue->messages[queue->first];
        bool worth = is_worth_work(worker, message);
        if (worth && !proved && must_await(worker)) {
            return NULL;
        }
        drop_first(queue);
        if (worth) {
            return message;
        }
        worker_drop(worker, ENGINE_DROP_UNDER_LOAD, 1);
    }
    return NULL;
}
