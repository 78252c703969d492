/* The store: connections, transactions and queries. The nouns beside it (tenants.h, routers.h, ...) hold the SQL.
 *
 * One connection writes, a few read beside it and never wait for it. The caller serializes use of the writer; a reader
 * belongs to whoever took it. Functions return 0 or -errno (driver.h lists the classes); store_problem() puts the last
 * failure of a connection into words that name the database and the way out.
 *
 * What commit acknowledged is durable. A failed statement leaves the transaction to be rolled back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/problem.h"
#include "store/driver/driver.h"
#include "store/driver/value.h"

struct store;
struct store_conn;

struct store_options {
    unsigned busy_ms; /* 0: 5,000 */
    unsigned readers; /* most connections for reading; 0: 4 */
    bool unhurried;   /* for a move: statements and transactions may last as long as they take */
    bool exclusive;   /* a file that is there already, and that nobody else may have open */
    bool waits;       /* the database may be away: see store_wake() */
};

/* Opens "sqlite:/path/to/file", creating it, or "postgresql://user@host/database" (docs/sallyportd.md), and migrates
 * it. `options` may be NULL. A database that goes away later is opened again by whoever wants it next. */
int store_open(const char *url, const struct store_options *options, struct store **ret_store,
               struct problem *ret_problem);
/* Every reader must have been put back. Accepts NULL. */
void store_close(struct store *store);
const char *store_kind(const struct store *store); /* "sqlite", "postgresql" */
/* A store that was opened with `waits` is not connected yet, and readers hear that it is away. store_wake() connects
 * the writer and migrates; the caller looks whether it is the right database; store_admit() lets readers in. */
int store_wake(struct store *store, struct problem *ret_problem);
void store_admit(struct store *store);

struct store_conn *store_writer(struct store *store);
/* A connection for reading; waits while all are taken. */
int store_reader_take(struct store *store, struct store_conn **ret_conn, struct problem *ret_problem);
void store_reader_put(struct store *store, struct store_conn *conn); /* accepts NULL; ends an open transaction */

/* Upkeep that commits should not wait for: call it every second or so, always from the same thread. Returns at once
 * when there is nothing to do. */
int store_checkpoint(struct store *store);

/* Whether it is a server of its own: other processes may write into it too, and it may go and come back. */
bool store_is_shared(const struct store *store);
/* The address of the database's server that this connection speaks to. -ENOENT: there is none, or it is not known. */
int store_server(const struct store_conn *conn, struct ip_addr *ret_address);
/* Waits until somebody committed a change, as far as the database tells, at most so long. Always from the same thread.
 * A hint: who must know looks himself. */
int store_await(struct store *store, unsigned ms);

/* Changes with each connection that is opened: beyond it the database may be another one, as after a failover. */
unsigned store_epoch(struct store *store);

/* Asks the database whether it is there, and still of a schema that we know: another gateway of a newer version may
 * have migrated it. Until one that we know is there again, no reader is given out. */
int store_look(struct store *store, struct problem *ret_problem);

/* A transaction: for writing it holds the database's write lock from the start, against other processes and gateways
 * too; for reading it sees one state throughout. Of a shared store both make sure that the schema is one that we know,
 * and it stays so until their end: -EOVERFLOW. -EINPROGRESS of a commit: nobody can say whether it was done. */
int store_begin(struct store_conn *conn, bool write);
int store_commit(struct store_conn *conn); /* rolls back when it fails */
void store_rollback(struct store_conn *conn);
/* One step of a transaction that may be undone alone. Does not nest. */
int store_step_begin(struct store_conn *conn);
int store_step_keep(struct store_conn *conn);
int store_step_undo(struct store_conn *conn);

/* Numbers for rows that will be inserted without waiting for each; such an insert that meets a duplicate spoils the
 * whole transaction: PROBLEM_STORE_AHEAD, and it has to be done again without. -ENOTSUP: this database gains nothing by
 * it. */
int store_reserve(struct store_conn *conn, const char *table, uint64_t count, int64_t *ret_first);

/* The last failure in words. Returns the errno of the problem's kind. */
int store_problem(const struct store_conn *conn, int error, struct problem *ret_problem);
/* Name of the constraint after -EEXIST: "vpn_configurations_client_public_key_key". */
const char *store_constraint(const struct store_conn *conn);

/* --- queries: for the nouns. Statements are prepared once per connection and text --- */

struct query {
    struct store_conn *conn;
    struct driver_statement *statement;
    bool done;
};

/* A statement without rows. `ret_changed` (may be NULL): how many rows it touched. */
int query_run(struct store_conn *conn, const char *sql, const struct value *values, size_t count, int64_t *ret_changed);
/* A statement that answers one number. -ENOENT if it has no row. */
int query_number(struct store_conn *conn, const char *sql, const struct value *values, size_t count,
                 int64_t *ret_number);
/* Begins, and finds the first row: 0, and query_end() is due. -ENOENT: there is none; or -errno. */
int query_first(struct store_conn *conn, const char *sql, const struct value *values, size_t count,
                struct query *ret_query);
/* The values must live until query_end(), which is due after every query_begin() that returned 0. */
int query_begin(struct store_conn *conn, const char *sql, const struct value *values, size_t count,
                struct query *ret_query);
int query_next(struct query *query); /* 1: a row; 0: no more; -errno */
void query_end(struct query *query);

bool query_is_null(const struct query *query, int column);
int64_t query_int(const struct query *query, int column);
uint64_t query_count(const struct query *query, int column);   /* a counter */
const char *query_text(const struct query *query, int column); /* "" for NULL; until the next row */
int64_t query_time(const struct query *query, int column);
/* Copies at most `room` bytes and returns how many; 0 for NULL. */
size_t query_blob(const struct query *query, int column, void *to, size_t room);
void query_copy(const struct query *query, int column, char *to, size_t room);
/* These leave zeros where the column is NULL or was broken by hand. */
void query_uuid(const struct query *query, int column, struct uuid *ret_uuid);
void query_ip(const struct query *query, int column, struct ip_addr *ret_addr);
void query_prefix(const struct query *query, int column, struct prefix *ret_prefix);
void query_key(const struct query *query, int column, struct key *ret_key);

/* --- schema --- */

/* Version this program knows; store_open() brings a store there. */
int store_schema_version(void);
