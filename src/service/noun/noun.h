/* The nouns of the API: what may be done with tenants, routers, tokens, events, and by whom.
 *
 * Each function of service.h is one of a file here. It asks who may (access.c) and whether the input is valid
 * (check.c), writes through the ledger, and brings what it wrote into force. Any thread; a noun has no state of its
 * own, but for the tokens that were looked up.
 *
 * The ladder of the room, each rung using only those below it, in include lines and in calls:
 *
 * - open.c, keeper.c (threads), attach.c (settling the database), status.c
 * - noun/: this, behind the door service.h
 * - sync/: what is written comes into force; reconcile > force > follow > routes, desired
 * - fleet/: the gateways; usage/: counters and sessions
 * - plane/: the data plane
 * - record/: ledger > reach; identity, secrets; turn, bell
 * - pool/: addresses
 *
 * Each of them has its own state and its own lock over fields, held for a few words only. What only one may do at a
 * time (a comparison, a flush of usage, a look at the data plane) has a lock that is taken before all below it. The
 * turns are taken writing first, then the data plane's. Read first: tenants.c, then routers.c, bulk.c. */
#pragma once

#include "service/fleet/fleet.h"
#include "service/plane/plane.h"
#include "service/record/bell.h"
#include "service/record/identity.h"
#include "service/record/ledger.h"
#include "service/record/reach.h"
#include "service/record/secrets.h"
#include "service/service.h"
#include "service/sync/desired.h"
#include "service/sync/follow.h"
#include "service/sync/force.h"
#include "service/sync/reconcile.h"
#include "service/sync/routes.h"
#include "service/usage/usage.h"
#include "store/noun/routers.h"
#include "store/noun/tenants.h"
#include "store/store.h"

struct keeper;
struct lan_guard;
struct token_memory;

/* Immutable once open; each layer guards its own. */
struct service {
    struct identity identity;
    struct secrets secrets;
    struct bell bell;
    struct store *store;
    struct reach *reach;
    struct ledger *ledger;
    struct plane *plane;
    struct usage *usage;
    struct fleet *fleet;
    struct desired desired;
    struct routes *routes;
    struct lan_guard *lan_guard;
    struct follow *follow;
    struct force force;
    struct reconcile *reconcile;
    struct token_memory *tokens;
    struct keeper *keeper;

    struct backend_config backend_config;
    const char *backend_why;
    char *texts[5]; /* owned: the strings of these two */
    size_t text_count;
    uint16_t listen_port;
    unsigned reconcile_s, usage_s, audit_days;
    int64_t started_at;
};

/* A write of the caller's, who will be in the audit log. Like write_begin(). */
int caller_write_begin(struct service *s, const struct caller *c, struct write *ret_write, struct problem *ret_problem);

/* --- the audit log (audit.c) --- */

/* What the change noted last was like before and after (NULL: it was not, or is no more). */
int audit_tenant(struct write *w, const struct tenant *before, const struct tenant *after);
int audit_router(struct write *w, const struct router *before, const struct router *after);
int audit_token(struct write *w, const struct token *before, const struct token *after);

/* --- who may (access.c) --- */

bool access_sees(const struct caller *c, const struct uuid *tenant_id);
/* May read something of this tenant / change its routers / do what only the operator may. */
int access_read(const struct caller *c, const struct uuid *tenant_id, const char *noun, struct problem *ret_problem);
int access_write(const struct caller *c, const struct uuid *tenant_id, const char *noun, struct problem *ret_problem);
int access_admin(const struct caller *c, const struct uuid *tenant_id, struct problem *ret_problem);
int access_not_found(const char *noun, struct problem *ret_problem);
int access_cursor(const char *cursor, int64_t *ret_after, struct problem *ret_problem);

/* --- is it valid (check.c) --- */

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
int tenant_make(struct service *s, struct write *w, struct tenant *tenant, uint32_t routers, struct tenant_row *ret_row,
                struct problem *ret_problem);
/* Checked, with id and keys, before the transaction. */
int router_prepare(struct service *s, const struct router_spec *spec, int64_t now, struct router_made *ret_made,
                   struct problem *ret_problem);
/* In the transaction; does not count the router to its tenant. */
int router_make(struct service *s, struct write *w, const struct caller *c, struct tenant_row *tenant,
                const struct router_spec *spec, struct router_made *made, struct problem *ret_problem);
/* Whether the tenant may have that many more. */
int router_room(const struct tenant_row *tenant, uint64_t more, struct problem *ret_problem);
/* The IPv6 address that goes with a hub address. */
struct ip_addr router_address6(const struct service *s, const struct ip_addr *hub_address);

/* --- tokens.c --- */

/* What is kept of tokens between uses. -ENOMEM. */
int tokens_open(struct token_memory **ret_tokens);
void tokens_free(struct token_memory *tokens); /* accepts NULL */
/* Writes when they were used last. */
void token_flush_used(struct service *s);
