/* UUIDs: text in either case, version 7 that sorts by time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "model/uuid.h"

static void uuid_goes_to_text_and_back(void **state) {
    (void)state;
    static const char lower[] = "0198f1a2-b3c4-7d5e-8f60-718293a4b5c6";
    struct uuid uuid, upper;
    char text[UUID_TEXT_SIZE];
    assert_int_equal(uuid_parse(lower, &uuid), 0);
    assert_int_equal(uuid.bytes[0], 0x01);
    assert_int_equal(uuid.bytes[15], 0xc6);
    assert_string_equal(uuid_format(&uuid, text), lower);
    assert_int_equal(uuid_parse("0198F1A2-B3C4-7D5E-8F60-718293A4B5C6", &upper), 0);
    assert_true(uuid_equal(&uuid, &upper));
    upper.bytes[15] ^= 1;
    assert_false(uuid_equal(&uuid, &upper));
}

static void other_text_is_refused_and_changes_nothing(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "0198f1a2-b3c4-7d5e-8f60-718293a4b5c",
        "0198f1a2-b3c4-7d5e-8f60-718293a4b5c67",
        "0198f1a2b3c47d5e8f60718293a4b5c6",
        "0198f1a2b3c47d5e8f60718293a4b5c6----",
        "0198f1a-2b3c4-7d5e-8f60-718293a4b5c6",
        "0198f1a2-b3c4-7d5e-8f60-718293a4b5cg",
        "0198f1a2-b3c4-7d5e-8f60-718293a4b5c-",
        "0198f1a2-b3c4-7d5e-8f60_718293a4b5c6",
        "{198f1a2-b3c4-7d5e-8f60-718293a4b5c}",
        " 198f1a2-b3c4-7d5e-8f60-718293a4b5c6",
        "0198f1a2-b3c4-7d5e-8f60-718293a4b5c6\n",
        "------------------------------------",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct uuid uuid, before;
        memset(&before, 0x77, sizeof before);
        uuid = before;
        assert_int_equal(uuid_parse(wrong[i], &uuid), -EINVAL);
        assert_true(uuid_equal(&uuid, &before));
    }
}

static void made_uuids_are_version_7_and_differ(void **state) {
    (void)state;
    struct uuid last = {0};
    for (int i = 0; i < 1000; i++) {
        struct uuid uuid;
        uuid_make(UINT64_C(0x0198f1a2b3c4), &uuid);
        assert_memory_equal(uuid.bytes, "\x01\x98\xf1\xa2\xb3\xc4", 6);
        assert_int_equal(uuid.bytes[6] >> 4, 7);
        assert_int_equal(uuid.bytes[8] >> 6, 2);
        assert_false(uuid_equal(&uuid, &last));
        last = uuid;
    }
}

static void later_uuids_sort_behind(void **state) {
    (void)state;
    struct uuid before, after;
    for (uint64_t ms = 1; ms < UINT64_C(1) << 47; ms *= 3) {
        uuid_make(ms, &before);
        uuid_make(ms + 1, &after);
        assert_true(memcmp(before.bytes, after.bytes, sizeof after.bytes) < 0);
    }
}

static void zero_is_recognized(void **state) {
    (void)state;
    struct uuid uuid = {0};
    assert_true(uuid_is_zero(&uuid));
    uuid.bytes[15] = 1;
    assert_false(uuid_is_zero(&uuid));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uuid_goes_to_text_and_back),
        cmocka_unit_test(other_text_is_refused_and_changes_nothing),
        cmocka_unit_test(made_uuids_are_version_7_and_differ),
        cmocka_unit_test(later_uuids_sort_behind),
        cmocka_unit_test(zero_is_recognized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
