/* systemd-networkd: a script that writes sallyport.netdev and sallyport.network, the keys in files of their own that
 * only root and networkd read (0640 root:systemd-network), and a timer that looks the endpoint's name up again, which
 * networkd never does. It may be run again. */
#pragma once

#include "base/buf.h"
#include "export/router_config.h"

int networkd_format(const struct export_router *router, struct buf *out);
