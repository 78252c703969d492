#include "backend/host/claim.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "model/problem.h"

/* Abstract names belong to a network namespace, as interfaces do. */
static socklen_t name_of(const char *interface_name, struct sockaddr_un *ret_address) {
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int size = snprintf(ret_address->sun_path + 1, sizeof ret_address->sun_path - 1, "sallyport:%s", interface_name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
}

static pid_t owner_of(const struct sockaddr_un *address, socklen_t size) {
    struct ucred owner = {0};
    socklen_t room = sizeof owner;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, size) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &room) < 0) {
        owner.pid = 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return owner.pid;
}

static int report_owner(const char *interface_name, pid_t owner, struct problem *problem) {
    char process[32] = "";
    if (owner > 0) {
        snprintf(process, sizeof process, " (process %d)", (int)owner);
    }
    problem_set(problem, PROBLEM_CONFLICT, "interface-claimed", "interface",
                "Another sallyportd%s keeps %s here. Stop it, or give this one another [gateway] interface and port.",
                process, interface_name);
    return -EBUSY;
}

int claim_take(const char *interface_name, struct problem *ret_problem) {
    struct sockaddr_un address;
    socklen_t size = name_of(interface_name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* listening is what tells others who we are */
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, size) == 0 && listen(fd, 1) == 0) {
        return fd;
    }
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (error == EADDRINUSE) {
        return report_owner(interface_name, owner_of(&address, size), ret_problem);
    }
    problem_set(ret_problem, PROBLEM_UNAVAILABLE, "interface-claimed", "interface", "%s cannot be claimed: %s.",
                interface_name, strerror(error));
    return -error;
}
