/* Rotation of keypairs as a table of all states, and what a keypair may still do. */
#include "world.h"

#include "wire/session.h"

#define BORN_NS (1000 * NSEC_PER_SEC)

/* Keypairs by letter, so that a state reads as "current previous next"; '-' is none. */
static struct keypair pool[26];

static struct keypair *at(char letter) {
    return letter == '-' ? NULL : &pool[letter - 'a'];
}

static struct session session_of(const char *text) {
    return (struct session){.current = at(text[0]), .previous = at(text[1]), .next = at(text[2])};
}

static void assert_session(const struct session *session, const char *text) {
    assert_ptr_equal(session->current, at(text[0]));
    assert_ptr_equal(session->previous, at(text[1]));
    assert_ptr_equal(session->next, at(text[2]));
}

/* Exactly the letters of `text`, in any order, each once. */
static void assert_dropped(struct session_dropped dropped, const char *text) {
    size_t count = 0;
    for (size_t i = 0; i < 3; i++) {
        if (dropped.keypairs[i]) {
            count++;
            char letter = (char)('a' + (dropped.keypairs[i] - pool));
            assert_non_null(strchr(text, letter));
            for (size_t j = 0; j < i; j++) {
                assert_ptr_not_equal(dropped.keypairs[i], dropped.keypairs[j]);
            }
        }
    }
    assert_int_equal(count, strlen(text));
}

static const char *const all_states[] = {"---", "c--", "-p-", "--n", "cp-", "c-n", "-pn", "cpn"};

static void as_initiator_the_fresh_one_is_current_at_once(void **state) {
    (void)state;
    static const char *const after[] = {"f--", "fc-", "f--", "fn-", "fc-", "fn-", "fn-", "fn-"};
    static const char *const dropped[] = {"", "", "p", "", "p", "c", "p", "cp"};
    for (size_t i = 0; i < sizeof all_states / sizeof *all_states; i++) {
        struct session session = session_of(all_states[i]);
        at('f')->initiator = true;
        assert_dropped(session_install(&session, at('f')), dropped[i]);
        assert_session(&session, after[i]);
    }
}

static void as_responder_the_fresh_one_waits_as_next(void **state) {
    (void)state;
    static const char *const after[] = {"--f", "c-f", "--f", "--f", "c-f", "c-f", "--f", "c-f"};
    static const char *const dropped[] = {"", "", "p", "n", "p", "n", "pn", "pn"};
    for (size_t i = 0; i < sizeof all_states / sizeof *all_states; i++) {
        struct session session = session_of(all_states[i]);
        at('f')->initiator = false;
        assert_dropped(session_install(&session, at('f')), dropped[i]);
        assert_session(&session, after[i]);
    }
}

static void first_packet_on_next_confirms_it(void **state) {
    (void)state;
    static const char *const before[] = {"--n", "c-n", "-pn", "cpn"};
    static const char *const after[] = {"n--", "nc-", "n--", "nc-"};
    static const char *const dropped[] = {"", "", "p", "p"};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        struct session session = session_of(before[i]);
        bool confirmed = false;
        assert_dropped(session_received(&session, at('n'), &confirmed), dropped[i]);
        assert_true(confirmed);
        assert_session(&session, after[i]);
        assert_dropped(session_received(&session, at('n'), &confirmed), "");
        assert_false(confirmed);
        assert_session(&session, after[i]);
    }
}

static void packets_on_the_others_change_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof all_states / sizeof *all_states; i++) {
        for (const char *used = "cpx"; *used; used++) {
            struct session session = session_of(all_states[i]);
            bool confirmed = true;
            assert_dropped(session_received(&session, at(*used), &confirmed), "");
            assert_false(confirmed);
            assert_session(&session, all_states[i]);
        }
    }
}

static void clearing_hands_everything_back(void **state) {
    (void)state;
    static const char *const dropped[] = {"", "c", "p", "n", "cp", "cn", "pn", "cpn"};
    for (size_t i = 0; i < sizeof all_states / sizeof *all_states; i++) {
        struct session session = session_of(all_states[i]);
        assert_dropped(session_clear(&session), dropped[i]);
        assert_session(&session, "---");
    }
}

static void keypair_starts_anew_and_is_wiped(void **state) {
    (void)state;
    struct noise_transport_keys keys = {.send = {{1}}, .receive = {{2}}};
    struct keypair keypair;
    memset(&keypair, 0xff, sizeof keypair);
    keypair_set(&keypair, &keys, 10, 20, true, BORN_NS);
    assert_int_equal(keypair.send_key.bytes[0], 1);
    assert_int_equal(keypair.receive_key.bytes[0], 2);
    assert_int_equal(keypair.local_index, 10);
    assert_int_equal(keypair.remote_index, 20);
    assert_int_equal(keypair.send_counter, 0);
    assert_int_equal(keypair.replay.greatest, 0);
    assert_true(keypair.initiator);
    for (size_t i = 0; i < sizeof keypair.replay.bitmap / sizeof *keypair.replay.bitmap; i++) {
        assert_int_equal(keypair.replay.bitmap[i], 0);
    }
    keypair_wipe(&keypair);
    static const struct keypair zero;
    assert_memory_equal(&keypair, &zero, sizeof zero);
    keypair_wipe(NULL);
}

static struct keypair keypair_of(bool initiator) {
    struct noise_transport_keys keys = {0};
    struct keypair keypair;
    keypair_set(&keypair, &keys, 1, 2, initiator, BORN_NS);
    return keypair;
}

static void keypair_dies_after_180_seconds(void **state) {
    (void)state;
    struct keypair keypair = keypair_of(false);
    uint64_t end = BORN_NS + 180 * NSEC_PER_SEC;
    assert_true(keypair_can_send(&keypair, end - 1));
    assert_true(keypair_can_receive(&keypair, end - 1));
    assert_false(keypair_can_send(&keypair, end));
    assert_false(keypair_can_receive(&keypair, end));
    /* a cached clock may lag behind its birth */
    assert_true(keypair_can_send(&keypair, BORN_NS - 1));
    assert_true(keypair_can_receive(&keypair, BORN_NS - 1));
}

static void keypair_dies_at_its_message_limit(void **state) {
    (void)state;
    struct keypair keypair = keypair_of(false);
    keypair.send_counter = SESSION_REJECT_AFTER_MESSAGES - 1;
    assert_true(keypair_can_send(&keypair, BORN_NS));
    keypair.send_counter++;
    assert_false(keypair_can_send(&keypair, BORN_NS));
    assert_true(keypair_can_receive(&keypair, BORN_NS));
    assert_true(replay_accept(&keypair.replay, SESSION_REJECT_AFTER_MESSAGES - 2));
    assert_true(keypair_can_receive(&keypair, BORN_NS));
    assert_true(replay_accept(&keypair.replay, SESSION_REJECT_AFTER_MESSAGES - 1));
    assert_false(keypair_can_receive(&keypair, BORN_NS));
}

static void only_the_initiator_rekeys_by_age(void **state) {
    (void)state;
    struct keypair ours = keypair_of(true), theirs = keypair_of(false);
    uint64_t after_send = BORN_NS + 120 * NSEC_PER_SEC, after_receive = BORN_NS + 165 * NSEC_PER_SEC;
    assert_false(keypair_wants_rekey_after_send(&ours, after_send - 1));
    assert_true(keypair_wants_rekey_after_send(&ours, after_send));
    assert_false(keypair_wants_rekey_after_send(&theirs, after_receive));
    assert_false(keypair_wants_rekey_after_receive(&ours, after_receive - 1));
    assert_true(keypair_wants_rekey_after_receive(&ours, after_receive));
    assert_false(keypair_wants_rekey_after_receive(&theirs, after_receive));
    assert_false(keypair_wants_rekey_after_send(&ours, BORN_NS - 1));
}

static void either_side_rekeys_after_2_to_the_60_messages(void **state) {
    (void)state;
    for (int initiator = 0; initiator < 2; initiator++) {
        struct keypair keypair = keypair_of(initiator);
        keypair.send_counter = SESSION_REKEY_AFTER_MESSAGES;
        assert_false(keypair_wants_rekey_after_send(&keypair, BORN_NS));
        keypair.send_counter++;
        assert_true(keypair_wants_rekey_after_send(&keypair, BORN_NS));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_initiator_the_fresh_one_is_current_at_once),
        cmocka_unit_test(as_responder_the_fresh_one_waits_as_next),
        cmocka_unit_test(first_packet_on_next_confirms_it),
        cmocka_unit_test(packets_on_the_others_change_nothing),
        cmocka_unit_test(clearing_hands_everything_back),
        cmocka_unit_test(keypair_starts_anew_and_is_wiped),
        cmocka_unit_test(keypair_dies_after_180_seconds),
        cmocka_unit_test(keypair_dies_at_its_message_limit),
        cmocka_unit_test(only_the_initiator_rekeys_by_age),
        cmocka_unit_test(either_side_rekeys_after_2_to_the_60_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
