/* The REST API: HTTP on a Unix socket and, if asked for, on TCP.
 *
 * One thread per connection, so a handler may block on the store or wait for events; connections are bounded and each
 * has deadlines. The caller makes the listening sockets (listen.h), the server owns them from api_start() on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"

struct api;
struct service;

struct api_config {
    struct service *service;
    const char *interface_name; /* for status */
    int unix_fd;                /* listening; -1: none */
    int tcp_fd;                 /* listening; -1: none */
    bool has_group;
    gid_t group;          /* its members may use the Unix socket, beside uid 0 and our own */
    const char *tls_cert; /* PEM, borrowed until api_stop(); NULL: plain TCP */
    const char *tls_key;
    unsigned writes_per_s; /* of one tenant; 0: any number */
    unsigned request_s;    /* to send a whole request, however busily; 0: 120 */
    /* What the caller may want to log; called from any thread. Never a key, a token or a body. */
    void (*log)(enum log_level level, const char *line);
};

/* 0, or -errno; then the sockets are closed. */
int api_start(const struct api_config *config, struct api **ret_api);
/* Ends connections that are past their deadline; call it about once a second. */
void api_tend(struct api *api);
/* Lets running requests finish, long polls at once. Accepts NULL. */
void api_stop(struct api *api);
