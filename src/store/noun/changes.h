/* The feed of changes: one gap-free revision each, in commit order. A writer gathers what it changed and numbers all of
 * it as the last thing before it commits: the revision's row is locked only then. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/key.h"
#include "model/uuid.h"

struct store_conn;

#define CHANGE_ACTOR_SIZE 192 /* of longer ones, which an operator wrote, the rest is not read */

struct change {
    uint64_t revision; /* filled by changes_append() */
    int64_t at;
    const char *kind; /* a literal: "router.created" */
    struct uuid tenant_id;
    struct uuid router_id; /* zero: none */
    struct key gone;       /* public key of the peer that this change takes out of the data plane; zero: none */
    int64_t gateway_id;    /* where it was made */
    char *before, *after;  /* for the audit log: JSON, or NULL; whoever notes the change owns them */
};

/* `actor`: who made all of them. */
int changes_append(struct store_conn *conn, struct change *changes, size_t count, const char *actor,
                   uint64_t *ret_revision);
int changes_revision(struct store_conn *conn, uint64_t *ret_revision);

struct change_row {
    uint64_t revision;
    int64_t at;
    char kind[32];
    struct uuid tenant_id, router_id;
    char actor[CHANGE_ACTOR_SIZE];
    struct key gone;
    int64_t gateway_id;
};
/* What tells a change from another that a database gave the same number, after it had gone back. */
struct change_mark {
    uint64_t revision; /* 0: none */
    int64_t at;
    struct uuid tenant_id, router_id;
};
bool change_mark_equal(const struct change_mark *a, const struct change_mark *b);
/* The change of that number, if it is kept. */
int changes_mark(struct store_conn *conn, uint64_t revision, struct change_mark *ret_mark);
/* The revisions at both ends of what is kept: `ret_oldest` is one beyond `ret_newest` if that is nothing. */
int changes_span(struct store_conn *conn, uint64_t *ret_oldest, uint64_t *ret_newest);
/* Up to `limit` after a revision; of one tenant unless `tenant_id` is zero. */
int changes_list(struct store_conn *conn, uint64_t after, const struct uuid *tenant_id, size_t limit,
                 struct change_row *ret_rows, size_t *ret_count);
/* Forgets the oldest, all up to and including `revision`, at most `most` at a time. */
int changes_forget(struct store_conn *conn, uint64_t revision, unsigned most, int64_t *ret_forgotten);
