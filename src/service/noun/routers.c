#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/noun/noun.h"
#include "store/noun/lans.h"
#include "store/noun/sessions.h"

/* The ULA's prefix, zeros, and the hub address in the last four bytes: unique because the hub address is. */
struct ip_addr router_address6(const struct service *s, const struct ip_addr *hub_address) {
    struct ip_addr addr = s->identity.gateway.ula.addr;
    memcpy(addr.bytes + 12, hub_address->bytes, 4);
    return addr;
}

/* Keys as the caller brought them, or made here. */
static int prepare_keys(struct service *s, const struct router_spec *spec, struct router_made *made,
                        struct problem *ret_problem) {
    if (key_is_zero(&spec->public_key)) {
        key_make_private(&made->private_key);
        key_public(&made->private_key, &made->router.public_key);
    } else {
        int r = check_public_key(s, &spec->public_key, ret_problem);
        if (r < 0) {
            return r;
        }
        made->router.public_key = spec->public_key;
    }
    if (spec->generate_preshared_key) {
        key_make_preshared(&made->router.preshared_key);
    } else {
        made->router.preshared_key = spec->preshared_key;
    }
    return 0;
}

int router_prepare(struct service *s, const struct router_spec *spec, int64_t now, struct router_made *ret_made,
                   struct problem *ret_problem) {
    int r = name_check(spec->name, ret_problem);
    r = r < 0 ? r : check_lans(s, spec->lans, spec->lan_count, ret_problem);
    if (r == 0 && spec->address.family && spec->address.family != AF_INET) {
        r = problem_set(ret_problem, PROBLEM_INVALID, "address-family", "address",
                        "The address must be IPv4; the IPv6 address comes from the gateway by itself.");
    }
    if (r < 0) {
        return r;
    }
    struct router *router = &ret_made->router;
    memset(ret_made, 0, sizeof *ret_made);
    router->id = spec->id;
    router->status = ROUTER_PENDING;
    router->created_at = now;
    router->updated_at = now;
    snprintf(router->name, sizeof router->name, "%s", spec->name);
    router->lan_count = (uint32_t)spec->lan_count;
    if (spec->lan_count) {
        memcpy(router->lans, spec->lans, spec->lan_count * sizeof *spec->lans);
    }
    if (uuid_is_zero(&router->id)) {
        uuid_make((uint64_t)now / 1000, &router->id);
    }
    return prepare_keys(s, spec, ret_made, ret_problem);
}

static int address_problem(const struct service *s, const struct write *w, int error, const struct tenant *tenant,
                           enum range_space space, const struct ip_addr *wish, struct problem *ret_problem) {
    char text[PREFIX_TEXT_SIZE], address[IP_TEXT_SIZE];
    switch (-error) {
    case ERANGE:
        return problem_set(
            ret_problem, PROBLEM_INVALID, "address-outside-tenant", "address",
            "%s is not among the tenant's addresses (%s%s); choose one of them, or leave the address out.",
            ip_format(wish, address), prefix_format(&tenant->subnet, text),
            tenant->addressing == ADDRESSING_UNIQUE ? " and the blocks it grew by" : "");
    case EEXIST:
        return problem_set(ret_problem, PROBLEM_CONFLICT, "duplicate-address", "address",
                           "%s is in use, or the first or last of its block; choose another, or leave the address out.",
                           ip_format(wish, address));
    case ENOSPC:
        if (space == RANGE_OWN) {
            return problem_set(
                ret_problem, PROBLEM_EXHAUSTED, "subnet-exhausted", NULL,
                "The tenant's subnet %s has no free address left. Delete routers that are not needed, or "
                "make a tenant with a larger subnet.",
                prefix_format(&tenant->subnet, text));
        }
        return problem_set(ret_problem, PROBLEM_EXHAUSTED, "pool-exhausted", NULL,
                           "The pool %s has no free addresses left. Delete tenants that are not needed, or widen the "
                           "gateway's pool.",
                           prefix_format(&s->identity.gateway.pool, text));
    }
    return store_problem(w->conn, error, ret_problem);
}

/* The router's addresses: its tunnel address as wished or the next one, and for a private tenant a hub address too. */
static int number_router(struct service *s, struct write *w, struct tenant_row *tenant, const struct ip_addr *wish,
                         struct router *router, struct problem *ret_problem) {
    enum range_space space = tenant->tenant.addressing == ADDRESSING_PRIVATE ? RANGE_OWN : RANGE_HUB;
    uint32_t address = ip_to_v4(wish), hub;
    int r = wish->family ? pool_address_take_at(&w->pool, tenant, space, address)
                         : pool_address_take(&w->pool, tenant, space, &address);
    if (r < 0) {
        return address_problem(s, w, r, &tenant->tenant, space, wish, ret_problem);
    }
    hub = address;
    if (space == RANGE_OWN) {
        r = pool_address_take(&w->pool, tenant, RANGE_HUB, &hub);
        if (r < 0) {
            return address_problem(s, w, r, &tenant->tenant, RANGE_HUB, wish, ret_problem);
        }
    }
    router->address = ip_from_v4(address);
    router->hub_address = ip_from_v4(hub);
    router->address6 = router_address6(s, &router->hub_address);
    return 0;
}

static int key_problem(const struct caller *c, const struct router_row *owner, struct problem *ret_problem) {
    char id[UUID_TEXT_SIZE];
    if (access_sees(c, &owner->router.tenant_id)) {
        return problem_set(ret_problem, PROBLEM_CONFLICT, "duplicate-public-key", "public_key",
                           "Router %s has this public key already; every router needs a pair of its own.",
                           uuid_format(&owner->router.id, id));
    }
    return problem_set(ret_problem, PROBLEM_CONFLICT, "duplicate-public-key", "public_key",
                       "This public key is in use already; every router needs a pair of its own.");
}

/* Whether there is a router with the id that this one was given: a repeat meets the first try in its key, its address
 * or its LANs as well, and is to hear that it is there already. */
static bool is_there(struct write *w, const struct router *router, struct problem *ret_problem) {
    struct router_row row;
    char id[UUID_TEXT_SIZE];
    if (routers_get(w->conn, &router->id, &row) < 0) {
        return false;
    }
    (void)problem_set(ret_problem, PROBLEM_CONFLICT, "duplicate-id", "id",
                      "A router %s exists already; leave the id out to get a new one.", uuid_format(&router->id, id));
    return true;
}

/* Why the database refused a router. */
static int duplicate_problem(struct write *w, const struct caller *c, const struct router *router,
                             struct problem *ret_problem) {
    struct router_row owner;
    if (is_there(w, router, ret_problem)) {
        return -EEXIST;
    }
    int r = routers_get_by_key(w->conn, &router->public_key, &owner);
    if (r == 0) {
        return key_problem(c, &owner, ret_problem);
    }
    if (r != -ENOENT) {
        return store_problem(w->conn, r, ret_problem);
    }
    return problem_set(ret_problem, PROBLEM_CONFLICT, "duplicate-address", "address",
                       "The address is in use already; choose another, or leave the address out.");
}

int router_make(struct service *s, struct write *w, const struct caller *c, struct tenant_row *tenant,
                const struct router_spec *spec, struct router_made *made, struct problem *ret_problem) {
    struct router *router = &made->router;
    router->tenant_id = tenant->tenant.id;
    int r = check_lans_free(s, w->conn, c, tenant, router->lans, router->lan_count, ret_problem);
    r = r < 0 ? r : number_router(s, w, tenant, &spec->address, router, ret_problem);
    if (r < 0) {
        return r == -EEXIST && !uuid_is_zero(&spec->id) && is_there(w, router, ret_problem) ? -EEXIST : r;
    }
    struct router_row row = {.id = write_number(&w->router_ids), .tunnel_id = tenant->id, .router = *router};
    secrets_seal(&s->secrets, &row);
    r = routers_insert(w->conn, &row, &s->identity.columns, &row.id);
    sodium_memzero(&row.router.preshared_key, sizeof row.router.preshared_key);
    if (r == -EEXIST) {
        return duplicate_problem(w, c, router, ret_problem);
    }
    int64_t space = tenant->tenant.addressing == ADDRESSING_PRIVATE ? tenant->id : LAN_SPACE_SHARED;
    r = r < 0 ? r : lans_insert(w->conn, row.id, space, router->lans, router->lan_count);
    r = r < 0 ? r : write_note(w, "router.created", &tenant->tenant.id, &router->id, NULL);
    r = r < 0 ? r : audit_router(w, NULL, router);
    if (r < 0) {
        return store_problem(w->conn, r, ret_problem);
    }
    w->more_routers++;
    return 0;
}

int router_room(const struct tenant_row *tenant, uint64_t more, struct problem *ret_problem) {
    uint32_t limit = tenant->tenant.limits.routers;
    if (limit && tenant->tenant.routers + more > limit) {
        return problem_set(ret_problem, PROBLEM_EXHAUSTED, "router-limit", NULL,
                           "The tenant may have %" PRIu32 " routers and has %" PRIu32
                           ". Delete some, or raise its limit.",
                           limit, tenant->tenant.routers);
    }
    if (tenant->tenant.routers + more > POOL_ROUTERS_MAX) {
        return problem_set(ret_problem, PROBLEM_EXHAUSTED, "router-limit", NULL,
                           "A tenant has at most %d routers; make another tenant.", POOL_ROUTERS_MAX);
    }
    return 0;
}

/* Whether routers of the tenant belong into the data plane. */
static bool in_plane(const struct tenant_row *tenant, const struct router *router) {
    return tenant->tenant.status == TENANT_ACTIVE && router->status != ROUTER_DISABLED;
}

static bool has_routes(const struct tenant_row *tenant) {
    return tenant->tenant.addressing == ADDRESSING_UNIQUE;
}

int service_router_create(struct service *s, const struct caller *c, const struct router_spec *spec,
                          struct router_made *ret_made, struct problem *ret_problem) {
    struct router_made made = {0};
    struct tenant_row tenant;
    struct write w;
    struct receipt receipt;
    struct desired_change change;
    int r = access_write(c, &spec->tenant_id, "tenant", ret_problem);
    r = r < 0 ? r : router_prepare(s, spec, clock_wall_us(), &made, ret_problem);
    r = r < 0 ? r : caller_write_begin(s, c, &w, ret_problem);
    if (r < 0) {
        goto end;
    }
    r = tenants_get(w.conn, &spec->tenant_id, &tenant);
    if (r < 0) {
        r = r == -ENOENT ? access_not_found("tenant", ret_problem) : store_problem(w.conn, r, ret_problem);
        goto fail;
    }
    r = router_room(&tenant, 1, ret_problem);
    r = r < 0 ? r : router_make(s, &w, c, &tenant, spec, &made, ret_problem);
    if (r < 0) {
        goto fail;
    }
    r = tenants_add_routers(w.conn, tenant.id, 1);
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit(&w, &receipt, ret_problem);
    if (r < 0) {
        goto fail;
    }
    force_begin(&s->force, &receipt);
    if (in_plane(&tenant, &made.router)) {
        desired_peer_of(&made.router, &change);
        (void)plane_apply(s->plane, &change, 1);
        sodium_memzero(&change, sizeof change);
        if (has_routes(&tenant)) {
            (void)plane_routes(s->plane, made.router.lans, made.router.lan_count, NULL, 0);
        }
    }
    force_end(&s->force);
    *ret_made = made;
    goto end;
fail:
    write_abort(&w);
end:
    sodium_memzero(&made, sizeof made);
    return r;
}

enum purpose {
    PURPOSE_READ,
    PURPOSE_WRITE,
    PURPOSE_MEND, /* gives it new keys: a broken seal is no obstacle */
};

/* The row with its seal opened, if the caller may see it. */
static int get(struct service *s, struct store_conn *conn, const struct caller *c, const struct uuid *id,
               enum purpose purpose, struct router_row *ret_row, struct problem *ret_problem) {
    int r = routers_get(conn, id, ret_row);
    if (r < 0) {
        int forbidden = c->scope == SCOPE_METRICS ? access_read(c, id, "router", ret_problem) : 0;
        return forbidden < 0  ? forbidden
               : r == -ENOENT ? access_not_found("router", ret_problem)
                              : store_problem(conn, r, ret_problem);
    }
    const struct uuid *tenant_id = &ret_row->router.tenant_id;
    r = purpose == PURPOSE_READ ? access_read(c, tenant_id, "router", ret_problem)
                                : access_write(c, tenant_id, "router", ret_problem);
    if (r == 0 && secrets_unseal(&s->secrets, ret_row, &ret_row->router.preshared_key) < 0 && purpose != PURPOSE_MEND) {
        r = problem_set(
            ret_problem, PROBLEM_INTERNAL, "seal-broken", NULL,
            "The router's preshared key cannot be read: it was altered, or sealed by another gateway's key. "
            "Rotate the router's keys.");
    }
    return r;
}

int service_router_get(struct service *s, const struct caller *c, const struct uuid *id, struct router *ret_router,
                       struct problem *ret_problem) {
    struct store_conn *conn;
    struct router_row row;
    bool whole = false;
    int r = store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        return r;
    }
    for (int i = 0; r == 0 && !whole && i < USAGE_TRIES; i++) {
        uint64_t mark = usage_mark(s->usage);
        r = get(s, conn, c, id, PURPOSE_READ, &row, ret_problem);
        whole = r == 0 && usage_fill_routers(s->usage, mark, &row, 1);
    }
    if (r == 0) {
        *ret_router = row.router;
        sodium_memzero(&row.router.preshared_key, sizeof row.router.preshared_key);
    }
    store_reader_put(s->store, conn);
    return r;
}

/* A row on its way to the caller, with what it does not say yet. */
static void complete(struct service *s, struct router_row *row) {
    (void)usage_fill_routers(s->usage, usage_mark(s->usage), row,
                             1); /* written at this moment: as good as a moment ago */
}

/* Begins a write on one router. On failure nothing is open. */
static int begin(struct service *s, const struct caller *c, const struct uuid *id, enum purpose purpose,
                 struct write *w, struct router_row *ret_row, struct tenant_row *ret_tenant,
                 struct problem *ret_problem) {
    int r = caller_write_begin(s, c, w, ret_problem);
    if (r < 0) {
        return r;
    }
    r = get(s, w->conn, c, id, purpose, ret_row, ret_problem);
    if (r == 0) {
        r = tenants_get_row(w->conn, ret_row->tunnel_id, ret_tenant);
        r = r < 0 ? store_problem(w->conn, r, ret_problem) : 0;
    }
    if (r < 0) {
        write_abort(w);
    }
    return r;
}

/* Its peer leaves every data plane: nobody has a session of it, and all count from zero if it comes back. */
static int leave_sessions(struct write *w, int64_t row_id) {
    int r = sessions_end(w->conn, row_id, 0);
    return r < 0 ? r : sessions_restart_counting(w->conn, row_id, 0);
}

static void session_over(struct router *router) {
    router->connected = false;
    router->connected_since = 0;
    router->gateway[0] = '\0';
}

/* Whether a patch leaves everything as it is: then it is no change, and nobody needs to hear of it. */
static bool changes_nothing(const struct router *router, const struct router_patch *patch) {
    bool same = !patch->has_lans || patch->lan_count == router->lan_count;
    for (size_t i = 0; same && patch->has_lans && i < patch->lan_count; i++) {
        same = prefix_equal(&patch->lans[i], &router->lans[i]);
    }
    return same && (!patch->name || strcmp(patch->name, router->name) == 0);
}

int service_router_patch(struct service *s, const struct caller *c, const struct uuid *id,
                         const struct router_patch *patch, struct router *ret_router, struct problem *ret_problem) {
    struct router_row row;
    struct tenant_row tenant = {0};
    struct write w;
    struct receipt receipt;
    struct desired_change change;
    int r = patch->name ? name_check(patch->name, ret_problem) : 0;
    r = r < 0 || !patch->has_lans ? r : check_lans(s, patch->lans, patch->lan_count, ret_problem);
    r = r < 0 ? r : begin(s, c, id, PURPOSE_WRITE, &w, &row, &tenant, ret_problem);
    if (r < 0) {
        return r;
    }
    struct router *router = &row.router;
    if (changes_nothing(router, patch)) {
        write_abort(&w);
        complete(s, &row);
        *ret_router = *router;
        sodium_memzero(&row, sizeof row);
        return 0;
    }
    const struct router before = *router;
    bool routed = has_routes(&tenant) && in_plane(&tenant, router);
    if (patch->name) {
        snprintf(router->name, sizeof router->name, "%s", patch->name);
    }
    if (patch->has_lans) {
        r = lans_delete(w.conn, row.id);
        if (r < 0) {
            r = store_problem(w.conn, r, ret_problem);
            goto fail;
        }
        r = check_lans_free(s, w.conn, c, &tenant, patch->lans, patch->lan_count, ret_problem);
        if (r < 0) {
            goto fail;
        }
        router->lan_count = (uint32_t)patch->lan_count;
        if (patch->lan_count) {
            memcpy(router->lans, patch->lans, patch->lan_count * sizeof *patch->lans);
        }
        int64_t space = has_routes(&tenant) ? LAN_SPACE_SHARED : tenant.id;
        r = lans_insert(w.conn, row.id, space, router->lans, router->lan_count);
    }
    router->updated_at = w.now;
    r = r < 0 ? r : routers_update(w.conn, &row);
    r = r < 0 ? r : write_note(&w, "router.updated", &router->tenant_id, id, NULL);
    r = r < 0 ? r : audit_router(&w, &before, router);
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit(&w, &receipt, ret_problem);
    if (r < 0) {
        goto fail;
    }
    force_begin(&s->force, &receipt);
    if (patch->has_lans && in_plane(&tenant, router)) {
        desired_peer_of(router, &change);
        (void)plane_apply(s->plane, &change, 1);
        sodium_memzero(&change, sizeof change);
    }
    if (patch->has_lans && routed) {
        (void)plane_routes(s->plane, router->lans, router->lan_count, before.lans, before.lan_count);
    }
    force_end(&s->force);
    complete(s, &row);
    *ret_router = *router;
    goto end;
fail:
    write_abort(&w);
end:
    sodium_memzero(&router->preshared_key, sizeof router->preshared_key);
    return r;
}

int service_router_set_disabled(struct service *s, const struct caller *c, const struct uuid *id, bool disabled,
                                struct router *ret_router, struct problem *ret_problem) {
    struct router_row row;
    struct router before = {0};
    struct tenant_row tenant = {0};
    struct write w;
    struct receipt receipt;
    struct desired_change change;
    int r = begin(s, c, id, PURPOSE_WRITE, &w, &row, &tenant, ret_problem);
    if (r < 0) {
        return r;
    }
    struct router *router = &row.router;
    if (disabled == (router->status == ROUTER_DISABLED)) {
        write_abort(&w); /* as asked already */
        complete(s, &row);
        *ret_router = *router;
        goto end;
    }
    bool routed = has_routes(&tenant) && tenant.tenant.status == TENANT_ACTIVE;
    before = *router;
    router->status = disabled ? ROUTER_DISABLED : router->last_handshake_at ? ROUTER_ACTIVE : ROUTER_PENDING;
    router->updated_at = w.now;
    r = routers_update(w.conn, &row);
    r = r < 0 || !disabled ? r : leave_sessions(&w, row.id);
    r = r < 0 ? r
              : write_note(&w, disabled ? "router.disabled" : "router.enabled", &router->tenant_id, id,
                           disabled ? &router->public_key : NULL);
    r = r < 0 ? r : audit_router(&w, &before, router);
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit(&w, &receipt, ret_problem);
    if (r < 0) {
        goto fail;
    }
    force_begin(&s->force, &receipt);
    if (tenant.tenant.status == TENANT_ACTIVE) {
        desired_peer_from(&s->desired, &row, &change);
        change.kind = disabled ? DESIRED_PEER_REMOVE : DESIRED_PEER_SET;
        (void)plane_apply(s->plane, &change, 1);
        sodium_memzero(&change, sizeof change);
    }
    if (routed) {
        (void)plane_routes(s->plane, router->lans, disabled ? 0 : router->lan_count, router->lans,
                           disabled ? router->lan_count : 0);
    }
    force_end(&s->force);
    if (disabled) {
        usage_forget(s->usage, &router->public_key);
        session_over(router);
    }
    complete(s, &row);
    *ret_router = *router;
    goto end;
fail:
    write_abort(&w);
end:
    sodium_memzero(&before.preshared_key, sizeof before.preshared_key);
    sodium_memzero(&router->preshared_key, sizeof router->preshared_key);
    return r;
}

int service_router_rotate(struct service *s, const struct caller *c, const struct uuid *id,
                          const struct router_spec *spec, struct router_made *ret_made, struct problem *ret_problem) {
    struct router_row row = {0}, owner;
    struct tenant_row tenant = {0};
    struct router_made made = {0};
    struct router before = {0};
    struct write w;
    struct receipt receipt;
    struct desired_change changes[2];
    size_t count = 0;
    int r = prepare_keys(s, spec, &made, ret_problem);
    r = r < 0 ? r : begin(s, c, id, PURPOSE_MEND, &w, &row, &tenant, ret_problem);
    if (r < 0) {
        goto end;
    }
    struct router *router = &row.router;
    before = *router;
    const struct key old = router->public_key;
    bool other = !key_equal(&old, &made.router.public_key);
    r = other ? routers_get_by_key(w.conn, &made.router.public_key, &owner) : -ENOENT;
    if (r != -ENOENT) {
        r = r == 0 ? key_problem(c, &owner, ret_problem) : store_problem(w.conn, r, ret_problem);
        goto fail;
    }
    if (!key_is_zero(&made.router.preshared_key)) {
        router->preshared_key = made.router.preshared_key;
    }
    if (other) {
        /* Nothing is known of sessions with the new key; the old one's timestamps mean nothing to it. */
        router->public_key = made.router.public_key;
        router->status = router->status == ROUTER_DISABLED ? ROUTER_DISABLED : ROUTER_PENDING;
        router->last_handshake_at = 0;
        memset(row.timestamp, 0, sizeof row.timestamp);
    }
    router->updated_at = w.now;
    secrets_seal(&s->secrets, &row);
    r = routers_set_keys(w.conn, &row);
    r = r < 0 || !other ? r : leave_sessions(&w, row.id);
    r = r < 0 ? r : write_note(&w, "router.rotated", &router->tenant_id, id, other ? &old : NULL);
    r = r < 0 ? r : audit_router(&w, &before, router);
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit(&w, &receipt, ret_problem);
    if (r < 0) {
        goto fail;
    }
    if (other) {
        changes[count++] = (struct desired_change){.kind = DESIRED_PEER_REMOVE, .peer = {.public_key = old}};
    }
    force_begin(&s->force, &receipt);
    if (in_plane(&tenant, router)) {
        desired_peer_from(&s->desired, &row, &changes[count++]);
        (void)plane_apply(s->plane, changes, count);
    }
    force_end(&s->force);
    if (other) {
        usage_forget(s->usage, &old);
        session_over(router);
    }
    complete(s, &row);
    made.router = *router;
    *ret_made = made;
    goto end;
fail:
    write_abort(&w);
end:
    sodium_memzero(&before.preshared_key, sizeof before.preshared_key);
    sodium_memzero(changes, sizeof changes);
    sodium_memzero(&row.router.preshared_key, sizeof row.router.preshared_key);
    sodium_memzero(&made, sizeof made);
    return r;
}

int service_router_delete(struct service *s, const struct caller *c, const struct uuid *id,
                          struct problem *ret_problem) {
    struct router_row row;
    struct tenant_row tenant = {0};
    struct write w;
    struct receipt receipt;
    int r = begin(s, c, id, PURPOSE_WRITE, &w, &row, &tenant, ret_problem);
    if (r < 0) {
        return r;
    }
    struct router *router = &row.router;
    struct router before = *router;
    sodium_memzero(&router->preshared_key, sizeof router->preshared_key);
    bool routed = has_routes(&tenant) && in_plane(&tenant, router);
    r = pool_address_free(&w.pool, &tenant, RANGE_HUB, ip_to_v4(&router->hub_address));
    if (r == 0 && tenant.tenant.addressing == ADDRESSING_PRIVATE) {
        r = pool_address_free(&w.pool, &tenant, RANGE_OWN, ip_to_v4(&router->address));
    }
    r = r < 0 ? r : sessions_end(w.conn, row.id, 0);
    r = r < 0 ? r : routers_delete(w.conn, row.id);
    r = r < 0 ? r : tenants_add_routers(w.conn, tenant.id, -1);
    r = r < 0 ? r : write_note(&w, "router.deleted", &router->tenant_id, id, &router->public_key);
    r = r < 0 ? r : audit_router(&w, &before, NULL);
    sodium_memzero(&before.preshared_key, sizeof before.preshared_key);
    w.more_routers--;
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit(&w, &receipt, ret_problem);
    if (r < 0) {
        write_abort(&w);
        return r;
    }
    const struct desired_change change = {.kind = DESIRED_PEER_REMOVE, .peer = {.public_key = router->public_key}};
    force_begin(&s->force, &receipt);
    if (in_plane(&tenant, router)) {
        (void)plane_apply(s->plane, &change, 1);
    }
    if (routed) {
        (void)plane_routes(s->plane, NULL, 0, router->lans, router->lan_count);
    }
    force_end(&s->force);
    usage_forget(s->usage, &router->public_key);
    return 0;
}

int service_router_list(struct service *s, const struct caller *c, const struct router_filter *filter,
                        const char *cursor, size_t limit, struct router *ret_routers, size_t *ret_count,
                        char ret_next[64], struct problem *ret_problem) {
    struct store_conn *conn = NULL;
    struct router_row *rows = NULL;
    size_t count = 0;
    int64_t after = 0;
    limit = limit ? limit : 1;
    struct routers_filter f = {
        .tenant_id = filter->tenant_id,
        .name = filter->name,
        .contains = filter->contains,
        .has_status = filter->has_status,
        .has_public_key = filter->has_public_key,
        .has_connected = filter->has_connected,
        .status = filter->status,
        .public_key = filter->public_key,
        .connected = filter->connected,
        .with_lans = filter->with_lans,
    };
    if (filter->has_address) {
        f.address = filter->address;
    }
    if (uuid_is_zero(&f.tenant_id) && c->scope != SCOPE_ADMIN) {
        f.tenant_id = c->tenant_id;
    }
    int r = c->scope == SCOPE_ADMIN ? 0 : access_read(c, &f.tenant_id, "tenant", ret_problem);
    r = r < 0 ? r : access_cursor(cursor, &after, ret_problem);
    if (r < 0) {
        return r;
    }
    rows = malloc((limit + 1) * sizeof *rows);
    if (!rows) {
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    r = store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        goto fail;
    }
    if (!uuid_is_zero(&filter->tenant_id)) {
        struct tenant_row tenant;
        r = tenants_get(conn, &filter->tenant_id, &tenant);
        if (r < 0) {
            r = r == -ENOENT ? access_not_found("tenant", ret_problem) : store_problem(conn, r, ret_problem);
            goto fail;
        }
    }
    bool whole = false;
    for (int i = 0; r == 0 && !whole && i < USAGE_TRIES; i++) {
        uint64_t mark = usage_mark(s->usage);
        r = routers_list(conn, &f, after, limit + 1, rows, &count);
        whole = r == 0 && usage_fill_routers(s->usage, mark, rows, count);
    }
    if (r < 0) {
        r = store_problem(conn, r, ret_problem);
        goto fail;
    }
    ret_next[0] = '\0';
    if (count > limit) {
        count = limit;
        snprintf(ret_next, 64, "p%" PRIx64, (uint64_t)rows[count - 1].id);
    }
    for (size_t i = 0; i < count; i++) {
        /* One broken seal should not take the whole list away; getting that router says what is wrong. */
        (void)secrets_unseal(&s->secrets, &rows[i], &rows[i].router.preshared_key);
        ret_routers[i] = rows[i].router;
        sodium_memzero(&rows[i].router.preshared_key, sizeof rows[i].router.preshared_key);
    }
    *ret_count = count;
fail:
    store_reader_put(s->store, conn);
    free(rows);
    return r;
}
