/* The feed of changes, followed: what other gateways committed comes into force here, in the order of revisions.
 *
 * A change says what it is about, not what it did: what the data plane is given is what the store says now. So it does
 * no harm to apply one twice, and a peer that was deleted since cannot come back by an old change. Two things guarantee
 * the order. Everything that touches the data plane does so within the applying turn; and who brings a change of his
 * own into force first catches up with those committed before it (force_begin()).
 *
 * The database is asked for its last revision every half second, and at once when it says that there is something new.
 * If the feed begins behind where we are (it was compacted meanwhile), or if very much happened, everything is compared
 * instead (reconcile.c). So it is if the feed is another one: the database went back, restored or on a standby that
 * took over without the last commits, and perhaps went on from there. That is looked for when a connection was opened.
 *
 * A gateway that is cut off from the database cannot know who was revoked. After a time of grace it takes the peers
 * that have no session out of the data plane: those who are connected go on, whoever comes anew is refused, until the
 * database is back and everything has been compared. */
#include "service/sync/follow.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "service/plane/plane.h"
#include "service/record/bell.h"
#include "service/record/identity.h"
#include "service/record/ledger.h"
#include "service/record/reach.h"
#include "service/sync/routes.h"
#include "service/usage/usage.h"
#include "store/noun/lans.h"
#include "store/noun/routers.h"
#include "store/noun/tenants.h"
#include "store/store.h"

#define FOLLOW_BATCH 1000
#define FOLLOW_MOST 20000 /* to compare everything is cheaper beyond */
#define GUARD_NS (5 * NSEC_PER_SEC)

struct follow {
    struct follow_config with; /* immutable */
    struct store *store;
    struct usage *usage;
    struct plane *plane;

    struct change_mark mark; /* within the turn: the last change applied, if known */
    atomic_uint verified;    /* written within it: the store's epoch in which the feed was seen to go on from there */

    pthread_mutex_t mutex; /* all that follows */
    uint64_t applied;      /* written within the turn: every change up to here is in the data plane */
    uint64_t guarded_ns;   /* when peers without a session were last taken out */
    bool severed;          /* the database has been away for so long that nobody new is let in */
};

/* One way along the feed, in batches. */
struct walk {
    struct follow *follow;
    uint64_t after, until;      /* revisions */
    bool own_too;               /* our own changes have been left to us */
    bool own_now;               /* those of this batch */
    size_t room;                /* of the lists of a batch */
    struct change_row *changes; /* owned */
    size_t read, ready;         /* and of these to be applied now */
    struct router_row *routers; /* owned: those that they are about and that belong into the data plane */
    size_t router_count;
    struct desired_change *desired; /* owned */
    size_t desired_count;
    struct prefix *routes; /* owned */
    size_t route_count, route_room;
    bool routes_lost; /* LANs may be gone, and nobody says which */
};

int follow_open(const struct follow_config *config, struct follow **ret_follow) {
    struct follow *follow = calloc(1, sizeof *follow);
    if (!follow) {
        return -ENOMEM;
    }
    pthread_mutex_init(&follow->mutex, NULL);
    follow_configure(follow, config);
    *ret_follow = follow;
    return 0;
}

void follow_configure(struct follow *follow, const struct follow_config *config) {
    pthread_mutex_lock(&follow->mutex);
    follow->with = *config;
    follow->store = config->desired->store;
    follow->usage = config->desired->usage;
    follow->plane = config->desired->plane;
    pthread_mutex_unlock(&follow->mutex);
}

void follow_free(struct follow *follow) {
    if (follow) {
        pthread_mutex_destroy(&follow->mutex);
        free(follow);
    }
}

void follow_start(struct follow *follow, uint64_t revision, const struct change_mark *mark) {
    follow->mark = *mark;
    follow->verified = store_epoch(follow->store) - 1;
    pthread_mutex_lock(&follow->mutex);
    follow->applied = revision;
    pthread_mutex_unlock(&follow->mutex);
}

uint64_t follow_applied(struct follow *follow) {
    pthread_mutex_lock(&follow->mutex);
    uint64_t applied = follow->applied;
    pthread_mutex_unlock(&follow->mutex);
    return applied;
}

static bool is_kind(const struct change_row *change, const char *noun) {
    return strncmp(change->kind, noun, strlen(noun)) == 0;
}

/* Whether the data plane has a part in it when it is our own: what usage writes, and tokens, has none. */
static bool is_silent(const struct change_row *change) {
    return is_kind(change, "token.") || is_kind(change, "router.activated") || is_kind(change, "router.connected") ||
           is_kind(change, "router.disconnected");
}

static bool is_own(const struct walk *w, const struct change_row *change) {
    return change->gateway_id == w->follow->with.identity->id;
}

/* Whether it says something that we did not do ourselves. */
static bool is_news(const struct walk *w, const struct change_row *change) {
    return !is_own(w, change) || (w->own_now && !is_silent(change));
}

static void walk_free(struct walk *w) {
    if (w->desired) {
        sodium_memzero(w->desired, 2 * w->room * sizeof *w->desired);
    }
    free(w->changes);
    free(w->routers);
    free(w->desired);
    free(w->routes);
}

static int route_add(void *context, const struct prefix *prefix) {
    struct walk *w = context;
    struct prefix *grown = array_grow(w->routes, &w->route_room, w->route_count + 1, sizeof *grown);
    if (!grown) {
        return -ENOMEM;
    }
    w->routes = grown;
    w->routes[w->route_count++] = *prefix;
    return 0;
}

/* The changes of this batch that may be applied now: up to a change of our own whose writer is still to come. -ESTALE:
 * the feed begins behind where we are. */
static int read_changes(struct walk *w, struct store_conn *conn) {
    static const struct uuid all;
    size_t limit = w->until - w->after < w->room ? (size_t)(w->until - w->after) : w->room;
    int r = changes_list(conn, w->after, &all, limit, w->changes, &w->read);
    if (r < 0) {
        return r;
    }
    /* The writer of an own change is counted before it is committed: if we can see it, it is counted. One that nobody
     * stands for was committed although its writer heard of a failure. */
    w->own_now = w->own_too || ledger_writers(w->follow->with.ledger) == 0;
    for (w->ready = 0; w->ready < w->read; w->ready++) {
        const struct change_row *change = &w->changes[w->ready];
        if (change->revision != w->after + w->ready + 1) {
            return -ESTALE;
        }
        if (!w->own_now && is_own(w, change) && !is_silent(change)) {
            break;
        }
    }
    return w->read ? 0 : -ESTALE;
}

static void want_tenant(struct walk *w, const struct uuid *id, const struct tenant_row *row) {
    struct desired_change *desired = &w->desired[w->desired_count++];
    static const struct tenant none;
    desired_tenant_from(row ? &row->tenant : &none, desired);
    desired->tenant.id = *id;
    desired->kind = row && row->tenant.status == TENANT_ACTIVE ? DESIRED_TENANT_SET : DESIRED_TENANT_REMOVE;
}

/* A tenant's change. One that came back brings its routers. */
static int follow_tenant(struct walk *w, struct store_conn *conn, const struct change_row *change) {
    struct tenant_row row;
    int r = tenants_get(conn, &change->tenant_id, &row);
    if (r < 0 && r != -ENOENT) {
        return r;
    }
    want_tenant(w, &change->tenant_id, r == 0 ? &row : NULL);
    bool routes = r == 0 && row.tenant.status == TENANT_ACTIVE && row.tenant.addressing == ADDRESSING_UNIQUE;
    return routes && is_kind(change, "tenant.enabled") ? lans_each_of_tenant(conn, row.id, route_add, w) : 0;
}

static int follow_gone(struct walk *w, struct store_conn *conn, const struct key *gone) {
    struct router_row row;
    int r = routers_get_desired(conn, gone, &row);
    if (r == -ENOENT) {
        w->desired[w->desired_count++] =
            (struct desired_change){.kind = DESIRED_PEER_REMOVE, .peer = {.public_key = *gone}};
        r = 0;
    }
    return r;
}

static int compare_ids(const void *a, const void *b) {
    const struct router_row *one = a, *other = b;
    return memcmp(&one->router.id, &other->router.id, sizeof one->router.id);
}

static struct router_row *find_router(const struct walk *w, const struct uuid *id) {
    struct router_row key = {.router = {.id = *id}};
    return bsearch(&key, w->routers, w->router_count, sizeof *w->routers, compare_ids);
}

static int follow_router(struct walk *w, const struct change_row *change) {
    struct router_row *row = find_router(w, &change->router_id);
    if (!row || !row->id || desired_peer_from(w->follow->with.desired, row, &w->desired[w->desired_count]) < 0) {
        return 0; /* it does not belong into the data plane any more, or was seen to already */
    }
    w->desired_count++;
    row->id = 0;
    bool unique = ip_equal(&row->router.address, &row->router.hub_address);
    int r = 0;
    for (uint32_t i = 0; r == 0 && unique && i < row->router.lan_count; i++) {
        r = route_add(w, &row->router.lans[i]);
    }
    return r;
}

static bool may_lose_routes(const struct change_row *change) {
    return is_kind(change, "router.updated") || is_kind(change, "router.disabled") ||
           is_kind(change, "router.deleted") || is_kind(change, "tenant.disabled") || is_kind(change, "tenant.deleted");
}

/* From one snapshot of the store: the changes, and what the data plane should hold because of them. */
static int read_batch(struct walk *w, struct store_conn *conn) {
    int r = store_begin(conn, false);
    r = r < 0 ? r : read_changes(w, conn);
    if (r < 0 || !w->ready) {
        return r;
    }
    r = routers_list_changed(conn, w->after, w->changes[w->ready - 1].revision, w->room, w->routers, &w->router_count);
    if (r < 0) {
        return r;
    }
    qsort(w->routers, w->router_count, sizeof *w->routers, compare_ids);
    for (size_t i = 0; r == 0 && i < w->ready; i++) {
        const struct change_row *change = &w->changes[i];
        if (!is_news(w, change) || is_kind(change, "token.") || is_kind(change, "router.disconnected")) {
            continue;
        }
        w->routes_lost |= may_lose_routes(change);
        if (is_kind(change, "tenant.")) {
            r = follow_tenant(w, conn, change);
            continue;
        }
        r = key_is_zero(&change->gone) ? 0 : follow_gone(w, conn, &change->gone);
        r = r < 0 ? r : follow_router(w, change);
    }
    return r;
}

/* Routers of tenants that came back. After the tenants themselves. */
static int bring_back(struct walk *w) {
    struct follow *follow = w->follow;
    for (size_t i = 0; i < w->ready; i++) {
        const struct change_row *change = &w->changes[i];
        struct tenant_row row;
        struct store_conn *conn;
        struct problem problem;
        if (!is_news(w, change) || !is_kind(change, "tenant.enabled")) {
            continue;
        }
        int r = store_reader_take(follow->store, &conn, &problem);
        if (r < 0) {
            return r;
        }
        r = tenants_get(conn, &change->tenant_id, &row);
        store_reader_put(follow->store, conn);
        if (r == 0 && row.tenant.status == TENANT_ACTIVE) {
            desired_apply_tenant(follow->with.desired, row.id);
        } else if (r < 0 && r != -ENOENT) {
            return r;
        }
    }
    return 0;
}

static bool counts(const struct change_row *change, const char *kind, int64_t by, int64_t *ret_more) {
    bool is = strcmp(change->kind, kind) == 0;
    *ret_more += is ? by : 0;
    return is;
}

/* What we keep in memory of what changed elsewhere. */
static void keep_up(struct walk *w) {
    struct follow *follow = w->follow;
    struct ledger *ledger = follow->with.ledger;
    int64_t tenants = 0, routers = 0;
    bool recount = false;
    uint64_t counted = ledger_counted(ledger);
    for (size_t i = 0; i < w->ready; i++) {
        const struct change_row *change = &w->changes[i];
        if (is_own(w, change)) {
            continue;
        }
        if (change->revision > counted) {
            recount = counts(change, "tenant.deleted", -1, &tenants) || recount; /* its routers are not in the feed */
            (void)(counts(change, "tenant.created", 1, &tenants) || counts(change, "router.created", 1, &routers) ||
                   counts(change, "router.deleted", -1, &routers));
        }
        if (is_kind(change, "tenant.deleted") || is_kind(change, "tenant.disabled")) {
            usage_forget_tenant(follow->usage, &change->tenant_id);
        } else if (!key_is_zero(&change->gone)) {
            usage_forget(follow->usage, &change->gone);
        } else if (is_kind(change, "router.connected") || is_kind(change, "router.activated")) {
            const struct router_row *row = find_router(w, &change->router_id);
            if (row && row->gateway_id && row->gateway_id != follow->with.identity->id) {
                usage_moved(follow->usage, &row->router.public_key);
            }
        } else if (is_kind(change, "router.disconnected")) {
            const struct router_row *row = find_router(w, &change->router_id);
            if (row && !row->gateway_id) {
                usage_ended(follow->usage, &row->router.public_key);
            }
        }
    }
    ledger_add(ledger, tenants, routers);
    if (recount) {
        ledger_doubt(ledger);
    }
}

uint64_t follow_in_force(struct follow *follow) {
    uint64_t ours = ledger_revision(follow->with.ledger);
    plane_turn_begin(follow->plane); /* behind all that were committed by then */
    uint64_t applied = follow_applied(follow);
    plane_turn_end(follow->plane);
    return follow->with.shared ? applied : ours; /* where nobody else writes, what usage wrote is not followed */
}

void follow_advance(struct follow *follow, const struct change_mark *mark) {
    pthread_mutex_lock(&follow->mutex);
    if (mark->revision > follow->applied) {
        follow->applied = mark->revision;
        follow->mark = *mark;
    }
    pthread_mutex_unlock(&follow->mutex);
}

/* Up to here the data plane follows. */
static void advance_to(struct follow *follow, const struct change_row *last) {
    const struct change_mark mark = {last->revision, last->at, last->tenant_id, last->router_id};
    follow_advance(follow, &mark);
    ledger_advance(follow->with.ledger, last->revision);
}

/* Much has changed, the feed was compacted meanwhile or cannot be read, the database went back: everything is compared
 * instead. */
static void compare_everything(struct follow *follow, uint64_t revision) {
    const struct change_mark mark = {.revision = revision};
    plane_behind(follow->plane);
    follow_advance(follow, &mark);
    ledger_advance(follow->with.ledger, revision);
    follow->mark = (struct change_mark){0};
    usage_recheck(follow->usage);
    ledger_doubt(follow->with.ledger);
}

/* One batch. 1: there may be more; 0: no more for now. */
static int follow_batch(struct walk *w) {
    struct follow *follow = w->follow;
    struct store_conn *conn;
    struct problem problem;
    w->ready = w->router_count = w->desired_count = w->route_count = 0;
    w->routes_lost = false;
    int r = store_reader_take(follow->store, &conn, &problem);
    if (r < 0) {
        return r;
    }
    r = read_batch(w, conn);
    store_reader_put(follow->store, conn);
    if (r < 0 || !w->ready) {
        return r;
    }
    bool sent = true;
    for (size_t at = 0; sent && at < w->desired_count; at += PLANE_BATCH) {
        size_t count = w->desired_count - at < PLANE_BATCH ? w->desired_count - at : PLANE_BATCH;
        sent = plane_apply(follow->plane, w->desired + at, count);
    }
    r = bring_back(w);
    (void)plane_routes(follow->plane, w->routes, w->route_count, NULL, 0);
    if (w->routes_lost) {
        routes_doubt(follow->with.routes);
    }
    if (r == 0) {
        keep_up(w);
    }
    const struct change_row *last = &w->changes[w->ready - 1];
    w->after = last->revision;
    advance_to(follow, last);
    return r < 0 ? r : w->ready == w->read && w->after < w->until;
}

void follow_until(struct follow *follow, uint64_t until, bool own_too) {
    struct walk w = {.follow = follow, .after = follow_applied(follow), .until = until, .own_too = own_too};
    if (w.after >= until || !follow->with.shared) {
        return;
    }
    if (until - w.after > FOLLOW_MOST) {
        compare_everything(follow, until);
        return;
    }
    w.room = until - w.after < FOLLOW_BATCH ? (size_t)(until - w.after) : FOLLOW_BATCH;
    w.changes = malloc(w.room * sizeof *w.changes);
    w.routers = malloc(w.room * sizeof *w.routers);
    w.desired = malloc(2 * w.room * sizeof *w.desired); /* at most a peer that goes and one that comes */
    int r = w.changes && w.routers && w.desired ? 1 : -ENOMEM;
    while (r == 1) {
        r = follow_batch(&w);
    }
    walk_free(&w);
    if (r < 0) {
        compare_everything(follow, until);
    }
}

static int last_revision(struct follow *follow, uint64_t *ret_revision) {
    struct store_conn *conn;
    struct problem problem;
    int r = store_reader_take(follow->store, &conn, &problem);
    if (r == 0) {
        r = changes_revision(conn, ret_revision);
        store_reader_put(follow->store, conn);
    }
    return r;
}

/* A database that was put back, or a standby that took over without the last commits: what was applied may never have
 * been. Within the turn nobody applies anything meanwhile. */
static int go_back(struct follow *follow) {
    uint64_t revision = 0;
    plane_turn_begin(follow->plane);
    int r = last_revision(follow, &revision);
    pthread_mutex_lock(&follow->mutex);
    bool went_back = r == 0 && revision < follow->applied;
    if (went_back) {
        follow->applied = revision;
    }
    pthread_mutex_unlock(&follow->mutex);
    if (went_back) {
        ledger_go_back(follow->with.ledger, revision);
        compare_everything(follow, revision);
    }
    plane_turn_end(follow->plane);
    return r;
}

void follow_verify(struct follow *follow) {
    struct change_mark there = {0};
    struct store_conn *conn;
    struct problem problem;
    uint64_t revision = 0;
    unsigned epoch = store_epoch(follow->store);
    if (!follow->with.shared || epoch == follow->verified) {
        return;
    }
    int r = store_reader_take(follow->store, &conn, &problem);
    if (r == 0) {
        r = changes_mark(conn, follow->mark.revision, &there);
        r = r < 0 ? r : changes_revision(conn, &revision);
        store_reader_put(follow->store, conn);
    }
    if (r < 0) {
        return; /* the next one who comes */
    }
    follow->verified = epoch;
    if (there.revision && !change_mark_equal(&there, &follow->mark)) {
        compare_everything(follow, revision);
    }
}

int follow_once(struct follow *follow) {
    uint64_t revision = 0;
    int r = last_revision(follow, &revision);
    if (r < 0) {
        return r;
    }
    reach_heard(follow->with.reach);
    uint64_t applied = follow_applied(follow);
    bool behind = revision > applied;
    bool ahead = revision < applied; /* perhaps only since we asked */
    if (follow_is_severed(follow)) {
        plane_doubt(follow->plane); /* everything is compared, and everybody let in again */
        bell_ring(follow->with.bell);
    }
    if (behind || follow->verified != store_epoch(follow->store)) {
        plane_turn_begin(follow->plane);
        follow_verify(follow);
        follow_until(follow, revision, false);
        plane_turn_end(follow->plane);
    }
    return ahead ? go_back(follow) : 0;
}

/* --- cut off from the database --- */

static int is_idle(void *context, const struct actual_peer *peer) {
    const int64_t *since = context;
    return peer->last_handshake_at_us <= *since;
}

void follow_guard(struct follow *follow) {
    uint64_t now = clock_mono_ns();
    pthread_mutex_lock(&follow->mutex);
    struct reach *reach = follow->with.reach;
    uint64_t grace_s = follow->with.shared ? follow->with.grace_s : 0;
    pthread_mutex_unlock(&follow->mutex);
    uint64_t silence = reach_silence_ns(reach);
    pthread_mutex_lock(&follow->mutex);
    bool cut_off = grace_s && silence > grace_s * NSEC_PER_SEC;
    bool due = cut_off && (!follow->severed || now - follow->guarded_ns > GUARD_NS);
    bool severs = cut_off && !follow->severed;
    follow->severed = follow->severed || cut_off;
    if (due) {
        follow->guarded_ns = now;
    }
    pthread_mutex_unlock(&follow->mutex);
    if (severs) {
        plane_doubt(follow->plane);
    }
    if (due) {
        int64_t since = clock_wall_us() - CONNECTED_US; /* no handshake after this: no session */
        plane_shut_out(follow->plane, is_idle, &since); /* again and again: sessions end */
    }
}

bool follow_is_severed(struct follow *follow) {
    pthread_mutex_lock(&follow->mutex);
    bool severed = follow->severed;
    pthread_mutex_unlock(&follow->mutex);
    return severed;
}

void follow_readmit(struct follow *follow) {
    pthread_mutex_lock(&follow->mutex);
    follow->severed = false;
    pthread_mutex_unlock(&follow->mutex);
}
