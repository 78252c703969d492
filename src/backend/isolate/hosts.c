#include "backend/isolate/hosts.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/isolate/isolate.h"
#include "backend/isolate/load.h"

#define FIRST_ROOM 65536 /* addresses */
#define GROWTH 4         /* times: to move them all costs some milliseconds for each ten thousand */
#define WALK_BATCH 4096  /* more than a bucket of the hash can ever hold */

static const uint32_t now; /* the place in hosts_now */

/* --- keys --- */

struct isolate_prefix isolate_prefix_of(const struct prefix *prefix) {
    struct isolate_prefix key = {
        .length = ISOLATE_FAMILY_BITS + prefix->length,
        .address = {.family = prefix->addr.family == AF_INET ? 4 : 6},
    };
    memcpy(key.address.bytes, prefix->addr.bytes, sizeof key.address.bytes);
    return key;
}

bool isolate_prefix_is_host(const struct isolate_prefix *prefix) {
    return prefix->length == ISOLATE_FAMILY_BITS + (prefix->address.family == 4 ? 32 : 128);
}

static bool same_owner(struct isolate_owner a, struct isolate_owner b) {
    return a.tenant == b.tenant && a.peer == b.peer;
}

/* --- the hash: made, replaced --- */

static int table_create(uint32_t room) {
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
    int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "hosts", sizeof(struct isolate_address), sizeof(struct isolate_owner),
                            room, &options);
    return fd < 0 ? -errno : fd;
}

/* From here on the programs use this one. Pinned first: what the outer map holds can always be found again, under one
 * of the two names. */
static int table_install(const struct isolate_load *load, int fd) {
    int error = isolate_load_pin(load, fd, "hosts_next");
    if (error) {
        return error;
    }
    if (bpf_map_update_elem(load->maps[ISOLATE_MAP_HOSTS_NOW], &now, &fd, BPF_ANY) < 0) {
        return -errno;
    }
    error = isolate_load_pin(load, fd, "hosts");
    if (!error) {
        isolate_load_unpin_one(load, "hosts_next");
    }
    return error;
}

static int table_room(int fd, uint32_t *ret_room) {
    struct bpf_map_info info = {0};
    uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0) {
        return -errno;
    }
    *ret_room = info.max_entries;
    return 0;
}

static int table_open(const struct isolate_load *load) {
    int fd = isolate_load_inner(load, ISOLATE_MAP_HOSTS_NOW, now, "hosts");
    if (fd == -ESTALE) {
        fd = isolate_load_inner(load, ISOLATE_MAP_HOSTS_NOW, now, "hosts_next");
    }
    if (fd != -ENOENT && fd != -ESTALE) {
        return fd;
    }
    fd = table_create(FIRST_ROOM);
    int error = fd < 0 ? fd : table_install(load, fd);
    if (error && fd >= 0) {
        close(fd);
    }
    return error ? error : fd;
}

int isolate_hosts_open(struct isolate_hosts *hosts, const struct isolate_load *load) {
    int fd = table_open(load);
    if (fd < 0) {
        return fd;
    }
    uint32_t room = 0;
    int error = table_room(fd, &room);
    if (error) {
        close(fd);
        return error;
    }
    *hosts = (struct isolate_hosts){.load = load, .fd = fd, .room = room};
    return 0;
}

void isolate_hosts_close(struct isolate_hosts *hosts) {
    if (hosts->load) {
        close(hosts->fd);
    }
    hosts->load = NULL;
}

/* --- walking --- */

struct batch {
    struct isolate_address keys[WALK_BATCH];
    struct isolate_owner owners[WALK_BATCH];
};

typedef int batch_fn(void *context, const struct batch *batch, uint32_t count);

static int each_batch(int table, batch_fn *fn, void *context) {
    uint32_t position = 0, count;
    struct batch *batch = malloc(sizeof *batch);
    int error = batch ? 0 : -ENOMEM;
    bool first = true, last = false;
    while (!error && !last) {
        count = WALK_BATCH;
        if (bpf_map_lookup_batch(table, first ? NULL : &position, &position, batch->keys, batch->owners, &count, NULL) <
            0) {
            last = errno == ENOENT;
            error = last ? 0 : -errno;
        }
        error = error || count == 0 ? error : fn(context, batch, count);
        first = false;
    }
    free(batch);
    return error;
}

struct walk {
    isolate_hosts_fn *fn;
    void *context;
};

static int walk_batch(void *context, const struct batch *batch, uint32_t count) {
    const struct walk *walk = context;
    int error = 0;
    for (uint32_t i = 0; i < count && !error; i++) {
        struct isolate_prefix prefix = {.address = batch->keys[i]};
        prefix.length = ISOLATE_FAMILY_BITS + (batch->keys[i].family == 4 ? 32u : 128u);
        error = walk->fn(walk->context, &prefix, batch->owners[i]);
    }
    return error;
}

static int each_lan(int lans, isolate_hosts_fn *fn, void *context) {
    struct isolate_prefix key, *before = NULL;
    struct isolate_owner owner;
    int error = 0;
    while (!error && bpf_map_get_next_key(lans, before, &key) == 0) {
        if (bpf_map_lookup_elem(lans, &key, &owner) == 0) {
            error = fn(context, &key, owner);
        }
        before = &key;
    }
    return error;
}

int isolate_hosts_each(struct isolate_hosts *hosts, isolate_hosts_fn *fn, void *context) {
    struct walk walk = {.fn = fn, .context = context};
    int error = each_batch(hosts->fd, walk_batch, &walk);
    return error ? error : each_lan(hosts->load->maps[ISOLATE_MAP_LANS], fn, context);
}

/* --- changes --- */

/* As many as fit; `ret_done` were put in. -E2BIG: it is full. */
static int table_put(int table, const struct isolate_address *keys, const struct isolate_owner *owners, uint32_t count,
                     uint32_t *ret_done) {
    uint32_t done = count;
    if (bpf_map_update_batch(table, keys, owners, &done, NULL) == 0) {
        *ret_done = count;
        return 0;
    }
    *ret_done = done < count ? done : 0;
    return -errno;
}

static int copy_batch(void *context, const struct batch *batch, uint32_t count) {
    uint32_t done;
    return table_put(*(const int *)context, batch->keys, batch->owners, count, &done);
}

static int grow(struct isolate_hosts *hosts) {
    if (hosts->room >= ISOLATE_HOSTS_MAX) {
        return -ENOSPC;
    }
    uint32_t room = hosts->room > ISOLATE_HOSTS_MAX / GROWTH ? ISOLATE_HOSTS_MAX : hosts->room * GROWTH;
    int larger = table_create(room);
    if (larger < 0) {
        return larger;
    }
    int error = each_batch(hosts->fd, copy_batch, &larger);
    error = error ? error : table_install(hosts->load, larger);
    if (error) {
        close(larger);
        return error;
    }
    close(hosts->fd);
    hosts->fd = larger;
    hosts->room = room;
    return 0;
}

int isolate_hosts_flush(struct isolate_hosts *hosts) {
    uint32_t at = 0;
    int error = 0;
    while (at < hosts->queued && !error) {
        uint32_t done;
        error = table_put(hosts->fd, hosts->queue + at, hosts->queue_owners + at, hosts->queued - at, &done);
        at += done;
        error = error == -E2BIG ? grow(hosts) : error;
    }
    hosts->queued = 0;
    return error;
}

int isolate_hosts_set(struct isolate_hosts *hosts, const struct isolate_prefix *prefix, struct isolate_owner owner) {
    if (!isolate_prefix_is_host(prefix)) {
        return bpf_map_update_elem(hosts->load->maps[ISOLATE_MAP_LANS], prefix, &owner, BPF_ANY) < 0 ? -errno : 0;
    }
    int error = hosts->queued == ISOLATE_HOSTS_QUEUE ? isolate_hosts_flush(hosts) : 0;
    if (error) {
        return error;
    }
    hosts->queue[hosts->queued] = prefix->address;
    hosts->queue_owners[hosts->queued++] = owner;
    return 0;
}

/* In the trie the kernel looks up what covers the prefix; if that is not the very prefix, there is nothing to delete.
 */
int isolate_hosts_remove(struct isolate_hosts *hosts, const struct isolate_prefix *prefix, struct isolate_owner owner,
                         bool *ret_removed) {
    bool host = isolate_prefix_is_host(prefix);
    int map = host ? hosts->fd : hosts->load->maps[ISOLATE_MAP_LANS];
    const void *key = host ? (const void *)&prefix->address : prefix;
    struct isolate_owner is;
    int error = isolate_hosts_flush(hosts);
    if (error) {
        return error;
    }
    map = host ? hosts->fd : map;
    bool ours = bpf_map_lookup_elem(map, key, &is) == 0 && same_owner(is, owner);
    if (ours && bpf_map_delete_elem(map, key) < 0) {
        if (errno != ENOENT) {
            return -errno;
        }
        ours = false;
    }
    if (ret_removed) {
        *ret_removed = ours;
    }
    return 0;
}

int isolate_hosts_owner(struct isolate_hosts *hosts, const struct isolate_address *address,
                        struct isolate_owner *ret_owner) {
    struct isolate_prefix whole = {.length = ISOLATE_FAMILY_BITS + (address->family == 4 ? 32u : 128u),
                                   .address = *address};
    if (bpf_map_lookup_elem(hosts->fd, address, ret_owner) == 0 ||
        bpf_map_lookup_elem(hosts->load->maps[ISOLATE_MAP_LANS], &whole, ret_owner) == 0) {
        return 0;
    }
    return -ENOENT;
}
