#include "engine/table/limiter.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/table/bucket.h"

#define WAYS 8
#define SETS (LIMITER_ENTRIES / WAYS)
/* After this long without an initiation an address's bucket (full again after 250 ms) and a port's (2 s) are full. */
#define ADDRESS_IDLE_NS UINT64_C(1000000000)
#define PORT_IDLE_NS UINT64_C(2000000000)

_Static_assert(crypto_shorthash_KEYBYTES == LIMITER_KEY_SIZE, "SipHash's key");

/* A 64-bit keyed hash stands for the source; that two sources share one by chance (2^-64 a pair) costs them nothing but
 * a shared bucket. */
struct entry {
    uint64_t tag; /* 0: free */
    struct bucket bucket;
    uint32_t window; /* in which `drawn` was drawn; addresses only */
    uint32_t drawn;
};

struct cache {
    struct entry (*sets)[WAYS]; /* SETS of them, owned */
};

struct limiter {
    uint8_t key[LIMITER_KEY_SIZE];
    uint32_t extra_per_window;
    struct cache strangers; /* addresses, not proved */
    struct cache addresses; /* proved */
    struct cache ports;     /* proved, with the port */
    struct cache reply_addresses;
    struct cache reply_ports;
    struct bucket_rate reply_rate; /* of all together */
    struct bucket replies;
    struct entry crowd; /* for all proved addresses that find no room */

    /* the budget's window */
    uint32_t window;
    uint32_t drawn;
    uint32_t drawing;     /* addresses that drew in this window */
    uint32_t drew_before; /* and in the one before */
};

static const struct bucket_rate address_rate = {.per_s = LIMITER_ADDRESS_PER_S, .burst = LIMITER_ADDRESS_BURST};
static const struct bucket_rate port_rate = {.per_s = LIMITER_PORT_PER_S, .burst = LIMITER_PORT_BURST};
static const struct bucket_rate reply_address_rate = {.per_s = LIMITER_REPLIES_PER_S, .burst = LIMITER_REPLIES_BURST};

static int cache_create(struct cache *cache) {
    cache->sets = calloc(SETS, sizeof *cache->sets);
    return cache->sets ? 0 : -ENOMEM;
}

int limiter_create(const uint8_t key[LIMITER_KEY_SIZE], uint32_t extra_per_s, uint32_t replies_per_s,
                   struct limiter **ret_limiter) {
    struct limiter *l = calloc(1, sizeof *l);
    if (!l) {
        return -ENOMEM;
    }
    if (cache_create(&l->strangers) < 0 || cache_create(&l->addresses) < 0 || cache_create(&l->ports) < 0 ||
        cache_create(&l->reply_addresses) < 0 || cache_create(&l->reply_ports) < 0) {
        goto fail;
    }
    l->reply_rate = (struct bucket_rate){.per_s = replies_per_s, .burst = replies_per_s / 10};
    memcpy(l->key, key, sizeof l->key);
    uint64_t extra = extra_per_s * (LIMITER_WINDOW_NS / UINT64_C(1000000000));
    l->extra_per_window = extra < UINT32_MAX ? (uint32_t)extra : UINT32_MAX;
    *ret_limiter = l;
    return 0;

fail:
    limiter_free(l);
    return -ENOMEM;
}

void limiter_free(struct limiter *limiter) {
    if (!limiter) {
        return;
    }
    free(limiter->strangers.sets);
    free(limiter->addresses.sets);
    free(limiter->ports.sets);
    free(limiter->reply_addresses.sets);
    free(limiter->reply_ports.sets);
    sodium_memzero(limiter->key, sizeof limiter->key);
    free(limiter);
}

size_t limiter_size(const struct limiter *limiter) {
    return sizeof *limiter + 5 * SETS * sizeof *limiter->ports.sets;
}

/* --- sources --- */

/* The address (all of IPv4's, 64 bits of IPv6's) and perhaps the port, as a tag. */
static uint64_t tag_of(const struct limiter *l, const union endpoint *source, bool with_port) {
    uint8_t bytes[12] = {0};
    uint8_t out[crypto_shorthash_BYTES];
    bool v6 = source->sa.sa_family == AF_INET6;
    bytes[0] = (uint8_t)((v6 ? 2 : 0) | (with_port ? 1 : 0));
    memcpy(bytes + 1, v6 ? (const void *)&source->in6.sin6_addr : &source->in.sin_addr, v6 ? 8 : 4);
    if (with_port) {
        memcpy(bytes + 9, v6 ? &source->in6.sin6_port : &source->in.sin_port, 2);
    }
    crypto_shorthash(out, bytes, sizeof bytes, l->key);
    uint64_t tag = le64_get(out);
    return tag ? tag : 1;
}

/* The source's entry, or a place for it: a free one, or else the one longest unused. */
static struct entry *lookup(const struct cache *cache, uint64_t tag) {
    struct entry *set = cache->sets[tag % SETS];
    struct entry *oldest = &set[0];
    for (int way = 0; way < WAYS; way++) {
        if (set[way].tag == tag) {
            return &set[way];
        }
        if (oldest->tag && (!set[way].tag || set[way].bucket.at_ns < oldest->bucket.at_ns)) {
            oldest = &set[way];
        }
    }
    return oldest;
}

static void renew(struct entry *entry, uint64_t tag, const struct bucket_rate *rate, uint64_t now_ns) {
    *entry = (struct entry){.tag = tag};
    bucket_fill(&entry->bucket, rate, now_ns);
}

/* Whether an address's entry says more than a fresh one would. */
static bool live(const struct limiter *l, const struct entry *entry, uint64_t now_ns) {
    bool recent = now_ns < entry->bucket.at_ns + ADDRESS_IDLE_NS;
    bool drew = entry->drawn && entry->window == l->window;
    return entry->tag && (recent || drew);
}

/* The entry of an address, or NULL if there is no room for it. */
static struct entry *address_entry(const struct limiter *l, const struct cache *cache, uint64_t tag, uint64_t now_ns) {
    struct entry *entry = lookup(cache, tag);
    if (entry->tag == tag) {
        return entry;
    }
    if (live(l, entry, now_ns)) {
        return NULL;
    }
    renew(entry, tag, &address_rate, now_ns);
    return entry;
}

/* The entry of a source, at the cost of the one longest unused. */
static struct entry *any_entry(const struct cache *cache, uint64_t tag, const struct bucket_rate *rate,
                               uint64_t now_ns) {
    struct entry *entry = lookup(cache, tag);
    if (entry->tag != tag) {
        renew(entry, tag, rate, now_ns);
    }
    return entry;
}

/* --- the budget --- */

static void turn_window(struct limiter *l, uint64_t now_ns) {
    uint32_t window = (uint32_t)(now_ns / LIMITER_WINDOW_NS) + 1; /* 0: no window yet */
    if (window <= l->window) {
        return; /* never back: what was drawn stays drawn */
    }
    l->drew_before = window == l->window + 1 ? l->drawing : 0;
    l->window = window;
    l->drawing = 0;
    l->drawn = 0;
}

/* One more beyond Linux's rate for this address, if its share and the budget allow. */
static bool draw(struct limiter *l, struct entry *address) {
    bool first = address->window != l->window || !address->drawn;
    uint32_t drawn = first ? 0 : address->drawn;
    uint32_t among = l->drew_before ? l->drew_before : 1; /* itself */
    if (among < l->drawing + first) {
        among = l->drawing + first;
    }
    uint32_t share = l->extra_per_window / among;
    if (l->drawn >= l->extra_per_window || drawn >= (share ? share : 1)) {
        return false;
    }
    l->drawing += first;
    l->drawn++;
    address->window = l->window;
    address->drawn = drawn + 1;
    return true;
}

bool limiter_allow(struct limiter *limiter, uint64_t now_ns, const union endpoint *source, bool proved) {
    uint64_t tag = tag_of(limiter, source, false);
    turn_window(limiter, now_ns);
    if (!proved) {
        struct entry *stranger = address_entry(limiter, &limiter->strangers, tag, now_ns);
        return stranger && bucket_take(&stranger->bucket, &address_rate, now_ns, 1);
    }
    struct entry *address = address_entry(limiter, &limiter->addresses, tag, now_ns);
    if (address && bucket_take(&address->bucket, &address_rate, now_ns, 1)) {
        return true;
    }
    struct entry *port = any_entry(&limiter->ports, tag_of(limiter, source, true), &port_rate, now_ns);
    if (!bucket_take(&port->bucket, &port_rate, now_ns, 1)) {
        return false;
    }
    return draw(limiter, address ? address : &limiter->crowd);
}

bool limiter_allow_reply(struct limiter *limiter, uint64_t now_ns, const union endpoint *source) {
    struct entry *port = any_entry(&limiter->reply_ports, tag_of(limiter, source, true), &port_rate, now_ns);
    if (!bucket_take(&port->bucket, &port_rate, now_ns, 1)) {
        return false;
    }
    struct entry *address =
        any_entry(&limiter->reply_addresses, tag_of(limiter, source, false), &reply_address_rate, now_ns);
    return bucket_take(&address->bucket, &reply_address_rate, now_ns, 1) &&
           bucket_take(&limiter->replies, &limiter->reply_rate, now_ns, 1);
}
