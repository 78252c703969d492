/* One client's stream of UAPI requests, parsed line by line as it arrives and applied to the engine section by section.
 *
 * However long a request is, only the current line (UAPI_LINE_MAX) and the current peer's allowed IPs are held. The
 * first fault ends a request: its remaining lines are read and ignored, its answer names the line. What came before is
 * applied, as in every other implementation. Lines hold keys: they are wiped once read. Control thread. */
#pragma once

#include <stddef.h>

#include "engine/uapi/answer.h"

/* Allowed IPs one peer section may name; more is -E2BIG. A full Internet routing table fits. */
#define UAPI_ALLOWED_IPS_MAX (2u << 20)

struct engine;
struct uapi_request;

enum uapi_event {
    UAPI_EVENT_NONE, /* all bytes read, no request complete */
    UAPI_EVENT_GET,  /* a get is complete: answer it */
    UAPI_EVENT_SET,  /* a set is complete and, if there is no error, in force */
};

int uapi_request_create(struct engine *engine, struct uapi_request **ret_request);
/* Lets what was gathered come into force, then frees. Accepts NULL. */
void uapi_request_free(struct uapi_request *request);
/* Reads bytes until a request is complete or they are used up; call again with the rest after answering. */
enum uapi_event uapi_request_feed(struct uapi_request *request, const char *bytes, size_t size, size_t *ret_used);

/* Of the request that was completed last. */
int uapi_request_error(const struct uapi_request *request); /* 0, or -errno */
/* A sentence that names the line and what is wrong with it, if the request failed and asked for it (`sallyport=1`),
 * else NULL. Lives until the next feed. */
const char *uapi_request_fault(const struct uapi_request *request);
const struct uapi_selection *uapi_request_selection(const struct uapi_request *request);
