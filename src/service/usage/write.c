/* From memory into rows: which are due, and what they are changed by. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/hooks.h"
#include "service/record/identity.h"
#include "service/record/ledger.h"
#include "service/usage/usage.h"
#include "store/noun/tenants.h"
#include "store/store.h"

#define USAGE_BATCH 256
#define DENSE_MOST (4 * USAGE_BATCH) /* rows in between that are worth reading along */
#define LOOK_NS (10 * NSEC_PER_SEC)  /* between looks through the whole table, where readings are more frequent */
#define REST_S 600                   /* a row that has time rests that long */
#define HEAVY_BYTES (UINT64_C(64) << 20)
#define HEAVY_REST_S 60

/* What one transaction changes a row by, until it is committed. */
struct row_delta {
    struct key public_key;
    int64_t row_id;
    uint64_t received, sent;
    uint64_t counted_received, counted_sent; /* what the row says is counted, from now on */
    uint32_t seen;
    bool owned; /* from now on */
    bool took;
    bool lost;    /* its session is elsewhere */
    bool leaving; /* nothing is left of it */
    bool unknown; /* not in memory any more */
};

struct tenant_sum {
    int64_t tunnel_id;
    uint64_t received, sent;
};

struct batch {
    struct row_delta deltas[USAGE_BATCH];
    struct session_row rows[DENSE_MOST]; /* read with one query, in the order of their ids */
    size_t row_count;
    bool dense; /* or one by one */
    struct tenant_sum tenants[USAGE_BATCH];
    size_t tenant_count;
    size_t count; /* of the deltas */
    char generation[GENERATION_SIZE];
    int64_t self; /* this gateway */
};

static void add_to_tenant(struct batch *batch, int64_t tunnel_id, const struct row_delta *delta) {
    size_t i = 0;
    if (!delta->received && !delta->sent) {
        return;
    }
    while (i < batch->tenant_count && batch->tenants[i].tunnel_id != tunnel_id) {
        i++;
    }
    if (i == batch->tenant_count) {
        batch->tenants[batch->tenant_count++] = (struct tenant_sum){.tunnel_id = tunnel_id};
    }
    batch->tenants[i].received += delta->received;
    batch->tenants[i].sent += delta->sent;
}

/* Whether the handshake here is younger (1) or older (-1) than the one that the row knows of; 0: as far as can be said,
 * the same. WireGuard in the kernel does not tell timestamps: then the clocks must do. */
static int compare_age(const struct live *live, const struct session_row *row) {
    static const uint8_t none[DESIRED_TIMESTAMP_SIZE];
    if (memcmp(live->timestamp, none, sizeof none) == 0) {
        return live->handshake_at > row->connected_since ? 0 : -1;
    }
    return memcmp(live->timestamp, row->timestamp, sizeof row->timestamp);
}

/* Whose session it is, as the row should say. The gateway that saw the greatest timestamp has it: that is the router's
 * own clock, so it does not matter what ours say. */
static int write_session(struct write *w, int64_t self, const struct live *live, struct session_row *row,
                         struct row_delta *delta) {
    int order = compare_age(live, row);
    bool ours = row->gateway_id == self && row->connected_since;
    bool takes = live->started_at && !ours && live->news && (!row->gateway_id || order >= 0);
    bool ends = ours && !live->started_at;
    const char *kind = row->status == ROUTER_PENDING && live->handshake_at ? "router.activated"
                       : takes                                             ? "router.connected"
                       : ends                                              ? "router.disconnected"
                                                                           : NULL;
    int r = 0;
    delta->lost = live->started_at && !ours && !takes && row->gateway_id && order < 0;
    delta->took = takes;
    delta->owned = takes || (ours && !ends);
    if (takes && !row->connected_since) {
        r = tenants_add_connected(w->conn, row->tunnel_id, 1);
    } else if (ends) {
        r = tenants_add_connected(w->conn, row->tunnel_id, -1);
    }
    if (takes || ends) {
        row->gateway_id = takes ? self : 0;
        row->connected_since = takes ? live->started_at : 0;
    }
    if (live->handshake_at && row->status == ROUTER_PENDING) {
        row->status = ROUTER_ACTIVE;
    }
    if ((delta->owned || ends || !row->gateway_id) && live->handshake_at > row->last_handshake_at) {
        row->last_handshake_at = live->handshake_at;
    }
    if (delta->owned) {
        endpoint_format(&live->endpoint, row->endpoint);
    }
    if (memcmp(live->timestamp, row->timestamp, sizeof row->timestamp) > 0) {
        memcpy(row->timestamp, live->timestamp, sizeof row->timestamp);
    }
    return r < 0 || !kind ? r : write_note(w, kind, &row->tenant_id, &row->router_id, NULL);
}

static bool says_the_same(const struct session_row *a, const struct session_row *b) {
    return a->status == b->status && a->last_handshake_at == b->last_handshake_at &&
           a->bytes_received == b->bytes_received && a->bytes_sent == b->bytes_sent &&
           memcmp(a->timestamp, b->timestamp, sizeof a->timestamp) == 0 && strcmp(a->endpoint, b->endpoint) == 0 &&
           a->gateway_id == b->gateway_id && a->connected_since == b->connected_since;
}

static int compare_rows(const void *a, const void *b) {
    const struct session_row *one = a, *other = b;
    return (one->id > other->id) - (one->id < other->id);
}

static struct session_row *find_row(struct batch *batch, int64_t row_id) {
    const struct session_row wanted = {.id = row_id};
    return batch->dense ? bsearch(&wanted, batch->rows, batch->row_count, sizeof *batch->rows, compare_rows) : NULL;
}

static int read_row(struct write *w, struct batch *batch, int64_t row_id, struct session_row *ret_row) {
    const struct session_row *found = find_row(batch, row_id);
    if (!batch->dense) {
        return sessions_get_row(w->conn, row_id, batch->self, ret_row);
    }
    if (found) {
        *ret_row = *found;
    }
    return found ? 0 : -ENOENT;
}

static int write_row(struct write *w, struct batch *batch, const struct live *live, int64_t tunnel_id,
                     struct row_delta *delta) {
    int64_t self = batch->self;
    struct session_row row, before;
    *delta = (struct row_delta){.public_key = live->public_key,
                                .row_id = live->row_id,
                                .received = live->unwritten_received,
                                .sent = live->unwritten_sent,
                                .seen = live->seen};
    int r = read_row(w, batch, live->row_id, &row);
    if (r == -ENOENT) {
        delta->leaving = true; /* deleted: the tenant has had the traffic all the same */
        add_to_tenant(batch, tunnel_id, delta);
        return 0;
    }
    if (r < 0) {
        return r;
    }
    before = row;
    bool same = key_equal(&row.public_key, &live->public_key);
    row.bytes_received += delta->received;
    row.bytes_sent += delta->sent;
    delta->leaving = !same || live->leaving;
    if (same && !live->leaving && row.status != ROUTER_DISABLED) {
        r = write_session(w, self, live, &row, delta);
    } else if (same && memcmp(live->timestamp, row.timestamp, sizeof row.timestamp) > 0) {
        memcpy(row.timestamp, live->timestamp, sizeof row.timestamp);
    }
    if (same) {
        delta->counted_received = live->received;
        delta->counted_sent = live->sent;
        row.counted_received = live->received;
        row.counted_sent = live->sent;
        snprintf(row.counted_generation, sizeof row.counted_generation, "%s", batch->generation);
    }
    r = r < 0 || says_the_same(&row, &before) ? r : sessions_set(w->conn, &row);
    bool counted = row.counted_received != before.counted_received || row.counted_sent != before.counted_sent ||
                   strcmp(row.counted_generation, before.counted_generation) != 0;
    r = r < 0 || !counted ? r : sessions_set_counted(w->conn, self, &row);
    struct session_row *kept = find_row(batch, row.id);
    if (kept) {
        *kept = row; /* a router with new keys is here twice */
    }
    add_to_tenant(batch, row.tunnel_id, delta);
    return r;
}

static void settle(struct lives *lives, const struct row_delta *delta, uint32_t now_s) {
    struct live *live = delta->unknown ? NULL : live_get(lives, &delta->public_key);
    if (!live) {
        return;
    }
    live_written(lives, live, delta->received, delta->sent);
    live->written_s = now_s;
    live->dirty = live->seen != delta->seen;
    if (delta->leaving && !live->dirty) {
        live_drop(lives, live);
        return;
    }
    if (delta->leaving) {
        live_make_urgent(lives, live);
    }
    live->never_met = live->never_met && !live->handshake_at;
    live->owned = delta->owned;
    live->news = live->news && !delta->took;
    if (delta->lost) {
        live_leave(lives, live);
    }
}

/* One to be written. */
struct due_one {
    int64_t row_id;
    struct key public_key;
};

/* Many that are due sit close together, as after a storm: one question for all of them. */
static int read_rows(struct write *w, struct batch *batch, const struct due_one *due, size_t count) {
    int64_t first = due[0].row_id, last = due[count - 1].row_id;
    batch->dense = count > 1 && last - first < DENSE_MOST && last - first < 4 * (int64_t)count;
    return batch->dense
               ? sessions_list_rows(w->conn, batch->self, first, last, DENSE_MOST, batch->rows, &batch->row_count)
               : 0;
}

/* A batch is in the rows: memory takes note. */
static void settle_all(struct usage *usage, const struct batch *batch) {
    uint32_t now_s = (uint32_t)(clock_mono_ns() / NSEC_PER_SEC);
    pthread_mutex_lock(&usage->mutex);
    for (size_t i = 0; i < batch->count; i++) {
        settle(&usage->lives, &batch->deltas[i], now_s);
    }
    usage->writes++;
    pthread_mutex_unlock(&usage->mutex);
}

/* Whether the rows say what a batch wrote: one that does is enough, since all of them were one transaction. Where a
 * batch counted nothing there is nothing to tell it by, and nothing to be counted twice. */
static int find_out(struct usage *usage, const struct batch *batch, bool *ret_done) {
    struct store_conn *conn;
    struct problem problem;
    bool counts = false, done = false;
    int r = store_reader_take(usage->store, &conn, &problem);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; r == 0 && !done && i < batch->count; i++) {
        const struct row_delta *delta = &batch->deltas[i];
        struct session_row row;
        if (delta->unknown || (!delta->received && !delta->sent)) {
            continue;
        }
        counts = true;
        r = sessions_get_row(conn, delta->row_id, batch->self, &row);
        done = r == 0 && row.counted_received == delta->counted_received && row.counted_sent == delta->counted_sent &&
               strcmp(row.counted_generation, batch->generation) == 0;
        r = r == -ENOENT ? 0 : r; /* deleted by now */
    }
    store_reader_put(usage->store, conn);
    if (r == 0) {
        *ret_done = done || !counts;
    }
    return r;
}

/* A commit of unknown outcome, until it is known: its bytes would be counted twice, or not at all. */
static int resolve(struct usage *usage) {
    bool done = false;
    int r = usage->unknown ? find_out(usage, usage->unknown, &done) : 0;
    if (r < 0 || !usage->unknown) {
        return r;
    }
    if (done) {
        settle_all(usage, usage->unknown);
    }
    free(usage->unknown);
    usage->unknown = NULL;
    return 0;
}

/* `due` is in the order of rows. */
static int write_batch(struct usage *usage, const struct due_one *due, size_t count, struct batch *batch,
                       bool *ret_unknown) {
    struct problem problem = {0};
    struct write w;
    batch->count = count;
    batch->tenant_count = 0;
    int r = write_begin(usage->ledger, "gateway", &w, &problem);
    if (r < 0) {
        return r;
    }
    r = read_rows(&w, batch, due, count);
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct live copy = {0};
        int64_t tunnel_id = 0;
        pthread_mutex_lock(&usage->mutex);
        const struct live *live = live_get(&usage->lives, &due[i].public_key);
        if (live) {
            const struct live_tenant *tenant = live_tenant_get(&usage->lives, &live->tenant_id);
            copy = *live;
            tunnel_id = tenant ? tenant->tunnel_id : 0;
        }
        pthread_mutex_unlock(&usage->mutex);
        batch->deltas[i].unknown = !live;
        r = live ? write_row(&w, batch, &copy, tunnel_id, &batch->deltas[i]) : 0;
    }
    for (size_t i = 0; r == 0 && i < batch->tenant_count; i++) {
        const struct tenant_sum *sum = &batch->tenants[i];
        r = tenants_add_usage(w.conn, sum->tunnel_id, sum->received, sum->sent);
    }
    if (r < 0) {
        r = store_problem(w.conn, r, &problem);
        write_abort(&w);
        return r;
    }
    pthread_mutex_lock(&usage->mutex);
    usage->writing = true;
    pthread_mutex_unlock(&usage->mutex);
    r = write_commit_silent(&w, &problem);
    if (r == 0) {
        settle_all(usage, batch);
    }
    *ret_unknown = r < 0 && strcmp(problem.type, PROBLEM_STORE_UNKNOWN) == 0;
    pthread_mutex_lock(&usage->mutex);
    usage->writing = false;
    usage->writes++;
    pthread_cond_broadcast(&usage->settled);
    pthread_mutex_unlock(&usage->mutex);
    if (r < 0) {
        write_abort(&w);
    }
    return r;
}

struct due {
    struct due_one *list; /* owned */
    size_t count, room;
};

static bool due_add(struct due *due, const struct live *live) {
    struct due_one *list = array_grow(due->list, &due->room, due->count + 1, sizeof *list);
    if (!list) {
        return false; /* they stay dirty */
    }
    due->list = list;
    due->list[due->count++] = (struct due_one){.row_id = live->row_id, .public_key = live->public_key};
    return true;
}

static int compare_due(const void *a, const void *b) {
    const struct due_one *one = a, *other = b;
    return (one->row_id > other->row_id) - (one->row_id < other->row_id);
}

/* Under the mutex: the urgent ones. */
static void gather_urgent(struct lives *lives, struct due *due) {
    size_t kept = 0;
    for (size_t i = 0; i < lives->urgent_count; i++) {
        struct live *live = live_get(lives, &lives->urgent[i]);
        if (live && live->urgent) {
            live->urgent = !due_add(due, live);
            if (live->urgent) { /* no memory now: they stay in the list */
                lives->urgent[kept++] = live->public_key;
            }
        }
    }
    lives->urgent_count = kept;
}

/* Those with time whose turn has come. Going on where the last look ended, all are served alike. */
static void gather_resting(struct usage *usage, struct due *due, bool everything, uint32_t now_s) {
    uint32_t rest_s = hooks_usage_rest_s(REST_S);
    struct lives *lives = &usage->lives;
    size_t begin = usage->cursor < lives->peers.room ? usage->cursor : 0, at = begin;
    bool wrapped = false;
    for (;;) {
        const struct live *live = hash_each(&lives->peers, &at);
        if (!live && !wrapped && begin) {
            wrapped = true;
            at = 0;
            continue;
        }
        if (!live || (wrapped && at > begin)) {
            break;
        }
        uint32_t rested = now_s - live->written_s;
        bool heavy = rested >= HEAVY_REST_S && live->unwritten_received + live->unwritten_sent >= HEAVY_BYTES;
        bool turn = rested >= rest_s && usage->allowance >= 1;
        if (live->tombstone || !live->dirty || live->urgent || !(everything || heavy || turn)) {
            continue;
        }
        if (!everything && !heavy) {
            usage->allowance -= 1;
            usage->cursor = at;
        }
        if (!due_add(due, live)) {
            break;
        }
    }
}

int usage_write(struct usage *usage, bool everything, const char *generation, double rate, int64_t now) {
    struct due due = {0};
    bool unknown = false;
    int r = resolve(usage);
    if (r < 0) {
        return r;
    }
    uint64_t now_ns = clock_mono_ns(), since_ns = now_ns - usage->looked_ns;
    bool looks = everything || usage->period_s * NSEC_PER_SEC >= LOOK_NS || since_ns >= LOOK_NS;
    if (looks) {
        /* What was not needed in quiet times is not saved up for long. */
        usage->allowance += rate * (double)(since_ns < 6 * LOOK_NS ? since_ns : 6 * LOOK_NS) / (double)NSEC_PER_SEC;
        usage->allowance = usage->allowance < rate * 60 ? usage->allowance : rate * 60;
        usage->looked_ns = now_ns;
    }
    pthread_mutex_lock(&usage->mutex);
    if (looks) {
        live_expire(&usage->lives, now);
        /* Before the urgent ones, whose mark goes when they are gathered: nobody may be here twice. */
        gather_resting(usage, &due, everything, (uint32_t)(now_ns / NSEC_PER_SEC));
        live_compact(&usage->lives);
    }
    gather_urgent(&usage->lives, &due);
    pthread_mutex_unlock(&usage->mutex);
    if (due.count) {
        qsort(due.list, due.count, sizeof *due.list, compare_due);
    }
    struct batch *batch = due.count ? calloc(1, sizeof *batch) : NULL;
    r = batch || !due.count ? 0 : -ENOMEM;
    for (size_t at = 0; r == 0 && at < due.count; at += USAGE_BATCH) {
        size_t count = due.count - at < USAGE_BATCH ? due.count - at : USAGE_BATCH;
        snprintf(batch->generation, sizeof batch->generation, "%s", generation);
        batch->self = usage->identity->id;
        r = write_batch(usage, due.list + at, count, batch, &unknown);
        for (size_t i = at; r < 0 && i < due.count; i++) {
            pthread_mutex_lock(&usage->mutex);
            struct live *live = live_get(&usage->lives, &due.list[i].public_key);
            if (live) {
                live_make_urgent(&usage->lives, live); /* again next time */
            }
            pthread_mutex_unlock(&usage->mutex);
        }
    }
    if (unknown) {
        usage->unknown = batch;
        batch = NULL;
    }
    free(batch);
    free(due.list);
    return r;
}
