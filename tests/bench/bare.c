/* What the kernel and the AEAD alone cost: the engine's own reading of datagrams, opening, and writing to the TUN, with
 * nothing in between. No tables, timers, sessions; every datagram is opened with one key, and the result thrown away.
 * An engine can come near this figure, but not beyond it.
 *
 *     bare receive TUN PORT SECONDS [INTERFACE]    waits for the first datagram, then counts; prints packets and CPU
 *                                                  seconds. INTERFACE: reads from its queues (engine/io/xdp.h)
 *     bare send ADDRESS PORT SECONDS               as fast as one core sends single datagrams, of 128 bytes inside
 *     bare tunnel TUN PORT SECONDS ADDRESS         both directions, for large packets: bare_tunnel.h */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bare_tunnel.h"
#include "base/clock.h"
#include "engine/io/tun.h"
#include "engine/io/udp.h"
#include "engine/io/uring.h"
#include "engine/io/xdp.h"
#include "wire/aead.h"
#include "wire/message.h"

#define INNER_SIZE 128
#define DISCARD_PORT 9
#define SOCKETS 16
#define RUN 50 /* datagrams that the sender gives its kernel at once: one by one would not keep a core busy */
#define PATIENCE_MS 5000
#define UDP_CHECKSUM 6 /* where it is in the header */

_Static_assert(UDP_BATCH <= URING_WRITES_MAX, "what is read at once is written at once");

struct outer {
    struct message_data header;
    uint8_t inner[INNER_SIZE];
    uint8_t tag[MESSAGE_TAG_SIZE];
};

static int fail(const char *what, int error) {
    fprintf(stderr, "bare: %s: %s\n", what, strerror(-error));
    return 1;
}

static double cpu_s(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* --- receive --- */

struct loop {
    int udp, tun;
    const struct aead_ops *ops;
    struct aead *aead;
    struct udp_reader *reader;
    struct xdp_queue *queue; /* NULL: by the socket */
    struct uring *uring;
    uint64_t packets;
};

static void open_all(struct loop *loop, const struct udp_received *received, size_t count) {
    static const struct key key;
    static uint8_t plain[UDP_BATCH][INNER_SIZE + MESSAGE_TAG_SIZE];
    struct aead_job jobs[UDP_BATCH];
    for (size_t i = 0; i < count; i++) {
        jobs[i] = (struct aead_job){
            .key = &key,
            .counter = loop->packets + i,
            .from = received[i].bytes + sizeof(struct message_data),
            .to = plain[i],
            .size = INNER_SIZE,
        };
    }
    loop->ops->open(loop->aead, jobs, count);
}

static int write_all(struct loop *loop, const struct udp_received *received, size_t count) {
    static const struct virtio_net_hdr header = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = sizeof(struct iphdr),
        .csum_offset = UDP_CHECKSUM,
    };
    struct iovec writes[UDP_BATCH];
    int results[UDP_BATCH];
    for (size_t i = 0; i < count; i++) {
        uint8_t *packet = received[i].bytes + sizeof(struct message_data) - sizeof header;
        memcpy(packet, &header, sizeof header);
        writes[i] = (struct iovec){.iov_base = packet, .iov_len = sizeof header + INNER_SIZE};
    }
    size_t taken = uring_write(loop->uring, loop->tun, writes, count, results);
    for (size_t i = 0; i < taken; i++) {
        if (results[i] < 0) {
            return results[i];
        }
    }
    return taken == count ? 0 : -EIO;
}

static size_t read_some(struct loop *loop, struct udp_received received[UDP_BATCH]) {
    size_t bad;
    return loop->queue ? xdp_read(loop->queue, received, &bad) : udp_read(loop->reader, loop->udp, UDP_BATCH, received);
}

static int run(struct loop *loop, double seconds) {
    struct pollfd readable = {.fd = loop->queue ? xdp_queue_fd(loop->queue) : loop->udp, .events = POLLIN};
    if (poll(&readable, 1, PATIENCE_MS) != 1) {
        return -ETIMEDOUT;
    }
    uint64_t until = clock_mono_ns() + (uint64_t)(seconds * (double)NSEC_PER_SEC);
    double before = cpu_s();
    while (clock_mono_ns() < until) {
        struct udp_received received[UDP_BATCH];
        size_t count = read_some(loop, received);
        for (size_t i = 0; i < count; i++) {
            if (received[i].size != sizeof(struct outer)) {
                return -EMSGSIZE; /* several in one: the sender's kernel was to split them */
            }
        }
        open_all(loop, received, count);
        int error = write_all(loop, received, count);
        if (error) {
            return error;
        }
        loop->packets += count;
        if (count == 0) {
            poll(&readable, 1, 1);
        }
    }
    printf("{\"packets\": %llu, \"cpu_s\": %.6f}\n", (unsigned long long)loop->packets, cpu_s() - before);
    return 0;
}

static int receive(const char *name, uint16_t port, double seconds, const char *interface) {
    struct udp_sockets sockets = {.v4 = -1, .v6 = -1};
    struct loop loop = {.ops = aead_choose(NULL)};
    struct tun *tun = NULL;
    struct xdp *xdp = NULL;
    char failed[IFNAMSIZ];
    int error = udp_open(1, port, 0, &sockets, &port);
    if (!error) {
        udp_set_gro(&sockets, true); /* as the engine; without, it would only be cheaper */
        error = tun_open(name, 1, 0, true, &tun);
    }
    error = error ? error : udp_reader_create(&loop.reader);
    error = error ? error : loop.ops->create(&loop.aead);
    error = error ? error : uring_create(&loop.uring);
    if (!error && interface) {
        error = xdp_open(interface, 1, &xdp, failed);
        if (!error) {
            xdp_set_port(xdp, port);
            loop.queue = xdp_first(xdp, 0);
        }
    }
    if (!error) {
        loop.udp = sockets.v4;
        loop.tun = tun_fd(tun, 0);
        puts("ready");
        fflush(stdout);
        error = run(&loop, seconds);
    }
    if (loop.aead) {
        loop.ops->free(loop.aead);
    }
    uring_free(loop.uring);
    xdp_close(xdp);
    udp_reader_free(loop.reader);
    tun_close(tun);
    udp_close(&sockets, 1);
    return error ? fail(name, error) : 0;
}

/* --- send --- */

static void fill(struct outer *outer) {
    struct iphdr *ip = (struct iphdr *)outer->inner;
    struct udphdr *udp = (struct udphdr *)(outer->inner + sizeof *ip);
    uint32_t sum = 0;
    memset(outer, 0, sizeof *outer);
    outer->header.type[0] = MESSAGE_DATA;
    ip->version = 4;
    ip->ihl = sizeof *ip / 4;
    ip->tot_len = htons(INNER_SIZE);
    ip->ttl = 64;
    ip->protocol = IPPROTO_UDP;
    ip->saddr = htonl(0x0a100001);
    ip->daddr = htonl(0x0a000001);
    for (size_t i = 0; i < sizeof *ip; i += 2) {
        sum += (uint32_t)outer->inner[i] << 8 | outer->inner[i + 1];
    }
    sum = (sum & 0xffff) + (sum >> 16);
    ip->check = htons((uint16_t) ~((sum & 0xffff) + (sum >> 16)));
    udp->dest = htons(DISCARD_PORT);
    udp->len = htons(INNER_SIZE - sizeof *ip);
}

static int send_all(const char *address, uint16_t port, double seconds) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    static struct outer outers[RUN];
    struct iovec part = {.iov_base = outers, .iov_len = sizeof outers};
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
    int segment = sizeof outers[0];
    int sockets[SOCKETS];
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1) {
        return fail(address, -EINVAL);
    }
    for (size_t i = 0; i < RUN; i++) {
        fill(&outers[i]);
    }
    for (size_t i = 0; i < SOCKETS; i++) {
        sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (sockets[i] < 0) {
            return fail("socket", -errno);
        }
        if (setsockopt(sockets[i], SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) < 0) {
            return fail("UDP_SEGMENT", -errno);
        }
    }
    uint64_t until = clock_mono_ns() + (uint64_t)(seconds * (double)NSEC_PER_SEC);
    for (size_t i = 0; clock_mono_ns() < until; i++) {
        if (sendmsg(sockets[i % SOCKETS], &message, 0) < 0) {
            return fail("sendmsg", -errno);
        }
    }
    return 0; /* the sockets end with the process */
}

int main(int argc, char **argv) {
    const char *what = argc >= 5 && argc <= 6 ? argv[1] : "";
    uint16_t port = argc >= 5 ? (uint16_t)strtoul(argv[3], NULL, 10) : 0;
    double seconds = argc >= 5 ? strtod(argv[4], NULL) : 0;
    if (strcmp(what, "receive") == 0) {
        return receive(argv[2], port, seconds, argv[5]);
    }
    if (strcmp(what, "send") == 0 && argc == 5) {
        return send_all(argv[2], port, seconds);
    }
    if (strcmp(what, "tunnel") == 0 && argc == 6) {
        int error = bare_tunnel(argv[2], port, argv[5], seconds);
        return error ? fail(argv[2], error) : 0;
    }
    fputs("usage: bare receive TUN PORT SECONDS [INTERFACE] | bare send ADDRESS PORT SECONDS |"
          " bare tunnel TUN PORT SECONDS ADDRESS\n",
          stderr);
    return 2;
}
