#include "service/sync/routes.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "service/plane/plane.h"
#include "service/record/bell.h"
#include "store/noun/lans.h"
#include "store/store.h"

#define SHARE 1000 /* differences that are mended in one turn */
#define REST                                                                                                           \
    50 /* a comparison that is only suspected to be due waits for so many times as long as the last one took           \
        */

struct routes {
    struct store *store;
    struct plane *plane;
    struct bell *bell;
    void (*wanted)(void *context, struct store_conn *conn, const struct prefix *list, size_t count);
    void *observer;

    pthread_mutex_t run_mutex; /* one comparison at a time */

    pthread_mutex_t mutex; /* all that follows */
    bool doubted;
    uint64_t rests_until_ns; /* monotonic */
};

int routes_open(struct store *store, struct plane *plane, struct bell *bell, struct routes **ret_routes) {
    struct routes *routes = calloc(1, sizeof *routes);
    if (!routes) {
        return -ENOMEM;
    }
    routes->store = store;
    routes->plane = plane;
    routes->bell = bell;
    pthread_mutex_init(&routes->run_mutex, NULL);
    pthread_mutex_init(&routes->mutex, NULL);
    *ret_routes = routes;
    return 0;
}

void routes_free(struct routes *routes) {
    if (routes) {
        pthread_mutex_destroy(&routes->mutex);
        pthread_mutex_destroy(&routes->run_mutex);
        free(routes);
    }
}

void routes_observe(struct routes *routes,
                    void (*wanted)(void *context, struct store_conn *conn, const struct prefix *list, size_t count),
                    void *context) {
    routes->wanted = wanted;
    routes->observer = context;
}

/* --- lists of prefixes --- */

struct list {
    struct prefix *prefixes; /* owned */
    size_t count, room;
};

static int list_add(void *context, const struct prefix *prefix) {
    struct list *list = context;
    struct prefix *grown = array_grow(list->prefixes, &list->room, list->count + 1, sizeof *grown);
    if (!grown) {
        return -ENOMEM;
    }
    list->prefixes = grown;
    list->prefixes[list->count++] = *prefix;
    return 0;
}

static int compare_prefixes(const void *a, const void *b) {
    const struct prefix *left = a, *right = b;
    int order = (left->addr.family > right->addr.family) - (left->addr.family < right->addr.family);
    order = order ? order : memcmp(left->addr.bytes, right->addr.bytes, sizeof left->addr.bytes);
    return order ? order : (left->length > right->length) - (left->length < right->length);
}

static void list_sort(struct list *list) {
    if (list->count) {
        qsort(list->prefixes, list->count, sizeof *list->prefixes, compare_prefixes);
    }
}

static bool list_has(const struct list *list, const struct prefix *prefix) {
    return list->count && bsearch(prefix, list->prefixes, list->count, sizeof *prefix, compare_prefixes);
}

/* What is in `from` and not in `without`, both sorted. */
static int list_difference(const struct list *from, const struct list *without, struct list *ret_rest) {
    size_t at = 0;
    for (size_t i = 0; i < from->count; i++) {
        int order = -1;
        while (at < without->count && (order = compare_prefixes(&from->prefixes[i], &without->prefixes[at])) > 0) {
            at++;
        }
        if ((at == without->count || order != 0) && list_add(ret_rest, &from->prefixes[i]) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* --- the comparison --- */

struct comparison {
    struct routes *routes;
    struct problem *problem;
    struct list wanted, found;
    struct list missing, extra;
    uint64_t mended;
};

static int no_memory(struct comparison *c) {
    return problem_set(c->problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
}

static int read_wanted(struct comparison *c) {
    struct routes *routes = c->routes;
    struct store_conn *conn = NULL;
    int r = store_reader_take(routes->store, &conn, c->problem);
    if (r < 0) {
        return r;
    }
    r = store_begin(conn, false);
    r = r < 0 ? r : lans_each_route(conn, list_add, &c->wanted);
    r = r < 0 ? store_problem(conn, r, c->problem) : 0;
    list_sort(&c->wanted);
    if (r == 0 && routes->wanted) {
        routes->wanted(routes->observer, conn, c->wanted.prefixes, c->wanted.count);
    }
    store_reader_put(routes->store, conn);
    return r;
}

static int read_found(struct comparison *c) {
    c->found.count = 0;
    int r = plane_each_route(c->routes->plane, list_add, &c->found, c->problem);
    list_sort(&c->found);
    return r;
}

/* Within a turn: of these, those that are as they should not be by now. A few are asked for one by one. After a restart
 * all are missing, and whichever goes meanwhile the next comparison finds; one too many is always asked for, lest it be
 * a new one. */
static int confirm(struct comparison *c, struct store_conn *conn, const struct prefix *list, size_t count, bool add,
                   bool ask, struct list *ret_confirmed) {
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++) {
        bool routed = add;
        if (list_has(&c->found, &list[i]) == add) {
            continue; /* somebody was here in between */
        }
        r = ask ? lans_is_routed(conn, &list[i], &routed) : 0;
        r = r < 0 ? store_problem(conn, r, c->problem) : 0;
        if (r == 0 && routed == add && list_add(ret_confirmed, &list[i]) < 0) {
            r = no_memory(c);
        }
    }
    return r;
}

/* One share, in a turn of its own; with the first, what the kernel has is read again. */
static int mend_share(struct comparison *c, const struct prefix *list, size_t count, bool add, bool ask, bool again) {
    struct routes *routes = c->routes;
    struct store_conn *conn = NULL;
    struct list confirmed = {0};
    plane_turn_begin(routes->plane);
    int r = again ? read_found(c) : 0;
    r = r < 0 ? r : store_reader_take(routes->store, &conn, c->problem);
    if (r == 0) {
        r = store_begin(conn, false);
        r = r < 0 ? store_problem(conn, r, c->problem) : confirm(c, conn, list, count, add, ask, &confirmed);
        store_reader_put(routes->store, conn);
    }
    bool done = r == 0 && plane_routes(routes->plane, add ? confirmed.prefixes : NULL, add ? confirmed.count : 0,
                                       add ? NULL : confirmed.prefixes, add ? 0 : confirmed.count);
    plane_turn_end(routes->plane);
    if (r == 0 && !done) {
        r = problem_set(c->problem, PROBLEM_UNAVAILABLE, "routes", NULL, "The host's routes could not be set.");
    }
    c->mended += r == 0 ? confirmed.count : 0;
    free(confirmed.prefixes);
    return r;
}

static int mend(struct comparison *c, const struct list *list, bool add) {
    bool ask = !add || list->count <= SHARE;
    int r = 0;
    for (size_t at = 0; at < list->count && r == 0; at += SHARE) {
        size_t count = list->count - at < SHARE ? list->count - at : SHARE;
        r = mend_share(c, list->prefixes + at, count, add, ask, at == 0);
    }
    return r;
}

static int compare(struct comparison *c) {
    int r = read_wanted(c);
    r = r < 0 ? r : read_found(c);
    if (r < 0) {
        return r;
    }
    if (list_difference(&c->wanted, &c->found, &c->missing) < 0 ||
        list_difference(&c->found, &c->wanted, &c->extra) < 0) {
        return no_memory(c);
    }
    r = mend(c, &c->extra, false);
    return r < 0 ? r : mend(c, &c->missing, true);
}

int routes_mend(struct routes *routes, uint64_t *ret_mended, struct problem *ret_problem) {
    struct comparison c = {.routes = routes, .problem = ret_problem};
    uint64_t start = clock_mono_ns();
    pthread_mutex_lock(&routes->run_mutex);
    pthread_mutex_lock(&routes->mutex);
    routes->doubted = false; /* what comes from now on is doubted anew */
    pthread_mutex_unlock(&routes->mutex);
    int r = compare(&c);
    uint64_t end = clock_mono_ns();
    pthread_mutex_lock(&routes->mutex);
    routes->rests_until_ns = end + REST * (end - start);
    pthread_mutex_unlock(&routes->mutex);
    pthread_mutex_unlock(&routes->run_mutex);
    free(c.wanted.prefixes);
    free(c.found.prefixes);
    free(c.missing.prefixes);
    free(c.extra.prefixes);
    *ret_mended = c.mended;
    return r;
}

void routes_doubt(struct routes *routes) {
    pthread_mutex_lock(&routes->mutex);
    routes->doubted = true;
    pthread_mutex_unlock(&routes->mutex);
    bell_ring(routes->bell);
}

bool routes_is_due(struct routes *routes) {
    pthread_mutex_lock(&routes->mutex);
    bool due = routes->doubted && clock_mono_ns() >= routes->rests_until_ns;
    pthread_mutex_unlock(&routes->mutex);
    return due;
}
