#include "engine/uapi_server.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/uapi_answer.h"
#include "engine/uapi_output.h"
#include "engine/uapi_request.h"
#include "engine/uapi_socket.h"

#define READ_SIZE (128u * 1024)
#define EVENTS_PER_ROUND 32
#define CLIENTS_MAX 256
#define SEND_BUFFER (1024 * 1024) /* asked for; lets a reader run behind a dump without waking both for every line */

struct client {
    LIST_ENTRY(client) link;
    int fd;
    struct uapi_request *request;
    struct uapi_output output;
    char *held; /* read, but to be parsed once the answer before it is taken; owned */
    size_t held_size;
    bool ended; /* the client sends no more */
    uint32_t interest;
};

struct uapi_server {
    struct uapi_socket *socket; /* borrowed */
    struct engine *engine;      /* borrowed */
    int epoll_fd;
    LIST_HEAD(, client) clients;
    unsigned client_count;
    bool accepting;
    char buffer[READ_SIZE]; /* shared: what one client sent, wiped after each use */
};

/* Events carry a client, or one of these. */
static char listening;
static char watching;

static int add_to_epoll(struct uapi_server *server, int fd, void *what) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* --- clients --- */

static void client_free(struct client *client) {
    if (!client) {
        return;
    }
    uapi_request_free(client->request);
    uapi_output_free(&client->output);
    if (client->held) {
        sodium_memzero(client->held, client->held_size);
        free(client->held);
    }
    if (client->fd >= 0) {
        close(client->fd);
    }
    free(client);
}

/* At the limit new clients wait in the backlog. */
static void set_accepting(struct uapi_server *server, bool accepting) {
    struct epoll_event event = {.events = accepting ? EPOLLIN : 0, .data.ptr = &listening};
    if (server->accepting != accepting && epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->socket->fd, &event) == 0) {
        server->accepting = accepting;
    }
}

static void drop_client(struct uapi_server *server, struct client *client) {
    LIST_REMOVE(client, link);
    server->client_count--;
    client_free(client);
    set_accepting(server, true);
}

static int client_create(struct uapi_server *server, int fd, struct client **ret_client) {
    struct client *client = calloc(1, sizeof *client);
    int rc = -ENOMEM;
    int size = SEND_BUFFER;
    if (!client) {
        close(fd);
        return rc;
    }
    client->fd = client->output.fd = fd;
    client->interest = EPOLLIN;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* a smaller one works too */
    rc = uapi_request_create(server->engine, &client->request);
    if (rc < 0) {
        goto fail;
    }
    rc = add_to_epoll(server, fd, client);
    if (rc < 0) {
        goto fail;
    }
    *ret_client = client;
    return 0;
fail:
    client_free(client);
    return rc;
}

static void accept_client(struct uapi_server *server) {
    struct client *client;
    int fd = accept4(server->socket->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE) && server->client_count) {
        set_accepting(server, false); /* until one of them goes */
    }
    if (fd < 0 || client_create(server, fd, &client) < 0) {
        return; /* gone again, or no memory for it: it sees its connection closed */
    }
    LIST_INSERT_HEAD(&server->clients, client, link);
    if (++server->client_count >= CLIENTS_MAX) {
        set_accepting(server, false);
    }
}

/* --- requests --- */

/* wg(8) takes the sign differently for the two: it negates what a set answers, and reads only digits after a get. So a
 * failed set is answered with a negative number, as wireguard-go does, and wg says "Address already in use". */
static void answer(struct uapi_server *server, struct client *client, enum uapi_event event) {
    struct uapi_output *output = &client->output;
    int error = uapi_request_error(client->request);
    const char *fault = uapi_request_fault(client->request);
    uapi_output_begin(output);
    if (event == UAPI_EVENT_SET) {
        uapi_answer_close(output, error, fault);
        return;
    }
    if (!error) {
        error = uapi_answer_get(server->engine, uapi_request_selection(client->request), output);
    }
    uapi_answer_close(output, -error, fault);
}

/* Keeps what may not be parsed yet. */
static int hold(struct client *client, const char *bytes, size_t size) {
    client->held = malloc(size);
    if (!client->held) {
        return -ENOMEM;
    }
    memcpy(client->held, bytes, size);
    client->held_size = size;
    return 0;
}

/* Parses and answers until the bytes are used up or an answer does not fit into the socket. */
static int serve_bytes(struct uapi_server *server, struct client *client, const char *bytes, size_t size) {
    while (size) {
        size_t used;
        enum uapi_event event = uapi_request_feed(client->request, bytes, size, &used);
        bytes += used;
        size -= used;
        if (event == UAPI_EVENT_NONE) {
            continue;
        }
        answer(server, client, event);
        int rc = uapi_output_send(&client->output);
        if (rc == -EAGAIN && size) {
            return hold(client, bytes, size);
        }
        if (rc < 0 && rc != -EAGAIN) {
            return rc;
        }
    }
    return 0;
}

/* 0, or -errno: the client is to be dropped. */
static int read_client(struct uapi_server *server, struct client *client) {
    ssize_t size = recv(client->fd, server->buffer, sizeof server->buffer, MSG_DONTWAIT);
    if (size < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    }
    if (size == 0) {
        client->ended = true;
        return 0;
    }
    int rc = serve_bytes(server, client, server->buffer, (size_t)size);
    sodium_memzero(server->buffer, (size_t)size);
    return rc;
}

/* Sends what is left; once all is taken, goes on with what was held back. */
static int write_client(struct uapi_server *server, struct client *client) {
    int rc = uapi_output_send(&client->output);
    if (rc < 0 || !client->held) {
        return rc == -EAGAIN ? 0 : rc;
    }
    char *held = client->held;
    size_t size = client->held_size;
    client->held = NULL;
    client->held_size = 0;
    rc = serve_bytes(server, client, held, size);
    sodium_memzero(held, size);
    free(held);
    return rc;
}

static int await(struct uapi_server *server, struct client *client) {
    uint32_t interest = client->output.size ? EPOLLOUT : EPOLLIN;
    struct epoll_event event = {.events = interest, .data.ptr = client};
    if (interest == client->interest) {
        return 0;
    }
    client->interest = interest;
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) < 0 ? -errno : 0;
}

static void attend_client(struct uapi_server *server, struct client *client, uint32_t events) {
    int rc = 0;
    if (client->output.size) {
        rc = events & (EPOLLERR | EPOLLHUP) ? -EPIPE : write_client(server, client);
    } else {
        rc = read_client(server, client);
    }
    if (rc == 0) {
        rc = await(server, client);
    }
    if (rc < 0 || (client->ended && !client->output.size)) {
        drop_client(server, client);
    }
}

/* --- the server --- */

int uapi_server_create(struct uapi_socket *socket, struct engine *engine, struct uapi_server **ret_server) {
    int rc = -ENOMEM;
    struct uapi_server *server = calloc(1, sizeof *server);
    if (!server) {
        return rc;
    }
    LIST_INIT(&server->clients);
    server->socket = socket;
    server->engine = engine;
    server->accepting = true;
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll_fd < 0) {
        rc = -errno;
        goto fail;
    }
    rc = add_to_epoll(server, socket->fd, &listening);
    if (rc < 0) {
        goto fail;
    }
    rc = add_to_epoll(server, socket->watch_fd, &watching);
    if (rc < 0) {
        goto fail;
    }
    *ret_server = server;
    return 0;
fail:
    uapi_server_free(server);
    return rc;
}

void uapi_server_free(struct uapi_server *server) {
    if (!server) {
        return;
    }
    while (!LIST_EMPTY(&server->clients)) {
        drop_client(server, LIST_FIRST(&server->clients));
    }
    if (server->epoll_fd >= 0) {
        close(server->epoll_fd);
    }
    sodium_memzero(server->buffer, sizeof server->buffer);
    free(server);
}

int uapi_server_fd(const struct uapi_server *server) {
    return server->epoll_fd;
}

int uapi_server_attend(struct uapi_server *server) {
    struct epoll_event events[EVENTS_PER_ROUND];
    int count = epoll_wait(server->epoll_fd, events, EVENTS_PER_ROUND, 0);
    if (count < 0) {
        return errno == EINTR ? 0 : -errno;
    }
    /* Each client appears once, and only its own event frees it. */
    for (int i = 0; i < count; i++) {
        void *what = events[i].data.ptr;
        if (what == &listening) {
            accept_client(server);
        } else if (what == &watching) {
            if (uapi_socket_gone(server->socket)) {
                return -ENOENT;
            }
        } else {
            attend_client(server, what, events[i].events);
        }
    }
    return 0;
}
