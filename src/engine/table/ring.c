#include "engine/table/ring.h"

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

#define LINE 64
#define CAPACITY_MAX ((size_t)1 << 24)

/* Positions count up for ever; the slot is the position modulo the capacity. Each side keeps a copy of the other's
 * position and looks at the real one only when the copy says full or empty, so the two lines rarely bounce between
 * cores. */
struct ring {
    /* immutable */
    size_t mask;

    /* producer */
    alignas(LINE) _Atomic size_t head; /* next to fill; read by the consumer */
    size_t tail_seen;

    /* consumer */
    alignas(LINE) _Atomic size_t tail; /* next to empty; read by the producer */
    size_t head_seen;

    alignas(LINE) void *slots[];
};

int ring_create(size_t capacity, struct ring **ret_ring) {
    if (capacity < 2 || capacity > CAPACITY_MAX || (capacity & (capacity - 1)) != 0) {
        return -EINVAL;
    }
    size_t size = sizeof(struct ring) + capacity * sizeof(void *);
    struct ring *ring = aligned_alloc(LINE, (size + LINE - 1) / LINE * LINE);
    if (!ring) {
        return -ENOMEM;
    }
    ring->mask = capacity - 1;
    atomic_init(&ring->head, 0);
    atomic_init(&ring->tail, 0);
    ring->tail_seen = 0;
    ring->head_seen = 0;
    *ret_ring = ring;
    return 0;
}

void ring_free(struct ring *ring) {
    free(ring);
}

bool ring_push(struct ring *ring, void *item) {
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - ring->tail_seen > ring->mask) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head - ring->tail_seen > ring->mask) {
            return false;
        }
    }
    ring->slots[head & ring->mask] = item;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

void *ring_pop(struct ring *ring) {
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail == ring->head_seen) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail == ring->head_seen) {
            return NULL;
        }
    }
    void *item = ring->slots[tail & ring->mask];
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return item;
}

bool ring_empty(const struct ring *ring) {
    return atomic_load_explicit(&ring->head, memory_order_acquire) ==
           atomic_load_explicit(&ring->tail, memory_order_acquire);
}
