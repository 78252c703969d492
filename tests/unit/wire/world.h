/* What the protocol's tests share: a scripted random, and both ends of a handshake set up from a vector. */
#pragma once

/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vectors.h"
#include "wire/cookie.h"
#include "wire/noise.h"

#define VECTORS (sizeof handshake_vectors / sizeof *handshake_vectors)
#define LOW_ORDER_POINTS (sizeof low_order_points / sizeof *low_order_points)

/* A random that hands out what it was given, and fails the test when asked for more. */
struct script {
    const uint8_t *bytes;
    size_t left;
};

static inline void script_fill(void *context, void *out, size_t size) {
    struct script *script = context;
    assert_true(size <= script->left);
    memcpy(out, script->bytes, size);
    script->bytes += size;
    script->left -= size;
}

static inline struct noise_random script_random(struct script *script) {
    return (struct noise_random){.fill = script_fill, .context = script};
}

/* A repeatable stream, for tests that need many different numbers. */
static inline uint64_t stream_next(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline void stream_fill(void *context, void *out, size_t size) {
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)out)[i] = (uint8_t)stream_next(context);
    }
}

static inline struct key key_of(const uint8_t bytes[KEY_SIZE]) {
    struct key key;
    memcpy(key.bytes, bytes, KEY_SIZE);
    return key;
}

/* One end: who it is, and what it knows of the other. */
struct end {
    struct noise_identity me;
    struct noise_remote remote;
};

static inline struct end end_make(const uint8_t *private_key, const uint8_t *remote_public, const uint8_t *preshared) {
    struct end end = {.remote = {.public_key = key_of(remote_public), .preshared_key = key_of(preshared)}};
    struct key key = key_of(private_key);
    noise_identity_set(&end.me, &key);
    return end;
}

static inline struct end initiator_of(const struct handshake_vector *v) {
    return end_make(v->initiator_private, v->responder_public, v->preshared);
}

static inline struct end responder_of(const struct handshake_vector *v) {
    return end_make(v->responder_private, v->initiator_public, v->preshared);
}
