/* Routers as plain WireGuard peers, with their secrets, for those who leave or keep a copy: "wg setconf" text is made
 * of them (api/noun/export.c). Errors and threads as service.h has them. */
#pragma once

#include "service/service.h"

struct exported_router {
    struct router router; /* with its preshared key: wipe */
    char tenant_name[NAME_SIZE];
    enum addressing addressing;
    bool silent;      /* it or its tenant is disabled: no peer of the data plane */
    bool seal_broken; /* its preshared key cannot be read */
};

/* Up to `limit` routers after `*after` (0: from the start), which moves on, in order of creation; of one tenant unless
 * `tenant_id` is zero. Fewer than `limit`: the end. */
int service_export_list(struct service *s, const struct caller *c, const struct uuid *tenant_id, int64_t *after,
                        size_t limit, struct exported_router *ret_routers, size_t *ret_count,
                        struct problem *ret_problem);
