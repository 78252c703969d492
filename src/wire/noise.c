#include "wire/noise.h"

#include <blake2.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

#define BLOCK_SIZE BLAKE2S_BLOCKBYTES
#define TIMESTAMP_GRAIN_NS (UINT32_C(1) << 24) /* the power of two below a second's fiftieth (Linux noise.c) */
#define TAI64_EPOCH                                                                                                    \
    (UINT64_C(0x4000000000000000) + 10) /* TAI was 10 s ahead of UTC in 1970; leap seconds are ignored, as everywhere  \
                                         */

/* HASH("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"): where every chaining key starts. */
static const uint8_t construction_hash[NOISE_HASH_SIZE] = {
    0x60, 0xe2, 0x6d, 0xae, 0xf3, 0x27, 0xef, 0xc0, 0x2e, 0xc3, 0x35, 0xe2, 0xa0, 0x25, 0xd2, 0xd0,
    0x16, 0xeb, 0x42, 0x06, 0xf8, 0x72, 0x77, 0xf5, 0x2d, 0x38, 0xd1, 0x98, 0x8b, 0x78, 0xcd, 0x36,
};

/* HASH(construction_hash || "WireGuard v1 zx2c4 Jason@zx2c4.com"): where every hash starts, before the responder's key.
 */
static const uint8_t identifier_hash[NOISE_HASH_SIZE] = {
    0x22, 0x11, 0xb3, 0x61, 0x08, 0x1a, 0xc5, 0x66, 0x69, 0x12, 0x43, 0xdb, 0x45, 0x8a, 0xd5, 0x32,
    0x2d, 0x9c, 0x6c, 0x66, 0x22, 0x93, 0xe8, 0xb7, 0x0e, 0xe1, 0x9c, 0x65, 0xba, 0x07, 0x9e, 0xf3,
};

/* HASH(first || second) */
static void hash_two(const void *first, size_t first_size, const void *second, size_t second_size,
                     uint8_t ret_hash[NOISE_HASH_SIZE]) {
    blake2s_state state;
    blake2s_init(&state, NOISE_HASH_SIZE);
    blake2s_update(&state, first, first_size);
    blake2s_update(&state, second, second_size);
    blake2s_final(&state, ret_hash, NOISE_HASH_SIZE);
    sodium_memzero(&state, sizeof state);
}

static void mix_hash(uint8_t hash[NOISE_HASH_SIZE], const void *bytes, size_t size) {
    hash_two(hash, NOISE_HASH_SIZE, bytes, size, hash);
}

/* HMAC (RFC 2104) with BLAKE2s as a plain hash, as Noise wants it: not BLAKE2's own keyed mode. */
static void hmac(const uint8_t key[NOISE_HASH_SIZE], const void *input, size_t size, uint8_t ret_mac[NOISE_HASH_SIZE]) {
    uint8_t pad[BLOCK_SIZE];
    uint8_t inner[NOISE_HASH_SIZE];
    memset(pad, 0x36, sizeof pad);
    for (size_t i = 0; i < NOISE_HASH_SIZE; i++) {
        pad[i] ^= key[i];
    }
    hash_two(pad, sizeof pad, input, size, inner);
    for (size_t i = 0; i < sizeof pad; i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    hash_two(pad, sizeof pad, inner, sizeof inner, ret_mac);
    sodium_memzero(pad, sizeof pad);
    sodium_memzero(inner, sizeof inner);
}

/* KDF1 to KDF3 of whitepaper 5.4: replaces the chaining key, and yields a second and a third output if they are wanted.
 */
static void mix_key(uint8_t chaining_key[NOISE_HASH_SIZE], const void *input, size_t size, uint8_t *ret_second,
                    uint8_t *ret_third) {
    uint8_t secret[NOISE_HASH_SIZE];
    uint8_t block[NOISE_HASH_SIZE + 1];
    hmac(chaining_key, input, size, secret);
    block[0] = 1;
    hmac(secret, block, 1, chaining_key);
    if (ret_second) {
        memcpy(block, chaining_key, NOISE_HASH_SIZE);
        block[NOISE_HASH_SIZE] = 2;
        hmac(secret, block, sizeof block, ret_second);
    }
    if (ret_third) {
        memcpy(block, ret_second, NOISE_HASH_SIZE);
        block[NOISE_HASH_SIZE] = 3;
        hmac(secret, block, sizeof block, ret_third);
    }
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(block, sizeof block);
}

/* X25519. Points that yield zero are refused: whoever sends one knows the result without any key. */
static int exchange(const struct key *private_key, const struct key *public_key, struct key *ret_shared) {
    struct key shared;
    if (crypto_scalarmult_curve25519(shared.bytes, private_key->bytes, public_key->bytes) != 0) {
        sodium_memzero(&shared, sizeof shared);
        return -EBADMSG;
    }
    *ret_shared = shared;
    sodium_memzero(&shared, sizeof shared);
    return 0;
}

/* Mixes a DH into the chaining key; `ret_key` (may be NULL) is the next message key. */
static int mix_exchange(uint8_t chaining_key[NOISE_HASH_SIZE], const struct key *private_key,
                        const struct key *public_key, struct key *ret_key) {
    struct key shared;
    int error = exchange(private_key, public_key, &shared);
    if (error < 0) {
        return error;
    }
    mix_key(chaining_key, shared.bytes, sizeof shared.bytes, ret_key ? ret_key->bytes : NULL, NULL);
    sodium_memzero(&shared, sizeof shared);
    return 0;
}

/* X25519(local static, remote static) never changes, so it is computed once, and kept even if the message at hand turns
 * out forged. */
static int mix_static_static(uint8_t chaining_key[NOISE_HASH_SIZE], const struct noise_identity *me,
                             struct noise_remote *remote, struct key *ret_key) {
    if (!remote->has_static_static) {
        int error = exchange(&me->private_key, &remote->public_key, &remote->static_static);
        if (error < 0) {
            return error;
        }
        remote->has_static_static = true;
    }
    mix_key(chaining_key, remote->static_static.bytes, KEY_SIZE, ret_key->bytes, NULL);
    return 0;
}

/* Each handshake key seals one message, so the nonce is always zero. */
static const uint8_t zero_nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

static void seal(uint8_t hash[NOISE_HASH_SIZE], const struct key *key, const void *plain, size_t size,
                 uint8_t *ret_sealed) {
    crypto_aead_chacha20poly1305_ietf_encrypt(ret_sealed, NULL, plain, size, hash, NOISE_HASH_SIZE, NULL, zero_nonce,
                                              key->bytes);
    mix_hash(hash, ret_sealed, size + MESSAGE_TAG_SIZE);
}

static int unseal(uint8_t hash[NOISE_HASH_SIZE], const struct key *key, const uint8_t *sealed, size_t size,
                  void *ret_plain) {
    if (crypto_aead_chacha20poly1305_ietf_decrypt(ret_plain, NULL, NULL, sealed, size + MESSAGE_TAG_SIZE, hash,
                                                  NOISE_HASH_SIZE, zero_nonce, key->bytes) != 0) {
        return -EBADMSG;
    }
    mix_hash(hash, sealed, size + MESSAGE_TAG_SIZE);
    return 0;
}

/* A fresh ephemeral key pair, mixed in as the "e" of either message. */
static void make_ephemeral(struct noise_handshake *handshake, const struct noise_random *random,
                           struct key *ret_private, uint8_t ret_public[KEY_SIZE]) {
    struct key public_key;
    random->fill(random->context, ret_private->bytes, KEY_SIZE);
    key_clamp(ret_private);
    key_public(ret_private, &public_key);
    memcpy(ret_public, public_key.bytes, KEY_SIZE);
    mix_hash(handshake->hash, ret_public, KEY_SIZE);
    mix_key(handshake->chaining_key, ret_public, KEY_SIZE, NULL, NULL);
}

/* psk2: an absent preshared key is one of zeros. */
static void mix_preshared(struct noise_handshake *handshake, const struct key *preshared_key, struct key *ret_key) {
    uint8_t mixed[NOISE_HASH_SIZE];
    mix_key(handshake->chaining_key, preshared_key->bytes, KEY_SIZE, mixed, ret_key->bytes);
    mix_hash(handshake->hash, mixed, sizeof mixed);
    sodium_memzero(mixed, sizeof mixed);
}

/* Ends a handshake: two keys, the initiator's first. Only the indexes stay. */
static void split(struct noise_handshake *handshake, struct key *ret_of_initiator, struct key *ret_of_responder) {
    struct key first;
    memcpy(first.bytes, handshake->chaining_key, KEY_SIZE);
    mix_key(first.bytes, "", 0, ret_of_responder->bytes, NULL);
    *ret_of_initiator = first;
    sodium_memzero(&first, sizeof first);
    uint32_t local_index = handshake->local_index;
    uint32_t remote_index = handshake->remote_index;
    noise_handshake_wipe(handshake);
    handshake->local_index = local_index;
    handshake->remote_index = remote_index;
}

void noise_handshake_wipe(struct noise_handshake *handshake) {
    sodium_memzero(handshake, sizeof *handshake);
}

void noise_identity_set(struct noise_identity *ret_identity, const struct key *private_key) {
    struct noise_identity identity = {0};
    if (!key_is_zero(private_key)) {
        identity.private_key = *private_key;
        key_clamp(&identity.private_key);
        key_public(&identity.private_key, &identity.public_key);
        hash_two(identifier_hash, sizeof identifier_hash, identity.public_key.bytes, KEY_SIZE, identity.initial_hash);
    }
    *ret_identity = identity;
    sodium_memzero(&identity, sizeof identity);
}

int noise_initiation_create(const struct noise_identity *me, struct noise_remote *remote,
                            const struct noise_random *random, uint32_t local_index,
                            const uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE], struct noise_handshake *ret_handshake,
                            struct message_initiation *ret_message) {
    if (key_is_zero(&me->private_key)) {
        return -ENOKEY;
    }
    struct noise_handshake handshake = {.local_index = local_index};
    struct message_initiation message = {.type = {MESSAGE_INITIATION}};
    struct key key;
    int error = -ENOKEY; /* what fails below is the remote's static key, of low order */
    le32_put(message.sender, local_index);
    memcpy(handshake.chaining_key, construction_hash, NOISE_HASH_SIZE);
    hash_two(identifier_hash, sizeof identifier_hash, remote->public_key.bytes, KEY_SIZE, handshake.hash);

    make_ephemeral(&handshake, random, &handshake.ephemeral_private, message.ephemeral);
    if (mix_exchange(handshake.chaining_key, &handshake.ephemeral_private, &remote->public_key, &key) < 0) {
        goto finish;
    }
    seal(handshake.hash, &key, me->public_key.bytes, KEY_SIZE, message.sealed_static);
    if (mix_static_static(handshake.chaining_key, me, remote, &key) < 0) {
        goto finish;
    }
    seal(handshake.hash, &key, timestamp, MESSAGE_TIMESTAMP_SIZE, message.sealed_timestamp);
    *ret_handshake = handshake;
    *ret_message = message;
    error = 0;
finish:
    noise_handshake_wipe(&handshake);
    sodium_memzero(&key, sizeof key);
    return error;
}

int noise_initiation_identify(const struct noise_identity *me, const struct message_initiation *message,
                              struct noise_caller *ret_caller) {
    if (key_is_zero(&me->private_key)) {
        return -ENOKEY;
    }
    struct noise_caller caller = {.handshake.remote_index = le32_get(message->sender)};
    struct noise_handshake *handshake = &caller.handshake;
    struct key key;
    memcpy(handshake->chaining_key, construction_hash, NOISE_HASH_SIZE);
    memcpy(handshake->hash, me->initial_hash, NOISE_HASH_SIZE);

    memcpy(handshake->remote_ephemeral.bytes, message->ephemeral, KEY_SIZE);
    mix_hash(handshake->hash, message->ephemeral, KEY_SIZE);
    mix_key(handshake->chaining_key, message->ephemeral, KEY_SIZE, NULL, NULL);
    int error = mix_exchange(handshake->chaining_key, &me->private_key, &handshake->remote_ephemeral, &key);
    if (error < 0) {
        goto finish;
    }
    error = unseal(handshake->hash, &key, message->sealed_static, KEY_SIZE, caller.public_key.bytes);
    if (error < 0) {
        goto finish;
    }
    *ret_caller = caller;
finish:
    sodium_memzero(&caller, sizeof caller);
    sodium_memzero(&key, sizeof key);
    return error;
}

int noise_initiation_accept(const struct noise_identity *me, struct noise_remote *remote, struct noise_caller *caller,
                            const struct message_initiation *message) {
    struct noise_handshake handshake = caller->handshake;
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE];
    struct key key;
    int error = mix_static_static(handshake.chaining_key, me, remote, &key);
    if (error < 0) {
        goto finish;
    }
    error = unseal(handshake.hash, &key, message->sealed_timestamp, MESSAGE_TIMESTAMP_SIZE, timestamp);
    if (error < 0) {
        goto finish;
    }
    memcpy(caller->timestamp, timestamp, sizeof timestamp);
    if (memcmp(timestamp, remote->latest_timestamp, sizeof timestamp) <= 0) {
        error = -EALREADY;
        goto finish;
    }
    memcpy(remote->latest_timestamp, timestamp, sizeof timestamp);
    caller->handshake = handshake;
finish:
    noise_handshake_wipe(&handshake);
    sodium_memzero(&key, sizeof key);
    return error;
}

int noise_response_create(struct noise_remote *remote, const struct noise_random *random, uint32_t local_index,
                          struct noise_handshake *handshake, struct message_response *ret_message,
                          struct noise_transport_keys *ret_keys) {
    struct noise_handshake next = *handshake;
    struct message_response message = {.type = {MESSAGE_RESPONSE}};
    struct key ephemeral;
    struct key key;
    next.local_index = local_index;
    le32_put(message.sender, local_index);
    le32_put(message.receiver, next.remote_index);

    make_ephemeral(&next, random, &ephemeral, message.ephemeral);
    int error = mix_exchange(next.chaining_key, &ephemeral, &next.remote_ephemeral, NULL);
    if (error < 0) {
        goto finish;
    }
    error = mix_exchange(next.chaining_key, &ephemeral, &remote->public_key, NULL);
    if (error < 0) {
        goto finish;
    }
    mix_preshared(&next, &remote->preshared_key, &key);
    seal(next.hash, &key, "", 0, message.sealed_nothing);
    split(&next, &ret_keys->receive, &ret_keys->send);
    *handshake = next;
    *ret_message = message;
finish:
    noise_handshake_wipe(&next);
    sodium_memzero(&ephemeral, sizeof ephemeral);
    sodium_memzero(&key, sizeof key);
    return error;
}

int noise_response_consume(const struct noise_identity *me, struct noise_remote *remote,
                           struct noise_handshake *handshake, const struct message_response *message,
                           struct noise_transport_keys *ret_keys) {
    if (le32_get(message->receiver) != handshake->local_index) {
        return -EBADMSG;
    }
    struct noise_handshake next = *handshake;
    struct key key;
    uint8_t nothing[1];
    next.remote_index = le32_get(message->sender);
    memcpy(next.remote_ephemeral.bytes, message->ephemeral, KEY_SIZE);
    mix_hash(next.hash, message->ephemeral, KEY_SIZE);
    mix_key(next.chaining_key, message->ephemeral, KEY_SIZE, NULL, NULL);

    int error = mix_exchange(next.chaining_key, &next.ephemeral_private, &next.remote_ephemeral, NULL);
    if (error < 0) {
        goto finish;
    }
    error = mix_exchange(next.chaining_key, &me->private_key, &next.remote_ephemeral, NULL);
    if (error < 0) {
        goto finish;
    }
    mix_preshared(&next, &remote->preshared_key, &key);
    error = unseal(next.hash, &key, message->sealed_nothing, 0, nothing);
    if (error < 0) {
        goto finish;
    }
    split(&next, &ret_keys->send, &ret_keys->receive);
    *handshake = next;
finish:
    noise_handshake_wipe(&next);
    sodium_memzero(&key, sizeof key);
    return error;
}

void noise_timestamp(uint64_t wall_ns, uint8_t ret_timestamp[MESSAGE_TIMESTAMP_SIZE]) {
    uint32_t nanoseconds = (uint32_t)(wall_ns % NSEC_PER_SEC);
    be64_put(ret_timestamp, TAI64_EPOCH + wall_ns / NSEC_PER_SEC);
    be32_put(ret_timestamp + 8, nanoseconds - nanoseconds % TIMESTAMP_GRAIN_NS);
}

int64_t noise_timestamp_s(const uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE]) {
    uint64_t seconds = be64_get(timestamp);
    if (seconds >= TAI64_EPOCH && seconds - TAI64_EPOCH > INT64_MAX) {
        return INT64_MAX;
    }
    return (int64_t)(seconds - TAI64_EPOCH);
}

#define SET_BACK_MAX_NS (3600 * NSEC_PER_SEC)

uint64_t noise_stamp_next(struct noise_stamp *stamp, uint64_t wall_ns, uint64_t mono_ns) {
    uint64_t expected_ns = stamp->wall_ns + (mono_ns - stamp->mono_ns);
    if (stamp->mono_ns != 0 && wall_ns < expected_ns && expected_ns - wall_ns <= SET_BACK_MAX_NS) {
        wall_ns = expected_ns;
    }
    *stamp = (struct noise_stamp){.wall_ns = wall_ns, .mono_ns = mono_ns};
    return wall_ns;
}
