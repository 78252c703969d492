#include "cli/show/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "cli/terminal.h"

#define GAP 2

struct table {
    size_t columns;
    bool right[TABLE_COLUMNS_MAX];
    size_t widths[TABLE_COLUMNS_MAX];
    char **cells; /* row by row; owned */
    size_t count, room;
    bool failed;
};

struct table *table_make(const char *const *headers) {
    struct table *t = calloc(1, sizeof *t);
    if (!t) {
        return NULL;
    }
    while (headers[t->columns] && t->columns < TABLE_COLUMNS_MAX) {
        t->right[t->columns] = headers[t->columns][0] == '>';
        t->columns++;
    }
    for (size_t i = 0; i < t->columns; i++) {
        table_cell(t, headers[i] + t->right[i]);
    }
    return t;
}

struct table *table_make_bare(size_t columns) {
    struct table *t = calloc(1, sizeof *t);
    if (t) {
        t->columns = columns < TABLE_COLUMNS_MAX ? columns : TABLE_COLUMNS_MAX;
    }
    return t;
}

static void cells_forget(struct table *t) {
    for (size_t i = 0; i < t->count; i++) {
        free(t->cells[i]);
    }
    t->count = 0;
}

void table_free(struct table *t) {
    if (t) {
        cells_forget(t);
        free(t->cells);
        free(t);
    }
}

void table_cell(struct table *t, const char *text) {
    struct buf clean = {0};
    if (!t) {
        return;
    }
    char **cells = array_grow(t->cells, &t->room, t->count + 1, sizeof(char *));
    if (!cells) {
        t->failed = true;
        return;
    }
    t->cells = cells;
    terminal_clean(&clean, text);
    t->cells[t->count] = strdup(clean.data ? clean.data : "");
    t->failed = t->failed || clean.failed || !t->cells[t->count];
    if (t->cells[t->count]) {
        size_t column = t->count % t->columns, width = terminal_width(t->cells[t->count]);
        if (width > t->widths[column]) {
            t->widths[column] = width;
        }
        t->count++;
    }
    buf_free(&clean);
}

void table_cellf(struct table *t, const char *format, ...) {
    struct buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    table_cell(t, text.data ? text.data : "");
    buf_free(&text);
}

static void spaces(struct buf *out, size_t count) {
    while (count--) {
        buf_text(out, " ");
    }
}

void table_write(struct table *t, struct buf *out) {
    if (!t) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i + t->columns <= t->count; i += t->columns) {
        for (size_t c = 0; c < t->columns; c++) {
            const char *cell = t->cells[i + c];
            size_t pad = t->widths[c] - terminal_width(cell);
            if (t->right[c]) {
                spaces(out, pad);
            }
            buf_text(out, cell);
            if (c + 1 < t->columns) {
                spaces(out, GAP + (t->right[c] ? 0 : pad));
            }
        }
        buf_text(out, "\n");
    }
    out->failed = out->failed || t->failed;
    cells_forget(t);
}
