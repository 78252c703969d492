#include "engine/control/snapshot.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "engine/path/peer.h"
#include "engine/path/space.h"
#include "engine/path/worker.h"

#define SLOTS_MAX 8192    /* looked at in one call, found or not */
#define PREFIXES_MAX 8192 /* copied in one call, but a peer is never cut */
#define AHEAD_MAX_S 3600  /* how far a peer's clock may be ahead of ours, and its timestamp still be kept */

int snapshot_create(struct snapshot **ret_snapshot) {
    struct snapshot *snapshot = sodium_malloc(sizeof *snapshot);
    if (!snapshot) {
        return -ENOMEM;
    }
    memset(snapshot, 0, sizeof *snapshot);
    *ret_snapshot = snapshot;
    return 0;
}

void snapshot_free(struct snapshot *snapshot) {
    if (!snapshot) {
        return;
    }
    free(snapshot->prefixes);
    sodium_free(snapshot);
}

static bool wanted(const struct snapshot *snapshot, const struct peer *peer) {
    return peer && (snapshot->since_ns == 0 || peer->changed_ns > snapshot->since_ns);
}

static int copy_prefixes(struct snapshot *snapshot, const struct peer *peer) {
    size_t count = snapshot->prefix_count + peer->allowed.count;
    struct prefix *prefixes = array_grow(snapshot->prefixes, &snapshot->prefix_room, count, sizeof *prefixes);
    if (!prefixes) {
        return -ENOMEM;
    }
    snapshot->prefixes = prefixes;
    prefixes_copy(&peer->allowed, snapshot->prefixes + snapshot->prefix_count);
    snapshot->prefix_count = count;
    return 0;
}

static int copy_peer(struct snapshot *snapshot, const struct peer *peer) {
    struct engine_peer *copy = &snapshot->peers[snapshot->count];
    *copy = (struct engine_peer){.public_key = peer->remote.public_key};
    if (!snapshot->keys_only) {
        int error = copy_prefixes(snapshot, peer);
        if (error) {
            return error;
        }
        copy->preshared_key = peer->remote.preshared_key;
        copy->endpoint = peer->endpoint;
        copy->keepalive_s = peer->keepalive_s;
        copy->last_handshake_wall_ns = peer->last_handshake_wall_ns;
        copy->bytes_received = peer->bytes_received;
        copy->bytes_sent = peer->bytes_sent;
        copy->allowed_ip_count = peer->allowed.count;
        copy->hub_address_count = peer->hub_address_count;
        copy->clock_behind_s = peer->clock_behind_s;
        if (noise_timestamp_s(peer->remote.latest_timestamp) <= snapshot->wall_s + AHEAD_MAX_S) {
            memcpy(copy->timestamp, peer->remote.latest_timestamp, MESSAGE_TIMESTAMP_SIZE);
        }
        for (size_t i = 0; i < peer->hub_address_count; i++) {
            copy->hub_addresses[i] = peer->hub_addresses[i];
        }
        if (peer->space) {
            copy->tenant = peer->space->tenant.id;
        }
    }
    snapshot->count++;
    return 0;
}

/* The list may have moved while it grew. */
static void point_at_prefixes(struct snapshot *snapshot) {
    size_t at = 0;
    for (size_t i = 0; i < snapshot->count; i++) {
        snapshot->peers[i].allowed_ips = snapshot->peers[i].allowed_ip_count ? snapshot->prefixes + at : NULL;
        at += snapshot->peers[i].allowed_ip_count;
    }
}

void snapshot_take_peers(struct worker *worker, void *argument) {
    struct snapshot *snapshot = argument;
    snapshot->wall_s = (int64_t)(clock_wall_ns() / NSEC_PER_SEC);
    snapshot->count = 0;
    snapshot->prefix_count = 0;
    snapshot->error = 0;
    for (unsigned looked = 0; looked < SLOTS_MAX; looked++) {
        if (snapshot->cursor >= worker->tables.peer_room || snapshot->count == SNAPSHOT_PEERS ||
            snapshot->prefix_count >= PREFIXES_MAX) {
            break;
        }
        const struct peer *peer = worker->tables.peers[snapshot->cursor];
        if (wanted(snapshot, peer)) {
            snapshot->error = copy_peer(snapshot, peer);
            if (snapshot->error) {
                break;
            }
        }
        snapshot->cursor++;
    }
    point_at_prefixes(snapshot);
    snapshot->done = snapshot->cursor >= worker->tables.peer_room;
}

void snapshot_take_members(struct worker *worker, void *argument) {
    struct snapshot *snapshot = argument;
    const struct space *space = space_at(worker, snapshot->tenant_slot);
    const struct peer *peer = space ? space->peers : NULL;
    snapshot->error = 0;
    for (snapshot->count = 0; peer && snapshot->count < SNAPSHOT_PEERS; peer = peer->space_next) {
        snapshot->peers[snapshot->count++] = (struct engine_peer){.public_key = peer->remote.public_key};
    }
    snapshot->done = !peer;
}

void snapshot_take_tenants(struct worker *worker, void *argument) {
    struct snapshot *snapshot = argument;
    snapshot->tenant_count = 0;
    snapshot->error = 0;
    for (unsigned looked = 0; looked < SLOTS_MAX; looked++) {
        if (snapshot->cursor >= worker->tables.space_room || snapshot->tenant_count == SNAPSHOT_TENANTS) {
            break;
        }
        const struct space *space = worker->tables.spaces[snapshot->cursor++];
        if (space) {
            snapshot->tenants[snapshot->tenant_count] = space->tenant;
            snapshot->usages[snapshot->tenant_count] = space->usage;
            snapshot->tenant_count++;
        }
    }
    snapshot->done = snapshot->cursor >= worker->tables.space_room;
}
