#include <sodium.h>
#include <stdlib.h>

#include "api/http/request.h"
#include "api/json/view.h"
#include "api/noun/handlers.h"

#define AT(member) .offset = offsetof(struct token_spec, member)
static const struct field token_fields[] = {
    {"name", FIELD_TEXT, true, AT(name)},
    {"scope", FIELD_CHOICE, true, AT(scope), .choices = scope_names},
    {"tenant_id", FIELD_UUID, AT(tenant_id)},
    {"expires_at", FIELD_TIME, AT(expires_at)},
};
#undef AT

void serve_tokens_create(const struct request *request, struct answer *answer) {
    struct token_spec spec;
    struct token token;
    char text[TOKEN_TEXT_SIZE];
    struct problem problem = {0};
    if (!request_read_body(request, token_fields, sizeof token_fields / sizeof *token_fields, &spec, sizeof spec,
                           answer)) {
        return;
    }
    request_make_id(request, 'k', 0, &spec.id);
    if (service_token_create(request->service, &request->caller, &spec, &token, text, &problem) < 0) {
        answer_problem(answer, &problem);
        return;
    }
    json_t *view = view_token(&token);
    if (json_object_set_new(view, "token", json_string(text)) < 0) {
        json_decref(view);
        view = NULL;
    }
    answer_created(answer, "/v1/tokens/", &token.id, view);
    sodium_memzero(text, sizeof text);
}

void serve_tokens_list(const struct request *request, struct answer *answer) {
    struct token *tokens = NULL;
    size_t count = 0;
    struct problem problem = {0};
    if (service_token_list(request->service, &request->caller, &tokens, &count, &problem) < 0) {
        answer_problem(answer, &problem);
        return;
    }
    answer_list_open(answer, NULL);
    for (size_t i = 0; i < count; i++) {
        answer_list_item(answer, view_token(&tokens[i]));
    }
    answer_list_close(answer, NULL);
    free(tokens);
}

void serve_tokens_revoke(const struct request *request, struct answer *answer) {
    struct problem problem = {0};
    if (service_token_revoke(request->service, &request->caller, &request->id, &problem) < 0) {
        answer_problem(answer, &problem);
    } else {
        answer_empty(answer, 204);
    }
}
