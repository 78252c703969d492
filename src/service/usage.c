/* Counters and handshakes on their way from the data plane into the store: only rows that changed, in small
 * transactions.
 *
 * The store keeps, beside the sums, the data plane's counters as last added to them and the generation they are of: so
 * a restart of either side neither loses nor doubles what was counted. Who is connected is held in memory, a few bytes
 * each. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/state.h"

#define USAGE_BATCH 256

struct sample {
    struct key public_key;
    uint64_t bytes_received, bytes_sent;
    int64_t last_handshake_at;
    union endpoint endpoint;
    uint8_t timestamp[DESIRED_TIMESTAMP_SIZE];
};

struct session {
    int64_t row_id;
    int64_t tunnel_id;
    int64_t last_handshake_at; /* 0: over */
};

struct tenant_sessions {
    int64_t tunnel_id;
    uint32_t connected, written;
};

struct usage {
    pthread_mutex_t flush_mutex; /* one flush at a time, and what only it touches: */
    uint64_t since;
    uint64_t generation;
    pthread_mutex_t mutex; /* all that follows */
    struct table sessions, tenants;
    size_t over; /* sessions that are */
};

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

/* What a counter has grown by since it was last added: all of it if the data plane counts from zero again. */
static uint64_t grown(uint64_t counter, uint64_t counted, bool same) {
    return same && counter >= counted ? counter - counted : counter;
}

/* The row as it should become. False: it is so already. */
static bool merge(struct router_usage *u, const struct sample *sample, const char *generation, uint64_t *ret_received,
                  uint64_t *ret_sent) {
    bool same = strcmp(u->counted_generation, generation) == 0;
    char endpoint[ENDPOINT_TEXT_SIZE];
    endpoint_format(&sample->endpoint, endpoint);
    *ret_received = grown(sample->bytes_received, u->counted_received, same);
    *ret_sent = grown(sample->bytes_sent, u->counted_sent, same);
    bool changed = *ret_received || *ret_sent;
    u->bytes_received += *ret_received;
    u->bytes_sent += *ret_sent;
    u->counted_received = sample->bytes_received;
    u->counted_sent = sample->bytes_sent;
    snprintf(u->counted_generation, sizeof u->counted_generation, "%s", generation);
    if (sample->last_handshake_at > u->last_handshake_at) {
        u->last_handshake_at = sample->last_handshake_at;
        changed = true;
    }
    if (memcmp(sample->timestamp, u->timestamp, sizeof u->timestamp) > 0) {
        memcpy(u->timestamp, sample->timestamp, sizeof u->timestamp);
        changed = true;
    }
    if (endpoint[0] && strcmp(endpoint, u->endpoint) != 0) {
        snprintf(u->endpoint, sizeof u->endpoint, "%s", endpoint);
        changed = true;
    }
    return changed;
}

/* Notes a handshake: under usage->mutex. */
static void session_note(struct usage *usage, int64_t row_id, int64_t tunnel_id, int64_t at) {
    struct session *session = table_put(&usage->sessions, &row_id);
    struct tenant_sessions *tenant = table_put(&usage->tenants, &tunnel_id);
    if (!session || !tenant) {
        return; /* no memory: it counts as connected from its next handshake on */
    }
    if (!session->last_handshake_at) {
        usage->over -= session->tunnel_id != 0;
        tenant->connected++;
    }
    session->tunnel_id = tunnel_id;
    session->last_handshake_at = at > session->last_handshake_at ? at : session->last_handshake_at;
}

static void session_end(struct usage *usage, struct session *session) {
    if (session->last_handshake_at) {
        struct tenant_sessions *tenant = table_get(&usage->tenants, &session->tunnel_id);
        if (tenant && tenant->connected) {
            tenant->connected--;
        }
        session->last_handshake_at = 0;
        usage->over++;
    }
}

static void session_load(void *context, int64_t row_id, int64_t tunnel_id, int64_t last_handshake_at) {
    session_note(context, row_id, tunnel_id, last_handshake_at);
}

/* One sample into its row. 1: written. */
static int write_sample(struct service *s, struct write *w, const struct sample *sample, const char *generation,
                        int64_t now) {
    struct router_usage u;
    uint64_t received, sent;
    int r = routers_get_usage(w->conn, &sample->public_key, &u);
    if (r < 0 || u.status == ROUTER_DISABLED || !merge(&u, sample, generation, &received, &sent)) {
        return r == -ENOENT ? 0 : r; /* it was deleted, or its key changed, since it was counted */
    }
    if (u.status == ROUTER_PENDING && u.last_handshake_at) {
        u.status = ROUTER_ACTIVE;
        r = write_note(w, "router.activated", &u.tenant_id, &u.router_id, NULL);
    }
    r = r < 0 ? r : routers_set_usage(w->conn, &u);
    if (r == 0 && (received || sent)) {
        r = tenants_add_usage(w->conn, u.tunnel_id, received, sent);
    }
    if (r == 0 && u.last_handshake_at > now - CONNECTED_US) {
        pthread_mutex_lock(&s->usage->mutex);
        session_note(s->usage, u.id, u.tunnel_id, u.last_handshake_at);
        pthread_mutex_unlock(&s->usage->mutex);
    }
    return r < 0 ? r : 1;
}

/* Which samples of a batch would change their row, found without the writer. */
static int filter(struct service *s, struct sample *samples, size_t count, const char *generation, size_t *ret_count) {
    struct store_conn *conn;
    struct problem problem;
    size_t kept = 0;
    int r = store_reader_take(s->store, &conn, &problem);
    if (r < 0) {
        return r;
    }
    r = store_begin(conn, false);
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct router_usage u;
        uint64_t received, sent;
        r = routers_get_usage(conn, &samples[i].public_key, &u);
        if (r == 0 && merge(&u, &samples[i], generation, &received, &sent)) {
            samples[kept++] = samples[i];
        }
        r = r == -ENOENT ? 0 : r;
    }
    if (r == 0) {
        *ret_count = kept;
    }
    store_reader_put(s->store, conn);
    return r;
}

static int write_batch(struct service *s, struct sample *samples, size_t count, const char *generation,
                       uint64_t recounts, int64_t now) {
    struct problem problem;
    struct write w;
    int r = filter(s, samples, count, generation, &count);
    if (r < 0 || !count) {
        return r;
    }
    r = write_begin(s, "gateway", &w, &problem);
    if (r < 0) {
        return r;
    }
    pthread_mutex_lock(&s->mutex);
    bool stale = s->recounts != recounts;
    pthread_mutex_unlock(&s->mutex);
    if (stale) {
        /* Peers were taken out since these were counted: their rows expect counters from zero. Count anew. */
        write_abort(&w);
        return -ESTALE;
    }
    for (size_t i = 0; r >= 0 && i < count; i++) {
        r = write_sample(s, &w, &samples[i], generation, now);
    }
    r = r < 0 ? r : write_commit_aside(&w, &problem);
    if (r < 0) {
        write_abort(&w);
    }
    return r;
}

/* Sessions that are too old end; tenants whose count changed are written. */
static int write_connected(struct service *s, int64_t now) {
    struct usage *usage = s->usage;
    struct problem problem;
    size_t at = 0, left = 0;
    int r = 0;
    pthread_mutex_lock(&usage->mutex);
    for (struct session *session; (session = table_each(&usage->sessions, &at));) {
        if (session->last_handshake_at <= now - CONNECTED_US) {
            session_end(usage, session);
        }
    }
    at = 0;
    for (struct tenant_sessions *t; (t = table_each(&usage->tenants, &at));) {
        left += t->connected != t->written;
    }
    pthread_mutex_unlock(&usage->mutex);
    at = 0;
    while (r == 0 && left) {
        struct write w;
        size_t count = 0;
        r = write_begin(s, "gateway", &w, &problem);
        if (r < 0) {
            break;
        }
        pthread_mutex_lock(&usage->mutex);
        struct tenant_sessions *t = NULL;
        while (r == 0 && count < USAGE_BATCH && (t = table_each(&usage->tenants, &at))) {
            if (t->connected != t->written) {
                r = tenants_set_connected(w.conn, t->tunnel_id, t->connected);
                t->written = t->connected;
                count++;
            }
        }
        left = t ? left : 0;
        pthread_mutex_unlock(&usage->mutex);
        if (r < 0 || (r = write_commit_aside(&w, &problem)) < 0) {
            write_abort(&w);
        }
    }
    return r;
}

/* Rebuilds the tables without what is over, once that is most of them. */
static void compact(struct usage *usage) {
    pthread_mutex_lock(&usage->mutex);
    if (usage->over > 1024 && usage->over > usage->sessions.count / 2) {
        struct table sessions = usage->sessions, tenants = usage->tenants;
        size_t at = 0;
        table_open(&usage->sessions, sizeof(int64_t), sizeof(struct session));
        table_open(&usage->tenants, sizeof(int64_t), sizeof(struct tenant_sessions));
        usage->over = 0;
        for (struct tenant_sessions *t; (t = table_each(&tenants, &at));) {
            struct tenant_sessions *kept =
                t->connected || t->written ? table_put(&usage->tenants, &t->tunnel_id) : NULL;
            if (kept) {
                kept->written = t->written;
            }
        }
        at = 0;
        for (struct session *session; (session = table_each(&sessions, &at));) {
            if (session->last_handshake_at) {
                session_note(usage, session->row_id, session->tunnel_id, session->last_handshake_at);
            }
        }
        table_free(&sessions);
        table_free(&tenants);
    }
    pthread_mutex_unlock(&usage->mutex);
}

static int flush(struct service *s) {
    struct usage *usage = s->usage;
    struct samples samples = {0};
    struct backend_state state = {0};
    char generation[GENERATION_SIZE];
    int64_t now = clock_wall_us();
    uint64_t mark = 0;
    pthread_mutex_lock(&s->mutex);
    uint64_t recounts = s->recounts;
    pthread_mutex_unlock(&s->mutex);
    pthread_mutex_lock(&s->watch_mutex);
    int r = s->watch ? s->ops->state(s->watch, &state) : -ENOTCONN;
    if (r == 0 && state.generation != usage->generation) {
        usage->since = 0;
        usage->generation = state.generation;
    }
    r = r < 0 ? r : s->ops->each_peer(s->watch, usage->since, sample_add, &samples, &mark);
    pthread_mutex_unlock(&s->watch_mutex);
    snprintf(generation, sizeof generation, "%" PRIx64, state.generation);
    for (size_t at = 0; r == 0 && at < samples.count; at += USAGE_BATCH) {
        size_t count = samples.count - at < USAGE_BATCH ? samples.count - at : USAGE_BATCH;
        r = write_batch(s, samples.list + at, count, generation, recounts, now);
    }
    if (r == 0) {
        usage->since = mark;
    }
    free(samples.list);
    int connected = write_connected(s, now);
    compact(usage);
    return r < 0 ? r : connected;
}

int usage_flush(struct service *s) {
    int r = -ESTALE;
    pthread_mutex_lock(&s->usage->flush_mutex);
    for (int i = 0; i < 3 && r == -ESTALE; i++) {
        r = flush(s);
    }
    pthread_mutex_unlock(&s->usage->flush_mutex);
    return r;
}

void usage_forget(struct service *s, int64_t router_row_id) {
    pthread_mutex_lock(&s->usage->mutex);
    struct session *session = table_get(&s->usage->sessions, &router_row_id);
    if (session) {
        session_end(s->usage, session);
    }
    pthread_mutex_unlock(&s->usage->mutex);
}

void usage_forget_tenant(struct service *s, int64_t tunnel_id) {
    size_t at = 0;
    pthread_mutex_lock(&s->usage->mutex);
    struct tenant_sessions *tenant = table_get(&s->usage->tenants, &tunnel_id);
    if (tenant && tenant->connected) {
        for (struct session *session; (session = table_each(&s->usage->sessions, &at));) {
            if (session->tunnel_id == tunnel_id) {
                session_end(s->usage, session);
            }
        }
    }
    pthread_mutex_unlock(&s->usage->mutex);
}

uint64_t usage_connected(struct service *s) {
    pthread_mutex_lock(&s->usage->mutex);
    uint64_t connected = s->usage->sessions.count - s->usage->over;
    pthread_mutex_unlock(&s->usage->mutex);
    return connected;
}

int usage_open(struct service *s) {
    struct problem problem;
    struct write w;
    size_t at = 0;
    s->usage = calloc(1, sizeof *s->usage);
    if (!s->usage) {
        return -ENOMEM;
    }
    pthread_mutex_init(&s->usage->flush_mutex, NULL);
    pthread_mutex_init(&s->usage->mutex, NULL);
    table_open(&s->usage->sessions, sizeof(int64_t), sizeof(struct session));
    table_open(&s->usage->tenants, sizeof(int64_t), sizeof(struct tenant_sessions));
    int r = write_begin(s, "gateway", &w, &problem);
    if (r < 0) {
        return r;
    }
    r = routers_each_seen(w.conn, w.now - CONNECTED_US, session_load, s->usage);
    r = r < 0 ? r : tenants_reset_connected(w.conn);
    for (struct tenant_sessions *t; r == 0 && (t = table_each(&s->usage->tenants, &at));) {
        t->written = t->connected;
        r = tenants_set_connected(w.conn, t->tunnel_id, t->connected);
    }
    if (r < 0 || (r = write_commit_aside(&w, &problem)) < 0) {
        write_abort(&w);
    }
    return r;
}

void usage_close(struct service *s) {
    if (s->usage) {
        table_free(&s->usage->sessions);
        table_free(&s->usage->tenants);
        pthread_mutex_destroy(&s->usage->mutex);
        pthread_mutex_destroy(&s->usage->flush_mutex);
        free(s->usage);
        s->usage = NULL;
    }
}
