#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "service/noun/lan_guard.h"
#include "service/noun/noun.h"
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

static void look(struct service *s, bool count, struct service_status *ret_status) {
    struct service_status status = {.started_at = s->started_at, .backend_why = s->backend_why};
    struct store_conn *conn;
    struct problem problem;
    uint64_t revision;
    snprintf(status.store_kind, sizeof status.store_kind, "%s", store_kind(s->store));
    bool ask =
        reach_is_there(s->reach, status.store_trouble); /* who asks for the status should not wait for a hung one */
    bool open_reserve = false;
    int r = ask ? store_reader_take(s->store, &conn, &problem) : -ENOTCONN;
    if (ask && r < 0) { /* nobody else has noticed yet */
        snprintf(status.store_trouble, sizeof status.store_trouble, "%.255s", problem.detail);
    }
    if (r == 0) {
        char text[8] = "";
        (void)settings_get(conn, POOL_RESERVE_SETTING, text, sizeof text);
        open_reserve = text[0] == '1';
        status.store_ok =
            changes_revision(conn, &revision) == 0 && (!count || blocks_free_size(conn, &status.pool_free) == 0);
        store_reader_put(s->store, conn);
    }
    status.pool_total = pool_capacity(&s->identity.gateway.pool, open_reserve);
    status.connected_routers = usage_connected(s->usage) + fleet_connected(s->fleet);
    snprintf(status.gateway_name, sizeof status.gateway_name, "%s", s->identity.name);
    snprintf(status.gateway_region, sizeof status.gateway_region, "%s", s->identity.region);
    status.memory_bytes = memory_bytes();
    status.store_refused = reach_is_refused(s->reach);
    const struct ledger_counts counts = ledger_counts(s->ledger);
    status.revision = counts.revision;
    status.tenants = counts.tenants;
    status.routers = counts.routers;
    const struct reconcile_status reconciled = reconcile_status(s->reconcile);
    status.reconciled_at = reconciled.at;
    status.reconcile_ms = reconciled.ms;
    status.mended = reconciled.mended;
    status.renewed = reconciled.renewed;
    struct plane_status plane;
    plane_status(s->plane, &plane);
    status.backend = plane.state;
    status.in_sync = plane.in_sync;
    snprintf(status.trouble, sizeof status.trouble, "%s", plane.trouble);
    status.severed = follow_is_severed(s->follow);
    fleet_warning(s->fleet, status.warning);
    if (!status.warning[0]) {
        lan_guard_warning(s->lan_guard, status.warning);
    }
    if (status.severed) {
        snprintf(status.warning, sizeof status.warning, "%s",
                 "the database could not be followed for so long that routers without a session are not let in");
    }
    *ret_status = status;
}

void service_status(struct service *s, struct service_status *ret_status) {
    look(s, true, ret_status);
}

void service_health(struct service *s, struct service_status *ret_status) {
    look(s, false, ret_status);
}

bool service_store_may_leave(const struct service *s) {
    return store_is_shared(s->store);
}

int service_counters(struct service *s, backend_counter_fn *fn, void *context, struct problem *ret_problem) {
    return plane_counters(s->plane, fn, context) < 0
               ? problem_set(ret_problem, PROBLEM_UNAVAILABLE, "data-plane-away", NULL,
                             "The data plane does not answer; it is tried again every few seconds.")
               : 0;
}

int service_reconcile(struct service *s, struct problem *ret_problem) {
    return reconcile_run(s->reconcile, ret_problem);
}

void service_gateway(struct service *s, struct service_gateway *ret_gateway) {
    pthread_mutex_lock(&s->identity.mutex);
    *ret_gateway = s->identity.gateway;
    pthread_mutex_unlock(&s->identity.mutex);
}
