#include "cli/show/print.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    int fd;
    char *path; /* NULL: stdout */
};

struct print_file *print_file_open(const char *path) {
    struct print_file *file = calloc(1, sizeof *file);
    if (!file) {
        cli_error("out of memory");
        return NULL;
    }
    file->fd = STDOUT_FILENO;
    if (path && strcmp(path, "-") != 0) {
        file->path = strdup(path);
        file->fd = file->path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
        if (file->fd < 0) {
            cli_error(errno == EEXIST ? "%s exists already and is left as it is; choose another --output"
                                      : "%s cannot be written: %s",
                      path, strerror(errno));
            free(file->path);
            free(file);
            return NULL;
        }
    }
    return file;
}

static int write_all(int fd, const struct buf *text) {
    for (size_t at = 0; at < text->size;) {
        ssize_t n = write(fd, text->data + at, text->size - at);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int print_file_close(struct print_file *file, const struct buf *text) {
    int error = 0;
    if (text) {
        fflush(stdout);
        error = write_all(file->fd, text);
        if (!error && file->path && fsync(file->fd) < 0) {
            error = -errno;
        }
    }
    if (file->path) {
        close(file->fd);
        if (!text) {
            unlink(file->path);
        }
    }
    if (error) {
        cli_error("%s cannot be written: %s", file->path ? file->path : "standard output", strerror(-error));
    }
    free(file->path);
    free(file);
    return error ? -1 : 0;
}
