/* Many tenants and routers at once; each item is a step that may be undone alone.
 *
 * A transaction holds up all other writers, of every gateway. So a request of thousands is cut into chunks, each a
 * durable transaction of its own, between which whoever came meanwhile gets his turn. A store that fails before the
 * first chunk is in fails the request; later it fails the items that are left. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/noun/noun.h"

#define CHUNK_ROWS BULK_ITEM_ROWS /* tenants, routers and LANs; an item is never cut */
#define CHUNK_NS (500 * NSEC_PER_MSEC)
#define CHUNK_TRIES 3

/* The tenant that routers are being added to; how many is written when the next one's turn comes. */
struct current {
    bool known;
    struct tenant_row row;
    uint32_t uncounted;
};

enum placed {
    PLACED_NOWHERE, /* not in the data plane: of a disabled tenant */
    PLACED_PEER,
    PLACED_ROUTES, /* and its LANs are routes of the host */
};

struct bulk {
    struct service *service;
    const struct caller *caller;
    struct write w;
    struct receipt receipt; /* of the last commit */
    bool committed;         /* a chunk is in */
    struct current current;
    enum placed *placed;            /* owned; one per router of the chunk, in order of items */
    struct desired_change *changes; /* owned, secret; a batch */
};

/* "routers[3].public_key"; a lone router's fields are the item's own. */
static void within(const struct bulk_item *item, size_t router, struct problem *problem) {
    if (item->has_tenant || item->router_count > 1) {
        char name[40];
        snprintf(name, sizeof name, "routers[%zu]", router);
        problem_within(problem, name);
    }
}

/* Without its tenant. */
static size_t rows_of(const struct bulk_item *item) {
    size_t rows = item->router_count;
    for (size_t i = 0; i < item->router_count; i++) {
        rows += item->routers[i].lan_count;
    }
    return rows;
}

static int check_size(struct bulk_item *item) {
    size_t rows = rows_of(item);
    return rows <= BULK_ITEM_ROWS
               ? 0
               : problem_set(&item->problem, PROBLEM_INVALID, "item-too-large", "routers",
                             "%zu routers and LANs; a tenant may come with at most %d of them, since it is made in one "
                             "step for which all others wait. Make it with fewer, then the other routers with "
                             "POST /v1/tenants/{id}/routers/bulk.",
                             rows, BULK_ITEM_ROWS);
}

/* What can be said and made without the store. */
static int prepare(struct service *s, const struct caller *c, struct bulk_item *item, int64_t now) {
    int r = check_size(item);
    if (r < 0) {
        return r;
    }
    if (item->has_tenant) {
        r = access_admin(c, NULL, &item->problem);
        r = r < 0 ? r : tenant_prepare(s, &item->tenant, now, &item->made_tenant, &item->problem);
    }
    for (size_t i = 0; r == 0 && i < item->router_count; i++) {
        if (!item->has_tenant) {
            r = access_write(c, &item->routers[i].tenant_id, "tenant", &item->problem);
        }
        r = r < 0 ? r : router_prepare(s, &item->routers[i], now, &item->made[i], &item->problem);
        if (r < 0) {
            within(item, i, &item->problem);
        }
    }
    return r;
}

static int count_routers(struct bulk *b) {
    int r = b->current.known && b->current.uncounted
                ? tenants_add_routers(b->w.conn, b->current.row.id, b->current.uncounted)
                : 0;
    b->current.uncounted = 0;
    return r;
}

/* Brings a tenant's row into the hand. */
static int find_current(struct bulk *b, const struct uuid *tenant_id, struct problem *ret_problem) {
    if (b->current.known && uuid_equal(&b->current.row.tenant.id, tenant_id)) {
        return 0;
    }
    int r = count_routers(b);
    b->current.known = false;
    r = r < 0 ? r : tenants_get(b->w.conn, tenant_id, &b->current.row);
    if (r < 0) {
        return r == -ENOENT ? access_not_found("tenant", ret_problem) : store_problem(b->w.conn, r, ret_problem);
    }
    b->current.known = true;
    return 0;
}

static int make_routers(struct bulk *b, struct bulk_item *item, enum placed *placed) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < item->router_count; i++) {
        struct tenant_row *row = &b->current.row;
        if (!item->has_tenant) {
            r = find_current(b, &item->routers[i].tenant_id, &item->problem);
            r = r < 0 ? r : router_room(row, 1, &item->problem);
        }
        r = r < 0 ? r
                  : router_make(b->service, &b->w, b->caller, row, &item->routers[i], &item->made[i], &item->problem);
        if (r < 0) {
            within(item, i, &item->problem);
            break;
        }
        if (!item->has_tenant) {
            row->tenant.routers++;
            b->current.uncounted++;
        }
        placed[i] = row->tenant.status == TENANT_DISABLED         ? PLACED_NOWHERE
                    : row->tenant.addressing == ADDRESSING_UNIQUE ? PLACED_ROUTES
                                                                  : PLACED_PEER;
    }
    return r;
}

static int make(struct bulk *b, struct bulk_item *item, enum placed *placed) {
    if (item->has_tenant) {
        int r = count_routers(b);
        if (r < 0) {
            return store_problem(b->w.conn, r, &item->problem);
        }
        b->current.known = false;
        const struct tenant_row fresh = {.tenant = item->made_tenant};
        r = router_room(&fresh, item->router_count, &item->problem);
        r = r < 0 ? r
                  : tenant_make(b->service, &b->w, &item->made_tenant, (uint32_t)item->router_count, &b->current.row,
                                &item->problem);
        if (r < 0) {
            return r;
        }
    }
    int r = make_routers(b, item, placed);
    if (r == 0) {
        r = pool_flush(&b->w.pool);
        r = r < 0 ? store_problem(b->w.conn, r, &item->problem) : 0;
    }
    return r;
}

/* One item as a step. The item's own failure is in the item; what is returned is a failure of the whole. */
static int step(struct bulk *b, struct bulk_item *item, enum placed *placed, struct problem *ret_problem) {
    const struct current current = b->current;
    const struct pool_stock stock = b->w.pool.stock;
    size_t changes = b->w.change_count;
    int64_t tenants = b->w.more_tenants, routers = b->w.more_routers;
    int r = store_step_begin(b->w.conn);
    if (r < 0) {
        return store_problem(b->w.conn, r, ret_problem);
    }
    item->error = make(b, item, placed);
    if (item->error == 0) {
        r = store_step_keep(b->w.conn);
        return r < 0 ? store_problem(b->w.conn, r, ret_problem) : 0;
    }
    if (item->problem.kind == PROBLEM_UNAVAILABLE || item->problem.kind == PROBLEM_INTERNAL) {
        *ret_problem = item->problem; /* the store fails: the next item would fare no better */
        return item->error;
    }
    b->current = current;
    write_forget(&b->w, changes);
    b->w.more_tenants = tenants;
    b->w.more_routers = routers;
    pool_forget(&b->w.pool);
    b->w.pool.stock = stock;
    r = store_step_undo(b->w.conn);
    return r < 0 ? store_problem(b->w.conn, r, ret_problem) : 0;
}

/* Sends what was made, in batches. */
static void apply(struct bulk *b, const struct bulk_item *items, size_t count) {
    const enum placed *placed = b->placed;
    struct desired_change *changes = b->changes;
    size_t full = 0;
    for (size_t i = 0; i < count; placed += items[i++].router_count) {
        if (items[i].error < 0) {
            continue;
        }
        if (items[i].has_tenant) {
            desired_tenant_from(&items[i].made_tenant, &changes[full++]);
        }
        for (size_t j = 0; j <= items[i].router_count; j++) {
            if (full == PLANE_BATCH) {
                (void)plane_apply(b->service->plane, changes, full);
                full = 0;
            }
            if (j < items[i].router_count && placed[j] != PLACED_NOWHERE) {
                desired_peer_of(&items[i].made[j].router, &changes[full++]);
            }
        }
    }
    (void)plane_apply(b->service->plane, changes, full);
    placed = b->placed;
    for (size_t i = 0; i < count; placed += items[i++].router_count) {
        for (size_t j = 0; items[i].error == 0 && j < items[i].router_count; j++) {
            const struct router *router = &items[i].made[j].router;
            if (placed[j] == PLACED_ROUTES && router->lan_count) {
                (void)plane_routes(b->service->plane, router->lans, router->lan_count, NULL, 0);
            }
        }
    }
}

static void wipe(struct bulk_item *item, int error) {
    item->error = error;
    if (item->router_count) {
        sodium_memzero(item->made, item->router_count * sizeof *item->made);
    }
}

static size_t chunk_of(const struct bulk_item *items, size_t count) {
    size_t chunk = 0, rows = 0;
    while (chunk < count) {
        rows += items[chunk].has_tenant + rows_of(&items[chunk]);
        if (chunk && rows > CHUNK_ROWS) {
            break;
        }
        chunk++;
    }
    return chunk;
}

/* Checks and makes what needs no store; how many items are worth a transaction, and how much is in them. */
static size_t prepare_all(struct bulk *b, struct bulk_item *items, size_t count, size_t *ret_tenants,
                          size_t *ret_routers) {
    int64_t now = clock_wall_us();
    size_t good = 0, tenants = 0, routers = 0;
    for (size_t i = 0; i < count; i++) {
        items[i].problem = (struct problem){0};
        items[i].error = prepare(b->service, b->caller, &items[i], now);
        good += items[i].error == 0;
        tenants += items[i].has_tenant;
        routers += items[i].router_count;
    }
    *ret_tenants = tenants;
    *ret_routers = routers;
    return good;
}

/* One transaction. Pipelined, nothing is waited for, and a duplicate fails the whole. Returns 1 if something was
 * committed; `count` is the chunk, and becomes what time was enough for. */
static int make_chunk(struct bulk *b, struct bulk_item *items, size_t *count, bool pipelined,
                      struct problem *ret_problem) {
    size_t tenants = 0, routers = 0, at = 0;
    b->current = (struct current){0};
    if (!prepare_all(b, items, *count, &tenants, &routers)) {
        return 0;
    }
    int r = caller_write_begin(b->service, b->caller, &b->w, ret_problem);
    if (r < 0) {
        return r;
    }
    uint64_t began = clock_mono_ns();
    r = pipelined && tenants + routers > 1 ? write_pipeline(&b->w, tenants, routers, ret_problem) : 0;
    for (size_t i = 0; r == 0 && i < *count; at += items[i++].router_count) {
        if (items[i].error == 0) {
            r = step(b, &items[i], b->placed + at, ret_problem);
        }
        if (clock_mono_ns() - began > CHUNK_NS) {
            *count = i + 1;
        }
    }
    if (r == 0) {
        r = count_routers(b);
        r = r < 0 ? store_problem(b->w.conn, r, ret_problem) : write_commit(&b->w, &b->receipt, ret_problem);
    }
    if (r < 0) {
        write_abort(&b->w);
    }
    return r < 0 ? r : 1;
}

/* Whether the same chunk may succeed now. */
static bool is_passing(const struct problem *p) {
    return strcmp(p->type, PROBLEM_STORE_AGAIN) == 0 || strcmp(p->type, PROBLEM_STORE_AWAY) == 0 ||
           strcmp(p->type, PROBLEM_STORE_LOCKED) == 0;
}

/* The next chunk, made and in force. Returns how many items it was; or -errno: none of them was made. */
static ssize_t do_chunk(struct bulk *b, struct bulk_item *items, size_t left, struct problem *ret_problem) {
    int tries = b->committed ? CHUNK_TRIES : 1;
    size_t chunk = 0;
    bool pipelined = true;
    int r;
    do {
        chunk = chunk_of(items, left);
        r = make_chunk(b, items, &chunk, pipelined, ret_problem);
        if (r < 0 && pipelined && strcmp(ret_problem->type, PROBLEM_STORE_AHEAD) == 0) {
            pipelined = false;
        } else if (r < 0 && (--tries == 0 || !is_passing(ret_problem))) {
            return r;
        }
    } while (r < 0);
    if (r > 0) {
        b->committed = true;
        force_begin(&b->service->force, &b->receipt);
        apply(b, items, chunk);
        force_end(&b->service->force);
    }
    return (ssize_t)chunk;
}

int service_bulk_create(struct service *s, const struct caller *c, struct bulk_item *items, size_t count,
                        struct problem *ret_problem) {
    struct bulk b = {.service = s, .caller = c};
    size_t routers = 0, done = 0;
    int r = 0;
    for (size_t i = 0; i < count; i++) {
        routers += items[i].router_count;
    }
    b.changes = malloc(PLANE_BATCH * sizeof *b.changes);
    b.placed = calloc(routers + 1, sizeof *b.placed);
    if (!b.changes || !b.placed) {
        r = problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    while (r == 0 && done < count) {
        ssize_t chunk = do_chunk(&b, items + done, count - done, ret_problem);
        r = chunk < 0 ? (int)chunk : 0;
        done += chunk < 0 ? 0 : (size_t)chunk;
    }
    for (size_t i = 0; i < count; i++) {
        if (i >= done) { /* the store failed */
            items[i].error = r;
            items[i].problem = *ret_problem;
        }
        if (items[i].error < 0) {
            wipe(&items[i], items[i].error);
        }
    }
    if (b.changes) {
        sodium_memzero(b.changes, PLANE_BATCH * sizeof *b.changes);
    }
    free(b.changes);
    free(b.placed);
    return b.committed ? 0 : r;
}
