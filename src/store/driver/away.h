/* When a database that is away is asked again: one attempt at a time, with pauses that grow; whoever comes meanwhile
 * hears at once that it is away. Any thread. Internal to store/. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/driver/driver.h"

struct away {
    pthread_mutex_t mutex;
    /* under mutex */
    unsigned failures; /* in a row */
    unsigned reached;  /* how often */
    bool trying;       /* a thread is about to know */
    uint64_t next_at;  /* monotonic, ns */
    struct driver_fault fault;
};

void away_open(struct away *away);
void away_close(struct away *away);
/* Whether the caller may try now; then away_tried() is due. Else `ret_fault` says what was wrong last time. */
bool away_may_try(struct away *away, struct driver_fault *ret_fault);
unsigned away_reached(struct away *away);
void away_tried(struct away *away, int error, const struct driver_fault *fault);
