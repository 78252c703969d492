/* What the tests of the engine's structures share: cmocka with what it needs, and a random that is the same in every
 * run. */
#pragma once

/* cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* SplitMix64 (Steele, Lea, Flood 2014). */
struct dice {
    uint64_t state;
};

static inline uint64_t dice_u64(struct dice *dice) {
    uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline uint32_t dice_u32(struct dice *dice) {
    return (uint32_t)(dice_u64(dice) >> 32);
}

/* 0 .. below - 1 */
static inline uint32_t dice_below(struct dice *dice, uint32_t below) {
    return (uint32_t)((uint64_t)dice_u32(dice) * below >> 32);
}

static inline bool dice_chance(struct dice *dice, uint32_t percent) {
    return dice_below(dice, 100) < percent;
}

static inline void dice_fill(struct dice *dice, void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)bytes)[i] = (uint8_t)dice_u64(dice);
    }
}
