#include "cli/import/plan.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"

#define PROBLEM "urn:sallyport:problem:"

/* What there is to do about a peer, by what stands in its way. */
static const struct {
    const char *type, *advice;
} advices[] = {
    {"default-route",
     "a default route: add --drop-default-routes, which keeps all else of such peers. What is to reach "
     "the Internet through the gateway: sallyport tenant set TENANT --egress on"},
    {"no-address",
     "no address: give the [Peer] its own in AllowedIPs, as 10.8.0.7/32, which is what the router has in its "
     "Address"},
    {"address-outside-pool", "an address outside the pool: widen [gateway] pool, or import under a new tenant with "
                             "--addressing private"},
    {"address-taken", "an address of another tenant: import under a new tenant with --addressing private, or move that "
                      "tenant"},
    {"duplicate-address",
     "an address that another router has: give one of the two another, in the file and on the router"},
    {"duplicate-public-key",
     "a key that another router has: sallyport router list --public-key KEY finds it. If it is the "
     "same router, remove it there first; if not, make a new key on one of the two"},
    {"hub-address", "the hub's own address: give [gateway] hub_address another, or the router"},
    {"gateways-own-key", "the gateway's own key: this [Peer] is the server itself; take it out"},
    {"weak-public-key", "a key that no router can have: make a new pair on the router"},
    {"lan-overlap", "a network that another router has: take it from one of the two, or import under a new tenant with "
                    "--addressing private"},
    {"lan-overlaps-tunnel",
     "a network within the pool: take it out, or let [gateway] pool leave it out before there are "
     "tenants"},
    {"lan-overlaps-ula", "a network within [gateway] ula: take it out, or choose another ula before there are tenants"},
    {"lan-holds-gateway", "a network that holds what the gateway's host itself needs: name its parts without that, or "
                          "import under a new tenant with --addressing private"},
    {"contains-hub", "a network that holds the hub's address: name its parts without it"},
    {"special-prefix", "a prefix that is nobody's network: take it out"},
    {"too-many-lans", "too many networks: merge neighbours into shorter prefixes"},
    {"router-limit",
     "no room in the tenant: sallyport tenant set TENANT --routers N, or import the rest under another"},
    {"bad-name", "a name that cannot be one: change its comment"},
};

static const json_t *items_of(const struct plan *plan) {
    return json_object_get(plan->answer, "items");
}

static bool is_conflict(const json_t *item) {
    return strcmp(field_text(item, "result"), "conflict") == 0;
}

/* The line of the file that an item of the answer stands for; 0: none. */
static unsigned line_of(const struct plan *plan, size_t at) {
    return plan->conf && at < plan->conf->peer_count ? plan->conf->peers[at].line : 0;
}

bool plan_leaves_some(const struct plan *plan) {
    return field_number(plan->answer, "conflicts") > 0 &&
           field_number(plan->answer, "imported") + field_number(plan->answer, "already_there") > 0;
}

void plan_print_conflicts(const struct plan *plan) {
    size_t i;
    const json_t *item;
    json_array_foreach(items_of(plan), i, item) {
        const char *name = field_text(item, "name"), *detail = field_text(item, "problem.detail");
        const char *who = name[0] ? name : field_text(item, "public_key");
        unsigned line = line_of(plan, i);
        if (is_conflict(item) && line) {
            cli_error("%s:%u: %s: %s", plan->file_name, line, who, detail);
        } else if (is_conflict(item)) {
            cli_error("%s: %s", who, detail);
        }
    }
}

void plan_print(const struct plan *plan) {
    static const char *const headers[] = {"RESULT", "NAME", "ADDRESS", "LANS OR CONFLICT", NULL};
    struct table *table = table_make(headers);
    size_t i;
    const json_t *item;
    json_array_foreach(items_of(plan), i, item) {
        char lans[512];
        bool conflict = is_conflict(item);
        unsigned line = line_of(plan, i);
        table_cell(table, conflict ? "CONFLICT" : field_text(item, "result"));
        table_cell(table, field_text(item, "name"));
        table_cell(table, field_text(item, "address"));
        if (conflict && line) {
            table_cellf(table, "line %u: %s", line, field_text(item, "problem.detail"));
        } else {
            table_cell(table, conflict ? field_text(item, "problem.detail")
                                       : print_join(json_object_get(item, "lans"), lans, sizeof lans));
        }
    }
    print_table(table);
    table_free(table);
    plan_print_counts(plan);
}

void plan_print_counts(const struct plan *plan) {
    char made[FIELD_TEXT_SIZE], there[FIELD_TEXT_SIZE], failed[FIELD_TEXT_SIZE];
    bool dry = field_flag(plan->answer, "dry_run");
    printf("%s%s imported, %s there already, %s %s\n", field_count(field_number(plan->answer, "imported"), made),
           dry ? " would be" : "", field_count(field_number(plan->answer, "already_there"), there),
           field_count(field_number(plan->answer, "conflicts"), failed), dry ? "in conflict" : "left out");
}

void plan_print_advice(const struct plan *plan) {
    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++) {
        size_t at, count = 0;
        const json_t *item;
        json_array_foreach(items_of(plan), at, item) {
            const char *type = field_text(item, "problem.type");
            bool ours = strncmp(type, PROBLEM, sizeof PROBLEM - 1) == 0;
            count += ours && strcmp(type + sizeof PROBLEM - 1, advices[i].type) == 0;
        }
        if (count) {
            fprintf(stderr, "%zu with %s.\n", count, advices[i].advice);
        }
    }
}
