#include "api/json/memory.h"

#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/wipe.h"

static _Thread_local struct memory_budget *current;

static bool pool_take(struct memory_pool *pool, size_t size) {
    if (!pool) {
        return true;
    }
    size_t before = atomic_fetch_add(&pool->used, size);
    if (before + size <= pool->limit) {
        return true;
    }
    atomic_fetch_sub(&pool->used, size);
    return false;
}

static void pools_give(struct memory_budget *budget, size_t count, size_t size) {
    for (size_t i = 0; i < count; i++) {
        if (budget->pools[i]) {
            atomic_fetch_sub(&budget->pools[i]->used, size);
        }
    }
}

bool memory_take(struct memory_budget *budget, size_t size) {
    if (size > budget->limit - budget->used) {
        budget->lack = MEMORY_OF_REQUEST;
        return false;
    }
    for (size_t i = 0; i < MEMORY_POOLS; i++) {
        if (!pool_take(budget->pools[i], size)) {
            pools_give(budget, i, size);
            budget->lack = MEMORY_OF_ALL;
            return false;
        }
    }
    budget->used += size;
    return true;
}

void memory_give(struct memory_budget *budget, size_t size) {
    size = size < budget->used ? size : budget->used;
    pools_give(budget, MEMORY_POOLS, size);
    budget->used -= size;
}

static void *allocate(size_t size) {
    void *memory = malloc(size);
    if (memory && current && !memory_take(current, malloc_usable_size(memory))) {
        free(memory);
        return NULL;
    }
    return memory;
}

static void release(void *memory) {
    if (memory && current) {
        memory_give(current, malloc_usable_size(memory));
    }
    wipe_free(memory);
}

void memory_setup(void) {
    json_set_alloc_funcs(allocate, release);
}

void memory_enter(struct memory_budget *budget) {
    current = budget;
}

void memory_leave(void) {
    current = NULL;
}

void memory_release(struct memory_budget *budget) {
    memory_give(budget, budget->used);
}
