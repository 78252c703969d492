/* The feed of changes, followed: what other gateways committed comes into force here, in the order of revisions.
 *
 * A change says what it is about, not what it did: what the data plane is given is what the store says now. So it does
 * no harm to apply one twice, and a peer that was deleted since cannot come back by an old change. Two things guarantee
 * the order. Everything that touches the data plane does so within the applying turn; and who brings a change of his
 * own into force first catches up with those committed before it (plane_enter_write()).
 *
 * The database is asked for its last revision every half second, and at once when it says that there is something new.
 * If the feed begins behind where we are (it was compacted meanwhile), or if very much happened, everything is compared
 * instead (reconcile.c). So it is if the feed is another one: the database went back, restored or on a standby that
 * lacked the last commits, and perhaps went on from there. That is looked for when a connection was opened.
 *
 * A gateway that is cut off from the database cannot know who was revoked. After a time of grace it takes the peers
 * that have no session out of the data plane: those who are connected go on, whoever comes anew is refused, until the
 * database is back and everything has been compared. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/state.h"
#include "store/noun/lans.h"

#define FOLLOW_BATCH 1000
#define FOLLOW_MOST 20000 /* to compare everything is cheaper beyond */
#define AWAIT_MS 500
#define GUARD_NS (5 * NSEC_PER_SEC)

struct follow {
    struct service *service;
    uint64_t after, until;      /* revisions */
    bool own_too;               /* our own changes have been left to us */
    bool own_now;               /* those of this batch */
    size_t room;                /* of the lists of a batch */
    struct change_row *changes; /* owned */
    size_t count, some;         /* read, and of these to be applied now */
    struct router_row *routers; /* owned: those that they are about and that belong into the data plane */
    size_t router_count;
    struct desired_change *desired; /* owned */
    size_t desired_count;
    struct prefix *routes, *stale; /* owned */
    size_t route_count, route_room, stale_count, stale_room;
};

static bool is_kind(const struct change_row *change, const char *noun) {
    return strncmp(change->kind, noun, strlen(noun)) == 0;
}

/* Whether the data plane has a part in it when it is our own: what usage writes, and tokens, has none. */
static bool is_aside(const struct change_row *change) {
    return is_kind(change, "token.") || is_kind(change, "router.activated") || is_kind(change, "router.connected") ||
           is_kind(change, "router.disconnected");
}

static bool is_own(const struct follow *f, const struct change_row *change) {
    return change->gateway_id == f->service->self.id;
}

/* Whether it says something that we did not do ourselves. */
static bool is_news(const struct follow *f, const struct change_row *change) {
    return !is_own(f, change) || (f->own_now && !is_aside(change));
}

static void follow_free(struct follow *f) {
    if (f->desired) {
        sodium_memzero(f->desired, 2 * f->room * sizeof *f->desired);
    }
    free(f->changes);
    free(f->routers);
    free(f->desired);
    free(f->routes);
    free(f->stale);
}

static int prefix_add(struct prefix **list, size_t *count, size_t *room, const struct prefix *prefix) {
    if (*count == *room) {
        size_t more_room = *room ? *room * 2 : 64;
        struct prefix *more = reallocarray(*list, more_room, sizeof *more);
        if (!more) {
            return -ENOMEM;
        }
        *list = more;
        *room = more_room;
    }
    (*list)[(*count)++] = *prefix;
    return 0;
}

static int route_add(void *context, const struct prefix *prefix) {
    struct follow *f = context;
    return prefix_add(&f->routes, &f->route_count, &f->route_room, prefix);
}

static int stale_add(void *context, const struct prefix *prefix) {
    struct follow *f = context;
    return prefix_add(&f->stale, &f->stale_count, &f->stale_room, prefix);
}

/* The changes of this batch that may be applied now: up to a change of our own whose writer is still to come. -ESTALE:
 * the feed begins behind where we are. */
static int read_changes(struct follow *f, struct store_conn *conn) {
    struct service *s = f->service;
    static const struct uuid all;
    size_t limit = f->until - f->after < f->room ? (size_t)(f->until - f->after) : f->room;
    int r = changes_list(conn, f->after, &all, limit, f->changes, &f->count);
    if (r < 0) {
        return r;
    }
    /* An own change is counted as pending before it is committed: if we can see it, it is counted. One that nobody
     * stands for was committed although its writer heard of a failure. */
    pthread_mutex_lock(&s->mutex);
    bool writers = s->pending > 0;
    pthread_mutex_unlock(&s->mutex);
    f->own_now = f->own_too || !writers;
    for (f->some = 0; f->some < f->count; f->some++) {
        const struct change_row *change = &f->changes[f->some];
        if (change->revision != f->after + f->some + 1) {
            return -ESTALE;
        }
        if (!f->own_now && is_own(f, change) && !is_aside(change)) {
            break;
        }
    }
    return f->count ? 0 : -ESTALE;
}

static void want_tenant(struct follow *f, const struct uuid *id, const struct tenant_row *row) {
    struct desired_change *desired = &f->desired[f->desired_count++];
    static const struct tenant none;
    desired_tenant_from(row ? &row->tenant : &none, desired);
    desired->tenant.id = *id;
    desired->kind = row && row->tenant.status == TENANT_ACTIVE ? DESIRED_TENANT_SET : DESIRED_TENANT_REMOVE;
}

/* A tenant's change. One that came back brings its routers. */
static int follow_tenant(struct follow *f, struct store_conn *conn, const struct change_row *change) {
    struct tenant_row row;
    int r = tenants_get(conn, &change->tenant_id, &row);
    if (r < 0 && r != -ENOENT) {
        return r;
    }
    want_tenant(f, &change->tenant_id, r == 0 ? &row : NULL);
    bool routes = r == 0 && row.tenant.status == TENANT_ACTIVE && row.tenant.addressing == ADDRESSING_UNIQUE;
    return routes && is_kind(change, "tenant.enabled") ? lans_each_of_tenant(conn, row.id, route_add, f) : 0;
}

static int follow_gone(struct follow *f, struct store_conn *conn, const struct key *gone) {
    struct router_row row;
    int r = routers_get_desired(conn, gone, &row);
    if (r == -ENOENT) {
        f->desired[f->desired_count++] =
            (struct desired_change){.kind = DESIRED_PEER_REMOVE, .peer = {.public_key = *gone}};
        r = 0;
    }
    return r;
}

static int compare_ids(const void *a, const void *b) {
    const struct router_row *one = a, *other = b;
    return memcmp(&one->router.id, &other->router.id, sizeof one->router.id);
}

static struct router_row *find_router(const struct follow *f, const struct uuid *id) {
    struct router_row key = {.router = {.id = *id}};
    return bsearch(&key, f->routers, f->router_count, sizeof *f->routers, compare_ids);
}

static int follow_router(struct follow *f, const struct change_row *change) {
    struct router_row *row = find_router(f, &change->router_id);
    if (!row || !row->id || desired_peer_from(f->service, row, &f->desired[f->desired_count]) < 0) {
        return 0; /* it does not belong into the data plane any more, or was seen to already */
    }
    f->desired_count++;
    row->id = 0;
    bool unique = ip_equal(&row->router.address, &row->router.hub_address);
    int r = 0;
    for (uint32_t i = 0; r == 0 && unique && i < row->router.lan_count; i++) {
        r = route_add(f, &row->router.lans[i]);
    }
    return r;
}

static bool may_lose_routes(const struct change_row *change) {
    return is_kind(change, "router.updated") || is_kind(change, "router.disabled") ||
           is_kind(change, "router.deleted") || is_kind(change, "tenant.disabled") || is_kind(change, "tenant.deleted");
}

/* From one snapshot of the store: the changes, and what the data plane should hold because of them. */
static int read_batch(struct follow *f, struct store_conn *conn) {
    bool stale = false;
    int r = store_begin(conn, false);
    r = r < 0 ? r : read_changes(f, conn);
    if (r < 0 || !f->some) {
        return r;
    }
    r = routers_list_changed(conn, f->after, f->changes[f->some - 1].revision, f->room, f->routers, &f->router_count);
    if (r < 0) {
        return r;
    }
    qsort(f->routers, f->router_count, sizeof *f->routers, compare_ids);
    for (size_t i = 0; r == 0 && i < f->some; i++) {
        const struct change_row *change = &f->changes[i];
        if (!is_news(f, change) || is_kind(change, "token.") || is_kind(change, "router.disconnected")) {
            continue;
        }
        stale = stale || may_lose_routes(change);
        if (is_kind(change, "tenant.")) {
            r = follow_tenant(f, conn, change);
            continue;
        }
        r = key_is_zero(&change->gone) ? 0 : follow_gone(f, conn, &change->gone);
        r = r < 0 ? r : follow_router(f, change);
    }
    return r < 0 || !stale ? r : lans_each_stale(conn, stale_add, f);
}

/* Routers of tenants that came back. After the tenants themselves. */
static int bring_back(struct follow *f) {
    struct service *s = f->service;
    for (size_t i = 0; i < f->some; i++) {
        const struct change_row *change = &f->changes[i];
        struct tenant_row row;
        struct store_conn *conn;
        struct problem problem;
        if (!is_news(f, change) || !is_kind(change, "tenant.enabled")) {
            continue;
        }
        int r = store_reader_take(s->store, &conn, &problem);
        if (r < 0) {
            return r;
        }
        r = tenants_get(conn, &change->tenant_id, &row);
        store_reader_put(s->store, conn);
        if (r == 0 && row.tenant.status == TENANT_ACTIVE) {
            plane_apply_tenant(s, row.id);
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
static void keep_up(struct follow *f) {
    struct service *s = f->service;
    int64_t tenants = 0, routers = 0;
    bool recount = false;
    pthread_mutex_lock(&s->mutex);
    uint64_t counted = s->counted;
    pthread_mutex_unlock(&s->mutex);
    for (size_t i = 0; i < f->some; i++) {
        const struct change_row *change = &f->changes[i];
        if (is_own(f, change)) {
            continue;
        }
        if (change->revision > counted) {
            recount = counts(change, "tenant.deleted", -1, &tenants) || recount; /* its routers are not in the feed */
            (void)(counts(change, "tenant.created", 1, &tenants) || counts(change, "router.created", 1, &routers) ||
                   counts(change, "router.deleted", -1, &routers));
        }
        if (is_kind(change, "tenant.deleted") || is_kind(change, "tenant.disabled")) {
            usage_forget_tenant(s, &change->tenant_id);
        } else if (!key_is_zero(&change->gone)) {
            usage_forget(s, &change->gone);
        } else if (is_kind(change, "router.connected") || is_kind(change, "router.activated")) {
            const struct router_row *row = find_router(f, &change->router_id);
            if (row && row->gateway_id && row->gateway_id != s->self.id) {
                usage_moved(s, &row->router.public_key);
            }
        }
    }
    pthread_mutex_lock(&s->mutex);
    s->tenants += (uint64_t)tenants;
    s->routers += (uint64_t)routers;
    s->recount_due = s->recount_due || recount;
    pthread_mutex_unlock(&s->mutex);
}

/* Within the writing turn: no change of our own is between its commit and its count. */
static void recount(struct service *s) {
    struct store_conn *conn;
    struct problem problem;
    uint64_t tenants = 0, routers = 0, revision = 0;
    turn_wait(&s->writing, turn_take(&s->writing));
    int r = store_reader_take(s->store, &conn, &problem);
    if (r == 0) {
        r = store_begin(conn, false);
        r = r < 0 ? r : changes_revision(conn, &revision);
        r = r < 0 ? r : tenants_count(conn, &tenants);
        r = r < 0 ? r : routers_count(conn, &routers);
        store_reader_put(s->store, conn);
    }
    pthread_mutex_lock(&s->mutex);
    if (r == 0) {
        s->tenants = tenants;
        s->routers = routers;
        s->counted = revision;
        s->recount_due = false;
    }
    pthread_mutex_unlock(&s->mutex);
    turn_end(&s->writing);
}

/* Up to here the data plane follows. `last`: the change of that number, or NULL. */
static void reach(struct service *s, uint64_t revision, const struct change_row *last) {
    pthread_mutex_lock(&s->mutex);
    if (revision > s->applied) {
        s->applied = revision;
        s->mark =
            last ? (struct change_mark){revision, last->at, last->tenant_id, last->router_id} : (struct change_mark){0};
    }
    if (revision > s->revision) {
        s->revision = revision;
        pthread_cond_broadcast(&s->committed);
    }
    pthread_mutex_unlock(&s->mutex);
}

/* Much has changed, the feed was compacted meanwhile or cannot be read, the database went back: everything is compared
 * instead. */
static void give_up(struct service *s, uint64_t revision) {
    plane_behind(s);
    reach(s, revision, NULL);
    s->mark = (struct change_mark){0};
    pthread_mutex_lock(&s->mutex);
    s->recount_due = true;
    pthread_mutex_unlock(&s->mutex);
}

/* One batch. 1: there may be more; 0: no more for now. */
static int follow_batch(struct follow *f) {
    struct service *s = f->service;
    struct store_conn *conn;
    struct problem problem;
    f->some = f->router_count = f->desired_count = f->route_count = f->stale_count = 0;
    int r = store_reader_take(s->store, &conn, &problem);
    if (r < 0) {
        return r;
    }
    r = read_batch(f, conn);
    store_reader_put(s->store, conn);
    if (r < 0 || !f->some) {
        return r;
    }
    bool sent = true;
    for (size_t at = 0; sent && at < f->desired_count; at += PLANE_BATCH) {
        size_t count = f->desired_count - at < PLANE_BATCH ? f->desired_count - at : PLANE_BATCH;
        sent = plane_apply(s, f->desired + at, count);
    }
    r = bring_back(f);
    (void)plane_routes(s, f->routes, f->route_count, f->stale, f->stale_count);
    if (r == 0) {
        keep_up(f);
    }
    const struct change_row *last = &f->changes[f->some - 1];
    f->after = last->revision;
    reach(s, f->after, last);
    return r < 0 ? r : f->some == f->count && f->after < f->until;
}

void follow_until(struct service *s, uint64_t until, bool own_too) {
    struct follow f = {.service = s, .until = until, .own_too = own_too};
    pthread_mutex_lock(&s->mutex);
    f.after = s->applied;
    pthread_mutex_unlock(&s->mutex);
    if (f.after >= until || !s->shared) {
        return;
    }
    if (until - f.after > FOLLOW_MOST) {
        give_up(s, until);
        return;
    }
    f.room = until - f.after < FOLLOW_BATCH ? (size_t)(until - f.after) : FOLLOW_BATCH;
    f.changes = malloc(f.room * sizeof *f.changes);
    f.routers = malloc(f.room * sizeof *f.routers);
    f.desired = malloc(2 * f.room * sizeof *f.desired); /* at most a peer that goes and one that comes */
    int r = f.changes && f.routers && f.desired ? 1 : -ENOMEM;
    while (r == 1) {
        r = follow_batch(&f);
    }
    follow_free(&f);
    if (r < 0) {
        give_up(s, until);
    }
}

static int last_revision(struct service *s, uint64_t *ret_revision) {
    struct store_conn *conn;
    struct problem problem;
    int r = store_reader_take(s->store, &conn, &problem);
    if (r == 0) {
        r = changes_revision(conn, ret_revision);
        store_reader_put(s->store, conn);
    }
    return r;
}

/* A database that was put back, or a standby that took over without having had everything: what was applied may never
 * have been. Within the turn nobody applies anything meanwhile. */
static int follow_back(struct service *s) {
    uint64_t revision = 0;
    plane_enter(s, turn_take(&s->applying));
    int r = last_revision(s, &revision);
    pthread_mutex_lock(&s->mutex);
    bool went_back = r == 0 && revision < s->applied;
    if (went_back) {
        s->applied = revision;
        s->revision = revision;
    }
    pthread_mutex_unlock(&s->mutex);
    if (went_back) {
        give_up(s, revision);
    }
    plane_leave(s);
    return r;
}

void follow_verify(struct service *s) {
    struct change_mark there = {0};
    struct store_conn *conn;
    struct problem problem;
    uint64_t revision = 0;
    unsigned epoch = store_epoch(s->store);
    if (!s->shared || epoch == s->verified) {
        return;
    }
    int r = store_reader_take(s->store, &conn, &problem);
    if (r == 0) {
        r = changes_mark(conn, s->mark.revision, &there);
        r = r < 0 ? r : changes_revision(conn, &revision);
        store_reader_put(s->store, conn);
    }
    if (r < 0) {
        return; /* the next one who comes */
    }
    s->verified = epoch;
    if (there.revision && !change_mark_equal(&there, &s->mark)) {
        give_up(s, revision);
    }
}

int follow_once(struct service *s) {
    uint64_t revision = 0;
    int r = last_revision(s, &revision);
    if (r < 0) {
        return r;
    }
    pthread_mutex_lock(&s->mutex);
    bool behind = revision > s->applied;
    bool ahead = revision < s->applied; /* perhaps only since we asked */
    bool back = s->severed;
    s->seen_ns = clock_mono_ns();
    if (back) {
        s->in_sync = false; /* the keeper compares, and lets everybody in again */
        s->attention_due = true;
        pthread_cond_signal(&s->attention);
    }
    pthread_mutex_unlock(&s->mutex);
    if (behind || s->verified != store_epoch(s->store)) {
        plane_enter(s, turn_take(&s->applying));
        follow_verify(s);
        follow_until(s, revision, false);
        plane_leave(s);
    }
    return ahead ? follow_back(s) : 0;
}

void *follow_main(void *context) {
    struct service *s = context;
    pthread_mutex_lock(&s->mutex);
    while (!s->closing) {
        pthread_mutex_unlock(&s->mutex);
        (void)store_await(s->store, AWAIT_MS);
        (void)follow_once(s); /* a database that is away is noticed by the guard */
        pthread_mutex_lock(&s->mutex);
        if (s->recount_due) {
            pthread_mutex_unlock(&s->mutex);
            recount(s);
            pthread_mutex_lock(&s->mutex);
        }
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* --- cut off from the database --- */

struct idle_peers {
    struct key *keys; /* owned */
    size_t count, room;
    int64_t since; /* no handshake after this: no session */
};

static int gather_idle(void *context, const struct actual_peer *peer) {
    struct idle_peers *idle = context;
    if (peer->last_handshake_at_us > idle->since) {
        return 0;
    }
    if (idle->count == idle->room) {
        size_t room = idle->room ? idle->room * 2 : 1024;
        struct key *more = reallocarray(idle->keys, room, sizeof *more);
        if (!more) {
            return -ENOMEM;
        }
        idle->keys = more;
        idle->room = room;
    }
    idle->keys[idle->count++] = peer->is.public_key;
    return 0;
}

/* Over the connection that looks on: whoever has the applying turn may be waiting for the database. */
static void shut_out(struct service *s) {
    struct idle_peers idle = {.since = clock_wall_us() - CONNECTED_US};
    struct desired_change *changes = malloc(PLANE_BATCH * sizeof *changes);
    struct problem problem = {0};
    uint64_t mark = 0;
    pthread_mutex_lock(&s->watch_mutex);
    int r = s->watch && changes ? s->ops->each_peer(s->watch, 0, gather_idle, &idle, &mark) : -ENOTCONN;
    for (size_t at = 0; r == 0 && at < idle.count;) {
        size_t count = 0;
        for (; count < PLANE_BATCH && at < idle.count; at++) {
            changes[count++] =
                (struct desired_change){.kind = DESIRED_PEER_REMOVE, .peer = {.public_key = idle.keys[at]}};
        }
        r = s->ops->apply(s->watch, changes, count, &problem);
        if (r == 0) {
            usage_taken_out(s, changes, count);
        }
    }
    pthread_mutex_unlock(&s->watch_mutex);
    free(changes);
    free(idle.keys);
}

void follow_guard(struct service *s) {
    uint64_t now = clock_mono_ns();
    pthread_mutex_lock(&s->mutex);
    bool cut_off = s->shared && s->grace_s && now - s->seen_ns > s->grace_s * NSEC_PER_SEC;
    bool due = cut_off && (!s->severed || now - s->guarded_ns > GUARD_NS);
    if (cut_off && !s->severed) {
        s->severed = true;
        s->in_sync = false;
    }
    if (due) {
        s->guarded_ns = now;
    }
    pthread_mutex_unlock(&s->mutex);
    if (due) {
        shut_out(s); /* again and again: sessions end */
    }
}
