/* Adopting the peers of a WireGuard server: sent by the caller, who read its file, or read from a live interface here.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/request.h"
#include "api/json/fields.h"
#include "api/json/view.h"
#include "api/noun/handlers.h"
#include "backend/host/foreign.h"
#include "service/noun/adoption.h"

#define PEERS_MAX 1000000 /* a tenant has no more routers */

struct adoption_body {
    struct fields_tenant tenant; /* first: its table's offsets are from there */
    struct uuid tenant_id;
    const char *interface;
    const json_t *peers;
    const json_t *names;
    struct key server_public_key;
    const char *server_address;
    bool any_key, dry_run, skip_conflicts, drop_default_routes, take_over;
};

#define AT(member) .offset = offsetof(struct adoption_body, member)
static const struct field body_fields[] = {
    {"tenant", FIELD_OBJECT, .fields = fields_tenant, .field_count = FIELDS_TENANT_COUNT},
    {"tenant_id", FIELD_UUID, AT(tenant_id)},
    {"interface", FIELD_TEXT, AT(interface)},
    {"peers", FIELD_ARRAY, AT(peers), .most = PEERS_MAX},
    {"names", FIELD_ARRAY, AT(names), .most = PEERS_MAX},
    {"server_public_key", FIELD_KEY, AT(server_public_key)},
    {"server_address", FIELD_TEXT, AT(server_address)},
    {"any_key", FIELD_BOOL, AT(any_key)},
    {"dry_run", FIELD_BOOL, AT(dry_run)},
    {"skip_conflicts", FIELD_BOOL, AT(skip_conflicts)},
    {"drop_default_routes", FIELD_BOOL, AT(drop_default_routes)},
    {"take_over", FIELD_BOOL, AT(take_over)},
};
#undef AT

struct peer_body {
    const char *name;
    struct key public_key, preshared_key;
    const json_t *allowed_ips;
    const char *endpoint;
};

#define AT(member) .offset = offsetof(struct peer_body, member)
static const struct field peer_fields[] = {
    {"name", FIELD_TEXT, AT(name)},
    {"public_key", FIELD_KEY, true, AT(public_key)},
    {"preshared_key", FIELD_KEY, AT(preshared_key)},
    {"allowed_ips", FIELD_ARRAY, true, AT(allowed_ips)},
    {"endpoint", FIELD_TEXT, AT(endpoint)},
};
#undef AT

/* What belongs to one request. */
struct adopting {
    const struct request *request;
    struct adoption_body body;
    struct adoption adoption;
    struct foreign *foreign;  /* owned; NULL: the peers were sent */
    struct prefix **prefixes; /* owned, one array a peer sent */
    bool taken_over;
    struct problem take_over_problem;
};

static void adopting_free(struct adopting *a) {
    adoption_free(&a->adoption);
    for (size_t i = 0; a->prefixes && i < a->adoption.count; i++) {
        free(a->prefixes[i]);
    }
    free(a->prefixes);
    free(a->adoption.peers);
    foreign_free(a->foreign);
}

/* --- what is asked --- */

static int refuse(struct problem *p, const char *type, const char *field, const char *detail) {
    return problem_set(p, PROBLEM_INVALID, type, field, "%s", detail);
}

static int check_body(const struct adoption_body *b, struct problem *p) {
    bool has_tenant = b->tenant.spec.name != NULL;
    if (has_tenant == !uuid_is_zero(&b->tenant_id)) {
        return refuse(p, "tenant-or-id", "tenant",
                      "Give either tenant, to make one, or tenant_id, of one that exists.");
    }
    if (!b->interface == !b->peers) {
        return refuse(p, "interface-or-peers", "peers",
                      "Give either peers, or interface, from which the gateway reads them.");
    }
    if (b->names && !b->interface) {
        return refuse(p, "names-of-nothing", "names", "Only an interface's peers are named here; peers have a name.");
    }
    if (b->take_over && !b->interface) {
        return refuse(p, "nothing-to-take-over", "take_over", "Only an interface can be taken over; give interface.");
    }
    if (b->server_address) {
        struct prefix address;
        if (prefix_parse(b->server_address, &address, NULL) < 0) {
            return refuse(p, "wrong-form", "server_address", "This is not an address such as 10.8.0.1/24.");
        }
    }
    return 0;
}

static int read_peer(struct adopting *a, size_t at, const json_t *object, struct problem *p) {
    struct adoption_peer *peer = &a->adoption.peers[at];
    struct peer_body body = {0};
    int error = field_read_object(object, peer_fields, sizeof peer_fields / sizeof *peer_fields, &body, p);
    if (error == 0 && body.name && strlen(body.name) >= sizeof peer->name) {
        error = refuse(p, "bad-name", "name", "The name is longer than 128 bytes; shorten it.");
    }
    if (error == 0 && body.endpoint && endpoint_parse(body.endpoint, &peer->endpoint) < 0) {
        error = refuse(p, "wrong-form", "endpoint", "This is not an address and port such as 192.0.2.1:51820.");
    }
    if (error == 0) {
        error = field_read_prefixes(body.allowed_ips, &a->prefixes[at], &peer->allowed_ip_count, p);
        if (error < 0) {
            problem_within(p, "allowed_ips");
        }
    }
    if (error == 0) {
        peer->public_key = body.public_key;
        peer->preshared_key = body.preshared_key;
        peer->allowed_ips = a->prefixes[at];
        memcpy(peer->name, body.name ? body.name : "", body.name ? strlen(body.name) + 1 : 1);
    }
    sodium_memzero(&body, sizeof body);
    return error;
}

static int by_key(const void *a, const void *b) {
    const struct adoption_peer *const *left = a, *const *right = b;
    return memcmp((*left)->public_key.bytes, (*right)->public_key.bytes, KEY_SIZE); /* public: need not take its time */
}

struct name_body {
    struct key public_key;
    const char *name;
};

/* An interface knows no names; those of peers that it does not have count for nothing. */
static int read_names(struct adopting *a, struct problem *p) {
    static const struct field fields[] = {
        {"public_key", FIELD_KEY, true, offsetof(struct name_body, public_key)},
        {"name", FIELD_TEXT, true, offsetof(struct name_body, name)},
    };
    size_t count = a->adoption.count, i;
    const json_t *item;
    int error = 0;
    struct adoption_peer **sorted = calloc(count + 1, sizeof *sorted);
    if (!sorted) {
        return problem_set(p, PROBLEM_UNAVAILABLE, "out-of-memory", NULL, "Out of memory; try again.");
    }
    for (i = 0; i < count; i++) {
        sorted[i] = &a->adoption.peers[i];
    }
    qsort(sorted, count, sizeof *sorted, by_key);
    json_array_foreach(a->body.names, i, item) {
        struct name_body body = {0};
        error = field_read_object(item, fields, 2, &body, p);
        error = error < 0 ? error : name_check(body.name, p);
        if (error < 0) {
            char name[32];
            snprintf(name, sizeof name, "names[%zu]", i);
            problem_within(p, name);
            break;
        }
        const struct adoption_peer sought = {.public_key = body.public_key}, *key = &sought;
        struct adoption_peer **found = bsearch(&key, sorted, count, sizeof *sorted, by_key);
        if (found) {
            snprintf((*found)->name, sizeof(*found)->name, "%s", body.name);
        }
    }
    free(sorted);
    return error;
}

static int room_for(struct adopting *a, size_t count, struct problem *p) {
    a->adoption.peers = calloc(count + 1, sizeof *a->adoption.peers);
    a->prefixes = calloc(count + 1, sizeof *a->prefixes);
    if (!a->adoption.peers || !a->prefixes) {
        return problem_set(p, PROBLEM_UNAVAILABLE, "out-of-memory", NULL, "Out of memory; try again.");
    }
    a->adoption.count = count;
    return 0;
}

static int read_sent(struct adopting *a, struct problem *p) {
    int error = room_for(a, json_array_size(a->body.peers), p);
    for (size_t i = 0; error == 0 && i < a->adoption.count; i++) {
        error = read_peer(a, i, json_array_get(a->body.peers, i), p);
        if (error < 0) {
            char name[32];
            snprintf(name, sizeof name, "peers[%zu]", i);
            problem_within(p, name);
        }
    }
    a->adoption.server_key = a->body.server_public_key;
    if (a->body.server_address) {
        (void)address_parse(a->body.server_address, &a->adoption.server_address);
    }
    return error;
}

static int read_interface(struct adopting *a, struct problem *p) {
    const struct request *r = a->request;
    int error = service_foreign_read(r->service, &r->caller, a->body.interface, &a->foreign, p);
    if (error == 0 && a->foreign->peer_count > PEERS_MAX) {
        error = problem_set(p, PROBLEM_INVALID, "too-many-items", "interface",
                            "It has %zu peers, and a tenant at most %d routers.", a->foreign->peer_count, PEERS_MAX);
    }
    error = error < 0 ? error : room_for(a, a->foreign->peer_count, p);
    if (error < 0) {
        return error;
    }
    for (size_t i = 0; i < a->adoption.count; i++) {
        const struct foreign_peer *from = &a->foreign->peers[i];
        struct adoption_peer *to = &a->adoption.peers[i];
        to->public_key = from->public_key;
        to->preshared_key = from->preshared_key;
        to->endpoint = from->endpoint;
        to->last_handshake_at = from->last_handshake_at;
        to->allowed_ips = from->allowed_ips;
        to->allowed_ip_count = from->allowed_ip_count;
    }
    if (!key_is_zero(&a->foreign->private_key)) {
        key_public(&a->foreign->private_key, &a->adoption.server_key);
    }
    for (size_t i = 0; i < a->foreign->address_count && !a->adoption.server_address.addr.family; i++) {
        if (a->foreign->addresses[i].addr.family == AF_INET) {
            a->adoption.server_address = a->foreign->addresses[i];
        }
    }
    error = read_names(a, p);
    if (error < 0) {
        return error;
    }
    return a->body.take_over ? service_take_over_check(r->service, &r->caller, a->body.interface, a->foreign, p) : 0;
}

/* --- the answer --- */

static const char *const results[] = {
    [ADOPTION_MADE] = "imported",
    [ADOPTION_THERE] = "already-there",
    [ADOPTION_CONFLICT] = "conflict",
};

static json_t *problem_view(struct answer *answer, const struct problem *p) {
    return view_problem(problem_status(p->kind), p->type, p->field, answer_detail(answer, p));
}

static json_t *peer_view(struct answer *answer, const struct adoption_peer *peer) {
    char key[KEY_BASE64_SIZE], address[IP_TEXT_SIZE], text[PREFIX_TEXT_SIZE];
    json_t *lans = json_array();
    for (size_t i = 0; i < peer->lan_count; i++) {
        json_array_append_new(lans, json_string(prefix_format(&peer->lans[i], text)));
    }
    bool addressed = peer->address.family != 0;
    return json_pack("{s:o,s:s,s:s,s:o,s:o,s:o,s:o}", "name",
                     view_text(peer->name[0] ? peer->name
                               : addressed   ? ip_format(&peer->address, address)
                                             : ""),
                     "public_key", key_to_base64(&peer->public_key, key), "result", results[peer->result], "router_id",
                     view_uuid(&peer->router_id), "address",
                     addressed ? json_string(ip_format(&peer->address, address)) : json_null(), "lans", lans, "problem",
                     peer->problem ? problem_view(answer, peer->problem) : json_null());
}

static json_t *wanted_view(const struct adoption *a) {
    char pool[PREFIX_TEXT_SIZE], hub[IP_TEXT_SIZE];
    return a->wanted_pool.addr.family ? json_pack("{s:s,s:s}", "pool", prefix_format(&a->wanted_pool, pool),
                                                  "hub_address", ip_format(&a->wanted_hub, hub))
                                      : json_null();
}

static void adoption_answer(const struct adopting *a, struct answer *answer) {
    const struct adoption *d = &a->adoption;
    bool real = d->committed || !uuid_is_zero(&d->tenant_id);
    answer_list_open(
        answer,
        json_pack("{s:b,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:o}", "dry_run", d->dry_run ? 1 : 0, "committed",
                  d->committed ? 1 : 0, "imported", view_count(d->made), "already_there", view_count(d->there),
                  "conflicts", view_count(d->conflicts), "tenant", real ? view_tenant(&d->made_tenant) : json_null(),
                  "interface_kind", a->foreign ? json_string(foreign_kind_name(a->foreign->kind)) : json_null(),
                  "wanted_gateway", wanted_view(d), "taken_over", a->taken_over ? 1 : 0, "take_over_problem",
                  a->take_over_problem.kind ? problem_view(answer, &a->take_over_problem) : json_null()));
    for (size_t i = 0; i < d->count; i++) {
        answer_list_item(answer, peer_view(answer, &d->peers[i]));
    }
    answer_list_close(answer, NULL);
}

void serve_adoption(const struct request *request, struct answer *answer) {
    struct adopting a = {.request = request};
    struct problem problem = {0};
    if (!request_read_body(request, body_fields, sizeof body_fields / sizeof *body_fields, &a.body, sizeof a.body,
                           answer)) {
        return;
    }
    a.adoption.tenant_id = a.body.tenant_id;
    a.adoption.tenant = a.body.tenant.spec;
    a.adoption.any_key = a.body.any_key;
    a.adoption.dry_run = a.body.dry_run;
    a.adoption.skip_conflicts = a.body.skip_conflicts;
    a.adoption.drop_default_routes = a.body.drop_default_routes;
    int error = check_body(&a.body, &problem);
    if (error == 0) {
        error = a.body.interface ? read_interface(&a, &problem) : read_sent(&a, &problem);
    }
    error = error < 0 ? error : service_adopt(request->service, &request->caller, &a.adoption, &problem);
    if (error < 0) {
        answer_problem(answer, &problem);
    } else {
        if (a.adoption.committed && a.body.take_over) {
            a.taken_over =
                service_take_over(request->service, &request->caller, a.body.interface, &a.take_over_problem) == 0;
        }
        adoption_answer(&a, answer);
    }
    adopting_free(&a);
}
