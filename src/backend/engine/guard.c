#include "backend/engine/guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/host/claim.h"
#include "backend/host/warning.h"
#include "model/desired.h"

struct guard {
    /* the registry's */
    struct guard *next;
    unsigned references;

    char interface_name[16]; /* immutable */

    pthread_mutex_t mutex; /* all that follows */
    struct fence *fence;   /* owned; NULL: not yet */
    int claim;             /* owned; -1: none */
    char warning[BACKEND_WARNING_SIZE];
};

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct guard *registry; /* registry_mutex, and their next and references */

struct guard *guard_take(const char *interface_name) {
    pthread_mutex_lock(&registry_mutex);
    struct guard *g = registry;
    while (g && strcmp(g->interface_name, interface_name) != 0) {
        g = g->next;
    }
    if (!g && (g = calloc(1, sizeof *g))) {
        snprintf(g->interface_name, sizeof g->interface_name, "%s", interface_name);
        pthread_mutex_init(&g->mutex, NULL);
        g->claim = -1;
        g->next = registry;
        registry = g;
    }
    if (g) {
        g->references++;
    }
    pthread_mutex_unlock(&registry_mutex);
    return g;
}

void guard_put(struct guard *guard) {
    if (!guard) {
        return;
    }
    pthread_mutex_lock(&registry_mutex);
    if (--guard->references == 0) {
        struct guard **at = &registry;
        while (*at != guard) {
            at = &(*at)->next;
        }
        *at = guard->next;
        fence_close(guard->fence);
        if (guard->claim >= 0) {
            close(guard->claim);
        }
        pthread_mutex_destroy(&guard->mutex);
        free(guard);
    }
    pthread_mutex_unlock(&registry_mutex);
}

int guard_claim(struct guard *guard, struct problem *ret_problem) {
    pthread_mutex_lock(&guard->mutex);
    int rc = guard->claim >= 0 ? guard->claim : claim_take(guard->interface_name, ret_problem);
    if (rc >= 0) {
        guard->claim = rc;
    }
    pthread_mutex_unlock(&guard->mutex);
    return rc < 0 ? rc : 0;
}

/* Under the mutex. The engine judges its routers' packets itself: nobody marks them, and it knows its own datagrams. */
static int set_fence(struct guard *g, const struct desired_device *device, unsigned *touched, struct problem *problem) {
    const struct fence_rules rules = {.hub = device->hub_addresses, .hub_count = device->hub_address_count};
    int rc = g->fence ? 0 : fence_open(g->interface_name, &g->fence, problem);
    return rc < 0 ? rc : fence_set(g->fence, &rules, touched, problem);
}

void guard_set(struct guard *guard, const struct desired_device *device, const char *warning, unsigned *touched) {
    struct problem problem = {0};
    pthread_mutex_lock(&guard->mutex);
    snprintf(guard->warning, sizeof guard->warning, "%s", warning);
    int rc = set_fence(guard, device, touched, &problem);
    if (rc < 0) {
        warning_add(guard->warning,
                    "Neighbours and containers can speak to routers in the hub's name: the nftables table inet "
                    "sallyport_%s cannot be set (%s).",
                    guard->interface_name, rc == -EOPNOTSUPP ? "this kernel has no nf_tables" : strerror(-rc));
    } else if (fence_is_half_blind(guard->fence)) {
        warning_add(guard->warning, FENCE_HALF_BLIND);
    }
    pthread_mutex_unlock(&guard->mutex);
}

int guard_count(struct guard *guard, struct fence_counts *ret_counts) {
    pthread_mutex_lock(&guard->mutex);
    int rc = guard->fence ? fence_count(guard->fence, ret_counts) : -ENOENT;
    pthread_mutex_unlock(&guard->mutex);
    return rc;
}

void guard_warning(struct guard *guard, char ret_warning[BACKEND_WARNING_SIZE]) {
    pthread_mutex_lock(&guard->mutex);
    memcpy(ret_warning, guard->warning, sizeof guard->warning);
    pthread_mutex_unlock(&guard->mutex);
}
