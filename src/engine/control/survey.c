/* Peers and tenants are listed, a bounded piece of one worker at a time. */
#include <errno.h>
#include <sodium.h>

#include "engine/control/control.h"
#include "engine/control/snapshot.h"

#define PIECES 4 /* of a worker, in one step of a walk */

static int tell_peers(struct snapshot *snapshot, engine_peer_fn *fn, void *context) {
    int stop = 0;
    for (size_t i = 0; i < snapshot->count && stop == 0; i++) {
        stop = fn(context, &snapshot->peers[i]);
    }
    sodium_memzero(snapshot->peers, snapshot->count * sizeof *snapshot->peers);
    return stop;
}

static int tell_tenants(struct snapshot *snapshot, engine_tenant_fn *fn, void *context) {
    int stop = 0;
    for (size_t i = 0; i < snapshot->tenant_count && stop == 0; i++) {
        stop = fn(context, &snapshot->tenants[i], &snapshot->usages[i]);
    }
    return stop;
}

/* Moves on behind the piece that was taken. Whether there is more. */
static bool move_on(const struct engine *engine, struct engine_walk *walk, const struct snapshot *snapshot) {
    walk->slot = snapshot->done ? 0 : snapshot->cursor;
    walk->worker += snapshot->done;
    return walk->worker < engine->count;
}

/* What was gathered before the walk is in force when it begins. */
static int begin_step(struct engine *engine, const struct engine_walk *walk, struct snapshot **ret_snapshot) {
    if (walk->worker == 0 && walk->slot == 0) {
        control_apply(engine);
    }
    return snapshot_create(ret_snapshot);
}

int engine_walk_peers(struct engine *engine, struct engine_walk *walk, uint64_t since_ns, engine_peer_fn *fn,
                      void *context) {
    struct snapshot *snapshot;
    bool more = walk->worker < engine->count;
    int stop = begin_step(engine, walk, &snapshot);
    if (stop) {
        return stop;
    }
    snapshot->since_ns = since_ns;
    for (int i = 0; i < PIECES && more && stop == 0; i++) {
        snapshot->cursor = walk->slot;
        worker_call(engine->workers[walk->worker], snapshot_take_peers, snapshot);
        stop = snapshot->error ? snapshot->error : tell_peers(snapshot, fn, context);
        more = move_on(engine, walk, snapshot);
    }
    snapshot_free(snapshot);
    return stop ? stop : more;
}

int engine_walk_tenants(struct engine *engine, struct engine_walk *walk, engine_tenant_fn *fn, void *context) {
    struct snapshot *snapshot;
    bool more = walk->worker < engine->count;
    int stop = begin_step(engine, walk, &snapshot);
    if (stop) {
        return stop;
    }
    for (int i = 0; i < PIECES && more && stop == 0; i++) {
        snapshot->cursor = walk->slot;
        worker_call(engine->workers[walk->worker], snapshot_take_tenants, snapshot);
        stop = tell_tenants(snapshot, fn, context);
        more = move_on(engine, walk, snapshot);
    }
    snapshot_free(snapshot);
    return stop ? stop : more;
}

static void add_counters(struct worker *worker, void *argument) {
    struct engine_counters *sum = argument;
    const struct engine_counters *own = &worker->counters;
    for (int i = 0; i < ENGINE_DROP_COUNT; i++) {
        sum->drops[i] += own->drops[i];
    }
    for (struct xdp_queue *queue = worker->io.queues; queue; queue = xdp_next(queue)) {
        sum->drops[ENGINE_DROP_XDP_FULL] += xdp_queue_lost(queue);
    }
#define X(name) sum->name += own->name;
    ENGINE_TALLIES(X)
#undef X
}

void engine_get_counters(struct engine *engine, struct engine_counters *ret_counters) {
    struct engine_counters sum = {0};
    for (unsigned i = 0; i < engine->count; i++) {
        worker_call(engine->workers[i], add_counters, &sum);
    }
    *ret_counters = sum;
}

void engine_get_worker_counters(struct engine *engine, unsigned worker, struct engine_counters *ret_counters) {
    struct engine_counters own = {0};
    worker_call(engine->workers[worker], add_counters, &own);
    *ret_counters = own;
}

const char *engine_drop_name(enum engine_drop drop) {
    static const char *const names[ENGINE_DROP_COUNT] = {
#define X(id, name) [ENGINE_DROP_##id] = (name),
        ENGINE_DROPS(X)
#undef X
    };
    return drop < ENGINE_DROP_COUNT ? names[drop] : NULL;
}
