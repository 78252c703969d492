#include "cli/init/key.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"

#define PATH_SIZE 1024

/* Whether the file is there and holds just this key. */
static bool is_same_key(const char *path, const char *text) {
    char there[KEY_BASE64_SIZE] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool same = fd >= 0 && read(fd, there, KEY_BASE64_SIZE - 1) == KEY_BASE64_SIZE - 1 &&
                sodium_memcmp(there, text, KEY_BASE64_SIZE - 1) == 0;
    if (fd >= 0) {
        close(fd);
    }
    sodium_memzero(there, sizeof there);
    return same;
}

int init_key_write(const struct key *private_key, const char *state_folder) {
    char path[PATH_SIZE], text[KEY_BASE64_SIZE];
    if (mkdir(state_folder, 0700) < 0 && errno != EEXIST) {
        cli_error("the folder %s cannot be made: %s%s", state_folder, strerror(errno),
                  errno == EACCES ? "; run this as root" : "");
        return -1;
    }
    snprintf(path, sizeof path, "%s/server.key", state_folder);
    key_to_base64(private_key, text);
    bool same = is_same_key(path, text);
    text[KEY_BASE64_SIZE - 1] = '\n';
    int error = same ? 0 : file_create(path, 0600, text, sizeof text);
    sodium_memzero(text, sizeof text);
    if (error == -EEXIST) {
        cli_error("%s exists already and is another key; if no router knows the gateway by it, move it away and run "
                  "this again",
                  path);
    } else if (error < 0) {
        cli_error("%s cannot be written: %s", path, strerror(-error));
    }
    return error;
}

/* Behind "NAME = " in a line of the configuration, blanks and a comment cut off, in place; else NULL. */
static char *value_of(char *line, const char *name) {
    size_t size = strlen(name);
    char *at = line + strspn(line, " \t");
    if (strncasecmp(at, name, size) != 0) {
        return NULL;
    }
    at += size;
    at += strspn(at, " \t");
    if (*at != '=') {
        return NULL;
    }
    at += 1 + strspn(at + 1, " \t");
    at[strcspn(at, ";\r\n")] = '\0';
    for (size_t n = strlen(at); n && isspace((unsigned char)at[n - 1]); n--) {
        at[n - 1] = '\0';
    }
    return at;
}

/* Where the gateway of this configuration has its key. A name means one thing in all sections. */
static void find_key(const char *config, char path[PATH_SIZE]) {
    char line[2048], folder[PATH_SIZE / 2] = INIT_STATE_FOLDER, own[PATH_SIZE] = "";
    FILE *file = fopen(config, "re");
    while (file && fgets(line, sizeof line, file)) {
        const char *value = value_of(line, "private_key_file");
        if (value) {
            snprintf(own, sizeof own, "%s", value);
        }
        value = value_of(line, "state_dir");
        if (value) {
            snprintf(folder, sizeof folder, "%s", value);
        }
    }
    if (file) {
        fclose(file);
    }
    if (own[0]) {
        memcpy(path, own, sizeof own);
    } else {
        snprintf(path, PATH_SIZE, "%s/server.key", folder);
    }
}

/* A second name for the former key, which no later run takes away. */
static int keep_former(const char *path, char kept[PATH_SIZE + 16]) {
    int error = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(kept, PATH_SIZE + 16, i ? "%s.former-%d" : "%s.former", path, i);
        error = link(path, kept) < 0 ? -errno : 0;
        if (error != -EEXIST) {
            break;
        }
    }
    return error;
}

int init_key_replace(const struct key *private_key, const char *config, const char *state_folder) {
    char path[PATH_SIZE], kept[PATH_SIZE + 16], text[KEY_BASE64_SIZE];
    if (state_folder) {
        snprintf(path, sizeof path, "%s/server.key", state_folder);
    } else {
        find_key(config, path);
    }
    key_to_base64(private_key, text);
    if (is_same_key(path, text)) {
        sodium_memzero(text, sizeof text);
        printf("%s is this key already.\n", path);
        return 0;
    }
    text[KEY_BASE64_SIZE - 1] = '\n';
    int error = keep_former(path, kept);
    bool was_there = error == 0;
    error = was_there || error == -ENOENT ? file_replace(path, 0600, text, sizeof text) : error;
    sodium_memzero(text, sizeof text);
    if (error < 0) {
        cli_error("%s cannot be written: %s%s", path, strerror(-error), error == -EACCES ? "; run this as root" : "");
        return -1;
    }
    printf("Wrote %s.", path);
    if (was_there) {
        printf(" The former key is in %s.", kept);
    }
    printf("\n");
    return 0;
}
