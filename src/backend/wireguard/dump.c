/* Reading all peers. The kernel fills pieces of up to 32 KB; a peer that does not fit goes on as the first of the next
 * piece, with its public key and more allowed IPs and nothing else (get_peer() in drivers/net/wireguard/netlink.c). So
 * a peer is whole when another key comes, or the end. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "backend/wireguard/socket.h"
#include "base/array.h"

struct reading {
    struct wireguard *w;
    struct wireguard_device device;
    wireguard_peer_fn *fn;
    void *context;
    int told; /* what fn said first */
    bool open;
    struct wireguard_peer peer;
};

static void end_peer(struct reading *r) {
    if (r->open && r->told == 0) {
        r->peer.allowed = r->w->allowed;
        r->told = r->fn(r->context, &r->peer);
    }
    sodium_memzero(&r->peer.preshared_key, sizeof r->peer.preshared_key);
    r->open = false;
}

static int add_allowed(struct reading *r, const struct prefix *prefix) {
    struct wireguard *w = r->w;
    struct prefix *more = array_grow(w->allowed, &w->allowed_room, r->peer.allowed_count + 1, sizeof *more);
    if (!more) {
        return -ENOMEM;
    }
    w->allowed = more;
    w->allowed[r->peer.allowed_count++] = *prefix;
    return 0;
}

static int read_allowed(struct reading *r, const struct nlattr *nest) {
    struct attribute_walk walk = attribute_walk_in(nest);
    const struct nlattr *attribute;
    const struct nlattr *address = NULL;
    struct prefix prefix = {0};
    unsigned family = 0;
    unsigned length = UINT8_MAX;
    while ((attribute = attribute_next(&walk))) {
        switch (mnl_attr_get_type(attribute)) {
        case WGALLOWEDIP_A_FAMILY:
            family = mnl_attr_validate(attribute, MNL_TYPE_U16) == 0 ? mnl_attr_get_u16(attribute) : 0;
            break;
        case WGALLOWEDIP_A_IPADDR:
            address = attribute;
            break;
        case WGALLOWEDIP_A_CIDR_MASK:
            length = mnl_attr_validate(attribute, MNL_TYPE_U8) == 0 ? mnl_attr_get_u8(attribute) : UINT8_MAX;
            break;
        default:
            break;
        }
    }
    prefix.addr.family = family == AF_INET || family == AF_INET6 ? (uint8_t)family : 0;
    size_t size = ip_bits(&prefix.addr) / 8u;
    if (!size || !address || mnl_attr_get_payload_len(address) != size || length > size * 8) {
        return -EBADMSG;
    }
    memcpy(prefix.addr.bytes, mnl_attr_get_payload(address), size);
    prefix.length = (uint8_t)length;
    return add_allowed(r, &prefix);
}

static int read_all_allowed(struct reading *r, const struct nlattr *nest) {
    struct attribute_walk walk = attribute_walk_in(nest);
    const struct nlattr *attribute;
    int rc = 0;
    while (rc == 0 && (attribute = attribute_next(&walk))) {
        rc = read_allowed(r, attribute);
    }
    return rc;
}

static int read_endpoint(const struct nlattr *attribute, union endpoint *endpoint) {
    size_t size = mnl_attr_get_payload_len(attribute);
    const struct sockaddr *address = mnl_attr_get_payload(attribute);
    if ((size == sizeof endpoint->in && address->sa_family == AF_INET) ||
        (size == sizeof endpoint->in6 && address->sa_family == AF_INET6)) {
        memcpy(endpoint, address, size);
        return 0;
    }
    return -EBADMSG;
}

static int read_time(const struct nlattr *attribute, int64_t *ret_us) {
    struct {
        int64_t seconds, nanoseconds;
    } time; /* struct __kernel_timespec */
    if (mnl_attr_get_payload_len(attribute) != sizeof time) {
        return -EBADMSG;
    }
    memcpy(&time, mnl_attr_get_payload(attribute), sizeof time);
    *ret_us = time.seconds * 1000000 + time.nanoseconds / 1000;
    return 0;
}

static int read_u64(const struct nlattr *attribute, uint64_t *to) {
    if (mnl_attr_validate(attribute, MNL_TYPE_U64) < 0) {
        return -EBADMSG;
    }
    memcpy(to, mnl_attr_get_payload(attribute), sizeof *to);
    return 0;
}

static int read_peer_attribute(struct reading *r, const struct nlattr *attribute) {
    struct wireguard_peer *peer = &r->peer;
    switch (mnl_attr_get_type(attribute)) {
    case WGPEER_A_PRESHARED_KEY:
        if (mnl_attr_get_payload_len(attribute) != sizeof peer->preshared_key.bytes) {
            return -EBADMSG;
        }
        memcpy(peer->preshared_key.bytes, mnl_attr_get_payload(attribute), sizeof peer->preshared_key.bytes);
        return 0;
    case WGPEER_A_ENDPOINT:
        return read_endpoint(attribute, &peer->endpoint);
    case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
        if (mnl_attr_validate(attribute, MNL_TYPE_U16) < 0) {
            return -EBADMSG;
        }
        peer->keepalive_s = mnl_attr_get_u16(attribute);
        return 0;
    case WGPEER_A_LAST_HANDSHAKE_TIME:
        return read_time(attribute, &peer->last_handshake_at_us);
    case WGPEER_A_RX_BYTES:
        return read_u64(attribute, &peer->bytes_received);
    case WGPEER_A_TX_BYTES:
        return read_u64(attribute, &peer->bytes_sent);
    case WGPEER_A_ALLOWEDIPS:
        return read_all_allowed(r, attribute);
    default:
        return 0;
    }
}

static const struct nlattr *find(const struct nlattr *nest, uint16_t type) {
    struct attribute_walk walk = attribute_walk_in(nest);
    const struct nlattr *attribute;
    while ((attribute = attribute_next(&walk))) {
        if (mnl_attr_get_type(attribute) == type) {
            return attribute;
        }
    }
    return NULL;
}

static int read_piece(struct reading *r, const struct nlattr *nest) {
    struct attribute_walk walk = attribute_walk_in(nest);
    const struct nlattr *attribute;
    const struct nlattr *key = find(nest, WGPEER_A_PUBLIC_KEY);
    int rc = 0;
    if (!key || mnl_attr_get_payload_len(key) != KEY_SIZE) {
        return -EBADMSG;
    }
    if (!r->open || memcmp(r->peer.public_key.bytes, mnl_attr_get_payload(key), KEY_SIZE) != 0) {
        end_peer(r);
        r->peer = (struct wireguard_peer){0};
        memcpy(r->peer.public_key.bytes, mnl_attr_get_payload(key), KEY_SIZE);
        r->open = true;
    }
    while (rc == 0 && (attribute = attribute_next(&walk))) {
        rc = read_peer_attribute(r, attribute);
    }
    return rc;
}

static int take_piece(void *context, const struct nlmsghdr *message) {
    struct reading *r = context;
    const struct nlattr *peers;
    const struct nlattr *attribute;
    int rc = wireguard_read_device(message, &r->device, &peers);
    if (rc == 0 && peers) {
        struct attribute_walk walk = attribute_walk_in(peers);
        while (rc == 0 && (attribute = attribute_next(&walk))) {
            rc = read_piece(r, attribute);
        }
    }
    return rc;
}

int wireguard_dump(struct wireguard *w, struct wireguard_device *ret_device, wireguard_peer_fn *fn, void *context) {
    struct reading r = {.w = w, .fn = fn, .context = context};
    bool torn = false;
    wireguard_forget(w);
    int rc = wireguard_exchange(w, wireguard_begin(w, WG_CMD_GET_DEVICE, NLM_F_DUMP), take_piece, &r, &torn);
    if (rc == 0) {
        end_peer(&r);
        rc = r.told ? r.told : torn ? -EAGAIN : 0;
    }
    if ((rc == 0 || rc == -EAGAIN) && ret_device) {
        *ret_device = r.device;
    }
    sodium_memzero(&r, sizeof r);
    return rc;
}

int wireguard_dump_whole(struct wireguard *w, struct wireguard_device *ret_device, void (*again)(void *context),
                         wireguard_peer_fn *fn, void *context) {
    int rc = wireguard_dump(w, ret_device, fn, context);
    for (int attempt = 1; rc == -EAGAIN && attempt < WIREGUARD_ATTEMPTS; attempt++) {
        again(context);
        rc = wireguard_dump(w, ret_device, fn, context);
    }
    return rc;
}
