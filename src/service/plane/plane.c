#include "service/plane/plane.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "service/record/bell.h"
#include "service/record/ledger.h"
#include "service/record/turn.h"

struct plane {
    /* immutable once open */
    const struct backend_ops *ops;
    const struct backend_config *config;
    struct bell *bell;
    void (*taken_out)(void *context, const struct desired_change *changes, size_t count);
    void *observer;

    struct turn turn;       /* guards the next */
    struct backend *deltas; /* NULL: never been there */

    pthread_mutex_t watch_mutex; /* guards the next; taken before `mutex` */
    struct backend *watch;

    pthread_mutex_t mutex; /* guards the next */
    struct plane_status status;
};

int plane_open(const struct backend_ops *ops, const struct backend_config *config, struct bell *bell,
               struct plane **ret_plane) {
    struct plane *plane = calloc(1, sizeof *plane);
    if (!plane) {
        return -ENOMEM;
    }
    plane->ops = ops;
    plane->config = config;
    plane->bell = bell;
    plane->status.away = true;
    snprintf(plane->status.state.name, sizeof plane->status.state.name, "%s", ops->name);
    turn_open(&plane->turn);
    pthread_mutex_init(&plane->watch_mutex, NULL);
    pthread_mutex_init(&plane->mutex, NULL);
    *ret_plane = plane;
    return 0;
}

void plane_free(struct plane *plane) {
    if (plane) {
        plane->ops->close(plane->watch);
        plane->ops->close(plane->deltas);
        pthread_mutex_destroy(&plane->mutex);
        pthread_mutex_destroy(&plane->watch_mutex);
        turn_close(&plane->turn);
        free(plane);
    }
}

void plane_observe(struct plane *plane,
                   void (*taken_out)(void *context, const struct desired_change *changes, size_t count),
                   void *context) {
    plane->taken_out = taken_out;
    plane->observer = context;
}

const struct backend_ops *plane_ops(const struct plane *plane) {
    return plane->ops;
}

const char *plane_interface(const struct plane *plane) {
    return plane->config->interface_name;
}

/* --- its turn --- */

struct turn *plane_queue(struct plane *plane) {
    return &plane->turn;
}

void plane_turn_begin(struct plane *plane) {
    turn_wait(&plane->turn, turn_take(&plane->turn));
}

void plane_turn_redeem(struct plane *plane, const struct receipt *receipt) {
    turn_wait(&plane->turn, receipt->place);
}

void plane_turn_end(struct plane *plane) {
    turn_end(&plane->turn);
}

/* --- does it hold what it should --- */

void plane_status(struct plane *plane, struct plane_status *ret_status) {
    pthread_mutex_lock(&plane->mutex);
    *ret_status = plane->status;
    pthread_mutex_unlock(&plane->mutex);
}

bool plane_is_away(struct plane *plane) {
    pthread_mutex_lock(&plane->mutex);
    bool away = plane->status.away;
    pthread_mutex_unlock(&plane->mutex);
    return away;
}

void plane_trouble(struct plane *plane, int error, const struct problem *problem) {
    struct plane_status *status = &plane->status;
    pthread_mutex_lock(&plane->mutex);
    status->away = status->away || error == -ENOTCONN;
    status->in_sync = false;
    status->troubles++;
    snprintf(status->trouble, sizeof status->trouble, "%.255s",
             problem->detail[0] ? problem->detail : strerror(-error));
    pthread_mutex_unlock(&plane->mutex);
    bell_ring(plane->bell);
}

void plane_behind(struct plane *plane) {
    pthread_mutex_lock(&plane->mutex);
    plane->status.in_sync = false;
    plane->status.troubles++;
    pthread_mutex_unlock(&plane->mutex);
    bell_ring(plane->bell);
}

void plane_lost(struct plane *plane) {
    pthread_mutex_lock(&plane->mutex);
    plane->status.away = true;
    plane->status.in_sync = false;
    pthread_mutex_unlock(&plane->mutex);
}

void plane_doubt(struct plane *plane) {
    pthread_mutex_lock(&plane->mutex);
    plane->status.in_sync = false;
    pthread_mutex_unlock(&plane->mutex);
}

bool plane_settled(struct plane *plane, uint64_t troubles) {
    struct plane_status *status = &plane->status;
    pthread_mutex_lock(&plane->mutex);
    bool settled = status->troubles == troubles;
    if (settled) {
        status->in_sync = true;
        status->trouble[0] = '\0';
    }
    pthread_mutex_unlock(&plane->mutex);
    return settled;
}

/* What is left out now is missing. */
static bool leaves_out(struct plane *plane) {
    pthread_mutex_lock(&plane->mutex);
    bool away = plane->status.away;
    plane->status.in_sync = plane->status.in_sync && !away;
    pthread_mutex_unlock(&plane->mutex);
    return away;
}

/* --- deltas --- */

static void tell_taken_out(struct plane *plane, const struct desired_change *changes, size_t count) {
    if (plane->taken_out) {
        plane->taken_out(plane->observer, changes, count);
    }
}

int plane_send(struct plane *plane, const struct desired_change *changes, size_t count, struct problem *ret_problem) {
    if (count == 0) {
        return 0;
    }
    if (leaves_out(plane)) {
        (void)problem_set(ret_problem, PROBLEM_UNAVAILABLE, "data-plane-away", NULL,
                          "The data plane does not answer; it is brought up to date as soon as it is back.");
        return -ENOTCONN;
    }
    int r = plane->ops->apply(plane->deltas, changes, count, ret_problem);
    if (r < 0) {
        plane_trouble(plane, r, ret_problem);
    } else {
        tell_taken_out(plane, changes, count);
    }
    return r;
}

bool plane_apply(struct plane *plane, const struct desired_change *changes, size_t count) {
    struct problem problem = {0};
    return plane_send(plane, changes, count, &problem) == 0;
}

bool plane_routes(struct plane *plane, const struct prefix *add, size_t add_count, const struct prefix *remove,
                  size_t remove_count) {
    struct problem problem = {0};
    if (add_count == 0 && remove_count == 0) {
        return true;
    }
    if (leaves_out(plane)) {
        return false;
    }
    /* What is in both lists stays. */
    struct prefix *gone = malloc((remove_count + 1) * sizeof *gone);
    size_t gone_count = 0;
    if (!gone) {
        plane_trouble(plane, -ENOMEM, &problem);
        return false;
    }
    for (size_t i = 0; i < remove_count; i++) {
        bool again = false;
        for (size_t j = 0; j < add_count && !again; j++) {
            again = prefix_equal(&remove[i], &add[j]);
        }
        if (!again) {
            gone[gone_count++] = remove[i];
        }
    }
    int r = plane->ops->set_routes(plane->deltas, add, add_count, gone, gone_count, &problem);
    free(gone);
    if (r < 0) {
        plane_trouble(plane, r, &problem);
    }
    return r == 0;
}

int plane_set_device(struct plane *plane, const struct desired_device *device, unsigned *ret_touched,
                     struct problem *ret_problem) {
    return plane->ops->set_device(plane->deltas, device, ret_touched, ret_problem);
}

/* Both connections: the one for deltas may start the data plane, the one that looks on never does. */
int plane_revive(struct plane *plane, struct problem *ret_problem) {
    const struct backend_ops *ops = plane->ops;
    plane_turn_begin(plane);
    int r =
        plane->deltas ? ops->revive(plane->deltas, ret_problem) : ops->open(plane->config, &plane->deltas, ret_problem);
    if (r == 0) {
        struct backend_config config = *plane->config;
        config.engine_path = NULL;
        pthread_mutex_lock(&plane->watch_mutex);
        r = plane->watch ? ops->revive(plane->watch, ret_problem) : ops->open(&config, &plane->watch, ret_problem);
        pthread_mutex_unlock(&plane->watch_mutex);
    }
    if (r == 0) {
        pthread_mutex_lock(&plane->mutex);
        plane->status.away = false;
        plane->status.trouble[0] = '\0'; /* what is left to do is on its way */
        pthread_mutex_unlock(&plane->mutex);
    }
    plane_turn_end(plane);
    return r;
}

/* --- the connection that looks on --- */

int plane_read(struct plane *plane, uint64_t generation, uint64_t since, backend_tenant_fn *tenant,
               backend_peer_fn *peer, void *context, struct backend_state *ret_state, uint64_t *ret_mark) {
    struct backend_state state = {0};
    uint64_t mark = 0;
    pthread_mutex_lock(&plane->watch_mutex);
    int r = plane->watch ? plane->ops->state(plane->watch, &state) : -ENOTCONN;
    r = r < 0 || !tenant ? r : plane->ops->each_tenant(plane->watch, tenant, context);
    r = r < 0 ? r
              : plane->ops->each_peer(plane->watch, state.generation == generation ? since : 0, peer, context, &mark);
    pthread_mutex_unlock(&plane->watch_mutex);
    *ret_state = state;
    if (r == 0) {
        *ret_mark = mark;
    }
    return r;
}

/* Keys of the peers that are to be taken out. */
struct taken {
    backend_peer_fn *idle;
    void *context;
    struct key *keys; /* owned */
    size_t count, room;
};

static int take(void *context, const struct actual_peer *peer) {
    struct taken *taken = context;
    if (!taken->idle(taken->context, peer)) {
        return 0;
    }
    struct key *keys = array_grow(taken->keys, &taken->room, taken->count + 1, sizeof *keys);
    if (!keys) {
        return -ENOMEM;
    }
    taken->keys = keys;
    taken->keys[taken->count++] = peer->is.public_key;
    return 0;
}

void plane_shut_out(struct plane *plane, backend_peer_fn *idle, void *context) {
    struct taken taken = {.idle = idle, .context = context};
    struct desired_change *changes = malloc(PLANE_BATCH * sizeof *changes);
    struct problem problem = {0};
    uint64_t mark = 0;
    pthread_mutex_lock(&plane->watch_mutex);
    int r = plane->watch && changes ? plane->ops->each_peer(plane->watch, 0, take, &taken, &mark) : -ENOTCONN;
    for (size_t at = 0; r == 0 && at < taken.count;) {
        size_t count = 0;
        for (; count < PLANE_BATCH && at < taken.count; at++) {
            changes[count++] =
                (struct desired_change){.kind = DESIRED_PEER_REMOVE, .peer = {.public_key = taken.keys[at]}};
        }
        r = plane->ops->apply(plane->watch, changes, count, &problem);
        if (r == 0) {
            tell_taken_out(plane, changes, count);
        }
    }
    pthread_mutex_unlock(&plane->watch_mutex);
    free(changes);
    free(taken.keys);
}

int plane_each_route(struct plane *plane, backend_route_fn *fn, void *context, struct problem *ret_problem) {
    pthread_mutex_lock(&plane->watch_mutex);
    int r = plane->watch ? plane->ops->each_route(plane->watch, fn, context, ret_problem) : -ENOTCONN;
    pthread_mutex_unlock(&plane->watch_mutex);
    return r;
}

int plane_counters(struct plane *plane, backend_counter_fn *fn, void *context) {
    pthread_mutex_lock(&plane->watch_mutex);
    int r = plane->watch ? plane->ops->each_counter(plane->watch, fn, context) : -ENOTCONN;
    pthread_mutex_unlock(&plane->watch_mutex);
    return r;
}

bool plane_heed(struct plane *plane) {
    pthread_mutex_lock(&plane->watch_mutex);
    bool touched = plane->watch && plane->ops->heed && plane->ops->heed(plane->watch);
    pthread_mutex_unlock(&plane->watch_mutex);
    return touched;
}

int plane_look(struct plane *plane, struct backend_state *ret_state) {
    struct backend_state state = {0};
    pthread_mutex_lock(&plane->watch_mutex);
    int r = plane->watch ? plane->ops->state(plane->watch, &state) : -ENOTCONN;
    pthread_mutex_unlock(&plane->watch_mutex);
    if (r < 0) {
        state.up = false;
    }
    pthread_mutex_lock(&plane->mutex);
    plane->status.state = state;
    if (!state.name[0]) {
        snprintf(plane->status.state.name, sizeof plane->status.state.name, "%s", plane->ops->name);
    }
    pthread_mutex_unlock(&plane->mutex);
    if (r == 0) {
        *ret_state = state;
    }
    return r;
}
