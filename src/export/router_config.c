#include "export/router_config.h"

#include <errno.h>
#include <string.h>

/* Of one prefix: `a` the lower half, `b` the upper one. */
static bool are_halves(const struct prefix *a, const struct prefix *b) {
    if (a->addr.family != b->addr.family || a->length != b->length || a->length < 2 || ip_equal(&a->addr, &b->addr)) {
        return false;
    }
    struct prefix whole = prefix_make(&b->addr, a->length - 1);
    return ip_equal(&whole.addr, &a->addr);
}

size_t export_allowed_merge(struct prefix *prefixes, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && prefix_covers(&prefixes[kept - 1], &prefixes[i])) {
            continue;
        }
        prefixes[kept++] = prefixes[i];
        while (kept > 1 && are_halves(&prefixes[kept - 2], &prefixes[kept - 1])) {
            kept--;
            prefixes[kept - 1].length--;
        }
    }
    return kept;
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
