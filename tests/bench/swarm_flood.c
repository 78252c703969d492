/* An attacker who knows the gateway's public key, as every tenant does; and what X25519 costs on this CPU. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "swarm.h"

#define STEP 256
#define BURST 64 /* the most of one UDP_SEGMENT send */

/* Right in their length and their mac1, garbage in everything else; all of one source, with one call. */
static unsigned send_forgeries(struct swarm *swarm, uint32_t number, unsigned count) {
    struct message_initiation messages[BURST];
    count = count < BURST ? count : BURST;
    randombytes_buf(messages, count * sizeof *messages);
    for (unsigned i = 0; i < count; i++) {
        memset(messages[i].type, 0, sizeof messages[i].type);
        messages[i].type[0] = MESSAGE_INITIATION;
        memset(&messages[i].macs, 0, sizeof messages[i].macs);
        cookie_stamp(NULL, &swarm->hub_public, 0, &messages[i], sizeof messages[i]);
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
    if (json_unpack_ex(arguments, &fault, 0, "{s?F, s?F !}", "rate", &rate, "seconds", &seconds) < 0) {
        return swarm_fail(swarm, -EINVAL, "%s", fault.text);
    }
    int error = swarm_need(swarm, false, true);
    if (error < 0) {
        return error;
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
            sent += send_forgeries(swarm, next++, missing < BURST ? (unsigned)missing + 1 : BURST);
        }
        net_receive(swarm->net, behind ? 0 : 1, ignore, &received);
    }
    double took = (double)(clock_mono_ns() - began) / (double)NSEC_PER_SEC;
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
