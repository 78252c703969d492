/* Every command there is, in the order in which help shows them. */
#include <stddef.h>

#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/event.h"
#include "cli/export.h"
#include "cli/gateway.h"
#include "cli/help.h"
#include "cli/import.h"
#include "cli/init.h"
#include "cli/router.h"
#include "cli/status.h"
#include "cli/store.h"
#include "cli/tenant.h"
#include "cli/token.h"
#include "cli/top.h"

const struct cli_command *const cli_tables[] = {
    init_commands,   status_commands,
    top_commands,    doctor_commands,
    tenant_commands, router_commands,
    token_commands,  gateway_commands,
    event_commands,  import_commands,
    store_commands,  export_commands,
    help_commands,   NULL,
};
