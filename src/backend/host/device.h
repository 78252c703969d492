/* Brings the host's side of the interface to what is desired: MTU, addresses, up. Compares first and touches only what
 * differs. Addresses that are not desired are removed, since they would be those of an earlier configuration; the
 * kernel's own link-local ones stay. */
#pragma once

#include <stddef.h>

#include "backend/backend.h"

struct desired_device;
struct prefix;
struct problem;

/* `ret_touched` counts what was mended. Where IPv6 cannot be had, all else is set and `warning` says so (warning.h).
 * -ENODEV: no such interface. `ret_problem` is filled on failure. */
int device_mend(const char *interface_name, const struct desired_device *device, unsigned *ret_touched, char *warning,
                struct problem *ret_problem);

/* Routes of ours over the interface, which are in a table of their own (link.h); those that a former version put into
 * the main table are moved there first. -ENODEV without a problem: no such interface. */
int device_each_route(const char *interface_name, backend_route_fn *fn, void *context, struct problem *ret_problem);
/* Idempotent; in this order: `remove`, `add`. What fails keeps the others from nothing; the first failure is told. IPv6
 * where the interface has none is no failure: device_mend() warns of it. */
int device_set_routes(const char *interface_name, const struct prefix *add, size_t add_count,
                      const struct prefix *remove, size_t remove_count, struct problem *ret_problem);
