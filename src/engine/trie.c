#include "engine/trie.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

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

struct trie_pool {
    bool concurrent;
    struct arena arenas[2]; /* IPv4, IPv6 */
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

int trie_pool_create(bool concurrent, struct trie_pool **ret_pool) {
    struct trie_pool *pool = calloc(1, sizeof *pool);
    if (!pool) {
        return -ENOMEM;
    }
    pool->concurrent = concurrent;
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
    free(pool);
}

size_t trie_pool_size(const struct trie_pool *pool) {
    size_t size = sizeof *pool;
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
    for (int family = 0; family < 2; family++) {
        struct arena *arena = &pool->arenas[family];
        if (arena->sealed || !arena->retired) {
            continue;
        }
        arena->sealed = arena->retired;
        arena->sealed_last = arena->retired_last;
        arena->sealed_count = arena->retired_count;
        arena->retired = 0;
        arena->retired_count = 0;
    }
}

void trie_pool_reclaim(struct trie_pool *pool) {
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
    for (;;) {
        uint32_t index = load(slot);
        if (!index) {
            store(slot, node_new(pool, arena, &bits, bits.length, value));
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
            store(&above->children[1 - side], node_new(pool, arena, &bits, bits.length, value));
        }
        store(slot, upper);
        break;
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
    uint32_t best = 0;
    for (uint32_t index = load(&trie->roots[0]); index;) {
        const struct node *node = node_at(arena, index);
        /* a shift by 32 is no shift in C: in 64 bits it is */
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
    uint32_t best = 0;
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

static struct prefix prefix_of(const struct arena *arena, const struct node *node) {
    struct prefix prefix = {.length = (uint8_t)node->length};
    uint32_t words = arena->words == 1 ? 1 : 4; /* bounded for the compiler's eyes */
    prefix.addr.family = words == 1 ? AF_INET : AF_INET6;
    for (uint32_t i = 0; i < words; i++) {
        be32_put(prefix.addr.bytes + (size_t)i * 4, node->key[i]);
    }
    return prefix;
}

int trie_each(const struct trie_pool *pool, const struct trie *trie, trie_fn *fn, void *context) {
    for (int family = 0; family < 2; family++) {
        const struct arena *arena = &pool->arenas[family];
        uint32_t stack[DEPTH_MAX + 1];
        uint32_t depth = 0;
        stack[depth++] = load(&trie->roots[family]);
        while (depth) {
            uint32_t index = stack[--depth];
            if (!index) {
                continue;
            }
            const struct node *node = node_at(arena, index);
            uint32_t value = load(&node->value);
            struct prefix prefix = prefix_of(arena, node);
            int stop = value ? fn(context, &prefix, value) : 0;
            if (stop) {
                return stop;
            }
            stack[depth++] = load(&node->children[1]);
            stack[depth++] = load(&node->children[0]);
        }
    }
    return 0;
}
