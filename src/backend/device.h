/* Brings the host's side of the interface to what is desired: MTU, addresses, up. Compares first and touches only what
 * differs. Addresses that are not desired are removed, since they would be those of an earlier configuration; the
 * kernel's own link-local ones stay. */
#pragma once

struct desired_device;
struct problem;

/* `ret_touched` counts what was mended. -ENODEV: no such interface. `ret_problem` is filled on failure. */
int device_mend(const char *interface_name, const struct desired_device *device, unsigned *ret_touched,
                struct problem *ret_problem);
