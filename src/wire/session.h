/* Keypairs and their rotation: next -> current -> previous (whitepaper 6.3; Linux noise.c).
 *
 *                 responder made it          first packet on it / initiator made it
 *   (handshake) -------------------> next ------------------------------> current --> previous --> dropped
 *
 * The caller allocates keypairs and frees what session_* hands back (wiped by keypair_wipe()). Thread: the owner's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/key.h"
#include "wire/noise.h"
#include "wire/replay.h"

#define SESSION_REKEY_AFTER_MESSAGES (UINT64_C(1) << 60)
#define SESSION_REJECT_AFTER_MESSAGES (UINT64_MAX - REPLAY_BITS - 1) /* 2^64 - 2^13 - 1, less one as Linux */

struct keypair {
    struct key send_key;
    struct key receive_key;
    uint64_t send_counter; /* of the next packet */
    uint64_t born_ns;      /* monotonic */
    uint32_t local_index;
    uint32_t remote_index;
    bool initiator; /* this side began the handshake */
    struct replay replay;
};

struct session {
    struct keypair *current; /* to send on */
    struct keypair *previous;
    struct keypair *next; /* made as responder, not yet confirmed by a packet */
};

/* What fell out of a rotation; each may be NULL. */
struct session_dropped {
    struct keypair *keypairs[3];
};

void keypair_set(struct keypair *keypair, const struct noise_transport_keys *keys, uint32_t local_index,
                 uint32_t remote_index, bool initiator, uint64_t now_ns);
void keypair_wipe(struct keypair *keypair);

/* A finished handshake brings `fresh`: as initiator it becomes current at once, as responder next. */
struct session_dropped session_install(struct session *session, struct keypair *fresh);
/* A packet was authenticated on `used`. If it was next, it becomes current: `ret_confirmed`. */
struct session_dropped session_received(struct session *session, struct keypair *used, bool *ret_confirmed);
/* Everything, for wiping. */
struct session_dropped session_clear(struct session *session);

/* May this keypair still send / receive at `now_ns` (180 s, message limits)? */
bool keypair_can_send(const struct keypair *keypair, uint64_t now_ns);
bool keypair_can_receive(const struct keypair *keypair, uint64_t now_ns);
/* Should a new handshake be begun after sending (120 s as initiator, 2^60 messages) / receiving (165 s as initiator)?
 */
bool keypair_wants_rekey_after_send(const struct keypair *keypair, uint64_t now_ns);
bool keypair_wants_rekey_after_receive(const struct keypair *keypair, uint64_t now_ns);
