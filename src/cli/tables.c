#include "cli/tables.h"

#include <stddef.h>

#include "cli/commands.h"

const struct cli_command *const cli_tables[] = {
    init_commands,   status_commands, top_commands,     doctor_commands, tenant_commands,
    router_commands, token_commands,  gateway_commands, event_commands,  audit_commands,
    import_commands, store_commands,  export_commands,  help_commands,   NULL,
};
