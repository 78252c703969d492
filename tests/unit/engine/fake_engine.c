#include "fake_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct engine *fake_engine_create(void) {
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine) {
        engine->device.workers = 2;
        engine->device.crypto = "fake";
        engine->device.offloads[ENGINE_OFFLOAD_GRO] = ENGINE_OFFLOAD_SWITCHED_OFF;
        engine->device.offloads[ENGINE_OFFLOAD_XDP] = ENGINE_OFFLOAD_SWITCHED_OFF;
        engine->device.offloads[ENGINE_OFFLOAD_USO] = ENGINE_OFFLOAD_UNSUPPORTED;
        engine->device.offloads[ENGINE_OFFLOAD_JOIN_UDP] = ENGINE_OFFLOAD_REFUSED;
    }
    return engine;
}

void fake_engine_free(struct engine *engine) {
    if (engine) {
        free(engine->peers);
        free(engine->tenants);
        free(engine);
    }
}

struct fake_peer *fake_engine_peer(struct engine *engine, const struct key *public_key) {
    for (size_t i = 0; i < engine->device.peers; i++) {
        if (key_equal(&engine->peers[i].is.public_key, public_key)) {
            return &engine->peers[i];
        }
    }
    return NULL;
}

static struct fake_tenant *find_tenant(struct engine *engine, const struct uuid *id) {
    for (size_t i = 0; i < engine->device.tenants; i++) {
        if (uuid_equal(&engine->tenants[i].is.id, id)) {
            return &engine->tenants[i];
        }
    }
    return NULL;
}

static int take_fault(int *fault) {
    int rc = *fault;
    *fault = 0;
    return rc;
}

int engine_set_private_key(struct engine *engine, const struct key *private_key) {
    engine->device.private_key = *private_key;
    engine->private_key_sets++;
    return 0;
}

int engine_set_listen_port(struct engine *engine, uint16_t port) {
    int rc = take_fault(&engine->fail_listen_port);
    if (rc == 0) {
        engine->device.listen_port = port;
        engine->listen_port_sets++;
    }
    return rc;
}

int engine_set_fwmark(struct engine *engine, uint32_t fwmark) {
    engine->device.fwmark = fwmark;
    return 0;
}

int engine_set_hub(struct engine *engine, const struct prefix *prefixes, size_t count) {
    memcpy(engine->device.hub, prefixes, count * sizeof *prefixes);
    engine->device.hub_count = count;
    engine->hub_sets++;
    return 0;
}

void engine_get_device(struct engine *engine, struct engine_device *ret_device) {
    *ret_device = engine->device;
}

int engine_tenant_set(struct engine *engine, struct engine_caller *caller, const struct engine_tenant *tenant) {
    (void)caller;
    struct fake_tenant *found = find_tenant(engine, &tenant->id);
    if (!found) {
        if (engine->device.tenants == engine->tenant_room) {
            engine->tenant_room = engine->tenant_room * 2 + 16;
            engine->tenants = reallocarray(engine->tenants, engine->tenant_room, sizeof *engine->tenants);
        }
        found = &engine->tenants[engine->device.tenants++];
        *found = (struct fake_tenant){
            .usage = {.bytes_received = 1, .packets_received = 2, .bytes_sent = 3, .packets_sent = 4, .dropped = 5}};
    }
    found->is = *tenant;
    return 0;
}

static void remove_peer_at(struct engine *engine, size_t at) {
    struct fake_peer *last = &engine->peers[--engine->device.peers];
    engine->peers[at] = *last;
    engine->peers[at].is.allowed_ips = engine->peers[at].allowed;
}

int engine_tenant_remove(struct engine *engine, const struct uuid *id) {
    struct fake_tenant *found = find_tenant(engine, id);
    if (!found) {
        return -ENOENT;
    }
    *found = engine->tenants[--engine->device.tenants];
    for (size_t i = engine->device.peers; i-- > 0;) {
        if (uuid_equal(&engine->peers[i].is.tenant, id)) {
            remove_peer_at(engine, i);
        }
    }
    return 0;
}

/* How many a step of a walk shows. Small, so that tests have many steps. */
#define STEP 100

int engine_walk_tenants(struct engine *engine, struct engine_walk *walk, engine_tenant_fn *fn, void *context) {
    for (int i = 0; i < STEP && walk->slot < engine->device.tenants; i++) {
        const struct fake_tenant *tenant = &engine->tenants[walk->slot++];
        int rc = fn(context, &tenant->is, &tenant->usage);
        if (rc != 0) {
            return rc;
        }
    }
    return walk->slot < engine->device.tenants;
}

static struct fake_peer *add_peer(struct engine *engine, const struct key *public_key) {
    if (engine->device.peers == engine->peer_room) {
        engine->peer_room = engine->peer_room * 2 + 16;
        engine->peers = reallocarray(engine->peers, engine->peer_room, sizeof *engine->peers);
        for (size_t i = 0; i < engine->device.peers; i++) {
            engine->peers[i].is.allowed_ips = engine->peers[i].allowed;
        }
    }
    struct fake_peer *peer = &engine->peers[engine->device.peers++];
    memset(peer, 0, sizeof *peer);
    peer->is.public_key = *public_key;
    peer->is.allowed_ips = peer->allowed;
    return peer;
}

static void change_allowed_ip(struct fake_peer *peer, const struct engine_allowed_ip *change) {
    for (size_t i = 0; i < peer->is.allowed_ip_count; i++) {
        if (prefix_equal(&peer->allowed[i], &change->prefix)) {
            peer->allowed[i] = peer->allowed[--peer->is.allowed_ip_count];
            break;
        }
    }
    if (!change->remove && peer->is.allowed_ip_count < FAKE_ALLOWED_IPS_MAX) {
        peer->allowed[peer->is.allowed_ip_count++] = change->prefix;
    }
}

static void change_peer(struct fake_peer *peer, const struct engine_peer_change *change) {
    struct engine_peer *is = &peer->is;
    if (change->has_tenant) {
        is->tenant = change->tenant;
    }
    if (change->replace_allowed_ips) {
        is->allowed_ip_count = 0;
    }
    for (size_t i = 0; i < change->allowed_ip_count; i++) {
        change_allowed_ip(peer, &change->allowed_ips[i]);
    }
    if (change->has_preshared_key) {
        is->preshared_key = change->preshared_key;
    }
    if (change->has_endpoint) {
        is->endpoint = change->endpoint;
    }
    if (change->has_keepalive) {
        is->keepalive_s = change->keepalive_s;
    }
    if (change->has_hub_addresses) {
        memcpy(is->hub_addresses, change->hub_addresses, sizeof is->hub_addresses);
        is->hub_address_count = change->hub_address_count;
    }
    if (change->reset_timestamp) {
        memset(is->timestamp, 0, sizeof is->timestamp);
    }
    if (change->has_timestamp && memcmp(change->timestamp, is->timestamp, sizeof is->timestamp) > 0) {
        memcpy(is->timestamp, change->timestamp, sizeof is->timestamp);
    }
    peer->changed_ns = clock_mono_ns();
}

int engine_peer_change(struct engine *engine, struct engine_caller *caller, const struct engine_peer_change *change) {
    (void)caller;
    int rc = take_fault(&engine->fail_change);
    struct fake_peer *peer = fake_engine_peer(engine, &change->public_key);
    engine->changes++;
    if (rc < 0) {
        return rc;
    }
    if (change->has_tenant && !uuid_is_zero(&change->tenant) && !find_tenant(engine, &change->tenant)) {
        return -ENOENT;
    }
    if (change->remove) {
        if (peer) {
            remove_peer_at(engine, (size_t)(peer - engine->peers));
        }
        return 0;
    }
    if (!peer && change->update_only) {
        return 0;
    }
    change_peer(peer ? peer : add_peer(engine, &change->public_key), change);
    return 0;
}

int engine_remove_peers(struct engine *engine) {
    engine->device.peers = 0;
    return 0;
}

int engine_flush(struct engine *engine, struct engine_caller *caller) {
    (void)caller;
    engine->flushes++;
    return take_fault(&engine->fail_flush);
}

int engine_walk_peers(struct engine *engine, struct engine_walk *walk, uint64_t since_ns, engine_peer_fn *fn,
                      void *context) {
    engine->walk_steps++;
    for (int i = 0; i < STEP && walk->slot < engine->device.peers; i++) {
        const struct fake_peer *peer = &engine->peers[walk->slot++];
        int rc = peer->changed_ns > since_ns ? fn(context, &peer->is) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    return walk->slot < engine->device.peers;
}

const char *engine_drop_name(enum engine_drop drop) {
    static const char *const names[] = {
#define X(id, name) [ENGINE_DROP_##id] = name,
        ENGINE_DROPS(X)
#undef X
    };
    return names[drop];
}

void engine_get_counters(struct engine *engine, struct engine_counters *ret_counters) {
    (void)engine;
    memset(ret_counters, 0, sizeof *ret_counters);
    ret_counters->drops[ENGINE_DROP_BAD_TAG] = 7;
    ret_counters->udp_received = 11;
}

void engine_get_worker_counters(struct engine *engine, unsigned worker, struct engine_counters *ret_counters) {
    (void)engine;
    memset(ret_counters, 0, sizeof *ret_counters);
    ret_counters->drops[ENGINE_DROP_BAD_TAG] = 3 + worker;
    ret_counters->handed_over = worker;
}
