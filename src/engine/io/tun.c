#include "engine/io/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "engine/engine.h"

/* Linux 6.2; Debian 12's headers are older. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define MESSAGE_MAX 32768 /* bytes: a link with all its statistics */

struct tun {
    int queues[ENGINE_WORKERS_MAX];
    unsigned queue_count;
    bool header;
    bool uso;
    bool moved; /* to another network namespace: netlink does not tell us of it any more */
    int watch;  /* epoll over the two below */
    int timer;  /* runs while `moved` */
    struct mnl_socket *netlink;
    struct tun_state state;
};

/* --- what netlink says of a link --- */

struct link {
    bool exists;
    bool carrier; /* of a TUN: somebody holds it */
    struct tun_state state;
};

static int parse_attribute(const struct nlattr *attribute, void *context) {
    struct link *link = context;
    switch (mnl_attr_get_type(attribute)) {
    case IFLA_MTU:
        if (mnl_attr_validate(attribute, MNL_TYPE_U32) == 0) {
            link->state.mtu = mnl_attr_get_u32(attribute);
        }
        break;
    case IFLA_CARRIER:
        if (mnl_attr_validate(attribute, MNL_TYPE_U8) == 0) {
            link->carrier = mnl_attr_get_u8(attribute) != 0;
        }
        break;
    }
    return MNL_CB_OK;
}

static int parse_link(const struct nlmsghdr *message, void *context) {
    struct link *link = context;
    if (message->nlmsg_type != RTM_NEWLINK) {
        return MNL_CB_OK;
    }
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
    link->exists = true;
    link->state.index = (unsigned)info->ifi_index;
    link->state.up = (info->ifi_flags & IFF_UP) != 0;
    return mnl_attr_parse(message, sizeof *info, parse_attribute, link);
}

static struct nlmsghdr *put_request(void *buffer, const char *name, int index, uint16_t flags) {
    struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = RTM_GETLINK;
    request->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    struct ifinfomsg *info = mnl_nlmsg_put_extra_header(request, sizeof *info);
    info->ifi_family = AF_UNSPEC;
    info->ifi_index = index;
    if (name) {
        mnl_attr_put_strz(request, IFLA_IFNAME, name);
    }
    return request;
}

static int query_link(const char *name, struct link *ret_link) {
    _Alignas(struct nlmsghdr) uint8_t buffer[MESSAGE_MAX];
    struct link link = {0};
    struct mnl_socket *netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!netlink) {
        return -errno;
    }
    int error = 0;
    struct nlmsghdr *request = put_request(buffer, name, 0, NLM_F_ACK);
    if (mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) < 0 ||
        mnl_socket_sendto(netlink, request, request->nlmsg_len) < 0) {
        error = -errno;
    }
    int more = MNL_CB_OK;
    while (!error && more > MNL_CB_STOP) {
        ssize_t size = mnl_socket_recvfrom(netlink, buffer, sizeof buffer);
        more = size < 0 ? -1 : mnl_cb_run(buffer, (size_t)size, 0, mnl_socket_get_portid(netlink), parse_link, &link);
        error = more < 0 ? -errno : 0;
    }
    mnl_socket_close(netlink);
    if (error == -ENODEV) {
        error = 0;
    }
    if (!error) {
        *ret_link = link;
    }
    return error;
}

/* --- queues --- */

static int attach(const char *name, unsigned flags, int *ret_fd) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    struct ifreq request = {.ifr_flags = (short)flags};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

static int attach_queues(struct tun *tun, const char *name, unsigned queues, bool existed) {
    unsigned flags = IFF_TUN | IFF_NO_PI | (tun->header ? IFF_VNET_HDR : 0U);
    int error = attach(name, flags | IFF_MULTI_QUEUE, &tun->queues[0]);
    if (error == -EINVAL && existed) {
        /* Made by somebody with a single queue, which cannot be changed now. */
        error = attach(name, flags, &tun->queues[0]);
        queues = 1;
    }
    if (error) {
        return error;
    }
    tun->queue_count = 1;
    while (tun->queue_count < queues) {
        error = attach(name, flags | IFF_MULTI_QUEUE, &tun->queues[tun->queue_count]);
        if (error) {
            return error;
        }
        tun->queue_count++;
    }
    return 0;
}

/* Offloads belong to the device, but each queue has its header's size. */
static int set_offloads(struct tun *tun) {
    int size = sizeof(struct virtio_net_hdr);
    for (unsigned i = 0; i < tun->queue_count; i++) {
        if (ioctl(tun->queues[i], TUNSETVNETHDRSZ, &size) < 0) {
            return -errno;
        }
    }
    unsigned long tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    tun->uso = ioctl(tun->queues[0], TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0;
    if (!tun->uso && ioctl(tun->queues[0], TUNSETOFFLOAD, tso) < 0) {
        return -errno;
    }
    return 0;
}

/* Without a header the kernel must not leave checksums or segments to us, also on a device used before. */
static int clear_offloads(struct tun *tun) {
    return ioctl(tun->queues[0], TUNSETOFFLOAD, 0UL) < 0 ? -errno : 0;
}

static int set_mtu(const char *name, unsigned mtu) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    struct ifreq request = {.ifr_mtu = (int)mtu};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    int error = ioctl(fd, SIOCSIFMTU, &request) < 0 ? -errno : 0;
    close(fd);
    return error;
}

static bool offloads_refused(int error) {
    return error == -EINVAL || error == -ENOTTY || error == -EOPNOTSUPP;
}

static void detach(struct tun *tun) {
    for (unsigned i = 0; i < tun->queue_count; i++) {
        close(tun->queues[i]);
    }
    tun->queue_count = 0;
}

static int attach_with(struct tun *tun, const char *name, unsigned queues, bool existed, bool offloads) {
    tun->header = offloads;
    tun->uso = false;
    int error = attach_queues(tun, name, queues, existed);
    if (!error) {
        error = offloads ? set_offloads(tun) : clear_offloads(tun);
    }
    if (error) {
        detach(tun);
    }
    return error;
}

/* --- the watch --- */

static int watch_add(struct tun *tun, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(tun->watch, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int ask_state(struct tun *tun) {
    _Alignas(struct nlmsghdr) uint8_t buffer[256];
    struct nlmsghdr *request = put_request(buffer, NULL, (int)tun->state.index, 0);
    return mnl_socket_sendto(tun->netlink, request, request->nlmsg_len) < 0 ? -errno : 0;
}

static int start_watch(struct tun *tun) {
    tun->watch = epoll_create1(EPOLL_CLOEXEC);
    tun->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    tun->netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (tun->watch < 0 || tun->timer < 0 || !tun->netlink ||
        mnl_socket_bind(tun->netlink, RTMGRP_LINK, MNL_SOCKET_AUTOPID) < 0) {
        return -errno;
    }
    int error = watch_add(tun, tun->timer);
    error = error ? error : watch_add(tun, mnl_socket_get_fd(tun->netlink));
    /* Its answer arrives like any other news, so nothing between the query of tun_open() and now is missed. */
    return error ? error : ask_state(tun);
}

int tun_open(const char *name, unsigned queues, unsigned mtu, bool offloads, struct tun **ret_tun) {
    struct link link = {0};
    int error = strlen(name) < IFNAMSIZ ? query_link(name, &link) : -EINVAL;
    if (error) {
        return error;
    }
    /* A persistent TUN that nobody holds has no carrier. The kernel would let us join the queues of one that is held.
     */
    if (link.exists && link.carrier) {
        return -EBUSY;
    }
    bool existed = link.exists;
    struct tun *tun = calloc(1, sizeof *tun);
    if (!tun) {
        return -ENOMEM;
    }
    tun->watch = -1;
    tun->timer = -1;
    error = attach_with(tun, name, queues, existed, offloads);
    if (offloads && offloads_refused(error)) {
        error = attach_with(tun, name, queues, existed, false);
    }
    if (!error && !existed) {
        error = set_mtu(name, mtu ? mtu : TUN_MTU_DEFAULT);
    }
    error = error ? error : query_link(name, &link);
    if (error) {
        goto fail;
    }
    tun->state = link.state;
    error = start_watch(tun);
    if (error) {
        goto fail;
    }
    *ret_tun = tun;
    return 0;
fail:
    tun_close(tun);
    return error;
}

void tun_close(struct tun *tun) {
    if (!tun) {
        return;
    }
    if (tun->netlink) {
        mnl_socket_close(tun->netlink);
    }
    if (tun->timer >= 0) {
        close(tun->timer);
    }
    if (tun->watch >= 0) {
        close(tun->watch);
    }
    detach(tun);
    free(tun);
}

static bool still_attached(const struct tun *tun) {
    struct ifreq request;
    return ioctl(tun->queues[0], TUNGETIFF, &request) == 0;
}

/* Netlink speaks of this namespace only, and the index may soon be another's here. */
static int follow_by_timer(struct tun *tun) {
    mnl_socket_close(tun->netlink);
    tun->netlink = NULL;
    const struct itimerspec second = {.it_value.tv_sec = 1, .it_interval.tv_sec = 1};
    return timerfd_settime(tun->timer, 0, &second, NULL) < 0 ? -errno : 0;
}

static int take_news(const struct nlmsghdr *message, void *context) {
    struct tun *tun = context;
    if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) {
        return MNL_CB_OK;
    }
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
    if ((unsigned)info->ifi_index != tun->state.index || info->ifi_family != AF_UNSPEC) {
        return MNL_CB_OK;
    }
    if (message->nlmsg_type == RTM_NEWLINK) {
        struct link link = {.state = tun->state};
        int more = parse_link(message, &link);
        tun->state = link.state;
        return more;
    }
    if (!still_attached(tun)) {
        errno = ENODEV;
        return MNL_CB_ERROR;
    }
    tun->moved = true;
    tun->state.index = 0;
    return MNL_CB_OK;
}

/* An empty write is refused with EIO while the interface is down, else with EINVAL: the one thing that can be asked of
 * a TUN in another network namespace. */
static int attend_moved(struct tun *tun) {
    uint64_t expirations;
    if (read(tun->timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) {
        return -errno;
    }
    if (!still_attached(tun)) {
        return -ENODEV;
    }
    tun->state.up = !(write(tun->queues[0], "", 0) < 0 && errno == EIO);
    return 0;
}

int tun_attend(struct tun *tun) {
    _Alignas(struct nlmsghdr) uint8_t buffer[MESSAGE_MAX];
    if (tun->moved) {
        return attend_moved(tun);
    }
    for (;;) {
        ssize_t size = mnl_socket_recvfrom(tun->netlink, buffer, sizeof buffer);
        if (size < 0) {
            if (errno == ENOBUFS) {
                /* News were lost: ask for the state anew. */
                int error = ask_state(tun);
                if (error) {
                    return error;
                }
                continue;
            }
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        }
        if (mnl_cb_run(buffer, (size_t)size, 0, 0, take_news, tun) < 0 && errno == ENODEV) {
            return -ENODEV;
        }
        if (tun->moved) {
            return follow_by_timer(tun);
        }
    }
}

unsigned tun_queues(const struct tun *tun) {
    return tun->queue_count;
}

int tun_fd(const struct tun *tun, unsigned worker) {
    return tun->queues[worker < tun->queue_count ? worker : 0];
}

bool tun_has_header(const struct tun *tun) {
    return tun->header;
}

bool tun_has_uso(const struct tun *tun) {
    return tun->uso;
}

int tun_watch_fd(const struct tun *tun) {
    return tun->watch;
}

struct tun_state tun_state(const struct tun *tun) {
    return tun->state;
}
