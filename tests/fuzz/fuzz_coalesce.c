/* Any packets, one after the other, on their way to the host: whatever is put together, taken apart again it is the
 * same packets, byte for byte, and those of one flow in their order. */
#include "fuzz.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/packet/coalesce.h"
#include "engine/packet/packet.h"
#include "engine/packet/segment.h"

#define PACKETS 256
#define DONT_FRAGMENT 0x4000

struct sent {
    uint8_t *bytes; /* with the headroom in front */
    uint8_t *copy;  /* what it was: coalesce writes into it */
    size_t size;
    bool seen;
};

struct world {
    struct sent packets[PACKETS];
    size_t count;
    size_t arrived;
    bool refuses; /* a kernel that takes nothing large */
};

/* With DF set the IPv4 ID means nothing, and the kernel numbers the pieces anew: it, and what it sums up to, is left
 * out. */
static bool same(const uint8_t *a, const uint8_t *b, size_t size) {
    if (size >= PACKET_IPV4_SIZE && !packet_is_v6(a) && be16_get(a + 6) == DONT_FRAGMENT) {
        return memcmp(a, b, 4) == 0 && memcmp(a + 6, b + 6, 4) == 0 && memcmp(a + 12, b + 12, size - 12) == 0;
    }
    return memcmp(a, b, size) == 0;
}

static void arrive(struct world *world, const uint8_t *packet, size_t size) {
    for (size_t i = 0; i < world->count; i++) {
        struct sent *sent = &world->packets[i];
        if (!sent->seen && sent->size == size && same(sent->copy, packet, size)) {
            sent->seen = true;
            world->arrived++;
            return;
        }
    }
    fuzz_require(0); /* nobody sent this */
}

static int take(void *context, const struct iovec *parts, size_t part_count, size_t packets) {
    struct world *world = context;
    struct virtio_net_hdr header;
    size_t size = 0;
    fuzz_require(part_count > 0 && parts[0].iov_len >= sizeof header);
    if (world->refuses && packets > 1) {
        return -EINVAL;
    }
    for (size_t i = 0; i < part_count; i++) {
        size += parts[i].iov_len;
    }
    uint8_t *whole = malloc(size);
    fuzz_require(whole != NULL);
    size = 0;
    for (size_t i = 0; i < part_count; i++) {
        memcpy(whole + size, parts[i].iov_base, parts[i].iov_len);
        size += parts[i].iov_len;
    }
    memcpy(&header, whole, sizeof header);
    struct segments segments;
    size -= sizeof header;
    fuzz_require(size <= UINT16_MAX || packets == 1);
    fuzz_require(segments_begin(whole + sizeof header, size, &header, &segments) == 0 && segments.count == packets);
    uint8_t *piece = malloc(size);
    fuzz_require(piece != NULL);
    for (size_t out; (out = segments_next_size(&segments)) > 0;) {
        segments_take(&segments, piece);
        arrive(world, piece, out);
    }
    free(piece);
    free(whole);
    return 0;
}

/* A packet is two bytes of length and so many bytes; only what is a whole packet comes so far. */
static size_t next_packet(struct world *world, const uint8_t *bytes, size_t size) {
    size_t length = size >= 2 ? be16_get(bytes) : 0;
    length = size >= 2 && length > size - 2 ? size - 2 : length;
    size_t whole = length > 0 ? packet_size(bytes + 2, length) : 0;
    if (whole > 0) {
        struct sent *sent = &world->packets[world->count++];
        *sent = (struct sent){.bytes = malloc(COALESCE_HEADROOM + whole), .copy = malloc(whole), .size = whole};
        fuzz_require(sent->bytes != NULL && sent->copy != NULL);
        memcpy(sent->bytes + COALESCE_HEADROOM, bytes + 2, whole);
        memcpy(sent->copy, bytes + 2, whole);
    }
    return length + 2;
}

/* The first byte tells what may be put together, and whether the kernel refuses. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct world world = {.refuses = size > 0 && (bytes[0] & 4)};
    struct coalesce *coalesce;
    bool tcp = size > 0 && !(bytes[0] & 1);
    bool udp = size > 0 && !(bytes[0] & 2);
    fuzz_require(coalesce_create(&coalesce) == 0);
    for (size_t at = 1; at < size && world.count < PACKETS;) {
        size_t before = world.count;
        at += next_packet(&world, bytes + at, size - at);
        struct sent *sent = &world.packets[before];
        if (world.count > before && !coalesce_add(coalesce, sent->bytes + COALESCE_HEADROOM, sent->size, tcp, udp)) {
            coalesce_flush(coalesce, take, &world);
            fuzz_require(coalesce_add(coalesce, sent->bytes + COALESCE_HEADROOM, sent->size, tcp, udp));
        }
    }
    coalesce_flush(coalesce, take, &world);
    fuzz_require(world.arrived == world.count);
    coalesce_free(coalesce);
    for (size_t i = 0; i < world.count; i++) {
        free(world.packets[i].bytes);
        free(world.packets[i].copy);
    }
    return 0;
}
