#include "cli/show/print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/show/table.h"

void print_json(const json_t *json) {
    json_dumpf(json, stdout, JSON_INDENT(2));
    fputc('\n', stdout);
}

enum cli_exit print_answer(struct cli *cli, json_t *answer, void (*show)(struct cli *cli, const json_t *answer)) {
    if (!answer) {
        return CLI_REFUSED;
    }
    if (cli->json) {
        print_json(answer);
    } else if (show) {
        show(cli, answer);
    }
    json_decref(answer);
    return CLI_DONE;
}

void print_buf(struct buf *text) {
    if (text->failed) {
        cli_error("out of memory");
    } else if (text->size) {
        fwrite(text->data, 1, text->size, stdout);
    }
    buf_clear(text);
}

void print_table(struct table *table) {
    struct buf out = {0};
    table_write(table, &out);
    print_buf(&out);
    buf_free(&out);
}

void print_pairs(const struct print_pair *pairs, size_t count) {
    struct table *table = table_make_bare(2);
    for (size_t i = 0; i < count; i++) {
        table_cell(table, pairs[i].name);
        table_cell(table, pairs[i].value);
    }
    print_table(table);
    table_free(table);
}

char *print_join(const json_t *array, char *text, size_t size) {
    size_t used = 0, i;
    const json_t *item;
    text[0] = '\0';
    json_array_foreach(array, i, item) {
        const char *value = json_string_value(item);
        int n = snprintf(text + used, size - used, "%s%s", i ? ", " : "", value ? value : "");
        if (n < 0 || (size_t)n >= size - used) {
            if (size > 4) {
                memcpy(text + size - 4, "...", 4);
            }
            break;
        }
        used += (size_t)n;
    }
    return text;
}

struct print_file {
    char *path; /* NULL: stdout */
};

/* What a later file_create() would meet: to know it before anything is made that only the file would tell. */
static int check_place(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    int size = slash ? snprintf(folder, sizeof folder, "%.*s", (int)(slash - path + 1), path)
                     : snprintf(folder, sizeof folder, ".");
    if (size < 0 || size >= (int)sizeof folder) {
        return -ENAMETOOLONG;
    }
    if (access(path, F_OK) == 0) {
        return -EEXIST;
    }
    return access(folder, W_OK) < 0 ? -errno : 0;
}

static void report(const char *path, int error) {
    cli_error(error == -EEXIST ? "%s exists already and is left as it is; choose another --output"
                               : "%s cannot be written: %s",
              path, strerror(-error));
}

struct print_file *print_file_open(const char *path) {
    struct print_file *file = calloc(1, sizeof *file);
    int error = file ? 0 : -ENOMEM;
    if (file && path && strcmp(path, "-") != 0) {
        file->path = strdup(path);
        error = file->path ? check_place(path) : -ENOMEM;
    }
    if (error < 0) {
        report(path ? path : "standard output", error);
        free(file ? file->path : NULL);
        free(file);
        return NULL;
    }
    return file;
}

static int write_out(const struct buf *text) {
    for (size_t at = 0; at < text->size;) {
        ssize_t n = write(STDOUT_FILENO, text->data + at, text->size - at);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int print_file_close(struct print_file *file, const struct buf *text) {
    int error = 0;
    if (text && file->path) {
        error = file_create(file->path, 0600, text->data ? text->data : "", text->size);
    } else if (text) {
        fflush(stdout);
        error = write_out(text);
    }
    if (error < 0) {
        report(file->path ? file->path : "standard output", error);
    }
    free(file->path);
    free(file);
    return error < 0 ? -1 : 0;
}
