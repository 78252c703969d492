#include "api/json/fields.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

const char *const fields_addressings[] = {[ADDRESSING_UNIQUE] = "unique", [ADDRESSING_PRIVATE] = "private", NULL};
const char *const fields_tenant_statuses[] = {[TENANT_ACTIVE] = "active", [TENANT_DISABLED] = "disabled", NULL};
const char *const fields_router_statuses[] = {
    [ROUTER_PENDING] = "pending", [ROUTER_ACTIVE] = "active", [ROUTER_DISABLED] = "disabled", NULL};

_Static_assert(offsetof(struct fields_tenant, spec) == 0, "fields_tenant[] also fills a bare struct tenant_spec");

#define AT(member) .offset = offsetof(struct fields_tenant, member)
static const struct field limit_fields[] = {
    {"bits_per_second", FIELD_U64, AT(spec.limits.bits_per_second)},
    {"packets_per_second", FIELD_U64, AT(spec.limits.packets_per_second)},
    {"routers", FIELD_U32, AT(spec.limits.routers)},
};

const struct field fields_tenant[FIELDS_TENANT_WITH_ROUTERS_COUNT] = {
    {"id", FIELD_UUID, AT(spec.id)},
    {"name", FIELD_TEXT, true, AT(spec.name)},
    {"addressing", FIELD_CHOICE, AT(spec.addressing), .choices = fields_addressings},
    {"subnet", FIELD_PREFIX, AT(spec.subnet)},
    {"egress", FIELD_BOOL, AT(spec.egress)},
    {"limits", FIELD_OBJECT, .fields = limit_fields, .field_count = 3},
    {"routers", FIELD_ARRAY, AT(routers)},
};
#undef AT

#define AT(member) .offset = offsetof(struct tenant_patch, member)
#define GIVEN(member) .given = offsetof(struct tenant_patch, member)
static const struct field limit_patch_fields[] = {
    {"bits_per_second", FIELD_U64, AT(limits.bits_per_second), GIVEN(has_bits_per_second)},
    {"packets_per_second", FIELD_U64, AT(limits.packets_per_second), GIVEN(has_packets_per_second)},
    {"routers", FIELD_U32, AT(limits.routers), GIVEN(has_routers)},
};

const struct field fields_tenant_patch[FIELDS_TENANT_PATCH_COUNT] = {
    {"name", FIELD_TEXT, AT(name)},
    {"egress", FIELD_BOOL, AT(egress), GIVEN(has_egress)},
    {"limits", FIELD_OBJECT, .fields = limit_patch_fields, .field_count = 3},
};
#undef AT
#undef GIVEN

struct router_fields {
    struct router_spec spec;
    const char *preshared_key;
    const json_t *lans;
};

#define AT(member) .offset = offsetof(struct router_fields, member)
/* In an order in which each use is a run of them: see fields_router_use. */
static const struct field router_fields[] = {
    {"tenant_id", FIELD_UUID, true, AT(spec.tenant_id)},
    {"id", FIELD_UUID, AT(spec.id)},
    {"name", FIELD_TEXT, true, AT(spec.name)},
    {"address", FIELD_IP, AT(spec.address)},
    {"lans", FIELD_ARRAY, AT(lans), .most = ROUTER_LANS_MAX},
    {"public_key", FIELD_KEY, AT(spec.public_key)},
    {"preshared_key", FIELD_TEXT, AT(preshared_key)},
};
#undef AT

static const struct {
    size_t first, count;
} router_uses[] = {
    [FIELDS_ROUTER_NEW] = {1, 6},
    [FIELDS_ROUTER_NEW_OF_TENANT] = {0, 7},
    [FIELDS_ROUTER_KEYS] = {5, 2},
};

/* A key, or the word that asks for one. */
static int read_preshared_key(const char *text, struct router_spec *spec, struct problem *p) {
    static const struct field field = {"preshared_key", FIELD_KEY};
    if (!text) {
        return 0;
    }
    if (strcmp(text, "generate") == 0) {
        spec->generate_preshared_key = true;
        return 0;
    }
    return field_read_text(&field, text, &spec->preshared_key, p);
}

int fields_router_read(const json_t *object, enum fields_router_use use, struct fields_router *ret_router,
                       struct problem *ret_problem) {
    struct router_fields read = {0};
    struct prefix *lans = NULL;
    size_t lan_count = 0;
    int error =
        field_read_object(object, router_fields + router_uses[use].first, router_uses[use].count, &read, ret_problem);
    if (error < 0) {
        return error;
    }
    error = read_preshared_key(read.preshared_key, &read.spec, ret_problem);
    if (error < 0) {
        return error;
    }
    if (json_array_size(read.lans) > 0) {
        error = field_read_prefixes(read.lans, &lans, &lan_count, ret_problem);
        if (error < 0) {
            problem_within(ret_problem, "lans");
            sodium_memzero(&read, sizeof read);
            return error;
        }
    }
    read.spec.lans = lans;
    read.spec.lan_count = lan_count;
    *ret_router = (struct fields_router){.spec = read.spec, .lans = lans};
    sodium_memzero(&read, sizeof read);
    return 0;
}

void fields_router_free(struct fields_router *router) {
    if (router) {
        free(router->lans);
        sodium_memzero(router, sizeof *router);
    }
}
