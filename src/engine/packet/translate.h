/* Stateless 1:1 translation of an IPv4 packet between a router's hub address and its address inside a private tenant.
 *
 * The packet keeps its length; the address and every checksum that covers it are rewritten incrementally (RFC 1624):
 * IPv4 header, TCP, UDP (a zero UDP checksum stays zero), UDP-Lite, DCCP. ICMP and SCTP do not cover the addresses. An
 * ICMP error quotes a packet that went the other way, so in it the opposite address is rewritten too (with the quoted
 * header checksum, the quoted upper checksum as far as it was quoted, and the ICMP checksum).
 *
 * Later fragments have no upper header: only their IP header changes.
 *
 * Refused with -EINVAL, packet untouched: malformed packets; an address that is not `from`; ICMP redirects; ICMP errors
 * that quote something else than a packet of this address (a router must not speak of another's flows); a first TCP,
 * UDP, UDP-Lite or DCCP fragment too short to hold its checksum, and a second TCP fragment that would overlap it (RFC
 * 1858); source routes and AH, which carry or cover addresses that nobody may change.
 *
 * IPv4 only. IPv6 is never translated: every router has an IPv6 address of its own, equal inside and at the hub.
 *
 * Pure functions; any thread. Addresses are in host order, as ip_to_v4() gives them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `partial_checksum`: the upper layer's checksum is not computed yet and holds the sum of the pseudo header only
 * (virtio-net's VIRTIO_NET_HDR_F_NEEDS_CSUM on packets from the TUN). */

/* From the router to the hub: the source `from` (inside) becomes `to` (hub address). */
int translate_source(uint8_t *packet, size_t size, uint32_t from, uint32_t to, bool partial_checksum);
/* From the hub to the router: the destination `from` (hub address) becomes `to` (inside). */
int translate_destination(uint8_t *packet, size_t size, uint32_t from, uint32_t to, bool partial_checksum);
