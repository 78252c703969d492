/* The logging front of the daemons and the CLI. Libraries return errors instead of logging.
 *
 * One line per event on stderr: what happened, to what, what to do. Under systemd (JOURNAL_STREAM set) lines carry the
 * "<N>" priority prefix, elsewhere a UTC time. Control characters are replaced by "?", so no input forges a line.
 * Never pass keys or tokens. Thread-safe: one write(2) per line. */
#pragma once

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/* Call once before threads start. `program` must be a string that lives on. */
void log_open(const char *program, enum log_level most);
/* Level by its name ("error", "warning", "info", "debug"). 0, or -EINVAL. */
int log_level_parse(const char *name, enum log_level *ret_level);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
