/* When a database that is away is asked again: one attempt at a time, with pauses that grow; whoever comes meanwhile
 * hears at once that it is away. Any thread. Internal to store/. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/driver/driver.h"

struct backoff {
    pthread_mutex_t mutex;
    /* under mutex */
    unsigned failures; /* in a row */
    unsigned reached;  /* how often */
    bool trying;       /* a thread is about to know */
    uint64_t next_at;  /* monotonic, ns */
    struct driver_fault fault;
};

void backoff_open(struct backoff *backoff);
void backoff_close(struct backoff *backoff);
/* Whether the caller may try now; then backoff_tried() is due. Else `ret_fault` says what was wrong last time. */
bool backoff_may_try(struct backoff *backoff, struct driver_fault *ret_fault);
unsigned backoff_reached(struct backoff *backoff);
void backoff_tried(struct backoff *backoff, int error, const struct driver_fault *fault);
