#include "engine/path/host.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/io/tun.h"
#include "engine/io/uring.h"
#include "engine/packet/coalesce.h"
#include "engine/path/worker.h"

#define PACKET_SIZE_MAX 65536
#define BATCH_LEAST 4 /* fewer writes cost less one by one */

struct host {
    bool has_header;           /* packets carry a virtio_net_hdr */
    bool gives_tcp, gives_udp; /* large packets to the host */
    struct coalesce *coalesce; /* owned; NULL without header */
    struct uring *uring;       /* owned; NULL: none */
    int uring_error;           /* why; 0 if it was not wanted */
    size_t single_count;
    struct iovec singles[URING_WRITES_MAX]; /* to be written, their bytes the deliverer's */
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

void host_start(struct worker *worker) {
    struct host *host = worker->host;
    if (!worker->setup.no_uring) {
        host->uring_error = uring_create(&host->uring);
    }
}

bool host_has_uring(const struct host *host) {
    return host->uring_error != -ENOSYS && host->uring_error != -EINVAL;
}

bool host_uses_uring(const struct host *host) {
    return host->uring != NULL;
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
    uring_free(host->uring);
    coalesce_free(host->coalesce);
    free(host);
}

/* --- from the host --- */

ssize_t host_read(struct worker *worker, uint8_t **ret_packet, struct virtio_net_hdr *ret_header) {
    struct host *host = worker->host;
    *ret_header = (struct virtio_net_hdr){0};
    *ret_packet = host->packet;
    const struct iovec parts[2] = {
        {.iov_base = ret_header, .iov_len = sizeof *ret_header},
        {.iov_base = host->packet, .iov_len = sizeof host->packet},
    };
    size_t header_size = host->has_header ? sizeof *ret_header : 0;
    ssize_t size = readv(worker->io.tun_fd, parts + !host->has_header, 1 + host->has_header);
    worker->counters.tun_reads++;
    if (size < 0) {
        return -errno;
    }
    if (size <= (ssize_t)header_size) {
        return 0;
    }
    worker->counters.tun_received++;
    return size - (ssize_t)header_size;
}

/* --- to the host --- */

static void note_written(struct worker *worker, ssize_t written, size_t packets) {
    if (written >= 0) {
        worker->counters.tun_sent += packets;
    } else {
        worker_drop(worker, ENGINE_DROP_TUN_FULL, packets);
    }
}

/* As many of the singles as it takes: the first ones. */
static size_t write_together(struct worker *worker) {
    struct host *host = worker->host;
    int results[URING_WRITES_MAX];
    size_t count = uring_write(host->uring, worker->io.tun_fd, host->singles, host->single_count, results);
    worker->counters.tun_writes++;
    for (size_t i = 0; i < count; i++) {
        note_written(worker, results[i], 1);
    }
    if (count < host->single_count) {
        uring_free(host->uring);
        host->uring = NULL;
        host->uring_error = -EIO;
    }
    return count;
}

static void write_singles(struct worker *worker) {
    struct host *host = worker->host;
    size_t done = host->uring && host->single_count >= BATCH_LEAST ? write_together(worker) : 0;
    for (; done < host->single_count; done++) {
        const struct iovec *single = &host->singles[done];
        worker->counters.tun_writes++;
        note_written(worker, write(worker->io.tun_fd, single->iov_base, single->iov_len), 1);
    }
    host->single_count = 0;
}

static void add_single(struct worker *worker, struct iovec single) {
    struct host *host = worker->host;
    host->singles[host->single_count++] = single;
    if (host->single_count == URING_WRITES_MAX) {
        write_singles(worker);
    }
}

/* A large packet costs far more than to enter the kernel; so it goes by itself, behind the singles before it. */
static int write_large(struct worker *worker, const struct iovec *parts, size_t part_count, size_t packets) {
    struct host *host = worker->host;
    write_singles(worker);
    ssize_t written = writev(worker->io.tun_fd, parts, (int)part_count);
    int error = written < 0 ? -errno : 0;
    worker->counters.tun_writes++;
    if (error != -EINVAL) {
        note_written(worker, written, packets);
        return error;
    }
    /* Some kernels refuse some kinds of large packets: no more of this kind. */
    const struct virtio_net_hdr *header = parts[0].iov_base;
    if (header->gso_type == VIRTIO_NET_HDR_GSO_TCPV4 || header->gso_type == VIRTIO_NET_HDR_GSO_TCPV6) {
        host->gives_tcp = false;
    } else {
        host->gives_udp = false;
    }
    return -EINVAL;
}

static int write_parts(void *context, const struct iovec *parts, size_t part_count, size_t packets) {
    struct worker *worker = context;
    if (packets > 1) {
        return write_large(worker, parts, part_count, packets);
    }
    add_single(worker, parts[0]);
    return 0;
}

void host_deliver(struct worker *worker, uint8_t *bytes, size_t size) {
    struct host *host = worker->host;
    if (!host->has_header) {
        add_single(worker, (struct iovec){.iov_base = bytes, .iov_len = size});
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
    write_singles(worker);
}
