#include "api/request.h"

#include <string.h>

bool request_read_query(const struct request *request, void *out, size_t size, struct answer *answer) {
    const struct route *route = request->route;
    struct problem problem = {0};
    memset(out, 0, size);
    for (size_t i = 0; i < route->query_count; i++) {
        if (request->query[i] && field_read_text(&route->query[i], request->query[i], out, &problem) < 0) {
            answer_problem(answer, &problem);
            return false;
        }
    }
    return true;
}

bool request_read_body(const struct request *request, const struct field *fields, size_t count, void *out, size_t size,
                       struct answer *answer) {
    struct problem problem = {0};
    memset(out, 0, size);
    if (field_read_object(request->body, fields, count, out, &problem) < 0) {
        answer_problem(answer, &problem);
        return false;
    }
    return true;
}
