#include "cli/doctor/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"
#include "cli/terminal.h"

static const char *const levels[] = {[DOCTOR_GOOD] = "good", [DOCTOR_NOTE] = "note", [DOCTOR_BAD] = "bad"};

int doctor_report_open(struct doctor_report *report) {
    *report = (struct doctor_report){.findings = json_array()};
    return report->findings ? 0 : -ENOMEM;
}

void doctor_report_free(struct doctor_report *report) {
    json_decref(report->findings);
    report->findings = NULL;
}

static void add(struct doctor_report *r, enum doctor_level level, const char *name, const char *why, const char *mend,
                const char *format, va_list args) {
    struct buf what = {0}, clean = {0};
    buf_vprintf(&what, format, args);
    terminal_clean(&clean, what.data ? what.data : "");
    bool good = level == DOCTOR_GOOD;
    json_array_append_new(r->findings,
                          json_pack("{s:s, s:s, s:s, s:s, s:s}", "level", levels[level], "check", name, "what",
                                    clean.data ? clean.data : "", "why", good ? "" : why, "mend", good ? "" : mend));
    r->bad += level == DOCTOR_BAD;
    r->notes += level == DOCTOR_NOTE;
    buf_free(&what);
    buf_free(&clean);
}

void doctor_find(struct doctor_report *report, enum doctor_level level, const char *name, const char *why,
                 const char *mend, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add(report, level, name, why, mend, format, args);
    va_end(args);
}

void doctor_add_setting(struct doctor_report *report, const char *key, const char *value, const char *why) {
    for (size_t i = 0; i < report->setting_count; i++) {
        if (strcmp(report->settings[i].key, key) == 0) {
            return;
        }
    }
    if (report->setting_count < DOCTOR_SETTINGS_MAX) {
        struct doctor_setting *setting = &report->settings[report->setting_count++];
        snprintf(setting->key, sizeof setting->key, "%s", key);
        snprintf(setting->value, sizeof setting->value, "%s", value);
        snprintf(setting->why, sizeof setting->why, "%s", why);
    }
}

void doctor_find_setting(struct doctor_report *report, enum doctor_level level, const char *name, const char *why,
                         const char *key, const char *value, const char *format, ...) {
    char mend[192];
    va_list args;
    snprintf(mend, sizeof mend, "sysctl -w %s=%s", key, value);
    va_start(args, format);
    add(report, level, name, why, mend, format, args);
    va_end(args);
    if (level != DOCTOR_GOOD) {
        doctor_add_setting(report, key, value, why);
    }
}

void doctor_report_print(const struct doctor_report *report, bool json) {
    struct buf out = {0};
    size_t i;
    const json_t *f;
    if (json) {
        json_t *all =
            json_pack("{s:O, s:i, s:i}", "findings", report->findings, "bad", report->bad, "notes", report->notes);
        print_json(all);
        json_decref(all);
        return;
    }
    json_array_foreach(report->findings, i, f) {
        const char *level = field_text(f, "level");
        buf_printf(&out, "%-5s %s\n", level, field_text(f, "what"));
        if (strcmp(level, levels[DOCTOR_GOOD]) != 0) {
            buf_printf(&out, "      why:  %s\n      mend: %s\n", field_text(f, "why"), field_text(f, "mend"));
        }
    }
    if (report->setting_count) {
        buf_text(&out, "sallyport doctor --fix sets the kernel's settings among these, now and for the next boot\n");
    }
    if (report->bad || report->notes) {
        buf_printf(&out, "%d bad, %d could be better\n", report->bad, report->notes);
    } else {
        buf_text(&out, "all is well\n");
    }
    print_buf(&out);
    buf_free(&out);
}
