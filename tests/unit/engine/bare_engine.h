/* The engine without its outside: real workers on real threads, no TUN, no sockets. engine_free() ends it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <sodium.h>

#include "engine/control/control.h"
#include "engine/path/loop.h"
#include "wire/aead.h"

static inline struct engine *bare_engine(unsigned workers) {
    struct engine *engine = calloc(1, sizeof *engine);
    assert_true(sodium_init() >= 0);
    engine->count = workers;
    for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++) {
        engine->sockets[i] = (struct udp_sockets){.v4 = -1, .v6 = -1};
    }
    engine->aead = &aead_sodium;
    engine->identity = sodium_malloc(sizeof *engine->identity);
    const struct key none = {0};
    noise_identity_set(engine->identity, &none);
    randombytes_buf(engine->hash_key, sizeof engine->hash_key);
    assert_int_equal(directory_create(&engine->directory), 0);
    const struct worker_setup setup = {
        .count = workers,
        .directory = engine->directory,
        .aead = engine->aead,
        .clock_rate = 1,
        .mtu = 1420,
        .workers = engine->workers,
    };
    for (unsigned i = 0; i < workers; i++) {
        assert_int_equal(loop_create(&setup, i, &engine->workers[i]), 0);
    }
    for (unsigned i = 0; i < workers; i++) {
        assert_int_equal(loop_start(engine->workers[i]), 0);
    }
    return engine;
}
