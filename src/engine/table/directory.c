#include "engine/table/directory.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/prefetch.h"
#include "engine/table/trie.h"

#define CAPACITY_MIN 64
#define SECRET_SIZE crypto_shorthash_KEYBYTES

/* Three hash tables of one form: open addressing over words that are stored and loaded as a whole, tag in the upper
 * bits and payload in the lower.
 *
 *     KEYS    fingerprint (56) | worker (8)
 *     HOSTS4  address (32)     | id (32)
 *     HOSTS6  hash (32)        | id (32), and the address beside it
 *
 * Entries never move. When an array fills up, with entries or graves, the writer builds another, publishes it by one
 * store and retires the old one; so a reader that holds an array finds every entry that it should.
 *
 * An address of HOSTS6 is written before its word and stays: a grave there is not used again, since a reader may still
 * be comparing. */
enum kind {
    KEYS,
    HOSTS4,
    HOSTS6,
};
#define KINDS 3

#define FREE UINT64_C(0)  /* never used: a search ends here */
#define GRAVE UINT64_C(1) /* was used: a search goes on. No entry has a tag of 0 */

struct array {
    struct array *next; /* in the list of retired ones */
    size_t size;        /* bytes, all of it */
    uint32_t capacity;
    uint32_t used;  /* entries */
    uint32_t taken; /* entries and graves */
    uint8_t secret[SECRET_SIZE];
    uint8_t (*addrs)[16]; /* HOSTS6: behind the words */
    _Atomic uint64_t words[];
};

struct directory {
    /* read by all */
    _Atomic(struct array *) arrays[KINDS];
    struct trie_pool *pool;
    struct trie trie; /* the prefixes that are not a host's */

    /* control thread */
    size_t trie_count;
    struct array *rekeyed; /* being filled, not published */
    struct array *retired, *sealed;
    bool is_sealed; /* a barrier runs: what is retired now must wait for the next */
};

/* What a search looks for. */
struct sought {
    uint64_t hash; /* its upper half chooses the slot */
    uint64_t tag;
    uint64_t mask;
    const uint8_t *addr; /* HOSTS6, else NULL */
};

/* --- one array --- */

static struct array *array_new(enum kind kind, size_t used, const uint8_t secret[SECRET_SIZE]) {
    size_t capacity = used * 7 / 4; /* 57 % full now, 75 % when it is renewed */
    capacity = capacity < CAPACITY_MIN ? CAPACITY_MIN : capacity;
    size_t size = sizeof(struct array) + capacity * (kind == HOSTS6 ? sizeof(uint64_t) + 16 : sizeof(uint64_t));
    struct array *array = capacity <= UINT32_MAX ? calloc(1, size) : NULL;
    if (!array) {
        return NULL;
    }
    array->size = size;
    array->capacity = (uint32_t)capacity;
    array->addrs = kind == HOSTS6 ? (uint8_t(*)[16])(void *)(array->words + capacity) : NULL;
    memcpy(array->secret, secret, SECRET_SIZE);
    return array;
}

static void array_free(struct array *array) {
    if (array) {
        sodium_memzero(array->secret, SECRET_SIZE);
        free(array);
    }
}

static uint64_t load(const struct array *a, uint32_t at) {
    return atomic_load_explicit(&a->words[at], memory_order_acquire);
}

static void store(struct array *a, uint32_t at, uint64_t word) {
    atomic_store_explicit(&a->words[at], word, memory_order_release);
}

static uint32_t after(const struct array *a, uint32_t at) {
    return at + 1 == a->capacity ? 0 : at + 1;
}

static uint32_t home(const struct array *a, uint64_t hash) {
    return (uint32_t)((hash >> 32) * a->capacity >> 32);
}

static uint64_t hash_bytes(const struct array *a, const void *bytes, size_t size) {
    uint8_t out[crypto_shorthash_BYTES];
    crypto_shorthash(out, bytes, size, a->secret);
    return le64_get(out);
}

static struct sought seek_key(const struct array *a, const struct key *key) {
    uint64_t fingerprint = hash_bytes(a, key->bytes, sizeof key->bytes) & ~UINT64_C(0xff);
    fingerprint = fingerprint ? fingerprint : UINT64_C(1) << 8;
    return (struct sought){.hash = fingerprint, .tag = fingerprint, .mask = ~UINT64_C(0xff)};
}

static struct sought seek_host4(const struct array *a, const uint8_t addr[4]) {
    return (struct sought){
        .hash = hash_bytes(a, addr, 4), .tag = (uint64_t)be32_get(addr) << 32, .mask = ~UINT64_C(0xffffffff)};
}

static struct sought seek_host6(const struct array *a, const uint8_t addr[16]) {
    uint64_t hash = hash_bytes(a, addr, 16) & ~UINT64_C(0xffffffff);
    hash = hash ? hash : UINT64_C(1) << 32;
    return (struct sought){.hash = hash, .tag = hash, .mask = ~UINT64_C(0xffffffff), .addr = addr};
}

/* The word of what is sought, or FREE. `ret_at` (may be NULL) gets its slot. */
static uint64_t find(const struct array *a, const struct sought *sought, uint32_t *ret_at) {
    for (uint32_t at = home(a, sought->hash);; at = after(a, at)) {
        uint64_t word = load(a, at);
        if (word == FREE) {
            return FREE;
        }
        if ((word & sought->mask) == sought->tag && (!sought->addr || memcmp(a->addrs[at], sought->addr, 16) == 0)) {
            if (ret_at) {
                *ret_at = at;
            }
            return word;
        }
    }
}

/* Adds what is not there yet; there is room. */
static void add(struct array *a, const struct sought *sought, uint64_t payload) {
    uint32_t at = home(a, sought->hash);
    while (load(a, at) != FREE && (load(a, at) != GRAVE || sought->addr)) {
        at = after(a, at);
    }
    a->used++;
    a->taken += load(a, at) == FREE;
    if (sought->addr) {
        memcpy(a->addrs[at], sought->addr, 16);
    }
    store(a, at, sought->tag | payload);
}

static void bury(struct array *a, uint32_t at) {
    a->used--;
    store(a, at, GRAVE);
    if (a->addrs || load(a, after(a, at)) != FREE) {
        return;
    }
    while (load(a, at) == GRAVE) { /* no search goes past the end of a run: graves there are free again */
        store(a, at, FREE);
        a->taken--;
        at = at == 0 ? a->capacity - 1 : at - 1;
    }
}

static bool has_room(const struct array *a) {
    return ((uint64_t)a->taken + 1) * 4 <= (uint64_t)a->capacity * 3;
}

/* How an entry of one array is sought in another with the same secret. */
static struct sought seek_again(enum kind kind, const struct array *a, uint32_t at) {
    uint64_t word = load(a, at);
    uint8_t addr[4];
    switch (kind) {
    case KEYS:
        return (struct sought){.hash = word & ~UINT64_C(0xff), .tag = word & ~UINT64_C(0xff)};
    case HOSTS4:
        be32_put(addr, (uint32_t)(word >> 32));
        return seek_host4(a, addr);
    case HOSTS6:
        break;
    }
    word &= ~UINT64_C(0xffffffff);
    return (struct sought){.hash = word, .tag = word, .addr = a->addrs[at]};
}

/* --- the published arrays --- */

static struct array *current(const struct directory *d, enum kind kind) {
    return atomic_load_explicit(&d->arrays[kind], memory_order_acquire);
}

static void retire(struct directory *d, struct array *array) {
    array->next = d->retired;
    d->retired = array;
}

static void publish(struct directory *d, enum kind kind, struct array *array) {
    retire(d, current(d, kind));
    atomic_store_explicit(&d->arrays[kind], array, memory_order_release);
}

/* An array of this kind with room for one more. */
static int make_room(struct directory *d, enum kind kind, struct array **ret_array) {
    struct array *old = current(d, kind);
    if (has_room(old)) {
        *ret_array = old;
        return 0;
    }
    struct array *fresh = array_new(kind, old->used + 1, old->secret);
    if (!fresh) {
        return -ENOMEM;
    }
    for (uint32_t at = 0; at < old->capacity; at++) {
        uint64_t word = load(old, at);
        if (word > GRAVE) {
            struct sought sought = seek_again(kind, old, at);
            add(fresh, &sought, word ^ sought.tag);
        }
    }
    publish(d, kind, fresh);
    *ret_array = fresh;
    return 0;
}

int directory_create(struct directory **ret_directory) {
    int error = -ENOMEM;
    struct directory *d = calloc(1, sizeof *d);
    if (!d) {
        return error;
    }
    for (int kind = 0; kind < KINDS; kind++) {
        uint8_t secret[SECRET_SIZE];
        randombytes_buf(secret, sizeof secret);
        struct array *array = array_new((enum kind)kind, 0, secret);
        sodium_memzero(secret, sizeof secret);
        if (!array) {
            goto fail;
        }
        atomic_init(&d->arrays[kind], array);
    }
    error = trie_pool_create(true, &d->pool);
    if (error) {
        goto fail;
    }
    *ret_directory = d;
    return 0;

fail:
    directory_free(d);
    return error;
}

static void free_list(struct array *list) {
    while (list) {
        struct array *next = list->next;
        array_free(list);
        list = next;
    }
}

void directory_free(struct directory *directory) {
    if (!directory) {
        return;
    }
    for (int kind = 0; kind < KINDS; kind++) {
        array_free(current(directory, (enum kind)kind));
    }
    array_free(directory->rekeyed);
    free_list(directory->retired);
    free_list(directory->sealed);
    trie_pool_free(directory->pool);
    free(directory);
}

bool directory_seal(struct directory *directory) {
    if (!directory->is_sealed) {
        directory->is_sealed = directory->retired || trie_pool_retired(directory->pool) > 0;
        directory->sealed = directory->retired;
        directory->retired = NULL;
        if (directory->is_sealed) {
            trie_pool_seal(directory->pool);
        }
    }
    return directory->is_sealed;
}

void directory_reclaim(struct directory *directory) {
    free_list(directory->sealed);
    directory->sealed = NULL;
    directory->is_sealed = false;
    trie_pool_reclaim(directory->pool);
}

size_t directory_size(const struct directory *directory) {
    size_t size = sizeof *directory + trie_pool_size(directory->pool);
    for (int kind = 0; kind < KINDS; kind++) {
        size += current(directory, (enum kind)kind)->size;
    }
    size += directory->rekeyed ? directory->rekeyed->size : 0;
    for (const struct array *array = directory->retired; array; array = array->next) {
        size += array->size;
    }
    for (const struct array *array = directory->sealed; array; array = array->next) {
        size += array->size;
    }
    return size;
}

/* --- keys --- */

int directory_worker_of_key(const struct directory *directory, const struct key *key) {
    const struct array *a = current(directory, KEYS);
    struct sought sought = seek_key(a, key);
    uint64_t word = find(a, &sought, NULL);
    return word ? (int)(word & 0xff) : -ENOENT;
}

int directory_insert_key(struct directory *directory, const struct key *key, unsigned worker) {
    if (worker >= ENGINE_WORKERS_MAX) {
        return -EINVAL;
    }
    struct array *a = current(directory, KEYS);
    struct sought sought = seek_key(a, key);
    if (find(a, &sought, NULL)) {
        return -EEXIST;
    }
    int error = make_room(directory, KEYS, &a);
    if (!error) {
        add(a, &sought, worker);
    }
    return error;
}

int directory_remove_key(struct directory *directory, const struct key *key) {
    struct array *a = current(directory, KEYS);
    struct sought sought = seek_key(a, key);
    uint32_t at;
    if (!find(a, &sought, &at)) {
        return -ENOENT;
    }
    bury(a, at);
    return 0;
}

size_t directory_key_count(const struct directory *directory) {
    return current(directory, KEYS)->used;
}

int directory_rekey_begin(struct directory *directory) {
    uint8_t secret[SECRET_SIZE];
    randombytes_buf(secret, sizeof secret);
    struct array *array = array_new(KEYS, (size_t)current(directory, KEYS)->used + 1, secret);
    sodium_memzero(secret, sizeof secret);
    if (!array) {
        return -ENOMEM;
    }
    array_free(directory->rekeyed);
    directory->rekeyed = array;
    return 0;
}

int directory_rekey_add(struct directory *directory, const struct key *key, unsigned worker) {
    struct array *a = directory->rekeyed;
    if (worker >= ENGINE_WORKERS_MAX || !a) {
        return -EINVAL;
    }
    struct sought sought = seek_key(a, key);
    if (find(a, &sought, NULL)) {
        return -EEXIST;
    }
    if (!has_room(a)) { /* sized for the keys known at the beginning, a third more fit */
        return -ENOMEM;
    }
    add(a, &sought, worker);
    return 0;
}

void directory_rekey_commit(struct directory *directory) {
    if (directory->rekeyed) {
        publish(directory, KEYS, directory->rekeyed);
        directory->rekeyed = NULL;
    }
}

/* --- routes --- */

uint32_t directory_route4(const struct directory *directory, const uint8_t addr[4]) {
    const struct array *a = current(directory, HOSTS4);
    struct sought sought = seek_host4(a, addr);
    /* 0.0.0.0 would be the tag of a grave; its host route is in the trie */
    uint64_t word = sought.tag ? find(a, &sought, NULL) : FREE;
    return word ? (uint32_t)word : trie_lookup4(directory->pool, &directory->trie, addr);
}

uint32_t directory_route6(const struct directory *directory, const uint8_t addr[16]) {
    const struct array *a = current(directory, HOSTS6);
    struct sought sought = seek_host6(a, addr);
    uint64_t word = find(a, &sought, NULL);
    return word ? (uint32_t)word : trie_lookup6(directory->pool, &directory->trie, addr);
}

uint32_t directory_route(const struct directory *directory, const struct ip_addr *addr) {
    return addr->family == AF_INET    ? directory_route4(directory, addr->bytes)
           : addr->family == AF_INET6 ? directory_route6(directory, addr->bytes)
                                      : 0;
}

void directory_prefetch(const struct directory *directory, const struct ip_addr *addr) {
    bool is_v6 = addr->family == AF_INET6;
    const struct array *a = current(directory, is_v6 ? HOSTS6 : HOSTS4);
    struct sought sought = is_v6 ? seek_host6(a, addr->bytes) : seek_host4(a, addr->bytes);
    uint32_t at = home(a, sought.hash);
    prefetch((const void *)&a->words[at], sizeof a->words[at]);
    if (is_v6) {
        prefetch(a->addrs[at], sizeof a->addrs[at]);
    }
}

/* Where a prefix belongs: a host's in one of the tables, with what to seek there; else the trie. */
static bool is_host(const struct directory *d, const struct prefix *prefix, enum kind *ret_kind,
                    struct sought *ret_sought) {
    const uint8_t *addr = prefix->addr.bytes;
    if (prefix->addr.family == AF_INET && prefix->length == 32 && be32_get(addr) != 0) {
        *ret_kind = HOSTS4;
        *ret_sought = seek_host4(current(d, HOSTS4), addr);
        return true;
    }
    if (prefix->addr.family == AF_INET6 && prefix->length == 128) {
        *ret_kind = HOSTS6;
        *ret_sought = seek_host6(current(d, HOSTS6), addr);
        return true;
    }
    return false;
}

static int insert_host(struct directory *d, enum kind kind, const struct sought *sought, uint32_t id,
                       uint32_t *ret_previous) {
    struct array *a = current(d, kind);
    uint32_t at;
    uint64_t word = find(a, sought, &at);
    if (word) {
        store(a, at, sought->tag | id);
    } else {
        int error = make_room(d, kind, &a);
        if (error) {
            return error;
        }
        add(a, sought, id);
    }
    *ret_previous = (uint32_t)word;
    return 0;
}

int directory_insert_route(struct directory *directory, const struct prefix *prefix, uint32_t id,
                           uint32_t *ret_previous) {
    enum kind kind;
    struct sought sought;
    uint32_t previous;
    int error;
    if (!id) {
        return -EINVAL;
    }
    if (is_host(directory, prefix, &kind, &sought)) {
        error = insert_host(directory, kind, &sought, id, &previous);
    } else {
        error = trie_insert(directory->pool, &directory->trie, prefix, id, &previous);
        directory->trie_count += !error && !previous;
    }
    if (!error && ret_previous) {
        *ret_previous = previous;
    }
    return error;
}

int directory_remove_route(struct directory *directory, const struct prefix *prefix, uint32_t id) {
    enum kind kind;
    struct sought sought;
    uint32_t at;
    if (is_host(directory, prefix, &kind, &sought)) {
        uint64_t word = find(current(directory, kind), &sought, &at);
        if (!id || !word || (uint32_t)word != id) {
            return -ENOENT;
        }
        bury(current(directory, kind), at);
        return 0;
    }
    int error = trie_remove(directory->pool, &directory->trie, prefix, id);
    directory->trie_count -= !error;
    return error;
}

uint32_t directory_get_route(const struct directory *directory, const struct prefix *prefix) {
    enum kind kind;
    struct sought sought;
    return is_host(directory, prefix, &kind, &sought) ? (uint32_t)find(current(directory, kind), &sought, NULL)
                                                      : trie_get(directory->pool, &directory->trie, prefix);
}

size_t directory_route_count(const struct directory *directory) {
    return (size_t)current(directory, HOSTS4)->used + current(directory, HOSTS6)->used + directory->trie_count;
}
