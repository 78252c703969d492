/* Handshakes as routers begin them: an initiation, again every 5 s + up to 333 ms until a response comes (whitepaper
 * 6.2), with the cookie if there was a cookie reply meanwhile. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "swarm.h"
#include "wire/timers.h"

static int make_initiation(struct swarm *swarm, struct router *r, uint32_t number,
                           struct noise_handshake *ret_handshake, struct message_initiation *ret_message) {
    struct noise_identity me = {.private_key = r->private_key, .public_key = r->public_key};
    struct noise_remote hub = {
        .public_key = swarm->hub_public,
        .static_static = r->static_static,
        .has_static_static = r->has_static_static,
    };
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE];
    noise_timestamp(clock_wall_ns(), timestamp);
    int error = noise_initiation_create(&me, &hub, &swarm->random, number, timestamp, ret_handshake, ret_message);
    if (error < 0) {
        return error;
    }
    r->static_static = hub.static_static;
    r->has_static_static = true;
    return 0;
}

static int need_flight(struct router *r) {
    return r->flight || (r->flight = calloc(1, sizeof *r->flight)) ? 0 : -ENOMEM;
}

void handshake_forget(struct router *r) {
    if (r->flight) {
        free(r->flight->prepared);
        free(r->flight);
        r->flight = NULL;
    }
}

int handshake_prepare(struct swarm *swarm, uint32_t number) {
    struct router *r = &swarm->routers[number];
    if (need_flight(r) < 0) {
        return -ENOMEM;
    }
    struct flight *flight = r->flight;
    struct prepared *prepared = reallocarray(flight->prepared, flight->prepared_count + 1, sizeof *prepared);
    if (!prepared) {
        return -ENOMEM;
    }
    flight->prepared = prepared;
    struct prepared *one = &prepared[flight->prepared_count];
    int error = make_initiation(swarm, r, number, &one->handshake, &one->message);
    flight->prepared_count += error == 0;
    return error;
}

static int next_initiation(struct swarm *swarm, struct router *r, uint32_t number,
                           struct message_initiation *ret_message) {
    struct flight *flight = r->flight;
    if (flight->prepared_used == flight->prepared_count) {
        return make_initiation(swarm, r, number, &flight->handshake, ret_message);
    }
    const struct prepared *one = &flight->prepared[flight->prepared_used++];
    flight->handshake = one->handshake;
    *ret_message = one->message;
    return 0;
}

static void await_response(struct swarm *swarm, struct router *r, uint32_t number, uint64_t now_ns) {
    uint64_t due_ns = now_ns + TIMERS_REKEY_TIMEOUT_NS + randombytes_uniform((uint32_t)TIMERS_JITTER_NS);
    r->due = (uint16_t)(due_ns / RETRY_TICK_NS % RETRY_TICKS);
    r->next = swarm->retries.heads[r->due];
    r->waiting = true;
    swarm->retries.heads[r->due] = number;
}

static int send_initiation(struct swarm *swarm, uint32_t number, uint64_t now_ns) {
    struct router *r = &swarm->routers[number];
    struct message_initiation message;
    int error = next_initiation(swarm, r, number, &message);
    if (error < 0) {
        return error;
    }
    r->flight->begun = true;
    cookie_stamp(&r->flight->jar, &swarm->hub_public, now_ns, &message, sizeof message);
    struct net_source source = swarm_source(swarm, number);
    uint8_t *slot = net_slot(swarm->net, source, sizeof message);
    if (!slot) {
        net_flush(swarm->net);
        slot = net_slot(swarm->net, source, sizeof message);
    }
    memcpy(slot, &message, sizeof message);
    swarm->tally.initiations++;
    r->tries = (uint8_t)(r->tries < SWARM_TRIES_MAX ? r->tries + 1 : r->tries);
    if (!r->waiting) {
        await_response(swarm, r, number, now_ns);
    }
    return 0;
}

int handshake_begin(struct swarm *swarm, uint32_t number, uint64_t now_ns) {
    struct router *r = &swarm->routers[number];
    if (need_flight(r) < 0) {
        return -ENOMEM;
    }
    r->began_ns = now_ns;
    r->tries = 0;
    return send_initiation(swarm, number, now_ns);
}

/* Routers leave their bucket when it expires, whether or not they were answered meanwhile. */
unsigned handshake_expire(struct swarm *swarm, uint64_t now_ns, unsigned limit) {
    struct retries *retries = &swarm->retries;
    uint64_t now = now_ns / RETRY_TICK_NS;
    unsigned sent = 0;
    while (retries->tick <= now && sent < limit) {
        uint32_t *head = &retries->heads[retries->tick % RETRY_TICKS];
        if (*head == SWARM_NONE) {
            retries->tick++;
            continue;
        }
        uint32_t number = *head;
        struct router *r = &swarm->routers[number];
        *head = r->next;
        r->waiting = false;
        if (r->flight && r->flight->begun && send_initiation(swarm, number, now_ns) == 0) {
            sent++;
        }
    }
    return sent;
}

void handshake_take_response(struct swarm *swarm, const struct message_response *message, uint64_t now_ns) {
    uint32_t number = le32_get(message->receiver);
    struct router *r = number < swarm->count ? &swarm->routers[number] : NULL;
    if (!r || !r->flight) {
        swarm->tally.bad_responses++;
        return;
    }
    struct noise_identity me = {.private_key = r->private_key, .public_key = r->public_key};
    struct noise_remote hub = {.public_key = swarm->hub_public};
    struct noise_transport_keys keys;
    if (noise_response_consume(&me, &hub, &r->flight->handshake, message, &keys) < 0) {
        swarm->tally.bad_responses++;
        return;
    }
    r->send_key = keys.send;
    r->receive_key = keys.receive;
    r->send_counter = 0;
    r->remote_index = r->flight->handshake.remote_index;
    r->latency_us = (uint32_t)((now_ns - r->began_ns) / 1000);
    handshake_forget(r);
    swarm->tally.responses++;
    swarm->connected += !r->connected;
    r->connected = true;
    router_send_keepalive(swarm, number); /* the responder may not send before it heard the initiator */
}

void handshake_take_cookie(struct swarm *swarm, const struct message_cookie_reply *message, uint64_t now_ns) {
    uint32_t number = le32_get(message->receiver);
    struct router *r = number < swarm->count ? &swarm->routers[number] : NULL;
    if (r && r->flight && cookie_reply_consume(&r->flight->jar, &swarm->hub_public, now_ns, message) == 0) {
        swarm->tally.cookies++;
    }
}

void handshake_reset(struct swarm *swarm, uint32_t count) {
    for (unsigned i = 0; i < RETRY_TICKS; i++) {
        swarm->retries.heads[i] = SWARM_NONE;
    }
    for (uint32_t i = 0; i < swarm->count; i++) {
        struct router *r = &swarm->routers[i];
        if (r->flight && r->flight->begun) {
            handshake_forget(r);
        }
        r->waiting = false;
        if (i < count) {
            swarm->connected -= r->connected;
            r->connected = false;
            r->tries = 0;
        }
    }
}
