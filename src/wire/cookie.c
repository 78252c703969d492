#include "wire/cookie.h"

#include <blake2.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/clock.h"

#define SECRET_LIFE_NS                                                                                                 \
    (120 * NSEC_PER_SEC) /* of the checker's secret, and of a cookie in the jar (whitepaper 5.4.4, 5.4.7) */
#define LABEL_SIZE 8

_Static_assert(MESSAGE_NONCE_SIZE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "whitepaper 5.4.7");

/* HASH(label || public key): everybody who knows the responder's public key can make it. */
static void derive(const char label[LABEL_SIZE + 1], const struct key *public_key, uint8_t ret_key[32]) {
    uint8_t input[LABEL_SIZE + KEY_SIZE];
    memcpy(input, label, LABEL_SIZE);
    memcpy(input + LABEL_SIZE, public_key->bytes, KEY_SIZE);
    blake2s(ret_key, input, NULL, 32, sizeof input, 0);
}

static void mac(const void *key, size_t key_size, const void *bytes, size_t size, uint8_t ret_mac[MESSAGE_MAC_SIZE]) {
    blake2s_state state;
    blake2s_init_key(&state, MESSAGE_MAC_SIZE, key, key_size);
    blake2s_update(&state, bytes, size);
    blake2s_final(&state, ret_mac, MESSAGE_MAC_SIZE);
    sodium_memzero(&state, sizeof state);
}

/* mac1 covers all before the macs, mac2 also mac1. */
static size_t size_before_macs(size_t size) {
    return size - sizeof(struct message_macs);
}

/* What `source` must know to own its address: a MAC of address and port under a secret that changes every 120 s. */
static void make_cookie(struct cookie_checker *checker, const struct noise_random *random, uint64_t now_ns,
                        const union endpoint *source, uint8_t ret_cookie[MESSAGE_COOKIE_SIZE]) {
    if (!checker->secret_born_ns || now_ns - checker->secret_born_ns >= SECRET_LIFE_NS) {
        random->fill(random->context, checker->secret, sizeof checker->secret);
        checker->secret_born_ns = now_ns;
    }
    uint8_t where[sizeof(struct in6_addr) + sizeof(in_port_t)];
    size_t size;
    if (source->sa.sa_family == AF_INET) {
        size = sizeof source->in.sin_addr;
        memcpy(where, &source->in.sin_addr, size);
        memcpy(where + size, &source->in.sin_port, sizeof(in_port_t));
    } else {
        size = sizeof source->in6.sin6_addr;
        memcpy(where, &source->in6.sin6_addr, size);
        memcpy(where + size, &source->in6.sin6_port, sizeof(in_port_t));
    }
    mac(checker->secret, sizeof checker->secret, where, size + sizeof(in_port_t), ret_cookie);
}

void cookie_checker_set(struct cookie_checker *checker, const struct key *local_public) {
    derive("mac1----", local_public, checker->mac1_key);
    derive("cookie--", local_public, checker->cookie_key);
}

enum cookie_verdict cookie_check(struct cookie_checker *checker, const struct noise_random *random, uint64_t now_ns,
                                 const void *message, size_t size, const union endpoint *source) {
    size_t before = size_before_macs(size);
    const uint8_t *mac1 = (const uint8_t *)message + before;
    const uint8_t *mac2 = mac1 + MESSAGE_MAC_SIZE;
    uint8_t expected[MESSAGE_MAC_SIZE];
    mac(checker->mac1_key, sizeof checker->mac1_key, message, before, expected);
    if (sodium_memcmp(expected, mac1, sizeof expected) != 0) {
        return COOKIE_FORGED;
    }
    /* Without a cookie mac2 is zero, which spares two hashes of nearly every handshake. */
    if (sodium_is_zero(mac2, MESSAGE_MAC_SIZE)) {
        return COOKIE_PLAIN;
    }
    uint8_t cookie[MESSAGE_COOKIE_SIZE];
    make_cookie(checker, random, now_ns, source, cookie);
    mac(cookie, sizeof cookie, message, before + MESSAGE_MAC_SIZE, expected);
    bool returned = sodium_memcmp(expected, mac2, sizeof expected) == 0;
    sodium_memzero(cookie, sizeof cookie);
    sodium_memzero(expected, sizeof expected);
    return returned ? COOKIE_RETURNED : COOKIE_PLAIN;
}

void cookie_reply_create(struct cookie_checker *checker, const struct noise_random *random, uint64_t now_ns,
                         const void *message, size_t size, const union endpoint *source,
                         struct message_cookie_reply *ret_reply) {
    const uint8_t *bytes = message;
    struct message_cookie_reply reply = {.type = {MESSAGE_COOKIE_REPLY}};
    uint8_t cookie[MESSAGE_COOKIE_SIZE];
    /* Initiation and response have their sender's index in the same place. */
    memcpy(reply.receiver, bytes + offsetof(struct message_initiation, sender), sizeof reply.receiver);
    random->fill(random->context, reply.nonce, sizeof reply.nonce);
    make_cookie(checker, random, now_ns, source, cookie);
    crypto_aead_xchacha20poly1305_ietf_encrypt(reply.sealed_cookie, NULL, cookie, sizeof cookie,
                                               bytes + size_before_macs(size), MESSAGE_MAC_SIZE, NULL, reply.nonce,
                                               checker->cookie_key);
    sodium_memzero(cookie, sizeof cookie);
    *ret_reply = reply;
}

void cookie_stamp(struct cookie_jar *jar, const struct key *remote_public, uint64_t now_ns, void *message,
                  size_t size) {
    size_t before = size_before_macs(size);
    uint8_t *mac1 = (uint8_t *)message + before;
    uint8_t *mac2 = mac1 + MESSAGE_MAC_SIZE;
    uint8_t key[32];
    derive("mac1----", remote_public, key);
    mac(key, sizeof key, message, before, mac1);
    memset(mac2, 0, MESSAGE_MAC_SIZE);
    if (!jar) {
        return;
    }
    memcpy(jar->last_mac1, mac1, MESSAGE_MAC_SIZE);
    jar->has_last_mac1 = true;
    if (jar->has_cookie && now_ns - jar->cookie_born_ns < SECRET_LIFE_NS) {
        mac(jar->cookie, sizeof jar->cookie, message, before + MESSAGE_MAC_SIZE, mac2);
    }
}

int cookie_reply_consume(struct cookie_jar *jar, const struct key *remote_public, uint64_t now_ns,
                         const struct message_cookie_reply *reply) {
    uint8_t key[32];
    uint8_t cookie[MESSAGE_COOKIE_SIZE];
    if (!jar->has_last_mac1) {
        return -EBADMSG;
    }
    derive("cookie--", remote_public, key);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(cookie, NULL, NULL, reply->sealed_cookie,
                                                   sizeof reply->sealed_cookie, jar->last_mac1, sizeof jar->last_mac1,
                                                   reply->nonce, key) != 0) {
        return -EBADMSG;
    }
    memcpy(jar->cookie, cookie, sizeof cookie);
    jar->cookie_born_ns = now_ns;
    jar->has_cookie = true;
    jar->has_last_mac1 = false; /* one answer to one message: a replayed reply does not prolong the cookie */
    sodium_memzero(cookie, sizeof cookie);
    return 0;
}
