#include "backend/host/foreign.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/host/client.h"
#include "backend/host/link.h"
#include "backend/host/mark.h"
#include "backend/wireguard/wireguard.h"
#include "base/clock.h"
#include "engine/uapi/text.h"

#define GOING_MS 5000 /* how long a program may take to end after its interface went */
#define GOING_STEP_MS 20

static const char *const kinds[] = {
    [FOREIGN_KERNEL] = "kernel",
    [FOREIGN_USERSPACE] = "userspace",
    [FOREIGN_ENGINE] = "engine",
};

const char *foreign_kind_name(enum foreign_kind kind) {
    return kinds[kind];
}

void foreign_free(struct foreign *foreign) {
    if (!foreign) {
        return;
    }
    for (size_t i = 0; i < foreign->peer_count; i++) {
        free(foreign->peers[i].allowed_ips);
    }
    if (foreign->peers) {
        sodium_memzero(foreign->peers, foreign->peer_count * sizeof *foreign->peers);
    }
    free(foreign->peers);
    sodium_memzero(foreign, sizeof *foreign);
    free(foreign);
}

static int report_unreadable(struct problem *problem, int error, const char *interface_name, const char *what) {
    problem_set(problem, PROBLEM_UNAVAILABLE, "interface-unreadable", "interface",
                "Interface %s cannot be read: %s%s. It needs root (CAP_NET_ADMIN).", interface_name, what,
                strerror(-error));
    return error;
}

static int out_of_memory(struct problem *problem) {
    problem_set(problem, PROBLEM_INTERNAL, "out-of-memory", NULL, "Out of memory.");
    return -ENOMEM;
}

/* --- peers, one after the other --- */

/* Grows by doubling; the old array, which may hold keys, is wiped. */
static struct foreign_peer *peer_add(struct foreign *f) {
    size_t count = f->peer_count;
    if (count == 0 || (count >= 16 && (count & (count - 1)) == 0)) {
        struct foreign_peer *more = calloc(count ? count * 2 : 16, sizeof *more);
        if (!more) {
            return NULL;
        }
        if (count) {
            memcpy(more, f->peers, count * sizeof *more);
            sodium_memzero(f->peers, count * sizeof *more);
        }
        free(f->peers);
        f->peers = more;
    }
    return &f->peers[f->peer_count++];
}

static int allowed_ip_add(struct foreign_peer *peer, const struct prefix *prefix) {
    size_t count = peer->allowed_ip_count;
    if ((count & (count - 1)) == 0) {
        struct prefix *more = reallocarray(peer->allowed_ips, count ? count * 2 : 1, sizeof *more);
        if (!more) {
            return -ENOMEM;
        }
        peer->allowed_ips = more;
    }
    peer->allowed_ips[peer->allowed_ip_count++] = *prefix;
    return 0;
}

/* --- a userspace program's socket (https://www.wireguard.com/xplatform/) --- */

static int take_peer_line(struct foreign_peer *peer, const char *key, const char *value) {
    struct prefix prefix;
    uint64_t number;
    if (strcmp(key, "preshared_key") == 0) {
        return key_from_hex(value, &peer->preshared_key);
    }
    if (strcmp(key, "endpoint") == 0) {
        return uapi_text_endpoint(value, &peer->endpoint);
    }
    if (strcmp(key, "allowed_ip") == 0) {
        int rc = prefix_parse(value, &prefix, NULL);
        return rc < 0 ? rc : allowed_ip_add(peer, &prefix);
    }
    if (strcmp(key, "last_handshake_time_sec") == 0) {
        int rc = uapi_text_u64(value, INT64_MAX / USEC_PER_SEC, &number);
        peer->last_handshake_at += rc < 0 ? 0 : (int64_t)number * USEC_PER_SEC;
        return rc;
    }
    return 0;
}

static int take_line(void *context, const char *key, const char *value) {
    struct foreign *f = context;
    int rc = 0;
    uint64_t number;
    if (strcmp(key, "private_key") == 0) {
        rc = key_from_hex(value, &f->private_key);
    } else if (strcmp(key, "listen_port") == 0) {
        rc = uapi_text_u64(value, UINT16_MAX, &number);
        f->listen_port = rc < 0 ? 0 : (uint16_t)number;
    } else if (strcmp(key, "fwmark") == 0) {
        rc = uapi_text_u64(value, UINT32_MAX, &number);
        f->fwmark = rc < 0 ? 0 : (uint32_t)number;
    } else if (strcmp(key, "workers") == 0) {
        f->kind = FOREIGN_ENGINE; /* nobody else says so */
    } else if (strcmp(key, "public_key") == 0) {
        struct foreign_peer *peer = peer_add(f);
        rc = peer ? key_from_hex(value, &peer->public_key) : -ENOMEM;
    } else if (f->peer_count) {
        rc = take_peer_line(&f->peers[f->peer_count - 1], key, value);
    }
    return rc == -EINVAL ? -EBADMSG : rc;
}

static int ask(struct uapi_client *client, const char *request, struct foreign *f) {
    int error = 0;
    int rc = uapi_client_send(client, request, strlen(request));
    rc = rc < 0 ? rc : uapi_client_receive(client, f ? take_line : NULL, f, &error, NULL, 0);
    return rc < 0 ? rc : error;
}

/* -ENOTCONN: nobody serves a socket of that name. */
static int read_userspace(const char *interface_name, struct foreign *f, struct problem *problem) {
    struct uapi_client *client = malloc(sizeof *client);
    if (!client) {
        return out_of_memory(problem);
    }
    uapi_client_init(client);
    int rc = uapi_client_connect(client, interface_name);
    if (rc == 0) {
        f->kind = FOREIGN_USERSPACE;
        rc = ask(client, "get=1\n\n", f);
        if (rc == 0) {
            /* Only our engine knows the extension; others answer with an error, or close. */
            struct foreign engine = {.kind = FOREIGN_USERSPACE};
            (void)ask(client, "get=1\nsallyport=1\nonly=device\n\n", &engine);
            f->kind = engine.kind;
            sodium_memzero(&engine.private_key, sizeof engine.private_key);
            for (size_t i = 0; i < engine.peer_count; i++) {
                free(engine.peers[i].allowed_ips);
            }
            free(engine.peers);
        }
    }
    uapi_client_close(client);
    free(client);
    return rc < 0 && rc != -ENOTCONN ? report_unreadable(problem, rc, interface_name, "its program's socket: ") : rc;
}

/* --- the kernel --- */

static void forget(void *context) {
    struct foreign *f = context;
    for (size_t i = 0; i < f->peer_count; i++) {
        free(f->peers[i].allowed_ips);
        sodium_memzero(&f->peers[i], sizeof f->peers[i]);
    }
    f->peer_count = 0;
    if (f->peers) {
        free(f->peers);
        f->peers = NULL;
    }
}

static int take_peer(void *context, const struct wireguard_peer *from) {
    struct foreign_peer *peer = peer_add(context);
    int rc = peer ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < from->allowed_count; i++) {
        rc = allowed_ip_add(peer, &from->allowed[i]);
    }
    if (rc == 0) {
        peer->public_key = from->public_key;
        peer->preshared_key = from->preshared_key;
        peer->endpoint = from->endpoint;
        peer->last_handshake_at = from->last_handshake_at_us;
    }
    return rc;
}

static int read_kernel(const char *interface_name, struct foreign *f, struct problem *problem) {
    struct wireguard *wireguard = NULL;
    struct wireguard_device device = {0};
    int rc = wireguard_open(interface_name, &wireguard);
    rc = rc < 0 ? rc : wireguard_dump_whole(wireguard, &device, forget, take_peer, f);
    wireguard_free(wireguard);
    f->kind = FOREIGN_KERNEL;
    f->private_key = device.private_key;
    f->listen_port = device.listen_port;
    f->fwmark = device.fwmark;
    sodium_memzero(&device, sizeof device);
    return rc < 0 ? report_unreadable(problem, rc, interface_name, "") : 0;
}

/* --- the interface's own side --- */

static int take_address(void *context, const struct prefix *address) {
    struct foreign *f = context;
    if (f->address_count < FOREIGN_ADDRESSES_MAX) {
        f->addresses[f->address_count++] = *address;
    }
    return 0;
}

static int read_link(const char *interface_name, struct foreign *f, bool *ret_kernel, struct problem *problem) {
    struct link *link = NULL;
    struct link_state state = {0};
    int rc = link_open(interface_name, &link);
    if (rc == -ENODEV) {
        problem_set(problem, PROBLEM_NOT_FOUND, "no-interface", "interface",
                    "There is no interface %s here. \"ip link\" lists them; in a container, sallyportd must be in the "
                    "same network namespace.",
                    interface_name);
        return rc;
    }
    rc = rc < 0 ? rc : link_get(link, &state);
    rc = rc < 0 ? rc : link_each_address(link, take_address, f);
    f->mtu = state.mtu;
    *ret_kernel = strcmp(state.kind, MARK_KIND) == 0;
    f->ours = mark_is_ours(&state);
    link_free(link);
    return rc < 0 ? report_unreadable(problem, rc, interface_name, "") : 0;
}

int foreign_read(const char *interface_name, struct foreign **ret_foreign, struct problem *ret_problem) {
    struct foreign *f = calloc(1, sizeof *f);
    if (!f) {
        return out_of_memory(ret_problem);
    }
    bool kernel = false;
    int rc = read_link(interface_name, f, &kernel, ret_problem);
    if (rc == 0) {
        rc = kernel ? read_kernel(interface_name, f, ret_problem) : read_userspace(interface_name, f, ret_problem);
    }
    if (rc == -ENOTCONN) {
        problem_set(ret_problem, PROBLEM_INVALID, "not-wireguard", "interface",
                    "%s is no WireGuard interface: neither the kernel nor a program behind %s/%s.sock says so.",
                    interface_name, uapi_directory(), interface_name);
        rc = -EOPNOTSUPP;
    }
    if (rc < 0) {
        foreign_free(f);
        return rc;
    }
    *ret_foreign = f;
    return 0;
}

/* --- taking over --- */

static bool is_served(const char *interface_name) {
    struct uapi_client *client = malloc(sizeof *client);
    if (!client) {
        return true;
    }
    uapi_client_init(client);
    bool served = uapi_client_connect(client, interface_name) == 0;
    uapi_client_close(client);
    free(client);
    return served;
}

/* Its interface gone, the program ends by itself, and with it its UDP socket. */
static int end_userspace(const char *interface_name, struct problem *problem) {
    const struct timespec step = {.tv_nsec = GOING_STEP_MS * (long)NSEC_PER_MSEC};
    int rc = link_delete(interface_name);
    if (rc < 0) {
        return report_unreadable(problem, rc, interface_name, "it cannot be deleted: ");
    }
    for (unsigned waited = 0; is_served(interface_name); waited += GOING_STEP_MS) {
        if (waited >= GOING_MS) {
            problem_set(problem, PROBLEM_UNAVAILABLE, "interface-busy", "interface",
                        "The program behind %s/%s.sock goes on although its interface was deleted. End it; sallyportd "
                        "takes the interface within seconds.",
                        uapi_directory(), interface_name);
            return -EBUSY;
        }
        nanosleep(&step, NULL);
    }
    return 0;
}

int foreign_refuse_kernel(const char *interface_name, struct problem *ret_problem) {
    problem_set(
        ret_problem, PROBLEM_CONFLICT, "kernel-interface", "interface",
        "%s is an interface of the kernel, and this gateway's data plane is the engine, which makes its own. Set "
        "kind = kernel in section [backend] and restart sallyportd; or delete the interface (ip link del %s): "
        "the engine then takes its place, and routers connect anew within seconds.",
        interface_name, interface_name);
    return -EOPNOTSUPP;
}

/* Before anything is changed: the isolation program could not be attached afterwards. */
static int check_ingress(const char *interface_name, struct problem *problem) {
    char kind[LINK_KIND_SIZE] = "";
    struct link *link = NULL;
    int rc = link_open(interface_name, &link);
    rc = rc < 0 ? rc : link_ingress_kind(link, kind);
    link_free(link);
    if (rc < 0) {
        return report_unreadable(problem, rc, interface_name, "");
    }
    return strcmp(kind, "ingress") == 0 ? problem_set(problem, PROBLEM_CONFLICT, "ingress-qdisc", "interface",
                                                      LINK_INGRESS_PROBLEM, interface_name, interface_name)
                                        : 0;
}

int foreign_take_over(const char *interface_name, bool for_kernel, struct problem *ret_problem) {
    struct foreign *f = NULL;
    int rc = foreign_read(interface_name, &f, ret_problem);
    if (rc < 0) {
        return rc;
    }
    enum foreign_kind kind = f->kind;
    bool ours = f->ours;
    foreign_free(f);
    switch (kind) {
    case FOREIGN_KERNEL:
        if (!for_kernel) {
            return foreign_refuse_kernel(interface_name, ret_problem);
        }
        if (ours) {
            return 0;
        }
        rc = check_ingress(interface_name, ret_problem);
        if (rc < 0) {
            return rc;
        }
        rc = mark_set(interface_name, 0);
        return rc < 0 ? report_unreadable(ret_problem, rc, interface_name, "it cannot be marked: ") : 0;
    case FOREIGN_USERSPACE:
        return end_userspace(interface_name, ret_problem);
    case FOREIGN_ENGINE:
        break; /* ours already */
    }
    return 0;
}
