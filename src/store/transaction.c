/* Transactions of one connection, their steps, and what went wrong in one in words. */
#include <errno.h>
#include <string.h>

#include "store/conn.h"
#include "store/schema.h"
#include "store/store.h"

int store_begin(struct store_conn *conn, bool write) {
    int r = conn_revive(conn);
    if (r == 0) {
        r = conn->driver->begin(conn->conn, write);
        if (r == -ENOTCONN) { /* only now it turns out that the connection was lost */
            r = conn_revive(conn);
            r = r < 0 ? r : conn->driver->begin(conn->conn, write);
        }
    }
    conn->in_transaction = r == 0;
    if (r == 0 && conn->schema) {
        r = schema_check(conn);
        if (r < 0) {
            store_rollback(conn);
        }
    }
    return r;
}

int store_commit(struct store_conn *conn) {
    int r = conn->driver->commit(conn->conn);
    if (r < 0) {
        conn->driver->rollback(conn->conn);
    }
    conn->in_transaction = false;
    return r;
}

void store_rollback(struct store_conn *conn) {
    if (conn->in_transaction) {
        conn->driver->rollback(conn->conn);
        conn->in_transaction = false;
    }
}

int store_reserve(struct store_conn *conn, const char *table, uint64_t count, int64_t *ret_first) {
    return conn->driver->reserve && count ? conn->driver->reserve(conn->conn, table, (int64_t)count, ret_first)
                                          : -ENOTSUP;
}

int store_step_begin(struct store_conn *conn) {
    return query_run(conn, "SAVEPOINT step", NULL, 0, NULL);
}

int store_step_keep(struct store_conn *conn) {
    return query_run(conn, "RELEASE SAVEPOINT step", NULL, 0, NULL);
}

int store_step_undo(struct store_conn *conn) {
    int r = query_run(conn, "ROLLBACK TO SAVEPOINT step", NULL, 0, NULL);
    return r < 0 ? r : store_step_keep(conn);
}

const char *store_constraint(const struct store_conn *conn) {
    return conn->conn ? conn->driver->fault(conn->conn)->constraint : "";
}

int store_problem(const struct store_conn *conn, int error, struct problem *ret_problem) {
    const char *words = conn->conn ? conn->driver->fault(conn->conn)->message : conn->open_failure.message;
    const char *at = conn->where;
    switch (-error) {
    case EBUSY:
        return problem_set(
            ret_problem, PROBLEM_UNAVAILABLE, PROBLEM_STORE_LOCKED, NULL,
            "The database %s is locked by another process (%s). Try again; if it stays so, see what else "
            "works on it.",
            at, words);
    case ETIME:
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, "store-slow", NULL,
                           "The database %s took too long for one statement, which was broken off (%s); nothing was "
                           "changed. Try again; if it stays so, see how busy it is.",
                           at, words);
    case EAGAIN:
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, PROBLEM_STORE_AGAIN, NULL,
                           "The database %s broke the change off in favour of another (%s); nothing was changed. Try "
                           "again.",
                           at, words);
    case ESTALE:
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, PROBLEM_STORE_AHEAD, NULL,
                           "The database %s refused a duplicate; nothing was changed.", at);
    case EINPROGRESS:
        return problem_set(
            ret_problem, PROBLEM_UNAVAILABLE, PROBLEM_STORE_UNKNOWN, NULL,
            "The connection to the database %s was lost while the change was made durable; whether it was "
            "is not known yet. Look before you repeat it.",
            at);
    case EROFS:
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, "store-read-only", NULL,
                           "The database %s cannot be written (%s). %s", at, words, conn->driver->read_only_remedy);
    case ENOSPC:
        return problem_set(
            ret_problem, PROBLEM_UNAVAILABLE, "store-full", NULL,
            "The disk that holds the database %s is full; nothing was changed. Free some space, then try "
            "again.",
            at);
    case EBADMSG:
        return problem_set(
            ret_problem, PROBLEM_UNAVAILABLE, "store-corrupt", NULL,
            "%s is damaged or no database (%s). Put a backup in its place, or move it away to start with "
            "an empty one.",
            at, words);
    case EOVERFLOW:
        return schema_newer(at, *conn->schema, ret_problem);
    case ENOTCONN:
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, PROBLEM_STORE_AWAY, NULL,
                           "The database %s does not answer (%s); nothing was changed. It is tried again and again. %s",
                           at, words, conn->driver->remedy);
    case ENOENT:
    case EACCES:
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, "store-unreachable", NULL,
                           "The database %s cannot be opened (%s). %s", at, words, conn->driver->remedy);
    case EPROTO:
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, "store-unusable", NULL,
                           "The database %s cannot be used: %s.", at, words);
    case EEXIST:
        return problem_set(ret_problem, PROBLEM_CONFLICT, "store-conflict", NULL,
                           "The database %s refused a duplicate (%s).", at, store_constraint(conn));
    case ENOMEM:
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    return problem_set(ret_problem, PROBLEM_UNAVAILABLE, "store-failed", NULL, "The database %s failed: %s.", at,
                       words[0] ? words : strerror(-error));
}
