/* What routers dial: a host name or an address, with a port or without one. Pure. */
#pragma once

#include <stdint.h>

#define DIAL_HOST_SIZE 254 /* the longest name of DNS, and NUL */

struct dial {
    char host[DIAL_HOST_SIZE]; /* a name, or an IPv4 or IPv6 address without brackets */
    uint16_t port;             /* 0: none was given */
};

/* "vpn.example.com", "vpn.example.com:443", "192.0.2.1:443", "2001:db8::5", "[2001:db8::5]", "[2001:db8::5]:443". 0, or
 * -EINVAL with what is wrong, to go behind the text: "has no host before the colon". */
int dial_parse(const char *text, struct dial *ret_dial, const char **ret_fault);
