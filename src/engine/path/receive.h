/* The way in: datagrams are classified, opened as a batch, checked against the replay window, and their inner packets
 * handed to engine/path/forward.h. One worker. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/io/udp.h"

struct worker;
struct xdp_queue;

/* One batch from this socket. The number of datagrams read. */
size_t receive_round(struct worker *worker, int fd);
/* One batch from this queue of AF_XDP. */
void receive_queue(struct worker *worker, struct xdp_queue *queue);
/* One batch that was read already (by another worker); the bytes may be altered. */
void receive_batch(struct worker *worker, const struct udp_received *received, size_t count);
