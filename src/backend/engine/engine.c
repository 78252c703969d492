/* The engine as a backend: a client of sallyport-wg's control socket, and of rtnetlink for the interface itself.
 *
 * One connection is kept. Every request is idempotent: if the engine closed it since the last one (-EPIPE before
 * anything was answered), it is made again and the request repeated, but only to the same process. Another process has
 * none of what was applied before: that is -ENOTCONN, until revive() accepts it and the caller brings it up to date. */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/engine/actual.h"
#include "backend/engine/change.h"
#include "backend/engine/guard.h"
#include "backend/engine/process.h"
#include "backend/host/client.h"
#include "backend/host/device.h"
#include "backend/host/link.h"
#include "base/buf.h"
#include "engine/uapi/text.h"

#define PIECE (256u * 1024) /* of a request: sent while the rest is still to be written */

struct backend {
    char interface_name[16];
    char *engine_path; /* owned; NULL: never start one */
    char *engine_log;  /* owned */
    char *engine_xdp;  /* owned */
    unsigned engine_workers;
    unsigned engine_offloads_off;
    uint64_t generation; /* of the process that revive() accepted; 0: none */
    struct guard *guard; /* counted */
    struct uapi_client client;
};

/* --- problems --- */

static int unavailable(struct problem *problem, int rc, const char *type, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int unavailable(struct problem *problem, int rc, const char *type, const char *format, ...) {
    char text[sizeof problem->detail];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    problem_set(problem, PROBLEM_UNAVAILABLE, type, "", "%s", text);
    return rc;
}

/* A failure of the connection: in every case the data plane is not there as far as the caller is concerned. */
static int away(struct backend *b, struct problem *problem, int rc) {
    if (rc == -EACCES || rc == -EPERM) {
        return unavailable(problem, -ENOTCONN, "engine-unreachable",
                           "May not open the control socket %s/%s.sock. Run as root, or as the engine's user.",
                           uapi_directory(), b->interface_name);
    }
    if (rc == -ESTALE) {
        return unavailable(problem, -ENOTCONN, "engine-restarted",
                           "The engine of %s was restarted and has to be told everything again.", b->interface_name);
    }
    return unavailable(problem, -ENOTCONN, "engine-unreachable",
                       "The engine of %s does not answer on %s/%s.sock: %s. Start it with: sallyport-wg %s",
                       b->interface_name, uapi_directory(), b->interface_name,
                       rc == -ENOTCONN ? "nobody listens there" : strerror(-rc), b->interface_name);
}

/* A request the engine refused. The kernel's errno stays the result; EINVAL here is a fault of ours. */
static int refused(struct problem *problem, int error, const char *fault) {
    problem_set(problem, PROBLEM_INTERNAL, "engine-refused", "", "The engine refused a request: %s.",
                *fault ? fault : strerror(-error));
    return error;
}

/* --- requests --- */

/* Connects to the process that was accepted. */
static int reconnect(struct backend *b) {
    int rc = uapi_client_connect(&b->client, b->interface_name);
    if (rc == 0 && process_generation(b->client.pid) != b->generation) {
        uapi_client_close(&b->client);
        rc = -ESTALE;
    }
    return rc;
}

struct exchange {
    int (*write)(struct backend *b, const void *what); /* sends the request */
    const void *what;
    uapi_client_fn *read; /* may be NULL */
    void *context;
    bool heard; /* a line of the answer has been handed out: too late to repeat */
};

static int hear(void *context, const char *key, const char *value) {
    struct exchange *exchange = context;
    exchange->heard = true;
    return exchange->read ? exchange->read(exchange->context, key, value) : 0;
}

static bool is_stale(int rc) {
    return rc == -EPIPE || rc == -ECONNRESET;
}

/* One request and its answer. 0; what `read` returned; -ENOTCONN, or the engine's refusal, with the problem set. */
static int transact(struct backend *b, struct exchange *exchange, struct problem *problem) {
    char fault[256] = "";
    int error = 0;
    int rc = -EPIPE;
    for (int attempt = 0; attempt < 2 && is_stale(rc) && !exchange->heard; attempt++) {
        rc = b->client.fd < 0 ? reconnect(b) : 0;
        if (rc == 0) {
            rc = exchange->write(b, exchange->what);
        }
        if (rc == 0) {
            rc = uapi_client_receive(&b->client, hear, exchange, &error, fault, sizeof fault);
        }
    }
    if (rc == 0 && error < 0) {
        return refused(problem, error, fault);
    }
    if (rc == -EBADMSG) {
        return refused(problem, rc, "its answer makes no sense");
    }
    return rc < 0 && b->client.fd < 0 ? away(b, problem, rc) : rc;
}

static int write_text(struct backend *b, const void *what) {
    const char *text = what;
    return uapi_client_send(&b->client, text, strlen(text));
}

static int get(struct backend *b, const char *request, uapi_client_fn *read, void *context, struct problem *problem) {
    struct exchange exchange = {.write = write_text, .what = request, .read = read, .context = context};
    return transact(b, &exchange, problem);
}

static int get_device(struct backend *b, struct actual_device *ret_device, struct problem *problem) {
    memset(ret_device, 0, sizeof *ret_device);
    return get(b, "get=1\nsallyport=1\nonly=device\n\n", actual_device_line, ret_device, problem);
}

/* --- open, close --- */

/* Accepts whoever serves the socket, if it is an engine of ours. */
static int accept_engine(struct backend *b, struct problem *problem) {
    struct actual_device device;
    int rc = uapi_client_connect(&b->client, b->interface_name);
    if (rc < 0) {
        return away(b, problem, rc);
    }
    b->generation = process_generation(b->client.pid);
    rc = get_device(b, &device, problem);
    sodium_memzero(&device.private_key, sizeof device.private_key);
    if (rc == 0 && device.workers == 0) {
        rc = -EPROTO;
    }
    if (rc < 0 && rc != -ENOTCONN) {
        unavailable(problem, rc, "foreign-engine",
                    "Process %d serves %s on %s/%s.sock and is not sallyport-wg. Stop it, or choose another interface.",
                    (int)b->client.pid, b->interface_name, uapi_directory(), b->interface_name);
        uapi_client_close(&b->client);
        b->generation = 0;
        rc = -ENOTCONN;
    }
    return rc;
}

static int start_engine(struct backend *b, struct problem *problem) {
    char fault[256];
    struct backend_config config = {
        .interface_name = b->interface_name,
        .engine_path = b->engine_path,
        .engine_workers = b->engine_workers,
        .engine_xdp = b->engine_xdp,
        .engine_offloads_off = b->engine_offloads_off,
        .engine_log = b->engine_log,
    };
    int rc = process_start_engine(&config, fault, sizeof fault);
    if (rc == -ETIMEDOUT) {
        return unavailable(problem, -ENOTCONN, "engine-not-started", "The engine %s was not ready within %d seconds.",
                           b->engine_path, PROCESS_PATIENCE_MS / 1000);
    }
    if (rc < 0) {
        return unavailable(problem, -ENOTCONN, "engine-not-started", "The engine %s could not be started: %s",
                           b->engine_path,
                           *fault       ? fault
                           : rc == -EIO ? "see what it logged"
                                        : strerror(-rc));
    }
    return 0;
}

static int engine_revive(struct backend *b, struct problem *ret_problem) {
    struct uapi_client probe;
    uapi_client_close(&b->client);
    int rc = guard_claim(b->guard, ret_problem);
    if (rc < 0) {
        return -ENOTCONN;
    }
    uapi_client_init(&probe);
    rc = uapi_client_connect(&probe, b->interface_name);
    uapi_client_close(&probe);
    if (rc == -ENOTCONN && b->engine_path) {
        rc = start_engine(b, ret_problem);
        if (rc < 0) {
            return rc;
        }
    }
    return accept_engine(b, ret_problem);
}

static void engine_close(struct backend *b) {
    if (!b) {
        return;
    }
    uapi_client_close(&b->client);
    guard_put(b->guard);
    free(b->engine_path);
    free(b->engine_log);
    free(b->engine_xdp);
    free(b);
}

static int engine_open(const struct backend_config *config, struct backend **ret_backend, struct problem *ret_problem) {
    char path[UAPI_PATH_SIZE];
    struct backend *b = NULL;
    int rc = uapi_path(config->interface_name, path);
    if (rc < 0) {
        problem_set(ret_problem, PROBLEM_INVALID, "invalid-interface", "interface",
                    "'%s' is no name for an interface. Give 1 to 15 of A-Z a-z 0-9 _ = + . -", config->interface_name);
        return rc;
    }
    b = calloc(1, sizeof *b);
    rc = -ENOMEM;
    if (!b) {
        goto fail;
    }
    uapi_client_init(&b->client);
    snprintf(b->interface_name, sizeof b->interface_name, "%s", config->interface_name);
    b->guard = guard_take(config->interface_name);
    b->engine_workers = config->engine_workers;
    b->engine_offloads_off = config->engine_offloads_off;
    b->engine_path = config->engine_path ? strdup(config->engine_path) : NULL;
    b->engine_log = config->engine_log ? strdup(config->engine_log) : NULL;
    b->engine_xdp = config->engine_xdp ? strdup(config->engine_xdp) : NULL;
    if (!b->guard || (config->engine_path && !b->engine_path) || (config->engine_log && !b->engine_log) ||
        (config->engine_xdp && !b->engine_xdp)) {
        goto fail;
    }
    rc = engine_revive(b, ret_problem);
    if (rc < 0) {
        engine_close(b);
        return rc;
    }
    *ret_backend = b;
    return 0;
fail:
    engine_close(b);
    problem_set(ret_problem, PROBLEM_INTERNAL, "out-of-memory", "", "Out of memory.");
    return rc;
}

/* --- the device --- */

/* The hub as tenants see it: its addresses alone, not the pool behind them. */
static struct prefix host_of(const struct prefix *address) {
    return (struct prefix){.addr = address->addr, .length = ip_bits(&address->addr)};
}

static bool same_hub(const struct actual_device *actual, const struct desired_device *desired) {
    if (actual->hub_count != desired->hub_address_count) {
        return false;
    }
    for (size_t i = 0; i < actual->hub_count; i++) {
        struct prefix host = host_of(&desired->hub_addresses[i]);
        if (!prefix_equal(&actual->hub[i], &host)) {
            return false;
        }
    }
    return true;
}

/* What differs, as a set request. The port goes last: it is what may fail. */
static unsigned device_text(struct buf *to, const struct actual_device *actual, const struct desired_device *desired) {
    unsigned differences = 0;
    buf_text(to, "set=1\nsallyport=1\n");
    if (!key_equal(&actual->private_key, &desired->private_key)) {
        uapi_line_key(to, "private_key", &desired->private_key);
        differences++;
    }
    if (!same_hub(actual, desired)) {
        uapi_line_text(to, "replace_hub", "true");
        for (size_t i = 0; i < desired->hub_address_count; i++) {
            struct prefix host = host_of(&desired->hub_addresses[i]);
            uapi_line_prefix(to, "hub", &host);
        }
        differences++;
    }
    if (desired->fwmark.given && actual->fwmark != desired->fwmark.mark) {
        uapi_line_u64(to, "fwmark", desired->fwmark.mark);
        differences++;
    }
    if (actual->listen_port != desired->listen_port) {
        uapi_line_u64(to, "listen_port", desired->listen_port);
        differences++;
    }
    buf_text(to, "\n");
    return differences;
}

static int set_differences(struct backend *b, const struct desired_device *device, unsigned *ret_touched,
                           struct problem *problem) {
    struct actual_device actual;
    struct buf text = {0};
    int rc = get_device(b, &actual, problem);
    unsigned touched = rc == 0 ? device_text(&text, &actual, device) : 0;
    sodium_memzero(&actual.private_key, sizeof actual.private_key);
    if (text.failed) {
        problem_set(problem, PROBLEM_INTERNAL, "out-of-memory", "", "Out of memory.");
        rc = -ENOMEM;
    }
    if (rc == 0 && touched) {
        rc = get(b, text.data, NULL, NULL, problem);
    }
    buf_free(&text);
    if (rc == -EADDRINUSE) {
        problem_set(problem, PROBLEM_CONFLICT, "port-in-use", "listen_port",
                    "UDP port %u is in use by another program (see ss -lunp). Stop it, or choose another port.",
                    device->listen_port);
    }
    if (rc == 0) {
        *ret_touched = touched;
    }
    return rc;
}

/* The interface first: the engine binds its port when it is up, so that a busy port is told to the request that sets
 * it. */
static int engine_set_device(struct backend *b, const struct desired_device *device, unsigned *ret_touched,
                             struct problem *ret_problem) {
    unsigned on_host = 0;
    unsigned in_engine = 0;
    char warning[BACKEND_WARNING_SIZE] = "";
    int rc = device_mend(b->interface_name, device, &on_host, warning, ret_problem);
    if (rc == -ENODEV) {
        return away(b, ret_problem, -ENOTCONN);
    }
    if (rc == 0) {
        guard_set(b->guard, device, warning, &on_host);
        rc = set_differences(b, device, &in_engine, ret_problem);
    }
    if (rc == 0) {
        *ret_touched = on_host + in_engine;
    }
    return rc;
}

/* --- changes --- */

struct batch {
    const struct desired_change *changes;
    size_t count;
};

/* A request may be 100 MB long; no more than a piece of it exists at a time. */
static int write_batch(struct backend *b, const void *what) {
    const struct batch *batch = what;
    struct buf text = {0};
    int rc = 0;
    buf_text(&text, "set=1\nsallyport=1\n");
    for (size_t i = 0; i < batch->count && rc == 0; i++) {
        change_text(&text, &batch->changes[i]);
        if (i + 1 == batch->count) {
            buf_text(&text, "\n");
        }
        if (text.size >= PIECE || i + 1 == batch->count) {
            rc = text.failed ? -ENOMEM : uapi_client_send(&b->client, text.data, text.size);
            text.size = 0; /* wiped as a whole below: the next piece goes over it */
        }
    }
    if (rc == -ENOMEM) {
        uapi_client_close(&b->client); /* a request half said cannot be taken back otherwise */
    }
    buf_free(&text);
    return rc;
}

static int engine_apply(struct backend *b, const struct desired_change *changes, size_t count,
                        struct problem *ret_problem) {
    struct batch batch = {.changes = changes, .count = count};
    struct exchange exchange = {.write = write_batch, .what = &batch};
    return count ? transact(b, &exchange, ret_problem) : 0;
}

/* --- what it holds --- */

static int engine_each_peer_fn(struct backend *b, uint64_t since, backend_peer_fn *fn, void *context,
                               uint64_t *ret_now) {
    struct actual_peer_reader *reader = calloc(1, sizeof *reader);
    struct problem problem;
    char request[96];
    if (!reader) {
        return -ENOMEM;
    }
    reader->fn = fn;
    reader->context = context;
    snprintf(request, sizeof request, "get=1\nsallyport=1\nonly=peers\nsince=%" PRIu64 "\n\n", since);
    int rc = get(b, request, actual_peer_line, reader, &problem);
    if (rc == 0) {
        rc = actual_peer_end(reader);
    }
    if (rc == 0 && ret_now) {
        *ret_now = reader->now;
    }
    sodium_memzero(reader, sizeof *reader);
    free(reader);
    return rc;
}

static int engine_each_tenant_fn(struct backend *b, backend_tenant_fn *fn, void *context) {
    struct actual_tenant_reader reader = {.fn = fn, .context = context};
    struct problem problem;
    int rc = get(b, "get=1\nsallyport=1\nonly=tenants\n\n", actual_tenant_line, &reader, &problem);
    return rc == 0 ? actual_tenant_end(&reader) : rc;
}

struct counter_reader {
    backend_counter_fn *fn;
    void *context;
};

static int counter_line(void *context, const char *key, const char *value) {
    static const char prefix[] = "counter.";
    struct counter_reader *reader = context;
    uint64_t count;
    if (strncmp(key, prefix, sizeof prefix - 1) != 0) {
        return 0;
    }
    if (uapi_text_u64(value, UINT64_MAX, &count) < 0) {
        return -EBADMSG;
    }
    return reader->fn(reader->context, key + sizeof prefix - 1, count);
}

static int engine_each_counter_fn(struct backend *b, backend_counter_fn *fn, void *context) {
    struct counter_reader reader = {.fn = fn, .context = context};
    struct problem problem;
    struct fence_counts counts;
    int rc = get(b, "get=1\nsallyport=1\nonly=counters\n\n", counter_line, &reader, &problem);
    return rc == 0 && guard_count(b->guard, &counts) == 0 ? fn(context, "drop.forged", counts.forged) : rc;
}

static int engine_state(struct backend *b, struct backend_state *ret_state) {
    struct backend_state state = {.name = "engine"};
    struct actual_device device;
    struct problem problem;
    int rc = get_device(b, &device, &problem);
    sodium_memzero(&device.private_key, sizeof device.private_key);
    if (rc == 0) {
        state.up = true;
        state.pid = b->client.pid;
        state.generation = b->generation;
        state.listen_port = device.listen_port;
        state.workers = device.workers;
        state.peers = device.peers;
        state.tenants = device.tenants;
        memcpy(state.crypto, device.crypto, sizeof state.crypto);
        memcpy(state.offloads, device.offloads, sizeof state.offloads);
        memcpy(state.offloads_off, device.offloads_off, sizeof state.offloads_off);
        state.memory_bytes = process_resident_bytes(b->client.pid);
        guard_warning(b->guard, state.warning);
    }
    *ret_state = state;
    return 0;
}

/* --- routes --- */

static int engine_each_route(struct backend *b, backend_route_fn *fn, void *context, struct problem *ret_problem) {
    int rc = device_each_route(b->interface_name, fn, context, ret_problem);
    return rc == -ENODEV ? away(b, ret_problem, -ENOTCONN) : rc;
}

static int engine_set_routes(struct backend *b, const struct prefix *add, size_t add_count, const struct prefix *remove,
                             size_t remove_count, struct problem *ret_problem) {
    int rc = device_set_routes(b->interface_name, add, add_count, remove, remove_count, ret_problem);
    return rc == -ENODEV ? away(b, ret_problem, -ENOTCONN) : rc;
}

const struct backend_ops backend_engine = {
    .name = "engine",
    .private_tenants = true,
    .open = engine_open,
    .close = engine_close,
    .revive = engine_revive,
    .set_device = engine_set_device,
    .apply = engine_apply,
    .each_peer = engine_each_peer_fn,
    .each_tenant = engine_each_tenant_fn,
    .each_counter = engine_each_counter_fn,
    .each_route = engine_each_route,
    .set_routes = engine_set_routes,
    .each_host_fact = link_each_host_fact,
    .state = engine_state,
};
