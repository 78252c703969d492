/* sallyport doctor: looks at the gateway through the API and at the host it runs on (doctor_checks.c), and says for
 * each finding what it is, why it matters, and the line that mends it. */
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor/checks.h"
#include "cli/doctor/fix.h"
#include "cli/doctor/host.h"
#include "cli/doctor/report.h"
#include "cli/show/field.h"
#include "cli/talk/client.h"

#define STATE_FOLDER "/var/lib/sallyport"

static void check_gateway(struct doctor_report *r, const json_t *status) {
    bool up = field_flag(status, "backend.up");
    const char *state = field_text(status, "reconcile.state");
    const char *trouble = field_text(status, "reconcile.trouble");
    bool in_sync = strcmp(state, "in-sync") == 0;
    if (field_text(status, "backend.warning")[0]) {
        doctor_find(r, DOCTOR_NOTE, "backend", "all else works",
                    "see what it says; docs/kernel.md and docs/sallyport-wg.md", "%s",
                    field_text(status, "backend.warning"));
    }
    doctor_find(r, up ? DOCTOR_GOOD : DOCTOR_BAD, "backend",
                "no tunnel works while it is away; sallyportd starts it again by itself if it can",
                "journalctl -u sallyportd -n 50", "the data plane (%s) is %s", field_text(status, "backend.name"),
                up ? "up" : "away");
    doctor_find(r,
                in_sync ? DOCTOR_GOOD
                : up    ? DOCTOR_NOTE
                        : DOCTOR_BAD,
                "reconcile", trouble[0] ? trouble : "the data plane does not hold yet what the database says",
                "sallyport status (again in a few seconds); then journalctl -u sallyportd -n 50",
                "reconciliation is %s", in_sync ? "in sync" : state);
    bool stored = field_flag(status, "store.ok");
    const char *away = field_text(status, "store.trouble");
    doctor_find(r, stored ? DOCTOR_GOOD : DOCTOR_BAD, "store",
                away[0] ? away : "nothing can be changed, and what other gateways change does not come here",
                "sallyport status (again in a few seconds); then journalctl -u sallyportd -n 50",
                "the database (%s) is %s", field_text(status, "store.kind"), stored ? "in use" : "not in use");
    int64_t total = field_number(status, "pool.addresses_total"), left = field_number(status, "pool.addresses_free");
    char text[FIELD_TEXT_SIZE];
    doctor_find(r, total && left * 20 < total ? DOCTOR_NOTE : DOCTOR_GOOD, "pool",
                "every router takes one, also those of private tenants (its hub address)",
                "widen pool in section [gateway] (it may grow), or remove tenants that are gone for good",
                "%s addresses of the pool are free", field_count(left, text));
    if (field_text(status, "gateway.warning")[0]) {
        doctor_find(
            r, DOCTOR_NOTE, "fleet",
            "this gateway and what its database says, or the other gateways do, may come apart until it is mended",
            "sallyport gateway list; docs/gateways.md tells what to do", "%s", field_text(status, "gateway.warning"));
    }
    if (!field_text(status, "gateway.endpoint")[0]) {
        doctor_find(r, DOCTOR_BAD, "endpoint", "it is written into every router's configuration: the address they dial",
                    "set endpoint = NAME in section [gateway] of /etc/sallyport/sallyport.conf",
                    "the gateway has no public endpoint");
    }
}

static void check_version(struct doctor_report *r, const json_t *status) {
    const char *version = field_text(status, "version");
    bool same = strcmp(version, SALLYPORT_VERSION) == 0;
    doctor_find(r, same ? DOCTOR_GOOD : DOCTOR_NOTE, "version",
                "an upgrade was begun and not finished, or this program is from another installation",
                "systemctl restart sallyportd; if that does not help: command -v sallyport sallyportd",
                same ? "the gateway answers, version %s" : "the gateway is of version %s, this program of %s", version,
                SALLYPORT_VERSION);
}

static void learn(struct doctor_facts *facts, const json_t *status) {
    int64_t port = field_number(status, "gateway.listen_port");
    port = port ? port : field_number(status, "gateway.port");
    snprintf(facts->backend, sizeof facts->backend, "%s", field_text(status, "backend.name"));
    snprintf(facts->interface, sizeof facts->interface, "%s", field_text(status, "backend.interface"));
    snprintf(facts->endpoint, sizeof facts->endpoint, "%s", field_text(status, "gateway.endpoint"));
    facts->listen_port = port > 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
    facts->routers = (uint64_t)field_number(status, "counts.routers");
}

static int check_daemon(struct cli *cli, struct doctor_report *r, struct doctor_facts *facts) {
    struct client_answer answer;
    struct buf fault = {0};
    struct client_request request = {.method = "GET", .path = "/v1/status"};
    struct client *client = client_of(cli);
    if (!client) {
        return -1;
    }
    if (client_call(client, &request, &answer, &fault) < 0) {
        doctor_find(r, DOCTOR_BAD, "gateway", fault.data ? fault.data : "", "systemctl start sallyportd",
                    "the gateway does not answer");
    } else if (answer.status != 200) {
        const char *detail = field_text(answer.json, "detail");
        doctor_find(r, DOCTOR_BAD, "gateway", detail, "run as root or in the group sallyport, or give --token-file",
                    "the gateway refused (HTTP status %d)", answer.status);
        client_answer_free(&answer);
    } else {
        check_version(r, answer.json);
        check_gateway(r, answer.json);
        learn(facts, answer.json);
        client_answer_free(&answer);
    }
    buf_free(&fault);
    return 0;
}

static enum cli_exit doctor(struct cli *cli) {
    const char *folder = cli_value(cli, "state-dir"), *file = cli_value(cli, "sysctl-file");
    struct doctor_facts facts = {.state_dir = folder ? folder : STATE_FOLDER};
    struct doctor_report report;
    bool far = cli_flag(cli, "url") || (getenv("SALLYPORT_URL") && !cli_flag(cli, "socket"));
    if (cli_flag(cli, "fix") && (far || cli->json)) {
        cli_error("--fix is for the host it runs on: it goes neither with --url nor with --json");
        return CLI_USAGE;
    }
    if (doctor_report_open(&report) < 0) {
        cli_error("out of memory");
        return CLI_REFUSED;
    }
    int error = check_daemon(cli, &report, &facts);
    /* over TCP the gateway may be another host; what follows is about this one */
    for (size_t i = 0; error == 0 && !far && i < doctor_check_count; i++) {
        doctor_checks[i].run(&facts, &doctor_host_real, &report);
    }
    if (error == 0) {
        doctor_report_print(&report, cli->json);
    }
    if (error == 0 && cli_flag(cli, "fix")) {
        error = doctor_fix(&report, &doctor_host_real, file ? file : DOCTOR_FIX_FILE);
    }
    bool bad = error < 0 || report.bad;
    doctor_report_free(&report);
    return bad ? CLI_REFUSED : CLI_DONE;
}

static const struct cli_option doctor_options[] = {
    {"fix", 0, NULL, "set the kernel settings that are not good, now and for the next boot", CLI_VALUE_FREE, NULL},
    {"sysctl-file", 0, "FILE", "where --fix writes them (default: " DOCTOR_FIX_FILE ")", CLI_VALUE_FILE, NULL},
    {"state-dir", 0, "FOLDER", "the gateway's state folder (default: " STATE_FOLDER ")", CLI_VALUE_FILE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command doctor_commands[] = {
    {"doctor", "", CLI_VALUE_FREE, 0, 0, "check the gateway and this host",
     "For each finding: what it is, why it matters, and the line that mends it. Looks at the kernel and its WireGuard, "
     "TUN or BPF, forwarding, reverse path filtering, connection tracking, buffers, the firewall, the clock, the disk, "
     "the key file, and the endpoint's name: only at what matters to the data plane in use. Exit status 1 if anything "
     "is bad; notes alone are fine. With --url only the gateway is checked, not this host.\n\n"
     "Changes nothing without --fix, and with it only kernel settings: into a file of their own, each under the reason "
     "for it, and into the running kernel. What that mends shows in the next run.",
     doctor_options, doctor},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
