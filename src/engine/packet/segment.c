#include "engine/packet/segment.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/packet/packet.h"
#include "engine/packet/transport.h"

struct segments segments_of_one(const uint8_t *packet, size_t size) {
    return (struct segments){.packet = packet, .size = size, .header_size = size, .count = 1};
}

/* The field holds the sum of the pseudo header already. */
static int fill_in_checksum(uint8_t *packet, size_t size, const struct virtio_net_hdr *header) {
    size_t start = header->csum_start;
    size_t field = start + header->csum_offset;
    size_t upper = packet_is_v6(packet) ? PACKET_IPV6_SIZE : (size_t)(packet[0] & 15) * 4;
    if (start < upper || field + 2 > size) { /* never into the addresses, by which it was routed */
        return -EINVAL;
    }
    uint16_t sum = (uint16_t)~packet_fold(packet_sum(packet + start, size - start, 0));
    /* Zero means "no checksum" to UDP; the other zero is the same number. */
    be16_put(packet + field, sum ? sum : UINT16_MAX);
    return 0;
}

static int begin_large(const uint8_t *packet, size_t size, uint8_t kind, uint16_t piece_size,
                       struct segments *ret_segments) {
    struct packet parsed;
    bool is_tcp = kind != VIRTIO_NET_HDR_GSO_UDP_L4;
    if (packet_parse(packet, size, &parsed) < 0 || parsed.size != size || parsed.fragment || piece_size == 0 ||
        parsed.protocol != (is_tcp ? IPPROTO_TCP : IPPROTO_UDP) ||
        (kind == VIRTIO_NET_HDR_GSO_TCPV4 && parsed.version != 4) ||
        (kind == VIRTIO_NET_HDR_GSO_TCPV6 && parsed.version != 6)) {
        return -EINVAL;
    }
    size_t upper = parsed.header_size;
    size_t upper_size = is_tcp ? TCP_SIZE : UDP_SIZE;
    if (upper + upper_size > size) {
        return -EINVAL;
    }
    if (is_tcp) {
        upper_size = transport_tcp_size(packet + upper);
        if (upper_size < TCP_SIZE || upper + upper_size > size) {
            return -EINVAL;
        }
    }
    size_t payload = size - upper - upper_size;
    *ret_segments = (struct segments){
        .packet = packet,
        .size = size,
        .header_size = upper + upper_size,
        .upper = upper,
        .piece_size = piece_size,
        .count = payload ? (uint32_t)((payload + piece_size - 1) / piece_size) : 1,
        .is_tcp = is_tcp,
    };
    return 0;
}

int segments_begin(uint8_t *packet, size_t size, const struct virtio_net_hdr *header, struct segments *ret_segments) {
    uint8_t kind = header->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
    switch (kind) {
    case VIRTIO_NET_HDR_GSO_NONE:
        if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
            int error = fill_in_checksum(packet, size, header);
            if (error) {
                return error;
            }
        }
        *ret_segments = segments_of_one(packet, size);
        return 0;
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6:
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return begin_large(packet, size, kind, header->gso_size, ret_segments);
    default: /* not asked for */
        return -EINVAL;
    }
}

static size_t piece_of(const struct segments *segments) {
    size_t left = segments->size - segments->header_size - segments->at;
    return segments->piece_size && left > segments->piece_size ? segments->piece_size : left;
}

size_t segments_next_size(const struct segments *segments) {
    return segments->next < segments->count ? segments->header_size + piece_of(segments) : 0;
}

static void fix_ip(const struct segments *segments, uint8_t *out, size_t size) {
    if (packet_is_v6(out)) {
        be16_put(out + 4, (uint16_t)(size - PACKET_IPV6_SIZE));
        return;
    }
    size_t header = (size_t)(out[0] & 15) * 4;
    be16_put(out + 2, (uint16_t)size);
    be16_put(out + 4, (uint16_t)(be16_get(out + 4) + segments->next));
    be16_put(out + 10, 0);
    be16_put(out + 10, (uint16_t)~packet_fold(packet_sum(out, header, 0)));
}

void segments_take(struct segments *segments, uint8_t *out) {
    if (segments->piece_size == 0) {
        memcpy(out, segments->packet, segments->size);
        segments->next++;
        return;
    }
    size_t piece = piece_of(segments);
    size_t size = segments->header_size + piece;
    uint8_t *upper = out + segments->upper;
    size_t upper_size = size - segments->upper;
    uint8_t *checksum = upper + (segments->is_tcp ? TCP_CHECKSUM : UDP_CHECKSUM);
    memcpy(out, segments->packet, segments->header_size);
    memcpy(out + segments->header_size, segments->packet + segments->header_size + segments->at, piece);
    fix_ip(segments, out, size);
    if (segments->is_tcp) {
        be32_put(upper + TCP_SEQUENCE, be32_get(upper + TCP_SEQUENCE) + (uint32_t)segments->at);
        if (segments->next + 1 < segments->count) {
            upper[TCP_FLAGS] &= (uint8_t) ~(TCP_FLAG_FIN | TCP_FLAG_PSH);
        }
        if (segments->next > 0) {
            upper[TCP_FLAGS] &= (uint8_t)~TCP_FLAG_CWR; /* RFC 3168 6.1.2: told once */
        }
    } else {
        be16_put(upper + UDP_LENGTH, (uint16_t)upper_size);
    }
    be16_put(checksum, 0);
    uint32_t sum = transport_pseudo_sum(out, segments->is_tcp ? IPPROTO_TCP : IPPROTO_UDP, upper_size);
    uint16_t folded = (uint16_t)~packet_fold(packet_sum(upper, upper_size, sum));
    be16_put(checksum, folded || segments->is_tcp ? folded : UINT16_MAX);
    segments->at += piece;
    segments->next++;
}
