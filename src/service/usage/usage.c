/* Counters, handshakes and sessions on their way from the data plane into the store.
 *
 * A hundred thousand idle routers send keepalives and make new sessions all the time; rows must not follow each of
 * them. So the data plane is read every few seconds into memory (live.h), and what readers of the API get is the row
 * and what memory knows beyond it. A row is written
 *   - at once (with the next reading) when something worth recording happened: a first handshake, the session came here
 *     or ended, the endpoint moved;
 *   - when 64 MiB are unwritten, at most once a minute;
 *   - else when its turn comes: not within ten minutes of its last time, and all gateways together write about a dozen
 *     such rows a second, so that with 100,000 routers each has its turn every two to three hours;
 *   - and when we are told to stop.
 *
 * Nothing is lost or counted twice: the store keeps, for each router and gateway, the data plane's counters as last
 * added to the sums, and the generation they are of. After a crash of sallyportd the data plane still has its counters:
 * the difference is what was not written yet. After a restart of the data plane memory has it. A power cut loses only
 * what was not yet written.
 *
 * The greatest timestamps (TAI64N) travel with the rows, and whoever puts a peer into the data plane gives it the
 * greatest of row and memory: an initiation that was recorded on the wire is refused after a restart. */
#include "service/usage/usage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/clock.h"
#include "service/plane/plane.h"
#include "service/record/identity.h"
#include "store/noun/routers.h"
#include "store/noun/tenants.h"
#include "store/store.h"

#define READ_AGAIN_MS 50
#define HELD_BATCH 500

struct samples {
    struct sample *list; /* owned */
    size_t count, room;
};

static int sample_add(void *context, const struct actual_peer *peer) {
    struct samples *samples = context;
    if (!peer->bytes_received && !peer->bytes_sent && !peer->last_handshake_at_us) {
        return 0;
    }
    struct sample *list = array_grow(samples->list, &samples->room, samples->count + 1, sizeof *list);
    if (!list) {
        return -ENOMEM;
    }
    samples->list = list;
    struct sample *sample = &samples->list[samples->count++];
    *sample = (struct sample){
        .public_key = peer->is.public_key,
        .bytes_received = peer->bytes_received,
        .bytes_sent = peer->bytes_sent,
        .last_handshake_at = peer->last_handshake_at_us,
        .endpoint = peer->is.endpoint,
    };
    memcpy(sample->timestamp, peer->is.timestamp, sizeof sample->timestamp);
    return 0;
}

/* Takes over what is known already; keeps the samples of peers that are not. -ESTALE: peers were taken out since these
 * were read, and may count from zero by now. */
static int take_known(struct usage *usage, struct samples *samples, uint64_t restarts, int64_t now) {
    size_t unknown = 0;
    pthread_mutex_lock(&usage->mutex);
    int r = usage->restarts == restarts ? 0 : -ESTALE;
    for (size_t i = 0; r == 0 && i < samples->count; i++) {
        struct live *live = live_get(&usage->lives, &samples->list[i].public_key);
        if (live) {
            live_take(&usage->lives, live, &samples->list[i], now);
        } else {
            samples->list[unknown++] = samples->list[i];
        }
    }
    pthread_mutex_unlock(&usage->mutex);
    if (r == 0) {
        samples->count = unknown;
    }
    return r;
}

static uint32_t now_s(void) {
    return (uint32_t)(clock_mono_ns() / NSEC_PER_SEC);
}

static int take_unknown(struct usage *usage, const struct sample *sample, const struct session_row *row,
                        const char *generation, uint64_t restarts, int64_t now) {
    int r = 0;
    pthread_mutex_lock(&usage->mutex);
    if (usage->restarts != restarts) {
        r = -ESTALE;
    } else if (!live_get(&usage->lives, &row->public_key)) {
        struct live *live = live_put(&usage->lives, row, usage->identity->id, generation, now_s());
        bool elsewhere = row->gateway_id && row->gateway_id != usage->identity->id;
        if (live && elsewhere && memcmp(sample->timestamp, row->timestamp, sizeof row->timestamp) <= 0) {
            live->handshake_at = sample->last_handshake_at; /* of before it went there */
        }
        if (live) {
            live_take(&usage->lives, live, sample, now);
        }
    }
    pthread_mutex_unlock(&usage->mutex);
    return r;
}

/* Peers of which nothing is known yet begin with their rows. */
static int look_up(struct usage *usage, const struct samples *samples, const char *generation, uint64_t restarts,
                   int64_t now) {
    struct store_conn *conn;
    struct problem problem;
    int r = samples->count ? store_reader_take(usage->store, &conn, &problem) : 0;
    if (r < 0 || !samples->count) {
        return r;
    }
    for (size_t i = 0; r == 0 && i < samples->count; i++) {
        struct session_row row;
        r = sessions_get(conn, &samples->list[i].public_key, usage->identity->id, &row);
        if (r == 0) {
            r = take_unknown(usage, &samples->list[i], &row, generation, restarts, now);
        } else if (r == -ENOENT) {
            r = 0; /* it was deleted, or its key changed, since it was read */
        }
    }
    store_reader_put(usage->store, conn);
    return r;
}

/* The sessions that we held when we were last here: whether they still stand shows with the next reading. */
static int load(struct usage *usage, const char *generation) {
    struct store_conn *conn;
    struct problem problem;
    struct session_row *rows = malloc(HELD_BATCH * sizeof *rows);
    size_t count = HELD_BATCH;
    int64_t after = 0;
    int r = rows ? store_reader_take(usage->store, &conn, &problem) : -ENOMEM;
    if (r < 0) {
        free(rows);
        return r;
    }
    while (r == 0 && count == HELD_BATCH) {
        r = sessions_list_held(conn, usage->identity->id, after, HELD_BATCH, rows, &count);
        pthread_mutex_lock(&usage->mutex);
        for (size_t i = 0; r == 0 && i < count; i++) {
            after = rows[i].id;
            bool known = live_get(&usage->lives, &rows[i].public_key);
            r = known || live_put(&usage->lives, &rows[i], usage->identity->id, generation, now_s()) ? 0 : -ENOMEM;
        }
        pthread_mutex_unlock(&usage->mutex);
    }
    store_reader_put(usage->store, conn);
    free(rows);
    pthread_mutex_lock(&usage->mutex);
    usage->loaded = r == 0;
    pthread_mutex_unlock(&usage->mutex);
    return r;
}

/* Under the mutex: the rows that say that their session is here are all that say so. */
static void reclaim_others(struct lives *lives) {
    size_t at = 0;
    for (struct live *live; (live = hash_each(&lives->peers, &at));) {
        if (!live->tombstone && !live->confirmed) {
            live_reclaim(lives, live);
        }
        live->confirmed = false;
    }
}

/* Sessions that we take for ours in the record, and that the record does not give us any more. */
static int recheck(struct usage *usage) {
    struct store_conn *conn;
    struct problem problem;
    struct session_row *rows = malloc(HELD_BATCH * sizeof *rows);
    size_t count = HELD_BATCH;
    int64_t after = 0;
    int r = rows ? store_reader_take(usage->store, &conn, &problem) : -ENOMEM;
    if (r < 0) {
        free(rows);
        return r;
    }
    pthread_mutex_lock(&usage->mutex);
    usage->recheck_due = false; /* from here on the feed is followed, or calls again */
    pthread_mutex_unlock(&usage->mutex);
    r = store_begin(conn, false);
    while (r == 0 && count == HELD_BATCH) {
        r = sessions_list_held(conn, usage->identity->id, after, HELD_BATCH, rows, &count);
        pthread_mutex_lock(&usage->mutex);
        for (size_t i = 0; r == 0 && i < count; i++) {
            struct live *live = live_get(&usage->lives, &rows[i].public_key);
            after = rows[i].id;
            if (live) {
                live->confirmed = true;
            }
        }
        pthread_mutex_unlock(&usage->mutex);
    }
    store_reader_put(usage->store, conn);
    free(rows);
    pthread_mutex_lock(&usage->mutex);
    if (r == 0) {
        reclaim_others(&usage->lives);
    } else {
        usage->recheck_due = true;
    }
    pthread_mutex_unlock(&usage->mutex);
    return r;
}

/* Reads the data plane into memory. */
static int read_plane(struct usage *usage, char generation[GENERATION_SIZE], int64_t now) {
    struct samples samples = {0};
    struct backend_state state = {0};
    uint64_t mark = 0;
    pthread_mutex_lock(&usage->mutex);
    uint64_t restarts = usage->restarts;
    pthread_mutex_unlock(&usage->mutex);
    int r = plane_read(usage->plane, usage->generation, usage->since, NULL, sample_add, &samples, &state, &mark);
    bool other = r == 0 && state.generation != usage->generation;
    snprintf(generation, GENERATION_SIZE, "%" PRIx64, state.generation);
    if (r == 0 && !usage->loaded) { /* written by this thread alone */
        r = load(usage, generation);
        usage->generation = r < 0 ? usage->generation : state.generation;
    } else if (r == 0 && other) {
        pthread_mutex_lock(&usage->mutex);
        live_restart(&usage->lives, NULL);
        pthread_mutex_unlock(&usage->mutex);
        usage->generation = state.generation;
        usage->since = 0;
    }
    r = r < 0 ? r : take_known(usage, &samples, restarts, now);
    r = r < 0 ? r : look_up(usage, &samples, generation, restarts, now);
    if (r == 0) {
        usage->since = mark;
    }
    free(samples.list);
    return r;
}

int usage_flush(struct usage *usage, bool everything, double writes_per_s) {
    char generation[GENERATION_SIZE] = "";
    int64_t now = clock_wall_us();
    int r = -ESTALE;
    pthread_mutex_lock(&usage->flush_mutex);
    for (int i = 0; i < 3 && r == -ESTALE; i++) {
        r = read_plane(usage, generation, now);
    }
    if (r < 0) {
        snprintf(generation, sizeof generation, "%" PRIx64, usage->generation); /* memory is of that one still */
    }
    pthread_mutex_lock(&usage->mutex);
    bool recheck_due = usage->recheck_due && usage->loaded;
    pthread_mutex_unlock(&usage->mutex);
    if (recheck_due) {
        (void)recheck(usage); /* else with the next flush */
    }
    int written = writes_per_s > 0 ? usage_write(usage, everything, generation, writes_per_s, now) : 0;
    pthread_mutex_unlock(&usage->flush_mutex);
    return r < 0 ? r : written;
}

/* --- what happened to a peer --- */

void usage_forget(struct usage *usage, const struct key *public_key) {
    pthread_mutex_lock(&usage->mutex);
    struct live *live = live_get(&usage->lives, public_key);
    if (live) {
        live_leave(&usage->lives, live);
        live->leaving = true;
        live_make_urgent(&usage->lives, live);
    }
    pthread_mutex_unlock(&usage->mutex);
}

void usage_forget_tenant(struct usage *usage, const struct uuid *tenant_id) {
    size_t at = 0;
    struct lives *lives = &usage->lives;
    pthread_mutex_lock(&usage->mutex);
    if (live_tenant_get(lives, tenant_id)) {
        for (struct live *live; (live = hash_each(&lives->peers, &at));) {
            if (!live->tombstone && uuid_equal(&live->tenant_id, tenant_id)) {
                live_leave(lives, live);
                live->leaving = true;
                live_make_urgent(lives, live);
            }
        }
    }
    pthread_mutex_unlock(&usage->mutex);
}

void usage_ended(struct usage *usage, const struct key *public_key) {
    pthread_mutex_lock(&usage->mutex);
    struct live *live = live_get(&usage->lives, public_key);
    if (live) {
        live_reclaim(&usage->lives, live);
    }
    pthread_mutex_unlock(&usage->mutex);
}

void usage_recheck(struct usage *usage) {
    pthread_mutex_lock(&usage->mutex);
    usage->recheck_due = true;
    pthread_mutex_unlock(&usage->mutex);
}

void usage_moved(struct usage *usage, const struct key *public_key) {
    pthread_mutex_lock(&usage->mutex);
    struct live *live = live_get(&usage->lives, public_key);
    if (live) {
        live_leave(&usage->lives, live);
    }
    pthread_mutex_unlock(&usage->mutex);
}

/* After these were applied: removed peers count from zero. */
static void taken_out(void *context, const struct desired_change *changes, size_t count) {
    struct usage *usage = context;
    struct lives *lives = &usage->lives;
    pthread_mutex_lock(&usage->mutex);
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        struct live *live;
        switch (changes[i].kind) {
        case DESIRED_PEER_REMOVE:
            usage->restarts++;
            live = live_get(lives, &changes[i].peer.public_key);
            if (live) {
                live_restart(lives, live);
            }
            break;
        case DESIRED_TENANT_REMOVE:
            usage->restarts++;
            while (live_tenant_get(lives, &changes[i].tenant.id) && (live = hash_each(&lives->peers, &at))) {
                if (!live->tombstone && uuid_equal(&live->tenant_id, &changes[i].tenant.id)) {
                    live_restart(lives, live);
                }
            }
            break;
        case DESIRED_PEER_SET:
        case DESIRED_TENANT_SET:
            break;
        }
    }
    pthread_mutex_unlock(&usage->mutex);
}

/* --- for readers --- */

void usage_timestamp(struct usage *usage, const struct key *public_key, uint8_t timestamp[DESIRED_TIMESTAMP_SIZE]) {
    pthread_mutex_lock(&usage->mutex);
    const struct live *live = live_get(&usage->lives, public_key);
    if (live && memcmp(live->timestamp, timestamp, DESIRED_TIMESTAMP_SIZE) > 0) {
        memcpy(timestamp, live->timestamp, DESIRED_TIMESTAMP_SIZE);
    }
    pthread_mutex_unlock(&usage->mutex);
}

uint64_t usage_mark(struct usage *usage) {
    struct timespec until;
    int timeout = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += READ_AGAIN_MS * (long)NSEC_PER_MSEC;
    until.tv_sec += until.tv_nsec / (long)NSEC_PER_SEC;
    until.tv_nsec %= (long)NSEC_PER_SEC;
    pthread_mutex_lock(&usage->mutex);
    while (usage->writing && timeout == 0) {
        timeout = pthread_cond_timedwait(&usage->settled, &usage->mutex, &until);
    }
    uint64_t mark = usage->writes;
    pthread_mutex_unlock(&usage->mutex);
    return mark;
}

/* Whether rows took something over since the mark: what was read then and memory do not go together. */
static bool is_stale(const struct usage *usage, uint64_t mark) {
    return usage->writes != mark || usage->writing;
}

static void fill_router(struct usage *usage, struct router_row *row, int64_t now) {
    struct router *router = &row->router;
    const struct live *live = live_get(&usage->lives, &router->public_key);
    if (!live) {
        return;
    }
    bool elsewhere = row->gateway_id && row->gateway_id != usage->identity->id;
    bool fresh = live->started_at && live->handshake_at > now - CONNECTED_US;
    router->bytes_received += live->unwritten_received;
    router->bytes_sent += live->unwritten_sent;
    if (elsewhere && !live->news) {
        return;
    }
    if (live->handshake_at > router->last_handshake_at) {
        router->last_handshake_at = live->handshake_at;
    }
    if (live->endpoint.sa.sa_family) {
        router->endpoint = live->endpoint;
    }
    if (!elsewhere && router->status != ROUTER_DISABLED) {
        router->connected = fresh;
        router->connected_since = !fresh ? 0 : router->connected_since ? router->connected_since : live->started_at;
        snprintf(router->gateway, sizeof router->gateway, "%s", fresh ? usage->identity->name : "");
    }
}

bool usage_fill_routers(struct usage *usage, uint64_t mark, struct router_row *rows, size_t count) {
    int64_t now = clock_wall_us();
    pthread_mutex_lock(&usage->mutex);
    bool stale = is_stale(usage, mark);
    for (size_t i = 0; !stale && i < count; i++) {
        fill_router(usage, &rows[i], now);
    }
    pthread_mutex_unlock(&usage->mutex);
    return !stale;
}

bool usage_fill_tenants(struct usage *usage, uint64_t mark, struct tenant_row *rows, size_t count) {
    pthread_mutex_lock(&usage->mutex);
    bool stale = is_stale(usage, mark);
    for (size_t i = 0; !stale && i < count; i++) {
        const struct live_tenant *tenant = live_tenant_get(&usage->lives, &rows[i].tenant.id);
        if (tenant) {
            rows[i].tenant.bytes_received += tenant->unwritten_received;
            rows[i].tenant.bytes_sent += tenant->unwritten_sent;
        }
    }
    pthread_mutex_unlock(&usage->mutex);
    return !stale;
}

int usage_each_endpoint(struct usage *usage, usage_endpoint_fn *fn, void *context) {
    size_t at = 0;
    int r = 0;
    pthread_mutex_lock(&usage->mutex);
    for (const struct live *live; r == 0 && (live = hash_each(&usage->lives.peers, &at));) {
        struct ip_addr address = endpoint_addr(&live->endpoint);
        r = !live->tombstone && live->started_at && address.family ? fn(context, &address) : 0;
    }
    pthread_mutex_unlock(&usage->mutex);
    return r;
}

uint64_t usage_connected(struct usage *usage) {
    pthread_mutex_lock(&usage->mutex);
    uint64_t connected = usage->loaded ? usage->lives.connected : usage->held;
    pthread_mutex_unlock(&usage->mutex);
    return connected;
}

/* --- open, close --- */

/* The sessions themselves are read with the first reading of the data plane, which says whether they still stand. */
int usage_count_held(struct usage *usage) {
    struct store_conn *conn;
    struct problem problem;
    uint64_t held = 0;
    int r = store_reader_take(usage->store, &conn, &problem);
    if (r == 0) {
        r = sessions_count_held(conn, usage->identity->id, &held);
        store_reader_put(usage->store, conn);
    }
    if (r == 0) {
        pthread_mutex_lock(&usage->mutex);
        usage->held = held;
        pthread_mutex_unlock(&usage->mutex);
    }
    return r;
}

int usage_open(const struct usage_config *config, struct usage **ret_usage) {
    pthread_condattr_t monotonic;
    struct usage *usage = calloc(1, sizeof *usage);
    if (!usage) {
        return -ENOMEM;
    }
    usage->store = config->store;
    usage->identity = config->identity;
    usage->ledger = config->ledger;
    usage->plane = config->plane;
    usage->period_s = config->period_s;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&usage->flush_mutex, NULL);
    pthread_mutex_init(&usage->mutex, NULL);
    pthread_cond_init(&usage->settled, &monotonic);
    pthread_condattr_destroy(&monotonic);
    live_open(&usage->lives);
    plane_observe(usage->plane, taken_out, usage);
    *ret_usage = usage;
    return 0;
}

void usage_close(struct usage *usage) {
    if (usage) {
        plane_observe(usage->plane, NULL, NULL);
        free(usage->unknown);
        live_free(&usage->lives);
        pthread_cond_destroy(&usage->settled);
        pthread_mutex_destroy(&usage->mutex);
        pthread_mutex_destroy(&usage->flush_mutex);
        free(usage);
    }
}
