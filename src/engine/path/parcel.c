#include "engine/path/parcel.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "engine/path/worker.h"
#include "engine/table/ring.h"

#define RING_SIZE 1024 /* parcels */

void parcel_free(struct parcel *parcel) {
    if (parcel->kind == PARCEL_CALLER) {
        sodium_memzero(&parcel->caller, sizeof parcel->caller);
    }
    free(parcel);
}

int parcel_create_rings(struct worker *worker) {
    for (unsigned i = 0; i < worker->setup.count; i++) {
        if (i == worker->number) {
            continue;
        }
        int error = ring_create(RING_SIZE, &worker->rings.from[i]);
        if (error) {
            parcel_free_rings(worker);
            return error;
        }
    }
    return 0;
}

void parcel_free_rings(struct worker *worker) {
    for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++) {
        struct parcel *parcel;
        while (worker->rings.from[i] && (parcel = ring_pop(worker->rings.from[i]))) {
            parcel_free(parcel);
        }
        ring_free(worker->rings.from[i]);
        worker->rings.from[i] = NULL;
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
    switch (kind) {
    case PARCEL_PACKET:
        counters->handed_over_packets++;
        break;
    case PARCEL_DATAGRAM:
        counters->handed_over_datagrams++;
        break;
    case PARCEL_CALLER:
        counters->handed_over_handshakes++;
        break;
    }
}

static void push(struct worker *worker, unsigned owner, struct parcel *parcel) {
    enum parcel_kind kind = parcel->kind; /* once pushed it is the owner's */
    if (!ring_push(worker->setup.workers[owner]->rings.from[worker->number], parcel)) {
        worker_drop(worker, ENGINE_DROP_RING_FULL, 1);
        parcel_free(parcel);
        return;
    }
    count(worker, kind);
    worker_wake_later(worker, owner);
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
        parcel->from = received->from;
        parcel->to = received->to;
        parcel->ecn = received->ecn;
        push(worker, owner, parcel);
    }
}

void parcel_send_caller(struct worker *worker, unsigned owner, const struct noise_caller *caller,
                        const uint8_t *initiation, const union endpoint *from, const struct udp_local *to) {
    struct parcel *parcel = make(worker, PARCEL_CALLER, initiation, sizeof(struct message_initiation));
    if (parcel) {
        parcel->caller = *caller;
        parcel->from = *from;
        parcel->to = *to;
        push(worker, owner, parcel);
    }
}
