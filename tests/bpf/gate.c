/* clang-format off */
/* Drives src/backend/isolate/isolate.h and host/fence.h by lines on stdin, for the tests beside it: no WireGuard, no daemon.
 *
 *     gate INTERFACE
 *     hub 10.0.0.1/8 ...                          the hub's addresses, with the length of the pool
 *     tenant UUID [egress] [bits=N] [packets=N]
 *     forget UUID                                 removes a tenant
 *     peer NAME UUID ADDRESS... [LAN/LENGTH]...   what the peer has now; the first 4 letters of its NAME tell peers apart
 *     unpeer NAME
 *     attach | destroy | unfence | flush
 *     fence | engine                              the fence as it is around the kernel's WireGuard, or an engine; port 51820
 *     fenced                                      what it dropped, one line each
 *     owner ADDRESS                               answers with a UUID
 *     check                                       reconciles the maps with the peers told in this process
 *     tenants | counters                          one line each
 *     fill N                                      N tenants with one router each, from 10.128.0.0 and fd80:: upwards
 *
 * Each command is answered by any number of lines and then "ok TOUCHED" or "error ERRNO WORDS". */
/* clang-format on */
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host/fence.h"
#include "backend/isolate/hold.h"
#include "backend/isolate/isolate.h"
#include "base/bytes.h"
#include "bpf/isolate.h"
#include "model/problem.h"

#define PEERS_MAX 256
#define LISTEN_PORT 51820
#define WORDS_MAX 64

struct gate {
    const char *interface_name;
    struct isolate *isolate;
    struct fence *fence;
    struct hold *hold;
    struct prefix hub[WORDS_MAX];
    size_t hub_count;
    struct desired_peer peers[PEERS_MAX];
    size_t peer_count;
    unsigned touched;
    struct problem problem;
};

struct words {
    size_t count;
    char *word[WORDS_MAX];
};

/* --- reading --- */

static struct words split(char *line) {
    struct words w = {0};
    char *rest = NULL;
    for (char *word = strtok_r(line, " \n", &rest); word && w.count < WORDS_MAX; word = strtok_r(NULL, " \n", &rest)) {
        w.word[w.count++] = word;
    }
    return w;
}

/* Keeps the host bits. */
static int read_address(const char *text, struct prefix *ret_prefix) {
    char copy[PREFIX_TEXT_SIZE];
    snprintf(copy, sizeof copy, "%s", text);
    char *slash = strchr(copy, '/');
    if (slash) {
        *slash = '\0';
    }
    int error = ip_parse(copy, &ret_prefix->addr);
    ret_prefix->length = slash ? (uint8_t)atoi(slash + 1) : ip_bits(&ret_prefix->addr);
    return error;
}

static int read_tenant(const struct words *w, struct desired_tenant *ret_tenant) {
    *ret_tenant = (struct desired_tenant){.addressing = ADDRESSING_UNIQUE};
    for (size_t i = 2; i < w->count; i++) {
        if (strcmp(w->word[i], "egress") == 0) {
            ret_tenant->egress = true;
        } else if (strncmp(w->word[i], "bits=", 5) == 0) {
            ret_tenant->limits.bits_per_second = strtoull(w->word[i] + 5, NULL, 10);
        } else if (strncmp(w->word[i], "packets=", 8) == 0) {
            ret_tenant->limits.packets_per_second = strtoull(w->word[i] + 8, NULL, 10);
        } else if (strcmp(w->word[i], "private") == 0) {
            ret_tenant->addressing = ADDRESSING_PRIVATE;
        } else {
            return -EINVAL;
        }
    }
    return uuid_parse(w->word[1], &ret_tenant->id);
}

static int read_peer(const struct words *w, struct desired_peer *ret_peer) {
    *ret_peer = (struct desired_peer){0};
    memcpy(ret_peer->public_key.bytes, w->word[1], strnlen(w->word[1], KEY_SIZE));
    int error = uuid_parse(w->word[2], &ret_peer->tenant);
    for (size_t i = 3; i < w->count && !error; i++) {
        struct prefix prefix;
        error = read_address(w->word[i], &prefix);
        if (strchr(w->word[i], '/')) {
            ret_peer->lans[ret_peer->lan_count++] = prefix;
        } else if (prefix.addr.family == AF_INET) {
            ret_peer->address = ret_peer->hub_address = prefix.addr;
        } else {
            ret_peer->address6 = prefix.addr;
        }
    }
    return error;
}

/* --- peers --- */

static struct desired_peer *peer_find(struct gate *g, const char *name) {
    for (size_t i = 0; i < g->peer_count; i++) {
        if (strncmp((const char *)g->peers[i].public_key.bytes, name, KEY_SIZE) == 0) {
            return &g->peers[i];
        }
    }
    return NULL;
}

static int peer_set(struct gate *g, const struct words *w) {
    struct desired_peer is, *was = peer_find(g, w->word[1]);
    int error = read_peer(w, &is);
    error = error ? error : isolate_move(g->isolate, was, &is);
    error = error ? error : isolate_flush(g->isolate);
    if (!error) {
        *(was ? was : &g->peers[g->peer_count++]) = is;
    }
    return error;
}

static int peer_unset(struct gate *g, const struct words *w) {
    struct desired_peer *was = peer_find(g, w->word[1]);
    if (!was) {
        return -ENOENT;
    }
    int error = isolate_move(g->isolate, was, NULL);
    *was = g->peers[--g->peer_count];
    return error;
}

static int check(struct gate *g) {
    struct isolate_check *c;
    int error = isolate_check_begin(g->isolate, &c);
    if (error) {
        return error;
    }
    for (size_t i = 0; i < g->peer_count && !error; i++) {
        error = isolate_check_peer(c, &g->peers[i], &g->touched);
    }
    int end = isolate_check_end(c, !error, &g->touched);
    return error ? error : end;
}

static int fill(struct gate *g, uint32_t count) {
    int error = 0;
    for (uint32_t i = 0; i < count && !error; i++) {
        struct desired_tenant tenant = {.addressing = ADDRESSING_UNIQUE};
        struct desired_peer peer = {.address = ip_from_v4(0x0a800000 + i), .address6 = {.family = AF_INET6}};
        be32_put(tenant.id.bytes, i + 1);
        peer.tenant = tenant.id;
        peer.address6.bytes[0] = 0xfd;
        peer.address6.bytes[1] = 0x80;
        be32_put(peer.address6.bytes + 12, i);
        be32_put(peer.public_key.bytes, i + 1);
        error = isolate_set_tenant(g->isolate, &tenant);
        error = error ? error : isolate_move(g->isolate, NULL, &peer);
    }
    return error ? error : isolate_flush(g->isolate);
}

/* --- answers --- */

static int print_tenant(void *context, const struct actual_tenant *t) {
    char text[UUID_TEXT_SIZE];
    (void)context;
    printf("%s egress=%d bits=%ju packets=%ju rx_bytes=%ju rx_packets=%ju tx_bytes=%ju tx_packets=%ju dropped=%ju\n",
           uuid_format(&t->is.id, text), t->is.egress, (uintmax_t)t->is.limits.bits_per_second,
           (uintmax_t)t->is.limits.packets_per_second, (uintmax_t)t->bytes_received, (uintmax_t)t->packets_received,
           (uintmax_t)t->bytes_sent, (uintmax_t)t->packets_sent, (uintmax_t)t->dropped);
    return 0;
}

static int print_counter(void *context, const char *name, uint64_t value) {
    (void)context;
    printf("%s %ju\n", name, (uintmax_t)value);
    return 0;
}

static int print_owner(struct gate *g, const struct words *w) {
    char text[UUID_TEXT_SIZE];
    struct prefix address;
    struct uuid tenant;
    int error = read_address(w->word[1], &address);
    error = error ? error : isolate_owner(g->isolate, &address.addr, &tenant);
    if (!error) {
        puts(uuid_format(&tenant, text));
    }
    return error;
}

static int hub(struct gate *g, const struct words *w) {
    struct prefix prefixes[WORDS_MAX] = {0};
    int error = 0;
    for (size_t i = 1; i < w->count && !error; i++) {
        error = read_address(w->word[i], &prefixes[i - 1]);
    }
    memcpy(g->hub, prefixes, sizeof prefixes);
    g->hub_count = w->count - 1;
    return error ? error : isolate_set_hub(g->isolate, prefixes, w->count - 1, &g->touched);
}

static int fence(struct gate *g, uint32_t passed) {
    const struct fence_rules rules = {
        .passed = passed,
        .hub = g->hub,
        .hub_count = g->hub_count,
        .listen_port = passed ? LISTEN_PORT : 0,
        .egress = passed && isolate_has_egress(g->isolate),
    };
    return fence_set(g->fence, &rules, &g->touched, &g->problem);
}

static int print_fenced(struct gate *g) {
    struct fence_counts counts;
    int error = fence_count(g->fence, &counts);
    if (!error) {
        printf("forged %llu\nlooped %llu\n", (unsigned long long)counts.forged, (unsigned long long)counts.looped);
    }
    return error;
}

/* --- commands --- */

static int plain(struct gate *g, const char *command) {
    if (strcmp(command, "attach") == 0) {
        return isolate_attach(g->isolate, if_nametoindex(g->interface_name), &g->touched, &g->problem);
    } else if (strcmp(command, "fence") == 0) {
        return fence(g, ISOLATE_PASSED);
    } else if (strcmp(command, "engine") == 0) {
        return fence(g, 0);
    } else if (strcmp(command, "fenced") == 0) {
        return print_fenced(g);
    } else if (strcmp(command, "unfence") == 0) {
        return fence_remove(g->fence, &g->problem);
    } else if (strcmp(command, "hold") == 0) {
        return hold_begin(g->interface_name, &g->hold);
    } else if (strcmp(command, "release") == 0) {
        hold_end(g->hold);
        g->hold = NULL;
        return 0;
    } else if (strcmp(command, "check") == 0) {
        return check(g);
    } else if (strcmp(command, "flush") == 0) {
        return isolate_flush(g->isolate);
    } else if (strcmp(command, "tenants") == 0) {
        return isolate_each_tenant(g->isolate, print_tenant, NULL);
    } else if (strcmp(command, "counters") == 0) {
        return isolate_each_counter(g->isolate, print_counter, NULL);
    } else if (strcmp(command, "destroy") == 0) {
        isolate_destroy(g->isolate);
        g->isolate = NULL;
        return 0;
    }
    return -EINVAL;
}

static int obey(struct gate *g, const struct words *w) {
    const char *command = w->count ? w->word[0] : "";
    if (strcmp(command, "hub") == 0) {
        return hub(g, w);
    } else if (w->count < 2) {
        return plain(g, command);
    } else if (strcmp(command, "tenant") == 0) {
        struct desired_tenant tenant;
        int error = read_tenant(w, &tenant);
        return error ? error : isolate_set_tenant(g->isolate, &tenant);
    } else if (strcmp(command, "forget") == 0) {
        struct uuid id;
        int error = uuid_parse(w->word[1], &id);
        return error ? error : isolate_remove_tenant(g->isolate, &id);
    } else if (strcmp(command, "peer") == 0 && w->count > 2) {
        return peer_set(g, w);
    } else if (strcmp(command, "unpeer") == 0) {
        return peer_unset(g, w);
    } else if (strcmp(command, "owner") == 0) {
        return print_owner(g, w);
    } else if (strcmp(command, "fill") == 0) {
        return fill(g, (uint32_t)atoi(w->word[1]));
    }
    return -EINVAL;
}

static void answer(struct gate *g, int error) {
    if (error) {
        printf("error %d %s\n", -error, g->problem.detail[0] ? g->problem.detail : strerror(-error));
    } else {
        printf("ok %u\n", g->touched);
    }
    fflush(stdout);
    g->touched = 0;
    g->problem = (struct problem){0};
}

int main(int argc, char **argv) {
    static struct gate g;
    char line[4096];
    if (argc != 2) {
        fputs("usage: gate INTERFACE\n", stderr);
        return 2;
    }
    g.interface_name = argv[1];
    int error = fence_open(g.interface_name, &g.fence, &g.problem);
    error = error ? error : isolate_open(g.interface_name, &g.isolate, &g.problem);
    answer(&g, error);
    while (!error && g.isolate && fgets(line, sizeof line, stdin)) {
        struct words w = split(line);
        answer(&g, obey(&g, &w));
    }
    hold_end(g.hold);
    isolate_close(g.isolate);
    fence_close(g.fence);
    return error ? 1 : 0;
}
