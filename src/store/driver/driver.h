/* What a database must offer: one small table of operations, one implementation a database (sqlite.c, postgresql.c).
 *
 * The SQL is the same for all of them: parameters are $1, $2, ..., conflicts and RETURNING as PostgreSQL writes them.
 * Only migrations name types by words in braces ("{uuid}") that the driver replaces. A connection and its statements
 * belong to one thread at a time.
 *
 * Errors are -errno, one per class a caller may want to tell apart; driver_fault has the words:
 *   -EEXIST unique constraint (its name in driver_fault)   -EBUSY locked by another process   -EROFS read-only
 *   -ETIME a statement took longer than one may
 *   -ENOSPC disk full   -EBADMSG not a database, or damaged   -ENOTCONN away: not reached, or connection lost
 *   -EACCES refused: credentials, rights   -ENOENT no such place   -EPROTO reached, but of no use as it is
 *   -ESTALE a statement that was sent ahead ran into a unique constraint: begin anew, and wait for each answer
 *   -EINPROGRESS of commit: unknown whether it was done
 *   -EOVERFLOW the schema is newer than this program (of the store, not of a driver)
 *   -EAGAIN broken off in favour of somebody else; the same transaction may succeed now   -ENOMEM   -EIO anything else
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"
#include "store/driver/value.h"

struct driver_conn;
struct driver_statement;
struct driver_listener;

struct driver_fault {
    char constraint[64]; /* as PostgreSQL names it by default: table_column_key; "" unless -EEXIST */
    char message[192];   /* the database's own words */
};

struct driver_options {
    unsigned busy_ms; /* how long to wait for a lock that another process holds */
    bool read_only;   /* a connection for queries only */
    bool unhurried;   /* a statement, and a transaction's rest, may last as long as they take */
    bool exclusive;   /* a file that must be there, and that no other process may have open meanwhile */
};

struct driver {
    const char *name;       /* "sqlite": the scheme of its URLs, and how people call it */
    const char *other_name; /* another scheme, or NULL */
    const char *remedy;     /* a sentence: what to look at when it cannot be opened */
    const char *read_only_remedy;
    /* For moving a store (migrate.c): names of our tables; of table $1 the columns, as name, type, whether the database
     * numbers it; the last number that table $1 gave; and to go on behind $2. */
    const char *tables_sql, *columns_sql, *last_id_sql, *set_id_sql;
    bool takes_all; /* start() takes all rows at once: what does not fit into memory is read through a cursor */
    /* The place for people and logs: never a password. */
    void (*describe)(const char *where, char *ret_text, size_t room);
    /* `where` is the URL behind "name:". On failure `ret_fault` has the words. */
    int (*open)(const char *where, const struct driver_options *options, struct driver_conn **ret_conn,
                struct driver_fault *ret_fault);
    /* Accepts NULL. All statements must be freed before. */
    void (*close)(struct driver_conn *conn);
    /* Whether the connection still stands, as far as can be said without asking the other side. NULL: always. */
    bool (*alive)(struct driver_conn *conn);
    /* The address of the server that it speaks to. NULL, or false: not known, or nothing but a file or a socket. */
    bool (*server)(struct driver_conn *conn, struct ip_addr *ret_address);
    /* Statements without parameters or rows, separated by semicolons. */
    int (*script)(struct driver_conn *conn, const char *sql);
    /* A type word of a migration, without braces. NULL: no such word. */
    const char *(*type)(const char *word);

    int (*begin)(struct driver_conn *conn, bool write);
    int (*commit)(struct driver_conn *conn); /* on failure the transaction is still open: roll back */
    void (*rollback)(struct driver_conn *conn);

    int (*prepare)(struct driver_conn *conn, const char *sql, struct driver_statement **ret_statement);
    void (*free)(struct driver_statement *statement);
    /* Binds, which borrows the values until finish(), and starts. Values beyond the last parameter are ignored. */
    int (*start)(struct driver_statement *statement, const struct value *values, size_t count);
    /* start() for a statement whose rows and count nobody asks for, in a transaction: it may return before the database
     * has done it. A failure then shows in a later call, in commit() at the latest, and is none that a caller could
     * tell apart from the failure of the whole. NULL: use start(). */
    int (*send)(struct driver_statement *statement, const struct value *values, size_t count);
    /* Takes numbers for new rows of a table out of its sequence, so that they can be inserted with send(). NULL: there
     * is no use in that. */
    int (*reserve)(struct driver_conn *conn, const char *table, int64_t count, int64_t *ret_first);
    /* 1: a row is there; 0: no more; or -errno. */
    int (*next)(struct driver_statement *statement);
    void (*finish)(struct driver_statement *statement);
    /* Rows the last statement changed. */
    int64_t (*changed)(struct driver_statement *statement);

    /* Columns of the row that next() found, from 0. Pointers live until the next call on the statement. */
    bool (*is_null)(struct driver_statement *statement, int column);
    int64_t (*number)(struct driver_statement *statement, int column);
    const char *(*text)(struct driver_statement *statement, int column); /* "" for NULL */
    const void *(*blob)(struct driver_statement *statement, int column, size_t *ret_size);
    int64_t (*time)(struct driver_statement *statement, int column); /* wall, microseconds; 0 for NULL */

    const struct driver_fault *(*fault)(struct driver_conn *conn);

    /* Upkeep, or NULL where the database sees to it itself. Pages that commits of this connection left in the
     * write-ahead log (from any thread); and moving them into the file, on a connection of its own, beside all others.
     */
    unsigned (*wal_pages)(struct driver_conn *writer);
    int (*checkpoint)(struct driver_conn *conn);

    /* Other processes that write, or NULL where there are none: a statement that tells all who listen when the
     * transaction commits; and a connection that hears it, from one thread. */
    const char *announce;
    int (*listen)(const char *where, const struct driver_options *options, struct driver_listener **ret_listener,
                  struct driver_fault *ret_fault);
    int (*await)(struct driver_listener *listener, unsigned ms); /* 1: told; 0: time is up; -ENOTCONN: lost */
    void (*deafen)(struct driver_listener *listener);
};

extern const struct driver driver_sqlite;
extern const struct driver driver_postgresql;
