#include "model/field.h"

#include "base/bytes.h"

#define LIMB_BITS 51
#define LIMB_MASK ((UINT64_C(1) << LIMB_BITS) - 1)

typedef unsigned __int128 wide; /* a product of two limbs */

struct field field_from_bytes(const uint8_t bytes[FIELD_SIZE]) {
    uint64_t a = le64_get(bytes), b = le64_get(bytes + 8), c = le64_get(bytes + 16), d = le64_get(bytes + 24);
    return (struct field){.limbs = {a & LIMB_MASK, (a >> 51 | b << 13) & LIMB_MASK, (b >> 38 | c << 26) & LIMB_MASK,
                                    (c >> 25 | d << 39) & LIMB_MASK, d >> 12 & LIMB_MASK}};
}

/* Brings each limb to 51 bits again, or a little more. What leaves the last comes back to the first, where it counts 19
 * times: 2^255 = 19. Two chains side by side, from the first limb and from the fourth, take less time than one. */
static inline struct field carry(wide s0, wide s1, wide s2, wide s3, wide s4) {
    s1 += (uint64_t)(s0 >> LIMB_BITS);
    s4 += (uint64_t)(s3 >> LIMB_BITS);
    s2 += (uint64_t)(s1 >> LIMB_BITS);
    uint64_t first = ((uint64_t)s0 & LIMB_MASK) + (uint64_t)(s4 >> LIMB_BITS) * 19;
    uint64_t fourth = ((uint64_t)s3 & LIMB_MASK) + (uint64_t)(s2 >> LIMB_BITS);
    return (struct field){.limbs = {first & LIMB_MASK, ((uint64_t)s1 & LIMB_MASK) + (first >> LIMB_BITS),
                                    (uint64_t)s2 & LIMB_MASK, fourth & LIMB_MASK,
                                    ((uint64_t)s4 & LIMB_MASK) + (fourth >> LIMB_BITS)}};
}

void field_to_bytes(const struct field *number, uint8_t ret_bytes[FIELD_SIZE]) {
    const uint64_t *x = number->limbs;
    struct field n = carry(x[0], x[1], x[2], x[3], x[4]);
    /* What would carry out of 255 bits if 19 were added says whether p is to be taken away; that is adding 19 and
     * forgetting the bit. */
    uint64_t over = 19;
    for (int i = 0; i < 5; i++) {
        over = (n.limbs[i] + over) >> LIMB_BITS;
    }
    uint64_t rest = over * 19;
    for (int i = 0; i < 5; i++) {
        rest += n.limbs[i];
        n.limbs[i] = rest & LIMB_MASK;
        rest >>= LIMB_BITS;
    }
    le64_put(ret_bytes, n.limbs[0] | n.limbs[1] << 51);
    le64_put(ret_bytes + 8, n.limbs[1] >> 13 | n.limbs[2] << 38);
    le64_put(ret_bytes + 16, n.limbs[2] >> 26 | n.limbs[3] << 25);
    le64_put(ret_bytes + 24, n.limbs[3] >> 39 | n.limbs[4] << 12);
}

struct field field_one_plus(const struct field *a) {
    struct field sum = *a;
    sum.limbs[0]++;
    return sum;
}

/* 2p is added, so that no limb falls below zero. */
struct field field_one_minus(const struct field *a) {
    struct field difference;
    difference.limbs[0] = 2 * (LIMB_MASK - 18) + 1 - a->limbs[0];
    for (int i = 1; i < 5; i++) {
        difference.limbs[i] = 2 * LIMB_MASK - a->limbs[i];
    }
    return difference;
}

/* Limbs may be up to 2^52: then what is summed up stays below 2^111, and 19 times what is carried below 2^64. */
struct field field_multiply(const struct field *a, const struct field *b) {
    const uint64_t *x = a->limbs, *y = b->limbs;
    const uint64_t y1 = y[1] * 19, y2 = y[2] * 19, y3 = y[3] * 19, y4 = y[4] * 19;
    return carry((wide)x[0] * y[0] + (wide)x[1] * y4 + (wide)x[2] * y3 + (wide)x[3] * y2 + (wide)x[4] * y1,
                 (wide)x[0] * y[1] + (wide)x[1] * y[0] + (wide)x[2] * y4 + (wide)x[3] * y3 + (wide)x[4] * y2,
                 (wide)x[0] * y[2] + (wide)x[1] * y[1] + (wide)x[2] * y[0] + (wide)x[3] * y4 + (wide)x[4] * y3,
                 (wide)x[0] * y[3] + (wide)x[1] * y[2] + (wide)x[2] * y[1] + (wide)x[3] * y[0] + (wide)x[4] * y4,
                 (wide)x[0] * y[4] + (wide)x[1] * y[3] + (wide)x[2] * y[2] + (wide)x[3] * y[1] + (wide)x[4] * y[0]);
}

/* a to the power 2^times. */
static struct field square(const struct field *a, int times) {
    uint64_t x0 = a->limbs[0], x1 = a->limbs[1], x2 = a->limbs[2], x3 = a->limbs[3], x4 = a->limbs[4];
    for (; times > 0; times--) {
        const uint64_t twice0 = x0 * 2, twice1 = x1 * 2, by3 = x3 * 19, by4 = x4 * 19;
        struct field n = carry((wide)x0 * x0 + (wide)twice1 * by4 + (wide)(x2 * 2) * by3,
                               (wide)twice0 * x1 + (wide)(x2 * 2) * by4 + (wide)x3 * by3,
                               (wide)twice0 * x2 + (wide)x1 * x1 + (wide)(x3 * 2) * by4,
                               (wide)twice0 * x3 + (wide)twice1 * x2 + (wide)x4 * by4,
                               (wide)twice0 * x4 + (wide)twice1 * x3 + (wide)x2 * x2);
        x0 = n.limbs[0];
        x1 = n.limbs[1];
        x2 = n.limbs[2];
        x3 = n.limbs[3];
        x4 = n.limbs[4];
    }
    return (struct field){.limbs = {x0, x1, x2, x3, x4}};
}

/* a to the power 2^(more + bits) - 1, of `high` to the power 2^more - 1 and `low` to 2^bits - 1. */
static struct field ones(const struct field *high, const struct field *low, int bits) {
    struct field shifted = square(high, bits);
    return field_multiply(&shifted, low);
}

/* Fermat: a to the power p - 2, which is in binary 250 ones and then 01011. */
struct field field_invert(const struct field *a) {
    struct field a2 = square(a, 1);
    struct field a8 = square(&a2, 2);
    struct field a9 = field_multiply(&a8, a);
    struct field a11 = field_multiply(&a9, &a2);
    struct field a22 = square(&a11, 1);
    struct field ones5 = field_multiply(&a22, &a9); /* 31 */
    struct field ones10 = ones(&ones5, &ones5, 5);
    struct field ones20 = ones(&ones10, &ones10, 10);
    struct field ones40 = ones(&ones20, &ones20, 20);
    struct field ones50 = ones(&ones40, &ones10, 10);
    struct field ones100 = ones(&ones50, &ones50, 50);
    struct field ones200 = ones(&ones100, &ones100, 100);
    struct field ones250 = ones(&ones200, &ones50, 50);
    struct field shifted = square(&ones250, 5);
    return field_multiply(&shifted, &a11);
}
