/* What doctor found, and the kernel settings that would mend some of it. One thread. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum doctor_level {
    DOCTOR_GOOD,
    DOCTOR_NOTE, /* could be better */
    DOCTOR_BAD,  /* does not work like this */
};

#define DOCTOR_SETTINGS_MAX 32

/* A line for /etc/sysctl.d. */
struct doctor_setting {
    char key[96]; /* with dots, as sysctl(8) takes it: "net.ipv4.ip_forward". Interfaces' own dots are slashes there */
    char value[24];
    char why[160];
};

struct doctor_report {
    json_t *findings; /* owned */
    int bad, notes;
    struct doctor_setting settings[DOCTOR_SETTINGS_MAX]; /* in the order in which they must be set */
    size_t setting_count;
};

/* 0, or -ENOMEM. */
int doctor_report_open(struct doctor_report *report);
void doctor_report_free(struct doctor_report *report);
/* One finding of check `name`. `why` and `mend` (a line to run or to write) only count for what is not good; the format
 * is what was found. */
void doctor_find(struct doctor_report *report, enum doctor_level level, const char *name, const char *why,
                 const char *mend, const char *format, ...) __attribute__((format(printf, 6, 7)));
/* A finding about one kernel setting: mended by `key` = `value`, which "--fix" then sets. */
void doctor_find_setting(struct doctor_report *report, enum doctor_level level, const char *name, const char *why,
                         const char *key, const char *value, const char *format, ...)
    __attribute__((format(printf, 7, 8)));
/* A setting that goes before the next ones and is no finding of its own. */
void doctor_add_setting(struct doctor_report *report, const char *key, const char *value, const char *why);
/* For people, or as JSON, on stdout. */
void doctor_report_print(const struct doctor_report *report, bool json);
