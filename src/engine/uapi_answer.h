/* The text of a `get` answer: device, tenants, peers, counters of an engine (docs/uapi.md).
 *
 * Control thread. The answer goes into the client's output as it is made, without its closing `errno=` line. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct uapi_output;

/* What a `get` asks for. */
struct uapi_selection {
    bool extended; /* `sallyport=1`: the keys of our extension too */
    bool device, tenants, peers, counters;
    uint64_t since_ns; /* only peers that changed after it; 0: all */
};

/* 0, or -errno if the answer is not whole (out of memory, the client is gone). */
int uapi_answer_get(struct engine *engine, const struct uapi_selection *selection, struct uapi_output *output);
/* The closing line of every answer, with an `error=` line in front of it if `fault` is not NULL. */
void uapi_answer_close(struct uapi_output *output, int error, const char *fault);
