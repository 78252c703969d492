#include "backend/kernel/peers.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void kernel_peers_open(struct kernel_peers *peers) {
    *peers = (struct kernel_peers){.revoked = HASH_NONE};
    hash_open(&peers->peers, sizeof(struct key), sizeof(struct kernel_peer));
    hash_open(&peers->tenants, sizeof(struct uuid), sizeof(struct kernel_tenant));
    randombytes_buf(peers->digest_key, sizeof peers->digest_key);
}

void kernel_peers_free(struct kernel_peers *peers) {
    size_t at = 0;
    for (struct kernel_peer *peer; (peer = hash_each(&peers->peers, &at));) {
        free(peer->lans);
    }
    hash_free(&peers->peers);
    hash_free(&peers->tenants);
    peers->revoked = HASH_NONE;
    peers->revoked_count = 0;
}

size_t kernel_peers_count(const struct kernel_peers *peers) {
    return peers->peers.count - peers->revoked_count;
}

struct kernel_peer *kernel_peers_get(const struct kernel_peers *peers, const struct key *public_key) {
    return hash_get(&peers->peers, public_key);
}

/* --- lists --- */

static struct kernel_peer *numbered(const struct kernel_peers *peers, uint32_t number) {
    return number == HASH_NONE ? NULL : hash_at(&peers->peers, number);
}

static uint32_t *head_of(struct kernel_peers *peers, uint32_t tenant) {
    if (tenant == HASH_NONE) {
        return &peers->revoked;
    }
    struct kernel_tenant *entry = hash_at(&peers->tenants, tenant);
    return &entry->first;
}

static void chain(struct kernel_peers *peers, struct kernel_peer *peer, uint32_t tenant) {
    uint32_t *head = head_of(peers, tenant);
    struct kernel_peer *second = numbered(peers, *head);
    uint32_t number = hash_number(&peers->peers, peer);
    peer->tenant = tenant;
    peer->next = *head;
    peer->previous = HASH_NONE;
    if (second) {
        second->previous = number;
    }
    *head = number;
    peers->revoked_count += tenant == HASH_NONE;
}

static void unchain(struct kernel_peers *peers, struct kernel_peer *peer) {
    struct kernel_peer *next = numbered(peers, peer->next);
    struct kernel_peer *previous = numbered(peers, peer->previous);
    uint32_t *head = head_of(peers, peer->tenant);
    *(previous ? &previous->next : head) = peer->next;
    if (next) {
        next->previous = peer->previous;
    }
    peers->revoked_count -= kernel_peer_is_revoked(peer);
    if (!kernel_peer_is_revoked(peer) && *head == HASH_NONE) {
        hash_remove(&peers->tenants, hash_at(&peers->tenants, peer->tenant));
    }
}

struct kernel_peer *kernel_peers_of(const struct kernel_peers *peers, const struct uuid *tenant) {
    const struct kernel_tenant *entry = hash_get(&peers->tenants, tenant);
    return entry ? numbered(peers, entry->first) : NULL;
}

struct kernel_peer *kernel_peers_revoked(const struct kernel_peers *peers) {
    return numbered(peers, peers->revoked);
}

struct kernel_peer *kernel_peers_next(const struct kernel_peers *peers, const struct kernel_peer *peer) {
    return numbered(peers, peer->next);
}

/* --- peers --- */

static uint32_t tenant_number(struct kernel_peers *peers, const struct uuid *id) {
    uint32_t before = peers->tenants.count;
    struct kernel_tenant *tenant = hash_put(&peers->tenants, id);
    if (!tenant) {
        return HASH_NONE;
    }
    if (peers->tenants.count > before) {
        tenant->first = HASH_NONE;
    }
    return hash_number(&peers->tenants, tenant);
}

static void drop_tenant_without_peers(struct kernel_peers *peers, uint32_t number) {
    struct kernel_tenant *tenant = hash_at(&peers->tenants, number);
    if (tenant->first == HASH_NONE) {
        hash_remove(&peers->tenants, tenant);
    }
}

static void keep_addresses(struct kernel_peer *peer, const struct desired_peer *desired) {
    static const uint8_t none[sizeof peer->address6];
    peer->address = desired->address.family == AF_INET ? ip_to_v4(&desired->address) : 0;
    memcpy(peer->address6, desired->address6.family == AF_INET6 ? desired->address6.bytes : none,
           sizeof peer->address6);
}

struct kernel_peer *kernel_peers_keep(struct kernel_peers *peers, const struct desired_peer *desired) {
    struct prefix *lans = NULL;
    uint32_t before = peers->peers.count;
    if (desired->lan_count) {
        lans = malloc(desired->lan_count * sizeof *lans);
        if (!lans) {
            return NULL;
        }
        memcpy(lans, desired->lans, desired->lan_count * sizeof *lans);
    }
    uint32_t tenant = tenant_number(peers, &desired->tenant);
    struct kernel_peer *peer = tenant == HASH_NONE ? NULL : hash_put(&peers->peers, &desired->public_key);
    if (!peer) {
        if (tenant != HASH_NONE) {
            drop_tenant_without_peers(peers, tenant);
        }
        free(lans);
        return NULL;
    }
    bool made = peers->peers.count > before;
    if (!made && peer->tenant != tenant) {
        unchain(peers, peer);
    }
    if (made || peer->tenant != tenant) {
        chain(peers, peer, tenant);
    }
    free(peer->lans);
    peer->lans = lans;
    peer->lan_count = (uint8_t)desired->lan_count;
    peer->secret = kernel_peers_secret(peers, &desired->preshared_key);
    keep_addresses(peer, desired);
    return peer;
}

static void forget_addresses(struct kernel_peer *peer) {
    free(peer->lans);
    peer->lans = NULL;
    peer->lan_count = 0;
    peer->address = 0;
    memset(peer->address6, 0, sizeof peer->address6);
}

void kernel_peers_revoke(struct kernel_peers *peers, struct kernel_peer *peer) {
    forget_addresses(peer);
    if (!kernel_peer_is_revoked(peer)) {
        unchain(peers, peer);
        chain(peers, peer, HASH_NONE);
    }
}

void kernel_peers_remove(struct kernel_peers *peers, struct kernel_peer *peer) {
    forget_addresses(peer);
    unchain(peers, peer);
    hash_remove(&peers->peers, peer);
}

void kernel_peers_desired(const struct kernel_peers *peers, const struct kernel_peer *peer,
                          struct desired_peer *ret_desired) {
    memset(ret_desired, 0, sizeof *ret_desired);
    ret_desired->public_key = peer->public_key;
    if (!kernel_peer_is_revoked(peer)) {
        const struct kernel_tenant *tenant = hash_at(&peers->tenants, peer->tenant);
        ret_desired->tenant = tenant->id;
    }
    if (peer->address) {
        ret_desired->address = ip_from_v4(peer->address);
        ret_desired->hub_address = ret_desired->address;
    }
    if (!sodium_is_zero(peer->address6, sizeof peer->address6)) {
        ret_desired->address6.family = AF_INET6;
        memcpy(ret_desired->address6.bytes, peer->address6, sizeof peer->address6);
    }
    ret_desired->lan_count = peer->lan_count;
    if (peer->lan_count) {
        memcpy(ret_desired->lans, peer->lans, peer->lan_count * sizeof *peer->lans);
    }
}

uint64_t kernel_peers_secret(const struct kernel_peers *peers, const struct key *preshared_key) {
    uint8_t digest[crypto_shorthash_BYTES];
    crypto_shorthash(digest, preshared_key->bytes, sizeof preshared_key->bytes, peers->digest_key);
    return le64_get(digest);
}

/* --- allowed IPs --- */

size_t kernel_allowed_of(const struct desired_peer *peer, struct prefix ret_list[KERNEL_ALLOWED_MAX]) {
    const struct ip_addr *hosts[] = {&peer->address, &peer->address6};
    size_t count = 0;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        if (hosts[i]->family) {
            ret_list[count++] = (struct prefix){.addr = *hosts[i], .length = ip_bits(hosts[i])};
        }
    }
    for (uint32_t i = 0; i < peer->lan_count && i < ROUTER_LANS_MAX; i++) {
        ret_list[count++] = peer->lans[i];
    }
    return count;
}

static bool has(const struct prefix *list, size_t count, const struct prefix *prefix) {
    for (size_t i = 0; i < count; i++) {
        if (prefix_equal(&list[i], prefix)) {
            return true;
        }
    }
    return false;
}

bool kernel_allowed_same(const struct prefix *a, size_t a_count, const struct prefix *b, size_t b_count) {
    bool same = a_count == b_count;
    for (size_t i = 0; i < a_count && same; i++) {
        same = has(b, b_count, &a[i]);
    }
    return same;
}

size_t kernel_allowed_without(const struct prefix *a, size_t a_count, const struct prefix *b, size_t b_count,
                              struct prefix *ret_list, size_t room) {
    size_t count = 0;
    for (size_t i = 0; i < a_count && count < room; i++) {
        if (!has(b, b_count, &a[i])) {
            ret_list[count++] = a[i];
        }
    }
    return count;
}

static bool is_own(const struct prefix *prefix, const struct prefix *pools, size_t pool_count) {
    bool own = false;
    for (size_t i = 0; i < pool_count && prefix->length == ip_bits(&prefix->addr); i++) {
        own |= prefix_contains(&pools[i], &prefix->addr);
    }
    return own;
}

static int by_prefix(const void *a, const void *b) {
    return prefix_compare(a, b);
}

bool kernel_allowed_part(const struct prefix *list, size_t count, const struct prefix *pools, size_t pool_count,
                         struct desired_peer *peer) {
    bool fits = true;
    peer->lan_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct ip_addr *own = list[i].addr.family == AF_INET ? &peer->address : &peer->address6;
        if (!own->family && is_own(&list[i], pools, pool_count)) {
            *own = list[i].addr;
        } else if (peer->lan_count < ROUTER_LANS_MAX) {
            peer->lans[peer->lan_count++] = list[i];
        } else {
            fits = false;
        }
    }
    peer->hub_address = peer->address;
    qsort(peer->lans, peer->lan_count, sizeof *peer->lans, by_prefix);
    return fits;
}
