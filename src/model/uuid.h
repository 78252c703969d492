/* UUIDs (RFC 9562). Tenants and routers are named by them; those we make are version 7, so they sort by time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define UUID_TEXT_SIZE 37 /* 36 characters and NUL */

struct uuid {
    uint8_t bytes[16];
};

/* The 8-4-4-4-12 form in either case. 0, or -EINVAL. */
int uuid_parse(const char *text, struct uuid *ret_uuid);
/* Lower case. Returns `text`. */
char *uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE]);
bool uuid_equal(const struct uuid *a, const struct uuid *b);
bool uuid_is_zero(const struct uuid *uuid);
/* Version 7 for a wall time in milliseconds, with 74 random bits from the system. */
void uuid_make(uint64_t wall_ms, struct uuid *ret_uuid);
