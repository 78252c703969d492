#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for `more` bytes and the closing NUL. Copies rather than reallocs, so that no secret stays in freed
 * memory. */
static bool grow(struct buf *b, size_t more) {
    if (b->failed || more > SIZE_MAX / 4 - b->size) {
        b->failed = true;
        return false;
    }
    size_t need = b->size + more + 1;
    if (need <= b->room) {
        return true;
    }
    size_t room = b->room ? b->room * 2 : 256;
    while (room < need) {
        room *= 2;
    }
    char *data = malloc(room);
    if (!data) {
        b->failed = true;
        return false;
    }
    if (b->data) {
        memcpy(data, b->data, b->size + 1);
        explicit_bzero(b->data, b->room);
        free(b->data);
    }
    b->data = data;
    b->room = room;
    return true;
}

void buf_append(struct buf *b, const void *bytes, size_t size) {
    if (!grow(b, size)) {
        return;
    }
    if (size) {
        memcpy(b->data + b->size, bytes, size);
    }
    b->size += size;
    b->data[b->size] = '\0';
}

void buf_text(struct buf *b, const char *text) {
    buf_append(b, text, strlen(text));
}

void buf_vprintf(struct buf *b, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    size_t left = b->room - b->size;
    int size = vsnprintf(b->data ? b->data + b->size : NULL, b->data ? left : 0, format, args);
    if (size < 0) {
        b->failed = true;
    } else if (!b->data || (size_t)size >= left) {
        if (grow(b, (size_t)size)) {
            vsnprintf(b->data + b->size, (size_t)size + 1, format, again);
            b->size += (size_t)size;
        }
    } else if (!b->failed) {
        b->size += (size_t)size;
    }
    va_end(again);
}

void buf_printf(struct buf *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    buf_vprintf(b, format, args);
    va_end(args);
}

void buf_clear(struct buf *b) {
    if (b->data) {
        explicit_bzero(b->data, b->room);
    }
    b->size = 0;
    b->failed = false;
}

void buf_free(struct buf *b) {
    if (!b) {
        return;
    }
    if (b->data) {
        explicit_bzero(b->data, b->room);
        free(b->data);
    }
    *b = (struct buf){0};
}
