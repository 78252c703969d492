#include "service/noun/lan_guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/buf.h"
#include "base/clock.h"
#include "service/usage/usage.h"
#include "store/store.h"

#define FRESH_NS NSEC_PER_SEC
#define RESOLVERS_MAX 8 /* more than any resolver asks */

/* Reading takes long where very many routers dial in: then what was read stands for so many times as long. */
#define FRESH_TIMES 100

enum need {
    NEED_ADDRESS,
    NEED_NEXT_HOP,
    NEED_RESOLVER,
    NEED_DATABASE,
    NEED_ENDPOINT,
};

static const char *const need_text[] = {
    [NEED_ADDRESS] = "an address of the gateway's host",
    [NEED_NEXT_HOP] = "a next hop of the host's routes",
    [NEED_RESOLVER] = "a name server of the host's",
    [NEED_DATABASE] = "the address of the database",
    [NEED_ENDPOINT] = "the address from which a router dials in",
};

struct needed {
    struct ip_addr address;
    enum need need;
};

struct lan_guard {
    /* immutable */
    struct prefix *allowed; /* owned */
    size_t allowed_count;
    char interface_name[16];
    char *resolvers; /* owned */
    int (*each_host_fact)(const char *interface_name, backend_host_fn *fn, void *context);
    struct usage *usage;

    pthread_mutex_t mutex; /* all that follows */
    struct needed *needed; /* owned; sorted by address */
    size_t needed_count, needed_room;
    uint64_t stale_ns; /* monotonic: when it is to be read again */
    char warning[256];
};

int lan_guard_open(const struct lan_guard_config *config, struct lan_guard **ret_guard) {
    struct lan_guard *g = calloc(1, sizeof *g);
    if (!g) {
        return -ENOMEM;
    }
    pthread_mutex_init(&g->mutex, NULL);
    g->allowed = calloc(config->allowed_count + 1, sizeof *g->allowed);
    g->resolvers = strdup(config->resolvers ? config->resolvers : "/etc/resolv.conf");
    if (!g->allowed || !g->resolvers) {
        lan_guard_close(g);
        return -ENOMEM;
    }
    memcpy(g->allowed, config->allowed, config->allowed_count * sizeof *g->allowed);
    g->allowed_count = config->allowed_count;
    snprintf(g->interface_name, sizeof g->interface_name, "%s", config->interface_name ? config->interface_name : "");
    g->each_host_fact = config->backend->each_host_fact;
    g->usage = config->usage;
    *ret_guard = g;
    return 0;
}

void lan_guard_close(struct lan_guard *guard) {
    if (!guard) {
        return;
    }
    pthread_mutex_destroy(&guard->mutex);
    free(guard->needed);
    free(guard->allowed);
    free(guard->resolvers);
    free(guard);
}

/* --- what the host needs --- */

static int add(struct lan_guard *g, enum need need, const struct ip_addr *address) {
    struct needed *grown = array_grow(g->needed, &g->needed_room, g->needed_count + 1, sizeof *grown);
    if (!grown) {
        return -ENOMEM;
    }
    g->needed = grown;
    g->needed[g->needed_count++] = (struct needed){*address, need};
    return 0;
}

static int add_fact(void *context, enum backend_host_fact fact, const struct ip_addr *address) {
    return add(context, fact == BACKEND_HOST_ADDRESS ? NEED_ADDRESS : NEED_NEXT_HOP, address);
}

static int add_endpoint(void *context, const struct ip_addr *address) {
    return add(context, NEED_ENDPOINT, address);
}

/* resolv.conf(5): lines of "nameserver ADDRESS"; a scope behind % does not concern us. */
static int add_resolvers(struct lan_guard *g) {
    char line[256], text[IP_TEXT_SIZE];
    FILE *file = fopen(g->resolvers, "re");
    int r = 0;
    for (int count = 0; file && r == 0 && count < RESOLVERS_MAX && fgets(line, sizeof line, file);) {
        struct ip_addr address;
        if (sscanf(line, "nameserver %45[0-9a-fA-F.:]", text) == 1 && ip_parse(text, &address) == 0) {
            r = add(g, NEED_RESOLVER, &address);
            count++;
        }
    }
    if (file) {
        fclose(file);
    }
    return r;
}

static int compare_addresses(const struct ip_addr *a, const struct ip_addr *b) {
    int order = (a->family > b->family) - (a->family < b->family);
    return order ? order : memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static int compare_needed(const void *a, const void *b) {
    const struct needed *left = a, *right = b;
    return compare_addresses(&left->address, &right->address);
}

/* Under the mutex. What cannot be read is not held against anybody. */
static void refresh(struct lan_guard *g) {
    uint64_t start = clock_mono_ns();
    if (start < g->stale_ns) {
        return;
    }
    g->needed_count = 0;
    if (g->each_host_fact) {
        (void)g->each_host_fact(g->interface_name, add_fact, g);
    }
    (void)add_resolvers(g);
    if (g->usage) {
        (void)usage_each_endpoint(g->usage, add_endpoint, g);
    }
    if (g->needed_count) {
        qsort(g->needed, g->needed_count, sizeof *g->needed, compare_needed);
    }
    uint64_t end = clock_mono_ns(), times = FRESH_TIMES * (end - start);
    g->stale_ns = end + (times > FRESH_NS ? times : FRESH_NS);
}

/* Whether `lan` holds one of them. Under the mutex. */
static bool finds_need(struct lan_guard *g, const struct store_conn *conn, const struct prefix *lan,
                       struct needed *ret_needed) {
    struct ip_addr database;
    size_t low = 0, high = g->needed_count; /* the first that is not below the LAN's first address */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_addresses(&g->needed[middle].address, &lan->addr) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < g->needed_count && prefix_contains(lan, &g->needed[low].address)) {
        *ret_needed = g->needed[low];
        return true;
    }
    if (conn && store_server(conn, &database) == 0 && prefix_contains(lan, &database)) {
        *ret_needed = (struct needed){database, NEED_DATABASE};
        return true;
    }
    return false;
}

/* --- the check --- */

static bool is_allowed(const struct lan_guard *g, const struct prefix *lan) {
    bool allowed = false;
    for (size_t i = 0; i < g->allowed_count; i++) {
        allowed |= prefix_covers(&g->allowed[i], lan);
    }
    return allowed;
}

static int not_allowed(const struct lan_guard *g, const struct prefix *lan, const char *field,
                       struct problem *ret_problem) {
    char text[PREFIX_TEXT_SIZE], list[256] = "";
    struct buf all = {0};
    for (size_t i = 0; i < g->allowed_count; i++) {
        buf_printf(&all, "%s%s", i ? ", " : "", prefix_format(&g->allowed[i], text));
    }
    snprintf(list, sizeof list, "%.200s", all.size ? (const char *)all.data : "none");
    buf_free(&all);
    return problem_set(ret_problem, PROBLEM_INVALID, "lan-not-allowed", field,
                       "%s does not lie in a network in which this gateway lets tenants place LANs (%s). Use a prefix "
                       "in one of them, or ask the operator.",
                       prefix_format(lan, text), list);
}

int lan_guard_check(struct lan_guard *guard, const struct store_conn *conn, const struct caller *c,
                    enum addressing addressing, const struct prefix *lan, const char *field,
                    struct problem *ret_problem) {
    char text[PREFIX_TEXT_SIZE];
    struct needed needed;
    if (c->scope != SCOPE_ADMIN && !is_allowed(guard, lan)) {
        return not_allowed(guard, lan, field, ret_problem);
    }
    if (addressing == ADDRESSING_PRIVATE) {
        return 0; /* the host has no route to it */
    }
    pthread_mutex_lock(&guard->mutex);
    refresh(guard);
    bool found = finds_need(guard, conn, lan, &needed);
    pthread_mutex_unlock(&guard->mutex);
    if (!found) {
        return 0;
    }
    /* A tenant hears neither which address it is nor whose. */
    return problem_set(ret_problem, PROBLEM_INVALID, "lan-holds-gateway", field,
                       "%s holds %s, which must stay reachable outside the tunnel. Use a prefix without it%s.",
                       prefix_format(lan, text),
                       c->scope == SCOPE_ADMIN ? need_text[needed.need] : "an address that the gateway itself needs",
                       c->scope == SCOPE_ADMIN ? ", or a tenant with private addressing" : "");
}

void lan_guard_review(struct lan_guard *guard, const struct store_conn *conn, const struct prefix *wanted,
                      size_t count) {
    char text[PREFIX_TEXT_SIZE], address[IP_TEXT_SIZE];
    pthread_mutex_lock(&guard->mutex);
    refresh(guard);
    guard->warning[0] = '\0';
    for (size_t i = 0; i < count && !guard->warning[0]; i++) {
        struct needed needed;
        if (finds_need(guard, conn, &wanted[i], &needed)) {
            snprintf(guard->warning, sizeof guard->warning,
                     "the LAN %s holds %s, %s: what is sent there may go into the tunnel. Take the LAN from its router",
                     prefix_format(&wanted[i], text), ip_format(&needed.address, address), need_text[needed.need]);
        }
    }
    pthread_mutex_unlock(&guard->mutex);
}

void lan_guard_warning(struct lan_guard *guard, char ret_text[256]) {
    pthread_mutex_lock(&guard->mutex);
    memcpy(ret_text, guard->warning, sizeof guard->warning);
    pthread_mutex_unlock(&guard->mutex);
}
