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
 * Everything happens in a mount namespace of its own; nothing is attached anywhere. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backend/isolate.h"
#include "base/bytes.h"
#include "model/problem.h"
#include "traffic.skel.h"

#define INTERFACE "spbench"
#define PINNED "/sys/fs/bpf/sallyport/" INTERFACE "/layout1/"
#define FIRST_ROUTER 0x0a010000u
#define HUB 0x0a000001u
#define PACKET_SIZE (14 + 20 + 8 + 64)

struct bench {
    uint32_t tenants;
    uint32_t packets; /* a round */
    unsigned rounds;
    struct traffic_bpf *traffic;
    struct isolate *isolate;
};

struct result {
    double from_router, to_router; /* ns a packet */
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

static void populate(struct bench *b, uint32_t tenants, uint32_t routers) {
    const struct prefix hub = {.addr = ip_from_v4(HUB), .length = 8};
    struct problem problem;
    unsigned touched = 0;
    isolate_destroy(b->isolate);
    b->isolate = NULL;
    if (isolate_open(INTERFACE, &b->isolate, &problem) < 0) {
        fprintf(stderr, "isolation: %s\n", problem.detail);
        exit(1);
    }
    need(isolate_set_hub(b->isolate, &hub, 1, &touched), "hub");
    for (uint32_t i = 0; i < tenants; i++) {
        const struct desired_tenant tenant = {.id = tenant_id(i)};
        need(isolate_set_tenant(b->isolate, &tenant), "tenant");
    }
    for (uint32_t i = 0; i < routers; i++) {
        struct desired_peer peer = {.tenant = tenant_id(i % tenants), .address = ip_from_v4(FIRST_ROUTER + i)};
        be32_put(peer.public_key.bytes, i + 1);
        need(isolate_move(b->isolate, NULL, &peer), "router");
    }
    need(isolate_flush(b->isolate), "routers");
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

static double run_once(const struct bench *b, int program) {
    uint8_t packet[PACKET_SIZE];
    const uint32_t place = 0;
    make_packet(packet);
    need(bpf_map_update_elem(bpf_map__fd(b->traffic->maps.measured), &place, &program, BPF_ANY), "tail call");
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof packet,
                .repeat = (int)b->packets);
    need(bpf_prog_test_run_opts(bpf_program__fd(b->traffic->progs.traffic), &options), "test run");
    return options.duration;
}

/* The least of some rounds: whatever else the machine does only adds. */
static double run(const struct bench *b, int program) {
    double least = run_once(b, program);
    for (unsigned i = 1; i < b->rounds; i++) {
        double one = run_once(b, program);
        least = one < least ? one : least;
    }
    return least;
}

static double measure_one(const struct bench *b, const char *pin, bool towards, uint32_t routers) {
    int program = bpf_obj_get(pin);
    need(program < 0 ? -errno : 0, pin);
    b->traffic->bss->towards = towards;
    b->traffic->data->routers = routers;
    double empty = run(b, bpf_program__fd(b->traffic->progs.nothing)), whole = run(b, program);
    close(program);
    return whole - empty;
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

static struct result measure(struct bench *b, uint32_t tenants, uint32_t routers) {
    populate(b, tenants, routers);
    struct result result = {
        .from_router = measure_one(b, PINNED "from_router", false, routers),
        .to_router = measure_one(b, PINNED "to_router", true, routers),
    };
    isolate_each_counter(b->isolate, forbid_drops, NULL);
    return result;
}

static double mean(struct result r) {
    return (r.from_router + r.to_router) / 2;
}

static void print(const char *name, struct result r, const char *after) {
    printf("  \"%s\": {\"from_router_ns\": %.0f, \"to_router_ns\": %.0f, \"mean_ns\": %.1f}%s\n", name, r.from_router,
           r.to_router, mean(r), after);
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
        if (c == '?' || value == 0 || value > 1000000000) {
            fputs("usage: isolation [--tenants N] [--packets N] [--rounds N]\n", stderr);
            exit(2);
        }
        *(c == 't' ? &b->tenants : c == 'p' ? &b->packets : &b->rounds) = (unsigned)value;
    }
}

int main(int argc, char **argv) {
    struct bench b = {.tenants = 100000, .packets = 1000000, .rounds = 5};
    struct utsname host;
    read_options(argc, argv, &b);
    own_namespace();
    uname(&host);
    b.traffic = traffic_bpf__open_and_load();
    if (!b.traffic) {
        die("traffic.bpf.c", errno);
    }
    b.traffic->bss->first_router = FIRST_ROUTER;
    struct result few = measure(&b, 10, 10);
    struct result crowded = measure(&b, 10, b.tenants);
    struct result many = measure(&b, b.tenants, b.tenants);
    printf("{\n  \"kernel\": \"%s\",\n  \"tenants\": %u,\n  \"packets\": %u,\n", host.release, b.tenants, b.packets);
    print("ten_tenants_ten_routers", few, ",");
    print("ten_tenants_same_routers", crowded, ",");
    print("all_tenants", many, ",");
    printf("  \"isolation_ns_per_packet_10\": %.1f,\n  \"isolation_ns_per_packet_100k\": %.1f,\n", mean(few),
           mean(many));
    printf("  \"over_ten_tenants_same_routers\": %.2f,\n", mean(many) / mean(crowded));
    printf("  \"over_ten_tenants_ten_routers\": %.2f\n}\n", mean(many) / mean(few));
    isolate_destroy(b.isolate);
    traffic_bpf__destroy(b.traffic);
    return 0;
}
