#include "api/http/server.h"

#include <errno.h>
#include <malloc.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api/json/view.h"
#include "base/clock.h"

#define CONNECTIONS_MAX 256           /* per socket */
#define CONNECTIONS_SPARE 32          /* those that are being ended, or told that there are too many */
#define STRANGERS_MAX 64              /* per address, until a request of theirs has a caller */
#define CONNECTION_MEMORY (64u << 10) /* headers and one piece of a body */
#define MMAP_FROM (128 << 10)         /* bytes: larger pieces of memory go back to the system when they are freed */
#define STACK_SIZE (1u << 20)
#define STOP_WAIT_S 10

/* What the library says is about clients (broken requests, lost connections). */
static void library_log(void *context, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static void library_log(void *context, const char *format, va_list args) {
    char line[400];
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    server_log(context, LOG_LEVEL_DEBUG, "http: %s", line);
}

static bool is_tcp(const struct connection *connection) {
    return !connection->peer.local;
}

static bool from_same(const struct connection *a, const struct connection *b) {
    return strcmp(a->peer.from, b->peer.from) == 0;
}

/* Under the mutex. Its thread sees the end and closes it. */
static void shut(struct api *api, struct connection *connection) {
    if (!connection->closing) {
        connection->closing = true;
        api->connection_count[is_tcp(connection)]--;
        shutdown(connection->fd, SHUT_RDWR);
    }
}

/* Under the mutex: the connection that gives way to a new one, the oldest of those that proved nothing, else of those
 * that are idle. NULL: none has to, or none can. */
static struct connection *victim_of(struct api *api, const struct connection *newcomer) {
    struct connection *connection = NULL, *stranger = NULL, *sibling = NULL, *idle = NULL;
    unsigned siblings = 0;
    LIST_FOREACH (connection, &api->connections, link) {
        if (connection->closing || is_tcp(connection) != is_tcp(newcomer)) {
            continue;
        }
        stranger = connection->proven ? stranger : connection;
        idle = connection->busy ? idle : connection;
        if (!connection->proven && is_tcp(connection) && from_same(connection, newcomer)) {
            sibling = connection;
            siblings++;
        }
    }
    if (siblings >= STRANGERS_MAX) {
        return sibling;
    }
    if (api->connection_count[is_tcp(newcomer)] < CONNECTIONS_MAX) {
        return NULL;
    }
    return stranger ? stranger : idle;
}

static void connection_add(struct api *api, struct connection *connection) {
    pthread_mutex_lock(&api->mutex);
    struct connection *victim = victim_of(api, connection);
    if (victim) {
        shut(api, victim);
    }
    connection->excess = api->connection_count[is_tcp(connection)] >= CONNECTIONS_MAX;
    api->connection_count[is_tcp(connection)]++;
    LIST_INSERT_HEAD(&api->connections, connection, link);
    pthread_mutex_unlock(&api->mutex);
}

static void connection_notify(void *context, struct MHD_Connection *mhd, void **socket_context,
                              enum MHD_ConnectionNotificationCode code) {
    struct api *api = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection || !info) {
            free(connection);
            return; /* its requests find no connection and are refused */
        }
        connection->fd = info->connect_fd;
        auth_peer_read(connection->fd, api->config.has_group, api->config.group, &connection->peer);
        unsigned head_s = api->config.request_s < SERVER_HEAD_S ? api->config.request_s : SERVER_HEAD_S;
        connection->deadline_ns = clock_mono_ns() + head_s * NSEC_PER_SEC;
        connection_add(api, connection);
        *socket_context = connection;
    } else if (*socket_context) {
        struct connection *connection = *socket_context;
        pthread_mutex_lock(&api->mutex);
        if (!connection->closing) {
            api->connection_count[is_tcp(connection)]--;
        }
        LIST_REMOVE(connection, link);
        pthread_mutex_unlock(&api->mutex);
        free(connection);
        *socket_context = NULL;
    }
}

static struct MHD_Daemon *daemon_start(struct api *api, int fd, bool tls) {
    struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)api->config.tls_cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)api->config.tls_key},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_ITC | MHD_USE_ERROR_LOG |
                     (tls ? MHD_USE_TLS : 0u);
    return MHD_start_daemon(flags, 0, NULL, NULL, exchange_step, api,                                   //
                            MHD_OPTION_EXTERNAL_LOGGER, library_log, api,                               //
                            MHD_OPTION_LISTEN_SOCKET, fd,                                               //
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX + CONNECTIONS_SPARE, //
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SERVER_IDLE_S,                     //
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,              //
                            MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_SIZE,                           //
                            MHD_OPTION_STRICT_FOR_CLIENT, 1,                                            //
                            MHD_OPTION_URI_LOG_CALLBACK, exchange_open, api,                            //
                            MHD_OPTION_NOTIFY_COMPLETED, exchange_close, api,                           //
                            MHD_OPTION_NOTIFY_CONNECTION, connection_notify, api,                       //
                            MHD_OPTION_ARRAY, tls ? tls_options : &tls_options[2], MHD_OPTION_END);
}

int server_start(const struct api_config *config, const struct route_table *routes, struct api **ret_api) {
    struct api *api = calloc(1, sizeof *api);
    if (!api) {
        goto fail;
    }
    api->config = *config;
    api->routes = routes;
    api->config.request_s = config->request_s ? config->request_s : SERVER_REQUEST_S;
    api->id_base = randombytes_random();
    pthread_mutex_init(&api->mutex, NULL);
    pthread_cond_init(&api->changed, NULL);
    LIST_INIT(&api->connections);
    LIST_INIT(&api->claims);
    stale_open(&api->stale);
    shares_open(&api->shares, config->writes_per_s, SERVER_MEMORY);
    view_setup();
    mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
    if (config->unix_fd >= 0) {
        api->unix_daemon = daemon_start(api, config->unix_fd, false);
        if (!api->unix_daemon) {
            goto fail;
        }
    }
    if (config->tcp_fd >= 0) {
        api->tcp_daemon = daemon_start(api, config->tcp_fd, config->tls_cert != NULL);
        if (!api->tcp_daemon) {
            goto fail;
        }
    }
    *ret_api = api;
    return 0;
fail:
    if (config->tcp_fd >= 0) {
        close(config->tcp_fd);
    }
    if (config->unix_fd >= 0 && !(api && api->unix_daemon)) {
        close(config->unix_fd);
    }
    api_stop(api);
    return api ? -EIO : -ENOMEM;
}

static bool overdue(const struct connection *connection, uint64_t now) {
    return connection->deadline_ns && connection->deadline_ns < now;
}

void api_tend(struct api *api) {
    uint64_t now = clock_mono_ns();
    struct connection *connection = NULL;
    pthread_mutex_lock(&api->mutex);
    LIST_FOREACH (connection, &api->connections, link) {
        if (overdue(connection, now)) {
            shut(api, connection);
        }
    }
    pthread_mutex_unlock(&api->mutex);
}

/* No new connections from here on; those there are go on. */
static void quiesce(struct MHD_Daemon *daemon) {
    if (daemon) {
        int fd = MHD_quiesce_daemon(daemon);
        if (fd >= 0) {
            close(fd);
        }
    }
}

void api_stop(struct api *api) {
    if (!api) {
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_WAIT_S;
    atomic_store(&api->stopping, true);
    quiesce(api->unix_daemon);
    quiesce(api->tcp_daemon);
    pthread_mutex_lock(&api->mutex);
    while (api->exchanges > 0 && pthread_cond_timedwait(&api->changed, &api->mutex, &until) == 0) {
    }
    pthread_mutex_unlock(&api->mutex);
    if (api->unix_daemon) {
        MHD_stop_daemon(api->unix_daemon);
    }
    if (api->tcp_daemon) {
        MHD_stop_daemon(api->tcp_daemon);
    }
    stale_close(&api->stale);
    shares_close(&api->shares);
    pthread_cond_destroy(&api->changed);
    pthread_mutex_destroy(&api->mutex);
    free(api);
}
