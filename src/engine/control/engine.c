/* An engine from its beginning to its end. */
#include <errno.h>
#include <sched.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "engine/control/control.h"
#include "engine/path/loop.h"

int engine_fd(const struct engine *engine) {
    return tun_watch_fd(engine->tun);
}

int engine_attend(struct engine *engine) {
    int error = tun_attend(engine->tun);
    return error ? error : control_follow_interface(engine);
}

/* --- life --- */

static unsigned count_workers(unsigned wanted) {
    if (wanted == 0) {
        cpu_set_t cpus;
        wanted = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
    }
    return wanted < ENGINE_WORKERS_MAX ? wanted : ENGINE_WORKERS_MAX;
}

/* What cannot be had is not missed: all goes the kernel's way, and engine_get_device() tells why. */
static void open_xdp(struct engine *engine, const char *interfaces) {
    engine->wants_xdp = interfaces != NULL;
    if (!interfaces) {
        return;
    }
    engine->xdp_error = xdp_open(interfaces, engine->count, &engine->xdp, engine->xdp_failed);
    for (unsigned i = 0; i < engine->count && engine->xdp && !engine->xdp_error; i++) {
        engine->xdp_error = loop_set_xdp(engine->workers[i], engine->xdp);
    }
    if (engine->xdp_error) {
        for (unsigned i = 0; i < engine->count; i++) {
            loop_set_xdp(engine->workers[i], NULL);
        }
        xdp_close(engine->xdp);
        engine->xdp = NULL;
    }
}

static int create_workers(struct engine *engine, const struct engine_options *options) {
    const struct worker_setup setup = {
        .count = engine->count,
        .directory = engine->directory,
        .aead = engine->aead,
        .tun = engine->tun,
        .clock_rate = options->clock_rate ? options->clock_rate : 1,
        .mtu = engine->mtu,
        .no_uring = options->no_uring,
        .workers = engine->workers,
    };
    for (unsigned i = 0; i < engine->count; i++) {
        int error = loop_create(&setup, i, &engine->workers[i]);
        if (error) {
            return error;
        }
    }
    open_xdp(engine, options->xdp);
    int refused = options->before_threads ? options->before_threads(options->context) : 0;
    if (refused) {
        return refused;
    }
    for (unsigned i = 0; i < engine->count; i++) {
        int error = loop_start(engine->workers[i]);
        if (error) {
            return error;
        }
    }
    return 0;
}

static int create_parts(struct engine *engine, const struct engine_options *options) {
    const struct key none = {0};
    engine->aead = aead_choose(options->crypto);
    engine->identity = sodium_malloc(sizeof *engine->identity);
    if (!engine->aead) {
        return -EINVAL;
    }
    if (!engine->identity) {
        return -ENOMEM;
    }
    noise_identity_set(engine->identity, &none);
    randombytes_buf(engine->hash_key, sizeof engine->hash_key);
    int error = directory_create(&engine->directory);
    error =
        error ? error : tun_open(options->interface_name, engine->count, options->mtu, !options->no_tso, &engine->tun);
    if (error) {
        return error;
    }
    engine->mtu = tun_state(engine->tun).mtu;
    return create_workers(engine, options);
}

int engine_create(const struct engine_options *options, struct engine **ret_engine) {
    if (sodium_init() < 0) {
        return -ENOTSUP;
    }
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++) {
        engine->sockets[i] = (struct udp_sockets){.v4 = -1, .v6 = -1};
    }
    engine->count = count_workers(options->workers);
    engine->no_gso = options->no_gso;
    engine->no_tso = options->no_tso;
    engine->no_uring = options->no_uring;
    int error = create_parts(engine, options);
    if (!error) {
        error = control_follow_interface(engine);
    }
    if (error) {
        engine_free(engine);
        return error;
    }
    *ret_engine = engine;
    return 0;
}

void engine_free(struct engine *engine) {
    if (!engine) {
        return;
    }
    for (unsigned i = 0; i < engine->count; i++) {
        if (engine->workers[i]) {
            loop_stop(engine->workers[i]);
        }
    }
    for (unsigned i = 0; i < engine->count; i++) {
        loop_free(engine->workers[i]);
    }
    xdp_close(engine->xdp);
    udp_close(engine->sockets, engine->count);
    tun_close(engine->tun);
    control_free_population(engine);
    directory_free(engine->directory);
    sodium_free(engine->identity);
    free(engine);
}
