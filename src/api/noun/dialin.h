/* The configuration a router dials in with, as text: joins a router, its tenant and the gateway for export/. */
#pragma once

#include "base/buf.h"
#include "export/formats.h"
#include "service/service.h"

/* LANs of a tenant's other routers that one configuration carries at most. */
#define DIALIN_LANS_MAX 64

struct dialin_lan {
    struct uuid router_id; /* whose it is: a router's own LANs are not behind its tunnel */
    struct prefix prefix;
};

/* What is the same for all routers of a tenant. A plain value. */
struct dialin {
    struct service_gateway gateway;
    struct uuid tenant_id;
    char tenant_name[NAME_SIZE];
    struct prefix base[EXPORT_ALLOWED_BASE_MAX];
    size_t base_count;
    struct dialin_lan lans[DIALIN_LANS_MAX + ROUTER_LANS_MAX];
    size_t lan_count;
};

void dialin_open(struct dialin *dialin, const struct service_gateway *gateway, const struct tenant *tenant);
/* Takes note of a router's LANs, as far as there is room. */
void dialin_learn(struct dialin *dialin, const struct router *router);
/* Opens for the tenant of that id and learns the LANs of all its routers. 0, or -errno with `ret_problem`. */
int dialin_open_all(struct dialin *dialin, struct service *service, const struct caller *caller,
                    const struct uuid *tenant_id, struct problem *ret_problem);
/* Appends a router's text. `private_key` NULL: a comment says where it belongs. 0, -EINVAL, -EMSGSIZE, -ENOMEM. */
int dialin_format(const struct dialin *dialin, const struct export_format *format, const struct router *router,
                  const struct key *private_key, bool with_preshared_key, struct buf *out);
