/* Text for a POSIX shell that a configuration hands over as a script. */
#pragma once

#include "base/buf.h"
#include "export/router_config.h"

/* Appends `text` in single quotes: one word, whatever is in it. */
void shell_quote(struct buf *out, const char *text);

/* The first lines: who it is for (names hold no line break, see export_router_check()), `what` it does, and that the
 * first thing that fails ends it. */
void shell_begin(struct buf *out, const struct export_router *router, const char *what);

/* The last ones where the router made its own key: `command` prints its public half, which must be the one that the
 * gateway knows. */
void shell_check_key(struct buf *out, const struct export_router *router, const char *command);
