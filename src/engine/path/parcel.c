#include "engine/path/parcel.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "engine/path/shield.h"
#include "engine/path/worker.h"
#include "engine/table/ring.h"

_Static_assert(PARCEL_KIND_COUNT == WORKER_RING_KINDS, "a ring per kind");

/* Parcels that one ring holds. Callers are few, and wait no longer than their senders do. */
static const size_t ring_sizes[PARCEL_KIND_COUNT] = {
    [PARCEL_CALLER] = 256,
    [PARCEL_PACKET] = 1024,
    [PARCEL_DATAGRAM] = 512,
};

void parcel_free(struct parcel *parcel) {
    if (parcel->kind == PARCEL_CALLER) {
        sodium_memzero(&parcel->caller, sizeof parcel->caller);
    }
    free(parcel);
}

int parcel_create_rings(struct worker *worker) {
    for (int kind = 0; kind < PARCEL_KIND_COUNT; kind++) {
        for (unsigned i = 0; i < worker->setup.count; i++) {
            int error = i == worker->number ? 0 : ring_create(ring_sizes[kind], &worker->rings.from[kind][i]);
            if (error) {
                parcel_free_rings(worker);
                return error;
            }
        }
    }
    return 0;
}

static void free_ring(struct ring *ring) {
    struct parcel *parcel;
    while (ring && (parcel = ring_pop(ring))) {
        parcel_free(parcel);
    }
    ring_free(ring);
}

void parcel_free_rings(struct worker *worker) {
    for (int kind = 0; kind < PARCEL_KIND_COUNT; kind++) {
        for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++) {
            free_ring(worker->rings.from[kind][i]);
            worker->rings.from[kind][i] = NULL;
        }
    }
}

static struct parcel *make(struct worker *worker, enum parcel_kind kind, const void *bytes, size_t size) {
    struct parcel *parcel = malloc(sizeof *parcel + size);
    if (!parcel) {
        worker_drop(worker, ENGINE_DROP_RING_FULL, 1);
        return NULL;
    }
    memset(parcel, 0, sizeof *parcel);
    parcel->kind = kind;
    parcel->size = size;
    memcpy(parcel->bytes, bytes, size);
    return parcel;
}

static void count(struct worker *worker, enum parcel_kind kind) {
    struct engine_counters *counters = &worker->counters;
    counters->handed_over++;
    counters->handed_over_handshakes += kind == PARCEL_CALLER;
    counters->handed_over_packets += kind == PARCEL_PACKET;
    counters->handed_over_datagrams += kind == PARCEL_DATAGRAM;
}

/* Whether it is on its way. */
static bool push(struct worker *worker, unsigned owner, struct parcel *parcel) {
    enum parcel_kind kind = parcel->kind; /* once pushed it is the owner's */
    if (!ring_push(worker->setup.workers[owner]->rings.from[kind][worker->number], parcel)) {
        worker_drop(worker, ENGINE_DROP_RING_FULL, 1);
        parcel_free(parcel);
        return false;
    }
    count(worker, kind);
    worker_wake_later(worker, owner);
    return true;
}

void parcel_send_packet(struct worker *worker, unsigned owner, const uint8_t *bytes, size_t size,
                        const struct virtio_net_hdr *header) {
    struct parcel *parcel = make(worker, PARCEL_PACKET, bytes, size);
    if (parcel) {
        parcel->header = *header;
        push(worker, owner, parcel);
    }
}

void parcel_send_datagram(struct worker *worker, unsigned owner, const uint8_t *bytes, size_t size,
                          const struct udp_received *received) {
    struct parcel *parcel = make(worker, PARCEL_DATAGRAM, bytes, size);
    if (parcel) {
        parcel->datagram.from = received->from;
        parcel->datagram.to = received->to;
        parcel->datagram.ecn = received->ecn;
        push(worker, owner, parcel);
    }
}

bool parcel_send_caller(struct worker *worker, unsigned owner, const struct noise_caller *caller,
                        const struct handshake_message *message) {
    struct parcel *parcel = make(worker, PARCEL_CALLER, message, sizeof *message);
    if (!parcel) {
        return false;
    }
    parcel->caller = *caller;
    return push(worker, owner, parcel);
}
