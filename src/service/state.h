/* What the files of this room share: the service itself, and the path of a write through it.
 *
 * A write: validate; write_begin() waits for the writing turn and opens the transaction; the nouns' functions work in
 * it; write_commit() numbers the changes, commits, takes a place in the data plane's queue and lets the next writer in;
 * plane_enter() waits for that place, plane_apply() brings the change into force, plane_leave(). So the data plane sees
 * changes in the order of their commits, while the next transaction is already running.
 *
 * Locks are taken in this order, and none is held while waiting for one to its left:
 * writing turn -> applying turn -> reconcile_mutex -> watch_mutex -> mutex. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "service/pool/pool.h"
#include "service/record/turn.h"
#include "service/service.h"
#include "service/usage/live.h"
#include "store/noun/changes.h"
#include "store/noun/gateways.h"
#include "store/noun/routers.h"
#include "store/noun/tenants.h"
#include "store/store.h"

#define PLANE_BATCH 1000
#define TOKEN_USES_MAX 64
#define TOKENS_KNOWN 256 /* a power of two */

struct token_use {
    struct uuid id;
    int64_t at;
};

/* A token that was looked up, by its hash: good for reads from memory while the database is away. */
struct token_known {
    uint8_t hash[32];
    struct uuid id;
    struct caller caller;
    int64_t expires_at, checked_at; /* checked_at 0: none */
};

struct service {
    /* immutable once open */
    struct service_gateway gateway;
    struct gateway_columns columns; /* the same, as written into rows */
    struct store *store;
    const struct backend_ops *ops;
    struct backend_config backend_config; /* its strings are owned below */
    char *interface_name, *engine_path, *engine_log, *engine_xdp, *backend_why;
    struct key *private_key; /* locked memory */
    uint8_t *seal_key;       /* locked memory, 32: preshared keys at rest */
    uint8_t *answer_key;     /* locked memory, 32: kept answers */
    uint16_t listen_port;
    struct fwmark fwmark;
    unsigned reconcile_s, usage_s, grace_s, clock_tolerance_s;
    int64_t started_at;
    bool shared;             /* other gateways may use the database too */
    struct gateway_row self; /* as it entered; what changes is in `gateways` */

    struct turn writing;     /* the store's writer */
    struct turn applying;    /* `plane` */
    struct backend *plane;   /* applying turn: deltas. NULL: never been there */
    struct change_mark mark; /* applying turn: the last change applied, if known */
    atomic_uint verified;    /* written within it: the store's epoch in which the feed was seen to go on from there */

    pthread_mutex_t reconcile_mutex; /* one comparison at a time */

    pthread_mutex_t watch_mutex;
    struct backend *watch; /* watch_mutex: looks on without holding up deltas */

    atomic_bool ready; /* the database was reached, and it is the right one (attach.c) */

    pthread_mutex_t mutex; /* all that follows */
    bool store_ok;         /* it answered when it was last asked */
    uint64_t store_asked;  /* monotonic, ns: it is being asked since; 0: nobody waits for it */
    bool store_refused;    /* it answers, but it is not ours */
    char store_trouble[256];
    pthread_cond_t committed;
    pthread_cond_t attention; /* the keeper has something to do */
    uint64_t revision, tenants, routers;
    uint64_t counted;             /* up to this revision the two above are what the store said, whoever changed it */
    bool recount_due;             /* one of them is not known for sure */
    uint64_t applied;             /* written within the applying turn: every change up to here is in the data plane */
    unsigned pending;             /* our own changes that may be committed and are not applied yet */
    uint64_t seen_ns;             /* when the database last answered; monotonic */
    uint64_t guarded_ns;          /* when peers without a session were last taken out because of that */
    bool severed;                 /* it has not for so long that nobody new is let in */
    bool deposed;                 /* another process speaks for this gateway */
    char warning[256];            /* about this gateway among the others; "": none */
    struct gateway_row *gateways; /* owned: all, as last read */
    size_t gateway_count;
    int64_t gateways_at; /* the database's clock then */
    uint64_t generation; /* of the data plane when it was last compared; 0: never */
    bool away;           /* the data plane does not answer: deltas are left to reconciliation */
    bool in_sync;
    uint64_t troubles; /* how often something went wrong with the data plane */
    char trouble[256];
    int64_t reconciled_at;
    uint32_t reconcile_ms;
    uint64_t mended, renewed;
    struct backend_state state;
    bool closing, attention_due;
    struct token_use used[TOKEN_USES_MAX]; /* to be written; more in one second wait for their next use */
    size_t used_count;
    struct token_known known[TOKENS_KNOWN]; /* by the first bits of the hash */

    struct usage *usage;
    pthread_t keeper, counter, clerk, follower, herald, scout;
    bool keeper_runs, counter_runs, clerk_runs, follower_runs, herald_runs, scout_runs;
};

/* --- writes (write.c) --- */

/* Numbers taken ahead for rows. */
struct numbers {
    int64_t next, end;
};

struct write {
    struct service *service;
    struct store_conn *conn;
    struct pool pool;
    int64_t now;
    const char *actor;
    struct change *changes; /* owned */
    size_t change_count, change_room;
    int64_t more_tenants, more_routers;    /* since write_begin() */
    struct numbers tenant_ids, router_ids; /* see write_hasten() */
    bool on;
    uint64_t place;          /* after write_commit(): in the applying turn's queue */
    uint64_t first, last;    /* after a commit: its revisions; 0: it has none */
    struct change_mark mark; /* of the last */
};

int write_begin(struct service *s, const char *actor, struct write *ret_write, struct problem *ret_problem);
/* Lets this thread write before the database is known to be the right one: it is finding that out. */
void write_allow_early(bool allow);
/* For many rows at once: they are inserted without waiting for each, if the database is one where that pays. Then any
 * duplicate fails the whole with PROBLEM_STORE_AHEAD, and it has to be done again without this. */
int write_hasten(struct write *w, uint64_t tenants, uint64_t routers, struct problem *ret_problem);
/* The next one taken ahead; 0: none was. */
int64_t write_number(struct numbers *numbers);
/* `gone` may be NULL. -ENOMEM. */
int write_note(struct write *w, const char *kind, const struct uuid *tenant_id, const struct uuid *router_id,
               const struct key *gone);
/* After success plane_enter_write(s, w) and plane_leave(s) are due. After failure nothing was changed. */
int write_commit(struct write *w, struct problem *ret_problem);
/* The same for a write that the data plane has no part in: nothing is due. */
int write_commit_aside(struct write *w, struct problem *ret_problem);
/* Undoes it. Harmless after a commit. */
void write_abort(struct write *w);

/* --- the data plane (plane.c) --- */

void plane_enter(struct service *s, uint64_t place);
/* For a committed write: what others committed before it is in force first. */
void plane_enter_write(struct service *s, const struct write *w);
void plane_leave(struct service *s);
/* Within a turn: brings changes into force, or notes that the data plane is behind. Never fails for the caller. Returns
 * whether they are in force. */
bool plane_apply(struct service *s, const struct desired_change *changes, size_t count);
/* The same for one who wants to know why not. */
int plane_send(struct service *s, const struct desired_change *changes, size_t count, struct problem *ret_problem);
bool plane_routes(struct service *s, const struct prefix *add, size_t add_count, const struct prefix *remove,
                  size_t remove_count);
/* Notes that the data plane is behind, and calls the keeper. */
void plane_trouble(struct service *s, int error, const struct problem *problem);
/* The same where it is not the data plane's fault: what it should hold is not known for sure, and has to be compared.
 */
void plane_behind(struct service *s);
/* Sends every router of a tenant that belongs there, in batches. */
void plane_apply_tenant(struct service *s, int64_t tunnel_id);
/* Connects or starts it if it is away. 0: it answers. */
int plane_revive(struct service *s, struct problem *ret_problem);
int plane_look(struct service *s, struct backend_state *ret_state);
void plane_close(struct service *s);

void desired_tenant_from(const struct tenant *tenant, struct desired_change *ret_change);
/* From a router whose preshared key is filled in; without its timestamp. */
void desired_peer_of(const struct router *router, struct desired_change *ret_change);
/* From a row: opens the seal of the preshared key. -EBADMSG: it was not sealed by this gateway. */
int desired_peer_from(struct service *s, const struct router_row *row, struct desired_change *ret_change);

/* --- secrets at rest (seal.c) --- */

int seal_open(struct service *s, const struct key *private_key);
void seal_close(struct service *s);
void seal_preshared(struct service *s, struct router_row *row);
int seal_preshared_open(struct service *s, const struct router_row *row, struct key *ret_key);

/* --- who may (access.c) --- */

bool access_sees(const struct caller *c, const struct uuid *tenant_id);
/* May read something of this tenant / change its routers / do what only the operator may. */
int access_read(const struct caller *c, const struct uuid *tenant_id, const char *noun, struct problem *ret_problem);
int access_write(const struct caller *c, const struct uuid *tenant_id, const char *noun, struct problem *ret_problem);
int access_admin(const struct caller *c, const struct uuid *tenant_id, struct problem *ret_problem);
int access_not_found(const char *noun, struct problem *ret_problem);
int access_cursor(const char *cursor, int64_t *ret_after, struct problem *ret_problem);

/* --- is it valid (check.c) --- */

int check_name(const char *name, struct problem *ret_problem);
int check_tenant(struct service *s, const struct tenant_spec *spec, struct problem *ret_problem);
int check_public_key(struct service *s, const struct key *key, struct problem *ret_problem);
/* What can be said without the store. */
int check_lans(struct service *s, const struct prefix *lans, size_t count, struct problem *ret_problem);
/* And with the store, within the transaction: against the tenant's prefix and what is in its space. */
int check_lans_free(struct service *s, struct store_conn *conn, const struct caller *c, const struct tenant_row *tenant,
                    const struct prefix *lans, size_t count, struct problem *ret_problem);

/* --- pieces that single and bulk writes share --- */

/* Checked and with id, before the transaction. */
int tenant_prepare(struct service *s, const struct tenant_spec *spec, int64_t now, struct tenant *ret_tenant,
                   struct problem *ret_problem);
/* In the transaction. `routers`: how many will be added at once. */
int tenant_make(struct write *w, struct tenant *tenant, uint32_t routers, struct tenant_row *ret_row,
                struct problem *ret_problem);
/* Checked, with id and keys, before the transaction. */
int router_prepare(struct service *s, const struct router_spec *spec, int64_t now, struct router_made *ret_made,
                   struct problem *ret_problem);
/* In the transaction; does not count the router to its tenant. */
int router_make(struct write *w, const struct caller *c, struct tenant_row *tenant, const struct router_spec *spec,
                struct router_made *made, struct problem *ret_problem);
/* Whether the tenant may have that many more. */
int router_room(const struct tenant_row *tenant, uint64_t more, struct problem *ret_problem);
/* The IPv6 address that goes with a hub address. */
struct ip_addr router_address6(const struct service *s, const struct ip_addr *hub_address);

/* --- the database (attach.c) --- */

/* Reaches the database and holds the configuration against it; from then on it may be read and written. To be repeated
 * while it is away. */
int attach(struct service *s, struct problem *ret_problem);
/* Whether what it failed with is a matter of time: the database is away, or others of a shared one hold it up. */
bool attach_may_come(const struct service *s, const struct problem *problem);
/* Whether something failed only because the database is away, or outgrew this program. */
bool attach_is_lacking(const struct problem *problem);
/* Asks the database whether it is there: and reaches for it while it never was. */
void attach_look(struct service *s);
/* Whether it answered lately; never waits. `ret_trouble` (may be NULL): its words. */
bool attach_is_there(struct service *s, char ret_trouble[256]);

/* --- threads --- */

int reconcile_run(struct service *s, struct problem *ret_problem);
int usage_open(struct service *s);
void usage_close(struct service *s);
/* Takes counters and handshakes over, and writes what is due, or everything. -ENOTCONN while the data plane is away. */
int usage_flush(struct service *s, bool everything);
/* A router that is gone or disabled, or has another key now: its peer's session is over, as its row says already. */
void usage_forget(struct service *s, const struct key *public_key);
void usage_forget_tenant(struct service *s, const struct uuid *tenant_id);
/* Another gateway has its session. */
void usage_moved(struct service *s, const struct key *public_key);
/* After these were applied: removed peers count from zero. */
void usage_taken_out(struct service *s, const struct desired_change *changes, size_t count);
/* The greatest timestamp: raises the one given. */
void usage_timestamp(struct service *s, const struct key *public_key, uint8_t timestamp[DESIRED_TIMESTAMP_SIZE]);
/* Rows with what they do not say yet. Take a mark, read the rows, fill them; false: rows were written in between, read
 * them again (USAGE_TRIES times at most: then they are as good as a moment ago). */
#define USAGE_TRIES 5
uint64_t usage_mark(struct service *s);
bool usage_fill_routers(struct service *s, uint64_t mark, struct router_row *rows, size_t count);
bool usage_fill_tenants(struct service *s, uint64_t mark, struct tenant_row *rows, size_t count);
uint64_t usage_connected(struct service *s); /* sessions here */

/* --- several gateways --- */

/* Within the transaction that opens the store: whether this gateway may come, and its row. `ret_alone`: no other one is
 * alive. */
int gateways_enter(struct service *s, struct write *w, bool *ret_alone, struct problem *ret_problem);
/* Says that we are here, and looks who else is. */
void gateways_beat_once(struct service *s);
void gateways_leave(struct service *s);
unsigned gateways_alive_count(struct service *s); /* with us: at least 1 */
uint64_t gateways_connected(struct service *s);   /* sessions at the others */
/* Within the applying turn: brings what was committed up to and including `until` into force, in order. */
void follow_until(struct service *s, uint64_t until, bool own_too);
/* Within the applying turn: whether the feed is still the one that was applied so far, if the database was reached
 * anew. If not, everything is compared. */
void follow_verify(struct service *s);
/* One look at the feed. */
int follow_once(struct service *s);
/* Takes peers without a session out of the data plane while the database has been away for too long. Never touches the
 * database. */
void follow_guard(struct service *s);
void *follow_main(void *service);
int keeper_start(struct service *s);
void keeper_stop(struct service *s);
/* Deletes what is past its time: kept answers, old changes. */
void keeper_sweep(struct service *s);
void token_flush_used(struct service *s);
