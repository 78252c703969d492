#include "service/record/turn.h"

void turn_open(struct turn *turn) {
    pthread_mutex_init(&turn->mutex, NULL);
    pthread_cond_init(&turn->moved, NULL);
    turn->next = 0;
    turn->serving = 0;
}

void turn_close(struct turn *turn) {
    pthread_cond_destroy(&turn->moved);
    pthread_mutex_destroy(&turn->mutex);
}

uint64_t turn_take(struct turn *turn) {
    pthread_mutex_lock(&turn->mutex);
    uint64_t place = turn->next++;
    pthread_mutex_unlock(&turn->mutex);
    return place;
}

void turn_wait(struct turn *turn, uint64_t place) {
    pthread_mutex_lock(&turn->mutex);
    while (turn->serving != place) {
        pthread_cond_wait(&turn->moved, &turn->mutex);
    }
    pthread_mutex_unlock(&turn->mutex);
}

void turn_end(struct turn *turn) {
    pthread_mutex_lock(&turn->mutex);
    turn->serving++;
    pthread_cond_broadcast(&turn->moved);
    pthread_mutex_unlock(&turn->mutex);
}
