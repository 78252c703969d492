#include "engine/uapi/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* In a directory where everybody may remove files, somebody else's socket could come to stand in the place of ours, and
 * be told keys. */
static int check_directory(int fd) {
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    return status.st_mode & S_IWOTH && !(status.st_mode & S_ISVTX) ? -EPERM : 0;
}

/* The directory, made if it is missing, locked until the descriptor is closed. */
static int lock_directory(int *ret_fd) {
    const char *directory = uapi_directory();
    if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
        return -errno;
    }
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int error = check_directory(fd);
    if (!error && flock(fd, LOCK_EX) < 0) {
        error = -errno;
    }
    if (error) {
        close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

/* Removes a socket file whose owner is gone. -EADDRINUSE: somebody answers; -EEXIST: it is not a socket. */
static int remove_stale(const struct sockaddr_un *address) {
    struct stat status;
    if (lstat(address->sun_path, &status) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return -EEXIST;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    /* EAGAIN: its backlog is full, so it lives. */
    int rc =
        connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN ? -EADDRINUSE : -errno;
    close(fd);
    if (rc != -ECONNREFUSED) {
        return rc;
    }
    return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int listen_at(const struct sockaddr_un *address, struct uapi_socket *s) {
    struct stat status;
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0) {
        return -errno;
    }
    mode_t before = umask(0177);
    int rc = bind(s->fd, (const struct sockaddr *)address, sizeof *address) < 0 ? -errno : 0;
    umask(before);
    if (rc < 0) {
        return rc;
    }
    if (lstat(address->sun_path, &status) < 0 || listen(s->fd, SOMAXCONN) < 0) {
        rc = -errno;
        unlink(address->sun_path);
        return rc;
    }
    s->device = status.st_dev;
    s->inode = status.st_ino;
    return 0;
}

static int watch(struct uapi_socket *s) {
    s->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (s->watch_fd < 0 ||
        inotify_add_watch(s->watch_fd, uapi_directory(),
                          IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF) < 0) {
        return -errno;
    }
    return 0;
}

int uapi_socket_claim(const char *interface_name, struct uapi_socket *ret_socket) {
    struct uapi_socket s = {.fd = -1, .watch_fd = -1};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int lock = -1;
    int rc = uapi_path(interface_name, s.path);
    if (rc < 0) {
        return rc;
    }
    memcpy(address.sun_path, s.path, sizeof address.sun_path);
    rc = lock_directory(&lock);
    if (rc < 0) {
        return rc;
    }
    rc = remove_stale(&address);
    if (rc == 0) {
        rc = listen_at(&address, &s);
    }
    if (rc == 0) {
        rc = watch(&s);
    }
    close(lock);
    if (rc < 0) {
        uapi_socket_release(&s);
        return rc;
    }
    *ret_socket = s;
    return 0;
}

/* While it is bound, the socket keeps its inode alive: the number cannot come to mean another file. Where we may not
 * look any more (another user's folder), it is taken to be there. */
static bool is_ours(const struct uapi_socket *s) {
    struct stat status;
    if (s->inode && lstat(s->path, &status) < 0) {
        return errno == EACCES;
    }
    return s->inode && status.st_dev == s->device && status.st_ino == s->inode;
}

bool uapi_socket_gone(struct uapi_socket *socket) {
    char events[4096];
    while (read(socket->watch_fd, events, sizeof events) > 0) {
        /* any event only means: look */
    }
    return !is_ours(socket);
}

void uapi_socket_release(struct uapi_socket *socket) {
    if (is_ours(socket)) {
        unlink(socket->path);
    }
    if (socket->fd >= 0) {
        close(socket->fd);
    }
    if (socket->watch_fd >= 0) {
        close(socket->watch_fd);
    }
    socket->fd = socket->watch_fd = -1;
    socket->inode = 0;
}
