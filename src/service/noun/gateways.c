/* The gateways of this database, for the operator. */
#include "service/noun/gateways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/fleet/fleet.h"
#include "service/noun/noun.h"
#include "service/plane/plane.h"
#include "service/record/ledger.h"
#include "service/sync/follow.h"
#include "service/usage/usage.h"
#include "store/store.h"

void gateways_presence(struct service *s, struct presence *ret_presence) {
    struct plane_status plane;
    plane_status(s->plane, &plane);
    *ret_presence = (struct presence){
        .connected = usage_connected(s->usage),
        .revision = store_is_shared(s->store) ? follow_applied(s->follow) : ledger_revision(s->ledger),
    };
    snprintf(ret_presence->backend, sizeof ret_presence->backend, "%s", plane.state.name);
}

int service_gateway_list(struct service *s, const struct caller *c, struct gateway_info **ret_gateways,
                         size_t *ret_count, struct problem *ret_problem) {
    struct gateway_row *rows = NULL;
    struct presence presence;
    size_t count = 0, self = 0;
    int64_t now = 0;
    int r = access_admin(c, NULL, ret_problem);
    if (r < 0) {
        return r;
    }
    gateways_presence(s, &presence);
    r = fleet_list(s->fleet, &presence, &rows, &count, &self, &now, ret_problem);
    if (r < 0) {
        return r;
    }
    struct gateway_info *list = calloc(count + 1, sizeof *list);
    if (!list) {
        free(rows);
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    for (size_t i = 0; i < count; i++) {
        const struct gateway_row *row = &rows[i];
        struct gateway_info *info = &list[i];
        info->self = i == self;
        info->alive = fleet_is_alive(row, now);
        memcpy(info->name, row->name, sizeof info->name);
        memcpy(info->endpoint, row->endpoint, sizeof info->endpoint);
        memcpy(info->region, row->region, sizeof info->region);
        memcpy(info->version, row->version, sizeof info->version);
        memcpy(info->backend, row->backend, sizeof info->backend);
        info->revision = row->revision;
        info->connected_routers = row->connected_routers;
        info->load_percent = row->load_percent;
        info->clock_offset_ms = row->clock_offset_ms;
        info->started_at = row->started_at;
        info->heartbeat_at = row->heartbeat_at;
    }
    free(rows);
    *ret_gateways = list;
    *ret_count = count;
    return 0;
}
