/* Who changed what: a row beside each change (changes.h) that a caller made, under the same revision. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "model/uuid.h"
#include "store/noun/changes.h"

struct store_conn;

#define AUDIT_ORIGIN_SIZE 48
#define AUDIT_REQUEST_SIZE 24

/* Who made the changes of a transaction. */
struct author {
    char actor[CHANGE_ACTOR_SIZE];    /* "uid:0", "token:billing" */
    struct uuid token_id;             /* zero: none */
    char origin[AUDIT_ORIGIN_SIZE];   /* "unix:0", "192.0.2.1" */
    char request[AUDIT_REQUEST_SIZE]; /* X-Request-Id */
};

struct audit_row {
    uint64_t revision;
    int64_t at;
    char kind[32];
    struct uuid tenant_id, router_id; /* zero: none */
    struct author author;
    char *before, *after; /* owned: JSON, or NULL */
};

struct audit_filter {
    int64_t since, until;                       /* 0: any */
    struct uuid tenant_id, router_id, token_id; /* zero: any */
    const char *actor, *kind;                   /* NULL: any */
};

/* After changes_append(), which numbered them. */
int audit_append(struct store_conn *conn, const struct change *changes, size_t count, const struct author *author);
/* The newest first, of those before `revision` (0: of all). */
int audit_list(struct store_conn *conn, const struct audit_filter *filter, uint64_t revision, size_t limit,
               struct audit_row *ret_rows, size_t *ret_count);
void audit_rows_free(struct audit_row *rows, size_t count);
/* Forgets what is older than `until`, of the oldest `limit`. */
int audit_forget(struct store_conn *conn, int64_t until, size_t limit, int64_t *ret_forgotten);
