#include "backend/host/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_SIZE (32u * 1024)
#define MESSAGE_MOST (4u * 1024) /* of one of ours */
#define PIECE_SIZE (32u * 1024)  /* in which the kernel tells what is long */

struct nft {
    int fd;
    uint32_t sequence;
    struct nlmsghdr *last; /* the message that is being written; NULL: none */
    size_t size;           /* of what is complete */
    bool too_large;
    _Alignas(8) uint8_t batch[BATCH_SIZE];
    _Alignas(8) uint8_t piece[PIECE_SIZE];
};

int nft_open(struct nft **ret_nft) {
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    struct nft *nft = calloc(1, sizeof *nft);
    int rc = 0;
    if (!nft) {
        return -ENOMEM;
    }
    nft->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (nft->fd < 0) {
        rc = errno == EPROTONOSUPPORT ? -EOPNOTSUPP : -errno;
        goto fail;
    }
    if (bind(nft->fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        rc = -errno;
        goto fail;
    }
    *ret_nft = nft;
    return 0;
fail:
    nft_close(nft);
    return rc;
}

void nft_close(struct nft *nft) {
    if (!nft) {
        return;
    }
    if (nft->fd >= 0) {
        close(nft->fd);
    }
    free(nft);
}

/* --- writing --- */

static size_t room_of(const struct nlmsghdr *message) {
    return (message->nlmsg_len + (MNL_ALIGNTO - 1u)) & ~(size_t)(MNL_ALIGNTO - 1);
}

static void complete(struct nft *nft) {
    if (nft->last) {
        nft->size += room_of(nft->last);
    }
    nft->last = NULL;
}

/* When there is no more room the last place is written over again and again. */
static struct nlmsghdr *append(struct nft *nft, uint16_t type, uint8_t family, uint16_t flags, uint16_t resource) {
    complete(nft);
    if (nft->size > sizeof nft->batch - MESSAGE_MOST) {
        nft->too_large = true;
        nft->size = sizeof nft->batch - MESSAGE_MOST;
    }
    struct nlmsghdr *message = mnl_nlmsg_put_header(nft->batch + nft->size);
    message->nlmsg_type = type;
    message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    message->nlmsg_seq = ++nft->sequence;
    struct nfgenmsg *info = mnl_nlmsg_put_extra_header(message, sizeof *info);
    info->nfgen_family = family;
    info->version = NFNETLINK_V0;
    info->res_id = htons(resource);
    nft->last = message;
    return message;
}

static void start(struct nft *nft) {
    memset(nft->batch, 0, sizeof nft->batch); /* what lies between attributes is sent, and compared, too */
    nft->last = NULL;
    nft->size = 0;
    nft->too_large = false;
}

void nft_begin(struct nft *nft) {
    start(nft);
    append(nft, NFNL_MSG_BATCH_BEGIN, AF_UNSPEC, 0, NFNL_SUBSYS_NFTABLES);
}

struct nlmsghdr *nft_add(struct nft *nft, uint16_t type, uint8_t family, uint16_t flags) {
    return append(nft, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), family, flags, 0);
}

const struct nlmsghdr *nft_added(const struct nft *nft, const struct nlmsghdr *after) {
    const struct nlmsghdr *before = after ? after : (const struct nlmsghdr *)(const void *)nft->batch;
    const uint8_t *at = (const uint8_t *)before + room_of(before);
    size_t size = nft->size + (nft->last ? nft->last->nlmsg_len : 0);
    return at < nft->batch + size ? (const struct nlmsghdr *)(const void *)at : NULL;
}

struct nlattr *nft_nest(struct nlmsghdr *message, uint16_t type) {
    struct nlattr *nest = mnl_attr_nest_start(message, type);
    nest->nla_type = type;
    return nest;
}

/* --- answers --- */

static int send_all(const struct nft *nft) {
    for (;;) {
        ssize_t sent = send(nft->fd, nft->batch, nft->size, MSG_NOSIGNAL);
        if (sent >= 0) {
            return (size_t)sent == nft->size ? 0 : -EMSGSIZE;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

static int receive(struct nft *nft, int flags, size_t *ret_size) {
    for (;;) {
        ssize_t size = recv(nft->fd, nft->piece, sizeof nft->piece, flags);
        if (size > 0) {
            *ret_size = (size_t)size;
            return 0;
        }
        if (size == 0 || errno != EINTR) {
            return size == 0 ? -EPIPE : -errno;
        }
    }
}

/* nfnetlink's answer for a subsystem that it does not have. */
static int in_words_of_ours(int error) {
    return error == -EINVAL ? -EOPNOTSUPP : error;
}

/* The first complaint among the answers; whether the last message was acknowledged. */
static int judge(const struct nft *nft, size_t size, uint32_t last, bool *ret_done) {
    int left = (int)size;
    const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)nft->piece;
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
        int error;
        if (message->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(message) < sizeof error) {
            continue;
        }
        memcpy(&error, mnl_nlmsg_get_payload(message), sizeof error);
        if (error) {
            return error > 0 ? -error : error;
        }
        *ret_done |= message->nlmsg_seq == last;
    }
    return 0;
}

/* What is left of an earlier conversation would be taken for the answer to this one. */
static void drain(struct nft *nft) {
    size_t size;
    while (receive(nft, MSG_DONTWAIT, &size) == 0) {
    }
}

int nft_commit(struct nft *nft) {
    bool done = false;
    if (nft->last) {
        nft->last->nlmsg_flags |= NLM_F_ACK;
    }
    uint32_t last = nft->sequence;
    append(nft, NFNL_MSG_BATCH_END, AF_UNSPEC, 0, NFNL_SUBSYS_NFTABLES);
    complete(nft);
    if (nft->too_large) {
        return -EMSGSIZE;
    }
    drain(nft);
    int rc = send_all(nft);
    /* The kernel has answered when send() returns: it carries out a batch in it. */
    while (rc == 0 && !done) {
        size_t size = 0;
        rc = receive(nft, MSG_DONTWAIT, &size);
        rc = rc == -EAGAIN ? -EIO : rc < 0 ? rc : judge(nft, size, last, &done);
    }
    start(nft);
    return rc;
}

struct nlmsghdr *nft_question(struct nft *nft, uint16_t type, uint8_t family, bool dump) {
    start(nft);
    return append(nft, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), family, dump ? NLM_F_DUMP : NLM_F_ACK, 0);
}

int nft_ask(struct nft *nft, mnl_cb_t fn, void *context) {
    uint32_t sequence = nft->sequence;
    int more = MNL_CB_OK;
    complete(nft);
    drain(nft);
    int rc = send_all(nft);
    while (rc == 0 && more > MNL_CB_STOP) {
        size_t size = 0;
        rc = receive(nft, 0, &size);
        more = rc < 0 ? MNL_CB_STOP : mnl_cb_run(nft->piece, size, sequence, 0, fn, context);
        rc = more < 0 ? -errno : rc;
    }
    start(nft);
    return rc;
}

static int take_generation(const struct nlmsghdr *message, void *context) {
    struct attributes attributes = nft_attributes_of(message);
    *(uint32_t *)context = nft_u32(attributes.of[NFTA_GEN_ID]);
    return MNL_CB_OK;
}

int nft_generation(struct nft *nft, uint32_t *ret_generation) {
    uint32_t generation = 0;
    nft_question(nft, NFT_MSG_GETGEN, AF_UNSPEC, false);
    int rc = in_words_of_ours(nft_ask(nft, take_generation, &generation));
    if (rc == 0) {
        *ret_generation = generation;
    }
    return rc;
}

/* --- attributes --- */

struct attributes nft_attributes_of(const struct nlmsghdr *message) {
    return attributes_of(message, sizeof(struct nfgenmsg));
}

uint32_t nft_u32(const struct nlattr *attribute) {
    return attribute_is_u32(attribute) ? ntohl(mnl_attr_get_u32(attribute)) : 0;
}
