#include "backend/host/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/host/link.h"
#include "backend/host/warning.h"
#include "base/array.h"
#include "model/desired.h"
#include "model/problem.h"

/* More than anybody puts on one interface; what is beyond stays untouched until the next round. */
#define ADDRESSES_MAX 64

struct addresses {
    struct prefix list[ADDRESSES_MAX];
    size_t count;
};

static int collect(void *context, const struct prefix *address) {
    struct addresses *addresses = context;
    if (addresses->count < ADDRESSES_MAX) {
        addresses->list[addresses->count++] = *address;
    }
    return 0;
}

static bool has(const struct prefix *list, size_t count, const struct prefix *address) {
    for (size_t i = 0; i < count; i++) {
        if (prefix_equal(&list[i], address)) {
            return true;
        }
    }
    return false;
}

/* Hosts (containers above all) often switch IPv6 off on every new interface. This interface is ours to switch on. */
static int enable_ipv6(const char *interface_name) {
    char path[96];
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", interface_name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = write(fd, "0\n", 2) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static int add_address(struct link *link, const char *interface_name, const struct prefix *address) {
    int rc = link_add_address(link, address);
    if (address->addr.family == AF_INET6 && (rc == -EACCES || rc == -EPERM) && enable_ipv6(interface_name) == 0) {
        rc = link_add_address(link, address);
    }
    return rc;
}

static int report_failure(struct problem *problem, int rc, const char *interface_name, const char *what) {
    if (rc == -EPERM || rc == -EACCES) {
        problem_set(problem, PROBLEM_UNAVAILABLE, "not-privileged", "",
                    "May not set the %s of %s: %s. Run with CAP_NET_ADMIN.", what, interface_name, strerror(-rc));
    } else {
        problem_set(problem, PROBLEM_UNAVAILABLE, "interface-refused", "", "Cannot set the %s of %s: %s.", what,
                    interface_name, strerror(-rc));
    }
    return rc;
}

/* The kernel has none, or it is switched off on the interface and /proc/sys is closed to us, as in a container. */
static bool is_without_ipv6(const struct prefix *prefix, int rc) {
    return prefix->addr.family == AF_INET6 &&
           (rc == -EOPNOTSUPP || rc == -EAFNOSUPPORT || rc == -EACCES || rc == -EPERM || rc == -EROFS);
}

static void warn_of_ipv6(const char *interface_name, int rc, char *warning) {
    if (rc == -EOPNOTSUPP || rc == -EAFNOSUPPORT) {
        warning_add(warning, "This kernel has no IPv6: the hub and the LANs have IPv4 only.");
    } else {
        warning_add(warning,
                    "IPv6 is off on %s and may not be switched on here: the hub and the LANs have IPv4 only. Allow it "
                    "(in a container: --sysctl net.ipv6.conf.all.disable_ipv6=0).",
                    interface_name);
    }
}

static int add_missing(struct link *link, const char *interface_name, const struct desired_device *device,
                       unsigned *touched, char *warning, struct problem *problem, struct addresses *ret_now) {
    struct addresses now = {.count = 0};
    char text[PREFIX_TEXT_SIZE + 16];
    char address[PREFIX_TEXT_SIZE];
    int rc = link_each_address(link, collect, &now);
    if (rc < 0) {
        return report_failure(problem, rc, interface_name, "addresses");
    }
    for (size_t i = 0; i < device->hub_address_count; i++) {
        const struct prefix *wanted = &device->hub_addresses[i];
        if (has(now.list, now.count, wanted)) {
            continue;
        }
        rc = add_address(link, interface_name, wanted);
        if (is_without_ipv6(wanted, rc)) {
            warn_of_ipv6(interface_name, rc, warning); /* routers still meet each other over it */
            continue;
        }
        if (rc < 0) {
            snprintf(text, sizeof text, "address %s", prefix_format(wanted, address));
            return report_failure(problem, rc, interface_name, text);
        }
        ++*touched;
    }
    *ret_now = now;
    return 0;
}

/* What is wanted is added before what is not is removed: the hub may keep its address and have another length behind it
 * (10.66.0.1/24 becomes 10.66.0.1/8), and it must not be nobody's in between. */
static int mend_addresses(struct link *link, const char *interface_name, const struct desired_device *device,
                          unsigned *touched, char *warning, struct problem *problem) {
    struct addresses were = {.count = 0};
    bool removed = false;
    int rc = add_missing(link, interface_name, device, touched, warning, problem, &were);
    for (size_t i = 0; i < were.count && rc == 0; i++) {
        if (!has(device->hub_addresses, device->hub_address_count, &were.list[i])) {
            rc = link_remove_address(link, &were.list[i]);
            if (rc < 0) {
                return report_failure(problem, rc, interface_name, "addresses");
            }
            removed = true;
            ++*touched;
        }
    }
    /* An address of the same network as one that goes may go with it: it came second (promote_secondaries in
     * Linux's Documentation/networking/ip-sysctl.rst). */
    return rc == 0 && removed ? add_missing(link, interface_name, device, touched, warning, problem, &were) : rc;
}

int device_mend(const char *interface_name, const struct desired_device *device, unsigned *ret_touched, char *warning,
                struct problem *ret_problem) {
    struct link *link = NULL;
    struct link_state state = {0};
    unsigned touched = 0;
    const char *what = "state";
    int rc = link_open(interface_name, &link);
    if (rc == 0) {
        rc = link_get(link, &state);
    }
    if (rc == 0 && device->mtu && state.mtu != device->mtu) {
        what = "MTU";
        rc = link_set_mtu(link, device->mtu);
        touched++;
    }
    if (rc < 0) {
        report_failure(ret_problem, rc, interface_name, what);
        goto end;
    }
    rc = mend_addresses(link, interface_name, device, &touched, warning, ret_problem);
    if (rc == 0 && !state.up) {
        rc = link_set_up(link);
        touched++;
        if (rc < 0) {
            report_failure(ret_problem, rc, interface_name, "state");
        }
    }
    if (rc == 0) {
        *ret_touched = touched;
    }
end:
    link_free(link);
    return rc;
}

/* --- routes --- */

static int route_problem(struct problem *problem, int rc, const char *interface_name, const struct prefix *prefix,
                         const char *what) {
    char text[PREFIX_TEXT_SIZE] = "";
    if (rc < 0 && rc != -ENODEV) {
        problem_set(problem, PROBLEM_UNAVAILABLE, "route-refused", "", "Cannot %s %s over %s: %s.", what,
                    prefix ? prefix_format(prefix, text) : "the LANs", interface_name, strerror(-rc));
    }
    return rc;
}

/* Without the rules nobody asks our table. Flushed ones come back with the next comparison. */
static int set_rules(struct link *link, bool four, bool six) {
    int rc = four ? link_set_rules(link, AF_INET) : 0;
    int rc6 = six ? link_set_rules(link, AF_INET6) : 0;
    return rc < 0 ? rc : rc6 == -EAFNOSUPPORT || rc6 == -EOPNOTSUPP ? 0 : rc6;
}

struct found_routes {
    backend_route_fn *fn;
    void *context;
    struct prefix *old; /* owned: in the main table, where a former version had them */
    size_t old_count, old_room;
    bool four, six;
};

static int find_route(void *context, const struct prefix *prefix, uint32_t table) {
    struct found_routes *found = context;
    found->four |= prefix->addr.family == AF_INET;
    found->six |= prefix->addr.family == AF_INET6;
    if (table != LINK_ROUTE_TABLE) {
        struct prefix *grown = array_grow(found->old, &found->old_room, found->old_count + 1, sizeof *grown);
        if (!grown) {
            return -ENOMEM;
        }
        found->old = grown;
        found->old[found->old_count++] = *prefix;
        return 0; /* it will be ours in a moment, and is told with the others then */
    }
    return found->fn(found->context, prefix);
}

int device_each_route(const char *interface_name, backend_route_fn *fn, void *context, struct problem *ret_problem) {
    struct found_routes found = {.fn = fn, .context = context};
    struct link *link = NULL;
    const struct prefix *at = NULL;
    int rc = link_open(interface_name, &link);
    rc = rc < 0 ? rc : link_each_route(link, find_route, &found);
    rc = rc < 0 ? rc : set_rules(link, found.four, found.six);
    for (size_t i = 0; i < found.old_count && rc == 0; i++) {
        at = &found.old[i];
        rc = link_add_route(link, at);
        rc = rc < 0 ? rc : link_remove_route(link, at, RT_TABLE_MAIN);
        rc = rc < 0 ? rc : fn(context, at);
    }
    link_free(link);
    rc = route_problem(ret_problem, rc, interface_name, at, "read or move the host's routes to");
    free(found.old);
    return rc;
}

int device_set_routes(const char *interface_name, const struct prefix *add, size_t add_count,
                      const struct prefix *remove, size_t remove_count, struct problem *ret_problem) {
    struct link *link = NULL;
    const struct prefix *at = NULL;
    bool four = false, six = false;
    for (size_t i = 0; i < add_count; i++) {
        four |= add[i].addr.family == AF_INET;
        six |= add[i].addr.family == AF_INET6;
    }
    int rc = link_open(interface_name, &link);
    if (rc < 0) {
        return route_problem(ret_problem, rc, interface_name, NULL, "set the host's route to");
    }
    rc = set_rules(link, four, six);
    for (size_t i = 0; i < remove_count + add_count; i++) {
        const struct prefix *prefix = i < remove_count ? &remove[i] : &add[i - remove_count];
        int one = i < remove_count ? link_remove_route(link, prefix, LINK_ROUTE_TABLE) : link_add_route(link, prefix);
        if (one < 0 && rc == 0 && !is_without_ipv6(prefix, one)) {
            rc = one;
            at = prefix;
        }
    }
    link_free(link);
    return route_problem(ret_problem, rc, interface_name, at, "set the host's route to");
}
