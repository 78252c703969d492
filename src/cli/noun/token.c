/* sallyport token ... */
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"
#include "cli/talk/client.h"
#include "cli/talk/list.h"
#include "cli/talk/lookup.h"

/* "30d" from now, or a time of its own. 0, or -1 after an error. */
static int expiry_read(const struct cli *cli, json_t *body) {
    const char *text = cli_value(cli, "expires");
    char time[CLOCK_TEXT_SIZE];
    int64_t seconds, at_us;
    if (!text) {
        return 0;
    }
    if (field_duration_parse(text, &seconds) == 0) {
        at_us = clock_wall_us() + seconds * USEC_PER_SEC;
    } else if (clock_parse(text, &at_us) < 0) {
        cli_error("--expires takes a span such as 12h, 30d, 8w or a time such as 2030-12-31T00:00:00Z, not \"%s\"",
                  text);
        return -1;
    }
    json_object_set_new(body, "expires_at", json_string(clock_format(at_us, time)));
    return 0;
}

static enum cli_exit add(struct cli *cli) {
    char tenant_id[UUID_TEXT_SIZE];
    const char *scope = cli_value(cli, "scope"), *tenant = cli_value(cli, "tenant");
    const char *output = cli_value(cli, "output");
    if (!scope) {
        cli_error("say what the token may do with --scope admin, tenant-read, tenant-write or metrics");
        return CLI_USAGE;
    }
    bool one_tenant = strncmp(scope, "tenant-", 7) == 0;
    if (one_tenant != (tenant != NULL)) {
        cli_error(one_tenant ? "scope %s is for one tenant: name it with --tenant"
                             : "scope %s is not for one tenant: leave --tenant out",
                  scope);
        return CLI_USAGE;
    }
    json_t *body = json_pack("{s:s, s:s}", "name", cli->arguments[0], "scope", scope);
    if (!body || expiry_read(cli, body) < 0) {
        json_decref(body);
        return CLI_USAGE;
    }
    if (tenant && lookup_tenant(cli, tenant, tenant_id) < 0) {
        json_decref(body);
        return CLI_REFUSED;
    }
    if (tenant) {
        json_object_set_new(body, "tenant_id", json_string(tenant_id));
    }
    struct print_file *file = print_file_open(output);
    json_t *made = file ? client_json(cli, "POST", "/v1/tokens", body) : NULL;
    int error = -1;
    if (made && cli->json && !output) {
        print_json(made);
        error = print_file_close(file, NULL);
    } else if (made) {
        struct buf text = {0};
        buf_printf(&text, "%s\n", field_text(made, "token"));
        error = print_file_close(file, &text);
        buf_free(&text);
        fprintf(stderr, "This is the only time the token is shown; only its hash is stored. Its id is %s.\n",
                field_text(made, "id"));
    } else if (file) {
        print_file_close(file, NULL);
    }
    json_decref(made);
    json_decref(body);
    return error < 0 ? CLI_REFUSED : CLI_DONE;
}

static void token_row(struct cli *cli, struct table *table, const json_t *token, int64_t now_us) {
    char created[FIELD_TEXT_SIZE], used[FIELD_TEXT_SIZE];
    const char *expires = field_text(token, "expires_at");
    (void)cli;
    table_cell(table, field_text(token, "name"));
    table_cell(table, field_text(token, "scope"));
    table_cell(table, field_text(token, "tenant_id"));
    table_cell(table, field_ago(field_text(token, "created_at"), now_us, created));
    table_cell(table, field_ago(field_text(token, "last_used_at"), now_us, used));
    table_cell(table, expires[0] ? expires : "never");
    table_cell(table, field_text(token, "id"));
}

static enum cli_exit list(struct cli *cli) {
    static const char *const headers[] = {"NAME", "SCOPE", "TENANT", "CREATED", "LAST USED", "EXPIRES", "ID", NULL};
    return list_print_whole(cli, "/v1/tokens", headers, token_row);
}

static enum cli_exit revoke(struct cli *cli) {
    char id[UUID_TEXT_SIZE], path[96];
    if (lookup_token(cli, cli->arguments[0], id) < 0) {
        return CLI_REFUSED;
    }
    snprintf(path, sizeof path, "/v1/tokens/%s", id);
    return print_answer(cli, client_json(cli, "DELETE", path, NULL), NULL);
}

static const struct cli_option add_options[] = {
    {"scope", 0, "SCOPE", "what it may do", CLI_VALUE_WORDS, "admin|tenant-read|tenant-write|metrics"},
    {"tenant", 0, "TENANT", "the one tenant of a tenant scope", CLI_VALUE_TENANT, NULL},
    {"expires", 0, "WHEN", "after a span (12h, 30d, 8w) or at a time (2030-12-31T00:00:00Z); default: never",
     CLI_VALUE_FREE, NULL},
    {"output", 'o', "FILE", "write the token to a new file of mode 0600", CLI_VALUE_FILE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command token_commands[] = {
    {"token add", "NAME", CLI_VALUE_FREE, 1, 1, "make a token for the API over TCP",
     "Prints the token, now and never again: only its hash is stored. Give it to programs as \"Authorization: Bearer "
     "...\", and "
     "to "
     "this program with --token-file.",
     add_options, add},
    {"token list", "", CLI_VALUE_FREE, 0, 0, "list tokens", "Without the tokens themselves.", NULL, list},
    {"token revoke", "TOKEN", CLI_VALUE_FREE, 1, 1, "make a token worthless at once",
     "TOKEN is its UUID, or a name that only one token has.", NULL, revoke},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
