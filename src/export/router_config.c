#include "export/router_config.h"

#include <errno.h>
#include <string.h>

size_t export_allowed_base(enum addressing addressing, const struct prefix *pool, const struct prefix *ula,
                           const struct ip_addr *hub_address, const struct prefix *subnet,
                           struct prefix ret_allowed[EXPORT_ALLOWED_BASE_MAX]) {
    size_t count = 0;
    switch (addressing) {
    case ADDRESSING_UNIQUE:
        ret_allowed[count++] = *pool;
        break;
    case ADDRESSING_PRIVATE:
        ret_allowed[count++] = prefix_make(hub_address, ip_bits(hub_address));
        ret_allowed[count++] = *subnet;
        break;
    }
    if (ula->addr.family) {
        ret_allowed[count++] = *ula;
    }
    return count;
}

size_t export_allowed_add(struct prefix *allowed, size_t count, size_t room, const struct prefix *lans,
                          size_t lan_count) {
    for (size_t i = 0; i < lan_count && count < room; i++) {
        size_t at = 0;
        while (at < count && !prefix_covers(&allowed[at], &lans[i])) {
            at++;
        }
        if (at == count) {
            allowed[count++] = lans[i];
        }
    }
    return count;
}

sa_family_t export_host_family(const char *host) {
    struct ip_addr addr;
    return ip_parse(host, &addr) == 0 ? addr.family : 0;
}

/* A host name's characters (RFC 1123) with "_", which DNS allows; or a numeric address. Nothing else can stand in an
 * endpoint, and none of it ends a line or opens a bracket. */
static int host_check(const char *host) {
    if (export_host_family(host)) {
        return 0;
    }
    size_t size = strlen(host);
    if (size == 0 || size > 253 || strchr("-.", host[0])) {
        return -EINVAL;
    }
    const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    return strspn(host, allowed) == size ? 0 : -EINVAL;
}

int export_router_check(const struct export_router *r) {
    if (!r->router_name || name_fault(r->router_name) || !r->tenant_name || name_fault(r->tenant_name)) {
        return -EINVAL;
    }
    if (!r->endpoint_host || host_check(r->endpoint_host) < 0 || r->endpoint_port == 0) {
        return -EINVAL;
    }
    if (!r->address.family && !r->address6.family) {
        return -EINVAL;
    }
    return r->allowed_count > 0 && r->keepalive_s <= UINT16_MAX ? 0 : -EINVAL;
}
