/* The threads: the keeper watches the data plane and reconciles, the counter takes usage over and sweeps, the clerk
 * sees to the store's files and stands guard while the database is away, the follower brings other gateways' changes
 * into force, the herald says that we are here. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "service/state.h"
#include "store/noun/answers.h"

#define CHANGES_KEPT 1000000 /* events; about 150 MB */
#define ANSWERS_KEPT_US (INT64_C(24) * 3600 * USEC_PER_SEC)
#define BEAT_S 5
#define SWEEP_PIECE 5000 /* changes forgotten in one transaction */
#define SWEEP_NS (3600 * NSEC_PER_SEC)

static struct timespec after_s(unsigned seconds) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    return until;
}

/* Under the mutex, which it gives away meanwhile. Ends early when the service does. */
static void rest(struct service *s, unsigned seconds) {
    struct timespec until = after_s(seconds);
    int timeout = 0;
    while (!s->closing && timeout == 0) {
        timeout = pthread_cond_timedwait(&s->committed, &s->mutex, &until);
    }
}

/* How long to leave a data plane alone that failed so often in a row. */
static uint64_t back_off_ns(unsigned failures) {
    return failures == 0 ? 0 : NSEC_PER_SEC << (failures < 6 ? failures - 1 : 5);
}

struct watch {
    uint64_t last_run, failed_at;
    unsigned failures;
    bool touched; /* by somebody else, and not yet looked at */
};

static bool heed(struct service *s) {
    pthread_mutex_lock(&s->watch_mutex);
    bool touched = s->watch && s->ops->heed && s->ops->heed(s->watch);
    pthread_mutex_unlock(&s->watch_mutex);
    return touched;
}

/* One look; at most one attempt to mend what is wrong. */
static void attend(struct service *s, struct watch *watch) {
    struct problem problem = {0};
    struct backend_state state;
    uint64_t now = clock_mono_ns();
    int r = plane_look(s, &state);
    if (r < 0) {
        pthread_mutex_lock(&s->mutex);
        s->away = true;
        s->in_sync = false;
        pthread_mutex_unlock(&s->mutex);
    }
    watch->touched |= heed(s);
    pthread_mutex_lock(&s->mutex);
    bool due = now - watch->last_run >= s->reconcile_s * NSEC_PER_SEC || !s->in_sync || watch->touched ||
               (r == 0 && state.generation != s->generation);
    pthread_mutex_unlock(&s->mutex);
    if (!attach_is_there(s, NULL)) {
        return; /* what should be is not known: what is stays */
    }
    if (!due || now - watch->failed_at < back_off_ns(watch->failures)) {
        return;
    }
    watch->touched = false;
    r = reconcile_run(s, &problem);
    watch->last_run = clock_mono_ns();
    bool plane_failed = r < 0 && !attach_is_lacking(&problem);
    watch->failures = plane_failed ? watch->failures + 1 : 0;
    watch->failed_at = watch->last_run;
    if (r == 0) {
        (void)plane_look(s, &state);
    }
}

static void *keeper_main(void *context) {
    struct service *s = context;
    struct watch watch = {0};
    pthread_mutex_lock(&s->mutex);
    while (!s->closing) {
        s->attention_due = false;
        pthread_mutex_unlock(&s->mutex);
        attend(s, &watch);
        struct timespec until = after_s(1);
        pthread_mutex_lock(&s->mutex);
        int timeout = 0;
        /* Trouble calls at once, but not again and again while its back-off runs. */
        while (!s->closing && timeout == 0 && !(s->attention_due && watch.failures == 0)) {
            timeout = pthread_cond_timedwait(&s->attention, &s->mutex, &until);
        }
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* A piece of it; whether there is more. */
static bool sweep_some(struct service *s) {
    struct problem problem;
    struct write w;
    int64_t forgotten = 0;
    if (write_begin(s, "", &w, &problem) < 0) {
        return false;
    }
    pthread_mutex_lock(&s->mutex);
    uint64_t revision = s->revision;
    pthread_mutex_unlock(&s->mutex);
    int r = answers_forget(w.conn, w.now - ANSWERS_KEPT_US);
    if (r == 0 && revision > CHANGES_KEPT) {
        r = changes_forget(w.conn, revision - CHANGES_KEPT, SWEEP_PIECE, &forgotten);
    }
    if (r < 0 || write_commit_aside(&w, &problem) < 0) {
        write_abort(&w); /* the next sweep finds it still there */
        return false;
    }
    return forgotten == SWEEP_PIECE;
}

void keeper_sweep(struct service *s) {
    bool closing = false;
    while (!closing && sweep_some(s)) { /* others write in between */
        pthread_mutex_lock(&s->mutex);
        closing = s->closing;
        pthread_mutex_unlock(&s->mutex);
    }
}

static void *counter_main(void *context) {
    struct service *s = context;
    uint64_t swept = 0;
    pthread_mutex_lock(&s->mutex);
    while (!s->closing) {
        rest(s, s->usage_s);
        bool away = s->away;
        pthread_mutex_unlock(&s->mutex);
        if (!away) {
            (void)usage_flush(s, false); /* what could not be written stays counted in the data plane */
        }
        token_flush_used(s);
        if (clock_mono_ns() - swept > SWEEP_NS) {
            swept = clock_mono_ns();
            keeper_sweep(s);
        }
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    (void)usage_flush(s, true);
    return NULL;
}

static void *clerk_main(void *context) {
    struct service *s = context;
    pthread_mutex_lock(&s->mutex);
    while (!s->closing) {
        rest(s, 1);
        pthread_mutex_unlock(&s->mutex);
        (void)store_tidy(s->store); /* a disk that fails shows itself to the next writer, who can tell somebody */
        follow_guard(s);
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* Asks the database whether it is there; the only thread that may hang on it without anybody's waiting. */
static void *scout_main(void *context) {
    struct service *s = context;
    pthread_mutex_lock(&s->mutex);
    while (!s->closing) {
        rest(s, 1);
        pthread_mutex_unlock(&s->mutex);
        attach_look(s);
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

static void *herald_main(void *context) {
    struct service *s = context;
    pthread_mutex_lock(&s->mutex);
    while (!s->closing) {
        struct timespec until = after_s(BEAT_S);
        int timeout = 0;
        while (!s->closing && timeout == 0) {
            timeout = pthread_cond_timedwait(&s->committed, &s->mutex, &until);
        }
        bool closing = s->closing;
        pthread_mutex_unlock(&s->mutex);
        if (!closing) {
            gateways_beat_once(s);
        }
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

int keeper_start(struct service *s) {
    int r = pthread_create(&s->keeper, NULL, keeper_main, s);
    s->keeper_runs = r == 0;
    if (r == 0) {
        r = pthread_create(&s->counter, NULL, counter_main, s);
        s->counter_runs = r == 0;
    }
    if (r == 0) {
        r = pthread_create(&s->clerk, NULL, clerk_main, s);
        s->clerk_runs = r == 0;
    }
    if (r == 0) {
        r = pthread_create(&s->herald, NULL, herald_main, s);
        s->herald_runs = r == 0;
    }
    if (r == 0 && s->shared) {
        r = pthread_create(&s->follower, NULL, follow_main, s);
        s->follower_runs = r == 0;
    }
    if (r == 0 && s->shared) {
        r = pthread_create(&s->scout, NULL, scout_main, s);
        s->scout_runs = r == 0;
    }
    return -r;
}

void keeper_stop(struct service *s) {
    pthread_mutex_lock(&s->mutex);
    s->closing = true;
    pthread_cond_broadcast(&s->attention);
    pthread_cond_broadcast(&s->committed);
    pthread_mutex_unlock(&s->mutex);
    if (s->keeper_runs) {
        pthread_join(s->keeper, NULL);
    }
    if (s->counter_runs) {
        pthread_join(s->counter, NULL); /* it flushes at its end */
    }
    if (s->clerk_runs) {
        pthread_join(s->clerk, NULL);
    }
    if (s->herald_runs) {
        pthread_join(s->herald, NULL);
    }
    if (s->follower_runs) {
        pthread_join(s->follower, NULL);
    }
    if (s->scout_runs) {
        pthread_join(s->scout, NULL);
    }
}
