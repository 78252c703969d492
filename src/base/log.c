#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static const char *const names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

/* syslog priorities, as systemd reads them from a line's prefix (sd-daemon(3)) */
static const int priorities[] = {
    [LOG_LEVEL_ERROR] = 3,
    [LOG_LEVEL_WARNING] = 4,
    [LOG_LEVEL_INFO] = 6,
    [LOG_LEVEL_DEBUG] = 7,
};

static const char *program_name = "sallyport";
static enum log_level threshold = LOG_LEVEL_INFO;
static bool journal;

void log_open(const char *program, enum log_level most) {
    program_name = program;
    threshold = most;
    journal = getenv("JOURNAL_STREAM") != NULL;
}

int log_level_parse(const char *name, enum log_level *ret_level) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void log_write(enum log_level level, const char *format, ...) {
    if (level > threshold) {
        return;
    }
    char line[1024];
    int head;
    if (journal) {
        head = snprintf(line, sizeof line, "<%d>%s: ", priorities[level], program_name);
    } else {
        char when[CLOCK_TEXT_SIZE];
        head =
            snprintf(line, sizeof line, "%s %s %s: ", clock_format(clock_wall_us(), when), program_name, names[level]);
    }
    va_list args;
    va_start(args, format);
    int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, args);
    va_end(args);
    if (body < 0) {
        return;
    }
    size_t size = strlen(line);
    for (size_t i = (size_t)head; i < size; i++) {
        unsigned char byte = (unsigned char)line[i];
        /* U+0080 to U+009f are control characters too, which some terminals obey: in UTF-8 they begin with 0xc2 */
        bool c1 = i + 1 < size && byte == 0xc2 && (unsigned char)line[i + 1] < 0xa0;
        if (byte < 0x20 || byte == 0x7f || c1) {
            line[i] = '?';
            if (c1) {
                line[++i] = '?';
            }
        }
    }
    line[size++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written; /* nobody is left to tell */
}
