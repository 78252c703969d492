/* sallyport top: the busiest tenants or routers, once a second.
 *
 * The API lists in order of creation, so finding the busiest means seeing all: each tick spends a bounded time on the
 * next pages and remembers every sighting. Rates come from the bytes between two sightings that differ. */
#include "cli/top.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/client.h"
#include "cli/field.h"
#include "cli/print.h"
#include "cli/table.h"
#include "model/tenant.h"

#define TICK_MS 1000
#define SWEEP_NS (400 * NSEC_PER_MSEC) /* most time a tick spends on pages */
#define STALE_NS (30 * NSEC_PER_SEC)   /* no change for this long: the rate is zero (the gateway counts every 10 s) */
#define ROWS_DEFAULT 20

struct sighting {
    char name[NAME_SIZE];
    uint64_t received, sent;
    uint64_t changed_at_ns; /* monotonic; when the bytes last differed */
    double received_bps, sent_bps;
};

struct top {
    const char *list; /* path */
    json_t *index;    /* id -> position in `seen` */
    struct sighting *seen;
    size_t count, room;
    char cursor[128];
    bool swept; /* all pages were seen at least once */
};

static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

static struct sighting *sighting_of(struct top *top, const char *id) {
    const json_t *at = json_object_get(top->index, id);
    if (at) {
        return &top->seen[json_integer_value(at)];
    }
    if (top->count == top->room) {
        size_t room = top->room ? top->room * 2 : 1024;
        struct sighting *seen = reallocarray(top->seen, room, sizeof *seen);
        if (!seen) {
            return NULL;
        }
        top->seen = seen;
        top->room = room;
    }
    json_object_set_new(top->index, id, json_integer((json_int_t)top->count));
    top->seen[top->count] = (struct sighting){0};
    return &top->seen[top->count++];
}

static void see(struct top *top, const json_t *item, uint64_t now) {
    struct sighting *s = sighting_of(top, field_text(item, "id"));
    uint64_t received = (uint64_t)field_number(item, "bytes_received");
    uint64_t sent = (uint64_t)field_number(item, "bytes_sent");
    if (!s) {
        return;
    }
    snprintf(s->name, sizeof s->name, "%s", field_text(item, "name"));
    if (!s->changed_at_ns || received < s->received || sent < s->sent) {
        s->changed_at_ns = now;
    } else if (received != s->received || sent != s->sent) {
        double seconds = (double)(now - s->changed_at_ns) / (double)NSEC_PER_SEC;
        s->received_bps = (double)(received - s->received) * 8 / seconds;
        s->sent_bps = (double)(sent - s->sent) * 8 / seconds;
        s->changed_at_ns = now;
    } else if (now - s->changed_at_ns > STALE_NS) {
        s->received_bps = s->sent_bps = 0;
    }
    s->received = received;
    s->sent = sent;
}

/* Sees further pages, all if `all`, else as many as the tick allows. 0, or -1 after an error. */
static int sweep(struct cli *cli, struct top *top, bool all) {
    uint64_t began = clock_mono_ns();
    do {
        struct buf path = {0};
        buf_text(&path, top->list);
        client_query(&path, "limit", "1000");
        client_query(&path, "cursor", top->cursor[0] ? top->cursor : NULL);
        json_t *answer = path.failed ? NULL : client_json(cli, "GET", path.data, NULL);
        buf_free(&path);
        if (!answer) {
            return -1;
        }
        uint64_t now = clock_mono_ns();
        size_t i;
        const json_t *item;
        json_array_foreach(json_object_get(answer, "items"), i, item) {
            see(top, item, now);
        }
        snprintf(top->cursor, sizeof top->cursor, "%s", field_text(answer, "next_cursor"));
        json_decref(answer);
        top->swept = top->swept || !top->cursor[0];
    } while (top->cursor[0] && (all || clock_mono_ns() - began < SWEEP_NS));
    return 0;
}

static int busier(const void *a, const void *b) {
    const struct sighting *x = *(const struct sighting *const *)a, *y = *(const struct sighting *const *)b;
    double xr = x->received_bps + x->sent_bps, yr = y->received_bps + y->sent_bps;
    uint64_t xb = x->received + x->sent, yb = y->received + y->sent;
    return xr != yr ? (xr < yr) - (xr > yr) : (xb < yb) - (xb > yb);
}

static void totals(const struct top *top, const json_t *status, struct buf *out) {
    char in[FIELD_TEXT_SIZE], back[FIELD_TEXT_SIZE], n[FIELD_TEXT_SIZE], m[FIELD_TEXT_SIZE], k[FIELD_TEXT_SIZE];
    double received = 0, sent = 0;
    for (size_t i = 0; i < top->count; i++) {
        received += top->seen[i].received_bps;
        sent += top->seen[i].sent_bps;
    }
    buf_printf(out, "%s tenants, %s routers, %s connected; %s received, %s sent; data plane %s%s\n\n",
               field_count(field_number(status, "counts.tenants"), n),
               field_count(field_number(status, "counts.routers"), m),
               field_count(field_number(status, "counts.connected_routers"), k), field_rate(received, in),
               field_rate(sent, back), field_flag(status, "backend.up") ? "up" : "AWAY",
               top->swept ? "" : " (still reading the list)");
}

static void screen(const struct top *top, const json_t *status, const char *what, size_t rows, struct buf *out) {
    const char *const headers[] = {what, ">RECEIVING", ">SENDING", ">RECEIVED", ">SENT", NULL};
    const struct sighting **order = calloc(top->count ? top->count : 1, sizeof *order);
    struct table *table = table_make(headers);
    if (order && table) {
        for (size_t i = 0; i < top->count; i++) {
            order[i] = &top->seen[i];
        }
        qsort(order, top->count, sizeof *order, busier);
        totals(top, status, out);
        for (size_t i = 0; i < top->count && i < rows; i++) {
            char text[FIELD_TEXT_SIZE];
            table_cell(table, order[i]->name);
            table_cell(table, field_rate(order[i]->received_bps, text));
            table_cell(table, field_rate(order[i]->sent_bps, text));
            table_cell(table, field_bytes(order[i]->received, text));
            table_cell(table, field_bytes(order[i]->sent, text));
        }
        table_write(table, out);
    }
    table_free(table);
    free(order);
}

/* Waits for the next tick; true if the user wants out. */
static bool wait_for_key(void) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char key = 0;
    if (poll(&in, isatty(STDIN_FILENO) ? 1 : 0, TICK_MS) > 0 && read(STDIN_FILENO, &key, 1) == 1 &&
        (key == 'q' || key == 'Q' || key == 3)) {
        return true;
    }
    return stopped;
}

static int tick(struct cli *cli, struct top *top, const char *what, bool once) {
    struct buf out = {0};
    struct winsize size = {0};
    size_t rows = ROWS_DEFAULT;
    json_t *status = client_json(cli, "GET", "/v1/status", NULL);
    if (!status || sweep(cli, top, once) < 0) {
        json_decref(status);
        return -1;
    }
    if (!once) {
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 6) {
            rows = size.ws_row - 5u;
        }
        buf_text(&out, "\033[H\033[2J"); /* home, clear */
    }
    screen(top, status, what, rows, &out);
    print_buf(&out);
    fflush(stdout);
    buf_free(&out);
    json_decref(status);
    return 0;
}

static enum cli_exit top(struct cli *cli) {
    bool routers = cli_flag(cli, "routers"), once = cli_flag(cli, "once");
    struct top top = {.list = routers ? "/v1/routers?connected=true" : "/v1/tenants", .index = json_object()};
    struct sigaction action = {.sa_handler = stop};
    struct termios before, raw;
    bool terminal = !once && tcgetattr(STDIN_FILENO, &before) == 0;
    int error;
    if (cli->json) {
        cli_error("top is for people; scripts read \"sallyport status --json\" and \"tenant list --json\"");
        json_decref(top.index);
        return CLI_USAGE;
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (terminal) {
        raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    do {
        error = tick(cli, &top, routers ? "ROUTER" : "TENANT", once);
    } while (error == 0 && !once && !wait_for_key());
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    }
    json_decref(top.index);
    free(top.seen);
    return error < 0 ? CLI_REFUSED : CLI_DONE;
}

static const struct cli_option top_options[] = {
    {"routers", 'r', NULL, "connected routers instead of tenants", CLI_VALUE_FREE, NULL},
    {"once", '1', NULL, "print once, by bytes so far, and end", CLI_VALUE_FREE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command top_commands[] = {
    {"top", "", CLI_VALUE_FREE, 0, 0, "watch the busiest tenants or routers",
     "Refreshes every second until q or Ctrl-C. The gateway brings counters up to date every ten seconds "
     "(usage_seconds), "
     "and rates are means over that time.",
     top_options, top},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
