/* A frame off a network card, as the short way in would take it: the datagram lies inside it, and reading alters
 * nothing. */
#include "fuzz.h"

#include <string.h>

#include "engine/io/frame.h"
#include "engine/io/udp.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    uint8_t *frame = malloc(size ? size : 1);
    fuzz_require(frame != NULL);
    memcpy(frame, bytes, size);
    struct udp_received received = {.interface = 7};
    if (frame_read(frame, size, &received)) {
        fuzz_require(received.bytes >= frame + 14 + 20 + 8 && received.bytes + received.size <= frame + size);
        fuzz_require(received.segment == received.size && received.ecn < 4 && received.interface == 7);
        fuzz_require(received.to.family == received.from.sa.sa_family);
        fuzz_require(received.to.family == AF_INET || received.to.family == AF_INET6);
    } else {
        fuzz_require(received.bytes == NULL && received.size == 0);
    }
    fuzz_require(memcmp(frame, bytes, size) == 0);
    free(frame);
    return 0;
}
