/* Large packets through a bare tunnel: what reading, cutting, sealing and sending them costs, and receiving, opening,
 * joining and writing them, each by the engine's own means, with no peers, tables, sessions or timers between. */
#pragma once

#include <stdint.h>

/* Carries packets between the TUN interface `name`, made here, and the other end at `address`, for so many seconds. It
 * prints "ready" once the interface is there. The MTU is TUN_MTU_DEFAULT. 0, or -errno. */
int bare_tunnel(const char *name, uint16_t port, const char *address, double seconds);
