#include "engine/path/forward.h"

#include <linux/virtio_net.h>
#include <string.h>

#include "engine/io/route.h"
#include "engine/packet/coalesce.h"
#include "engine/packet/icmp.h"
#include "engine/packet/packet.h"
#include "engine/packet/reserved.h"
#include "engine/packet/segment.h"
#include "engine/packet/translate.h"
#include "engine/packet/transport.h"
#include "engine/path/host.h"
#include "engine/path/parcel.h"
#include "engine/path/peer.h"
#include "engine/path/space.h"
#include "engine/path/transmit.h"
#include "engine/path/worker.h"
#include "engine/table/directory.h"
#include "engine/table/trie.h"

/* ICMP errors: to each tenant's routers, and to the host. */
static const struct bucket_rate answers_to_tenant = {.per_s = 100, .burst = 50};
static const struct bucket_rate answers_to_host = {.per_s = 1000, .burst = 100};

static uint32_t route_of(const struct worker *worker, const uint8_t *packet, const uint8_t *address) {
    const struct directory *directory = worker->setup.directory;
    return packet_is_v6(packet) ? directory_route6(directory, address) : directory_route4(directory, address);
}

static uint32_t slot_of(const struct worker *worker, const struct space *space, const uint8_t *packet,
                        const uint8_t *address) {
    return packet_is_v6(packet) ? trie_lookup6(worker->tables.tries, &space->trie, address)
                                : trie_lookup4(worker->tables.tries, &space->trie, address);
}

static bool is_hub(const struct worker *worker, const struct ip_addr *address) {
    for (size_t i = 0; i < worker->device.hub_count; i++) {
        if (prefix_contains(&worker->device.hub[i], address)) {
            return true;
        }
    }
    return false;
}

/* Multicast of either family and IPv4's limited broadcast: no unicast route leads there. */
static bool is_group(const uint8_t *packet) {
    const uint8_t *destination = packet_destination(packet);
    if (packet_is_v6(packet)) {
        return destination[0] == 0xff;
    }
    return (destination[0] & 0xf0) == 0xe0 || be32_get(destination) == UINT32_MAX;
}

static void drop(struct worker *worker, struct space *space, enum engine_drop reason) {
    worker_drop(worker, reason, 1);
    if (space) {
        space->usage.dropped++;
    }
}

/* --- ICMP --- */

/* Who speaks for the hub: the address, or of a network its first. */
static struct ip_addr hub_addr(const struct prefix *hub) {
    struct ip_addr addr = hub->addr;
    unsigned bits = ip_bits(&addr);
    if (hub->length + 1U < bits) { /* a network of two (RFC 3021) is all hosts */
        addr.bytes[bits / 8 - 1] |= 1;
    }
    return addr;
}

/* Tells the router that sent `packet` why it went no further, in the name of the hub. */
static void answer_peer(struct worker *worker, struct peer *peer, enum icmp_error error, const uint8_t *packet,
                        size_t size) {
    uint8_t answer[ICMP_ERROR_SIZE_MAX];
    size_t answer_size;
    uint8_t family = packet_is_v6(packet) ? AF_INET6 : AF_INET;
    for (size_t i = 0; i < worker->device.hub_count; i++) {
        if (worker->device.hub[i].addr.family != family) {
            continue;
        }
        struct ip_addr hub = hub_addr(&worker->device.hub[i]);
        if (icmp_error_create(error, packet, size, &hub, worker->device.mtu, &peer->space->answers, &answers_to_tenant,
                              worker->mono_ns, answer, &answer_size) == 0) {
            transmit_packet(worker, peer, answer, answer_size);
        }
        return;
    }
}

/* In the name of the destination: the host would refuse to hear from an address of its own. */
static void answer_host(struct worker *worker, enum icmp_error error, const uint8_t *packet, size_t size) {
    uint8_t room[COALESCE_HEADROOM + ICMP_ERROR_SIZE_MAX];
    uint8_t *answer = room + COALESCE_HEADROOM;
    size_t answer_size;
    struct ip_addr from = packet_addr(packet, packet_destination(packet));
    if (icmp_error_create(error, packet, size, &from, 0, &worker->answers, &answers_to_host, worker->mono_ns, answer,
                          &answer_size) == 0) {
        host_deliver(worker, answer, answer_size);
        host_flush(worker); /* the answer is on this stack */
    }
}

/* --- translation of private tenants --- */

/* Whether the packet may go to the host, now with its hub address as source. */
static bool translate_to_host(const struct peer *peer, uint8_t *packet, size_t size) {
    if (peer->space->tenant.addressing != ADDRESSING_PRIVATE) {
        return true;
    }
    struct ip_addr source = packet_addr(packet, packet_source(packet));
    const struct engine_hub_address *address = peer_hub_address(peer, source.family);
    if (!address || !ip_equal(&address->inside, &source)) {
        return false;
    }
    if (ip_equal(&address->inside, &address->hub)) {
        return true;
    }
    return source.family == AF_INET &&
           translate_source(packet, size, ip_to_v4(&address->inside), ip_to_v4(&address->hub), false) == 0;
}

static bool translate_from_host(const struct peer *peer, uint8_t *packet, size_t size, bool partial_checksum) {
    if (peer->space->tenant.addressing != ADDRESSING_PRIVATE) {
        return true;
    }
    struct ip_addr destination = packet_addr(packet, packet_destination(packet));
    const struct engine_hub_address *address = peer_hub_address(peer, destination.family);
    if (!address || !ip_equal(&address->hub, &destination)) {
        return false;
    }
    if (ip_equal(&address->inside, &address->hub)) {
        return true;
    }
    return destination.family == AF_INET && translate_destination(packet, size, ip_to_v4(&address->hub),
                                                                  ip_to_v4(&address->inside), partial_checksum) == 0;
}

/* --- from a router --- */

/* False for an ICMP error about a packet that was not for this router, with which it could end another's flows. */
static bool speaks_for_itself(const struct worker *worker, const struct peer *peer, const uint8_t *packet,
                              size_t size) {
    struct ip_addr quoted;
    int speaks = icmp_quoted(packet, size, &quoted);
    return speaks == 0 || (speaks == 1 && slot_of(worker, peer->space, packet, quoted.bytes) == peer->slot);
}

/* Whether the hub would send an answer to this very peer. The control plane keeps the tenants' addresses apart; should
 * two come to share one, neither speaks in the other's name. */
static bool is_known_as(const struct worker *worker, const struct peer *peer, const uint8_t *packet) {
    return route_of(worker, packet, packet_source(packet)) == directory_id(worker->number, peer->slot);
}

static void deliver(struct worker *worker, struct peer *peer, uint8_t *packet, size_t size) {
    if (!speaks_for_itself(worker, peer, packet, size)) {
        drop(worker, peer->space, ENGINE_DROP_BAD_SOURCE);
        return;
    }
    if (!translate_to_host(peer, packet, size)) {
        drop(worker, peer->space, ENGINE_DROP_UNTRANSLATABLE);
        return;
    }
    if (!is_known_as(worker, peer, packet)) {
        drop(worker, peer->space, ENGINE_DROP_BAD_SOURCE);
        return;
    }
    host_deliver(worker, packet, size);
}

static void refuse(struct worker *worker, struct peer *peer, const uint8_t *packet, size_t size) {
    drop(worker, peer->space, ENGINE_DROP_PROHIBITED);
    answer_peer(worker, peer, ICMP_ERROR_PROHIBITED, packet, size);
}

/* Whether a tenant with egress may send there: not to others behind the hub, nor to what is not the world's. */
static bool is_beyond(const struct worker *worker, const uint8_t *packet, const uint8_t *destination) {
    bool reserved = packet_is_v6(packet) ? reserved_v6(destination) : reserved_v4(destination);
    return !reserved && route_of(worker, packet, destination) == 0;
}

/* Site to site. It turns around here and never meets the host. */
static void turn_around(struct worker *worker, struct peer *from, struct peer *to, const uint8_t *packet, size_t size) {
    struct packet parsed;
    if (size > worker->device.mtu && packet_parse(packet, size, &parsed) == 0 && parsed.dont_fragment) {
        drop(worker, from->space, ENGINE_DROP_TOO_BIG);
        answer_peer(worker, from, ICMP_ERROR_TOO_BIG, packet, size);
        return;
    }
    if (!space_police(to->space, SPACE_SENT, worker->mono_ns, size, 1)) {
        drop(worker, to->space, ENGINE_DROP_OVER_LIMIT);
        return;
    }
    worker->counters.turned_around++;
    transmit_packet(worker, to, packet, size);
}

static void forward_of_tenant(struct worker *worker, struct peer *peer, uint8_t *packet, size_t size) {
    struct space *space = peer->space;
    if (slot_of(worker, space, packet, packet_source(packet)) != peer->slot) {
        drop(worker, space, ENGINE_DROP_BAD_SOURCE);
        return;
    }
    if (!space_police(space, SPACE_RECEIVED, worker->mono_ns, size, 1)) {
        drop(worker, space, ENGINE_DROP_OVER_LIMIT);
        return;
    }
    space->usage.bytes_received += size;
    space->usage.packets_received++;
    if (is_group(packet)) {
        drop(worker, space, ENGINE_DROP_PROHIBITED);
        return;
    }
    const uint8_t *destination = packet_destination(packet);
    struct ip_addr address = packet_addr(packet, destination);
    if (is_hub(worker, &address)) {
        deliver(worker, peer, packet, size);
        return;
    }
    struct peer *other = peer_at(worker, slot_of(worker, space, packet, destination));
    if (other && other != peer) {
        turn_around(worker, peer, other, packet, size);
    } else if (!other && space->tenant.egress && is_beyond(worker, packet, destination)) {
        deliver(worker, peer, packet, size);
    } else {
        refuse(worker, peer, packet, size);
    }
}

void forward_prefetch(const struct worker *worker, const struct peer *peer, const uint8_t *bytes, size_t size) {
    if (packet_size(bytes, size) == 0) {
        return;
    }
    struct ip_addr source = packet_addr(bytes, packet_source(bytes));
    directory_prefetch(worker->setup.directory, &source);
    if (peer->space) {
        trie_prefetch(worker->tables.tries, &peer->space->trie, source.family);
    }
}

void forward_from_peer(struct worker *worker, struct peer *peer, uint8_t *bytes, size_t size, uint8_t outer_ecn) {
    size_t inner_size = packet_size(bytes, size);
    if (inner_size == 0) {
        drop(worker, peer->space, ENGINE_DROP_BAD_INNER);
        return;
    }
    packet_decapsulate_ecn(bytes, outer_ecn);
    if (peer->space) {
        forward_of_tenant(worker, peer, bytes, inner_size);
    } else if (route_of(worker, bytes, packet_source(bytes)) == directory_id(worker->number, peer->slot)) {
        host_deliver(worker, bytes, inner_size);
    } else {
        worker_drop(worker, ENGINE_DROP_BAD_SOURCE, 1);
    }
}

/* --- from the host --- */

/* Whether the host may pass this packet on to a router of `space`: what it carries for the hub itself, or for the
 * outside world if the tenant has egress, but nothing of another tenant's that came in through the same interface. */
static bool may_enter(const struct worker *worker, const struct space *space, const uint8_t *packet) {
    struct ip_addr source = packet_addr(packet, packet_source(packet));
    if (is_hub(worker, &source)) {
        return true;
    }
    if (worker->device.hub_count > 0 && !space->tenant.egress) {
        return false;
    }
    uint32_t id = route_of(worker, packet, packet_source(packet));
    if (id == 0) {
        return true;
    }
    const struct peer *peer = directory_id_worker(id) == worker->number ? peer_at(worker, directory_id_slot(id)) : NULL;
    return peer && peer->space == space;
}

/* Checksums and segments are the last to be made, when the addresses are right. */
static void send_to_peer(struct worker *worker, struct peer *peer, uint8_t *packet, size_t size,
                         const struct virtio_net_hdr *header) {
    struct segments segments;
    if (segments_begin(packet, size, header, &segments) < 0) {
        drop(worker, peer->space, ENGINE_DROP_BAD_INNER);
        return;
    }
    transmit_segments(worker, peer, &segments);
}

/* Whether the checksum that the host left undone is the one behind the IP header, which covers the addresses. In a
 * packet within a packet it may be the inner one's. */
static bool is_partial(const uint8_t *packet, const struct virtio_net_hdr *header) {
    size_t upper = packet_is_v6(packet) ? PACKET_IPV6_SIZE : (size_t)(packet[0] & 15) * 4;
    return (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && header->csum_start == upper;
}

static void forward_to_tenant(struct worker *worker, struct peer *peer, uint8_t *packet, size_t size,
                              const struct virtio_net_hdr *header) {
    struct space *space = peer->space;
    if (!may_enter(worker, space, packet)) {
        drop(worker, space, ENGINE_DROP_PROHIBITED);
        answer_host(worker, ICMP_ERROR_PROHIBITED, packet, size);
        return;
    }
    size_t packets = header->gso_size ? (size + header->gso_size - 1) / header->gso_size : 1;
    if (!space_police(space, SPACE_SENT, worker->mono_ns, size, packets)) {
        drop(worker, space, ENGINE_DROP_OVER_LIMIT);
        return;
    }
    if (!translate_from_host(peer, packet, size, is_partial(packet, header))) {
        drop(worker, space, ENGINE_DROP_UNTRANSLATABLE);
        return;
    }
    send_to_peer(worker, peer, packet, size, header);
}

/* Whether it comes from the port of our sockets, so that it may be a datagram of ours. */
static bool is_from_own_port(const struct worker *worker, const uint8_t *packet, size_t size) {
    bool v6 = packet_is_v6(packet);
    size_t upper = v6 ? PACKET_IPV6_SIZE : (size_t)(packet[0] & 15) * 4;
    bool is_udp = v6 ? packet[6] == IPPROTO_UDP : packet[9] == IPPROTO_UDP && (be16_get(packet + 6) & 0x1fff) == 0;
    return is_udp && upper + UDP_SIZE <= size && be16_get(packet + upper + UDP_SOURCE) == worker->io.port &&
           worker->io.port != 0;
}

static bool is_for_endpoint(const struct peer *peer, const struct ip_addr *destination) {
    struct ip_addr endpoint = endpoint_addr(&peer->endpoint);
    return ip_equal(&endpoint, destination);
}

/* Whether the host has routed a datagram of ours into our own tunnel, sealed as it is. It would come back to be sealed
 * and sent once more, larger each time. `peer`: who it would go to, NULL if that is not known here. */
static bool is_looped(struct worker *worker, const struct peer *peer, const uint8_t *packet) {
    struct ip_addr source = packet_addr(packet, packet_source(packet));
    struct ip_addr destination = packet_addr(packet, packet_destination(packet));
    unsigned interface;
    switch (route_ask(worker->io.route, &source, 0, worker->mono_ns, &interface)) {
    case ROUTE_LOCAL:
        return true;
    case ROUTE_UNKNOWN:
        return peer && is_for_endpoint(peer, &destination);
    case ROUTE_AWAY:
    case ROUTE_NONE:
        return false;
    }
    return false;
}

void forward_from_host(struct worker *worker, uint8_t *bytes, size_t size, const struct virtio_net_hdr *header,
                       bool handed_over) {
    size_t inner_size = packet_size(bytes, size);
    if (inner_size == 0) {
        worker_drop(worker, ENGINE_DROP_BAD_INNER, 1);
        return;
    }
    uint32_t id = route_of(worker, bytes, packet_destination(bytes));
    unsigned owner = directory_id_worker(id);
    struct peer *peer = id != 0 && owner == worker->number ? peer_at(worker, directory_id_slot(id)) : NULL;
    if (is_from_own_port(worker, bytes, inner_size) && is_looped(worker, peer, bytes)) {
        drop(worker, peer ? peer->space : NULL, ENGINE_DROP_LOOPED);
        return;
    }
    if (id != 0 && owner != worker->number && !handed_over) {
        parcel_send_packet(worker, owner, bytes, inner_size, header);
        return;
    }
    if (!peer) {
        worker_drop(worker, ENGINE_DROP_NO_ROUTE, 1);
        answer_host(worker, ICMP_ERROR_UNREACHABLE, bytes, inner_size);
    } else if (peer->space) {
        forward_to_tenant(worker, peer, bytes, inner_size, header);
    } else {
        send_to_peer(worker, peer, bytes, inner_size, header);
    }
}
