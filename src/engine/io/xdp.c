#include "engine/io/xdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xdp/libxdp.h>
#include <xdp/xsk.h>

#include "base/prefetch.h"
#include "bpf/xdp.h"
#include "engine/engine.h"
#include "engine/io/frame.h"

/* What bpftool's code allocates it frees by this function, which clang's analyzer cannot look into. */
#ifdef __clang_analyzer__
#define bpf_object__destroy_skeleton free
#endif
#include "xdp.skel.h"

/* Frames of all queues of an interface together: 64 MB, and a worker that somebody else holds the CPU of for 16 ms
 * loses nothing at a million datagrams per second. Fewer for each the more queues there are. */
#define FRAMES 32768
#define FRAMES_OF_QUEUE_MAX 16384
#define FRAMES_OF_QUEUE_MIN 2048
#define PREFETCHED 256u /* bytes of a frame: another CPU wrote them, and most are small */

struct xdp_queue {
    /* Immutable. */
    unsigned interface;     /* index */
    struct xdp_queue *next; /* of the same worker */
    uint32_t frames;
    uint8_t *area; /* frames of XDP_FRAME_SIZE, mapped; the kernel writes, we alter */
    struct xsk_umem *umem;
    struct xsk_socket *socket;

    /* The worker only. */
    struct xsk_ring_prod fill; /* frames for the kernel to write to: all that are neither in `ready` nor held */
    struct xsk_ring_cons ready;
    struct xsk_ring_cons unused; /* of sending, which we do not do here; libxdp wants one */
    uint64_t held[UDP_BATCH];    /* frames that the last read handed out */
    size_t held_count;
};

struct attached {
    struct xdp_bpf *program;
    struct bpf_link *link;
    struct xdp_queue *queues[XDP_QUEUES_MAX];
    size_t queue_count;
};

struct xdp {
    struct attached interfaces[XDP_INTERFACES_MAX];
    size_t count;
    unsigned workers;
    struct xdp_queue *first[ENGINE_WORKERS_MAX];
};

/* --- queues --- */

static void queue_free(struct xdp_queue *queue) {
    if (!queue) {
        return;
    }
    if (queue->socket) {
        xsk_socket__delete(queue->socket);
    }
    if (queue->umem) {
        xsk_umem__delete(queue->umem);
    }
    if (queue->area) {
        munmap(queue->area, (size_t)queue->frames * XDP_FRAME_SIZE);
    }
    free(queue);
}

static int map_area(struct xdp_queue *queue) {
    void *area =
        mmap(NULL, (size_t)queue->frames * XDP_FRAME_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) {
        return -errno;
    }
    queue->area = area;
    const struct xsk_umem_config config = {
        .fill_size = queue->frames,
        .comp_size = UDP_BATCH,
        .frame_size = XDP_FRAME_SIZE,
    };
    return xsk_umem__create(&queue->umem, area, (uint64_t)queue->frames * XDP_FRAME_SIZE, &queue->fill, &queue->unused,
                            &config);
}

static void give_all(struct xdp_queue *queue) {
    uint32_t at;
    uint32_t count = xsk_ring_prod__reserve(&queue->fill, queue->frames, &at);
    for (uint32_t i = 0; i < count; i++) {
        *xsk_ring_prod__fill_addr(&queue->fill, at + i) = (uint64_t)i * XDP_FRAME_SIZE;
    }
    xsk_ring_prod__submit(&queue->fill, count);
}

static int queue_create(const char *name, unsigned index, uint32_t number, uint32_t frames,
                        struct xdp_queue **ret_queue) {
    struct xdp_queue *queue = calloc(1, sizeof *queue);
    if (!queue) {
        return -ENOMEM;
    }
    queue->interface = index;
    queue->frames = frames;
    int error = map_area(queue);
    if (!error) {
        give_all(queue); /* before the driver is told of the socket: some take frames at once */
        const struct xsk_socket_config config = {
            .rx_size = frames,
            .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD, /* ours is the program */
            .bind_flags = XDP_USE_NEED_WAKEUP, /* without a copy where the driver can, else with one */
        };
        error = xsk_socket__create(&queue->socket, name, number, queue->umem, &queue->ready, NULL, &config);
    }
    if (error) {
        queue_free(queue);
        return error;
    }
    *ret_queue = queue;
    return 0;
}

/* Queues that receive, as ethtool -l says; 1 where a driver does not say. */
static uint32_t count_queues(const char *name) {
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    struct ifreq request = {.ifr_data = (void *)&channels};
    memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint32_t count = 0;
    if (fd >= 0) {
        count = ioctl(fd, SIOCETHTOOL, &request) == 0 ? channels.rx_count + channels.combined_count : 0;
        close(fd);
    }
    return count == 0 ? 1 : count < XDP_QUEUES_MAX ? count : XDP_QUEUES_MAX;
}

/* A power of two, as the rings want it. */
static uint32_t frames_of_queue(uint32_t queues) {
    uint32_t frames = FRAMES_OF_QUEUE_MAX;
    while (frames > FRAMES_OF_QUEUE_MIN && frames * queues > FRAMES) {
        frames /= 2;
    }
    return frames;
}

/* --- interfaces --- */

static int open_queues(struct xdp *xdp, struct attached *interface, const char *name, unsigned index) {
    uint32_t count = count_queues(name);
    for (uint32_t i = 0; i < count; i++) {
        int error = queue_create(name, index, i, frames_of_queue(count), &interface->queues[i]);
        if (error) {
            return error;
        }
        struct xdp_queue *queue = interface->queues[interface->queue_count++];
        queue->next = xdp->first[i % xdp->workers];
        xdp->first[i % xdp->workers] = queue;
        error = xsk_socket__update_xskmap(queue->socket, bpf_map__fd(interface->program->maps.xdp_queues));
        if (error) {
            return error;
        }
    }
    return 0;
}

static int attach(struct xdp *xdp, struct attached *interface, const char *name) {
    unsigned index = if_nametoindex(name);
    if (index == 0) {
        return -ENODEV;
    }
    /* They would print to stderr; what the caller can act on is in the error number. */
    libbpf_set_print(NULL);
    libxdp_set_print(NULL);
    interface->program = xdp_bpf__open_and_load();
    if (!interface->program) {
        return -errno;
    }
    int error = open_queues(xdp, interface, name, index);
    if (error) {
        return error;
    }
    /* A link and not an attachment: it goes with us, however we end. */
    interface->link = bpf_program__attach_xdp(interface->program->progs.xdp_pick, (int)index);
    return interface->link ? 0 : -errno;
}

static void detach(struct attached *interface) {
    bpf_link__destroy(interface->link);
    for (size_t i = 0; i < interface->queue_count; i++) {
        queue_free(interface->queues[i]);
    }
    xdp_bpf__destroy(interface->program);
}

/* The next name of a list; 0 at its end. -EINVAL: empty or too long. */
static int next_name(const char **list, char name[IFNAMSIZ]) {
    size_t size = strcspn(*list, ",");
    if (size == 0 || size >= IFNAMSIZ) {
        return -EINVAL;
    }
    memcpy(name, *list, size);
    name[size] = '\0';
    *list += size + ((*list)[size] == ',');
    return 0;
}

int xdp_open(const char *interfaces, unsigned workers, struct xdp **ret_xdp, char *ret_failed) {
    struct xdp *xdp = calloc(1, sizeof *xdp);
    if (!xdp) {
        return -ENOMEM;
    }
    xdp->workers = workers;
    int error;
    do {
        char name[IFNAMSIZ] = "";
        error = xdp->count < XDP_INTERFACES_MAX ? next_name(&interfaces, name) : -EINVAL;
        error = error ? error : attach(xdp, &xdp->interfaces[xdp->count++], name);
        memcpy(ret_failed, name, sizeof name);
    } while (!error && *interfaces);
    if (error) {
        xdp_close(xdp);
        return error;
    }
    *ret_xdp = xdp;
    return 0;
}

void xdp_close(struct xdp *xdp) {
    if (!xdp) {
        return;
    }
    for (size_t i = 0; i < xdp->count; i++) {
        detach(&xdp->interfaces[i]);
    }
    free(xdp);
}

void xdp_set_port(struct xdp *xdp, uint16_t port) {
    for (size_t i = 0; xdp && i < xdp->count; i++) {
        xdp->interfaces[i].program->bss->xdp_port = htons(port);
    }
}

bool xdp_is_attached(const struct xdp *xdp) {
    for (size_t i = 0; i < xdp->count; i++) {
        struct bpf_link_info info = {0};
        uint32_t size = sizeof info;
        if (bpf_obj_get_info_by_fd(bpf_link__fd(xdp->interfaces[i].link), &info, &size) < 0 || info.xdp.ifindex == 0) {
            return false;
        }
    }
    return true;
}

/* --- reading --- */

struct xdp_queue *xdp_first(const struct xdp *xdp, unsigned worker) {
    return xdp->first[worker];
}

struct xdp_queue *xdp_next(const struct xdp_queue *queue) {
    return queue->next;
}

int xdp_queue_fd(const struct xdp_queue *queue) {
    return xsk_socket__fd(queue->socket);
}

/* Frames that were handed out go back to the kernel. There is room: the ring is as large as the number of frames. */
static void give_back(struct xdp_queue *queue) {
    uint32_t at;
    if (queue->held_count == 0 ||
        xsk_ring_prod__reserve(&queue->fill, (uint32_t)queue->held_count, &at) != queue->held_count) {
        return;
    }
    for (size_t i = 0; i < queue->held_count; i++) {
        *xsk_ring_prod__fill_addr(&queue->fill, at + (uint32_t)i) = queue->held[i];
    }
    xsk_ring_prod__submit(&queue->fill, (uint32_t)queue->held_count);
    queue->held_count = 0;
    if (xsk_ring_prod__needs_wakeup(&queue->fill)) {
        recvfrom(xdp_queue_fd(queue), NULL, 0, MSG_DONTWAIT, NULL, NULL);
    }
}

size_t xdp_read(struct xdp_queue *queue, struct udp_received ret_received[UDP_BATCH], size_t *ret_bad) {
    uint32_t at;
    size_t good = 0;
    give_back(queue);
    uint32_t count = xsk_ring_cons__peek(&queue->ready, UDP_BATCH, &at);
    for (uint32_t i = 0; i < count; i++) {
        const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&queue->ready, at + i);
        prefetch(queue->area + desc->addr, desc->len < PREFETCHED ? desc->len : PREFETCHED);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&queue->ready, at + i);
        queue->held[i] = desc->addr - desc->addr % XDP_FRAME_SIZE;
        ret_received[good].interface = queue->interface;
        good += frame_read(queue->area + desc->addr, desc->len, &ret_received[good]);
    }
    xsk_ring_cons__release(&queue->ready, count);
    queue->held_count = count;
    *ret_bad = count - good;
    if (count == 0) {
        /* An interface that is gone leaves an error, which some kernels report as readable until it was read. */
        int gone;
        socklen_t size = sizeof gone;
        getsockopt(xdp_queue_fd(queue), SOL_SOCKET, SO_ERROR, &gone, &size);
    }
    return good;
}

uint64_t xdp_queue_lost(const struct xdp_queue *queue) {
    struct xdp_statistics statistics = {0};
    socklen_t size = sizeof statistics;
    if (getsockopt(xdp_queue_fd(queue), SOL_XDP, XDP_STATISTICS, &statistics, &size) < 0) {
        return 0;
    }
    return statistics.rx_dropped + statistics.rx_ring_full;
}
