/* Listening sockets for the API. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "model/problem.h"

/* A Unix stream socket at `path`, mode 0660 and of `group` if there is one, else 0600. A stale one is replaced; a live
 * one is -EADDRINUSE. The folder is made if it is missing. 0, or -errno with `ret_problem`. */
int listen_unix(const char *path, bool has_group, gid_t group, int *ret_fd, struct problem *ret_problem);
/* TCP on "127.0.0.1:8080" or "[::1]:8080". */
int listen_tcp(const char *address, int *ret_fd, struct problem *ret_problem);
/* Whether only this host can reach that address. */
bool listen_is_loopback(const char *address);
