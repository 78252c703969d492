/* Inner packets: reading, marking, translating and answering any bytes stays inside them and keeps what it promises. */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "engine/packet/icmp.h"
#include "engine/packet/packet.h"
#include "engine/packet/translate.h"

static void try_translate(const uint8_t *bytes, size_t size, bool partial) {
    uint8_t *packet = malloc(size);
    fuzz_require(packet != NULL);
    memcpy(packet, bytes, size);
    uint32_t from = size >= PACKET_IPV4_SIZE ? be32_get(packet + 12) : 0;
    int error = translate_source(packet, size, from, 0x0a000009, partial);
    fuzz_require(error == 0 || (error == -EINVAL && memcmp(packet, bytes, size) == 0));
    if (error == 0) {
        fuzz_require(be32_get(packet + 12) == 0x0a000009);
        fuzz_require(translate_source(packet, size, 0x0a000009, from, partial) == 0);
        fuzz_require(memcmp(packet + 12, bytes + 12, 8) == 0);
    }
    memcpy(packet, bytes, size);
    uint32_t to = size >= PACKET_IPV4_SIZE ? be32_get(packet + 16) : 0;
    error = translate_destination(packet, size, to, 0x0a640002, partial);
    fuzz_require(error == 0 || (error == -EINVAL && memcmp(packet, bytes, size) == 0));
    free(packet);
}

static void try_answer(const uint8_t *bytes, size_t size, enum icmp_error error) {
    uint8_t answer[ICMP_ERROR_SIZE_MAX];
    struct ip_addr from = {.family = size > 0 && packet_is_v6(bytes) ? AF_INET6 : AF_INET, .bytes = {10, 0, 0, 1}};
    size_t answered;
    if (icmp_error_create(error, bytes, size, &from, 1380, NULL, NULL, 0, answer, &answered) == 0) {
        struct packet p;
        fuzz_require(answered <= sizeof answer && packet_parse(answer, answered, &p) == 0 && p.size == answered);
        /* nobody answers our answer: no loops */
        fuzz_require(icmp_error_create(error, answer, answered, &from, 1380, NULL, NULL, 0, answer, &answered) ==
                     -ENOMSG);
    }
}

/* An error that may pass speaks of a packet of the same family, whatever else is in it. */
static void try_quoted(const uint8_t *bytes, size_t size) {
    struct ip_addr quoted = {0};
    struct packet p;
    int speaks = icmp_quoted(bytes, size, &quoted);
    fuzz_require(speaks == 0 || speaks == 1 || speaks == -EINVAL);
    fuzz_require(speaks != 1 || (packet_parse(bytes, size, &p) == 0 && !p.fragment &&
                                 quoted.family == (p.version == 6 ? AF_INET6 : AF_INET)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct packet p;
    if (packet_parse(bytes, size, &p) == 0) {
        fuzz_require(packet_size(bytes, size) == p.size && p.size <= size);
        fuzz_require(p.fixed_size <= p.header_size && p.header_size <= p.size);
        fuzz_require(packet_source(bytes) == p.source && packet_destination(bytes) == p.destination);
        fuzz_require(packet_tos(bytes) == p.tos);
    }
    if (packet_size(bytes, size) > 0) {
        uint8_t *packet = malloc(size);
        fuzz_require(packet != NULL);
        memcpy(packet, bytes, size);
        try_quoted(packet, packet_size(packet, size));
        packet_decapsulate_ecn(packet, 3);
        fuzz_require(packet_size(packet, size) == packet_size(bytes, size));
        free(packet);
    }
    if (size > 0) {
        try_translate(bytes, size, false);
        try_translate(bytes, size, true);
        try_answer(bytes, size, ICMP_ERROR_PROHIBITED);
        try_answer(bytes, size, ICMP_ERROR_TOO_BIG);
    }
    return 0;
}
