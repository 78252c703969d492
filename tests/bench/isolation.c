/* What isolation costs a packet in the kernel: nanoseconds of bpf/isolate.bpf.c with 10 tenants and with many.
 *
 *     isolation [--tenants N] [--packets N] [--rounds N]       as root; JSON on stdout
 *
 * Measured by BPF_PROG_TEST_RUN: the kernel runs the program over and over and tells the mean time. A small program in
 * front of it (traffic.bpf.c) makes each packet that of another router, picked at random among all, so that nothing a
 * packet needs is in a cache only because the packet before needed it too; what that program costs is measured with an
 * empty one behind it and subtracted. No stack, no device, no WireGuard: the program and its maps alone.
 *
 * Half of the packets come from a router to the hub, half go from the hub to a router. Each tenant has one router. So
 * many tenants differ from ten in two ways, and both ratios are told: against ten tenants with as many routers (what
 * tenants cost), and against ten with one router each, whose few records never leave the nearest cache (what memory
 * costs, too; under software emulation, where memory is no slower than anything else, that is little).
 *
 * All three stand side by side and take turns, round after round, so that whatever else the machine does, and whatever
 * a first run costs, falls on all alike; each figure is the median of its rounds.
 *
 * Everything happens in a mount namespace of its own; nothing is attached anywhere. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backend/isolate/isolate.h"
#include "base/bytes.h"
#include "model/problem.h"
#include "traffic.skel.h"

#define PINNED "/sys/fs/bpf/sallyport/%s/layout2/%s"
#define FIRST_ROUTER 0x0a010000u
#define HUB 0x0a000001u
#define PACKET_SIZE (14 + 20 + 8 + 64)

#define ROUNDS_MAX 1000
#define DIRECTIONS 2 /* from_router, to_router */

static const char *const directions[DIRECTIONS] = {"from_router", "to_router"};

struct world {
    const char *title;
    const char *interface_name; /* of its pins; there is no such interface */
    uint32_t tenants, routers;
    struct isolate *isolate;
    int programs[DIRECTIONS];
    double rounds[DIRECTIONS][ROUNDS_MAX]; /* ns a packet */
};

struct bench {
    uint32_t tenants;
    uint32_t packets; /* a round */
    unsigned rounds;
    struct traffic_bpf *traffic;
};

static void die(const char *what, int error) {
    fprintf(stderr, "isolation: %s: %s\n", what, strerror(error < 0 ? -error : error));
    exit(1);
}

static void need(int error, const char *what) {
    if (error < 0) {
        die(what, error);
    }
}

/* --- population --- */

static struct uuid tenant_id(uint32_t number) {
    struct uuid id = {0};
    be32_put(id.bytes + 12, number + 1);
    return id;
}

static void populate(struct world *w) {
    const struct prefix hub = {.addr = ip_from_v4(HUB), .length = 8};
    struct problem problem;
    unsigned touched = 0;
    if (isolate_open(w->interface_name, &w->isolate, &problem) < 0) {
        fprintf(stderr, "isolation: %s\n", problem.detail);
        exit(1);
    }
    need(isolate_set_hub(w->isolate, &hub, 1, &touched), "hub");
    for (uint32_t i = 0; i < w->tenants; i++) {
        const struct desired_tenant tenant = {.id = tenant_id(i)};
        need(isolate_set_tenant(w->isolate, &tenant), "tenant");
    }
    for (uint32_t i = 0; i < w->routers; i++) {
        struct desired_peer peer = {.tenant = tenant_id(i % w->tenants), .address = ip_from_v4(FIRST_ROUTER + i)};
        be32_put(peer.public_key.bytes, i + 1);
        need(isolate_move(w->isolate, NULL, &peer), "router");
    }
    need(isolate_flush(w->isolate), "routers");
    for (int i = 0; i < DIRECTIONS; i++) {
        char path[128];
        snprintf(path, sizeof path, PINNED, w->interface_name, directions[i]);
        w->programs[i] = bpf_obj_get(path);
        need(w->programs[i] < 0 ? -errno : 0, path);
    }
}

/* --- runs --- */

static void make_packet(uint8_t packet[PACKET_SIZE]) {
    memset(packet, 0, PACKET_SIZE);
    be16_put(packet + 12, 0x0800);
    packet[14] = 0x45;
    be16_put(packet + 16, PACKET_SIZE - 14);
    packet[22] = 64;
    packet[23] = IPPROTO_UDP;
    be32_put(packet + 26, HUB);
    be32_put(packet + 30, HUB);
}

static double run(const struct bench *b, int program) {
    uint8_t packet[PACKET_SIZE];
    const uint32_t place = 0;
    make_packet(packet);
    need(bpf_map_update_elem(bpf_map__fd(b->traffic->maps.measured), &place, &program, BPF_ANY), "tail call");
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof packet,
                .repeat = (int)b->packets);
    need(bpf_prog_test_run_opts(bpf_program__fd(b->traffic->progs.traffic), &options), "test run");
    return options.duration;
}

static void play(const struct bench *b, struct world *w, unsigned round) {
    b->traffic->data->routers = w->routers;
    for (int i = 0; i < DIRECTIONS; i++) {
        b->traffic->bss->towards = i > 0;
        double empty = run(b, bpf_program__fd(b->traffic->progs.nothing));
        w->rounds[i][round] = run(b, w->programs[i]) - empty;
    }
}

static int forbid_drops(void *context, const char *name, uint64_t value) {
    (void)context;
    if (strncmp(name, "drop.", 5) == 0 && value > 0) {
        fprintf(stderr, "isolation: %ju packets were dropped (%s), so this measures something else\n", (uintmax_t)value,
                name);
        exit(1);
    }
    return 0;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *list, unsigned count) {
    qsort(list, count, sizeof *list, by_size);
    return count % 2 ? list[count / 2] : (list[count / 2 - 1] + list[count / 2]) / 2;
}

static void measure(const struct bench *b, struct world *worlds, size_t count, double *ret_means) {
    for (unsigned round = 0; round < b->rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            play(b, &worlds[i], round);
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct world *w = &worlds[i];
        double ns[DIRECTIONS] = {median(w->rounds[0], b->rounds), median(w->rounds[1], b->rounds)};
        ret_means[i] = (ns[0] + ns[1]) / 2;
        isolate_each_counter(w->isolate, forbid_drops, NULL);
        printf("  \"%s\": {\"from_router_ns\": %.0f, \"to_router_ns\": %.0f, \"mean_ns\": %.1f},\n", w->title, ns[0],
               ns[1], ret_means[i]);
    }
}

static void own_namespace(void) {
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) < 0) {
        die("a mount namespace with a BPF file system", errno);
    }
}

static void read_options(int argc, char **argv, struct bench *b) {
    static const struct option options[] = {
        {"tenants", required_argument, NULL, 't'},
        {"packets", required_argument, NULL, 'p'},
        {"rounds", required_argument, NULL, 'r'},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        unsigned long value = optarg ? strtoul(optarg, NULL, 10) : 0;
        if (c == '?' || value == 0 || value > (c == 'r' ? ROUNDS_MAX : 1000000000)) {
            fputs("usage: isolation [--tenants N] [--packets N] [--rounds N]\n", stderr);
            exit(2);
        }
        *(c == 't' ? &b->tenants : c == 'p' ? &b->packets : &b->rounds) = (unsigned)value;
    }
}

int main(int argc, char **argv) {
    struct bench b = {.tenants = 100000, .packets = 1000000, .rounds = 5};
    struct utsname host;
    double mean[3];
    read_options(argc, argv, &b);
    own_namespace();
    uname(&host);
    b.traffic = traffic_bpf__open_and_load();
    if (!b.traffic) {
        die("traffic.bpf.c", errno);
    }
    b.traffic->bss->first_router = FIRST_ROUTER;
    static struct world worlds[] = {{"ten_tenants_ten_routers", "spbench0", 10, 10},
                                    {"ten_tenants_same_routers", "spbench1", 10},
                                    {"all_tenants", "spbench2"}};
    worlds[1].routers = worlds[2].tenants = worlds[2].routers = b.tenants;
    for (int i = 0; i < 3; i++) {
        populate(&worlds[i]);
    }
    printf("{\n  \"kernel\": \"%s\",\n  \"tenants\": %u,\n  \"packets\": %u,\n", host.release, b.tenants, b.packets);
    measure(&b, worlds, 3, mean);
    printf("  \"isolation_ns_per_packet_10\": %.1f,\n  \"isolation_ns_per_packet_100k\": %.1f,\n", mean[0], mean[2]);
    printf("  \"over_ten_tenants_same_routers\": %.2f,\n", mean[2] / mean[1]);
    printf("  \"over_ten_tenants_ten_routers\": %.2f\n}\n", mean[2] / mean[0]);
    for (int i = 0; i < 3; i++) {
        isolate_destroy(worlds[i].isolate);
    }
    traffic_bpf__destroy(b.traffic);
    return 0;
}
