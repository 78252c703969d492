#pragma once

#include "cli/cli.h"

extern const struct cli_command tenant_commands[];
