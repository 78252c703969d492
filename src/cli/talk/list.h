/* Lists of the API, printed as --json, --names or a table. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"

struct table;

/* Puts the cells of one item into a table. */
typedef void list_row_fn(struct cli *cli, struct table *table, const json_t *item, int64_t now_us);
/* Prints a list that comes in pages, under `headers` (table_make()), as --json, --names and --limit ask. */
enum cli_exit list_print(struct cli *cli, const struct buf *path, const char *const *headers, list_row_fn *row);
/* Prints a list that comes whole. */
enum cli_exit list_print_whole(struct cli *cli, const char *path, const char *const *headers, list_row_fn *row);
