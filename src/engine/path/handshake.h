/* Handshakes of both roles, in the order that costs an attacker most: exact length and mac1 at once, under
 * load also mac2 and a limit per source; what passes waits in a bounded queue, and a round does the public-key work of
 * a few.
 *
 * Under load, that is while so many wait that their work takes a tenth of a second:
 *
 * 1. Who returned a cookie (mac2) waits in the queue, within the limits of limiter.h.
 * 2. So may others as long as we have trust in them. It is full at first; each initiation without a cookie that named a
 *    peer adds a little, each that did not, or was a replay or too early, takes four times as much, and so do responses
 *    that were genuine or not. So after a restart
 *    100,000 routers are served at once rather than after their cookie, five seconds later; while sixteen forgeries (a
 *    millisecond of work) end the trust, and those that wait without a cookie are dropped when it is their turn.
 * 3. All others get a cookie reply, within the limits of limiter.h: a router needs one, an attacker's sources need
 * none. The replies of a round leave together.
 * 4. Who has waited 4 s is dropped at no cost: an answer would reach him when he has begun anew, as everybody does
 *    after 5 s (REKEY_TIMEOUT), and has forgotten this handshake. If the queue is full the oldest goes. So that nobody
 *    waits unseen in the socket, it is read in larger strides (loop.c).
 *
 * An initiation may arrive at any worker. That one finds out who is calling (one X25519) and hands the caller over to
 * the worker that owns it, which does the rest. One worker, except where said. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/io/udp.h"
#include "engine/path/peer.h"

struct handshakes;
struct worker;

int handshakes_create(struct handshakes **ret_handshakes);
/* Accepts NULL. */
void handshakes_free(struct handshakes *handshakes);

/* A received initiation, or a response to a pending handshake: checks and queues it. */
void handshake_receive(struct worker *worker, const uint8_t *bytes, size_t size, const union endpoint *from,
                       const struct udp_local *to);
void handshake_receive_cookie(struct worker *worker, const uint8_t *bytes);
/* Whether so many have come that more may be waiting in the sockets. */
bool handshakes_crowded(const struct worker *worker);
/* Sends the cookie replies of this round, begins a few of the handshakes that are wanted, and works off a few of the
 * queue. True if there are more. */
bool handshake_work(struct worker *worker);
/* A caller that another worker identified: finishes the initiation. */
void handshake_accept(struct worker *worker, struct noise_caller *caller, const uint8_t *initiation,
                      const union endpoint *from, const struct udp_local *to);

/* What a peer's armed timers ask for, now that the wheel fired. */
void handshake_expire(struct worker *worker, struct peer_state *state);
