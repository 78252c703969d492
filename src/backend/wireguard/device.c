/* The interface itself: key, port, mark. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "backend/wireguard/socket.h"

static bool get_u32(const struct nlattr *attribute, uint32_t *to) {
    if (mnl_attr_validate(attribute, MNL_TYPE_U32) < 0) {
        return false;
    }
    *to = mnl_attr_get_u32(attribute);
    return true;
}

static bool get_key(const struct nlattr *attribute, struct key *to) {
    if (mnl_attr_get_payload_len(attribute) != sizeof to->bytes) {
        return false;
    }
    memcpy(to->bytes, mnl_attr_get_payload(attribute), sizeof to->bytes);
    return true;
}

int wireguard_read_device(const struct nlmsghdr *message, struct wireguard_device *device,
                          const struct nlattr **ret_peers) {
    const struct nlattr *attribute;
    const struct nlattr *peers = NULL;
    bool good = true;
    struct attribute_walk walk = attribute_walk_of(message, sizeof(struct genlmsghdr));
    if (mnl_nlmsg_get_payload_len(message) < sizeof(struct genlmsghdr)) {
        return -EBADMSG;
    }
    while ((attribute = attribute_next(&walk))) {
        switch (mnl_attr_get_type(attribute)) {
        case WGDEVICE_A_IFINDEX:
            good &= get_u32(attribute, &device->ifindex);
            break;
        case WGDEVICE_A_FWMARK:
            good &= get_u32(attribute, &device->fwmark);
            break;
        case WGDEVICE_A_PRIVATE_KEY:
            good &= get_key(attribute, &device->private_key);
            break;
        case WGDEVICE_A_PUBLIC_KEY:
            good &= get_key(attribute, &device->public_key);
            break;
        case WGDEVICE_A_LISTEN_PORT:
            good &= mnl_attr_validate(attribute, MNL_TYPE_U16) == 0;
            device->listen_port = good ? mnl_attr_get_u16(attribute) : 0;
            break;
        case WGDEVICE_A_PEERS:
            peers = attribute;
            break;
        default: /* a later kernel may say more */
            break;
        }
    }
    *ret_peers = peers;
    return good ? 0 : -EBADMSG;
}

#define ENOUGH 1

static int take_first(void *context, const struct nlmsghdr *message) {
    const struct nlattr *peers;
    int rc = wireguard_read_device(message, context, &peers);
    return rc < 0 ? rc : ENOUGH;
}

int wireguard_get_device(struct wireguard *w, struct wireguard_device *ret_device) {
    struct wireguard_device device = {0};
    wireguard_forget(w);
    int rc = wireguard_exchange(w, wireguard_begin(w, WG_CMD_GET_DEVICE, NLM_F_DUMP), take_first, &device, NULL);
    if (rc == ENOUGH) {
        *ret_device = device;
        rc = 0;
    } else if (rc == 0) {
        rc = -EBADMSG;
    }
    sodium_memzero(&device.private_key, sizeof device.private_key);
    return rc;
}

int wireguard_set_device(struct wireguard *w, const struct wireguard_settings *settings) {
    wireguard_forget(w);
    struct nlmsghdr *message = wireguard_begin(w, WG_CMD_SET_DEVICE, 0);
    if (settings->private_key) {
        mnl_attr_put(message, WGDEVICE_A_PRIVATE_KEY, sizeof settings->private_key->bytes,
                     settings->private_key->bytes);
    }
    if (settings->has_listen_port) {
        mnl_attr_put_u16(message, WGDEVICE_A_LISTEN_PORT, settings->listen_port);
    }
    if (settings->has_fwmark) {
        mnl_attr_put_u32(message, WGDEVICE_A_FWMARK, settings->fwmark);
    }
    int rc = wireguard_exchange(w, message, NULL, NULL, NULL);
    sodium_memzero(message, message->nlmsg_len);
    return rc;
}
