#include "cli/import/server.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "cli/import/wgconf.h"
#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"
#include "cli/talk/client.h"
#include "cli/talk/lookup.h"

#define TIMEOUT_S 600L
#define KEY_FILE "/var/lib/sallyport/server.key"

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
    } flags[] = {
        {"dry-run", "dry_run"}, {"skip-conflicts", "skip_conflicts"}, {"adopt", "take_over"}, {"other-key", "any_key"}};
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
    json_decref(status);
    if (!empty) {
        fprintf(stderr, "This gateway has tenants, whose routers know it by its key: it must stay. Run a second "
                        "sallyportd with a state_dir, an interface and a port of its own for this server's routers; or "
                        "add --other-key and give each router the gateway's key.\n");
        return;
    }
    fprintf(stderr, "The gateway has no tenants yet, so its key can still be replaced:\n  systemctl stop sallyportd\n");
    if (!im->live) {
        fprintf(stderr, "  (umask 077; sed -n 's/^ *PrivateKey *= *//p' %s >" KEY_FILE ")\n", im->file_name);
    } else {
        fprintf(stderr, "  (umask 077; wg show %s private-key >" KEY_FILE ")\n", cli_value(im->cli, "interface"));
    }
    fprintf(stderr, "  systemctl start sallyportd\n" KEY_FILE
                    " is [gateway] private_key_file; \"sallyport init --from\" writes both from the start.\n");
}

/* The line of the file that an item of the answer stands for; 0: none. */
static unsigned line_of(const struct importing *im, size_t at) {
    return !im->live && at < im->conf->peer_count ? im->conf->peers[at].line : 0;
}

static void conflict_print(const struct importing *im, size_t at, const json_t *item) {
    const char *name = field_text(item, "name"), *detail = field_text(item, "problem.detail");
    const char *who = name[0] ? name : field_text(item, "public_key");
    unsigned line = line_of(im, at);
    if (line) {
        cli_error("%s:%u: %s: %s", im->file_name, line, who, detail);
    } else {
        cli_error("%s: %s", who, detail);
    }
}

/* One line a peer. */
static void plan_print(const struct importing *im, const json_t *items) {
    static const char *const headers[] = {"RESULT", "NAME", "ADDRESS", "LANS OR CONFLICT", NULL};
    struct table *table = table_make(headers);
    size_t i;
    const json_t *item;
    json_array_foreach(items, i, item) {
        char lans[512];
        const char *result = field_text(item, "result");
        bool conflict = strcmp(result, "conflict") == 0;
        unsigned line = line_of(im, i);
        table_cell(table, conflict ? "CONFLICT" : result);
        table_cell(table, field_text(item, "name"));
        table_cell(table, field_text(item, "address"));
        if (conflict && line) {
            table_cellf(table, "line %u: %s", line, field_text(item, "problem.detail"));
        } else {
            table_cell(table, conflict ? field_text(item, "problem.detail")
                                       : print_join(json_object_get(item, "lans"), lans, sizeof lans));
        }
    }
    print_table(table);
    table_free(table);
}

static void counts_print(const json_t *answer) {
    char made[FIELD_TEXT_SIZE], there[FIELD_TEXT_SIZE], failed[FIELD_TEXT_SIZE];
    bool dry = field_flag(answer, "dry_run");
    printf("%s%s imported, %s there already, %s %s\n", field_count(field_number(answer, "imported"), made),
           dry ? " would be" : "", field_count(field_number(answer, "already_there"), there),
           field_count(field_number(answer, "conflicts"), failed), dry ? "in conflict" : "left out");
}

static enum cli_exit outcome(const struct importing *im, const json_t *answer) {
    const json_t *items = json_object_get(answer, "items"), *wanted = json_object_get(answer, "wanted_gateway");
    int64_t conflicts = field_number(answer, "conflicts");
    bool dry = field_flag(answer, "dry_run"), committed = field_flag(answer, "committed");
    if (im->cli->json) {
        print_json(answer);
    } else if (dry) {
        plan_print(im, items);
        counts_print(answer);
    } else {
        size_t i;
        const json_t *item;
        json_array_foreach(items, i, item) {
            if (strcmp(field_text(item, "result"), "conflict") == 0) {
                conflict_print(im, i, item);
            }
        }
        if (committed) {
            counts_print(answer);
        }
    }
    if (json_is_object(wanted)) {
        say_pool(wanted);
    }
    if (!dry && !committed) {
        cli_error("nothing was imported: the above stands in the way. --dry-run lists all, --skip-conflicts leaves "
                  "these out");
        return CLI_REFUSED;
    }
    return conflicts ? CLI_REFUSED : CLI_DONE;
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

static enum cli_exit request_send(struct importing *im) {
    struct client_answer answer;
    struct buf fault = {0};
    enum cli_exit done = CLI_REFUSED;
    struct client_request request = {
        .method = "POST", .path = "/v1/adoption", .body = im->body, .timeout_s = TIMEOUT_S};
    struct client *client = client_of(im->cli);
    if (!client) {
        return CLI_REFUSED;
    }
    if (client_call(client, &request, &answer, &fault) < 0) {
        cli_error("%s", fault.data ? fault.data : "out of memory");
        buf_free(&fault);
        return CLI_REFUSED;
    }
    if (answer.status == 200) {
        done = taken_over(im, answer.json, outcome(im, answer.json));
    } else {
        client_problem_print(answer.status, answer.json);
        if (strcmp(field_text(answer.json, "type"), "urn:sallyport:problem:gateway-key-differs") == 0) {
            say_key(im);
        } else if (answer.status == 413) {
            fprintf(stderr,
                    "Split the file at a [Peer], keep [Interface] in both parts, and import one after the other "
                    "under the same tenant; or import the live interface.\n");
        }
    }
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
    } else if (body_make(&im) == 0) {
        done = request_send(&im);
    }
    json_decref(im.body);
    wgconf_free(im.conf);
    buf_free(&fault);
    return done;
}
