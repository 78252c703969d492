/* How many handshake initiations a source may make us compute while we are under load, and how many cookie replies it
 * may make us send.
 *
 * Each initiation that gets past this costs four X25519 operations, a fifth of a millisecond. Linux gives every IPv4
 * address and every IPv6 /64 20 per second, burst 5. That starves a carrier's NAT: 5,000 routers behind one address
 * need 250 s to come back after a restart. The rule here:
 *
 * 1. Every address has Linux's bucket: 20/s, burst 5. What fits passes. Nobody gets less than Linux gives.
 * 2. A source that has not proved its address (no valid mac2) gets no more than that. Unproved sources may be forged,
 * so they have a table of their own: a flood of forged ones pushes no proved one out.
 * 3. A proved source may go beyond, as address AND port: each (address, port) has a bucket of 1/s, burst 2 (a router
 *    retries every 5 s). So one busy or hostile socket behind a NAT uses up its own bucket, not its neighbours'.
 * 4. An attacker who owns one address can open 65,536 ports. So everything admitted by rule 3 comes out of one budget
 * for the whole limiter, `extra_per_s`, counted in windows of 5 s (the retry interval, so that a NAT whose routers all
 * retry in the same instant may use its 5 s at once). Within a window each address may draw the budget divided by the
 * number of addresses that draw on it (in this window or in the last one, whichever are more): alone, a NAT may use it
 * all; an attacker with n addresses takes n shares of n + 1 at most and leaves the NAT its own, however fast he sends.
 *
 * So an attacker gains per address what Linux gives him, plus a share of a budget that is fixed: the X25519 work of
 * rule 3 is at most 5 * extra_per_s a window, whatever he owns. And a single router at an address of its own never
 * needs the budget.
 *
 * Cookie replies go to sources that may all be forged, so no rule can be fair among addresses: whoever forges has any
 * number of them. Each address and port gets 1/s, burst 2: a router asks every 5 s, and needs one reply in 120 s. Each
 * address gets 2,000/s, burst 4,000: 10,000 routers behind one NAT ask that often, and an attacker who sprays the ports
 * of one address takes no more. All together get `replies_per_s`, burst a tenth of it: what their sending may cost.
 * Only who forges more sources than that each second makes honest routers wait for a later retry.
 *
 * Memory is fixed: five tables of 65,536 entries in sets of eight, found by SipHash under a secret key. Pages are
 * touched only when used. An entry is forgotten once it is idle for so long that it says no more than a fresh one. When
 * a set is full of entries that are not: a new unproved address is refused; a new proved address is served by rules 3
 * and 4 alone, sharing one entry with the others that found no room; a new port takes the place of the one longest
 * unused (it can only gain what its address's share still holds).
 *
 * One limiter belongs to one worker and counts what that worker sees. The kernel spreads initiations by address and
 * port, so an address that uses many ports may have its figures at each worker; an address and port has them once. That
 * is meant: all figures bound the work of one core, and with the workers there are as many more cores to do it. Steered
 * by address alone, an attacker would get no more than one worker's; but so would a NAT, whose 5,000 routers one core
 * had to serve while the others idle. Pure functions of an injected clock, O(1), one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/prefix.h"

#define LIMITER_ENTRIES 65536
#define LIMITER_KEY_SIZE 16
#define LIMITER_ADDRESS_PER_S 20 /* Linux drivers/net/wireguard/ratelimiter.c */
#define LIMITER_ADDRESS_BURST 5
#define LIMITER_PORT_PER_S 1
#define LIMITER_PORT_BURST 2
#define LIMITER_REPLIES_PER_S 2000 /* to an address; to an address and port as LIMITER_PORT_* */
#define LIMITER_REPLIES_BURST 4000
#define LIMITER_WINDOW_NS UINT64_C(5000000000)

struct limiter;

/* `key` is a secret of the process; `extra_per_s` the budget of rule 4, for example half of the handshakes a core can
 * do; `replies_per_s` that of the cookie replies. 0 or -ENOMEM. */
int limiter_create(const uint8_t key[LIMITER_KEY_SIZE], uint32_t extra_per_s, uint32_t replies_per_s,
                   struct limiter **ret_limiter);
/* Accepts NULL. */
void limiter_free(struct limiter *limiter);
/* Whether this initiation may be computed. `proved`: it carried a valid mac2 (COOKIE_RETURNED). */
bool limiter_allow(struct limiter *limiter, uint64_t now_ns, const union endpoint *source, bool proved);
/* Whether this source, which has not proved its address, may have a cookie reply. */
bool limiter_allow_reply(struct limiter *limiter, uint64_t now_ns, const union endpoint *source);
/* Bytes reserved. */
size_t limiter_size(const struct limiter *limiter);
