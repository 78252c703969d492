/* The audit log: for people as a table, for programs as lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"
#include "cli/talk/client.h"
#include "cli/talk/lookup.h"
#include "cli/talk/pages.h"

#define SHOWN 100

struct audit {
    struct cli *cli;
    struct table *table; /* NULL: lines */
    bool csv;
};

/* A cell that a spreadsheet takes for text. */
static void csv_cell(struct buf *out, const char *text, const char *end) {
    buf_text(out, "\"");
    if (text[0] && strchr("=+-@", text[0])) {
        buf_text(out, "'");
    }
    for (const char *at = text; *at; at++) {
        buf_append(out, *at == '"' ? "\"\"" : at, *at == '"' ? 2 : 1);
    }
    buf_printf(out, "\"%s", end);
}

static void csv_row(struct buf *out, const json_t *item) {
    static const char *const columns[] = {"at",    "kind",     "tenant_id", "router_id",
                                          "actor", "token_id", "origin",    "request_id"};
    buf_printf(out, "%lld,", (long long)field_number(item, "revision"));
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        csv_cell(out, field_text(item, columns[i]), ",");
    }
    char *before = json_dumps(field_at(item, "before"), JSON_COMPACT | JSON_ENCODE_ANY);
    char *after = json_dumps(field_at(item, "after"), JSON_COMPACT | JSON_ENCODE_ANY);
    csv_cell(out, before ? before : "", ",");
    csv_cell(out, after ? after : "", "\n");
    free(before);
    free(after);
}

/* "name: Acme -> Acme GmbH": the members that differ; of what is new or gone, the name. */
static void changed_text(struct buf *out, const json_t *item) {
    const json_t *before = field_at(item, "before"), *after = field_at(item, "after"), *value;
    const char *name, *separator = "";
    if (!json_is_object(before) || !json_is_object(after)) {
        buf_text(out, field_text(json_is_object(after) ? after : before, "name"));
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)after, name, value) {
        const json_t *old = json_object_get(before, name);
        if (!json_equal(old, value)) {
            char *was = json_dumps(old, JSON_COMPACT | JSON_ENCODE_ANY),
                 *is = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
            buf_printf(out, "%s%s: %s -> %s", separator, name, was ? was : "", is ? is : "");
            free(was);
            free(is);
            separator = ", ";
        }
    }
}

static void table_row(struct audit *audit, const json_t *item) {
    struct buf changed = {0};
    const char *tenant = field_text(item, "tenant_id");
    changed_text(&changed, item);
    table_cell(audit->table, field_text(item, "at"));
    table_cell(audit->table, field_text(item, "actor"));
    table_cell(audit->table, field_text(item, "origin"));
    table_cell(audit->table, field_text(item, "kind"));
    table_cell(audit->table, tenant[0] ? lookup_tenant_name(audit->cli, tenant) : "");
    table_cell(audit->table, changed.data ? changed.data : "");
    buf_free(&changed);
}

static bool page(void *context, const json_t *items, bool last) {
    struct audit *audit = context;
    struct buf out = {0};
    size_t i;
    json_t *item;
    (void)last;
    if (audit->table) {
        lookup_tenant_names_ahead(audit->cli, items);
    }
    json_array_foreach((json_t *)(uintptr_t)items, i, item) {
        if (audit->table) {
            table_row(audit, item);
        } else if (audit->csv) {
            csv_row(&out, item);
        } else {
            char *line = json_dumps(item, JSON_COMPACT);
            buf_printf(&out, "%s\n", line ? line : "");
            free(line);
        }
    }
    if (audit->table) {
        print_table(audit->table);
    }
    print_buf(&out);
    buf_free(&out);
    return !ferror(stdout);
}

/* "7d" is so long ago; a time of the API is itself. 0, or -1 after an error was printed. */
static int time_query(struct cli *cli, const char *option, struct buf *path) {
    const char *text = cli_value(cli, option);
    char at[CLOCK_TEXT_SIZE];
    int64_t seconds;
    if (text && field_duration_parse(text, &seconds) == 0) {
        client_query(path, option, clock_format(clock_wall_us() - seconds * USEC_PER_SEC, at));
    } else {
        client_query(path, option, text);
    }
    return path->failed ? -1 : 0;
}

static int filters(struct cli *cli, struct buf *path) {
    char id[UUID_TEXT_SIZE];
    const char *tenant = cli_value(cli, "tenant"), *router = cli_value(cli, "router");
    buf_text(path, "/v1/audit");
    if (time_query(cli, "since", path) < 0 || time_query(cli, "until", path) < 0) {
        return -1;
    }
    if (tenant && lookup_tenant(cli, tenant, id) < 0) {
        return -1;
    }
    client_query(path, "tenant_id", tenant ? id : NULL);
    if (router && lookup_router(cli, router, id) < 0) {
        return -1;
    }
    client_query(path, "router_id", router ? id : NULL);
    client_query(path, "actor", cli_value(cli, "actor"));
    client_query(path, "kind", cli_value(cli, "kind"));
    return path->failed ? -1 : 0;
}

static enum cli_exit audit(struct cli *cli) {
    static const char *const headers[] = {"TIME", "WHO", "FROM", "WHAT", "TENANT", "CHANGE", NULL};
    static const char csv_head[] =
        "revision,at,kind,tenant_id,router_id,actor,token_id,origin,request_id,before,after\n";
    const char *format = cli_value(cli, "format"), *most = cli_value(cli, "limit");
    bool lines = cli->json || (format && strcmp(format, "json") == 0);
    struct audit audit = {.cli = cli, .csv = !lines && format && strcmp(format, "csv") == 0};
    uint64_t limit = lines || audit.csv ? 0 : SHOWN;
    struct buf path = {0};
    enum cli_exit done = CLI_REFUSED;
    if (most && field_scaled_parse(most, &limit) < 0) {
        cli_error("--limit takes a number, not \"%s\"", most);
        return CLI_USAGE;
    }
    if (filters(cli, &path) == 0) {
        audit.table = lines || audit.csv ? NULL : table_make(headers);
        if (audit.csv) {
            fputs(csv_head, stdout);
        }
        done = pages_walk(cli, path.data, (size_t)limit, page, &audit) < 0 ? CLI_REFUSED : CLI_DONE;
        table_free(audit.table);
    }
    buf_free(&path);
    return done;
}

static const struct cli_option audit_options[] = {
    {"since", 0, "TIME", "from this time on: 2026-05-04T10:00:00Z, or so long ago: 12h, 7d", CLI_VALUE_FREE, NULL},
    {"until", 0, "TIME", "before this time, in the same form", CLI_VALUE_FREE, NULL},
    {"tenant", 0, "TENANT", "what was changed of this tenant", CLI_VALUE_TENANT, NULL},
    {"router", 0, "ROUTER", "what was changed of this router", CLI_VALUE_ROUTER, NULL},
    {"actor", 0, "WHO", "what it changed: token:NAME, or uid:N", CLI_VALUE_FREE, NULL},
    {"kind", 0, "KIND", "changes of this kind, e.g. router.created", CLI_VALUE_FREE, NULL},
    {"limit", 0, "N", "at most so many (default: 100 in a table, else all; 0: all)", CLI_VALUE_FREE, NULL},
    {"format", 0, "FORMAT", "how to print them", CLI_VALUE_WORDS, "table|json|csv"},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command audit_commands[] = {
    {"audit", "", CLI_VALUE_FREE, 0, 0, "print who changed what, the newest first",
     "Each change that somebody asked for, with who it was, from where, and what it was like before and after. It is "
     "kept "
     "for as long as the gateway's configuration says (audit_days).\n\n"
     "With --json, or --format json, one object per line, for other programs to keep; --format csv is for "
     "spreadsheets.",
     audit_options, audit},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
