/* The host as doctor looks at it: one small struct of functions, so that tests put a made-up host in its place. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"

struct timex;
struct utsname;

struct doctor_file {
    uint32_t mode; /* st_mode */
    uint32_t uid;
};

struct ruleset;       /* backend/host/ruleset.h */
struct doctor_legacy; /* doctor_firewall.h */

struct doctor_host {
    void *context;
    /* The beginning of a file as text, at most `room` - 1 bytes. 0, or -errno. */
    int (*read)(void *context, const char *path, char *text, size_t room);
    int (*write)(void *context, const char *path, const char *text);
    int (*look)(void *context, const char *path, struct doctor_file *ret_file);
    /* Opens and closes it for reading and writing. */
    int (*open)(void *context, const char *path);
    int (*release)(void *context, char *text, size_t room); /* "6.1.0-18-amd64" */
    /* The clock's discipline: whether the kernel calls it synchronized, and the wall time. */
    bool (*clock_synchronized)(void *context);
    int64_t (*wall_us)(void *context);
    /* Bytes left to root on the file system of a path. */
    int (*space)(void *context, const char *path, uint64_t *ret_free, uint64_t *ret_whole);
    /* Addresses of a name; at most `room`. -ENOENT: it does not resolve. */
    int (*resolve)(void *context, const char *name, struct ip_addr *ret_addrs, size_t room, size_t *ret_count);
    /* The host's own addresses. */
    int (*addresses)(void *context, struct ip_addr *ret_addrs, size_t room, size_t *ret_count);
    /* The firewall in nf_tables; ruleset_free() it. -EPERM: not root; -EOPNOTSUPP. */
    int (*ruleset)(void *context, struct ruleset **ret_ruleset);
    /* The entries of iptables-legacy's filter table (struct ipt_getinfo and its entries); free() them. -ENOENT: none.
     */
    int (*legacy)(void *context, struct doctor_legacy **ret_legacy);
};

extern const struct doctor_host doctor_host_real;
