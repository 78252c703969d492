#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hooks.h"

static uint64_t read_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

uint64_t clock_mono_ns(void) {
    return read_ns(CLOCK_BOOTTIME);
}

/* Tests set this clock wrong: seconds ahead (or, negative, behind). */
static int64_t offset_ns;
static pthread_once_t offset_once = PTHREAD_ONCE_INIT;

static void read_offset(void) {
    offset_ns = hooks_clock_offset_s() * (int64_t)NSEC_PER_SEC;
}

uint64_t clock_wall_ns(void) {
    pthread_once(&offset_once, read_offset);
    return read_ns(CLOCK_REALTIME) + (uint64_t)offset_ns;
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
    /* %Y would not fill up the year to four digits, and such text would neither sort nor be read again */
    size_t n = (size_t)snprintf(text, CLOCK_TEXT_SIZE, "%04d", tm.tm_year + 1900);
    n += strftime(text + n, CLOCK_TEXT_SIZE - n, "-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, CLOCK_TEXT_SIZE - n, ".%06uZ", (unsigned)micros);
    return text;
}

/* Whether `text` begins like `pattern`, where 0 stands for any digit. */
static bool looks_like(const char *text, const char *pattern) {
    for (; *pattern; text++, pattern++) {
        if (*pattern == '0' ? *text < '0' || *text > '9' : *text != *pattern) {
            return false;
        }
    }
    return true;
}

int clock_parse(const char *text, int64_t *ret_wall_us) {
    struct tm tm = {0};
    /* strptime() alone would take spaces and short fields, which do not sort as time */
    const char *rest = looks_like(text, "0000-00-00T00:00:00") ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (!rest) {
        return -EINVAL;
    }
    struct tm real = tm;
    int64_t seconds = timegm(&real); /* carries the 30th of February over to March: not what was written */
    if (real.tm_mday != tm.tm_mday || real.tm_sec != tm.tm_sec) {
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
    *ret_wall_us = seconds * USEC_PER_SEC + micros;
    return 0;
}
