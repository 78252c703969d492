#include "cli/doctor/fix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/doctor/host.h"
#include "cli/doctor/report.h"

#define FILE_MAX (64u << 10)

static const char head[] = "# Written by \"sallyport doctor --fix\". A later file of this folder wins over it.\n";

/* The setting that a line of the file is about, or NULL. */
static const struct doctor_setting *setting_of(const struct doctor_report *report, const char *line, size_t size) {
    while (size && strchr(" \t-", *line)) {
        line++;
        size--;
    }
    for (size_t i = 0; i < report->setting_count; i++) {
        const struct doctor_setting *setting = &report->settings[i];
        size_t key = strlen(setting->key);
        if (size > key && strncmp(line, setting->key, key) == 0 && strchr(" \t=", line[key])) {
            return setting;
        }
    }
    return NULL;
}

/* An interface may come later than the file is read: "-" makes that no error (sysctl.d(5)). */
static bool is_of_interface(const char *key) {
    const char *conf = strstr(key, ".conf.");
    return conf && strncmp(conf, ".conf.all.", 10) != 0 && strncmp(conf, ".conf.default.", 14) != 0;
}

static void put_setting(const struct doctor_setting *setting, struct buf *out) {
    buf_printf(out, "%s%s = %s\n", is_of_interface(setting->key) ? "-" : "", setting->key, setting->value);
}

void doctor_fix_text(const struct doctor_report *report, const char *old, struct buf *out) {
    bool there[DOCTOR_SETTINGS_MAX] = {false};
    buf_text(out, old && *old ? "" : head);
    for (const char *line = old; line && *line;) {
        size_t size = strcspn(line, "\n");
        const struct doctor_setting *setting = setting_of(report, line, size);
        if (!setting) {
            buf_append(out, line, size);
            buf_text(out, "\n");
        } else if (!there[setting - report->settings]) {
            put_setting(setting, out);
            there[setting - report->settings] = true;
        }
        line += size + (line[size] == '\n');
    }
    for (size_t i = 0; i < report->setting_count; i++) {
        if (!there[i]) {
            buf_printf(out, "# %s\n", report->settings[i].why);
            put_setting(&report->settings[i], out);
        }
    }
}

static char *file_read(const char *path) {
    char *text = calloc(1, FILE_MAX);
    FILE *file = fopen(path, "re");
    if (file && text) {
        text[fread(text, 1, FILE_MAX - 1, file)] = '\0';
    }
    if (file) {
        fclose(file);
    }
    return text;
}

/* Under a passing name first, so that nobody ever reads half of it. */
static int file_write(const char *path, const struct buf *text) {
    char passing[4096];
    if (snprintf(passing, sizeof passing, "%s.%d.tmp", path, (int)getpid()) >= (int)sizeof passing) {
        return -ENAMETOOLONG;
    }
    int fd = open(passing, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) {
        return -errno;
    }
    int error = write(fd, text->data, text->size) != (ssize_t)text->size || fsync(fd) < 0 ? -EIO : 0;
    close(fd);
    if (error == 0 && rename(passing, path) < 0) {
        error = -errno;
    }
    if (error < 0) {
        unlink(passing);
    }
    return error;
}

/* "net.ipv6.conf.eth0/7.accept_ra" is /proc/sys/net/ipv6/conf/eth0.7/accept_ra */
static void path_of(const char *key, char path[160]) {
    int size = snprintf(path, 160, "/proc/sys/%s", key);
    for (int i = (int)strlen("/proc/sys/"); i < size && i < 159; i++) {
        path[i] = path[i] == '.' ? '/' : path[i] == '/' ? '.' : path[i];
    }
}

int doctor_fix(const struct doctor_report *report, const struct doctor_host *host, const char *path) {
    struct buf text = {0};
    char *old = file_read(path);
    int failed = 0;
    if (report->setting_count == 0) {
        printf("no setting of the kernel is wrong; nothing was written\n");
        free(old);
        return 0;
    }
    doctor_fix_text(report, old, &text);
    int error = !old || text.failed ? -ENOMEM : strcmp(old, text.data) == 0 ? 0 : file_write(path, &text);
    if (error < 0) {
        cli_error("%s cannot be written: %s%s", path, strerror(-error),
                  error == -EACCES || error == -EPERM ? "; run this as root" : "");
        failed = -1;
    }
    for (size_t i = 0; i < report->setting_count; i++) {
        const struct doctor_setting *setting = &report->settings[i];
        char at[160];
        path_of(setting->key, at);
        error = host->write(host->context, at, setting->value);
        if (error < 0) {
            cli_error("%s cannot be set now: %s%s", setting->key, strerror(-error),
                      error == -EROFS ? "; in a container, set it on its host" : "");
            failed = -1;
        } else {
            printf("set   %s = %s\n", setting->key, setting->value);
        }
    }
    if (failed == 0) {
        printf("wrote %s, for the next boot\n", path);
    }
    buf_free(&text);
    free(old);
    return failed;
}
