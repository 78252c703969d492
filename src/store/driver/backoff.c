#include "store/driver/backoff.h"

#include "base/clock.h"

#define PAUSE_FIRST_NS (100 * NSEC_PER_MSEC)
#define PAUSE_DOUBLINGS 4 /* to 1.6 s: one attempt a gateway is nothing to a database that comes back */

void backoff_open(struct backoff *backoff) {
    *backoff = (struct backoff){0};
    pthread_mutex_init(&backoff->mutex, NULL);
}

void backoff_close(struct backoff *backoff) {
    pthread_mutex_destroy(&backoff->mutex);
}

bool backoff_may_try(struct backoff *backoff, struct driver_fault *ret_fault) {
    pthread_mutex_lock(&backoff->mutex);
    bool may = backoff->failures == 0 || (!backoff->trying && clock_mono_ns() >= backoff->next_at);
    if (may) {
        backoff->trying = true;
    } else {
        *ret_fault = backoff->fault;
    }
    pthread_mutex_unlock(&backoff->mutex);
    return may;
}

unsigned backoff_reached(struct backoff *backoff) {
    pthread_mutex_lock(&backoff->mutex);
    unsigned reached = backoff->reached;
    pthread_mutex_unlock(&backoff->mutex);
    return reached;
}

void backoff_tried(struct backoff *backoff, int error, const struct driver_fault *fault) {
    uint64_t now = clock_mono_ns();
    pthread_mutex_lock(&backoff->mutex);
    backoff->trying = false;
    if (error < 0) {
        uint64_t pause = PAUSE_FIRST_NS << (backoff->failures < PAUSE_DOUBLINGS ? backoff->failures : PAUSE_DOUBLINGS);
        backoff->failures++;
        /* a fifth up or down, so that many gateways do not come back in step */
        backoff->next_at = now + pause * 4 / 5 + now % (pause * 2 / 5);
        backoff->fault = *fault;
    } else {
        backoff->failures = 0;
        backoff->reached++;
    }
    pthread_mutex_unlock(&backoff->mutex);
}
