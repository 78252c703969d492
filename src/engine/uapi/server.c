#include "engine/uapi/server.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/uapi/answer.h"
#include "engine/uapi/output.h"
#include "engine/uapi/request.h"
#include "engine/uapi/socket.h"

#define READ_SIZE (128u * 1024)
#define EVENTS_PER_ROUND 32
#define CLIENTS_MAX 256
#define SEND_BUFFER (1024 * 1024) /* asked for; lets a reader run behind a dump without waking both for every line */

struct client {
    LIST_ENTRY(client) link;
    int fd;
    struct uapi_request *request;
    struct uapi_output output;
    struct uapi_answer answer; /* to a get, in the making while `answering` */
    bool answering;
    char *held; /* read, but to be parsed once the answer before it is taken; owned */
    size_t held_size;
    bool ended; /* the client sends no more */
    uint32_t interest;
};

struct uapi_server {
    struct uapi_socket *socket; /* borrowed */
    struct engine *engine;      /* borrowed */
    int epoll_fd;
    int spare_fd; /* given up to turn a client away when there are no more descriptors */
    LIST_HEAD(clients, client) clients;
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

/* No other client would make room by going, and while this one waited the loop would turn for nothing. */
static void turn_away(struct uapi_server *server) {
    close(server->spare_fd);
    int fd = accept4(server->socket->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    server->spare_fd = fcntl(server->epoll_fd, F_DUPFD_CLOEXEC, 0);
}

static void accept_client(struct uapi_server *server) {
    struct client *client;
    int fd = accept4(server->socket->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        if (server->client_count) {
            set_accepting(server, false); /* until one of them goes */
        } else {
            turn_away(server);
        }
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

/* The next piece of an answer, unless the client has enough to read. wg(8) takes the sign of errno differently for the
 * two requests: it negates what a set answers, and reads only digits after a get. So a failed set is answered with a
 * negative number, as wireguard-go does, and wg says "Address already in use". */
static void go_on(struct uapi_server *server, struct client *client) {
    if (!client->answering || client->output.size >= UAPI_OUTPUT_HIGH) {
        return;
    }
    int rc = uapi_answer_step(&client->answer, server->engine, &client->output);
    if (rc <= 0) {
        client->answering = false;
        uapi_answer_close(&client->output, -rc, NULL);
    }
}

static void answer(struct uapi_server *server, struct client *client, enum uapi_event event) {
    int error = uapi_request_error(client->request);
    const char *fault = uapi_request_fault(client->request);
    if (event == UAPI_EVENT_GET && !error) {
        uapi_answer_begin(&client->answer, uapi_request_selection(client->request));
        client->answering = true;
        go_on(server, client);
    } else {
        uapi_answer_close(&client->output, event == UAPI_EVENT_GET ? -error : error, fault);
    }
}

/* Nothing more is read from a client while it has answers to come. */
static bool is_busy(const struct client *client) {
    return client->answering || client->output.size;
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

/* Parses and answers until the bytes are used up or an answer takes longer. */
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
        if (rc < 0 && rc != -EAGAIN) {
            return rc;
        }
        if (is_busy(client) && size) {
            return hold(client, bytes, size);
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

/* Sends what is left and makes the next piece of the answer; once all is taken, goes on with what was held back. */
static int write_client(struct uapi_server *server, struct client *client) {
    go_on(server, client);
    int rc = uapi_output_send(&client->output);
    if (rc < 0 && rc != -EAGAIN) {
        return rc;
    }
    if (is_busy(client) || !client->held) {
        return 0;
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
    uint32_t interest = is_busy(client) ? EPOLLOUT : EPOLLIN;
    struct epoll_event event = {.events = interest, .data.ptr = client};
    if (interest == client->interest) {
        return 0;
    }
    client->interest = interest;
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) < 0 ? -errno : 0;
}

static void attend_client(struct uapi_server *server, struct client *client, uint32_t events) {
    int rc = 0;
    if (is_busy(client)) {
        rc = events & (EPOLLERR | EPOLLHUP) ? -EPIPE : write_client(server, client);
    } else {
        rc = read_client(server, client);
    }
    if (rc == 0) {
        rc = await(server, client);
    }
    if (rc < 0 || (client->ended && !is_busy(client))) {
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
    server->spare_fd = fcntl(server->epoll_fd, F_DUPFD_CLOEXEC, 0);
    if (server->epoll_fd < 0 || server->spare_fd < 0) {
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
    if (server->spare_fd >= 0) {
        close(server->spare_fd);
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
