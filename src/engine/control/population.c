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

#define SLOTS_FIRST 1
#define SLOTS_END DIRECTORY_SLOT_MASK
#define REKEY_ATTEMPTS 3

/* --- slots --- */

uint32_t control_take_slot(struct control_slots *slots) {
    if (slots->freed_count > 0) {
        return slots->freed[--slots->freed_count];
    }
    if (slots->next == 0) {
        slots->next = SLOTS_FIRST;
    }
    return slots->next < SLOTS_END ? slots->next++ : 0;
}

void control_give_slot(struct control_slots *slots, uint32_t slot) {
    uint32_t *freed = array_grow(slots->freed, &slots->freed_room, slots->freed_count + 1, sizeof *freed);
    if (!freed) {
        return;
    }
    slots->freed = freed;
    slots->freed[slots->freed_count++] = slot;
}

/* --- applying --- */

static void note_error(struct engine *engine, int error) {
    if (error && !engine->error) {
        engine->error = error;
    }
}

static void apply_batches(struct engine *engine) {
    for (unsigned i = 0; i < engine->count; i++) {
        if (engine->controls[i].batch.count > 0) {
            worker_post(engine->workers[i], change_apply, &engine->controls[i].batch);
        }
    }
    for (unsigned i = 0; i < engine->count; i++) {
        if (engine->controls[i].batch.count > 0) {
            worker_wait(engine->workers[i]);
            note_error(engine, engine->controls[i].batch.error);
        }
    }
}

/* A route that another peer took over. */
struct loss {
    struct prefix prefix;
    uint32_t id; /* who had it */
};

struct losses {
    struct loss *list;
    size_t count, room;
};

static int note_loss(struct losses *losses, const struct prefix *prefix, uint32_t id) {
    struct loss *list = array_grow(losses->list, &losses->room, losses->count + 1, sizeof *list);
    if (!list) {
        return -ENOMEM;
    }
    losses->list = list;
    losses->list[losses->count++] = (struct loss){.prefix = *prefix, .id = id};
    return 0;
}

static void carry_out(struct engine *engine, const struct change_edit *edit, struct losses *losses) {
    uint32_t previous = 0;
    if (edit->remove) {
        directory_remove_route(engine->directory, &edit->prefix, edit->id);
        return;
    }
    int error = directory_insert_route(engine->directory, &edit->prefix, edit->id, &previous);
    if (!error && previous != 0 && previous != edit->id) {
        error = note_loss(losses, &edit->prefix, previous);
    }
    note_error(engine, error);
}

/* Each worker's edits are in order already: merge them. */
static void carry_out_edits(struct engine *engine, struct losses *losses) {
    size_t at[ENGINE_WORKERS_MAX] = {0};
    for (;;) {
        const struct change_edit *next = NULL;
        unsigned of = 0;
        for (unsigned i = 0; i < engine->count; i++) {
            const struct change_batch *batch = &engine->controls[i].batch;
            if (at[i] < batch->edit_count && (!next || batch->edits[at[i]].sequence < next->sequence)) {
                next = &batch->edits[at[i]];
                of = i;
            }
        }
        if (!next) {
            return;
        }
        carry_out(engine, next, losses);
        at[of]++;
    }
}

static void take_back(struct engine *engine, struct control_worker *control) {
    for (size_t i = 0; i < control->batch.freed_count; i++) {
        control_give_slot(&control->peers, control->batch.freed[i]);
        control->load--;
    }
    for (size_t i = 0; i < control->batch.unmade_count; i++) {
        directory_remove_key(engine->directory, &control->batch.unmade[i]);
    }
}

static void clear_batches(struct engine *engine) {
    for (unsigned i = 0; i < engine->count; i++) {
        change_batch_clear(&engine->controls[i].batch);
    }
}

/* Who lost a prefix, and did not get it back since, strikes it off its list. No change is gathered meanwhile, so no
 * slot names a new peer. */
static void tell_losers(struct engine *engine, const struct losses *losses) {
    for (size_t i = 0; i < losses->count; i++) {
        const struct loss *loss = &losses->list[i];
        if (directory_get_route(engine->directory, &loss->prefix) == loss->id) {
            continue;
        }
        struct change_batch *batch = &engine->controls[directory_id_worker(loss->id)].batch;
        const struct change change = {
            .kind = CHANGE_FORGET, .slot = directory_id_slot(loss->id), .prefix = loss->prefix};
        if (change_batch_full(batch)) {
            apply_batches(engine);
            clear_batches(engine);
        }
        note_error(engine, change_batch_add(batch, &change, NULL, 0));
    }
    apply_batches(engine);
    clear_batches(engine);
}

void control_apply(struct engine *engine) {
    struct losses losses = {0};
    apply_batches(engine);
    carry_out_edits(engine, &losses);
    for (unsigned i = 0; i < engine->count; i++) {
        take_back(engine, &engine->controls[i]);
    }
    clear_batches(engine);
    tell_losers(engine, &losses);
    free(losses.list);
}

/* --- keys that collide --- */

static int rekey_worker(struct engine *engine, unsigned worker, struct snapshot *snapshot) {
    int error = 0;
    snapshot->cursor = 0;
    do {
        worker_call(engine->workers[worker], snapshot_take_peers, snapshot);
        for (size_t i = 0; i < snapshot->count && !error; i++) {
            error = directory_rekey_add(engine->directory, &snapshot->peers[i].public_key, worker);
        }
    } while (!snapshot->done && !error);
    return error;
}

/* Two keys have one fingerprint in the directory (directory_insert_key(): 1 chance in 10^5 with a million peers). Under
 * fresh fingerprints they have not, so the change that was refused with -EAGAIN succeeds when it is tried again. */
static void rekey(struct engine *engine) {
    struct snapshot *snapshot;
    if (snapshot_create(&snapshot) < 0) {
        return;
    }
    snapshot->keys_only = true;
    for (int attempt = 0; attempt < REKEY_ATTEMPTS; attempt++) {
        int error = directory_rekey_begin(engine->directory);
        for (unsigned i = 0; i < engine->count && !error; i++) {
            error = rekey_worker(engine, i, snapshot);
        }
        if (!error) {
            directory_rekey_commit(engine->directory);
            break;
        }
    }
    snapshot_free(snapshot);
}

static void pass_by(struct worker *worker, void *argument) {
    (void)worker;
    (void)argument;
}

int engine_flush(struct engine *engine) {
    control_apply(engine);
    if (engine->error == -EAGAIN) {
        rekey(engine);
    }
    if (directory_seal(engine->directory)) {
        /* Between two rounds no worker holds anything of the directory. */
        control_call_all(engine, pass_by, NULL);
        directory_reclaim(engine->directory);
    }
    int error = engine->error;
    engine->error = 0;
    return error;
}

static int gather(struct engine *engine, unsigned worker, struct change *change,
                  const struct engine_allowed_ip *allowed, size_t allowed_count) {
    if (change_batch_full(&engine->controls[worker].batch)) {
        control_apply(engine);
    }
    change->sequence = ++engine->sequence;
    return change_batch_add(&engine->controls[worker].batch, change, allowed, allowed_count);
}

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

static int make_tenant(struct engine *engine, const struct engine_tenant *tenant) {
    unsigned worker = least_loaded(engine);
    struct control_worker *control = &engine->controls[worker];
    uint32_t place = control_take_slot(&engine->tenant_places);
    uint32_t slot = control_take_slot(&control->spaces);
    struct change change = {.kind = CHANGE_TENANT, .slot = slot, .tenant = *tenant};
    int error = place && slot ? make_tenant_room(engine, place) : -ENOSPC;
    error = error ? error : table_insert(&engine->tenant_table, hash_of(engine, &tenant->id), place);
    if (!error) {
        error = gather(engine, worker, &change, NULL, 0);
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

int engine_tenant_set(struct engine *engine, const struct engine_tenant *tenant) {
    if (uuid_is_zero(&tenant->id)) {
        return -EINVAL;
    }
    struct control_tenant *known = control_find_tenant(engine, &tenant->id);
    if (!known) {
        return make_tenant(engine, tenant);
    }
    struct change change = {.kind = CHANGE_TENANT, .slot = known->slot, .tenant = *tenant};
    if (known->addressing == tenant->addressing) {
        return gather(engine, known->worker, &change, NULL, 0);
    }
    /* Whether it has peers is known to its worker only. */
    int error = engine_flush(engine);
    error = error ? error : gather(engine, known->worker, &change, NULL, 0);
    error = error ? error : engine_flush(engine);
    if (!error) {
        known->addressing = tenant->addressing;
    }
    return error;
}

/* --- peers --- */

static void gather_removal(struct engine *engine, const struct key *key, unsigned worker) {
    struct change change = {.kind = CHANGE_PEER, .peer = {.public_key = *key, .remove = true}};
    int error = gather(engine, worker, &change, NULL, 0);
    if (!error) {
        directory_remove_key(engine->directory, key);
    }
    note_error(engine, error);
}

/* Peers that `take` finds on a worker, a bounded piece at a time: those of a tenant, or all. */
static int remove_taken(struct engine *engine, unsigned worker, worker_fn *take, uint32_t tenant_slot) {
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
            gather_removal(engine, &snapshot->peers[i].public_key, worker);
        }
        control_apply(engine);
        error = engine->error; /* what stayed would be taken again and again */
    } while (!snapshot->done && !error);
    snapshot_free(snapshot);
    return error;
}

int engine_tenant_remove(struct engine *engine, const struct uuid *id) {
    struct control_tenant *known = control_find_tenant(engine, id);
    if (!known) {
        return -ENOENT;
    }
    control_apply(engine);
    int error = remove_taken(engine, known->worker, snapshot_take_members, known->slot);
    struct change change = {.kind = CHANGE_TENANT_REMOVE, .slot = known->slot};
    error = error ? error : gather(engine, known->worker, &change, NULL, 0);
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
    if (!change->has_timestamp ||
        memcmp(change->timestamp, peer->remote.latest_timestamp, MESSAGE_TIMESTAMP_SIZE) < 0) {
        change->has_timestamp = true;
        memcpy(change->timestamp, peer->remote.latest_timestamp, MESSAGE_TIMESTAMP_SIZE);
    }
}

/* The tenant lives on another worker than the peer: it is taken away here, to be made there. */
static int leave_worker(struct engine *engine, unsigned worker, struct engine_peer_change *change) {
    struct extract extract = {.key = &change->public_key, .change = change};
    control_apply(engine);
    worker_call(engine->workers[worker], extract_peer, &extract);
    if (extract.found) {
        gather_removal(engine, &change->public_key, worker);
        control_apply(engine);
    }
    return 0;
}

/* More allowed IPs than one call takes follow as further changes. */
static int gather_peer(struct engine *engine, unsigned worker, struct change *change,
                       const struct engine_allowed_ip *allowed, size_t allowed_count) {
    for (bool first = true; first || allowed_count > 0; first = false) {
        size_t piece = allowed_count < CHANGE_ALLOWED_MAX ? allowed_count : CHANGE_ALLOWED_MAX;
        change->peer.allowed_ips = NULL;
        change->peer.allowed_ip_count = piece;
        int error = gather(engine, worker, change, allowed, piece);
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
        leave_worker(engine, (unsigned)known, &change->peer);
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

int engine_peer_change(struct engine *engine, const struct engine_peer_change *wanted) {
    int error = check_change(wanted);
    if (error || key_equal(&wanted->public_key, &engine->identity->public_key)) {
        return error;
    }
    if (wanted->remove) {
        int known = directory_worker_of_key(engine->directory, &wanted->public_key);
        if (known >= 0) {
            gather_removal(engine, &wanted->public_key, (unsigned)known);
        }
        return 0;
    }
    struct change change = {.kind = CHANGE_PEER, .peer = *wanted};
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
