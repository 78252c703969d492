/* Counters, handshakes and sessions on their way from the data plane into the store (usage.c tells how), and what
 * readers of the API see of them meanwhile.
 *
 * usage_flush() by one thread at a time; all else by any. Its lock is held for a few words only, or for one look
 * through all peers. Read first: live.h, usage.c, write.c. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/desired.h"
#include "service/usage/live.h"

struct identity;
struct ledger;
struct plane;
struct router_row;
struct store;
struct tenant_row;

struct batch; /* write.c */

/* Shared by usage.c (what is seen) and write.c (what is written); nobody else looks inside. */
struct usage {
    /* immutable once open */
    struct store *store;
    const struct identity *identity;
    struct ledger *ledger;
    struct plane *plane;
    unsigned period_s; /* how often it is flushed */

    pthread_mutex_t flush_mutex; /* one flush at a time, and what only it touches: */
    uint64_t since;              /* the data plane's mark of the last reading */
    uint64_t generation;
    size_t cursor;         /* in the table: who is looked at next for a write that has time */
    uint64_t looked_ns;    /* when the whole table was last looked through */
    double allowance;      /* writes that have time, saved up */
    struct batch *unknown; /* owned: what a commit wrote of which nobody can say whether it was done; NULL: none */

    pthread_mutex_t mutex;  /* all that follows */
    pthread_cond_t settled; /* `writing` ended */
    struct lives lives;
    bool loaded;       /* what the rows say of our sessions is known */
    uint64_t held;     /* until then: how many they are */
    uint64_t restarts; /* how often peers left the data plane, whose counters may come back from zero */
    uint64_t writes;   /* how often rows took over what was unwritten */
    bool recheck_due;  /* rows of our sessions may have been changed by others */
    bool writing;      /* a transaction with such rows is on its way */
};

struct usage_config {
    struct store *store;
    const struct identity *identity;
    struct ledger *ledger;
    struct plane *plane; /* tells usage what it takes out, from now on */
    unsigned period_s;
};

/* All that is named must outlive it. -ENOMEM. */
int usage_open(const struct usage_config *config, struct usage **ret_usage);
void usage_close(struct usage *usage); /* accepts NULL */
/* Once the database was reached: how many sessions its rows say are here. */
int usage_count_held(struct usage *usage);

#define USAGE_WRITES_PER_S                                                                                             \
    12 /* by all gateways together; three rows each: the router's, what is counted, the tenant's */

/* Takes counters and handshakes over, and writes what is due, or everything. `writes_per_s`: rows that have time; 0:
 * not even the others, since another process speaks for this gateway. -ENOTCONN while the data plane is away. */
int usage_flush(struct usage *usage, bool everything, double writes_per_s);
/* The second half of it, within it: writes what is due (write.c). While it is not known whether the last commit was
 * done, nothing is. */
int usage_write(struct usage *usage, bool everything, const char *generation, double rate, int64_t now);

/* --- what happened to a peer --- */

/* A router that is gone or disabled, or has another key now: its peer's session is over, as its row says already. */
void usage_forget(struct usage *usage, const struct key *public_key);
void usage_forget_tenant(struct usage *usage, const struct uuid *tenant_id);
/* Another gateway has its session. */
void usage_moved(struct usage *usage, const struct key *public_key);

/* Another gateway took us for dead and ended a session in the record: if it is here still, that is written at once. */
void usage_ended(struct usage *usage, const struct key *public_key);
/* What others did to the rows of our sessions was not followed: with the next flush all are looked at. */
void usage_recheck(struct usage *usage);

/* --- for readers --- */

/* The greatest timestamp: raises the one given. */
void usage_timestamp(struct usage *usage, const struct key *public_key, uint8_t timestamp[DESIRED_TIMESTAMP_SIZE]);
/* Rows with what they do not say yet. Take a mark, read the rows, fill them; false: rows were written in between, read
 * them again (USAGE_TRIES times at most: then they are as good as a moment ago). */
#define USAGE_TRIES 5
uint64_t usage_mark(struct usage *usage);
bool usage_fill_routers(struct usage *usage, uint64_t mark, struct router_row *rows, size_t count);
bool usage_fill_tenants(struct usage *usage, uint64_t mark, struct tenant_row *rows, size_t count);
/* Where routers with a session here dial in from, as far as seen here. Stops at the first non-zero return. */
typedef int usage_endpoint_fn(void *context, const struct ip_addr *address);
int usage_each_endpoint(struct usage *usage, usage_endpoint_fn *fn, void *context);
uint64_t usage_connected(struct usage *usage); /* sessions here */
