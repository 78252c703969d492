#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "service/state.h"
#include "store/noun/settings.h"

static uint64_t memory_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%*u %lu", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void service_status(struct service *s, struct service_status *ret_status) {
    struct service_status status = {.started_at = s->started_at, .backend_why = s->backend_why};
    struct store_conn *conn;
    struct problem problem;
    uint64_t revision;
    snprintf(status.store_kind, sizeof status.store_kind, "%s", store_kind(s->store));
    bool ask = attach_is_there(s, status.store_trouble); /* who asks for the status should not wait for a hung one */
    bool open_reserve = false;
    int r = ask ? store_reader_take(s->store, &conn, &problem) : -ENOTCONN;
    if (ask && r < 0) { /* nobody else has noticed yet */
        snprintf(status.store_trouble, sizeof status.store_trouble, "%.255s", problem.detail);
    }
    if (r == 0) {
        char text[8] = "";
        (void)settings_get(conn, POOL_RESERVE_SETTING, text, sizeof text);
        open_reserve = text[0] == '1';
        status.store_ok = changes_revision(conn, &revision) == 0 && blocks_free_size(conn, &status.pool_free) == 0;
        store_reader_put(s->store, conn);
    }
    status.pool_total = pool_capacity(&s->gateway.pool, open_reserve);
    status.connected_routers = usage_connected(s) + gateways_connected(s);
    snprintf(status.gateway_name, sizeof status.gateway_name, "%s", s->self.name);
    snprintf(status.gateway_region, sizeof status.gateway_region, "%s", s->self.region);
    status.memory_bytes = memory_bytes();
    pthread_mutex_lock(&s->mutex);
    status.store_refused = s->store_refused;
    status.revision = s->revision;
    status.backend = s->state;
    status.tenants = s->tenants;
    status.routers = s->routers;
    status.reconciled_at = s->reconciled_at;
    status.reconcile_ms = s->reconcile_ms;
    status.mended = s->mended;
    status.renewed = s->renewed;
    status.in_sync = s->in_sync;
    snprintf(status.trouble, sizeof status.trouble, "%s", s->trouble);
    status.severed = s->severed;
    snprintf(status.warning, sizeof status.warning, "%s",
             s->severed ? "the database could not be followed for so long that routers without a session are not let in"
                        : s->warning);
    pthread_mutex_unlock(&s->mutex);
    *ret_status = status;
}

bool service_store_may_leave(const struct service *s) {
    return s->shared;
}

int service_counters(struct service *s, backend_counter_fn *fn, void *context, struct problem *ret_problem) {
    pthread_mutex_lock(&s->watch_mutex);
    int r = s->watch ? s->ops->each_counter(s->watch, fn, context) : -ENOTCONN;
    pthread_mutex_unlock(&s->watch_mutex);
    return r < 0 ? problem_set(ret_problem, PROBLEM_UNAVAILABLE, "data-plane-away", NULL,
                               "The data plane does not answer; it is tried again every few seconds.")
                 : 0;
}

void service_gateway(struct service *s, struct service_gateway *ret_gateway) {
    pthread_mutex_lock(&s->mutex);
    *ret_gateway = s->gateway;
    pthread_mutex_unlock(&s->mutex);
}
