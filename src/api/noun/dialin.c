#include "api/noun/dialin.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

static void add(struct dialin *d, const struct prefix *prefix, const struct uuid *router_id) {
    if (!prefix->addr.family || d->failed) {
        return;
    }
    struct dialin_network *grown = array_grow(d->networks, &d->network_room, d->network_count + 1, sizeof *grown);
    if (!grown) {
        d->failed = true;
        return;
    }
    d->networks = grown;
    d->networks[d->network_count++] = (struct dialin_network){.prefix = *prefix, .router_id = *router_id};
    d->sorted = false;
}

static const struct uuid of_all;

/* The hub, at both its addresses, and the ULA, in which all routers are. */
static void begin(struct dialin *d, const struct service_gateway *gateway, const struct tenant *tenant) {
    struct prefix hub = prefix_make(&gateway->hub_address, ip_bits(&gateway->hub_address));
    d->gateway = *gateway;
    d->tenant_id = tenant->id;
    memcpy(d->tenant_name, tenant->name, sizeof d->tenant_name);
    d->network_count = 0;
    d->failed = false;
    add(d, &hub, &of_all);
    add(d, &gateway->ula, &of_all);
}

void dialin_open(struct dialin *d, const struct service_gateway *gateway, const struct tenant *tenant) {
    begin(d, gateway, tenant);
    add(d, &tenant->subnet, &of_all);
}

static bool is_known(const struct dialin *d, const struct ip_addr *addr) {
    bool known = false;
    for (size_t i = 0; i < d->network_count && !known; i++) {
        known = uuid_is_zero(&d->networks[i].router_id) && prefix_contains(&d->networks[i].prefix, addr);
    }
    return known;
}

static void learn_lans(struct dialin *d, const struct router *router) {
    for (uint32_t i = 0; i < router->lan_count; i++) {
        add(d, &router->lans[i], &router->id);
    }
}

void dialin_learn(struct dialin *d, const struct router *router) {
    struct prefix address = prefix_make(&router->address, ip_bits(&router->address));
    if (router->address.family && !is_known(d, &router->address)) {
        add(d, &address, &router->id);
    }
    learn_lans(d, router);
}

/* Page by page, until all are seen. */
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
            learn_lans(d, &page[i]);
        }
        memcpy(cursor, next, sizeof cursor);
    } while (error == 0 && cursor[0]);
    sodium_memzero(page, PAGE * sizeof *page);
    free(page);
    return error;
}

int dialin_open_all(struct dialin *d, struct service *service, const struct caller *caller,
                    const struct uuid *tenant_id, struct problem *ret_problem) {
    struct service_gateway gateway;
    struct tenant tenant;
    struct prefix *networks;
    size_t count;
    d->tenant_id = *tenant_id;
    d->failed = true; /* should this fail, nothing of the tenant it was open for is taken for this one's */
    int error = service_tenant_get(service, caller, tenant_id, &tenant, ret_problem);
    error = error < 0 ? error : service_tenant_networks(service, caller, tenant_id, &networks, &count, ret_problem);
    if (error < 0) {
        return error;
    }
    service_gateway(service, &gateway);
    begin(d, &gateway, &tenant);
    for (size_t i = 0; i < count; i++) {
        add(d, &networks[i], &of_all);
    }
    free(networks);
    error = learn_all(d, service, caller, ret_problem);
    d->failed = d->failed || error < 0;
    return error;
}

static int compare(const void *a, const void *b) {
    const struct dialin_network *one = a, *other = b;
    return prefix_compare(&one->prefix, &other->prefix);
}

static bool is_wanted(enum dial_family family, sa_family_t of) {
    switch (family) {
    case DIAL_BOTH:
        return true;
    case DIAL_IPV4:
        return of == AF_INET;
    case DIAL_IPV6:
        return of == AF_INET6;
    }
    return false;
}

/* What lies behind this router's tunnel, in `d->allowed`. */
static int allow(struct dialin *d, enum dial_family family, const struct router *router, size_t *ret_count) {
    struct prefix *grown = array_grow(d->allowed, &d->allowed_room, d->network_count, sizeof *grown);
    size_t count = 0;
    if (!grown || d->failed) {
        return -ENOMEM;
    }
    d->allowed = grown;
    if (!d->sorted) {
        qsort(d->networks, d->network_count, sizeof *d->networks, compare);
        d->sorted = true;
    }
    for (size_t i = 0; i < d->network_count; i++) {
        const struct dialin_network *network = &d->networks[i];
        if (is_wanted(family, network->prefix.addr.family) && !uuid_equal(&network->router_id, &router->id)) {
            d->allowed[count++] = network->prefix;
        }
    }
    *ret_count = export_allowed_merge(d->allowed, count);
    return 0;
}

int dialin_format(struct dialin *d, const struct export_format *format, enum dial_family family,
                  const struct router *router, const struct key *private_key, bool with_preshared_key,
                  struct buf *out) {
    size_t count;
    int error = allow(d, family, router, &count);
    if (error < 0) {
        return error;
    }
    struct export_router config = {
        .router_name = router->name,
        .tenant_name = d->tenant_name,
        .public_key = router->public_key,
        .private_key = private_key,
        .preshared_key = with_preshared_key && !key_is_zero(&router->preshared_key) ? &router->preshared_key : NULL,
        .preshared_key_withheld = !with_preshared_key && !key_is_zero(&router->preshared_key),
        .gateway_key = d->gateway.public_key,
        .endpoint_host = d->gateway.endpoint_host,
        .endpoint_port = d->gateway.endpoint_port,
        .allowed = d->allowed,
        .allowed_count = count,
        .mtu = d->gateway.mtu,
        .keepalive_s = EXPORT_KEEPALIVE_S,
    };
    if (is_wanted(family, AF_INET)) {
        config.address = router->address;
    }
    if (is_wanted(family, AF_INET6)) {
        config.address6 = router->address6;
    }
    return format->format(&config, out);
}

void dialin_close(struct dialin *d) {
    free(d->networks);
    free(d->allowed);
    *d = (struct dialin){0};
}
