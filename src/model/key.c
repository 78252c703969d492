#include "model/key.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

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

void key_make_private(struct key *ret_private) {
    randombytes_buf(ret_private->bytes, KEY_SIZE);
    ret_private->bytes[0] &= 248;
    ret_private->bytes[31] = (uint8_t)((ret_private->bytes[31] & 127) | 64);
}

void key_make_preshared(struct key *ret_preshared) {
    randombytes_buf(ret_preshared->bytes, KEY_SIZE);
}

void key_public(const struct key *private_key, struct key *ret_public) {
    crypto_scalarmult_curve25519_base(ret_public->bytes, private_key->bytes);
}

bool key_is_low_order(const struct key *public_key) {
    /* libsodium refuses the blacklisted points for any scalar; the scalar itself does not matter. */
    static const uint8_t scalar[KEY_SIZE] = {8, [31] = 64};
    uint8_t shared[KEY_SIZE];
    return crypto_scalarmult_curve25519(shared, scalar, public_key->bytes) != 0;
}
