/* Workers without threads, without a TUN, with clocks that the test turns. What they tell the host arrives at `host`;
 * what they send to a peer without a session waits in that peer, where a test can look at it. */
#pragma once

#include "flows.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/control/change.h"
#include "engine/path/handshake.h"
#include "engine/path/host.h"
#include "engine/path/intake.h"
#include "engine/path/loop.h"
#include "engine/path/peer.h"
#include "engine/path/receive.h"
#include "engine/path/shield.h"
#include "engine/path/space.h"
#include "engine/path/transmit.h"
#include "engine/path/worker.h"
#include "engine/table/directory.h"
#include "wire/aead.h"

#define RIG_START_NS (1000 * NSEC_PER_SEC)

struct rig {
    struct directory *directory;
    unsigned count;
    struct worker *workers[ENGINE_WORKERS_MAX];
    int host; /* packets for the host */
    int host_other;
    struct udp_sockets sockets[ENGINE_WORKERS_MAX];
    uint16_t port;
    uint64_t sequence;
    struct key private_key, public_key;
};

static inline void rig_open(struct rig *rig, unsigned count) {
    int pair[2];
    *rig = (struct rig){.count = count};
    assert_true(sodium_init() >= 0);
    assert_int_equal(directory_create(&rig->directory), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
    rig->host = pair[0];
    rig->host_other = pair[1];
    key_make_private(&rig->private_key);
    key_public(&rig->private_key, &rig->public_key);
    const struct worker_setup setup = {
        .count = count,
        .directory = rig->directory,
        .aead = &aead_sodium,
        .clock_rate = 1,
        .mtu = 1420,
        .workers = rig->workers,
    };
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(loop_create(&setup, i, &rig->workers[i]), 0);
        struct worker *worker = rig->workers[i];
        worker->io.tun_fd = rig->host_other;
        worker->mono_ns = worker->now_ns = RIG_START_NS;
        wheel_init(&worker->wheel, RIG_START_NS);
        noise_identity_set(worker->device.identity, &rig->private_key);
        cookie_checker_set(worker->device.checker, &worker->device.identity->public_key);
    }
}

static inline void rig_close(struct rig *rig) {
    for (unsigned i = 0; i < rig->count; i++) {
        loop_free(rig->workers[i]);
    }
    udp_close(rig->sockets, rig->port ? rig->count : 0);
    directory_free(rig->directory);
    close(rig->host);
    close(rig->host_other);
}

/* Gives the workers real sockets. */
static inline void rig_up(struct rig *rig) {
    assert_int_equal(udp_open(rig->count, 0, 0, rig->sockets, &rig->port), 0);
    for (unsigned i = 0; i < rig->count; i++) {
        loop_set_sockets(rig->workers[i], &rig->sockets[i]);
        rig->workers[i]->device.up = true;
    }
}

/* Applies a change as the control thread does. */
static inline int rig_apply(struct rig *rig, unsigned worker, struct change *change,
                            const struct engine_allowed_ip *allowed, size_t allowed_count) {
    struct change_batch batch = {0};
    change->sequence = ++rig->sequence;
    change->peer.allowed_ip_count = change->kind == CHANGE_PEER ? allowed_count : 0;
    assert_int_equal(change_batch_add(&batch, change, allowed, allowed_count), 0);
    while (!change_batch_done(&batch)) {
        change_apply(rig->workers[worker], &batch);
    }
    for (size_t i = 0; i < batch.edit_count; i++) {
        const struct change_edit *edit = &batch.edits[i];
        if (edit->remove) {
            directory_remove_route(rig->directory, &edit->prefix, edit->id);
        } else {
            assert_int_equal(directory_insert_route(rig->directory, &edit->prefix, edit->id, NULL), 0);
        }
    }
    int error = batch.changes[0].error;
    change_batch_free(&batch);
    return error;
}

static inline void rig_tenant(struct rig *rig, unsigned worker, uint32_t slot, enum addressing addressing, bool egress,
                              struct limits limits) {
    struct change change = {.kind = CHANGE_TENANT, .slot = slot};
    change.tenant = (struct engine_tenant){.addressing = addressing, .egress = egress, .limits = limits};
    change.tenant.id.bytes[0] = (uint8_t)slot;
    struct change_batch batch = {0};
    assert_int_equal(change_batch_add(&batch, &change, NULL, 0), 0);
    change_apply(rig->workers[worker], &batch);
    assert_true(change_batch_done(&batch));
    assert_int_equal(batch.changes[0].error, 0);
    change_batch_free(&batch);
}

static inline struct prefix rig_prefix(const char *text) {
    struct prefix prefix;
    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

static inline struct ip_addr rig_ip(const char *text) {
    struct ip_addr addr;
    assert_int_equal(ip_parse(text, &addr), 0);
    return addr;
}

/* A peer at `slot`, its key made of that, of the tenant at `tenant` (0: none). `hub`: "hub=inside", or NULL. */
static inline struct peer *rig_peer(struct rig *rig, unsigned worker, uint32_t slot, uint32_t tenant,
                                    const char *const *allowed, const char *hub) {
    struct engine_allowed_ip list[8];
    size_t count = 0;
    struct change change = {.kind = CHANGE_PEER, .slot = slot, .tenant_slot = tenant};
    for (; allowed[count]; count++) {
        list[count] = (struct engine_allowed_ip){.prefix = rig_prefix(allowed[count])};
    }
    change.peer.has_tenant = true;
    change.peer.has_endpoint = true;
    assert_int_equal(endpoint_parse("127.0.0.1:9", &change.peer.endpoint), 0);
    put32(change.peer.public_key.bytes, slot + worker * 1000);
    if (hub) {
        char text[64];
        strncpy(text, hub, sizeof text - 1);
        text[sizeof text - 1] = 0;
        char *inside = strchr(text, '=');
        *inside++ = 0;
        change.peer.has_hub_addresses = true;
        change.peer.hub_address_count = 1;
        change.peer.hub_addresses[0] = (struct engine_hub_address){.hub = rig_ip(text), .inside = rig_ip(inside)};
    }
    assert_int_equal(rig_apply(rig, worker, &change, list, count), 0);
    return peer_at(rig->workers[worker], slot);
}

/* A UDP packet of `payload` bytes between two addresses. */
static inline size_t rig_packet(const char *source, const char *destination, size_t payload, bool dont_fragment,
                                uint8_t *packet) {
    static const uint8_t zeros[65000];
    struct ip_addr from = rig_ip(source);
    struct ip_addr to = rig_ip(destination);
    size_t length = from.family == AF_INET6 ? 16 : 4;
    struct flow flow = {.v6 = from.family == AF_INET6,
                        .dont_fragment = dont_fragment,
                        .source_port = 7,
                        .destination_port = 8,
                        .ttl = 64};
    memcpy(flow.addresses, from.bytes, length);
    memcpy(flow.addresses + length, to.bytes, length);
    return flow_next(&flow, 0, zeros, payload, packet);
}

/* The next packet that the host got; 0: none. */
static inline size_t rig_heard(struct rig *rig, uint8_t *packet, size_t room) {
    for (unsigned i = 0; i < rig->count; i++) {
        host_flush(rig->workers[i]);
    }
    ssize_t size = recv(rig->host, packet, room, MSG_DONTWAIT);
    return size > 0 ? (size_t)size : 0;
}

/* Takes what waits longest for this peer; 0: nothing. */
static inline size_t rig_waits(struct rig *rig, unsigned worker, struct peer *peer, uint8_t *packet, size_t room) {
    struct waiting *waiting = peer->state ? peer_wait_pop(rig->workers[worker], peer) : NULL;
    if (!waiting) {
        return 0;
    }
    size_t size = waiting->size;
    assert_true(size <= room);
    memcpy(packet, waiting->bytes, size);
    free(waiting);
    return size;
}

static inline uint64_t rig_drops(const struct rig *rig, enum engine_drop reason) {
    uint64_t drops = 0;
    for (unsigned i = 0; i < rig->count; i++) {
        drops += rig->workers[i]->counters.drops[reason];
    }
    return drops;
}
