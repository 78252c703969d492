#include "api/http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "model/prefix.h"

#define BACKLOG 128

/* The folder of a path; one level, as /run/sallyport. */
static void folder_make(const char *path) {
    char folder[sizeof((struct sockaddr_un *)0)->sun_path];
    const char *slash = strrchr(path, '/');
    if (slash && slash != path) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        if (mkdir(folder, 0755) == 0) {
            (void)chmod(folder, 0755); /* whatever the umask: the socket's group has to get through */
        }                              /* a failure shows in bind() */
    }
}

/* -EADDRINUSE: somebody answers there. -ENOTSOCK: a file that is no socket of ours to remove. 0: free now. */
static int path_clear(const struct sockaddr_un *addr) {
    struct stat st;
    if (lstat(addr->sun_path, &st) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -ENOTSOCK;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    int error = connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 ? -EADDRINUSE : -errno;
    close(fd);
    if (error == -ECONNREFUSED) {
        return unlink(addr->sun_path) == 0 ? 0 : -errno;
    }
    return error == -EAGAIN ? -EADDRINUSE : error;
}

static int refuse(struct problem *p, int error, const char *what, const char *where, const char *hint) {
    problem_set(p, PROBLEM_UNAVAILABLE, "cannot-listen", "", "Cannot listen on %s %s: %s.%s", what, where,
                strerror(-error), hint);
    return error;
}

int listen_unix(const char *path, bool has_group, gid_t group, int *ret_fd, struct problem *ret_problem) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = -1;
    int error;
    if (strlen(path) >= sizeof addr.sun_path) {
        return refuse(ret_problem, -ENAMETOOLONG, "the socket", path, " Choose a path of at most 107 bytes.");
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    folder_make(path);
    error = path_clear(&addr);
    if (error < 0) {
        const char *hint = error == -EADDRINUSE ? " Another program serves it: is sallyportd running already?" : "";
        return refuse(ret_problem, error, "the socket", path, hint);
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        error = -errno;
        goto fail;
    }
    /* Nobody may connect before owner and mode are right. */
    mode_t before = umask(0177);
    error = bind(fd, (const struct sockaddr *)&addr, sizeof addr) < 0 ? -errno : 0;
    umask(before);
    if (error < 0) {
        goto fail;
    }
    if (has_group && (chown(path, (uid_t)-1, group) < 0 || chmod(path, 0660) < 0)) {
        error = -errno;
        goto fail;
    }
    if (listen(fd, BACKLOG) < 0) {
        error = -errno;
        goto fail;
    }
    *ret_fd = fd;
    return 0;
fail:
    if (fd >= 0) {
        close(fd);
    }
    return refuse(ret_problem, error, "the socket", path, " Look at [api] socket and who may write there.");
}

int listen_tcp(const char *address, int *ret_fd, struct problem *ret_problem) {
    union endpoint endpoint;
    int yes = 1;
    int fd = -1;
    int error = endpoint_parse(address, &endpoint);
    if (error < 0) {
        return refuse(ret_problem, error, "TCP", address, " Write it as 127.0.0.1:8080 or [::1]:8080.");
    }
    fd = socket(endpoint.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        (endpoint.sa.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes) < 0) ||
        bind(fd, &endpoint.sa, endpoint_size(&endpoint)) < 0 || listen(fd, BACKLOG) < 0) {
        error = -errno;
        goto fail;
    }
    *ret_fd = fd;
    return 0;
fail:
    if (fd >= 0) {
        close(fd);
    }
    return refuse(ret_problem, error, "TCP", address, " Look at [api] listen.");
}

bool listen_is_loopback(const char *address) {
    static const struct in6_addr loopback6 = IN6ADDR_LOOPBACK_INIT;
    union endpoint endpoint;
    if (endpoint_parse(address, &endpoint) < 0) {
        return false;
    }
    if (endpoint.sa.sa_family == AF_INET) {
        return ntohl(endpoint.in.sin_addr.s_addr) >> 24 == 127;
    }
    return memcmp(&endpoint.in6.sin6_addr, &loopback6, sizeof loopback6) == 0;
}
