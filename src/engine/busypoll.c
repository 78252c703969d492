#include "engine/busypoll.h"

#include "base/clock.h"

#define MEMORY 8 /* the last so many waits count for two thirds */

static const struct bucket_rate share = {
    .per_s = NSEC_PER_SEC / BUSYPOLL_SHARE, .burst = NSEC_PER_SEC / BUSYPOLL_SHARE, /* a second's worth */
};

bool busypoll_begin(struct busypoll *poll, uint64_t now_ns) {
    return poll->luck >= BUSYPOLL_LUCK_MAX / 2 && bucket_take(&poll->budget, &share, now_ns, BUSYPOLL_NS);
}

void busypoll_end(struct busypoll *poll, uint64_t awake_ns) {
    bucket_return(&poll->budget, &share, awake_ns < BUSYPOLL_NS ? BUSYPOLL_NS - awake_ns : 0);
}

void busypoll_learn(struct busypoll *poll, uint64_t waited_ns) {
    if (waited_ns <= BUSYPOLL_NS) {
        poll->luck += (BUSYPOLL_LUCK_MAX - poll->luck + MEMORY - 1) / MEMORY;
    } else {
        poll->luck -= (poll->luck + MEMORY - 1) / MEMORY;
    }
}
