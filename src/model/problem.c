#include "model/problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int error;
    int status;
} kinds[] = {
    [PROBLEM_NONE] = {0, 200},
    [PROBLEM_INVALID] = {-EINVAL, 422},
    [PROBLEM_CONFLICT] = {-EEXIST, 409},
    [PROBLEM_NOT_FOUND] = {-ENOENT, 404},
    [PROBLEM_EXHAUSTED] = {-ENOSPC, 409},
    [PROBLEM_FORBIDDEN] = {-EPERM, 403},
    [PROBLEM_UNAVAILABLE] = {-EAGAIN, 503},
    [PROBLEM_INTERNAL] = {-EIO, 500},
};

int problem_set(struct problem *p, enum problem_kind kind, const char *type, const char *field, const char *format,
                ...) {
    va_list args;
    va_start(args, format);
    p->kind = kind;
    snprintf(p->type, sizeof p->type, "%s", type);
    snprintf(p->field, sizeof p->field, "%s", field ? field : "");
    vsnprintf(p->detail, sizeof p->detail, format, args);
    va_end(args);
    return kinds[kind].error;
}

void problem_within(struct problem *p, const char *prefix) {
    char inner[sizeof p->field];
    memcpy(inner, p->field, sizeof inner);
    int n = snprintf(p->field, sizeof p->field, inner[0] && inner[0] != '[' ? "%s.%s" : "%s%s", prefix, inner);
    (void)n; /* a path too long for the field is cut: it is for people */
}

int problem_status(enum problem_kind kind) {
    return kinds[kind].status;
}
