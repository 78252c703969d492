/* Text on a terminal: what it takes, and what it must not get to see. */
#pragma once

#include <stddef.h>

#include "base/buf.h"

/* Columns that a terminal uses for the text. */
size_t terminal_width(const char *text);
/* Appends the text with control characters and broken UTF-8 replaced by "?". */
void terminal_clean(struct buf *out, const char *text);
