/* Why a request was refused: made where the reason is known, shown by the API as RFC 9457 and by the CLI as text.
 *
 * A plain value; fill it with problem_set() and return the matching -errno. `kind` is stable: clients act on it. */
#pragma once

enum problem_kind {
    PROBLEM_NONE,
    PROBLEM_INVALID,     /* a field is wrong: 422 */
    PROBLEM_CONFLICT,    /* collides with what exists: 409 */
    PROBLEM_NOT_FOUND,   /* does not exist, or not for this caller: 404 */
    PROBLEM_EXHAUSTED,   /* a pool or a limit is used up: 409 */
    PROBLEM_FORBIDDEN,   /* the token's scope does not allow it: 403 */
    PROBLEM_UNAVAILABLE, /* store or data plane is away; try again: 503 */
    PROBLEM_INTERNAL,    /* ours: 500 */
};

/* Types that rooms beyond the one that made them act on. */
#define PROBLEM_STORE_AWAY "store-away"          /* the database is not there; nothing was changed */
#define PROBLEM_STORE_NEWER "store-newer-schema" /* a newer program's: not to be touched */
#define PROBLEM_STORE_AHEAD "store-ahead"        /* nothing was changed; without haste it can be told why */
#define PROBLEM_STORE_LOCKED "store-locked"      /* by another process; nothing was changed */
#define PROBLEM_STORE_AGAIN "store-again"        /* nothing was changed, and the same call may succeed now */
#define PROBLEM_STORE_UNKNOWN "store-unknown"    /* nobody can say whether it was changed */

struct problem {
    enum problem_kind kind;
    char type[48];    /* stable slug, e.g. "duplicate-public-key"; becomes urn:sallyport:problem:<slug> */
    char field[96];   /* path of the offending field, e.g. "lans[2]"; "" when none */
    char detail[384]; /* one or two sentences: what is wrong, and how to mend it */
};

/* Fills `p` and returns the errno that goes with `kind`, negative: -EINVAL, -EEXIST, -ENOENT, -ENOSPC, -EPERM, -EAGAIN,
 * -EIO. */
int problem_set(struct problem *p, enum problem_kind kind, const char *type, const char *field, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Puts `prefix` and a dot in front of the field: "lans[2]" within "routers[7]" -> "routers[7].lans[2]". */
void problem_within(struct problem *p, const char *prefix);
/* HTTP status of a kind. */
int problem_status(enum problem_kind kind);
