/* The text of a `get` answer: device, tenants, peers, counters of an engine (docs/uapi.md).
 *
 * It is made in bounded steps, so that a dump of a million peers (some 400 MB) needs no such memory and keeps neither
 * other clients nor changes waiting. Each peer is shown as it was at one moment, the whole is not of one moment.
 * Control thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

struct uapi_output;

/* What a `get` asks for. */
struct uapi_selection {
    bool extended; /* `sallyport=1`: the keys of our extension too */
    bool device, tenants, peers, counters;
    bool workers;      /* the counters of each; only where asked for */
    uint64_t since_ns; /* only peers that changed after it; 0: all */
};

enum uapi_answer_stage {
    UAPI_ANSWER_DEVICE,
    UAPI_ANSWER_TENANTS,
    UAPI_ANSWER_PEERS,
    UAPI_ANSWER_COUNTERS,
    UAPI_ANSWER_WORKERS,
    UAPI_ANSWER_DONE,
};

/* An answer in the making. A plain value: it may be dropped at any point. */
struct uapi_answer {
    struct uapi_selection selection;
    enum uapi_answer_stage stage;
    struct engine_walk walk;
    uint64_t now_ns; /* taken at the beginning: what changes while the answer is made is in the next one too */
};

void uapi_answer_begin(struct uapi_answer *answer, const struct uapi_selection *selection);
/* Adds the next piece to the output. 1: there is more; 0: the answer is whole but for its closing line; -errno: it
 * cannot be made whole. */
int uapi_answer_step(struct uapi_answer *answer, struct engine *engine, struct uapi_output *output);
/* The closing line of every answer, with an `error=` line in front of it if `fault` is not NULL. */
void uapi_answer_close(struct uapi_output *output, int error, const char *fault);

#define UAPI_OFFLOADS_SIZE 192 /* with its zero byte */

/* The names of the offloads that are on, "gso,tso"; or of those that are off, each with the reason,
 * "gro:switched_off,uso:unsupported". "none" if there are none. */
void uapi_answer_offloads(const struct engine_device *device, bool on, char ret_text[UAPI_OFFLOADS_SIZE]);
