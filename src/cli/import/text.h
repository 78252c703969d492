/* What text files that others wrote may hold besides text: marks and characters that cannot be seen, other encodings,
 * and secrets where none belongs. Pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Bytes of the byte order mark that the text begins with: 3, or 0. */
size_t text_mark_size(const char *text);
/* Whether the first bytes of a file are UTF-16's: its byte order mark, or every second of them is zero. */
bool text_is_utf16(const char *bytes, size_t size);
/* The first character that a screen does not show, other than plain blanks, as "no-break space (U+00A0)"; NULL: there
 * is none. */
const char *text_invisible(const char *text);

/* Whether it holds what may be a key: 43 or more characters of base64 or 64 of hexadecimal digits on end, also within a
 * longer word, or a whole key that blanks break up. A public key counts, too: no text tells which it is. */
bool text_holds_key(const char *text);
/* Whether a message may show the text: not if it holds even the larger part of a key, as a key with a slip in it. */
bool text_may_be_shown(const char *text);

/* Appends the text as one word for a shell: as it is, or in quotes. */
void text_put_word(struct buf *out, const char *text);
