/* A datagram off the network, as the engine would take it: classified, its macs checked, then handed to the part of the
 * protocol that reads it. Both ends are the fixed ones of the unit tests' vectors, so a corpus can hold genuine
 * messages. What the macs say is not acted on: a fuzzer cannot forge them, an attacker with the public key can. */
#include <string.h>

#include "../unit/wire/vectors.h"
#include "base/bytes.h"
#include "fuzz.h"
#include "wire/aead.h"
#include "wire/cookie.h"
#include "wire/noise.h"
#include "wire/session.h"

#define NOW_NS (1000 * UINT64_C(1000000000))

static const struct handshake_vector *const v = &handshake_vectors[0];

/* Fixed bytes, so that the initiator's handshake is the vector's. */
static void fixed_fill(void *context, void *out, size_t size) {
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)out)[i] = ((const uint8_t *)context)[i % 32];
    }
}

static struct key key_of(const uint8_t bytes[KEY_SIZE]) {
    struct key key;
    memcpy(key.bytes, bytes, KEY_SIZE);
    return key;
}

/* The two ends before anything arrives. */
struct ends {
    struct noise_identity responder, initiator;
    struct noise_remote of_responder, of_initiator; /* whom each knows */
    struct noise_handshake handshake;               /* the initiator's, in flight */
    struct cookie_checker checker;
    struct cookie_jar jar;
    struct keypair keypair; /* the responder's */
};

static struct ends ends_make(void) {
    struct ends ends = {
        .of_responder = {.public_key = key_of(v->initiator_public)},
        .of_initiator = {.public_key = key_of(v->responder_public)},
        .checker = {.secret_born_ns = NOW_NS},
    };
    struct key key = key_of(v->responder_private);
    struct noise_random random = {.fill = fixed_fill, .context = (void *)(uintptr_t)v->initiator_ephemeral};
    struct noise_transport_keys keys = {.send = key_of(v->to_initiator), .receive = key_of(v->to_responder)};
    struct message_initiation message;
    noise_identity_set(&ends.responder, &key);
    key = key_of(v->initiator_private);
    noise_identity_set(&ends.initiator, &key);
    fuzz_require(noise_initiation_create(&ends.initiator, &ends.of_initiator, &random, v->initiator_index, v->timestamp,
                                         &ends.handshake, &message) == 0);
    cookie_checker_set(&ends.checker, &ends.responder.public_key);
    memcpy(ends.checker.secret, v->cookie_secret, sizeof ends.checker.secret);
    cookie_stamp(&ends.jar, &ends.of_initiator.public_key, NOW_NS, &message, sizeof message);
    keypair_set(&ends.keypair, &keys, v->responder_index, v->initiator_index, false, NOW_NS);
    return ends;
}

static void check_macs(struct ends *ends, const uint8_t *bytes, size_t size) {
    struct noise_random random = {.fill = fixed_fill, .context = (void *)(uintptr_t)v->cookie_nonce};
    union endpoint source;
    struct message_cookie_reply reply;
    fuzz_require(endpoint_parse("192.0.2.7:51821", &source) == 0);
    enum cookie_verdict verdict = cookie_check(&ends->checker, &random, NOW_NS, bytes, size, &source);
    fuzz_require(verdict == COOKIE_FORGED || verdict == COOKIE_PLAIN || verdict == COOKIE_RETURNED);
    cookie_reply_create(&ends->checker, &random, NOW_NS, bytes, size, &source, &reply);
    fuzz_require(message_classify((const uint8_t *)&reply, sizeof reply) == MESSAGE_COOKIE_REPLY);
}

static void take_initiation(struct ends *ends, const struct message_initiation *message) {
    struct noise_random random = {.fill = fixed_fill, .context = (void *)(uintptr_t)v->responder_ephemeral};
    struct noise_caller caller;
    struct message_response response;
    struct noise_transport_keys keys;
    if (noise_initiation_identify(&ends->responder, message, &caller) < 0 ||
        noise_initiation_accept(&ends->responder, &ends->of_responder, &caller, message) < 0) {
        return;
    }
    /* only the genuine one can come this far; its sender's index is not authenticated */
    fuzz_require(memcmp(message->ephemeral, v->initiation + offsetof(struct message_initiation, ephemeral),
                        offsetof(struct message_initiation, macs) - offsetof(struct message_initiation, ephemeral)) ==
                 0);
    fuzz_require(noise_response_create(&ends->of_responder, &random, v->responder_index, &caller.handshake, &response,
                                       &keys) == 0);
    fuzz_require(memcmp(keys.send.bytes, v->to_initiator, KEY_SIZE) == 0);
    fuzz_require(noise_initiation_accept(&ends->responder, &ends->of_responder, &caller, message) < 0);
}

static void take_response(struct ends *ends, const struct message_response *message) {
    struct noise_handshake before = ends->handshake;
    struct noise_transport_keys keys;
    if (noise_response_consume(&ends->initiator, &ends->of_initiator, &ends->handshake, message, &keys) < 0) {
        fuzz_require(memcmp(&before, &ends->handshake, sizeof before) == 0);
        return;
    }
    fuzz_require(memcmp(keys.send.bytes, v->to_responder, KEY_SIZE) == 0);
}

static void take_cookie_reply(struct ends *ends, const struct message_cookie_reply *message) {
    if (cookie_reply_consume(&ends->jar, &ends->of_initiator.public_key, NOW_NS, message) == 0) {
        fuzz_require(cookie_reply_consume(&ends->jar, &ends->of_initiator.public_key, NOW_NS, message) < 0);
    }
}

static void take_data(struct ends *ends, const uint8_t *bytes, size_t size) {
    const struct message_data *message = (const void *)bytes;
    size_t plain_size = size - MESSAGE_DATA_OVERHEAD;
    uint64_t counter = le64_get(message->counter);
    uint8_t *plain = malloc(plain_size + 1);
    fuzz_require(plain != NULL);
    struct aead_job job = {&ends->keypair.receive_key, counter, bytes + sizeof *message, plain, plain_size, false};
    aead_sodium.open(NULL, &job, 1);
    if (job.ok) {
        fuzz_require(counter < 2); /* the vectors' packets */
    }
    free(plain);
    /* the window, under any counter whatever */
    bool is_new = replay_accept(&ends->keypair.replay, counter);
    fuzz_require(is_new == (counter < SESSION_REJECT_AFTER_MESSAGES));
    fuzz_require(!replay_accept(&ends->keypair.replay, counter));
    size_t padded = message_padded_size(plain_size, counter % 1501);
    fuzz_require(padded >= plain_size && padded < plain_size + MESSAGE_PADDING);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static struct ends fresh;
    if (!fresh.keypair.born_ns) {
        fresh = ends_make();
    }
    struct ends ends = fresh;
    enum message_type type = message_classify(bytes, size);
    switch (type) {
    case MESSAGE_INITIATION:
        check_macs(&ends, bytes, size);
        take_initiation(&ends, (const void *)bytes);
        break;
    case MESSAGE_RESPONSE:
        check_macs(&ends, bytes, size);
        take_response(&ends, (const void *)bytes);
        break;
    case MESSAGE_COOKIE_REPLY:
        take_cookie_reply(&ends, (const void *)bytes);
        break;
    case MESSAGE_DATA:
        take_data(&ends, bytes, size);
        break;
    }
    return 0;
}
