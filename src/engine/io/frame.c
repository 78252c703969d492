#include "engine/io/frame.h"

#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/io/udp.h"
#include "engine/packet/packet.h"
#include "engine/packet/transport.h"

#define ETHERNET_SIZE sizeof(struct ether_header)
#define FRAGMENT (IP_MF | IP_OFFMASK)

/* `size` bytes of `packet` that begin with a UDP header and may end with padding of the link. */
static bool read_udp(const uint8_t *packet, uint8_t *bytes, size_t size, bool may_lack_checksum,
                     struct udp_received *received) {
    struct udphdr header;
    if (size < sizeof header) {
        return false;
    }
    memcpy(&header, bytes, sizeof header);
    size_t length = be16_get(&header.len);
    if (length < sizeof header || length > size) {
        return false;
    }
    uint16_t pseudo = packet_fold(transport_pseudo_sum(packet, IPPROTO_UDP, length));
    bool none = header.check == 0;
    bool left_to_the_card = be16_get(&header.check) == pseudo;
    if (none ? !may_lack_checksum : !left_to_the_card && packet_fold(packet_sum(bytes, length, pseudo)) != 0xffff) {
        return false;
    }
    received->bytes = bytes + sizeof header;
    received->size = received->segment = length - sizeof header;
    return true;
}

static bool read_v4(uint8_t *bytes, size_t size, struct udp_received *received) {
    struct iphdr ip;
    if (size < sizeof ip) {
        return false;
    }
    memcpy(&ip, bytes, sizeof ip);
    size_t length = be16_get(&ip.tot_len);
    if (ip.version != 4 || ip.ihl != sizeof ip / 4 || ip.protocol != IPPROTO_UDP || be16_get(&ip.frag_off) & FRAGMENT ||
        length < sizeof ip || length > size || packet_fold(packet_sum(bytes, sizeof ip, 0)) != 0xffff) {
        return false;
    }
    if (!read_udp(bytes, bytes + sizeof ip, length - sizeof ip, true, received)) {
        return false;
    }
    received->ecn = ip.tos & PACKET_ECN_MASK;
    received->from.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = ip.saddr};
    memcpy(&received->from.in.sin_port, bytes + sizeof ip, sizeof received->from.in.sin_port);
    received->to = (struct udp_local){.family = AF_INET, .in.s_addr = ip.daddr};
    return true;
}

static bool read_v6(uint8_t *bytes, size_t size, struct udp_received *received) {
    struct ip6_hdr ip;
    if (size < sizeof ip) {
        return false;
    }
    memcpy(&ip, bytes, sizeof ip);
    size_t length = be16_get(&ip.ip6_plen);
    if (bytes[0] >> 4 != 6 || ip.ip6_nxt != IPPROTO_UDP || length > size - sizeof ip) {
        return false;
    }
    if (!read_udp(bytes, bytes + sizeof ip, length, false, received)) {
        return false;
    }
    received->ecn = packet_ecn(bytes);
    received->from.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = ip.ip6_src};
    memcpy(&received->from.in6.sin6_port, bytes + sizeof ip, sizeof received->from.in6.sin6_port);
    received->to = (struct udp_local){.family = AF_INET6, .in6 = ip.ip6_dst};
    return true;
}

bool frame_read(uint8_t *frame, size_t size, struct udp_received *ret_received) {
    if (size < ETHERNET_SIZE) {
        return false;
    }
    struct udp_received received = {.interface = ret_received->interface};
    uint8_t *packet = frame + ETHERNET_SIZE;
    bool good = false;
    switch (be16_get(frame + offsetof(struct ether_header, ether_type))) {
    case ETHERTYPE_IP:
        good = read_v4(packet, size - ETHERNET_SIZE, &received);
        break;
    case ETHERTYPE_IPV6:
        good = read_v6(packet, size - ETHERNET_SIZE, &received);
        break;
    }
    if (good) {
        *ret_received = received;
    }
    return good;
}
