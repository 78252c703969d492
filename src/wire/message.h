/* The four messages on the wire (whitepaper 5.4; Linux drivers/net/wireguard/messages.h).
 *
 * All fields are byte arrays, so the structs have no padding and may overlay a packet at any alignment; integers are
 * little endian. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum message_type {
    MESSAGE_INITIATION = 1,
    MESSAGE_RESPONSE = 2,
    MESSAGE_COOKIE_REPLY = 3,
    MESSAGE_DATA = 4,
};

#define MESSAGE_TAG_SIZE 16 /* Poly1305 */
#define MESSAGE_MAC_SIZE 16
#define MESSAGE_TIMESTAMP_SIZE 12 /* TAI64N */
#define MESSAGE_COOKIE_SIZE 16
#define MESSAGE_NONCE_SIZE 24 /* XChaCha20 */

struct message_macs {
    uint8_t mac1[MESSAGE_MAC_SIZE];
    uint8_t mac2[MESSAGE_MAC_SIZE];
};

struct message_initiation {
    uint8_t type[4]; /* 1, then three zeros */
    uint8_t sender[4];
    uint8_t ephemeral[32];
    uint8_t sealed_static[32 + MESSAGE_TAG_SIZE];
    uint8_t sealed_timestamp[MESSAGE_TIMESTAMP_SIZE + MESSAGE_TAG_SIZE];
    struct message_macs macs;
};

struct message_response {
    uint8_t type[4];
    uint8_t sender[4];
    uint8_t receiver[4];
    uint8_t ephemeral[32];
    uint8_t sealed_nothing[MESSAGE_TAG_SIZE];
    struct message_macs macs;
};

struct message_cookie_reply {
    uint8_t type[4];
    uint8_t receiver[4];
    uint8_t nonce[MESSAGE_NONCE_SIZE];
    uint8_t sealed_cookie[MESSAGE_COOKIE_SIZE + MESSAGE_TAG_SIZE];
};

struct message_data {
    uint8_t type[4];
    uint8_t receiver[4];
    uint8_t counter[8];
    /* padded payload and tag follow */
};

_Static_assert(sizeof(struct message_initiation) == 148, "whitepaper 5.4.2");
_Static_assert(sizeof(struct message_response) == 92, "whitepaper 5.4.3");
_Static_assert(sizeof(struct message_cookie_reply) == 64, "whitepaper 5.4.7");
_Static_assert(sizeof(struct message_data) == 16, "whitepaper 5.4.6");

#define MESSAGE_PADDING 16
#define MESSAGE_DATA_OVERHEAD (sizeof(struct message_data) + MESSAGE_TAG_SIZE)
#define MESSAGE_KEEPALIVE_SIZE MESSAGE_DATA_OVERHEAD

/* The type of a datagram whose length and reserved bytes fit that type exactly (data: at least a keepalive), or 0.
 * The first and cheapest check of everything that arrives. */
enum message_type message_classify(const uint8_t *bytes, size_t size);
/* The plaintext size on the wire for an inner packet: up to the next 16, but never beyond the MTU (whitepaper 5.4.6;
 * Linux send.c). */
size_t message_padded_size(size_t inner_size, size_t mtu);
