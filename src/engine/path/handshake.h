/* Handshakes of both roles, within the public-key work that a round has (worker.h).
 *
 * shield.h says which received messages are worth it. An initiation may arrive at any worker: that one finds out who is
 * calling (one X25519) and hands the caller over to the worker that owns the peer, which does the rest. One worker,
 * except where said. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct handshake_message;
struct noise_caller;
struct peer_state;
struct worker;

void handshake_receive_cookie(struct worker *worker, const uint8_t *bytes);
/* A caller that some worker identified: finishes the initiation. */
void handshake_accept(struct worker *worker, struct noise_caller *caller, const struct handshake_message *message);
/* Sends the cookie replies of this round, begins handshakes that are wanted, and works off what waits, as far as the
 * round's work goes. True if there are more. */
bool handshake_work(struct worker *worker);
/* What a peer's armed timers ask for, now that the wheel fired. */
void handshake_expire(struct worker *worker, struct peer_state *state);
