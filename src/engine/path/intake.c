#include "engine/path/intake.h"

#include <errno.h>
#include <linux/virtio_net.h>

#include "engine/path/forward.h"
#include "engine/path/handshake.h"
#include "engine/path/host.h"
#include "engine/path/parcel.h"
#include "engine/path/receive.h"
#include "engine/path/shield.h"
#include "engine/path/worker.h"
#include "engine/table/ring.h"

#define PACKETS_ROUND 64
#define BYTES_ROUND (256 << 10) /* large packets count for many */
#define PARCELS_ROUND 128       /* of packets, and of datagrams, from all rings together */

ssize_t intake_host(struct worker *worker) {
    size_t count = 0;
    size_t bytes = 0;
    while (count < PACKETS_ROUND && bytes < BYTES_ROUND) {
        struct virtio_net_hdr header;
        uint8_t *packet;
        ssize_t size = host_read(worker, &packet, &header);
        if (size == -EBADFD) {
            return size;
        }
        if (size <= 0) {
            break;
        }
        count++;
        bytes += (size_t)size;
        forward_from_host(worker, packet, (size_t)size, &header, false);
    }
    return (ssize_t)count;
}

/* --- from other workers --- */

/* Calls `take` for what the rings of one kind hold, as long as it says that it takes more. The worker whose ring is
 * first changes with each round, so a ring that is always full does not hide the others. */
typedef bool take_fn(struct worker *worker, struct parcel *parcel, void *context);

static void take_in(struct worker *worker, enum parcel_kind kind, take_fn *take, void *context) {
    unsigned count = worker->setup.count;
    for (unsigned i = 0; i < count; i++) {
        struct ring *ring = worker->rings.from[kind][(worker->rings.turn + i) % count];
        struct parcel *parcel;
        while (ring && (parcel = ring_pop(ring))) {
            if (!take(worker, parcel, context)) {
                return;
            }
        }
    }
}

/* At most half of a round's public-key work: the other half is for whom this worker itself heard. */
static bool take_caller(struct worker *worker, struct parcel *parcel, void *context) {
    (void)context;
    handshake_accept(worker, &parcel->caller, (const struct handshake_message *)parcel->bytes);
    parcel_free(parcel);
    return worker->work_left > WORKER_WORK_ROUND / 2;
}

static bool take_packet(struct worker *worker, struct parcel *parcel, void *context) {
    int *left = context;
    forward_from_host(worker, parcel->bytes, parcel->size, &parcel->header, true);
    parcel_free(parcel);
    return --*left > 0;
}

/* Datagrams are opened together, as if the worker's own socket had brought them. */
struct datagram_batch {
    struct parcel *parcels[PARCELS_ROUND];
    struct udp_received received[PARCELS_ROUND];
    size_t count;
};

static bool take_datagram(struct worker *worker, struct parcel *parcel, void *context) {
    struct datagram_batch *batch = context;
    (void)worker;
    batch->received[batch->count] = (struct udp_received){
        .bytes = parcel->bytes,
        .size = parcel->size,
        .segment = parcel->size,
        .from = parcel->datagram.from,
        .to = parcel->datagram.to,
        .ecn = parcel->datagram.ecn,
    };
    batch->parcels[batch->count++] = parcel;
    return batch->count < PARCELS_ROUND;
}

static void receive_datagrams(struct worker *worker, struct datagram_batch *batch) {
    if (batch->count > 0) {
        receive_batch(worker, batch->received, batch->count);
    }
    for (size_t i = 0; i < batch->count; i++) {
        parcel_free(batch->parcels[i]);
    }
}

bool intake_parcels(struct worker *worker) {
    struct datagram_batch batch;
    int packets = PARCELS_ROUND;
    batch.count = 0;
    take_in(worker, PARCEL_CALLER, take_caller, NULL);
    take_in(worker, PARCEL_PACKET, take_packet, &packets);
    take_in(worker, PARCEL_DATAGRAM, take_datagram, &batch);
    receive_datagrams(worker, &batch);
    worker->rings.turn = (worker->rings.turn + 1) % worker->setup.count;
    return intake_pending(worker);
}

bool intake_pending(const struct worker *worker) {
    for (int kind = 0; kind < PARCEL_KIND_COUNT; kind++) {
        for (unsigned i = 0; i < worker->setup.count; i++) {
            if (worker->rings.from[kind][i] && !ring_empty(worker->rings.from[kind][i])) {
                return true;
            }
        }
    }
    return false;
}
