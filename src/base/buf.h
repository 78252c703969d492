/* A growing byte buffer for building text: UAPI answers, configurations, tables.
 *
 * Out of memory sticks like the cursor's error: append freely, check `failed` once before use. The bytes are always
 * followed by a NUL that is not counted in `size`, so `data` is a C string as long as no NUL was appended.
 * Buffers may hold secrets: growth and buf_free() wipe what they leave behind. Not thread-safe. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* owned; NULL while empty */
    size_t size;
    size_t room;
    bool failed;
};

void buf_append(struct buf *b, const void *bytes, size_t size);
void buf_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
/* Forget the content, keep the memory (wiped). */
void buf_clear(struct buf *b);
/* Accepts NULL and the empty buffer; leaves it empty and usable. */
void buf_free(struct buf *b);
