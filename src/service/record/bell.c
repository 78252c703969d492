#include "service/record/bell.h"

#include <time.h>

void bell_open(struct bell *bell) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&bell->mutex, NULL);
    pthread_cond_init(&bell->rung, &monotonic);
    pthread_condattr_destroy(&monotonic);
    bell->due = false;
    bell->closing = false;
    bell->closed = false;
}

void bell_close(struct bell *bell) {
    pthread_cond_destroy(&bell->rung);
    pthread_mutex_destroy(&bell->mutex);
}

void bell_ring(struct bell *bell) {
    pthread_mutex_lock(&bell->mutex);
    bell->due = true;
    pthread_cond_broadcast(&bell->rung);
    pthread_mutex_unlock(&bell->mutex);
}

void bell_answer(struct bell *bell) {
    pthread_mutex_lock(&bell->mutex);
    bell->due = false;
    pthread_mutex_unlock(&bell->mutex);
}

void bell_wait(struct bell *bell, unsigned seconds, bool deaf) {
    struct timespec until;
    int timeout = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&bell->mutex);
    while (!bell->closing && timeout == 0 && (deaf || !bell->due)) {
        timeout = pthread_cond_timedwait(&bell->rung, &bell->mutex, &until);
    }
    pthread_mutex_unlock(&bell->mutex);
}

void bell_end(struct bell *bell) {
    pthread_mutex_lock(&bell->mutex);
    bell->closing = true;
    pthread_cond_broadcast(&bell->rung);
    pthread_mutex_unlock(&bell->mutex);
}

void bell_end_all(struct bell *bell) {
    pthread_mutex_lock(&bell->mutex);
    bell->closing = true;
    bell->closed = true;
    pthread_cond_broadcast(&bell->rung);
    pthread_mutex_unlock(&bell->mutex);
}

bool bell_outlast(struct bell *bell, unsigned seconds) {
    struct timespec until;
    int timeout = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&bell->mutex);
    while (!bell->closed && timeout == 0) {
        timeout = pthread_cond_timedwait(&bell->rung, &bell->mutex, &until);
    }
    bool closed = bell->closed;
    pthread_mutex_unlock(&bell->mutex);
    return !closed;
}

bool bell_is_ending(struct bell *bell) {
    pthread_mutex_lock(&bell->mutex);
    bool closing = bell->closing;
    pthread_mutex_unlock(&bell->mutex);
    return closing;
}
