#include "api/http/route.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const methods[] = {
    [METHOD_GET] = "GET",
    [METHOD_POST] = "POST",
    [METHOD_PATCH] = "PATCH",
    [METHOD_DELETE] = "DELETE",
};

const char *method_name(enum method method) {
    return methods[method];
}

enum match {
    MATCH_NO,
    MATCH_BAD_ID, /* right but for the id, which is not a UUID */
    MATCH_YES,
};

/* Segment by segment; "{...}" takes one segment, which is the id. */
static enum match path_match(const char *pattern, const char *path, struct uuid *ret_id) {
    enum match match = MATCH_YES;
    for (;;) {
        size_t want = strcspn(pattern + 1, "/") + 1;
        size_t have = path[0] == '/' ? strcspn(path + 1, "/") + 1 : 0;
        if (have <= 1) {
            return MATCH_NO;
        }
        if (pattern[1] == '{') {
            char text[UUID_TEXT_SIZE] = "";
            if (have == UUID_TEXT_SIZE) {
                memcpy(text, path + 1, UUID_TEXT_SIZE - 1);
            }
            if (uuid_parse(text, ret_id) < 0 || uuid_is_zero(ret_id)) {
                match = MATCH_BAD_ID;
            }
        } else if (want != have || memcmp(pattern, path, want) != 0) {
            return MATCH_NO;
        }
        pattern += want;
        path += have;
        if (!*pattern || !*path) {
            return *pattern == *path ? match : MATCH_NO;
        }
    }
}

/* "/v1/tenants/bulk" is also shaped like "/v1/tenants/{id}": a path that is one without an id hides the others. */
static bool path_is_literal(const struct route_table *table, const char *path) {
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->routes[i].pattern, path) == 0) {
            return true;
        }
    }
    return false;
}

int route_find(const struct route_table *table, const char *method, const char *path, const struct route **ret_route,
               struct uuid *ret_id, char ret_allow[64]) {
    char allow[64] = "";
    bool bad_id = false;
    bool literal = path_is_literal(table, path);
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (size_t i = 0; i < table->count; i++) {
        struct uuid id = {0};
        const struct route *route = &table->routes[i];
        if (literal && strchr(route->pattern, '{')) {
            continue;
        }
        enum match match = path_match(route->pattern, path, &id);
        if (match == MATCH_NO) {
            continue;
        }
        if (strcmp(methods[route->method], wanted) == 0 && match == MATCH_YES) {
            *ret_route = route;
            *ret_id = id;
            return 0;
        }
        bad_id = bad_id || match == MATCH_BAD_ID;
        size_t size = strlen(allow);
        snprintf(allow + size, sizeof allow - size, "%s%s", size ? ", " : "",
                 route->method == METHOD_GET ? "GET, HEAD" : methods[route->method]);
    }
    if (bad_id) {
        return -EBADMSG;
    }
    if (!allow[0]) {
        return -ENOENT;
    }
    memcpy(ret_allow, allow, sizeof allow);
    return -EOPNOTSUPP;
}
