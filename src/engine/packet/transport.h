/* TCP and UDP headers of inner packets: sizes, offsets of their fields, and the sum of the pseudo header. Inline, any
 * thread. */
#pragma once

#include <linux/virtio_net.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/packet/packet.h"

/* Linux 6.2; Debian 12's headers are older. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* RFC 9293, 3.1; offsets are of bytes within the header */
#define TCP_SIZE 20 /* without options */
#define TCP_SEQUENCE 4
#define TCP_ACKNOWLEDGEMENT 8
#define TCP_HEADER_SIZE 12 /* the upper four bits, in words of 32 */
#define TCP_FLAGS 13
#define TCP_WINDOW 14
#define TCP_CHECKSUM 16
#define TCP_URGENT 18

#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_PSH 0x08
#define TCP_FLAG_ACK 0x10
#define TCP_FLAG_CWR 0x80

/* RFC 768 */
#define UDP_SIZE 8
#define UDP_SOURCE 0
#define UDP_DESTINATION 2
#define UDP_LENGTH 4
#define UDP_CHECKSUM 6

/* With options; `tcp` has TCP_SIZE bytes. */
static inline size_t transport_tcp_size(const uint8_t *tcp) {
    return (size_t)(tcp[TCP_HEADER_SIZE] >> 4) * 4;
}

/* Both addresses, which lie one behind the other in either family. */
static inline size_t transport_addresses_size(const uint8_t *packet) {
    return packet_is_v6(packet) ? 32 : 8;
}

/* The sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1), to which that of the `upper_size` bytes behind the IP
 * header is added. */
static inline uint32_t transport_pseudo_sum(const uint8_t *packet, uint8_t protocol, size_t upper_size) {
    return packet_sum(packet_source(packet), transport_addresses_size(packet), 0) + protocol + (uint32_t)upper_size;
}
