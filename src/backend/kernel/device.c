/* The interface, its key and port, the programs on it and the fence around it: compared with what is desired. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/host/device.h"
#include "backend/host/fence.h"
#include "backend/host/sentinel.h"
#include "backend/host/warning.h"
#include "backend/isolate/isolate.h"
#include "backend/kernel/kernel.h"
#include "backend/wireguard/wireguard.h"

#define ROUNDS 3

void kernel_calm_napi(struct kernel *k) {
    char path[64];
    char now = '0';
    if (k->napi_calm || kernel_peers_count(&k->peers) == 0) {
        return;
    }
    snprintf(path, sizeof path, "/sys/class/net/%s/threaded", k->interface_name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        k->napi_calm = errno == ENOENT; /* a kernel without the switch */
        return;
    }
    k->napi_calm = read(fd, &now, 1) == 1 && (now == '0' || pwrite(fd, "0\n", 2, 0) == 2);
    close(fd);
}

static int port_in_use(const struct desired_device *device, struct problem *problem) {
    problem_set(problem, PROBLEM_CONFLICT, "port-in-use", "listen_port",
                "UDP port %u is in use by another program (see ss -lunp). Stop it, or choose another port.",
                device->listen_port);
    return -EADDRINUSE;
}

static int mend_wireguard(struct backend *b, const struct desired_device *device, unsigned *touched,
                          struct problem *problem) {
    struct kernel *k = b->kernel;
    struct wireguard_device now;
    struct wireguard_settings settings = {.listen_port = device->listen_port, .fwmark = device->fwmark.mark};
    int rc = wireguard_get_device(b->wireguard, &now);
    if (rc < 0) {
        return kernel_refused(k, rc, "read", problem);
    }
    if (!key_equal(&now.private_key, &device->private_key)) {
        settings.private_key = &device->private_key;
    }
    settings.has_listen_port = now.listen_port != device->listen_port;
    settings.has_fwmark = device->fwmark.given && now.fwmark != device->fwmark.mark;
    sodium_memzero(&now.private_key, sizeof now.private_key);
    unsigned differences = (settings.private_key ? 1u : 0u) + settings.has_listen_port + settings.has_fwmark;
    if (differences) {
        rc = wireguard_set_device(b->wireguard, &settings);
        *touched += differences;
    }
    if (rc == -EADDRINUSE) {
        return port_in_use(device, problem);
    }
    key_public(&device->private_key, &k->public_key);
    k->listen_port = device->listen_port;
    k->fwmark = device->fwmark;
    return rc < 0 ? kernel_refused(k, rc, "set", problem) : 0;
}

/* The guards first: the interface is up last, when nothing can pass them unjudged. An adopted one is up from the start,
 * with packets on their way, and not one that is permitted may be lost. Step by step:
 *
 *     the alias            concerns no packet
 *     the hub              an entry in maps that no program reads yet. Where they do, additions come first; the peers
 *                          are in before it (service_take_over())
 *     the programs         their place is made while the packets to routers are held (hold.h); then each judges whole,
 *                          by maps that are filled. Before, nobody judged: that was the interface's former life
 *     the fence            drops what has no mark of the program's, so it comes when all that met no program on its way
 *                          in has passed (isolate_attach() waits); one transaction. The first table with
 *                          masquerading on a host begins to track connections: see docs/adoption.md
 *     key, port, fwmark    set if they differ: the same key set again would end every session
 *     MTU, addresses, up   additions before removals (device_mend()) */
static int mend(struct backend *b, const struct desired_device *device, unsigned *touched, struct problem *problem) {
    struct kernel *k = b->kernel;
    unsigned on_host = 0;
    int rc = kernel_mend_mark(k, touched);
    if (rc < 0) {
        return kernel_refused(k, rc, "mark", problem);
    }
    rc = isolate_set_hub(k->isolate, device->hub_addresses, device->hub_address_count, touched);
    if (rc < 0) {
        return kernel_fault(k, rc, "update the isolation maps of", problem);
    }
    rc = isolate_attach(k->isolate, k->ifindex, touched, problem);
    rc = rc < 0 ? rc : kernel_set_fence(k, device->listen_port, false, touched, problem);
    rc = rc < 0 ? rc : mend_wireguard(b, device, touched, problem);
    if (rc < 0) {
        return rc;
    }
    k->warning[0] = '\0';
    if (fence_is_half_blind(k->fence)) {
        warning_add(k->warning, FENCE_HALF_BLIND);
    }
    rc = device_mend(k->interface_name, device, &on_host, k->warning, problem);
    *touched += on_host;
    if (rc == -EADDRINUSE) {
        return port_in_use(device, problem); /* the port is bound when the interface goes up */
    }
    return rc == -ENODEV ? kernel_away(k, problem) : rc;
}

static void note_pools(struct kernel *k, const struct desired_device *device) {
    k->pool_count = 0;
    for (size_t i = 0; i < device->hub_address_count && i < KERNEL_POOLS; i++) {
        k->pools[k->pool_count++] = device->hub_addresses[i];
    }
    k->configured = true;
}

/* Our own changes ring as others' do. So this goes round until nothing was left to mend: what rings after that is
 * somebody else's. */
static int mend_until_still(struct backend *b, const struct desired_device *device, unsigned *touched,
                            struct problem *problem) {
    int rc = 0;
    for (int round = 0; round < ROUNDS && rc == 0; round++) {
        unsigned before = *touched;
        sentinel_settle(b->kernel->sentinel);
        rc = mend(b, device, touched, problem);
        if (*touched == before) {
            break;
        }
    }
    return rc;
}

int kernel_set_device(struct backend *b, const struct desired_device *device, unsigned *ret_touched,
                      struct problem *ret_problem) {
    struct kernel *k = b->kernel;
    unsigned touched = 0;
    pthread_mutex_lock(&k->mutex);
    int rc = k->up ? 0 : kernel_away(k, ret_problem);
    if (rc == 0) {
        note_pools(k, device);
        rc = mend_until_still(b, device, &touched, ret_problem);
    }
    if (rc == 0) {
        k->fresh = false;
        k->proven = true;
        k->napi_calm = false; /* somebody may have switched it on again */
        kernel_calm_napi(k);
        *ret_touched = touched;
    } else if (k->fresh) {
        kernel_undo(k);
    }
    pthread_mutex_unlock(&k->mutex);
    return rc;
}
