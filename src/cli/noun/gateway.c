/* sallyport gateway ... */
#include "cli/commands.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/show/field.h"
#include "cli/show/table.h"
#include "cli/talk/list.h"

static void gateway_row(struct cli *cli, struct table *table, const json_t *gateway, int64_t now_us) {
    char name[80], heard[FIELD_TEXT_SIZE];
    const char *region = field_text(gateway, "region"), *heartbeat = field_text(gateway, "heartbeat_at");
    (void)cli;
    snprintf(name, sizeof name, "%.63s%s", field_text(gateway, "name"),
             field_flag(gateway, "self") ? " (this one)" : "");
    table_cell(table, name);
    table_cell(table, region[0] ? region : "-");
    table_cell(table, field_text(gateway, "endpoint"));
    table_cell(table, field_flag(gateway, "alive") ? "alive" : heartbeat[0] ? "silent" : "stopped");
    table_cell(table, heartbeat[0] ? field_ago(heartbeat, now_us, heard) : "-");
    table_cellf(table, "%" PRId64, field_number(gateway, "connected_routers"));
    table_cellf(table, "%" PRId64 " %%", field_number(gateway, "load_percent"));
    table_cellf(table, "%" PRId64, field_number(gateway, "revision"));
    table_cell(table, field_text(gateway, "backend"));
    table_cell(table, field_text(gateway, "version"));
}

static enum cli_exit list(struct cli *cli) {
    static const char *const headers[] = {"NAME", "REGION",   "ENDPOINT", "STATE",   "HEARD OF", "CONNECTED",
                                          "LOAD", "REVISION", "BACKEND",  "VERSION", NULL};
    return list_print_whole(cli, "/v1/gateways", headers, gateway_row);
}

const struct cli_command gateway_commands[] = {
    {"gateway list", "", CLI_VALUE_FREE, 0, 0, "list the gateways that share the database",
     "With what each last said of itself: how many routers are connected there, how busy its processors are, and up to "
     "which revision its data plane follows. A gateway is silent when it was not heard of for 20 seconds.",
     NULL, list},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
