/* Which handshake messages may cost us public-key work, and in which order. Anybody who knows the gateway's public key,
 * and perhaps a router's, can make messages that look right until that work is done; he can make them in the name of
 * any address, too.
 *
 * One rule: who proved his address is served first, all others while there is capacity. In full:
 *
 * 1. Length and mac1 are checked at once. There are two queues: of those that returned a cookie (mac2), and of the
 *    others. The first is worked off before the second.
 * 2. While few wait there is capacity: all are served.
 * 3. While many wait we are under load, and the others are served as long as we have trust in them. It is full at
 * first. Each handshake of theirs that the peer's owner accepted adds a little, each that failed (unknown key, forged,
 *    replay, too early) takes four times as much; responses count the same way. So after a restart 100,000 routers are
 *    served at once rather than after a cookie, five seconds later, while sixteen forgeries, a millisecond of work, end
 *    the trust. Then those that wait without a cookie are dropped in their turn, and who comes gets a cookie reply.
 * 4. Under load both are limited per source, and cookie replies too (limiter.h).
 * 5. Who has waited 4 s is dropped at no cost: an answer would reach him when he has begun anew, as everybody does
 * after 5 s (REKEY_TIMEOUT), and has forgotten this handshake. If a queue is full its oldest goes.
 *
 * An initiation may arrive at any worker, and whether it was genuine is found out by the worker that owns the peer.
 * That one tells the worker that let it in (shield_judge()), since the trust is that one's. Else what is said here is
 * for one worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/io/udp.h"
#include "wire/message.h"

#define SHIELD_TOS 0x88 /* of everything that is a handshake's: AF41 (Linux messages.h) */

struct shield;
struct worker;

/* A received initiation or response. */
struct handshake_message {
    uint64_t at_ns; /* of clock_mono_ns() */
    union endpoint from;
    struct udp_local to;
    bool proved;      /* by a cookie */
    uint8_t receiver; /* number of the worker that let it in */
    uint32_t size;
    uint8_t bytes[sizeof(struct message_initiation)];
};

int shield_create(struct shield **ret_shield);
/* Accepts NULL. */
void shield_free(struct shield *shield);

/* At the beginning of a round: takes in what other workers found out, and allows public-key work for this round. */
void shield_begin_round(struct worker *worker);
/* Checks and queues a message, or answers it by a cookie. */
void shield_receive(struct worker *worker, const uint8_t *bytes, size_t size, const union endpoint *from,
                    const struct udp_local *to);
/* The next that is worth its work, taken from its queue; valid until shield_receive(). NULL: none, for now. */
const struct handshake_message *shield_next(struct worker *worker);
bool shield_is_empty(const struct worker *worker);
/* Whether so many have come that more may be waiting in the sockets. */
bool shield_is_crowded(const struct worker *worker);
/* Sends the cookie replies of this round. */
void shield_flush(struct worker *worker);

/* A message without a cookie went to the worker that owns the peer: its verdict will come. */
void shield_await(struct worker *worker);
/* What became of a message that worker `receiver` let in without a cookie. `worker` is the one that found out. */
void shield_judge(struct worker *worker, unsigned receiver, bool accepted);
