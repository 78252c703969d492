/* Neighbouring packets of one TCP or UDP flow become one large packet for the host, which costs it one walk through its
 * stack instead of forty (virtio 1.2, 5.1.6; what Linux does in GRO).
 *
 * Only what the kernel can take apart again into the same packets is put together: equal headers but for length, IPv4
 * ID, sequence number and checksum; no IP options, no fragments; TCP in sequence with nothing but ACK, PSH ending it;
 * equal payloads, of which the last may be shorter; checksums that are right. Packets of one flow keep their order
 * (of fragments nobody can tell which flow they are of).
 *
 * A packet that stays alone and whose checksum is right is handed over as checked, as the large ones are.
 *
 * Nothing is copied but headers: the bytes, and the room in front of them, must stay until coalesce_flush(). Pure, one
 * thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define COALESCE_HEADROOM 16 /* what a message of WireGuard has in front of a packet */

struct coalesce;

/* 0, -ENOMEM. */
int coalesce_create(struct coalesce **ret_coalesce);
/* Accepts NULL. */
void coalesce_free(struct coalesce *coalesce);

/* A whole packet of exactly `size` bytes, with COALESCE_HEADROOM bytes in front of it; both will be written to. `tcp`,
 * `udp`: whether such may be put together. False: full, flush first. */
bool coalesce_add(struct coalesce *coalesce, uint8_t *bytes, size_t size, bool tcp, bool udp);
/* Writes one packet, large or not: parts[0] begins with its virtio_net_hdr. 0; -EINVAL: the kernel does not take this
 * large one, so its packets are to come one by one; or another -errno, which changes nothing here. A packet that is not
 * large is one part, in the room of coalesce_add(), and may be written after coalesce_flush(). */
typedef int coalesce_fn(void *context, const struct iovec *parts, size_t part_count, size_t packets);
/* Hands everything over in order, and is empty. */
void coalesce_flush(struct coalesce *coalesce, coalesce_fn *fn, void *context);
