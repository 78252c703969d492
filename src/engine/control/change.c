#include "engine/control/change.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "engine/path/peer.h"
#include "engine/path/space.h"
#include "engine/path/worker.h"
#include "engine/table/directory.h"
#include "engine/table/trie.h"

/* --- batches --- */

void change_batch_clear(struct change_batch *batch) {
    if (batch->count > 0) {
        sodium_memzero(batch->changes, batch->count * sizeof *batch->changes); /* preshared keys */
    }
    batch->count = 0;
    batch->allowed_count = 0;
    batch->edit_count = 0;
    batch->freed_count = 0;
    batch->unmade_count = 0;
    batch->next = 0;
}

void change_batch_free(struct change_batch *batch) {
    change_batch_clear(batch);
    free(batch->changes);
    free(batch->allowed);
    free(batch->edits);
    free(batch->freed);
    free(batch->unmade);
    *batch = (struct change_batch){0};
}

int change_batch_add(struct change_batch *batch, const struct change *change, const struct engine_allowed_ip *allowed,
                     size_t allowed_count) {
    if (batch->room == 0) {
        /* At once as large as it gets: growing would leave copies of preshared keys behind. */
        batch->changes = calloc(CHANGE_BATCH_MAX, sizeof *batch->changes);
        if (!batch->changes) {
            return -ENOMEM;
        }
        batch->room = CHANGE_BATCH_MAX;
    }
    if (batch->count == batch->room) {
        return -ENOMEM;
    }
    struct engine_allowed_ip *all =
        array_grow(batch->allowed, &batch->allowed_room, batch->allowed_count + allowed_count, sizeof *all);
    if (!all) {
        return -ENOMEM;
    }
    batch->allowed = all;
    if (allowed_count > 0) {
        memcpy(batch->allowed + batch->allowed_count, allowed, allowed_count * sizeof *allowed);
    }
    struct change *added = &batch->changes[batch->count++];
    *added = *change;
    added->first_allowed = batch->allowed_count;
    batch->allowed_count += allowed_count;
    return 0;
}

/* --- what follows for the directory --- */

/* Room for all that one change can bring about, so that nothing fails half-way. */
static int reserve_results(struct change_batch *batch, size_t edits) {
    struct change_edit *all = array_grow(batch->edits, &batch->edit_room, batch->edit_count + edits, sizeof *all);
    if (!all) {
        return -ENOMEM;
    }
    batch->edits = all;
    uint32_t *freed = array_grow(batch->freed, &batch->freed_room, batch->freed_count + 1, sizeof *freed);
    if (!freed) {
        return -ENOMEM;
    }
    batch->freed = freed;
    struct key *unmade = array_grow(batch->unmade, &batch->unmade_room, batch->unmade_count + 1, sizeof *unmade);
    if (!unmade) {
        return -ENOMEM;
    }
    batch->unmade = unmade;
    return 0;
}

static void edit(struct worker *worker, struct change_batch *batch, const struct change *change,
                 const struct peer *peer, const struct prefix *prefix, bool remove) {
    batch->edits[batch->edit_count++] = (struct change_edit){
        .sequence = change->sequence,
        .caller = change->caller,
        .prefix = *prefix,
        .id = directory_id(worker->number, peer->slot),
        .remove = remove,
    };
}

/* Whether this peer's allowed IPs are routes of the hub. */
static bool shares_hub(const struct peer *peer) {
    return !peer->space || peer->space->tenant.addressing == ADDRESSING_UNIQUE;
}

/* Whether the hub reaches this peer by its hub addresses. */
static bool has_hub_routes(const struct peer *peer) {
    return peer->space && peer->space->tenant.addressing == ADDRESSING_PRIVATE;
}

/* --- allowed IPs --- */

static int add_allowed(struct worker *worker, struct change_batch *batch, const struct change *change,
                       struct peer *peer, const struct prefix *prefix) {
    int error = prefixes_add(&peer->allowed, prefix);
    bool had = error == -EEXIST;
    if (error && !had) {
        return error;
    }
    if (peer->space) {
        uint32_t previous = 0;
        error = trie_insert(worker->tables.tries, &peer->space->trie, prefix, peer->slot, &previous);
        if (error) {
            if (!had) {
                prefixes_remove(&peer->allowed, prefix);
            }
            return error;
        }
        if (previous != 0 && previous != peer->slot) {
            prefixes_remove(&peer_at(worker, previous)->allowed, prefix);
        }
    }
    if (shares_hub(peer)) {
        edit(worker, batch, change, peer, prefix, false);
    }
    return 0;
}

/* From the tries only. */
static void withdraw(struct worker *worker, struct change_batch *batch, const struct change *change,
                     const struct peer *peer, const struct prefix *prefix) {
    if (peer->space) {
        trie_remove(worker->tables.tries, &peer->space->trie, prefix, peer->slot);
    }
    if (shares_hub(peer)) {
        edit(worker, batch, change, peer, prefix, true);
    }
}

/* A bounded piece. -EINPROGRESS: there are more, and the change goes on in the next call. */
static int clear_allowed(struct worker *worker, struct change_batch *batch, const struct change *change,
                         struct peer *peer) {
    struct prefix prefix;
    while (batch->budget > 0 && prefixes_pop(&peer->allowed, &prefix)) {
        withdraw(worker, batch, change, peer, &prefix);
        batch->budget--;
    }
    return peer->allowed.count > 0 ? -EINPROGRESS : 0;
}

static int change_allowed(struct worker *worker, struct change_batch *batch, const struct change *change,
                          struct peer *peer) {
    const struct engine_allowed_ip *allowed = batch->allowed + change->first_allowed;
    for (size_t i = 0; i < change->peer.allowed_ip_count; i++) {
        if (!allowed[i].remove) {
            int error = add_allowed(worker, batch, change, peer, &allowed[i].prefix);
            if (error) {
                return error;
            }
        } else if (prefixes_remove(&peer->allowed, &allowed[i].prefix)) {
            withdraw(worker, batch, change, peer, &allowed[i].prefix);
        }
    }
    return 0;
}

/* --- hub addresses --- */

static void edit_hub_routes(struct worker *worker, struct change_batch *batch, const struct change *change,
                            const struct peer *peer, bool remove) {
    for (size_t i = 0; has_hub_routes(peer) && i < peer->hub_address_count; i++) {
        const struct ip_addr *hub = &peer->hub_addresses[i].hub;
        struct prefix route = prefix_make(hub, ip_bits(hub));
        edit(worker, batch, change, peer, &route, remove);
    }
}

/* Only a private tenant's addresses are translated. */
static int check_hub_addresses(const struct space *space, const struct engine_peer_change *change) {
    for (size_t i = 0; i < change->hub_address_count; i++) {
        const struct engine_hub_address *address = &change->hub_addresses[i];
        bool translated = !ip_equal(&address->hub, &address->inside);
        if (address->hub.family != address->inside.family || !space ||
            (translated && (space->tenant.addressing != ADDRESSING_PRIVATE || address->hub.family != AF_INET)) ||
            (i > 0 && address->hub.family == change->hub_addresses[0].hub.family)) {
            return -EINVAL;
        }
    }
    return 0;
}

static int change_hub_addresses(struct worker *worker, struct change_batch *batch, const struct change *change,
                                struct peer *peer) {
    edit_hub_routes(worker, batch, change, peer, true);
    int error = peer_set_hub_addresses(peer, change->peer.hub_addresses, change->peer.hub_address_count);
    edit_hub_routes(worker, batch, change, peer, false);
    return error;
}

/* --- peers --- */

/* -EINPROGRESS: not all of it is gone. */
static int empty_peer(struct worker *worker, struct change_batch *batch, const struct change *change,
                      struct peer *peer) {
    edit_hub_routes(worker, batch, change, peer, true);
    peer_set_hub_addresses(peer, NULL, 0);
    return clear_allowed(worker, batch, change, peer);
}

/* While its prefixes go, a piece per call, it neither hears nor is sent anything. */
static int remove_peer(struct worker *worker, struct change_batch *batch, const struct change *change,
                       struct peer *peer) {
    peer_reset(worker, peer);
    peer->endpoint.sa.sa_family = AF_UNSPEC;
    int error = empty_peer(worker, batch, change, peer);
    if (error) {
        return error;
    }
    batch->freed[batch->freed_count++] = peer->slot;
    space_leave(peer);
    peer_free(worker, peer);
    return 0;
}

static int move_peer(struct worker *worker, struct change_batch *batch, const struct change *change, struct peer *peer,
                     struct space *space) {
    int error = empty_peer(worker, batch, change, peer);
    if (error) {
        return error;
    }
    peer_reset(worker, peer);
    space_leave(peer);
    if (space) {
        space_join(space, peer);
    }
    return 0;
}

/* Opens the path at once, as Linux does, when keepalives were switched on or can now be sent. */
static void keep_alive(struct worker *worker, struct peer *peer, uint16_t keepalive_s) {
    bool changed = keepalive_s != peer->keepalive_s;
    peer->keepalive_s = keepalive_s;
    if (keepalive_s > 0 && worker->device.up && peer->endpoint.sa.sa_family != AF_UNSPEC && !peer->state) {
        changed = peer_make_state(worker, peer) == 0;
        if (changed) {
            peer->state->timers.persistent_s = 0; /* so that it counts as just switched on */
        }
    }
    if (changed && peer->state) {
        timers_set_persistent(&peer->state->timers, keepalive_s, worker->now_ns);
        peer_rearm(worker, peer->state);
        peer_free_idle_state(worker, peer);
    }
}

static void set_plain_values(struct worker *worker, struct peer *peer, const struct engine_peer_change *change) {
    if (change->has_preshared_key) {
        peer->remote.preshared_key = change->preshared_key;
    }
    bool known = peer->endpoint.sa.sa_family != AF_UNSPEC;
    if (change->has_endpoint && !(known && change->endpoint_if_unknown)) {
        peer->endpoint = change->endpoint;
        peer->local.family = AF_UNSPEC;
        peer->changed_ns = worker->mono_ns;
    }
    if (change->reset_timestamp) {
        memset(peer->remote.latest_timestamp, 0, MESSAGE_TIMESTAMP_SIZE);
        peer->clock_behind_s = 0;
    }
    if (change->has_timestamp && memcmp(change->timestamp, peer->remote.latest_timestamp, MESSAGE_TIMESTAMP_SIZE) > 0) {
        memcpy(peer->remote.latest_timestamp, change->timestamp, MESSAGE_TIMESTAMP_SIZE);
    }
    keep_alive(worker, peer, change->has_keepalive ? change->keepalive_s : peer->keepalive_s);
}

static int update_peer(struct worker *worker, struct change_batch *batch, const struct change *change,
                       struct peer *peer) {
    const struct engine_peer_change *wanted = &change->peer;
    struct space *space = wanted->has_tenant ? space_at(worker, change->tenant_slot) : peer->space;
    if (wanted->has_tenant && change->tenant_slot != 0 && !space) {
        return -ENOENT;
    }
    int error = wanted->has_hub_addresses ? check_hub_addresses(space, wanted) : 0;
    if (error) {
        return error;
    }
    if (space != peer->space) {
        error = move_peer(worker, batch, change, peer, space);
    }
    if (!error && wanted->replace_allowed_ips) {
        error = clear_allowed(worker, batch, change, peer);
    }
    if (error) {
        return error;
    }
    error = change_allowed(worker, batch, change, peer);
    if (!error && wanted->has_hub_addresses) {
        error = change_hub_addresses(worker, batch, change, peer);
    }
    set_plain_values(worker, peer, wanted);
    return error;
}

static int make_peer(struct worker *worker, struct change_batch *batch, const struct change *change) {
    struct peer *peer;
    int error = peer_create(worker, &change->peer.public_key, change->slot, &peer);
    if (error) {
        batch->freed[batch->freed_count++] = change->slot;
    } else {
        error = update_peer(worker, batch, change, peer);
        if (error) {
            batch->budget = SIZE_MAX; /* at once: it has no more than this change gave it */
            (void)remove_peer(worker, batch, change, peer);
        }
    }
    if (error) {
        batch->unmade[batch->unmade_count++] = change->peer.public_key;
    }
    return error;
}

static int apply_peer(struct worker *worker, struct change_batch *batch, const struct change *change) {
    const struct engine_peer_change *wanted = &change->peer;
    struct peer *peer = peer_find(worker, &wanted->public_key);
    size_t fewer = peer && peer->allowed.count < batch->budget ? peer->allowed.count : batch->budget;
    size_t edits = 2 * wanted->allowed_ip_count + 8 + fewer;
    int error = reserve_results(batch, edits);
    if (error) {
        return error;
    }
    if (wanted->remove) {
        return peer ? remove_peer(worker, batch, change, peer) : 0;
    }
    if (peer) {
        return update_peer(worker, batch, change, peer);
    }
    if (change->slot != 0) {
        return make_peer(worker, batch, change);
    }
    /* The directory took its key for one that is here. */
    return wanted->update_only ? 0 : -EAGAIN;
}

static int apply_tenant(struct worker *worker, const struct change *change) {
    struct space *space = space_at(worker, change->slot);
    if (space) {
        return space_set(space, &change->tenant, worker->mono_ns);
    }
    return space_create(worker, change->slot, &change->tenant, &space);
}

/* The hub sends it to another peer now. A private tenant's peer keeps it inside of its tenant, where it is still the
 * owner. */
static void forget_prefix(struct worker *worker, const struct change *change) {
    struct peer *peer = peer_at(worker, change->slot);
    if (peer && shares_hub(peer) && prefixes_remove(&peer->allowed, &change->prefix) && peer->space) {
        trie_remove(worker->tables.tries, &peer->space->trie, &change->prefix, peer->slot);
    }
}

static int apply_one(struct worker *worker, struct change_batch *batch, const struct change *change) {
    switch (change->kind) {
    case CHANGE_PEER:
        return apply_peer(worker, batch, change);
    case CHANGE_TENANT:
        return apply_tenant(worker, change);
    case CHANGE_TENANT_REMOVE:
        space_free(worker, space_at(worker, change->slot));
        return 0;
    case CHANGE_FORGET:
        forget_prefix(worker, change);
        return 0;
    }
    return -EINVAL;
}

void change_apply(struct worker *worker, void *argument) {
    struct change_batch *batch = argument;
    batch->budget = CHANGE_ALLOWED_MAX;
    for (; !change_batch_done(batch); batch->next++) {
        struct change *change = &batch->changes[batch->next];
        int error = apply_one(worker, batch, change);
        if (error == -EINPROGRESS) {
            return;
        }
        change->error = error;
    }
}
