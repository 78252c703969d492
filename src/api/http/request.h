/* One request as its handler sees it: who asks, for what, with which fields. Borrowed; lives for one call. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "api/http/answer.h"
#include "api/http/route.h"
#include "service/service.h"

#define REQUEST_QUERY_MAX 16

struct request {
    struct service *service;
    const char *interface_name;
    const struct route *route;
    struct caller caller;
    struct uuid id;                       /* of the path, if it has one */
    const char *query[REQUEST_QUERY_MAX]; /* as route->query; NULL where not given */
    const json_t *body;                   /* an object; NULL for routes without one */
    const uint8_t *id_seed;               /* 32 bytes, of the Idempotency-Key and the request; NULL without a key */
    bool (*stopping)(void *context);      /* a long poll ends early when this says so */
    void *stopping_context;
};

/* Query parameters, or the body, into the struct that their table describes; zeroed first. False: the answer is there.
 */
bool request_read_query(const struct request *request, void *out, size_t size, struct answer *answer);
bool request_read_body(const struct request *request, const struct field *fields, size_t count, void *out, size_t size,
                       struct answer *answer);
/* What a repeat under an Idempotency-Key makes must be the same thing, even if the gateway died between making it and
 * keeping the answer: an id that the caller left out follows from the key, so the second try meets the first one's
 * (`duplicate-id`) instead of making another. Without a key the id stays zero. `kind` and `ordinal` tell apart what one
 * request makes. */
void request_make_id(const struct request *request, char kind, size_t ordinal, struct uuid *id);
