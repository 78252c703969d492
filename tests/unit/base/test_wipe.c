/* What a library frees is wiped: free() is replaced, and looks. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/wipe.h"

void __wrap_free(void *memory);
void __real_free(void *memory);

static size_t freed, dirty;

void __wrap_free(void *memory) {
    const uint8_t *bytes = memory;
    size_t size = memory ? malloc_usable_size(memory) : 0;
    freed++;
    for (size_t i = 0; i < size; i++) {
        dirty += bytes[i] != 0;
    }
    __real_free(memory);
}

static void memory_is_wiped_to_its_end(void **state) {
    (void)state;
    for (size_t size = 1; size < 5000; size = size * 3 + 1) {
        uint8_t *memory = malloc(size);
        assert_non_null(memory);
        memset(memory, 0xa5, size);
        freed = dirty = 0;
        wipe_free(memory);
        assert_int_equal(freed, 1);
        assert_int_equal(dirty, 0);
    }
}

static void nothing_is_accepted(void **state) {
    (void)state;
    freed = 0;
    wipe_free(NULL);
    assert_int_equal(freed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_wiped_to_its_end),
        cmocka_unit_test(nothing_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
