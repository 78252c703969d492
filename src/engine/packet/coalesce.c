#include "engine/packet/coalesce.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/packet/packet.h"
#include "engine/packet/transport.h"

_Static_assert(COALESCE_HEADROOM >= sizeof(struct virtio_net_hdr), "a header of the kernel's fits in front");

#define PACKETS_MAX 256
#define PIECES_MAX 64 /* of one large packet (Linux UDP_MAX_SEGMENTS, of older kernels) */
#define BUCKETS 64
#define HEADER_MAX 128 /* IPv6 and a TCP header with all its options: 100 */
#define NONE UINT16_MAX

#define IPV4_DF 0x4000

/* What decides whether a packet may join a group. */
struct shape {
    uint8_t protocol; /* 0: stays alone, and no flow of ours waits for it */
    bool summed; /* has a checksum over all that follows the IP header, that the kernel would compute bit for bit */
    bool joins;  /* may be put together with others */
    bool last_of_group; /* nothing may follow it */
    uint8_t upper;
    uint8_t header_size; /* IP and upper */
    uint16_t payload;
};

struct item {
    uint8_t *bytes;
    uint32_t size;
    uint16_t next;
};

struct group {
    uint16_t first, last; /* items */
    uint16_t count;
    uint16_t payload;   /* of all together */
    struct shape shape; /* the first one's */
    bool closed;
    bool pushed;   /* one had PSH */
    bool verified; /* the first one's checksum is right */
};

struct coalesce {
    uint16_t item_count, group_count;
    uint16_t buckets[BUCKETS]; /* the open group of a flow, NONE */
    struct item items[PACKETS_MAX];
    struct group groups[PACKETS_MAX];
};

static void clear(struct coalesce *coalesce) {
    coalesce->item_count = 0;
    coalesce->group_count = 0;
    memset(coalesce->buckets, 0xff, sizeof coalesce->buckets);
}

int coalesce_create(struct coalesce **ret_coalesce) {
    struct coalesce *coalesce = calloc(1, sizeof *coalesce);
    if (!coalesce) {
        return -ENOMEM;
    }
    clear(coalesce);
    *ret_coalesce = coalesce;
    return 0;
}

void coalesce_free(struct coalesce *coalesce) {
    free(coalesce);
}

/* --- looking at a packet --- */

static void shape_tcp(const uint8_t *bytes, size_t size, struct shape *shape) {
    const uint8_t *tcp = bytes + shape->upper;
    if (size < shape->upper + (size_t)TCP_SIZE) {
        shape->protocol = 0;
        return;
    }
    size_t header = transport_tcp_size(tcp);
    if (header < TCP_SIZE || shape->upper + header > size) {
        shape->protocol = 0;
        return;
    }
    shape->header_size = (uint8_t)(shape->upper + header);
    shape->payload = (uint16_t)(size - shape->header_size);
    shape->summed = be16_get(tcp + TCP_CHECKSUM) != 0; /* the kernel makes 0xffff of it */
    shape->joins = shape->summed && shape->payload > 0 && (tcp[TCP_FLAGS] & ~TCP_FLAG_PSH) == TCP_FLAG_ACK;
    shape->last_of_group = (tcp[TCP_FLAGS] & TCP_FLAG_PSH) != 0;
}

static void shape_udp(const uint8_t *bytes, size_t size, struct shape *shape) {
    const uint8_t *udp = bytes + shape->upper;
    if (size < shape->upper + (size_t)UDP_SIZE) {
        shape->protocol = 0;
        return;
    }
    shape->header_size = (uint8_t)(shape->upper + UDP_SIZE);
    shape->payload = (uint16_t)(size - shape->header_size);
    shape->summed = be16_get(udp + UDP_LENGTH) == size - shape->upper && be16_get(udp + UDP_CHECKSUM) != 0;
    shape->joins = shape->summed && shape->payload > 0;
}

static struct shape shape_of(const uint8_t *bytes, size_t size) {
    struct shape shape = {0};
    if (packet_is_v6(bytes)) {
        shape.protocol = bytes[6];
        shape.upper = PACKET_IPV6_SIZE;
    } else if (bytes[0] == 0x45 && (be16_get(bytes + 6) & ~IPV4_DF) == 0) {
        shape.protocol = bytes[9];
        shape.upper = PACKET_IPV4_SIZE;
    }
    if (shape.protocol == IPPROTO_TCP) {
        shape_tcp(bytes, size, &shape);
    } else if (shape.protocol == IPPROTO_UDP) {
        shape_udp(bytes, size, &shape);
    } else {
        shape.protocol = 0;
    }
    return shape;
}

/* By addresses and ports. Whoever aims for a bucket only keeps packets from being put together. */
static unsigned bucket_of(const uint8_t *bytes, const struct shape *shape) {
    const uint8_t *source = packet_source(bytes);
    size_t both = transport_addresses_size(bytes);
    uint32_t hash = be32_get(bytes + shape->upper);
    for (size_t i = 0; i < both; i += 4) {
        hash = (hash ^ be32_get(source + i)) * UINT32_C(0x9e3779b1);
    }
    return hash >> 26;
}

_Static_assert(BUCKETS == 1 << (32 - 26), "bucket_of()");

static bool same_flow(const uint8_t *a, const uint8_t *b, const struct shape *shape) {
    size_t both = transport_addresses_size(a);
    return a[0] >> 4 == b[0] >> 4 && memcmp(packet_source(a), packet_source(b), both) == 0 &&
           memcmp(a + shape->upper, b + shape->upper, 4) == 0;
}

static bool same_ip(const uint8_t *a, const uint8_t *b, uint16_t distance) {
    if (packet_is_v6(a)) {
        return memcmp(a, b, 4) == 0 && memcmp(a + 6, b + 6, 2) == 0;
    }
    /* With DF set the ID means nothing (RFC 6864). */
    bool numbered = (be16_get(a + 6) & IPV4_DF) || be16_get(b + 4) == (uint16_t)(be16_get(a + 4) + distance);
    return numbered && memcmp(a, b, 2) == 0 && memcmp(a + 6, b + 6, 4) == 0;
}

static bool same_tcp(const uint8_t *a, const uint8_t *b, const struct group *group) {
    const uint8_t *first = a + group->shape.upper;
    const uint8_t *next = b + group->shape.upper;
    size_t options = (size_t)group->shape.header_size - group->shape.upper - TCP_SIZE;
    return be32_get(next + TCP_SEQUENCE) == be32_get(first + TCP_SEQUENCE) + group->payload &&
           memcmp(first + TCP_ACKNOWLEDGEMENT, next + TCP_ACKNOWLEDGEMENT, 5) == 0 && /* and the header's size */
           memcmp(first + TCP_WINDOW, next + TCP_WINDOW, 2) == 0 &&
           memcmp(first + TCP_URGENT, next + TCP_URGENT, 2 + options) == 0;
}

static bool checksum_right(const uint8_t *bytes, size_t size, const struct shape *shape) {
    uint32_t sum = transport_pseudo_sum(bytes, shape->protocol, size - shape->upper);
    bool ip_right = packet_is_v6(bytes) || packet_fold(packet_sum(bytes, PACKET_IPV4_SIZE, 0)) == UINT16_MAX;
    return ip_right && packet_fold(packet_sum(bytes + shape->upper, size - shape->upper, sum)) == UINT16_MAX;
}

/* --- gathering --- */

static bool fits(struct coalesce *coalesce, struct group *group, const uint8_t *bytes, size_t size,
                 const struct shape *shape) {
    const struct item *first = &coalesce->items[group->first];
    if (group->closed || !shape->joins || shape->header_size != group->shape.header_size ||
        shape->payload > group->shape.payload || group->count == PIECES_MAX ||
        group->shape.header_size + (size_t)group->payload + shape->payload > UINT16_MAX ||
        !same_ip(first->bytes, bytes, group->count) ||
        (shape->protocol == IPPROTO_TCP && !same_tcp(first->bytes, bytes, group))) {
        return false;
    }
    if (!group->verified) {
        group->verified = checksum_right(first->bytes, first->size, &group->shape);
        group->closed = !group->verified;
    }
    return group->verified && checksum_right(bytes, size, shape);
}

static uint16_t add_item(struct coalesce *coalesce, uint8_t *bytes, size_t size) {
    coalesce->items[coalesce->item_count] = (struct item){.bytes = bytes, .size = (uint32_t)size, .next = NONE};
    return coalesce->item_count++;
}

static void join(struct coalesce *coalesce, struct group *group, uint16_t item, const struct shape *shape) {
    coalesce->items[group->last].next = item;
    group->last = item;
    group->count++;
    group->payload = (uint16_t)(group->payload + shape->payload);
    group->pushed |= shape->last_of_group;
    group->closed = shape->last_of_group || shape->payload < group->shape.payload;
}

static uint16_t start(struct coalesce *coalesce, uint16_t item, const struct shape *shape) {
    coalesce->groups[coalesce->group_count] = (struct group){
        .first = item,
        .last = item,
        .count = 1,
        .payload = shape->payload,
        .shape = *shape,
        .closed = !shape->joins || shape->last_of_group,
        .pushed = shape->last_of_group,
    };
    return coalesce->group_count++;
}

bool coalesce_add(struct coalesce *coalesce, uint8_t *bytes, size_t size, bool tcp, bool udp) {
    if (coalesce->item_count == PACKETS_MAX) {
        return false;
    }
    struct shape shape = shape_of(bytes, size);
    uint16_t item = add_item(coalesce, bytes, size);
    if (shape.protocol == 0) {
        start(coalesce, item, &shape);
        return true;
    }
    shape.joins &= shape.protocol == IPPROTO_TCP ? tcp : udp;
    uint16_t *bucket = &coalesce->buckets[bucket_of(bytes, &shape)];
    struct group *group = *bucket == NONE ? NULL : &coalesce->groups[*bucket];
    if (group && group->shape.protocol == shape.protocol &&
        same_flow(coalesce->items[group->first].bytes, bytes, &shape) && fits(coalesce, group, bytes, size, &shape)) {
        join(coalesce, group, item, &shape);
    } else {
        /* Later ones of the flow must not overtake this one, so they may only join it. */
        *bucket = start(coalesce, item, &shape);
    }
    return true;
}

/* --- handing over --- */

/* Leaves the checksum to the kernel, which makes it where the packet leaves the host, and else takes it for right: the
 * field holds the sum of the pseudo header, with `upper_size` bytes behind the IP header. */
static struct virtio_net_hdr leave_checksum(uint8_t *packet, const struct shape *shape, size_t upper_size) {
    uint16_t offset = shape->protocol == IPPROTO_TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
    be16_put(packet + shape->upper + offset, packet_fold(transport_pseudo_sum(packet, shape->protocol, upper_size)));
    return (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = shape->upper,
        .csum_offset = offset,
    };
}

/* One whose checksum is known to be right spares the kernel to look for what it is about, which costs it more than the
 * sum of a small packet costs us (skb_probe_transport_header() in Linux' tun_get_user()), and to verify it again. One
 * that is wrong is the receiver's to find, as it came. */
static int hand_over_one(const struct item *item, const struct group *group, coalesce_fn *fn, void *context) {
    const struct shape *shape = &group->shape;
    struct virtio_net_hdr header = {0};
    const struct iovec whole = {.iov_base = item->bytes - sizeof header, .iov_len = item->size + sizeof header};
    if (shape->summed && (group->verified || checksum_right(item->bytes, item->size, shape))) {
        header = leave_checksum(item->bytes, shape, item->size - shape->upper);
    }
    memcpy(whole.iov_base, &header, sizeof header);
    return fn(context, &whole, 1, 1);
}

/* The first one's headers, for all: lengths and PSH; and a checksum that the kernel makes for each piece. */
static void make_headers(const struct coalesce *coalesce, const struct group *group, uint8_t headers[HEADER_MAX],
                         struct virtio_net_hdr *ret_header) {
    const struct shape *shape = &group->shape;
    bool is_tcp = shape->protocol == IPPROTO_TCP;
    uint8_t *upper = headers + shape->upper;
    size_t upper_size = (size_t)shape->header_size - shape->upper + group->payload;
    memcpy(headers, coalesce->items[group->first].bytes, shape->header_size);
    bool is_v6 = packet_is_v6(headers);
    if (is_v6) {
        be16_put(headers + 4, (uint16_t)upper_size);
    } else {
        be16_put(headers + 2, (uint16_t)(shape->upper + upper_size));
        be16_put(headers + 10, 0);
        be16_put(headers + 10, (uint16_t)~packet_fold(packet_sum(headers, PACKET_IPV4_SIZE, 0)));
    }
    if (is_tcp) {
        upper[TCP_FLAGS] |= group->pushed ? TCP_FLAG_PSH : 0;
    } else {
        be16_put(upper + UDP_LENGTH, (uint16_t)upper_size);
    }
    *ret_header = leave_checksum(headers, shape, upper_size);
    ret_header->gso_type = !is_tcp ? VIRTIO_NET_HDR_GSO_UDP_L4
                           : is_v6 ? VIRTIO_NET_HDR_GSO_TCPV6
                                   : VIRTIO_NET_HDR_GSO_TCPV4;
    ret_header->hdr_len = shape->header_size;
    ret_header->gso_size = shape->payload;
}

static int hand_over_all(const struct coalesce *coalesce, const struct group *group, coalesce_fn *fn, void *context) {
    struct virtio_net_hdr header;
    uint8_t headers[HEADER_MAX];
    struct iovec parts[2 + PIECES_MAX];
    size_t count = 0;
    make_headers(coalesce, group, headers, &header);
    parts[count++] = (struct iovec){.iov_base = &header, .iov_len = sizeof header};
    parts[count++] = (struct iovec){.iov_base = headers, .iov_len = group->shape.header_size};
    for (uint16_t i = group->first; i != NONE; i = coalesce->items[i].next) {
        const struct item *item = &coalesce->items[i];
        parts[count++] = (struct iovec){
            .iov_base = item->bytes + group->shape.header_size,
            .iov_len = item->size - group->shape.header_size,
        };
    }
    return fn(context, parts, count, group->count);
}

void coalesce_flush(struct coalesce *coalesce, coalesce_fn *fn, void *context) {
    for (uint16_t n = 0; n < coalesce->group_count; n++) {
        const struct group *group = &coalesce->groups[n];
        if (group->count > 1 && hand_over_all(coalesce, group, fn, context) != -EINVAL) {
            continue;
        }
        for (uint16_t i = group->first; i != NONE; i = coalesce->items[i].next) {
            hand_over_one(&coalesce->items[i], group, fn, context);
        }
    }
    if (coalesce->group_count > 0) {
        clear(coalesce);
    }
}
