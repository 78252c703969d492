/* A lock that is passed on in the order in which it was asked for. A place in the queue may be taken long before it is
 * waited for: so the data plane gets changes in the order of their commits, while the next transaction runs already.
 *
 * Every place taken must be waited for and ended, in whatever thread. */
#pragma once

#include <pthread.h>
#include <stdint.h>

struct turn {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    uint64_t next;    /* under mutex: the next place to give */
    uint64_t serving; /* under mutex: whose turn it is */
};

void turn_open(struct turn *turn);
void turn_close(struct turn *turn);
uint64_t turn_take(struct turn *turn);
void turn_wait(struct turn *turn, uint64_t place);
void turn_end(struct turn *turn);
