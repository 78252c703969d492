/* sallyportd: reads its configuration, opens what it needs, joins the rooms together, and waits to be told to stop.
 *
 * What is wrong with the configuration ends it with status 2, what is wrong with the machine (a socket, the store) with
 * status 1. A data plane that cannot be had is neither: the API comes up and says so, reconciliation goes on trying. */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "api/http/listen.h"
#include "base/log.h"
#include "daemon/choice.h"
#include "daemon/config.h"
#include "daemon/move.h"
#include "daemon/notify.h"
#include "daemon/secret.h"
#include "service/service.h"

#define DEFAULT_GROUP "sallyport"
#define ENGINE_PROGRAM "sallyport-wg"
#define LOOK_EVERY_S 5 /* at the state of the data plane, to log what changed */

enum exit_status {
    EXIT_DONE = 0,
    EXIT_MACHINE = 1,
    EXIT_CONFIGURATION = 2,
};

static const char help[] = "usage: sallyportd [--config FILE] [--check]\n"
                           "       sallyportd --store-migrate FROM TO\n"
                           "\n"
                           "The control plane of Sallyport: keeps tenants and routers, serves the API, and makes the\n"
                           "data plane follow.\n"
                           "\n"
                           "  -c, --config FILE  read this instead of " CONFIG_DEFAULT_FILE "\n"
                           "      --check        only say whether the configuration is right\n"
                           "      --store-migrate FROM TO\n"
                           "                     what `sallyport store migrate` runs\n"
                           "      --version\n"
                           "      --help\n"
                           "\n"
                           "Every key of the file can be given in the environment as SALLYPORT_<SECTION>_<KEY>.\n"
                           "docs/sallyportd.md explains them all. Exit status: 0 done, 1 the machine does not allow\n"
                           "it, 2 the configuration or the command line is wrong.\n";

struct options {
    const char *config_file;
    bool check;
    const char *from, *to; /* --store-migrate */
};

/* What is open; freed in the reverse order. */
struct gateway {
    struct config config;
    bool has_group;
    gid_t group;
    char engine_path[CONFIG_TEXT_SIZE];
    char engine_log[CONFIG_TEXT_SIZE + 16];
    char *tls_cert; /* owned */
    char *tls_key;  /* owned, secret */
    int unix_fd;    /* until the API has it; -1: none */
    int tcp_fd;
    struct service *service;
    struct api *api;
};

/* -1: go on; else the exit status. */
static int options_read(int argc, char **argv, struct options *ret_options) {
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},  {"check", no_argument, NULL, 'k'},
        {"store-migrate", no_argument, NULL, 'm'}, {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    struct options options = {0};
    bool migrate = false;
    int letter;
    while ((letter = getopt_long(argc, argv, "c:h", known, NULL)) != -1) {
        switch (letter) {
        case 'c':
            options.config_file = optarg;
            break;
        case 'k':
            options.check = true;
            break;
        case 'm':
            migrate = true;
            break;
        case 'v':
            puts("sallyportd " SALLYPORT_VERSION);
            return EXIT_DONE;
        case 'h':
            fputs(help, stdout);
            return EXIT_DONE;
        default:
            fputs("Try: sallyportd --help\n", stderr);
            return EXIT_CONFIGURATION;
        }
    }
    if (migrate && argc - optind == 2) {
        options.from = argv[optind++];
        options.to = argv[optind++];
    } else if (migrate) {
        fputs("sallyportd: --store-migrate takes two URLs: from and to\nTry: sallyportd --help\n", stderr);
        return EXIT_CONFIGURATION;
    }
    if (optind < argc) {
        fprintf(stderr, "sallyportd: unexpected argument \"%s\"\nTry: sallyportd --help\n", argv[optind]);
        return EXIT_CONFIGURATION;
    }
    *ret_options = options;
    return -1;
}

/* --- what the configuration asks for beyond its form --- */

/* The group that may use the socket. Only the default one may be missing. */
static bool group_find(struct gateway *g, struct buf *faults) {
    char room[4096];
    struct group entry, *found = NULL;
    const char *name = g->config.socket_group;
    if (!name[0]) {
        return true;
    }
    getgrnam_r(name, &entry, room, sizeof room, &found);
    if (found) {
        g->has_group = true;
        g->group = found->gr_gid;
    } else if (strcmp(name, DEFAULT_GROUP) != 0) {
        buf_printf(faults, "[api] socket_group: there is no group \"%s\"; make it with: groupadd --system %s\n", name,
                   name);
        return false;
    }
    return true;
}

/* Tokens travel over TCP: beyond this host only under TLS. */
static bool listen_check(const struct config *c, struct buf *faults) {
    union endpoint address;
    if (!c->listen[0]) {
        return true;
    }
    if (endpoint_parse(c->listen, &address) < 0) {
        buf_printf(faults, "[api] listen: \"%s\" is not an address with a port such as 127.0.0.1:8080 or [::1]:8080\n",
                   c->listen);
        return false;
    }
    if (!c->tls_cert[0] && !c->insecure && !listen_is_loopback(c->listen)) {
        buf_printf(
            faults,
            "[api] listen = %s is reachable from other hosts, and without TLS everybody on the way could read the "
            "tokens. Set tls_cert and tls_key, listen on 127.0.0.1, or accept the risk with insecure = true\n",
            c->listen);
        return false;
    }
    return true;
}

static bool tls_read(struct gateway *g, struct buf *faults) {
    struct problem problem = {0};
    if (!g->config.tls_cert[0]) {
        return true;
    }
    if (secret_read_text(g->config.tls_cert, &g->tls_cert, &problem) < 0 ||
        secret_read_text(g->config.tls_key, &g->tls_key, &problem) < 0) {
        buf_printf(faults, "[api] tls_cert, tls_key: %s\n", problem.detail);
        return false;
    }
    return true;
}

/* The engine beside us, else on the PATH. Empty if there is none. */
static void engine_find(struct gateway *g) {
    char self[CONFIG_TEXT_SIZE - sizeof ENGINE_PROGRAM];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (g->config.engine_path[0]) {
        memcpy(g->engine_path, g->config.engine_path, sizeof g->engine_path);
        return;
    }
    if (size > 0) {
        self[size] = '\0';
        *(strrchr(self, '/') + 1) = '\0';
        snprintf(g->engine_path, sizeof g->engine_path, "%s" ENGINE_PROGRAM, self);
        if (access(g->engine_path, X_OK) == 0) {
            return;
        }
    }
    const char *path = getenv("PATH");
    for (const char *at = path; at && *at; at += *at == ':') {
        size_t part = strcspn(at, ":");
        int length = snprintf(g->engine_path, sizeof g->engine_path, "%.*s/" ENGINE_PROGRAM, (int)part, at);
        if (part > 0 && length > 0 && (size_t)length < sizeof g->engine_path && access(g->engine_path, X_OK) == 0) {
            return;
        }
        at += part;
    }
    g->engine_path[0] = '\0';
}

static void faults_print(const struct buf *faults) {
    for (const char *at = faults->data; at && *at;) {
        size_t size = strcspn(at, "\n");
        fprintf(stderr, "sallyportd: %.*s\n", (int)size, at);
        at += size + (at[size] == '\n');
    }
}

static int configure(struct gateway *g, const char *file) {
    struct buf faults = {0};
    int status = -1;
    bool fine = config_load(file, &g->config, &faults) == 0;
    if (fine) {
        fine = group_find(g, &faults);
        fine = listen_check(&g->config, &faults) && fine;
        fine = tls_read(g, &faults) && fine;
    }
    if (!fine) {
        faults_print(&faults);
        status = EXIT_CONFIGURATION;
    }
    buf_free(&faults);
    return status;
}

/* --- the process --- */

static void process_prepare(sigset_t *ret_signals) {
    struct rlimit limit;
    const struct rlimit none = {0, 0};
    umask(0077);
    setrlimit(RLIMIT_CORE, &none); /* a dump would hold the private key */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    /* Blocked before any thread starts; the loop below takes them one by one. */
    sigemptyset(ret_signals);
    sigaddset(ret_signals, SIGTERM);
    sigaddset(ret_signals, SIGINT);
    sigaddset(ret_signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, ret_signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Whether there may be routers that know a key already. Of a server nobody can say before it was asked. */
static bool store_exists(const char *url) {
    static const char file[] = "sqlite:";
    return strncmp(url, file, sizeof file - 1) == 0 && access(url + sizeof file - 1, F_OK) == 0;
}

/* What the kernel's data plane left must not stand in the engine's way. */
static void release_kernel(const char *interface_name) {
    struct problem problem = {0};
    int rc = backend_kernel_release(interface_name, &problem);
    if (rc > 0) {
        log_warning("%s was the kernel's until now; it is made anew for the engine, and sessions begin anew",
                    interface_name);
    } else if (rc < 0) {
        log_error("%s", problem.detail);
    }
}

/* Opens it on the data plane of choice; if that was chosen automatically and cannot carry what the store holds, on the
 * engine. */
static int service_open_on(struct gateway *g, struct choice *choice, struct service_config *sc,
                           struct problem *problem) {
    const struct config *c = &g->config;
    for (;;) {
        sc->backend = choice->backend;
        sc->backend_why = choice->why;
        log_info("data plane: %s on %s, UDP port %u (%s)", sc->backend->name, c->interface_name, c->listen_port,
                 sc->backend_why);
        if (sc->backend == &backend_engine) {
            release_kernel(c->interface_name);
        }
        int error = service_open(sc, &g->service, problem);
        if (error == 0 || !choice->automatic || strcmp(problem->type, SERVICE_PRIVATE_TENANTS) != 0) {
            return error;
        }
        choice_fall_back(choice, problem);
    }
}

static int service_start(struct gateway *g, struct problem *problem) {
    const struct config *c = &g->config;
    struct choice choice;
    bool made = false;
    struct service_config sc = {
        .store_url = c->store_url,
        .pool = c->pool,
        .hub_address = c->hub_address,
        .ula = c->ula,
        .lan_prefixes = c->lan_prefixes.list,
        .lan_prefix_count = c->lan_prefixes.count,
        .endpoint = c->endpoint,
        .family = c->family,
        .listen_port = (uint16_t)c->listen_port,
        .mtu = c->mtu,
        .fwmark = c->fwmark,
        .backend_config = {.interface_name = c->interface_name,
                           .engine_path = g->engine_path[0] ? g->engine_path : NULL,
                           .engine_workers = c->workers,
                           .engine_xdp = c->xdp[0] ? c->xdp : NULL,
                           .engine_offloads_off = c->offloads_off,
                           .engine_log = g->engine_log[0] ? g->engine_log : NULL},
        .reconcile_s = c->reconcile_seconds,
        .usage_s = c->usage_seconds,
        .audit_days = c->audit_days,
        .name = c->name,
        .region = c->region,
        .version = SALLYPORT_VERSION,
        .grace_s = c->database_grace_seconds,
        .clock_tolerance_s = c->clock_tolerance_seconds,
    };
    int error = secret_read_identity(c->state_dir, &sc.identity, problem);
    if (error < 0) {
        return error;
    }
    error = secret_read_key(c->private_key_file, !store_exists(c->store_url), &made, &sc.private_key, problem);
    if (error < 0) {
        return error;
    }
    if (made) {
        log_info("made a private key in %s; back it up: every router knows this gateway by it", c->private_key_file);
    }
    choice_make(c->backend, c->interface_name, &choice);
    error = service_open_on(g, &choice, &sc, problem);
    sodium_memzero(&sc.private_key, sizeof sc.private_key);
    if (error < 0 && made) {
        unlink(c->private_key_file); /* nobody knows it, and the database may want another */
    }
    return error;
}

static void api_log(enum log_level level, const char *line) {
    log_write(level, "%s", line);
}

static int gateway_open(struct gateway *g, struct problem *problem) {
    const struct config *c = &g->config;
    int error = secret_claim_folder(c->state_dir, problem);
    if (error == 0 && c->socket[0]) {
        error = listen_unix(c->socket, g->has_group, g->group, &g->unix_fd, problem);
    }
    if (error == 0 && c->listen[0]) {
        error = listen_tcp(c->listen, &g->tcp_fd, problem);
    }
    if (error == 0) {
        error = service_start(g, problem);
    }
    if (error < 0) {
        return error;
    }
    struct api_config ac = {
        .service = g->service,
        .interface_name = c->interface_name,
        .unix_fd = g->unix_fd,
        .tcp_fd = g->tcp_fd,
        .has_group = g->has_group,
        .group = g->group,
        .tls_cert = g->tls_cert,
        .tls_key = g->tls_key,
        .writes_per_s = c->tenant_writes_per_second,
        .log = api_log,
    };
    bool local = g->unix_fd >= 0;
    g->unix_fd = g->tcp_fd = -1; /* the API's from here on */
    error = api_start(&ac, &g->api);
    if (error < 0) {
        return problem_set(problem, PROBLEM_UNAVAILABLE, "no-api", "", "the API cannot be served%s",
                           c->tls_cert[0] ? ": are tls_cert and tls_key a matching pair in PEM form?" : "");
    }
    if (local) {
        log_info("API on %s, for root%s%s", c->socket, g->has_group ? " and group " : " only (no group ",
                 g->has_group ? c->socket_group : DEFAULT_GROUP " on this host)");
    }
    if (c->listen[0]) {
        log_info("API on %s://%s, with tokens", c->tls_cert[0] ? "https" : "http", c->listen);
    }
    return 0;
}

static void gateway_close(struct gateway *g) {
    bool served = g->api != NULL;
    api_stop(g->api);
    service_close(g->service);
    if (g->unix_fd >= 0) {
        close(g->unix_fd);
        served = true;
    }
    if (g->tcp_fd >= 0) {
        close(g->tcp_fd);
    }
    if (served && g->config.socket[0]) {
        unlink(g->config.socket);
    }
    if (g->tls_key) {
        sodium_memzero(g->tls_key, strlen(g->tls_key));
    }
    free(g->tls_cert);
    free(g->tls_key);
}

/* Says what is wrong with this gateway among the others, once. */
static void fleet_watch(const struct service_status *status, char was[256]) {
    if (strcmp(was, status->warning) != 0) {
        if (status->warning[0]) {
            log_warning("%s", status->warning);
        } else {
            log_info("this gateway is well among the others again");
        }
        memcpy(was, status->warning, sizeof status->warning);
    }
}

/* What was last said. */
struct said {
    bool well, in_sync;
    uint64_t mended, renewed;
    char trouble[256], warning[256];
};

/* Says once what became of the data plane, and again when that changes. */
static void data_plane_watch(struct gateway *g, struct said *said) {
    struct service_status status = {0};
    service_status(g->service, &status);
    fleet_watch(&status, said->warning);
    bool well = status.backend.up && !status.trouble[0];
    if (said->in_sync && status.in_sync && status.mended > said->mended) {
        log_warning("the data plane was not as it had been set (did somebody change it by hand?): %" PRIu64
                    " differences, mended",
                    status.mended - said->mended);
    }
    if (status.in_sync && status.renewed > said->renewed) {
        log_warning(
            "the data plane had lost all that it held (was it restarted, or its interface deleted?): filled anew");
        said->renewed = status.renewed;
    }
    if (well && !said->well) {
        log_info("the data plane is up%s", status.in_sync ? " and holds what it should" : "");
    } else if (!well && (said->well || strcmp(said->trouble, status.trouble) != 0)) {
        const char *trouble = status.trouble[0] ? status.trouble : "it does not answer";
        size_t size = strlen(trouble);
        log_error("the data plane is not as it should be: %.*s. The API goes on, and so do attempts to mend it",
                  (int)(size - (trouble[size - 1] == '.')), trouble);
    }
    said->well = well;
    said->in_sync = status.in_sync;
    said->mended = status.mended;
    memcpy(said->trouble, status.trouble, sizeof status.trouble);
}

/* The same for the database. False: it came late, and what we would do about it had we known, a new start does. */
static bool store_watch(struct gateway *g, bool *was_well) {
    struct service_status status = {0};
    service_status(g->service, &status);
    if (status.store_ok && !*was_well) {
        log_info("the database (%s) answers", status.store_kind);
    } else if (!status.store_ok && (*was_well || status.store_refused)) {
        log_error("%s%s", status.store_trouble[0] ? status.store_trouble : "The database does not answer.",
                  status.store_refused ? "" : " Packets flow on; changes are refused meanwhile");
    }
    *was_well = status.store_ok;
    return !status.store_refused;
}

/* False: it cannot go on. */
static bool gateway_run(struct gateway *g, const sigset_t *signals) {
    const struct timespec second = {.tv_sec = 1};
    bool store_well = true;
    struct said said = {.trouble = "?"};
    for (unsigned turn = 0;; turn++) {
        if (turn % LOOK_EVERY_S == 1) {
            if (!store_watch(g, &store_well)) {
                return false;
            }
            data_plane_watch(g, &said);
        }
        int number = sigtimedwait(signals, NULL, &second);
        if (number == SIGTERM || number == SIGINT) {
            log_info("told to stop; tunnels go on");
            return true;
        }
        api_tend(g->api);
    }
}

int main(int argc, char **argv) {
    static struct gateway gateway = {.unix_fd = -1, .tcp_fd = -1};
    struct options options;
    struct problem problem = {0};
    sigset_t signals;
    int status = options_read(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    if (sodium_init() < 0) {
        fputs("sallyportd: libsodium cannot start (no random numbers?)\n", stderr);
        return EXIT_MACHINE;
    }
    if (options.from) {
        return move_store(options.from, options.to);
    }
    process_prepare(&signals);
    status = configure(&gateway, options.config_file);
    if (status >= 0 || options.check) {
        if (status < 0) {
            puts("The configuration is right.");
        }
        gateway_close(&gateway);
        return status < 0 ? EXIT_DONE : status;
    }
    log_open("sallyportd", gateway.config.log_level);
    engine_find(&gateway);
    if (!gateway.engine_path[0] && gateway.config.backend != CONFIG_BACKEND_KERNEL) {
        log_warning("no " ENGINE_PROGRAM
                    " beside this program or on the PATH: an engine that runs already is used, none "
                    "is started. Set [backend] engine_path");
    }
    if (!getenv("JOURNAL_STREAM")) {
        snprintf(gateway.engine_log, sizeof gateway.engine_log, "%s/engine.log", gateway.config.state_dir);
    }
    if (gateway.config.vpn_mode[0]) {
        log_info("VPN_MODE=%s: %s", gateway.config.vpn_mode,
                 config_backend_parse(gateway.config.vpn_mode, NULL) == 0
                     ? "chooses the backend"
                     : "names no backend (auto, engine, kernel), so it changes nothing");
    }
    if (gateway_open(&gateway, &problem) < 0) {
        log_error("%s", problem.detail);
        gateway_close(&gateway);
        return EXIT_MACHINE;
    }
    notify_send("READY=1");
    bool told = gateway_run(&gateway, &signals);
    notify_send("STOPPING=1");
    gateway_close(&gateway);
    return told ? EXIT_DONE : EXIT_MACHINE;
}
