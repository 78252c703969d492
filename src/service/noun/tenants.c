#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/clock.h"
#include "service/noun/noun.h"
#include "store/noun/lans.h"
#include "store/noun/ranges.h"
#include "store/noun/sessions.h"

int tenant_prepare(struct service *s, const struct tenant_spec *spec, int64_t now, struct tenant *ret_tenant,
                   struct problem *ret_problem) {
    int r = check_tenant(s, spec, ret_problem);
    if (r < 0) {
        return r;
    }
    struct tenant *t = ret_tenant;
    *t = (struct tenant){
        .id = spec->id,
        .addressing = spec->addressing,
        .subnet = spec->subnet,
        .egress = spec->egress,
        .limits = spec->limits,
        .created_at = now,
        .updated_at = now,
    };
    snprintf(t->name, sizeof t->name, "%s", spec->name);
    if (uuid_is_zero(&t->id)) {
        uuid_make((uint64_t)now / 1000, &t->id);
    }
    if (!t->subnet.addr.family && t->addressing == ADDRESSING_PRIVATE) {
        (void)prefix_parse("10.100.0.0/16", &t->subnet, NULL);
        if (prefix_contains(&t->subnet, &s->identity.gateway.hub_address)) {
            (void)prefix_parse("172.31.0.0/16", &t->subnet, NULL); /* a gateway whose hub sits in the usual one */
        }
    }
    return 0;
}

/* The hub block a new tenant starts with; for a unique one it is its subnet. */
static int first_block(struct service *s, struct write *w, const struct tenant *tenant, struct block *ret_block,
                       struct problem *ret_problem) {
    char text[PREFIX_TEXT_SIZE];
    int r;
    if (tenant->addressing == ADDRESSING_UNIQUE && tenant->subnet.addr.family) {
        struct block block = {.first = ip_to_v4(&tenant->subnet.addr),
                              .size = UINT64_C(1) << (32 - tenant->subnet.length)};
        r = pool_block_take_at(&w->pool, &block);
        if (r == -EEXIST) {
            return problem_set(ret_problem, PROBLEM_CONFLICT, "subnet-taken", "subnet",
                               "%s is not free in the pool: another tenant or the hub has it or a part of it. Choose "
                               "another, or leave the subnet out to get the next free one.",
                               prefix_format(&tenant->subnet, text));
        }
        *ret_block = block;
    } else {
        r = pool_block_take(&w->pool, POOL_FIRST_SIZE, ret_block);
    }
    if (r == -ENOSPC) {
        return problem_set(ret_problem, PROBLEM_EXHAUSTED, "pool-exhausted", NULL,
                           "The pool %s has no free addresses left. Delete tenants that are not needed, or widen the "
                           "gateway's pool.",
                           prefix_format(&s->identity.gateway.pool, text));
    }
    return r < 0 ? store_problem(w->conn, r, ret_problem) : 0;
}

static uint8_t length_of(uint64_t size) {
    return (uint8_t)(32 - __builtin_ctzll(size));
}

int tenant_make(struct service *s, struct write *w, struct tenant *tenant, uint32_t routers, struct tenant_row *ret_row,
                struct problem *ret_problem) {
    struct block block = {0};
    int r = first_block(s, w, tenant, &block, ret_problem);
    if (r < 0) {
        return r;
    }
    bool own = tenant->addressing == ADDRESSING_PRIVATE;
    if (!own) {
        struct ip_addr first = ip_from_v4(block.first);
        tenant->subnet = prefix_make(&first, length_of(block.size));
    }
    tenant->routers = routers;
    struct tenant_row row = {.tenant = *tenant,
                             .next_offset = own ? pool_subnet_start(&tenant->subnet) : 0,
                             .id = write_number(&w->tenant_ids)};
    r = tenants_insert(w->conn, &row, &s->identity.columns, &row.id);
    if (r == -EEXIST) {
        char id[UUID_TEXT_SIZE];
        return problem_set(ret_problem, PROBLEM_CONFLICT, "duplicate-id", "id",
                           "A tenant %s exists already; leave the id out to get a new one.",
                           uuid_format(&tenant->id, id));
    }
    r = r < 0 ? r : pool_block_give_to(&w->pool, row.id, &block);
    r = r < 0 || !own ? r : pool_subnet_give_to(&w->pool, &row);
    r = r < 0 ? r : write_note(w, "tenant.created", &tenant->id, NULL, NULL);
    r = r < 0 ? r : audit_tenant(w, NULL, tenant);
    if (r < 0) {
        return store_problem(w->conn, r, ret_problem);
    }
    w->more_tenants++;
    *ret_row = row;
    return 0;
}

int service_tenant_create(struct service *s, const struct caller *c, const struct tenant_spec *spec,
                          struct tenant *ret_tenant, struct problem *ret_problem) {
    struct tenant tenant;
    struct tenant_row row;
    struct write w;
    struct receipt receipt;
    struct desired_change change;
    int r = access_admin(c, NULL, ret_problem);
    r = r < 0 ? r : tenant_prepare(s, spec, clock_wall_us(), &tenant, ret_problem);
    r = r < 0 ? r : caller_write_begin(s, c, &w, ret_problem);
    if (r < 0) {
        return r;
    }
    r = tenant_make(s, &w, &tenant, 0, &row, ret_problem);
    r = r < 0 ? r : write_commit(&w, &receipt, ret_problem);
    if (r < 0) {
        write_abort(&w);
        return r;
    }
    desired_tenant_from(&tenant, &change);
    force_begin(&s->force, &receipt);
    (void)plane_apply(s->plane, &change, 1);
    force_end(&s->force);
    *ret_tenant = tenant;
    return 0;
}

int service_tenant_get(struct service *s, const struct caller *c, const struct uuid *id, struct tenant *ret_tenant,
                       struct problem *ret_problem) {
    struct store_conn *conn;
    struct tenant_row row;
    int r = access_read(c, id, "tenant", ret_problem);
    r = r < 0 ? r : store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        return r;
    }
    bool whole = false;
    for (int i = 0; r == 0 && !whole && i < USAGE_TRIES; i++) {
        uint64_t mark = usage_mark(s->usage);
        r = tenants_get(conn, id, &row);
        whole = r == 0 && usage_fill_tenants(s->usage, mark, &row, 1);
    }
    if (r == 0) {
        *ret_tenant = row.tenant;
    } else {
        r = r == -ENOENT ? access_not_found("tenant", ret_problem) : store_problem(conn, r, ret_problem);
    }
    store_reader_put(s->store, conn);
    return r;
}

static int read_networks(struct store_conn *conn, const struct tenant_row *row, struct prefix **ret_networks,
                         size_t *ret_count) {
    struct range_block *blocks = NULL;
    size_t room = 16, count = 0;
    int r;
    do { /* until there is room to spare: none was left out then */
        room *= 2;
        free(blocks);
        blocks = calloc(room, sizeof *blocks);
        r = blocks ? ranges_blocks(conn, row->id, blocks, room, &count) : -ENOMEM;
    } while (r == 0 && count == room);
    struct prefix *networks = r == 0 ? calloc(count + 1, sizeof *networks) : NULL;
    if (networks && row->tenant.addressing == ADDRESSING_PRIVATE) {
        networks[0] = row->tenant.subnet;
        count = 1;
    } else if (networks) {
        for (size_t i = 0; i < count; i++) {
            struct ip_addr first = ip_from_v4(blocks[i].first);
            networks[i] = prefix_make(&first, length_of(blocks[i].size));
        }
    }
    free(blocks);
    if (!networks) {
        return r < 0 ? r : -ENOMEM;
    }
    *ret_networks = networks;
    *ret_count = count;
    return 0;
}

int service_tenant_networks(struct service *s, const struct caller *c, const struct uuid *id,
                            struct prefix **ret_networks, size_t *ret_count, struct problem *ret_problem) {
    struct store_conn *conn;
    struct tenant_row row;
    int r = access_read(c, id, "tenant", ret_problem);
    r = r < 0 ? r : store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        return r;
    }
    r = tenants_get(conn, id, &row);
    r = r < 0 ? r : read_networks(conn, &row, ret_networks, ret_count);
    if (r < 0) {
        r = r == -ENOENT ? access_not_found("tenant", ret_problem) : store_problem(conn, r, ret_problem);
    }
    store_reader_put(s->store, conn);
    return r;
}

/* The tenant's row within a write. */
static int get_for_write(struct write *w, const struct uuid *id, struct tenant_row *ret_row,
                         struct problem *ret_problem) {
    int r = tenants_get(w->conn, id, ret_row);
    return r == -ENOENT ? access_not_found("tenant", ret_problem) : r < 0 ? store_problem(w->conn, r, ret_problem) : 0;
}

/* Whether a patch left everything as it was: then it is no change, and nobody needs to hear of it. */
static bool is_as_before(const struct tenant *now, const struct tenant *before) {
    return strcmp(now->name, before->name) == 0 && now->egress == before->egress &&
           now->limits.bits_per_second == before->limits.bits_per_second &&
           now->limits.packets_per_second == before->limits.packets_per_second &&
           now->limits.routers == before->limits.routers;
}

int service_tenant_patch(struct service *s, const struct caller *c, const struct uuid *id,
                         const struct tenant_patch *patch, struct tenant *ret_tenant, struct problem *ret_problem) {
    struct tenant_row row;
    struct write w;
    struct receipt receipt;
    struct desired_change change;
    int r = access_admin(c, id, ret_problem);
    r = r < 0 || !patch->name ? r : name_check(patch->name, ret_problem);
    r = r < 0 ? r : caller_write_begin(s, c, &w, ret_problem);
    if (r < 0) {
        return r;
    }
    r = get_for_write(&w, id, &row, ret_problem);
    if (r < 0) {
        goto fail;
    }
    struct tenant *t = &row.tenant;
    const struct tenant before = *t;
    if (patch->name) {
        snprintf(t->name, sizeof t->name, "%s", patch->name);
    }
    t->egress = patch->has_egress ? patch->egress : t->egress;
    t->limits.bits_per_second = patch->has_bits_per_second ? patch->limits.bits_per_second : t->limits.bits_per_second;
    t->limits.packets_per_second =
        patch->has_packets_per_second ? patch->limits.packets_per_second : t->limits.packets_per_second;
    t->limits.routers = patch->has_routers ? patch->limits.routers : t->limits.routers;
    if (is_as_before(t, &before)) {
        write_abort(&w);
        (void)usage_fill_tenants(s->usage, usage_mark(s->usage), &row, 1);
        *ret_tenant = *t;
        return 0;
    }
    t->updated_at = w.now;
    r = tenants_update(w.conn, &row);
    r = r < 0 ? r : write_note(&w, "tenant.updated", id, NULL, NULL);
    r = r < 0 ? r : audit_tenant(&w, &before, t);
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit(&w, &receipt, ret_problem);
    if (r < 0) {
        goto fail;
    }
    desired_tenant_from(t, &change);
    force_begin(&s->force, &receipt);
    if (t->status == TENANT_ACTIVE) {
        (void)plane_apply(s->plane, &change, 1);
    }
    force_end(&s->force);
    (void)usage_fill_tenants(s->usage, usage_mark(s->usage), &row, 1);
    *ret_tenant = *t;
    return 0;
fail:
    write_abort(&w);
    return r;
}

/* LANs of one tenant, gathered. */
struct lan_list {
    struct prefix *list; /* owned */
    size_t count, room;
};

static int lan_add(void *context, const struct prefix *prefix) {
    struct lan_list *lans = context;
    struct prefix *list = array_grow(lans->list, &lans->room, lans->count + 1, sizeof *list);
    if (!list) {
        return -ENOMEM;
    }
    lans->list = list;
    lans->list[lans->count++] = *prefix;
    return 0;
}

/* Those that the host has routes to: of unique tenants only. */
static int routes_of(struct write *w, const struct tenant_row *row, struct lan_list *ret_lans) {
    return row->tenant.addressing == ADDRESSING_UNIQUE ? lans_each_of_tenant(w->conn, row->id, lan_add, ret_lans) : 0;
}

int service_tenant_set_status(struct service *s, const struct caller *c, const struct uuid *id,
                              enum tenant_status status, struct tenant *ret_tenant, struct problem *ret_problem) {
    struct tenant_row row;
    struct write w;
    struct receipt receipt;
    struct lan_list routes = {0};
    struct desired_change change;
    int r = access_admin(c, id, ret_problem);
    r = r < 0 ? r : caller_write_begin(s, c, &w, ret_problem);
    if (r < 0) {
        return r;
    }
    r = get_for_write(&w, id, &row, ret_problem);
    if (r < 0) {
        goto fail;
    }
    bool disable = status == TENANT_DISABLED;
    if (row.tenant.status == status) {
        write_abort(&w); /* as asked already: nothing changes, so there is no event either */
        (void)usage_fill_tenants(s->usage, usage_mark(s->usage), &row, 1);
        *ret_tenant = row.tenant;
        return 0;
    }
    const struct tenant before = row.tenant;
    row.tenant.status = status;
    row.tenant.updated_at = w.now;
    r = routes_of(&w, &row, &routes);
    r = r < 0 || !disable ? r : sessions_end(w.conn, 0, row.id);
    r = r < 0 || !disable ? r : sessions_restart_counting(w.conn, 0, row.id);
    r = r < 0 ? r : tenants_update(w.conn, &row);
    r = r < 0 ? r : write_note(&w, disable ? "tenant.disabled" : "tenant.enabled", id, NULL, NULL);
    r = r < 0 ? r : audit_tenant(&w, &before, &row.tenant);
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit(&w, &receipt, ret_problem);
    if (r < 0) {
        goto fail;
    }
    desired_tenant_from(&row.tenant, &change);
    change.kind = disable ? DESIRED_TENANT_REMOVE : DESIRED_TENANT_SET;
    force_begin(&s->force, &receipt);
    (void)plane_apply(s->plane, &change, 1);
    if (disable) {
        (void)plane_routes(s->plane, NULL, 0, routes.list, routes.count);
    } else {
        desired_apply_tenant(&s->desired, row.id);
        (void)plane_routes(s->plane, routes.list, routes.count, NULL, 0);
    }
    force_end(&s->force);
    if (disable) {
        usage_forget_tenant(s->usage, id);
        row.tenant.connected_routers = 0;
    }
    free(routes.list);
    (void)usage_fill_tenants(s->usage, usage_mark(s->usage), &row, 1);
    *ret_tenant = row.tenant;
    return 0;
fail:
    write_abort(&w);
    free(routes.list);
    return r;
}

#define DELETED_AT_ONCE 2000 /* routers: a transaction holds up all other writers */
#define DELETE_TRIES 3

/* Some routers of a tenant who is going. 1: there may be more; 0: so few are left that they go with him; 2: he is not
 * disabled. */
static int delete_some(struct service *s, const struct caller *c, const struct uuid *id, struct problem *ret_problem) {
    struct tenant_row row;
    struct write w;
    int64_t deleted = 0;
    int r = caller_write_begin(s, c, &w, ret_problem);
    if (r < 0) {
        return r;
    }
    r = get_for_write(&w, id, &row, ret_problem);
    if (r < 0 || row.tenant.routers <= DELETED_AT_ONCE || row.tenant.status != TENANT_DISABLED) {
        write_abort(&w);
        return r < 0 ? r : row.tenant.routers <= DELETED_AT_ONCE ? 0 : 2;
    }
    r = routers_delete_some(w.conn, row.id, DELETED_AT_ONCE, &deleted);
    r = r < 0 ? r : tenants_add_routers(w.conn, row.id, -deleted);
    w.more_routers -= deleted;
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit_silent(&w, ret_problem);
    if (r < 0) {
        write_abort(&w);
    }
    return r < 0 ? r : 1;
}

/* A tenant with very many routers is disabled first, and loses them share by share, between which others write. One
 * that was left half-way, because the database or we went away, is disabled and has fewer: it is deleted again. */
static int delete_most(struct service *s, const struct caller *c, const struct uuid *id, struct problem *ret_problem) {
    int tries = DELETE_TRIES, r = 1;
    while (r > 0) {
        struct tenant tenant;
        r = delete_some(s, c, id, ret_problem);
        if (r == 2) {
            r = service_tenant_set_status(s, c, id, TENANT_DISABLED, &tenant, ret_problem);
            r = r < 0 ? r : 1;
        } else if (r < 0 && reach_may_come(s->reach, ret_problem) && --tries) {
            r = 1;
        }
    }
    return r;
}

int service_tenant_delete(struct service *s, const struct caller *c, const struct uuid *id,
                          struct problem *ret_problem) {
    struct tenant_row row;
    struct write w;
    struct receipt receipt;
    struct lan_list routes = {0};
    struct desired_change change;
    int r = access_admin(c, id, ret_problem);
    r = r < 0 ? r : delete_most(s, c, id, ret_problem);
    r = r < 0 ? r : caller_write_begin(s, c, &w, ret_problem);
    if (r < 0) {
        return r;
    }
    r = get_for_write(&w, id, &row, ret_problem);
    if (r < 0) {
        goto fail;
    }
    r = routes_of(&w, &row, &routes);
    r = r < 0 ? r : pool_tenant_free(&w.pool, row.id);
    r = r < 0 ? r : tenants_delete(w.conn, &row);
    r = r < 0 ? r : write_note(&w, "tenant.deleted", id, NULL, NULL);
    r = r < 0 ? r : audit_tenant(&w, &row.tenant, NULL);
    w.more_tenants--;
    w.more_routers -= row.tenant.routers;
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit(&w, &receipt, ret_problem);
    if (r < 0) {
        goto fail;
    }
    desired_tenant_from(&row.tenant, &change);
    change.kind = DESIRED_TENANT_REMOVE;
    force_begin(&s->force, &receipt);
    (void)plane_apply(s->plane, &change, 1);
    (void)plane_routes(s->plane, NULL, 0, routes.list, routes.count);
    force_end(&s->force);
    usage_forget_tenant(s->usage, id);
    free(routes.list);
    return 0;
fail:
    write_abort(&w);
    free(routes.list);
    return r;
}

int service_tenant_list(struct service *s, const struct caller *c, const struct tenant_filter *filter,
                        const char *cursor, size_t limit, struct tenant *ret_tenants, size_t *ret_count,
                        char ret_next[64], struct problem *ret_problem) {
    struct store_conn *conn = NULL;
    struct tenant_row *rows = NULL;
    size_t count = 0;
    int64_t after = 0;
    limit = limit ? limit : 1;
    int r = c->scope == SCOPE_METRICS ? access_read(c, &c->tenant_id, "tenant", ret_problem) : 0;
    r = r < 0 ? r : access_cursor(cursor, &after, ret_problem);
    if (r < 0) {
        return r;
    }
    struct tenants_filter f = {
        .name = filter->name,
        .contains = filter->contains,
        .has_addressing = filter->has_addressing,
        .has_status = filter->has_status,
        .addressing = filter->addressing,
        .status = filter->status,
    };
    if (c->scope != SCOPE_ADMIN) {
        f.id = c->tenant_id;
    }
    rows = malloc((limit + 1) * sizeof *rows); /* one more tells whether this is the last page */
    if (!rows) {
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    r = store_reader_take(s->store, &conn, ret_problem);
    if (r < 0) {
        goto fail;
    }
    bool whole = false;
    for (int i = 0; r == 0 && !whole && i < USAGE_TRIES; i++) {
        uint64_t mark = usage_mark(s->usage);
        r = tenants_list(conn, &f, after, limit + 1, rows, &count);
        whole = r == 0 && usage_fill_tenants(s->usage, mark, rows, count);
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
        ret_tenants[i] = rows[i].tenant;
    }
    *ret_count = count;
fail:
    store_reader_put(s->store, conn);
    free(rows);
    return r;
}
