/* WireGuard in the host's kernel as a backend: generic netlink for peers, eBPF for isolation and accounts, nftables as
 * the fence. This file: coming up, giving up, and the table of operations. */
#include "backend/kernel/kernel.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/host/claim.h"
#include "backend/host/device.h"
#include "backend/host/fence.h"
#include "backend/host/mark.h"
#include "backend/host/sentinel.h"
#include "backend/isolate/isolate.h"
#include "backend/wireguard/wireguard.h"

/* What an idle peer with one allowed IP takes in the kernel (measured on Linux 6.1); nothing there tells it. */
#define KERNEL_PEER_BYTES 1830u

/* --- problems --- */

static int report(struct problem *problem, const char *type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int report(struct problem *problem, const char *type, const char *format, ...) {
    char text[sizeof problem->detail];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    problem_set(problem, PROBLEM_UNAVAILABLE, type, "", "%s", text);
    return -ENOTCONN;
}

/* Why there is no WireGuard for us. */
static int report_no_wireguard(const char *interface_name, int error, struct problem *problem) {
    if (error == -EOPNOTSUPP || error == -ENOENT) {
        return report(problem, "no-wireguard",
                      "This kernel has no WireGuard (Linux 5.6 or newer, module wireguard; try: modprobe wireguard). "
                      "Install it, or set [backend] kind = engine.");
    }
    if (error == -EPERM || error == -EACCES) {
        return report(problem, "not-privileged",
                      "May not manage WireGuard interfaces: %s. Run as root or with CAP_NET_ADMIN, or set [backend] "
                      "kind = engine.",
                      strerror(-error));
    }
    return report(problem, "kernel-refused", "The interface %s cannot be had: %s.", interface_name, strerror(-error));
}

/* --- whose interface --- */

static uint64_t new_generation(void) {
    uint64_t generation;
    randombytes_buf(&generation, sizeof generation);
    return generation | 1;
}

/* Nobody can have lost anything by an interface without a key: one that `ip link add` made, or we just before a crash.
 */
static bool is_blank(struct wireguard *wireguard, const struct link_state *state) {
    struct wireguard_device device;
    bool blank = !state->alias[0] && wireguard_get_device(wireguard, &device) == 0 && key_is_zero(&device.private_key);
    sodium_memzero(&device, sizeof device);
    return blank;
}

static int report_taken(const char *interface_name, const struct link_state *state, struct problem *problem) {
    if (strcmp(state->kind, MARK_KIND) == 0) {
        return report(problem, "foreign-interface",
                      "The WireGuard interface %s was not made by Sallyport and stays untouched. Take it over with: "
                      "sallyport import --interface %s --tenant NAME --adopt, or choose another [gateway] interface.",
                      interface_name, interface_name);
    }
    return report(problem, "interface-taken",
                  "%s exists and is no WireGuard interface of the kernel%s%s. Stop what made it (sallyport-wg, "
                  "wireguard-go), choose another [gateway] interface, or set [backend] kind = engine.",
                  interface_name, state->kind[0] ? " but of kind " : "", state->kind);
}

/* --- coming up --- */

/* Whether the name is free or what has it is ours, before anything is made. */
static int examine(struct backend *b, struct problem *problem) {
    struct link_state state = {0};
    int rc = link_look(b->kernel->interface_name, &state);
    if (rc == -ENODEV) {
        return 0;
    }
    if (rc < 0) {
        return report_no_wireguard(b->kernel->interface_name, rc, problem);
    }
    bool usable = strcmp(state.kind, MARK_KIND) == 0 && (mark_is_ours(&state) || is_blank(b->wireguard, &state));
    return usable ? 0 : report_taken(b->kernel->interface_name, &state, problem);
}

/* Makes the interface if there is none, and says what is there now. */
static int obtain(struct kernel *k, struct link_state *ret_state, struct problem *problem) {
    int rc = link_look(k->interface_name, ret_state);
    if (rc == -ENODEV) {
        rc = link_create(k->interface_name, MARK_KIND);
        k->fresh = rc == 0;
        rc = rc < 0 ? rc : link_look(k->interface_name, ret_state);
    }
    return rc < 0 ? report_no_wireguard(k->interface_name, rc, problem) : 0;
}

static int open_guards(struct kernel *k, struct problem *problem) {
    char table[32];
    int rc = 0;
    if (!k->isolate) {
        rc = isolate_open(k->interface_name, &k->isolate, problem);
    }
    if (rc == 0 && !k->fence) {
        rc = fence_open(k->interface_name, &k->fence, problem);
    }
    if (rc == 0 && !k->sentinel) {
        snprintf(table, sizeof table, "sallyport_%s", k->interface_name);
        rc = sentinel_open(table, &k->sentinel);
        if (rc < 0) {
            kernel_fault(k, rc, "listen for changes to", problem);
        }
    }
    return rc < 0 ? -ENOTCONN : 0;
}

static int come_up(struct kernel *k, struct problem *problem) {
    struct link_state state = {0};
    int rc = obtain(k, &state, problem);
    if (rc < 0) {
        return rc;
    }
    uint64_t generation = mark_is_ours(&state) ? mark_number(&state) : 0;
    if (!generation) {
        generation = new_generation();
        rc = mark_set(k->interface_name, generation);
        if (rc < 0) {
            return report_no_wireguard(k->interface_name, rc, problem);
        }
    }
    if (generation != k->generation || state.index != k->ifindex) {
        kernel_forget(k);
    }
    k->generation = generation;
    k->ifindex = state.index;
    sentinel_watch(k->sentinel, state.index);
    k->up = true;
    return 0;
}

static bool is_there(const struct kernel *k) {
    struct link_state state = {0};
    return link_look(k->interface_name, &state) != -ENODEV;
}

/* Under the mutex. */
static int claim(struct kernel *k, struct problem *problem) {
    int rc = k->claim >= 0 ? k->claim : claim_take(k->interface_name, problem);
    if (rc >= 0) {
        k->claim = rc;
    }
    return rc < 0 ? -ENOTCONN : 0;
}

static int kernel_revive(struct backend *b, struct problem *ret_problem) {
    struct kernel *k = b->kernel;
    int rc = 0;
    if (!b->wireguard) {
        rc = wireguard_open(k->interface_name, &b->wireguard);
        if (rc < 0) {
            return report_no_wireguard(k->interface_name, rc, ret_problem);
        }
    }
    pthread_mutex_lock(&k->mutex);
    rc = claim(k, ret_problem);
    /* The guards before the interface: where they cannot be had, none is made. */
    rc = rc < 0 ? rc : examine(b, ret_problem);
    rc = rc < 0 ? rc : open_guards(k, ret_problem);
    rc = rc < 0 ? rc : come_up(k, ret_problem);
    if (rc < 0 && k->claim >= 0 && (k->fresh || !is_there(k))) {
        kernel_undo(k);
    }
    pthread_mutex_unlock(&k->mutex);
    return rc;
}

/* --- the registry --- */

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct kernel *registry; /* registry_mutex, and their next and references */

static struct kernel *take(const char *interface_name) {
    pthread_mutex_lock(&registry_mutex);
    struct kernel *k = registry;
    while (k && strcmp(k->interface_name, interface_name) != 0) {
        k = k->next;
    }
    if (!k && (k = calloc(1, sizeof *k))) {
        snprintf(k->interface_name, sizeof k->interface_name, "%s", interface_name);
        pthread_mutex_init(&k->mutex, NULL);
        kernel_peers_open(&k->peers);
        k->claim = -1;
        k->next = registry;
        registry = k;
    }
    if (k) {
        k->references++;
    }
    pthread_mutex_unlock(&registry_mutex);
    return k;
}

static void put(struct kernel *k) {
    pthread_mutex_lock(&registry_mutex);
    if (--k->references == 0) {
        struct kernel **at = &registry;
        while (*at != k) {
            at = &(*at)->next;
        }
        *at = k->next;
        isolate_close(k->isolate);
        fence_close(k->fence);
        sentinel_free(k->sentinel);
        kernel_peers_free(&k->peers);
        if (k->claim >= 0) {
            close(k->claim);
        }
        pthread_mutex_destroy(&k->mutex);
        free(k);
    }
    pthread_mutex_unlock(&registry_mutex);
}

static void kernel_close(struct backend *b) {
    if (!b) {
        return;
    }
    wireguard_free(b->wireguard);
    if (b->kernel) {
        put(b->kernel);
    }
    free(b);
}

static int kernel_open(const struct backend_config *config, struct backend **ret_backend, struct problem *ret_problem) {
    struct backend *b = NULL;
    if (!config->interface_name[0] || strlen(config->interface_name) >= sizeof b->kernel->interface_name) {
        problem_set(ret_problem, PROBLEM_INVALID, "invalid-interface", "interface",
                    "'%s' is no name for an interface. Give 1 to 15 of A-Z a-z 0-9 _ = + . -", config->interface_name);
        return -EINVAL;
    }
    b = calloc(1, sizeof *b);
    if (b) {
        b->kernel = take(config->interface_name);
    }
    if (!b || !b->kernel) {
        kernel_close(b);
        problem_set(ret_problem, PROBLEM_INTERNAL, "out-of-memory", "", "Out of memory.");
        return -ENOMEM;
    }
    int rc = kernel_revive(b, ret_problem);
    if (rc < 0) {
        kernel_close(b);
        return rc;
    }
    *ret_backend = b;
    return 0;
}

/* --- what it holds --- */

static int kernel_each_tenant(struct backend *b, backend_tenant_fn *fn, void *context) {
    struct kernel *k = b->kernel;
    pthread_mutex_lock(&k->mutex);
    int rc = k->up ? isolate_each_tenant(k->isolate, fn, context) : -ENOTCONN;
    pthread_mutex_unlock(&k->mutex);
    return rc;
}

static int kernel_each_counter(struct backend *b, backend_counter_fn *fn, void *context) {
    struct kernel *k = b->kernel;
    struct link_state state = {0};
    pthread_mutex_lock(&k->mutex);
    int rc = k->up && link_look(k->interface_name, &state) == 0 ? 0 : -ENOTCONN;
    rc = rc ? rc : fn(context, "packets_received", state.packets_received);
    rc = rc ? rc : fn(context, "packets_sent", state.packets_sent);
    rc = rc ? rc : isolate_each_counter(k->isolate, fn, context);
    struct fence_counts counts = {0};
    if (rc == 0 && fence_count(k->fence, &counts) == 0) {
        rc = fn(context, "drop.forged", counts.forged);
        rc = rc ? rc : fn(context, "drop.looped", counts.looped);
    }
    pthread_mutex_unlock(&k->mutex);
    return rc;
}

/* Whether the interface is still the one that was set up. Under the mutex. */
static bool still_there(struct kernel *k) {
    struct link_state state = {0};
    if (k->up && (link_look(k->interface_name, &state) < 0 || state.index != k->ifindex)) {
        k->up = false;
    }
    return k->up;
}

static bool still_as_set(struct backend *b) {
    const struct kernel *k = b->kernel;
    struct wireguard_device device;
    bool same = wireguard_get_device(b->wireguard, &device) == 0 && device.listen_port == k->listen_port &&
                (!k->fwmark.given || device.fwmark == k->fwmark.mark) && key_equal(&device.public_key, &k->public_key);
    sodium_memzero(&device.private_key, sizeof device.private_key);
    return same;
}

/* The caller looks about once a second: the moment for the small works that need no request. */
static int kernel_state(struct backend *b, struct backend_state *ret_state) {
    struct kernel *k = b->kernel;
    struct backend_state state = {.name = "kernel", .crypto = "chacha20poly1305 of the kernel"};
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    pthread_mutex_lock(&k->mutex);
    if (still_there(k)) {
        state.up = true;
        state.generation = k->generation;
        state.listen_port = k->listen_port;
        state.workers = cpus > 0 ? (unsigned)cpus : 1;
        state.peers = kernel_peers_count(&k->peers);
        state.tenants = isolate_tenant_count(k->isolate);
        memcpy(state.warning, k->warning, sizeof state.warning);
        state.memory_bytes = (uint64_t)k->peers.peers.count * KERNEL_PEER_BYTES;
    }
    if (state.up && k->proven && !still_as_set(b)) {
        sentinel_ring(k->sentinel);
    }
    pthread_mutex_unlock(&k->mutex);
    if (state.up) {
        kernel_sweep(b);
        kernel_patrol(b);
    }
    *ret_state = state;
    return 0;
}

/* -ENODEV of the interface means that the data plane is away. */
static int route_outcome(struct kernel *k, int rc, struct problem *ret_problem) {
    if (rc == -ENODEV) {
        pthread_mutex_lock(&k->mutex);
        rc = kernel_away(k, ret_problem);
        pthread_mutex_unlock(&k->mutex);
    }
    return rc;
}

static int kernel_each_route(struct backend *b, backend_route_fn *fn, void *context, struct problem *ret_problem) {
    struct kernel *k = b->kernel;
    return route_outcome(k, device_each_route(k->interface_name, fn, context, ret_problem), ret_problem);
}

static int kernel_set_routes(struct backend *b, const struct prefix *add, size_t add_count, const struct prefix *remove,
                             size_t remove_count, struct problem *ret_problem) {
    struct kernel *k = b->kernel;
    int rc = device_set_routes(k->interface_name, add, add_count, remove, remove_count, ret_problem);
    return route_outcome(k, rc, ret_problem);
}

/* --- attention --- */

static bool kernel_heed(struct backend *b) {
    struct kernel *k = b->kernel;
    pthread_mutex_lock(&k->mutex);
    bool touched = k->sentinel && sentinel_heed(k->sentinel);
    pthread_mutex_unlock(&k->mutex);
    return touched;
}

const struct backend_ops backend_kernel = {
    .name = "kernel",
    .private_tenants = false,
    .open = kernel_open,
    .close = kernel_close,
    .revive = kernel_revive,
    .set_device = kernel_set_device,
    .apply = kernel_apply,
    .each_peer = kernel_each_peer,
    .each_tenant = kernel_each_tenant,
    .each_counter = kernel_each_counter,
    .each_route = kernel_each_route,
    .set_routes = kernel_set_routes,
    .each_host_fact = link_each_host_fact,
    .state = kernel_state,
    .heed = kernel_heed,
};

/* --- may it be, and an end to it --- */

static int check_name(const char *interface_name, struct wireguard *wireguard, struct problem *problem) {
    struct wireguard_device device;
    struct link_state state = {0};
    int rc = wireguard_get_device(wireguard, &device);
    sodium_memzero(&device, sizeof device);
    if (rc == -EPERM || rc == -EACCES) {
        report_no_wireguard(interface_name, rc, problem);
        return rc;
    }
    rc = link_look(interface_name, &state);
    if (rc < 0 || mark_is_ours(&state)) {
        return 0;
    }
    bool kernels = strcmp(state.kind, MARK_KIND) == 0;
    if (kernels && is_blank(wireguard, &state)) {
        return 0;
    }
    report_taken(interface_name, &state, problem);
    return kernels ? -EEXIST : -EBUSY;
}

int backend_kernel_usable(const char *interface_name, struct problem *ret_why_not) {
    struct wireguard *wireguard = NULL;
    int rc = wireguard_open(interface_name, &wireguard);
    if (rc < 0) {
        report_no_wireguard(interface_name, rc, ret_why_not);
        return rc;
    }
    rc = isolate_usable(ret_why_not);
    if (rc == 0) {
        rc = sentinel_usable();
        if (rc < 0) {
            report(ret_why_not, "no-nftables", "This kernel's nftables cannot be used: %s. It is needed as a fence.",
                   strerror(-rc));
        }
    }
    rc = rc < 0 ? rc : check_name(interface_name, wireguard, ret_why_not);
    wireguard_free(wireguard);
    return rc;
}

bool backend_kernel_is_at_work(const char *interface_name) {
    struct link_state state = {0};
    return link_look(interface_name, &state) == 0 && mark_is_ours(&state);
}

/* The fence alone would drop whatever comes from an interface of that name, whoever made it. */
static int release_fence(const char *interface_name, struct problem *problem) {
    struct fence *fence = NULL;
    int rc = fence_open(interface_name, &fence, problem);
    rc = rc < 0 ? rc : fence_remove(fence, problem);
    fence_close(fence);
    return rc;
}

static int release_programs(const char *interface_name, struct problem *problem) {
    struct isolate *isolate = NULL;
    int rc = isolate_open(interface_name, &isolate, problem);
    isolate_destroy(isolate);
    return rc;
}

int backend_kernel_release(const char *interface_name, struct problem *ret_problem) {
    struct link_state state = {0};
    struct problem ignored = {0};
    bool there = link_look(interface_name, &state) == 0;
    if (there && strcmp(state.kind, "tun") == 0) {
        return 0; /* an engine that is at work: the fence is its own by now, or will be */
    }
    if (!there || !mark_is_ours(&state)) {
        (void)release_fence(interface_name, &ignored); /* where nftables cannot be had, there is none */
        return 0;
    }
    /* The interface goes first: nothing passes it any more when its guards go. */
    int rc = link_delete(interface_name);
    if (rc < 0) {
        report(ret_problem, "kernel-refused", "Cannot delete the interface %s: %s. Delete it with: ip link del %s",
               interface_name, strerror(-rc), interface_name);
        return rc;
    }
    rc = release_fence(interface_name, ret_problem);
    int programs = release_programs(interface_name, rc < 0 ? &ignored : ret_problem);
    rc = rc < 0 ? rc : programs;
    return rc < 0 ? rc : 1;
}
