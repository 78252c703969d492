/* What the kernel holds: dumps, compared with what was set. WireGuard tells nobody when somebody else changes a peer,
 * so every dump looks for that: peers that nobody set, that are missing, or that hold something else. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "backend/host/sentinel.h"
#include "backend/isolate/isolate.h"
#include "backend/kernel/kernel.h"
#include "backend/wireguard/wireguard.h"
#include "base/clock.h"

/* A patrol takes no more than this part of the time, and none waits longer than that for a small number of peers. */
#define PATROL_SHARE 50
#define PATROL_LEAST_NS NSEC_PER_SEC
/* After so many dumps that were disturbed, changes of our own wait for the next. */
#define PATIENCE 3
#define SWEEP_NS (100 * NSEC_PER_MSEC)
#define SWEEP_MANY 1000
#define SWEEP_MANY_NS (600 * NSEC_PER_MSEC)

struct look {
    struct kernel *k;
    bool whole;    /* every peer is asked for */
    bool held;     /* the mutex is held all along */
    uint32_t mark; /* of this dump, and its number */
    uint32_t since;
    uint32_t settled;    /* the last apply() that was over before it began */
    bool altered;        /* something is not as it was set */
    bool lacking;        /* a peer has less than was set; a dump during a change may make it look so */
    backend_peer_fn *fn; /* NULL: only compare */
    void *context;
};

/* Not cryptographic: two states of one peer are to differ, nobody gains by making them not. */
static uint64_t mix(uint64_t digest, uint64_t word) {
    digest = (digest ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return digest ^ digest >> 29;
}

static uint64_t digest_of(const struct wireguard_peer *peer) {
    uint64_t words[4] = {0};
    uint64_t digest = mix(1, peer->bytes_received);
    memcpy(words, &peer->endpoint, sizeof peer->endpoint < sizeof words ? sizeof peer->endpoint : sizeof words);
    digest = mix(mix(digest, peer->bytes_sent), (uint64_t)peer->last_handshake_at_us);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        digest = mix(digest, words[i]);
    }
    return digest;
}

/* Whether all of it is as it was set, which `ret_is` says in any case. */
static bool as_set(struct kernel *k, const struct kernel_peer *known, const struct wireguard_peer *peer,
                   struct desired_peer *ret_is) {
    struct prefix set[KERNEL_ALLOWED_MAX];
    kernel_peers_desired(&k->peers, known, ret_is);
    size_t count = kernel_allowed_of(ret_is, set);
    return peer->keepalive_s == 0 && known->secret == kernel_peers_secret(&k->peers, &peer->preshared_key) &&
           kernel_allowed_same(set, count, peer->allowed, peer->allowed_count);
}

/* Whether allowed IPs are missing and all else is as it was set. */
static bool lacks(struct kernel *k, const struct kernel_peer *known, const struct wireguard_peer *peer) {
    struct prefix set[KERNEL_ALLOWED_MAX], more[1];
    struct desired_peer is;
    kernel_peers_desired(&k->peers, known, &is);
    size_t count = kernel_allowed_of(&is, set);
    return peer->keepalive_s == 0 && known->secret == kernel_peers_secret(&k->peers, &peer->preshared_key) &&
           kernel_allowed_without(peer->allowed, peer->allowed_count, set, count, more, 1) == 0;
}

/* Whose it is as the programs see it, if they see all its addresses so. */
static bool owner_of(struct kernel *k, const struct wireguard_peer *peer, struct uuid *ret_tenant) {
    struct uuid tenant, other;
    for (size_t i = 0; i < peer->allowed_count; i++) {
        if (isolate_owner(k->isolate, &peer->allowed[i].addr, i ? &other : &tenant) < 0 ||
            (i && memcmp(&tenant, &other, sizeof tenant) != 0)) {
            return false;
        }
    }
    if (peer->allowed_count) {
        *ret_tenant = tenant;
    }
    return peer->allowed_count != 0;
}

/* Known from now on as it is: the caller compares that with what should be. If the programs see its addresses as one
 * tenant's, nothing else needs to be asked; if not, everything is said again when it is set. NULL: no memory. */
static struct kernel_peer *adopt(struct kernel *k, const struct wireguard_peer *peer, struct desired_peer *is) {
    struct kernel_peer *known;
    bool whole = kernel_allowed_part(peer->allowed, peer->allowed_count, k->pools, k->pool_count, is) &&
                 peer->keepalive_s == 0 && owner_of(k, peer, &is->tenant);
    is->preshared_key = peer->preshared_key;
    known = kernel_peers_keep(&k->peers, is);
    sodium_memzero(&is->preshared_key, sizeof is->preshared_key);
    if (known) {
        known->doubtful = !whole;
    }
    return known;
}

/* The caller asked for all and compares: what it is told must be what we know. */
static struct kernel_peer *judge_whole(struct look *look, struct kernel_peer *known, const struct wireguard_peer *peer,
                                       struct actual_peer *ret_actual) {
    struct kernel *k = look->k;
    if (known && as_set(k, known, peer, &ret_actual->is)) {
        ret_actual->foreign_allowed_ips = known->doubtful;
        return known;
    }
    ret_actual->is = (struct desired_peer){.public_key = peer->public_key};
    if (known && known->set_at > look->settled) {
        /* Being changed by us at this moment. */
        (void)kernel_allowed_part(peer->allowed, peer->allowed_count, k->pools, k->pool_count, &ret_actual->is);
        return known;
    }
    known = adopt(k, peer, &ret_actual->is);
    ret_actual->foreign_allowed_ips = !known || known->doubtful;
    return known;
}

/* The caller wants news of those that are known; others make him ask for all. */
static struct kernel_peer *judge_news(struct look *look, struct kernel_peer *known, const struct wireguard_peer *peer,
                                      struct actual_peer *ret_actual) {
    if (!known) {
        look->altered = true;
    } else if (!as_set(look->k, known, peer, &ret_actual->is) && known->set_at <= look->settled) {
        bool less = lacks(look->k, known, peer);
        look->lacking |= less;
        look->altered |= !less;
        known->doubtful |= !less;
    }
    return known;
}

/* Under the mutex. False: not to be told. */
static bool judge(struct look *look, const struct wireguard_peer *peer, struct actual_peer *ret_actual) {
    struct kernel_peer *known = kernel_peers_get(&look->k->peers, &peer->public_key);
    if (known && kernel_peer_is_revoked(known)) {
        known->heard = look->mark;
        if (peer->allowed_count == 0 || known->set_at > look->settled) {
            return false; /* on its way out */
        }
        known = NULL; /* somebody gave it addresses again */
    }
    known = (look->whole ? judge_whole : judge_news)(look, known, peer, ret_actual);
    if (!known) {
        return look->whole;
    }
    uint64_t digest = digest_of(peer);
    known->heard = look->mark;
    known->missing = false;
    if (known->seen != digest) {
        known->seen = digest;
        known->changed = look->mark;
    }
    return look->whole || known->changed > look->since;
}

static int look_at(void *context, const struct wireguard_peer *peer) {
    struct look *look = context;
    struct actual_peer actual = {0};
    if (!look->held) {
        pthread_mutex_lock(&look->k->mutex);
    }
    bool told = judge(look, peer, &actual) && look->fn;
    if (!look->held) {
        pthread_mutex_unlock(&look->k->mutex);
    }
    if (!told) {
        return 0;
    }
    actual.is.preshared_key = peer->preshared_key;
    actual.is.endpoint = peer->endpoint;
    actual.last_handshake_at_us = peer->last_handshake_at_us;
    actual.bytes_received = peer->bytes_received;
    actual.bytes_sent = peer->bytes_sent;
    int rc = look->fn(look->context, &actual);
    sodium_memzero(&actual.is.preshared_key, sizeof actual.is.preshared_key);
    return rc;
}

/* What was set and did not come. Under the mutex. */
static void find_missing(struct look *look) {
    struct kernel *k = look->k;
    size_t at = 0;
    for (struct kernel_peer *peer; (peer = hash_each(&k->peers.peers, &at));) {
        if (peer->heard != look->mark && peer->set_at <= look->settled && !kernel_peer_is_revoked(peer)) {
            peer->missing = true;
            look->altered = true;
        }
    }
}

/* The programs' maps against what was set: mends what a hand, or an end at the wrong moment, left in them. As long as a
 * peer is in doubt nothing is taken out, since what is its is not sure. Under the mutex. */
static void check_maps(struct kernel *k) {
    struct isolate_check *check = NULL;
    struct desired_peer is;
    unsigned touched = 0;
    size_t at = 0;
    bool sure = isolate_check_begin(k->isolate, &check) == 0;
    if (!sure) {
        return;
    }
    for (struct kernel_peer *peer; (peer = hash_each(&k->peers.peers, &at));) {
        if (kernel_peer_is_revoked(peer)) {
            continue;
        }
        kernel_peers_desired(&k->peers, peer, &is);
        if (!peer->doubtful && isolate_check_peer(check, &is, &touched) < 0) {
            peer->doubtful = true; /* the programs do not know its tenant: it has to be set again */
        }
        sure &= !peer->doubtful;
    }
    (void)isolate_check_end(check, sure, &touched);
}

/* One dump, and what it shows of others' doings. `ret_torn`: it may lack peers. */
static int look_once(struct backend *b, struct look *look, bool *ret_torn) {
    struct kernel *k = look->k;
    pthread_mutex_lock(&k->mutex);
    bool ready = k->up && k->configured;
    look->mark = ++k->mark;
    look->settled = k->settled;
    look->altered = look->lacking = false;
    uint32_t swept = k->swept;
    if (!look->held || !ready) {
        pthread_mutex_unlock(&k->mutex);
    }
    int rc = ready ? wireguard_dump(b->wireguard, NULL, look_at, look) : -ENOTCONN;
    if (!ready) {
        return rc;
    }
    *ret_torn = rc == -EAGAIN;
    if (!look->held) {
        pthread_mutex_lock(&k->mutex);
    }
    if (rc == 0) {
        find_missing(look);
        look->altered |= look->lacking;
    }
    if (rc == -ENODEV || rc == -EOPNOTSUPP) {
        k->up = false;
        rc = -ENOTCONN;
    }
    /* A peer that was removed meanwhile looks like one that nobody set. */
    look->altered &= k->compared && swept == k->swept;
    k->compared |= look->whole && rc == 0;
    if (look->whole && rc == 0 && k->up) {
        check_maps(k);
    }
    pthread_mutex_unlock(&k->mutex);
    return *ret_torn ? 0 : rc;
}

int kernel_each_peer(struct backend *b, uint64_t since, backend_peer_fn *fn, void *context, uint64_t *ret_now) {
    struct look look = {.k = b->kernel, .whole = since == 0, .since = (uint32_t)since, .fn = fn, .context = context};
    bool torn = false;
    int rc = look_once(b, &look, &torn);
    for (int i = 1; rc == 0 && torn && look.whole && i < WIREGUARD_ATTEMPTS; i++) {
        look.held = i >= PATIENCE;
        rc = look_once(b, &look, &torn);
    }
    if (rc == 0 && torn && look.whole) {
        rc = -EAGAIN; /* somebody changes it without end */
    }
    if (rc == 0 && ret_now) {
        *ret_now = look.mark;
    }
    /* Who asked for all compares by himself. */
    if (look.altered && !look.whole) {
        sentinel_ring(b->kernel->sentinel);
    }
    return rc;
}

void kernel_patrol(struct backend *b) {
    struct kernel *k = b->kernel;
    struct look look = {.k = k};
    bool torn = false;
    uint64_t begin = clock_mono_ns();
    pthread_mutex_lock(&k->mutex);
    bool due = k->up && k->compared && begin >= k->patrol_at_ns;
    pthread_mutex_unlock(&k->mutex);
    if (!due) {
        return;
    }
    (void)look_once(b, &look, &torn);
    uint64_t end = clock_mono_ns();
    uint64_t pause = (end - begin) * PATROL_SHARE;
    pthread_mutex_lock(&k->mutex);
    k->patrol_at_ns = end + (pause > PATROL_LEAST_NS ? pause : PATROL_LEAST_NS);
    pthread_mutex_unlock(&k->mutex);
    if (look.altered) {
        sentinel_ring(k->sentinel);
    }
}

/* One by one, so that a delta waits for at most one removal. */
static bool sweep_one(struct backend *b) {
    struct kernel *k = b->kernel;
    pthread_mutex_lock(&k->mutex);
    struct kernel_peer *peer = k->up ? kernel_peers_revoked(&k->peers) : NULL;
    bool more = peer != NULL;
    if (peer) {
        struct wireguard_change change = {.public_key = peer->public_key, .remove = true};
        int rc = wireguard_put(b->wireguard, &change);
        rc = rc < 0 ? rc : wireguard_flush(b->wireguard);
        if (rc == 0) {
            kernel_peers_remove(&k->peers, peer);
            k->swept++;
        }
        more = rc == 0 && kernel_peers_revoked(&k->peers);
    }
    pthread_mutex_unlock(&k->mutex);
    return more;
}

void kernel_sweep(struct backend *b) {
    pthread_mutex_lock(&b->kernel->mutex);
    uint64_t patience = b->kernel->peers.revoked_count > SWEEP_MANY ? SWEEP_MANY_NS : SWEEP_NS;
    pthread_mutex_unlock(&b->kernel->mutex);
    uint64_t end = clock_mono_ns() + patience;
    while (sweep_one(b) && clock_mono_ns() < end) {
    }
}
