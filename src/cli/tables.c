/* Every command there is, in the order in which help shows them. */
#include <stddef.h>

#include "cli/cli.h"
#include "cli/doctor/doctor.h"
#include "cli/help.h"
#include "cli/import/import.h"
#include "cli/init/init.h"
#include "cli/noun/event.h"
#include "cli/noun/export.h"
#include "cli/noun/gateway.h"
#include "cli/noun/router.h"
#include "cli/noun/status.h"
#include "cli/noun/store.h"
#include "cli/noun/tenant.h"
#include "cli/noun/token.h"
#include "cli/noun/top.h"

const struct cli_command *const cli_tables[] = {
    init_commands,   status_commands,
    top_commands,    doctor_commands,
    tenant_commands, router_commands,
    token_commands,  gateway_commands,
    event_commands,  import_commands,
    store_commands,  export_commands,
    help_commands,   NULL,
};
