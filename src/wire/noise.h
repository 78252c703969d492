/* Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s as WireGuard uses it (whitepaper 5.4). Knows no packet source, no socket, no
 * clock.
 *
 * Random comes in through struct noise_random, the timestamp as bytes. Every function that fails leaves its outputs
 * untouched. Secrets in these structs are the caller's to wipe (noise_handshake_wipe()), intermediate ones are wiped
 * here. Thread: pure functions over the caller's structs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/key.h"
#include "wire/message.h"

#define NOISE_HASH_SIZE 32

struct noise_random {
    void (*fill)(void *context, void *out, size_t size); /* must not fail */
    void *context;
};

/* The local static key and what derives from it. Keep in locked memory. */
struct noise_identity {
    struct key private_key; /* all zero: none, nothing can be sent or accepted */
    struct key public_key;
    uint8_t initial_hash[NOISE_HASH_SIZE]; /* HASH(HASH(C || identifier) || public_key): where every responder starts */
};

/* Clamps and derives. A zero private key clears the identity. */
void noise_identity_set(struct noise_identity *ret_identity, const struct key *private_key);

/* What is known of a remote across handshakes. */
struct noise_remote {
    struct key public_key;
    struct key preshared_key; /* all zero: none */
    struct key static_static; /* X25519(local static, remote static); valid if `has_static_static` */
    bool has_static_static;   /* computed on first need (one X25519), cleared when either key changes */
    uint8_t latest_timestamp[MESSAGE_TIMESTAMP_SIZE]; /* greatest accepted, as big-endian bytes; zero: none */
};

/* A handshake in flight; allocated only while one is. */
struct noise_handshake {
    uint8_t hash[NOISE_HASH_SIZE];
    uint8_t chaining_key[NOISE_HASH_SIZE];
    struct key ephemeral_private; /* initiator only */
    struct key remote_ephemeral;  /* responder only */
    uint32_t local_index;
    uint32_t remote_index;
};

/* The two transport keys that a finished handshake yields. */
struct noise_transport_keys {
    struct key send;
    struct key receive;
};

/* The first half of taking an initiation: who is calling? One X25519, and no knowledge of peers. */
struct noise_caller {
    struct key public_key;
    struct noise_handshake handshake;
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE]; /* of the second half, once it is authentic */
};

void noise_handshake_wipe(struct noise_handshake *handshake);

/* Initiator, message 1 (5.4.2): macs are left zero for cookie_stamp(). 0; -ENOKEY without a local key or with a
 * low-order remote. */
int noise_initiation_create(const struct noise_identity *me, struct noise_remote *remote,
                            const struct noise_random *random, uint32_t local_index,
                            const uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE], struct noise_handshake *ret_handshake,
                            struct message_initiation *ret_message);

/* Responder, message 1, first half: decrypts the caller's static key. mac1 must have been checked. 0, or -EBADMSG /
 * -ENOKEY. */
int noise_initiation_identify(const struct noise_identity *me, const struct message_initiation *message,
                              struct noise_caller *ret_caller);

/* Responder, message 1, second half: authenticates the caller (static-static) and its timestamp, which must be greater
 * than remote->latest_timestamp; on success that is updated. 0, -EBADMSG, or -EALREADY for a replay, or a caller whose
 * clock was set back: its timestamp tells. */
int noise_initiation_accept(const struct noise_identity *me, struct noise_remote *remote, struct noise_caller *caller,
                            const struct message_initiation *message);

/* Responder, message 2 (5.4.3): macs left zero. On success the handshake is wiped except for its two indexes. 0, or
 * -EBADMSG (low-order ephemeral).
 */
int noise_response_create(struct noise_remote *remote, const struct noise_random *random, uint32_t local_index,
                          struct noise_handshake *handshake, struct message_response *ret_message,
                          struct noise_transport_keys *ret_keys);

/* Initiator, message 2: the handshake stays usable if the message is forged. On success it is wiped except for
 * its two indexes, of which remote_index is set now. 0, or -EBADMSG. */
int noise_response_consume(const struct noise_identity *me, struct noise_remote *remote,
                           struct noise_handshake *handshake, const struct message_response *message,
                           struct noise_transport_keys *ret_keys);

/* Seconds since the Unix epoch of a TAI64N. Negative: before. */
int64_t noise_timestamp_s(const uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE]);
/* Which wall time our next initiation bears, so that a clock that is set back does not make all that we send a replay:
 * it goes on from where it was, for up to an hour. Zero-initialize. */
struct noise_stamp {
    uint64_t wall_ns, mono_ns; /* of the last one */
};
uint64_t noise_stamp_next(struct noise_stamp *stamp, uint64_t wall_ns, uint64_t mono_ns);
/* TAI64N of a wall time, whitened to about 16.8 ms (2^24 ns), as Linux does: so that the clock is not an oracle. */
void noise_timestamp(uint64_t wall_ns, uint8_t ret_timestamp[MESSAGE_TIMESTAMP_SIZE]);
