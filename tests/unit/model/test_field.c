/* Numbers modulo 2^255 - 19, by their laws and at the edges; test_key.c holds what is made of them to libsodium. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <sodium.h>

#include "model/field.h"

/* 2^255 - 19 and a little more or less; bytes[31] may carry the highest bit. */
static struct field near_p(int more) {
    uint8_t bytes[FIELD_SIZE];
    memset(bytes, 0xff, sizeof bytes);
    bytes[0] = (uint8_t)(0xed + more);
    bytes[31] = 0x7f;
    return field_from_bytes(bytes);
}

static struct field small(uint8_t value) {
    uint8_t bytes[FIELD_SIZE] = {value};
    return field_from_bytes(bytes);
}

static void expect_equal(const struct field *a, const struct field *b) {
    uint8_t left[FIELD_SIZE], right[FIELD_SIZE];
    field_to_bytes(a, left);
    field_to_bytes(b, right);
    assert_memory_equal(left, right, sizeof left);
}

static void bytes_come_back_below_p(void **state) {
    (void)state;
    for (int more = 0; more <= 18; more++) {
        struct field beyond = near_p(more), expected = small((uint8_t)more);
        uint8_t bytes[FIELD_SIZE] = {0}, as_bytes[FIELD_SIZE] = {(uint8_t)more};
        expect_equal(&beyond, &expected);
        field_to_bytes(&beyond, bytes);
        assert_memory_equal(bytes, as_bytes, sizeof bytes);
    }
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t bytes[FIELD_SIZE], again[FIELD_SIZE];
        randombytes_buf(bytes, sizeof bytes);
        struct field number = field_from_bytes(bytes);
        field_to_bytes(&number, again);
        bytes[31] &= 0x7f; /* the highest bit is none of the number's */
        assert_memory_equal(again, bytes, sizeof bytes);
    }
}

static void sums_and_products_wrap_at_p(void **state) {
    (void)state;
    struct field minus_one = near_p(-1), zero = small(0), one = small(1), two = small(2);
    struct field sum = field_one_plus(&minus_one);
    expect_equal(&sum, &zero);
    struct field difference = field_one_minus(&two);
    expect_equal(&difference, &minus_one);
    difference = field_one_minus(&one);
    expect_equal(&difference, &zero);
    struct field product = field_multiply(&minus_one, &minus_one);
    expect_equal(&product, &one);
    /* 2^254 * 4 = 2^256 = 38 */
    uint8_t bytes[FIELD_SIZE] = {0};
    bytes[31] = 0x40;
    struct field large = field_from_bytes(bytes), four = small(4), expected = small(38);
    product = field_multiply(&large, &four);
    expect_equal(&product, &expected);
}

static void a_number_times_its_inverse_is_one(void **state) {
    (void)state;
    const struct field one = small(1), zero = small(0);
    struct field inverse = field_invert(&zero);
    expect_equal(&inverse, &zero);
    for (unsigned i = 0; i < 2000; i++) {
        uint8_t bytes[FIELD_SIZE];
        memset(bytes, i < 256 ? (int)i : 0, sizeof bytes);
        if (i >= 256) {
            randombytes_buf(bytes, sizeof bytes);
        }
        struct field number = i == 0 ? near_p(-1) : field_from_bytes(bytes);
        inverse = field_invert(&number);
        struct field product = field_multiply(&number, &inverse);
        expect_equal(&product, &one);
        /* and of what is not carried yet */
        struct field loose = field_one_minus(&number);
        inverse = field_invert(&loose);
        product = field_multiply(&inverse, &loose);
        uint8_t is_one[FIELD_SIZE];
        field_to_bytes(&number, is_one);
        if (!(is_one[0] == 1 && sodium_is_zero(is_one + 1, sizeof is_one - 1))) {
            expect_equal(&product, &one);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_back_below_p),
        cmocka_unit_test(sums_and_products_wrap_at_p),
        cmocka_unit_test(a_number_times_its_inverse_is_one),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
