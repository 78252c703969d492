#include <stdlib.h>

#include "api/http/request.h"
#include "api/json/fields.h"
#include "api/json/view.h"
#include "api/noun/handlers.h"

struct audit_query {
    const char *cursor;
    uint32_t limit;
    struct audit_filter filter;
};

#define AT(member) .offset = offsetof(struct audit_query, member)
const struct field audit_list_query[AUDIT_LIST_QUERY_COUNT] = {
    {"cursor", FIELD_TEXT, AT(cursor)},
    {"limit", FIELD_U32, AT(limit), .least = 1, .most = FIELDS_PAGE_MAX},
    {"since", FIELD_TIME, AT(filter.since)},
    {"until", FIELD_TIME, AT(filter.until)},
    {"tenant_id", FIELD_UUID, AT(filter.tenant_id)},
    {"router_id", FIELD_UUID, AT(filter.router_id)},
    {"token_id", FIELD_UUID, AT(filter.token_id)},
    {"actor", FIELD_TEXT, AT(filter.actor)},
    {"kind", FIELD_TEXT, AT(filter.kind)},
};
#undef AT

void serve_audit_list(const struct request *request, struct answer *answer) {
    struct audit_query query;
    struct problem problem = {0};
    size_t count = 0;
    char next[64] = "";
    if (!request_read_query(request, &query, sizeof query, answer)) {
        return;
    }
    size_t limit = query.limit ? query.limit : FIELDS_PAGE_DEFAULT;
    struct audit_row *rows = calloc(limit, sizeof *rows);
    if (!rows) {
        answer_out_of_memory(answer);
        return;
    }
    if (service_audit_list(request->service, &request->caller, &query.filter, query.cursor ? query.cursor : "", limit,
                           rows, &count, next, &problem) < 0) {
        answer_problem(answer, &problem);
    } else {
        answer_list_open(answer, NULL);
        for (size_t i = 0; i < count; i++) {
            answer_list_item(answer, view_audit(&rows[i]));
        }
        answer_list_close(answer, view_next_cursor(next));
        audit_rows_free(rows, count);
    }
    free(rows);
}
