/* Lists of the API: walked page by page, and printed as --json, --names or a table. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

struct table;

/* A page of a list; `last` is true for the final one. Return false to stop early. */
typedef bool list_page_fn(void *context, const json_t *items, bool last);
/* Walks a list page by page. `path` may have a query already; `most` items at most (0: all). 0, or -1 after an error.
 */
int list_pages(struct cli *cli, const char *path, size_t most, list_page_fn *fn, void *context);

/* Puts the cells of one item into a table. */
typedef void list_row_fn(struct cli *cli, struct table *table, const json_t *item, int64_t now_us);
/* Prints a list that comes in pages, under `headers` (table_make()), as --json, --names and --limit ask. */
enum cli_exit list_print(struct cli *cli, const struct buf *path, const char *const *headers, list_row_fn *row);
/* Prints a list that comes whole. */
enum cli_exit list_print_whole(struct cli *cli, const char *path, const char *const *headers, list_row_fn *row);
