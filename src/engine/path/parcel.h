/* From worker to worker: what arrived at a worker that does not own it crosses in bounded rings of one producer and one
 * consumer each, a ring per kind, so that a flood of one does not take the place of another.
 *
 * Everything is copied, and the owner checks it again as if it had come from outside, so a look-up that is stale by
 * then does no harm. This is the producer's side; intake.h is the consumer's. */
#pragma once

#include <linux/virtio_net.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/io/udp.h"
#include "wire/noise.h"

struct handshake_message;
struct worker;

/* In the order in which they are taken in. */
enum parcel_kind {
    PARCEL_CALLER,   /* an identified initiation */
    PARCEL_PACKET,   /* from the host */
    PARCEL_DATAGRAM, /* of a session, perhaps: nobody has looked up the index that it names */
    PARCEL_KIND_COUNT,
};

/* Made by the producer, freed by the consumer. */
struct parcel {
    enum parcel_kind kind;
    union {                         /* by kind */
        struct noise_caller caller; /* a secret; the bytes are a struct handshake_message */
        struct virtio_net_hdr header;
        struct {
            union endpoint from;
            struct udp_local to;
            uint8_t ecn;
        } datagram;
    };
    size_t size;
    alignas(uint64_t) uint8_t bytes[];
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
/* Public-key work has told who is calling; what is left of it is the owner's. Whether it is on its way. */
bool parcel_send_caller(struct worker *worker, unsigned owner, const struct noise_caller *caller,
                        const struct handshake_message *message);
