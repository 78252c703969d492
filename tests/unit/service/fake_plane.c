#include "fake_plane.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct held_peer {
    struct key key;
    bool gone;
    struct actual_peer is;
    uint64_t changed_at;
};

struct held_tenant {
    struct uuid id;
    bool gone;
    struct actual_tenant is;
};

struct backend {
    uint64_t generation; /* of the data plane it was opened to */
};

static struct {
    pthread_mutex_t mutex;
    struct hash peers, tenants;
    size_t peer_count, tenant_count;
    struct prefix *routes;
    size_t route_count;
    uint64_t generation, clock, changes;
    bool up, stopped, half;
    struct key refused;
    void (*after)(void *context);
    void *after_context;
    struct {
        bool set;
        unsigned good, times;
        int error;
    } faults[FAKE_CALLS];
    uint64_t calls[FAKE_CALLS];
} plane = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void empty(void) {
    hash_free(&plane.peers);
    hash_free(&plane.tenants);
    hash_open(&plane.peers, sizeof(struct key), sizeof(struct held_peer));
    hash_open(&plane.tenants, sizeof(struct uuid), sizeof(struct held_tenant));
    free(plane.routes);
    plane.routes = NULL;
    plane.peer_count = plane.tenant_count = plane.route_count = 0;
}

void fake_plane_free(void) {
    hash_free(&plane.peers);
    hash_free(&plane.tenants);
    free(plane.routes);
    plane.routes = NULL;
}

void fake_plane_reset(void) {
    pthread_mutex_lock(&plane.mutex);
    empty();
    memset(plane.faults, 0, sizeof plane.faults);
    memset(plane.calls, 0, sizeof plane.calls);
    plane.half = plane.stopped = false;
    plane.refused = (struct key){0};
    plane.after = NULL;
    plane.up = true;
    plane.generation++;
    plane.changes = 0;
    pthread_mutex_unlock(&plane.mutex);
}

void fake_plane_fail(enum fake_call call, unsigned good, unsigned times, int error) {
    pthread_mutex_lock(&plane.mutex);
    plane.faults[call].set = true;
    plane.faults[call].good = good;
    plane.faults[call].times = times;
    plane.faults[call].error = error;
    pthread_mutex_unlock(&plane.mutex);
}

void fake_plane_fail_half(bool half) {
    plane.half = half;
}

void fake_plane_heal(void) {
    pthread_mutex_lock(&plane.mutex);
    memset(plane.faults, 0, sizeof plane.faults);
    plane.stopped = false;
    pthread_mutex_unlock(&plane.mutex);
}

void fake_plane_refuse(const struct key *public_key) {
    pthread_mutex_lock(&plane.mutex);
    plane.refused = public_key ? *public_key : (struct key){0};
    pthread_mutex_unlock(&plane.mutex);
}

void fake_plane_restart(void) {
    pthread_mutex_lock(&plane.mutex);
    empty();
    plane.generation++;
    pthread_mutex_unlock(&plane.mutex);
}

void fake_plane_stop(void) {
    pthread_mutex_lock(&plane.mutex);
    empty();
    plane.generation++;
    plane.up = false;
    plane.stopped = true;
    pthread_mutex_unlock(&plane.mutex);
}

/* Under the mutex: what this call comes to. */
static int fate(const struct backend *b, enum fake_call call) {
    plane.calls[call]++;
    if (plane.faults[call].set) {
        if (plane.faults[call].good) {
            plane.faults[call].good--;
        } else {
            int error = plane.faults[call].error;
            if (plane.faults[call].times && --plane.faults[call].times == 0) {
                plane.faults[call].set = false;
            }
            plane.up = plane.up && error != -ENOTCONN;
            return error;
        }
    }
    if (call == FAKE_OPEN || call == FAKE_REVIVE) {
        return plane.stopped ? -ENOTCONN : 0;
    }
    return plane.up && b->generation == plane.generation ? 0 : -ENOTCONN;
}

static int problem_of(int error, struct problem *problem) {
    if (error < 0 && problem) {
        problem_set(problem, PROBLEM_UNAVAILABLE, "fake", NULL, "The fake data plane failed: %s.", strerror(-error));
    }
    return error;
}

static int fake_open(const struct backend_config *config, struct backend **ret_backend, struct problem *ret_problem) {
    (void)config;
    pthread_mutex_lock(&plane.mutex);
    int r = fate(NULL, FAKE_OPEN);
    struct backend *b = r == 0 ? calloc(1, sizeof *b) : NULL;
    if (b) {
        plane.up = true;
        b->generation = plane.generation;
        *ret_backend = b;
    }
    pthread_mutex_unlock(&plane.mutex);
    return problem_of(r, ret_problem);
}

static void fake_close(struct backend *b) {
    free(b);
}

static int fake_revive(struct backend *b, struct problem *ret_problem) {
    pthread_mutex_lock(&plane.mutex);
    int r = fate(b, FAKE_REVIVE);
    if (r == 0) {
        plane.up = true;
        b->generation = plane.generation;
    }
    pthread_mutex_unlock(&plane.mutex);
    return problem_of(r, ret_problem);
}

static int fake_set_device(struct backend *b, const struct desired_device *device, unsigned *ret_touched,
                           struct problem *ret_problem) {
    (void)device;
    pthread_mutex_lock(&plane.mutex);
    int r = fate(b, FAKE_SET_DEVICE);
    pthread_mutex_unlock(&plane.mutex);
    *ret_touched = 0;
    return problem_of(r, ret_problem);
}

static struct held_tenant *tenant_of(const struct uuid *id) {
    struct held_tenant *tenant = hash_get(&plane.tenants, id);
    return tenant && !tenant->gone ? tenant : NULL;
}

static void peer_set(const struct desired_peer *desired) {
    struct held_peer *peer = hash_put(&plane.peers, &desired->public_key);
    bool fresh = peer->gone || peer->changed_at == 0;
    uint8_t timestamp[DESIRED_TIMESTAMP_SIZE];
    if (fresh || !uuid_equal(&peer->is.is.tenant, &desired->tenant)) {
        memset(&peer->is, 0, sizeof peer->is);
    }
    plane.peer_count += fresh;
    peer->gone = false;
    memcpy(timestamp, peer->is.is.timestamp, sizeof timestamp);
    peer->is.is = *desired;
    if (memcmp(timestamp, desired->timestamp, sizeof timestamp) > 0) {
        memcpy(peer->is.is.timestamp, timestamp, sizeof timestamp); /* only ever raises */
    }
    peer->is.foreign_allowed_ips = false;
    peer->changed_at = ++plane.clock;
}

static void peer_remove(struct held_peer *peer) {
    if (peer && !peer->gone) {
        peer->gone = true;
        plane.peer_count--;
    }
}

static void tenant_remove(const struct uuid *id) {
    struct held_tenant *tenant = tenant_of(id);
    size_t at = 0;
    if (tenant) {
        tenant->gone = true;
        plane.tenant_count--;
    }
    for (struct held_peer *peer; (peer = hash_each(&plane.peers, &at));) {
        if (uuid_equal(&peer->is.is.tenant, id)) {
            peer_remove(peer);
        }
    }
}

static int change(const struct desired_change *c) {
    plane.changes++;
    switch (c->kind) {
    case DESIRED_PEER_SET:
        if (!key_is_zero(&plane.refused) && key_equal(&plane.refused, &c->peer.public_key)) {
            return -EINVAL;
        }
        if (!tenant_of(&c->peer.tenant)) {
            return -ENOENT; /* as the engine: a peer's tenant comes first */
        }
        peer_set(&c->peer);
        return 0;
    case DESIRED_PEER_REMOVE:
        peer_remove(hash_get(&plane.peers, &c->peer.public_key));
        return 0;
    case DESIRED_TENANT_SET: {
        struct held_tenant *tenant = hash_put(&plane.tenants, &c->tenant.id);
        plane.tenant_count += tenant->gone || uuid_is_zero(&tenant->is.is.id);
        tenant->gone = false;
        tenant->is.is = c->tenant;
        return 0;
    }
    case DESIRED_TENANT_REMOVE:
        tenant_remove(&c->tenant.id);
        return 0;
    }
    return -EINVAL;
}

static int fake_apply(struct backend *b, const struct desired_change *changes, size_t count,
                      struct problem *ret_problem) {
    pthread_mutex_lock(&plane.mutex);
    int r = fate(b, FAKE_APPLY);
    size_t good = r == 0 ? count : plane.half ? count / 2 : 0;
    for (size_t i = 0; i < good; i++) {
        int one = change(&changes[i]);
        if (one < 0) {
            r = one;
            break;
        }
    }
    pthread_mutex_unlock(&plane.mutex);
    return problem_of(r, ret_problem);
}

static int fake_each_peer(struct backend *b, uint64_t since, backend_peer_fn *fn, void *context, uint64_t *ret_now) {
    size_t at = 0;
    pthread_mutex_lock(&plane.mutex);
    int r = fate(b, FAKE_EACH_PEER);
    for (struct held_peer *peer; r == 0 && (peer = hash_each(&plane.peers, &at));) {
        r = peer->gone || (since && peer->changed_at <= since) ? 0 : fn(context, &peer->is);
    }
    *ret_now = plane.clock;
    void (*after)(void *) = plane.after;
    plane.after = NULL;
    pthread_mutex_unlock(&plane.mutex);
    if (after) {
        after(plane.after_context);
    }
    return r;
}

static int fake_each_tenant(struct backend *b, backend_tenant_fn *fn, void *context) {
    size_t at = 0;
    pthread_mutex_lock(&plane.mutex);
    int r = fate(b, FAKE_EACH_TENANT);
    for (struct held_tenant *tenant; r == 0 && (tenant = hash_each(&plane.tenants, &at));) {
        r = tenant->gone ? 0 : fn(context, &tenant->is);
    }
    pthread_mutex_unlock(&plane.mutex);
    return r;
}

static int fake_each_counter(struct backend *b, backend_counter_fn *fn, void *context) {
    (void)b;
    return fn(context, "udp_received", 1);
}

static size_t route_of(const struct prefix *prefix) {
    size_t at = 0;
    while (at < plane.route_count && !prefix_equal(&plane.routes[at], prefix)) {
        at++;
    }
    return at;
}

static int fake_each_route(struct backend *b, backend_route_fn *fn, void *context, struct problem *ret_problem) {
    pthread_mutex_lock(&plane.mutex);
    int r = fate(b, FAKE_SET_ROUTES);
    for (size_t i = 0; r == 0 && i < plane.route_count; i++) {
        r = fn(context, &plane.routes[i]);
    }
    pthread_mutex_unlock(&plane.mutex);
    return problem_of(r, ret_problem);
}

static int fake_set_routes(struct backend *b, const struct prefix *add, size_t add_count, const struct prefix *remove,
                           size_t remove_count, struct problem *ret_problem) {
    pthread_mutex_lock(&plane.mutex);
    int r = fate(b, FAKE_SET_ROUTES);
    for (size_t i = 0; r == 0 && i < remove_count; i++) {
        size_t at = route_of(&remove[i]);
        if (at < plane.route_count) {
            plane.routes[at] = plane.routes[--plane.route_count];
        }
    }
    for (size_t i = 0; r == 0 && i < add_count; i++) {
        if (route_of(&add[i]) == plane.route_count) {
            plane.routes = reallocarray(plane.routes, plane.route_count + 1, sizeof *plane.routes);
            plane.routes[plane.route_count++] = add[i];
        }
    }
    pthread_mutex_unlock(&plane.mutex);
    return problem_of(r, ret_problem);
}

static int fake_state(struct backend *b, struct backend_state *ret_state) {
    pthread_mutex_lock(&plane.mutex);
    int r = fate(b, FAKE_STATE);
    if (r == 0) {
        *ret_state = (struct backend_state){.name = "fake", .up = true, .pid = 1, .generation = plane.generation};
        ret_state->peers = plane.peer_count;
        ret_state->tenants = plane.tenant_count;
    }
    pthread_mutex_unlock(&plane.mutex);
    return r;
}

void fake_plane_after_each_peer(void (*fn)(void *context), void *context) {
    pthread_mutex_lock(&plane.mutex);
    plane.after = fn;
    plane.after_context = context;
    pthread_mutex_unlock(&plane.mutex);
}

uint64_t fake_plane_calls(enum fake_call call) {
    pthread_mutex_lock(&plane.mutex);
    uint64_t calls = plane.calls[call];
    pthread_mutex_unlock(&plane.mutex);
    return calls;
}

uint64_t fake_plane_changes(void) {
    pthread_mutex_lock(&plane.mutex);
    uint64_t changes = plane.changes;
    pthread_mutex_unlock(&plane.mutex);
    return changes;
}

size_t fake_plane_peers(void) {
    pthread_mutex_lock(&plane.mutex);
    size_t count = plane.peer_count;
    pthread_mutex_unlock(&plane.mutex);
    return count;
}

size_t fake_plane_tenants(void) {
    pthread_mutex_lock(&plane.mutex);
    size_t count = plane.tenant_count;
    pthread_mutex_unlock(&plane.mutex);
    return count;
}

void fake_plane_route_by_hand(const struct prefix *prefix, bool add) {
    pthread_mutex_lock(&plane.mutex);
    size_t at = route_of(prefix);
    if (add && at == plane.route_count) {
        plane.routes = reallocarray(plane.routes, plane.route_count + 1, sizeof *plane.routes);
        plane.routes[plane.route_count++] = *prefix;
    } else if (!add && at < plane.route_count) {
        plane.routes[at] = plane.routes[--plane.route_count];
    }
    pthread_mutex_unlock(&plane.mutex);
}

size_t fake_plane_routes(void) {
    pthread_mutex_lock(&plane.mutex);
    size_t count = plane.route_count;
    pthread_mutex_unlock(&plane.mutex);
    return count;
}

bool fake_plane_has_route(const struct prefix *prefix) {
    pthread_mutex_lock(&plane.mutex);
    bool has = route_of(prefix) < plane.route_count;
    pthread_mutex_unlock(&plane.mutex);
    return has;
}

bool fake_plane_peer(const struct key *public_key, struct actual_peer *ret_peer) {
    pthread_mutex_lock(&plane.mutex);
    struct held_peer *peer = hash_get(&plane.peers, public_key);
    bool found = peer && !peer->gone;
    if (found) {
        *ret_peer = peer->is;
    }
    pthread_mutex_unlock(&plane.mutex);
    return found;
}

bool fake_plane_tenant(const struct uuid *id, struct actual_tenant *ret_tenant) {
    pthread_mutex_lock(&plane.mutex);
    struct held_tenant *tenant = tenant_of(id);
    if (tenant) {
        *ret_tenant = tenant->is;
    }
    pthread_mutex_unlock(&plane.mutex);
    return tenant != NULL;
}

void fake_plane_put(const struct actual_peer *is) {
    pthread_mutex_lock(&plane.mutex);
    struct held_peer *peer = hash_put(&plane.peers, &is->is.public_key);
    plane.peer_count += peer->gone || peer->changed_at == 0;
    peer->gone = false;
    peer->is = *is;
    peer->changed_at = ++plane.clock;
    pthread_mutex_unlock(&plane.mutex);
}

void fake_plane_put_tenant(const struct actual_tenant *is) {
    pthread_mutex_lock(&plane.mutex);
    struct held_tenant *tenant = hash_put(&plane.tenants, &is->is.id);
    plane.tenant_count += tenant->gone || uuid_is_zero(&tenant->is.is.id);
    tenant->gone = false;
    tenant->is = *is;
    pthread_mutex_unlock(&plane.mutex);
}

void fake_plane_drop(const struct key *public_key) {
    pthread_mutex_lock(&plane.mutex);
    peer_remove(hash_get(&plane.peers, public_key));
    pthread_mutex_unlock(&plane.mutex);
}

void fake_plane_drop_tenant(const struct uuid *id) {
    pthread_mutex_lock(&plane.mutex);
    tenant_remove(id);
    pthread_mutex_unlock(&plane.mutex);
}

void fake_plane_each(void (*fn)(void *context, struct actual_peer *peer), void *context) {
    size_t at = 0;
    pthread_mutex_lock(&plane.mutex);
    for (struct held_peer *peer; (peer = hash_each(&plane.peers, &at));) {
        if (!peer->gone) {
            fn(context, &peer->is);
            peer->changed_at = ++plane.clock;
        }
    }
    pthread_mutex_unlock(&plane.mutex);
}

const struct backend_ops fake_plane_ops = {
    .name = "fake",
    .private_tenants = true,
    .open = fake_open,
    .close = fake_close,
    .revive = fake_revive,
    .set_device = fake_set_device,
    .apply = fake_apply,
    .each_peer = fake_each_peer,
    .each_tenant = fake_each_tenant,
    .each_counter = fake_each_counter,
    .each_route = fake_each_route,
    .set_routes = fake_set_routes,
    .state = fake_state,
};
