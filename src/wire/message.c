#include "wire/message.h"

#include <stdbool.h>

#include "base/bytes.h"

enum message_type message_classify(const uint8_t *bytes, size_t size) {
    if (size < sizeof(struct message_data)) {
        return (enum message_type)0;
    }
    /* The three reserved bytes are read as part of the type, so they must be zero (whitepaper 5.4.1). */
    enum message_type type = (enum message_type)le32_get(bytes);
    bool fits = false;
    switch (type) {
    case MESSAGE_INITIATION:
        fits = size == sizeof(struct message_initiation);
        break;
    case MESSAGE_RESPONSE:
        fits = size == sizeof(struct message_response);
        break;
    case MESSAGE_COOKIE_REPLY:
        fits = size == sizeof(struct message_cookie_reply);
        break;
    case MESSAGE_DATA:
        fits = size >= MESSAGE_KEEPALIVE_SIZE;
        break;
    }
    return fits ? type : (enum message_type)0;
}

size_t message_padded_size(size_t inner_size, size_t mtu) {
    /* A packet larger than the MTU is padded as its last piece would be: the whole of it is never cut. */
    size_t last = mtu && inner_size > mtu ? inner_size % mtu : inner_size;
    size_t padded = (last + MESSAGE_PADDING - 1) / MESSAGE_PADDING * MESSAGE_PADDING;
    if (mtu && padded > mtu) {
        padded = mtu;
    }
    return inner_size - last + padded;
}
