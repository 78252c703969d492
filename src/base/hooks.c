#include "base/hooks.h"

#include <stddef.h>

const char *hooks_prefix(void) {
    return NULL;
}

int64_t hooks_clock_offset_s(void) {
    return 0;
}

uint64_t hooks_clock_rate(void) {
    return 1;
}

uint32_t hooks_usage_rest_s(uint32_t real) {
    return real;
}
