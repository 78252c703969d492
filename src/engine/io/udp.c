#include "engine/io/udp.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/io/steer.h"

/* Bytes; the kernel cuts them to its limit without privilege. What arrives while a flood or another process holds the
 * CPU for a tenth of a second has room: each small datagram counts for nearly a kilobyte. */
#define RECEIVE_BUFFER (32 << 20)
#define SEND_BUFFER (8 << 20) /* some milliseconds of 10 Gbit/s */

/* Room for the control messages of one datagram in either direction: addresses, TOS, segment size. */
#define CONTROL_SIZE                                                                                                   \
    (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo)) + 3 * CMSG_SPACE(sizeof(int)))

/* --- sockets --- */

static int set_int(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

static int set_options(int fd, sa_family_t family, uint32_t fwmark) {
    int error = 0;
    if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER) < 0) {
        set_int(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
    }
    if (set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER) < 0) {
        set_int(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
    }
    if (fwmark) {
        error = set_int(fd, SOL_SOCKET, SO_MARK, (int)fwmark);
    }
    /* No DF on the outside, as Linux: a datagram larger than the path is cut rather than lost. */
    if (family == AF_INET) {
        error = error ? error : set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
        error = error ? error : set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
        error = error ? error : set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    } else {
        error = error ? error : set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        error = error ? error : set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        error = error ? error : set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
        error = error ? error : set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
    }
    return error;
}

static int bind_any(int fd, sa_family_t family, uint16_t port) {
    union endpoint any = {0};
    any.sa.sa_family = family;
    if (family == AF_INET) {
        any.in.sin_port = htons(port);
    } else {
        any.in6.sin6_port = htons(port);
    }
    return bind(fd, &any.sa, endpoint_size(&any)) < 0 ? -errno : 0;
}

static int bound_port(int fd, uint16_t *ret_port) {
    union endpoint bound = {0};
    socklen_t size = sizeof bound;
    if (getsockname(fd, &bound.sa, &size) < 0) {
        return -errno;
    }
    *ret_port = ntohs(bound.sa.sa_family == AF_INET ? bound.in.sin_port : bound.in6.sin6_port);
    return 0;
}

/* The first of a group is bound without SO_REUSEPORT, so that a port another process holds is refused even if that one
 * would share it; then it is opened to the rest. */
static int open_one(sa_family_t family, uint16_t port, uint32_t fwmark, bool first, bool grouped, int *ret_fd) {
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int error = set_options(fd, family, fwmark);
    if (!error && grouped && !first) {
        error = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    error = error ? error : bind_any(fd, family, port);
    if (!error && grouped && first) {
        error = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (error) {
        close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

static int open_group(sa_family_t family, size_t count, uint16_t port, uint32_t fwmark, struct udp_sockets *sockets,
                      uint16_t *ret_port) {
    for (size_t i = 0; i < count; i++) {
        int *fd = family == AF_INET ? &sockets[i].v4 : &sockets[i].v6;
        int error = open_one(family, port, fwmark, i == 0, count > 1, fd);
        if (!error && i == 0) {
            error = bound_port(*fd, &port);
        }
        if (error) {
            return error;
        }
    }
    if (count > 1) {
        /* An old kernel without it still works, by way of the rings. */
        steer_attach(family == AF_INET ? sockets[0].v4 : sockets[0].v6);
    }
    *ret_port = port;
    return 0;
}

static bool family_missing(int error) {
    return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL || error == -EPROTONOSUPPORT;
}

static int open_both(size_t count, uint16_t port, uint32_t fwmark, struct udp_sockets *sockets, uint16_t *ret_port) {
    uint16_t bound = port;
    int error_v4 = open_group(AF_INET, count, port, fwmark, sockets, &bound);
    if (error_v4 && !family_missing(error_v4)) {
        return error_v4;
    }
    int error_v6 = open_group(AF_INET6, count, bound, fwmark, sockets, &bound);
    if (error_v6 && (!family_missing(error_v6) || error_v4)) {
        return error_v6;
    }
    *ret_port = bound;
    return 0;
}

int udp_open(size_t count, uint16_t port, uint32_t fwmark, struct udp_sockets *ret_sockets, uint16_t *ret_port) {
    /* A free port that the kernel chose for IPv4 may be taken in IPv6: then it chooses again. */
    int attempts = port == 0 ? 100 : 1;
    int error;
    do {
        for (size_t i = 0; i < count; i++) {
            ret_sockets[i] = (struct udp_sockets){.v4 = -1, .v6 = -1};
        }
        error = open_both(count, port, fwmark, ret_sockets, ret_port);
        if (error) {
            udp_close(ret_sockets, count);
        }
    } while (error == -EADDRINUSE && --attempts > 0);
    return error;
}

void udp_close(struct udp_sockets *sockets, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (sockets[i].v4 >= 0) {
            close(sockets[i].v4);
        }
        if (sockets[i].v6 >= 0) {
            close(sockets[i].v6);
        }
        sockets[i] = (struct udp_sockets){.v4 = -1, .v6 = -1};
    }
}

int udp_set_fwmark(const struct udp_sockets *sockets, uint32_t fwmark) {
    int error = sockets->v4 >= 0 ? set_int(sockets->v4, SOL_SOCKET, SO_MARK, (int)fwmark) : 0;
    if (!error && sockets->v6 >= 0) {
        error = set_int(sockets->v6, SOL_SOCKET, SO_MARK, (int)fwmark);
    }
    return error;
}

uint32_t udp_fwmark(const struct udp_sockets *sockets) {
    uint32_t mark = 0;
    socklen_t size = sizeof mark;
    if (getsockopt(sockets->v4 >= 0 ? sockets->v4 : sockets->v6, SOL_SOCKET, SO_MARK, &mark, &size) < 0) {
        return 0;
    }
    return mark;
}

uint16_t udp_port(const struct udp_sockets *sockets) {
    uint16_t port = 0;
    bound_port(sockets->v4 >= 0 ? sockets->v4 : sockets->v6, &port);
    return port;
}

int udp_set_gro(const struct udp_sockets *sockets, bool on) {
    int error = sockets->v4 >= 0 ? set_int(sockets->v4, IPPROTO_UDP, UDP_GRO, on) : 0;
    if (!error && sockets->v6 >= 0) {
        error = set_int(sockets->v6, IPPROTO_UDP, UDP_GRO, on);
    }
    return error;
}

bool udp_probe_gso(const struct udp_sockets *sockets) {
    int fd = sockets->v4 >= 0 ? sockets->v4 : sockets->v6;
    int size = 0;
    socklen_t length = sizeof size;
    return getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, &length) == 0;
}

/* --- reading --- */

struct udp_reader {
    size_t buffer_size; /* of each datagram */
    size_t used;        /* so many messages were written to since they were prepared */
    uint8_t *buffers;
    struct mmsghdr messages[UDP_BATCH];
    struct iovec iovecs[UDP_BATCH];
    union endpoint names[UDP_BATCH];
    union {
        uint8_t bytes[CONTROL_SIZE];
        struct cmsghdr align;
    } controls[UDP_BATCH];
};

int udp_reader_create(struct udp_reader **ret_reader) {
    struct udp_reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        return -ENOMEM;
    }
    /* Without GRO too a datagram may have any size that the inner MTU asks for; untouched pages cost nothing. */
    reader->buffer_size = UDP_SIZE_MAX + 1;
    reader->buffers = malloc(UDP_BATCH * reader->buffer_size);
    if (!reader->buffers) {
        udp_reader_free(reader);
        return -ENOMEM;
    }
    reader->used = UDP_BATCH;
    *ret_reader = reader;
    return 0;
}

void udp_reader_free(struct udp_reader *reader) {
    if (!reader) {
        return;
    }
    free(reader->buffers);
    free(reader);
}

static void prepare(struct udp_reader *reader, size_t i) {
    reader->iovecs[i] = (struct iovec){
        .iov_base = reader->buffers + i * reader->buffer_size,
        .iov_len = reader->buffer_size,
    };
    /* All lengths are set anew each time: the kernel writes them, and with UDP_GRO a msg_controllen left over would cut
     * the next one's. */
    reader->messages[i].msg_hdr = (struct msghdr){
        .msg_name = &reader->names[i],
        .msg_namelen = sizeof reader->names[i],
        .msg_iov = &reader->iovecs[i],
        .msg_iovlen = 1,
        .msg_control = reader->controls[i].bytes,
        .msg_controllen = sizeof reader->controls[i].bytes,
    };
}

static void read_control(struct msghdr *header, struct udp_received *received) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        int value = 0;
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            received->to = (struct udp_local){.family = AF_INET, .in = info.ipi_spec_dst};
            received->interface = (unsigned)info.ipi_ifindex;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            received->to = (struct udp_local){.family = AF_INET6, .in6 = info.ipi6_addr};
            received->interface = (unsigned)info.ipi6_ifindex;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            received->ecn = *CMSG_DATA(c) & 3; /* one byte here, unlike in IPv6 */
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            memcpy(&value, CMSG_DATA(c), sizeof value);
            received->ecn = (uint8_t)(value & 3);
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            memcpy(&value, CMSG_DATA(c), sizeof value);
            if (value > 0) {
                received->segment = (size_t)value;
            }
        }
    }
}

size_t udp_read(struct udp_reader *reader, int fd, size_t most, struct udp_received ret_received[UDP_BATCH]) {
    if (most > UDP_BATCH) {
        most = UDP_BATCH;
    }
    for (size_t i = 0; i < reader->used; i++) {
        prepare(reader, i);
    }
    reader->used = 0;
    int count = recvmmsg(fd, reader->messages, (unsigned)most, MSG_DONTWAIT, NULL);
    if (count <= 0) {
        reader->used = 1; /* the kernel touches the first before it finds that there is none */
        return 0;
    }
    reader->used = (size_t)count < most ? (size_t)count + 1 : most;
    for (size_t i = 0; i < (size_t)count; i++) {
        struct msghdr *header = &reader->messages[i].msg_hdr;
        size_t size = reader->messages[i].msg_len;
        ret_received[i] = (struct udp_received){
            .bytes = reader->iovecs[i].iov_base,
            .size = header->msg_flags & MSG_TRUNC ? 0 : size,
            .segment = size,
            .from = reader->names[i],
        };
        read_control(header, &ret_received[i]);
    }
    return (size_t)count;
}

/* --- writing --- */

struct writer {
    struct mmsghdr messages[UDP_BATCH];
    struct iovec iovecs[UDP_BATCH];
    bool had_source[UDP_BATCH]; /* when it was prepared */
    union {
        uint8_t bytes[CONTROL_SIZE];
        struct cmsghdr align;
    } controls[UDP_BATCH];
};

static void add_control(struct msghdr *header, int level, int type, const void *value, size_t size) {
    struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)header->msg_control + header->msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), value, size);
    header->msg_controllen += CMSG_SPACE(size);
}

static void write_control(struct msghdr *header, const struct udp_run *run) {
    bool v4 = run->to->sa.sa_family == AF_INET;
    int tos = run->tos;
    if (v4 && run->from->family == AF_INET) {
        struct in_pktinfo info = {.ipi_spec_dst = run->from->in};
        add_control(header, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else if (!v4 && run->from->family == AF_INET6) {
        struct in6_pktinfo info = {.ipi6_addr = run->from->in6};
        add_control(header, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
    if (tos) {
        add_control(header, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &tos, sizeof tos);
    }
    if (run->segment) {
        uint16_t segment = (uint16_t)run->segment;
        add_control(header, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    }
}

static void prepare_run(struct writer *writer, size_t i, const struct udp_run *run) {
    memset(&writer->controls[i], 0, sizeof writer->controls[i]);
    writer->had_source[i] = run->from->family != AF_UNSPEC;
    writer->iovecs[i] = (struct iovec){.iov_base = (uint8_t *)run->bytes, .iov_len = run->size};
    struct msghdr *header = &writer->messages[i].msg_hdr;
    *header = (struct msghdr){
        .msg_name = (union endpoint *)run->to,
        .msg_namelen = endpoint_size(run->to),
        .msg_iov = &writer->iovecs[i],
        .msg_iovlen = 1,
        .msg_control = writer->controls[i].bytes,
    };
    write_control(header, run);
    if (header->msg_controllen == 0) {
        header->msg_control = NULL;
    }
}

/* What the kernel says when the source address is not ours any more: EINVAL, newer ones ENETUNREACH. EINVAL of a run
 * may as well mean that its segments are too large for the path. What counts is what this run was prepared with:
 * another one of the batch may have found out already. */
static bool source_is_gone(const struct udp_run *run, bool had_source, int error) {
    return had_source && ((error == EINVAL && (run->segment == 0 || run->from->family == AF_UNSPEC)) ||
                          error == ENETUNREACH || error == EADDRNOTAVAIL);
}

/* Sends `count` (at most UDP_BATCH) runs of one family. A failure concerns the first that was not sent: it is noted
 * (or, if the source address is no longer ours, tried once more without), and the rest goes on. The number of calls. */
static size_t write_batch(int fd, struct udp_run *runs, size_t count) {
    struct writer writer;
    for (size_t i = 0; i < count; i++) {
        prepare_run(&writer, i, &runs[i]);
    }
    size_t at = 0;
    size_t calls = 0;
    while (at < count) {
        int sent = sendmmsg(fd, writer.messages + at, (unsigned)(count - at), MSG_DONTWAIT);
        calls++;
        if (sent > 0) {
            at += (size_t)sent;
            continue;
        }
        if (errno == EINTR) {
            continue;
        }
        if (source_is_gone(&runs[at], writer.had_source[at], errno)) {
            runs[at].from->family = AF_UNSPEC;
            prepare_run(&writer, at, &runs[at]);
            continue;
        }
        runs[at].error = -errno;
        at++;
    }
    return calls;
}

size_t udp_write(const struct udp_sockets *sockets, struct udp_run *runs, size_t count) {
    size_t calls = 0;
    for (size_t at = 0; at < count;) {
        sa_family_t family = runs[at].to->sa.sa_family;
        size_t batch = 0;
        while (batch < UDP_BATCH && at + batch < count && runs[at + batch].to->sa.sa_family == family) {
            runs[at + batch].error = 0;
            batch++;
        }
        int fd = family == AF_INET ? sockets->v4 : sockets->v6;
        if (fd >= 0) {
            calls += write_batch(fd, runs + at, batch);
        } else {
            for (size_t i = 0; i < batch; i++) {
                runs[at + i].error = -EAFNOSUPPORT;
            }
        }
        at += batch;
    }
    return calls;
}
