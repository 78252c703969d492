/* The control plane's logic: what api/ and daemon/ call. The store is the truth, the data plane follows it.
 *
 * Ownership: a service owns its store connections and its backend. Every function may be called from any thread; writes
 * are serialized, reads run beside them. Errors: 0, or -errno with `ret_problem` filled (model/problem.h); a refused
 * call changes nothing. What a call acknowledged is durable; and it is in force in the data plane too, unless that is
 * away, in which case reconciliation brings it there (the answer of service_status() says so). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "model/problem.h"
#include "model/router.h"
#include "model/tenant.h"
#include "service/record/identity.h"
#include "store/noun/audit.h"
#include "store/noun/changes.h"

struct service;

struct service_config {
    const char *store_url;      /* "sqlite:/var/lib/sallyport/sallyport.db" */
    struct prefix pool;         /* unique addresses and hub addresses come out of it */
    struct ip_addr hub_address; /* in the pool */
    struct prefix ula;          /* family 0: generated once and kept in the store; a /48 */
    const char *endpoint;       /* host, or host:port, written into routers' configurations */
    enum dial_family family;    /* which of their addresses these give them, unless they ask for others */
    uint16_t listen_port;
    const struct prefix *lan_prefixes; /* where callers of one tenant may place LANs */
    size_t lan_prefix_count;
    const char *resolvers; /* resolv.conf(5); NULL: the host's */
    unsigned mtu;
    struct fwmark fwmark;
    struct key private_key; /* the gateway's; copied into locked memory */
    const struct backend_ops *backend;
    const char *backend_why; /* why this backend, for status */
    struct backend_config backend_config;
    unsigned reconcile_s; /* full comparison, seconds */
    unsigned usage_s;     /* counters and handshakes, seconds */
    unsigned audit_days;  /* how long the audit log is kept; 0: for ever */
    /* among other gateways of the same database */
    const char *name;           /* unique there; NULL: the host's */
    const char *region;         /* for people; may be NULL */
    const char *version;        /* for people; may be NULL */
    struct uuid identity;       /* of this installation, kept over restarts; zero: it goes by its name */
    unsigned grace_s;           /* cut off from the database for so long: nobody new is let in; 0: never */
    unsigned clock_tolerance_s; /* how far our clock may be off the database's; 0: any */
};

/* The problem of service_open() whose data plane cannot carry what the store holds. */
#define SERVICE_PRIVATE_TENANTS "private-tenants"

/* Opens the store (migrating it), takes the pool, starts reconciliation in a thread of its own. The data plane being
 * away is no error here, and no more is a PostgreSQL that is away: until it comes, reads and writes are refused with
 * PROBLEM_STORE_AWAY. */
int service_open(const struct service_config *config, struct service **ret_service, struct problem *ret_problem);
/* Flushes usage, stops; the data plane goes on. Accepts NULL. */
void service_close(struct service *service);

/* --- who asks --- */

enum scope {
    SCOPE_METRICS,
    SCOPE_TENANT_READ,
    SCOPE_TENANT_WRITE,
    SCOPE_ADMIN,
};

#define CALLER_ACTOR_SIZE CHANGE_ACTOR_SIZE

struct caller {
    enum scope scope;
    struct uuid tenant_id; /* for the tenant scopes */
    struct uuid token_id;  /* zero: a user of this host's socket */
    /* Who it is, to tell callers apart and for the feed: "uid:0", "token:billing (ID)". Names are not unique, ids are.
     */
    char actor[CALLER_ACTOR_SIZE];
    char origin[48];  /* for the audit log: "unix:0", "192.0.2.1" */
    char request[24]; /* and the id of the request */
};

/* --- tenants --- */

struct tenant_spec {
    struct uuid id; /* zero: make one */
    const char *name;
    enum addressing addressing;
    struct prefix subnet; /* family 0: the default */
    bool egress;
    struct limits limits;
};

struct tenant_patch {
    const char *name; /* NULL: as it is */
    bool has_egress, egress;
    bool has_bits_per_second, has_packets_per_second, has_routers;
    struct limits limits;
};

struct tenant_filter {
    const char *name; /* exact */
    const char *contains;
    bool has_addressing, has_status;
    enum addressing addressing;
    enum tenant_status status;
};

int service_tenant_create(struct service *s, const struct caller *c, const struct tenant_spec *spec,
                          struct tenant *ret_tenant, struct problem *ret_problem);
int service_tenant_get(struct service *s, const struct caller *c, const struct uuid *id, struct tenant *ret_tenant,
                       struct problem *ret_problem);
int service_tenant_patch(struct service *s, const struct caller *c, const struct uuid *id,
                         const struct tenant_patch *patch, struct tenant *ret_tenant, struct problem *ret_problem);
int service_tenant_set_status(struct service *s, const struct caller *c, const struct uuid *id,
                              enum tenant_status status, struct tenant *ret_tenant, struct problem *ret_problem);
int service_tenant_delete(struct service *s, const struct caller *c, const struct uuid *id,
                          struct problem *ret_problem);
/* Where its routers have their tunnel addresses, in order: a private tenant's own prefix, a unique one's blocks. The
 * caller frees them. */
int service_tenant_networks(struct service *s, const struct caller *c, const struct uuid *id,
                            struct prefix **ret_networks, size_t *ret_count, struct problem *ret_problem);
/* Up to `limit` tenants after `cursor` ("" for the first page) in order of creation; ret_next is "" on the last page.
 */
int service_tenant_list(struct service *s, const struct caller *c, const struct tenant_filter *filter,
                        const char *cursor, size_t limit, struct tenant *ret_tenants, size_t *ret_count,
                        char ret_next[64], struct problem *ret_problem);

/* --- routers --- */

struct router_spec {
    struct uuid id; /* zero: make one */
    struct uuid tenant_id;
    const char *name;
    struct key public_key; /* zero: a pair is made */
    struct key preshared_key;
    bool generate_preshared_key;
    struct ip_addr address; /* family 0: the next free one */
    const struct prefix *lans;
    size_t lan_count;
};

/* A router as made or rotated: the only moment at which a private key made here exists. Wipe it. */
struct router_made {
    struct router router;
    struct key private_key; /* zero: the caller brought the public key */
};

struct router_patch {
    const char *name; /* NULL: as it is */
    bool has_lans;
    const struct prefix *lans;
    size_t lan_count;
};

struct router_filter {
    struct uuid tenant_id; /* zero: all the caller may see */
    const char *name;
    const char *contains;
    bool has_status, has_public_key, has_address, has_connected;
    enum router_status status;
    struct key public_key;
    struct ip_addr address; /* tunnel or hub address, either family */
    bool connected;
    bool with_lans; /* only those that have LANs: as fast as these are few */
};

int service_router_create(struct service *s, const struct caller *c, const struct router_spec *spec,
                          struct router_made *ret_made, struct problem *ret_problem);
int service_router_get(struct service *s, const struct caller *c, const struct uuid *id, struct router *ret_router,
                       struct problem *ret_problem);
int service_router_patch(struct service *s, const struct caller *c, const struct uuid *id,
                         const struct router_patch *patch, struct router *ret_router, struct problem *ret_problem);
/* Disabling takes it out of the data plane; enabling (status ROUTER_PENDING or ROUTER_ACTIVE alike) puts it back. */
int service_router_set_disabled(struct service *s, const struct caller *c, const struct uuid *id, bool disabled,
                                struct router *ret_router, struct problem *ret_problem);
/* New keys: spec->public_key / preshared_key / generate_preshared_key count. */
int service_router_rotate(struct service *s, const struct caller *c, const struct uuid *id,
                          const struct router_spec *spec, struct router_made *ret_made, struct problem *ret_problem);
int service_router_delete(struct service *s, const struct caller *c, const struct uuid *id,
                          struct problem *ret_problem);
int service_router_list(struct service *s, const struct caller *c, const struct router_filter *filter,
                        const char *cursor, size_t limit, struct router *ret_routers, size_t *ret_count,
                        char ret_next[64], struct problem *ret_problem);

/* --- bulk: each item stands or falls alone, and is whole --- */

/* An item is made in one transaction, which holds up all other writers: so many routers and LANs it may have. */
#define BULK_ITEM_ROWS 2000

struct bulk_item {
    bool has_tenant; /* make this tenant first; its routers' tenant_id is then ignored */
    struct tenant_spec tenant;
    const struct router_spec *routers; /* borrowed */
    size_t router_count;
    /* out */
    struct tenant made_tenant;
    struct router_made *made; /* room for router_count; the caller's; wipe */
    int error;                /* 0, or the item's -errno: then nothing of the item was made */
    struct problem problem;   /* field is relative to the item */
};

/* In shares, between which other writers get their turn. What fails the whole call changed nothing; a store that fails
 * after the first share fails the items that are left, with a problem of the kind PROBLEM_UNAVAILABLE each. */
int service_bulk_create(struct service *s, const struct caller *c, struct bulk_item *items, size_t count,
                        struct problem *ret_problem);

/* --- what a router needs to dial in (export/ turns it into text) --- */

void service_gateway(struct service *s, struct service_gateway *ret_gateway);

/* --- tokens, idempotency, events --- */

struct token {
    struct uuid id;
    char name[NAME_SIZE];
    enum scope scope;
    struct uuid tenant_id;
    int64_t created_at;
    int64_t expires_at;   /* 0: never */
    int64_t last_used_at; /* 0: never; written at most once a minute */
};

struct token_spec {
    struct uuid id; /* zero: make one */
    const char *name;
    enum scope scope;
    struct uuid tenant_id; /* zero: none */
    int64_t expires_at;    /* 0: never */
};

#define TOKEN_TEXT_SIZE 64 /* "sp_" and 43 characters of base64url, NUL */

extern const char *const scope_names[];   /* by enum scope; NULL ends them */
const char *scope_name(enum scope scope); /* "admin", "tenant-read", "tenant-write", "metrics" */
int scope_parse(const char *name, enum scope *ret_scope);
int service_token_create(struct service *s, const struct caller *c, const struct token_spec *spec,
                         struct token *ret_token, char ret_text[TOKEN_TEXT_SIZE], struct problem *ret_problem);
int service_token_list(struct service *s, const struct caller *c, struct token **ret_tokens, size_t *ret_count,
                       struct problem *ret_problem); /* free() the array */
int service_token_revoke(struct service *s, const struct caller *c, const struct uuid *id, struct problem *ret_problem);
/* Who a bearer token speaks for. -EACCES for an unknown, revoked or expired one. While the database is away, one that
 * was looked up in the last ten minutes is believed: it can only be used for what needs no database. */
int service_token_check(struct service *s, const char *text, struct caller *ret_caller);

/* An answer kept for 24 h under the caller's Idempotency-Key, sealed with a key derived from it: only who knows the key
 * can read it again. get: 0 with owned `ret_body` (free and wipe), -ENOENT none, -EEXIST the key was used for another
 * request. */
int service_idempotency_get(struct service *s, const struct caller *c, const char *key, const uint8_t request_hash[32],
                            int *ret_status, char **ret_body, size_t *ret_size, struct problem *ret_problem);
int service_idempotency_put(struct service *s, const struct caller *c, const char *key, const uint8_t request_hash[32],
                            int status, const char *body, size_t size, struct problem *ret_problem);

struct event {
    uint64_t revision;
    int64_t at;
    char kind[32]; /* "router.created" */
    struct uuid tenant_id;
    struct uuid router_id;         /* zero: none */
    char actor[CALLER_ACTOR_SIZE]; /* "uid:0", "token:billing" */
    struct uuid token_id;          /* zero: by no token, or by one of a version that did not say which */
};
/* Revisions at both ends of what is kept, whoever may see it. An `after` below the first but one has missed events; one
 * beyond the last is of another history: the database was put back. Nothing kept: oldest is newest + 1. */
struct event_span {
    uint64_t oldest, newest;
};
/* Waits up to `wait_ms` for an event after `after` if there is none. */
int service_event_list(struct service *s, const struct caller *c, uint64_t after, size_t limit, unsigned wait_ms,
                       struct event *ret_events, size_t *ret_count, struct event_span *ret_span,
                       struct problem *ret_problem);

/* The revision of the last change that is known of, once it is beyond `seen` or the time is up. Asks memory alone. */
uint64_t service_event_await(struct service *s, uint64_t seen, unsigned wait_ms);

/* --- the audit log --- */

/* Changes that callers made, the newest first; like the lists of tenants. What is returned goes to audit_rows_free().
 */
int service_audit_list(struct service *s, const struct caller *c, const struct audit_filter *filter, const char *cursor,
                       size_t limit, struct audit_row *ret_rows, size_t *ret_count, char ret_next[64],
                       struct problem *ret_problem);

/* --- the gateways of this database --- */

struct gateway_info {
    char name[GATEWAY_NAME_SIZE];
    bool self, alive;
    char endpoint[256];
    char region[GATEWAY_NAME_SIZE];
    char version[32];
    char backend[16];
    uint64_t revision; /* its data plane follows up to here */
    uint64_t connected_routers;
    uint32_t load_percent;   /* of its processors, over a minute */
    int64_t clock_offset_ms; /* its clock minus the database's */
    int64_t started_at;
    int64_t heartbeat_at; /* 0: stopped */
};
/* By name; free() the array. */
int service_gateway_list(struct service *s, const struct caller *c, struct gateway_info **ret_gateways,
                         size_t *ret_count, struct problem *ret_problem);

/* --- status --- */

struct service_status {
    int64_t started_at;
    bool store_ok;
    char store_kind[16];
    bool store_refused;      /* it came later than we, and is not the one that we can work on: begin anew */
    char store_trouble[256]; /* why it is not ok, as far as known */
    uint64_t revision;
    struct backend_state backend;
    const char *backend_why;
    uint64_t tenants, routers;
    uint64_t connected_routers; /* at all gateways */
    char gateway_name[GATEWAY_NAME_SIZE];
    char gateway_region[GATEWAY_NAME_SIZE];
    bool severed;                   /* cut off from the database for so long that nobody new is let in */
    char warning[256];              /* about this gateway among the others, "" if none */
    uint64_t pool_total, pool_free; /* addresses */
    int64_t reconciled_at;          /* wall; 0: not yet */
    uint32_t reconcile_ms;
    uint64_t mended;  /* since start: what was not as we had left it; see reconcile.c */
    uint64_t renewed; /* since start: how often the data plane had lost what it held, and was filled anew */
    bool in_sync;
    char trouble[256];     /* last failure of the data plane or reconciliation, "" if none since */
    uint64_t memory_bytes; /* this process */
};
/* Whether the database is another process, which may go and come back. */
bool service_store_may_leave(const struct service *s);
void service_status(struct service *s, struct service_status *ret_status);
/* The same for whoever may ask at any time, without what has to be counted for it: pool_free is 0. */
void service_health(struct service *s, struct service_status *ret_status);
int service_counters(struct service *s, backend_counter_fn *fn, void *context, struct problem *ret_problem);
/* Compare and mend now (also runs by itself). */
int service_reconcile(struct service *s, struct problem *ret_problem);
