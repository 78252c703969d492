/* A connection to an engine's control socket: sends requests, reads answers line by line. The protocol is docs/uapi.md.
 *
 * Blocking, but bounded: an engine that neither reads nor answers for UAPI_CLIENT_PATIENCE_S is -ETIMEDOUT, after which
 * the connection is closed. Answers hold keys: the buffer is wiped after each. One thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define UAPI_CLIENT_PATIENCE_S 30
#define UAPI_CLIENT_BUFFER (64u * 1024)

struct uapi_client {
    int fd;          /* -1: not connected */
    pid_t pid;       /* of the engine, as the kernel tells; 0: unknown */
    size_t from, to; /* what of the buffer is read but not handed out */
    char buffer[UAPI_CLIENT_BUFFER];
};

void uapi_client_init(struct uapi_client *client);
/* -ENOTCONN: nobody listens there. -EINVAL, -ENAMETOOLONG, -EACCES, ... */
int uapi_client_connect(struct uapi_client *client, const char *interface_name);
/* Wipes and closes. */
void uapi_client_close(struct uapi_client *client);

/* All of it. -EPIPE / -ECONNRESET: the engine went away. */
int uapi_client_send(struct uapi_client *client, const char *text, size_t size);

/* One line of the answer; strings that live until the next call. What a caller returns non-zero stops nothing: the
 * answer is read to its end, so that the connection can be used again; the first such value is the result. */
typedef int uapi_client_fn(void *context, const char *key, const char *value);
/* Reads one answer. 0; fn's own non-zero; -ECONNRESET: closed in the middle; -EBADMSG: not an answer. The engine's own
 * verdict is `ret_error`: 0 or -errno, with the sentence of its `error=` line in `fault` (may be NULL). */
int uapi_client_receive(struct uapi_client *client, uapi_client_fn *fn, void *context, int *ret_error, char *fault,
                        size_t fault_size);
