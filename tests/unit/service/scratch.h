/* A database of its own, reached and written through the lowest layers alone, for tests of one layer. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "service/record/bell.h"
#include "service/record/identity.h"
#include "service/record/ledger.h"
#include "service/record/reach.h"
#include "service/record/turn.h"
#include "store/noun/routers.h"
#include "store/store.h"

struct scratch {
    char folder[64];
    char url[512];
    struct identity identity;
    struct bell bell;
    struct turn queue; /* the data plane's, where there is none */
    struct store *store;
    struct reach *reach;
    struct ledger *ledger;
};

/* cmocka's setup and teardown: *state is a struct scratch whose database was found to be the right one. */
int scratch_setup(void **state);
int scratch_teardown(void **state);
/* A ledger whose commits take their places in this queue, in place of the one that it has. */
void scratch_queue(struct scratch *scratch, struct turn *queue);

/* A tenant in the database, and a router of his with a random key, as whoever gateway `by` is made them: with the
 * changes that say so. */
struct tenant_row scratch_tenant(struct scratch *scratch, int64_t by);
struct router_row scratch_router(struct scratch *scratch, const struct tenant_row *tenant, int64_t by);
/* The router is deleted by that gateway. */
void scratch_delete(struct scratch *scratch, const struct router_row *row, int64_t by);
/* One number out of the database, or a statement that changes something. */
int64_t scratch_number(struct scratch *scratch, const char *sql);
