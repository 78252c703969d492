/* sallyport tenant ... */
#include "cli/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/show/field.h"
#include "cli/show/print.h"
#include "cli/show/table.h"
#include "cli/talk/client.h"
#include "cli/talk/list.h"
#include "cli/talk/lookup.h"

#define PATH_SIZE 96

static const char *tenant_path(char path[PATH_SIZE], const char *id, const char *verb) {
    snprintf(path, PATH_SIZE, "/v1/tenants/%s%s%s", id, verb ? "/" : "", verb ? verb : "");
    return path;
}

/* One option that is a number with a suffix, into an object; an empty string is "none" (0). */
static int limit_read(const struct cli *cli, const char *option, const char *field, json_t *limits) {
    const char *text = cli_value(cli, option);
    uint64_t number = 0;
    if (!text) {
        return 0;
    }
    if (strcmp(text, "none") != 0 && field_scaled_parse(text, &number) < 0) {
        cli_error("--%s takes a number such as 500, 64k, 20M or 1G, or \"none\"; not \"%s\"", option, text);
        return -1;
    }
    json_object_set_new(limits, field, json_integer((json_int_t)number));
    return 0;
}

static int limits_read(const struct cli *cli, json_t *body) {
    json_t *limits = json_object();
    int error = limit_read(cli, "limit-bits", "bits_per_second", limits) |
                limit_read(cli, "limit-packets", "packets_per_second", limits) |
                limit_read(cli, "limit-routers", "routers", limits);
    if (error == 0 && json_object_size(limits)) {
        json_object_set(body, "limits", limits);
    }
    json_decref(limits);
    return error;
}

static void text_read(const struct cli *cli, const char *option, const char *field, json_t *body) {
    const char *text = cli_value(cli, option);
    if (text) {
        json_object_set_new(body, field, json_string(text));
    }
}

static void limit_show(struct print_pair *pair, const char *name, const json_t *tenant) {
    char bits[FIELD_TEXT_SIZE], packets[FIELD_TEXT_SIZE], routers[FIELD_TEXT_SIZE];
    int64_t b = field_number(tenant, "limits.bits_per_second");
    int64_t p = field_number(tenant, "limits.packets_per_second");
    int64_t r = field_number(tenant, "limits.routers");
    pair->name = name;
    snprintf(pair->value, sizeof pair->value, "%s%s%s%s%s", b ? field_rate((double)b, bits) : "no limit of bandwidth",
             p ? ", " : "", p ? field_count(p, packets) : "", p ? " packets/s" : "", "");
    if (r) {
        size_t used = strlen(pair->value);
        snprintf(pair->value + used, sizeof pair->value - used, ", %s routers", field_count(r, routers));
    }
}

static void tenant_print(struct cli *cli, const json_t *t) {
    char received[FIELD_TEXT_SIZE], sent[FIELD_TEXT_SIZE], count[FIELD_TEXT_SIZE], connected[FIELD_TEXT_SIZE];
    bool private = strcmp(field_text(t, "addressing"), "private") == 0;
    struct print_pair pairs[9] = {0};
    size_t n = 0;
    (void)cli;
#define SHOW(label, ...) (pairs[n].name = label, snprintf(pairs[n].value, sizeof pairs[n].value, __VA_ARGS__), n++)
    SHOW("tenant", "%s", field_text(t, "name"));
    SHOW("id", "%s", field_text(t, "id"));
    SHOW("status", "%s", field_text(t, "status"));
    SHOW("addressing", "%s, %s%s", field_text(t, "addressing"), field_text(t, "subnet"),
         private ? " (its own; may overlap anybody's)" : "");
    SHOW("egress", "%s", field_flag(t, "egress") ? "allowed: may reach beyond the hub" : "no: reaches the hub only");
    limit_show(&pairs[n++], "limits", t);
    SHOW("routers", "%s, %s connected", field_count(field_number(t, "routers"), count),
         field_count(field_number(t, "connected_routers"), connected));
    SHOW("traffic", "%s received, %s sent", field_bytes((uint64_t)field_number(t, "bytes_received"), received),
         field_bytes((uint64_t)field_number(t, "bytes_sent"), sent));
    SHOW("created", "%s", field_text(t, "created_at"));
#undef SHOW
    print_pairs(pairs, n);
}

static enum cli_exit add(struct cli *cli) {
    json_t *body = json_pack("{s:s}", "name", cli->arguments[0]);
    enum cli_exit done = CLI_USAGE;
    if (!body) {
        cli_error("the name is not valid UTF-8");
        return CLI_USAGE;
    }
    text_read(cli, "id", "id", body);
    text_read(cli, "addressing", "addressing", body);
    text_read(cli, "subnet", "subnet", body);
    if (cli_flag(cli, "egress")) {
        json_object_set_new(body, "egress", json_true());
    }
    if (limits_read(cli, body) == 0) {
        done = print_answer(cli, client_json(cli, "POST", "/v1/tenants", body), tenant_print);
    }
    json_decref(body);
    return done;
}

static enum cli_exit set(struct cli *cli) {
    char id[UUID_TEXT_SIZE], path[PATH_SIZE];
    json_t *body = json_object();
    enum cli_exit done = CLI_USAGE;
    const char *egress = cli_value(cli, "egress");
    text_read(cli, "name", "name", body);
    if (egress) {
        json_object_set_new(body, "egress", json_boolean(strcmp(egress, "on") == 0));
    }
    if (limits_read(cli, body) == 0) {
        if (json_object_size(body) == 0) {
            cli_error("nothing to change: give --name, --egress or a --limit-...");
        } else if (lookup_tenant(cli, cli->arguments[0], id) < 0) {
            done = CLI_REFUSED;
        } else {
            done = print_answer(cli, client_json(cli, "PATCH", tenant_path(path, id, NULL), body), tenant_print);
        }
    }
    json_decref(body);
    return done;
}

static void tenant_row(struct cli *cli, struct table *table, const json_t *t, int64_t now_us) {
    char received[FIELD_TEXT_SIZE], sent[FIELD_TEXT_SIZE];
    (void)cli;
    (void)now_us;
    table_cell(table, field_text(t, "name"));
    table_cell(table, field_text(t, "addressing"));
    table_cell(table, field_text(t, "subnet"));
    table_cell(table, field_text(t, "status"));
    table_cellf(table, "%" PRId64, field_number(t, "routers"));
    table_cellf(table, "%" PRId64, field_number(t, "connected_routers"));
    table_cell(table, field_bytes((uint64_t)field_number(t, "bytes_received"), received));
    table_cell(table, field_bytes((uint64_t)field_number(t, "bytes_sent"), sent));
    table_cell(table, field_text(t, "id"));
}

static enum cli_exit list(struct cli *cli) {
    static const char *const headers[] = {"NAME",       "ADDRESSING", "SUBNET", "STATUS", ">ROUTERS",
                                          ">CONNECTED", ">RECEIVED",  ">SENT",  "ID",     NULL};
    struct buf path = {0};
    buf_text(&path, "/v1/tenants");
    client_query(&path, "name", cli_value(cli, "name"));
    client_query(&path, "q", cli_value(cli, "search"));
    client_query(&path, "addressing", cli_value(cli, "addressing"));
    client_query(&path, "status", cli_value(cli, "status"));
    enum cli_exit done = list_print(cli, &path, headers, tenant_row);
    buf_free(&path);
    return done;
}

static enum cli_exit call(struct cli *cli, const char *method, const char *verb) {
    char id[UUID_TEXT_SIZE], path[PATH_SIZE];
    if (lookup_tenant(cli, cli->arguments[0], id) < 0) {
        return CLI_REFUSED;
    }
    return print_answer(cli, client_json(cli, method, tenant_path(path, id, verb), NULL), tenant_print);
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
    if (lookup_tenant(cli, cli->arguments[0], id) < 0) {
        return CLI_REFUSED;
    }
    json_t *tenant = client_json(cli, "GET", tenant_path(path, id, NULL), NULL);
    if (!tenant) {
        return CLI_REFUSED;
    }
    bool sure = cli_confirm(cli, "Remove tenant \"%s\" and its %" PRId64 " routers for good?",
                            field_text(tenant, "name"), field_number(tenant, "routers"));
    json_decref(tenant);
    return print_answer(cli, sure ? client_json(cli, "DELETE", path, NULL) : NULL, NULL);
}

#define LIMIT_OPTIONS                                                                                                  \
    {"limit-bits",   0,   "N", "most bits per second in each direction, e.g. 20M; \"none\" for no limit",              \
     CLI_VALUE_FREE, NULL},                                                                                            \
        {"limit-packets", 0, "N", "most packets per second in each direction, e.g. 5k", CLI_VALUE_FREE, NULL}, {       \
        "limit-routers", 0, "N", "most routers the tenant may have", CLI_VALUE_FREE, NULL                              \
    }
#define END                                                                                                            \
    { NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL }

static const struct cli_option add_options[] = {
    {"addressing", 0, "KIND",
     "unique: addresses out of the gateway's pool; private: a space of its own that may overlap "
     "anybody's (default: unique)",
     CLI_VALUE_WORDS, "unique|private"},
    {"subnet", 0, "CIDR", "private: the tenant's own prefix (default 10.100.0.0/16); unique: a wish within the pool",
     CLI_VALUE_FREE, NULL},
    {"egress", 0, NULL, "let its routers reach beyond the hub through the gateway", CLI_VALUE_FREE, NULL},
    LIMIT_OPTIONS,
    {"id", 0, "UUID", "use this identifier instead of a new one", CLI_VALUE_FREE, NULL},
    END,
};

static const struct cli_option set_options[] = {
    {"name", 0, "NAME", "a new name", CLI_VALUE_FREE, NULL},
    {"egress", 0, "on|off", "whether its routers may reach beyond the hub", CLI_VALUE_WORDS, "on|off"},
    LIMIT_OPTIONS,
    END,
};

static const struct cli_option list_options[] = {
    {"name", 0, "NAME", "only tenants of exactly this name", CLI_VALUE_FREE, NULL},
    {"search", 0, "TEXT", "only tenants whose name contains this", CLI_VALUE_FREE, NULL},
    {"addressing", 0, "KIND", "only this kind", CLI_VALUE_WORDS, "unique|private"},
    {"status", 0, "STATUS", "only these", CLI_VALUE_WORDS, "active|disabled"},
    {"limit", 0, "N", "stop after this many (default: all)", CLI_VALUE_FREE, NULL},
    {"names", 0, NULL, "print only the names, one a line", CLI_VALUE_FREE, NULL},
    END,
};

static const struct cli_option remove_options[] = {
    {"yes", 'y', NULL, "do not ask", CLI_VALUE_FREE, NULL},
    END,
};

const struct cli_command tenant_commands[] = {
    {"tenant add", "NAME", CLI_VALUE_FREE, 1, 1, "make a tenant",
     "A unique tenant shares the hub's address space: every router has one address, the same for the tenant and for "
     "the "
     "hub. A private tenant has a space of its own; the hub reaches its routers by translated hub addresses.\n\n"
     "The answer shows what was given to it.",
     add_options, add},
    {"tenant list", "", CLI_VALUE_FREE, 0, 0, "list tenants",
     "Lists tenants in the order they were made. RECEIVED and SENT are the gateway's view.", list_options, list},
    {"tenant show", "TENANT", CLI_VALUE_TENANT, 1, 1, "show one tenant",
     "TENANT is a UUID, or a name that only one tenant has.", NULL, show},
    {"tenant set", "TENANT", CLI_VALUE_TENANT, 1, 1, "change a tenant's name, egress or limits",
     "Only what is given changes. Takes effect at once; sessions go on.", set_options, set},
    {"tenant disable", "TENANT", CLI_VALUE_TENANT, 1, 1, "silence a tenant",
     "Its routers fall silent at once. Nothing is forgotten: \"tenant enable\" brings them back with the same keys and "
     "addresses.",
     NULL, disable},
    {"tenant enable", "TENANT", CLI_VALUE_TENANT, 1, 1, "bring a disabled tenant back",
     "The hub calls on its routers where they last were as soon as it sends them something. By themselves they connect "
     "again about 15 seconds after they next send something, at the latest when their sessions are due for renewal, "
     "two "
     "minutes after the last.",
     NULL, enable},
    {"tenant remove", "TENANT", CLI_VALUE_TENANT, 1, 1, "remove a tenant and its routers for good",
     "Final: keys, addresses and usage are gone, and the addresses may be given to others. To stop a tenant for a "
     "while, "
     "use \"tenant disable\".",
     remove_options, remove_},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
