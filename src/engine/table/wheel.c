#include "engine/table/wheel.h"

#define SLOT_MASK (WHEEL_SLOTS - 1)

_Static_assert(WHEEL_LEVELS *WHEEL_SLOT_BITS >= 64 - WHEEL_TICK_SHIFT, "every 64-bit time has its place");

void wheel_init(struct wheel *wheel, uint64_t now_ns) {
    *wheel = (struct wheel){.tick = now_ns >> WHEEL_TICK_SHIFT, .floor = now_ns >> WHEEL_TICK_SHIFT};
}

static uint64_t tick_after(uint64_t ns) {
    uint64_t tick = ns >> WHEEL_TICK_SHIFT;
    bool past = (ns & (WHEEL_TICK_NS - 1)) != 0;
    return past && tick < UINT64_MAX >> WHEEL_TICK_SHIFT ? tick + 1 : tick;
}

/* A node sits at the level of the highest group of six bits in which its tick differs from the present one. So at every
 * level above 0 the present slot is empty, and the slots still to come in this turn are the ones with greater numbers.
 */
static void place(struct wheel *w, struct wheel_node *node) {
    uint64_t tick = tick_after(node->deadline_ns);
    uint64_t differs = tick ^ w->tick;
    unsigned level = differs ? (63u - (unsigned)__builtin_clzll(differs)) / WHEEL_SLOT_BITS : 0;
    unsigned slot = (unsigned)(tick >> (level * WHEEL_SLOT_BITS)) & SLOT_MASK;
    struct wheel_node **head = &w->slots[level][slot];
    node->next = *head;
    node->link = head;
    if (node->next) {
        node->next->link = &node->next;
    }
    *head = node;
    w->occupied[level] |= UINT64_C(1) << slot;
}

static void unlink_node(struct wheel *w, struct wheel_node *node) {
    *node->link = node->next;
    if (node->next) {
        node->next->link = node->link;
    } else if (node->link >= &w->slots[0][0] && node->link < &w->slots[0][0] + WHEEL_LEVELS * WHEEL_SLOTS) {
        size_t at = (size_t)(node->link - &w->slots[0][0]); /* it was alone in its slot */
        w->occupied[at / WHEEL_SLOTS] &= ~(UINT64_C(1) << (at % WHEEL_SLOTS));
    }
    node->next = NULL;
    node->link = NULL;
}

void wheel_arm(struct wheel *wheel, struct wheel_node *node, uint64_t deadline_ns) {
    if (node->link) {
        unlink_node(wheel, node);
    } else {
        wheel->count++;
    }
    uint64_t floor_ns = wheel->floor << WHEEL_TICK_SHIFT;
    node->deadline_ns = deadline_ns > floor_ns ? deadline_ns : floor_ns;
    place(wheel, node);
}

void wheel_disarm(struct wheel *wheel, struct wheel_node *node) {
    if (node->link) {
        unlink_node(wheel, node);
        wheel->count--;
    }
}

/* The slot that comes first, and the tick at which it does. False when the wheel is empty. */
static bool first_slot(const struct wheel *w, unsigned *ret_level, unsigned *ret_slot, uint64_t *ret_tick) {
    /* a cascade that was cut short goes on before anything else: its nodes may be due before the ones already placed */
    for (unsigned level = WHEEL_LEVELS - 1; level > 0; level--) {
        unsigned present = (unsigned)(w->tick >> (level * WHEEL_SLOT_BITS)) & SLOT_MASK;
        if (w->occupied[level] >> present & 1) {
            *ret_level = level;
            *ret_slot = present;
            *ret_tick = w->tick;
            return true;
        }
    }
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        unsigned shift = level * WHEEL_SLOT_BITS;
        unsigned present = (unsigned)(w->tick >> shift) & SLOT_MASK;
        uint64_t coming = w->occupied[level] & (UINT64_MAX << present);
        if (coming) {
            unsigned slot = (unsigned)__builtin_ctzll(coming);
            *ret_level = level;
            *ret_slot = slot;
            *ret_tick = ((w->tick >> shift & ~(uint64_t)SLOT_MASK) | slot) << shift;
            return true;
        }
    }
    return false;
}

size_t wheel_advance(struct wheel *wheel, uint64_t now_ns, size_t most, wheel_fn *fn, void *context) {
    uint64_t now = now_ns >> WHEEL_TICK_SHIFT;
    size_t touched = 0;
    unsigned level;
    unsigned slot;
    uint64_t tick;
    if (now < wheel->tick) {
        return 0;
    }
    wheel->floor = now + 1; /* what is armed from here on fires in a later call */
    while (touched < most && first_slot(wheel, &level, &slot, &tick) && tick <= now) {
        wheel->tick = tick;
        while (touched < most && wheel->slots[level][slot]) {
            struct wheel_node *node = wheel->slots[level][slot];
            unlink_node(wheel, node);
            touched++;
            if (level == 0) {
                wheel->count--;
                fn(context, node);
            } else {
                place(wheel, node);
            }
        }
    }
    if (!first_slot(wheel, &level, &slot, &tick) || tick > now) {
        wheel->tick = now;
    }
    wheel->floor = wheel->tick;
    return touched;
}

uint64_t wheel_next(const struct wheel *wheel) {
    unsigned level;
    unsigned slot;
    uint64_t tick;
    return first_slot(wheel, &level, &slot, &tick) ? tick << WHEEL_TICK_SHIFT : WHEEL_NEVER;
}
