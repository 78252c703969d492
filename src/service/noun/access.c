/* Who may do what. What a caller may not see does not exist for it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/noun/noun.h"

const char *const scope_names[] = {
    [SCOPE_METRICS] = "metrics",
    [SCOPE_TENANT_READ] = "tenant-read",
    [SCOPE_TENANT_WRITE] = "tenant-write",
    [SCOPE_ADMIN] = "admin",
    NULL,
};

const char *scope_name(enum scope scope) {
    return scope_names[scope];
}

int scope_parse(const char *name, enum scope *ret_scope) {
    for (unsigned i = 0; scope_names[i]; i++) {
        if (strcmp(name, scope_names[i]) == 0) {
            *ret_scope = (enum scope)i;
            return 0;
        }
    }
    return -EINVAL;
}

bool access_sees(const struct caller *c, const struct uuid *tenant_id) {
    switch (c->scope) {
    case SCOPE_ADMIN:
        return true;
    case SCOPE_TENANT_READ:
    case SCOPE_TENANT_WRITE:
        return uuid_equal(&c->tenant_id, tenant_id);
    case SCOPE_METRICS:
        return false;
    }
    return false;
}

int access_not_found(const char *noun, struct problem *ret_problem) {
    char slug[32];
    snprintf(slug, sizeof slug, "%s-not-found", noun);
    return problem_set(ret_problem, PROBLEM_NOT_FOUND, slug, NULL, "There is no such %s.", noun);
}

static int forbidden(const char *detail, struct problem *ret_problem) {
    return problem_set(ret_problem, PROBLEM_FORBIDDEN, "scope", NULL, "%s", detail);
}

int access_read(const struct caller *c, const struct uuid *tenant_id, const char *noun, struct problem *ret_problem) {
    if (c->scope == SCOPE_METRICS) {
        return forbidden("This token reads metrics only; use one with scope admin or of the tenant.", ret_problem);
    }
    return access_sees(c, tenant_id) ? 0 : access_not_found(noun, ret_problem);
}

int access_write(const struct caller *c, const struct uuid *tenant_id, const char *noun, struct problem *ret_problem) {
    int r = access_read(c, tenant_id, noun, ret_problem);
    if (r == 0 && c->scope == SCOPE_TENANT_READ) {
        r = forbidden("This token only reads; use one with scope tenant-write or admin.", ret_problem);
    }
    return r;
}

int access_admin(const struct caller *c, const struct uuid *tenant_id, struct problem *ret_problem) {
    if (c->scope == SCOPE_ADMIN) {
        return 0;
    }
    if (tenant_id) {
        int r = access_read(c, tenant_id, "tenant", ret_problem);
        if (r < 0) {
            return r;
        }
    }
    return forbidden("Only the operator may do this; use a token with scope admin, or the Unix socket.", ret_problem);
}

/* Cursors are the row's number in a form that nobody is tempted to compute with. */
int access_cursor(const char *cursor, int64_t *ret_after, struct problem *ret_problem) {
    int64_t after = 0;
    if (cursor && cursor[0]) {
        char *end;
        errno = 0;
        unsigned long long number = strtoull(cursor + 1, &end, 16);
        if (cursor[0] != 'p' || strspn(cursor + 1, "0123456789abcdef") != strlen(cursor + 1) || end == cursor + 1 ||
            errno || number > INT64_MAX) {
            return problem_set(ret_problem, PROBLEM_INVALID, "bad-cursor", "cursor",
                               "The cursor is not one that a list gave out; start again without it.");
        }
        after = (int64_t)number;
    }
    *ret_after = after;
    return 0;
}

int caller_write_begin(struct service *s, const struct caller *c, struct write *ret_write,
                       struct problem *ret_problem) {
    int r = write_begin(s->ledger, c->actor, ret_write, ret_problem);
    if (r == 0) {
        struct author *author = &ret_write->author;
        author->token_id = c->token_id;
        char *id = uuid_is_zero(&c->token_id) ? NULL : strrchr(author->actor, '(');
        if (id && id > author->actor) {
            id[-1] = '\0'; /* " (ID)" has a column of its own */
        }
        snprintf(author->origin, sizeof author->origin, "%s", c->origin);
        snprintf(author->request, sizeof author->request, "%s", c->request);
    }
    return r;
}
