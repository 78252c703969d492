/* IP addresses, prefixes (CIDR) and endpoints as plain values. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct ip_addr {
    uint8_t family;    /* AF_INET, AF_INET6, or 0 for none */
    uint8_t bytes[16]; /* network order; IPv4 uses the first 4, the rest are zero */
};

struct prefix {
    struct ip_addr addr; /* host bits are zero once made by prefix_parse() or prefix_make(), not by address_parse() */
    uint8_t length;      /* 0..32 or 0..128 */
};

/* Where a peer is reached. Large enough for either family. */
union endpoint {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

#define IP_TEXT_SIZE 48
#define PREFIX_TEXT_SIZE 52
#define ENDPOINT_TEXT_SIZE 64

/* Numeric only. 0, or -EINVAL. */
int ip_parse(const char *text, struct ip_addr *ret_addr);
char *ip_format(const struct ip_addr *addr, char text[IP_TEXT_SIZE]);
bool ip_equal(const struct ip_addr *a, const struct ip_addr *b);
/* Bits of the family: 32, 128, or 0 for none. */
uint8_t ip_bits(const struct ip_addr *addr);
struct ip_addr ip_from_v4(uint32_t host_order);
uint32_t ip_to_v4(const struct ip_addr *addr);

/* Clears the host bits. `length` must fit the family. */
struct prefix prefix_make(const struct ip_addr *addr, uint8_t length);
/* "10.0.0.0/8", or a bare address for a host prefix. Host bits are cleared; `ret_had_host_bits` (may be NULL) tells. 0,
 * or -EINVAL. */
int prefix_parse(const char *text, struct prefix *ret_prefix, bool *ret_had_host_bits);
/* An address and the length of its network, "10.8.0.1/24": as prefix_parse(), but the host bits stay. */
int address_parse(const char *text, struct prefix *ret_address);
char *prefix_format(const struct prefix *prefix, char text[PREFIX_TEXT_SIZE]);
bool prefix_equal(const struct prefix *a, const struct prefix *b);
bool prefix_contains(const struct prefix *prefix, const struct ip_addr *addr);
/* Whether `outer` covers all of `inner`. */
bool prefix_covers(const struct prefix *outer, const struct prefix *inner);
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
/* Order by family, address, length: for sorting and diffing. <0, 0, >0. */
int prefix_compare(const struct prefix *a, const struct prefix *b);

/* "192.0.2.1:51820" or "[2001:db8::1]:51820", numeric only. 0, or -EINVAL. */
int endpoint_parse(const char *text, union endpoint *ret_endpoint);
/* "" while there is none (family 0). */
char *endpoint_format(const union endpoint *endpoint, char text[ENDPOINT_TEXT_SIZE]);
/* Its address, without the port; family 0 if it has none. */
struct ip_addr endpoint_addr(const union endpoint *endpoint);
bool endpoint_equal(const union endpoint *a, const union endpoint *b);
socklen_t endpoint_size(const union endpoint *endpoint);
