/* OpenWrt: a script for its shell that sets up the interface "sallyport" by uci(1) and may be run again. It touches the
 * sections network.sallyport and network.sallyport_peer, and a line of root's crontab for wireguard_watchdog, which
 * looks the endpoint's name up again. Firewall zones are the owner's. */
#pragma once

#include "base/buf.h"
#include "export/router_config.h"

int openwrt_format(const struct export_router *router, struct buf *out);
