#include "wire/session.h"

#include <sodium.h>

#include "wire/timers.h"

/* Who only receives would never notice that its keypair grows old: while it lives, there must be time for the remote's
 * keepalive and for one retry of the handshake (whitepaper 6.2). */
#define REKEY_AFTER_RECEIVE_NS (TIMERS_REJECT_AFTER_NS - TIMERS_KEEPALIVE_NS - TIMERS_REKEY_TIMEOUT_NS)

void keypair_set(struct keypair *keypair, const struct noise_transport_keys *keys, uint32_t local_index,
                 uint32_t remote_index, bool initiator, uint64_t now_ns) {
    *keypair = (struct keypair){
        .send_key = keys->send,
        .receive_key = keys->receive,
        .born_ns = now_ns,
        .local_index = local_index,
        .remote_index = remote_index,
        .initiator = initiator,
    };
}

void keypair_wipe(struct keypair *keypair) {
    if (keypair) {
        sodium_memzero(keypair, sizeof *keypair);
    }
}

struct session_dropped session_install(struct session *session, struct keypair *fresh) {
    struct session_dropped dropped = {.keypairs = {session->previous}};
    if (!fresh->initiator) {
        dropped.keypairs[1] = session->next;
        session->previous = NULL;
        session->next = fresh;
        return dropped;
    }
    /* Both sides began at once and ours won: the remote may already send on the unconfirmed one, so it is kept to
     * receive on, at the price of the current one. */
    if (session->next) {
        dropped.keypairs[1] = session->current;
        session->previous = session->next;
        session->next = NULL;
    } else {
        session->previous = session->current;
    }
    session->current = fresh;
    return dropped;
}

struct session_dropped session_received(struct session *session, struct keypair *used, bool *ret_confirmed) {
    struct session_dropped dropped = {0};
    bool confirmed = used && used == session->next;
    if (confirmed) {
        dropped.keypairs[0] = session->previous;
        session->previous = session->current;
        session->current = session->next;
        session->next = NULL;
    }
    *ret_confirmed = confirmed;
    return dropped;
}

struct session_dropped session_clear(struct session *session) {
    struct session_dropped dropped = {.keypairs = {session->current, session->previous, session->next}};
    *session = (struct session){0};
    return dropped;
}

/* Zero while `now_ns`, which may come from a cached clock, is before its birth. */
static uint64_t age(const struct keypair *keypair, uint64_t now_ns) {
    return now_ns > keypair->born_ns ? now_ns - keypair->born_ns : 0;
}

bool keypair_can_send(const struct keypair *keypair, uint64_t now_ns) {
    return age(keypair, now_ns) < TIMERS_REJECT_AFTER_NS && keypair->send_counter < SESSION_REJECT_AFTER_MESSAGES;
}

bool keypair_can_receive(const struct keypair *keypair, uint64_t now_ns) {
    return age(keypair, now_ns) < TIMERS_REJECT_AFTER_NS && keypair->replay.greatest < SESSION_REJECT_AFTER_MESSAGES;
}

bool keypair_wants_rekey_after_send(const struct keypair *keypair, uint64_t now_ns) {
    return keypair->send_counter > SESSION_REKEY_AFTER_MESSAGES ||
           (keypair->initiator && age(keypair, now_ns) >= TIMERS_REKEY_AFTER_NS);
}

bool keypair_wants_rekey_after_receive(const struct keypair *keypair, uint64_t now_ns) {
    return keypair->initiator && age(keypair, now_ns) >= REKEY_AFTER_RECEIVE_NS;
}
