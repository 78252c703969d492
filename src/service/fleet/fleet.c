#include "service/fleet/fleet.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "service/record/identity.h"
#include "service/record/ledger.h"
#include "store/noun/sessions.h"
#include "store/store.h"

#define ALIVE_US (INT64_C(20) * USEC_PER_SEC)
#define SESSION_US INT64_C(180000000) /* lives so long after its handshake (whitepaper, section 6.1) */
#define ENDED_BATCH 200               /* sessions per transaction */
#define ENDED_SHARES 25               /* transactions per beat: of 50,000 the last one ends a minute after the first */

struct fleet {
    /* immutable once open */
    struct store *store;
    struct ledger *ledger;
    struct identity *identity;
    unsigned clock_tolerance_s;
    bool shared;

    struct gateway_row self; /* as it entered: written by fleet_enter(), before the database is reached */

    /* the thread that beats */
    uint64_t beaten_ns;  /* monotonic: the last beat that the database took; at first, when we began */
    int64_t returned_at; /* the database's clock: since when we have been connected throughout; 0: since we began */

    pthread_mutex_t mutex; /* all that follows: as of the last beat */
    bool deposed;
    char warning[256];
    struct gateway_row *rows; /* owned */
    size_t count;
    int64_t at; /* the database's clock then */
};

int fleet_open(const struct fleet_config *config, struct fleet **ret_fleet) {
    struct fleet *fleet = calloc(1, sizeof *fleet);
    if (!fleet) {
        return -ENOMEM;
    }
    fleet->store = config->store;
    fleet->ledger = config->ledger;
    fleet->identity = config->identity;
    fleet->clock_tolerance_s = config->clock_tolerance_s;
    fleet->shared = store_is_shared(config->store);
    fleet->self = config->self;
    fleet->beaten_ns = config->now_ns;
    pthread_mutex_init(&fleet->mutex, NULL);
    *ret_fleet = fleet;
    return 0;
}

void fleet_free(struct fleet *fleet) {
    if (fleet) {
        pthread_mutex_destroy(&fleet->mutex);
        free(fleet->rows);
        free(fleet);
    }
}

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

bool fleet_is_alive(const struct gateway_row *row, int64_t now) {
    return row->heartbeat_at && row->heartbeat_at > now - ALIVE_US;
}

static bool is_off(const struct fleet *fleet, int64_t offset_us) {
    int64_t most = (int64_t)fleet->clock_tolerance_s * USEC_PER_SEC;
    return fleet->clock_tolerance_s && (offset_us > most || offset_us < -most);
}

static void format_offset(int64_t offset_us, char text[64]) {
    int64_t seconds = (offset_us < 0 ? -offset_us : offset_us) / USEC_PER_SEC;
    snprintf(text, 64, "%" PRId64 " seconds %s", seconds, offset_us < 0 ? "behind" : "ahead of");
}

/* Another installation has the name and is alive, or had it and is a gateway of its own. */
static int check_name_free(struct fleet *fleet, struct write *w, const struct gateway_row *own, int64_t now,
                           struct problem *ret_problem) {
    struct gateway_row other;
    int r = gateways_find_by_name(w->conn, fleet->self.name, &other);
    if (r == -ENOENT) {
        return 0;
    }
    if (r < 0) {
        return store_problem(w->conn, r, ret_problem);
    }
    bool us = !uuid_is_zero(&fleet->self.identity) && uuid_equal(&other.identity, &fleet->self.identity);
    bool nobody = uuid_is_zero(&other.identity) && uuid_is_zero(&fleet->self.identity);
    if (us || (nobody && !fleet->shared)) {
        return 0;
    }
    if (fleet_is_alive(&other, now)) {
        return problem_set(ret_problem, PROBLEM_CONFLICT, "gateway-name-taken", "gateway.name",
                           "Another gateway named \"%s\" uses this database now: last heard from %" PRId64
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

static int look_round(struct fleet *fleet, struct write *w, int64_t now, bool *ret_alone) {
    struct gateway_row *rows = NULL;
    size_t count = 0;
    bool alone = true;
    int r = gateways_list(w->conn, &rows, &count);
    for (size_t i = 0; r == 0 && i < count; i++) {
        alone = alone && (rows[i].id == fleet->self.id || !fleet_is_alive(&rows[i], now));
    }
    free(rows);
    if (r == 0) {
        *ret_alone = alone;
    }
    return r;
}

int fleet_enter(struct fleet *fleet, struct write *w, bool *ret_alone, struct problem *ret_problem) {
    struct gateway_row own = {0};
    int64_t now = 0, offset = 0;
    char off[64];
    int r = clock_offset(w->conn, &now, &offset);
    if (r < 0) {
        return store_problem(w->conn, r, ret_problem);
    }
    if (is_off(fleet, offset)) {
        format_offset(offset, off);
        return problem_set(ret_problem, PROBLEM_CONFLICT, "clock-off", "gateway.clock_tolerance_seconds",
                           "The clock of gateway \"%s\" is %s the database's. Set it (timedatectl, or an NTP service), "
                           "then start again.",
                           fleet->self.name, off);
    }
    r = gateways_find(w->conn, &fleet->self.identity, fleet->self.name, &own);
    if (r < 0 && r != -ENOENT) {
        return store_problem(w->conn, r, ret_problem);
    }
    r = check_name_free(fleet, w, &own, now, ret_problem);
    if (r < 0) {
        return r;
    }
    fleet->self.id = own.id;
    fleet->self.started_at = now;
    fleet->self.heartbeat_at = now;
    fleet->self.clock_offset_ms = offset / 1000;
    uuid_make((uint64_t)now / 1000, &fleet->self.instance);
    r = gateways_put(w->conn, &fleet->self);
    fleet->identity->id = fleet->self.id;
    r = r < 0 ? r : look_round(fleet, w, now, ret_alone);
    return r < 0 ? store_problem(w->conn, r, ret_problem) : 0;
}

static uint32_t load_percent(void) {
    double load[1] = {0};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return getloadavg(load, 1) == 1 ? (uint32_t)(load[0] * 100 / (double)(processors > 0 ? processors : 1)) : 0;
}

/* How long a gateway has been silent as far as we can tell: while we were cut off ourselves we heard nobody. */
static int64_t silence_of(const struct fleet *fleet, const struct gateway_row *row, int64_t now) {
    return now - (row->heartbeat_at > fleet->returned_at ? row->heartbeat_at : fleet->returned_at);
}

/* A gateway that has been silent longer than a session lasts holds none. The first of the living sees to it, some at a
 * time, so that others can write in between. Who is silent is asked in the transaction: one that comes back waits for
 * it. */
static int end_sessions(struct fleet *fleet, struct write *w, int64_t now, bool *ret_more) {
    struct session_row *held = malloc(ENDED_BATCH * sizeof *held);
    struct gateway_row *rows = NULL;
    size_t count = 0;
    bool ours = true, more = false;
    int r = held ? gateways_list(w->conn, &rows, &count) : -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        ours = ours && !(fleet_is_alive(&rows[i], now) && rows[i].id < fleet->self.id);
    }
    for (size_t i = 0; r == 0 && ours && i < count; i++) {
        size_t ended = 0;
        if (rows[i].id == fleet->self.id || silence_of(fleet, &rows[i], now) < SESSION_US) {
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
static bool end_more(struct fleet *fleet, int64_t now) {
    struct problem problem;
    struct write w;
    bool more = false;
    if (write_begin(fleet->ledger, "gateway", &w, &problem) < 0) {
        return false;
    }
    if (end_sessions(fleet, &w, now, &more) < 0 || write_commit_silent(&w, &problem) < 0) {
        write_abort(&w);
        return false;
    }
    return more;
}

static int read_all(struct fleet *fleet, struct gateway_row **ret_rows, size_t *ret_count, int64_t *ret_now,
                    int64_t *ret_offset) {
    struct store_conn *conn;
    struct problem problem;
    int r = store_reader_take(fleet->store, &conn, &problem);
    if (r < 0) {
        return r;
    }
    r = clock_offset(conn, ret_now, ret_offset);
    r = r < 0 ? r : gateways_list(conn, ret_rows, ret_count);
    store_reader_put(fleet->store, conn);
    return r;
}

/* What our row should say now. */
static void describe(const struct fleet *fleet, const struct presence *presence, int64_t now, int64_t offset,
                     struct gateway_row *ret_row) {
    *ret_row = fleet->self;
    ret_row->connected_routers = presence->connected;
    ret_row->revision = presence->revision;
    snprintf(ret_row->backend, sizeof ret_row->backend, "%s", presence->backend);
    ret_row->load_percent = load_percent();
    ret_row->clock_offset_ms = offset / 1000;
    ret_row->heartbeat_at = now;
}

static void set_warning(struct fleet *fleet, int beaten, int64_t offset) {
    char text[256] = "", off[64];
    if (beaten == -ENOENT) {
        snprintf(text, sizeof text,
                 "another process speaks for gateway \"%s\" in this database: two machines have the same state "
                 "directory. Stop one of them",
                 fleet->self.name);
    } else if (is_off(fleet, offset)) {
        format_offset(offset, off);
        snprintf(text, sizeof text, "the clock of gateway \"%s\" is %s the database's; set it", fleet->self.name, off);
    }
    pthread_mutex_lock(&fleet->mutex);
    fleet->deposed = beaten == -ENOENT;
    memcpy(fleet->warning, text, sizeof text);
    pthread_mutex_unlock(&fleet->mutex);
}

void fleet_beat(struct fleet *fleet, const struct presence *presence, uint64_t now_ns) {
    struct gateway_row *rows = NULL, own;
    struct problem problem;
    struct write w;
    size_t count = 0;
    int64_t now = 0, offset = 0;
    if (read_all(fleet, &rows, &count, &now, &offset) < 0 || write_begin(fleet->ledger, "gateway", &w, &problem) < 0) {
        free(rows);
        return; /* the database is away: others see it by our silence */
    }
    if (now_ns - fleet->beaten_ns > (uint64_t)ALIVE_US * 1000) {
        fleet->returned_at = now;
    }
    describe(fleet, presence, now, offset, &own);
    int beaten = gateways_beat(w.conn, &own);
    bool more = false;
    int r = beaten == 0 && count > 1 ? end_sessions(fleet, &w, now, &more) : beaten;
    if (r < 0 || write_commit_silent(&w, &problem) < 0) {
        write_abort(&w);
        more = false;
    } else {
        fleet->beaten_ns = now_ns;
    }
    for (int i = 1; more && i < ENDED_SHARES; i++) {
        more = end_more(fleet, now);
    }
    if (beaten == 0 || beaten == -ENOENT) {
        set_warning(fleet, beaten, offset);
    }
    for (size_t i = 0; i < count; i++) {
        rows[i] = rows[i].id == own.id ? own : rows[i];
    }
    pthread_mutex_lock(&fleet->mutex);
    free(fleet->rows);
    fleet->rows = rows;
    fleet->count = count;
    fleet->at = now;
    pthread_mutex_unlock(&fleet->mutex);
}

void fleet_leave(struct fleet *fleet, const struct presence *presence) {
    struct gateway_row own = fleet->self;
    struct problem problem;
    struct write w;
    if (!own.id || write_begin(fleet->ledger, "gateway", &w, &problem) < 0) {
        return;
    }
    describe(fleet, presence, 0, (int64_t)own.clock_offset_ms * 1000, &own);
    if (gateways_beat(w.conn, &own) < 0 || write_commit_silent(&w, &problem) < 0) {
        write_abort(&w);
    }
}

unsigned fleet_alive(struct fleet *fleet) {
    unsigned alive = 1;
    pthread_mutex_lock(&fleet->mutex);
    for (size_t i = 0; i < fleet->count; i++) {
        alive += fleet->rows[i].id != fleet->self.id && fleet_is_alive(&fleet->rows[i], fleet->at);
    }
    pthread_mutex_unlock(&fleet->mutex);
    return alive;
}

uint64_t fleet_connected(struct fleet *fleet) {
    uint64_t connected = 0;
    pthread_mutex_lock(&fleet->mutex);
    for (size_t i = 0; i < fleet->count; i++) {
        bool counts = fleet->rows[i].id != fleet->self.id && fleet_is_alive(&fleet->rows[i], fleet->at);
        connected += counts ? fleet->rows[i].connected_routers : 0;
    }
    pthread_mutex_unlock(&fleet->mutex);
    return connected;
}

bool fleet_is_deposed(struct fleet *fleet) {
    pthread_mutex_lock(&fleet->mutex);
    bool deposed = fleet->deposed;
    pthread_mutex_unlock(&fleet->mutex);
    return deposed;
}

void fleet_warning(struct fleet *fleet, char ret_warning[256]) {
    pthread_mutex_lock(&fleet->mutex);
    memcpy(ret_warning, fleet->warning, sizeof fleet->warning);
    pthread_mutex_unlock(&fleet->mutex);
}

int fleet_list(struct fleet *fleet, const struct presence *presence, struct gateway_row **ret_rows, size_t *ret_count,
               size_t *ret_self, int64_t *ret_now, struct problem *ret_problem) {
    struct gateway_row *rows = NULL;
    struct store_conn *conn;
    size_t count = 0;
    int64_t now = 0, offset = 0;
    int r = store_reader_take(fleet->store, &conn, ret_problem);
    if (r < 0) {
        return r;
    }
    r = clock_offset(conn, &now, &offset);
    r = r < 0 ? r : gateways_list(conn, &rows, &count);
    r = r < 0 ? store_problem(conn, r, ret_problem) : 0;
    store_reader_put(fleet->store, conn);
    if (r < 0) {
        return r;
    }
    *ret_self = count;
    for (size_t i = 0; i < count; i++) {
        if (rows[i].id == fleet->self.id) {
            describe(fleet, presence, now, offset, &rows[i]);
            *ret_self = i;
        }
    }
    *ret_rows = rows;
    *ret_count = count;
    *ret_now = now;
    return 0;
}
