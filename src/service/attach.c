#include "service/attach.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "service/noun/noun.h"
#include "store/noun/settings.h"

/* A setting that the rows depend on: kept as it was first, unless nothing depends on it yet. */
static int settle(struct write *w, const char *name, const char *value, bool empty, const char *slug, const char *field,
                  const char *what, struct problem *ret_problem) {
    char kept[128] = "";
    int r = settings_get(w->conn, name, kept, sizeof kept);
    if (r < 0 && r != -ENOENT) {
        return store_problem(w->conn, r, ret_problem);
    }
    if (r == 0 && strcmp(kept, value) == 0) {
        return 0;
    }
    if (r == 0 && !empty) {
        return problem_set(ret_problem, PROBLEM_CONFLICT, slug, field,
                           "The database was made with %s %s, but %s is configured now. Put the former back, or use "
                           "another database.",
                           what, kept, value);
    }
    r = settings_set(w->conn, name, value);
    return r < 0 ? store_problem(w->conn, r, ret_problem) : 0;
}

static int settle_pool(struct service *s, struct write *w, bool empty, struct problem *ret_problem) {
    char text[PREFIX_TEXT_SIZE], kept[PREFIX_TEXT_SIZE] = "";
    struct prefix before = {0};
    const struct prefix *pool = &s->identity.gateway.pool;
    int r = settings_get(w->conn, "pool", kept, sizeof kept);
    if (r < 0 && r != -ENOENT) {
        return store_problem(w->conn, r, ret_problem);
    }
    bool known = r == 0 && prefix_parse(kept, &before, NULL) == 0;
    prefix_format(pool, text);
    if (known && prefix_equal(&before, pool) && !empty) {
        return 0;
    }
    if (known && !empty && !prefix_covers(pool, &before)) {
        return problem_set(ret_problem, PROBLEM_CONFLICT, "pool-changed", "gateway.pool",
                           "The database has tenants in the pool %s, and %s does not cover it. A pool may grow (to a "
                           "shorter prefix around it), not move or shrink.",
                           kept, text);
    }
    r = known && !empty ? pool_widen(&w->pool, &before, pool)
                        : pool_init(&w->pool, pool, &s->identity.gateway.hub_address);
    r = r < 0 ? r : settings_set(w->conn, "pool", text);
    r = r < 0 || !empty ? r : settings_set(w->conn, POOL_RESERVE_SETTING, "0");
    return r < 0 ? store_problem(w->conn, r, ret_problem) : 0;
}

/* RFC 4193: 40 random bits behind fd. */
static void make_ula(struct prefix *ret_ula) {
    *ret_ula = (struct prefix){.addr = {.family = AF_INET6}, .length = 48};
    randombytes_buf(ret_ula->addr.bytes, 6);
    ret_ula->addr.bytes[0] = 0xfd;
}

static int settle_ula(struct service *s, struct write *w, bool empty, struct problem *ret_problem) {
    char text[PREFIX_TEXT_SIZE];
    struct prefix settled = s->identity.gateway.ula, *ula = &settled;
    if (!ula->addr.family) {
        int r = settings_get(w->conn, "ula", text, sizeof text);
        if (r < 0 && r != -ENOENT) {
            return store_problem(w->conn, r, ret_problem);
        }
        if (r < 0 || prefix_parse(text, ula, NULL) < 0) {
            make_ula(ula);
        }
    }
    int r = settle(w, "ula", prefix_format(ula, text), empty, "ula-changed", "gateway.ula", "the ULA", ret_problem);
    pthread_mutex_lock(&s->identity.mutex); /* the API may show the gateway while it waits for the database */
    s->identity.gateway.ula = *ula;
    s->identity.gateway.hub_address6 = ula->addr;
    s->identity.gateway.hub_address6.bytes[15] = 1;
    pthread_mutex_unlock(&s->identity.mutex);
    return r;
}

/* What the store holds must be something the data plane can carry. */
static int check_backend(struct service *s, struct store_conn *conn, struct problem *ret_problem) {
    static const struct tenants_filter private_ones = {.has_addressing = true, .addressing = ADDRESSING_PRIVATE};
    struct tenant_row row;
    size_t count = 0;
    if (plane_ops(s->plane)->private_tenants) {
        return 0;
    }
    int r = tenants_list(conn, &private_ones, 0, 1, &row, &count);
    r = r < 0 ? store_problem(conn, r, ret_problem) : 0;
    if (r == 0 && count) {
        r = problem_set(ret_problem, PROBLEM_CONFLICT, SERVICE_PRIVATE_TENANTS, "backend.kind",
                        "Tenant \"%.100s\" has private addressing, which WireGuard in the kernel cannot carry. Set "
                        "[backend] kind = engine, or auto.",
                        row.tenant.name);
    }
    return r;
}

/* Before anything else: whose database is it? */
static int check_key(struct service *s, struct write *w, struct problem *ret_problem) {
    return settle(w, "gateway_public_key", s->identity.columns.public_key, false, "gateway-key-changed",
                  "gateway.private_key_file", "the gateway key", ret_problem);
}

static int settle_all(struct service *s, struct problem *ret_problem) {
    struct change_mark mark = {0};
    struct write w;
    char hub[IP_TEXT_SIZE];
    struct ledger_counts counts = {0};
    int r = write_begin_early(s->ledger, "gateway", &w, ret_problem);
    if (r < 0) {
        return r;
    }
    r = tenants_count(w.conn, &counts.tenants);
    r = r < 0 ? r : routers_count(w.conn, &counts.routers);
    r = r < 0 ? r : changes_revision(w.conn, &counts.revision);
    r = r < 0 ? r : changes_mark(w.conn, counts.revision, &mark);
    if (r < 0) {
        r = store_problem(w.conn, r, ret_problem);
        goto fail;
    }
    bool alone = false;
    r = counts.tenants ? check_key(s, &w, ret_problem) : 0;
    r = r < 0 ? r : check_backend(s, w.conn, ret_problem);
    r = r < 0 ? r : fleet_enter(s->fleet, &w, &alone, ret_problem);
    if (r < 0) {
        goto fail;
    }
    ledger_start(s->ledger, &counts);
    follow_start(s->follow, counts.revision, &mark); /* nobody applies anything yet */
    reach_heard(s->reach);
    bool empty = counts.tenants == 0 && alone;
    r = settle(&w, "gateway_public_key", s->identity.columns.public_key, empty, "gateway-key-changed",
               "gateway.private_key_file", "the gateway key", ret_problem);
    r = r < 0 ? r
              : settle(&w, "hub_address", ip_format(&s->identity.gateway.hub_address, hub), empty,
                       "hub-address-changed", "gateway.hub_address", "the hub address", ret_problem);
    r = r < 0 ? r : settle_pool(s, &w, empty, ret_problem);
    r = r < 0 ? r : settle_ula(s, &w, empty, ret_problem);
    if (r < 0) {
        goto fail;
    }
    /* Beside others, each writes its endpoint into the rows that it makes. */
    r = alone ? routers_set_gateway(w.conn, &s->identity.columns) : 0;
    r = r < 0 ? store_problem(w.conn, r, ret_problem) : write_commit_silent(&w, ret_problem);
    if (r == 0) {
        return 0;
    }
fail:
    write_abort(&w);
    return r;
}

int attach(struct service *s, struct problem *ret_problem) {
    int r = store_wake(s->store, ret_problem);
    r = r < 0 ? r : settle_all(s, ret_problem);
    if (r == 0) {
        store_admit(s->store);
    }
    reach_settled(s->reach, r < 0 ? ret_problem : NULL, r < 0 && !reach_may_come(s->reach, ret_problem));
    bell_ring(&s->bell);
    return r;
}
