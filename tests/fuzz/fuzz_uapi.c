/* A client's stream on the control socket, in pieces of any size, against a fake engine: whatever is said, requests are
 * answered or waited for, and the engine only gets what is well formed. */
#include <stdbool.h>

#include "../unit/engine/fake_engine.h"
#include "engine/uapi/output.h"
#include "engine/uapi/request.h"
#include "fuzz.h"

static void answer(struct engine *engine, const struct uapi_request *request, enum uapi_event event) {
    struct uapi_output output = {.fd = -1};
    int error = uapi_request_error(request);
    const char *fault = uapi_request_fault(request);
    fuzz_require(error <= 0);
    fuzz_require(!fault || error < 0);
    for (const char *at = fault; at && *at; at++) {
        fuzz_require(*at >= 0x20 && *at < 0x7f); /* one line of the answer */
    }
    if (event == UAPI_EVENT_GET && error == 0) {
        struct uapi_answer making;
        int rc = 1;
        for (uapi_answer_begin(&making, uapi_request_selection(request)); rc == 1;) {
            rc = uapi_answer_step(&making, engine, &output);
        }
        fuzz_require(rc == 0);
    }
    uapi_answer_close(&output, error, fault);
    fuzz_require(output.size > 0);
    uapi_output_free(&output);
}

static void check(const struct engine *engine) {
    fuzz_require(engine->device.hub_count <= sizeof engine->device.hub / sizeof *engine->device.hub);
    for (uint64_t i = 0; i < engine->device.peers; i++) {
        fuzz_require(engine->peers[i].is.hub_address_count <= 2);
    }
}

/* The first byte gives the size of the pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct engine *engine = fake_engine_create();
    struct uapi_request *request = NULL;
    fuzz_require(engine != NULL && uapi_request_create(engine, &request) == 0);
    size_t piece = size ? bytes[0] + 1u : 1;
    for (size_t at = 1; at < size;) {
        size_t left = size - at < piece ? size - at : piece;
        size_t used = 0;
        enum uapi_event event = uapi_request_feed(request, (const char *)bytes + at, left, &used);
        fuzz_require(used > 0 && used <= left);
        if (event == UAPI_EVENT_NONE) {
            fuzz_require(used == left);
        } else {
            answer(engine, request, event);
        }
        at += used;
    }
    check(engine);
    uapi_request_free(request);
    fake_engine_free(engine);
    return 0;
}
