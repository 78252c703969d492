/* Destinations that are not the world's: what a tenant with egress does not reach through the host.
 *
 * The host itself and its own link may answer there: loopback, "this network", link-local, multicast, what is reserved
 * (RFC 6890), and where clouds tell a machine its credentials. IPv6 forms that carry such an IPv4 address count as
 * that. Private networks (RFC 1918, fc00::/7) do not: whether they are reached is the operator's to route. Pure; any
 * thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* 4 bytes, and 16, in network order. */
bool reserved_v4(const uint8_t *address);
bool reserved_v6(const uint8_t *address);
