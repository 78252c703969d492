/* The tables of commands, one per noun; each ends with an entry without words. tables.c puts them in order. */
#pragma once

#include "cli/cli.h"

extern const struct cli_command audit_commands[];
extern const struct cli_command doctor_commands[];
extern const struct cli_command event_commands[];
extern const struct cli_command export_commands[];
extern const struct cli_command gateway_commands[];
extern const struct cli_command help_commands[];
extern const struct cli_command import_commands[];
extern const struct cli_command init_commands[];
extern const struct cli_command router_commands[];
extern const struct cli_command status_commands[];
extern const struct cli_command store_commands[];
extern const struct cli_command tenant_commands[];
extern const struct cli_command token_commands[];
extern const struct cli_command top_commands[];
