#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "service/state.h"

static _Thread_local bool early;

void write_allow_early(bool allow) {
    early = allow;
}

int write_begin(struct service *s, const char *actor, struct write *ret_write, struct problem *ret_problem) {
    if (!s->ready && !early) {
        char trouble[256];
        (void)attach_is_there(s, trouble);
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, PROBLEM_STORE_AWAY, NULL, "%s", trouble);
    }
    turn_wait(&s->writing, turn_take(&s->writing));
    struct store_conn *conn = store_writer(s->store);
    int r = store_begin(conn, true);
    if (r < 0) {
        r = store_problem(conn, r, ret_problem);
        turn_end(&s->writing);
        return r;
    }
    int64_t now = clock_wall_us();
    *ret_write = (struct write){
        .service = s,
        .conn = conn,
        .pool = {.conn = conn, .now = now},
        .now = now,
        .actor = actor,
        .on = true,
    };
    return 0;
}

static int reserve(struct write *w, const char *table, uint64_t count, struct numbers *ret_numbers) {
    int64_t first;
    int r = store_reserve(w->conn, table, count, &first);
    if (r == 0) {
        *ret_numbers = (struct numbers){.next = first, .end = first + (int64_t)count};
    }
    return r == -ENOTSUP ? 0 : r;
}

int write_hasten(struct write *w, uint64_t tenants, uint64_t routers, struct problem *ret_problem) {
    w->pool.ahead = true;
    int r = reserve(w, "tenant_vpn_tunnels", tenants, &w->tenant_ids);
    r = r < 0 ? r : reserve(w, "vpn_configurations", routers, &w->router_ids);
    return r < 0 ? store_problem(w->conn, r, ret_problem) : 0;
}

int64_t write_number(struct numbers *numbers) {
    return numbers->next < numbers->end ? numbers->next++ : 0;
}

int write_note(struct write *w, const char *kind, const struct uuid *tenant_id, const struct uuid *router_id,
               const struct key *gone) {
    if (w->change_count == w->change_room) {
        size_t room = w->change_room ? w->change_room * 2 : 4;
        struct change *more = reallocarray(w->changes, room, sizeof *more);
        if (!more) {
            return -ENOMEM;
        }
        w->changes = more;
        w->change_room = room;
    }
    struct change *change = &w->changes[w->change_count++];
    *change = (struct change){.at = w->now, .kind = kind, .tenant_id = *tenant_id, .gateway_id = w->service->self.id};
    if (router_id) {
        change->router_id = *router_id;
    }
    if (gone) {
        change->gone = *gone;
    }
    return 0;
}

/* A change of ours that has a place in the data plane's queue, or is about to get one: the follower leaves it to us. */
static void expect(struct service *s, bool more) {
    pthread_mutex_lock(&s->mutex);
    s->pending = more ? s->pending + 1 : s->pending - 1;
    pthread_mutex_unlock(&s->mutex);
}

static int commit(struct write *w, bool aside, struct problem *ret_problem) {
    struct service *s = w->service;
    int r = pool_flush(&w->pool);
    r = r < 0 ? r : pool_put_back(&w->pool);
    if (r == 0 && w->change_count) {
        r = changes_append(w->conn, w->changes, w->change_count, w->actor, &w->last);
        w->first = w->last + 1 - w->change_count;
        const struct change *last = &w->changes[w->change_count - 1];
        w->mark = (struct change_mark){w->last, last->at, last->tenant_id, last->router_id};
    }
    if (!aside) {
        expect(s, true);
    }
    r = r < 0 ? r : store_commit(w->conn);
    if (r < 0) {
        bool unknown = r == -EINPROGRESS;
        r = store_problem(w->conn, r, ret_problem);
        if (!aside) {
            expect(s, false);
        }
        write_abort(w);
        if (unknown && !aside) {
            pthread_mutex_lock(&s->mutex); /* it may have become true: compare as soon as there is an answer */
            s->recount_due = true;
            pthread_mutex_unlock(&s->mutex);
            plane_behind(s);
        }
        return r;
    }
    pthread_mutex_lock(&s->mutex);
    s->tenants += (uint64_t)w->more_tenants;
    s->routers += (uint64_t)w->more_routers;
    if (w->last > s->revision) {
        s->revision = w->last;
        pthread_cond_broadcast(&s->committed);
    }
    pthread_mutex_unlock(&s->mutex);
    if (!aside) {
        w->place = turn_take(&s->applying);
    }
    turn_end(&s->writing);
    w->on = false;
    free(w->changes);
    w->changes = NULL;
    return 0;
}

int write_commit(struct write *w, struct problem *ret_problem) {
    return commit(w, false, ret_problem);
}

int write_commit_aside(struct write *w, struct problem *ret_problem) {
    return commit(w, true, ret_problem);
}

void write_abort(struct write *w) {
    if (!w->on) {
        return;
    }
    store_rollback(w->conn);
    turn_end(&w->service->writing);
    w->on = false;
    free(w->changes);
    w->changes = NULL;
}
