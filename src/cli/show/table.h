/* Aligned columns on a terminal or in a file. Widths count what a terminal shows (wide and combining characters), not
 * bytes; anything a terminal would act on is made visible. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define TABLE_COLUMNS_MAX 12

struct table;

/* Columns by their headers, ended by NULL; a header that starts with ">" is right-aligned. NULL when out of memory,
 * which the functions below accept: then table_write() fails its buffer. */
struct table *table_make(const char *const *headers);
/* Without headers. */
struct table *table_make_bare(size_t columns);
void table_free(struct table *table); /* accepts NULL */
/* Next cell of the current row; a row ends by itself after its last column. */
void table_cell(struct table *table, const char *text);
void table_cellf(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends the rows so far (headers before the first of all) and forgets them. Later rows keep at least these widths, so
 * a long list may be written page by page. An empty table shows its headers only. */
void table_write(struct table *table, struct buf *out);
