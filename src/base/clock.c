#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t read_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

uint64_t clock_mono_ns(void) {
    return read_ns(CLOCK_BOOTTIME);
}

uint64_t clock_wall_ns(void) {
    return read_ns(CLOCK_REALTIME);
}

int64_t clock_wall_us(void) {
    return (int64_t)(clock_wall_ns() / 1000);
}

char *clock_format(int64_t wall_us, char text[CLOCK_TEXT_SIZE]) {
    int64_t seconds = wall_us / USEC_PER_SEC;
    int64_t micros = wall_us % USEC_PER_SEC;
    if (micros < 0) {
        micros += USEC_PER_SEC;
        seconds--;
    }
    time_t at = (time_t)seconds;
    struct tm tm;
    gmtime_r(&at, &tm);
    size_t n = strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, CLOCK_TEXT_SIZE - n, ".%06uZ", (unsigned)micros);
    return text;
}

int clock_parse(const char *text, int64_t *ret_wall_us) {
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest) {
        return -EINVAL;
    }
    int64_t micros = 0;
    if (*rest == '.') {
        int64_t unit = 100000;
        const char *digit = rest + 1;
        for (; *digit >= '0' && *digit <= '9'; digit++) {
            micros += (*digit - '0') * unit;
            unit /= 10;
        }
        if (digit == rest + 1 || digit > rest + 10) {
            return -EINVAL;
        }
        rest = digit;
    }
    if (strcmp(rest, "Z") != 0) {
        return -EINVAL;
    }
    *ret_wall_us = (int64_t)timegm(&tm) * USEC_PER_SEC + micros;
    return 0;
}
