/* Opening and closing: what the configuration says is held against what the store was made with. */
#include "service/service.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "service/state.h"

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

static char *copy(const char *text, bool *failed) {
    char *made = text ? strdup(text) : NULL;
    *failed = *failed || (text && !made);
    return made;
}

static void name_gateway(struct service *s, const struct service_config *config) {
    char host[GATEWAY_NAME_SIZE] = "";
    if (!config->name || !config->name[0]) {
        (void)gethostname(host, sizeof host - 1);
    }
    snprintf(s->self.name, sizeof s->self.name, "%s",
             config->name && config->name[0] ? config->name
             : host[0]                       ? host
                                             : "gateway");
    snprintf(s->self.region, sizeof s->self.region, "%s", config->region ? config->region : "");
    snprintf(s->self.version, sizeof s->self.version, "%s", config->version ? config->version : "");
    snprintf(s->self.endpoint, sizeof s->self.endpoint, "%s", config->endpoint ? config->endpoint : "");
    snprintf(s->self.backend, sizeof s->self.backend, "%s", config->backend->name);
    s->self.identity = config->identity;
}

static int copy_config(struct service *s, const struct service_config *config) {
    bool failed = false;
    s->interface_name = copy(config->backend_config.interface_name, &failed);
    s->engine_path = copy(config->backend_config.engine_path, &failed);
    s->engine_log = copy(config->backend_config.engine_log, &failed);
    s->engine_xdp = copy(config->backend_config.engine_xdp, &failed);
    s->backend_why = copy(config->backend_why ? config->backend_why : "", &failed);
    s->backend_config = config->backend_config;
    s->backend_config.interface_name = s->interface_name;
    s->backend_config.engine_path = s->engine_path;
    s->backend_config.engine_log = s->engine_log;
    s->backend_config.engine_xdp = s->engine_xdp;
    s->ops = config->backend;
    s->listen_port = config->listen_port;
    s->fwmark = config->fwmark;
    s->reconcile_s = config->reconcile_s ? config->reconcile_s : 60;
    s->usage_s = config->usage_s ? config->usage_s : 2;
    s->grace_s = config->grace_s;
    s->clock_tolerance_s = config->clock_tolerance_s;
    name_gateway(s, config);
    s->gateway.pool = config->pool;
    s->gateway.ula = config->ula;
    s->gateway.hub_address = config->hub_address;
    s->gateway.mtu = config->mtu;
    key_public(&config->private_key, &s->gateway.public_key);
    split_endpoint(config->endpoint, config->listen_port, &s->gateway);
    key_to_base64(&s->gateway.public_key, s->columns.public_key);
    s->columns.hub_address = s->gateway.hub_address;
    s->columns.port = s->gateway.endpoint_port;
    snprintf(s->columns.endpoint, sizeof s->columns.endpoint, "%s", s->gateway.endpoint_host);
    int r = seal_open(s, &config->private_key);
    return failed ? -ENOMEM : r;
}

static void locks_open(struct service *s) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    turn_open(&s->writing);
    turn_open(&s->applying);
    pthread_mutex_init(&s->reconcile_mutex, NULL);
    pthread_mutex_init(&s->watch_mutex, NULL);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->committed, &monotonic);
    pthread_cond_init(&s->attention, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int service_open(const struct service_config *config, struct service **ret_service, struct problem *ret_problem) {
    static const struct store_options waits = {.waits = true};
    struct problem away = {0};
    int r = check_config(config, ret_problem);
    if (r < 0) {
        return r;
    }
    struct service *s = sodium_init() < 0 ? NULL : calloc(1, sizeof *s);
    if (!s) {
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    locks_open(s);
    s->started_at = clock_wall_us();
    r = copy_config(s, config);
    if (r < 0) {
        r = problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
        goto fail;
    }
    r = store_open(config->store_url, &waits, &s->store, ret_problem);
    s->shared = r == 0 && store_is_shared(s->store);
    s->seen_ns = clock_mono_ns();
    r = r < 0 ? r : attach(s, ret_problem);
    bool waiting = r < 0 && attach_may_come(s, ret_problem);
    if (r < 0 && !waiting) {
        goto fail;
    }
    s->away = true;
    snprintf(s->state.name, sizeof s->state.name, "%s", s->ops->name);
    r = plane_revive(s, &away);
    if (r < 0) {
        plane_trouble(s, r, &away);
    } else {
        (void)plane_look(s, &s->state);
    }
    r = usage_open(s);
    if (r < 0 && !waiting) {
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
    keeper_stop(s);
    gateways_leave(s);
    usage_close(s);
    plane_close(s);
    store_close(s->store);
    seal_close(s);
    pthread_cond_destroy(&s->attention);
    pthread_cond_destroy(&s->committed);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->watch_mutex);
    pthread_mutex_destroy(&s->reconcile_mutex);
    turn_close(&s->applying);
    turn_close(&s->writing);
    free(s->gateways);
    free(s->interface_name);
    free(s->engine_path);
    free(s->engine_log);
    free(s->engine_xdp);
    free(s->backend_why);
    free(s);
}
