/* Peers and tenants are listed, a bounded piece of one worker at a time. */
#include <errno.h>
#include <sodium.h>

#include "engine/control.h"
#include "engine/snapshot.h"

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

int engine_each_peer(struct engine *engine, uint64_t since_ns, engine_peer_fn *fn, void *context) {
    struct snapshot *snapshot;
    int stop = snapshot_create(&snapshot);
    if (stop) {
        return stop;
    }
    control_apply(engine);
    snapshot->since_ns = since_ns;
    for (unsigned i = 0; i < engine->count && stop == 0; i++) {
        snapshot->cursor = 0;
        do {
            worker_call(engine->workers[i], snapshot_take_peers, snapshot);
            stop = snapshot->error ? snapshot->error : tell_peers(snapshot, fn, context);
        } while (!snapshot->done && stop == 0);
    }
    snapshot_free(snapshot);
    return stop;
}

int engine_each_tenant(struct engine *engine, engine_tenant_fn *fn, void *context) {
    struct snapshot *snapshot;
    int stop = snapshot_create(&snapshot);
    if (stop) {
        return stop;
    }
    control_apply(engine);
    for (unsigned i = 0; i < engine->count && stop == 0; i++) {
        snapshot->cursor = 0;
        do {
            worker_call(engine->workers[i], snapshot_take_tenants, snapshot);
            stop = tell_tenants(snapshot, fn, context);
        } while (!snapshot->done && stop == 0);
    }
    snapshot_free(snapshot);
    return stop;
}

static void add_counters(struct worker *worker, void *argument) {
    struct engine_counters *sum = argument;
    const struct engine_counters *own = &worker->counters;
    for (int i = 0; i < ENGINE_DROP_COUNT; i++) {
        sum->drops[i] += own->drops[i];
    }
    sum->udp_received += own->udp_received;
    sum->udp_sent += own->udp_sent;
    sum->tun_received += own->tun_received;
    sum->tun_sent += own->tun_sent;
    sum->turned_around += own->turned_around;
    sum->handed_over += own->handed_over;
    sum->handshakes += own->handshakes;
    sum->cookies_sent += own->cookies_sent;
}

void engine_get_counters(struct engine *engine, struct engine_counters *ret_counters) {
    struct engine_counters sum = {0};
    for (unsigned i = 0; i < engine->count; i++) {
        worker_call(engine->workers[i], add_counters, &sum);
    }
    *ret_counters = sum;
}

const char *engine_drop_name(enum engine_drop drop) {
    static const char *const names[ENGINE_DROP_COUNT] = {
#define X(id, name) [ENGINE_DROP_##id] = name,
        ENGINE_DROPS(X)
#undef X
    };
    return drop < ENGINE_DROP_COUNT ? names[drop] : NULL;
}
