/* sallyport status */
#include "cli/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/talk/client.h"

#define LINES_MAX 16

/* "gso, tso; off: gro (switched off)" */
static void offloads_format(const json_t *status, char *ret_text, size_t size) {
    const char *name;
    json_t *reason;
    json_t *off = json_object_get(json_object_get(status, "backend"), "offloads_off");
    size_t used = 0;
    for (const char *on = field_text(status, "backend.offloads"); *on && used + 3 < size; on++) {
        ret_text[used++] = *on;
        if (*on == ',') {
            ret_text[used++] = ' ';
        }
    }
    ret_text[used] = 0;
    const char *between = "; off: ";
    json_object_foreach(off, name, reason) {
        const char *why = json_string_value(reason);
        int more = snprintf(ret_text + used, size - used, "%s%s (%s)", between, name,
                            why && strcmp(why, "switched_off") == 0 ? "switched off"
                            : why                                   ? why
                                                                    : "?");
        used = more > 0 && used + (size_t)more < size ? used + (size_t)more : size - 1;
        between = ", ";
    }
}

static void status_print(struct cli *cli, const json_t *s) {
    char a[FIELD_TEXT_SIZE], b[FIELD_TEXT_SIZE], c[FIELD_TEXT_SIZE];
    struct print_pair lines[LINES_MAX] = {0};
    size_t n = 0;
    bool up = field_flag(s, "backend.up");
    const char *state = field_text(s, "reconcile.state");
    const char *hub6 = field_text(s, "gateway.hub_address6");
    (void)cli;
#define SHOW(label, ...) (lines[n].name = label, snprintf(lines[n].value, sizeof lines[n].value, __VA_ARGS__), n++)
    SHOW("gateway", "%s, UDP port %" PRId64, field_text(s, "gateway.endpoint"), field_number(s, "gateway.port"));
    if (field_text(s, "gateway.warning")[0]) {
        SHOW("WARNING", "%s", field_text(s, "gateway.warning"));
    }
    SHOW("public key", "%s", field_text(s, "gateway.public_key"));
    SHOW("hub", "%s%s%s; pool %s, %s of %s addresses free", field_text(s, "gateway.hub_address"), hub6[0] ? ", " : "",
         hub6, field_text(s, "gateway.pool"), field_count(field_number(s, "pool.addresses_free"), a),
         field_count(field_number(s, "pool.addresses_total"), b));
    if (up) {
        char process[32] = ""; /* the kernel has none */
        if (field_number(s, "backend.pid")) {
            snprintf(process, sizeof process, ", pid %" PRId64, field_number(s, "backend.pid"));
        }
        SHOW("data plane", "%s on %s%s, %" PRId64 " workers, %s, %s; %s", field_text(s, "backend.name"),
             field_text(s, "backend.interface"), process, field_number(s, "backend.workers"),
             field_text(s, "backend.crypto"), field_bytes((uint64_t)field_number(s, "backend.memory_bytes"), a),
             field_text(s, "backend.why"));
        if (field_text(s, "backend.warning")[0]) {
            SHOW("WARNING", "%s", field_text(s, "backend.warning"));
        }
        char offloads[sizeof lines[0].value];
        offloads_format(s, offloads, sizeof offloads);
        if (offloads[0]) {
            SHOW("offloads", "%s", offloads);
        }
    } else {
        SHOW("data plane", "%s is AWAY: no tunnel works; \"sallyport doctor\" says why", field_text(s, "backend.name"));
    }
    SHOW("tenants", "%s", field_count(field_number(s, "counts.tenants"), a));
    SHOW("routers", "%s, %s connected", field_count(field_number(s, "counts.routers"), a),
         field_count(field_number(s, "counts.connected_routers"), b));
    if (field_flag(s, "store.ok")) {
        SHOW("store", "%s, revision %s", field_text(s, "store.kind"),
             field_count(field_number(s, "store.revision"), a));
    } else {
        SHOW("STORE", "%s, NOT IN USE: %s", field_text(s, "store.kind"), field_text(s, "store.trouble"));
    }
    int64_t mended = field_number(s, "reconcile.mended");
    SHOW("reconcile", "%s; last %s, took %" PRId64 " ms; %s %s since the start",
         strcmp(state, "in-sync") == 0 ? "in sync" : state,
         field_ago(field_text(s, "reconcile.last_at"), clock_wall_us(), a), field_number(s, "reconcile.last_ms"),
         mended ? field_count(mended, b) : "no",
         mended == 0   ? "differences found"
         : mended == 1 ? "difference found and mended"
                       : "differences found and mended");
    SHOW("daemon", "version %s, up %s, %s", field_text(s, "version"),
         field_duration(field_number(s, "uptime_seconds"), a),
         field_bytes((uint64_t)field_number(s, "memory_bytes"), c));
#undef SHOW
    print_pairs(lines, n);
}

static enum cli_exit status(struct cli *cli) {
    return print_answer(cli, client_json(cli, "GET", "/v1/status", NULL), status_print);
}

const struct cli_command status_commands[] = {
    {"status", "", CLI_VALUE_FREE, 0, 0, "show the gateway in a dozen lines",
     "Exit status 0 whenever the gateway answers; \"doctor\" is the command that judges.", NULL, status},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
