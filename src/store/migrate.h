/* A whole store moved into another database: everything but how far its schema is, in one transaction of the target. */
#pragma once

#include <stdint.h>

#include "model/problem.h"

struct migrated {
    uint64_t rows, tenants, routers;
};

typedef void migrate_told_fn(void *context, uint64_t done, uint64_t whole);

/* Both schemas are brought up to date first. Refused: a target that holds anything, a source that another process has
 * open, or whose gateways were heard of just now. What was copied is counted again on the other side before it is
 * committed. After a failure the target is as empty as before, and the source as it was. */
int store_migrate(const char *from, const char *to, migrate_told_fn *told, void *context, struct migrated *ret_migrated,
                  struct problem *ret_problem);
