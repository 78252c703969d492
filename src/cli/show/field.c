#include "cli/show/field.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

const json_t *field_at(const json_t *object, const char *path) {
    while (object) {
        size_t size = strcspn(path, ".");
        char name[64];
        if (size >= sizeof name) {
            return NULL;
        }
        memcpy(name, path, size);
        name[size] = '\0';
        object = json_object_get(object, name);
        if (!path[size]) {
            return object;
        }
        path += size + 1;
    }
    return NULL;
}

const char *field_text(const json_t *object, const char *path) {
    const char *text = json_string_value(field_at(object, path));
    return text ? text : "";
}

int64_t field_number(const json_t *object, const char *path) {
    return (int64_t)json_number_value(field_at(object, path));
}

bool field_flag(const json_t *object, const char *path) {
    return json_is_true(field_at(object, path));
}

/* "1.23", "12.3", "123": three digits that mean something. */
static int digits(double value, char text[FIELD_TEXT_SIZE]) {
    return snprintf(text, FIELD_TEXT_SIZE, "%.*f", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value);
}

char *field_bytes(uint64_t bytes, char text[FIELD_TEXT_SIZE]) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        snprintf(text, FIELD_TEXT_SIZE, "%" PRIu64 " B", bytes);
        return text;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    for (; value >= 1023.5 && unit + 1 < sizeof units / sizeof units[0]; unit++) {
        value /= 1024;
    }
    int n = digits(value, text);
    snprintf(text + n, FIELD_TEXT_SIZE - (size_t)n, " %s", units[unit]);
    return text;
}

char *field_rate(double bits_per_second, char text[FIELD_TEXT_SIZE]) {
    static const char *const units[] = {"kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};
    if (bits_per_second < 999.5) {
        snprintf(text, FIELD_TEXT_SIZE, bits_per_second < 0.5 ? "0" : "%.0f bit/s", bits_per_second);
        return text;
    }
    double value = bits_per_second / 1000;
    size_t unit = 0;
    for (; value >= 999.5 && unit + 1 < sizeof units / sizeof units[0]; unit++) {
        value /= 1000;
    }
    int n = digits(value, text);
    snprintf(text + n, FIELD_TEXT_SIZE - (size_t)n, " %s", units[unit]);
    return text;
}

char *field_count(int64_t number, char text[FIELD_TEXT_SIZE]) {
    char plain[24];
    size_t size = (size_t)snprintf(plain, sizeof plain, "%" PRId64, number);
    char *out = text;
    for (size_t i = 0; i < size; i++) {
        *out++ = plain[i];
        size_t left = size - 1 - i;
        if (left && left % 3 == 0 && isdigit((unsigned char)plain[i])) {
            *out++ = ',';
        }
    }
    *out = '\0';
    return text;
}

char *field_ago(const char *time, int64_t now_us, char text[FIELD_TEXT_SIZE]) {
    int64_t then_us;
    if (!time[0]) {
        snprintf(text, FIELD_TEXT_SIZE, "never");
        return text;
    }
    if (clock_parse(time, &then_us) < 0) {
        snprintf(text, FIELD_TEXT_SIZE, "?");
        return text;
    }
    int64_t seconds = (now_us - then_us) / USEC_PER_SEC;
    if (seconds < 1) {
        snprintf(text, FIELD_TEXT_SIZE, "now");
    } else if (seconds < 120) {
        snprintf(text, FIELD_TEXT_SIZE, "%" PRId64 " s ago", seconds);
    } else if (seconds < 2 * 3600) {
        snprintf(text, FIELD_TEXT_SIZE, "%" PRId64 " min ago", seconds / 60);
    } else if (seconds < 48 * 3600) {
        snprintf(text, FIELD_TEXT_SIZE, "%" PRId64 " h ago", seconds / 3600);
    } else {
        snprintf(text, FIELD_TEXT_SIZE, "%" PRId64 " d ago", seconds / 86400);
    }
    return text;
}

char *field_duration(int64_t s, char text[FIELD_TEXT_SIZE]) {
    if (s < 60) {
        snprintf(text, FIELD_TEXT_SIZE, "%" PRId64 " s", s < 0 ? 0 : s);
    } else if (s < 3600) {
        snprintf(text, FIELD_TEXT_SIZE, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
    } else if (s < 86400) {
        snprintf(text, FIELD_TEXT_SIZE, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
    } else {
        snprintf(text, FIELD_TEXT_SIZE, "%" PRId64 " d %" PRId64 " h", s / 86400, s / 3600 % 24);
    }
    return text;
}

int field_scaled_parse(const char *text, uint64_t *ret_number) {
    char *end;
    if (!isdigit((unsigned char)text[0]) || strspn(text, "0123456789.") == 0) {
        return -EINVAL;
    }
    double value = strtod(text, &end);
    double scale = 1;
    switch (end[0]) {
    case 'k':
    case 'K':
        scale = 1e3;
        break;
    case 'm':
    case 'M':
        scale = 1e6;
        break;
    case 'g':
    case 'G':
        scale = 1e9;
        break;
    case 't':
    case 'T':
        scale = 1e12;
        break;
    case '\0':
        break;
    default:
        return -EINVAL;
    }
    /* a double holds every integer up to 2^53; more is no limit anybody means */
    if ((end[0] && end[1]) || strspn(text, "0123456789.") != (size_t)(end - text) || value * scale > 9e15) {
        return -EINVAL;
    }
    *ret_number = (uint64_t)(value * scale + 0.5);
    return 0;
}

int field_duration_parse(const char *text, int64_t *ret_seconds) {
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    size_t size = strspn(text, "0123456789");
    if (size == 0 || size > 9 || !text[size] || text[size + 1]) {
        return -EINVAL;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].unit == text[size]) {
            *ret_seconds = strtoll(text, NULL, 10) * units[i].seconds;
            return 0;
        }
    }
    return -EINVAL;
}
