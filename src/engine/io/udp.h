/* The engine's descriptors and queues: UDP sockets, the TUN, io_uring, AF_XDP.
 *
 * The room owns what it opens, and knows no peer, key or session: bytes come in with where they came from, and go out
 * with where they go to. The control thread opens and closes; each worker's thread reads and writes its own.
 *
 * To read it: udp (this file), steer (which worker's socket a datagram reaches); tun, uring; xdp, frame.
 *
 * --- UDP sockets, and batches of datagrams read from and written to them ---
 *
 * The control thread opens a set of sockets, one IPv4 and one IPv6 for each worker in SO_REUSEPORT groups; the workers
 * read and write them. A datagram comes with the address it was sent to, so that answers leave from that address on a
 * host with several (as Linux does), and with its ECN bits. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "model/prefix.h"

#define UDP_BATCH 64        /* datagrams per system call */
#define UDP_SIZE_MAX 65535  /* with UDP_GRO one read may bring this much */
#define UDP_SEGMENTS_MAX 64 /* of one UDP_SEGMENT write (Linux UDP_MAX_SEGMENTS, of older kernels) */
#define UDP_RUN_MAX 65487   /* payload bytes of one UDP_SEGMENT write that fits in IPv4 as in IPv6 */

/* One worker's sockets; -1: none (IPv6 switched off, interface down). */
struct udp_sockets {
    int v4;
    int v6;
};

/* Opens `count` pairs on `port` (0: any) and steers them. `ret_sockets` has room for `count`. 0, -EADDRINUSE, or
 * -errno. */
int udp_open(size_t count, uint16_t port, uint32_t fwmark, struct udp_sockets *ret_sockets, uint16_t *ret_port);
/* Closes what is open. */
void udp_close(struct udp_sockets *sockets, size_t count);
int udp_set_fwmark(const struct udp_sockets *sockets, uint32_t fwmark);
/* What they have; 0: they are not open. */
uint32_t udp_fwmark(const struct udp_sockets *sockets);
uint16_t udp_port(const struct udp_sockets *sockets);
/* UDP_GRO on one worker's sockets. 0, or -errno if the kernel has none. */
int udp_set_gro(const struct udp_sockets *sockets, bool on);
/* Whether the kernel knows UDP_SEGMENT. */
bool udp_probe_gso(const struct udp_sockets *sockets);

/* Our own address that a remote talks to; family 0: let the kernel choose. */
struct udp_local {
    union {
        struct in_addr in;
        struct in6_addr in6;
    };
    uint8_t family;
};

/* What one read brought: one datagram, or with UDP_GRO a run of datagrams of `segment` bytes each, the last maybe
 * shorter. */
struct udp_received {
    uint8_t *bytes;
    size_t size;
    size_t segment; /* equal to `size` for a single one */
    union endpoint from;
    struct udp_local to;
    uint8_t ecn;        /* of the outer header: 0 to 3 */
    unsigned interface; /* index of the one it came in by; 0: not known */
};

/* Buffers for one batch of reads; owned by a worker. */
struct udp_reader;
int udp_reader_create(struct udp_reader **ret_reader);
void udp_reader_free(struct udp_reader *reader);
/* Reads up to `most` (at most UDP_BATCH) without blocking. Their bytes are valid, and may be altered, until the next
 * call. The number read; 0 if there is nothing. */
size_t udp_read(struct udp_reader *reader, int fd, size_t most, struct udp_received ret_received[UDP_BATCH]);

/* One write: a datagram, or a run of them that the kernel cuts (`segment` > 0) . */
struct udp_run {
    const union endpoint *to;
    struct udp_local *from; /* cleared if that address is ours no longer */
    const uint8_t *bytes;
    size_t size;
    size_t segment; /* 0: one datagram */
    uint8_t tos;    /* DSCP and ECN of the outer header */
    int error;      /* out: 0, or why it was not sent, -EIO and the like asking for single datagrams */
};

/* Sends each run in order without blocking. A full socket drops (-ENOBUFS or -EAGAIN in `error`): UDP may lose, a
 * worker must not wait. How many system calls it took. */
size_t udp_write(const struct udp_sockets *sockets, struct udp_run *runs, size_t count);
