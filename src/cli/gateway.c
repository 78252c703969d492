/* sallyport gateway ... */
#include "cli/gateway.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "cli/client.h"
#include "cli/field.h"
#include "cli/print.h"
#include "cli/table.h"

static void row_add(struct table *table, const json_t *gateway, int64_t now) {
    char name[80], heard[FIELD_TEXT_SIZE], text[FIELD_TEXT_SIZE];
    const char *region = field_text(gateway, "region"), *heartbeat = field_text(gateway, "heartbeat_at");
    snprintf(name, sizeof name, "%.63s%s", field_text(gateway, "name"),
             field_flag(gateway, "self") ? " (this one)" : "");
    table_cell(table, name);
    table_cell(table, region[0] ? region : "-");
    table_cell(table, field_text(gateway, "endpoint"));
    table_cell(table, field_flag(gateway, "alive") ? "alive" : heartbeat[0] ? "silent" : "stopped");
    table_cell(table, heartbeat[0] ? field_ago(heartbeat, now, heard) : "-");
    snprintf(text, sizeof text, "%" PRId64, field_number(gateway, "connected_routers"));
    table_cell(table, text);
    snprintf(text, sizeof text, "%" PRId64 " %%", field_number(gateway, "load_percent"));
    table_cell(table, text);
    snprintf(text, sizeof text, "%" PRId64, field_number(gateway, "revision"));
    table_cell(table, text);
    table_cell(table, field_text(gateway, "backend"));
    table_cell(table, field_text(gateway, "version"));
}

static enum cli_exit list(struct cli *cli) {
    static const char *const headers[] = {"NAME", "REGION",   "ENDPOINT", "STATE",   "HEARD OF", "CONNECTED",
                                          "LOAD", "REVISION", "BACKEND",  "VERSION", NULL};
    json_t *answer = client_json(cli, "GET", "/v1/gateways", NULL);
    if (!answer) {
        return CLI_REFUSED;
    }
    if (cli->json) {
        print_json(answer);
        json_decref(answer);
        return CLI_DONE;
    }
    struct table *table = table_make(headers);
    int64_t now = clock_wall_us();
    size_t i;
    const json_t *gateway;
    json_array_foreach(json_object_get(answer, "items"), i, gateway) {
        row_add(table, gateway, now);
    }
    print_table(table);
    table_free(table);
    json_decref(answer);
    return CLI_DONE;
}

const struct cli_command gateway_commands[] = {
    {"gateway list", "", CLI_VALUE_FREE, 0, 0, "list the gateways that share the database",
     "With what each last said of itself: how many routers are connected there, how busy its processors are, and up to "
     "which revision its data plane follows. A gateway is silent when it was not heard of for 20 seconds.",
     NULL, list},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
