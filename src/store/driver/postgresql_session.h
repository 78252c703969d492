/* A session with a PostgreSQL server: opened, checked, and pinned so that neither the server's nor the user's settings
 * change what a statement means; and the server's errors as the driver's classes. Internal to the PostgreSQL driver. */
#pragma once

#include <libpq-fe.h>

#include "store/driver/driver.h"

/* PostgreSQL 13: pg_current_xact_id(), and the oldest that is still looked after. */
#define SESSION_SERVER_LEAST 130000
/* How long a statement, and one side's silence, may last. */
#define SESSION_STATEMENT_MS 10000
#define SESSION_SILENCE_MS 12000
#define SESSION_IDLE_MS 10000 /* between two statements of a transaction */

/* `where` is the URL behind "postgresql:". -ENOTCONN: away; -EACCES, -ENOENT, -EPROTO: it answered, and why it is of
 * no use is in `ret_fault`. */
int session_open(const char *where, const struct driver_options *options, PGconn **ret_pg,
                 struct driver_fault *ret_fault);
void session_describe(const char *where, char *ret_text, size_t room);
/* What went wrong: `result`'s error, or the connection's if `result` is NULL or has none. Returns the class. */
int session_fault(PGconn *pg, const PGresult *result, struct driver_fault *ret_fault);
/* A text of statements, without the pipeline. The last one's result, unless `ret_result` is NULL. A server that says
 * nothing for too long counts as gone. */
int session_ask(PGconn *pg, const char *sql, PGresult **ret_result, struct driver_fault *ret_fault);
/* The history that the server writes, which changes when a standby takes over; "" if it does not say. */
#define SESSION_TIMELINE_SIZE 16
void session_timeline(PGconn *pg, char ret_timeline[SESSION_TIMELINE_SIZE]);
/* Hearing of other sessions' commits (postgresql_hint.c; struct driver has the meaning). */
int postgresql_listen(const char *where, const struct driver_options *options, struct driver_listener **ret_listener,
                      struct driver_fault *ret_fault);
int postgresql_await(struct driver_listener *listener, unsigned ms);
void postgresql_deafen(struct driver_listener *listener);
/* Whether the other side has not closed the connection, as far as this side knows. */
bool session_alive(PGconn *pg);
/* What became of a transaction whose connection was lost while it committed: asked of the server in a session of its
 * own, for some seconds. 0: committed; -ENOTCONN: it was not; -EINPROGRESS: nobody can say. `timeline`: the server's at
 * that time; one that took over without having had everything gives the same numbers again. */
int session_outcome(const char *where, const char *transaction, const char *timeline);
