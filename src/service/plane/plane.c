/* The data plane as the service uses it: deltas in the order of their commits, and what to do when it is away. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/state.h"
#include "store/noun/lans.h"

void desired_tenant_from(const struct tenant *tenant, struct desired_change *ret_change) {
    *ret_change = (struct desired_change){
        .kind = DESIRED_TENANT_SET,
        .tenant = {.id = tenant->id,
                   .addressing = tenant->addressing,
                   .egress = tenant->egress,
                   .limits = tenant->limits},
    };
}

void desired_peer_of(const struct router *router, struct desired_change *ret_change) {
    struct desired_peer *peer = &ret_change->peer;
    memset(ret_change, 0, sizeof *ret_change);
    ret_change->kind = DESIRED_PEER_SET;
    peer->public_key = router->public_key;
    peer->preshared_key = router->preshared_key;
    peer->tenant = router->tenant_id;
    peer->hub_address = router->hub_address;
    peer->address = router->address;
    peer->address6 = router->address6;
    peer->endpoint = router->endpoint;
    peer->lan_count = router->lan_count;
    memcpy(peer->lans, router->lans, router->lan_count * sizeof *router->lans);
}

int desired_peer_from(struct service *s, const struct router_row *row, struct desired_change *ret_change) {
    desired_peer_of(&row->router, ret_change);
    memcpy(ret_change->peer.timestamp, row->timestamp, sizeof row->timestamp);
    usage_timestamp(s, &row->router.public_key, ret_change->peer.timestamp);
    return seal_preshared_open(s, row, &ret_change->peer.preshared_key);
}

void plane_enter(struct service *s, uint64_t place) {
    turn_wait(&s->applying, place);
}

void plane_enter_write(struct service *s, const struct write *w) {
    turn_wait(&s->applying, w->place);
    if (w->first) {
        follow_verify(s);
        follow_until(s, w->first - 1, true);
    }
    pthread_mutex_lock(&s->mutex);
    s->pending--;
    if (w->last > s->applied) {
        s->applied = w->last;
        s->mark = w->mark;
    }
    pthread_mutex_unlock(&s->mutex);
}

void plane_leave(struct service *s) {
    turn_end(&s->applying);
}

void plane_trouble(struct service *s, int error, const struct problem *problem) {
    pthread_mutex_lock(&s->mutex);
    s->away = s->away || error == -ENOTCONN;
    s->in_sync = false;
    s->troubles++;
    snprintf(s->trouble, sizeof s->trouble, "%.255s", problem->detail[0] ? problem->detail : strerror(-error));
    s->attention_due = true;
    pthread_cond_signal(&s->attention);
    pthread_mutex_unlock(&s->mutex);
}

void plane_behind(struct service *s) {
    pthread_mutex_lock(&s->mutex);
    s->in_sync = false;
    s->troubles++;
    s->attention_due = true;
    pthread_cond_signal(&s->attention);
    pthread_mutex_unlock(&s->mutex);
}

static bool is_away(struct service *s) {
    pthread_mutex_lock(&s->mutex);
    bool away = s->away;
    s->in_sync = s->in_sync && !away;
    pthread_mutex_unlock(&s->mutex);
    return away;
}

int plane_send(struct service *s, const struct desired_change *changes, size_t count, struct problem *ret_problem) {
    if (count == 0) {
        return 0;
    }
    if (is_away(s)) {
        (void)problem_set(ret_problem, PROBLEM_UNAVAILABLE, "data-plane-away", NULL,
                          "The data plane does not answer; it is brought up to date as soon as it is back.");
        return -ENOTCONN;
    }
    int r = s->ops->apply(s->plane, changes, count, ret_problem);
    if (r < 0) {
        plane_trouble(s, r, ret_problem);
    } else {
        usage_taken_out(s, changes, count);
    }
    return r;
}

bool plane_apply(struct service *s, const struct desired_change *changes, size_t count) {
    struct problem problem = {0};
    return plane_send(s, changes, count, &problem) == 0;
}

bool plane_routes(struct service *s, const struct prefix *add, size_t add_count, const struct prefix *remove,
                  size_t remove_count) {
    struct problem problem = {0};
    if (add_count == 0 && remove_count == 0) {
        return true;
    }
    if (is_away(s)) {
        return false;
    }
    /* What is in both lists stays. */
    struct prefix *gone = malloc((remove_count + 1) * sizeof *gone);
    size_t gone_count = 0;
    if (!gone) {
        plane_trouble(s, -ENOMEM, &problem);
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
    int r = s->ops->set_routes(s->plane, add, add_count, gone, gone_count, &problem);
    free(gone);
    if (r < 0) {
        plane_trouble(s, r, &problem);
    }
    return r == 0;
}

void plane_apply_tenant(struct service *s, int64_t tunnel_id) {
    struct problem problem = {0};
    struct store_conn *conn = NULL;
    struct router_row *rows = malloc(PLANE_BATCH * sizeof *rows);
    struct desired_change *changes = malloc(PLANE_BATCH * sizeof *changes);
    int64_t after = 0;
    size_t count = PLANE_BATCH;
    int r = rows && changes ? store_reader_take(s->store, &conn, &problem) : -ENOMEM;
    /* This reads what is committed now, perhaps later than the change that brought us here: whoever committed that has
     * a place behind ours and brings it into force again. */
    while (r == 0 && count == PLANE_BATCH) {
        r = routers_list_desired(conn, tunnel_id, after, PLANE_BATCH, rows, &count);
        size_t good = 0;
        for (size_t i = 0; r == 0 && i < count; i++) {
            after = rows[i].id;
            good += desired_peer_from(s, &rows[i], &changes[good]) == 0;
        }
        if (r == 0 && !plane_apply(s, changes, good)) {
            break; /* noted already */
        }
    }
    if (r < 0) {
        plane_trouble(s, r, &problem);
    }
    store_reader_put(s->store, conn);
    if (changes) {
        sodium_memzero(changes, PLANE_BATCH * sizeof *changes);
    }
    free(changes);
    free(rows);
}

int plane_look(struct service *s, struct backend_state *ret_state) {
    struct backend_state state = {0};
    pthread_mutex_lock(&s->watch_mutex);
    int r = s->watch ? s->ops->state(s->watch, &state) : -ENOTCONN;
    pthread_mutex_unlock(&s->watch_mutex);
    if (r < 0) {
        state.up = false;
    }
    pthread_mutex_lock(&s->mutex);
    s->state = state;
    if (!s->state.name[0]) {
        snprintf(s->state.name, sizeof s->state.name, "%s", s->ops->name);
    }
    pthread_mutex_unlock(&s->mutex);
    if (r == 0) {
        *ret_state = state;
    }
    return r;
}

/* Both connections: the one for deltas may start the data plane, the one that looks on never does. */
int plane_revive(struct service *s, struct problem *ret_problem) {
    turn_wait(&s->applying, turn_take(&s->applying));
    int r = s->plane ? s->ops->revive(s->plane, ret_problem) : s->ops->open(&s->backend_config, &s->plane, ret_problem);
    if (r == 0) {
        struct backend_config config = s->backend_config;
        config.engine_path = NULL;
        pthread_mutex_lock(&s->watch_mutex);
        r = s->watch ? s->ops->revive(s->watch, ret_problem) : s->ops->open(&config, &s->watch, ret_problem);
        pthread_mutex_unlock(&s->watch_mutex);
    }
    if (r == 0) {
        pthread_mutex_lock(&s->mutex);
        s->away = false;
        s->trouble[0] = '\0'; /* what is left to do is on its way */
        pthread_mutex_unlock(&s->mutex);
    }
    turn_end(&s->applying);
    return r;
}

void plane_close(struct service *s) {
    s->ops->close(s->watch);
    s->ops->close(s->plane);
    s->watch = NULL;
    s->plane = NULL;
}
