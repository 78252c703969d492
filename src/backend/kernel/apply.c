/* Deltas. A batch comes into force in three steps, so that at no moment an address counts as one tenant's for the
 * programs and as another's router's for WireGuard:
 *
 *     1. the programs forget the addresses that their peers lose: nobody can use them
 *     2. WireGuard gets the peers as they are to be; who is removed loses all allowed IPs, and with them every packet
 *     3. the programs learn the addresses that peers have now
 *
 * Many new routers at once, as after a start, come in faster: nobody can have their addresses before them, so the
 * programs learn them while WireGuard computes with their keys, which is most of the time it takes.
 *
 * Only differences to what was set before are said, unless somebody else touched the peer. A revoked peer is removed
 * from the kernel later (kernel_sweep()), because that waits for every CPU. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "backend/isolate/isolate.h"
#include "backend/kernel/kernel.h"
#include "backend/wireguard/wireguard.h"

/* More than WireGuard takes on one interface: MAX_PEERS_PER_DEVICE in its peer.c. */
#define KERNEL_PEERS_MAX (1u << 20)
/* Changes for which a thread of their own pays. */
#define TOGETHER_LEAST 128

struct batch {
    struct backend *backend;
    struct kernel *k;
    const struct desired_change *changes;
    size_t count;
    struct problem *problem;
};

/* --- what cannot be --- */

static int check_change(const struct desired_change *change, struct problem *problem) {
    bool is_private = false;
    switch (change->kind) {
    case DESIRED_TENANT_SET:
        is_private = change->tenant.addressing == ADDRESSING_PRIVATE;
        break;
    case DESIRED_PEER_SET:
        is_private = change->peer.hub_address.family && change->peer.address.family &&
                     !ip_equal(&change->peer.hub_address, &change->peer.address);
        break;
    case DESIRED_PEER_REMOVE:
    case DESIRED_TENANT_REMOVE:
        break;
    }
    if (is_private) {
        problem_set(problem, PROBLEM_CONFLICT, "private-needs-engine", "addressing",
                    "WireGuard in the kernel has one address space: a tenant with private addressing needs the engine. "
                    "Set [backend] kind = engine.");
        return -EOPNOTSUPP;
    }
    return 0;
}

static int out_of_memory(struct problem *problem) {
    problem_set(problem, PROBLEM_INTERNAL, "out-of-memory", "", "Out of memory.");
    return -ENOMEM;
}

static int isolate_failed(const struct batch *batch, int error) {
    if (error == -ENOENT) {
        problem_set(batch->problem, PROBLEM_INTERNAL, "unknown-tenant", "",
                    "A router was to be added whose tenant the data plane does not know.");
        return error;
    }
    if (error == -ENOSPC) {
        problem_set(batch->problem, PROBLEM_EXHAUSTED, "kernel-full", "",
                    "The maps of %s are full: at most %u tenants and %u addresses. Set [backend] kind = engine.",
                    batch->k->interface_name, ISOLATE_TENANTS_MAX, ISOLATE_HOSTS_MAX);
        return error;
    }
    return kernel_fault(batch->k, error, "update the isolation maps of", batch->problem);
}

/* --- step 1 --- */

/* The addresses of `was` alone, as the fields they are in. */
static void addresses_lost(const struct desired_peer *was, const struct desired_peer *is,
                           struct desired_peer *ret_lost) {
    struct prefix is_list[KERNEL_ALLOWED_MAX];
    bool moved = memcmp(&was->tenant, &is->tenant, sizeof was->tenant) != 0;
    size_t is_count = moved ? 0 : kernel_allowed_of(is, is_list);
    struct desired_peer lost = *was;
    if (is_count && ip_equal(&was->address, &is->address)) {
        lost.address = lost.hub_address = (struct ip_addr){0};
    }
    if (is_count && ip_equal(&was->address6, &is->address6)) {
        lost.address6 = (struct ip_addr){0};
    }
    lost.lan_count =
        (uint32_t)kernel_allowed_without(was->lans, was->lan_count, is_list, is_count, lost.lans, ROUTER_LANS_MAX);
    *ret_lost = lost;
}

static int forget_peer(const struct batch *batch, const struct kernel_peer *peer, const struct desired_peer *is) {
    static const struct uuid nobody;
    struct desired_peer was, lost;
    kernel_peers_desired(&batch->k->peers, peer, &was);
    if (memcmp(&was.tenant, &nobody, sizeof nobody) == 0) {
        return 0; /* found in the kernel: the programs never knew it, or not as one tenant's */
    }
    if (!is) {
        return isolate_move(batch->k->isolate, &was, NULL);
    }
    addresses_lost(&was, is, &lost);
    if (!lost.address.family && !lost.address6.family && !lost.lan_count) {
        return 0;
    }
    return isolate_move(batch->k->isolate, &lost, NULL);
}

static int forget_tenant(const struct batch *batch, const struct uuid *id) {
    int rc = 0;
    const struct kernel_peers *peers = &batch->k->peers;
    for (struct kernel_peer *p = kernel_peers_of(peers, id); p && rc == 0; p = kernel_peers_next(peers, p)) {
        rc = forget_peer(batch, p, NULL);
    }
    return rc;
}

static int step_forget(const struct batch *batch) {
    int rc = 0;
    for (size_t i = 0; i < batch->count && rc == 0; i++) {
        const struct desired_change *change = &batch->changes[i];
        struct kernel_peer *peer = NULL;
        switch (change->kind) {
        case DESIRED_PEER_SET:
        case DESIRED_PEER_REMOVE:
            peer = kernel_peers_get(&batch->k->peers, &change->peer.public_key);
            if (peer && !kernel_peer_is_revoked(peer)) {
                rc = forget_peer(batch, peer, change->kind == DESIRED_PEER_SET ? &change->peer : NULL);
            }
            break;
        case DESIRED_TENANT_REMOVE:
            rc = forget_tenant(batch, &change->tenant.id);
            break;
        case DESIRED_TENANT_SET:
            break;
        }
    }
    return rc;
}

/* --- step 2 --- */

/* A peer that is not there, or about which nothing is sure: everything is said. Of one that is new to us the kernel may
 * yet know something, if it was adopted: what it allows is only added to, so that nothing of its is lost meanwhile, and
 * a keepalive, of which a server's configuration often has one, is taken back at once. */
static int put_whole(const struct batch *batch, const struct desired_peer *desired, bool is_new) {
    struct prefix allowed[KERNEL_ALLOWED_MAX];
    struct wireguard_change change = {
        .public_key = desired->public_key,
        .replace_allowed = !is_new,
        .has_keepalive = true, /* kept up by the router's side only */
        .allowed = allowed,
        .allowed_count = kernel_allowed_of(desired, allowed),
        /* Where it is now the kernel knows better, if it has the peer. */
        .endpoint = is_new ? &desired->endpoint : NULL,
    };
    if (!is_new || !key_is_zero(&desired->preshared_key)) {
        change.preshared_key = &desired->preshared_key;
    }
    return wireguard_put(batch->backend->wireguard, &change);
}

/* What differs from what was set. Nothing: nothing is said. */
static int put_differences(const struct batch *batch, const struct kernel_peer *peer,
                           const struct desired_peer *desired) {
    struct prefix was[KERNEL_ALLOWED_MAX], is[KERNEL_ALLOWED_MAX], more[KERNEL_ALLOWED_MAX], less[KERNEL_ALLOWED_MAX];
    struct desired_peer before;
    struct wireguard *w = batch->backend->wireguard;
    kernel_peers_desired(&batch->k->peers, peer, &before);
    size_t was_count = kernel_allowed_of(&before, was);
    size_t is_count = kernel_allowed_of(desired, is);
    struct wireguard_change change = {
        .public_key = desired->public_key,
        .allowed = more,
        .allowed_count = kernel_allowed_without(is, is_count, was, was_count, more, KERNEL_ALLOWED_MAX),
        .withdrawn = less,
        .withdrawn_count = kernel_allowed_without(was, was_count, is, is_count, less, KERNEL_ALLOWED_MAX),
    };
    if (peer->secret != kernel_peers_secret(&batch->k->peers, &desired->preshared_key)) {
        change.preshared_key = &desired->preshared_key;
    }
    if (!change.allowed_count && !change.withdrawn_count && !change.preshared_key) {
        return 0;
    }
    if (change.withdrawn_count) {
        int able = wireguard_can_withdraw(w, &desired->public_key, &less[0]);
        if (able < 0) {
            return able;
        }
        if (!able) {
            change.replace_allowed = true;
            change.withdrawn_count = 0;
            change.allowed = is;
            change.allowed_count = is_count;
        }
    }
    return wireguard_put(w, &change);
}

/* A revoked peer that comes back begins anew, with counters from zero, as one that was removed. */
static int put_again(const struct batch *batch, const struct desired_peer *desired) {
    struct wireguard_change gone = {.public_key = desired->public_key, .remove = true};
    int rc = wireguard_put(batch->backend->wireguard, &gone);
    return rc < 0 ? rc : put_whole(batch, desired, true);
}

static int set_peer(const struct batch *batch, const struct desired_peer *desired) {
    struct kernel *k = batch->k;
    struct kernel_peer *peer = kernel_peers_get(&k->peers, &desired->public_key);
    int rc;
    if (!peer) {
        rc = kernel_peers_count(&k->peers) < KERNEL_PEERS_MAX ? put_whole(batch, desired, true) : -ENOSPC;
    } else if (kernel_peer_is_revoked(peer)) {
        rc = put_again(batch, desired);
    } else if (peer->doubtful || peer->missing) {
        rc = put_whole(batch, desired, peer->missing);
    } else {
        rc = put_differences(batch, peer, desired);
    }
    if (rc < 0) {
        return rc;
    }
    bool counts_anew = !peer || kernel_peer_is_revoked(peer);
    peer = kernel_peers_keep(&k->peers, desired);
    if (!peer) {
        return -ENOMEM;
    }
    if (counts_anew) {
        peer->seen = 0;
    }
    peer->set_at = k->applied;
    peer->doubtful = peer->missing = false;
    return 0;
}

static int revoke(const struct batch *batch, struct kernel_peer *peer) {
    struct wireguard_change change = {.public_key = peer->public_key, .update_only = true, .replace_allowed = true};
    int rc = wireguard_put(batch->backend->wireguard, &change);
    if (rc == 0) {
        kernel_peers_revoke(&batch->k->peers, peer);
        peer->set_at = batch->k->applied;
    }
    return rc;
}

/* A peer that we never knew is nobody's session of ours: it goes at once. */
static int remove_peer(const struct batch *batch, const struct key *public_key) {
    struct kernel_peer *peer = kernel_peers_get(&batch->k->peers, public_key);
    struct wireguard_change unknown = {.public_key = *public_key, .remove = true};
    return peer ? revoke(batch, peer) : wireguard_put(batch->backend->wireguard, &unknown);
}

static int remove_tenant(const struct batch *batch, const struct uuid *id) {
    int rc = 0;
    for (struct kernel_peer *peer; rc == 0 && (peer = kernel_peers_of(&batch->k->peers, id));) {
        rc = revoke(batch, peer);
    }
    return rc;
}

static int step_wireguard(const struct batch *batch) {
    int rc = 0;
    for (size_t i = 0; i < batch->count && rc == 0; i++) {
        const struct desired_change *change = &batch->changes[i];
        switch (change->kind) {
        case DESIRED_PEER_SET:
            rc = set_peer(batch, &change->peer);
            break;
        case DESIRED_PEER_REMOVE:
            rc = remove_peer(batch, &change->peer.public_key);
            break;
        case DESIRED_TENANT_REMOVE:
            rc = remove_tenant(batch, &change->tenant.id);
            break;
        case DESIRED_TENANT_SET:
            break;
        }
    }
    return rc < 0 ? rc : wireguard_flush(batch->backend->wireguard);
}

/* --- step 3 --- */

static int learn_peer(const struct batch *batch, const struct key *public_key) {
    struct desired_peer is;
    const struct kernel_peer *peer = kernel_peers_get(&batch->k->peers, public_key);
    if (!peer || kernel_peer_is_revoked(peer)) {
        return 0; /* it was removed by a later change of the batch */
    }
    kernel_peers_desired(&batch->k->peers, peer, &is);
    return isolate_move(batch->k->isolate, NULL, &is);
}

static int step_learn(const struct batch *batch) {
    struct isolate *isolate = batch->k->isolate;
    int rc = 0;
    for (size_t i = 0; i < batch->count && rc == 0; i++) {
        const struct desired_change *change = &batch->changes[i];
        switch (change->kind) {
        case DESIRED_TENANT_SET:
            rc = isolate_set_tenant(isolate, &change->tenant);
            break;
        case DESIRED_TENANT_REMOVE:
            rc = isolate_flush(isolate);
            rc = rc < 0 ? rc : isolate_remove_tenant(isolate, &change->tenant.id);
            break;
        case DESIRED_PEER_SET:
            rc = learn_peer(batch, &change->peer.public_key);
            break;
        case DESIRED_PEER_REMOVE:
            break;
        }
    }
    int flushed = isolate_flush(isolate);
    return rc < 0 ? rc : flushed;
}

/* --- steps 2 and 3 together --- */

/* Whether all of the batch is new: no address is taken from anybody. A LAN may be on its way from one router to
 * another, one of them in another batch; a router's own address is free before it is given. */
static bool is_all_new(const struct batch *batch) {
    bool all_new = batch->count >= TOGETHER_LEAST;
    for (size_t i = 0; i < batch->count && all_new; i++) {
        const struct desired_change *change = &batch->changes[i];
        switch (change->kind) {
        case DESIRED_TENANT_SET:
            break;
        case DESIRED_PEER_SET:
            all_new = change->peer.lan_count == 0 && !kernel_peers_get(&batch->k->peers, &change->peer.public_key);
            break;
        case DESIRED_PEER_REMOVE:
        case DESIRED_TENANT_REMOVE:
            all_new = false;
            break;
        }
    }
    return all_new;
}

struct learning {
    const struct batch *batch;
    int rc;
};

/* Touches nothing but the programs' maps, which the other thread leaves alone. */
static void *learn_new(void *context) {
    struct learning *learning = context;
    const struct batch *batch = learning->batch;
    int rc = 0;
    for (size_t i = 0; i < batch->count && rc == 0; i++) {
        const struct desired_change *change = &batch->changes[i];
        rc = change->kind == DESIRED_TENANT_SET ? isolate_set_tenant(batch->k->isolate, &change->tenant)
                                                : isolate_move(batch->k->isolate, NULL, &change->peer);
    }
    int flushed = isolate_flush(batch->k->isolate);
    learning->rc = rc < 0 ? rc : flushed;
    return NULL;
}

/* --- the whole --- */

/* How far it came nobody knows: until they are set again, nothing is sure about these peers. */
static void doubt(const struct batch *batch) {
    struct kernel_peers *peers = &batch->k->peers;
    for (size_t i = 0; i < batch->count; i++) {
        const struct desired_change *change = &batch->changes[i];
        bool of_tenant = change->kind == DESIRED_TENANT_SET || change->kind == DESIRED_TENANT_REMOVE;
        struct kernel_peer *peer =
            of_tenant ? kernel_peers_of(peers, &change->tenant.id) : kernel_peers_get(peers, &change->peer.public_key);
        for (; peer; peer = of_tenant ? kernel_peers_next(peers, peer) : NULL) {
            peer->doubtful = true;
        }
    }
}

static int wireguard_failed(const struct batch *batch, int error) {
    if (error == -ENOMEM) {
        return out_of_memory(batch->problem);
    }
    if (error == -ENOSPC) {
        problem_set(batch->problem, PROBLEM_EXHAUSTED, "kernel-full", "",
                    "WireGuard in the kernel has at most %u peers on an interface. Set [backend] kind = engine.",
                    KERNEL_PEERS_MAX);
        return error;
    }
    return kernel_refused(batch->k, error, "change the peers of", batch->problem);
}

/* Who gets egress must find the masquerade there. It goes when nobody has egress any more, at the next comparison. */
static int prepare_egress(const struct batch *batch) {
    struct kernel *k = batch->k;
    unsigned touched = 0;
    bool egress = false;
    for (size_t i = 0; i < batch->count; i++) {
        egress |= batch->changes[i].kind == DESIRED_TENANT_SET && batch->changes[i].tenant.egress;
    }
    return egress && !k->masquerades && k->proven ? kernel_set_fence(k, k->listen_port, true, &touched, batch->problem)
                                                  : 0;
}

static int run(const struct batch *batch) {
    struct learning learning = {.batch = batch};
    pthread_t thread;
    bool together = is_all_new(batch) && pthread_create(&thread, NULL, learn_new, &learning) == 0;
    int forgotten = together ? 0 : step_forget(batch);
    int rc = forgotten < 0 ? 0 : step_wireguard(batch);
    if (together) {
        pthread_join(thread, NULL);
    }
    if (forgotten < 0) {
        return isolate_failed(batch, forgotten);
    }
    if (rc < 0) {
        return wireguard_failed(batch, rc);
    }
    rc = together ? learning.rc : step_learn(batch);
    return rc < 0 ? isolate_failed(batch, rc) : 0;
}

int kernel_apply(struct backend *b, const struct desired_change *changes, size_t count, struct problem *ret_problem) {
    struct kernel *k = b->kernel;
    struct batch batch = {.backend = b, .k = k, .changes = changes, .count = count, .problem = ret_problem};
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = check_change(&changes[i], ret_problem);
    }
    if (rc < 0 || count == 0) {
        return rc;
    }
    pthread_mutex_lock(&k->mutex);
    if (k->up) {
        k->applied++;
        rc = prepare_egress(&batch);
        rc = rc < 0 ? rc : run(&batch);
        if (rc < 0) {
            doubt(&batch);
        }
        k->settled = k->applied;
        kernel_calm_napi(k);
    } else {
        rc = kernel_away(k, ret_problem);
    }
    pthread_mutex_unlock(&k->mutex);
    return rc;
}
