/* RouterOS 7: a script to paste into a terminal or to import. Everything it makes carries the comment "sallyport", and
 * nothing else is touched; run again, it sets what is there. Where the endpoint has a name, a scheduler looks it up
 * again, which RouterOS does not do by itself. Firewall rules are the owner's. */
#pragma once

#include "base/buf.h"
#include "export/router_config.h"

int routeros_format(const struct export_router *router, struct buf *out);
