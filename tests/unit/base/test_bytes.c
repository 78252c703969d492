/* Wire order, and the cursor that cannot leave its bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"

static const uint8_t digits[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe};

static void integers_are_read_in_their_order_at_any_alignment(void **state) {
    (void)state;
    for (size_t shift = 0; shift < 8; shift++) {
        uint8_t bytes[24];
        memcpy(bytes + shift, digits, sizeof digits);
        assert_int_equal(be16_get(bytes + shift), 0x0123);
        assert_int_equal(be32_get(bytes + shift), 0x01234567);
        assert_true(be64_get(bytes + shift) == UINT64_C(0x0123456789abcdef));
        assert_int_equal(le32_get(bytes + shift), 0x67452301);
        assert_true(le64_get(bytes + shift) == UINT64_C(0xefcdab8967452301));
        assert_int_equal(be32_get(bytes + shift + 4), 0x89abcdef); /* the top bit set: no sign comes in */
    }
}

static void integers_are_written_as_they_are_read(void **state) {
    (void)state;
    uint8_t bytes[8];
    be16_put(bytes, 0xfedc);
    assert_int_equal(be16_get(bytes), 0xfedc);
    be32_put(bytes, 0xfedcba98);
    assert_int_equal(bytes[0], 0xfe);
    assert_int_equal(be32_get(bytes), 0xfedcba98);
    le32_put(bytes, 0xfedcba98);
    assert_int_equal(bytes[0], 0x98);
    assert_int_equal(le32_get(bytes), 0xfedcba98);
    be64_put(bytes, UINT64_C(0xfedcba9876543210));
    assert_int_equal(bytes[0], 0xfe);
    assert_true(be64_get(bytes) == UINT64_C(0xfedcba9876543210));
    le64_put(bytes, UINT64_C(0xfedcba9876543210));
    assert_int_equal(bytes[0], 0x10);
    assert_true(le64_get(bytes) == UINT64_C(0xfedcba9876543210));
}

static void cursor_reads_in_sequence(void **state) {
    (void)state;
    struct cursor c = cursor_over(digits, sizeof digits);
    assert_int_equal(cursor_u8(&c), 0x01);
    assert_int_equal(cursor_be16(&c), 0x2345);
    assert_ptr_equal(cursor_take(&c, 4), digits + 3);
    assert_ptr_equal(cursor_take(&c, 2), digits + 7);
    assert_int_equal(c.left, 0);
    assert_false(c.failed);
}

static void reading_past_the_end_yields_zero_and_sticks(void **state) {
    (void)state;
    for (size_t size = 0; size < 8; size++) {
        struct cursor c = cursor_over(digits, size);
        assert_null(cursor_take(&c, 8));
        assert_true(c.failed);
        assert_int_equal(c.left, 0);
        /* what would have fitted no longer does */
        assert_int_equal(cursor_u8(&c), 0);
        assert_int_equal(cursor_be16(&c), 0);
        assert_null(cursor_take(&c, 0));
        assert_true(c.failed);
    }
}

static void nothing_can_be_taken_from_the_end_without_failing(void **state) {
    (void)state;
    struct cursor c = cursor_over(digits, sizeof digits);
    assert_non_null(cursor_take(&c, sizeof digits));
    assert_non_null(cursor_take(&c, 0));
    assert_false(c.failed);
    assert_null(cursor_take(&c, SIZE_MAX));
    assert_true(c.failed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read_in_their_order_at_any_alignment),
        cmocka_unit_test(integers_are_written_as_they_are_read),
        cmocka_unit_test(cursor_reads_in_sequence),
        cmocka_unit_test(reading_past_the_end_yields_zero_and_sticks),
        cmocka_unit_test(nothing_can_be_taken_from_the_end_without_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
