/* The table of commands in the forms people and shells read. All append to `out`. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

/* What `sallyport --help` prints. */
void help_overview(struct buf *out);
/* About one command ("tenant add"), all of a noun ("tenant"), or everything (""). False if there is none. */
bool help_about(const char *words, struct buf *out);
/* docs/cli.md */
void help_markdown(struct buf *out);
/* deploy/completion/sallyport.bash */
void help_completion_bash(struct buf *out);
