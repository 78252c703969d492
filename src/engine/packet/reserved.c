#include "engine/packet/reserved.h"

#include <stddef.h>
#include <string.h>

#include "base/bytes.h"

bool reserved_v4(const uint8_t *address) {
    uint32_t value = be32_get(address);
    return address[0] == 0 || address[0] == 127 || address[0] >= 224 || /* multicast, reserved, broadcast */
           (address[0] == 169 && address[1] == 254) ||                  /* link-local: metadata of nearly all clouds */
           value == 0x646464c8 ||                                       /* 100.100.100.200: Alibaba's */
           value == 0xa83f8110;                                         /* 168.63.129.16: Azure's */
}

/* What begins with these bytes. */
struct range {
    uint8_t size;
    uint8_t bytes[16];
};

static const struct range ranges[] = {
    {1, {0xff}},                                                              /* multicast */
    {12, {0}},                                                                /* ::/96: unspecified, loopback */
    {4, {0xfd, 0x00, 0x0e, 0xc2}},                                            /* fd00:ec2::254: Amazon's metadata */
    {16, {0xfd, 0x20, 0x00, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54}}, /* Google's */
    {16, {0xfd, 0x00, 0x00, 0xc1, 0, 0, 0, 0, 0, 0, 0, 0, 0xa9, 0xfe, 0xa9, 0xfe}}, /* Oracle's */
};

/* Where an IPv4 address follows: what it reaches is what that one would. */
static const struct range carriers[] = {
    {12, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}}, /* mapped */
    {12, {0x00, 0x64, 0xff, 0x9b}},                   /* NAT64 (RFC 6052) */
    {2, {0x20, 0x02}},                                /* 6to4 */
};

static bool is_in(const uint8_t *address, const struct range *range) {
    return memcmp(address, range->bytes, range->size) == 0;
}

bool reserved_v6(const uint8_t *address) {
    if (address[0] == 0xfe && (address[1] & 0x80) != 0) {
        return true; /* link-local, and site-local of old */
    }
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (is_in(address, &ranges[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof carriers / sizeof *carriers; i++) {
        if (is_in(address, &carriers[i])) {
            return reserved_v4(address + carriers[i].size);
        }
    }
    return false;
}
