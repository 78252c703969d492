/* Compares what the data plane holds with what the store says, and mends only what differs.
 *
 * First what it holds is noted (a hash per peer), then the store is read in one snapshot. What looks wrong is looked up
 * again within the applying turn before it is touched: by then a writer, here or at another gateway, may have mended or
 * deleted it, and whatever commits after that is applied after us.
 *
 * What is mended is told to people as differences that somebody made. So it is counted only where the data plane was
 * taken to hold what it should, or was found at work by a service that has just started. What a new or restarted one is
 * filled with, and what we knew that it lacked, is no such difference. Nor is what the API, here or at another gateway,
 * wrote since we began to look: it was on its way, and the feed says so. */
#include "service/sync/reconcile.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "service/plane/plane.h"
#include "service/record/identity.h"
#include "service/record/ledger.h"
#include "service/record/reach.h"
#include "service/record/secrets.h"
#include "service/sync/follow.h"
#include "service/sync/routes.h"
#include "store/noun/changes.h"
#include "store/noun/routers.h"
#include "store/noun/tenants.h"
#include "store/store.h"

struct reconcile {
    struct reconcile_config with; /* immutable */
    struct store *store;
    struct plane *plane;

    pthread_mutex_t run_mutex; /* one comparison at a time; taken before any other lock */

    pthread_mutex_t mutex; /* guards the next */
    struct reconcile_status status;
};

int reconcile_open(const struct reconcile_config *config, struct reconcile **ret_reconcile) {
    struct reconcile *reconcile = calloc(1, sizeof *reconcile);
    if (!reconcile) {
        return -ENOMEM;
    }
    reconcile->with = *config;
    reconcile->store = config->desired->store;
    reconcile->plane = config->desired->plane;
    pthread_mutex_init(&reconcile->run_mutex, NULL);
    pthread_mutex_init(&reconcile->mutex, NULL);
    *ret_reconcile = reconcile;
    return 0;
}

void reconcile_free(struct reconcile *reconcile) {
    if (reconcile) {
        pthread_mutex_destroy(&reconcile->mutex);
        pthread_mutex_destroy(&reconcile->run_mutex);
        free(reconcile);
    }
}

void reconcile_hold(struct reconcile *reconcile) {
    pthread_mutex_lock(&reconcile->run_mutex);
}

void reconcile_release(struct reconcile *reconcile) {
    pthread_mutex_unlock(&reconcile->run_mutex);
}

struct reconcile_status reconcile_status(struct reconcile *reconcile) {
    pthread_mutex_lock(&reconcile->mutex);
    struct reconcile_status status = reconcile->status;
    pthread_mutex_unlock(&reconcile->mutex);
    return status;
}

struct seen_peer {
    struct key key;
    struct uuid tenant;
    uint64_t digest;
    bool foreign; /* holds what no desired peer has */
    bool wanted;
};

struct seen_tenant {
    struct uuid id;
    struct desired_tenant is;
    bool wanted;
};

/* A list of keys or ids. */
struct todo {
    uint8_t *list; /* owned */
    size_t size, count, room;
};

/* One that was mended: a peer, or (without a key) a tenant. */
struct mended {
    struct key key;
    struct uuid tenant;
};

struct comparison {
    struct reconcile *reconcile;
    uint8_t digest_key[crypto_shorthash_KEYBYTES];
    struct hash peers, tenants; /* what the data plane holds */
    struct todo set_peers, remove_peers, set_tenants, remove_tenants;
    struct mended *mended; /* owned */
    size_t mended_count, mended_room;
    uint64_t touched; /* of the device and the routes */
    uint64_t since;   /* every change up to this revision was in force when we began to look */
    bool trusted;     /* nothing was known to be wrong with the data plane before we looked */
    struct problem *problem;
};

static int todo_add(struct todo *todo, size_t size, const void *what) {
    uint8_t *list = array_grow(todo->list, &todo->room, todo->count + 1, size);
    if (!list) {
        return -ENOMEM;
    }
    todo->list = list;
    todo->size = size;
    memcpy(todo->list + todo->count++ * size, what, size);
    return 0;
}

static size_t put_ip(uint8_t *to, const struct ip_addr *addr) {
    to[0] = addr->family;
    memcpy(to + 1, addr->bytes, sizeof addr->bytes);
    return 1 + sizeof addr->bytes;
}

/* Two peers with the same digest are the same but for one chance in 2^64, with a key nobody knows. */
static uint64_t digest_of(const struct comparison *c, const struct desired_peer *peer) {
    uint8_t bytes[KEY_SIZE + 16 + 17 * 3 + 18 * ROUTER_LANS_MAX];
    uint8_t digest[crypto_shorthash_BYTES];
    struct prefix lans[ROUTER_LANS_MAX];
    uint32_t lan_count = peer->lan_count < ROUTER_LANS_MAX ? peer->lan_count : ROUTER_LANS_MAX;
    size_t size = 0;
    memcpy(bytes, peer->preshared_key.bytes, KEY_SIZE);
    size += KEY_SIZE;
    memcpy(bytes + size, peer->tenant.bytes, sizeof peer->tenant.bytes);
    size += sizeof peer->tenant.bytes;
    size += put_ip(bytes + size, &peer->hub_address);
    size += put_ip(bytes + size, &peer->address);
    size += put_ip(bytes + size, &peer->address6);
    for (uint32_t i = 0; i < lan_count; i++) {
        uint32_t at = i;
        for (; at && prefix_compare(&lans[at - 1], &peer->lans[i]) > 0; at--) {
            lans[at] = lans[at - 1];
        }
        lans[at] = peer->lans[i];
    }
    for (uint32_t i = 0; i < lan_count; i++) {
        size += put_ip(bytes + size, &lans[i].addr);
        bytes[size++] = lans[i].length;
    }
    crypto_shorthash(digest, bytes, size, c->digest_key);
    sodium_memzero(bytes, KEY_SIZE);
    return le64_get(digest);
}

static int note_peer(void *context, const struct actual_peer *peer) {
    struct comparison *c = context;
    struct seen_peer *seen = hash_put(&c->peers, &peer->is.public_key);
    if (!seen) {
        return -ENOMEM;
    }
    seen->digest = digest_of(c, &peer->is);
    seen->foreign = peer->foreign_allowed_ips;
    seen->tenant = peer->is.tenant;
    return 0;
}

static int note_tenant(void *context, const struct actual_tenant *tenant) {
    struct comparison *c = context;
    struct seen_tenant *seen = hash_put(&c->tenants, &tenant->is.id);
    if (!seen) {
        return -ENOMEM;
    }
    seen->is = tenant->is;
    return 0;
}

static int look(struct comparison *c) {
    struct reconcile *reconcile = c->reconcile;
    struct reconcile_status *status = &reconcile->status;
    struct backend_state state = {0};
    uint64_t mark = 0;
    c->since = follow_in_force(reconcile->with.follow);
    int r = plane_read(reconcile->plane, 0, 0, note_tenant, note_peer, c, &state, &mark);
    if (r < 0) {
        (void)problem_set(c->problem, PROBLEM_UNAVAILABLE, "data-plane-away", NULL,
                          "What the data plane holds could not be read: %s.", strerror(-r));
        return r;
    }
    bool found_empty = c->peers.count == 0 && c->tenants.count == 0;
    pthread_mutex_lock(&reconcile->mutex);
    status->renewed += status->generation && status->generation != state.generation;
    c->trusted = status->generation ? c->trusted && status->generation == state.generation : !found_empty;
    status->generation = state.generation;
    pthread_mutex_unlock(&reconcile->mutex);
    return 0;
}

static bool tenant_equal(const struct desired_tenant *a, const struct desired_tenant *b) {
    return a->addressing == b->addressing && a->egress == b->egress &&
           a->limits.bits_per_second == b->limits.bits_per_second &&
           a->limits.packets_per_second == b->limits.packets_per_second;
}

static int compare_tenants(struct comparison *c, struct store_conn *conn) {
    static const struct tenants_filter active = {.has_status = true, .status = TENANT_ACTIVE};
    struct tenant_row *rows = malloc(PLANE_BATCH * sizeof *rows);
    size_t count = PLANE_BATCH;
    int64_t after = 0;
    int r = rows ? 0 : -ENOMEM;
    while (r == 0 && count == PLANE_BATCH) {
        r = tenants_list(conn, &active, after, PLANE_BATCH, rows, &count);
        for (size_t i = 0; r == 0 && i < count; i++) {
            struct desired_change change;
            desired_tenant_from(&rows[i].tenant, &change);
            struct seen_tenant *seen = hash_get(&c->tenants, &change.tenant.id);
            if (seen) {
                seen->wanted = true;
            }
            if (!seen || !tenant_equal(&seen->is, &change.tenant)) {
                r = todo_add(&c->set_tenants, sizeof change.tenant.id, &change.tenant.id);
            }
            after = rows[i].id;
        }
    }
    free(rows);
    return r;
}

static int compare_peers(struct comparison *c, struct store_conn *conn) {
    struct router_row *rows = malloc(PLANE_BATCH * sizeof *rows);
    size_t count = PLANE_BATCH;
    int64_t after = 0;
    int r = rows ? 0 : -ENOMEM;
    while (r == 0 && count == PLANE_BATCH) {
        r = routers_list_desired(conn, 0, after, PLANE_BATCH, rows, &count);
        for (size_t i = 0; r == 0 && i < count; i++) {
            struct desired_change change;
            after = rows[i].id;
            if (desired_peer_from(c->reconcile->with.desired, &rows[i], &change) < 0) {
                continue; /* a broken seal: better no peer than one without its preshared key */
            }
            struct seen_peer *seen = hash_get(&c->peers, &change.peer.public_key);
            if (seen) {
                seen->wanted = true;
            }
            if (!seen || seen->foreign || seen->digest != digest_of(c, &change.peer)) {
                r = todo_add(&c->set_peers, sizeof change.peer.public_key, &change.peer.public_key);
            }
            sodium_memzero(&change.peer.preshared_key, sizeof change.peer.preshared_key);
        }
    }
    free(rows);
    return r;
}

static int compare(struct comparison *c) {
    struct store *store = c->reconcile->store;
    struct store_conn *conn;
    size_t at = 0;
    int r = store_reader_take(store, &conn, c->problem);
    if (r < 0) {
        return r;
    }
    r = store_begin(conn, false);
    r = r < 0 ? r : compare_tenants(c, conn);
    r = r < 0 ? r : compare_peers(c, conn);
    for (struct seen_peer *p; r == 0 && (p = hash_each(&c->peers, &at));) {
        r = p->wanted ? 0 : todo_add(&c->remove_peers, sizeof p->key, &p->key);
    }
    at = 0;
    for (struct seen_tenant *t; r == 0 && (t = hash_each(&c->tenants, &at));) {
        r = t->wanted ? 0 : todo_add(&c->remove_tenants, sizeof t->id, &t->id);
    }
    if (r < 0) {
        r = store_problem(conn, r, c->problem);
    }
    store_reader_put(store, conn);
    return r;
}

/* What to do about one key or id, as the store says at this moment. 1: `ret_change`; 0: nothing. */
typedef int decide_fn(const struct desired *d, struct store_conn *conn, const void *what,
                      struct desired_change *ret_change);

static int decide_tenant(const struct desired *d, struct store_conn *conn, const void *what,
                         struct desired_change *ret_change) {
    struct tenant_row row = {0};
    (void)d;
    int r = tenants_get(conn, what, &row);
    if (r < 0 && r != -ENOENT) {
        return r;
    }
    bool wanted = r == 0 && row.tenant.status == TENANT_ACTIVE;
    desired_tenant_from(&row.tenant, ret_change);
    memcpy(&ret_change->tenant.id, what, sizeof ret_change->tenant.id);
    ret_change->kind = wanted ? DESIRED_TENANT_SET : DESIRED_TENANT_REMOVE;
    return 1;
}

static int decide_peer(const struct desired *d, struct store_conn *conn, const void *what,
                       struct desired_change *ret_change) {
    struct router_row row;
    int r = routers_get_desired(conn, what, &row);
    r = r < 0 ? r : desired_peer_from(d, &row, ret_change);
    if (r == -ENOENT || r == -EBADMSG) {
        memset(ret_change, 0, sizeof *ret_change);
        ret_change->kind = DESIRED_PEER_REMOVE;
        memcpy(&ret_change->peer.public_key, what, sizeof ret_change->peer.public_key);
        r = 0;
    }
    return r < 0 ? r : 1;
}

/* One change that was refused within its batch. A peer takes its tenant along: that may be newer than what was looked
 * at, while whoever made it has a place behind ours. */
static int send_one(struct comparison *c, const struct desired_change *change) {
    struct desired_change both[2] = {[1] = *change};
    struct store_conn *conn;
    if (change->kind != DESIRED_PEER_SET) {
        return plane_send(c->reconcile->plane, change, 1, c->problem);
    }
    int r = store_reader_take(c->reconcile->store, &conn, c->problem);
    if (r < 0) {
        return r;
    }
    r = decide_tenant(c->reconcile->with.desired, conn, &change->peer.tenant, &both[0]);
    r = r < 0 ? store_problem(conn, r, c->problem) : 0;
    store_reader_put(c->reconcile->store, conn);
    if (r == 0 && both[0].kind == DESIRED_TENANT_SET) { /* else it is gone by now, and its peers with it */
        r = plane_send(c->reconcile->plane, both, 2, c->problem);
    }
    sodium_memzero(&both[1].peer.preshared_key, sizeof both[1].peer.preshared_key);
    return r;
}

static void note_mended(struct comparison *c, const struct desired_change *change) {
    struct mended mended = {0};
    const struct seen_peer *seen;
    switch (change->kind) {
    case DESIRED_TENANT_SET:
    case DESIRED_TENANT_REMOVE:
        mended.tenant = change->tenant.id;
        break;
    case DESIRED_PEER_SET:
        mended.key = change->peer.public_key;
        mended.tenant = change->peer.tenant;
        break;
    case DESIRED_PEER_REMOVE:
        seen = hash_get(&c->peers, &change->peer.public_key);
        mended.key = change->peer.public_key;
        mended.tenant = seen ? seen->tenant : mended.tenant;
        break;
    }
    struct mended *list = c->trusted ? array_grow(c->mended, &c->mended_room, c->mended_count + 1, sizeof *list) : NULL;
    if (list) { /* without memory it is mended all the same */
        c->mended = list;
        list[c->mended_count++] = mended;
    }
}

/* A batch, within the turn. If the data plane refuses it, one by one: what it cannot take must not hold up the rest. */
static int send_batch(struct comparison *c, const struct desired_change *changes, size_t count) {
    int r = plane_send(c->reconcile->plane, changes, count, c->problem);
    for (size_t i = 0; r == 0 && i < count; i++) {
        note_mended(c, &changes[i]);
    }
    if (r < 0 && r != -ENOTCONN) {
        int refused = 0;
        for (size_t i = 0; i < count && refused != -ENOTCONN; i++) {
            int one = send_one(c, &changes[i]);
            if (one == 0) {
                note_mended(c, &changes[i]);
            }
            refused = one < 0 ? one : refused;
        }
        r = refused;
    }
    return r;
}

/* The next batch, as the store says now. */
static int gather(struct comparison *c, const struct todo *todo, decide_fn *decide, size_t *at,
                  struct desired_change *changes, size_t *ret_count) {
    struct store_conn *conn;
    size_t count = 0;
    int r = store_reader_take(c->reconcile->store, &conn, c->problem);
    if (r < 0) {
        return r;
    }
    r = store_begin(conn, false); /* one for all is cheaper than one each */
    for (; r == 0 && count < PLANE_BATCH && *at < todo->count; ++*at) {
        int one = decide(c->reconcile->with.desired, conn, todo->list + *at * todo->size, &changes[count]);
        r = one < 0 ? one : 0;
        count += one > 0;
    }
    r = r < 0 ? store_problem(conn, r, c->problem) : 0;
    store_reader_put(c->reconcile->store, conn);
    *ret_count = count;
    return r;
}

static int mend(struct comparison *c, const struct todo *todo, decide_fn *decide) {
    struct reconcile *reconcile = c->reconcile;
    struct desired_change *changes = malloc(PLANE_BATCH * sizeof *changes);
    if (!changes) {
        return problem_set(c->problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    int r = 0;
    int refused = 0;
    for (size_t at = 0; r == 0 && at < todo->count;) {
        size_t count = 0;
        plane_turn_begin(reconcile->plane);
        r = gather(c, todo, decide, &at, changes, &count);
        int sent = r < 0 ? r : send_batch(c, changes, count);
        plane_turn_end(reconcile->plane);
        refused = sent < 0 ? sent : refused;
        r = r < 0 || sent == -ENOTCONN ? sent : 0;
    }
    sodium_memzero(changes, PLANE_BATCH * sizeof *changes);
    free(changes);
    return r < 0 ? r : refused;
}

/* A page of what belongs into the data plane, after row `after`: as changes. */
typedef int page_fn(const struct desired *d, struct store_conn *conn, int64_t *after, struct desired_change *changes,
                    size_t *ret_rows, size_t *ret_count);

static int page_of_tenants(const struct desired *d, struct store_conn *conn, int64_t *after,
                           struct desired_change *changes, size_t *ret_rows, size_t *ret_count) {
    static const struct tenants_filter active = {.has_status = true, .status = TENANT_ACTIVE};
    struct tenant_row *rows = malloc(PLANE_BATCH * sizeof *rows);
    size_t count = 0;
    (void)d;
    int r = rows ? tenants_list(conn, &active, *after, PLANE_BATCH, rows, &count) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++) {
        desired_tenant_from(&rows[i].tenant, &changes[i]);
        *after = rows[i].id;
    }
    free(rows);
    *ret_rows = *ret_count = count;
    return r;
}

static int page_of_peers(const struct desired *d, struct store_conn *conn, int64_t *after,
                         struct desired_change *changes, size_t *ret_rows, size_t *ret_count) {
    struct router_row *rows = malloc(PLANE_BATCH * sizeof *rows);
    size_t count = 0, good = 0;
    int r = rows ? routers_list_desired(conn, 0, *after, PLANE_BATCH, rows, &count) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++) {
        good += desired_peer_from(d, &rows[i], &changes[good]) == 0;
        *after = rows[i].id;
    }
    free(rows);
    *ret_rows = count;
    *ret_count = good;
    return r;
}

/* Into a data plane that holds nothing, as after its start: page by page, each read and brought into force within the
 * turn, so there is nothing to compare. */
static int fill(struct comparison *c, page_fn *page) {
    struct reconcile *reconcile = c->reconcile;
    struct desired_change *changes = malloc(PLANE_BATCH * sizeof *changes);
    size_t rows = PLANE_BATCH;
    int64_t after = 0;
    int r = changes ? 0 : problem_set(c->problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    int refused = 0;
    while (r == 0 && rows == PLANE_BATCH) {
        struct store_conn *conn;
        size_t count = 0;
        plane_turn_begin(reconcile->plane);
        r = store_reader_take(reconcile->store, &conn, c->problem);
        if (r == 0) {
            r = store_begin(conn, false);
            r = r < 0 ? r : page(c->reconcile->with.desired, conn, &after, changes, &rows, &count);
            r = r < 0 ? store_problem(conn, r, c->problem) : 0;
            store_reader_put(reconcile->store, conn);
        }
        int sent = r < 0 ? r : send_batch(c, changes, count);
        plane_turn_end(reconcile->plane);
        refused = sent < 0 ? sent : refused;
        r = r < 0 || sent == -ENOTCONN ? sent : 0;
    }
    if (changes) {
        sodium_memzero(changes, PLANE_BATCH * sizeof *changes);
    }
    free(changes);
    return r < 0 ? r : refused;
}

static int device(struct comparison *c) {
    struct reconcile *reconcile = c->reconcile;
    const struct service_gateway *gateway = &reconcile->with.identity->gateway;
    unsigned touched = 0;
    struct desired_device device = {
        .private_key = *reconcile->with.desired->secrets->private_key,
        .listen_port = reconcile->with.listen_port,
        .hub_addresses = {{.addr = gateway->hub_address, .length = gateway->pool.length},
                          {.addr = gateway->hub_address6, .length = gateway->ula.length}},
        .hub_address_count = 2,
        .mtu = gateway->mtu,
        .fwmark = reconcile->with.fwmark,
    };
    plane_turn_begin(reconcile->plane);
    int r = plane_set_device(reconcile->plane, &device, &touched, c->problem);
    plane_turn_end(reconcile->plane);
    sodium_memzero(&device.private_key, sizeof device.private_key);
    c->touched = r == 0 ? touched : 0;
    return r;
}

static int routes(struct comparison *c) {
    uint64_t mended = 0;
    int r = routes_mend(c->reconcile->with.routes, &mended, c->problem);
    c->touched += mended;
    return r;
}

static int run(struct comparison *c) {
    int r = device(c);
    r = r < 0 ? r : look(c);
    if (r == 0 && c->peers.count == 0 && c->tenants.count == 0) {
        r = fill(c, page_of_tenants);
        int filled = r == -ENOTCONN ? r : fill(c, page_of_peers);
        r = filled < 0 ? filled : r;
        int routed = r == -ENOTCONN ? r : routes(c);
        return routed < 0 ? routed : r;
    }
    r = r < 0 ? r : compare(c);
    /* What is foreign goes first: it may sit on addresses that others need. A tenant comes before its routers. */
    struct {
        const struct todo *todo;
        decide_fn *decide;
    } work[] = {
        {&c->remove_peers, decide_peer},
        {&c->remove_tenants, decide_tenant},
        {&c->set_tenants, decide_tenant},
        {&c->set_peers, decide_peer},
    };
    int refused = 0;
    for (size_t i = 0; r == 0 && i < sizeof work / sizeof *work; i++) {
        int done = mend(c, work[i].todo, work[i].decide);
        refused = done < 0 ? done : refused;
        r = done == -ENOTCONN ? done : 0;
    }
    int routed = r < 0 ? r : routes(c);
    return routed < 0 ? routed : refused;
}

static void comparison_free(struct comparison *c) {
    hash_free(&c->peers);
    hash_free(&c->tenants);
    free(c->mended);
    free(c->set_peers.list);
    free(c->remove_peers.list);
    free(c->set_tenants.list);
    free(c->remove_tenants.list);
}

/* Tenants and peers that changes since a revision were about. */
struct told {
    struct hash keys, tenants;
    struct change_row *changes; /* owned, as is the next: a page */
    struct router_row *routers;
};

static int read_told(struct told *told, struct store_conn *conn, uint64_t *after, size_t *ret_count) {
    static const struct uuid all;
    size_t count = 0, routers = 0;
    int r = changes_list(conn, *after, &all, PLANE_BATCH, told->changes, &count);
    uint64_t last = r == 0 && count ? told->changes[count - 1].revision : *after;
    r = r < 0 ? r : routers_list_changed(conn, *after, last, PLANE_BATCH, told->routers, &routers);
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct change_row *change = &told->changes[i];
        bool of_tenant = strncmp(change->kind, "tenant.", 7) == 0;
        r = of_tenant && !hash_put(&told->tenants, &change->tenant_id) ? -ENOMEM : 0;
        r = r < 0 || key_is_zero(&change->gone) || hash_put(&told->keys, &change->gone) ? r : -ENOMEM;
    }
    for (size_t i = 0; r == 0 && i < routers; i++) {
        r = hash_put(&told->keys, &told->routers[i].router.public_key) ? 0 : -ENOMEM;
    }
    *after = last;
    *ret_count = count;
    return r;
}

/* How many differences nobody has told of in the feed. */
static uint64_t count_differences(struct comparison *c) {
    struct store *store = c->reconcile->store;
    struct store_conn *conn = NULL;
    struct problem problem;
    struct told told = {.changes = malloc(PLANE_BATCH * sizeof *told.changes),
                        .routers = malloc(PLANE_BATCH * sizeof *told.routers)};
    uint64_t after = c->since, differences = c->touched;
    size_t count = PLANE_BATCH;
    hash_open(&told.keys, sizeof(struct key), sizeof(struct key));
    hash_open(&told.tenants, sizeof(struct uuid), sizeof(struct uuid));
    int r = c->mended_count && told.changes && told.routers ? store_reader_take(store, &conn, &problem) : -ENOENT;
    while (r == 0 && count == PLANE_BATCH) {
        r = read_told(&told, conn, &after, &count);
    }
    store_reader_put(store, conn);
    for (size_t i = 0; i < c->mended_count; i++) {
        const struct mended *mended = &c->mended[i];
        bool peer = !key_is_zero(&mended->key);
        differences += !hash_get(&told.tenants, &mended->tenant) && !(peer && hash_get(&told.keys, &mended->key));
    }
    hash_free(&told.keys);
    hash_free(&told.tenants);
    free(told.changes);
    free(told.routers);
    return differences;
}

/* One comparison from the start. */
static int attempt(struct reconcile *reconcile, uint64_t *mended, struct problem *ret_problem) {
    struct comparison c = {.reconcile = reconcile, .problem = ret_problem};
    struct plane_status plane;
    int r = 0;
    plane_status(reconcile->plane, &plane);
    c.trusted = plane.in_sync && !plane.away;
    *ret_problem = (struct problem){0};
    hash_open(&c.peers, sizeof(struct key), sizeof(struct seen_peer));
    hash_open(&c.tenants, sizeof(struct uuid), sizeof(struct seen_tenant));
    randombytes_buf(c.digest_key, sizeof c.digest_key);
    if (plane.away) {
        r = plane_revive(reconcile->plane, ret_problem);
    }
    r = r < 0 ? r : run(&c);
    if (r < 0 && !reach_is_lacking(ret_problem)) {
        plane_trouble(reconcile->plane, r, ret_problem);
    }
    *mended += c.trusted ? count_differences(&c) : 0;
    comparison_free(&c);
    return r;
}

static uint64_t troubles(struct reconcile *reconcile) {
    struct plane_status plane;
    plane_status(reconcile->plane, &plane);
    return plane.troubles;
}

int reconcile_run(struct reconcile *reconcile, struct problem *ret_problem) {
    struct reconcile_status *status = &reconcile->status;
    uint64_t start = clock_mono_ns(), mended = 0;
    reconcile_hold(reconcile);
    uint64_t before = troubles(reconcile);
    int r = attempt(reconcile, &mended, ret_problem);
    if (r == -ENOTCONN) {
        /* It may be that a new data plane is there already and only our connections are to the old one. */
        before = troubles(reconcile);
        r = attempt(reconcile, &mended, ret_problem);
    }
    if (r == 0 && plane_settled(reconcile->plane, before)) {
        follow_readmit(reconcile->with.follow);
    }
    pthread_mutex_lock(&reconcile->mutex);
    status->mended += mended;
    if (r == 0) {
        status->at = clock_wall_us();
        status->ms = (uint32_t)((clock_mono_ns() - start) / NSEC_PER_MSEC);
    }
    pthread_mutex_unlock(&reconcile->mutex);
    reconcile_release(reconcile);
    return r;
}
