/* sallyport router ... */
#include "cli/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"
#include "cli/talk/client.h"
#include "cli/talk/list.h"
#include "cli/talk/lookup.h"
#include "cli/terminal.h"
#include "export/qr.h"
#include "model/key.h"

#define PATH_SIZE 96

static const char *router_path(char path[PATH_SIZE], const char *id, const char *verb) {
    snprintf(path, PATH_SIZE, "/v1/routers/%s%s%s", id, verb ? "/" : "", verb ? verb : "");
    return path;
}

static void router_print(struct cli *cli, const json_t *r) {
    char received[FIELD_TEXT_SIZE], sent[FIELD_TEXT_SIZE], ago[FIELD_TEXT_SIZE], since[FIELD_TEXT_SIZE];
    const char *address = field_text(r, "address"), *hub_address = field_text(r, "hub_address");
    const char *endpoint = field_text(r, "endpoint");
    struct print_pair pairs[15] = {0};
    size_t n = 0;
#define SHOW(label, ...) (pairs[n].name = label, snprintf(pairs[n].value, sizeof pairs[n].value, __VA_ARGS__), n++)
    SHOW("router", "%s", field_text(r, "name"));
    SHOW("id", "%s", field_text(r, "id"));
    SHOW("tenant", "%s (%s)", lookup_tenant_name(cli, field_text(r, "tenant_id")), field_text(r, "tenant_id"));
    SHOW("status", "%s, %s", field_text(r, "status"), field_flag(r, "connected") ? "connected" : "not connected");
    if (field_flag(r, "connected")) {
        SHOW("session", "at gateway %s, begun %s", field_text(r, "gateway"),
             field_ago(field_text(r, "connected_since"), clock_wall_us(), since));
    }
    SHOW("public key", "%s", field_text(r, "public_key"));
    SHOW("preshared key", "%s", field_flag(r, "has_preshared_key") ? "yes" : "no");
    SHOW("address", "%s, %s", address, field_text(r, "address6"));
    SHOW("hub address", "%s%s", hub_address, strcmp(address, hub_address) == 0 ? "" : " (translated 1:1)");
    if (json_array_size(json_object_get(r, "lans"))) {
        pairs[n].name = "LANs";
        print_join(json_object_get(r, "lans"), pairs[n].value, sizeof pairs[n].value);
        n++;
    }
    SHOW("endpoint", "%s", endpoint[0] ? endpoint : "unknown");
    SHOW("last handshake", "%s", field_ago(field_text(r, "last_handshake_at"), clock_wall_us(), ago));
    SHOW("traffic", "%s received, %s sent", field_bytes((uint64_t)field_number(r, "bytes_received"), received),
         field_bytes((uint64_t)field_number(r, "bytes_sent"), sent));
    SHOW("created", "%s", field_text(r, "created_at"));
#undef SHOW
    print_pairs(pairs, n);
}

/* Reads a key from a file or, for "-", from standard input: never from the command line, which other users can see. */
static int preshared_read(const char *path, json_t *body) {
    char text[KEY_BASE64_SIZE + 2] = "";
    struct key key;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!file) {
        cli_error("--preshared-key is \"generate\" or a readable file that holds the key; %s is none", path);
        return -1;
    }
    bool read = fgets(text, sizeof text, file);
    if (file != stdin) {
        fclose(file);
    }
    text[strcspn(text, "\r\n")] = '\0';
    int error = read ? key_from_base64(text, &key) : -1;
    if (error < 0) {
        cli_error("%s holds no preshared key (44 characters of base64, as \"wg genpsk\" prints)", path);
    } else {
        json_object_set_new(body, "preshared_key", json_string(text));
    }
    explicit_bzero(text, sizeof text);
    explicit_bzero(&key, sizeof key);
    return error < 0 ? -1 : 0;
}

static int keys_read(const struct cli *cli, json_t *body) {
    const char *public_key = cli_value(cli, "public-key"), *preshared_key = cli_value(cli, "preshared-key");
    if (public_key) {
        json_object_set_new(body, "public_key", json_string(public_key));
    }
    if (preshared_key && strcmp(preshared_key, "generate") == 0) {
        json_object_set_new(body, "preshared_key", json_string("generate"));
    } else if (preshared_key) {
        return preshared_read(preshared_key, body);
    }
    return 0;
}

static void lans_read(const struct cli *cli, json_t *body) {
    json_t *lans = json_array();
    for (size_t i = 0; cli_value_at(cli, "lan", i); i++) {
        const char *lan = cli_value_at(cli, "lan", i);
        if (strcmp(lan, "none") != 0) {
            json_array_append_new(lans, json_string(lan));
        }
    }
    json_object_set_new(body, "lans", lans);
}

/* What is said beside the configuration, on stderr, so that stdout is the file and nothing else. */
static void made_tell(const json_t *made, const char *output, const char *format) {
    const char *address = field_text(made, "address"), *hub_address = field_text(made, "hub_address");
    struct buf said = {0}, clean = {0};
    buf_printf(&said, "Router \"%s\": %s, %s", field_text(made, "name"), address, field_text(made, "address6"));
    if (strcmp(address, hub_address) != 0) {
        buf_printf(&said, "; the hub reaches it at %s", hub_address);
    }
    buf_printf(&said, ". id %s", field_text(made, "id"));
    terminal_clean(&clean, said.data ? said.data : "");
    fprintf(stderr, "%s\n", clean.data ? clean.data : "");
    if (field_text(made, "private_key")[0]) {
        fprintf(stderr,
                "Its private key is in %s, shown only now: it is not stored anywhere and cannot be shown again.\n",
                output ? output : "the configuration above");
    } else if (!format || strcmp(format, "wg-quick") == 0 || strcmp(format, "qr") == 0) {
        fprintf(stderr, "Put the router's own private key into the configuration.\n");
    } else {
        fprintf(stderr, "The script uses the key that the router has, or makes one, and tells if it is another.\n");
    }
    buf_free(&said);
    buf_free(&clean);
}

/* "qr" is drawn in a terminal and is a picture in a file. */
static bool is_drawn(const struct cli *cli) {
    const char *format = cli_value(cli, "format");
    return format && strcmp(format, "qr") == 0 && !cli_flag(cli, "output") && !cli->json;
}

static void format_query(const struct cli *cli, struct buf *path) {
    const char *format = is_drawn(cli) ? "wg-quick" : cli_value(cli, "format");
    if (format) {
        client_query(path, "format", format);
    }
    if (cli_value(cli, "family")) {
        client_query(path, "family", cli_value(cli, "family"));
    }
}

/* The configuration as it is, or as a code to scan. What is too long to be one is printed as it is. */
static void config_put(const struct cli *cli, const char *config, struct buf *out) {
    if (!is_drawn(cli)) {
        buf_text(out, config);
    } else if (qr_draw(config, out) < 0) {
        cli_error("it is too long for a QR code that a camera can read; here it is as text");
        buf_clear(out);
        buf_text(out, config);
    }
}

/* A configuration that has no place in the form that was asked for is empty; its private key is not lost then. */
static void made_put(const struct cli *cli, const json_t *made, struct buf *out) {
    const char *config = field_text(made, "config"), *private_key = field_text(made, "private_key");
    if (config[0] || !private_key[0]) {
        config_put(cli, config, out);
        return;
    }
    cli_error(
        "the configuration does not fit into this form; here is the private key, and \"router config\" prints the "
        "rest in another");
    buf_printf(out, "PrivateKey = %s\n", private_key);
}

/* Makes or re-keys a router and hands out its configuration. The file is opened first: a key that could not be written
 * would be lost. */
static enum cli_exit make(struct cli *cli, const char *path, const json_t *body) {
    const char *output = cli_value(cli, "output");
    struct buf text = {0};
    struct print_file *file = print_file_open(output);
    if (!file) {
        return CLI_REFUSED;
    }
    struct buf target = {0};
    buf_text(&target, path);
    format_query(cli, &target);
    json_t *made = client_json(cli, "POST", target.data, body);
    buf_free(&target);
    if (!made) {
        print_file_close(file, NULL);
        return CLI_REFUSED;
    }
    if (cli->json && !output) {
        print_json(made);
    } else {
        made_put(cli, made, &text);
    }
    int error = print_file_close(file, &text);
    if (error < 0 && output) {
        cli_error("here it is instead, this once: its keys are stored nowhere else and cannot be shown again");
        print_buf(&text);
    }
    if (cli->json && output) {
        json_object_del(made, "private_key");
        json_object_del(made, "config");
        print_json(made);
    }
    if (!cli->json && error == 0) {
        made_tell(made, output, cli_value(cli, "format"));
    }
    buf_free(&text);
    json_decref(made);
    return error < 0 ? CLI_REFUSED : CLI_DONE;
}

static enum cli_exit add(struct cli *cli) {
    char id[UUID_TEXT_SIZE], path[PATH_SIZE];
    json_t *body = json_pack("{s:s}", "name", cli->arguments[1]);
    enum cli_exit done = CLI_USAGE;
    if (!body) {
        cli_error("the name is not valid UTF-8");
        return CLI_USAGE;
    }
    const char *wish = cli_value(cli, "address"), *own_id = cli_value(cli, "id");
    if (wish) {
        json_object_set_new(body, "address", json_string(wish));
    }
    if (own_id) {
        json_object_set_new(body, "id", json_string(own_id));
    }
    if (cli_flag(cli, "lan")) {
        lans_read(cli, body);
    }
    if (keys_read(cli, body) == 0) {
        done = CLI_REFUSED;
        if (lookup_tenant(cli, cli->arguments[0], id) == 0) {
            snprintf(path, sizeof path, "/v1/tenants/%s/routers", id);
            done = make(cli, path, body);
        }
    }
    json_decref(body);
    return done;
}

static enum cli_exit rotate(struct cli *cli) {
    char id[UUID_TEXT_SIZE], path[PATH_SIZE];
    json_t *body = json_object();
    enum cli_exit done = CLI_USAGE;
    if (keys_read(cli, body) == 0) {
        done = CLI_REFUSED;
        if (lookup_router(cli, cli->arguments[0], id) == 0 &&
            cli_confirm(cli, "Give router \"%s\" new keys? It stays cut off until it has its new configuration.",
                        cli->arguments[0])) {
            done = make(cli, router_path(path, id, "rotate"), body);
        }
    }
    json_decref(body);
    return done;
}

static enum cli_exit set(struct cli *cli) {
    char id[UUID_TEXT_SIZE], path[PATH_SIZE];
    json_t *body = json_object();
    enum cli_exit done = CLI_REFUSED;
    if (cli_flag(cli, "name")) {
        json_object_set_new(body, "name", json_string(cli_value(cli, "name")));
    }
    if (cli_flag(cli, "lan")) {
        lans_read(cli, body);
    }
    if (json_object_size(body) == 0) {
        cli_error("nothing to change: give --name or --lan");
        done = CLI_USAGE;
    } else if (lookup_router(cli, cli->arguments[0], id) == 0) {
        done = print_answer(cli, client_json(cli, "PATCH", router_path(path, id, NULL), body), router_print);
    }
    json_decref(body);
    return done;
}

static enum cli_exit config(struct cli *cli) {
    char id[UUID_TEXT_SIZE], path[PATH_SIZE];
    struct buf query = {0}, answer = {0}, text = {0};
    if (lookup_router(cli, cli->arguments[0], id) < 0) {
        return CLI_REFUSED;
    }
    struct print_file *file = print_file_open(cli_value(cli, "output"));
    if (!file) {
        return CLI_REFUSED;
    }
    buf_text(&query, router_path(path, id, "config"));
    format_query(cli, &query);
    int error = client_text(cli, query.data, &answer);
    if (error == 0 && cli->json) {
        json_t *object = json_pack("{s:s%}", "config", answer.data, answer.size);
        char *dump = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
        buf_printf(&text, "%s\n", dump ? dump : "{}");
        free(dump);
        json_decref(object);
    } else if (error == 0) {
        config_put(cli, answer.data, &text);
    }
    error = print_file_close(file, error == 0 ? &text : NULL) < 0 ? -1 : error;
    buf_free(&query);
    buf_free(&answer);
    buf_free(&text);
    return error < 0 ? CLI_REFUSED : CLI_DONE;
}

static void router_row(struct cli *cli, struct table *table, const json_t *r, int64_t now_us) {
    char received[FIELD_TEXT_SIZE], sent[FIELD_TEXT_SIZE], ago[FIELD_TEXT_SIZE];
    table_cell(table, lookup_tenant_name(cli, field_text(r, "tenant_id")));
    table_cell(table, field_text(r, "name"));
    table_cell(table, field_text(r, "address"));
    table_cell(table, field_text(r, "hub_address"));
    table_cell(table, field_flag(r, "connected") ? "connected" : field_text(r, "status"));
    table_cell(table, field_ago(field_text(r, "last_handshake_at"), now_us, ago));
    table_cell(table, field_text(r, "endpoint"));
    table_cell(table, field_bytes((uint64_t)field_number(r, "bytes_received"), received));
    table_cell(table, field_bytes((uint64_t)field_number(r, "bytes_sent"), sent));
    table_cell(table, field_text(r, "id"));
}

static enum cli_exit list(struct cli *cli) {
    static const char *const headers[] = {"TENANT",   "NAME",      "ADDRESS", "HUB ADDRESS", "STATE", "HANDSHAKE",
                                          "ENDPOINT", ">RECEIVED", ">SENT",   "ID",          NULL};
    struct buf path = {0};
    char tenant_id[UUID_TEXT_SIZE];
    if (cli->argument_count && lookup_tenant(cli, cli->arguments[0], tenant_id) < 0) {
        return CLI_REFUSED;
    }
    buf_text(&path, "/v1/routers");
    client_query(&path, "tenant_id", cli->argument_count ? tenant_id : NULL);
    client_query(&path, "name", cli_value(cli, "name"));
    client_query(&path, "q", cli_value(cli, "search"));
    client_query(&path, "status", cli_value(cli, "status"));
    client_query(&path, "address", cli_value(cli, "address"));
    client_query(&path, "public_key", cli_value(cli, "public-key"));
    const char *connected = cli_value(cli, "connected");
    client_query(&path, "connected", !connected ? NULL : strcmp(connected, "yes") == 0 ? "true" : "false");
    enum cli_exit done = list_print(cli, &path, headers, router_row);
    buf_free(&path);
    return done;
}

static enum cli_exit call(struct cli *cli, const char *method, const char *verb) {
    char id[UUID_TEXT_SIZE], path[PATH_SIZE];
    if (lookup_router(cli, cli->arguments[0], id) < 0) {
        return CLI_REFUSED;
    }
    return print_answer(cli, client_json(cli, method, router_path(path, id, verb), NULL), router_print);
}

static enum cli_exit show(struct cli *cli) {
    return call(cli, "GET", NULL);
}

static enum cli_exit disable(struct cli *cli) {
    return call(cli, "POST", "disable");
}

static enum cli_exit enable(struct cli *cli) {
    return call(cli, "POST", "enable");
}

static enum cli_exit remove_(struct cli *cli) {
    char id[UUID_TEXT_SIZE], path[PATH_SIZE];
    if (lookup_router(cli, cli->arguments[0], id) < 0 ||
        !cli_confirm(cli, "Remove router \"%s\" for good?", cli->arguments[0])) {
        return CLI_REFUSED;
    }
    return print_answer(cli, client_json(cli, "DELETE", router_path(path, id, NULL), NULL), NULL);
}

#define END                                                                                                            \
    { NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL }
#define FORMATS "wg-quick|routeros|openwrt|networkd|qr"
#define FORMAT_OPTION                                                                                                  \
    { "format", 0, "FORMAT", "which system it is for (default: wg-quick)", CLI_VALUE_WORDS, FORMATS }
#define FAMILY_OPTION                                                                                                  \
    {                                                                                                                  \
        "family", 0, "FAMILY", "which of its addresses it gets (default: the gateway's choice, or else both)",         \
            CLI_VALUE_WORDS, "ipv4|ipv6|both"                                                                          \
    }
#define KEY_OPTIONS                                                                                                    \
    {"public-key",   0,                                                                                                \
     "KEY",          "the router's own public key; without it a key pair is made and its private half shown once",     \
     CLI_VALUE_FREE, NULL},                                                                                            \
        {"preshared-key", 0,   "FILE", "\"generate\", or a file that holds one (\"-\": standard input)",               \
         CLI_VALUE_FILE,  NULL},                                                                                       \
        {"output", 'o', "FILE", "write the configuration to a new file of mode 0600", CLI_VALUE_FILE, NULL},           \
        FORMAT_OPTION, FAMILY_OPTION

static const struct cli_option add_options[] = {
    KEY_OPTIONS,
    {"lan", 0, "CIDR", "a prefix behind the router; repeat for more", CLI_VALUE_FREE, NULL},
    {"address", 0, "IP", "a wish for its tunnel address", CLI_VALUE_FREE, NULL},
    {"id", 0, "UUID", "use this identifier instead of a new one", CLI_VALUE_FREE, NULL},
    END,
};

static const struct cli_option rotate_options[] = {
    KEY_OPTIONS,
    {"yes", 'y', NULL, "do not ask", CLI_VALUE_FREE, NULL},
    END,
};

static const struct cli_option set_options[] = {
    {"name", 0, "NAME", "a new name", CLI_VALUE_FREE, NULL},
    {"lan", 0, "CIDR", "the prefixes behind the router, all of them; repeat for more, \"none\" for none",
     CLI_VALUE_FREE, NULL},
    END,
};

static const struct cli_option list_options[] = {
    {"name", 0, "NAME", "only routers of exactly this name", CLI_VALUE_FREE, NULL},
    {"search", 0, "TEXT", "only routers whose name contains this", CLI_VALUE_FREE, NULL},
    {"status", 0, "STATUS", "only these; pending: never connected", CLI_VALUE_WORDS, "pending|active|disabled"},
    {"connected", 0, "yes|no", "only those with, or without, a handshake in the last 3 minutes", CLI_VALUE_WORDS,
     "yes|no"},
    {"address", 0, "IP", "only the router with this tunnel or hub address", CLI_VALUE_FREE, NULL},
    {"public-key", 0, "KEY", "only the router with this key", CLI_VALUE_FREE, NULL},
    {"limit", 0, "N", "stop after this many (default: all)", CLI_VALUE_FREE, NULL},
    {"names", 0, NULL, "print only the names, one a line", CLI_VALUE_FREE, NULL},
    END,
};

static const struct cli_option remove_options[] = {
    {"yes", 'y', NULL, "do not ask", CLI_VALUE_FREE, NULL},
    END,
};

static const struct cli_option config_options[] = {
    FORMAT_OPTION,
    FAMILY_OPTION,
    {"output", 'o', "FILE", "write it to a new file of mode 0600", CLI_VALUE_FILE, NULL},
    END,
};

const struct cli_command router_commands[] = {
    {"router add", "TENANT NAME", CLI_VALUE_TENANT, 2, 2, "add a router and print its configuration",
     "The router can connect as soon as this returns. Its configuration goes to standard output (or --output): by "
     "default as wg-quick text, which NetworkManager and the apps read too. routeros, openwrt and networkd are scripts "
     "for those systems, which may be run again; qr is a code to scan, drawn in the terminal or an SVG picture in "
     "--output.\n\n"
     "Best is a key pair made on the router: give its public half with --public-key. Otherwise a pair is made here; "
     "the "
     "private half is in this configuration only; it is not stored.",
     add_options, add},
    {"router list", "[TENANT]", CLI_VALUE_TENANT, 0, 1, "list routers, of all tenants or of one",
     "HUB ADDRESS is where the hub reaches the router. STATE is \"connected\" with a handshake in the last 3 minutes, "
     "else "
     "the status.",
     list_options, list},
    {"router show", "ROUTER", CLI_VALUE_ROUTER, 1, 1, "show one router",
     "ROUTER is a UUID, TENANT/ROUTER, or a name that only one router has.", NULL, show},
    {"router set", "ROUTER", CLI_VALUE_ROUTER, 1, 1, "change a router's name or LANs",
     "Only what is given changes. Takes effect at once; the session goes on.", set_options, set},
    {"router disable", "ROUTER", CLI_VALUE_ROUTER, 1, 1, "silence a router",
     "It falls silent at once and keeps its keys and addresses for \"router enable\".", NULL, disable},
    {"router enable", "ROUTER", CLI_VALUE_ROUTER, 1, 1, "bring a disabled router back",
     "The hub calls on it where it last was as soon as it sends it something. By itself it connects again about 15 "
     "seconds after it next sends something, at the latest when its session is due for renewal, two minutes after the "
     "last.",
     NULL, enable},
    {"router rotate", "ROUTER", CLI_VALUE_ROUTER, 1, 1, "give a router new keys and print its configuration",
     "The old key is refused from now on. The addresses stay.", rotate_options, rotate},
    {"router remove", "ROUTER", CLI_VALUE_ROUTER, 1, 1, "remove a router for good",
     "Final: its key is refused at once and its address may be given to another.", remove_options, remove_},
    {"router config", "ROUTER", CLI_VALUE_ROUTER, 1, 1, "print a router's configuration again",
     "Without the private key, which is not stored: a comment stands in its place, and scripts use the key that the "
     "router has, or make one, and tell if it is another than the gateway knows. \"router rotate\" makes a new one.",
     config_options, config},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
