#include "model/uuid.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

int uuid_parse(const char *text, struct uuid *ret_uuid) {
    struct uuid uuid;
    size_t size = 0;
    if (strnlen(text, UUID_TEXT_SIZE) != UUID_TEXT_SIZE - 1) {
        return -EINVAL;
    }
    for (int i = 0; i < UUID_TEXT_SIZE - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash != (text[i] == '-')) {
            return -EINVAL;
        }
    }
    if (sodium_hex2bin(uuid.bytes, sizeof uuid.bytes, text, UUID_TEXT_SIZE - 1, "-", &size, NULL) != 0 ||
        size != sizeof uuid.bytes) {
        return -EINVAL;
    }
    *ret_uuid = uuid;
    return 0;
}

char *uuid_format(const struct uuid *uuid, char text[UUID_TEXT_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    char *at = text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *at++ = '-';
        }
        *at++ = digits[uuid->bytes[i] >> 4];
        *at++ = digits[uuid->bytes[i] & 15];
    }
    *at = '\0';
    return text;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b) {
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool uuid_is_zero(const struct uuid *uuid) {
    static const struct uuid zero;
    return uuid_equal(uuid, &zero);
}

void uuid_make(uint64_t wall_ms, struct uuid *ret_uuid) {
    randombytes_buf(ret_uuid->bytes, sizeof ret_uuid->bytes);
    for (int i = 0; i < 6; i++) {
        ret_uuid->bytes[i] = (uint8_t)(wall_ms >> (40 - 8 * i));
    }
    ret_uuid->bytes[6] = (uint8_t)(0x70 | (ret_uuid->bytes[6] & 0x0f));
    ret_uuid->bytes[8] = (uint8_t)(0x80 | (ret_uuid->bytes[8] & 0x3f));
}
