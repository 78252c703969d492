/* Wakes the service's threads: one that should compare the data plane with the store, and all when the service closes.
 *
 * Whoever finds something wrong rings, from any thread; a lock of another layer may be held meanwhile, since nothing is
 * called from here. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

struct bell {
    pthread_mutex_t mutex;
    pthread_cond_t rung; /* or closing */
    bool due;            /* rung, and not answered yet */
    bool closing;
    bool closed; /* nobody waits any more, whatever for */
};

void bell_open(struct bell *bell);
void bell_close(struct bell *bell);
/* Something is to be mended. */
void bell_ring(struct bell *bell);
/* The one listener: it was heard. */
void bell_answer(struct bell *bell);
/* Waits for a ring, at most so long; `deaf`: for the end of the service alone. */
void bell_wait(struct bell *bell, unsigned seconds, bool deaf);
/* The service closes: every wait ends, and none begins. */
void bell_end(struct bell *bell);
/* The same for those who see the others out: bell_outlast(). */
void bell_end_all(struct bell *bell);
/* Waits so long, past the end of the service. False: all is over. */
bool bell_outlast(struct bell *bell, unsigned seconds);
bool bell_is_ending(struct bell *bell);
