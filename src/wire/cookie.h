/* mac1, mac2 and cookies: the shield before any public-key work (whitepaper 5.4.4, 5.4.7; Linux cookie.c).
 *
 * The checker is the responder's side, one per worker; the jar is the initiator's side, one per peer that has
 * handshakes in flight. No clock, no random: both are parameters. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/key.h"
#include "model/prefix.h"
#include "wire/message.h"
#include "wire/noise.h"

enum cookie_verdict {
    COOKIE_FORGED,   /* mac1 wrong: drop in silence */
    COOKIE_PLAIN,    /* mac1 right, mac2 absent or wrong: under load, answer with a cookie reply */
    COOKIE_RETURNED, /* mac2 right: the source owns its address */
};

struct cookie_checker {
    uint8_t mac1_key[32];   /* HASH("mac1----" || local public key) */
    uint8_t cookie_key[32]; /* HASH("cookie--" || local public key) */
    uint8_t secret[32];     /* changes every 120 s */
    uint64_t secret_born_ns;
};

/* Cookies this side was given by one remote. Zero-initialize. */
struct cookie_jar {
    uint8_t cookie[MESSAGE_COOKIE_SIZE];
    uint64_t cookie_born_ns;
    uint8_t last_mac1[MESSAGE_MAC_SIZE]; /* of the last message sent: the additional data of the reply */
    bool has_cookie;
    bool has_last_mac1;
};

void cookie_checker_set(struct cookie_checker *checker, const struct key *local_public);
/* Checks the macs of a whole initiation or response as received. `source` is address and port. */
enum cookie_verdict cookie_check(struct cookie_checker *checker, const struct noise_random *random, uint64_t now_ns,
                                 const void *message, size_t size, const union endpoint *source);
/* Answers a message (initiation or response, with its sender index) by a cookie reply for `source`. */
void cookie_reply_create(struct cookie_checker *checker, const struct noise_random *random, uint64_t now_ns,
                         const void *message, size_t size, const union endpoint *source,
                         struct message_cookie_reply *ret_reply);

/* Writes mac1, and mac2 if the jar holds a cookie younger than 120 s, into the end of an outgoing message. A NULL jar:
 * mac1 only, and a cookie reply to the message will find nobody. */
void cookie_stamp(struct cookie_jar *jar, const struct key *remote_public, uint64_t now_ns, void *message, size_t size);
/* Opens a cookie reply. The caller has found the peer by the reply's receiver index. 0, or -EBADMSG. */
int cookie_reply_consume(struct cookie_jar *jar, const struct key *remote_public, uint64_t now_ns,
                         const struct message_cookie_reply *reply);
