/* JSON forms of the model: what OpenAPI calls schemas. Each returns a new value, or NULL when out of memory. */
#pragma once

#include <jansson.h>

#include "service/service.h"

/* Makes jansson wipe what it frees: values hold keys. Once, before threads start. */
void view_setup(void);

/* Text of any origin: bytes that are no UTF-8 become "?". */
json_t *view_text(const char *text);
json_t *view_uuid(const struct uuid *id);
/* null for 0 */
json_t *view_time(int64_t wall_us);
json_t *view_count(uint64_t count);
json_t *view_tenant(const struct tenant *tenant);
json_t *view_router(const struct router *router);
/* A router as made: with its private key, if it was made here, and its configuration. */
json_t *view_router_made(const struct router_made *made, const char *config);
json_t *view_gateway(const struct gateway_info *gateway);
json_t *view_token(const struct token *token);
json_t *view_event(const struct event *event);
json_t *view_audit(const struct audit_row *row);
/* {"next_cursor":...}, null for "" */
json_t *view_next_cursor(const char *next);
/* RFC 9457. */
json_t *view_problem(int status, const char *type, const char *field, const char *detail);
