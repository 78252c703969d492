/* What the kernel and the AEAD alone cost: the engine's own reading of datagrams, opening, and writing to the TUN, with
 * nothing in between. No tables, timers, sessions; every datagram is opened with one key, and the result thrown away.
 * An engine can come near this figure, but not beyond it.
 *
 *     bare receive TUN PORT SECONDS    waits for the first datagram, then counts; prints packets and CPU seconds
 *     bare send ADDRESS PORT SECONDS   as fast as one core sends single datagrams, of 128 bytes inside */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/tun.h"
#include "engine/udp.h"
#include "wire/aead.h"
#include "wire/message.h"

#define INNER_SIZE 128
#define DISCARD_PORT 9
#define SOCKETS 16
#define RUN 50 /* datagrams that the sender gives its kernel at once: one by one would not keep a core busy */
#define PATIENCE_MS 5000

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
    static const struct virtio_net_hdr none;
    for (size_t i = 0; i < count; i++) {
        uint8_t *packet = received[i].bytes + sizeof(struct message_data) - sizeof none;
        memcpy(packet, &none, sizeof none);
        if (write(loop->tun, packet, sizeof none + INNER_SIZE) < 0) {
            return -errno;
        }
    }
    return 0;
}

static int run(struct loop *loop, double seconds) {
    struct pollfd readable = {.fd = loop->udp, .events = POLLIN};
    if (poll(&readable, 1, PATIENCE_MS) != 1) {
        return -ETIMEDOUT;
    }
    uint64_t until = clock_mono_ns() + (uint64_t)(seconds * (double)NSEC_PER_SEC);
    double before = cpu_s();
    while (clock_mono_ns() < until) {
        struct udp_received received[UDP_BATCH];
        size_t count = udp_read(loop->reader, loop->udp, UDP_BATCH, received);
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

static int receive(const char *name, uint16_t port, double seconds) {
    struct udp_sockets sockets = {.v4 = -1, .v6 = -1};
    struct loop loop = {.ops = aead_choose(NULL)};
    struct tun *tun = NULL;
    int error = udp_open(1, port, 0, &sockets, &port);
    if (!error) {
        udp_set_gro(&sockets, true); /* as the engine; without, it would only be cheaper */
        error = tun_open(name, 1, 0, true, &tun);
    }
    error = error ? error : udp_reader_create(&loop.reader);
    error = error ? error : loop.ops->create(&loop.aead);
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
    if (argc != 5 || (strcmp(argv[1], "receive") != 0 && strcmp(argv[1], "send") != 0)) {
        fputs("usage: bare receive TUN PORT SECONDS | bare send ADDRESS PORT SECONDS\n", stderr);
        return 2;
    }
    uint16_t port = (uint16_t)strtoul(argv[3], NULL, 10);
    double seconds = strtod(argv[4], NULL);
    return strcmp(argv[1], "send") == 0 ? send_all(argv[2], port, seconds) : receive(argv[2], port, seconds);
}
