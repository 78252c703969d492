/* The way to the kernel. Alone in its file, so that tests can put another in its place. */
#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/wireguard/wireguard.h"

static int connect_kernel(void *context) {
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    (void)context;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    if (fd < 0) {
        return errno == EPROTONOSUPPORT ? -EOPNOTSUPP : -errno;
    }
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int wireguard_open(const char *interface_name, struct wireguard **ret_wireguard) {
    return wireguard_open_through(interface_name, connect_kernel, NULL, ret_wireguard);
}
