/* A hierarchical timer wheel for millions of lazy timers: one node per peer, embedded in it.
 *
 * Arming and disarming are O(1); an idle wheel costs nothing, however many nodes it holds: wheel_next() says when to
 * look again, from one bitmap per level. Time is cut into ticks of 2^24 ns (16.8 ms). A node never fires early, and
 * fires in the first wheel_advance() whose `now_ns` is at least one tick past its deadline (work permitting). Far nodes
 * cascade towards the near levels as their time comes; seven levels of 64 slots hold any 64-bit time.
 *
 * Lazy use: the owner arms once for the earliest thing it may have to do; the hot path only writes timestamps; when the
 * node fires the owner looks at them and arms again.
 *
 * One thread. The wheel owns nothing: an armed node must stay where it is in memory and be disarmed before it goes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEEL_TICK_SHIFT 24
#define WHEEL_TICK_NS (UINT64_C(1) << WHEEL_TICK_SHIFT)
#define WHEEL_LEVELS 7
#define WHEEL_SLOT_BITS 6
#define WHEEL_SLOTS (1 << WHEEL_SLOT_BITS)
#define WHEEL_NEVER UINT64_MAX

/* Zero-initialize: not armed. */
struct wheel_node {
    struct wheel_node *next;
    struct wheel_node **link; /* what points to this node; NULL when not armed */
    uint64_t deadline_ns;     /* as armed, or now if that was over */
};

struct wheel {
    uint64_t tick;  /* everything before it has fired */
    uint64_t floor; /* the earliest tick a node can be armed for now */
    uint64_t count;
    uint64_t occupied[WHEEL_LEVELS]; /* bit set: that slot has nodes */
    struct wheel_node *slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, uint64_t now_ns);
/* Arms, or moves an armed node. A deadline that is over fires at the next wheel_advance(). */
void wheel_arm(struct wheel *wheel, struct wheel_node *node, uint64_t deadline_ns);
/* Disarming what is not armed is fine. */
void wheel_disarm(struct wheel *wheel, struct wheel_node *node);
static inline bool wheel_armed(const struct wheel_node *node) {
    return node->link != NULL;
}

/* The node is disarmed before the call; it may be armed again (it fires in a later wheel_advance() at the earliest),
 * and any other node may be armed, disarmed or freed. */
typedef void wheel_fn(void *context, struct wheel_node *node);
/* Fires what is due, in order of ticks, but touches at most `most` nodes (fired or cascaded). Returns how many it
 * touched: `most` means that there may be more to do at once, and wheel_next() says so. */
size_t wheel_advance(struct wheel *wheel, uint64_t now_ns, size_t most, wheel_fn *fn, void *context);
/* When wheel_advance() will next have something to do, in the clock's nanoseconds: never after the first node can fire,
 * at times before (a cascade); past when an advance was cut short. WHEEL_NEVER when empty. O(levels). */
uint64_t wheel_next(const struct wheel *wheel);
