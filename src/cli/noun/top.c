/* sallyport top: the busiest tenants or routers, once a second.
 *
 * Only connected routers can be busy, so they are read page by page, as many as fit into a tick, and added up by
 * tenant. When all were seen the sums are compared with those of the round before; rates are the differences over the
 * time between two that differ, since the gateway brings its counters up to date every few seconds only. Packets a
 * second come from the data plane's own counters and are of this second. */
#include "cli/commands.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"
#include "cli/talk/client.h"
#include "cli/talk/lookup.h"
#include "model/tenant.h"

#define TICK_MS 1000
#define SWEEP_NS (400 * NSEC_PER_MSEC) /* most time a tick spends on pages */
#define STALE_NS (25 * NSEC_PER_SEC)   /* no change for this long: the rate is zero (the gateway counts every 10 s) */
#define ROWS_DEFAULT 20

struct usage {
    uint64_t received, sent;
    uint32_t routers;
};

/* A tenant, or a router. */
struct sighting {
    char id[UUID_TEXT_SIZE];
    char tenant_id[UUID_TEXT_SIZE];
    char name[NAME_SIZE];   /* of a router */
    struct usage now;       /* what the current round has added up so far */
    struct usage seen;      /* as of the last whole round */
    uint64_t changed_at_ns; /* monotonic; when `seen` last changed; 0: never seen */
    double received_bps, sent_bps;
};

struct top {
    bool of_routers;
    json_t *index; /* id -> position in `all` */
    struct sighting *all;
    size_t count, room;
    char cursor[128];
    uint64_t rounds;
    int64_t packets_in, packets_out; /* the data plane's counters a tick ago */
    uint64_t packets_at_ns;
    double in_pps, out_pps;
    bool rated; /* there are two ticks to compare */
};

static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

static struct sighting *sighting_of(struct top *top, const char *id) {
    const json_t *at = json_object_get(top->index, id);
    if (at) {
        return &top->all[json_integer_value(at)];
    }
    struct sighting *all = array_grow(top->all, &top->room, top->count + 1, sizeof *all);
    if (!all) {
        return NULL;
    }
    top->all = all;
    json_object_set_new(top->index, id, json_integer((json_int_t)top->count));
    struct sighting *s = &top->all[top->count++];
    *s = (struct sighting){0};
    snprintf(s->id, sizeof s->id, "%s", id);
    return s;
}

static void see(struct top *top, const json_t *router) {
    struct sighting *s = sighting_of(top, field_text(router, top->of_routers ? "id" : "tenant_id"));
    if (s) {
        s->now.received += (uint64_t)field_number(router, "bytes_received");
        s->now.sent += (uint64_t)field_number(router, "bytes_sent");
        s->now.routers++;
        snprintf(s->tenant_id, sizeof s->tenant_id, "%s", field_text(router, "tenant_id"));
        snprintf(s->name, sizeof s->name, "%s", field_text(router, "name"));
    }
}

/* A round is complete: rates from what it added up. */
static void round_end(struct top *top, uint64_t now) {
    for (size_t i = 0; i < top->count; i++) {
        struct sighting *s = &top->all[i];
        uint64_t received = s->now.received - s->seen.received, sent = s->now.sent - s->seen.sent;
        /* sums over other routers than before say nothing about traffic */
        if (!s->changed_at_ns || s->now.routers != s->seen.routers || s->now.received < s->seen.received ||
            s->now.sent < s->seen.sent) {
            s->changed_at_ns = now;
        } else if (received || sent) {
            double seconds = (double)(now - s->changed_at_ns) / (double)NSEC_PER_SEC;
            s->received_bps = (double)received * 8 / seconds;
            s->sent_bps = (double)sent * 8 / seconds;
            s->changed_at_ns = now;
        }
        if (!s->now.routers || now - s->changed_at_ns > STALE_NS) {
            s->received_bps = s->sent_bps = 0;
        }
        s->seen = s->now;
        s->now = (struct usage){0};
    }
    top->rounds++;
}

/* Sees further pages: to the end of the list if `all`, else as many as the tick allows. 0, or -1 after an error. */
static int sweep(struct cli *cli, struct top *top, bool all) {
    uint64_t began = clock_mono_ns();
    do {
        struct buf path = {0};
        buf_text(&path, "/v1/routers?connected=true&limit=1000");
        client_query(&path, "cursor", top->cursor[0] ? top->cursor : NULL);
        json_t *answer = path.failed ? NULL : client_json(cli, "GET", path.data, NULL);
        buf_free(&path);
        if (!answer) {
            return -1;
        }
        size_t i;
        const json_t *router;
        json_array_foreach(json_object_get(answer, "items"), i, router) {
            see(top, router);
        }
        snprintf(top->cursor, sizeof top->cursor, "%s", field_text(answer, "next_cursor"));
        json_decref(answer);
        if (!top->cursor[0]) {
            round_end(top, clock_mono_ns());
        }
    } while (top->cursor[0] && (all || clock_mono_ns() - began < SWEEP_NS));
    return 0;
}

/* Datagrams where the data plane counts them, as the engine does; the kernel knows the packets in them. */
static int64_t counter(const json_t *answer, const char *datagrams, const char *packets) {
    const json_t *counters = json_object_get(answer, "counters");
    const json_t *found = json_object_get(counters, datagrams);
    return json_integer_value(found ? found : json_object_get(counters, packets));
}

/* Packets per second since the last tick. */
static int packets(struct cli *cli, struct top *top) {
    json_t *answer = client_json(cli, "GET", "/v1/counters", NULL);
    if (!answer) {
        return -1;
    }
    uint64_t now = clock_mono_ns();
    int64_t in = counter(answer, "udp_received", "packets_received");
    int64_t out = counter(answer, "udp_sent", "packets_sent");
    if (top->packets_at_ns && in >= top->packets_in && out >= top->packets_out) {
        double seconds = (double)(now - top->packets_at_ns) / (double)NSEC_PER_SEC;
        top->in_pps = (double)(in - top->packets_in) / seconds;
        top->out_pps = (double)(out - top->packets_out) / seconds;
        top->rated = true;
    }
    top->packets_in = in;
    top->packets_out = out;
    top->packets_at_ns = now;
    json_decref(answer);
    return 0;
}

/* Orders positions in `all`. */
static int busier(const void *a, const void *b, void *context) {
    const struct top *top = context;
    const struct sighting *x = &top->all[*(const size_t *)a], *y = &top->all[*(const size_t *)b];
    double xr = x->received_bps + x->sent_bps, yr = y->received_bps + y->sent_bps;
    uint64_t xb = x->seen.received + x->seen.sent, yb = y->seen.received + y->seen.sent;
    return xr != yr ? (xr < yr) - (xr > yr) : (xb < yb) - (xb > yb);
}

static void totals(const struct top *top, const json_t *status, struct buf *out) {
    char n[FIELD_TEXT_SIZE], m[FIELD_TEXT_SIZE], k[FIELD_TEXT_SIZE], in[FIELD_TEXT_SIZE], away[FIELD_TEXT_SIZE];
    buf_printf(out, "%s tenants, %s routers, %s connected; data plane %s\n",
               field_count(field_number(status, "counts.tenants"), n),
               field_count(field_number(status, "counts.routers"), m),
               field_count(field_number(status, "counts.connected_routers"), k),
               field_flag(status, "backend.up") ? "up" : "AWAY");
    if (top->rated) {
        buf_printf(out, "%s packets/s in, %s out%s\n", field_count((int64_t)top->in_pps, in),
                   field_count((int64_t)top->out_pps, away),
                   top->rounds > 1 ? "" : "; rates of bytes follow after about ten seconds");
    }
    buf_text(out, "\n");
}

static void row(struct cli *cli, const struct top *top, const struct sighting *s, struct table *table) {
    char text[FIELD_TEXT_SIZE];
    table_cell(table, lookup_tenant_name(cli, s->tenant_id));
    if (top->of_routers) {
        table_cell(table, s->name);
    } else {
        table_cell(table, field_count(s->seen.routers, text));
    }
    table_cell(table, field_rate(s->received_bps, text));
    table_cell(table, field_rate(s->sent_bps, text));
    table_cell(table, field_bytes(s->seen.received, text));
    table_cell(table, field_bytes(s->seen.sent, text));
}

static void screen(struct cli *cli, struct top *top, const json_t *status, size_t rows, struct buf *out) {
    static const char *const of_tenants[] = {"TENANT",    ">CONNECTED", ">RECEIVING", ">SENDING",
                                             ">RECEIVED", ">SENT",      NULL};
    static const char *const of_routers[] = {"TENANT", "ROUTER", ">RECEIVING", ">SENDING", ">RECEIVED", ">SENT", NULL};
    size_t *order = calloc(top->count + 1, sizeof *order);
    struct table *table = table_make(top->of_routers ? of_routers : of_tenants);
    size_t count = 0;
    totals(top, status, out);
    for (size_t i = 0; order && i < top->count; i++) {
        if (top->all[i].seen.routers) {
            order[count++] = i;
        }
    }
    if (order) {
        qsort_r(order, count, sizeof *order, busier, top);
    }
    for (size_t i = 0; i < count && i < rows; i++) {
        row(cli, top, &top->all[order[i]], table);
    }
    table_write(table, out);
    table_free(table);
    free(order);
}

/* Waits for the next tick; true if the user wants out. */
static bool wait_for_key(void) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char key = 0;
    if (poll(&in, isatty(STDIN_FILENO) ? 1 : 0, TICK_MS) > 0 && read(STDIN_FILENO, &key, 1) == 1 &&
        (key == 'q' || key == 'Q')) {
        return true;
    }
    return stopped;
}

static int tick(struct cli *cli, struct top *top, bool once) {
    struct buf out = {0};
    struct winsize size = {0};
    size_t rows = ROWS_DEFAULT;
    json_t *status = client_json(cli, "GET", "/v1/status", NULL);
    if (!status || packets(cli, top) < 0 || sweep(cli, top, once) < 0) {
        json_decref(status);
        return -1;
    }
    if (!once) {
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 6) {
            rows = size.ws_row - 5u;
        }
        buf_text(&out, "\033[H\033[2J"); /* home, clear */
    }
    screen(cli, top, status, rows, &out);
    print_buf(&out);
    fflush(stdout);
    buf_free(&out);
    json_decref(status);
    return 0;
}

static enum cli_exit top(struct cli *cli) {
    bool once = cli_flag(cli, "once");
    struct sigaction action = {.sa_handler = stop};
    struct termios before, raw;
    int error;
    if (cli->json) {
        cli_error("top is for people; scripts read \"sallyport status --json\" and \"router list --json\"");
        return CLI_USAGE;
    }
    struct top top = {.of_routers = cli_flag(cli, "routers"), .index = json_object()};
    bool terminal = !once && tcgetattr(STDIN_FILENO, &before) == 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (terminal) {
        raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    do {
        error = tick(cli, &top, once);
    } while (error == 0 && !once && !wait_for_key());
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    }
    json_decref(top.index);
    free(top.all);
    return error < 0 ? CLI_REFUSED : CLI_DONE;
}

static const struct cli_option top_options[] = {
    {"routers", 'r', NULL, "single routers instead of tenants", CLI_VALUE_FREE, NULL},
    {"once", '1', NULL, "print once, by bytes so far, and end", CLI_VALUE_FREE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command top_commands[] = {
    {"top", "", CLI_VALUE_FREE, 0, 0, "watch the busiest tenants or routers",
     "Refreshes every second until q or Ctrl-C. Shows who has routers connected. Packets per second are of this "
     "moment; "
     "the "
     "gateway brings bytes up to date every two seconds (usage_seconds), and rates are means over that time.",
     top_options, top},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
