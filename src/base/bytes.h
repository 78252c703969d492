/* Fixed-width integers in wire order, and a bounded cursor over untrusted bytes.
 *
 * The cursor's error sticks: read all fields, then ask once whether any of them was missing. Reads past the end
 * yield zeros and leave the cursor at its end. No allocation, no ownership: the caller's bytes must outlive it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t be16_get(const void *at) {
    const uint8_t *b = at;
    return (uint16_t)((b[0] << 8) | b[1]);
}

static inline uint32_t be32_get(const void *at) {
    const uint8_t *b = at;
    return ((uint32_t)b[0] << 24) | ((uint32_t)b[1] << 16) | ((uint32_t)b[2] << 8) | b[3];
}

static inline uint64_t be64_get(const void *at) {
    return ((uint64_t)be32_get(at) << 32) | be32_get((const uint8_t *)at + 4);
}

static inline void be16_put(void *at, uint16_t v) {
    uint8_t *b = at;
    b[0] = (uint8_t)(v >> 8);
    b[1] = (uint8_t)v;
}

static inline void be32_put(void *at, uint32_t v) {
    uint8_t *b = at;
    b[0] = (uint8_t)(v >> 24);
    b[1] = (uint8_t)(v >> 16);
    b[2] = (uint8_t)(v >> 8);
    b[3] = (uint8_t)v;
}

static inline void be64_put(void *at, uint64_t v) {
    be32_put(at, (uint32_t)(v >> 32));
    be32_put((uint8_t *)at + 4, (uint32_t)v);
}

static inline uint32_t le32_get(const void *at) {
    const uint8_t *b = at;
    return ((uint32_t)b[3] << 24) | ((uint32_t)b[2] << 16) | ((uint32_t)b[1] << 8) | b[0];
}

static inline uint64_t le64_get(const void *at) {
    return ((uint64_t)le32_get((const uint8_t *)at + 4) << 32) | le32_get(at);
}

static inline void le32_put(void *at, uint32_t v) {
    uint8_t *b = at;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
    b[2] = (uint8_t)(v >> 16);
    b[3] = (uint8_t)(v >> 24);
}

static inline void le64_put(void *at, uint64_t v) {
    le32_put(at, (uint32_t)v);
    le32_put((uint8_t *)at + 4, (uint32_t)(v >> 32));
}

struct cursor {
    const uint8_t *at;
    size_t left;
    bool failed; /* a read went past the end; sticks */
};

static inline struct cursor cursor_over(const void *bytes, size_t size) {
    return (struct cursor){.at = bytes, .left = size};
}

/* The next `size` bytes, or NULL (and the error sticks) if there are fewer. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t size) {
    if (c->failed || size > c->left) {
        c->failed = true;
        c->left = 0;
        return NULL;
    }
    const uint8_t *taken = c->at;
    c->at += size;
    c->left -= size;
    return taken;
}

static inline uint8_t cursor_u8(struct cursor *c) {
    const uint8_t *b = cursor_take(c, 1);
    return b ? b[0] : 0;
}

static inline uint16_t cursor_be16(struct cursor *c) {
    const uint8_t *b = cursor_take(c, 2);
    return b ? be16_get(b) : 0;
}
