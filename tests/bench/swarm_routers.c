/* The routers' keys and sessions, and what comes from the gateway. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "swarm.h"

void swarm_derive(const struct swarm *swarm, const char *kind, uint64_t number, uint8_t ret_secret[32]) {
    char context[crypto_kdf_CONTEXTBYTES] = {0};
    size_t size = strlen(kind);
    memcpy(context, kind, size < sizeof context ? size : sizeof context);
    crypto_kdf_derive_from_key(ret_secret, KEY_SIZE, number, context, swarm->seed.bytes);
}

int swarm_routers_create(struct swarm *swarm) {
    swarm->routers = calloc(swarm->count, sizeof *swarm->routers);
    if (!swarm->routers) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < swarm->count; i++) {
        struct router *r = &swarm->routers[i];
        swarm_derive(swarm, "router", i, r->private_key.bytes);
        key_public(&r->private_key, &r->public_key);
        r->next = SWARM_NONE;
    }
    for (unsigned i = 0; i < RETRY_TICKS; i++) {
        swarm->retries.heads[i] = SWARM_NONE;
    }
    swarm->retries.tick = clock_mono_ns() / RETRY_TICK_NS;
    return 0;
}

void swarm_routers_free(struct swarm *swarm) {
    for (uint32_t i = 0; swarm->routers && i < swarm->count; i++) {
        handshake_forget(&swarm->routers[i]);
    }
    free(swarm->routers);
    swarm->routers = NULL;
}

/* Neighbours (or neighbouring groups, if routers share one) differ in address and port, so that round robin over
 * routers is round robin over flows; as long as there are addresses enough, no two have the same. */
struct net_source swarm_source(const struct swarm *swarm, uint32_t number) {
    const struct net_options *options = &swarm->net_options;
    uint32_t group = number / swarm->share;
    return (struct net_source){
        .address = group % options->addresses,
        .socket = (group + group / options->addresses) % options->sockets,
    };
}

void router_seal_job(struct router *router, uint8_t *message, size_t size, struct aead_job *ret_job) {
    struct message_data *header = (struct message_data *)message;
    memset(header->type, 0, sizeof header->type);
    header->type[0] = MESSAGE_DATA;
    le32_put(header->receiver, router->remote_index);
    le64_put(header->counter, router->send_counter);
    *ret_job = (struct aead_job){
        .key = &router->send_key,
        .counter = router->send_counter++,
        .from = message + sizeof *header,
        .to = message + sizeof *header,
        .size = size,
    };
}

void router_send_keepalive(struct swarm *swarm, uint32_t number) {
    struct net_source source = swarm_source(swarm, number);
    uint8_t *message = net_slot(swarm->net, source, MESSAGE_KEEPALIVE_SIZE);
    if (!message) {
        net_flush(swarm->net);
        message = net_slot(swarm->net, source, MESSAGE_KEEPALIVE_SIZE);
    }
    struct aead_job job;
    router_seal_job(&swarm->routers[number], message, 0, &job);
    swarm->aead_ops->seal(swarm->aead, &job, 1);
    swarm->tally.data_sent++;
}

/* Data is counted; one packet in `open_every` is opened and handed on. */
static void take_data(struct swarm *swarm, uint8_t *bytes, size_t size) {
    const struct message_data *header = (const struct message_data *)bytes;
    uint32_t number = le32_get(header->receiver);
    struct tally *tally = &swarm->tally;
    if (number >= swarm->count || !swarm->routers[number].connected) {
        tally->unknown++;
        return;
    }
    if (size == MESSAGE_KEEPALIVE_SIZE) {
        tally->keepalives_received++;
        return;
    }
    tally->data_received++;
    tally->data_received_bytes += size - MESSAGE_DATA_OVERHEAD;
    if (!swarm->open_every || tally->data_received % swarm->open_every != 0) {
        return;
    }
    struct aead_job job = {
        .key = &swarm->routers[number].receive_key,
        .counter = le64_get(header->counter),
        .from = bytes + sizeof *header,
        .to = bytes + sizeof *header,
        .size = size - MESSAGE_DATA_OVERHEAD,
    };
    swarm->aead_ops->open(swarm->aead, &job, 1);
    if (!job.ok) {
        tally->bad_data++;
        return;
    }
    tally->data_opened++;
    if (swarm->on_data) {
        swarm->on_data(swarm, &swarm->routers[number], job.to, job.size);
    }
}

void swarm_take(void *context, uint8_t *bytes, size_t size) {
    struct swarm *swarm = context;
    if (!swarm->routers) {
        return;
    }
    switch (message_classify(bytes, size)) {
    case MESSAGE_RESPONSE:
        handshake_take_response(swarm, (const struct message_response *)bytes, clock_mono_ns());
        break;
    case MESSAGE_COOKIE_REPLY:
        handshake_take_cookie(swarm, (const struct message_cookie_reply *)bytes, clock_mono_ns());
        break;
    case MESSAGE_DATA:
        take_data(swarm, bytes, size);
        break;
    case MESSAGE_INITIATION: /* our routers never answer: a hub with something to say waits for their own */
        swarm->tally.initiations_received++;
        break;
    }
}
