#include "service/record/ledger.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "service/record/identity.h"
#include "service/record/reach.h"
#include "service/record/turn.h"
#include "store/noun/routers.h"
#include "store/noun/tenants.h"
#include "store/store.h"

struct ledger {
    /* immutable once open */
    struct store *store;
    struct reach *reach;
    const struct identity *identity;
    struct turn *queue;
    void (*unknown)(void *context);
    void *unknown_context;

    struct turn writing; /* the store's writer */

    pthread_mutex_t mutex; /* all that follows */
    pthread_cond_t moved;  /* the revision, or closing */
    struct ledger_counts counts;
    uint64_t counted; /* up to this revision the numbers are what the store said, whoever changed it */
    bool recount_due; /* they are not known for sure */
    unsigned writers;
    bool ending;
};

int ledger_open(struct store *store, struct reach *reach, const struct identity *identity, struct turn *queue,
                struct ledger **ret_ledger) {
    pthread_condattr_t monotonic;
    struct ledger *ledger = calloc(1, sizeof *ledger);
    if (!ledger) {
        return -ENOMEM;
    }
    ledger->store = store;
    ledger->reach = reach;
    ledger->identity = identity;
    ledger->queue = queue;
    turn_open(&ledger->writing);
    pthread_mutex_init(&ledger->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&ledger->moved, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *ret_ledger = ledger;
    return 0;
}

void ledger_free(struct ledger *ledger) {
    if (ledger) {
        pthread_cond_destroy(&ledger->moved);
        pthread_mutex_destroy(&ledger->mutex);
        turn_close(&ledger->writing);
        free(ledger);
    }
}

void ledger_observe(struct ledger *ledger, void (*unknown)(void *context), void *context) {
    ledger->unknown = unknown;
    ledger->unknown_context = context;
}

/* --- what is known --- */

struct ledger_counts ledger_counts(struct ledger *ledger) {
    pthread_mutex_lock(&ledger->mutex);
    struct ledger_counts counts = ledger->counts;
    pthread_mutex_unlock(&ledger->mutex);
    return counts;
}

uint64_t ledger_revision(struct ledger *ledger) {
    return ledger_counts(ledger).revision;
}

void ledger_start(struct ledger *ledger, const struct ledger_counts *counts) {
    pthread_mutex_lock(&ledger->mutex);
    ledger->counts = *counts;
    pthread_mutex_unlock(&ledger->mutex);
}

/* Under the mutex. */
static void advance(struct ledger *ledger, uint64_t revision) {
    if (revision > ledger->counts.revision) {
        ledger->counts.revision = revision;
        pthread_cond_broadcast(&ledger->moved);
    }
}

void ledger_advance(struct ledger *ledger, uint64_t revision) {
    pthread_mutex_lock(&ledger->mutex);
    advance(ledger, revision);
    pthread_mutex_unlock(&ledger->mutex);
}

void ledger_go_back(struct ledger *ledger, uint64_t revision) {
    pthread_mutex_lock(&ledger->mutex);
    ledger->counts.revision = revision;
    pthread_mutex_unlock(&ledger->mutex);
}

bool ledger_wait(struct ledger *ledger, uint64_t seen, const struct timespec *until, uint64_t *ret_revision) {
    int timeout = 0;
    pthread_mutex_lock(&ledger->mutex);
    while (ledger->counts.revision <= seen && !ledger->ending && timeout == 0) {
        timeout = pthread_cond_timedwait(&ledger->moved, &ledger->mutex, until);
    }
    bool moved = ledger->counts.revision > seen && !ledger->ending;
    *ret_revision = ledger->counts.revision;
    pthread_mutex_unlock(&ledger->mutex);
    return moved;
}

void ledger_end(struct ledger *ledger) {
    pthread_mutex_lock(&ledger->mutex);
    ledger->ending = true;
    pthread_cond_broadcast(&ledger->moved);
    pthread_mutex_unlock(&ledger->mutex);
}

uint64_t ledger_counted(struct ledger *ledger) {
    pthread_mutex_lock(&ledger->mutex);
    uint64_t counted = ledger->counted;
    pthread_mutex_unlock(&ledger->mutex);
    return counted;
}

void ledger_add(struct ledger *ledger, int64_t tenants, int64_t routers) {
    pthread_mutex_lock(&ledger->mutex);
    ledger->counts.tenants += (uint64_t)tenants;
    ledger->counts.routers += (uint64_t)routers;
    pthread_mutex_unlock(&ledger->mutex);
}

void ledger_doubt(struct ledger *ledger) {
    pthread_mutex_lock(&ledger->mutex);
    ledger->recount_due = true;
    pthread_mutex_unlock(&ledger->mutex);
}

static int count(struct ledger *ledger, struct ledger_counts *ret_counts) {
    struct store_conn *conn;
    struct problem problem;
    int r = store_reader_take(ledger->store, &conn, &problem);
    if (r == 0) {
        r = store_begin(conn, false);
        r = r < 0 ? r : changes_revision(conn, &ret_counts->revision);
        r = r < 0 ? r : tenants_count(conn, &ret_counts->tenants);
        r = r < 0 ? r : routers_count(conn, &ret_counts->routers);
        store_reader_put(ledger->store, conn);
    }
    return r;
}

void ledger_recount(struct ledger *ledger) {
    struct ledger_counts counts = {0};
    pthread_mutex_lock(&ledger->mutex);
    bool due = ledger->recount_due;
    pthread_mutex_unlock(&ledger->mutex);
    if (!due) {
        return;
    }
    ledger_turn_begin(ledger); /* no change of our own is between its commit and its count */
    int r = count(ledger, &counts);
    pthread_mutex_lock(&ledger->mutex);
    if (r == 0) {
        ledger->counts.tenants = counts.tenants;
        ledger->counts.routers = counts.routers;
        ledger->counted = counts.revision;
        ledger->recount_due = false;
    }
    pthread_mutex_unlock(&ledger->mutex);
    ledger_turn_end(ledger);
}

unsigned ledger_writers(struct ledger *ledger) {
    pthread_mutex_lock(&ledger->mutex);
    unsigned writers = ledger->writers;
    pthread_mutex_unlock(&ledger->mutex);
    return writers;
}

void ledger_expect(struct ledger *ledger) {
    pthread_mutex_lock(&ledger->mutex);
    ledger->writers++;
    pthread_mutex_unlock(&ledger->mutex);
}

void ledger_redeem(struct ledger *ledger) {
    pthread_mutex_lock(&ledger->mutex);
    ledger->writers--;
    pthread_mutex_unlock(&ledger->mutex);
}

void ledger_turn_begin(struct ledger *ledger) {
    turn_wait(&ledger->writing, turn_take(&ledger->writing));
}

void ledger_turn_end(struct ledger *ledger) {
    turn_end(&ledger->writing);
}

/* --- writes --- */

int write_begin_early(struct ledger *ledger, const char *actor, struct write *ret_write, struct problem *ret_problem) {
    ledger_turn_begin(ledger);
    struct store_conn *conn = store_writer(ledger->store);
    int r = store_begin(conn, true);
    if (r < 0) {
        r = store_problem(conn, r, ret_problem);
        ledger_turn_end(ledger);
        return r;
    }
    int64_t now = clock_wall_us();
    *ret_write = (struct write){
        .ledger = ledger,
        .conn = conn,
        .pool = {.conn = conn, .now = now},
        .now = now,
        .actor = actor,
        .on = true,
    };
    snprintf(ret_write->author.actor, sizeof ret_write->author.actor, "%s", actor);
    return 0;
}

int write_begin(struct ledger *ledger, const char *actor, struct write *ret_write, struct problem *ret_problem) {
    if (!reach_is_ready(ledger->reach)) {
        char trouble[REACH_TROUBLE_SIZE];
        (void)reach_is_there(ledger->reach, trouble);
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, PROBLEM_STORE_AWAY, NULL, "%s", trouble);
    }
    return write_begin_early(ledger, actor, ret_write, ret_problem);
}

static int reserve(struct write *w, const char *table, uint64_t count, struct numbers *ret_numbers) {
    int64_t first;
    int r = store_reserve(w->conn, table, count, &first);
    if (r == 0) {
        *ret_numbers = (struct numbers){.next = first, .end = first + (int64_t)count};
    }
    return r == -ENOTSUP ? 0 : r;
}

int write_pipeline(struct write *w, uint64_t tenants, uint64_t routers, struct problem *ret_problem) {
    w->pool.ahead = true;
    int r = reserve(w, "tenant_vpn_tunnels", tenants, &w->tenant_ids);
    r = r < 0 ? r : reserve(w, "vpn_configurations", routers, &w->router_ids);
    return r < 0 ? store_problem(w->conn, r, ret_problem) : 0;
}

int64_t write_number(struct numbers *numbers) {
    return numbers->next < numbers->end ? numbers->next++ : 0;
}

int write_note(struct write *w, const char *kind, const struct uuid *tenant_id, const struct uuid *router_id,
               const struct key *gone) {
    struct change *changes = array_grow(w->changes, &w->change_room, w->change_count + 1, sizeof *changes);
    if (!changes) {
        return -ENOMEM;
    }
    w->changes = changes;
    struct change *change = &w->changes[w->change_count++];
    *change =
        (struct change){.at = w->now, .kind = kind, .tenant_id = *tenant_id, .gateway_id = w->ledger->identity->id};
    if (router_id) {
        change->router_id = *router_id;
    }
    if (gone) {
        change->gone = *gone;
    }
    return 0;
}

int write_tell(struct write *w, const char *before, const char *after) {
    struct change *change = &w->changes[w->change_count - 1];
    change->before = before ? strdup(before) : NULL;
    change->after = after ? strdup(after) : NULL;
    return (before && !change->before) || (after && !change->after) ? -ENOMEM : 0;
}

void write_forget(struct write *w, size_t kept) {
    for (size_t i = kept; i < w->change_count; i++) {
        free(w->changes[i].before);
        free(w->changes[i].after);
    }
    w->change_count = kept;
}

static void end(struct write *w) {
    write_forget(w, 0);
    ledger_turn_end(w->ledger);
    w->on = false;
    free(w->changes);
    w->changes = NULL;
}

static int number_changes(struct write *w, struct receipt *receipt) {
    if (!w->change_count) {
        return 0;
    }
    int r = changes_append(w->conn, w->changes, w->change_count, w->actor, &receipt->last);
    receipt->first = receipt->last + 1 - w->change_count;
    const struct change *last = &w->changes[w->change_count - 1];
    receipt->mark = (struct change_mark){receipt->last, last->at, last->tenant_id, last->router_id};
    bool by_caller = w->actor[0] && strcmp(w->actor, GATEWAY_ACTOR) != 0;
    return r < 0 || !by_caller ? r : audit_append(w->conn, w->changes, w->change_count, &w->author);
}

static int commit(struct write *w, bool silent, struct receipt *ret_receipt, struct problem *ret_problem) {
    struct ledger *ledger = w->ledger;
    struct receipt receipt = {0};
    int r = pool_flush(&w->pool);
    r = r < 0 ? r : pool_put_back(&w->pool);
    r = r < 0 ? r : number_changes(w, &receipt);
    if (!silent) {
        ledger_expect(ledger);
    }
    r = r < 0 ? r : store_commit(w->conn);
    if (r < 0) {
        bool unknown = r == -EINPROGRESS;
        r = store_problem(w->conn, r, ret_problem);
        if (!silent) {
            ledger_redeem(ledger);
        }
        write_abort(w);
        if (unknown && !silent) { /* it may have become true: compare as soon as there is an answer */
            ledger_doubt(ledger);
            if (ledger->unknown) {
                ledger->unknown(ledger->unknown_context);
            }
        }
        return r;
    }
    if (!silent) { /* before anybody sees its revision: whoever takes a place then is behind it */
        receipt.place = turn_take(ledger->queue);
    }
    pthread_mutex_lock(&ledger->mutex);
    ledger->counts.tenants += (uint64_t)w->more_tenants;
    ledger->counts.routers += (uint64_t)w->more_routers;
    advance(ledger, receipt.last);
    pthread_mutex_unlock(&ledger->mutex);
    end(w);
    *ret_receipt = receipt;
    return 0;
}

int write_commit(struct write *w, struct receipt *ret_receipt, struct problem *ret_problem) {
    return commit(w, false, ret_receipt, ret_problem);
}

int write_commit_silent(struct write *w, struct problem *ret_problem) {
    struct receipt none;
    return commit(w, true, &none, ret_problem);
}

void write_abort(struct write *w) {
    if (w->on) {
        store_rollback(w->conn);
        end(w);
    }
}
