/* Who owns which address, in the maps of the programs: host addresses in a hash, anything wider in a trie.
 *
 * The hash is as large as it has to be: when it is full, one of four times the size is filled and takes its place in
 * one step. Only this process writes to either, so nothing is lost on the way. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bpf/isolate.h"
#include "model/prefix.h"

#define ISOLATE_HOSTS_QUEUE 1024

struct isolate_load;

struct isolate_hosts {
    const struct isolate_load *load;
    int fd;        /* of the hash */
    uint32_t room; /* entries it takes */
    uint32_t queued;
    struct isolate_address queue[ISOLATE_HOSTS_QUEUE]; /* additions that wait for their batch */
    struct isolate_owner queue_owners[ISOLATE_HOSTS_QUEUE];
};

/* `load` must outlive it. */
int isolate_hosts_open(struct isolate_hosts *hosts, const struct isolate_load *load);
/* Accepts one that is all zero. What is queued is lost. */
void isolate_hosts_close(struct isolate_hosts *hosts);

struct isolate_prefix isolate_prefix_of(const struct prefix *prefix);
bool isolate_prefix_is_host(const struct isolate_prefix *prefix);

/* In force after isolate_hosts_flush(). -ENOSPC: ISOLATE_HOSTS_MAX. */
int isolate_hosts_set(struct isolate_hosts *hosts, const struct isolate_prefix *prefix, struct isolate_owner owner);
/* At once, and only if it is still this owner's. `ret_removed` (may be NULL) tells whether it was. */
int isolate_hosts_remove(struct isolate_hosts *hosts, const struct isolate_prefix *prefix, struct isolate_owner owner,
                         bool *ret_removed);
int isolate_hosts_flush(struct isolate_hosts *hosts);

/* As the programs look it up: the host, else the longest prefix. -ENOENT. */
int isolate_hosts_owner(struct isolate_hosts *hosts, const struct isolate_address *address,
                        struct isolate_owner *ret_owner);

typedef int isolate_hosts_fn(void *context, const struct isolate_prefix *prefix, struct isolate_owner owner);
/* Everything, hosts first. Stops at the first non-zero return. `fn` must not change anything. */
int isolate_hosts_each(struct isolate_hosts *hosts, isolate_hosts_fn *fn, void *context);
