/* A bounded queue of pointers from one thread to one other (SPSC): packets and peers' messages between workers.
 *
 * Exactly one producer thread and one consumer thread. Wait-free; nothing is allocated after creation. What is pushed
 * happens-before its pop. The ring owns no item: whoever frees it pops what is left first. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct ring;

/* Room for exactly `capacity` items, a power of two from 2 to 2^24. 0, -EINVAL, -ENOMEM. */
int ring_create(size_t capacity, struct ring **ret_ring);
/* Accepts NULL. */
void ring_free(struct ring *ring);

/* One producer. False if there is no room: the item stays the caller's. */
bool ring_push(struct ring *ring, void *item);
/* One consumer. The oldest item, or NULL. */
void *ring_pop(struct ring *ring);
/* Any thread: a snapshot, exact for the consumer when it says false. */
bool ring_empty(const struct ring *ring);
