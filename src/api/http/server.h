/* The inside of struct api: shared by the files that carry a request from the socket to its handler and back.
 *
 * server.c      sockets, connections and their deadlines
 * connection.c  what a connection's thread asks of the server
 * exchange.c    one request: head, body, handler, answer
 * stale.c       answers to reads, for while the database is away
 * share.c       what each caller may take
 * idempotency.c answers kept under an Idempotency-Key */
#pragma once

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "api/api.h"
#include "api/http/answer.h"
#include "api/http/auth.h"
#include "api/http/request.h"
#include "api/http/route.h"
#include "api/http/share.h"
#include "api/http/stale.h"
#include "base/buf.h"

#define SERVER_IDLE_S 30     /* silence that ends a connection */
#define SERVER_REQUEST_S 120 /* to send a whole request, however busily */
#define SERVER_ANSWER_S 300  /* to take a whole answer */
#define SERVER_ATTEMPTS 5    /* of a handler whose transaction the database broke off */
#define SERVER_HEAD_S 10     /* to send the first head of a connection */
#define SERVER_REFUSED_S 10  /* to end a request that is refused, and to take the refusal */

/* Bytes */
#define SERVER_BODY_MAX (8u << 20)
#define SERVER_BODY_MAX_WHOLE (64u << 20)
#define SERVER_BODY_MAX_SINGLE (64u << 10)
#define SERVER_JSON_MAX (32u << 20) /* body and what is parsed of it */
#define SERVER_JSON_MAX_SINGLE (1u << 20)
#define SERVER_JSON_MAX_OPERATOR (192u << 20)
#define SERVER_ANSWER_MAX (64u << 20)
#define SERVER_MEMORY (44u << 20) /* of the requests of all tenants */

struct connection {
    /* immutable */
    int fd;
    struct auth_peer peer;
    bool excess; /* beyond the limit: it is told so */
    /* guarded by api->mutex */
    LIST_ENTRY(connection) link;
    uint64_t deadline_ns; /* clock_mono_ns(); 0: none, a handler is at work */
    bool proven;          /* a request of it had a caller */
    bool busy;            /* with a request */
    bool closing;         /* it was shut down */
};

/* A key in use by a request that is being handled; a second one with the same key waits for its answer. */
struct key_in_use {
    LIST_ENTRY(key_in_use) link;
    const char *actor;
    const char *key;
};

struct api {
    /* immutable once started */
    struct api_config config;
    const struct route_table *routes;
    struct MHD_Daemon *unix_daemon;
    struct MHD_Daemon *tcp_daemon;
    uint32_t id_base; /* of request ids */
    struct stale stale;
    struct shares shares;

    atomic_bool stopping;
    atomic_uint id_next;

    pthread_mutex_t mutex;
    pthread_cond_t changed; /* a claim was given up, or an exchange ended */
    LIST_HEAD(connection_list, connection) connections;
    LIST_HEAD(claim_list, key_in_use) claims;
    unsigned connection_count[2]; /* on the Unix socket, on TCP; without those that were shut down */
    unsigned exchanges;           /* requests between their first line and the end of their answer */
};

/* One request on its way. Belongs to its connection's thread. */
struct exchange {
    struct api *api;
    char *uri; /* owned; as sent */
    char id[20];
    uint64_t started_ns;
    bool begun;          /* the head was looked at */
    bool closes;         /* the connection ends with this answer */
    bool stranger;       /* refused for want of a token */
    struct share *share; /* NULL: nobody's yet */
    struct memory_budget memory;
    size_t most_memory; /* bytes */
    size_t received;    /* bytes of the body, kept or not */
    struct buf body;
    struct request request;
    struct answer answer; /* a status means: decided, whatever else arrives is only drained */
};

/* 0, or -errno; then the sockets of the configuration are closed. `routes` must live as long as the server. */
int server_start(const struct api_config *config, const struct route_table *routes, struct api **ret_api);

/* The connection is one of a caller that we know. */
void server_prove(struct api *api, struct connection *connection);
/* Its request is refused: what it still sends is not worth a place that others want. */
void server_give_up(struct api *api, struct connection *connection);
void server_set_deadline(struct api *api, struct connection *connection, unsigned seconds); /* 0: none */
bool server_stopping(void *api);
void server_log(const struct api *api, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* MHD's callbacks for one request; `context` is the struct api. */
void *exchange_open(void *context, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result exchange_step(void *context, struct MHD_Connection *mhd, const char *url, const char *method,
                              const char *version, const char *upload_data, size_t *upload_data_size,
                              void **exchange_context);
void exchange_close(void *context, struct MHD_Connection *mhd, void **exchange_context,
                    enum MHD_RequestTerminationCode code);

/* Waits for other requests under the same key, then looks for a kept answer. True: it (or a refusal) is in the answer.
 * False: handle the request, then call idempotency_end(). */
bool idempotency_begin(struct api *api, const struct caller *caller, const char *key, const uint8_t hash[32],
                       struct key_in_use *claim, struct answer *answer);
/* Keeps the answer if it tells of success. */
void idempotency_end(struct api *api, const struct caller *caller, const uint8_t hash[32], struct key_in_use *claim,
                     const struct answer *answer);
