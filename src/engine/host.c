#include "engine/host.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/coalesce.h"
#include "engine/forward.h"
#include "engine/segment.h"
#include "engine/transmit.h"
#include "engine/tun.h"
#include "engine/worker.h"

#define PACKETS_ROUND 64
#define BYTES_ROUND (256 << 10) /* large packets count for many */
#define PACKET_SIZE_MAX 65536

struct host {
    bool has_header;           /* packets carry a virtio_net_hdr */
    bool gives_tcp, gives_udp; /* large packets to the host */
    struct coalesce *coalesce; /* owned; NULL without header */
    uint8_t packet[PACKET_SIZE_MAX];
};

int host_create(const struct tun *tun, struct host **ret_host) {
    struct host *host = calloc(1, sizeof *host);
    if (!host) {
        return -ENOMEM;
    }
    host->has_header = tun && tun_has_header(tun);
    host->gives_tcp = host->has_header;
    host->gives_udp = host->has_header && tun_has_uso(tun);
    if (host->has_header) {
        int error = coalesce_create(&host->coalesce);
        if (error) {
            host_free(host);
            return error;
        }
    }
    *ret_host = host;
    return 0;
}

bool host_gives_tcp(const struct host *host) {
    return host->gives_tcp;
}

bool host_gives_udp(const struct host *host) {
    return host->gives_udp;
}

void host_free(struct host *host) {
    if (!host) {
        return;
    }
    coalesce_free(host->coalesce);
    free(host);
}

/* --- from the host --- */

/* The packet's size, 0 if there is none, or -errno. */
static ssize_t read_packet(struct worker *worker, struct virtio_net_hdr *ret_header) {
    struct host *host = worker->host;
    *ret_header = (struct virtio_net_hdr){0};
    if (!host->has_header) {
        ssize_t size = read(worker->tun_fd, host->packet, sizeof host->packet);
        return size < 0 ? -errno : size;
    }
    const struct iovec parts[2] = {
        {.iov_base = ret_header, .iov_len = sizeof *ret_header},
        {.iov_base = host->packet, .iov_len = sizeof host->packet},
    };
    ssize_t size = readv(worker->tun_fd, parts, 2);
    if (size < 0) {
        return -errno;
    }
    return size > (ssize_t)sizeof *ret_header ? size - (ssize_t)sizeof *ret_header : 0;
}

size_t host_round(struct worker *worker) {
    size_t count = 0;
    size_t bytes = 0;
    while (count < PACKETS_ROUND && bytes < BYTES_ROUND) {
        struct virtio_net_hdr header;
        ssize_t size = read_packet(worker, &header);
        worker->counters.tun_reads++;
        if (size == -EBADFD) {
            /* The interface was deleted. The control thread hears of it too, and ends us. */
            epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, worker->tun_fd, NULL);
        }
        if (size <= 0) {
            break;
        }
        worker->counters.tun_received++;
        count++;
        bytes += (size_t)size;
        forward_from_host(worker, worker->host->packet, (size_t)size, &header, false);
    }
    return count;
}

/* --- to the host --- */

static void note_written(struct worker *worker, ssize_t written, size_t packets) {
    worker->counters.tun_writes++;
    if (written >= 0) {
        worker->counters.tun_sent += packets;
    } else {
        worker_drop(worker, ENGINE_DROP_TUN_FULL, packets);
    }
}

static int write_parts(void *context, const struct iovec *parts, size_t part_count, size_t packets) {
    struct worker *worker = context;
    ssize_t written = part_count == 1 ? write(worker->tun_fd, parts[0].iov_base, parts[0].iov_len)
                                      : writev(worker->tun_fd, parts, (int)part_count);
    int error = written < 0 ? -errno : 0;
    if (error != -EINVAL || packets == 1) {
        note_written(worker, written, packets);
        return error;
    }
    /* Some kernels refuse some kinds of large packets: no more of this kind. */
    const struct virtio_net_hdr *header = parts[0].iov_base;
    if (header->gso_type == VIRTIO_NET_HDR_GSO_TCPV4 || header->gso_type == VIRTIO_NET_HDR_GSO_TCPV6) {
        worker->host->gives_tcp = false;
    } else {
        worker->host->gives_udp = false;
    }
    return -EINVAL;
}

void host_deliver(struct worker *worker, uint8_t *bytes, size_t size) {
    struct host *host = worker->host;
    if (!host->has_header) {
        note_written(worker, write(worker->tun_fd, bytes, size), 1);
        return;
    }
    if (!coalesce_add(host->coalesce, bytes, size, host->gives_tcp, host->gives_udp)) {
        host_flush(worker);
        coalesce_add(host->coalesce, bytes, size, host->gives_tcp, host->gives_udp);
    }
}

void host_flush(struct worker *worker) {
    if (worker->host->coalesce) {
        coalesce_flush(worker->host->coalesce, write_parts, worker);
    }
}
