/* QR codes of the wg-quick text, as the WireGuard apps scan them: a picture, or half blocks for a terminal. A code
 * holds 2,953 bytes at most, which a router with dozens of foreign LANs exceeds. */
#pragma once

#include "base/buf.h"
#include "export/router_config.h"

/* SVG. */
int qr_format(const struct export_router *router, struct buf *out);

/* `text` as lines of UTF-8, dark on light whatever the terminal's colours are. 0, -EMSGSIZE, -ENOMEM. */
int qr_draw(const char *text, struct buf *out);
