/* Ethernet frames as an AF_XDP socket brings them: the datagram in one, checked as the kernel's IP and UDP would check
 * it.
 *
 * The kernel has not looked at them, and the program that chose them (bpf/xdp.bpf.c) at no more than it needed; so
 * every length and both checksums are looked at here. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct udp_received;

/* The UDP datagram in `frame`: IPv4 without options and not a fragment, or IPv6 without extensions. Bytes, addresses
 * and ECN go into `ret_received`, its bytes being those of the frame; `interface` is left as it is. False: there is
 * none, or it is damaged.
 *
 * A checksum that another end on this host has left to its network card is complete only when it leaves the host: it
 * holds the sum of the pseudo header (Linux CHECKSUM_PARTIAL) and is taken for right. None at all is right in IPv4 only
 * (RFC 768; RFC 8200, 8.1). */
bool frame_read(uint8_t *frame, size_t size, struct udp_received *ret_received);
