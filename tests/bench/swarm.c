#include "swarm.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "model/prefix.h"

static const char usage[] =
    "Usage: swarm [OPTION]... [COMMAND]...\n"
    "Plays many WireGuard routers against one gateway.\n"
    "\n"
    "  --peers N            routers, at most 1048576; default: 1000\n"
    "  --seed TEXT          what all keys follow from; default: swarm\n"
    "  --server ADDR:PORT   the gateway; default: 192.0.2.1:51820\n"
    "  --sources PREFIX     addresses to send from, local to this namespace; default: 198.18.0.0/16. Of IPv6, with an\n"
    "                       IPv6 gateway, a prefix of /40 to /64, of which each source has a /64\n"
    "  --sockets N          source ports, at most 8192; default: 16\n"
    "  --share N            so many neighbours send from one address and port; default: 1\n"
    "  --crypto NAME        as of sallyport-wg; default: auto\n"
    "\n"
    "A COMMAND is a JSON object; without any they are read from standard input, one a line. Each is answered by one\n"
    "line of JSON. Times are in seconds.\n"
    "  {\"do\": \"load\", \"socket\": PATH, \"tenants\": \"none\", \"unique\" or \"private\", \"routers_per_tenant\": "
    "1,\n"
    "   \"peers\": N, \"silent\": false, \"keepalive\": 0, \"listen_port\": 51820}       peers into a gateway, over "
    "its UAPI\n"
    "  {\"do\": \"prepare\", \"peers\": N, \"tries\": N}     makes the initiations of the next connect beforehand\n"
    "  {\"do\": \"connect\", \"peers\": N, \"seconds\": 60, \"window\": 64, \"spread\": 0, \"awake\": "
    "false}\n"
    "                                                 `window` unanswered at a time, or all within `spread` seconds;\n"
    "                                                 `awake`: never sleeps, so the gateway need not wake it\n"
    "  {\"do\": \"idle\", \"seconds\": 10, \"keepalive\": 25, \"rekey\": 0}\n"
    "  {\"do\": \"data\", \"seconds\": 5, \"rate\": 0, \"size\": 128, \"peers\": N, \"burst\": 1, \"open_every\": 0, "
    "\"site\": false,\n"
    "   \"mix\": false}                    a `burst` is sent with one call: by one router, or one packet each by so "
    "many\n"
    "                                     neighbours that share an address\n"
    "  {\"do\": \"echo\", \"count\": 1000, \"peers\": N, \"rate\": 1000}                   pings of the hub, 10.0.0.1\n"
    "  {\"do\": \"flood\", \"rate\": 200000, \"seconds\": 10, \"named\": false}            forged initiations, naming "
    "its routers\n"
    "  {\"do\": \"x25519\", \"seconds\": 1}                                           multiplications of one CPU\n"
    "\n"
    "Every answer tells whether the swarm itself was what limited (own_limit): it used or waited for more than 90 % "
    "of\n"
    "a CPU (own_cpu_percent, own_cpu_waited_percent), or its sockets were full (own_drops).\n";

#define SOURCE_BITS_MAX 24
#define LIMITED_PERCENT 90 /* of one CPU, used or waited for: then the swarm is what limits */

static const struct {
    const char *name;
    swarm_command_fn *run;
} commands[] = {
    {"load", swarm_load}, {"prepare", swarm_prepare}, {"connect", swarm_connect}, {"idle", swarm_idle},
    {"data", swarm_data}, {"echo", swarm_echo},       {"flood", swarm_flood},     {"x25519", swarm_x25519},
};

int swarm_fail(struct swarm *swarm, int error, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(swarm->error, sizeof swarm->error, format, args);
    va_end(args);
    return error;
}

double swarm_cpu_s(void) {
    struct rusage usage_now;
    getrusage(RUSAGE_SELF, &usage_now);
    return (double)(usage_now.ru_utime.tv_sec + usage_now.ru_stime.tv_sec) +
           (double)(usage_now.ru_utime.tv_usec + usage_now.ru_stime.tv_usec) / 1e6;
}

static int compare(const void *a, const void *b) {
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

void swarm_add_percentiles(json_t *result, const char *name, double *values, size_t count) {
    static const struct {
        const char *name;
        double part;
    } wanted[] = {{"p50", 0.5}, {"p99", 0.99}, {"max", 1}};
    if (count == 0) {
        return;
    }
    qsort(values, count, sizeof *values, compare);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        char full[64];
        snprintf(full, sizeof full, "%s_%s", name, wanted[i].name);
        json_object_set_new(result, full, json_real(values[(size_t)((double)(count - 1) * wanted[i].part)]));
    }
}

int swarm_need(struct swarm *swarm, bool routers, bool net) {
    if (routers && !swarm->routers && swarm_routers_create(swarm) < 0) {
        return swarm_fail(swarm, -ENOMEM, "out of memory for %u routers", swarm->count);
    }
    int error = net && !swarm->net ? net_open(&swarm->net_options, &swarm->net) : 0;
    return error < 0 ? swarm_fail(swarm, error, "cannot open sockets: %s", strerror(-error)) : 0;
}

static void add_tally(const struct swarm *swarm, json_t *result) {
    const struct tally *t = &swarm->tally;
    const struct {
        const char *name;
        uint64_t value;
    } values[] = {
        {"initiations", t->initiations},
        {"responses", t->responses},
        {"bad_responses", t->bad_responses},
        {"cookies", t->cookies},
        {"data_sent", t->data_sent},
        {"data_received", t->data_received},
        {"data_received_bytes", t->data_received_bytes},
        {"data_opened", t->data_opened},
        {"bad_data", t->bad_data},
        {"keepalives_received", t->keepalives_received},
        {"initiations_received", t->initiations_received},
        {"unknown_received", t->unknown},
        {"send_failed", swarm->net ? net_failed(swarm->net) : 0},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (values[i].value) {
            json_object_set_new(result, values[i].name, json_integer((json_int_t)values[i].value));
        }
    }
}

/* What this process itself was short of: figures taken while it was say nothing of the gateway. */
struct strain {
    uint64_t at_ns;
    double cpu_s, waited_s;
    uint64_t dropped;
};

/* Time that this thread was ready and got no CPU. */
static double waited_s(void) {
    unsigned long long run = 0;
    unsigned long long waited = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    if (file) {
        if (fscanf(file, "%llu %llu", &run, &waited) != 2) {
            waited = 0;
        }
        fclose(file);
    }
    return (double)waited / (double)NSEC_PER_SEC;
}

static struct strain take_strain(const struct swarm *swarm) {
    return (struct strain){
        .at_ns = clock_mono_ns(),
        .cpu_s = swarm_cpu_s(),
        .waited_s = waited_s(),
        .dropped = swarm->net ? net_dropped(swarm->net) : 0,
    };
}

static void add_strain(const struct swarm *swarm, const struct strain *before, json_t *result) {
    const struct strain now = take_strain(swarm);
    double elapsed = (double)(now.at_ns - before->at_ns) / (double)NSEC_PER_SEC;
    double busy = (now.cpu_s - before->cpu_s) / elapsed * 100;
    double waited = (now.waited_s - before->waited_s) / elapsed * 100;
    uint64_t dropped = now.dropped - before->dropped;
    json_object_set_new(result, "own_cpu_percent", json_real(busy));
    json_object_set_new(result, "own_cpu_waited_percent", json_real(waited));
    json_object_set_new(result, "own_drops", json_integer((json_int_t)dropped));
    json_object_set_new(result, "own_limit", json_boolean(dropped > 0 || busy + waited > LIMITED_PERCENT));
}

static int dispatch(struct swarm *swarm, json_t *request, json_t *result) {
    const char *name = json_string_value(json_object_get(request, "do"));
    for (size_t i = 0; name && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            json_object_set_new(result, "do", json_string(commands[i].name));
            json_object_del(request, "do");
            memset(&swarm->tally, 0, sizeof swarm->tally);
            const struct strain before = take_strain(swarm);
            int error = commands[i].run(swarm, request, result);
            add_tally(swarm, result);
            add_strain(swarm, &before, result);
            return error;
        }
    }
    return swarm_fail(swarm, -EINVAL, "no such command; see --help");
}

/* One command, one line of answer. */
static int run_command(struct swarm *swarm, const char *text) {
    json_error_t fault;
    json_t *result = json_object();
    json_t *request = json_loads(text, 0, &fault);
    int error = request ? dispatch(swarm, request, result) : swarm_fail(swarm, -EINVAL, "no JSON: %s", fault.text);
    if (error < 0) {
        json_object_set_new(result, "error", json_string(swarm->error));
    }
    json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(8));
    putchar('\n');
    fflush(stdout);
    json_decref(request);
    json_decref(result);
    return error;
}

static int run_input(struct swarm *swarm) {
    char *line = NULL;
    size_t room = 0;
    int failed = 0;
    while (getline(&line, &room, stdin) > 0) {
        failed |= run_command(swarm, line) < 0;
    }
    free(line);
    return failed;
}

struct arguments {
    unsigned long peers;
    unsigned long sockets;
    unsigned long share;
    const char *seed;
    const char *server;
    const char *sources;
    const char *crypto;
};

static int parse_arguments(int argc, char **argv, struct arguments *a) {
    static const struct option options[] = {
        {"peers", required_argument, NULL, 'p'},
        {"seed", required_argument, NULL, 's'},
        {"server", required_argument, NULL, 'g'},
        {"sources", required_argument, NULL, 'a'},
        {"sockets", required_argument, NULL, 'n'},
        {"crypto", required_argument, NULL, 'c'},
        {"share", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int code;
    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (code) {
        case 'p':
            a->peers = strtoul(optarg, NULL, 10);
            break;
        case 's':
            a->seed = optarg;
            break;
        case 'g':
            a->server = optarg;
            break;
        case 'a':
            a->sources = optarg;
            break;
        case 'n':
            a->sockets = strtoul(optarg, NULL, 10);
            break;
        case 'm':
            a->share = strtoul(optarg, NULL, 10);
            break;
        case 'c':
            a->crypto = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(EXIT_SUCCESS);
        default:
            return -EINVAL;
        }
    }
    return 0;
}

static void fill_random(void *context, void *out, size_t size) {
    (void)context;
    randombytes_buf(out, size);
}

static int swarm_create(const struct arguments *a, struct swarm *ret_swarm) {
    union endpoint server;
    struct prefix sources;
    if (a->peers < 1 || a->peers > SWARM_ROUTERS_MAX || a->sockets < 1 || a->sockets > NET_SOCKETS_MAX ||
        a->share < 1 || a->share > SWARM_ROUTERS_MAX || endpoint_parse(a->server, &server) < 0 ||
        prefix_parse(a->sources, &sources, NULL) < 0 || sources.addr.family != server.sa.sa_family) {
        return -EINVAL;
    }
    /* Of IPv6, a prefix of /64s. */
    unsigned bits = sources.addr.family == AF_INET ? 32 : 64;
    if (sources.length > bits || bits - sources.length > SOURCE_BITS_MAX) {
        return -EINVAL;
    }
    struct swarm swarm = {.count = (uint32_t)a->peers, .share = (uint32_t)a->share, .random.fill = fill_random};
    swarm.net_options = (struct net_options){
        .server = server,
        .first_address = sources.addr,
        .addresses = 1u << (bits - sources.length),
        .sockets = (unsigned)a->sockets,
    };
    swarm.aead_ops = aead_choose(a->crypto);
    if (!swarm.aead_ops || swarm.aead_ops->create(&swarm.aead) < 0) {
        return -ENOTSUP;
    }
    crypto_generichash(swarm.seed.bytes, KEY_SIZE, (const uint8_t *)a->seed, strlen(a->seed), NULL, 0);
    swarm_derive(&swarm, "hub", 0, swarm.hub_private.bytes);
    key_public(&swarm.hub_private, &swarm.hub_public);
    *ret_swarm = swarm;
    return 0;
}

/* Room for many sockets. */
static void raise_limits(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv) {
    static struct swarm swarm;
    struct arguments a = {
        .peers = 1000,
        .sockets = 16,
        .share = 1,
        .seed = "swarm",
        .server = "192.0.2.1:51820",
        .sources = "198.18.0.0/16",
        .crypto = "auto",
    };
    if (sodium_init() < 0 || parse_arguments(argc, argv, &a) < 0 || swarm_create(&a, &swarm) < 0) {
        fputs(usage, stderr);
        return 2;
    }
    raise_limits();
    int failed = 0;
    for (int i = optind; i < argc; i++) {
        failed |= run_command(&swarm, argv[i]) < 0;
    }
    if (optind == argc) {
        failed = run_input(&swarm);
    }
    net_close(swarm.net);
    swarm_routers_free(&swarm);
    swarm.aead_ops->free(swarm.aead);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
