#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/conn.h"
#include "store/driver/backoff.h"
#include "store/migrations.h"
#include "store/schema.h"

#define READERS_MAX 16
#define CHECKPOINT_PAGES 1000 /* pages in the log that are worth it */

struct store {
    const struct driver *driver;
    char *where;
    struct driver_options options; /* of readers */
    unsigned reader_limit;
    struct backoff backoff;
    struct store_conn writer;
    struct driver_listener *listener; /* store_await()'s thread only; NULL: not needed yet, or lost */
    bool migrated;                    /* whoever wakes it */
    atomic_bool admitted;             /* readers may come */
    atomic_int schema;                /* as last seen; of one that is shared */
    struct store_conn
        *checkpointer; /* store_checkpoint()'s thread only: moves the log into the file. NULL: not needed yet */
    /* under `mutex` */
    pthread_mutex_t mutex;
    pthread_cond_t returned;
    unsigned reader_count;
    struct store_conn *readers[READERS_MAX]; /* opened as they are needed */
};

static const struct driver *const drivers[] = {&driver_sqlite, &driver_postgresql};

void store_close(struct store *store) {
    if (!store) {
        return;
    }
    for (unsigned i = 0; i < store->reader_count; i++) {
        conn_close(store->readers[i]);
        free(store->readers[i]);
    }
    if (store->listener) {
        store->driver->deafen(store->listener);
    }
    if (store->checkpointer) {
        conn_close(store->checkpointer);
        free(store->checkpointer);
    }
    if (store->writer.driver) {
        conn_close(&store->writer);
    }
    pthread_cond_destroy(&store->returned);
    pthread_mutex_destroy(&store->mutex);
    backoff_close(&store->backoff);
    explicit_bzero(store->where, strlen(store->where)); /* a URL may hold a password */
    free(store->where);
    free(store);
}

static bool has_scheme(const char *url, const char *scheme) {
    size_t size = scheme ? strlen(scheme) : 0;
    return size && strncmp(url, scheme, size) == 0 && url[size] == ':' && url[size + 1];
}

static const struct driver *driver_of(const char *url, const char **ret_where) {
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        if (has_scheme(url, drivers[i]->name) || has_scheme(url, drivers[i]->other_name)) {
            *ret_where = strchr(url, ':') + 1;
            return drivers[i];
        }
    }
    return NULL;
}

int store_open(const char *url, const struct store_options *options, struct store **ret_store,
               struct problem *ret_problem) {
    static const struct store_options defaults;
    options = options ? options : &defaults;
    const char *where;
    const struct driver *driver = driver_of(url, &where);
    if (!driver) {
        return problem_set(ret_problem, PROBLEM_INVALID, "store-url", "store.url",
                           "The store's URL (\"%.*s...\") is not understood; write sqlite:/path/to/file or "
                           "postgresql://user@host/database.",
                           (int)strcspn(url, ":/@"), url);
    }
    struct store *store = calloc(1, sizeof *store);
    char *copy = strdup(where);
    if (!store || !copy) {
        free(store);
        free(copy);
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    store->driver = driver;
    store->where = copy;
    store->options = (struct driver_options){.busy_ms = options->busy_ms ? options->busy_ms : 5000,
                                             .unhurried = options->unhurried,
                                             .exclusive = options->exclusive};
    store->reader_limit = options->readers ? options->readers : 4;
    store->reader_limit = store->reader_limit < READERS_MAX ? store->reader_limit : READERS_MAX;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->returned, NULL);
    backoff_open(&store->backoff);
    conn_plan(&store->writer, driver, store->where, &store->options, NULL);
    store->options.read_only = true;
    if (!options->waits) {
        int r = store_wake(store, ret_problem);
        if (r < 0) {
            store_close(store);
            return r;
        }
        store_admit(store);
    }
    *ret_store = store;
    return 0;
}

int store_wake(struct store *store, struct problem *ret_problem) {
    struct store_conn *writer = &store->writer;
    int r = conn_revive(writer);
    if (r < 0) {
        return store_problem(writer, r, ret_problem);
    }
    writer->backoff = &store->backoff;
    if (!store->migrated) {
        r = migrations_run(writer, ret_problem);
        store->migrated = r == 0;
        store->schema = SCHEMA_VERSION;
        writer->schema = r == 0 && store_is_shared(store) ? &store->schema : NULL;
    }
    return r;
}

void store_admit(struct store *store) {
    store->admitted = true;
}

const char *store_kind(const struct store *store) {
    return store->driver->name;
}

struct store_conn *store_writer(struct store *store) {
    return &store->writer;
}

/* Under the mutex: one that is free, or a new one, or -EAGAIN: all are taken. */
static int pick_reader(struct store *store, struct store_conn **ret_conn) {
    for (unsigned i = 0; i < store->reader_count; i++) {
        if (!store->readers[i]->taken) {
            store->readers[i]->taken = true;
            *ret_conn = store->readers[i];
            return 0;
        }
    }
    if (store->reader_count == store->reader_limit) {
        return -EAGAIN;
    }
    struct store_conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        return -ENOMEM;
    }
    conn_plan(conn, store->driver, store->where, &store->options, &store->backoff);
    conn->schema = store_is_shared(store) ? &store->schema : NULL;
    conn->taken = true;
    store->readers[store->reader_count++] = conn;
    *ret_conn = conn;
    return 0;
}

static int take_reader(struct store *store, struct store_conn **ret_conn, struct problem *ret_problem) {
    struct store_conn *conn = NULL;
    if (!store->admitted) {
        return problem_set(ret_problem, PROBLEM_UNAVAILABLE, PROBLEM_STORE_AWAY, NULL,
                           "The database %s has not answered yet. It is tried again and again.", store->writer.where);
    }
    pthread_mutex_lock(&store->mutex);
    int r = pick_reader(store, &conn);
    while (r == -EAGAIN) {
        pthread_cond_wait(&store->returned, &store->mutex);
        r = pick_reader(store, &conn);
    }
    pthread_mutex_unlock(&store->mutex);
    if (r < 0) {
        return problem_set(ret_problem, PROBLEM_INTERNAL, "no-memory", NULL, "Out of memory.");
    }
    r = conn_revive(conn); /* opens a new one */
    if (r < 0) {
        r = store_problem(conn, r, ret_problem);
        store_reader_put(store, conn);
        return r;
    }
    *ret_conn = conn;
    return 0;
}

int store_reader_take(struct store *store, struct store_conn **ret_conn, struct problem *ret_problem) {
    return store->schema > SCHEMA_VERSION ? schema_newer(store->writer.where, store->schema, ret_problem)
                                          : take_reader(store, ret_conn, ret_problem);
}

int store_look(struct store *store, struct problem *ret_problem) {
    struct store_conn *conn = NULL;
    int r = take_reader(store, &conn, ret_problem);
    if (!conn) {
        return r;
    }
    r = conn->schema ? schema_check(conn) : 0;
    r = r < 0 ? store_problem(conn, r, ret_problem) : 0;
    store_reader_put(store, conn);
    return r;
}

void store_reader_put(struct store *store, struct store_conn *conn) {
    if (!conn) {
        return;
    }
    store_rollback(conn);
    pthread_mutex_lock(&store->mutex);
    conn->taken = false;
    pthread_cond_signal(&store->returned);
    pthread_mutex_unlock(&store->mutex);
}

int store_checkpoint(struct store *store) {
    const struct driver *driver = store->driver;
    if (!driver->wal_pages || driver->wal_pages(store->writer.conn) < CHECKPOINT_PAGES) {
        return 0;
    }
    if (!store->checkpointer) {
        struct driver_options options = {.busy_ms = store->options.busy_ms};
        struct store_conn *checkpointer = calloc(1, sizeof *checkpointer);
        if (!checkpointer) {
            return -ENOMEM;
        }
        int r = conn_open(driver, store->where, &options, checkpointer);
        if (r < 0) {
            conn_close(checkpointer);
            free(checkpointer);
            return r;
        }
        store->checkpointer = checkpointer;
    }
    return driver->checkpoint(store->checkpointer->conn);
}

int store_server(const struct store_conn *conn, struct ip_addr *ret_address) {
    bool known = conn->conn && conn->driver->server && conn->driver->server(conn->conn, ret_address);
    return known ? 0 : -ENOENT;
}

bool store_is_shared(const struct store *store) {
    return store->driver->listen != NULL;
}

unsigned store_epoch(struct store *store) {
    return backoff_reached(&store->backoff);
}

int store_await(struct store *store, unsigned ms) {
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    const struct driver *driver = store->driver;
    const struct driver_options options = {.busy_ms = store->options.busy_ms};
    struct driver_fault fault = {0};
    int r = 0;
    if (driver->listen && !store->listener && backoff_may_try(&store->backoff, &fault)) {
        r = driver->listen(store->where, &options, &store->listener, &fault);
        backoff_tried(&store->backoff, r, &fault);
    }
    if (!store->listener) {
        nanosleep(&pause, NULL);
        return r;
    }
    r = driver->await(store->listener, ms);
    if (r < 0) {
        driver->deafen(store->listener);
        store->listener = NULL;
        nanosleep(&pause, NULL);
    }
    return r;
}
