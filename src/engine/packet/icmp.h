/* ICMP errors that the gateway sends about packets it will not forward, and those that routers send, of either family.
 *
 * Written into the caller's buffer as a whole IP packet, quoting as much of the offending one as the standards allow
 * (576 bytes in all: RFC 1812, 4.3.2.3; 1,280: RFC 4443, 2.4). None is made where the standards forbid one: about ICMP
 * errors and redirects, later fragments, to or about multicast, broadcast, loopback and unspecified addresses (RFC
 * 1122, 3.2.2; RFC 4443, 2.4 e). Pure functions of an injected clock; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"

struct bucket;
struct bucket_rate;

#define ICMP_ERROR_SIZE_MAX 1280

enum icmp_error {
    ICMP_ERROR_PROHIBITED,  /* communication administratively prohibited: 3/13 (RFC 1812), 1/1 (RFC 4443) */
    ICMP_ERROR_UNREACHABLE, /* host unreachable 3/1; address unreachable 1/3 */
    ICMP_ERROR_TOO_BIG,     /* fragmentation needed 3/4 (RFC 1191); packet too big 2/0 */
};

/* Answers `packet` (raw IP, `size` bytes of buffer) to its source, sent by `from`, which must be of the packet's
 * family. `mtu` is told by ICMP_ERROR_TOO_BIG only. `bucket` and `rate` limit what is sent; NULL: no limit. A packet
 * that must not be answered costs no token. `answer` and the packet must not overlap. 0, -EINVAL (malformed, or `from`
 * of the other family), -ENOMSG (must not be answered), -EAGAIN (over the rate). */
int icmp_error_create(enum icmp_error error, const uint8_t *packet, size_t size, const struct ip_addr *from,
                      uint32_t mtu, struct bucket *bucket, const struct bucket_rate *rate, uint64_t now_ns,
                      uint8_t answer[ICMP_ERROR_SIZE_MAX], size_t *ret_size);

/* Whether an ICMP message of this type quotes a packet (redirects do). */
bool icmp_is_v4_error(uint8_t type);

/* To whom the packet quoted by a passing ICMP error was addressed; a router may only report on its own. `packet` has
 * passed packet_size(), and `size` is what that said. 0: it is not an error. 1: one, about a packet that had been sent
 * to `ret_destination`. -EINVAL: one that must not pass, since it does not say so: a redirect, a fragment, a quotation
 * too short; or IPv6 headers in which one could hide. */
int icmp_quoted(const uint8_t *packet, size_t size, struct ip_addr *ret_destination);
