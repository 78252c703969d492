/* The interface as a whole: its sockets, up and down, key, port, mark, hub, offloads. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "engine/control/control.h"
#include "engine/path/host.h"
#include "engine/path/loop.h"
#include "engine/path/peer.h"
#include "engine/path/transmit.h"

#define PEERS_PER_CALL 4096 /* visited in one */

/* --- sockets --- */

struct sockets_call {
    const struct udp_sockets *sockets; /* by worker */
    bool gso;
};

static void adopt_sockets(struct worker *worker, void *argument) {
    const struct sockets_call *call = argument;
    loop_set_sockets(worker, &call->sockets[worker->number]);
    transmit_set_gso(worker->transmit, call->gso);
}

static void probe_offloads(struct engine *engine, struct udp_sockets *sockets) {
    engine->gso = !engine->no_gso && udp_probe_gso(&sockets[0]);
    engine->gro = !engine->no_gso;
    for (unsigned i = 0; i < engine->count && engine->gro; i++) {
        engine->gro = udp_set_gro(&sockets[i], true) == 0;
    }
}

/* The workers change over to `sockets` (at most the old ones' datagrams in flight are lost), then the old are closed.
 */
static void use_sockets(struct engine *engine, const struct udp_sockets *sockets) {
    const struct sockets_call call = {.sockets = sockets, .gso = engine->gso};
    control_call_all(engine, adopt_sockets, (void *)&call);
    udp_close(engine->sockets, engine->count);
    memcpy(engine->sockets, sockets, engine->count * sizeof *sockets);
}

static int open_sockets(struct engine *engine, uint16_t port) {
    struct udp_sockets sockets[ENGINE_WORKERS_MAX];
    uint16_t bound = 0;
    int error = udp_open(engine->count, port, engine->fwmark, sockets, &bound);
    if (error) {
        return error;
    }
    probe_offloads(engine, sockets);
    use_sockets(engine, sockets);
    xdp_set_port(engine->xdp, bound);
    engine->bound_port = bound;
    engine->listen_port = bound; /* a port that the kernel chose is kept from then on, as Linux does */
    return 0;
}

static void close_sockets(struct engine *engine) {
    struct udp_sockets none[ENGINE_WORKERS_MAX];
    for (unsigned i = 0; i < engine->count; i++) {
        none[i] = (struct udp_sockets){.v4 = -1, .v6 = -1};
    }
    xdp_set_port(engine->xdp, 0);
    use_sockets(engine, none);
}

/* --- up and down --- */

/* Visits all peers of a worker, a bounded piece per call. */
struct peer_walk {
    void (*visit)(struct worker *worker, struct peer *peer, struct peer_walk *walk);
    bool up;
    uint64_t delay_ns;
    uint32_t cursor;
    bool done;
};

static void visit_some(struct worker *worker, void *argument) {
    struct peer_walk *walk = argument;
    uint32_t room = worker->tables.peer_room;
    uint32_t end = walk->cursor + PEERS_PER_CALL < room ? walk->cursor + PEERS_PER_CALL : room;
    for (; walk->cursor < end; walk->cursor++) {
        if (worker->tables.peers[walk->cursor]) {
            walk->visit(worker, worker->tables.peers[walk->cursor], walk);
        }
    }
    walk->done = end == room;
}

static void visit_all(struct engine *engine, const struct peer_walk *wanted) {
    for (unsigned i = 0; i < engine->count; i++) {
        struct peer_walk walk = *wanted;
        do {
            worker_call(engine->workers[i], visit_some, &walk);
        } while (!walk.done);
    }
}

/* Peers with keepalives open their path, one after the other: all at once would be a storm of our own making. */
static void follow_link(struct worker *worker, struct peer *peer, struct peer_walk *walk) {
    if (!walk->up) {
        peer_reset(worker, peer);
    } else if (peer->keepalive_s > 0 && peer->endpoint.sa.sa_family != AF_UNSPEC &&
               peer_make_state(worker, peer) == 0) {
        peer->state->timers.persistent_at = worker->now_ns + walk->delay_ns;
        walk->delay_ns += NSEC_PER_MSEC;
        peer_rearm(worker, peer->state);
    }
}

static void adopt_up(struct worker *worker, void *argument) {
    worker->device.up = *(const bool *)argument;
}

static void peers_follow_link(struct engine *engine) {
    const struct peer_walk walk = {.visit = follow_link, .up = engine->up};
    control_call_all(engine, adopt_up, &engine->up);
    visit_all(engine, &walk);
}

static int go_up(struct engine *engine) {
    int error = open_sockets(engine, engine->listen_port);
    if (error) {
        return error;
    }
    engine->up = true;
    peers_follow_link(engine);
    return 0;
}

static void go_down(struct engine *engine) {
    engine->up = false;
    close_sockets(engine);
    peers_follow_link(engine);
}

static void adopt_mtu(struct worker *worker, void *argument) {
    worker->device.mtu = *(const uint32_t *)argument;
}

static void adopt_interface(struct worker *worker, void *argument) {
    worker->device.interface = *(const unsigned *)argument;
}

int control_follow_interface(struct engine *engine) {
    struct tun_state state = tun_state(engine->tun);
    if (state.mtu != engine->mtu) {
        engine->mtu = state.mtu;
        control_call_all(engine, adopt_mtu, &engine->mtu);
    }
    if (state.index != engine->interface) {
        engine->interface = state.index;
        control_call_all(engine, adopt_interface, &engine->interface);
    }
    if (state.up && !engine->up) {
        return go_up(engine);
    }
    if (!state.up && engine->up) {
        go_down(engine);
    }
    return 0;
}

/* --- the device --- */

static void adopt_identity(struct worker *worker, void *argument) {
    noise_identity_set(worker->device.identity, argument);
    cookie_checker_set(worker->device.checker, &worker->device.identity->public_key);
    worker->device.epoch++;
}

static void follow_identity(struct worker *worker, struct peer *peer, struct peer_walk *walk) {
    (void)walk;
    peer_follow_identity(worker, peer);
}

int engine_set_private_key(struct engine *engine, const struct key *private_key) {
    struct noise_identity *fresh = sodium_malloc(sizeof *fresh);
    if (!fresh) {
        return -ENOMEM;
    }
    noise_identity_set(fresh, private_key);
    if (key_equal(&fresh->private_key, &engine->identity->private_key)) {
        sodium_free(fresh);
        return 0;
    }
    const struct engine_peer_change removal = {.public_key = fresh->public_key, .remove = true};
    struct engine_caller own = {0};
    int error = key_is_zero(&fresh->private_key) ? 0 : engine_peer_change(engine, &own, &removal);
    control_apply(engine);
    error = error ? error : own.error;
    if (!error) {
        *engine->identity = *fresh;
        control_call_all(engine, adopt_identity, &fresh->private_key);
        /* Secrets made with the old key are wiped now, not when each peer is next spoken to. */
        visit_all(engine, &(const struct peer_walk){.visit = follow_identity});
    }
    sodium_free(fresh);
    return error;
}

/* Nobody hears of a port that turns out to be busy when the interface goes up; so it is tried when it is asked for. */
static int probe_port(uint16_t port) {
    struct udp_sockets sockets;
    int error = udp_open(1, port, 0, &sockets, &port);
    if (!error) {
        udp_close(&sockets, 1);
    }
    return error;
}

int engine_set_listen_port(struct engine *engine, uint16_t port) {
    if (engine->up && port != engine->bound_port) {
        int error = open_sockets(engine, port);
        if (error) {
            return error;
        }
    } else {
        int error = engine->up || port == 0 ? 0 : probe_port(port);
        if (error) {
            return error;
        }
        engine->listen_port = port;
    }
    /* Maybe only a busy port has kept it from going up. */
    return control_follow_interface(engine);
}

int engine_set_fwmark(struct engine *engine, uint32_t fwmark) {
    for (unsigned i = 0; i < engine->count; i++) {
        int error = udp_set_fwmark(&engine->sockets[i], fwmark);
        if (error) {
            return error;
        }
    }
    engine->fwmark = fwmark;
    return 0;
}

static void adopt_hub(struct worker *worker, void *argument) {
    const struct engine *engine = argument;
    memcpy(worker->device.hub, engine->hub, engine->hub_count * sizeof *engine->hub);
    worker->device.hub_count = engine->hub_count;
}

int engine_set_hub(struct engine *engine, const struct prefix *prefixes, size_t count) {
    if (count > ENGINE_HUB_MAX) {
        return -ENOSPC;
    }
    if (count > 0) {
        memcpy(engine->hub, prefixes, count * sizeof *prefixes);
    }
    engine->hub_count = count;
    control_call_all(engine, adopt_hub, engine);
    return 0;
}

/* What every worker still uses; a kernel's refusal shows only at work. */
struct offloads_in_use {
    bool gso, tcp, udp, has_uring, uses_uring;
};

static void look_at_offloads(struct worker *worker, void *argument) {
    struct offloads_in_use *in_use = argument;
    in_use->gso &= transmit_gso(worker->transmit);
    in_use->tcp &= host_gives_tcp(worker->host);
    in_use->udp &= host_gives_udp(worker->host);
    in_use->has_uring &= host_has_uring(worker->host);
    in_use->uses_uring &= host_uses_uring(worker->host);
}

static enum engine_offload_state offload_state(bool wanted, bool found, bool in_use) {
    return !wanted   ? ENGINE_OFFLOAD_SWITCHED_OFF
           : !found  ? ENGINE_OFFLOAD_UNSUPPORTED
           : !in_use ? ENGINE_OFFLOAD_REFUSED
                     : ENGINE_OFFLOAD_ON;
}

/* UDP's are probed when the sockets are opened: until then they are what they will be tried as. */
static void get_offloads(struct engine *engine, enum engine_offload_state *ret_states) {
    bool udp = !engine->no_gso;
    bool tun = !engine->no_tso;
    bool header = tun_has_header(engine->tun);
    bool uso = header && tun_has_uso(engine->tun);
    struct offloads_in_use in_use = {true, true, true, true, true};
    for (unsigned i = 0; i < engine->count; i++) {
        worker_call(engine->workers[i], look_at_offloads, &in_use);
    }
    ret_states[ENGINE_OFFLOAD_GSO] = offload_state(udp, !engine->up || engine->gso, !engine->up || in_use.gso);
    ret_states[ENGINE_OFFLOAD_GRO] = offload_state(udp, !engine->up || engine->gro, true);
    ret_states[ENGINE_OFFLOAD_XDP] =
        offload_state(engine->wants_xdp, engine->xdp, engine->xdp && xdp_is_attached(engine->xdp));
    ret_states[ENGINE_OFFLOAD_TSO] = offload_state(tun, header, true);
    ret_states[ENGINE_OFFLOAD_USO] = offload_state(tun, uso, true);
    ret_states[ENGINE_OFFLOAD_JOIN_TCP] = offload_state(tun, header, in_use.tcp);
    ret_states[ENGINE_OFFLOAD_JOIN_UDP] = offload_state(tun, uso, in_use.udp);
    ret_states[ENGINE_OFFLOAD_URING] = offload_state(!engine->no_uring, in_use.has_uring, in_use.uses_uring);
}

void engine_get_device(struct engine *engine, struct engine_device *ret_device) {
    *ret_device = (struct engine_device){
        .private_key = engine->identity->private_key,
        .public_key = engine->identity->public_key,
        .listen_port = engine->up ? engine->bound_port : engine->listen_port,
        .fwmark = engine->fwmark,
        .hub_count = engine->hub_count,
        .workers = engine->count,
        .crypto = engine->aead->name,
        .peers = directory_key_count(engine->directory),
        .tenants = engine->tenant_count,
        .xdp_error = engine->xdp_error,
    };
    memcpy(ret_device->xdp_failed, engine->xdp_failed, sizeof ret_device->xdp_failed);
    memcpy(ret_device->hub, engine->hub, engine->hub_count * sizeof *engine->hub);
    get_offloads(engine, ret_device->offloads);
}
