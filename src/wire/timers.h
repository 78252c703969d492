/* A peer's timers as a pure state machine (whitepaper 6; Linux timers.c).
 *
 * The owner calls timers_*() events as things happen, keeps one lazy wheel node at timers_next(), and on expiry does
 * what timers_expire() says. Deadlines are absolute monotonic nanoseconds, 0 while not armed. `jitter_ns` is the
 * caller's random number below TIMERS_JITTER_NS. Events on the data path only store a deadline that is not yet armed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define TIMERS_REKEY_AFTER_NS (120 * NSEC_PER_SEC)
#define TIMERS_REJECT_AFTER_NS (180 * NSEC_PER_SEC)
#define TIMERS_REKEY_TIMEOUT_NS (5 * NSEC_PER_SEC)
#define TIMERS_REKEY_ATTEMPT_NS (90 * NSEC_PER_SEC)
#define TIMERS_KEEPALIVE_NS (10 * NSEC_PER_SEC)
#define TIMERS_WIPE_NS (3 * TIMERS_REJECT_AFTER_NS)
#define TIMERS_JITTER_NS (333 * NSEC_PER_MSEC)
#define TIMERS_MAX_ATTEMPTS 18                           /* initiations in all: REKEY_ATTEMPT / REKEY_TIMEOUT */
#define TIMERS_INITIATION_SPACING_NS (NSEC_PER_SEC / 50) /* at most 50 per second from one peer (Linux messages.h) */
#define TIMERS_NEVER UINT64_MAX

/* What timers_expire() asks for; several may come at once. Give up and wipe before sending. */
enum timers_action {
    TIMERS_SEND_INITIATION = 1, /* begin or retry a handshake */
    TIMERS_SEND_KEEPALIVE = 2,  /* an empty data packet */
    TIMERS_GIVE_UP = 4,         /* drop the queued packets and the handshake in flight */
    TIMERS_WIPE_KEYS = 8,       /* no new session for 540 s: forget all keys */
};

struct timers {
    uint64_t retry_at;
    uint64_t keepalive_at;
    uint64_t new_handshake_at;
    uint64_t wipe_at;
    uint64_t persistent_at;
    uint64_t handshake_sent_ns;      /* last initiation or response sent; 0: never */
    uint64_t initiation_accepted_ns; /* 0: never */
    uint16_t persistent_s;           /* persistent keepalive interval, seconds; 0: off */
    uint8_t attempts;
    bool need_another_keepalive; /* data came while the keepalive was armed: one more after it */
    bool keepalive_repeats;      /* that one more is armed: sending the first does not disarm it */
};

uint64_t timers_next(const struct timers *timers); /* the earliest deadline, or TIMERS_NEVER */
unsigned timers_expire(struct timers *timers, uint64_t now_ns, uint64_t jitter_ns); /* a set of enum timers_action */
void timers_set_persistent(struct timers *timers, uint16_t seconds, uint64_t now_ns);

/* Whether a new initiation may be sent now (not within REKEY_TIMEOUT of the last). */
bool timers_may_initiate(const struct timers *timers, uint64_t now_ns);
/* Whether an authenticated initiation of this peer may be accepted now, or is one of a flood; if so remembers it. */
bool timers_may_accept_initiation(struct timers *timers, uint64_t now_ns);

void timers_data_sent(struct timers *timers, uint64_t now_ns, uint64_t jitter_ns);
void timers_data_received(struct timers *timers, uint64_t now_ns);
void timers_any_authenticated_sent(struct timers *timers); /* data, keepalive, handshake */
void timers_any_authenticated_received(struct timers *timers);
void timers_any_authenticated_traversed(struct timers *timers,
                                        uint64_t now_ns); /* either direction: persistent keepalive */
void timers_initiation_sent(struct timers *timers, uint64_t now_ns, uint64_t jitter_ns);
/* Having answered, leave the remote the time to confirm before beginning a handshake of our own (Linux send.c). */
void timers_response_sent(struct timers *timers, uint64_t now_ns);
void timers_handshake_complete(struct timers *timers);
void timers_session_derived(struct timers *timers, uint64_t now_ns);
/* A caller other than the retry timer wants a handshake: start counting attempts anew. */
void timers_handshake_wanted(struct timers *timers);
