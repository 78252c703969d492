/* The one function of a fuzz target, called by libFuzzer or by replay.c. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* What must hold for any input: a broken promise is found like a crash. */
static inline void fuzz_require(int holds) {
    if (!holds) {
        abort();
    }
}
