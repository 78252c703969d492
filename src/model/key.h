/* WireGuard's 32-byte keys and their text forms. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define KEY_SIZE 32
#define KEY_BASE64_SIZE 45 /* 44 characters and NUL */
#define KEY_HEX_SIZE 65    /* 64 characters and NUL */

struct key {
    uint8_t bytes[KEY_SIZE];
};

/* Strict: exactly 44 characters of standard base64 (as wg(8)), canonical in its unused bits. 0, or -EINVAL. Constant
 * time in the content. */
int key_from_base64(const char *text, struct key *ret_key);
/* Strict: exactly 64 hexadecimal digits (as the UAPI). 0, or -EINVAL. */
int key_from_hex(const char *text, struct key *ret_key);
char *key_to_base64(const struct key *key, char text[KEY_BASE64_SIZE]);
char *key_to_hex(const struct key *key, char text[KEY_HEX_SIZE]);
bool key_is_zero(const struct key *key);
/* Constant time. */
bool key_equal(const struct key *a, const struct key *b);
/* What X25519 makes of any 32 bytes before it multiplies (RFC 7748, section 5). */
void key_clamp(struct key *private_key);
/* A fresh clamped X25519 private key / a preshared key from the system's random (libsodium). */
void key_make_private(struct key *ret_private);
void key_make_preshared(struct key *ret_preshared);
/* Of any 32 bytes: they count as clamped. */
void key_public(const struct key *private_key, struct key *ret_public);
/* Whether X25519 with this public key can only yield zero (the low-order points): such a peer can never connect. */
bool key_is_low_order(const struct key *public_key);
