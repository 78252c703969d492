/* A sorted set of prefixes: a peer's allowed IPs.
 *
 * Most peers have one or two, some a routing table: one prefix takes no memory of its own, a few lie in a list, many in
 * blocks of limited size. So no operation moves more than a few blocks' worth of bytes, however many there are.
 *
 * One thread. Order: prefix_compare(). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/prefix.h"

/* Zero-initialize: empty, without memory. */
struct prefixes {
    union {
        struct prefix one;
        struct prefix *list;          /* owned */
        struct prefix_blocks *blocks; /* owned */
    };
    uint32_t count;
    uint32_t room; /* of the list; 0: `one`; UINT32_MAX: `blocks` */
};

/* 0, -EEXIST, -ENOMEM. */
int prefixes_add(struct prefixes *set, const struct prefix *prefix);
/* Whether it was there. */
bool prefixes_remove(struct prefixes *set, const struct prefix *prefix);
/* Takes the last one out. False: there are none. */
bool prefixes_pop(struct prefixes *set, struct prefix *ret_last);
/* All of them, in order, to where there is room for `count`. */
void prefixes_copy(const struct prefixes *set, struct prefix *ret_list);
/* Leaves an empty set. */
void prefixes_clear(struct prefixes *set);
