/* Names in the endpoints of a server's file: what they stand for now, for the gateway to call the routers there. */
#pragma once

#include "base/buf.h"
#include "cli/import/wgconf.h"

/* Looks up each name, for 10 seconds in all. Appends a line for each to `said`, behind "NAME:LINE: ". */
void resolve_endpoints(struct wgconf *conf, const char *name, struct buf *said);
