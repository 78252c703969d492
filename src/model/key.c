#include "model/key.h"

#include <errno.h>
#include <gmp.h>
#include <sodium.h>
#include <string.h>

#include "base/bytes.h"

int key_from_base64(const char *text, struct key *ret_key) {
    struct key key;
    size_t size = 0;
    char again[KEY_BASE64_SIZE] = "";
    int error = -EINVAL;
    /* the way back tells whether the two unused bits were zero */
    if (strnlen(text, KEY_BASE64_SIZE) == KEY_BASE64_SIZE - 1 &&
        sodium_base642bin(key.bytes, sizeof key.bytes, text, KEY_BASE64_SIZE - 1, NULL, &size, NULL,
                          sodium_base64_VARIANT_ORIGINAL) == 0 &&
        size == KEY_SIZE && sodium_memcmp(key_to_base64(&key, again), text, KEY_BASE64_SIZE - 1) == 0) {
        *ret_key = key;
        error = 0;
    }
    sodium_memzero(&key, sizeof key);
    sodium_memzero(again, sizeof again);
    return error;
}

int key_from_hex(const char *text, struct key *ret_key) {
    struct key key;
    size_t size = 0;
    int error = -EINVAL;
    if (strnlen(text, KEY_HEX_SIZE) == KEY_HEX_SIZE - 1 &&
        sodium_hex2bin(key.bytes, sizeof key.bytes, text, KEY_HEX_SIZE - 1, NULL, &size, NULL) == 0 &&
        size == KEY_SIZE) {
        *ret_key = key;
        error = 0;
    }
    sodium_memzero(&key, sizeof key);
    return error;
}

char *key_to_base64(const struct key *key, char text[KEY_BASE64_SIZE]) {
    return sodium_bin2base64(text, KEY_BASE64_SIZE, key->bytes, KEY_SIZE, sodium_base64_VARIANT_ORIGINAL);
}

char *key_to_hex(const struct key *key, char text[KEY_HEX_SIZE]) {
    return sodium_bin2hex(text, KEY_HEX_SIZE, key->bytes, KEY_SIZE);
}

bool key_is_zero(const struct key *key) {
    return sodium_is_zero(key->bytes, KEY_SIZE) == 1;
}

bool key_equal(const struct key *a, const struct key *b) {
    return sodium_memcmp(a->bytes, b->bytes, KEY_SIZE) == 0;
}

void key_clamp(struct key *private_key) {
    private_key->bytes[0] &= 248;
    private_key->bytes[31] = (uint8_t)((private_key->bytes[31] & 127) | 64);
}

void key_make_private(struct key *ret_private) {
    randombytes_buf(ret_private->bytes, KEY_SIZE);
    key_clamp(ret_private);
}

void key_make_preshared(struct key *ret_preshared) {
    randombytes_buf(ret_preshared->bytes, KEY_SIZE);
}

/* The way from a point of edwards25519, whose y this is, to the same point of curve25519 (RFC 7748, section 4.1):
 * u = (1 + y) / (1 - y) modulo p = 2^255 - 19. It takes a time that depends on y, which is as public as u.
 *
 * GMP's mpz functions would end the process where there is no memory, in the middle of a handshake. Numbers of this
 * size in its mpn functions lie on the stack. */
#define LIMBS 4
_Static_assert(GMP_NUMB_BITS == 64, "a number modulo p has four limbs");

static void reduce_once(mp_limb_t number[LIMBS], const mp_limb_t p[LIMBS]) {
    if (mpn_cmp(number, p, LIMBS) >= 0) {
        mpn_sub_n(number, number, p, LIMBS);
    }
}

/* `number` is neither 0 nor p, and is destroyed. */
static void invert(mp_limb_t number[LIMBS + 1], const mp_limb_t p[LIMBS], mp_limb_t ret_inverse[LIMBS]) {
    mp_limb_t modulus[LIMBS + 1], divisor[LIMBS + 1], inverse[LIMBS + 2] = {0};
    mp_size_t size;
    mpn_copyi(modulus, p, LIMBS);
    (void)mpn_gcdext(divisor, inverse, &size, number, LIMBS, modulus, LIMBS);
    mpn_copyi(ret_inverse, inverse, LIMBS);
    if (size < 0) {
        mpn_zero(ret_inverse - size, LIMBS + size);
        mpn_sub_n(ret_inverse, p, ret_inverse, LIMBS);
    } else {
        mpn_zero(ret_inverse + size, LIMBS - size);
    }
}

static void to_montgomery(const uint8_t y_bytes[KEY_SIZE], uint8_t ret_u_bytes[KEY_SIZE]) {
    static const mp_limb_t p[LIMBS] = {~UINT64_C(0) - 18, ~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0) >> 1};
    mp_limb_t over[LIMBS], under[LIMBS + 1], inverse[LIMBS], product[2 * LIMBS], quotient[LIMBS + 1];
    for (size_t i = 0; i < LIMBS; i++) {
        over[i] = le64_get(y_bytes + 8 * i);
    }
    over[LIMBS - 1] &= ~UINT64_C(0) >> 1; /* the highest bit is the sign of x */
    mpn_sub_n(under, p, over, LIMBS);
    mpn_add_1(under, under, LIMBS, 1);
    reduce_once(under, p);
    mpn_add_1(over, over, LIMBS, 1);
    reduce_once(over, p);
    invert(under, p, inverse);
    mpn_mul_n(product, over, inverse, LIMBS);
    mpn_tdiv_qr(quotient, over, 0, product, 2 * LIMBS, p, LIMBS);
    for (size_t i = 0; i < LIMBS; i++) {
        le64_put(ret_u_bytes + 8 * i, over[i]);
    }
}

/* crypto_scalarmult_curve25519_base() with tables of the base point's multiples, which libsodium keeps for edwards25519
 * only: two thirds of the time. */
void key_public(const struct key *private_key, struct key *ret_public) {
    struct key clamped = *private_key;
    uint8_t point[crypto_scalarmult_ed25519_BYTES];
    key_clamp(&clamped);
    /* fails for multiples of the group's order, of which none is clamped */
    (void)!crypto_scalarmult_ed25519_base_noclamp(point, clamped.bytes);
    to_montgomery(point, ret_public->bytes);
    sodium_memzero(&clamped, sizeof clamped);
}

bool key_is_low_order(const struct key *public_key) {
    /* The points of order 1, 2, 4 and 8, little endian, with the encodings that are not reduced: 0, 1, the two of order
     * 8, p - 1, p, p + 1 for p = 2^255 - 19. Bulk creation asks for every key, and a multiplication would cost 34 us.
     */
    static const uint8_t points[][KEY_SIZE] = {
        {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
         0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
        {0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
         0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
        {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
         0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
        {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
         0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
        {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
        {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        /* X25519 ignores the highest bit (RFC 7748, section 5). */
        if (memcmp(points[i], public_key->bytes, KEY_SIZE - 1) == 0 &&
            points[i][KEY_SIZE - 1] == (public_key->bytes[KEY_SIZE - 1] & 0x7f)) {
            return true;
        }
    }
    return false;
}
