/* What is around an engine's interface on the host: the fence, the claim to the interface, and what is wrong with
 * either or with the interface. One for all connections of this process to an interface, since one of them sets what
 * another tells of. Thread-safe. */
#pragma once

#include <stddef.h>

#include "backend/backend.h"
#include "backend/host/fence.h"

struct guard;

/* NULL: no memory. */
struct guard *guard_take(const char *interface_name);
/* The last one ends the claim; the fence stays. Accepts NULL. */
void guard_put(struct guard *guard);

/* Whether this process may keep the interface: 0, or -EBUSY with the problem if another one does. */
int guard_claim(struct guard *guard, struct problem *ret_problem);

/* Sets the fence as it must be around an engine, and keeps the warning, to which it adds what the fence lacks. */
void guard_set(struct guard *guard, const struct desired_device *device, const char *warning, unsigned *touched);
int guard_count(struct guard *guard, struct fence_counts *ret_counts);
void guard_warning(struct guard *guard, char ret_warning[BACKEND_WARNING_SIZE]);
