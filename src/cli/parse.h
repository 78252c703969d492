/* The command line: which command it names, and with which arguments and options. */
#pragma once

#include "cli/cli.h"

/* Reads it by the tables (ended by NULL). Borrows argv. CLI_DONE, or CLI_USAGE with what is wrong in `ret_fault`. */
enum cli_exit cli_parse(const struct cli_command *const *tables, int argc, char **argv, struct cli *ret_cli,
                        struct buf *ret_fault);
