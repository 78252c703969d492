/* A packet from the TUN and what the kernel said of it, which need not fit each other: what is cut stays inside of the
 * packet, every piece is a whole packet of the same flow, and all the payload is there. */
#include "fuzz.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "engine/packet/packet.h"
#include "engine/packet/segment.h"

static void check_pieces(struct segments *segments, uint8_t *packet) {
    size_t payload = 0;
    size_t size;
    uint32_t count = 0;
    while ((size = segments_next_size(segments)) > 0) {
        fuzz_require(size <= segments->size);
        uint8_t *piece = malloc(size); /* of exactly that size */
        fuzz_require(piece != NULL);
        segments_take(segments, piece);
        if (segments->count > 1) {
            struct packet p;
            fuzz_require(packet_parse(piece, size, &p) == 0 && p.size == size);
            fuzz_require(size > segments->header_size);
            fuzz_require(memcmp(piece + segments->header_size, packet + segments->header_size + payload,
                                size - segments->header_size) == 0);
            payload += size - segments->header_size;
        } else {
            fuzz_require(size == segments->size);
            payload = segments->size - segments->header_size;
        }
        free(piece);
        count++;
    }
    fuzz_require(count == segments->count);
    fuzz_require(payload == segments->size - segments->header_size);
    fuzz_require(segments_next_size(segments) == 0);
}

/* The first bytes are the header, the rest the packet. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct virtio_net_hdr header;
    if (size <= sizeof header) {
        return 0;
    }
    memcpy(&header, bytes, sizeof header);
    size -= sizeof header;
    uint8_t *packet = malloc(size);
    fuzz_require(packet != NULL);
    memcpy(packet, bytes + sizeof header, size);
    /* as forward.c does: what is no whole packet does not come so far */
    size_t whole = packet_size(packet, size);
    struct segments segments;
    if (whole > 0) {
        int error = segments_begin(packet, whole, &header, &segments);
        fuzz_require(error == 0 || error == -EINVAL);
        if (error == 0) {
            /* by which it was routed already */
            fuzz_require(memcmp(packet, bytes + sizeof header, packet_is_v6(packet) ? 40 : 20) == 0);
            check_pieces(&segments, packet);
        }
    }
    free(packet);
    return 0;
}
