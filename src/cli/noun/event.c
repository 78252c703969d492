/* sallyport events */
#include "cli/commands.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"
#include "cli/talk/client.h"
#include "cli/terminal.h"

#define SHOWN 50  /* without --after: about this many of the newest */
#define POLL_S 25 /* below the 30 s that the API waits at most */

static void events_print(const struct cli *cli, const json_t *items) {
    size_t i;
    const json_t *e;
    json_array_foreach(items, i, e) {
        if (cli->json) {
            json_dumpf(e, stdout, JSON_COMPACT);
            printf("\n");
            continue;
        }
        const char *router = field_text(e, "router_id");
        struct buf line = {0}, clean = {0};
        buf_printf(&line, "%" PRId64 "  %s  %s  tenant %s%s%s  by %s", field_number(e, "revision"), field_text(e, "at"),
                   field_text(e, "kind"), field_text(e, "tenant_id"), router[0] ? "  router " : "", router,
                   field_text(e, "actor"));
        terminal_clean(&clean, line.data ? line.data : "");
        buf_text(&clean, "\n");
        print_buf(&clean);
        buf_free(&line);
        buf_free(&clean);
    }
    fflush(stdout);
}

/* Says on stderr what a follower did not get to see, and returns where it goes on. */
static uint64_t go_on(uint64_t after, const json_t *answer) {
    int64_t oldest = field_number(answer, "oldest"), newest = field_number(answer, "newest");
    int64_t next = field_number(answer, "next_after");
    if (oldest > 0 && (uint64_t)newest < after) {
        cli_error("the database went back from event %" PRIu64 " to %" PRId64 ", as from a backup: what was printed "
                  "beyond may not hold any more",
                  after, newest);
        return (uint64_t)newest;
    }
    if (after > 0 && oldest > 0 && after + 1 < (uint64_t)oldest) {
        cli_error("events %" PRIu64 " to %" PRId64 " are no longer kept, and are missing here", after + 1, oldest - 1);
        after = (uint64_t)(oldest - 1);
    }
    return next > (int64_t)after ? (uint64_t)next : after;
}

static enum cli_exit events(struct cli *cli) {
    bool follow = cli_flag(cli, "follow");
    const char *text = cli_value(cli, "after");
    uint64_t after = 0;
    if (text && field_scaled_parse(text, &after) < 0) {
        cli_error("--after takes the number of an event, not \"%s\"", text);
        return CLI_USAGE;
    }
    if (!text) {
        json_t *status = client_json(cli, "GET", "/v1/status", NULL);
        if (!status) {
            return CLI_REFUSED;
        }
        int64_t newest = field_number(status, "store.revision");
        after = newest > SHOWN ? (uint64_t)(newest - SHOWN) : 0;
        json_decref(status);
    }
    /* one page after the other until there are no more; then, to follow, wait for what comes */
    for (bool caught_up = false;;) {
        char path[96];
        snprintf(path, sizeof path, "/v1/events?after=%" PRIu64 "&limit=1000&wait=%d", after, caught_up ? POLL_S : 0);
        json_t *answer = client_json(cli, "GET", path, NULL);
        if (!answer) {
            return CLI_REFUSED;
        }
        const json_t *items = json_object_get(answer, "items");
        size_t count = json_array_size(items);
        after = go_on(after, answer);
        events_print(cli, items);
        caught_up = count == 0;
        json_decref(answer);
        if (ferror(stdout) || (caught_up && !follow)) {
            return CLI_DONE;
        }
    }
}

static const struct cli_option events_options[] = {
    {"follow", 'f', NULL, "go on and print events as they happen", CLI_VALUE_FREE, NULL},
    {"after", 0, "N", "events after this number (default: the newest 50)", CLI_VALUE_FREE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command event_commands[] = {
    {"events", "", CLI_VALUE_FREE, 0, 0, "print what was changed, by whom and when",
     "Every change has a number, without gaps, in the order of the commits; the last million are kept, and what is "
     "missing is said on stderr. With --json one object a line.",
     events_options, events},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
