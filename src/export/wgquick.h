/* wg-quick(8): INI with [Interface] and [Peer], which also wg-import of RouterOS, NetworkManager and the phone apps
 * read. */
#pragma once

#include "base/buf.h"
#include "export/router_config.h"

int wgquick_format(const struct export_router *router, struct buf *out);
