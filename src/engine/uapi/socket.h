/* The listening socket file of an interface, and the claim to it: one engine per interface.
 *
 * The file is created 0600 in a directory created 0700. A file that nobody listens on is replaced; one that is answered
 * is another engine's. Checks and replacement happen under a lock of the directory, so two engines starting at once
 * cannot both win. Removing the file is how wg-quick(8) ends a userspace interface: uapi_socket_gone() notices. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "engine/uapi/text.h"

struct uapi_socket {
    char path[UAPI_PATH_SIZE];
    int fd;       /* listening, non-blocking */
    int watch_fd; /* inotify: readable when uapi_socket_gone() should be asked */
    dev_t device; /* identity of our file */
    ino_t inode;
};

/* -EINVAL bad name, -ENAMETOOLONG, -EADDRINUSE another instance answers, -EPERM everybody may write to the
 * directory, -EACCES / -ENOENT / ... the directory. */
int uapi_socket_claim(const char *interface_name, struct uapi_socket *ret_socket);
/* Whether the file is no longer ours. Drains watch_fd. */
bool uapi_socket_gone(struct uapi_socket *socket);
/* Closes; removes the file if it is still ours. */
void uapi_socket_release(struct uapi_socket *socket);
