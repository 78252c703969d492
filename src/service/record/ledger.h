/* Writing into the store, and what is known of it without asking: the last revision, how many tenants and routers.
 *
 * A write: validate; write_begin() waits for the writing turn and opens the transaction; the nouns' functions work in
 * it; write_commit() numbers the changes, commits, takes a place in the data plane's queue and lets the next writer in.
 * What it returns is a receipt, and force_begin() (sync/force.h) is where it goes: it waits for that place, and only
 * then may the change be brought into force. So the data plane sees changes in the order of their commits, while the
 * next transaction is already running. A receipt that goes nowhere holds up the data plane for good, and
 * ledger_writers() tells tests of it.
 *
 * Any thread. The ledger's lock is held for a few words only; nothing is called with it held. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "model/key.h"
#include "model/problem.h"
#include "service/pool/pool.h"
#include "store/noun/audit.h"
#include "store/noun/changes.h"

struct identity;
struct ledger;
struct reach;
struct store;
struct store_conn;
struct turn;

/* `queue` is the data plane's: each commit that it has a part in takes a place there. All must outlive the ledger.
 * -ENOMEM. */
int ledger_open(struct store *store, struct reach *reach, const struct identity *identity, struct turn *queue,
                struct ledger **ret_ledger);
void ledger_free(struct ledger *ledger); /* accepts NULL */
/* Before threads run: `unknown` is called when nobody can say whether a commit was done, without a lock held. */
void ledger_observe(struct ledger *ledger, void (*unknown)(void *context), void *context);

/* --- what is known --- */

struct ledger_counts {
    uint64_t revision, tenants, routers;
};

struct ledger_counts ledger_counts(struct ledger *ledger);
uint64_t ledger_revision(struct ledger *ledger);
/* As found in the database when it was reached. */
void ledger_start(struct ledger *ledger, const struct ledger_counts *counts);
/* Others have committed up to here. */
void ledger_advance(struct ledger *ledger, uint64_t revision);
/* The database went back. */
void ledger_go_back(struct ledger *ledger, uint64_t revision);
/* Waits until the revision is beyond `seen`. False: time is up, or the ledger ends. */
bool ledger_wait(struct ledger *ledger, uint64_t seen, const struct timespec *until, uint64_t *ret_revision);
/* Every wait ends, and none begins. */
void ledger_end(struct ledger *ledger);
/* Changes of others: those up to `ledger_counted()` are in the numbers already. */
uint64_t ledger_counted(struct ledger *ledger);
void ledger_add(struct ledger *ledger, int64_t tenants, int64_t routers);
/* The numbers are not known for sure: ledger_recount() asks the database, if that is due. */
void ledger_doubt(struct ledger *ledger);
void ledger_recount(struct ledger *ledger);

/* --- writes --- */

/* Numbers taken ahead for rows. */
struct numbers {
    int64_t next, end;
};

struct write {
    struct ledger *ledger;
    struct store_conn *conn;
    struct pool pool;
    int64_t now;
    const char *actor;
    struct author author;   /* of the rows in the audit log; the actor alone unless somebody says more */
    struct change *changes; /* owned */
    size_t change_count, change_room;
    int64_t more_tenants, more_routers;    /* since write_begin() */
    struct numbers tenant_ids, router_ids; /* see write_pipeline() */
    bool on;
};

/* Who changes what no caller asked for: sessions begin and end. The audit log has nothing of it. */
#define GATEWAY_ACTOR "gateway"

/* A commit's ticket into the data plane. */
struct receipt {
    uint64_t place;          /* in its queue */
    uint64_t first, last;    /* its revisions; 0: it has none */
    struct change_mark mark; /* of the last */
};

int write_begin(struct ledger *ledger, const char *actor, struct write *ret_write, struct problem *ret_problem);
/* The same before the database is known to be the right one: for whoever is finding that out. */
int write_begin_early(struct ledger *ledger, const char *actor, struct write *ret_write, struct problem *ret_problem);
/* For many rows at once: they are inserted without waiting for each, if the database is one where that pays. Then any
 * duplicate fails the whole with PROBLEM_STORE_AHEAD, and it has to be done again without this. */
int write_pipeline(struct write *w, uint64_t tenants, uint64_t routers, struct problem *ret_problem);
/* The next one taken ahead; 0: none was. */
int64_t write_number(struct numbers *numbers);
/* `gone` may be NULL. -ENOMEM. */
int write_note(struct write *w, const char *kind, const struct uuid *tenant_id, const struct uuid *router_id,
               const struct key *gone);
/* What the change noted last was like before and after, as JSON (NULL: it was not, or is no more). Copies. -ENOMEM. */
int write_tell(struct write *w, const char *before, const char *after);
/* Keeps the first notes only: those behind are of a step that was undone. */
void write_forget(struct write *w, size_t kept);
/* After success the receipt must go to force_begin(). After failure nothing was changed. */
int write_commit(struct write *w, struct receipt *ret_receipt, struct problem *ret_problem)
    __attribute__((nonnull, warn_unused_result));
/* The same for a write that the data plane has no part in: there is no receipt. */
int write_commit_silent(struct write *w, struct problem *ret_problem) __attribute__((nonnull, warn_unused_result));
/* Undoes it. Harmless after a commit. */
void write_abort(struct write *w);

/* Commits that the data plane has a part in and that are not in force yet, those included that are about to be
 * committed: whoever can see a change in the store that is our own can see it counted here. */
unsigned ledger_writers(struct ledger *ledger);
/* One more, before it is committed; and one less, when its turn in the data plane has come. */
void ledger_expect(struct ledger *ledger);
void ledger_redeem(struct ledger *ledger);
/* The writing turn, for work that no commit of ours may come in between. */
void ledger_turn_begin(struct ledger *ledger);
void ledger_turn_end(struct ledger *ledger);
