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
 * the difference is what was not written yet. After a restart of the data plane memory has it. What a host that loses
 * its power takes along is what was unwritten.
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

#include "base/clock.h"
#include "service/state.h"

#define WRITES_PER_S 12 /* three rows each: the router's, what is counted, the tenant's */
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
    if (samples->count == samples->room) {
        size_t room = samples->room ? samples->room * 2 : 256;
        struct sample *more = reallocarray(samples->list, room, sizeof *more);
        if (!more) {
            return -ENOMEM;
        }
        samples->list = more;
        samples->room = room;
    }
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

static int take_unknown(struct service *s, const struct sample *sample, const struct session_row *row,
                        const char *generation, uint64_t restarts, int64_t now) {
    struct usage *usage = s->usage;
    int r = 0;
    pthread_mutex_lock(&usage->mutex);
    if (usage->restarts != restarts) {
        r = -ESTALE;
    } else if (!live_get(&usage->lives, &row->public_key)) {
        struct live *live = live_put(&usage->lives, row, s->self.id, generation, now_s());
        bool elsewhere = row->gateway_id && row->gateway_id != s->self.id;
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
static int look_up(struct service *s, const struct samples *samples, const char *generation, uint64_t restarts,
                   int64_t now) {
    struct store_conn *conn;
    struct problem problem;
    int r = samples->count ? store_reader_take(s->store, &conn, &problem) : 0;
    if (r < 0 || !samples->count) {
        return r;
    }
    for (size_t i = 0; r == 0 && i < samples->count; i++) {
        struct session_row row;
        r = sessions_get(conn, &samples->list[i].public_key, s->self.id, &row);
        if (r == 0) {
            r = take_unknown(s, &samples->list[i], &row, generation, restarts, now);
        } else if (r == -ENOENT) {
            r = 0; /* it was deleted, or its key changed, since it was read */
        }
    }
    store_reader_put(s->store, conn);
    return r;
}

/* The sessions that we held when we were last here: whether they still stand shows with the next reading. */
static int load(struct service *s, const char *generation) {
    struct store_conn *conn;
    struct problem problem;
    struct session_row *rows = malloc(HELD_BATCH * sizeof *rows);
    size_t count = HELD_BATCH;
    int64_t after = 0;
    int r = rows ? store_reader_take(s->store, &conn, &problem) : -ENOMEM;
    if (r < 0) {
        free(rows);
        return r;
    }
    while (r == 0 && count == HELD_BATCH) {
        r = sessions_list_held(conn, s->self.id, after, HELD_BATCH, rows, &count);
        pthread_mutex_lock(&s->usage->mutex);
        for (size_t i = 0; r == 0 && i < count; i++) {
            after = rows[i].id;
            bool known = live_get(&s->usage->lives, &rows[i].public_key);
            r = known || live_put(&s->usage->lives, &rows[i], s->self.id, generation, now_s()) ? 0 : -ENOMEM;
        }
        pthread_mutex_unlock(&s->usage->mutex);
    }
    store_reader_put(s->store, conn);
    free(rows);
    pthread_mutex_lock(&s->usage->mutex);
    s->usage->loaded = r == 0;
    pthread_mutex_unlock(&s->usage->mutex);
    return r;
}

/* Reads the data plane into memory. */
static int read_plane(struct service *s, char generation[GENERATION_SIZE], int64_t now) {
    struct usage *usage = s->usage;
    struct samples samples = {0};
    struct backend_state state = {0};
    uint64_t mark = 0;
    pthread_mutex_lock(&usage->mutex);
    uint64_t restarts = usage->restarts;
    pthread_mutex_unlock(&usage->mutex);
    pthread_mutex_lock(&s->watch_mutex);
    int r = s->watch ? s->ops->state(s->watch, &state) : -ENOTCONN;
    bool other = r == 0 && state.generation != usage->generation;
    r = r < 0 ? r : s->ops->each_peer(s->watch, other ? 0 : usage->since, sample_add, &samples, &mark);
    pthread_mutex_unlock(&s->watch_mutex);
    snprintf(generation, GENERATION_SIZE, "%" PRIx64, state.generation);
    if (r == 0 && !usage->loaded) { /* written by this thread alone */
        r = load(s, generation);
        usage->generation = r < 0 ? usage->generation : state.generation;
    } else if (r == 0 && other) {
        pthread_mutex_lock(&usage->mutex);
        live_restart(&usage->lives, NULL);
        pthread_mutex_unlock(&usage->mutex);
        usage->generation = state.generation;
        usage->since = 0;
    }
    r = r < 0 ? r : take_known(usage, &samples, restarts, now);
    r = r < 0 ? r : look_up(s, &samples, generation, restarts, now);
    if (r == 0) {
        usage->since = mark;
    }
    free(samples.list);
    return r;
}

int usage_flush(struct service *s, bool everything) {
    struct usage *usage = s->usage;
    char generation[GENERATION_SIZE] = "";
    int64_t now = clock_wall_us();
    int r = -ESTALE;
    pthread_mutex_lock(&usage->flush_mutex);
    for (int i = 0; i < 3 && r == -ESTALE; i++) {
        r = read_plane(s, generation, now);
    }
    if (r < 0) {
        snprintf(generation, sizeof generation, "%" PRIx64, usage->generation); /* memory is of that one still */
    }
    pthread_mutex_lock(&s->mutex);
    bool deposed = s->deposed;
    pthread_mutex_unlock(&s->mutex);
    int written =
        deposed ? 0 : usage_write(s, everything, generation, (double)WRITES_PER_S / gateways_alive_count(s), now);
    pthread_mutex_unlock(&usage->flush_mutex);
    return r < 0 ? r : written;
}

/* --- what happened to a peer --- */

void usage_forget(struct service *s, const struct key *public_key) {
    pthread_mutex_lock(&s->usage->mutex);
    struct live *live = live_get(&s->usage->lives, public_key);
    if (live) {
        live_leave(&s->usage->lives, live);
        live->over = true;
        live_make_urgent(&s->usage->lives, live);
    }
    pthread_mutex_unlock(&s->usage->mutex);
}

void usage_forget_tenant(struct service *s, const struct uuid *tenant_id) {
    size_t at = 0;
    struct lives *lives = &s->usage->lives;
    pthread_mutex_lock(&s->usage->mutex);
    if (live_tenant_get(lives, tenant_id)) {
        for (struct live *live; (live = hash_each(&lives->peers, &at));) {
            if (!live->dead && uuid_equal(&live->tenant_id, tenant_id)) {
                live_leave(lives, live);
                live->over = true;
                live_make_urgent(lives, live);
            }
        }
    }
    pthread_mutex_unlock(&s->usage->mutex);
}

void usage_moved(struct service *s, const struct key *public_key) {
    pthread_mutex_lock(&s->usage->mutex);
    struct live *live = live_get(&s->usage->lives, public_key);
    if (live) {
        live_leave(&s->usage->lives, live);
    }
    pthread_mutex_unlock(&s->usage->mutex);
}

void usage_taken_out(struct service *s, const struct desired_change *changes, size_t count) {
    struct lives *lives = &s->usage->lives;
    pthread_mutex_lock(&s->usage->mutex);
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        struct live *live;
        switch (changes[i].kind) {
        case DESIRED_PEER_REMOVE:
            s->usage->restarts++;
            live = live_get(lives, &changes[i].peer.public_key);
            if (live) {
                live_restart(lives, live);
            }
            break;
        case DESIRED_TENANT_REMOVE:
            s->usage->restarts++;
            while (live_tenant_get(lives, &changes[i].tenant.id) && (live = hash_each(&lives->peers, &at))) {
                if (!live->dead && uuid_equal(&live->tenant_id, &changes[i].tenant.id)) {
                    live_restart(lives, live);
                }
            }
            break;
        case DESIRED_PEER_SET:
        case DESIRED_TENANT_SET:
            break;
        }
    }
    pthread_mutex_unlock(&s->usage->mutex);
}

/* --- for readers --- */

void usage_timestamp(struct service *s, const struct key *public_key, uint8_t timestamp[DESIRED_TIMESTAMP_SIZE]) {
    pthread_mutex_lock(&s->usage->mutex);
    const struct live *live = live_get(&s->usage->lives, public_key);
    if (live && memcmp(live->timestamp, timestamp, DESIRED_TIMESTAMP_SIZE) > 0) {
        memcpy(timestamp, live->timestamp, DESIRED_TIMESTAMP_SIZE);
    }
    pthread_mutex_unlock(&s->usage->mutex);
}

uint64_t usage_mark(struct service *s) {
    struct timespec until;
    int timeout = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += READ_AGAIN_MS * (long)NSEC_PER_MSEC;
    until.tv_sec += until.tv_nsec / (long)NSEC_PER_SEC;
    until.tv_nsec %= (long)NSEC_PER_SEC;
    pthread_mutex_lock(&s->usage->mutex);
    while (s->usage->telling && timeout == 0) {
        timeout = pthread_cond_timedwait(&s->usage->told, &s->usage->mutex, &until);
    }
    uint64_t mark = s->usage->writes;
    pthread_mutex_unlock(&s->usage->mutex);
    return mark;
}

/* Whether rows took something over since the mark: what was read then and memory do not go together. */
static bool is_stale(const struct usage *usage, uint64_t mark) {
    return usage->writes != mark || usage->telling;
}

static void fill_router(struct service *s, struct router_row *row, int64_t now) {
    struct router *router = &row->router;
    const struct live *live = live_get(&s->usage->lives, &router->public_key);
    if (!live) {
        return;
    }
    bool elsewhere = row->gateway_id && row->gateway_id != s->self.id;
    bool fresh = live->started_at && live->handshake_at > now - CONNECTED_US;
    router->bytes_received += live->unwritten_received;
    router->bytes_sent += live->unwritten_sent;
    if (elsewhere && !live->advanced) {
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
        snprintf(router->gateway, sizeof router->gateway, "%s", fresh ? s->self.name : "");
    }
}

bool usage_fill_routers(struct service *s, uint64_t mark, struct router_row *rows, size_t count) {
    int64_t now = clock_wall_us();
    pthread_mutex_lock(&s->usage->mutex);
    bool stale = is_stale(s->usage, mark);
    for (size_t i = 0; !stale && i < count; i++) {
        fill_router(s, &rows[i], now);
    }
    pthread_mutex_unlock(&s->usage->mutex);
    return !stale;
}

bool usage_fill_tenants(struct service *s, uint64_t mark, struct tenant_row *rows, size_t count) {
    pthread_mutex_lock(&s->usage->mutex);
    bool stale = is_stale(s->usage, mark);
    for (size_t i = 0; !stale && i < count; i++) {
        const struct live_tenant *tenant = live_tenant_get(&s->usage->lives, &rows[i].tenant.id);
        if (tenant) {
            rows[i].tenant.bytes_received += tenant->unwritten_received;
            rows[i].tenant.bytes_sent += tenant->unwritten_sent;
        }
    }
    pthread_mutex_unlock(&s->usage->mutex);
    return !stale;
}

uint64_t usage_connected(struct service *s) {
    pthread_mutex_lock(&s->usage->mutex);
    uint64_t connected = s->usage->loaded ? s->usage->lives.connected : s->usage->held;
    pthread_mutex_unlock(&s->usage->mutex);
    return connected;
}

/* --- open, close --- */

/* The sessions themselves are read with the first reading of the data plane, which says whether they still stand. */
static int count_held(struct service *s) {
    struct store_conn *conn;
    struct problem problem;
    int r = store_reader_take(s->store, &conn, &problem);
    if (r == 0) {
        r = sessions_count_held(conn, s->self.id, &s->usage->held);
        store_reader_put(s->store, conn);
    }
    return r;
}

int usage_open(struct service *s) {
    pthread_condattr_t monotonic;
    s->usage = calloc(1, sizeof *s->usage);
    if (!s->usage) {
        return -ENOMEM;
    }
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->usage->flush_mutex, NULL);
    pthread_mutex_init(&s->usage->mutex, NULL);
    pthread_cond_init(&s->usage->told, &monotonic);
    pthread_condattr_destroy(&monotonic);
    live_open(&s->usage->lives);
    return count_held(s);
}

void usage_close(struct service *s) {
    if (s->usage) {
        live_free(&s->usage->lives);
        pthread_cond_destroy(&s->usage->told);
        pthread_mutex_destroy(&s->usage->mutex);
        pthread_mutex_destroy(&s->usage->flush_mutex);
        free(s->usage);
        s->usage = NULL;
    }
}
