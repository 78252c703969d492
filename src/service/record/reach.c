#include "service/record/reach.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/store.h"

#define SILENCE_NS (2 * NSEC_PER_SEC) /* of a database that was asked: it hangs */

struct reach {
    struct store *store; /* immutable */

    atomic_bool ready;

    pthread_mutex_t mutex; /* all that follows */
    bool ok;               /* it answered when it was last asked */
    bool refused;          /* it answers, but it is not ours */
    char trouble[REACH_TROUBLE_SIZE];
    uint64_t asked_ns; /* monotonic: it is being asked since then; 0: nobody waits for it */
    uint64_t heard_ns; /* monotonic: when it last answered */
};

int reach_open(struct store *store, struct reach **ret_reach) {
    struct reach *reach = calloc(1, sizeof *reach);
    if (!reach) {
        return -ENOMEM;
    }
    reach->store = store;
    reach->heard_ns = clock_mono_ns();
    pthread_mutex_init(&reach->mutex, NULL);
    *ret_reach = reach;
    return 0;
}

void reach_free(struct reach *reach) {
    if (reach) {
        pthread_mutex_destroy(&reach->mutex);
        free(reach);
    }
}

bool reach_is_ready(const struct reach *reach) {
    return reach->ready;
}

void reach_settled(struct reach *reach, const struct problem *problem, bool refused) {
    reach->ready = problem == NULL;
    pthread_mutex_lock(&reach->mutex);
    reach->ok = problem == NULL;
    reach->refused = refused;
    snprintf(reach->trouble, sizeof reach->trouble, "%.255s", problem ? problem->detail : "");
    pthread_mutex_unlock(&reach->mutex);
}

void reach_look(struct reach *reach) {
    struct problem problem = {0};
    pthread_mutex_lock(&reach->mutex);
    reach->asked_ns = clock_mono_ns();
    pthread_mutex_unlock(&reach->mutex);
    int r = store_look(reach->store, &problem);
    pthread_mutex_lock(&reach->mutex);
    reach->asked_ns = 0;
    reach->ok = r == 0;
    snprintf(reach->trouble, sizeof reach->trouble, "%.255s", problem.detail);
    pthread_mutex_unlock(&reach->mutex);
}

bool reach_is_there(struct reach *reach, char ret_trouble[REACH_TROUBLE_SIZE]) {
    uint64_t now = clock_mono_ns();
    pthread_mutex_lock(&reach->mutex);
    bool hangs = reach->asked_ns && now - reach->asked_ns > SILENCE_NS;
    bool there = reach->ok && !hangs;
    if (ret_trouble) {
        snprintf(ret_trouble, REACH_TROUBLE_SIZE, "%s", hangs ? "The database does not answer." : reach->trouble);
    }
    pthread_mutex_unlock(&reach->mutex);
    return there;
}

bool reach_is_refused(struct reach *reach) {
    pthread_mutex_lock(&reach->mutex);
    bool refused = reach->refused;
    pthread_mutex_unlock(&reach->mutex);
    return refused;
}

void reach_heard(struct reach *reach) {
    pthread_mutex_lock(&reach->mutex);
    reach->heard_ns = clock_mono_ns();
    pthread_mutex_unlock(&reach->mutex);
}

uint64_t reach_silence_ns(struct reach *reach) {
    uint64_t now = clock_mono_ns();
    pthread_mutex_lock(&reach->mutex);
    uint64_t silence = now > reach->heard_ns ? now - reach->heard_ns : 0;
    pthread_mutex_unlock(&reach->mutex);
    return silence;
}

bool reach_is_lacking(const struct problem *problem) {
    return strcmp(problem->type, PROBLEM_STORE_AWAY) == 0 || strcmp(problem->type, PROBLEM_STORE_NEWER) == 0;
}

bool reach_may_come(const struct reach *reach, const struct problem *problem) {
    return strcmp(problem->type, PROBLEM_STORE_AWAY) == 0 ||
           (store_is_shared(reach->store) &&
            (strcmp(problem->type, PROBLEM_STORE_LOCKED) == 0 || strcmp(problem->type, PROBLEM_STORE_AGAIN) == 0));
}
