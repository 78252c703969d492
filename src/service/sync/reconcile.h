/* The comparison of what the data plane holds with what the store says, and the mending (reconcile.c tells how). One at
 * a time; any thread. */
#pragma once

#include <stdint.h>

#include "model/desired.h"
#include "model/problem.h"
#include "service/sync/desired.h"

struct follow;
struct identity;
struct ledger;
struct reconcile;
struct routes;

struct reconcile_config {
    const struct desired *desired; /* with it the store, the secrets and the data plane */
    const struct identity *identity;
    struct ledger *ledger;
    struct follow *follow;
    struct routes *routes;
    uint16_t listen_port;
    struct fwmark fwmark;
};

/* All that is named must outlive it. -ENOMEM. */
int reconcile_open(const struct reconcile_config *config, struct reconcile **ret_reconcile);
void reconcile_free(struct reconcile *reconcile); /* accepts NULL */
/* Starts or finds the data plane again if it is away, compares, mends. */
int reconcile_run(struct reconcile *reconcile, struct problem *ret_problem);
/* Nobody compares in between: for whoever gives the data plane another interface. */
void reconcile_hold(struct reconcile *reconcile);
void reconcile_release(struct reconcile *reconcile);

struct reconcile_status {
    uint64_t generation; /* of the data plane when it was last compared; 0: never */
    int64_t at;          /* wall: the last one that went well; 0: none did */
    uint32_t ms;         /* it took */
    uint64_t mended, renewed;
};
struct reconcile_status reconcile_status(struct reconcile *reconcile);
