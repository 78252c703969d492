/* sallyport doctor: looks at the gateway through the API and at the host it runs on, and says for each finding what is
 * wrong, why it matters, and the line that mends it. */
#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/client.h"
#include "cli/field.h"
#include "cli/print.h"
#include "cli/table.h"

#define BUFFERS_LEAST (4 << 20) /* bytes: about 3 ms of 10 Gbit/s, the longest a worker is away from its socket */
#define BUILT_AT_LEAST INT64_C(1735689600) /* 2025-01-01: a clock before it is not set */

enum level {
    LEVEL_FINE,
    LEVEL_NOTE, /* could be better */
    LEVEL_BAD,  /* does not work like this */
};

struct doctor {
    json_t *findings;
    int bad, notes;
};

static const char *const level_names[] = {"ok", "note", "bad"};

static void find(struct doctor *d, enum level level, const char *why, const char *line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static void find(struct doctor *d, enum level level, const char *why, const char *line, const char *format, ...) {
    struct buf what = {0}, clean = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&what, format, args);
    va_end(args);
    table_clean(&clean, what.data ? what.data : "");
    json_array_append_new(d->findings, json_pack("{s:s, s:s, s:s, s:s}", "level", level_names[level], "what",
                                                 clean.data ? clean.data : "", "why", level == LEVEL_FINE ? "" : why,
                                                 "mend", level == LEVEL_FINE ? "" : line));
    d->bad += level == LEVEL_BAD;
    d->notes += level == LEVEL_NOTE;
    buf_free(&what);
    buf_free(&clean);
}

/* A number from /proc/sys, or -1. */
static long long sysctl_read(const char *path) {
    long long value = -1;
    FILE *file = fopen(path, "re");
    if (file) {
        if (fscanf(file, "%lld", &value) != 1) {
            value = -1;
        }
        fclose(file);
    }
    return value;
}

static void check_forwarding(struct doctor *d) {
    bool v4 = sysctl_read("/proc/sys/net/ipv4/ip_forward") == 1;
    bool v6 = sysctl_read("/proc/sys/net/ipv6/conf/all/forwarding") == 1;
    find(d, v4 ? LEVEL_FINE : LEVEL_NOTE,
         "routers reach each other and this host without it, but not machines or containers behind this host",
         "sysctl -w net.ipv4.ip_forward=1", "IPv4 forwarding is %s", v4 ? "on" : "off");
    find(d, v6 ? LEVEL_FINE : LEVEL_NOTE, "the same for IPv6", "sysctl -w net.ipv6.conf.all.forwarding=1",
         "IPv6 forwarding is %s", v6 ? "on" : "off");
}

static void check_buffers(struct doctor *d) {
    static const char *const names[] = {"rmem_max", "wmem_max"};
    for (size_t i = 0; i < 2; i++) {
        char path[64], line[64], is[FIELD_TEXT_SIZE];
        snprintf(path, sizeof path, "/proc/sys/net/core/%s", names[i]);
        long long value = sysctl_read(path);
        /* net.core is that of the first network namespace; containers do not see it */
        if (value >= 0) {
            snprintf(line, sizeof line, "sysctl -w net.core.%s=%d", names[i], BUFFERS_LEAST);
            find(d, value >= BUFFERS_LEAST ? LEVEL_FINE : LEVEL_NOTE,
                 "bursts of many routers overflow the engine's UDP socket unless it runs with CAP_NET_ADMIN", line,
                 "UDP buffers may grow to %s (net.core.%s)", field_bytes((uint64_t)value, is), names[i]);
        }
    }
}

static void check_tun(struct doctor *d) {
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        find(d, LEVEL_FINE, "", "", "/dev/net/tun opens");
    } else if (errno == EACCES || errno == EPERM) {
        find(d, LEVEL_NOTE, "only root may open it, so this could not be checked", "run \"sallyport doctor\" as root",
             "/dev/net/tun is not open to you");
    } else {
        find(d, LEVEL_BAD, "the engine makes its interface with it",
             "modprobe tun (in a container: --device /dev/net/tun --cap-add NET_ADMIN)",
             "/dev/net/tun does not open: %s", strerror(errno));
    }
}

static void check_clock(struct doctor *d) {
    struct timex state = {0};
    bool set = clock_wall_us() / USEC_PER_SEC > BUILT_AT_LEAST;
    bool synchronized = adjtimex(&state) >= 0 && !(state.status & STA_UNSYNC);
    find(d,
         !set           ? LEVEL_BAD
         : synchronized ? LEVEL_FINE
                        : LEVEL_NOTE,
         "handshakes carry times, and a clock that jumps back makes this host's own be refused as replays",
         "timedatectl set-ntp true", "the clock is %s",
         !set           ? "not set"
         : synchronized ? "synchronized"
                        : "not synchronized");
}

static void check_endpoint(struct doctor *d, const json_t *status) {
    const char *endpoint = field_text(status, "gateway.endpoint");
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    char host[256];
    snprintf(host, sizeof host, "%s", endpoint);
    char *colon = strrchr(host, ':');
    if (colon && strchr(host, ':') == colon) {
        *colon = '\0';
    }
    if (!host[0]) {
        find(d, LEVEL_BAD, "it is written into every router's configuration: the address they dial",
             "set endpoint = NAME in section [gateway] of /etc/sallyport/sallyport.conf",
             "the gateway has no public endpoint");
        return;
    }
    int error = host[0] == '[' ? 0 : getaddrinfo(host, NULL, &hints, &found);
    find(d, error ? LEVEL_NOTE : LEVEL_FINE,
         "routers must be able to resolve it; if only this host cannot, all is well",
         "point the name at this host in DNS, or set endpoint in /etc/sallyport/sallyport.conf", "the endpoint %s %s",
         host, error ? "does not resolve here" : "resolves");
    freeaddrinfo(found);
}

static void check_gateway(struct doctor *d, const json_t *status) {
    bool up = field_flag(status, "backend.up");
    const char *state = field_text(status, "reconcile.state");
    const char *trouble = field_text(status, "reconcile.trouble");
    bool in_sync = strcmp(state, "in-sync") == 0;
    find(d, up ? LEVEL_FINE : LEVEL_BAD,
         "no tunnel works while it is away; sallyportd starts it again by itself if it can",
         "journalctl -u sallyportd -n 50", "the data plane (%s) is %s", field_text(status, "backend.name"),
         up ? "up" : "away");
    find(d,
         in_sync ? LEVEL_FINE
         : up    ? LEVEL_NOTE
                 : LEVEL_BAD,
         trouble[0] ? trouble : "the data plane does not hold yet what the database says",
         "sallyport status (again in a few seconds); then journalctl -u sallyportd -n 50", "reconciliation is %s",
         in_sync ? "in sync" : state);
    int64_t total = field_number(status, "pool.addresses_total"), left = field_number(status, "pool.addresses_free");
    char text[FIELD_TEXT_SIZE];
    find(d, total && left * 20 < total ? LEVEL_NOTE : LEVEL_FINE,
         "every router takes one, also those of private tenants (its hub address)",
         "remove tenants that are gone for good, or plan a second gateway with a pool of its own",
         "%s addresses of the pool are free", field_count(left, text));
    check_endpoint(d, status);
}

static int check_daemon(struct cli *cli, struct doctor *d) {
    struct client_answer answer;
    struct buf fault = {0};
    struct client_request request = {.method = "GET", .path = "/v1/status"};
    struct client *client = cli_client(cli);
    if (!client) {
        return -1;
    }
    if (client_call(client, &request, &answer, &fault) < 0) {
        find(d, LEVEL_BAD, fault.data ? fault.data : "", "systemctl start sallyportd", "the gateway does not answer");
    } else if (answer.status != 200) {
        const char *detail = field_text(answer.json, "detail");
        find(d, LEVEL_BAD, detail, "run as root or in the group sallyport, or give --token-file",
             "the gateway refused (HTTP status %d)", answer.status);
        client_answer_free(&answer);
    } else {
        find(d, LEVEL_FINE, "", "", "the gateway answers, version %s", field_text(answer.json, "version"));
        check_gateway(d, answer.json);
        client_answer_free(&answer);
    }
    buf_free(&fault);
    return 0;
}

static void findings_print(const struct doctor *d) {
    struct buf out = {0};
    size_t i;
    const json_t *f;
    json_array_foreach(d->findings, i, f) {
        const char *level = field_text(f, "level");
        buf_printf(&out, "%-5s %s\n", level, field_text(f, "what"));
        if (strcmp(level, "ok") != 0) {
            buf_printf(&out, "      why:  %s\n      mend: %s\n", field_text(f, "why"), field_text(f, "mend"));
        }
    }
    if (d->bad || d->notes) {
        buf_printf(&out, "%d bad, %d could be better\n", d->bad, d->notes);
    } else {
        buf_text(&out, "all is well\n");
    }
    print_buf(&out);
    buf_free(&out);
}

static enum cli_exit doctor(struct cli *cli) {
    struct doctor d = {.findings = json_array()};
    if (check_daemon(cli, &d) < 0) {
        json_decref(d.findings);
        return CLI_REFUSED;
    }
    /* over TCP the gateway may be another host; what follows is about this one */
    if (!cli_flag(cli, "url") && !getenv("SALLYPORT_URL")) {
        check_tun(&d);
        check_forwarding(&d);
        check_buffers(&d);
        check_clock(&d);
    }
    if (cli->json) {
        json_t *all = json_pack("{s:O, s:i, s:i}", "findings", d.findings, "bad", d.bad, "notes", d.notes);
        print_json(all);
        json_decref(all);
    } else {
        findings_print(&d);
    }
    json_decref(d.findings);
    return d.bad ? CLI_REFUSED : CLI_DONE;
}

const struct cli_command doctor_commands[] = {
    {"doctor", "", CLI_VALUE_FREE, 0, 0, "check the gateway and this host",
     "For each finding: what it is, why it matters, and the line that mends it. Changes nothing. Exit status 1 if "
     "anything "
     "is bad; notes alone are fine. With --url only the gateway is checked, not this host.",
     NULL, doctor},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
