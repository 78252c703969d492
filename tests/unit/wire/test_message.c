/* What a datagram claims to be, and how large a packet becomes on the wire. */
#include "world.h"

static const size_t sizes[] = {
    [MESSAGE_INITIATION] = sizeof(struct message_initiation),
    [MESSAGE_RESPONSE] = sizeof(struct message_response),
    [MESSAGE_COOKIE_REPLY] = sizeof(struct message_cookie_reply),
};

static void handshake_messages_have_exactly_one_size(void **state) {
    (void)state;
    for (uint8_t type = MESSAGE_INITIATION; type <= MESSAGE_COOKIE_REPLY; type++) {
        uint8_t bytes[256] = {type};
        for (size_t size = 0; size <= sizeof bytes; size++) {
            assert_int_equal(message_classify(bytes, size), size == sizes[type] ? type : 0);
        }
    }
}

static void data_is_at_least_a_keepalive(void **state) {
    (void)state;
    uint8_t bytes[2048] = {MESSAGE_DATA};
    for (size_t size = 0; size <= sizeof bytes; size++) {
        assert_int_equal(message_classify(bytes, size), size >= 32 ? MESSAGE_DATA : 0);
    }
}

static void every_bit_of_the_type_matters(void **state) {
    (void)state;
    const struct handshake_vector *v = &handshake_vectors[0];
    const uint8_t *messages[] = {v->initiation, v->response, v->cookie_reply4, v->keepalive, v->data};
    const size_t lengths[] = {sizeof v->initiation, sizeof v->response, sizeof v->cookie_reply4, sizeof v->keepalive,
                              sizeof v->data};
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        assert_int_equal(message_classify(messages[i], lengths[i]), messages[i][0]);
        for (size_t bit = 0; bit < 32; bit++) {
            uint8_t bytes[256];
            memcpy(bytes, messages[i], lengths[i]);
            bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
            assert_int_equal(message_classify(bytes, lengths[i]), 0);
        }
    }
}

static void unknown_types_are_nothing(void **state) {
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        uint8_t bytes[256] = {(uint8_t)type};
        for (size_t size = 0; size <= sizeof bytes; size += 4) {
            enum message_type got = message_classify(bytes, size);
            assert_true(got == 0 || (got == type && type >= 1 && type <= 4));
        }
    }
}

static void reading_stops_at_the_end(void **state) {
    (void)state;
    /* memory checkers see a read past these */
    for (size_t size = 0; size < 8; size++) {
        uint8_t *bytes = test_malloc(size);
        memset(bytes, 0, size);
        assert_int_equal(message_classify(bytes, size), 0);
        test_free(bytes);
    }
}

static void padding_fills_to_16_but_not_beyond_the_mtu(void **state) {
    (void)state;
    static const struct {
        size_t inner, mtu, padded;
    } rows[] = {
        {0, 1420, 0},       {1, 1420, 16},      {16, 1420, 16},     {17, 1420, 32},       {1408, 1420, 1408},
        {1409, 1420, 1420}, {1419, 1420, 1420}, {1420, 1420, 1420}, {1421, 1420, 1436},   {1436, 1420, 1436},
        {2840, 1420, 2840}, {2839, 1420, 2840}, {0, 0, 0},          {1, 0, 16},           {1421, 0, 1424},
        {65535, 0, 65536},  {5, 3, 6},          {3, 3, 3},          {65535, 1420, 65544},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(message_padded_size(rows[i].inner, rows[i].mtu), rows[i].padded);
    }
}

static void padding_never_cuts_and_never_grows_past_its_bounds(void **state) {
    (void)state;
    for (size_t mtu = 0; mtu <= 1500; mtu += 7) {
        for (size_t inner = 0; inner <= 1600; inner++) {
            size_t padded = message_padded_size(inner, mtu);
            assert_true(padded >= inner && padded < inner + MESSAGE_PADDING);
            if (mtu && inner <= mtu) {
                assert_true(padded <= mtu);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_messages_have_exactly_one_size),
        cmocka_unit_test(data_is_at_least_a_keepalive),
        cmocka_unit_test(every_bit_of_the_type_matters),
        cmocka_unit_test(unknown_types_are_nothing),
        cmocka_unit_test(reading_stops_at_the_end),
        cmocka_unit_test(padding_fills_to_16_but_not_beyond_the_mtu),
        cmocka_unit_test(padding_never_cuts_and_never_grows_past_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
