/* Every command there is. */
#pragma once

#include "cli/cli.h"

/* The tables of all nouns in the order in which help shows them, ended by NULL. */
extern const struct cli_command *const cli_tables[];
