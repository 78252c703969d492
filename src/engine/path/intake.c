#include "engine/path/intake.h"

#include <errno.h>
#include <linux/virtio_net.h>

#include "engine/path/forward.h"
#include "engine/path/handshake.h"
#include "engine/path/host.h"
#include "engine/path/parcel.h"
#include "engine/path/receive.h"
#include "engine/path/worker.h"
#include "engine/table/ring.h"

#define PACKETS_ROUND 64
#define BYTES_ROUND (256 << 10) /* large packets count for many */
#define PARCELS_ROUND 64        /* taken from one ring in a round */
#define CALLERS_ROUND 4         /* each costs public-key work */

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

/* Datagrams of one ring that are opened together, as if the worker's own socket had brought them. */
struct datagram_batch {
    struct parcel *parcels[PARCELS_ROUND];
    struct udp_received received[PARCELS_ROUND];
    size_t count;
};

static void add_datagram(struct datagram_batch *batch, struct parcel *parcel) {
    batch->received[batch->count] = (struct udp_received){
        .bytes = parcel->bytes,
        .size = parcel->size,
        .segment = parcel->size,
        .from = parcel->from,
        .to = parcel->to,
        .ecn = parcel->ecn,
    };
    batch->parcels[batch->count++] = parcel;
}

static void receive_datagrams(struct worker *worker, struct datagram_batch *batch) {
    if (batch->count > 0) {
        receive_batch(worker, batch->received, batch->count);
    }
    for (size_t i = 0; i < batch->count; i++) {
        parcel_free(batch->parcels[i]);
    }
}

/* Datagrams join the batch; the rest is done at once. */
static void take_in(struct worker *worker, struct parcel *parcel, struct datagram_batch *batch) {
    switch (parcel->kind) {
    case PARCEL_PACKET:
        forward_from_host(worker, parcel->bytes, parcel->size, &parcel->header, true);
        break;
    case PARCEL_DATAGRAM:
        add_datagram(batch, parcel);
        return;
    case PARCEL_CALLER:
        handshake_accept(worker, &parcel->caller, parcel->bytes, &parcel->from, &parcel->to);
        break;
    }
    parcel_free(parcel);
}

/* What one ring may bring in a round. */
static void take_share_of(struct worker *worker, struct ring *ring) {
    struct datagram_batch batch;
    batch.count = 0;
    int callers = 0;
    for (int taken = 0; taken < PARCELS_ROUND && callers < CALLERS_ROUND; taken++) {
        struct parcel *parcel = ring_pop(ring);
        if (!parcel) {
            break;
        }
        callers += parcel->kind == PARCEL_CALLER;
        take_in(worker, parcel, &batch);
    }
    receive_datagrams(worker, &batch);
}

bool intake_parcels(struct worker *worker) {
    for (unsigned i = 0; i < worker->setup.count; i++) {
        if (worker->rings.from[i]) {
            take_share_of(worker, worker->rings.from[i]);
        }
    }
    return intake_pending(worker);
}

bool intake_pending(const struct worker *worker) {
    for (unsigned i = 0; i < worker->setup.count; i++) {
        if (worker->rings.from[i] && !ring_empty(worker->rings.from[i])) {
            return true;
        }
    }
    return false;
}
