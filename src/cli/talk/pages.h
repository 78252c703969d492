/* Lists of the API, page by page. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct cli;

/* A page of a list; `last` is true for the final one. Return false to stop early. */
typedef bool page_fn(void *context, const json_t *items, bool last);
/* Walks a list page by page. `path` may have a query already; `most` items at most (0: all). 0, or -1 after an error.
 */
int pages_walk(struct cli *cli, const char *path, size_t most, page_fn *fn, void *context);
