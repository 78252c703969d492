#include "engine/host.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "engine/forward.h"
#include "engine/worker.h"

#define PACKETS_ROUND 64
#define PACKET_SIZE_MAX 65536

struct host {
    uint8_t packet[PACKET_SIZE_MAX];
};

int host_create(struct host **ret_host) {
    struct host *host = calloc(1, sizeof *host);
    if (!host) {
        return -ENOMEM;
    }
    *ret_host = host;
    return 0;
}

void host_free(struct host *host) {
    free(host);
}

size_t host_round(struct worker *worker) {
    struct host *host = worker->host;
    size_t count = 0;
    while (count < PACKETS_ROUND) {
        ssize_t size = read(worker->tun_fd, host->packet, sizeof host->packet);
        if (size <= 0) {
            if (size < 0 && errno == EBADFD) {
                /* The interface was deleted. The control thread hears of it too, and ends us. */
                epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, worker->tun_fd, NULL);
            }
            break;
        }
        worker->counters.tun_received++;
        count++;
        forward_from_host(worker, host->packet, (size_t)size, false);
    }
    return count;
}

void host_deliver(struct worker *worker, uint8_t *bytes, size_t size) {
    if (write(worker->tun_fd, bytes, size) == (ssize_t)size) {
        worker->counters.tun_sent++;
    } else {
        worker_drop(worker, ENGINE_DROP_TUN_FULL, 1);
    }
}

void host_flush(struct worker *worker) {
    (void)worker;
}
