/* The hooks of the programs that are built for tests. */
#include "base/hooks.h"

#include <stdlib.h>

const char *hooks_prefix(void) {
    return "SALLYPORT_TEST_";
}

int64_t hooks_clock_offset_s(void) {
    const char *text = getenv("SALLYPORT_TEST_CLOCK_OFFSET");
    return text ? strtol(text, NULL, 10) : 0;
}

uint64_t hooks_clock_rate(void) {
    const char *text = getenv("SALLYPORT_TEST_CLOCK_RATE");
    return text ? strtoul(text, NULL, 10) : 1;
}

uint32_t hooks_usage_rest_s(uint32_t real) {
    const char *text = getenv("SALLYPORT_TEST_USAGE_REST");
    return text ? (uint32_t)strtoul(text, NULL, 10) : real;
}
