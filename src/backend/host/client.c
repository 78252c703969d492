#include "backend/host/client.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "engine/uapi/text.h"

void uapi_client_init(struct uapi_client *client) {
    client->fd = -1;
    client->pid = 0;
    client->from = client->to = 0;
}

void uapi_client_close(struct uapi_client *client) {
    if (client->fd >= 0) {
        close(client->fd);
    }
    sodium_memzero(client->buffer, sizeof client->buffer);
    uapi_client_init(client);
}

static int dial(const struct sockaddr_un *address, int *ret_fd) {
    struct timeval patience = {.tv_sec = UAPI_CLIENT_PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* bounds connect() too */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0) {
        int error = errno;
        close(fd);
        return error == ENOENT || error == ECONNREFUSED ? -ENOTCONN : -error;
    }
    *ret_fd = fd;
    return 0;
}

int uapi_client_connect(struct uapi_client *client, const char *interface_name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t size = sizeof peer;
    int fd = -1;
    int rc = uapi_path(interface_name, address.sun_path);
    if (rc == 0) {
        rc = dial(&address, &fd);
    }
    if (rc < 0) {
        return rc;
    }
    uapi_client_close(client);
    client->fd = fd;
    client->pid = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
    return 0;
}

int uapi_client_send(struct uapi_client *client, const char *text, size_t size) {
    if (client->fd < 0) {
        return -EPIPE;
    }
    while (size) {
        ssize_t sent = send(client->fd, text, size, MSG_NOSIGNAL);
        if (sent >= 0) {
            text += sent;
            size -= (size_t)sent;
        } else if (errno != EINTR) {
            int rc = errno == EAGAIN ? -ETIMEDOUT : -errno;
            uapi_client_close(client);
            return rc;
        }
    }
    return 0;
}

/* More bytes behind those not yet handed out. */
static int refill(struct uapi_client *client) {
    if (client->from) {
        memmove(client->buffer, client->buffer + client->from, client->to - client->from);
        client->to -= client->from;
        client->from = 0;
    }
    if (client->to == sizeof client->buffer) {
        return -EBADMSG; /* a line that never ends */
    }
    for (;;) {
        ssize_t size = recv(client->fd, client->buffer + client->to, sizeof client->buffer - client->to, 0);
        if (size > 0) {
            client->to += (size_t)size;
            return 0;
        }
        if (size == 0) {
            return -ECONNRESET;
        }
        if (errno != EINTR) {
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        }
    }
}

/* The next line without its newline, in the buffer. */
static int next_line(struct uapi_client *client, char **ret_line) {
    size_t searched = 0;
    for (;;) {
        char *from = client->buffer + client->from;
        char *newline = memchr(from + searched, '\n', client->to - client->from - searched);
        if (newline) {
            *newline = '\0';
            client->from += (size_t)(newline - from) + 1;
            *ret_line = from;
            return 0;
        }
        searched = client->to - client->from;
        int rc = refill(client);
        if (rc < 0) {
            return rc;
        }
    }
}

/* errno= is positive after a get and negative after a set (docs/uapi.md): either way -errno. */
static int parse_errno(const char *value, int *ret_error) {
    uint64_t error;
    if (uapi_text_u64(value + (*value == '-'), 4095, &error) < 0) {
        return -EBADMSG;
    }
    *ret_error = -(int)error;
    return 0;
}

struct verdict {
    bool given;
    int error;
    char *fault;
    size_t fault_size;
};

/* Lines that close an answer. True if it was one. */
static bool take_verdict(struct verdict *verdict, const char *key, const char *value, int *rc) {
    if (strcmp(key, "errno") == 0) {
        *rc = parse_errno(value, &verdict->error);
        verdict->given = true;
        return true;
    }
    if (strcmp(key, "error") == 0) {
        if (verdict->fault) {
            snprintf(verdict->fault, verdict->fault_size, "%s", value);
        }
        return true;
    }
    return false;
}

int uapi_client_receive(struct uapi_client *client, uapi_client_fn *fn, void *context, int *ret_error, char *fault,
                        size_t fault_size) {
    struct verdict verdict = {.fault = fault, .fault_size = fault_size};
    int told = 0;
    int rc = client->fd < 0 ? -EPIPE : 0;
    while (rc == 0) {
        const char *key;
        const char *value;
        char *line;
        rc = next_line(client, &line);
        if (rc < 0 || !*line) {
            break;
        }
        rc = uapi_text_split(line, &key, &value) < 0 ? -EBADMSG : 0;
        if (rc == 0 && !take_verdict(&verdict, key, value, &rc) && told == 0 && fn) {
            told = fn(context, key, value);
        }
    }
    if (rc == 0 && !verdict.given) {
        rc = -EBADMSG;
    }
    if (rc < 0) {
        uapi_client_close(client);
        return rc;
    }
    /* Nothing is under way now; what lies before `from` was an answer, perhaps with keys. */
    sodium_memzero(client->buffer, client->from);
    *ret_error = verdict.error;
    return told;
}
