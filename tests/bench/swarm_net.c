#include "swarm_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define BUFFER_BYTES (64 << 20)
#define INBOX_MESSAGES 32
#define INBOX_SIZE 65536 /* what the kernel coalesced */
#define CONTROL_SIZE 64
#define EVENTS 64

struct outbox {
    struct mmsghdr messages[NET_SLOTS];
    struct iovec vectors[NET_SLOTS];
    union {
        struct cmsghdr header;
        uint8_t bytes[CONTROL_SIZE];
    } controls[NET_SLOTS];
    uint8_t slots[NET_SLOTS][NET_SLOT_SIZE];
    unsigned count;
};

struct inbox {
    struct mmsghdr messages[INBOX_MESSAGES];
    struct iovec vectors[INBOX_MESSAGES];
    union {
        struct cmsghdr header;
        uint8_t bytes[CONTROL_SIZE];
    } controls[INBOX_MESSAGES];
    uint8_t buffers[INBOX_MESSAGES][INBOX_SIZE];
};

struct net {
    struct net_options options;
    int fds[NET_SOCKETS_MAX];
    struct outbox *outboxes;          /* one a socket; the memory of most is never touched */
    unsigned filled[NET_SOCKETS_MAX]; /* sockets with something to send */
    unsigned filled_count;
    int epoll;
    struct inbox *inbox;
    uint64_t failed;
};

/* An IPv4 address, or the first of an IPv6 /64. */
static struct ip_addr numbered(const struct net_options *options, uint32_t number) {
    struct ip_addr addr = options->first_address;
    uint8_t *counted = addr.family == AF_INET ? addr.bytes : addr.bytes + 4;
    be32_put(counted, be32_get(counted) + number);
    return addr;
}

/* The source address of a message goes into its control data. */
static size_t put_source(const struct net_options *options, struct msghdr *header, uint32_t number) {
    const struct ip_addr source = numbered(options, number);
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    struct in_pktinfo info4 = {0};
    struct in6_pktinfo info6 = {0};
    bool v4 = source.family == AF_INET;
    size_t size = v4 ? sizeof info4 : sizeof info6;
    memcpy(&info4.ipi_spec_dst, source.bytes, sizeof info4.ipi_spec_dst);
    memcpy(&info6.ipi6_addr, source.bytes, sizeof info6.ipi6_addr);
    control->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    control->cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO;
    control->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(control), v4 ? (void *)&info4 : (void *)&info6, size);
    return CMSG_SPACE(size);
}

static int open_socket(const struct net_options *options, unsigned number, int *ret_fd) {
    int fd = socket(options->server.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    int on = 1;
    int size = BUFFER_BYTES;
    union endpoint any = {0};
    uint16_t port = htons((uint16_t)(options->first_port ? options->first_port + number : 0));
    any.sa.sa_family = options->server.sa.sa_family;
    if (any.sa.sa_family == AF_INET) {
        any.in.sin_port = port;
    } else {
        any.in6.sin6_port = port;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    /* Unlike IPv4, a local route makes an IPv6 address ours to receive at, not to send from. */
    setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
    if (bind(fd, &any.sa, endpoint_size(&any)) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

int net_open(const struct net_options *options, struct net **ret_net) {
    int error = -ENOMEM;
    struct net *net = calloc(1, sizeof *net);
    if (!net) {
        return error;
    }
    net->options = *options;
    net->epoll = epoll_create1(EPOLL_CLOEXEC);
    memset(net->fds, -1, sizeof net->fds);
    net->outboxes = calloc(options->sockets, sizeof *net->outboxes);
    net->inbox = calloc(1, sizeof *net->inbox);
    if (!net->outboxes || !net->inbox) {
        goto fail;
    }
    for (unsigned i = 0; i < options->sockets; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        error = open_socket(options, i, &net->fds[i]);
        if (error < 0) {
            goto fail;
        }
        if (epoll_ctl(net->epoll, EPOLL_CTL_ADD, net->fds[i], &event) < 0) {
            error = -errno;
            goto fail;
        }
    }
    *ret_net = net;
    return 0;
fail:
    net_close(net);
    return error;
}

void net_close(struct net *net) {
    if (!net) {
        return;
    }
    for (unsigned i = 0; i < NET_SOCKETS_MAX; i++) {
        if (net->fds[i] >= 0) {
            close(net->fds[i]);
        }
    }
    if (net->epoll >= 0) {
        close(net->epoll);
    }
    free(net->outboxes);
    free(net->inbox);
    free(net);
}

uint8_t *net_slot(struct net *net, struct net_source source, size_t size) {
    struct outbox *box = &net->outboxes[source.socket];
    if (box->count == NET_SLOTS || size > NET_SLOT_SIZE) {
        return NULL;
    }
    unsigned i = box->count++;
    if (i == 0) {
        net->filled[net->filled_count++] = source.socket;
    }
    struct msghdr *header = &box->messages[i].msg_hdr;
    box->vectors[i] = (struct iovec){.iov_base = box->slots[i], .iov_len = size};
    *header = (struct msghdr){
        .msg_name = &net->options.server,
        .msg_namelen = endpoint_size(&net->options.server),
        .msg_iov = &box->vectors[i],
        .msg_iovlen = 1,
        .msg_control = box->controls[i].bytes,
        .msg_controllen = CONTROL_SIZE,
    };
    header->msg_controllen = put_source(&net->options, header, source.address);
    return box->slots[i];
}

/* Whether it is worth trying again after an error of a send. */
static bool wait_for_room(int fd) {
    if (errno == EINTR) {
        return true;
    }
    if (errno != EAGAIN && errno != ENOBUFS) {
        return false;
    }
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    poll(&ready, 1, 1);
    return true;
}

static void flush_socket(struct net *net, unsigned number) {
    struct outbox *box = &net->outboxes[number];
    unsigned done = 0;
    while (done < box->count) {
        int sent = sendmmsg(net->fds[number], box->messages + done, box->count - done, 0);
        if (sent > 0) {
            done += (unsigned)sent;
        } else if (!wait_for_room(net->fds[number])) {
            net->failed++;
            done++;
        }
    }
    box->count = 0;
}

void net_flush(struct net *net) {
    for (unsigned i = 0; i < net->filled_count; i++) {
        flush_socket(net, net->filled[i]);
    }
    net->filled_count = 0;
}

int net_burst(struct net *net, struct net_source source, uint8_t *bytes, size_t size, size_t segment) {
    union {
        struct cmsghdr header;
        uint8_t bytes[CONTROL_SIZE];
    } control = {0};
    struct iovec vector = {.iov_base = bytes, .iov_len = size};
    struct msghdr header = {
        .msg_name = &net->options.server,
        .msg_namelen = endpoint_size(&net->options.server),
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    size_t used = put_source(&net->options, &header, source.address);
    if (size > segment) {
        uint16_t value = (uint16_t)segment;
        struct cmsghdr *second = (struct cmsghdr *)(control.bytes + used);
        second->cmsg_level = IPPROTO_UDP;
        second->cmsg_type = UDP_SEGMENT;
        second->cmsg_len = CMSG_LEN(sizeof value);
        memcpy(CMSG_DATA(second), &value, sizeof value);
        used += CMSG_SPACE(sizeof value);
    }
    header.msg_controllen = used;
    int fd = net->fds[source.socket];
    while (sendmsg(fd, &header, 0) < 0) {
        int error = -errno;
        if (!wait_for_room(fd)) {
            net->failed++;
            return error;
        }
    }
    return 0;
}

/* The size of the datagrams that the kernel glued into one message, or 0. */
static size_t segment_of(struct msghdr *header) {
    for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
        if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(control), sizeof size);
            return size > 0 ? (size_t)size : 0;
        }
    }
    return 0;
}

static unsigned take_message(struct net *net, unsigned number, net_take_fn *take, void *context) {
    struct inbox *box = net->inbox;
    size_t left = box->messages[number].msg_len;
    size_t segment = segment_of(&box->messages[number].msg_hdr);
    uint8_t *at = box->buffers[number];
    unsigned count = 0;
    segment = segment ? segment : left;
    while (left > 0) {
        size_t size = left < segment ? left : segment;
        take(context, at, size);
        at += size;
        left -= size;
        count++;
    }
    return count;
}

static unsigned receive_socket(struct net *net, int fd, net_take_fn *take, void *context) {
    struct inbox *box = net->inbox;
    for (unsigned i = 0; i < INBOX_MESSAGES; i++) {
        box->vectors[i] = (struct iovec){.iov_base = box->buffers[i], .iov_len = INBOX_SIZE};
        box->messages[i].msg_hdr = (struct msghdr){
            .msg_iov = &box->vectors[i],
            .msg_iovlen = 1,
            .msg_control = box->controls[i].bytes,
            .msg_controllen = CONTROL_SIZE,
        };
    }
    int received = recvmmsg(fd, box->messages, INBOX_MESSAGES, 0, NULL);
    unsigned count = 0;
    for (int i = 0; i < received; i++) {
        count += take_message(net, (unsigned)i, take, context);
    }
    return count;
}

unsigned net_receive(struct net *net, int timeout_ms, net_take_fn *take, void *context) {
    unsigned count = 0;
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(net->epoll, events, EVENTS, timeout_ms);
    for (int i = 0; i < ready; i++) {
        count += receive_socket(net, net->fds[events[i].data.u32], take, context);
    }
    return count;
}

uint64_t net_failed(const struct net *net) {
    return net->failed;
}

uint64_t net_dropped(const struct net *net) {
    uint64_t dropped = 0;
    for (unsigned i = 0; i < net->options.sockets; i++) {
        uint32_t memory[SK_MEMINFO_VARS] = {0};
        socklen_t size = sizeof memory;
        if (getsockopt(net->fds[i], SOL_SOCKET, SO_MEMINFO, memory, &size) == 0) {
            dropped += memory[SK_MEMINFO_DROPS];
        }
    }
    return dropped;
}
