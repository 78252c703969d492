#include "api/noun/dialin.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void dialin_open(struct dialin *d, const struct service_gateway *gateway, const struct tenant *tenant) {
    d->gateway = *gateway;
    d->tenant_id = tenant->id;
    memcpy(d->tenant_name, tenant->name, sizeof d->tenant_name);
    d->base_count = export_allowed_base(tenant->addressing, &gateway->pool, &gateway->ula, &gateway->hub_address,
                                        &tenant->subnet, d->base);
    d->lan_count = 0;
}

void dialin_learn(struct dialin *d, const struct router *router) {
    for (uint32_t i = 0; i < router->lan_count && d->lan_count < sizeof d->lans / sizeof *d->lans; i++) {
        d->lans[d->lan_count++] = (struct dialin_lan){.router_id = router->id, .prefix = router->lans[i]};
    }
}

/* Page by page, until all are seen or there is no room for more. */
static int learn_all(struct dialin *d, struct service *service, const struct caller *caller,
                     struct problem *ret_problem) {
    enum { PAGE = 256 };
    struct router_filter filter = {.tenant_id = d->tenant_id, .with_lans = true};
    char cursor[64] = "";
    int error = 0;
    struct router *page = calloc(PAGE, sizeof *page);
    if (!page) {
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, "out-of-memory", "", "Out of memory; try again.");
    }
    do {
        char next[64] = "";
        size_t count = 0;
        error = service_router_list(service, caller, &filter, cursor, PAGE, page, &count, next, ret_problem);
        for (size_t i = 0; error == 0 && i < count; i++) {
            dialin_learn(d, &page[i]);
        }
        memcpy(cursor, next, sizeof cursor);
    } while (error == 0 && cursor[0] && d->lan_count < sizeof d->lans / sizeof *d->lans);
    sodium_memzero(page, PAGE * sizeof *page);
    free(page);
    return error;
}

int dialin_open_all(struct dialin *d, struct service *service, const struct caller *caller,
                    const struct uuid *tenant_id, struct problem *ret_problem) {
    struct service_gateway gateway;
    struct tenant tenant;
    int error = service_tenant_get(service, caller, tenant_id, &tenant, ret_problem);
    if (error < 0) {
        return error;
    }
    service_gateway(service, &gateway);
    dialin_open(d, &gateway, &tenant);
    return learn_all(d, service, caller, ret_problem);
}

int dialin_format(const struct dialin *d, const struct export_format *format, const struct router *router,
                  const struct key *private_key, bool with_preshared_key, struct buf *out) {
    struct prefix allowed[EXPORT_ALLOWED_BASE_MAX + DIALIN_LANS_MAX];
    size_t room = sizeof allowed / sizeof *allowed;
    size_t count = d->base_count;
    memcpy(allowed, d->base, count * sizeof *allowed);
    for (size_t i = 0; i < d->lan_count; i++) {
        if (!uuid_equal(&d->lans[i].router_id, &router->id)) {
            count = export_allowed_add(allowed, count, room, &d->lans[i].prefix, 1);
        }
    }
    struct export_router config = {
        .router_name = router->name,
        .tenant_name = d->tenant_name,
        .public_key = router->public_key,
        .private_key = private_key,
        .preshared_key = with_preshared_key && !key_is_zero(&router->preshared_key) ? &router->preshared_key : NULL,
        .preshared_key_withheld = !with_preshared_key && !key_is_zero(&router->preshared_key),
        .address = router->address,
        .address6 = router->address6,
        .gateway_key = d->gateway.public_key,
        .endpoint_host = d->gateway.endpoint_host,
        .endpoint_port = d->gateway.endpoint_port,
        .allowed = allowed,
        .allowed_count = count,
        .mtu = d->gateway.mtu,
        .keepalive_s = EXPORT_KEEPALIVE_S,
    };
    return format->format(&config, out);
}
