#include "engine/table/trie.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/prefetch.h"
#include "engine/table/table.h"

/* A node stands for the prefix key/length. With a value it is an entry; without one it has two children and only
 * branches. Children are longer prefixes inside it, chosen by the bit that follows it. Key and length never change once
 * the node can be reached; what does change is a word each. */
struct node {
    _Atomic uint32_t children[2];
    _Atomic uint32_t value; /* 0: branches only */
    uint32_t length;
    uint32_t key[]; /* host order words, most significant first; 1 or 4; then, in concurrent pools, the link */
};

#define CHUNK_BITS 16
#define CHUNK_NODES (UINT32_C(1) << CHUNK_BITS)
#define CHUNKS_MAX 1024
#define DEPTH_MAX 129
/* From how many hosts on a trie has the shortcut, and below how many it is dropped: fewer fit in a cache. */
#define HOSTS_MANY 1024
#define HOSTS_FEW 256

/* Nodes of one family. Index 0 is none. */
struct arena {
    char *chunks[CHUNKS_MAX]; /* owned; grows only, each is touched page by page */
    uint32_t stride;          /* bytes a node */
    uint32_t words;           /* of a key */
    uint32_t fresh;           /* the lowest index never given out */
    uint32_t free;            /* lists, linked by link_of() */
    uint32_t retired, retired_last;
    uint32_t sealed, sealed_last;
    size_t retired_count, sealed_count;
};

/* The host prefixes of one large trie: hash of the address -> host_value(). Some may be missing, none is wrong. */
struct trie_hosts {
    struct table table;
    struct trie_hosts *next; /* in the pool's list */
    struct trie_hosts **link;
};

struct trie_pool {
    bool concurrent;
    bool sealed;                    /* a barrier runs: what is retired now must wait for the next */
    uint8_t secret[TABLE_KEY_SIZE]; /* tenants choose addresses: they must not aim for slots */
    struct trie_hosts *hosts;       /* of all tries; owned */
    struct arena arenas[2];         /* IPv4, IPv6 */
};

/* A prefix or address in the trie's own form. */
struct bits {
    uint32_t key[4];
    uint32_t length;
};

static struct node *node_at(const struct arena *arena, uint32_t index) {
    return (struct node *)(void *)(arena->chunks[index >> CHUNK_BITS] +
                                   (size_t)(index & (CHUNK_NODES - 1)) * arena->stride);
}

static uint32_t load(const _Atomic uint32_t *word) {
    return atomic_load_explicit(word, memory_order_acquire);
}

/* Publishes: whoever sees the new word sees what was written before. */
static void store(_Atomic uint32_t *word, uint32_t value) {
    atomic_store_explicit(word, value, memory_order_release);
}

/* --- nodes --- */

/* Where a node that is out of use names the next of its list. Readers may still be on a retired node, so in a
 * concurrent pool the link has a word of its own. */
static uint32_t *link_of(const struct trie_pool *pool, const struct arena *arena, uint32_t index) {
    struct node *node = node_at(arena, index);
    return pool->concurrent ? &node->key[arena->words] : &node->length;
}

/* Memory for `count` more nodes: an insert needs two at most and must not stop half way. */
static bool reserve(const struct trie_pool *pool, struct arena *arena, uint32_t count) {
    for (uint32_t index = arena->free; count && index; count--) {
        index = *link_of(pool, arena, index);
    }
    if (arena->fresh + count > CHUNKS_MAX * CHUNK_NODES) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        char **chunk = &arena->chunks[(arena->fresh + i) >> CHUNK_BITS];
        if (!*chunk) {
            *chunk = malloc((size_t)CHUNK_NODES * arena->stride);
        }
        if (!*chunk) {
            return false;
        }
    }
    return true;
}

/* After reserve(); cannot fail. */
static uint32_t node_new(const struct trie_pool *pool, struct arena *arena, const struct bits *bits, uint32_t length,
                         uint32_t value) {
    uint32_t index = arena->free;
    if (index) {
        arena->free = *link_of(pool, arena, index);
    } else {
        index = arena->fresh++;
    }
    struct node *node = node_at(arena, index);
    atomic_init(&node->children[0], 0);
    atomic_init(&node->children[1], 0);
    atomic_init(&node->value, value);
    node->length = length;
    for (uint32_t i = 0; i < arena->words; i++) {
        uint32_t kept = length <= i * 32 ? 0 : length - i * 32;
        node->key[i] = kept == 0 ? 0 : kept >= 32 ? bits->key[i] : bits->key[i] & (UINT32_MAX << (32 - kept));
    }
    return index;
}

static void node_drop(struct trie_pool *pool, struct arena *arena, uint32_t index) {
    if (!pool->concurrent) {
        *link_of(pool, arena, index) = arena->free;
        arena->free = index;
        return;
    }
    *link_of(pool, arena, index) = arena->retired;
    arena->retired_last = arena->retired ? arena->retired_last : index;
    arena->retired = index;
    arena->retired_count++;
}

static void hosts_free(struct trie_hosts *hosts) {
    *hosts->link = hosts->next;
    if (hosts->next) {
        hosts->next->link = hosts->link;
    }
    table_free(&hosts->table);
    free(hosts);
}

int trie_pool_create(bool concurrent, struct trie_pool **ret_pool) {
    struct trie_pool *pool = calloc(1, sizeof *pool);
    if (!pool) {
        return -ENOMEM;
    }
    pool->concurrent = concurrent;
    randombytes_buf(pool->secret, sizeof pool->secret);
    for (uint32_t family = 0; family < 2; family++) {
        struct arena *arena = &pool->arenas[family];
        arena->words = family == 0 ? 1 : 4;
        arena->stride = (uint32_t)(sizeof(struct node) + (arena->words + (concurrent ? 1 : 0)) * sizeof(uint32_t));
        arena->fresh = 1;
    }
    *ret_pool = pool;
    return 0;
}

void trie_pool_free(struct trie_pool *pool) {
    if (!pool) {
        return;
    }
    for (int family = 0; family < 2; family++) {
        for (int i = 0; i < CHUNKS_MAX; i++) {
            free(pool->arenas[family].chunks[i]);
        }
    }
    while (pool->hosts) {
        hosts_free(pool->hosts);
    }
    sodium_memzero(pool->secret, sizeof pool->secret);
    free(pool);
}

size_t trie_pool_size(const struct trie_pool *pool) {
    size_t size = sizeof *pool;
    for (const struct trie_hosts *hosts = pool->hosts; hosts; hosts = hosts->next) {
        size += sizeof *hosts + table_size(&hosts->table);
    }
    for (int family = 0; family < 2; family++) {
        size += (size_t)(pool->arenas[family].fresh - 1) * pool->arenas[family].stride;
    }
    return size;
}

size_t trie_pool_retired(const struct trie_pool *pool) {
    size_t count = 0;
    for (int family = 0; family < 2; family++) {
        count += pool->arenas[family].retired_count + pool->arenas[family].sealed_count;
    }
    return count;
}

void trie_pool_seal(struct trie_pool *pool) {
    if (pool->sealed) {
        return;
    }
    pool->sealed = true;
    for (int family = 0; family < 2; family++) {
        struct arena *arena = &pool->arenas[family];
        arena->sealed = arena->retired;
        arena->sealed_last = arena->retired_last;
        arena->sealed_count = arena->retired_count;
        arena->retired = 0;
        arena->retired_count = 0;
    }
}

void trie_pool_reclaim(struct trie_pool *pool) {
    pool->sealed = false;
    for (int family = 0; family < 2; family++) {
        struct arena *arena = &pool->arenas[family];
        if (arena->sealed) {
            *link_of(pool, arena, arena->sealed_last) = arena->free;
            arena->free = arena->sealed;
            arena->sealed = 0;
            arena->sealed_count = 0;
        }
    }
}

/* --- bits --- */

/* The family's index, or -1. */
static int family_of(const struct ip_addr *addr) {
    return addr->family == AF_INET ? 0 : addr->family == AF_INET6 ? 1 : -1;
}

static int bits_from(const struct prefix *prefix, struct bits *ret_bits) {
    int family = family_of(&prefix->addr);
    if (family < 0 || prefix->length > ip_bits(&prefix->addr)) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        ret_bits->key[i] = be32_get(prefix->addr.bytes + i * 4);
    }
    ret_bits->length = prefix->length;
    return family;
}

static uint32_t bit_at(const uint32_t *key, uint32_t at) {
    return key[at / 32] >> (31 - at % 32) & 1;
}

/* How many leading bits are the same, at most `most`. */
static uint32_t common(const uint32_t *a, const uint32_t *b, uint32_t most) {
    for (uint32_t i = 0; i * 32 < most; i++) {
        uint32_t differs = a[i] ^ b[i];
        if (differs) {
            uint32_t same = i * 32 + (uint32_t)__builtin_clz(differs);
            return same < most ? same : most;
        }
    }
    return most;
}

/* --- the shortcut of a large trie --- */

static uint32_t host_value(int family, uint32_t index) {
    return index << 1 | (uint32_t)family;
}

struct sought_host {
    const struct arena *arena;
    int family;
    const uint32_t *key;
};

static bool is_sought_host(const void *context, uint32_t value, const void *key) {
    const struct sought_host *sought = context;
    (void)key;
    return (value & 1) == (uint32_t)sought->family &&
           memcmp(node_at(sought->arena, value >> 1)->key, sought->key, sought->arena->words * sizeof(uint32_t)) == 0;
}

static uint32_t host_hash(const struct trie_pool *pool, int family, const uint32_t *key) {
    return table_hash(pool->secret, key, pool->arenas[family].words * sizeof(uint32_t));
}

/* The value of exactly this host, or 0: then it may still be in the trie. */
static uint32_t hosts_lookup(const struct trie_pool *pool, const struct trie *trie, int family, const uint32_t *key) {
    struct sought_host sought = {.arena = &pool->arenas[family], .family = family, .key = key};
    uint32_t found = table_find(&trie->hosts->table, host_hash(pool, family, key), is_sought_host, &sought, NULL);
    return found ? load(&node_at(sought.arena, found >> 1)->value) : 0;
}

static bool is_host(const struct arena *arena, uint32_t index) {
    return node_at(arena, index)->length == arena->words * 32;
}

/* Without memory for it the host is merely found more slowly. */
static void hosts_add(const struct trie_pool *pool, struct trie_hosts *hosts, int family, uint32_t index) {
    const uint32_t *key = node_at(&pool->arenas[family], index)->key;
    (void)table_insert(&hosts->table, host_hash(pool, family, key), host_value(family, index));
}

static void hosts_create(struct trie_pool *pool, struct trie *trie) {
    struct trie_hosts *hosts = calloc(1, sizeof *hosts);
    if (!hosts) {
        return;
    }
    hosts->next = pool->hosts;
    hosts->link = &pool->hosts;
    if (hosts->next) {
        hosts->next->link = &hosts->next;
    }
    pool->hosts = hosts;
    trie->hosts = hosts;
    for (int family = 0; family < 2; family++) {
        uint32_t stack[DEPTH_MAX + 1];
        uint32_t depth = 0;
        stack[depth++] = load(&trie->roots[family]);
        while (depth) {
            uint32_t index = stack[--depth];
            if (!index) {
                continue;
            }
            const struct node *node = node_at(&pool->arenas[family], index);
            if (is_host(&pool->arenas[family], index)) {
                hosts_add(pool, hosts, family, index);
            }
            stack[depth++] = load(&node->children[0]);
            stack[depth++] = load(&node->children[1]);
        }
    }
}

static void host_added(struct trie_pool *pool, struct trie *trie, int family, uint32_t index) {
    trie->host_count++;
    if (trie->hosts) {
        hosts_add(pool, trie->hosts, family, index);
    } else if (trie->host_count >= HOSTS_MANY && !pool->concurrent) {
        hosts_create(pool, trie);
    }
}

/* Before the node goes. */
static void host_removed(struct trie_pool *pool, struct trie *trie, int family, uint32_t index) {
    trie->host_count--;
    if (!trie->hosts) {
        return;
    }
    const uint32_t *key = node_at(&pool->arenas[family], index)->key;
    (void)table_remove(&trie->hosts->table, host_hash(pool, family, key), host_value(family, index));
    if (trie->host_count < HOSTS_FEW) {
        hosts_free(trie->hosts);
        trie->hosts = NULL;
    }
}

/* --- the writer --- */

int trie_insert(struct trie_pool *pool, struct trie *trie, const struct prefix *prefix, uint32_t value,
                uint32_t *ret_previous) {
    struct bits bits;
    int family = bits_from(prefix, &bits);
    if (family < 0 || !value) {
        return -EINVAL;
    }
    struct arena *arena = &pool->arenas[family];
    if (!reserve(pool, arena, 2)) {
        return -ENOMEM;
    }
    _Atomic uint32_t *slot = &trie->roots[family];
    uint32_t previous = 0;
    uint32_t added = 0; /* the node of the new prefix, if it is one that may be a host's */
    for (;;) {
        uint32_t index = load(slot);
        if (!index) {
            added = node_new(pool, arena, &bits, bits.length, value);
            store(slot, added);
            break;
        }
        struct node *node = node_at(arena, index);
        uint32_t same = common(bits.key, node->key, bits.length < node->length ? bits.length : node->length);
        if (same == node->length && same < bits.length) {
            slot = &node->children[bit_at(bits.key, same)];
            continue;
        }
        if (same == node->length) { /* this very prefix */
            previous = load(&node->value);
            store(&node->value, value);
            break;
        }
        /* the node is inside the new prefix, or both are inside a shorter one, where they part */
        bool inside = same == bits.length;
        uint32_t upper = node_new(pool, arena, &bits, same, inside ? value : 0);
        struct node *above = node_at(arena, upper);
        uint32_t side = bit_at(node->key, same);
        store(&above->children[side], index);
        if (!inside) {
            added = node_new(pool, arena, &bits, bits.length, value);
            store(&above->children[1 - side], added);
        }
        store(slot, upper);
        break;
    }
    if (added && is_host(arena, added)) {
        host_added(pool, trie, family, added);
    }
    if (ret_previous) {
        *ret_previous = previous;
    }
    return 0;
}

/* Puts a node that has no value and at most one child out of the way. False if it must stay, as a branch. */
static bool splice(struct trie_pool *pool, struct arena *arena, _Atomic uint32_t *slot) {
    uint32_t index = load(slot);
    struct node *node = node_at(arena, index);
    uint32_t left = load(&node->children[0]);
    uint32_t right = load(&node->children[1]);
    if (load(&node->value) || (left && right)) {
        return false;
    }
    store(slot, left ? left : right);
    node_drop(pool, arena, index);
    return true;
}

int trie_remove(struct trie_pool *pool, struct trie *trie, const struct prefix *prefix, uint32_t value) {
    struct bits bits;
    int family = bits_from(prefix, &bits);
    if (family < 0) {
        return -ENOENT;
    }
    struct arena *arena = &pool->arenas[family];
    _Atomic uint32_t *slot = &trie->roots[family];
    _Atomic uint32_t *above = NULL; /* what points to the node that `slot` is in */
    for (;;) {
        uint32_t index = load(slot);
        if (!index) {
            return -ENOENT;
        }
        struct node *node = node_at(arena, index);
        if (node->length > bits.length || common(bits.key, node->key, node->length) < node->length) {
            return -ENOENT;
        }
        if (node->length == bits.length) {
            if (!value || load(&node->value) != value) {
                return -ENOENT;
            }
            if (is_host(arena, index)) {
                host_removed(pool, trie, family, index);
            }
            store(&node->value, 0);
            break;
        }
        above = slot;
        slot = &node->children[bit_at(bits.key, node->length)];
    }
    if (splice(pool, arena, slot) && above) {
        splice(pool, arena, above); /* it may have been a branch to this one */
    }
    return 0;
}

void trie_clear(struct trie_pool *pool, struct trie *trie) {
    if (trie->hosts) {
        hosts_free(trie->hosts);
        trie->hosts = NULL;
    }
    trie->host_count = 0;
    for (int family = 0; family < 2; family++) {
        struct arena *arena = &pool->arenas[family];
        uint32_t stack[DEPTH_MAX + 1];
        uint32_t depth = 0;
        stack[depth++] = load(&trie->roots[family]);
        store(&trie->roots[family], 0);
        while (depth) {
            uint32_t index = stack[--depth];
            if (index) {
                struct node *node = node_at(arena, index);
                stack[depth++] = load(&node->children[0]);
                stack[depth++] = load(&node->children[1]);
                node_drop(pool, arena, index);
            }
        }
    }
}

/* --- readers --- */

uint32_t trie_lookup4(const struct trie_pool *pool, const struct trie *trie, const uint8_t addr[4]) {
    const struct arena *arena = &pool->arenas[0];
    uint32_t key = be32_get(addr);
    uint32_t best = trie->hosts ? hosts_lookup(pool, trie, 0, &key) : 0;
    if (best) {
        return best;
    }
    for (uint32_t index = load(&trie->roots[0]); index;) {
        const struct node *node = node_at(arena, index);
        /* a shift by 32 is undefined in C: in 64 bits it is */
        if ((uint64_t)(key ^ node->key[0]) >> (32 - node->length)) {
            break;
        }
        uint32_t value = load(&node->value);
        best = value ? value : best;
        if (node->length == 32) {
            break;
        }
        index = load(&node->children[key >> (31 - node->length) & 1]);
    }
    return best;
}

uint32_t trie_lookup6(const struct trie_pool *pool, const struct trie *trie, const uint8_t addr[16]) {
    const struct arena *arena = &pool->arenas[1];
    uint32_t key[4] = {be32_get(addr), be32_get(addr + 4), be32_get(addr + 8), be32_get(addr + 12)};
    uint32_t best = trie->hosts ? hosts_lookup(pool, trie, 1, key) : 0;
    if (best) {
        return best;
    }
    for (uint32_t index = load(&trie->roots[1]); index;) {
        const struct node *node = node_at(arena, index);
        if (common(key, node->key, node->length) < node->length) {
            break;
        }
        uint32_t value = load(&node->value);
        best = value ? value : best;
        if (node->length == 128) {
            break;
        }
        index = load(&node->children[bit_at(key, node->length)]);
    }
    return best;
}

uint32_t trie_lookup(const struct trie_pool *pool, const struct trie *trie, const struct ip_addr *addr) {
    int family = family_of(addr);
    return family == 0   ? trie_lookup4(pool, trie, addr->bytes)
           : family == 1 ? trie_lookup6(pool, trie, addr->bytes)
                         : 0;
}

void trie_prefetch(const struct trie_pool *pool, const struct trie *trie, uint8_t family) {
    const struct arena *arena = &pool->arenas[family == AF_INET6];
    uint32_t root = load(&trie->roots[family == AF_INET6]);
    if (root) {
        const struct node *node = node_at(arena, root);
        prefetch(node, sizeof *node);
    }
}

uint32_t trie_get(const struct trie_pool *pool, const struct trie *trie, const struct prefix *prefix) {
    struct bits bits;
    int family = bits_from(prefix, &bits);
    if (family < 0) {
        return 0;
    }
    const struct arena *arena = &pool->arenas[family];
    for (uint32_t index = load(&trie->roots[family]); index;) {
        const struct node *node = node_at(arena, index);
        if (node->length > bits.length || common(bits.key, node->key, node->length) < node->length) {
            break;
        }
        if (node->length == bits.length) {
            return load(&node->value);
        }
        index = load(&node->children[bit_at(bits.key, node->length)]);
    }
    return 0;
}
