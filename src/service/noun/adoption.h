/* Adopting the peers of a WireGuard server that exists: they become routers of one tenant, with the keys and addresses
 * they are configured with.
 *
 * All of it is one transaction: a dry run is the same work, undone. Ownership: the caller owns the peers and frees what
 * adoption_free() names. Errors and threads as service.h has them. */
#pragma once

#include "service/service.h"

enum adoption_result {
    ADOPTION_MADE,     /* a router now, or would be */
    ADOPTION_THERE,    /* the tenant has this router already */
    ADOPTION_CONFLICT, /* `problem` says why not */
};

struct adoption_peer {
    char name[NAME_SIZE]; /* "": named by its address */
    struct key public_key;
    struct key preshared_key;         /* a secret */
    union endpoint endpoint;          /* where it was last; family 0: unknown */
    int64_t last_handshake_at;        /* wall, microseconds; 0: never, or unknown */
    const struct prefix *allowed_ips; /* borrowed */
    size_t allowed_ip_count;
    /* out */
    enum adoption_result result;
    struct uuid router_id;  /* zero for a conflict */
    struct ip_addr address; /* the one of the allowed IPs that is its own; family 0: none is */
    struct prefix *lans;    /* owned, sorted: the others, without what others cover or repeat */
    size_t lan_count;
    struct problem *problem; /* owned; of a conflict */
};

struct adoption {
    struct uuid tenant_id;        /* zero: make `tenant` */
    struct tenant_spec tenant;    /* without a subnet: one that suits the peers */
    struct key server_key;        /* public; zero: unknown */
    bool any_key;                 /* although server_key is not the gateway's */
    struct prefix server_address; /* with host bits, as 10.8.0.1/24; family 0: unknown */
    struct adoption_peer *peers;
    size_t count;
    bool dry_run;
    bool skip_conflicts;      /* else a single one stops all */
    bool drop_default_routes; /* leave 0.0.0.0/0 and ::/0 out of the peers that have them */
    /* out */
    bool committed;
    struct tenant made_tenant;
    size_t made, there, conflicts;
    struct prefix wanted_pool; /* family 0, or a pool that holds all addresses: the present one does not */
    struct ip_addr wanted_hub; /* the hub's address in it */
};

/* 0 also with conflicts: they are in the peers. */
int service_adopt(struct service *s, const struct caller *c, struct adoption *adoption, struct problem *ret_problem);
void adoption_free(struct adoption *adoption); /* the peers' problems and LANs, and wipes their keys */

/* --- a live interface of this host --- */

struct foreign;

/* Reads it; foreign_free() it. `ours`: the data plane has it already. */
int service_foreign_read(struct service *s, const struct caller *c, const char *interface_name,
                         struct foreign **ret_foreign, struct problem *ret_problem);
/* Whether the data plane may have this interface as it is: name, key, port. Before anything is made. */
int service_take_over_check(struct service *s, const struct caller *c, const char *interface_name,
                            const struct foreign *foreign, struct problem *ret_problem);
/* Gives it to the data plane and brings that up to date. */
int service_take_over(struct service *s, const struct caller *c, const char *interface_name,
                      struct problem *ret_problem);
