/* Asks for memory that will be needed soon, so that a batch waits for all of it at once and not for one piece after the
 * other. A hint: any address may be given. */
#pragma once

#include <stddef.h>

#define PREFETCH_LINE 64 /* bytes; where a line of the cache is larger, some is asked for twice */

static inline void prefetch(const void *bytes, size_t size) {
    for (size_t at = 0; at < size; at += PREFETCH_LINE) {
        __builtin_prefetch((const char *)bytes + at);
    }
}
