/* Handshakes of both roles, in the order that costs an attacker most (DESIGN 5): exact length and mac1 at once, under
 * load also mac2 and a limit per source; what passes waits in a bounded queue, and a round does the public-key work of
 * a few.
 *
 * An initiation may arrive at any worker. That one finds out who is calling (one X25519) and hands the caller over to
 * the worker that owns it, which does the rest. One worker, except where said. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/peer.h"
#include "engine/udp.h"

struct handshakes;
struct worker;

int handshakes_create(struct handshakes **ret_handshakes);
/* Accepts NULL. */
void handshakes_free(struct handshakes *handshakes);

/* A received initiation or response (message_classify()): checks and queues it. */
void handshake_receive(struct worker *worker, const uint8_t *bytes, size_t size, const union endpoint *from,
                       const struct udp_local *to);
void handshake_receive_cookie(struct worker *worker, const uint8_t *bytes);
/* Works off a few of the queue. True if there are more. */
bool handshake_work(struct worker *worker);
/* A caller that another worker identified: finishes the initiation. */
void handshake_accept(struct worker *worker, struct noise_caller *caller, const uint8_t *initiation,
                      const union endpoint *from, const struct udp_local *to);

/* Something wants a session: begins a handshake unless one was begun just now. */
void handshake_want(struct worker *worker, struct peer *peer);
/* What a peer's armed timers ask for, now that the wheel fired. */
void handshake_expire(struct worker *worker, struct active *active);
