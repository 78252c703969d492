/* This gateway among those that share the database: whether it may come, that it is here, and who else is.
 *
 * A gateway is an installation (its identity) with a name; the process that speaks for it is its instance. Heartbeats
 * are written by the database's clock, which all share. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "service/state.h"
#include "store/noun/sessions.h"

#define ALIVE_US (INT64_C(20) * USEC_PER_SEC)
#define ENDED_BATCH 200 /* sessions a transaction */
#define ENDED_SHARES 25 /* transactions a beat: of 50,000 the last one ends a minute after the first */

/* How far our clock is ahead of the database's, half of the question's way there and back taken off. */
static int clock_offset(struct store_conn *conn, int64_t *ret_now, int64_t *ret_offset_us) {
    uint64_t asked = clock_mono_ns();
    int64_t now = 0;
    int r = gateways_clock(conn, &now);
    if (r < 0) {
        return r;
    }
    int64_t way_us = (int64_t)((clock_mono_ns() - asked) / 2000);
    *ret_now = now;
    *ret_offset_us = clock_wall_us() - way_us - now;
    return 0;
}

static bool is_alive(const struct gateway_row *row, int64_t now) {
    return row->heartbeat_at && row->heartbeat_at > now - ALIVE_US;
}

static bool is_off(const struct service *s, int64_t offset_us) {
    int64_t most = (int64_t)s->clock_tolerance_s * USEC_PER_SEC;
    return s->clock_tolerance_s && (offset_us > most || offset_us < -most);
}

static void say_off(int64_t offset_us, char text[64]) {
    int64_t seconds = (offset_us < 0 ? -offset_us : offset_us) / USEC_PER_SEC;
    snprintf(text, 64, "%" PRId64 " seconds %s", seconds, offset_us < 0 ? "behind" : "ahead of");
}

/* Another installation has the name and is alive, or had it and is a gateway of its own. */
static int check_name_free(struct service *s, struct write *w, const struct gateway_row *own, int64_t now,
                           struct problem *ret_problem) {
    struct gateway_row other;
    int r = gateways_find_by_name(w->conn, s->self.name, &other);
    if (r == -ENOENT) {
        return 0;
    }
    if (r < 0) {
        return store_problem(w->conn, r, ret_problem);
    }
    bool us = !uuid_is_zero(&s->self.identity) && uuid_equal(&other.identity, &s->self.identity);
    bool nobody = uuid_is_zero(&other.identity) && uuid_is_zero(&s->self.identity);
    if (us || (nobody && !s->shared)) {
        return 0;
    }
    if (is_alive(&other, now)) {
        return problem_set(ret_problem, PROBLEM_CONFLICT, "gateway-name-taken", "gateway.name",
                           "Another gateway named \"%s\" uses this database now: it was heard of %" PRId64
                           " seconds ago, at endpoint %s. Give this one another [gateway] name, or stop the other and "
                           "wait %d seconds.",
                           other.name, (now - other.heartbeat_at) / USEC_PER_SEC, other.endpoint,
                           (int)(ALIVE_US / USEC_PER_SEC));
    }
    if (own->id && own->id != other.id) {
        return problem_set(ret_problem, PROBLEM_CONFLICT, "gateway-name-taken", "gateway.name",
                           "The name \"%s\" belongs to another gateway of this database, which is not running. Give "
                           "this one another [gateway] name.",
                           other.name);
    }
    return 0; /* it comes back on another machine */
}

static int look_round(struct service *s, struct write *w, int64_t now, bool *ret_alone) {
    struct gateway_row *rows = NULL;
    size_t count = 0;
    bool alone = true;
    int r = gateways_list(w->conn, &rows, &count);
    for (size_t i = 0; r == 0 && i < count; i++) {
        alone = alone && (rows[i].id == s->self.id || !is_alive(&rows[i], now));
    }
    free(rows);
    if (r == 0) {
        *ret_alone = alone;
    }
    return r;
}

int gateways_enter(struct service *s, struct write *w, bool *ret_alone, struct problem *ret_problem) {
    struct gateway_row own = {0};
    int64_t now = 0, offset = 0;
    char off[64];
    int r = clock_offset(w->conn, &now, &offset);
    if (r < 0) {
        return store_problem(w->conn, r, ret_problem);
    }
    if (is_off(s, offset)) {
        say_off(offset, off);
        return problem_set(ret_problem, PROBLEM_CONFLICT, "clock-off", "gateway.clock_tolerance_seconds",
                           "The clock of gateway \"%s\" is %s the database's. Set it (timedatectl, or an NTP service), "
                           "then start again.",
                           s->self.name, off);
    }
    r = gateways_find(w->conn, &s->self.identity, s->self.name, &own);
    if (r < 0 && r != -ENOENT) {
        return store_problem(w->conn, r, ret_problem);
    }
    r = check_name_free(s, w, &own, now, ret_problem);
    if (r < 0) {
        return r;
    }
    s->self.id = own.id;
    s->self.started_at = now;
    s->self.heartbeat_at = now;
    s->self.clock_offset_ms = offset / 1000;
    uuid_make((uint64_t)now / 1000, &s->self.instance);
    r = gateways_put(w->conn, &s->self);
    r = r < 0 ? r : look_round(s, w, now, ret_alone);
    return r < 0 ? store_problem(w->conn, r, ret_problem) : 0;
}

static void warn(struct service *s, const char *text) {
    pthread_mutex_lock(&s->mutex);
    snprintf(s->warning, sizeof s->warning, "%s", text);
    pthread_mutex_unlock(&s->mutex);
}

static uint32_t load_percent(void) {
    double load[1] = {0};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return getloadavg(load, 1) == 1 ? (uint32_t)(load[0] * 100 / (double)(processors > 0 ? processors : 1)) : 0;
}

/* A gateway that has been silent longer than a session lasts holds none. The first of the living sees to it, some at a
 * time, so that others can write in between. Who is silent is asked in the transaction: one that comes back waits for
 * it. */
static int end_sessions(struct service *s, struct write *w, int64_t now, bool *ret_more) {
    struct session_row *held = malloc(ENDED_BATCH * sizeof *held);
    struct gateway_row *rows = NULL;
    size_t count = 0;
    bool ours = true, more = false;
    int r = held ? gateways_list(w->conn, &rows, &count) : -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        ours = ours && !(is_alive(&rows[i], now) && rows[i].id < s->self.id);
    }
    for (size_t i = 0; r == 0 && ours && i < count; i++) {
        size_t ended = 0;
        if (rows[i].id == s->self.id || rows[i].heartbeat_at > now - CONNECTED_US) {
            continue;
        }
        r = sessions_list_held(w->conn, rows[i].id, 0, ENDED_BATCH, held, &ended);
        for (size_t j = 0; r == 0 && j < ended; j++) {
            r = sessions_end(w->conn, held[j].id, 0);
            r = r < 0 ? r : write_note(w, "router.disconnected", &held[j].tenant_id, &held[j].router_id, NULL);
        }
        more = more || ended == ENDED_BATCH;
    }
    free(rows);
    free(held);
    if (r == 0) {
        *ret_more = more;
    }
    return r;
}

/* Whether there are still more. */
static bool end_more(struct service *s, int64_t now) {
    struct problem problem;
    struct write w;
    bool more = false;
    if (write_begin(s, "gateway", &w, &problem) < 0) {
        return false;
    }
    if (end_sessions(s, &w, now, &more) < 0 || write_commit_aside(&w, &problem) < 0) {
        write_abort(&w);
        return false;
    }
    return more;
}

static int read_all(struct service *s, struct gateway_row **ret_rows, size_t *ret_count, int64_t *ret_now,
                    int64_t *ret_offset) {
    struct store_conn *conn;
    struct problem problem;
    int r = store_reader_take(s->store, &conn, &problem);
    if (r < 0) {
        return r;
    }
    r = clock_offset(conn, ret_now, ret_offset);
    r = r < 0 ? r : gateways_list(conn, ret_rows, ret_count);
    store_reader_put(s->store, conn);
    return r;
}

/* What our row should say now. */
static void describe(struct service *s, int64_t now, int64_t offset, struct gateway_row *ret_row) {
    *ret_row = s->self;
    ret_row->connected_routers = usage_connected(s);
    ret_row->load_percent = load_percent();
    ret_row->clock_offset_ms = offset / 1000;
    ret_row->heartbeat_at = now;
    pthread_mutex_lock(&s->mutex);
    ret_row->revision = s->shared ? s->applied : s->revision;
    snprintf(ret_row->backend, sizeof ret_row->backend, "%s", s->state.name);
    pthread_mutex_unlock(&s->mutex);
}

static void judge(struct service *s, int beaten, int64_t offset) {
    char text[256] = "", off[64];
    if (beaten == -ENOENT) {
        snprintf(text, sizeof text,
                 "another process speaks for gateway \"%s\" in this database: two machines have the same state "
                 "directory. Stop one of them",
                 s->self.name);
    } else if (is_off(s, offset)) {
        say_off(offset, off);
        snprintf(text, sizeof text, "the clock of gateway \"%s\" is %s the database's; set it", s->self.name, off);
    }
    pthread_mutex_lock(&s->mutex);
    s->deposed = beaten == -ENOENT;
    pthread_mutex_unlock(&s->mutex);
    warn(s, text);
}

void gateways_beat_once(struct service *s) {
    struct gateway_row *rows = NULL, own;
    struct problem problem;
    struct write w;
    size_t count = 0;
    int64_t now = 0, offset = 0;
    if (read_all(s, &rows, &count, &now, &offset) < 0 || write_begin(s, "gateway", &w, &problem) < 0) {
        free(rows);
        return; /* the database is away: others see it by our silence */
    }
    describe(s, now, offset, &own);
    int beaten = gateways_beat(w.conn, &own);
    bool more = false;
    int r = beaten == 0 && count > 1 ? end_sessions(s, &w, now, &more) : beaten;
    if (r < 0 || write_commit_aside(&w, &problem) < 0) {
        write_abort(&w);
        more = false;
    }
    for (int i = 1; more && i < ENDED_SHARES; i++) {
        more = end_more(s, now);
    }
    if (beaten == 0 || beaten == -ENOENT) {
        judge(s, beaten, offset);
    }
    for (size_t i = 0; i < count; i++) {
        rows[i] = rows[i].id == own.id ? own : rows[i];
    }
    pthread_mutex_lock(&s->mutex);
    free(s->gateways);
    s->gateways = rows;
    s->gateway_count = count;
    s->gateways_at = now;
    pthread_mutex_unlock(&s->mutex);
}

void gateways_leave(struct service *s) {
    struct gateway_row own = s->self;
    struct problem problem;
    struct write w;
    if (!own.id || !s->usage || write_begin(s, "gateway", &w, &problem) < 0) {
        return;
    }
    describe(s, 0, (int64_t)own.clock_offset_ms * 1000, &own);
    if (gateways_beat(w.conn, &own) < 0 || write_commit_aside(&w, &problem) < 0) {
        write_abort(&w);
    }
}

unsigned gateways_alive_count(struct service *s) {
    unsigned alive = 1;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < s->gateway_count; i++) {
        alive += s->gateways[i].id != s->self.id && is_alive(&s->gateways[i], s->gateways_at);
    }
    pthread_mutex_unlock(&s->mutex);
    return alive;
}

uint64_t gateways_connected(struct service *s) {
    uint64_t connected = 0;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < s->gateway_count; i++) {
        bool counts = s->gateways[i].id != s->self.id && is_alive(&s->gateways[i], s->gateways_at);
        connected += counts ? s->gateways[i].connected_routers : 0;
    }
    pthread_mutex_unlock(&s->mutex);
    return connected;
}

int service_gateway_list(struct service *s, const struct caller *c, struct gateway_info **ret_gateways,
                         size_t *ret_count, struct problem *ret_problem) {
    struct gateway_row *rows = NULL, own;
    struct store_conn *conn;
    size_t count = 0;
    int64_t now = 0, offset = 0;
    int r = access_admin(c, NULL, ret_problem);
    r = r < 0 ? r : store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        return r;
    }
    r = clock_offset(conn, &now, &offset);
    r = r < 0 ? r : gateways_list(conn, &rows, &count);
    r = r < 0 ? store_problem(conn, r, ret_problem) : 0;
    store_reader_put(s->store, conn);
    if (r < 0) {
        return r;
    }
    struct gateway_info *list = calloc(count + 1, sizeof *list);
    if (!list) {
        free(rows);
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    describe(s, now, offset, &own);
    for (size_t i = 0; i < count; i++) {
        bool self = rows[i].id == own.id;
        const struct gateway_row *row = self ? &own : &rows[i];
        struct gateway_info *info = &list[i];
        info->self = self;
        info->alive = is_alive(row, now);
        memcpy(info->name, row->name, sizeof info->name);
        memcpy(info->endpoint, row->endpoint, sizeof info->endpoint);
        memcpy(info->region, row->region, sizeof info->region);
        memcpy(info->version, row->version, sizeof info->version);
        memcpy(info->backend, row->backend, sizeof info->backend);
        info->revision = row->revision;
        info->connected_routers = row->connected_routers;
        info->load_percent = row->load_percent;
        info->clock_offset_ms = row->clock_offset_ms;
        info->started_at = row->started_at;
        info->heartbeat_at = row->heartbeat_at;
    }
    free(rows);
    *ret_gateways = list;
    *ret_count = count;
    return 0;
}
