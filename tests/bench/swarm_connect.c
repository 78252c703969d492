/* Connecting and staying connected. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "swarm.h"

#define STEP 64 /* routers begun, or tried again, before the sockets are read */

int swarm_prepare(struct swarm *swarm, json_t *arguments, json_t *result) {
    json_error_t fault;
    json_int_t peers = swarm->count;
    json_int_t tries = 1;
    if (json_unpack_ex(arguments, &fault, 0, "{s?I, s?I !}", "peers", &peers, "tries", &tries) < 0) {
        return swarm_fail(swarm, -EINVAL, "%s", fault.text);
    }
    if (tries < 1 || tries > SWARM_TRIES_MAX) {
        return swarm_fail(swarm, -EINVAL, "tries: 1 to %d", SWARM_TRIES_MAX);
    }
    int error = swarm_need(swarm, true, true);
    double cpu = swarm_cpu_s();
    /* Try by try: each later one of a router needs a later timestamp. */
    for (json_int_t try = 0; error == 0 && try < tries; try++) {
        for (uint32_t i = 0; error == 0 && i < (uint32_t)peers && i < swarm->count; i++) {
            error = handshake_prepare(swarm, i);
        }
    }
    if (error < 0) {
        return swarm_fail(swarm, error, "cannot make an initiation");
    }
    json_object_set_new(result, "peers", json_integer(peers));
    json_object_set_new(result, "cpu_s", json_real(swarm_cpu_s() - cpu));
    return 0;
}

struct connect {
    double seconds;
    double spread;
    json_int_t window;
    json_int_t peers;
    int awake;       /* never sleeps: to wake us up costs the gateway CPU, which routers elsewhere would not */
    uint32_t before; /* others that are connected, and stay so */
};

/* How many routers may have begun by now: all within `spread` seconds, or so many that `window` are unanswered. */
static uint32_t allowed(const struct swarm *swarm, const struct connect *c, uint64_t elapsed_ns) {
    double most = (double)c->peers;
    double now = c->spread > 0 ? most * ((double)elapsed_ns / (double)NSEC_PER_SEC) / c->spread
                               : (double)(swarm->connected - c->before) + (double)c->window;
    return (uint32_t)(now < most ? now : most);
}

static int run_connect(struct swarm *swarm, const struct connect *c, json_t *by_second, uint64_t *ret_elapsed_ns) {
    uint64_t began = clock_mono_ns();
    uint64_t limit = (uint64_t)(c->seconds * (double)NSEC_PER_SEC);
    uint64_t elapsed = 0;
    uint32_t next = 0;
    swarm->retries.tick = began / RETRY_TICK_NS;
    while (swarm->connected - c->before < (uint32_t)c->peers && elapsed < limit) {
        uint64_t now = clock_mono_ns();
        elapsed = now - began;
        while (json_array_size(by_second) < elapsed / NSEC_PER_SEC) {
            json_array_append_new(by_second, json_integer(swarm->connected - c->before));
        }
        uint32_t may = allowed(swarm, c, elapsed);
        unsigned sent = 0;
        while (next < may && sent < STEP) {
            int error = handshake_begin(swarm, next, now);
            if (error < 0) {
                return swarm_fail(swarm, error, "cannot make an initiation");
            }
            next++;
            sent++;
        }
        sent += handshake_expire(swarm, now, STEP);
        net_flush(swarm->net);
        net_receive(swarm->net, sent || c->awake ? 0 : 1, swarm_take, swarm);
    }
    net_flush(swarm->net);
    *ret_elapsed_ns = clock_mono_ns() - began;
    return 0;
}

static int add_latencies(struct swarm *swarm, uint32_t peers, json_t *result) {
    unsigned by_try[SWARM_TRIES_MAX + 1] = {0};
    size_t count = 0;
    double *latencies = malloc((peers ? peers : 1) * sizeof *latencies);
    if (!latencies) {
        return swarm_fail(swarm, -ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < peers; i++) {
        if (swarm->routers[i].connected) {
            latencies[count++] = swarm->routers[i].latency_us / 1000.0;
            by_try[swarm->routers[i].tries]++;
        }
    }
    swarm_add_percentiles(result, "latency_ms", latencies, count);
    free(latencies);
    json_t *tries = json_array();
    for (unsigned i = 1; i <= SWARM_TRIES_MAX; i++) {
        json_array_append_new(tries, json_integer(by_try[i]));
    }
    json_object_set_new(result, "connected_by_try", tries);
    return 0;
}

int swarm_connect(struct swarm *swarm, json_t *arguments, json_t *result) {
    json_error_t fault;
    struct connect c = {.seconds = 60, .window = 64, .peers = swarm->count};
    if (json_unpack_ex(arguments, &fault, 0, "{s?F, s?F, s?I, s?I, s?b !}", "seconds", &c.seconds, "spread", &c.spread,
                       "window", &c.window, "peers", &c.peers, "awake", &c.awake) < 0) {
        return swarm_fail(swarm, -EINVAL, "%s", fault.text);
    }
    if (c.peers < 1 || c.peers > swarm->count) {
        return swarm_fail(swarm, -EINVAL, "peers: 1 to %u", swarm->count);
    }
    int error = swarm_need(swarm, true, true);
    if (error < 0) {
        return error;
    }
    handshake_reset(swarm, (uint32_t)c.peers);
    c.before = swarm->connected;
    double cpu = swarm_cpu_s();
    uint64_t elapsed = 0;
    json_t *by_second = json_array();
    json_object_set_new(result, "connected_by_second", by_second);
    error = run_connect(swarm, &c, by_second, &elapsed);
    if (error < 0) {
        return error;
    }
    json_object_set_new(result, "peers", json_integer(c.peers));
    json_object_set_new(result, "connected", json_integer(swarm->connected - c.before));
    json_object_set_new(result, "seconds", json_real((double)elapsed / (double)NSEC_PER_SEC));
    json_object_set_new(result, "cpu_s", json_real(swarm_cpu_s() - cpu));
    return add_latencies(swarm, (uint32_t)c.peers, result);
}

struct pace {
    double per_second;
    uint64_t done;
    uint32_t *turn; /* whose it is; outlives the command, or the last ones would never have theirs */
};

/* The next router whose turn has come, in a steady stream round all of them; SWARM_NONE if it has not. */
static uint32_t pace_next(struct pace *pace, uint64_t elapsed_ns, uint32_t count) {
    double due = pace->per_second * ((double)elapsed_ns / (double)NSEC_PER_SEC);
    if ((double)pace->done >= due) {
        return SWARM_NONE;
    }
    uint32_t number = *pace->turn % count;
    *pace->turn = number + 1;
    pace->done++;
    return number;
}

/* Routers with nothing to do: a keepalive each `keepalive` seconds, and a new handshake each `rekey` seconds. Real
 * routers do both: what a keepalive is sent on is a session, and after 120 s sending renews it. */
int swarm_idle(struct swarm *swarm, json_t *arguments, json_t *result) {
    json_error_t fault;
    double seconds = 10;
    double keepalive = 25;
    double rekey = 0;
    if (json_unpack_ex(arguments, &fault, 0, "{s?F, s?F, s?F !}", "seconds", &seconds, "keepalive", &keepalive, "rekey",
                       &rekey) < 0) {
        return swarm_fail(swarm, -EINVAL, "%s", fault.text);
    }
    int error = swarm_need(swarm, true, true);
    if (error < 0) {
        return error;
    }
    struct pace keepalives = {.per_second = keepalive > 0 ? swarm->count / keepalive : 0,
                              .turn = &swarm->keepalive_turn};
    struct pace rekeys = {.per_second = rekey > 0 ? swarm->count / rekey : 0, .turn = &swarm->rekey_turn};
    uint64_t began = clock_mono_ns();
    uint64_t limit = (uint64_t)(seconds * (double)NSEC_PER_SEC);
    double cpu = swarm_cpu_s();
    for (uint64_t elapsed = 0; elapsed < limit; elapsed = clock_mono_ns() - began) {
        uint32_t number;
        while ((number = pace_next(&keepalives, elapsed, swarm->count)) != SWARM_NONE) {
            if (swarm->routers[number].connected) {
                router_send_keepalive(swarm, number);
            }
        }
        while (error == 0 && (number = pace_next(&rekeys, elapsed, swarm->count)) != SWARM_NONE) {
            error = handshake_begin(swarm, number, clock_mono_ns());
        }
        handshake_expire(swarm, clock_mono_ns(), STEP);
        net_flush(swarm->net);
        net_receive(swarm->net, 1, swarm_take, swarm);
    }
    json_object_set_new(result, "connected", json_integer(swarm->connected));
    json_object_set_new(result, "cpu_s", json_real(swarm_cpu_s() - cpu));
    return error < 0 ? swarm_fail(swarm, error, "cannot make an initiation") : 0;
}
