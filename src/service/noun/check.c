/* Is what the caller gave valid? Each problem names the field and the way out. */
#include <errno.h>
#include <stdio.h>

#include "service/noun/lan_guard.h"
#include "service/noun/noun.h"
#include "store/noun/lans.h"

/* Prefixes that mean something else wherever they appear (RFC 6890 and its registries). */
static const struct {
    const char *prefix;
    const char *what;
} special[] = {
    {"0.0.0.0/8", "this host"},   {"127.0.0.0/8", "loopback"},      {"169.254.0.0/16", "link-local"},
    {"224.0.0.0/4", "multicast"}, {"240.0.0.0/4", "reserved"},      {"::/128", "the unspecified address"},
    {"::1/128", "loopback"},      {"::ffff:0:0/96", "mapped IPv4"}, {"fe80::/10", "link-local"},
    {"ff00::/8", "multicast"},
};

/* What a prefix may be whoever it belongs to. */
static int check_prefix(struct service *s, const struct prefix *p, const char *field, const char *noun,
                        struct problem *ret_problem) {
    char text[PREFIX_TEXT_SIZE], mended[PREFIX_TEXT_SIZE], hub[IP_TEXT_SIZE];
    if (!p->addr.family || p->length > ip_bits(&p->addr)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "bad-prefix", field,
                           "This is not a prefix; write one as 192.168.88.0/24.");
    }
    prefix_format(p, text);
    struct prefix clean = prefix_make(&p->addr, p->length);
    if (!prefix_equal(&clean, p)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "host-bits-set", field,
                           "%s has bits set behind its length; the prefix is %s.", text, prefix_format(&clean, mended));
    }
    if (p->length == 0) {
        return problem_set(ret_problem, PROBLEM_INVALID, "default-route", field,
                           "A default route cannot be a %s; name the networks one by one.", noun);
    }
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        struct prefix other;
        if (prefix_parse(special[i].prefix, &other, NULL) == 0 && prefix_overlaps(&other, p)) {
            return problem_set(ret_problem, PROBLEM_INVALID, "special-prefix", field,
                               "%s overlaps %s (%s), which cannot be a %s; give another.", text, special[i].prefix,
                               special[i].what, noun);
        }
    }
    if (prefix_contains(p, &s->identity.gateway.hub_address)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "contains-hub", field,
                           "%s contains the hub's address %s; give a prefix without it.", text,
                           ip_format(&s->identity.gateway.hub_address, hub));
    }
    return 0;
}

static int check_addressing(struct service *s, enum addressing addressing, struct problem *ret_problem) {
    if (addressing == ADDRESSING_UNIQUE || plane_ops(s->plane)->private_tenants) {
        return 0;
    }
    return problem_set(ret_problem, PROBLEM_INVALID, "private-needs-engine", "addressing",
                       "This gateway's data plane is WireGuard in the kernel, which has one address space for all: it "
                       "cannot carry tenants with private addressing. Use unique addressing, or set [backend] kind = "
                       "engine and restart sallyportd.");
}

int check_tenant(struct service *s, const struct tenant_spec *spec, struct problem *ret_problem) {
    const struct prefix *subnet = &spec->subnet;
    char text[PREFIX_TEXT_SIZE], pool[PREFIX_TEXT_SIZE];
    int r = name_check(spec->name, ret_problem);
    r = r < 0 ? r : check_addressing(s, spec->addressing, ret_problem);
    if (r < 0 || !subnet->addr.family) {
        return r;
    }
    if (subnet->addr.family != AF_INET) {
        return problem_set(ret_problem, PROBLEM_INVALID, "subnet-family", "subnet",
                           "The subnet must be IPv4; IPv6 addresses come from the gateway by themselves.");
    }
    r = check_prefix(s, subnet, "subnet", "subnet", ret_problem);
    if (r < 0) {
        return r;
    }
    unsigned least = 8;
    switch (spec->addressing) {
    case ADDRESSING_UNIQUE:
        least = 16;
        if (!prefix_covers(&s->identity.gateway.pool, subnet)) {
            return problem_set(ret_problem, PROBLEM_INVALID, "subnet-outside-pool", "subnet",
                               "%s is not in the pool %s, from which unique tenants get their addresses; choose one in "
                               "it, leave the subnet out, or use private addressing.",
                               prefix_format(subnet, text), prefix_format(&s->identity.gateway.pool, pool));
        }
        break;
    case ADDRESSING_PRIVATE:
        break;
    }
    if (subnet->length < least || subnet->length > 30) {
        return problem_set(ret_problem, PROBLEM_INVALID, "subnet-length", "subnet",
                           "The subnet of a tenant with %s addressing is a /%u to /30.",
                           addressing_name(spec->addressing), least);
    }
    return 0;
}

int check_public_key(struct service *s, const struct key *key, struct problem *ret_problem) {
    if (key_is_low_order(key)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "weak-public-key", "public_key",
                           "This key is one of the few points that give every session the same secret; no real key is. "
                           "Make a new pair (wg genkey | wg pubkey).");
    }
    if (key_equal(key, &s->identity.gateway.public_key)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "gateways-own-key", "public_key",
                           "This is the gateway's own public key; give the router's.");
    }
    return 0;
}

int check_lans(struct service *s, const struct prefix *lans, size_t count, struct problem *ret_problem) {
    char field[32], text[PREFIX_TEXT_SIZE], other[PREFIX_TEXT_SIZE];
    if (count > ROUTER_LANS_MAX) {
        return problem_set(ret_problem, PROBLEM_INVALID, "too-many-lans", "lans",
                           "A router has at most %d LANs; merge neighbours into shorter prefixes.", ROUTER_LANS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        snprintf(field, sizeof field, "lans[%zu]", i);
        int r = check_prefix(s, &lans[i], field, "LAN", ret_problem);
        if (r < 0) {
            return r;
        }
        if (prefix_overlaps(&lans[i], &s->identity.gateway.ula)) {
            return problem_set(ret_problem, PROBLEM_INVALID, "lan-overlaps-ula", field,
                               "%s overlaps %s, from which the gateway numbers routers; use another prefix.",
                               prefix_format(&lans[i], text), prefix_format(&s->identity.gateway.ula, other));
        }
        for (size_t j = 0; j < i; j++) {
            if (prefix_overlaps(&lans[i], &lans[j])) {
                return problem_set(ret_problem, PROBLEM_INVALID, "lan-overlap", field,
                                   "%s overlaps %s in the same list; leave one out.", prefix_format(&lans[i], text),
                                   prefix_format(&lans[j], other));
            }
        }
    }
    return 0;
}

static int taken_lan(const struct caller *c, const struct tenant_row *tenant, const struct prefix *lan,
                     const struct lan_owner *owner, const char *field, struct problem *ret_problem) {
    char text[PREFIX_TEXT_SIZE], other[PREFIX_TEXT_SIZE], id[UUID_TEXT_SIZE];
    prefix_format(lan, text);
    const char *way_out = tenant->tenant.addressing == ADDRESSING_PRIVATE
                              ? "use another prefix, or take it from that router first"
                              : "use another prefix, or a tenant with private addressing, which may overlap anybody";
    if (access_sees(c, &owner->tenant_id)) {
        return problem_set(ret_problem, PROBLEM_CONFLICT, "lan-overlap", field, "%s overlaps %s behind router %s; %s.",
                           text, prefix_format(&owner->prefix, other), uuid_format(&owner->router_id, id), way_out);
    }
    return problem_set(ret_problem, PROBLEM_CONFLICT, "lan-overlap", field, "%s is in use; %s.", text, way_out);
}

int check_lans_free(struct service *s, struct store_conn *conn, const struct caller *c, const struct tenant_row *tenant,
                    const struct prefix *lans, size_t count, struct problem *ret_problem) {
    bool private_space = tenant->tenant.addressing == ADDRESSING_PRIVATE;
    const struct prefix *numbers = private_space ? &tenant->tenant.subnet : &s->identity.gateway.pool;
    char field[32], text[PREFIX_TEXT_SIZE], other[PREFIX_TEXT_SIZE];
    for (size_t i = 0; i < count; i++) {
        struct lan_owner owner;
        snprintf(field, sizeof field, "lans[%zu]", i);
        if (prefix_overlaps(&lans[i], numbers)) {
            return problem_set(ret_problem, PROBLEM_CONFLICT, "lan-overlaps-tunnel", field,
                               "%s overlaps %s, from which routers get their tunnel addresses; use another prefix.",
                               prefix_format(&lans[i], text), prefix_format(numbers, other));
        }
        int r = lan_guard_check(s->lan_guard, conn, c, tenant->tenant.addressing, &lans[i], field, ret_problem);
        if (r < 0) {
            return r;
        }
        r = lans_overlap(conn, private_space ? tenant->id : LAN_SPACE_SHARED, &lans[i], &owner);
        if (r == 0) {
            return taken_lan(c, tenant, &lans[i], &owner, field, ret_problem);
        }
        if (r != -ENOENT) {
            return store_problem(conn, r, ret_problem);
        }
    }
    return 0;
}
