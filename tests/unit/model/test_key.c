/* Keys and their text forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <gmp.h>
#include <sodium.h>
#include <string.h>

#include "../wire/vectors.h"
#include "model/key.h"

/* base64 and hex of the bytes 0 to 31, by coreutils */
static const char ascending64[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
static const char ascending16[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

static struct key ascending(void) {
    struct key key;
    for (uint8_t i = 0; i < KEY_SIZE; i++) {
        key.bytes[i] = i;
    }
    return key;
}

static void key_goes_to_text_and_back(void **state) {
    (void)state;
    struct key key = ascending(), again;
    char base64[KEY_BASE64_SIZE], hex[KEY_HEX_SIZE];
    assert_string_equal(key_to_base64(&key, base64), ascending64);
    assert_string_equal(key_to_hex(&key, hex), ascending16);
    memset(&again, 0xff, sizeof again);
    assert_int_equal(key_from_base64(ascending64, &again), 0);
    assert_true(key_equal(&key, &again));
    memset(&again, 0xff, sizeof again);
    assert_int_equal(key_from_hex(ascending16, &again), 0);
    assert_true(key_equal(&key, &again));
    assert_int_equal(key_from_hex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", &again), 0);
    assert_true(key_equal(&key, &again));
}

static void other_base64_is_refused_and_changes_nothing(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "=",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",   /* no padding */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8==", /* too much */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",  /* unused bits set: another text of the same key */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+=",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdH===", /* 31 bytes */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8A", /* 33 bytes */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= ",
        " AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd-_8=", /* the URL alphabet */
        "AAECAwQFBgcICQoLDA0O\nDxAREhMUFRYXGBkaGxwdHh8=",
        "AAECAwQF*gcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    };
    struct key before = ascending(), key = before;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(key_from_base64(wrong[i], &key), -EINVAL);
        assert_memory_equal(&key, &before, sizeof before);
    }
}

static void other_hex_is_refused_and_changes_nothing(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "0001",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g",
        "0x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "00:0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1",
        " 00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
    };
    struct key before = ascending(), key = before;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(key_from_hex(wrong[i], &key), -EINVAL);
        assert_memory_equal(&key, &before, sizeof before);
    }
}

static void zero_and_equality(void **state) {
    (void)state;
    struct key zero = {0}, key = {0};
    assert_true(key_is_zero(&zero));
    for (size_t bit = 0; bit < 8 * KEY_SIZE; bit++) {
        key.bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_false(key_is_zero(&key));
        assert_false(key_equal(&key, &zero));
        key.bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    assert_true(key_equal(&key, &zero));
}

static void private_keys_are_clamped_and_differ(void **state) {
    (void)state;
    struct key a, b;
    for (int i = 0; i < 64; i++) {
        key_make_private(&a);
        key_make_private(&b);
        assert_int_equal(a.bytes[0] & 7, 0);
        assert_int_equal(a.bytes[31] & 0xc0, 0x40);
        assert_false(key_equal(&a, &b));
    }
    key_make_preshared(&a);
    key_make_preshared(&b);
    assert_false(key_equal(&a, &b));
}

static void public_key_is_the_vectors(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct key private_key, public_key;
    memcpy(private_key.bytes, v->initiator_private, KEY_SIZE);
    key_public(&private_key, &public_key);
    assert_memory_equal(public_key.bytes, v->initiator_public, KEY_SIZE);
}

/* libsodium's own multiplication of the base point, which key_public() goes another way than. */
static void public_keys_are_x25519_of_the_base_point(void **state) {
    (void)state;
    struct key private_key, public_key, expected;
    for (unsigned i = 0; i < 2000; i++) {
        memset(private_key.bytes, i < 256 ? (int)i : 0, KEY_SIZE); /* the extremes, not clamped */
        if (i >= 256) {
            randombytes_buf(private_key.bytes, KEY_SIZE);
        }
        assert_int_equal(crypto_scalarmult_curve25519_base(expected.bytes, private_key.bytes), 0);
        key_public(&private_key, &public_key);
        assert_memory_equal(public_key.bytes, expected.bytes, KEY_SIZE);
    }
}

static void *no_memory(size_t size) {
    fail_msg("GMP wants %zu bytes, and would end the process without them", size);
    return NULL;
}

static void a_public_key_needs_no_memory(void **state) {
    (void)state;
    struct key private_key, public_key;
    mp_set_memory_functions(no_memory, NULL, NULL);
    for (unsigned i = 0; i < 2000; i++) {
        randombytes_buf(private_key.bytes, KEY_SIZE);
        key_public(&private_key, &public_key);
    }
    mp_set_memory_functions(NULL, NULL, NULL);
}

static void low_order_points_are_told_apart(void **state) {
    (void)state;
    struct key key;
    for (size_t i = 0; i < sizeof low_order_points / sizeof *low_order_points; i++) {
        memcpy(key.bytes, low_order_points[i], KEY_SIZE);
        assert_true(key_is_low_order(&key));
        key.bytes[31] |= 0x80; /* the bit that X25519 ignores */
        assert_true(key_is_low_order(&key));
    }
    memcpy(key.bytes, handshake_vectors[0].initiator_public, KEY_SIZE);
    assert_false(key_is_low_order(&key));
    key = (struct key){{9}}; /* the base point */
    assert_false(key_is_low_order(&key));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_goes_to_text_and_back),
        cmocka_unit_test(other_base64_is_refused_and_changes_nothing),
        cmocka_unit_test(other_hex_is_refused_and_changes_nothing),
        cmocka_unit_test(zero_and_equality),
        cmocka_unit_test(private_keys_are_clamped_and_differ),
        cmocka_unit_test(public_key_is_the_vectors),
        cmocka_unit_test(public_keys_are_x25519_of_the_base_point),
        cmocka_unit_test(a_public_key_needs_no_memory),
        cmocka_unit_test(low_order_points_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
