/* Which worker gets a datagram: the numbers that name a session say so.
 *
 * A receiver index of ours is the worker's number, then 26 random bits. A classic BPF program on each SO_REUSEPORT
 * group reads them and picks the socket, so that a session's datagrams meet its owner without a detour. Initiations
 * carry no index of ours: the kernel's hash spreads them, always the same way for one source, as cookies need. */
#pragma once

#include <stdint.h>

#include "engine/engine.h"

#define STEER_WORKER_SHIFT (32 - ENGINE_WORKER_BITS)
#define STEER_RANDOM_MASK ((UINT32_C(1) << STEER_WORKER_SHIFT) - 1)

static inline uint32_t steer_index(unsigned worker, uint32_t random) {
    return ((uint32_t)worker << STEER_WORKER_SHIFT) | (random & STEER_RANDOM_MASK);
}

static inline unsigned steer_worker(uint32_t index) {
    return index >> STEER_WORKER_SHIFT;
}

/* Attaches the program to the group that this UDP socket belongs to; its sockets were bound in the order of the
 * workers. 0, or -errno: without it everything works, but datagrams cross workers through their rings. */
int steer_attach(int socket_fd);
