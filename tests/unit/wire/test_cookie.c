/* mac1, mac2 and cookie replies: vectors, who is believed, and for how long. */
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>

#define START_NS (1000 * NSEC_PER_SEC)
#define LIFE_NS (120 * NSEC_PER_SEC)

static union endpoint source_of(const char *text) {
    union endpoint endpoint;
    assert_int_equal(endpoint_parse(text, &endpoint), 0);
    return endpoint;
}

/* The vector's responder, with its secret in place so that only nonces are drawn. */
static struct cookie_checker checker_of(const struct handshake_vector *v) {
    struct cookie_checker checker = {.secret_born_ns = START_NS};
    struct key public_key = key_of(v->responder_public);
    cookie_checker_set(&checker, &public_key);
    memcpy(checker.secret, v->cookie_secret, sizeof checker.secret);
    return checker;
}

static struct noise_random no_random(void) {
    static struct script nothing;
    return script_random(&nothing);
}

/* The jar of the vector's initiator after it sent the vector's initiation. */
static struct cookie_jar jar_of(const struct handshake_vector *v) {
    struct cookie_jar jar = {0};
    struct key responder = key_of(v->responder_public);
    uint8_t message[sizeof v->initiation];
    memcpy(message, v->initiation, sizeof message);
    cookie_stamp(&jar, &responder, START_NS, message, sizeof message);
    assert_memory_equal(message, v->initiation, sizeof message);
    return jar;
}

static void genuine_messages_pass_and_changed_ones_do_not(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    union endpoint source = source_of("192.0.2.7:51821");
    struct noise_random random = no_random();
    struct cookie_checker checker = checker_of(v);
    assert_int_equal(cookie_check(&checker, &random, START_NS, v->initiation, sizeof v->initiation, &source),
                     COOKIE_PLAIN);
    size_t before_mac2 = sizeof v->initiation - MESSAGE_MAC_SIZE;
    for (size_t bit = 0; bit < 8 * sizeof v->initiation; bit++) {
        uint8_t bytes[sizeof v->initiation];
        memcpy(bytes, v->initiation, sizeof bytes);
        bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        enum cookie_verdict verdict = cookie_check(&checker, &random, START_NS, bytes, sizeof bytes, &source);
        assert_int_equal(verdict, bit < 8 * before_mac2 ? COOKIE_FORGED : COOKIE_PLAIN);
    }
}

static void a_response_is_checked_with_the_initiators_key(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    union endpoint source = source_of("192.0.2.7:51821");
    struct noise_random random = no_random();
    struct cookie_checker checker = checker_of(v);
    assert_int_equal(cookie_check(&checker, &random, START_NS, v->response, sizeof v->response, &source),
                     COOKIE_FORGED);
    struct key initiator = key_of(v->initiator_public);
    cookie_checker_set(&checker, &initiator);
    for (size_t bit = 0; bit < 8 * (sizeof v->response - MESSAGE_MAC_SIZE); bit++) {
        uint8_t bytes[sizeof v->response];
        memcpy(bytes, v->response, sizeof bytes);
        assert_int_equal(cookie_check(&checker, &random, START_NS, bytes, sizeof bytes, &source), COOKIE_PLAIN);
        bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_int_equal(cookie_check(&checker, &random, START_NS, bytes, sizeof bytes, &source), COOKIE_FORGED);
    }
}

static void reply_equals_the_vector(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct handshake_vector *v = &handshake_vectors[i];
        struct cookie_checker checker = checker_of(v);
        union endpoint sources[2] = {source_of("192.0.2.7:51821"), source_of("[2001:db8::7]:51821")};
        const uint8_t *expected[2] = {v->cookie_reply4, v->cookie_reply6};
        for (size_t family = 0; family < 2; family++) {
            struct script script = {v->cookie_nonce, sizeof v->cookie_nonce};
            struct noise_random random = script_random(&script);
            struct message_cookie_reply reply;
            cookie_reply_create(&checker, &random, START_NS, v->initiation, sizeof v->initiation, &sources[family],
                                &reply);
            assert_memory_equal(&reply, expected[family], sizeof reply);
        }
    }
}

static void reply_to_a_response_names_its_sender(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct cookie_checker checker = checker_of(v);
    union endpoint source = source_of("192.0.2.7:51821");
    struct script script = {v->cookie_nonce, sizeof v->cookie_nonce};
    struct noise_random random = script_random(&script);
    struct message_cookie_reply reply;
    cookie_reply_create(&checker, &random, START_NS, v->response, sizeof v->response, &source, &reply);
    assert_int_equal(le32_get(reply.receiver), v->responder_index);
}

static void cookie_comes_back_as_mac2_and_is_believed(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct handshake_vector *v = &handshake_vectors[i];
        struct key responder = key_of(v->responder_public);
        struct cookie_jar jar = jar_of(v);
        assert_int_equal(cookie_reply_consume(&jar, &responder, START_NS, (const void *)v->cookie_reply4), 0);
        assert_memory_equal(jar.cookie, v->cookie4, sizeof v->cookie4);
        uint8_t message[sizeof v->initiation];
        memcpy(message, v->initiation, sizeof message);
        cookie_stamp(&jar, &responder, START_NS, message, sizeof message);
        assert_memory_equal(message, v->initiation_with_mac2, sizeof message);
        struct cookie_checker checker = checker_of(v);
        struct noise_random random = no_random();
        union endpoint source = source_of("192.0.2.7:51821");
        assert_int_equal(cookie_check(&checker, &random, START_NS, message, sizeof message, &source), COOKIE_RETURNED);
    }
}

static void cookie_is_worth_nothing_from_elsewhere(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct cookie_checker checker = checker_of(v);
    struct noise_random random = no_random();
    static const char *const elsewhere[] = {"192.0.2.8:51821", "192.0.2.7:51822", "[2001:db8::7]:51821",
                                            "[::ffff:192.0.2.7]:51821"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        union endpoint source = source_of(elsewhere[i]);
        assert_int_equal(
            cookie_check(&checker, &random, START_NS, v->initiation_with_mac2, sizeof v->initiation_with_mac2, &source),
            COOKIE_PLAIN);
    }
}

static void every_bit_of_mac2_matters(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct cookie_checker checker = checker_of(v);
    struct noise_random random = no_random();
    union endpoint source = source_of("192.0.2.7:51821");
    for (size_t bit = 8 * (sizeof v->initiation - MESSAGE_MAC_SIZE); bit < 8 * sizeof v->initiation; bit++) {
        uint8_t bytes[sizeof v->initiation];
        memcpy(bytes, v->initiation_with_mac2, sizeof bytes);
        bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_int_equal(cookie_check(&checker, &random, START_NS, bytes, sizeof bytes, &source), COOKIE_PLAIN);
    }
}

static void secret_changes_after_120_seconds(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct cookie_checker checker = checker_of(v);
    union endpoint source = source_of("192.0.2.7:51821");
    struct noise_random none = no_random();
    assert_int_equal(cookie_check(&checker, &none, START_NS + LIFE_NS - 1, v->initiation_with_mac2,
                                  sizeof v->initiation_with_mac2, &source),
                     COOKIE_RETURNED);
    struct script script = {v->initiator_private, sizeof checker.secret};
    struct noise_random random = script_random(&script);
    assert_int_equal(cookie_check(&checker, &random, START_NS + LIFE_NS, v->initiation_with_mac2,
                                  sizeof v->initiation_with_mac2, &source),
                     COOKIE_PLAIN);
    assert_memory_equal(checker.secret, v->initiator_private, sizeof checker.secret);
    assert_int_equal(checker.secret_born_ns, START_NS + LIFE_NS);
}

static void fresh_checker_draws_a_secret(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct cookie_checker checker = {0};
    struct key public_key = key_of(v->responder_public);
    cookie_checker_set(&checker, &public_key);
    union endpoint source = source_of("192.0.2.7:51821");
    uint8_t bytes[MESSAGE_NONCE_SIZE + sizeof checker.secret];
    memset(bytes, 0xa5, sizeof bytes);
    struct script script = {bytes, sizeof bytes};
    struct noise_random random = script_random(&script);
    struct message_cookie_reply reply;
    cookie_reply_create(&checker, &random, 5, v->initiation, sizeof v->initiation, &source, &reply);
    assert_int_equal(script.left, 0);
    assert_memory_equal(checker.secret, bytes, sizeof checker.secret);
    assert_int_equal(checker.secret_born_ns, 5);
}

static void cookie_is_used_for_120_seconds(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct key responder = key_of(v->responder_public);
    struct cookie_jar jar = jar_of(v);
    assert_int_equal(cookie_reply_consume(&jar, &responder, START_NS, (const void *)v->cookie_reply4), 0);
    uint8_t message[sizeof v->initiation];
    memcpy(message, v->initiation, sizeof message);
    cookie_stamp(&jar, &responder, START_NS + LIFE_NS - 1, message, sizeof message);
    assert_memory_equal(message, v->initiation_with_mac2, sizeof message);
    cookie_stamp(&jar, &responder, START_NS + LIFE_NS, message, sizeof message);
    assert_memory_equal(message, v->initiation, sizeof message);
}

static void every_bit_of_a_reply_matters(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct key responder = key_of(v->responder_public);
    struct cookie_jar jar = jar_of(v);
    const struct cookie_jar before = jar;
    for (size_t bit = 8 * offsetof(struct message_cookie_reply, nonce); bit < 8 * sizeof v->cookie_reply4; bit++) {
        uint8_t bytes[sizeof v->cookie_reply4];
        memcpy(bytes, v->cookie_reply4, sizeof bytes);
        bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_int_equal(cookie_reply_consume(&jar, &responder, START_NS, (const void *)bytes), -EBADMSG);
        assert_memory_equal(&jar, &before, sizeof before);
    }
}

static void reply_is_believed_once_and_only_as_an_answer(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    struct key responder = key_of(v->responder_public);
    const struct message_cookie_reply *reply = (const void *)v->cookie_reply4;
    struct cookie_jar unasked = {0}, jar = jar_of(v);
    assert_int_equal(cookie_reply_consume(&unasked, &responder, START_NS, reply), -EBADMSG);
    assert_int_equal(cookie_reply_consume(&jar, &responder, START_NS, reply), 0);
    assert_int_equal(cookie_reply_consume(&jar, &responder, START_NS + LIFE_NS, reply), -EBADMSG);
    assert_int_equal(jar.cookie_born_ns, START_NS);
    /* nor as an answer to another message */
    struct cookie_jar other = jar_of(&handshake_vectors[1]);
    assert_int_equal(cookie_reply_consume(&other, &responder, START_NS, reply), -EBADMSG);
    assert_false(other.has_cookie);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(genuine_messages_pass_and_changed_ones_do_not),
        cmocka_unit_test(a_response_is_checked_with_the_initiators_key),
        cmocka_unit_test(reply_equals_the_vector),
        cmocka_unit_test(reply_to_a_response_names_its_sender),
        cmocka_unit_test(cookie_comes_back_as_mac2_and_is_believed),
        cmocka_unit_test(cookie_is_worth_nothing_from_elsewhere),
        cmocka_unit_test(every_bit_of_mac2_matters),
        cmocka_unit_test(secret_changes_after_120_seconds),
        cmocka_unit_test(fresh_checker_draws_a_secret),
        cmocka_unit_test(cookie_is_used_for_120_seconds),
        cmocka_unit_test(every_bit_of_a_reply_matters),
        cmocka_unit_test(reply_is_believed_once_and_only_as_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
