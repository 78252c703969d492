/* Whether a worker that has nothing to do stays awake for a moment before it sleeps.
 *
 * An idle CPU, a virtual one above all, takes some tens of microseconds to wake up. What a worker passed on for the
 * host is often answered sooner than that (a router in the same building, a gateway next door): then who stays awake
 * has the answer at once, and who sleeps pays twice. A router at the far end of a DSL line answers later, whatever we
 * do. So it is learned from how long the last waits took, which costs nothing, and however well it pays it takes at
 * most BUSYPOLL_SHARE of a core. Kernels do the like for a virtual machine's halted CPU (Linux, haltpoll).
 *
 * Pure functions; time is CLOCK_MONOTONIC-like, in nanoseconds. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/bucket.h"

#define BUSYPOLL_NS UINT64_C(200000) /* at most, each time */
#define BUSYPOLL_SHARE 32            /* one part in so many of a core's time */
#define BUSYPOLL_LUCK_MAX 256

struct busypoll {
    unsigned luck;        /* of BUSYPOLL_LUCK_MAX: how often of late something came within BUSYPOLL_NS */
    struct bucket budget; /* nanoseconds */
};

/* Whether to stay awake now, for BUSYPOLL_NS, which are taken from what is left of the share. */
bool busypoll_begin(struct busypoll *poll, uint64_t now_ns);
/* It took only so long: the rest is given back. */
void busypoll_end(struct busypoll *poll, uint64_t awake_ns);
/* How long it took, asleep or awake, until something came (UINT64_MAX: nothing did). */
void busypoll_learn(struct busypoll *poll, uint64_t waited_ns);
