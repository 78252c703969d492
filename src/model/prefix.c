#include "model/prefix.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

int ip_parse(const char *text, struct ip_addr *ret_addr) {
    struct ip_addr addr = {0};
    if (inet_pton(AF_INET, text, addr.bytes) == 1) {
        addr.family = AF_INET;
    } else if (inet_pton(AF_INET6, text, addr.bytes) == 1) {
        addr.family = AF_INET6;
    } else {
        return -EINVAL;
    }
    *ret_addr = addr;
    return 0;
}

char *ip_format(const struct ip_addr *addr, char text[IP_TEXT_SIZE]) {
    if (!addr->family || !inet_ntop(addr->family, addr->bytes, text, IP_TEXT_SIZE)) {
        text[0] = '\0';
    }
    return text;
}

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b) {
    return a->family == b->family && memcmp(a->bytes, b->bytes, ip_bits(a) / 8) == 0;
}

uint8_t ip_bits(const struct ip_addr *addr) {
    return addr->family == AF_INET ? 32 : addr->family == AF_INET6 ? 128 : 0;
}

struct ip_addr ip_from_v4(uint32_t host_order) {
    struct ip_addr addr = {.family = AF_INET};
    be32_put(addr.bytes, host_order);
    return addr;
}

uint32_t ip_to_v4(const struct ip_addr *addr) {
    return be32_get(addr->bytes);
}

/* Whether the first `bits` bits of two byte strings are the same. */
static bool bits_equal(const uint8_t *a, const uint8_t *b, uint8_t bits) {
    size_t whole = bits / 8;
    uint8_t mask = (uint8_t)(0xff00 >> (bits % 8));
    return memcmp(a, b, whole) == 0 && (bits % 8 == 0 || ((a[whole] ^ b[whole]) & mask) == 0);
}

struct prefix prefix_make(const struct ip_addr *addr, uint8_t length) {
    struct prefix p = {.addr = *addr, .length = length};
    for (size_t i = 0; i < sizeof p.addr.bytes; i++) {
        int keep = length - (int)(i * 8);
        if (keep <= 0) {
            p.addr.bytes[i] = 0;
        } else if (keep < 8) {
            p.addr.bytes[i] &= (uint8_t)(0xff00 >> keep);
        }
    }
    return p;
}

int address_parse(const char *text, struct prefix *ret_address) {
    char bare[IP_TEXT_SIZE];
    const char *slash = strchr(text, '/');
    size_t size = slash ? (size_t)(slash - text) : strlen(text);
    struct prefix address;
    if (size >= sizeof bare) {
        return -EINVAL;
    }
    memcpy(bare, text, size);
    bare[size] = '\0';
    if (ip_parse(bare, &address.addr) < 0) {
        return -EINVAL;
    }
    unsigned long length = ip_bits(&address.addr);
    if (slash) {
        char *end;
        if (slash[1] < '0' || slash[1] > '9' || strlen(slash + 1) > 3) {
            return -EINVAL;
        }
        length = strtoul(slash + 1, &end, 10);
        if (*end || length > ip_bits(&address.addr)) {
            return -EINVAL;
        }
    }
    address.length = (uint8_t)length;
    *ret_address = address;
    return 0;
}

int prefix_parse(const char *text, struct prefix *ret_prefix, bool *ret_had_host_bits) {
    struct prefix address;
    int error = address_parse(text, &address);
    if (error) {
        return error;
    }
    struct prefix made = prefix_make(&address.addr, address.length);
    if (ret_had_host_bits) {
        *ret_had_host_bits = !ip_equal(&made.addr, &address.addr);
    }
    *ret_prefix = made;
    return 0;
}

char *prefix_format(const struct prefix *prefix, char text[PREFIX_TEXT_SIZE]) {
    char address[IP_TEXT_SIZE];
    snprintf(text, PREFIX_TEXT_SIZE, "%s/%u", ip_format(&prefix->addr, address), prefix->length);
    return text;
}

bool prefix_equal(const struct prefix *a, const struct prefix *b) {
    return a->length == b->length && ip_equal(&a->addr, &b->addr);
}

bool prefix_contains(const struct prefix *prefix, const struct ip_addr *addr) {
    return prefix->addr.family == addr->family && bits_equal(prefix->addr.bytes, addr->bytes, prefix->length);
}

bool prefix_covers(const struct prefix *outer, const struct prefix *inner) {
    return outer->length <= inner->length && prefix_contains(outer, &inner->addr);
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b) {
    return prefix_covers(a, b) || prefix_covers(b, a);
}

int prefix_compare(const struct prefix *a, const struct prefix *b) {
    if (a->addr.family != b->addr.family) {
        return a->addr.family < b->addr.family ? -1 : 1;
    }
    int by_addr = memcmp(a->addr.bytes, b->addr.bytes, sizeof a->addr.bytes);
    return by_addr ? by_addr : (int)a->length - (int)b->length;
}

int endpoint_parse(const char *text, union endpoint *ret_endpoint) {
    char host[IP_TEXT_SIZE];
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text) {
        return -EINVAL;
    }
    const char *from = text;
    const char *to = colon;
    bool bracketed = text[0] == '[';
    if (bracketed) {
        if (colon[-1] != ']') {
            return -EINVAL;
        }
        from++;
        to--;
    }
    size_t size = (size_t)(to - from);
    struct ip_addr addr;
    if (to < from || size >= sizeof host) {
        return -EINVAL;
    }
    memcpy(host, from, size);
    host[size] = '\0';
    if (ip_parse(host, &addr) < 0 || bracketed != (addr.family == AF_INET6)) {
        return -EINVAL;
    }
    char *end;
    if (colon[1] < '0' || colon[1] > '9' || strlen(colon + 1) > 5) {
        return -EINVAL;
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end || port == 0 || port > 65535) {
        return -EINVAL;
    }
    union endpoint made;
    memset(&made, 0, sizeof made);
    if (addr.family == AF_INET) {
        made.in.sin_family = AF_INET;
        made.in.sin_port = htons((uint16_t)port);
        memcpy(&made.in.sin_addr, addr.bytes, 4);
    } else {
        made.in6.sin6_family = AF_INET6;
        made.in6.sin6_port = htons((uint16_t)port);
        memcpy(&made.in6.sin6_addr, addr.bytes, 16);
    }
    *ret_endpoint = made;
    return 0;
}

char *endpoint_format(const union endpoint *endpoint, char text[ENDPOINT_TEXT_SIZE]) {
    char host[INET6_ADDRSTRLEN];
    text[0] = '\0';
    if (endpoint->sa.sa_family == AF_INET) {
        inet_ntop(AF_INET, &endpoint->in.sin_addr, host, sizeof host);
        snprintf(text, ENDPOINT_TEXT_SIZE, "%s:%u", host, ntohs(endpoint->in.sin_port));
    } else if (endpoint->sa.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &endpoint->in6.sin6_addr, host, sizeof host);
        snprintf(text, ENDPOINT_TEXT_SIZE, "[%s]:%u", host, ntohs(endpoint->in6.sin6_port));
    }
    return text;
}

struct ip_addr endpoint_addr(const union endpoint *endpoint) {
    struct ip_addr addr = {0};
    if (endpoint->sa.sa_family == AF_INET) {
        addr.family = AF_INET;
        memcpy(addr.bytes, &endpoint->in.sin_addr, sizeof endpoint->in.sin_addr);
    } else if (endpoint->sa.sa_family == AF_INET6) {
        addr.family = AF_INET6;
        memcpy(addr.bytes, &endpoint->in6.sin6_addr, sizeof endpoint->in6.sin6_addr);
    }
    return addr;
}

bool endpoint_equal(const union endpoint *a, const union endpoint *b) {
    if (a->sa.sa_family != b->sa.sa_family) {
        return false;
    }
    if (a->sa.sa_family == AF_INET) {
        return a->in.sin_port == b->in.sin_port && a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    }
    if (a->sa.sa_family == AF_INET6) {
        return a->in6.sin6_port == b->in6.sin6_port && a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
               memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
    }
    return true;
}

socklen_t endpoint_size(const union endpoint *endpoint) {
    return endpoint->sa.sa_family == AF_INET6 ? sizeof endpoint->in6 : sizeof endpoint->in;
}
