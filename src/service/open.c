/* Opening and closing: what the configuration says is held against what the store was made with. */
#include "service/service.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "service/attach.h"
#include "service/keeper.h"
#include "service/noun/gateways.h"
#include "service/noun/lan_guard.h"
#include "service/noun/noun.h"

/* "host", "host:port", "[v6]:port" or a bare IPv6 address. */
static void split_endpoint(const char *endpoint, uint16_t port, struct service_gateway *gateway) {
    const char *text = endpoint ? endpoint : "";
    const char *colon = strrchr(text, ':');
    size_t size = strlen(text);
    gateway->endpoint_port = port;
    if (colon && (strchr(text, ':') == colon || colon[-1] == ']')) {
        char *end;
        unsigned long number = strtoul(colon + 1, &end, 10);
        if (*end == '\0' && number > 0 && number <= UINT16_MAX) {
            gateway->endpoint_port = (uint16_t)number;
            size = (size_t)(colon - text);
        }
    }
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    snprintf(gateway->endpoint_host, sizeof gateway->endpoint_host, "%.*s", (int)size, text);
}

static int check_config(const struct service_config *config, struct problem *ret_problem) {
    const struct prefix *pool = &config->pool;
    const struct ip_addr *hub = &config->hub_address;
    char text[PREFIX_TEXT_SIZE], address[IP_TEXT_SIZE];
    if (pool->addr.family != AF_INET || pool->length < 4 || pool->length > 28) {
        return problem_set(ret_problem, PROBLEM_INVALID, "pool", "gateway.pool",
                           "The pool must be an IPv4 prefix of /4 to /28, as 10.0.0.0/8.");
    }
    struct prefix clean = prefix_make(&pool->addr, pool->length);
    if (!prefix_equal(&clean, pool)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "host-bits-set", "gateway.pool",
                           "The pool has bits set behind its length; it is %s.", prefix_format(&clean, text));
    }
    uint32_t offset = ip_to_v4(hub) - ip_to_v4(&pool->addr);
    if (!prefix_contains(pool, hub) || offset == 0 || (uint64_t)offset + 1 == UINT64_C(1) << (32 - pool->length)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "hub-address", "gateway.hub_address",
                           "The hub's address %s must be in the pool %s, and neither its first nor its last.",
                           ip_format(hub, address), prefix_format(pool, text));
    }
    if (config->ula.addr.family && (config->ula.addr.family != AF_INET6 || config->ula.length != 48)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "ula", "gateway.ula",
                           "The ULA must be an IPv6 /48, as fd12:3456:789a::/48, or auto.");
    }
    if (key_is_zero(&config->private_key)) {
        return problem_set(ret_problem, PROBLEM_INVALID, "private-key", "gateway.private_key_file",
                           "The gateway has no private key.");
    }
    return 0;
}

/* Owned by the service from now on. */
static const char *copy(struct service *s, const char *text, bool *failed) {
    char *made = text ? strdup(text) : NULL;
    *failed = *failed || (text && !made);
    if (made) {
        s->texts[s->text_count++] = made;
    }
    return made;
}

static void name_gateway(struct service *s, const struct service_config *config) {
    struct identity *identity = &s->identity;
    char host[GATEWAY_NAME_SIZE] = "";
    if (!config->name || !config->name[0]) {
        (void)gethostname(host, sizeof host - 1);
    }
    name_fit(identity->name, sizeof identity->name,
             config->name && config->name[0] ? config->name
             : host[0]                       ? host
                                             : "gateway");
    name_fit(identity->region, sizeof identity->region, config->region ? config->region : "");
}

static int copy_config(struct service *s, const struct service_config *config) {
    bool failed = false;
    s->backend_config = config->backend_config;
    s->backend_config.interface_name = copy(s, config->backend_config.interface_name, &failed);
    s->backend_config.engine_path = copy(s, config->backend_config.engine_path, &failed);
    s->backend_config.engine_log = copy(s, config->backend_config.engine_log, &failed);
    s->backend_config.engine_xdp = copy(s, config->backend_config.engine_xdp, &failed);
    s->backend_why = copy(s, config->backend_why ? config->backend_why : "", &failed);
    s->listen_port = config->listen_port;
    s->reconcile_s = config->reconcile_s ? config->reconcile_s : 60;
    s->usage_s = config->usage_s ? config->usage_s : 2;
    s->audit_days = config->audit_days;
    name_gateway(s, config);
    struct service_gateway *gateway = &s->identity.gateway;
    gateway->pool = config->pool;
    gateway->ula = config->ula;
    gateway->hub_address = config->hub_address;
    gateway->mtu = config->mtu;
    gateway->family = config->family;
    key_public(&config->private_key, &gateway->public_key);
    split_endpoint(config->endpoint, config->listen_port, gateway);
    struct gateway_columns *columns = &s->identity.columns;
    key_to_base64(&gateway->public_key, columns->public_key);
    columns->hub_address = gateway->hub_address;
    columns->port = gateway->endpoint_port;
    snprintf(columns->endpoint, sizeof columns->endpoint, "%s", gateway->endpoint_host);
    int r = secrets_open(&s->secrets, &config->private_key);
    return failed ? -ENOMEM : r;
}

static int open_fleet(struct service *s, const struct service_config *config) {
    struct fleet_config fleet = {
        .store = s->store,
        .ledger = s->ledger,
        .identity = &s->identity,
        .self.identity = config->identity,
        .clock_tolerance_s = config->clock_tolerance_s,
        .now_ns = clock_mono_ns(),
    };
    struct gateway_row *self = &fleet.self;
    name_fit(self->name, sizeof self->name, s->identity.name);
    name_fit(self->region, sizeof self->region, s->identity.region);
    name_fit(self->version, sizeof self->version, config->version ? config->version : "");
    name_fit(self->endpoint, sizeof self->endpoint, config->endpoint ? config->endpoint : "");
    name_fit(self->backend, sizeof self->backend, config->backend->name);
    return fleet_open(&fleet, &s->fleet);
}

static void note_wanted(void *guard, struct store_conn *conn, const struct prefix *wanted, size_t count) {
    lan_guard_review(guard, conn, wanted, count);
}

static int open_lan_guard(struct service *s, const struct service_config *config) {
    const struct lan_guard_config guard = {
        .allowed = config->lan_prefixes,
        .allowed_count = config->lan_prefix_count,
        .interface_name = s->backend_config.interface_name,
        .backend = config->backend,
        .usage = s->usage,
        .resolvers = config->resolvers,
    };
    int r = lan_guard_open(&guard, &s->lan_guard);
    if (r == 0) {
        routes_observe(s->routes, note_wanted, s->lan_guard);
    }
    return r;
}

static void note_unknown(void *plane) {
    plane_behind(plane);
}

/* The layers, from the lowest up. */
static int open_layers(struct service *s, const struct service_config *config) {
    int r = reach_open(s->store, &s->reach);
    r = r < 0 ? r : plane_open(config->backend, &s->backend_config, &s->bell, &s->plane);
    r = r < 0 ? r : ledger_open(s->store, s->reach, &s->identity, plane_queue(s->plane), &s->ledger);
    if (r < 0) {
        return r;
    }
    ledger_observe(s->ledger, note_unknown, s->plane);
    const struct usage_config usage = {s->store, &s->identity, s->ledger, s->plane, s->usage_s};
    r = usage_open(&usage, &s->usage);
    r = r < 0 ? r : open_fleet(s, config);
    s->desired = (struct desired){s->store, &s->secrets, s->usage, s->plane};
    r = r < 0 ? r : routes_open(s->store, s->plane, &s->bell, &s->routes);
    r = r < 0 ? r : open_lan_guard(s, config);
    const struct follow_config follow = {
        .desired = &s->desired,
        .identity = &s->identity,
        .reach = s->reach,
        .ledger = s->ledger,
        .bell = &s->bell,
        .routes = s->routes,
        .grace_s = config->grace_s,
        .shared = store_is_shared(s->store),
    };
    r = r < 0 ? r : follow_open(&follow, &s->follow);
    s->force = (struct force){s->plane, s->ledger, s->follow};
    const struct reconcile_config reconcile = {
        .desired = &s->desired,
        .identity = &s->identity,
        .ledger = s->ledger,
        .follow = s->follow,
        .routes = s->routes,
        .listen_port = config->listen_port,
        .fwmark = config->fwmark,
    };
    r = r < 0 ? r : reconcile_open(&reconcile, &s->reconcile);
    return r < 0 ? r : tokens_open(&s->tokens);
}

static int no_memory(struct problem *ret_problem) {
    return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
}

int service_open(const struct service_config *config, struct service **ret_service, struct problem *ret_problem) {
    static const struct store_options waits = {.waits = true};
    struct problem away = {0};
    struct backend_state state;
    int r = check_config(config, ret_problem);
    if (r < 0) {
        return r;
    }
    struct service *s = sodium_init() < 0 ? NULL : calloc(1, sizeof *s);
    if (!s) {
        return no_memory(ret_problem);
    }
    bell_open(&s->bell);
    pthread_mutex_init(&s->identity.mutex, NULL);
    s->started_at = clock_wall_us();
    r = copy_config(s, config);
    if (r < 0) {
        r = no_memory(ret_problem);
        goto fail;
    }
    r = store_open(config->store_url, &waits, &s->store, ret_problem);
    if (r < 0) {
        goto fail;
    }
    r = open_layers(s, config);
    if (r < 0) {
        r = no_memory(ret_problem);
        goto fail;
    }
    r = attach(s, ret_problem);
    bool waiting = r < 0 && reach_may_come(s->reach, ret_problem);
    if (r < 0 && !waiting) {
        goto fail;
    }
    r = plane_revive(s->plane, &away);
    if (r < 0) {
        plane_trouble(s->plane, r, &away);
    } else {
        (void)plane_look(s->plane, &state);
    }
    r = waiting ? 0 : usage_count_held(s->usage);
    if (r < 0) {
        r = store_problem(store_writer(s->store), r, ret_problem);
        goto fail;
    }
    r = keeper_start(s);
    if (r < 0) {
        r = problem_set(ret_problem, PROBLEM_INTERNAL, "no-thread", NULL, "No thread could be started: %s.",
                        strerror(-r));
        goto fail;
    }
    *ret_service = s;
    return 0;
fail:
    service_close(s);
    return r;
}

void service_close(struct service *s) {
    if (!s) {
        return;
    }
    if (s->ledger) {
        ledger_end(s->ledger); /* whoever waits for an event hears that there is none */
    }
    keeper_stop(s);
    if (s->tokens) { /* all layers are open */
        struct presence presence;
        gateways_presence(s, &presence);
        fleet_leave(s->fleet, &presence);
    }
    tokens_free(s->tokens);
    reconcile_free(s->reconcile);
    follow_free(s->follow);
    lan_guard_close(s->lan_guard);
    routes_free(s->routes);
    fleet_free(s->fleet);
    usage_close(s->usage);
    ledger_free(s->ledger);
    plane_free(s->plane);
    reach_free(s->reach);
    store_close(s->store);
    secrets_close(&s->secrets);
    pthread_mutex_destroy(&s->identity.mutex);
    bell_close(&s->bell);
    for (size_t i = 0; i < s->text_count; i++) {
        free(s->texts[i]);
    }
    free(s);
}
