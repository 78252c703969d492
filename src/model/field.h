/* Numbers modulo p = 2^255 - 19, the field of curve25519 (RFC 7748, section 4.1), for the one step that libsodium does
 * not offer: the way from a point of edwards25519 to the same point of curve25519. Takes the same time for all values.
 */
#pragma once

#include <stdint.h>

#define FIELD_SIZE 32

/* In five limbs of 51 bits, which may be a little more; not reduced. */
struct field {
    uint64_t limbs[5];
};

/* Little endian; the highest bit is ignored. */
struct field field_from_bytes(const uint8_t bytes[FIELD_SIZE]);
/* The one value below p. */
void field_to_bytes(const struct field *number, uint8_t ret_bytes[FIELD_SIZE]);
/* 1 + a, 1 - a, a * b, 1 / a; 1 / 0 is 0. */
struct field field_one_plus(const struct field *a);
struct field field_one_minus(const struct field *a);
struct field field_multiply(const struct field *a, const struct field *b);
struct field field_invert(const struct field *a);
