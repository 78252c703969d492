/* From worker to worker, over bounded rings of one producer and one consumer each: what arrived at a worker that does
 * not own it. Everything is copied; the owner looks at it as if it had come from outside, so an answer that changed
 * meanwhile harms nobody. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/io/udp.h"
#include "wire/noise.h"

struct ring;
struct virtio_net_hdr;
struct worker;

/* All rings towards this worker. 0, -ENOMEM. */
int handover_create(struct worker *worker);
void handover_free(struct worker *worker);

/* A packet from the host. A full ring counts RING_FULL. */
void handover_packet(struct worker *worker, unsigned owner, const uint8_t *bytes, size_t size,
                     const struct virtio_net_hdr *header);
/* A datagram that names an index of the owner: the kernel did not steer it. */
void handover_datagram(struct worker *worker, unsigned owner, const uint8_t *bytes, size_t size,
                       const struct udp_received *received);
/* An identified initiation. */
void handover_caller(struct worker *worker, unsigned owner, const struct noise_caller *caller,
                     const uint8_t *initiation, const union endpoint *from, const struct udp_local *to);

/* Takes in a bounded number of each kind. True if there are more. */
bool handover_work(struct worker *worker);
bool handover_pending(const struct worker *worker);
