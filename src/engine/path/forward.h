/* Where an inner packet goes: tenant-scoped cryptokey routing.
 *
 *   from a router, its source being its own:       from the host, by the hub's routes:
 *     the hub's prefixes        -> host              the peer's owner, maybe another worker
 *     a router of its tenant    -> that router         of a tenant: only from the hub's prefixes, or with egress from
 *     elsewhere, with egress    -> host                addresses that are no tenant's
 *     else                      -> refused
 *
 * A private tenant's addresses are translated on the way from and to the host. Refusals are answered by ICMP, within a
 * rate. One worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer;
struct virtio_net_hdr;
struct worker;

/* A decrypted payload of this peer with its padding; altered in place. `outer_ecn`: of the datagram it came in. */
void forward_from_peer(struct worker *worker, struct peer *peer, uint8_t *bytes, size_t size, uint8_t outer_ecn);
/* For such a packet that comes soon: asks for what it will be judged by. */
void forward_prefetch(const struct worker *worker, const struct peer *peer, const uint8_t *bytes, size_t size);
/* A packet that the host routed into the interface, maybe a large one, with what the kernel says of it; altered in
 * place. `handed_over`: another worker sent it here, so it is not sent on once more. */
void forward_from_host(struct worker *worker, uint8_t *bytes, size_t size, const struct virtio_net_hdr *header,
                       bool handed_over);
