#include "engine/path/parcel.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/path/forward.h"
#include "engine/path/handshake.h"
#include "engine/path/receive.h"
#include "engine/path/worker.h"
#include "engine/table/ring.h"

#define RING_SIZE 1024   /* parcels */
#define PARCELS_ROUND 64 /* taken from one ring in a round */
#define CALLERS_ROUND 4  /* each costs public-key work */

enum parcel_kind {
    PARCEL_PACKET,
    PARCEL_DATAGRAM,
    PARCEL_CALLER,
};

/* Made by the producer, freed by the consumer. */
struct parcel {
    enum parcel_kind kind;
    uint8_t ecn;
    union endpoint from;
    struct udp_local to;
    struct virtio_net_hdr header; /* PARCEL_PACKET */
    struct noise_caller caller;   /* PARCEL_CALLER: a secret */
    size_t size;
    uint8_t bytes[];
};

static void free_parcel(struct parcel *parcel) {
    if (parcel->kind == PARCEL_CALLER) {
        sodium_memzero(&parcel->caller, sizeof parcel->caller);
    }
    free(parcel);
}

int handover_create(struct worker *worker) {
    for (unsigned i = 0; i < worker->setup.count; i++) {
        if (i == worker->number) {
            continue;
        }
        int error = ring_create(RING_SIZE, &worker->rings[i]);
        if (error) {
            handover_free(worker);
            return error;
        }
    }
    return 0;
}

void handover_free(struct worker *worker) {
    for (unsigned i = 0; i < ENGINE_WORKERS_MAX; i++) {
        void *parcel;
        while (worker->rings[i] && ring_pop(worker->rings[i], &parcel, 1) == 1) {
            free_parcel(parcel);
        }
        ring_free(worker->rings[i]);
        worker->rings[i] = NULL;
    }
}

static struct parcel *make_parcel(struct worker *worker, enum parcel_kind kind, const void *bytes, size_t size) {
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
    void *item = parcel;
    if (ring_push(worker->setup.workers[owner]->rings[worker->number], &item, 1) == 0) {
        worker_drop(worker, ENGINE_DROP_RING_FULL, 1);
        free_parcel(parcel);
        return;
    }
    count(worker, kind);
    worker_wake_later(worker, owner);
}

void handover_packet(struct worker *worker, unsigned owner, const uint8_t *bytes, size_t size,
                     const struct virtio_net_hdr *header) {
    struct parcel *parcel = make_parcel(worker, PARCEL_PACKET, bytes, size);
    if (parcel) {
        parcel->header = *header;
        push(worker, owner, parcel);
    }
}

void handover_datagram(struct worker *worker, unsigned owner, const uint8_t *bytes, size_t size,
                       const struct udp_received *received) {
    struct parcel *parcel = make_parcel(worker, PARCEL_DATAGRAM, bytes, size);
    if (parcel) {
        parcel->from = received->from;
        parcel->to = received->to;
        parcel->ecn = received->ecn;
        push(worker, owner, parcel);
    }
}

void handover_caller(struct worker *worker, unsigned owner, const struct noise_caller *caller,
                     const uint8_t *initiation, const union endpoint *from, const struct udp_local *to) {
    struct parcel *parcel = make_parcel(worker, PARCEL_CALLER, initiation, sizeof(struct message_initiation));
    if (parcel) {
        parcel->caller = *caller;
        parcel->from = *from;
        parcel->to = *to;
        push(worker, owner, parcel);
    }
}

/* Datagrams of one ring that are opened together, as if the worker's own socket had brought them. */
struct pile {
    struct parcel *parcels[PARCELS_ROUND];
    struct udp_received received[PARCELS_ROUND];
    size_t count;
};

static void pile_add(struct pile *pile, struct parcel *parcel) {
    pile->received[pile->count] = (struct udp_received){
        .bytes = parcel->bytes,
        .size = parcel->size,
        .segment = parcel->size,
        .from = parcel->from,
        .to = parcel->to,
        .ecn = parcel->ecn,
    };
    pile->parcels[pile->count++] = parcel;
}

static void pile_take_in(struct worker *worker, struct pile *pile) {
    if (pile->count > 0) {
        receive_batch(worker, pile->received, pile->count);
    }
    for (size_t i = 0; i < pile->count; i++) {
        free_parcel(pile->parcels[i]);
    }
}

/* Datagrams go on the pile; the rest is done at once. */
static void take_in(struct worker *worker, struct parcel *parcel, struct pile *pile) {
    switch (parcel->kind) {
    case PARCEL_PACKET:
        forward_from_host(worker, parcel->bytes, parcel->size, &parcel->header, true);
        break;
    case PARCEL_DATAGRAM:
        pile_add(pile, parcel);
        return;
    case PARCEL_CALLER:
        handshake_accept(worker, &parcel->caller, parcel->bytes, &parcel->from, &parcel->to);
        break;
    }
    free_parcel(parcel);
}

/* One ring's share of a round. */
static void empty_ring(struct worker *worker, struct ring *ring) {
    struct pile pile;
    pile.count = 0;
    int callers = 0;
    for (int taken = 0; taken < PARCELS_ROUND && callers < CALLERS_ROUND; taken++) {
        void *item;
        if (ring_pop(ring, &item, 1) == 0) {
            break;
        }
        struct parcel *parcel = item;
        callers += parcel->kind == PARCEL_CALLER;
        take_in(worker, parcel, &pile);
    }
    pile_take_in(worker, &pile);
}

bool handover_work(struct worker *worker) {
    for (unsigned i = 0; i < worker->setup.count; i++) {
        if (worker->rings[i]) {
            empty_ring(worker, worker->rings[i]);
        }
    }
    return handover_pending(worker);
}

bool handover_pending(const struct worker *worker) {
    for (unsigned i = 0; i < worker->setup.count; i++) {
        if (worker->rings[i] && !ring_empty(worker->rings[i])) {
            return true;
        }
    }
    return false;
}
