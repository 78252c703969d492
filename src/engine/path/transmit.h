/* The way out: inner packets become data messages of a peer's session.
 *
 * Messages of a round are gathered, sealed as one batch and sent with few system calls; runs to one peer go out as one
 * UDP_SEGMENT write. Without a session a packet waits with its peer and a handshake begins. One worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/path/peer.h"

struct segments;
struct transmit;
struct worker;

int transmit_create(bool gso, struct transmit **ret_transmit);
/* Accepts NULL. */
void transmit_free(struct transmit *transmit);
void transmit_set_gso(struct transmit *transmit, bool gso);
/* False also since the kernel refused one. */
bool transmit_gso(const struct transmit *transmit);

/* One whole inner packet to this peer; the bytes are copied. */
void transmit_packet(struct worker *worker, struct peer *peer, const uint8_t *bytes, size_t size);
/* The same for each segment of a large one. */
void transmit_segments(struct worker *worker, struct peer *peer, struct segments *segments);
/* An empty data message; without a session, a handshake. */
void transmit_keepalive(struct worker *worker, struct peer *peer);
/* What waited, now that there is a session. */
void transmit_waiting(struct worker *worker, struct peer *peer);
/* Seals and sends what was gathered. */
void transmit_flush(struct worker *worker);
/* One handshake message, at once. Counts it to the peer, if given. -errno if it could not be sent. */
int transmit_message(struct worker *worker, struct peer *peer, const union endpoint *to, struct udp_local *from,
                     const void *bytes, size_t size, uint8_t tos);
