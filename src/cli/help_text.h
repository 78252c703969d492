/* The tables of commands (ended by NULL) in the forms people and shells read. All append to `out`. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

struct cli_command;

/* What `sallyport --help` prints. */
void help_overview(const struct cli_command *const *tables, struct buf *out);
/* About one command ("tenant add"), all of a noun ("tenant"), or everything (""). False if there is none. */
bool help_about(const struct cli_command *const *tables, const char *words, struct buf *out);
/* docs/cli.md */
void help_markdown(const struct cli_command *const *tables, struct buf *out);
/* deploy/completion/sallyport.bash */
void help_completion_bash(const struct cli_command *const *tables, struct buf *out);
