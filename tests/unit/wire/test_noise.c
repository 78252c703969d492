/* The handshake against vectors made by another implementation, in both roles, and against forgers. */
#include "world.h"

#include <errno.h>

/* The initiator's half of a vector's first message. */
static void create_initiation(const struct handshake_vector *v, struct end *initiator,
                              struct noise_handshake *handshake, struct message_initiation *message) {
    struct script script = {v->initiator_ephemeral, sizeof v->initiator_ephemeral};
    struct noise_random random = script_random(&script);
    assert_int_equal(noise_initiation_create(&initiator->me, &initiator->remote, &random, v->initiator_index,
                                             v->timestamp, handshake, message),
                     0);
    assert_int_equal(script.left, 0);
}

static void accept_initiation(const struct handshake_vector *v, struct end *responder, struct noise_caller *caller) {
    const struct message_initiation *message = (const void *)v->initiation;
    assert_int_equal(noise_initiation_identify(&responder->me, message, caller), 0);
    assert_int_equal(noise_initiation_accept(&responder->me, &responder->remote, caller, message), 0);
}

static void create_response(const struct handshake_vector *v, struct end *responder, struct noise_handshake *handshake,
                            struct message_response *message, struct noise_transport_keys *keys) {
    struct script script = {v->responder_ephemeral, sizeof v->responder_ephemeral};
    struct noise_random random = script_random(&script);
    assert_int_equal(noise_response_create(&responder->remote, &random, v->responder_index, handshake, message, keys),
                     0);
}

static void identity_derives_the_public_key_and_the_initial_hash(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct handshake_vector *v = &handshake_vectors[i];
        struct end responder = responder_of(v);
        assert_memory_equal(responder.me.public_key.bytes, v->responder_public, KEY_SIZE);
        assert_memory_equal(responder.me.initial_hash, v->responder_initial_hash, NOISE_HASH_SIZE);
        assert_int_equal(responder.me.private_key.bytes[0] & 7, 0);
        assert_int_equal(responder.me.private_key.bytes[31] & 0xc0, 0x40);
    }
}

static void zero_private_key_clears_the_identity(void **state) {
    (void)state;
    struct end end = responder_of(&handshake_vectors[0]);
    struct noise_identity none = {0};
    struct key zero = {0};
    noise_identity_set(&end.me, &zero);
    assert_memory_equal(&end.me, &none, sizeof none);
}

static void initiation_equals_the_vector(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct handshake_vector *v = &handshake_vectors[i];
        struct end initiator = initiator_of(v);
        struct noise_handshake handshake;
        struct message_initiation message;
        create_initiation(v, &initiator, &handshake, &message);
        assert_memory_equal(&message, v->initiation, sizeof message - sizeof message.macs);
        static const struct message_macs unstamped;
        assert_memory_equal(&message.macs, &unstamped, sizeof unstamped);
        cookie_stamp(NULL, &initiator.remote.public_key, 1, &message, sizeof message);
        assert_memory_equal(&message, v->initiation, sizeof message);
        assert_int_equal(handshake.local_index, v->initiator_index);
    }
}

static void responder_learns_the_caller_and_its_timestamp(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct handshake_vector *v = &handshake_vectors[i];
        struct end responder = responder_of(v);
        struct noise_caller caller;
        accept_initiation(v, &responder, &caller);
        assert_memory_equal(caller.public_key.bytes, v->initiator_public, KEY_SIZE);
        assert_int_equal(caller.handshake.remote_index, v->initiator_index);
        assert_memory_equal(responder.remote.latest_timestamp, v->timestamp, sizeof v->timestamp);
    }
}

static void response_and_its_keys_equal_the_vector(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct handshake_vector *v = &handshake_vectors[i];
        struct end responder = responder_of(v);
        struct noise_caller caller;
        struct message_response message;
        struct noise_transport_keys keys;
        accept_initiation(v, &responder, &caller);
        create_response(v, &responder, &caller.handshake, &message, &keys);
        cookie_stamp(NULL, &responder.remote.public_key, 1, &message, sizeof message);
        assert_memory_equal(&message, v->response, sizeof message);
        assert_memory_equal(keys.send.bytes, v->to_initiator, KEY_SIZE);
        assert_memory_equal(keys.receive.bytes, v->to_responder, KEY_SIZE);
    }
}

static void initiator_gets_the_vectors_keys_from_the_response(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct handshake_vector *v = &handshake_vectors[i];
        struct end initiator = initiator_of(v);
        struct noise_handshake handshake;
        struct message_initiation initiation;
        struct noise_transport_keys keys;
        create_initiation(v, &initiator, &handshake, &initiation);
        assert_int_equal(
            noise_response_consume(&initiator.me, &initiator.remote, &handshake, (const void *)v->response, &keys), 0);
        assert_memory_equal(keys.send.bytes, v->to_responder, KEY_SIZE);
        assert_memory_equal(keys.receive.bytes, v->to_initiator, KEY_SIZE);
    }
}

static void finished_handshake_keeps_nothing_but_its_indexes(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[1];
    struct end initiator = initiator_of(v);
    struct end responder = responder_of(v);
    struct noise_handshake handshake;
    struct noise_caller caller;
    struct message_initiation initiation;
    struct message_response response;
    struct noise_transport_keys keys;
    create_initiation(v, &initiator, &handshake, &initiation);
    assert_int_equal(
        noise_response_consume(&initiator.me, &initiator.remote, &handshake, (const void *)v->response, &keys), 0);
    struct noise_handshake left = {.local_index = v->initiator_index, .remote_index = v->responder_index};
    assert_memory_equal(&handshake, &left, sizeof left);

    accept_initiation(v, &responder, &caller);
    create_response(v, &responder, &caller.handshake, &response, &keys);
    left = (struct noise_handshake){.local_index = v->responder_index, .remote_index = v->initiator_index};
    assert_memory_equal(&caller.handshake, &left, sizeof left);
}

static void different_preshared_keys_do_not_meet(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[1];
    struct end initiator = initiator_of(v);
    struct noise_handshake handshake;
    struct message_initiation initiation;
    struct noise_transport_keys keys;
    create_initiation(v, &initiator, &handshake, &initiation);
    initiator.remote.preshared_key.bytes[5] ^= 1;
    struct noise_handshake before = handshake;
    assert_int_equal(
        noise_response_consume(&initiator.me, &initiator.remote, &handshake, (const void *)v->response, &keys),
        -EBADMSG);
    assert_memory_equal(&handshake, &before, sizeof before);
}

static void replayed_or_older_initiation_is_refused(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    const struct message_initiation *message = (const void *)v->initiation;
    struct end responder = responder_of(v);
    struct noise_caller caller;
    accept_initiation(v, &responder, &caller);
    struct noise_remote before = responder.remote;
    assert_int_equal(noise_initiation_identify(&responder.me, message, &caller), 0);
    assert_int_equal(noise_initiation_accept(&responder.me, &responder.remote, &caller, message), -EALREADY);
    assert_memory_equal(&responder.remote, &before, sizeof before);

    memset(responder.remote.latest_timestamp, 0xff, MESSAGE_TIMESTAMP_SIZE);
    assert_int_equal(noise_initiation_accept(&responder.me, &responder.remote, &caller, message), -EALREADY);
    memcpy(responder.remote.latest_timestamp, v->timestamp, MESSAGE_TIMESTAMP_SIZE);
    responder.remote.latest_timestamp[7]--; /* a second earlier */
    assert_int_equal(noise_initiation_accept(&responder.me, &responder.remote, &caller, message), 0);
}

static void caller_is_not_accepted_as_somebody_else(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    const struct message_initiation *message = (const void *)v->initiation;
    struct end responder = end_make(v->responder_private, handshake_vectors[1].initiator_public, v->preshared);
    struct noise_caller caller;
    assert_int_equal(noise_initiation_identify(&responder.me, message, &caller), 0);
    assert_int_equal(noise_initiation_accept(&responder.me, &responder.remote, &caller, message), -EBADMSG);
    /* not even if the forger swaps the name it decrypted */
    caller.public_key = responder.remote.public_key;
    assert_int_equal(noise_initiation_accept(&responder.me, &responder.remote, &caller, message), -EBADMSG);
    static const uint8_t never[MESSAGE_TIMESTAMP_SIZE];
    assert_memory_equal(responder.remote.latest_timestamp, never, sizeof never);
}

static void nothing_happens_without_a_local_key(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct end end = initiator_of(v);
    struct key zero = {0};
    noise_identity_set(&end.me, &zero);
    struct script script = {NULL, 0};
    struct noise_random random = script_random(&script);
    struct noise_handshake handshake;
    struct message_initiation message;
    struct noise_caller caller;
    assert_int_equal(noise_initiation_create(&end.me, &end.remote, &random, 1, v->timestamp, &handshake, &message),
                     -ENOKEY);
    assert_int_equal(noise_initiation_identify(&end.me, (const void *)v->initiation, &caller), -ENOKEY);
}

/* The seven points, plain and with the ignored top bit set: 14 in all. */
static struct key low_order_point(size_t i) {
    struct key key = key_of(low_order_points[i / 2]);
    key.bytes[31] = (uint8_t)(key.bytes[31] | (i % 2 ? 0x80 : 0));
    return key;
}

static void low_order_remote_is_never_called(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    for (size_t i = 0; i < 2 * LOW_ORDER_POINTS; i++) {
        struct end end = initiator_of(v);
        end.remote.public_key = low_order_point(i);
        struct script script = {v->initiator_ephemeral, sizeof v->initiator_ephemeral};
        struct noise_random random = script_random(&script);
        struct noise_handshake handshake = {.local_index = 77};
        struct message_initiation message = {.sender = {78}};
        assert_int_equal(noise_initiation_create(&end.me, &end.remote, &random, 1, v->timestamp, &handshake, &message),
                         -ENOKEY);
        assert_int_equal(handshake.local_index, 77);
        assert_int_equal(message.sender[0], 78);
        assert_false(end.remote.has_static_static);
    }
}

static void low_order_ephemeral_is_refused_in_an_initiation(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct end responder = responder_of(v);
    for (size_t i = 0; i < 2 * LOW_ORDER_POINTS; i++) {
        struct message_initiation message;
        memcpy(&message, v->initiation, sizeof message);
        struct key point = low_order_point(i);
        memcpy(message.ephemeral, point.bytes, KEY_SIZE);
        struct noise_caller caller = {.handshake.local_index = 77};
        struct noise_caller before = caller;
        assert_int_equal(noise_initiation_identify(&responder.me, &message, &caller), -EBADMSG);
        assert_memory_equal(&caller, &before, sizeof before);
    }
}

static void low_order_static_is_refused_in_an_initiation(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    for (size_t i = 0; i < 2 * LOW_ORDER_POINTS; i++) {
        struct end responder = responder_of(v);
        struct noise_caller caller;
        assert_int_equal(noise_initiation_identify(&responder.me, (const void *)v->initiation, &caller), 0);
        responder.remote.public_key = low_order_point(i);
        caller.public_key = responder.remote.public_key;
        assert_int_equal(
            noise_initiation_accept(&responder.me, &responder.remote, &caller, (const void *)v->initiation), -EBADMSG);
        assert_false(responder.remote.has_static_static);
    }
}

static void low_order_ephemeral_is_not_answered(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct end responder = responder_of(v);
    struct noise_caller caller;
    accept_initiation(v, &responder, &caller);
    for (size_t i = 0; i < 2 * LOW_ORDER_POINTS; i++) {
        struct script script = {v->responder_ephemeral, sizeof v->responder_ephemeral};
        struct noise_random random = script_random(&script);
        struct noise_handshake handshake = caller.handshake;
        handshake.remote_ephemeral = low_order_point(i);
        struct noise_handshake before = handshake;
        struct message_response message = {.sender = {78}};
        struct noise_transport_keys keys = {0}, none = {0};
        assert_int_equal(noise_response_create(&responder.remote, &random, 1, &handshake, &message, &keys), -EBADMSG);
        assert_memory_equal(&handshake, &before, sizeof before);
        assert_memory_equal(&keys, &none, sizeof none);
        assert_int_equal(message.sender[0], 78);
    }
}

static void low_order_ephemeral_is_refused_in_a_response(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct end initiator = initiator_of(v);
    struct noise_handshake handshake;
    struct message_initiation initiation;
    create_initiation(v, &initiator, &handshake, &initiation);
    for (size_t i = 0; i < 2 * LOW_ORDER_POINTS; i++) {
        struct message_response message;
        memcpy(&message, v->response, sizeof message);
        struct key point = low_order_point(i);
        memcpy(message.ephemeral, point.bytes, KEY_SIZE);
        struct noise_handshake before = handshake;
        struct noise_transport_keys keys;
        assert_int_equal(noise_response_consume(&initiator.me, &initiator.remote, &handshake, &message, &keys),
                         -EBADMSG);
        assert_memory_equal(&handshake, &before, sizeof before);
    }
}

static void restamp(void *message, size_t size, const uint8_t *responder_public) {
    struct key key = key_of(responder_public);
    cookie_stamp(NULL, &key, 1, message, size);
}

/* mac1 is no obstacle to a forger who knows our public key, so each changed bit is tried under a right mac1. Only the
 * sender's index is not authenticated by the protocol: an answer would go nowhere. */
static void every_bit_of_an_initiation_matters(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[1];
    struct end responder = responder_of(v);
    struct noise_caller genuine;
    accept_initiation(v, &responder, &genuine); /* so that the static-static is there, and nothing else may change */
    memset(responder.remote.latest_timestamp, 0, MESSAGE_TIMESTAMP_SIZE);
    const struct noise_remote before = responder.remote;
    size_t first = offsetof(struct message_initiation, ephemeral) * 8;
    size_t end = offsetof(struct message_initiation, macs) * 8;
    for (size_t bit = first; bit < end; bit++) {
        uint8_t bytes[sizeof(struct message_initiation)];
        memcpy(bytes, v->initiation, sizeof bytes);
        bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        restamp(bytes, sizeof bytes, v->responder_public);
        struct noise_caller caller = {0}, nobody = {0};
        int error = noise_initiation_identify(&responder.me, (const void *)bytes, &caller);
        if (bit < offsetof(struct message_initiation, sealed_timestamp) * 8) {
            assert_int_equal(error, -EBADMSG);
            assert_memory_equal(&caller, &nobody, sizeof nobody);
            continue;
        }
        assert_int_equal(error, 0);
        nobody = caller;
        assert_int_equal(noise_initiation_accept(&responder.me, &responder.remote, &caller, (const void *)bytes),
                         -EBADMSG);
        assert_memory_equal(&caller, &nobody, sizeof nobody);
        assert_memory_equal(&responder.remote, &before, sizeof before);
    }
    /* and the same responder still takes the genuine one */
    accept_initiation(v, &responder, &genuine);
}

static void every_bit_of_a_response_matters(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[1];
    struct end initiator = initiator_of(v);
    struct noise_handshake handshake;
    struct message_initiation initiation;
    struct noise_transport_keys keys = {0}, none = {0};
    create_initiation(v, &initiator, &handshake, &initiation);
    const struct noise_handshake before = handshake;
    const struct noise_remote remote_before = initiator.remote;
    size_t first = offsetof(struct message_response, receiver) * 8;
    size_t end = offsetof(struct message_response, macs) * 8;
    for (size_t bit = first; bit < end; bit++) {
        uint8_t bytes[sizeof(struct message_response)];
        memcpy(bytes, v->response, sizeof bytes);
        bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        restamp(bytes, sizeof bytes, v->initiator_public);
        assert_int_equal(
            noise_response_consume(&initiator.me, &initiator.remote, &handshake, (const void *)bytes, &keys), -EBADMSG);
        assert_memory_equal(&handshake, &before, sizeof before);
        assert_memory_equal(&initiator.remote, &remote_before, sizeof remote_before);
        assert_memory_equal(&keys, &none, sizeof none);
    }
    assert_int_equal(
        noise_response_consume(&initiator.me, &initiator.remote, &handshake, (const void *)v->response, &keys), 0);
}

static void static_static_is_computed_once(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct end initiator = initiator_of(v);
    struct noise_handshake handshake;
    struct message_initiation message;
    create_initiation(v, &initiator, &handshake, &message);
    assert_true(initiator.remote.has_static_static);
    /* a planted one is used: it is not computed again */
    initiator.remote.static_static.bytes[0] ^= 1;
    create_initiation(v, &initiator, &handshake, &message);
    assert_memory_not_equal(message.sealed_timestamp,
                            ((const struct message_initiation *)v->initiation)->sealed_timestamp,
                            sizeof message.sealed_timestamp);
}

static void timestamp_is_tai64n_and_whitened(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE], again[MESSAGE_TIMESTAMP_SIZE];
    noise_timestamp(v->wall_ns, timestamp);
    assert_memory_equal(timestamp, v->timestamp, sizeof timestamp);
    uint64_t second = v->wall_ns / NSEC_PER_SEC * NSEC_PER_SEC;
    noise_timestamp(second, timestamp);
    noise_timestamp(second + (1 << 24) - 1, again);
    assert_memory_equal(timestamp, again, sizeof again);
    noise_timestamp(second + (1 << 24), again);
    assert_true(memcmp(timestamp, again, sizeof again) < 0);
    noise_timestamp(second + NSEC_PER_SEC, timestamp);
    assert_true(memcmp(again, timestamp, sizeof again) < 0);
}

static void a_stamp_goes_on_when_the_clock_is_set_back(void **state) {
    (void)state;
    const uint64_t wall = UINT64_C(1700000000) * NSEC_PER_SEC;
    const uint64_t mono = 77 * NSEC_PER_SEC;
    struct noise_stamp stamp = {0};
    assert_true(noise_stamp_next(&stamp, wall, mono) == wall);
    assert_true(noise_stamp_next(&stamp, wall + NSEC_PER_SEC, mono + NSEC_PER_SEC) == wall + NSEC_PER_SEC);
    /* Ten minutes back, and again, and then put right. */
    assert_true(noise_stamp_next(&stamp, wall - 600 * NSEC_PER_SEC, mono + 2 * NSEC_PER_SEC) ==
                wall + 2 * NSEC_PER_SEC);
    assert_true(noise_stamp_next(&stamp, wall - 599 * NSEC_PER_SEC, mono + 3 * NSEC_PER_SEC) ==
                wall + 3 * NSEC_PER_SEC);
    assert_true(noise_stamp_next(&stamp, wall + 9 * NSEC_PER_SEC, mono + 4 * NSEC_PER_SEC) == wall + 9 * NSEC_PER_SEC);
    /* A year back: what was before was wrong. */
    const uint64_t year = UINT64_C(31536000) * NSEC_PER_SEC;
    assert_true(noise_stamp_next(&stamp, wall - year, mono + 5 * NSEC_PER_SEC) == wall - year);
}

static void a_timestamp_tells_its_second(void **state) {
    (void)state;
    uint8_t timestamp[MESSAGE_TIMESTAMP_SIZE];
    noise_timestamp(UINT64_C(1700000000) * NSEC_PER_SEC, timestamp);
    assert_int_equal(noise_timestamp_s(timestamp), 1700000000);
    memset(timestamp, 0, sizeof timestamp);
    assert_true(noise_timestamp_s(timestamp) < 0);
    memset(timestamp, 0xff, sizeof timestamp);
    assert_true(noise_timestamp_s(timestamp) == INT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stamp_goes_on_when_the_clock_is_set_back),
        cmocka_unit_test(a_timestamp_tells_its_second),
        cmocka_unit_test(identity_derives_the_public_key_and_the_initial_hash),
        cmocka_unit_test(zero_private_key_clears_the_identity),
        cmocka_unit_test(initiation_equals_the_vector),
        cmocka_unit_test(responder_learns_the_caller_and_its_timestamp),
        cmocka_unit_test(response_and_its_keys_equal_the_vector),
        cmocka_unit_test(initiator_gets_the_vectors_keys_from_the_response),
        cmocka_unit_test(finished_handshake_keeps_nothing_but_its_indexes),
        cmocka_unit_test(different_preshared_keys_do_not_meet),
        cmocka_unit_test(replayed_or_older_initiation_is_refused),
        cmocka_unit_test(caller_is_not_accepted_as_somebody_else),
        cmocka_unit_test(nothing_happens_without_a_local_key),
        cmocka_unit_test(low_order_remote_is_never_called),
        cmocka_unit_test(low_order_ephemeral_is_refused_in_an_initiation),
        cmocka_unit_test(low_order_static_is_refused_in_an_initiation),
        cmocka_unit_test(low_order_ephemeral_is_not_answered),
        cmocka_unit_test(low_order_ephemeral_is_refused_in_a_response),
        cmocka_unit_test(every_bit_of_an_initiation_matters),
        cmocka_unit_test(every_bit_of_a_response_matters),
        cmocka_unit_test(static_static_is_computed_once),
        cmocka_unit_test(timestamp_is_tai64n_and_whitened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
