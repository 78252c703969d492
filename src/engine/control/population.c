/* Peers and tenants come, change and go. Changes are gathered per worker and applied together, so that a hundred
 * thousand of them cost a few hundred calls; what follows for the directory is carried out in the order in which the
 * changes were given, over all workers. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/bytes.h"
#include "engine/control/control.h"
#include "engine/control/snapshot.h"
#include "engine/path/peer.h"

/* --- tenants --- */

static bool is_tenant(const void *context, uint32_t place, const void *id) {
    const struct engine *engine = context;
    return uuid_equal(&engine->tenants[place].id, id);
}

static uint32_t hash_of(const struct engine *engine, const struct uuid *id) {
    return table_hash(engine->hash_key, id->bytes, sizeof id->bytes);
}

struct control_tenant *control_find_tenant(const struct engine *engine, const struct uuid *id) {
    uint32_t place = table_find(&engine->tenant_table, hash_of(engine, id), is_tenant, engine, id);
    return place ? &engine->tenants[place] : NULL;
}

static unsigned least_loaded(const struct engine *engine) {
    unsigned least = 0;
    for (unsigned i = 1; i < engine->count; i++) {
        if (engine->controls[i].load < engine->controls[least].load) {
            least = i;
        }
    }
    return least;
}

static int make_tenant_room(struct engine *engine, uint32_t place) {
    struct control_tenant *tenants =
        array_grow(engine->tenants, &engine->tenant_room, (size_t)place + 1, sizeof *tenants);
    if (!tenants) {
        return -ENOMEM;
    }
    engine->tenants = tenants;
    return 0;
}

static int make_tenant(struct engine *engine, struct engine_caller *caller, const struct engine_tenant *tenant) {
    unsigned worker = least_loaded(engine);
    struct control_worker *control = &engine->controls[worker];
    uint32_t place = control_take_slot(&engine->tenant_places);
    uint32_t slot = control_take_slot(&control->spaces);
    struct change change = {.kind = CHANGE_TENANT, .slot = slot, .caller = caller, .tenant = *tenant};
    int error = place && slot ? make_tenant_room(engine, place) : -ENOSPC;
    error = error ? error : table_insert(&engine->tenant_table, hash_of(engine, &tenant->id), place);
    if (!error) {
        error = control_gather(engine, worker, &change, NULL, 0);
        if (error) {
            table_remove(&engine->tenant_table, hash_of(engine, &tenant->id), place);
        }
    }
    if (error) {
        if (place) {
            control_give_slot(&engine->tenant_places, place);
        }
        if (slot) {
            control_give_slot(&control->spaces, slot);
        }
        return error;
    }
    engine->tenants[place] = (struct control_tenant){
        .id = tenant->id, .exists = true, .addressing = tenant->addressing, .worker = worker, .slot = slot};
    engine->tenant_count++;
    control->load++;
    return 0;
}

int engine_tenant_set(struct engine *engine, struct engine_caller *caller, const struct engine_tenant *tenant) {
    if (uuid_is_zero(&tenant->id)) {
        return -EINVAL;
    }
    struct control_tenant *known = control_find_tenant(engine, &tenant->id);
    if (!known) {
        return make_tenant(engine, caller, tenant);
    }
    struct change change = {.kind = CHANGE_TENANT, .slot = known->slot, .caller = caller, .tenant = *tenant};
    if (known->addressing == tenant->addressing) {
        return control_gather(engine, known->worker, &change, NULL, 0);
    }
    /* Whether it has peers is known to its worker only. */
    struct engine_caller own = {0};
    change.caller = &own;
    int error = control_gather(engine, known->worker, &change, NULL, 0);
    control_apply(engine);
    error = error ? error : own.error;
    if (!error) {
        known->addressing = tenant->addressing;
    }
    return error;
}

/* --- peers --- */

static void gather_removal(struct engine *engine, struct engine_caller *caller, const struct key *key,
                           unsigned worker) {
    struct change change = {.kind = CHANGE_PEER, .caller = caller, .peer = {.public_key = *key, .remove = true}};
    int error = control_gather(engine, worker, &change, NULL, 0);
    if (!error) {
        directory_remove_key(engine->directory, key);
    }
    control_note_error(engine, caller, error);
}

/* Peers that `take` finds on a worker, a bounded piece at a time: those of a tenant, or all. */
static int remove_taken(struct engine *engine, unsigned worker, worker_fn *take, uint32_t tenant_slot) {
    struct engine_caller own = {0};
    struct snapshot *snapshot;
    int error = snapshot_create(&snapshot);
    if (error) {
        return error;
    }
    snapshot->keys_only = true;
    snapshot->tenant_slot = tenant_slot;
    do {
        worker_call(engine->workers[worker], take, snapshot);
        for (size_t i = 0; i < snapshot->count; i++) {
            gather_removal(engine, &own, &snapshot->peers[i].public_key, worker);
        }
        control_apply(engine);
    } while (!snapshot->done && !own.error); /* what stayed would be taken again and again */
    snapshot_free(snapshot);
    return own.error;
}

int engine_tenant_remove(struct engine *engine, const struct uuid *id) {
    struct control_tenant *known = control_find_tenant(engine, id);
    if (!known) {
        return -ENOENT;
    }
    control_apply(engine);
    int error = remove_taken(engine, known->worker, snapshot_take_members, known->slot);
    struct change change = {.kind = CHANGE_TENANT_REMOVE, .slot = known->slot};
    error = error ? error : control_gather(engine, known->worker, &change, NULL, 0);
    if (error) {
        return error;
    }
    control_apply(engine);
    uint32_t place = (uint32_t)(known - engine->tenants);
    table_remove(&engine->tenant_table, hash_of(engine, id), place);
    control_give_slot(&engine->controls[known->worker].spaces, known->slot);
    engine->controls[known->worker].load--;
    *known = (struct control_tenant){0};
    control_give_slot(&engine->tenant_places, place);
    engine->tenant_count--;
    return 0;
}

int engine_remove_peers(struct engine *engine) {
    control_apply(engine);
    for (unsigned i = 0; i < engine->count; i++) {
        int error = remove_taken(engine, i, snapshot_take_peers, 0);
        if (error) {
            return error;
        }
    }
    return 0;
}

static bool family_known(uint8_t family) {
    return family == AF_INET || family == AF_INET6;
}

static int check_change(const struct engine_peer_change *change) {
    for (size_t i = 0; i < change->allowed_ip_count; i++) {
        const struct prefix *prefix = &change->allowed_ips[i].prefix;
        if (!family_known(prefix->addr.family) || prefix->length > ip_bits(&prefix->addr)) {
            return -EINVAL;
        }
    }
    if (change->has_hub_addresses) {
        if (change->hub_address_count > 2) {
            return -EINVAL;
        }
        for (size_t i = 0; i < change->hub_address_count; i++) {
            if (!family_known(change->hub_addresses[i].hub.family)) {
                return -EINVAL;
            }
        }
    }
    return change->has_endpoint && !family_known((uint8_t)change->endpoint.sa.sa_family) ? -EINVAL : 0;
}

struct extract {
    const struct key *key;
    struct engine_peer_change *change;
    bool found;
};

/* What a peer keeps when it moves to another worker, unless the change says otherwise. */
static void extract_peer(struct worker *worker, void *argument) {
    struct extract *extract = argument;
    struct engine_peer_change *change = extract->change;
    const struct peer *peer = peer_find(worker, extract->key);
    extract->found = peer != NULL;
    if (!peer) {
        return;
    }
    if (!change->has_preshared_key) {
        change->has_preshared_key = true;
        change->preshared_key = peer->remote.preshared_key;
    }
    if (!change->has_endpoint && peer->endpoint.sa.sa_family != AF_UNSPEC) {
        change->has_endpoint = true;
        change->endpoint = peer->endpoint;
    }
    if (!change->has_keepalive) {
        change->has_keepalive = true;
        change->keepalive_s = peer->keepalive_s;
    }
    if (!change->reset_timestamp && (!change->has_timestamp || memcmp(change->timestamp, peer->remote.latest_timestamp,
                                                                      MESSAGE_TIMESTAMP_SIZE) < 0)) {
        change->has_timestamp = true;
        memcpy(change->timestamp, peer->remote.latest_timestamp, MESSAGE_TIMESTAMP_SIZE);
    }
}

/* The tenant lives on another worker than the peer: it is taken away here, to be made there. */
static void leave_worker(struct engine *engine, unsigned worker, struct change *change) {
    struct extract extract = {.key = &change->peer.public_key, .change = &change->peer};
    control_apply(engine);
    worker_call(engine->workers[worker], extract_peer, &extract);
    if (extract.found) {
        gather_removal(engine, change->caller, &change->peer.public_key, worker);
        control_apply(engine);
    }
}

/* More allowed IPs than one call takes follow as further changes. */
static int gather_peer(struct engine *engine, unsigned worker, struct change *change,
                       const struct engine_allowed_ip *allowed, size_t allowed_count) {
    for (bool first = true; first || allowed_count > 0; first = false) {
        size_t piece = allowed_count < CHANGE_ALLOWED_MAX ? allowed_count : CHANGE_ALLOWED_MAX;
        change->peer.allowed_ips = NULL;
        change->peer.allowed_ip_count = piece;
        int error = control_gather(engine, worker, change, allowed, piece);
        if (error) {
            return error;
        }
        allowed += piece;
        allowed_count -= piece;
        change->slot = 0;
        change->peer = (struct engine_peer_change){.public_key = change->peer.public_key, .update_only = true};
    }
    return 0;
}

static int make_peer(struct engine *engine, unsigned worker, struct change *change,
                     const struct engine_allowed_ip *allowed, size_t allowed_count) {
    struct control_worker *control = &engine->controls[worker];
    /* Also when it came from another worker: has_tenant is what made it move. */
    change->slot = control_take_slot(&control->peers);
    if (change->slot == 0) {
        return -ENOSPC;
    }
    uint32_t slot = change->slot;
    int error = directory_insert_key(engine->directory, &change->peer.public_key, worker);
    if (!error) {
        error = gather_peer(engine, worker, change, allowed, allowed_count);
        if (error) {
            directory_remove_key(engine->directory, &change->peer.public_key);
        }
    }
    if (error) {
        control_give_slot(&control->peers, slot);
        return error;
    }
    control->load++;
    return 0;
}

static unsigned worker_of_plain(const struct engine *engine, const struct key *key) {
    return be32_get(key->bytes) % engine->count;
}

static int change_peer(struct engine *engine, const struct engine_peer_change *wanted, struct change *change) {
    const struct control_tenant *tenant = NULL;
    if (wanted->has_tenant && !uuid_is_zero(&wanted->tenant)) {
        tenant = control_find_tenant(engine, &wanted->tenant);
        if (!tenant) {
            return -ENOENT;
        }
        change->tenant_slot = tenant->slot;
    }
    int known = directory_worker_of_key(engine->directory, &wanted->public_key);
    if (known >= 0 && tenant && (unsigned)known != tenant->worker) {
        leave_worker(engine, (unsigned)known, change);
        known = -ENOENT;
    } else if (known < 0 && wanted->update_only) {
        return 0;
    }
    if (known >= 0) {
        return gather_peer(engine, (unsigned)known, change, wanted->allowed_ips, wanted->allowed_ip_count);
    }
    change->peer.update_only = false;
    unsigned worker = tenant ? tenant->worker : worker_of_plain(engine, &wanted->public_key);
    return make_peer(engine, worker, change, wanted->allowed_ips, wanted->allowed_ip_count);
}

int engine_peer_change(struct engine *engine, struct engine_caller *caller, const struct engine_peer_change *wanted) {
    int error = check_change(wanted);
    if (error || key_equal(&wanted->public_key, &engine->identity->public_key)) {
        return error;
    }
    if (wanted->remove) {
        int known = directory_worker_of_key(engine->directory, &wanted->public_key);
        if (known >= 0) {
            gather_removal(engine, caller, &wanted->public_key, (unsigned)known);
        }
        return 0;
    }
    struct change change = {.kind = CHANGE_PEER, .caller = caller, .peer = *wanted};
    error = change_peer(engine, wanted, &change);
    sodium_memzero(&change, sizeof change);
    return error;
}

void control_free_population(struct engine *engine) {
    for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++) {
        change_batch_free(&engine->controls[i].batch);
        free(engine->controls[i].peers.freed);
        free(engine->controls[i].spaces.freed);
    }
    table_free(&engine->tenant_table);
    free(engine->tenants);
    free(engine->tenant_places.freed);
}
