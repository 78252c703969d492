/* A connection with its prepared statements. Internal to store/: the outside sees store.h. */
#pragma once

#include <stdatomic.h>

#include "store/driver/driver.h"

struct backoff;

#define CONN_STATEMENTS 256 /* a power of two, several times what the nouns use */

struct store_conn {
    const struct driver *driver;
    struct driver_conn *conn;
    char where[256]; /* for people: the file, or the server without its password */
    const char *url; /* behind the driver's name; the store's */
    struct driver_options options;
    struct backoff *backoff; /* the store's; NULL: not opened again by itself */
    atomic_int *schema;      /* the store's; NULL: nobody else migrates it. See store_begin() */
    bool in_transaction;
    unsigned open_queries;            /* begun and not ended: their statements must stay */
    bool taken;                       /* readers: in use; guarded by the store's mutex */
    struct driver_fault open_failure; /* words, when `conn` could not be opened */
    struct {
        const char *text; /* the caller's pointer: found again without hashing the text */
        char *sql;        /* owned */
        struct driver_statement *statement;
    } statements[CONN_STATEMENTS];
    unsigned statement_count;
};

/* What conn_revive() will open. `where` and `backoff` (may be NULL) must live as long as the connection. */
void conn_plan(struct store_conn *conn, const struct driver *driver, const char *where,
               const struct driver_options *options, struct backoff *backoff);
/* Both. */
int conn_open(const struct driver *driver, const char *where, const struct driver_options *options,
              struct store_conn *ret_conn);
void conn_close(struct store_conn *conn);
/* Opens it again if it was lost, unless the database has been away and it is too early to ask again. Only between
 * transactions. */
int conn_revive(struct store_conn *conn);
