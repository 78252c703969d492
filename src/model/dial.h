/* What routers dial: a host name or an address, with a port or without one; and what they then have within the tunnel.
 * Pure. */
#pragma once

#include <stdint.h>

#define DIAL_HOST_SIZE 254 /* the longest name of DNS, and NUL */

struct dial {
    char host[DIAL_HOST_SIZE]; /* a name, or an IPv4 or IPv6 address without brackets */
    uint16_t port;             /* 0: none was given */
};

/* Which of a router's addresses its configuration gives it: some routers have no IPv6, and some tools then take nothing
 * of a configuration that speaks of it. */
enum dial_family {
    DIAL_BOTH,
    DIAL_IPV4,
    DIAL_IPV6,
};

/* "both", "ipv4", "ipv6", and NULL behind the last: as written in configurations and queries. */
extern const char *const dial_families[];

/* "vpn.example.com", "vpn.example.com:443", "192.0.2.1:443", "2001:db8::5", "[2001:db8::5]", "[2001:db8::5]:443". 0, or
 * -EINVAL with what is wrong, to go behind the text: "has no host before the colon". */
int dial_parse(const char *text, struct dial *ret_dial, const char **ret_fault);
