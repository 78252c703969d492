#include "api/http/request.h"

#include <sodium.h>
#include <string.h>

#include "base/bytes.h"

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

void request_make_id(const struct request *request, char kind, size_t ordinal, struct uuid *id) {
    uint8_t what[9];
    if (!request->id_seed || !uuid_is_zero(id)) {
        return;
    }
    what[0] = (uint8_t)kind;
    be64_put(what + 1, ordinal);
    crypto_generichash(id->bytes, sizeof id->bytes, what, sizeof what, request->id_seed, 32);
    id->bytes[6] = (uint8_t)(0x80 | (id->bytes[6] & 0x0f)); /* version 8 (RFC 9562, section 5.8) */
    id->bytes[8] = (uint8_t)(0x80 | (id->bytes[8] & 0x3f));
}
