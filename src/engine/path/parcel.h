/* From worker to worker: what arrived at a worker that does not own it crosses in bounded rings of one producer and one
 * consumer each.
 *
 * Everything is copied, and the owner checks it again as if it had come from outside, so a look-up that is stale by
 * then does no harm. This is the producer's side; intake.h is the consumer's. */
#pragma once

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/io/udp.h"
#include "wire/noise.h"

struct worker;

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

/* Wipes it. */
void parcel_free(struct parcel *parcel);

/* All rings towards this worker. 0, -ENOMEM. */
int parcel_create_rings(struct worker *worker);
/* With what is in them. */
void parcel_free_rings(struct worker *worker);

/* A packet from the host. A full ring counts RING_FULL. */
void parcel_send_packet(struct worker *worker, unsigned owner, const uint8_t *bytes, size_t size,
                        const struct virtio_net_hdr *header);
/* A datagram that names an index of the owner: the kernel did not steer it. */
void parcel_send_datagram(struct worker *worker, unsigned owner, const uint8_t *bytes, size_t size,
                          const struct udp_received *received);
/* An identified initiation. */
void parcel_send_caller(struct worker *worker, unsigned owner, const struct noise_caller *caller,
                        const uint8_t *initiation, const union endpoint *from, const struct udp_local *to);
