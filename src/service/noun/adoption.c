#include "service/noun/adoption.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/host/foreign.h"
#include "base/clock.h"
#include "service/noun/noun.h"
#include "store/noun/sessions.h"
#include "store/noun/settings.h"

#define TRIES 10
#define LOOKED_AT_MOST 4096 /* peers, for a subnet that suits them */

void adoption_free(struct adoption *adoption) {
    for (size_t i = 0; i < adoption->count; i++) {
        free(adoption->peers[i].problem);
        free(adoption->peers[i].lans);
        adoption->peers[i].problem = NULL;
        adoption->peers[i].lans = NULL;
        sodium_memzero(&adoption->peers[i].preshared_key, sizeof adoption->peers[i].preshared_key);
    }
}

/* --- whose addresses --- */

static bool is_host4(const struct prefix *prefix) {
    return prefix->addr.family == AF_INET && prefix->length == 32;
}

/* The peer's own address: its first /32 within `numbers`, else its first. */
static const struct prefix *own_address(const struct adoption_peer *peer, const struct prefix *numbers) {
    const struct prefix *first = NULL;
    for (size_t i = 0; i < peer->allowed_ip_count; i++) {
        const struct prefix *allowed = &peer->allowed_ips[i];
        if (!is_host4(allowed)) {
            continue;
        }
        if (prefix_contains(numbers, &allowed->addr)) {
            return allowed;
        }
        first = first ? first : allowed;
    }
    return first;
}

/* Shortens a prefix until it holds the address. */
static void widen(struct prefix *prefix, const struct ip_addr *addr) {
    while (!prefix_contains(prefix, addr)) {
        *prefix = prefix_make(&prefix->addr, (uint8_t)(prefix->length - 1));
    }
}

/* A pool that would hold every address, where the present one does not. While there is no tenant it may be any; later
 * it can only grow. */
static void want_pool(struct service *s, struct adoption *a, bool empty) {
    const struct prefix *pool = &s->identity.gateway.pool;
    bool misfit = false;
    struct ip_addr hub =
        empty && a->server_address.addr.family == AF_INET ? a->server_address.addr : s->identity.gateway.hub_address;
    struct prefix wanted = empty ? prefix_make(&hub, 24) : *pool;
    for (size_t i = 0; i < a->count; i++) {
        const struct prefix *own = own_address(&a->peers[i], pool);
        if (own && (!prefix_contains(pool, &own->addr) || ip_equal(&own->addr, &s->identity.gateway.hub_address))) {
            misfit = true;
        }
        if (own) {
            widen(&wanted, &own->addr);
        }
    }
    if (empty && a->server_address.addr.family == AF_INET && a->server_address.length < wanted.length) {
        wanted = prefix_make(&hub, a->server_address.length);
    }
    if (misfit && wanted.length >= 8) {
        a->wanted_pool = wanted;
        a->wanted_hub = hub;
    }
}

/* --- the tenant --- */

/* Blocks around the hub's address become free for all, once. */
static int open_reserve(struct service *s, struct write *w) {
    char text[8] = "";
    int r = settings_get(w->conn, POOL_RESERVE_SETTING, text, sizeof text);
    if (r == -ENOENT || (r == 0 && text[0] != '1')) {
        const struct service_gateway *g = &s->identity.gateway;
        r = pool_open_reserve(&w->pool, &g->pool, &g->hub_address);
        r = r < 0 ? r : settings_set(w->conn, POOL_RESERVE_SETTING, "1");
    }
    return r;
}

/* The largest free block around one of the peers' addresses becomes the subnet of a unique tenant: what it is given
 * first is then what it has already. */
static int choose_subnet(struct service *s, struct write *w, const struct adoption *a, struct prefix *ret_subnet) {
    struct block best = {0};
    for (size_t i = 0; i < a->count && i < LOOKED_AT_MOST && best.size < POOL_FIRST_SIZE; i++) {
        const struct prefix *own = own_address(&a->peers[i], &s->identity.gateway.pool);
        struct block block;
        int r = own ? pool_block_around(&w->pool, ip_to_v4(&own->addr), &block) : -ENOENT;
        if (r < 0 && r != -ENOENT) {
            return r;
        }
        best = r == 0 && block.size > best.size ? block : best;
    }
    if (best.size) {
        struct ip_addr first = ip_from_v4(best.first);
        *ret_subnet = prefix_make(&first, (uint8_t)(32 - __builtin_ctzll(best.size)));
    }
    return 0;
}

/* A private tenant's prefix must hold what its routers have. */
static void choose_private_subnet(const struct adoption *a, struct prefix *ret_subnet) {
    struct prefix subnet = {0};
    const struct prefix none = {.addr.family = AF_INET, .length = 32};
    for (size_t i = 0; i < a->count; i++) {
        const struct prefix *own = own_address(&a->peers[i], subnet.addr.family ? &subnet : &none);
        if (own && !subnet.addr.family) {
            subnet = prefix_make(&own->addr, 24);
        } else if (own) {
            widen(&subnet, &own->addr);
        }
    }
    if (subnet.addr.family && subnet.length >= 8) {
        *ret_subnet = subnet;
    }
}

static int make_tenant(struct service *s, struct write *w, struct adoption *a, struct tenant_row *ret_row,
                       struct problem *p) {
    struct tenant_spec spec = a->tenant;
    int r = 0;
    if (!spec.subnet.addr.family) {
        switch (spec.addressing) {
        case ADDRESSING_UNIQUE:
            r = choose_subnet(s, w, a, &spec.subnet);
            break;
        case ADDRESSING_PRIVATE:
            choose_private_subnet(a, &spec.subnet);
            break;
        }
        if (r < 0) {
            return store_problem(w->conn, r, p);
        }
    }
    r = tenant_prepare(s, &spec, w->now, &a->made_tenant, p);
    return r < 0 ? r : tenant_make(s, w, &a->made_tenant, 0, ret_row, p);
}

static int find_tenant(struct service *s, struct write *w, struct adoption *a, struct tenant_row *ret_row,
                       struct problem *p) {
    if (uuid_is_zero(&a->tenant_id)) {
        return make_tenant(s, w, a, ret_row, p);
    }
    int r = tenants_get(w->conn, &a->tenant_id, ret_row);
    if (r < 0) {
        return r == -ENOENT ? access_not_found("tenant", p) : store_problem(w->conn, r, p);
    }
    a->made_tenant = ret_row->tenant;
    return 0;
}

/* --- one peer --- */

static int by_order(const void *a, const void *b) {
    return prefix_compare(a, b);
}

/* WireGuard takes a prefix twice, or one within another: the LANs are what is left once. Sorted, whatever covers a
 * prefix stands before it, and what it covers follows at once. */
static int merge_lans(const struct adoption *a, struct adoption_peer *peer) {
    const struct prefix own = prefix_make(&peer->address, 32);
    size_t count = 0, kept = 0;
    struct prefix *lans = calloc(peer->allowed_ip_count + 1, sizeof *lans);
    if (!lans) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < peer->allowed_ip_count; i++) {
        const struct prefix *allowed = &peer->allowed_ips[i];
        if (!prefix_equal(allowed, &own) && (allowed->length > 0 || !a->drop_default_routes)) {
            lans[count++] = *allowed;
        }
    }
    qsort(lans, count, sizeof *lans, by_order);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || !prefix_covers(&lans[kept - 1], &lans[i])) {
            lans[kept++] = lans[i];
        }
    }
    free(peer->lans);
    peer->lans = lans;
    peer->lan_count = kept;
    return 0;
}

/* What a peer becomes, before the store is asked. The LANs stay the peer's. */
static int spec_of(struct service *s, const struct tenant *tenant, const struct adoption *a, struct adoption_peer *peer,
                   char name[IP_TEXT_SIZE], struct router_spec *ret_spec, struct problem *p) {
    bool unique = tenant->addressing == ADDRESSING_UNIQUE;
    const struct prefix *numbers = unique ? &s->identity.gateway.pool : &tenant->subnet;
    const struct prefix *own = own_address(peer, numbers);
    char text[PREFIX_TEXT_SIZE], hub[IP_TEXT_SIZE];
    if (!own) {
        return problem_set(p, PROBLEM_INVALID, "no-address", "allowed_ips",
                           "It has no address of its own: none of its AllowedIPs is an IPv4 /32. Add one, as "
                           "AllowedIPs = 10.0.0.7/32.");
    }
    peer->address = own->addr;
    ip_format(&own->addr, name);
    if (merge_lans(a, peer) < 0) {
        return problem_set(p, PROBLEM_UNAVAILABLE, "out-of-memory", NULL, "Out of memory; try again.");
    }
    if (unique && !prefix_contains(&s->identity.gateway.pool, &own->addr)) {
        return problem_set(p, PROBLEM_CONFLICT, "address-outside-pool", "allowed_ips",
                           "Its address %s is not in the gateway's pool %s. Widen the pool, or adopt it under a tenant "
                           "with private addressing.",
                           name, prefix_format(&s->identity.gateway.pool, text));
    }
    if (ip_equal(&own->addr, &s->identity.gateway.hub_address)) {
        return problem_set(
            p, PROBLEM_CONFLICT, "hub-address", "allowed_ips",
            "Its address %s is the hub's own; give the gateway another hub_address in its configuration.",
            ip_format(&own->addr, hub));
    }
    *ret_spec = (struct router_spec){
        .tenant_id = tenant->id,
        .name = peer->name[0] ? peer->name : name,
        .public_key = peer->public_key,
        .preshared_key = peer->preshared_key,
        .address = own->addr,
        .lans = peer->lans,
        .lan_count = peer->lan_count,
    };
    return 0;
}

/* What is known of its sessions: so the data plane calls on it where it is, and nobody thinks it never connected. */
static int keep_usage(struct service *s, struct write *w, const struct adoption_peer *peer, struct router *router) {
    struct session_row session;
    if (!peer->endpoint.sa.sa_family && !peer->last_handshake_at) {
        return 0;
    }
    int r = sessions_get(w->conn, &router->public_key, s->identity.id, &session);
    if (r < 0) {
        return r;
    }
    session.last_handshake_at = peer->last_handshake_at;
    session.status = peer->last_handshake_at ? ROUTER_ACTIVE : ROUTER_PENDING;
    endpoint_format(&peer->endpoint, session.endpoint);
    router->endpoint = peer->endpoint;
    router->last_handshake_at = peer->last_handshake_at;
    router->status = session.status;
    return sessions_set(w->conn, &session);
}

static int is_there(struct write *w, const struct tenant_row *tenant, struct adoption_peer *peer) {
    struct router_row row;
    int r = routers_get_by_key(w->conn, &peer->public_key, &row);
    if (r == 0 && row.tunnel_id == tenant->id && ip_equal(&row.router.address, &peer->address)) {
        peer->result = ADOPTION_THERE;
        peer->router_id = row.router.id;
        return 1;
    }
    return r == -ENOENT ? 0 : r;
}

static int make_router(struct service *s, struct write *w, const struct caller *c, struct tenant_row *tenant,
                       const struct adoption *a, struct adoption_peer *peer, struct router_made *made,
                       struct problem *p) {
    char name[IP_TEXT_SIZE];
    struct router_spec spec;
    char text[IP_TEXT_SIZE];
    int r = spec_of(s, &tenant->tenant, a, peer, name, &spec, p);
    if (r < 0) {
        return r;
    }
    r = is_there(w, tenant, peer);
    if (r != 0) {
        return r < 0 ? store_problem(w->conn, r, p) : 1;
    }
    r = router_prepare(s, &spec, w->now, made, p);
    r = r < 0 ? r : router_room(tenant, 1, p);
    if (r == 0 && tenant->tenant.addressing == ADDRESSING_UNIQUE) {
        r = pool_address_claim(&w->pool, tenant, ip_to_v4(&spec.address));
        if (r == -EEXIST) {
            return problem_set(p, PROBLEM_CONFLICT, "address-taken", "allowed_ips",
                               "Its address %s belongs to another tenant's addresses. Adopt it under a tenant with "
                               "private addressing, or move that tenant.",
                               ip_format(&spec.address, text));
        }
        r = r < 0 ? store_problem(w->conn, r, p) : 0;
    }
    r = r < 0 ? r : router_make(s, w, c, tenant, &spec, made, p);
    if (r < 0) {
        return r;
    }
    r = keep_usage(s, w, peer, &made->router);
    peer->router_id = made->router.id;
    return r < 0 ? store_problem(w->conn, r, p) : 0;
}

/* A step of its own. What is returned is a failure of the whole. */
static int adopt_one(struct service *s, struct write *w, const struct caller *c, struct tenant_row *tenant,
                     struct adoption *a, struct adoption_peer *peer, struct router_made *made,
                     struct problem *ret_problem) {
    struct problem problem = {0};
    const struct tenant_row before = *tenant;
    const struct pool held = w->pool; /* what it has in the hand, and not in its rows, is not the step's to undo */
    size_t changes = w->change_count;
    int64_t routers = w->more_routers;
    int r = store_step_begin(w->conn);
    if (r < 0) {
        return store_problem(w->conn, r, ret_problem);
    }
    int error = make_router(s, w, c, tenant, a, peer, made, &problem);
    if (error >= 0) {
        peer->result = error == 0 ? ADOPTION_MADE : ADOPTION_THERE;
        a->made += error == 0;
        a->there += error != 0;
        tenant->tenant.routers += error == 0;
        r = store_step_keep(w->conn);
        return r < 0 ? store_problem(w->conn, r, ret_problem) : 0;
    }
    if (problem.kind == PROBLEM_UNAVAILABLE || problem.kind == PROBLEM_INTERNAL) {
        *ret_problem = problem;
        return error;
    }
    peer->result = ADOPTION_CONFLICT;
    peer->problem = malloc(sizeof problem);
    peer->router_id = (struct uuid){0};
    a->conflicts++;
    *tenant = before;
    write_forget(w, changes);
    w->more_routers = routers;
    w->pool = held;
    r = store_step_undo(w->conn);
    if (r < 0 || !peer->problem) {
        return r < 0 ? store_problem(w->conn, r, ret_problem) : -ENOMEM;
    }
    *peer->problem = problem;
    return 0;
}

/* --- all of them --- */

/* Brings what was made into force, in batches. */
static void apply(struct service *s, const struct tenant_row *tenant, bool new_tenant) {
    struct desired_change change;
    if (tenant->tenant.status != TENANT_ACTIVE) {
        return;
    }
    if (new_tenant) {
        desired_tenant_from(&tenant->tenant, &change);
        (void)plane_apply(s->plane, &change, 1);
    }
    desired_apply_tenant(&s->desired, tenant->id);
}

static void apply_routes(struct service *s, const struct tenant_row *tenant, const struct adoption *a) {
    struct prefix lans[256];
    size_t count = 0;
    if (tenant->tenant.status != TENANT_ACTIVE || tenant->tenant.addressing != ADDRESSING_UNIQUE) {
        return;
    }
    for (size_t i = 0; i < a->count; i++) {
        const struct adoption_peer *peer = &a->peers[i];
        for (size_t j = 0; peer->result == ADOPTION_MADE && j < peer->lan_count; j++) {
            lans[count++] = peer->lans[j];
            if (count == sizeof lans / sizeof *lans) {
                (void)plane_routes(s->plane, lans, count, NULL, 0);
                count = 0;
            }
        }
    }
    (void)plane_routes(s->plane, lans, count, NULL, 0);
}

static int check_key(struct service *s, const struct adoption *a, struct problem *p) {
    char is[KEY_BASE64_SIZE], wanted[KEY_BASE64_SIZE];
    if (a->any_key || key_is_zero(&a->server_key) || key_equal(&a->server_key, &s->identity.gateway.public_key)) {
        return 0;
    }
    return problem_set(p, PROBLEM_CONFLICT, "gateway-key-differs", NULL,
                       "These routers know the server by the key %s, and this gateway's is %s: they would not connect. "
                       "Give the gateway the server's private key (before it has tenants), or adopt them all the same "
                       "and give each router the gateway's key.",
                       key_to_base64(&a->server_key, wanted), key_to_base64(&s->identity.gateway.public_key, is));
}

int service_adopt(struct service *s, const struct caller *c, struct adoption *a, struct problem *ret_problem) {
    struct router_made made = {0};
    struct tenant_row tenant = {0};
    struct write w;
    struct receipt receipt;
    int r = access_admin(c, NULL, ret_problem);
    r = r < 0 ? r : check_key(s, a, ret_problem);
    r = r < 0 ? r : caller_write_begin(s, c, &w, ret_problem);
    if (r < 0) {
        return r;
    }
    bool empty = ledger_counts(s->ledger).tenants == 0;
    want_pool(s, a, empty);
    r = open_reserve(s, &w);
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : find_tenant(s, &w, a, &tenant, ret_problem);
    for (size_t i = 0; r == 0 && i < a->count; i++) {
        r = adopt_one(s, &w, c, &tenant, a, &a->peers[i], &made, ret_problem);
    }
    sodium_memzero(&made, sizeof made);
    bool commit = r == 0 && !a->dry_run && (a->conflicts == 0 || a->skip_conflicts);
    if (commit) {
        r = a->made ? tenants_add_routers(w.conn, tenant.id, (int64_t)a->made) : 0;
        r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit(&w, &receipt, ret_problem);
    }
    a->made_tenant.routers = tenant.tenant.routers;
    if (r < 0 || !commit) {
        write_abort(&w);
        return r;
    }
    a->committed = true;
    force_begin(&s->force, &receipt);
    apply(s, &tenant, uuid_is_zero(&a->tenant_id));
    apply_routes(s, &tenant, a);
    force_end(&s->force);
    return 0;
}

/* --- a live interface --- */

int service_foreign_read(struct service *s, const struct caller *c, const char *interface_name,
                         struct foreign **ret_foreign, struct problem *ret_problem) {
    (void)s;
    int r = access_admin(c, NULL, ret_problem);
    return r < 0 ? r : foreign_read(interface_name, ret_foreign, ret_problem);
}

int service_take_over_check(struct service *s, const struct caller *c, const char *interface_name,
                            const struct foreign *foreign, struct problem *ret_problem) {
    int r = access_admin(c, NULL, ret_problem);
    if (r < 0) {
        return r;
    }
    if (strcmp(interface_name, plane_interface(s->plane)) != 0) {
        return problem_set(ret_problem, PROBLEM_CONFLICT, "other-interface", "interface",
                           "The gateway's interface is %s, so it cannot take over %s. Set interface = %s in section "
                           "[gateway] and restart sallyportd.",
                           plane_interface(s->plane), interface_name, interface_name);
    }
    if (foreign->listen_port != s->listen_port) {
        return problem_set(
            ret_problem, PROBLEM_CONFLICT, "other-port", "interface",
            "%s listens on UDP port %u, where its routers dial, and the gateway on %u. Set listen_port = "
            "%u in section [gateway] and restart sallyportd.",
            interface_name, foreign->listen_port, s->listen_port, foreign->listen_port);
    }
    if (foreign->kind == FOREIGN_KERNEL && strcmp(plane_ops(s->plane)->name, "kernel") != 0) {
        return foreign_refuse_kernel(interface_name, ret_problem);
    }
    return 0;
}

/* Every tenant and its routers into the data plane, compared with nothing. */
static void apply_all(struct service *s) {
    struct tenants_filter all = {0};
    struct tenant_row *rows = malloc(PLANE_BATCH * sizeof *rows);
    size_t count = PLANE_BATCH;
    int64_t after = 0;
    while (rows && count == PLANE_BATCH) {
        struct store_conn *conn = NULL;
        struct problem problem = {0};
        if (store_reader_take(s->store, &conn, &problem) < 0) {
            break;
        }
        int r = tenants_list(conn, &all, after, PLANE_BATCH, rows, &count);
        store_reader_put(s->store, conn);
        plane_turn_begin(s->plane);
        for (size_t i = 0; r == 0 && i < count; i++) {
            after = rows[i].id;
            apply(s, &rows[i], true);
        }
        plane_turn_end(s->plane);
        count = r < 0 ? 0 : count;
    }
    free(rows);
}

int service_take_over(struct service *s, const struct caller *c, const char *interface_name,
                      struct problem *ret_problem) {
    bool kernel = strcmp(plane_ops(s->plane)->name, "kernel") == 0;
    struct problem problem = {0};
    int r = access_admin(c, NULL, ret_problem);
    if (r < 0) {
        return r;
    }
    /* A comparison begins with the guards, which let nothing pass that they do not know yet. So the routers go first,
     * while none runs: what they are saying to each other is not interrupted. */
    reconcile_hold(s->reconcile);
    r = foreign_take_over(interface_name, kernel, ret_problem);
    if (r == 0 && kernel && plane_revive(s->plane, &problem) == 0) {
        apply_all(s);
    }
    reconcile_release(s->reconcile);
    r = r < 0 ? r : reconcile_run(s->reconcile, ret_problem);
    /* A program that just lost its interface may hold its UDP port a moment longer. */
    for (int i = 0; r == -ENOTCONN && i < TRIES; i++) {
        const struct timespec moment = {.tv_nsec = 200 * (long)NSEC_PER_MSEC};
        nanosleep(&moment, NULL);
        r = reconcile_run(s->reconcile, ret_problem);
    }
    return r;
}
