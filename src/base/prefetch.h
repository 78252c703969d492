/* Asks for memory that will be needed soon, so that a batch waits for all of it at once and not for one piece after the
 * other. A hint, which changes nothing; of NULL nothing is asked. */
#pragma once

#include <stddef.h>

#define PREFETCH_LINE 64 /* bytes; where a line of the cache is larger, some is asked for twice */

static inline void prefetch(const void *bytes, size_t size) {
    for (size_t at = 0; bytes && at < size; at += PREFETCH_LINE) {
        __builtin_prefetch((const char *)bytes + at);
    }
}
