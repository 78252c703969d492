#include "backend/wireguard/wireguard.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/wireguard/socket.h"

/* --- the socket --- */

static void disconnect(struct wireguard *w) {
    if (w->fd >= 0) {
        close(w->fd);
    }
    w->fd = -1;
}

static int send_message(struct wireguard *w, const struct nlmsghdr *message) {
    for (;;) {
        ssize_t sent = send(w->fd, message, message->nlmsg_len, MSG_NOSIGNAL);
        if (sent >= 0) {
            return (size_t)sent == message->nlmsg_len ? 0 : -EMSGSIZE;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

static int receive(struct wireguard *w, size_t *ret_size) {
    for (;;) {
        ssize_t size = recv(w->fd, w->answer, sizeof w->answer, MSG_TRUNC);
        if (size > (ssize_t)sizeof w->answer) {
            return -EMSGSIZE;
        }
        if (size > 0) {
            *ret_size = (size_t)size;
            return 0;
        }
        if (size == 0) {
            return -EPIPE;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

/* The outcome that an NLMSG_ERROR (which is also the acknowledgement) or an NLMSG_DONE carries. */
static int outcome(const struct nlmsghdr *message) {
    int error = 0;
    if (mnl_nlmsg_get_payload_len(message) >= sizeof error) {
        memcpy(&error, mnl_nlmsg_get_payload(message), sizeof error);
    } else if (message->nlmsg_type == NLMSG_ERROR) {
        return -EBADMSG;
    }
    return error > 0 ? -error : error;
}

struct answer {
    uint32_t sequence;
    wireguard_answer_fn *fn;
    void *context;
    bool done, torn;
};

static int take(struct answer *answer, const uint8_t *bytes, size_t size) {
    int left = (int)size;
    const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)bytes;
    int rc = 0;
    for (; rc == 0 && !answer->done && mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
        if (message->nlmsg_seq != answer->sequence || message->nlmsg_type == NLMSG_NOOP) {
            continue;
        }
        answer->torn |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
            answer->done = true;
            rc = outcome(message);
        } else if (message->nlmsg_type == NLMSG_OVERRUN) {
            rc = -ENOBUFS;
        } else {
            rc = answer->fn ? answer->fn(answer->context, message) : 0;
        }
    }
    return rc;
}

/* Every request ends with an NLMSG_DONE (a dump) or an NLMSG_ERROR (any other: begin() asks for an acknowledgement). */
static int converse(struct wireguard *w, const struct nlmsghdr *message, struct answer *answer) {
    size_t size = 0;
    size_t most = 0;
    int rc = send_message(w, message);
    while (rc == 0 && !answer->done) {
        rc = receive(w, &size);
        most = size > most ? size : most;
        rc = rc < 0 ? rc : take(answer, w->answer, size);
    }
    sodium_memzero(w->answer, most);
    if (!answer->done) {
        disconnect(w); /* what is left of the answer is not worth reading */
    }
    return rc;
}

/* --- the family --- */

static int take_family(void *context, const struct nlmsghdr *message) {
    uint16_t *family = context;
    struct wireguard_attributes walk = wireguard_attributes_of(message);
    const struct nlattr *attribute;
    while ((attribute = wireguard_attribute(&walk))) {
        if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID && mnl_attr_validate(attribute, MNL_TYPE_U16) == 0) {
            *family = mnl_attr_get_u16(attribute);
        }
    }
    return 0;
}

static struct nlmsghdr *begin(struct wireguard *w, void *buffer, uint16_t family, uint8_t command, uint16_t flags) {
    struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
    message->nlmsg_type = family;
    message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    message->nlmsg_seq = ++w->sequence;
    struct genlmsghdr *generic = mnl_nlmsg_put_extra_header(message, sizeof *generic);
    generic->cmd = command;
    generic->version = WG_GENL_VERSION;
    return message;
}

/* The kernel loads the module by this question, if it has one. */
static int resolve(struct wireguard *w) {
    uint8_t buffer[256];
    uint16_t family = 0;
    struct nlmsghdr *message = begin(w, buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);
    mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
    struct answer answer = {.sequence = message->nlmsg_seq, .fn = take_family, .context = &family};
    int rc = converse(w, message, &answer);
    if (rc == -ENOENT || (rc == 0 && !family)) {
        return -EOPNOTSUPP;
    }
    if (rc == 0) {
        w->family = family;
    }
    return rc;
}

static int connected(struct wireguard *w) {
    if (w->fd >= 0) {
        return 0;
    }
    int fd = w->connect(w->context);
    if (fd < 0) {
        return fd;
    }
    w->fd = fd;
    return 0;
}

int wireguard_exchange(struct wireguard *w, const struct nlmsghdr *message, wireguard_answer_fn *fn, void *context,
                       bool *ret_torn) {
    struct answer answer = {.sequence = message->nlmsg_seq, .fn = fn, .context = context};
    int rc = connected(w);
    if (rc < 0) {
        return rc;
    }
    rc = converse(w, message, &answer);
    if (ret_torn) {
        *ret_torn = answer.torn;
    }
    return rc;
}

struct nlmsghdr *wireguard_begin(struct wireguard *w, uint8_t command, uint16_t flags) {
    struct nlmsghdr *message = begin(w, w->message, w->family, command, (uint16_t)(NLM_F_ACK | flags));
    mnl_attr_put_strz(message, WGDEVICE_A_IFNAME, w->name);
    return message;
}

/* --- open, free --- */

int wireguard_open_through(const char *interface_name, wireguard_connect_fn *connect, void *context,
                           struct wireguard **ret_wireguard) {
    if (strlen(interface_name) >= WIREGUARD_NAME_SIZE) {
        return -ENODEV;
    }
    struct wireguard *w = calloc(1, sizeof *w);
    if (!w) {
        return -ENOMEM;
    }
    w->fd = -1;
    w->connect = connect;
    w->context = context;
    snprintf(w->name, sizeof w->name, "%s", interface_name);
    int rc = connected(w);
    if (rc == 0) {
        rc = resolve(w);
    }
    if (rc < 0) {
        wireguard_free(w);
        return rc;
    }
    *ret_wireguard = w;
    return 0;
}

void wireguard_free(struct wireguard *wireguard) {
    if (!wireguard) {
        return;
    }
    disconnect(wireguard);
    free(wireguard->allowed);
    sodium_memzero(wireguard, sizeof *wireguard);
    free(wireguard);
}

/* --- the interface --- */

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
    struct wireguard_attributes walk = wireguard_attributes_of(message);
    if (mnl_nlmsg_get_payload_len(message) < sizeof(struct genlmsghdr)) {
        return -EBADMSG;
    }
    while ((attribute = wireguard_attribute(&walk))) {
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
