#include "fake_service.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "service/noun/adoption.h"
#include "service/noun/export.h"

#define TENANTS_MAX 256
#define ROUTERS_MAX 12000

struct kept {
    char actor[CALLER_ACTOR_SIZE];
    char key[129];
    uint8_t hash[32];
    int status;
    char *body;
    size_t size;
};

struct known_token {
    char text[TOKEN_TEXT_SIZE];
    enum scope scope;
    struct uuid tenant_id;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct tenant tenants[TENANTS_MAX];
static size_t tenant_count;
static struct router routers[ROUTERS_MAX];
static size_t router_count;
static struct kept kept[16];
static size_t kept_count;
static struct known_token tokens[8];
static size_t token_count;
static struct event events[32];
static size_t event_count;
static struct problem next_problem;
static bool store_ok, backend_up;
static unsigned creations, delay_ms;
_Atomic int64_t fake_exported, fake_exported_broken;

void fake_reset(void) {
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < kept_count; i++) {
        free(kept[i].body);
    }
    tenant_count = router_count = kept_count = token_count = event_count = 0;
    creations = delay_ms = 0;
    fake_exported = 0;
    fake_exported_broken = INT64_MAX;
    next_problem = (struct problem){0};
    store_ok = backend_up = true;
    pthread_mutex_unlock(&mutex);
}

void fake_fail_next(enum problem_kind kind, const char *type, const char *field, const char *detail) {
    problem_set(&next_problem, kind, type, field, "%s", detail);
}

void fake_set_health(bool store, bool backend) {
    store_ok = store;
    backend_up = backend;
}

unsigned fake_creations(void) {
    pthread_mutex_lock(&mutex);
    unsigned made = creations;
    pthread_mutex_unlock(&mutex);
    return made;
}

void fake_add_token(const char *text, enum scope scope, const struct uuid *tenant_id) {
    struct known_token *t = &tokens[token_count++];
    snprintf(t->text, sizeof t->text, "%s", text);
    t->scope = scope;
    t->tenant_id = tenant_id ? *tenant_id : (struct uuid){0};
}

void fake_set_delay_ms(unsigned ms) {
    delay_ms = ms;
}

void fake_add_event(const char *kind) {
    pthread_mutex_lock(&mutex);
    struct event *e = &events[event_count];
    *e = (struct event){.revision = ++event_count, .at = clock_wall_us(), .actor = "uid:0"};
    snprintf(e->kind, sizeof e->kind, "%s", kind);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

/* --- */

static size_t fail_after;

void fake_fail_after(size_t items) {
    fail_after = items;
}

static int fails(struct problem *p) {
    if (next_problem.kind == PROBLEM_NONE) {
        return 0;
    }
    *p = next_problem;
    next_problem = (struct problem){0};
    struct problem ignored;
    return problem_set(&ignored, p->kind, p->type, p->field, "%s", p->detail);
}

static int missing(struct problem *p, const char *what) {
    return problem_set(p, PROBLEM_NOT_FOUND, "not-found", "", "There is no %s with this id.", what);
}

static struct tenant *find_tenant(const struct uuid *id) {
    for (size_t i = 0; i < tenant_count; i++) {
        if (uuid_equal(&tenants[i].id, id)) {
            return &tenants[i];
        }
    }
    return NULL;
}

static struct router *find_router(const struct uuid *id) {
    for (size_t i = 0; i < router_count; i++) {
        if (uuid_equal(&routers[i].id, id)) {
            return &routers[i];
        }
    }
    return NULL;
}

static bool sees(const struct caller *c, const struct uuid *tenant_id) {
    return c->scope == SCOPE_ADMIN || uuid_equal(&c->tenant_id, tenant_id);
}

void service_gateway(struct service *s, struct service_gateway *ret) {
    (void)s;
    *ret = (struct service_gateway){.endpoint_host = "vpn.example.com", .endpoint_port = 51820, .mtu = 1420};
    ret->public_key.bytes[0] = 9;
    prefix_parse("10.0.0.0/8", &ret->pool, NULL);
    prefix_parse("fd00:1:2::/48", &ret->ula, NULL);
    ip_parse("10.0.0.1", &ret->hub_address);
    ip_parse("fd00:1:2::1", &ret->hub_address6);
}

/* --- tenants --- */

static int tenant_make(const struct tenant_spec *spec, struct tenant *ret, struct problem *p) {
    if (name_fault(spec->name)) {
        return problem_set(p, PROBLEM_INVALID, "invalid-name", "name", "The name %s.", name_fault(spec->name));
    }
    struct tenant *t = &tenants[tenant_count];
    *t =
        (struct tenant){.id = spec->id, .addressing = spec->addressing, .subnet = spec->subnet, .limits = spec->limits};
    if (uuid_is_zero(&t->id)) {
        uuid_make((uint64_t)clock_wall_us() / 1000, &t->id);
    }
    if (!t->subnet.addr.family) {
        prefix_parse("10.100.0.0/16", &t->subnet, NULL);
    }
    snprintf(t->name, sizeof t->name, "%s", spec->name);
    t->created_at = t->updated_at = clock_wall_us();
    tenant_count++;
    creations++;
    *ret = *t;
    return 0;
}

int service_tenant_create(struct service *s, const struct caller *c, const struct tenant_spec *spec,
                          struct tenant *ret_tenant, struct problem *p) {
    (void)s;
    (void)c;
    pthread_mutex_lock(&mutex);
    int error = fails(p);
    error = error ? error : tenant_make(spec, ret_tenant, p);
    pthread_mutex_unlock(&mutex);
    return error;
}

int service_tenant_get(struct service *s, const struct caller *c, const struct uuid *id, struct tenant *ret_tenant,
                       struct problem *p) {
    (void)s;
    pthread_mutex_lock(&mutex);
    struct tenant *t = sees(c, id) ? find_tenant(id) : NULL;
    if (t) {
        *ret_tenant = *t;
    }
    pthread_mutex_unlock(&mutex);
    return t ? 0 : missing(p, "tenant");
}

int service_tenant_networks(struct service *s, const struct caller *c, const struct uuid *id,
                            struct prefix **ret_networks, size_t *ret_count, struct problem *p) {
    struct tenant tenant;
    int r = service_tenant_get(s, c, id, &tenant, p);
    if (r < 0) {
        return r;
    }
    *ret_networks = NULL; /* to free() */
    *ret_count = 0;
    return 0;
}

int service_tenant_patch(struct service *s, const struct caller *c, const struct uuid *id,
                         const struct tenant_patch *patch, struct tenant *ret_tenant, struct problem *p) {
    (void)s;
    (void)c;
    struct tenant *t = find_tenant(id);
    if (!t) {
        return missing(p, "tenant");
    }
    if (patch->name) {
        snprintf(t->name, sizeof t->name, "%s", patch->name);
    }
    t->egress = patch->has_egress ? patch->egress : t->egress;
    t->limits.routers = patch->has_routers ? patch->limits.routers : t->limits.routers;
    *ret_tenant = *t;
    return 0;
}

int service_tenant_set_status(struct service *s, const struct caller *c, const struct uuid *id,
                              enum tenant_status status, struct tenant *ret_tenant, struct problem *p) {
    (void)s;
    (void)c;
    struct tenant *t = find_tenant(id);
    if (!t) {
        return missing(p, "tenant");
    }
    t->status = status;
    *ret_tenant = *t;
    return 0;
}

int service_tenant_delete(struct service *s, const struct caller *c, const struct uuid *id, struct problem *p) {
    (void)s;
    (void)c;
    struct tenant *t = find_tenant(id);
    if (!t) {
        return missing(p, "tenant");
    }
    *t = tenants[--tenant_count];
    return 0;
}

int service_tenant_list(struct service *s, const struct caller *c, const struct tenant_filter *filter,
                        const char *cursor, size_t limit, struct tenant *ret_tenants, size_t *ret_count,
                        char ret_next[64], struct problem *p) {
    (void)s;
    (void)c;
    (void)filter;
    (void)p;
    size_t at = strtoul(cursor, NULL, 10), count = 0;
    for (; at < tenant_count && count < limit; at++) {
        ret_tenants[count++] = tenants[at];
    }
    *ret_count = count;
    snprintf(ret_next, 64, "%.0zu", at < tenant_count ? at : 0);
    return 0;
}

/* --- routers --- */

static int router_make(const struct caller *c, const struct router_spec *spec, struct router_made *ret,
                       struct problem *p) {
    if (!sees(c, &spec->tenant_id) || !find_tenant(&spec->tenant_id)) {
        return missing(p, "tenant");
    }
    if (name_fault(spec->name)) {
        return problem_set(p, PROBLEM_INVALID, "invalid-name", "name", "The name %s.", name_fault(spec->name));
    }
    if (router_count == ROUTERS_MAX) {
        return problem_set(p, PROBLEM_EXHAUSTED, "pool-exhausted", "", "No address is free.");
    }
    struct router *r = &routers[router_count];
    *ret = (struct router_made){0};
    *r = (struct router){.id = spec->id,
                         .tenant_id = spec->tenant_id,
                         .public_key = spec->public_key,
                         .preshared_key = spec->preshared_key,
                         .address = spec->address,
                         .lan_count = (uint32_t)spec->lan_count};
    if (uuid_is_zero(&r->id)) {
        uuid_make((uint64_t)clock_wall_us() / 1000, &r->id);
    }
    if (key_is_zero(&r->public_key)) {
        key_make_private(&ret->private_key);
        key_public(&ret->private_key, &r->public_key);
    }
    if (spec->generate_preshared_key) {
        key_make_preshared(&r->preshared_key);
    }
    for (size_t i = 0; i < spec->lan_count; i++) {
        r->lans[i] = spec->lans[i];
    }
    snprintf(r->name, sizeof r->name, "%s", spec->name);
    r->hub_address = ip_from_v4(0x0a000100u + (uint32_t)router_count);
    r->address = r->address.family ? r->address : r->hub_address;
    ip_parse("fd00:1:2::9", &r->address6);
    r->created_at = r->updated_at = clock_wall_us();
    router_count++;
    creations++;
    ret->router = *r;
    return 0;
}

int service_router_create(struct service *s, const struct caller *c, const struct router_spec *spec,
                          struct router_made *ret_made, struct problem *p) {
    (void)s;
    const struct timespec pause = {.tv_nsec = (long)delay_ms * 1000000};
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&mutex);
    int error = fails(p);
    error = error ? error : router_make(c, spec, ret_made, p);
    pthread_mutex_unlock(&mutex);
    return error;
}

int service_router_get(struct service *s, const struct caller *c, const struct uuid *id, struct router *ret_router,
                       struct problem *p) {
    (void)s;
    struct router *r = find_router(id);
    if (!r || !sees(c, &r->tenant_id)) {
        return missing(p, "router");
    }
    *ret_router = *r;
    return 0;
}

int service_router_patch(struct service *s, const struct caller *c, const struct uuid *id,
                         const struct router_patch *patch, struct router *ret_router, struct problem *p) {
    (void)s;
    (void)c;
    struct router *r = find_router(id);
    if (!r) {
        return missing(p, "router");
    }
    if (patch->name) {
        snprintf(r->name, sizeof r->name, "%s", patch->name);
    }
    if (patch->has_lans) {
        r->lan_count = (uint32_t)patch->lan_count;
        for (size_t i = 0; i < patch->lan_count; i++) {
            r->lans[i] = patch->lans[i];
        }
    }
    *ret_router = *r;
    return 0;
}

int service_router_set_disabled(struct service *s, const struct caller *c, const struct uuid *id, bool disabled,
                                struct router *ret_router, struct problem *p) {
    (void)s;
    (void)c;
    struct router *r = find_router(id);
    if (!r) {
        return missing(p, "router");
    }
    r->status = disabled ? ROUTER_DISABLED : ROUTER_PENDING;
    *ret_router = *r;
    return 0;
}

int service_router_rotate(struct service *s, const struct caller *c, const struct uuid *id,
                          const struct router_spec *spec, struct router_made *ret_made, struct problem *p) {
    (void)s;
    (void)c;
    struct router *r = find_router(id);
    if (!r) {
        return missing(p, "router");
    }
    *ret_made = (struct router_made){0};
    r->public_key = spec->public_key;
    if (key_is_zero(&r->public_key)) {
        key_make_private(&ret_made->private_key);
        key_public(&ret_made->private_key, &r->public_key);
    }
    ret_made->router = *r;
    return 0;
}

int service_router_delete(struct service *s, const struct caller *c, const struct uuid *id, struct problem *p) {
    (void)s;
    (void)c;
    struct router *r = find_router(id);
    if (!r) {
        return missing(p, "router");
    }
    *r = routers[--router_count];
    return 0;
}

int service_router_list(struct service *s, const struct caller *c, const struct router_filter *filter,
                        const char *cursor, size_t limit, struct router *ret_routers, size_t *ret_count,
                        char ret_next[64], struct problem *p) {
    (void)s;
    (void)c;
    (void)p;
    size_t at = strtoul(cursor, NULL, 10), count = 0;
    for (; at < router_count && count < limit; at++) {
        if (uuid_is_zero(&filter->tenant_id) || uuid_equal(&filter->tenant_id, &routers[at].tenant_id)) {
            ret_routers[count++] = routers[at];
        }
    }
    *ret_count = count;
    snprintf(ret_next, 64, "%.0zu", at < router_count ? at : 0);
    return 0;
}

int service_bulk_create(struct service *s, const struct caller *c, struct bulk_item *items, size_t count,
                        struct problem *p) {
    (void)s;
    pthread_mutex_lock(&mutex);
    size_t sound = fail_after;
    fail_after = 0;
    int failed = sound ? 0 : fails(p);
    for (size_t i = 0; failed == 0 && i < count; i++) {
        struct bulk_item *item = &items[i];
        if (sound && i >= sound) {
            struct problem problem = next_problem;
            item->error = fails(&item->problem);
            next_problem = i + 1 < count ? problem : next_problem;
            continue;
        }
        item->error = item->has_tenant ? tenant_make(&item->tenant, &item->made_tenant, &item->problem) : 0;
        for (size_t n = 0; item->error == 0 && n < item->router_count; n++) {
            struct router_spec spec = item->routers[n];
            spec.tenant_id = item->has_tenant ? item->made_tenant.id : spec.tenant_id;
            item->error = router_make(c, &spec, &item->made[n], &item->problem);
        }
    }
    pthread_mutex_unlock(&mutex);
    return failed;
}

/* --- tokens, idempotency, events --- */

const char *const scope_names[] = {"metrics", "tenant-read", "tenant-write", "admin", NULL};

const char *scope_name(enum scope scope) {
    return scope_names[scope];
}

int service_token_create(struct service *s, const struct caller *c, const struct token_spec *spec,
                         struct token *ret_token, char ret_text[TOKEN_TEXT_SIZE], struct problem *p) {
    (void)s;
    (void)c;
    (void)p;
    *ret_token = (struct token){.scope = spec->scope,
                                .tenant_id = spec->tenant_id,
                                .expires_at = spec->expires_at,
                                .created_at = clock_wall_us()};
    uuid_make(1, &ret_token->id);
    snprintf(ret_token->name, sizeof ret_token->name, "%s", spec->name);
    snprintf(ret_text, TOKEN_TEXT_SIZE, "sp_%043d", 7);
    return 0;
}

int service_gateway_list(struct service *s, const struct caller *c, struct gateway_info **ret_gateways,
                         size_t *ret_count, struct problem *ret_problem) {
    struct gateway_info *list = calloc(1, sizeof *list);
    (void)s;
    (void)c;
    (void)ret_problem;
    snprintf(list->name, sizeof list->name, "north");
    list->self = true;
    *ret_gateways = list;
    *ret_count = 1;
    return 0;
}

int service_token_list(struct service *s, const struct caller *c, struct token **ret_tokens, size_t *ret_count,
                       struct problem *p) {
    (void)s;
    (void)c;
    (void)p;
    *ret_tokens = NULL;
    *ret_count = 0;
    return 0;
}

int service_token_revoke(struct service *s, const struct caller *c, const struct uuid *id, struct problem *p) {
    (void)s;
    (void)c;
    (void)id;
    return missing(p, "token");
}

int service_token_check(struct service *s, const char *text, struct caller *ret_caller) {
    (void)s;
    if (!store_ok) {
        return -EIO;
    }
    for (size_t i = 0; i < token_count; i++) {
        if (strcmp(tokens[i].text, text) == 0) {
            *ret_caller = (struct caller){.scope = tokens[i].scope, .tenant_id = tokens[i].tenant_id};
            snprintf(ret_caller->actor, sizeof ret_caller->actor, "token:%zu", i);
            return 0;
        }
    }
    return -EACCES;
}

int service_idempotency_get(struct service *s, const struct caller *c, const char *key, const uint8_t hash[32],
                            int *ret_status, char **ret_body, size_t *ret_size, struct problem *p) {
    (void)s;
    (void)p;
    int error = -ENOENT;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < kept_count; i++) {
        if (strcmp(kept[i].key, key) == 0 && strcmp(kept[i].actor, c->actor) == 0) {
            error = memcmp(kept[i].hash, hash, 32) == 0 ? 0 : -EEXIST;
            if (error == 0) {
                *ret_status = kept[i].status;
                *ret_size = kept[i].size;
                *ret_body = malloc(kept[i].size);
                memcpy(*ret_body, kept[i].body, kept[i].size);
            }
        }
    }
    pthread_mutex_unlock(&mutex);
    return error;
}

int service_idempotency_put(struct service *s, const struct caller *c, const char *key, const uint8_t hash[32],
                            int status, const char *body, size_t size, struct problem *p) {
    (void)s;
    (void)p;
    pthread_mutex_lock(&mutex);
    struct kept *k = &kept[kept_count++];
    snprintf(k->actor, sizeof k->actor, "%s", c->actor);
    snprintf(k->key, sizeof k->key, "%s", key);
    memcpy(k->hash, hash, 32);
    k->status = status;
    k->size = size;
    k->body = malloc(size);
    memcpy(k->body, body, size);
    pthread_mutex_unlock(&mutex);
    return 0;
}

int service_event_list(struct service *s, const struct caller *c, uint64_t after, size_t limit, unsigned wait_ms,
                       struct event *ret_events, size_t *ret_count, struct event_span *ret_span, struct problem *p) {
    (void)s;
    (void)c;
    (void)p;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    while (event_count <= after && wait_ms && pthread_cond_timedwait(&changed, &mutex, &until) == 0) {
    }
    size_t count = 0;
    for (size_t i = after; i < event_count && count < limit; i++) {
        ret_events[count++] = events[i];
    }
    *ret_count = count;
    *ret_span = (struct event_span){.oldest = 1, .newest = event_count};
    pthread_mutex_unlock(&mutex);
    return 0;
}

int service_audit_list(struct service *s, const struct caller *c, const struct audit_filter *filter, const char *cursor,
                       size_t limit, struct audit_row *ret_rows, size_t *ret_count, char ret_next[64],
                       struct problem *p) {
    (void)s;
    (void)c;
    (void)filter;
    (void)cursor;
    (void)limit;
    (void)ret_rows;
    (void)p;
    *ret_count = 0;
    ret_next[0] = '\0';
    return 0;
}

uint64_t service_event_await(struct service *s, uint64_t seen, unsigned wait_ms) {
    (void)s;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    while (event_count <= seen && wait_ms && pthread_cond_timedwait(&changed, &mutex, &until) == 0) {
    }
    uint64_t revision = event_count;
    pthread_mutex_unlock(&mutex);
    return revision;
}

/* --- status --- */

void service_status(struct service *s, struct service_status *ret) {
    (void)s;
    *ret = (struct service_status){.started_at = clock_wall_us() - USEC_PER_SEC,
                                   .store_ok = store_ok,
                                   .store_kind = "fake",
                                   .backend = {.name = "fake", .up = backend_up},
                                   .backend_why = "for the test",
                                   .tenants = tenant_count,
                                   .routers = router_count,
                                   .in_sync = backend_up};
}

void service_health(struct service *s, struct service_status *ret_status) {
    service_status(s, ret_status);
}

int service_counters(struct service *s, backend_counter_fn *fn, void *context, struct problem *p) {
    (void)s;
    (void)p;
    return fn(context, "udp_received", 5) < 0 ? -EIO : 0;
}

/* --- adoption and export --- */

int service_adopt(struct service *s, const struct caller *c, struct adoption *a, struct problem *p) {
    (void)s;
    (void)c;
    (void)p;
    for (size_t i = 0; i < a->count; i++) {
        a->peers[i].result = ADOPTION_MADE;
        a->made++;
    }
    a->committed = !a->dry_run;
    return 0;
}

void adoption_free(struct adoption *adoption) {
    (void)adoption;
}

int service_foreign_read(struct service *s, const struct caller *c, const char *name, struct foreign **ret,
                         struct problem *p) {
    (void)s;
    (void)c;
    (void)name;
    (void)ret;
    return problem_set(p, PROBLEM_NOT_FOUND, "no-interface", "interface", "There is none here.");
}

int service_take_over_check(struct service *s, const struct caller *c, const char *name, const struct foreign *foreign,
                            struct problem *p) {
    (void)s;
    (void)c;
    (void)name;
    (void)foreign;
    (void)p;
    return 0;
}

int service_take_over(struct service *s, const struct caller *c, const char *name, struct problem *p) {
    return service_take_over_check(s, c, name, NULL, p);
}

int service_export_list(struct service *s, const struct caller *c, const struct uuid *tenant_id, int64_t *after,
                        size_t limit, struct exported_router *ret_routers, size_t *ret_count, struct problem *p) {
    (void)s;
    (void)c;
    (void)tenant_id;
    (void)p;
    size_t count = 0;
    for (; count < limit && *after < fake_exported; ++*after) {
        struct exported_router *to = &ret_routers[count++];
        memset(to, 0, sizeof *to);
        snprintf(to->router.name, sizeof to->router.name, "r%d", (int)*after);
        to->router.address = ip_from_v4(0x0a000000u + (uint32_t)*after);
        to->router.address6 = (struct ip_addr){.family = AF_INET6};
    }
    if (*after >= fake_exported_broken) {
        return problem_set(p, PROBLEM_UNAVAILABLE, "store", NULL, "The database went away.");
    }
    *ret_count = count;
    return 0;
}

bool service_store_may_leave(const struct service *s) {
    (void)s;
    return false;
}
