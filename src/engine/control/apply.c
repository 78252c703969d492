/* What was gathered comes into force: on the workers, and then in the directory. */
#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "engine/control/control.h"
#include "engine/control/snapshot.h"

#define SLOTS_FIRST 1
#define SLOTS_END DIRECTORY_SLOT_MASK
#define REKEY_ATTEMPTS 3

void control_call_all(struct engine *engine, worker_fn *fn, void *argument) {
    for (unsigned i = 0; i < engine->count; i++) {
        worker_post(engine->workers[i], fn, argument);
    }
    for (unsigned i = 0; i < engine->count; i++) {
        worker_wait(engine->workers[i]);
    }
}

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

void control_note_error(struct engine *engine, struct engine_caller *caller, int error) {
    engine->collided |= error == -EAGAIN;
    if (error && caller && !caller->error) {
        caller->error = error;
    }
}

/* A piece of each worker's batch, at the same time. Whether there is more. */
static bool apply_pieces(struct engine *engine) {
    bool posted[ENGINE_WORKERS_MAX] = {0};
    bool more = false;
    for (unsigned i = 0; i < engine->count; i++) {
        struct change_batch *batch = &engine->controls[i].batch;
        posted[i] = !change_batch_done(batch);
        if (posted[i]) {
            worker_post(engine->workers[i], change_apply, batch);
        }
    }
    for (unsigned i = 0; i < engine->count; i++) {
        if (posted[i]) {
            worker_wait(engine->workers[i]);
            more |= !change_batch_done(&engine->controls[i].batch);
        }
    }
    return more;
}

static void apply_batches(struct engine *engine) {
    while (apply_pieces(engine)) {
        /* packets in between */
    }
    for (unsigned i = 0; i < engine->count; i++) {
        const struct change_batch *batch = &engine->controls[i].batch;
        for (size_t j = 0; j < batch->count; j++) {
            control_note_error(engine, batch->changes[j].caller, batch->changes[j].error);
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
    control_note_error(engine, edit->caller, error);
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

static void reclaim(struct engine *engine, struct control_worker *control) {
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

/* A peer whose prefix went to another, and is still there, takes it off its list. No change is gathered meanwhile, so
 * no slot names a new peer. */
static void forget_lost_prefixes(struct engine *engine, const struct losses *losses) {
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
        (void)change_batch_add(batch, &change, NULL, 0); /* without memory it keeps the prefix on its list, unused */
    }
    apply_batches(engine);
    clear_batches(engine);
}

void control_apply(struct engine *engine) {
    struct losses losses = {0};
    apply_batches(engine);
    carry_out_edits(engine, &losses);
    for (unsigned i = 0; i < engine->count; i++) {
        reclaim(engine, &engine->controls[i]);
    }
    clear_batches(engine);
    forget_lost_prefixes(engine, &losses);
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

int engine_flush(struct engine *engine, struct engine_caller *caller) {
    control_apply(engine);
    if (engine->collided) {
        rekey(engine);
        engine->collided = false;
    }
    if (directory_seal(engine->directory)) {
        /* Between two rounds no worker holds anything of the directory. */
        control_call_all(engine, pass_by, NULL);
        directory_reclaim(engine->directory);
    }
    int error = caller->error;
    caller->error = 0;
    return error;
}

int control_gather(struct engine *engine, unsigned worker, struct change *change,
                   const struct engine_allowed_ip *allowed, size_t allowed_count) {
    if (change_batch_full(&engine->controls[worker].batch)) {
        control_apply(engine);
    }
    change->sequence = ++engine->sequence;
    return change_batch_add(&engine->controls[worker].batch, change, allowed, allowed_count);
}
