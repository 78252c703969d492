/* Measures the kernel backend beside wireguard-tools on one kernel, for `make bench`:
 *
 *     bench_kernel [--keep] [--peers N] peers   loads N peers, adds one, reads all counters: ours, and by wg(8)
 *
 * As root, on a kernel with WireGuard; makes interfaces named spbench... and removes them, unless --keep says that the
 * machine is thrown away anyway: the kernel takes long to remove 100,000 peers. Prints one JSON object: seconds of
 * each, and the ratios that have targets. What both do is the same: keys of peers are random, each has an IPv4 and an
 * IPv6 address; ours has each peer in a tenant of its own with isolation in force, wg's has none. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <sodium.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/host/link.h"

#define OURS "spbench0"
#define THEIRS "spbench1"
#define BATCH 1000 /* as service/ sends them */
#define ADDS 21
#define READS 5
#define POOL 0x0a000000u

extern char **environ;

static unsigned peers = 100000;
static bool keep;
static struct key *keys;
static char config_path[] = "/tmp/sallyport-bench-XXXXXX";

static void fail(const char *what, const char *why) {
    fprintf(stderr, "bench_kernel: %s: %s\n", what, why);
    link_delete(OURS);
    link_delete(THEIRS);
    unlink(config_path);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *list, size_t count) {
    qsort(list, count, sizeof *list, by_size);
    return list[count / 2];
}

/* --- the same peers for both --- */

static struct ip_addr address_of(unsigned number) {
    return ip_from_v4(POOL + 256 + number);
}

static struct ip_addr address6_of(unsigned number) {
    struct ip_addr addr = {.family = AF_INET6, .bytes = {0xfd, 0x5a, 0x11}};
    uint32_t low = htonl(POOL + 256 + number);
    memcpy(addr.bytes + 12, &low, sizeof low);
    return addr;
}

static struct uuid tenant_of(unsigned number) {
    struct uuid id = {{0}};
    memcpy(id.bytes, &number, sizeof number);
    id.bytes[15] = 1;
    return id;
}

static void desired(unsigned number, const struct uuid *tenant, struct desired_change *ret_change) {
    memset(ret_change, 0, sizeof *ret_change);
    ret_change->kind = DESIRED_PEER_SET;
    ret_change->peer.public_key = keys[number];
    ret_change->peer.tenant = *tenant;
    ret_change->peer.address = ret_change->peer.hub_address = address_of(number);
    ret_change->peer.address6 = address6_of(number);
}

/* --- wg(8) --- */

static double run(const char *const *arguments) {
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    double begin = now();
    int error = posix_spawnp(&pid, arguments[0], &actions, NULL, (char *const *)(uintptr_t)arguments, environ);
    if (error) {
        fail(arguments[0], strerror(error));
    }
    waitpid(pid, &status, 0);
    double took = now() - begin;
    posix_spawn_file_actions_destroy(&actions);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail(arguments[0], "did not do it");
    }
    return took;
}

static void write_config(void) {
    char text[KEY_BASE64_SIZE], a[IP_TEXT_SIZE], b[IP_TEXT_SIZE];
    struct key private_key;
    FILE *file = fdopen(mkstemp(config_path), "w");
    if (!file) {
        fail(config_path, strerror(errno));
    }
    key_make_private(&private_key);
    fprintf(file, "[Interface]\nPrivateKey = %s\nListenPort = 51999\n", key_to_base64(&private_key, text));
    for (unsigned i = 0; i < peers; i++) {
        struct ip_addr v4 = address_of(i), v6 = address6_of(i);
        fprintf(file, "[Peer]\nPublicKey = %s\nAllowedIPs = %s/32, %s/128\n", key_to_base64(&keys[i], text),
                ip_format(&v4, a), ip_format(&v6, b));
    }
    fclose(file);
}

static void measure_wg(double *ret_load, double *ret_add, double *ret_read) {
    double list[ADDS];
    char text[KEY_BASE64_SIZE], allowed[IP_TEXT_SIZE * 2], a[IP_TEXT_SIZE], b[IP_TEXT_SIZE];
    const char *const load[] = {"wg", "setconf", THEIRS, config_path, NULL};
    const char *const read[] = {"wg", "show", THEIRS, "dump", NULL};
    const char *const add[] = {"wg", "set", THEIRS, "peer", text, "allowed-ips", allowed, NULL};
    int rc = link_create(THEIRS, "wireguard");
    if (rc < 0) {
        fail(THEIRS, strerror(-rc));
    }
    write_config();
    *ret_load = run(load);
    for (unsigned i = 0; i < ADDS; i++) {
        struct ip_addr v4 = address_of(peers + i), v6 = address6_of(peers + i);
        key_to_base64(&keys[peers + i], text);
        snprintf(allowed, sizeof allowed, "%s/32,%s/128", ip_format(&v4, a), ip_format(&v6, b));
        list[i] = run(add);
    }
    *ret_add = median(list, ADDS);
    for (unsigned i = 0; i < READS; i++) {
        list[i] = run(read);
    }
    *ret_read = median(list, READS);
    unlink(config_path);
}

/* --- ours --- */

static const struct backend_ops *const ops = &backend_kernel;
static struct problem problem;

static void apply(struct backend *b, const struct desired_change *changes, size_t count) {
    if (ops->apply(b, changes, count, &problem) < 0) {
        fail("apply", problem.detail);
    }
}

static double load_ours(struct backend *b) {
    struct desired_change *tenants = calloc(BATCH, sizeof *tenants);
    struct desired_change *batch = calloc(BATCH, sizeof *batch);
    /* The tenants are not what wg would have to load. */
    for (unsigned i = 0; i < peers + ADDS; i++) {
        tenants[i % BATCH] = (struct desired_change){.kind = DESIRED_TENANT_SET, .tenant.id = tenant_of(i)};
        if (i % BATCH == BATCH - 1 || i + 1 == peers + ADDS) {
            apply(b, tenants, i % BATCH + 1);
        }
    }
    double took = 0;
    for (unsigned i = 0; i < peers; i++) {
        struct uuid tenant = tenant_of(i);
        desired(i, &tenant, &batch[i % BATCH]);
        if (i % BATCH == BATCH - 1 || i + 1 == peers) {
            double begin = now();
            apply(b, batch, i % BATCH + 1);
            took += now() - begin;
        }
    }
    free(batch);
    free(tenants);
    return took;
}

static int count_peer(void *context, const struct actual_peer *peer) {
    uint64_t *bytes = context;
    *bytes += peer->bytes_received + 1;
    return 0;
}

static void measure_ours(double *ret_load, double *ret_add, double *ret_read) {
    double list[ADDS];
    struct backend *b;
    struct backend_config config = {.interface_name = OURS};
    struct desired_device device = {.listen_port = 51998, .hub_address_count = 2, .mtu = 1420};
    unsigned touched;
    device.hub_addresses[0] = (struct prefix){.addr = ip_from_v4(POOL + 1), .length = 8};
    device.hub_addresses[1] = (struct prefix){.addr = address6_of(0), .length = 48};
    device.hub_addresses[1].addr.bytes[15] = 1;
    key_make_private(&device.private_key);
    if (ops->open(&config, &b, &problem) < 0 || ops->set_device(b, &device, &touched, &problem) < 0) {
        fail(OURS, problem.detail);
    }
    *ret_load = load_ours(b);
    for (unsigned i = 0; i < ADDS; i++) {
        struct desired_change change;
        struct uuid tenant = tenant_of(peers + i);
        desired(peers + i, &tenant, &change);
        double begin = now();
        apply(b, &change, 1);
        list[i] = now() - begin;
    }
    *ret_add = median(list, ADDS);
    uint64_t mark = 0, count = 0;
    for (unsigned i = 0; i < READS; i++) {
        double begin = now();
        int rc = ops->each_peer(b, i ? mark : 0, count_peer, &count, &mark);
        list[i] = now() - begin;
        if (rc < 0) {
            fail("each_peer", strerror(-rc));
        }
        if (i == 0 && count != peers + ADDS) {
            fail("each_peer", "told of another number of peers");
        }
    }
    *ret_read = median(list, READS);
    ops->close(b);
}

static void measure_peers(void) {
    double ours[3], theirs[3];
    measure_wg(&theirs[0], &theirs[1], &theirs[2]);
    measure_ours(&ours[0], &ours[1], &ours[2]);
    if (!keep) {
        link_delete(THEIRS);
        if (backend_kernel_release(OURS, &problem) < 0) {
            fail(OURS, problem.detail);
        }
    }
    printf("{\"peers\": %u, \"load_s\": %.3f, \"wg_setconf_s\": %.3f, \"add_one_s\": %.6f, \"wg_set_s\": %.6f, "
           "\"stats_s\": %.3f, \"wg_dump_s\": %.3f, \"kernel_load_100k_vs_wg_setconf\": %.3f, "
           "\"kernel_add_one_vs_wg_set\": %.3f, \"kernel_stats_100k_vs_wg_dump\": %.3f}\n",
           peers, ours[0], theirs[0], ours[1], theirs[1], ours[2], theirs[2], ours[0] / theirs[0], ours[1] / theirs[1],
           ours[2] / theirs[2]);
}

int main(int argc, char **argv) {
    int at = 1;
    keep = at < argc && strcmp(argv[at], "--keep") == 0;
    at += keep;
    if (at + 1 < argc && strcmp(argv[at], "--peers") == 0) {
        peers = (unsigned)strtoul(argv[at + 1], NULL, 10);
        at += 2;
    }
    if (at + 1 != argc || strcmp(argv[at], "peers") != 0 || !peers || sodium_init() < 0) {
        fputs("usage: bench_kernel [--keep] [--peers N] peers\n", stderr);
        return 2;
    }
    keys = calloc(peers + ADDS, sizeof *keys);
    randombytes_buf(keys, (peers + ADDS) * sizeof *keys);
    measure_peers();
    free(keys);
    return 0;
}
