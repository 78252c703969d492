#include "cli/talk/pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/show/field.h"
#include "cli/talk/client.h"

#define PAGE_MOST 1000

int pages_walk(struct cli *cli, const char *path, size_t most, page_fn *fn, void *context) {
    char *cursor = NULL;
    for (size_t seen = 0;;) {
        struct buf page = {0};
        char limit[24];
        size_t wanted = most && most - seen < PAGE_MOST ? most - seen : PAGE_MOST;
        snprintf(limit, sizeof limit, "%zu", wanted);
        buf_text(&page, path);
        client_query(&page, "limit", limit);
        client_query(&page, "cursor", cursor);
        free(cursor);
        json_t *answer = page.failed ? NULL : client_json(cli, "GET", page.data, NULL);
        buf_free(&page);
        if (!answer) {
            return -1;
        }
        const json_t *items = json_object_get(answer, "items");
        const char *next = field_text(answer, "next_cursor");
        seen += json_array_size(items);
        bool last = !next[0] || (most && seen >= most);
        cursor = last ? NULL : strdup(next);
        bool more = fn(context, items, last) && cursor;
        json_decref(answer);
        if (!more) {
            free(cursor);
            return 0;
        }
    }
}
