/* A swarm: one process that plays up to a million WireGuard routers against one gateway.
 *
 *      commands (JSON, one a line)                results (JSON, one a line)
 *             |                                          ^
 *          swarm.c  -> load, prepare, connect, idle, data, echo, flood, x25519
 *             |
 *      swarm_routers.c   keys, sessions            swarm_handshakes.c   initiations in flight, retries
 *             |                                          |
 *          swarm_net.c   a few sockets, many source addresses, batches
 *
 * Everything of a router follows from a seed and its number, the gateway's private key from the seed: so one swarm can
 * load a gateway, and another one, started later, plays its routers. One thread; to use more CPUs, start one process a
 * range of routers. Router i has the tunnel address 10.16.0.0 + i; the hub is 10.0.0.1. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/key.h"
#include "swarm_net.h"
#include "wire/aead.h"
#include "wire/cookie.h"
#include "wire/noise.h"

#define SWARM_ROUTERS_MAX (1u << 20)   /* 10.16.0.0/12 */
#define SWARM_FIRST_ADDRESS 0x0a100000 /* 10.16.0.0 */
#define SWARM_HUB_ADDRESS 0x0a000001   /* 10.0.0.1 */
#define SWARM_MTU 1420
#define SWARM_TRIES_MAX 20
#define SWARM_NONE UINT32_MAX

/* An initiation made beforehand, without macs. */
struct prepared {
    struct noise_handshake handshake;
    struct message_initiation message;
};

struct flight {
    struct noise_handshake handshake; /* of the last initiation */
    struct cookie_jar jar;
    struct prepared *prepared; /* owned: of the next tries, in turn */
    unsigned prepared_count, prepared_used;
    bool begun;
};

struct router {
    struct key private_key;
    struct key public_key;
    struct key static_static;
    struct key send_key;
    struct key receive_key;
    uint64_t send_counter;
    uint64_t began_ns;     /* first initiation of this connect */
    struct flight *flight; /* only while a handshake is prepared or in flight */
    uint32_t remote_index;
    uint32_t next;       /* in its bucket of retries */
    uint32_t latency_us; /* from the first initiation to the response */
    uint16_t due;        /* its bucket, while `waiting` */
    uint8_t tries;
    bool waiting; /* in a bucket of retries */
    bool has_static_static;
    bool connected;
};

#define RETRY_TICK_NS (10 * NSEC_PER_MSEC)
#define RETRY_TICKS 1024 /* 10.24 s, more than the longest retry */

/* Routers that wait for a response, by when they will try again. */
struct retries {
    uint32_t heads[RETRY_TICKS];
    uint64_t tick; /* the next to expire, since the clock's start */
};

/* What happened since the command began. */
struct tally {
    uint64_t initiations, responses, bad_responses, cookies;
    uint64_t data_sent, data_received, data_received_bytes, data_opened, bad_data, keepalives_received;
    uint64_t initiations_received, unknown;
};

/* What a command does with the data that comes: NULL plaintext if it was not opened. */
struct swarm;
typedef void swarm_data_fn(struct swarm *swarm, struct router *router, const uint8_t *plain, size_t size);

struct swarm {
    struct key seed;
    struct key hub_private;
    struct key hub_public;
    uint32_t count;
    struct router *routers; /* NULL until a command needs them */
    struct net_options net_options;
    uint32_t share;  /* so many neighbours send from one address and port */
    struct net *net; /* NULL until a command needs it */
    struct noise_random random;
    const struct aead_ops *aead_ops;
    struct aead *aead;
    struct retries retries;
    struct tally tally;
    uint32_t connected;
    uint32_t keepalive_turn, rekey_turn; /* of idle routers: whose is next */
    uint32_t open_every;                 /* of the data that comes, open one packet in so many; 0: none */
    swarm_data_fn *on_data;
    void *on_data_context;
    char error[256];
};

/* 0, or a negative errno with its reason in swarm->error. */
typedef int swarm_command_fn(struct swarm *swarm, json_t *arguments, json_t *result);

swarm_command_fn swarm_load, swarm_prepare, swarm_connect, swarm_idle, swarm_data, swarm_echo, swarm_flood,
    swarm_x25519;

/* Says why a command failed; returns `error`. */
int swarm_fail(struct swarm *swarm, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Makes routers and sockets if they are not there yet. */
int swarm_need(struct swarm *swarm, bool routers, bool net);
/* User and system time of this process. */
double swarm_cpu_s(void);
/* Sorts, and adds NAME_p50, NAME_p99 and NAME_max. */
void swarm_add_percentiles(json_t *result, const char *name, double *values, size_t count);

/* --- swarm_routers.c --- */

/* The k-th secret of a kind ("router", "silent", ...) that follows from the seed. */
void swarm_derive(const struct swarm *swarm, const char *kind, uint64_t number, uint8_t ret_secret[32]);
int swarm_routers_create(struct swarm *swarm);
void swarm_routers_free(struct swarm *swarm);
struct net_source swarm_source(const struct swarm *swarm, uint32_t number);
/* Writes the header of a data message and fills a job that seals `size` bytes of plaintext at message + 16. */
void router_seal_job(struct router *router, uint8_t *message, size_t size, struct aead_job *ret_job);
void router_send_keepalive(struct swarm *swarm, uint32_t number);
/* A datagram from the gateway. */
void swarm_take(void *swarm, uint8_t *bytes, size_t size);

/* --- swarm_handshakes.c --- */

/* Makes one more message ahead of its time: the two or three multiplications that it costs a real router's own CPU. */
int handshake_prepare(struct swarm *swarm, uint32_t number);
/* What is prepared or in flight. */
void handshake_forget(struct router *r);
/* Sends a first initiation, and again every 5 s + jitter until a response comes. */
int handshake_begin(struct swarm *swarm, uint32_t number, uint64_t now_ns);
/* Sends again what is due, at most `limit`; how many that were. */
unsigned handshake_expire(struct swarm *swarm, uint64_t now_ns, unsigned limit);
void handshake_take_response(struct swarm *swarm, const struct message_response *message, uint64_t now_ns);
void handshake_take_cookie(struct swarm *swarm, const struct message_cookie_reply *message, uint64_t now_ns);
/* Forgets the sessions of the first `count` routers, and all handshakes; prepared messages stay. */
void handshake_reset(struct swarm *swarm, uint32_t count);
