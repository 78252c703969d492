/* What jansson allocates: wiped when freed, since values hold keys, and counted while a body is parsed, so that a few
 * bytes of text cannot become hundreds of megabytes of values.
 *
 * A budget belongs to one request and its thread. What it used is charged to the pools too, which many requests share,
 * until memory_release(). */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct memory_pool {
    atomic_size_t used; /* bytes */
    size_t limit;
};

#define MEMORY_POOLS 2

struct memory_budget {
    size_t used, limit;                      /* bytes */
    struct memory_pool *pools[MEMORY_POOLS]; /* may be NULL */
    enum memory_lack {
        MEMORY_ENOUGH,
        MEMORY_OF_REQUEST, /* the limit of the budget itself was reached */
        MEMORY_OF_ALL,     /* a pool's */
    } lack;
};

/* Makes jansson use this allocator. Once, before threads start. */
void memory_setup(void);
/* Charges bytes that lie elsewhere. False: there is no room, `lack` says where, and nothing was charged. */
bool memory_take(struct memory_budget *budget, size_t size);
void memory_give(struct memory_budget *budget, size_t size);
/* From here to memory_leave() jansson's memory of this thread is charged. */
void memory_enter(struct memory_budget *budget);
void memory_leave(void);
/* Gives everything back, once it is freed. */
void memory_release(struct memory_budget *budget);
