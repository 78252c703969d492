/* An attacker who knows the gateway's public key, as every tenant does; and what X25519 costs on this CPU. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "swarm.h"

#define STEP 256
#define BURST 64  /* the most of one UDP_SEGMENT send */
#define POOL 4096 /* forgeries that cost their maker public-key work: made beforehand, used over and over */

/* Right in their length and their mac1, garbage in everything else. */
static void forge(const struct swarm *swarm, struct message_initiation *message) {
    randombytes_buf(message, sizeof *message);
    memset(message->type, 0, sizeof message->type);
    message->type[0] = MESSAGE_INITIATION;
    memset(&message->macs, 0, sizeof message->macs);
    cookie_stamp(NULL, &swarm->hub_public, 0, message, sizeof *message);
}

/* All is right but what only the router could have made: who knows its public key can seal that for the gateway. */
static int forge_in_the_name_of(const struct swarm *swarm, const struct key *router,
                                struct message_initiation *message) {
    struct noise_remote gateway = {.public_key = swarm->hub_public};
    struct noise_identity somebody;
    struct noise_handshake handshake;
    struct key secret;
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE];
    key_make_private(&secret);
    noise_identity_set(&somebody, &secret);
    somebody.public_key = *router;
    noise_timestamp(clock_wall_ns(), timestamp);
    int error = noise_initiation_create(&somebody, &gateway, &swarm->random, 1, timestamp, &handshake, message);
    cookie_stamp(NULL, &swarm->hub_public, 0, message, sizeof *message);
    return error;
}

/* Names the swarm's routers in turn. NULL: no memory, or a bad key. */
static struct message_initiation *make_pool(const struct swarm *swarm) {
    struct message_initiation *pool = calloc(POOL, sizeof *pool);
    for (uint32_t i = 0; pool && i < POOL; i++) {
        if (forge_in_the_name_of(swarm, &swarm->routers[i % swarm->count].public_key, &pool[i]) < 0) {
            free(pool);
            return NULL;
        }
    }
    return pool;
}

/* All of one source, with one call. */
static unsigned send_forgeries(struct swarm *swarm, const struct message_initiation *pool, uint32_t number,
                               unsigned count) {
    struct message_initiation messages[BURST];
    count = count < BURST ? count : BURST;
    for (unsigned i = 0; i < count; i++) {
        if (pool) {
            messages[i] = pool[(number * BURST + i) % POOL];
        } else {
            forge(swarm, &messages[i]);
        }
    }
    int error = net_burst(swarm->net, swarm_source(swarm, number), (uint8_t *)messages, count * sizeof *messages,
                          sizeof *messages);
    return error < 0 ? 0 : count;
}

static void ignore(void *context, uint8_t *bytes, size_t size) {
    uint64_t *received = context;
    (void)bytes;
    (void)size;
    *received += 1;
}

int swarm_flood(struct swarm *swarm, json_t *arguments, json_t *result) {
    json_error_t fault;
    double rate = 200000;
    double seconds = 10;
    int named = 0;
    if (json_unpack_ex(arguments, &fault, 0, "{s?F, s?F, s?b !}", "rate", &rate, "seconds", &seconds, "named", &named) <
        0) {
        return swarm_fail(swarm, -EINVAL, "%s", fault.text);
    }
    int error = swarm_need(swarm, named, true);
    if (error < 0) {
        return error;
    }
    struct message_initiation *pool = named ? make_pool(swarm) : NULL;
    if (named && !pool) {
        return swarm_fail(swarm, -ENOMEM, "no memory for forgeries");
    }
    uint64_t sent = 0;
    uint64_t received = 0;
    uint32_t next = 0;
    uint64_t began = clock_mono_ns();
    uint64_t elapsed = 0;
    double cpu = swarm_cpu_s();
    while (elapsed < (uint64_t)(seconds * (double)NSEC_PER_SEC)) {
        elapsed = clock_mono_ns() - began;
        double due = rate * ((double)elapsed / (double)NSEC_PER_SEC);
        bool behind = (double)sent < due;
        if (behind) {
            double missing = due - (double)sent;
            sent += send_forgeries(swarm, pool, next++, missing < BURST ? (unsigned)missing + 1 : BURST);
        }
        net_receive(swarm->net, behind ? 0 : 1, ignore, &received);
    }
    double took = (double)(clock_mono_ns() - began) / (double)NSEC_PER_SEC;
    free(pool);
    json_object_set_new(result, "sent", json_integer((json_int_t)sent));
    json_object_set_new(result, "per_s", json_real((double)sent / took));
    json_object_set_new(result, "answers", json_integer((json_int_t)received));
    json_object_set_new(result, "cpu_s", json_real(swarm_cpu_s() - cpu));
    return 0;
}

int swarm_x25519(struct swarm *swarm, json_t *arguments, json_t *result) {
    json_error_t fault;
    double seconds = 1;
    if (json_unpack_ex(arguments, &fault, 0, "{s?F !}", "seconds", &seconds) < 0) {
        return swarm_fail(swarm, -EINVAL, "%s", fault.text);
    }
    struct key point = swarm->hub_public;
    uint64_t count = 0;
    double cpu = swarm_cpu_s();
    double took = 0;
    while (took < seconds) {
        for (unsigned i = 0; i < STEP; i++) {
            struct key product;
            if (crypto_scalarmult_curve25519(product.bytes, swarm->hub_private.bytes, point.bytes) != 0) {
                return swarm_fail(swarm, -EINVAL, "a point of low order");
            }
            point = product;
        }
        count += STEP;
        took = swarm_cpu_s() - cpu;
    }
    json_object_set_new(result, "per_s", json_real((double)count / took));
    return 0;
}
