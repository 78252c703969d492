#include "wire/timers.h"

#include <stddef.h>

uint64_t timers_next(const struct timers *timers) {
    const uint64_t deadlines[] = {timers->retry_at, timers->keepalive_at, timers->new_handshake_at, timers->wipe_at,
                                  timers->persistent_at};
    uint64_t next = TIMERS_NEVER;
    for (size_t i = 0; i < sizeof deadlines / sizeof *deadlines; i++) {
        if (deadlines[i] && deadlines[i] < next) {
            next = deadlines[i];
        }
    }
    return next;
}

/* Whether an armed deadline has passed; if so it is disarmed. */
static bool take(uint64_t *deadline, uint64_t now_ns) {
    if (!*deadline || *deadline > now_ns) {
        return false;
    }
    *deadline = 0;
    return true;
}

static unsigned expire_retry(struct timers *timers, uint64_t now_ns, uint64_t jitter_ns) {
    timers->attempts++;
    if (timers->attempts < TIMERS_MAX_ATTEMPTS) {
        /* Armed before the message is sent, so that one that cannot be sent counts as lost instead of ending the
         * retries. */
        timers->retry_at = now_ns + TIMERS_REKEY_TIMEOUT_NS + jitter_ns;
        return TIMERS_SEND_INITIATION;
    }
    timers->attempts = 0;
    timers->keepalive_at = 0;
    timers->need_another_keepalive = false;
    timers->keepalive_repeats = false;
    /* What is left of a half-made exchange must not live for ever either. */
    if (!timers->wipe_at) {
        timers->wipe_at = now_ns + TIMERS_WIPE_NS;
    }
    return TIMERS_GIVE_UP;
}

static unsigned expire_keepalive(struct timers *timers, uint64_t now_ns) {
    if (timers->need_another_keepalive) {
        timers->need_another_keepalive = false;
        timers->keepalive_repeats = true;
        timers->keepalive_at = now_ns + TIMERS_KEEPALIVE_NS;
    }
    return TIMERS_SEND_KEEPALIVE;
}

static unsigned expire_new_handshake(struct timers *timers, uint64_t now_ns, uint64_t jitter_ns) {
    timers->attempts = 0;
    if (!timers->retry_at) {
        timers->retry_at = now_ns + TIMERS_REKEY_TIMEOUT_NS + jitter_ns;
    }
    return TIMERS_SEND_INITIATION;
}

unsigned timers_expire(struct timers *timers, uint64_t now_ns, uint64_t jitter_ns) {
    unsigned actions = 0;
    /* Giving up cancels the keepalive, so it goes first. */
    if (take(&timers->retry_at, now_ns)) {
        actions |= expire_retry(timers, now_ns, jitter_ns);
    }
    if (take(&timers->keepalive_at, now_ns)) {
        actions |= expire_keepalive(timers, now_ns);
    }
    if (take(&timers->new_handshake_at, now_ns)) {
        actions |= expire_new_handshake(timers, now_ns, jitter_ns);
    }
    if (take(&timers->persistent_at, now_ns)) {
        /* Re-armed here too, in case nothing can be sent now: no endpoint yet, or an initiation was sent just before.
         */
        timers_any_authenticated_traversed(timers, now_ns);
        actions |= TIMERS_SEND_KEEPALIVE;
    }
    if (take(&timers->wipe_at, now_ns)) {
        actions |= TIMERS_WIPE_KEYS;
    }
    return actions;
}

void timers_set_persistent(struct timers *timers, uint16_t seconds, uint64_t now_ns) {
    bool was_off = timers->persistent_s == 0;
    timers->persistent_s = seconds;
    if (seconds == 0) {
        timers->persistent_at = 0;
    } else {
        /* Switching it on opens the path at once (Linux netlink.c), a new interval only changes the rhythm. */
        timers->persistent_at = was_off ? now_ns : now_ns + seconds * NSEC_PER_SEC;
    }
}

bool timers_may_initiate(const struct timers *timers, uint64_t now_ns) {
    return !timers->handshake_sent_ns || now_ns >= timers->handshake_sent_ns + TIMERS_REKEY_TIMEOUT_NS;
}

bool timers_may_accept_initiation(struct timers *timers, uint64_t now_ns) {
    if (timers->initiation_accepted_ns && now_ns < timers->initiation_accepted_ns + TIMERS_INITIATION_SPACING_NS) {
        return false;
    }
    timers->initiation_accepted_ns = now_ns;
    return true;
}

void timers_data_sent(struct timers *timers, uint64_t now_ns, uint64_t jitter_ns) {
    if (!timers->new_handshake_at) {
        timers->new_handshake_at = now_ns + TIMERS_KEEPALIVE_NS + TIMERS_REKEY_TIMEOUT_NS + jitter_ns;
    }
}

void timers_data_received(struct timers *timers, uint64_t now_ns) {
    if (!timers->keepalive_at) {
        timers->keepalive_at = now_ns + TIMERS_KEEPALIVE_NS;
    } else {
        timers->need_another_keepalive = true;
    }
}

void timers_any_authenticated_sent(struct timers *timers) {
    if (timers->keepalive_repeats) {
        timers->keepalive_repeats = false;
        return;
    }
    timers->keepalive_at = 0;
    timers->need_another_keepalive = false;
}

void timers_any_authenticated_received(struct timers *timers) {
    timers->new_handshake_at = 0;
}

void timers_any_authenticated_traversed(struct timers *timers, uint64_t now_ns) {
    if (timers->persistent_s) {
        timers->persistent_at = now_ns + timers->persistent_s * NSEC_PER_SEC;
    }
}

void timers_initiation_sent(struct timers *timers, uint64_t now_ns, uint64_t jitter_ns) {
    timers->handshake_sent_ns = now_ns;
    timers->retry_at = now_ns + TIMERS_REKEY_TIMEOUT_NS + jitter_ns;
}

void timers_response_sent(struct timers *timers, uint64_t now_ns) {
    timers->handshake_sent_ns = now_ns;
}

void timers_handshake_complete(struct timers *timers) {
    timers->retry_at = 0;
    timers->attempts = 0;
}

void timers_session_derived(struct timers *timers, uint64_t now_ns) {
    timers->wipe_at = now_ns + TIMERS_WIPE_NS;
}

void timers_handshake_wanted(struct timers *timers) {
    timers->attempts = 0;
}
