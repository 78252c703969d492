#include "store/driver/away.h"

#include "base/clock.h"

#define PAUSE_FIRST_NS (100 * NSEC_PER_MSEC)
#define PAUSE_DOUBLINGS 4 /* to 1.6 s: one attempt a gateway is nothing to a database that comes back */

void away_open(struct away *away) {
    *away = (struct away){0};
    pthread_mutex_init(&away->mutex, NULL);
}

void away_close(struct away *away) {
    pthread_mutex_destroy(&away->mutex);
}

bool away_may_try(struct away *away, struct driver_fault *ret_fault) {
    pthread_mutex_lock(&away->mutex);
    bool may = away->failures == 0 || (!away->trying && clock_mono_ns() >= away->next_at);
    if (may) {
        away->trying = true;
    } else {
        *ret_fault = away->fault;
    }
    pthread_mutex_unlock(&away->mutex);
    return may;
}

unsigned away_reached(struct away *away) {
    pthread_mutex_lock(&away->mutex);
    unsigned reached = away->reached;
    pthread_mutex_unlock(&away->mutex);
    return reached;
}

void away_tried(struct away *away, int error, const struct driver_fault *fault) {
    uint64_t now = clock_mono_ns();
    pthread_mutex_lock(&away->mutex);
    away->trying = false;
    if (error < 0) {
        uint64_t pause = PAUSE_FIRST_NS << (away->failures < PAUSE_DOUBLINGS ? away->failures : PAUSE_DOUBLINGS);
        away->failures++;
        /* a fifth up or down, so that many gateways do not come back in step */
        away->next_at = now + pause * 4 / 5 + now % (pause * 2 / 5);
        away->fault = *fault;
    } else {
        away->failures = 0;
        away->reached++;
    }
    pthread_mutex_unlock(&away->mutex);
}
