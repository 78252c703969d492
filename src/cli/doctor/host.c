#include "cli/doctor/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backend/host/ruleset.h"
#include "base/clock.h"
#include "cli/doctor/firewall.h"

static int host_read(void *context, const char *path, char *text, size_t room) {
    size_t size = 0;
    int error = 0;
    (void)context;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    while (size + 1 < room) {
        ssize_t n = read(fd, text + size, room - 1 - size);
        if (n <= 0) {
            error = n < 0 ? -errno : 0;
            break;
        }
        size += (size_t)n;
    }
    close(fd);
    text[size] = '\0';
    return error;
}

static int host_write(void *context, const char *path, const char *text) {
    (void)context;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    size_t size = strlen(text);
    int error = write(fd, text, size) == (ssize_t)size ? 0 : errno ? -errno : -EIO;
    close(fd);
    return error;
}

static int host_look(void *context, const char *path, struct doctor_file *ret_file) {
    struct stat st;
    (void)context;
    if (stat(path, &st) < 0) {
        return -errno;
    }
    *ret_file = (struct doctor_file){.mode = st.st_mode, .uid = st.st_uid};
    return 0;
}

static int host_open(void *context, const char *path) {
    (void)context;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    close(fd);
    return 0;
}

static int host_release(void *context, char *text, size_t room) {
    struct utsname name;
    (void)context;
    if (uname(&name) < 0) {
        return -errno;
    }
    snprintf(text, room, "%s", name.release);
    return 0;
}

static bool host_clock_synchronized(void *context) {
    struct timex state = {0};
    (void)context;
    return adjtimex(&state) >= 0 && !(state.status & STA_UNSYNC);
}

static int64_t host_wall_us(void *context) {
    (void)context;
    return clock_wall_us();
}

static int host_space(void *context, const char *path, uint64_t *ret_free, uint64_t *ret_whole) {
    struct statvfs st;
    (void)context;
    if (statvfs(path, &st) < 0) {
        return -errno;
    }
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize;
    *ret_whole = (uint64_t)st.f_blocks * st.f_frsize;
    return 0;
}

static bool take_sockaddr(const struct sockaddr *sa, struct ip_addr *ret_addr) {
    *ret_addr = (struct ip_addr){0};
    if (sa && sa->sa_family == AF_INET) {
        memcpy(ret_addr->bytes, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    } else if (sa && sa->sa_family == AF_INET6) {
        memcpy(ret_addr->bytes, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
    } else {
        return false;
    }
    ret_addr->family = (uint8_t)sa->sa_family;
    return true;
}

static int host_resolve(void *context, const char *name, struct ip_addr *ret_addrs, size_t room, size_t *ret_count) {
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    size_t count = 0;
    (void)context;
    if (getaddrinfo(name, NULL, &hints, &found) != 0) {
        return -ENOENT;
    }
    for (const struct addrinfo *at = found; at && count < room; at = at->ai_next) {
        count += take_sockaddr(at->ai_addr, &ret_addrs[count]);
    }
    freeaddrinfo(found);
    *ret_count = count;
    return 0;
}

static int host_addresses(void *context, struct ip_addr *ret_addrs, size_t room, size_t *ret_count) {
    struct ifaddrs *list = NULL;
    size_t count = 0;
    (void)context;
    if (getifaddrs(&list) < 0) {
        return -errno;
    }
    for (const struct ifaddrs *at = list; at && count < room; at = at->ifa_next) {
        count += take_sockaddr(at->ifa_addr, &ret_addrs[count]);
    }
    freeifaddrs(list);
    *ret_count = count;
    return 0;
}

static int host_ruleset(void *context, struct ruleset **ret_ruleset) {
    (void)context;
    return ruleset_read(ret_ruleset);
}

static int host_legacy(void *context, struct doctor_legacy **ret_legacy) {
    (void)context;
    return doctor_legacy_read(ret_legacy);
}

const struct doctor_host doctor_host_real = {
    .read = host_read,
    .write = host_write,
    .look = host_look,
    .open = host_open,
    .release = host_release,
    .clock_synchronized = host_clock_synchronized,
    .wall_us = host_wall_us,
    .space = host_space,
    .resolve = host_resolve,
    .addresses = host_addresses,
    .ruleset = host_ruleset,
    .legacy = host_legacy,
};
