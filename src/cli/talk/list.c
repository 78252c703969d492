#include "cli/talk/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"
#include "cli/talk/client.h"
#include "cli/talk/lookup.h"
#include "cli/talk/pages.h"
#include "cli/terminal.h"

static bool collect(void *context, const json_t *items, bool last) {
    (void)last;
    json_t *all = context;
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)items, i, item) {
        json_array_append(all, item);
    }
    return true;
}

/* The whole list as one JSON object {"items": [...], "next_cursor": null}. */
static int print_all(struct cli *cli, const char *path, size_t most) {
    json_t *all = json_array();
    int error = pages_walk(cli, path, most, collect, all);
    if (error == 0) {
        json_t *list = json_pack("{s:O, s:n}", "items", all, "next_cursor");
        print_json(list);
        json_decref(list);
    }
    json_decref(all);
    return error;
}

static bool names_page(void *context, const json_t *items, bool last) {
    struct buf out = {0};
    size_t i;
    const json_t *item;
    (void)context;
    (void)last;
    json_array_foreach(items, i, item) {
        terminal_clean(&out, field_text(item, "name"));
        buf_text(&out, "\n");
    }
    print_buf(&out);
    buf_free(&out);
    return true;
}

struct rows {
    struct cli *cli;
    struct table *table;
    list_row_fn *row;
};

static void rows_print(const struct rows *rows, const json_t *items) {
    int64_t now = clock_wall_us();
    size_t i;
    const json_t *item;
    json_array_foreach(items, i, item) {
        rows->row(rows->cli, rows->table, item, now);
    }
    print_table(rows->table);
}

static bool rows_page(void *context, const json_t *items, bool last) {
    const struct rows *rows = context;
    (void)last;
    lookup_tenant_names_ahead(rows->cli, items);
    rows_print(rows, items);
    return true;
}

enum cli_exit list_print(struct cli *cli, const struct buf *path, const char *const *headers, list_row_fn *row) {
    uint64_t most = 0;
    const char *limit = cli_value(cli, "limit");
    int error = -1;
    if (limit && (field_scaled_parse(limit, &most) < 0 || most == 0)) {
        cli_error("--limit takes a number from 1, not \"%s\"", limit);
        return CLI_USAGE;
    }
    if (path->failed) {
        cli_error("out of memory");
    } else if (cli->json) {
        error = print_all(cli, path->data, (size_t)most);
    } else if (cli_flag(cli, "names")) {
        error = pages_walk(cli, path->data, (size_t)most, names_page, NULL);
    } else {
        struct rows rows = {cli, table_make(headers), row};
        error = pages_walk(cli, path->data, (size_t)most, rows_page, &rows);
        table_free(rows.table);
    }
    return error < 0 ? CLI_REFUSED : CLI_DONE;
}

enum cli_exit list_print_whole(struct cli *cli, const char *path, const char *const *headers, list_row_fn *row) {
    json_t *answer = client_json(cli, "GET", path, NULL);
    if (!answer || cli->json) {
        return print_answer(cli, answer, NULL);
    }
    struct rows rows = {cli, table_make(headers), row};
    rows_print(&rows, json_object_get(answer, "items"));
    table_free(rows.table);
    json_decref(answer);
    return CLI_DONE;
}
