/* The portable implementation: one packet at a time, no state. */
#include "wire/aead.h"

#include <errno.h>
#include <sodium.h>

#include "base/bytes.h"
#include "wire/message.h"

_Static_assert(MESSAGE_TAG_SIZE == crypto_aead_chacha20poly1305_ietf_ABYTES, "RFC 8439");

static struct aead { int nothing; } stateless;

static bool supported(void) {
    return true;
}

static int create(struct aead **ret_aead) {
    if (sodium_init() < 0) { /* picks the code for this CPU; harmless to repeat */
        return -ENOTSUP;
    }
    *ret_aead = &stateless;
    return 0;
}

static void free_aead(struct aead *aead) {
    (void)aead;
}

/* 32 zero bits, then the counter in little endian (whitepaper 5.4.6). */
static void nonce_of(uint64_t counter, uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES]) {
    le32_put(nonce, 0);
    le64_put(nonce + 4, counter);
}

static void seal(struct aead *aead, struct aead_job *jobs, size_t count) {
    (void)aead;
    for (size_t i = 0; i < count; i++) {
        uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
        nonce_of(jobs[i].counter, nonce);
        crypto_aead_chacha20poly1305_ietf_encrypt(jobs[i].to, NULL, jobs[i].from, jobs[i].size, NULL, 0, NULL, nonce,
                                                  jobs[i].key->bytes);
    }
}

static void open(struct aead *aead, struct aead_job *jobs, size_t count) {
    (void)aead;
    for (size_t i = 0; i < count; i++) {
        uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
        nonce_of(jobs[i].counter, nonce);
        jobs[i].ok = crypto_aead_chacha20poly1305_ietf_decrypt(jobs[i].to, NULL, NULL, jobs[i].from,
                                                               jobs[i].size + MESSAGE_TAG_SIZE, NULL, 0, nonce,
                                                               jobs[i].key->bytes) == 0;
    }
}

const struct aead_ops aead_sodium = {
    .name = "sodium",
    .supported = supported,
    .create = create,
    .free = free_aead,
    .seal = seal,
    .open = open,
};
