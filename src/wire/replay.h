/* The replay window of a receiving keypair: RFC 6479, 8192 bits of which 8128 are usable (Linux receive.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define REPLAY_BITS 8192
#define REPLAY_WINDOW (REPLAY_BITS - 64)

struct replay {
    uint64_t greatest; /* one more than the greatest counter accepted; 0: none yet */
    uint64_t bitmap[REPLAY_BITS / 64];
};

/* Whether `counter` is new, and if so remembers it. Call only after the packet was authenticated. */
bool replay_accept(struct replay *replay, uint64_t counter);
