#include "engine/packet/packet.h"

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

static uint64_t fold_word(uint64_t sum) {
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT16_MAX) + (sum >> 16);
    return (sum & UINT16_MAX) + (sum >> 16);
}

/* The compiler makes of it as many registers as the machine needs for 64 bytes. */
typedef uint64_t lanes __attribute__((vector_size(64)));

/* Halves of 32 bits in lanes of 64: no carry is lost before 2^32 of them. */
static inline __attribute__((always_inline)) uint64_t sum_blocks(const uint8_t *bytes, size_t count) {
    lanes low = {0};
    lanes high = {0};
    for (size_t i = 0; i < count; i++) {
        lanes words;
        memcpy(&words, bytes + i * sizeof words, sizeof words);
        low += words & UINT32_MAX;
        high += words >> 32;
    }
    low += high;
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof low / sizeof low[0]; i++) {
        sum += low[i];
    }
    return sum;
}

/* Not under gcc's AddressSanitizer, whose stacks do not keep the alignment that gcc's wide registers count on. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define WIDE_SUMS
#endif

#ifdef WIDE_SUMS
__attribute__((target("avx512f"))) static uint64_t sum_blocks_avx512(const uint8_t *bytes, size_t count) {
    return sum_blocks(bytes, count);
}

__attribute__((target("avx2"))) static uint64_t sum_blocks_avx2(const uint8_t *bytes, size_t count) {
    return sum_blocks(bytes, count);
}
#endif

static uint64_t sum_blocks_best(const uint8_t *bytes, size_t count) {
#ifdef WIDE_SUMS
    if (__builtin_cpu_supports("avx512f")) {
        return sum_blocks_avx512(bytes, count);
    }
    if (__builtin_cpu_supports("avx2")) {
        return sum_blocks_avx2(bytes, count);
    }
#endif
    return sum_blocks(bytes, count);
}

/* In the machine's byte order, since the sum is the same in either but for the order of its own bytes, and in words of
 * any size, since it is one's complement (RFC 1071, 2 B and C). A segment is summed for every one that is cut or put
 * together. */
uint32_t packet_sum(const void *bytes, size_t size, uint32_t sum) {
    const uint8_t *b = bytes;
    size_t blocks = size / sizeof(lanes);
    uint64_t total = blocks ? sum_blocks_best(b, blocks) : 0;
    b += blocks * sizeof(lanes);
    size %= sizeof(lanes);
    for (; size >= 4; size -= 4, b += 4) {
        uint32_t word;
        memcpy(&word, b, sizeof word);
        total += word;
    }
    uint8_t last[4] = {0};
    for (size_t i = 0; i < size; i++) {
        last[i] = b[i];
    }
    uint32_t word;
    memcpy(&word, last, sizeof word);
    uint16_t folded = (uint16_t)fold_word(total + word);
    return be16_get(&folded) + (sum & UINT16_MAX) + (sum >> 16);
}
