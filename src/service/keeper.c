/* The threads: one compares the data plane with the store and mends it, one takes usage over and sweeps, one sees to
 * the store's files and stands guard while the database is away, one follows other gateways' changes, one says that we
 * are here, one asks the database whether it is there. They hand numbers across between layers that do not know each
 * other. */
#include "service/keeper.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "service/attach.h"
#include "service/noun/gateways.h"
#include "service/noun/noun.h"
#include "store/noun/answers.h"

#define CHANGES_KEPT 1000000 /* events; about 150 MB */
#define ANSWERS_KEPT_US (INT64_C(24) * 3600 * USEC_PER_SEC)
#define BEAT_S 5
#define AWAIT_MS 500
#define SWEEP_PIECE 5000 /* changes forgotten in one transaction */
#define DAY_US (INT64_C(86400) * USEC_PER_SEC)
#define SWEEP_NS (3600 * NSEC_PER_SEC)

/* How long to leave a data plane alone that failed so often in a row. */
static uint64_t back_off_ns(unsigned failures) {
    return failures == 0 ? 0 : NSEC_PER_SEC << (failures < 6 ? failures - 1 : 5);
}

struct watch {
    uint64_t last_run, failed_at;
    unsigned failures;
    bool touched; /* by somebody else, and not yet looked at */
};

static void attend_routes(struct service *s) {
    struct problem problem = {0};
    uint64_t mended = 0;
    if (routes_is_due(s->routes) && reach_is_there(s->reach, NULL) && !plane_is_away(s->plane)) {
        int r = routes_mend(s->routes, &mended, &problem);
        if (r < 0 && !reach_is_lacking(&problem)) {
            plane_trouble(s->plane, r, &problem);
        }
    }
}

/* One look; at most one attempt to mend what is wrong. */
static void attend(struct service *s, struct watch *watch) {
    struct problem problem = {0};
    struct backend_state state;
    struct plane_status plane;
    uint64_t now = clock_mono_ns();
    int r = plane_look(s->plane, &state);
    if (r < 0) {
        plane_lost(s->plane);
    }
    watch->touched |= plane_heed(s->plane);
    plane_status(s->plane, &plane);
    bool due = now - watch->last_run >= s->reconcile_s * NSEC_PER_SEC || !plane.in_sync || watch->touched ||
               (r == 0 && state.generation != reconcile_status(s->reconcile).generation);
    if (!reach_is_there(s->reach, NULL)) {
        return; /* what should be is not known: what is stays */
    }
    if (!due || now - watch->failed_at < back_off_ns(watch->failures)) {
        return;
    }
    watch->touched = false;
    r = reconcile_run(s->reconcile, &problem);
    watch->last_run = clock_mono_ns();
    bool plane_failed = r < 0 && !reach_is_lacking(&problem);
    watch->failures = plane_failed ? watch->failures + 1 : 0;
    watch->failed_at = watch->last_run;
    if (r == 0) {
        (void)plane_look(s->plane, &state);
    }
}

static void reconcile_main(struct service *s) {
    struct watch watch = {0};
    while (!bell_is_ending(&s->bell)) {
        bell_answer(&s->bell);
        attend(s, &watch);
        attend_routes(s);
        /* Trouble calls at once, but not again and again while its back-off runs. */
        bell_wait(&s->bell, 1, watch.failures > 0);
    }
}

/* Whether the service goes on. */
static bool rest(struct service *s, unsigned seconds) {
    bell_wait(&s->bell, seconds, true);
    return !bell_is_ending(&s->bell);
}

/* A piece of it; whether there is more. */
static bool sweep_some(struct service *s) {
    struct problem problem;
    struct write w;
    int64_t forgotten = 0;
    if (write_begin(s->ledger, "", &w, &problem) < 0) {
        return false;
    }
    uint64_t revision = ledger_revision(s->ledger);
    int r = answers_forget(w.conn, w.now - ANSWERS_KEPT_US);
    if (r == 0 && revision > CHANGES_KEPT) {
        r = changes_forget(w.conn, revision - CHANGES_KEPT, SWEEP_PIECE, &forgotten);
    }
    int64_t unlogged = 0;
    if (r == 0 && s->audit_days) {
        r = audit_forget(w.conn, w.now - s->audit_days * DAY_US, SWEEP_PIECE, &unlogged);
    }
    if (r < 0 || write_commit_silent(&w, &problem) < 0) {
        write_abort(&w); /* the next sweep finds it still there */
        return false;
    }
    return forgotten == SWEEP_PIECE || unlogged == SWEEP_PIECE;
}

void keeper_sweep(struct service *s) {
    while (!bell_is_ending(&s->bell) && sweep_some(s)) { /* others write in between */
    }
}

int keeper_flush_usage(struct service *s, bool everything) {
    double rate = fleet_is_deposed(s->fleet) ? 0 : (double)USAGE_WRITES_PER_S / fleet_alive(s->fleet);
    return usage_flush(s->usage, everything, rate);
}

static void usage_main(struct service *s) {
    uint64_t swept = 0;
    for (bool goes_on = true; goes_on;) {
        goes_on = rest(s, s->usage_s);
        if (!plane_is_away(s->plane)) {
            (void)keeper_flush_usage(s, false); /* what could not be written stays counted in the data plane */
        }
        token_flush_used(s);
        if (clock_mono_ns() - swept > SWEEP_NS) {
            swept = clock_mono_ns();
            keeper_sweep(s);
        }
    }
    (void)keeper_flush_usage(s, true);
}

static void checkpoint_main(struct service *s) {
    for (bool goes_on = true; goes_on;) {
        goes_on = rest(s, 1);
        (void)store_checkpoint(s->store); /* a disk that fails shows itself to the next writer, who can tell somebody */
        follow_guard(s->follow);
    }
}

static void follow_main(struct service *s) {
    while (!bell_is_ending(&s->bell)) {
        (void)store_await(s->store, AWAIT_MS);
        (void)follow_once(s->follow); /* a database that is away is noticed by the guard */
        ledger_recount(s->ledger);
    }
}

/* It beats while the others end: to write the last counters may take longer than others wait for a sign of life. */
static void heartbeat_main(struct service *s) {
    while (bell_outlast(&s->bell, BEAT_S)) {
        struct presence presence;
        gateways_presence(s, &presence);
        fleet_beat(s->fleet, &presence, clock_mono_ns());
    }
}

/* The only thread that may hang on the database without anybody's waiting. */
static void probe_main(struct service *s) {
    for (bool goes_on = true; goes_on;) {
        struct problem problem = {0};
        goes_on = rest(s, 1);
        if (reach_is_ready(s->reach)) {
            reach_look(s->reach);
        } else {
            (void)attach(s, &problem);
        }
    }
}

/* In the order in which they end; the last one sees the others out. */
static const struct {
    const char *name;
    void (*run)(struct service *s);
    bool shared_only; /* where the database is a server that other gateways may use */
} threads[] = {
    {"reconcile", reconcile_main, false}, {"usage", usage_main, false}, {"checkpoint", checkpoint_main, false},
    {"follow", follow_main, true},        {"probe", probe_main, true},  {"heartbeat", heartbeat_main, false},
};
#define THREADS (sizeof threads / sizeof *threads)

struct keeper {
    struct running {
        struct service *service;
        size_t which;
        pthread_t id;
        bool runs;
    } running[THREADS];
};

static void *thread_main(void *context) {
    const struct running *running = context;
    (void)prctl(PR_SET_NAME, threads[running->which].name);
    threads[running->which].run(running->service);
    return NULL;
}

int keeper_start(struct service *s) {
    int r = 0;
    s->keeper = calloc(1, sizeof *s->keeper);
    if (!s->keeper) {
        return -ENOMEM;
    }
    for (size_t i = 0; r == 0 && i < THREADS; i++) {
        struct running *running = &s->keeper->running[i];
        *running = (struct running){.service = s, .which = i};
        if (!threads[i].shared_only || store_is_shared(s->store)) {
            r = pthread_create(&running->id, NULL, thread_main, running);
            running->runs = r == 0;
        }
    }
    return -r;
}

void keeper_stop(struct service *s) {
    bell_end(&s->bell);
    for (size_t i = 0; s->keeper && i < THREADS; i++) {
        if (i + 1 == THREADS) {
            bell_end_all(&s->bell);
        }
        if (s->keeper->running[i].runs) {
            pthread_join(s->keeper->running[i].id, NULL);
        }
    }
    free(s->keeper);
    s->keeper = NULL;
}
