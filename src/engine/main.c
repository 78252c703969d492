/* sallyport-wg: a WireGuard interface in userspace. Wires the engine (engine.h) to its socket (uapi_server.h); all it
 * does itself is to start, to wait, and to end. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hooks.h"
#include "base/log.h"
#include "engine/confine.h"
#include "engine/detach.h"
#include "engine/engine.h"
#include "engine/uapi/answer.h"
#include "engine/uapi/server.h"
#include "engine/uapi/socket.h"
#include "engine/uapi/text.h"
#include "wire/aead.h"

#define EXIT_USAGE 2
#define DEBUG_EVERY_S 10
#define MTU_MIN 576
#define MTU_MAX 65535

static const char usage[] =
    "Usage: sallyport-wg [OPTION]... INTERFACE\n"
    "Serves the WireGuard interface INTERFACE in userspace, for wg(8), wg-quick(8) and sallyportd.\n"
    "\n"
    "  -f, --foreground   do not detach\n"
    "      --workers N    worker threads; default: one per CPU, at most 64\n"
    "      --crypto NAME  auto, ipsec-mb or sodium; default: auto, the fastest this CPU has\n"
    "      --mtu N        MTU of an interface made here; default: 1420\n"
    "      --xdp NAMES    take data messages from the queues of these network interfaces, separated by commas, around\n"
    "                     the kernel's UDP and the host's packet filter; default: none\n"
    "      --no-gso       do not let the kernel segment and coalesce UDP\n"
    "      --no-tso       do not take or give segments larger than the MTU through the TUN\n"
    "      --no-uring     do not write packets to the TUN many at once (io_uring)\n"
    "      --user NAME    once all is opened, become this user; default: stay, without root's other privileges\n"
    "      --log-level L  error, warning, info or debug (what is counted, every ten seconds);\n"
    "                     default: info\n"
    "      --version      print the version\n"
    "      --help         print this\n"
    "\n"
    "Environment: WG_PROCESS_FOREGROUND=1 does as -f. SALLYPORT_WG_DIR is the directory of the socket, instead of\n"
    "/var/run/wireguard (where wg looks for it).\n";

struct arguments {
    struct engine_options options;
    struct confine confine;
    enum log_level log_level;
    bool foreground;
    bool done; /* --help or --version was all */
};

enum option_code {
    OPTION_WORKERS = 256,
    OPTION_CRYPTO,
    OPTION_MTU,
    OPTION_XDP,
    OPTION_NO_GSO,
    OPTION_NO_TSO,
    OPTION_NO_URING,
    OPTION_USER,
    OPTION_LOG_LEVEL,
    OPTION_VERSION,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"foreground", no_argument, NULL, 'f'},
    {"workers", required_argument, NULL, OPTION_WORKERS},
    {"crypto", required_argument, NULL, OPTION_CRYPTO},
    {"mtu", required_argument, NULL, OPTION_MTU},
    {"xdp", required_argument, NULL, OPTION_XDP},
    {"no-gso", no_argument, NULL, OPTION_NO_GSO},
    {"no-tso", no_argument, NULL, OPTION_NO_TSO},
    {"no-uring", no_argument, NULL, OPTION_NO_URING},
    {"user", required_argument, NULL, OPTION_USER},
    {"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static int number(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *ret_value) {
    uint64_t value;
    if (uapi_text_u64(text, most, &value) < 0 || value < least) {
        fprintf(stderr, "sallyport-wg: %s: give a number from %llu to %llu, not '%s'\n", what,
                (unsigned long long)least, (unsigned long long)most, text);
        return -EINVAL;
    }
    *ret_value = value;
    return 0;
}

static int read_option(int code, const char *value, struct arguments *a) {
    uint64_t n = 0;
    int rc = 0;
    switch (code) {
    case 'f':
        a->foreground = true;
        break;
    case OPTION_WORKERS:
        rc = number("--workers", value, 1, ENGINE_WORKERS_MAX, &n);
        a->options.workers = (unsigned)n;
        break;
    case OPTION_CRYPTO:
        a->options.crypto = value;
        if (!aead_choose(value)) {
            fprintf(stderr, "sallyport-wg: --crypto: '%s' is unknown, or this CPU cannot do it; try auto\n", value);
            rc = -EINVAL;
        }
        break;
    case OPTION_MTU:
        rc = number("--mtu", value, MTU_MIN, MTU_MAX, &n);
        a->options.mtu = (unsigned)n;
        break;
    case OPTION_XDP:
        a->options.xdp = value;
        a->confine.xdp = true;
        break;
    case OPTION_NO_GSO:
        a->options.no_gso = true;
        break;
    case OPTION_NO_TSO:
        a->options.no_tso = true;
        break;
    case OPTION_NO_URING:
        a->options.no_uring = true;
        break;
    case OPTION_USER:
        rc = confine_find_user(value, &a->confine);
        if (rc < 0) {
            fprintf(stderr, "sallyport-wg: --user: there is no user '%s'\n", value);
        }
        break;
    case OPTION_LOG_LEVEL:
        rc = log_level_parse(value, &a->log_level);
        if (rc < 0) {
            fprintf(stderr, "sallyport-wg: --log-level: give error, warning, info or debug, not '%s'\n", value);
        }
        break;
    case OPTION_VERSION:
        printf("sallyport-wg %s\n", SALLYPORT_VERSION);
        a->done = true;
        break;
    case OPTION_HELP:
        fputs(usage, stdout);
        a->done = true;
        break;
    default: /* getopt has said what is wrong */
        rc = -EINVAL;
    }
    return rc;
}

static void read_environment(struct arguments *a) {
    const char *foreground = getenv("WG_PROCESS_FOREGROUND");
    if (foreground && strcmp(foreground, "1") == 0) {
        a->foreground = true;
    }
    a->options.clock_rate = hooks_clock_rate();
}

static int parse_arguments(int argc, char **argv, struct arguments *a) {
    int code;
    while (!a->done && (code = getopt_long(argc, argv, "f", long_options, NULL)) != -1) {
        if (read_option(code, optarg, a) < 0) {
            return -EINVAL;
        }
    }
    if (a->done) {
        return 0;
    }
    if (argc - optind != 1) {
        fputs(usage, stderr);
        return -EINVAL;
    }
    char path[UAPI_PATH_SIZE];
    a->options.interface_name = argv[optind];
    int rc = uapi_path(a->options.interface_name, path);
    if (rc == -EINVAL) {
        fprintf(stderr, "sallyport-wg: '%s' is not a name for an interface; give 1 to 15 of A-Z a-z 0-9 _ = + . -\n",
                a->options.interface_name);
        return rc;
    }
    if (rc < 0 || *uapi_directory() != '/') {
        rc = -EINVAL;
        fprintf(stderr, "sallyport-wg: %s: %s is not an absolute path, or too long for a socket\n",
                UAPI_DIRECTORY_VARIABLE, uapi_directory());
        return rc;
    }
    read_environment(a);
    return 0;
}

/* Keys are in this process's memory: no core file, no ptrace. And room for a socket and a queue per worker, and for
 * locked pages. What is not allowed stays as it is. */
static void set_limits(void) {
    static const int raised[] = {RLIMIT_NOFILE, RLIMIT_MEMLOCK};
    struct rlimit none = {0, 0};
    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CORE, &none);
    for (size_t i = 0; i < sizeof raised / sizeof *raised; i++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)raised[i], &limit) == 0) {
            limit.rlim_cur = limit.rlim_max;
            setrlimit((__rlimit_resource_t)raised[i], &limit);
        }
    }
    umask(077);
}

/* Signals that end us arrive on a descriptor. Blocked before there are threads, so that all of them inherit it. */
static int open_signals(bool foreground, int *ret_fd) {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    if (foreground) {
        sigaddset(&ending, SIGHUP);
    } else {
        signal(SIGHUP, SIG_IGN);
    }
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &ending, NULL) < 0) {
        return -errno;
    }
    int fd = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    *ret_fd = fd;
    return 0;
}

static void explain_socket(const char *interface_name, int error) {
    if (error == -EADDRINUSE) {
        log_error("%s: another process already serves this interface on %s/%s.sock; stop it first", interface_name,
                  uapi_directory(), interface_name);
    } else if (error == -EEXIST) {
        log_error("%s: %s/%s.sock is in the way and is not a socket; remove it", interface_name, uapi_directory(),
                  interface_name);
    } else if (error == -EPERM) {
        log_error(
            "%s: everybody may write to %s, so somebody else's socket could take the place of ours; 'chmod 0700 %s'",
            interface_name, uapi_directory(), uapi_directory());
    } else if (error == -EACCES) {
        log_error("%s: may not make a socket in %s: %s; run as root", interface_name, uapi_directory(),
                  strerror(-error));
    } else {
        log_error("%s: cannot make a socket in %s: %s", interface_name, uapi_directory(), strerror(-error));
    }
}

static void explain_engine(const char *interface_name, int error) {
    if (error == -EPERM || error == -EACCES) {
        log_error("%s: not allowed to make the interface; run as root or with CAP_NET_ADMIN", interface_name);
    } else if (error == -ENOENT || error == -ENODEV || error == -ENXIO) {
        log_error(
            "%s: no /dev/net/tun here; load it with 'modprobe tun', or give the container '--device /dev/net/tun'",
            interface_name);
    } else if (error == -EBUSY) {
        log_error(
            "%s: the interface is in use by another process, or is not a TUN; choose another name or remove it with "
            "'ip link del %s'",
            interface_name, interface_name);
    } else {
        log_error("%s: cannot start: %s", interface_name, strerror(-error));
    }
}

/* Nothing stops for it: a gateway without AF_XDP is slower, one that does not start is not a gateway. */
static void explain_xdp(const char *interface_name, const struct engine_device *device) {
    const char *failed = device->xdp_failed;
    switch (-device->xdp_error) {
    case 0:
        return;
    case ENODEV:
        log_warning("%s: --xdp: there is no interface '%s'; all goes the kernel's way", interface_name, failed);
        return;
    case EINVAL:
        log_warning("%s: --xdp: the list is empty, too long, or names something twice or that cannot do it ('%s'); "
                    "all goes the kernel's way",
                    interface_name, failed);
        return;
    case EBUSY:
    case EEXIST:
        log_warning("%s: --xdp: another XDP program is on %s (see 'ip link show %s'); all goes the kernel's way",
                    interface_name, failed, failed);
        return;
    case EPERM:
    case EACCES:
        log_warning(
            "%s: --xdp: not allowed on %s: it takes root, or CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, and locked "
            "memory (ulimit -l); all goes the kernel's way",
            interface_name, failed);
        return;
    }
    log_warning("%s: --xdp: %s or this kernel does not do it: %s; all goes the kernel's way", interface_name, failed,
                strerror(-device->xdp_error));
}

/* Which offloads are on, and which are off and why, as last told. */
struct offloads_told {
    char on[UAPI_OFFLOADS_SIZE], off[UAPI_OFFLOADS_SIZE];
};

/* UDP's are probed when the interface goes up, so there may be news then. */
static void log_offloads(const char *interface_name, struct engine *engine, struct offloads_told *told) {
    struct offloads_told now;
    struct engine_device device;
    engine_get_device(engine, &device);
    sodium_memzero(&device.private_key, sizeof device.private_key);
    uapi_answer_offloads(&device, true, now.on);
    uapi_answer_offloads(&device, false, now.off);
    if (strcmp(now.on, told->on) != 0 || strcmp(now.off, told->off) != 0) {
        log_info("%s: offloads on: %s; off: %s", interface_name, now.on, now.off);
        *told = now;
    }
}

static void counted(struct buf *text, const char *counter, uint64_t now, uint64_t told) {
    if (now != told) {
        buf_printf(text, "%s%s +%llu", text->size ? ", " : "", counter, (unsigned long long)(now - told));
    }
}

/* For who looks for a packet: what was counted since it was last told, if anything but the workers' own waking. */
static void log_counters(const char *interface_name, struct engine *engine, struct engine_counters *told) {
    struct engine_counters now;
    struct buf text = {0};
    engine_get_counters(engine, &now);
    told->rounds = now.rounds;
    for (int i = 0; i < ENGINE_DROP_COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "drop.%s", engine_drop_name((enum engine_drop)i));
        counted(&text, name, now.drops[i], told->drops[i]);
    }
#define X(name) counted(&text, #name, now.name, told->name);
    ENGINE_TALLIES(X)
#undef X
    if (text.size && !text.failed) {
        log_debug("%s: %s", interface_name, text.data);
    }
    buf_free(&text);
    *told = now;
}

/* Until a signal, or until the interface or the socket file is gone. 0, or -errno on a failure of our own. */
static int serve(const char *interface_name, struct engine *engine, struct uapi_server *server, int signal_fd,
                 struct offloads_told *offloads, bool debug) {
    struct engine_counters counters = {0};
    uint64_t told_ns = 0;
    struct pollfd ready[] = {
        {.fd = engine_fd(engine), .events = POLLIN},
        {.fd = uapi_server_fd(server), .events = POLLIN},
        {.fd = signal_fd, .events = POLLIN},
    };
    for (;;) {
        if (poll(ready, sizeof ready / sizeof *ready, debug ? DEBUG_EVERY_S * 1000 : -1) < 0 && errno != EINTR) {
            return -errno;
        }
        if (debug && clock_mono_ns() >= told_ns + DEBUG_EVERY_S * NSEC_PER_SEC) {
            log_counters(interface_name, engine, &counters);
            told_ns = clock_mono_ns();
        }
        if (ready[2].revents) {
            log_info("%s: told to stop", interface_name);
            return 0;
        }
        int rc = ready[0].revents ? engine_attend(engine) : 0;
        if (rc == -ENODEV) {
            log_info("%s: the interface was deleted; ending", interface_name);
            return 0;
        }
        if (rc == -EADDRINUSE) {
            log_warning(
                "%s: its UDP port is in use by another program; free it or set another listen-port, then set the "
                "interface down and up again",
                interface_name);
        } else if (rc < 0) {
            log_warning("%s: cannot follow the interface: %s", interface_name, strerror(-rc));
        } else if (ready[0].revents) {
            log_offloads(interface_name, engine, offloads);
        }
        rc = ready[1].revents ? uapi_server_attend(server) : 0;
        if (rc == -ENOENT) {
            log_info("%s: the socket file was removed; ending", interface_name);
            return 0;
        }
        if (rc < 0) {
            log_error("%s: cannot serve the socket: %s", interface_name, strerror(-rc));
            return rc;
        }
    }
}

static int give_up_privileges(void *context) {
    return confine_privileges(context);
}

static int run(struct arguments *a, int ready_fd) {
    const char *name = a->options.interface_name;
    struct uapi_socket socket = {.fd = -1, .watch_fd = -1};
    struct uapi_server *server = NULL;
    struct engine *engine = NULL;
    int signal_fd = -1;
    int rc = open_signals(a->foreground, &signal_fd);
    if (rc < 0) {
        log_error("%s: cannot start: %s", name, strerror(-rc));
        goto end;
    }
    rc = uapi_socket_claim(name, &socket);
    if (rc < 0) {
        explain_socket(name, rc);
        goto end;
    }
    a->options.before_threads = give_up_privileges;
    a->options.context = &a->confine;
    rc = engine_create(&a->options, &engine);
    if (rc < 0) {
        explain_engine(name, rc);
        goto end;
    }
    rc = uapi_server_create(&socket, engine, &server);
    if (rc < 0) {
        log_error("%s: cannot serve the socket: %s", name, strerror(-rc));
        goto end;
    }
    struct engine_device device;
    engine_get_device(engine, &device);
    log_info("%s: sallyport-wg %s ready on %s; %u workers, crypto %s", name, SALLYPORT_VERSION, socket.path,
             device.workers, device.crypto);
    explain_xdp(name, &device);
    sodium_memzero(&device, sizeof device);
    struct offloads_told offloads = {0};
    log_offloads(name, engine, &offloads);
    /* All workers run by now: each has answered what it does without. */
    rc = confine_system_calls(&a->confine);
    if (rc < 0) {
        log_warning("%s: this kernel does not restrict system calls: %s; going on without", name, strerror(-rc));
    }
    rc = ready_fd >= 0 ? detach_ready(ready_fd) : 0;
    if (rc < 0) {
        log_error("%s: the start was called off", name);
        goto end;
    }
    rc = serve(name, engine, server, signal_fd, &offloads, a->log_level == LOG_LEVEL_DEBUG);
end:
    uapi_server_free(server);
    uapi_socket_release(&socket);
    engine_free(engine);
    if (signal_fd >= 0) {
        close(signal_fd);
    }
    return rc;
}

/* Keys of sessions lie in ordinary memory: none of it goes to a swap device. Only where locking has no limit: else the
 * day comes when no more memory is had. */
static void lock_memory(void) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    (void)setrlimit(RLIMIT_MEMLOCK, &limit);
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY) {
        (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
    }
}

int main(int argc, char **argv) {
    struct arguments arguments = {.log_level = LOG_LEVEL_INFO, .options = {.crypto = "auto"}};
    if (parse_arguments(argc, argv, &arguments) < 0) {
        return EXIT_USAGE;
    }
    if (arguments.done) {
        return EXIT_SUCCESS;
    }
    log_open("sallyport-wg", arguments.log_level);
    if (sodium_init() < 0) {
        log_error("the system's random source does not work");
        return EXIT_FAILURE;
    }
    set_limits();
    int ready_fd = -1;
    int rc = arguments.foreground ? 0 : detach_begin(&ready_fd);
    if (rc < 0) {
        log_error("%s: cannot detach: %s; start with -f", arguments.options.interface_name, strerror(-rc));
        return EXIT_FAILURE;
    }
    lock_memory();
    return run(&arguments, ready_fd) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
