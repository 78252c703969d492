#include "engine/packet.h"

#include <errno.h>
#include <string.h>

#define EXTENSIONS_MAX 8
#define ECN_ECT_1 1
#define ECN_ECT_0 2
#define ECN_CE 3
#define HIP 139   /* RFC 7401 */
#define SHIM6 140 /* RFC 5533 */

static int parse_v4(const uint8_t *bytes, size_t size, struct packet *p) {
    if (size < PACKET_IPV4_SIZE) {
        return -EINVAL;
    }
    uint16_t flags = be16_get(bytes + 6);
    *p = (struct packet){
        .version = 4,
        .tos = bytes[1],
        .protocol = bytes[9],
        .dont_fragment = flags & 0x4000,
        .more_fragments = flags & 0x2000,
        .fragment = flags & 0x3fff,
        .fragment_offset = (uint16_t)((flags & 0x1fff) * 8),
        .header_size = (uint16_t)((bytes[0] & 15) * 4),
        .fixed_size = (uint16_t)((bytes[0] & 15) * 4),
        .size = be16_get(bytes + 2),
        .source = bytes + 12,
        .destination = bytes + 16,
    };
    if (p->header_size < PACKET_IPV4_SIZE || p->size < p->header_size || p->size > size) {
        return -EINVAL;
    }
    return 0;
}

/* Whether another header of IPv6 follows one of this type (RFC 8200, 4; RFC 7045). */
static bool is_extension(uint8_t type) {
    return type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING || type == IPPROTO_DSTOPTS || type == IPPROTO_FRAGMENT ||
           type == IPPROTO_AH || type == IPPROTO_MH || type == HIP || type == SHIM6;
}

/* Steps over one extension header. */
static int skip_extension(struct cursor *c, struct packet *p) {
    uint8_t type = p->protocol;
    uint8_t next = cursor_u8(c);
    uint8_t length = cursor_u8(c);
    if (type == IPPROTO_FRAGMENT) {
        uint16_t fragment = cursor_be16(c);
        cursor_take(c, 4);
        if (p->fragment || next == IPPROTO_FRAGMENT) {
            return -EINVAL; /* a fragment of a fragment */
        }
        p->fragment_offset = fragment & 0xfff8;
        p->more_fragments = fragment & 1;
        p->fragment = p->fragment_offset || p->more_fragments;
    } else {
        size_t whole = type == IPPROTO_AH ? ((size_t)length + 2) * 4 : ((size_t)length + 1) * 8;
        cursor_take(c, whole - 2); /* at least 6 */
    }
    p->protocol = next;
    return c->failed ? -EINVAL : 0;
}

static int parse_v6(const uint8_t *bytes, size_t size, struct packet *p) {
    if (size < PACKET_IPV6_SIZE) {
        return -EINVAL;
    }
    *p = (struct packet){
        .version = 6,
        .tos = (uint8_t)(be16_get(bytes) >> 4),
        .protocol = bytes[6],
        .dont_fragment = true,
        .fixed_size = PACKET_IPV6_SIZE,
        .size = PACKET_IPV6_SIZE + (uint32_t)be16_get(bytes + 4),
        .source = bytes + 8,
        .destination = bytes + 24,
    };
    if (p->size > size) {
        return -EINVAL;
    }
    struct cursor c = cursor_over(bytes + PACKET_IPV6_SIZE, p->size - PACKET_IPV6_SIZE);
    /* behind a later fragment's header comes the middle of something */
    for (unsigned count = 0; is_extension(p->protocol) && p->fragment_offset == 0; count++) {
        int error = count < EXTENSIONS_MAX ? skip_extension(&c, p) : -EINVAL;
        if (error) {
            return error;
        }
    }
    p->header_size = (uint16_t)(p->size - c.left);
    return 0;
}

int packet_parse(const void *bytes, size_t size, struct packet *ret_packet) {
    const uint8_t *b = bytes;
    struct packet p;
    int error = size == 0        ? -EINVAL
                : b[0] >> 4 == 4 ? parse_v4(b, size, &p)
                : b[0] >> 4 == 6 ? parse_v6(b, size, &p)
                                 : -EINVAL;
    if (error) {
        return error;
    }
    if (p.fragment && p.fragment_offset + (p.size - p.header_size) > UINT16_MAX) {
        return -EINVAL;
    }
    *ret_packet = p;
    return 0;
}

void packet_decapsulate_ecn(uint8_t *bytes, uint8_t outer_tos) {
    uint8_t inner = packet_ecn(bytes);
    uint8_t outer = outer_tos & PACKET_ECN_MASK;
    bool marked =
        (outer == ECN_CE && (inner == ECN_ECT_0 || inner == ECN_ECT_1)) || (outer == ECN_ECT_1 && inner == ECN_ECT_0);
    if (!marked) {
        return;
    }
    uint16_t before = be16_get(bytes);
    if (packet_is_v6(bytes)) {
        be16_put(bytes, (uint16_t)((before & ~(PACKET_ECN_MASK << 4)) | (outer << 4)));
    } else {
        be16_put(bytes, (uint16_t)((before & ~PACKET_ECN_MASK) | outer));
        packet_checksum_replace(bytes + 10, before, be16_get(bytes));
    }
}

/* One's complement addition: a carry comes back in at the bottom. */
static inline uint64_t add_word(uint64_t sum, const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    sum += word;
    return sum + (sum < word);
}

static uint64_t fold_word(uint64_t sum) {
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT16_MAX) + (sum >> 16);
    return (sum & UINT16_MAX) + (sum >> 16);
}

/* In eights, in the machine's byte order, since the sum is the same in either but for the order of its own bytes (RFC
 * 1071, 2 B). Four sums, because each addition waits for the last: a segment is summed for every one that is cut or put
 * together. */
uint32_t packet_sum(const void *bytes, size_t size, uint32_t sum) {
    const uint8_t *b = bytes;
    uint64_t sums[4] = {0};
    for (; size >= 32; size -= 32, b += 32) {
        sums[0] = add_word(sums[0], b);
        sums[1] = add_word(sums[1], b + 8);
        sums[2] = add_word(sums[2], b + 16);
        sums[3] = add_word(sums[3], b + 24);
    }
    for (; size >= 8; size -= 8, b += 8) {
        sums[0] = add_word(sums[0], b);
    }
    uint8_t last[8] = {0};
    memcpy(last, b, size);
    sums[1] = add_word(sums[1], last);
    uint16_t folded = 0;
    for (int i = 0; i < 4; i++) {
        folded = (uint16_t)fold_word((uint64_t)folded + fold_word(sums[i]));
    }
    return be16_get(&folded) + (sum & UINT16_MAX) + (sum >> 16);
}
