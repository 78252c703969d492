#include "engine/path/space.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "engine/path/peer.h"
#include "engine/path/worker.h"

#define BURST_MS 200                           /* of the limits: what a tenant may send at once after silence */
#define BURST_BITS_LEAST (UINT64_C(8) * 65535) /* one segment of the largest size */
#define BURST_PACKETS_LEAST 64

struct space *space_at(const struct worker *worker, uint32_t slot) {
    return slot < worker->tables.space_room ? worker->tables.spaces[slot] : NULL;
}

static int grow_spaces(struct worker *worker, uint32_t slot) {
    size_t room = worker->tables.space_room;
    struct space **spaces = array_grow(worker->tables.spaces, &room, (size_t)slot + 1, sizeof(struct space *));
    if (!spaces) {
        return -ENOMEM;
    }
    worker->tables.spaces = spaces;
    worker->tables.space_room = (uint32_t)room;
    return 0;
}

static struct bucket_rate rate_of(uint64_t per_s, uint64_t least) {
    uint64_t burst = per_s / 1000 * BURST_MS;
    return (struct bucket_rate){.per_s = per_s, .burst = burst < least ? least : burst};
}

int space_create(struct worker *worker, uint32_t slot, const struct engine_tenant *tenant, struct space **ret_space) {
    int error = grow_spaces(worker, slot);
    if (error) {
        return error;
    }
    if (worker->tables.spaces[slot]) {
        return -EEXIST;
    }
    struct space *space = calloc(1, sizeof *space);
    if (!space) {
        return -ENOMEM;
    }
    space->slot = slot;
    error = space_set(space, tenant, worker->mono_ns);
    if (error) {
        free(space);
        return error;
    }
    worker->tables.spaces[slot] = space;
    *ret_space = space;
    return 0;
}

void space_free(struct worker *worker, struct space *space) {
    trie_clear(worker->tables.tries, &space->trie);
    worker->tables.spaces[space->slot] = NULL;
    free(space);
}

int space_set(struct space *space, const struct engine_tenant *tenant, uint64_t now_ns) {
    if (space->peer_count > 0 && tenant->addressing != space->tenant.addressing) {
        return -EBUSY;
    }
    bool relimited = tenant->limits.bits_per_second != space->tenant.limits.bits_per_second ||
                     tenant->limits.packets_per_second != space->tenant.limits.packets_per_second;
    space->tenant = *tenant;
    if (!relimited) {
        return 0;
    }
    const struct bucket_rate bits = rate_of(tenant->limits.bits_per_second, BURST_BITS_LEAST);
    const struct bucket_rate packets = rate_of(tenant->limits.packets_per_second, BURST_PACKETS_LEAST);
    for (int direction = 0; direction < 2; direction++) {
        bucket_fill(&space->bits[direction], &bits, now_ns);
        bucket_fill(&space->packets[direction], &packets, now_ns);
    }
    return 0;
}

void space_join(struct space *space, struct peer *peer) {
    peer->space = space;
    peer->space_next = space->peers;
    if (space->peers) {
        space->peers->space_link = &peer->space_next;
    }
    peer->space_link = &space->peers;
    space->peers = peer;
    space->peer_count++;
}

void space_leave(struct peer *peer) {
    if (!peer->space) {
        return;
    }
    *peer->space_link = peer->space_next;
    if (peer->space_next) {
        peer->space_next->space_link = peer->space_link;
    }
    peer->space->peer_count--;
    peer->space = NULL;
    peer->space_next = NULL;
    peer->space_link = NULL;
}

bool space_police(struct space *space, enum space_direction direction, uint64_t now_ns, size_t size, size_t packets) {
    const struct limits *limits = &space->tenant.limits;
    const struct bucket_rate per_packet = rate_of(limits->packets_per_second, BURST_PACKETS_LEAST);
    const struct bucket_rate per_bit = rate_of(limits->bits_per_second, BURST_BITS_LEAST);
    bool counted = limits->packets_per_second > 0;
    if (counted && !bucket_borrow(&space->packets[direction], &per_packet, now_ns, packets)) {
        return false;
    }
    if (limits->bits_per_second > 0 && !bucket_borrow(&space->bits[direction], &per_bit, now_ns, size * 8)) {
        if (counted) {
            bucket_return(&space->packets[direction], &per_packet, packets);
        }
        return false;
    }
    return true;
}
