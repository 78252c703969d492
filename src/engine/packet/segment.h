/* What the host left undone on a packet from the TUN: checksums, and large TCP and UDP packets to be cut into segments
 * (virtio 1.2, 5.1.6; Linux tun.c). The kernel's hints are checked against the packet, for what it forwards may lie in
 * them.
 *
 * Pure functions over the caller's bytes; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct virtio_net_hdr;

/* A packet and how it is cut. Its bytes must outlive it. */
struct segments {
    const uint8_t *packet;
    size_t size;
    size_t header_size; /* IP and TCP or UDP: repeated in front of each piece */
    size_t upper;       /* where TCP or UDP starts */
    size_t piece_size;  /* payload bytes of each segment but the last */
    size_t at;          /* payload bytes cut off so far */
    uint32_t count;     /* segments in all */
    uint32_t next;
    bool is_tcp;
};

/* A packet that needs nothing more, or of which segments_begin() made one. */
struct segments segments_of_one(const uint8_t *packet, size_t size);
/* Looks at `packet` (of exactly `size` bytes) and what the kernel said of it. A checksum that is missing is filled in
 * if there is only one segment. 0, or -EINVAL if the two do not fit each other. */
int segments_begin(uint8_t *packet, size_t size, const struct virtio_net_hdr *header, struct segments *ret_segments);
/* Bytes of the next segment; 0 after the last. */
size_t segments_next_size(const struct segments *segments);
/* Writes the next segment, complete with its checksums, to `out`, which has room for segments_next_size(). */
void segments_take(struct segments *segments, uint8_t *out);
