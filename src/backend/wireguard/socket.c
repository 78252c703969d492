#include "backend/wireguard/socket.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
    struct attribute_walk walk = attribute_walk_of(message, sizeof(struct genlmsghdr));
    const struct nlattr *attribute;
    while ((attribute = attribute_next(&walk))) {
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

void wireguard_forget(struct wireguard *w) {
    if (w->queued) {
        sodium_memzero(w->queued, w->queued->nlmsg_len);
    }
    w->queued = NULL;
    w->peers = NULL;
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
