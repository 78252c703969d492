#include "cli/import/server.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "cli/import/plan.h"
#include "cli/import/resolve.h"
#include "cli/import/text.h"
#include "cli/import/wgconf.h"
#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/talk/client.h"
#include "cli/talk/lookup.h"
#include "cli/terminal.h"

#define TIMEOUT_S 600L

struct importing {
    struct cli *cli;
    const char *file_name;
    bool live;           /* peers of an interface; the file, if there is one, only names them */
    struct wgconf *conf; /* owned; NULL: no file */
    json_t *body;        /* owned */
};

/* --- the request --- */

static json_t *peer_body(const struct wgconf_peer *peer) {
    char key[KEY_BASE64_SIZE], text[ENDPOINT_TEXT_SIZE];
    json_t *allowed = json_array();
    for (size_t i = 0; i < peer->allowed_count; i++) {
        char prefix[PREFIX_TEXT_SIZE];
        json_array_append_new(allowed, json_string(prefix_format(&peer->allowed[i], prefix)));
    }
    json_t *body = json_pack("{s:s, s:o}", "public_key", key_to_base64(&peer->public_key, key), "allowed_ips", allowed);
    if (peer->name[0]) {
        json_object_set_new(body, "name", json_string(peer->name));
    }
    if (!key_is_zero(&peer->preshared_key)) {
        json_object_set_new(body, "preshared_key", json_string(key_to_base64(&peer->preshared_key, key)));
    }
    if (endpoint_format(&peer->endpoint, text)[0]) {
        json_object_set_new(body, "endpoint", json_string(text));
    }
    sodium_memzero(key, sizeof key);
    return body;
}

/* A live interface knows no names: those that its file gives. */
static void body_names(struct importing *im) {
    char key[KEY_BASE64_SIZE];
    json_t *names = json_array();
    for (size_t i = 0; i < im->conf->peer_count; i++) {
        const struct wgconf_peer *peer = &im->conf->peers[i];
        if (peer->name[0]) {
            json_array_append_new(names, json_pack("{s:s, s:s}", "public_key", key_to_base64(&peer->public_key, key),
                                                   "name", peer->name));
        }
    }
    json_object_set_new(im->body, "names", names);
}

static void body_peers(struct importing *im) {
    const struct wgconf *conf = im->conf;
    char text[PREFIX_TEXT_SIZE], key_text[KEY_BASE64_SIZE];
    json_t *peers = json_array();
    for (size_t i = 0; i < conf->peer_count; i++) {
        json_array_append_new(peers, peer_body(&conf->peers[i]));
    }
    json_object_set_new(im->body, "peers", peers);
    if (!key_is_zero(&conf->private_key)) {
        struct key key;
        key_public(&conf->private_key, &key);
        json_object_set_new(im->body, "server_public_key", json_string(key_to_base64(&key, key_text)));
    }
    for (size_t i = 0; i < conf->address_count; i++) {
        if (conf->addresses[i].addr.family == AF_INET) {
            json_object_set_new(im->body, "server_address", json_string(prefix_format(&conf->addresses[i], text)));
            break;
        }
    }
}

/* The tenant by its name or UUID if it exists, else a new one of that name. */
static int body_tenant(struct importing *im) {
    const char *name = cli_value(im->cli, "tenant"), *addressing = cli_value(im->cli, "addressing");
    const char *subnet = cli_value(im->cli, "subnet");
    struct uuid uuid;
    struct buf path = {0};
    buf_text(&path, "/v1/tenants?limit=2");
    client_query(&path, "name", name);
    json_t *found = uuid_parse(name, &uuid) == 0 ? NULL : client_json(im->cli, "GET", path.data ? path.data : "", NULL);
    size_t count = found ? json_array_size(json_object_get(found, "items")) : 1;
    bool failed = !found && uuid_parse(name, &uuid) < 0;
    json_decref(found);
    buf_free(&path);
    if (failed) {
        return -1;
    }
    if (count > 0) {
        char id[UUID_TEXT_SIZE];
        if (lookup_tenant(im->cli, name, id) < 0) {
            return -1;
        }
        if (addressing || subnet) {
            cli_error("the tenant exists already, so --addressing and --subnet come too late; leave them out");
            return -1;
        }
        json_object_set_new(im->body, "tenant_id", json_string(id));
        return 0;
    }
    json_t *tenant = json_pack("{s:s}", "name", name);
    if (addressing) {
        json_object_set_new(tenant, "addressing", json_string(addressing));
    }
    if (subnet) {
        json_object_set_new(tenant, "subnet", json_string(subnet));
    }
    json_object_set_new(im->body, "tenant", tenant);
    return 0;
}

static int body_make(struct importing *im) {
    static const struct {
        const char *option, *field;
    } flags[] = {{"dry-run", "dry_run"},
                 {"skip-conflicts", "skip_conflicts"},
                 {"adopt", "take_over"},
                 {"other-key", "any_key"},
                 {"drop-default-routes", "drop_default_routes"}};
    im->body = json_object();
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (cli_flag(im->cli, flags[i].option)) {
            json_object_set_new(im->body, flags[i].field, json_true());
        }
    }
    if (!im->live) {
        body_peers(im);
    } else {
        json_object_set_new(im->body, "interface", json_string(cli_value(im->cli, "interface")));
    }
    if (im->live && im->conf) {
        body_names(im);
    }
    return body_tenant(im);
}

/* --- what is said beforehand --- */

/* To stderr, without what a terminal would act on. */
static void say(const struct buf *text) {
    struct buf line = {0};
    for (const char *at = text->data; at && *at;) {
        size_t size = strcspn(at, "\n");
        struct buf raw = {0};
        buf_append(&raw, at, size);
        terminal_clean(&line, raw.data ? raw.data : "");
        fprintf(stderr, "%s\n", line.data ? line.data : "");
        buf_clear(&line);
        buf_free(&raw);
        at += size + (at[size] == '\n');
    }
    buf_free(&line);
}

/* Settings of the server that are the gateway's own, where they differ. */
static void compare_gateway(const struct importing *im, struct buf *said) {
    const struct wgconf *conf = im->conf;
    json_t *status = client_json(im->cli, "GET", "/v1/status", NULL);
    const json_t *gateway = json_object_get(status, "gateway");
    int64_t port = field_number(gateway, "port"), mtu = field_number(gateway, "mtu");
    if (gateway && key_is_zero(&conf->private_key) && !cli_flag(im->cli, "other-key")) {
        buf_printf(said,
                   "%s has no PrivateKey, so nothing tells whether the gateway has this server's. Its routers connect "
                   "only if their Peer's PublicKey is the gateway's: %s\n",
                   im->file_name, field_text(gateway, "public_key"));
    }
    if (gateway && conf->listen_port && conf->listen_port != port) {
        buf_printf(said, "%s: its routers dial port %u, and those of this gateway %lld: see [gateway] listen_port\n",
                   im->file_name, conf->listen_port, (long long)port);
    }
    if (gateway && conf->mtu && conf->mtu != mtu) {
        buf_printf(said, "%s: MTU = %u is not taken over; the gateway's is %lld: see [gateway] mtu (1280 at least)\n",
                   im->file_name, conf->mtu, (long long)mtu);
    }
    for (size_t i = 0; gateway && i < conf->address_count; i++) {
        char text[IP_TEXT_SIZE];
        ip_format(&conf->addresses[i].addr, text);
        if (strcmp(text, field_text(gateway, "hub_address")) != 0) {
            buf_printf(said,
                       "%s: the gateway does not answer at the server's address %s, but at %s: routers that talk to "
                       "it there need the new one\n",
                       im->file_name, text, field_text(gateway, "hub_address"));
        }
    }
    if (conf->fwmark.mark) {
        buf_printf(said, "%s: FwMark = 0x%x is the gateway's to set: [gateway] fwmark = 0x%x\n", im->file_name,
                   conf->fwmark.mark, conf->fwmark.mark);
    }
    json_decref(status);
}

/* What is odd in the file, and what is not taken over. */
static void say_notes(const struct importing *im) {
    struct buf said = {0};
    wgconf_notes_format(im->conf, im->file_name, &said);
    if (!im->live) {
        compare_gateway(im, &said);
        resolve_endpoints(im->conf, im->file_name, &said);
    }
    say(&said);
    buf_free(&said);
}

/* --- what came of it --- */

static void say_pool(const json_t *wanted) {
    fprintf(stderr,
            "The addresses do not fit the gateway's pool. In section [gateway] of /etc/sallyport/sallyport.conf set\n"
            "  pool = %s\n"
            "  hub_address = %s\n"
            "then: systemctl restart sallyportd, and import again.\n",
            field_text(wanted, "pool"), field_text(wanted, "hub_address"));
}

/* The lines that give the gateway the server's key. */
static void say_key(const struct importing *im) {
    json_t *status = client_json(im->cli, "GET", "/v1/status", NULL);
    bool empty = status && field_number(status, "counts.tenants") == 0;
    struct buf source = {0};
    json_decref(status);
    if (!empty) {
        fprintf(stderr, "This gateway has tenants, whose routers know it by its key: it must stay. Run a second "
                        "sallyportd with a state_dir, an interface and a port of its own for this server's routers; or "
                        "add --other-key and give each router the gateway's key.\n");
        return;
    }
    text_put_word(&source, im->live ? cli_value(im->cli, "interface") : im->file_name);
    fprintf(stderr,
            "The gateway has no tenants yet, so its key can still be replaced:\n"
            "  systemctl stop sallyportd\n"
            "  sallyport init --key-only --%s %s\n"
            "  systemctl start sallyportd\n"
            "\"sallyport init --from\" does so from the start.\n",
            im->live ? "from-interface" : "from", source.data ? source.data : "");
    buf_free(&source);
}

static enum cli_exit outcome(const struct importing *im, const struct plan *plan) {
    const json_t *wanted = json_object_get(plan->answer, "wanted_gateway");
    int64_t conflicts = field_number(plan->answer, "conflicts");
    bool dry = field_flag(plan->answer, "dry_run"), committed = field_flag(plan->answer, "committed");
    if (im->cli->json) {
        print_json(plan->answer);
    } else if (dry) {
        plan_print(plan);
        plan_print_advice(plan);
    } else {
        plan_print_conflicts(plan);
        plan_print_advice(plan);
        if (committed) {
            plan_print_counts(plan);
        }
    }
    if (json_is_object(wanted)) {
        say_pool(wanted);
    }
    if (dry) {
        return conflicts ? CLI_REFUSED : CLI_DONE;
    }
    if (!committed) {
        cli_error(cli_flag(im->cli, "adopt")
                      ? "nothing was imported: the above stands in the way. --dry-run lists all; --skip-conflicts "
                        "leaves these out, and they lose their connection"
                      : "nothing was imported: the above stands in the way. --dry-run lists all");
    } else if (conflicts) {
        cli_error("the others are imported. Once that is mended run the same again: what is there is recognized");
    }
    return conflicts || !committed ? CLI_REFUSED : CLI_DONE;
}

static enum cli_exit taken_over(const struct importing *im, const json_t *answer, enum cli_exit done) {
    const char *name = cli_value(im->cli, "interface");
    const json_t *problem = json_object_get(answer, "take_over_problem");
    if (!cli_flag(im->cli, "adopt") || !field_flag(answer, "committed")) {
        return done;
    }
    if (json_is_object(problem)) {
        cli_error("the routers are imported, but %s could not be taken over: %s Run the same again once that is mended",
                  name, field_text(problem, "detail"));
        return CLI_REFUSED;
    }
    if (!im->cli->json) {
        printf("%s is the gateway's now. Keep what made it before from making it again at the next boot, without "
               "running its \"down\", e.g.: systemctl disable wg-quick@%s\n",
               name, name);
    }
    return done;
}

static enum cli_exit refused(const struct importing *im, const struct client_answer *answer) {
    client_problem_print(answer->status, answer->json);
    if (strcmp(field_text(answer->json, "type"), "urn:sallyport:problem:gateway-key-differs") == 0) {
        say_key(im);
    }
    return CLI_REFUSED;
}

static int request_send(const struct importing *im, struct client_answer *ret_answer) {
    struct buf fault = {0};
    struct client_request request = {
        .method = "POST", .path = "/v1/adoption", .body = im->body, .timeout_s = TIMEOUT_S};
    struct client *client = client_of(im->cli);
    int error = client ? client_call(client, &request, ret_answer, &fault) : -ENOTCONN;
    if (client && error < 0) {
        cli_error("%s", fault.data ? fault.data : "out of memory");
    }
    buf_free(&fault);
    return error;
}

/* Whether the gateway's pool can become the wanted one although it has tenants: it grows, but it does not move. */
static bool can_grow(const struct importing *im, const json_t *wanted) {
    struct prefix pool, wider;
    json_t *status = client_json(im->cli, "GET", "/v1/status", NULL);
    bool grows = prefix_parse(field_text(status, "gateway.pool"), &pool, NULL) == 0 &&
                 prefix_parse(field_text(wanted, "pool"), &wider, NULL) == 0 && prefix_covers(&wider, &pool) &&
                 strcmp(field_text(wanted, "hub_address"), field_text(status, "gateway.hub_address")) == 0;
    json_decref(status);
    return grows;
}

/* A peer in conflict is left out by itself, unless that would cut it off (--adopt) or the gateway has to be made ready
 * first, which it cannot be once it has tenants. */
static bool leaves_out(const struct importing *im, const struct plan *plan) {
    const json_t *wanted = json_object_get(plan->answer, "wanted_gateway");
    return !cli_flag(im->cli, "adopt") && !field_flag(plan->answer, "dry_run") &&
           !field_flag(plan->answer, "committed") && plan_leaves_some(plan) &&
           (!json_is_object(wanted) || can_grow(im, wanted));
}

static enum cli_exit adopt(struct importing *im) {
    struct client_answer answer;
    struct plan plan = {.conf = im->live ? NULL : im->conf, .file_name = im->file_name};
    if (request_send(im, &answer) < 0) {
        return CLI_REFUSED;
    }
    plan.answer = answer.json;
    if (answer.status == 200 && leaves_out(im, &plan)) {
        client_answer_free(&answer);
        json_object_set_new(im->body, "skip_conflicts", json_true());
        if (request_send(im, &answer) < 0) {
            return CLI_REFUSED;
        }
        plan.answer = answer.json;
    }
    enum cli_exit done = answer.status == 200 ? taken_over(im, answer.json, outcome(im, &plan)) : refused(im, &answer);
    client_answer_free(&answer);
    return done;
}

enum cli_exit import_server(struct cli *cli, FILE *file, const char *file_name) {
    struct importing im = {.cli = cli, .file_name = file_name, .live = cli_flag(cli, "interface")};
    struct buf fault = {0};
    enum cli_exit done = CLI_REFUSED;
    int error = file ? wgconf_read(file, &im.conf, &fault) : 0;
    if (error < 0) {
        cli_error("%s: %s. Nothing was imported", file_name, fault.data ? fault.data : strerror(-error));
    } else if (file && im.conf->peer_count == 0) {
        cli_error("%s has no [Peer]; there is nothing to import", file_name);
    } else {
        if (file) {
            say_notes(&im);
        }
        done = body_make(&im) == 0 ? adopt(&im) : CLI_REFUSED;
    }
    json_decref(im.body);
    wgconf_free(im.conf);
    buf_free(&fault);
    return done;
}
