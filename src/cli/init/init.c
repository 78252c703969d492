/* sallyport init: the first configuration file; init_server.c fits it to a WireGuard server that exists. */
#include "cli/commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/init/key.h"
#include "cli/init/server.h"
#include "cli/show/print.h"
#include "model/dial.h"
#include "model/prefix.h"

#define POOL_DEFAULT "10.0.0.0/8"
#define CONFIG_DEFAULT "/etc/sallyport/sallyport.conf"

static const char *endpoint_fault(const char *text) {
    struct dial dial;
    const char *fault = NULL;
    return dial_parse(text, &dial, &fault) < 0 ? fault : NULL;
}

static bool endpoint_fine(const char *text) {
    return !endpoint_fault(text);
}

/* Digits only: strtol() alone takes signs and spaces. */
static bool port_fine(const char *text) {
    unsigned port = 0;
    size_t size = strlen(text);
    return size > 0 && size <= 5 && strspn(text, "0123456789") == size && sscanf(text, "%5u", &port) == 1 && port > 0 &&
           port <= 65535;
}

static bool interface_fine(const char *text) {
    size_t size = strlen(text);
    return size > 0 && size <= 15 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == size &&
           text[0] != '.' && text[0] != '-';
}

static bool pool_fine(const char *text) {
    struct prefix pool;
    bool host_bits;
    return prefix_parse(text, &pool, &host_bits) == 0 && pool.addr.family == AF_INET && !host_bits && pool.length <= 24;
}

static bool address_fine(const char *text) {
    struct prefix address;
    return address_parse(text, &address) == 0 && address.addr.family == AF_INET;
}

static bool listen_fine(const char *text) {
    union endpoint endpoint;
    return endpoint_parse(text, &endpoint) == 0;
}

static bool folder_fine(const char *text) {
    return text[0] == '/' && strlen(text) < 160 && !strpbrk(text, "\r\n;#");
}

/* Every value with its check and what to say when it fails. */
static const struct {
    const char *option;
    bool (*fine)(const char *text);
    const char *expected;
} checks[] = {
    {"endpoint", endpoint_fine,
     "a host name or address, with :PORT if routers dial another than the listening port; an IPv6 address with a port "
     "in "
     "brackets, as [2001:db8::5]:51820"},
    {"address", address_fine, "the server's own IPv4 address in its tunnels, as 10.8.0.1/24"},
    {"listen-port", port_fine, "a UDP port from 1 to 65535"},
    {"interface", interface_fine, "an interface name of at most 15 letters, digits, '-', '_' and '.'"},
    {"pool", pool_fine, "an IPv4 prefix such as 10.0.0.0/8, at least a /24"},
    {"state-dir", folder_fine, "an absolute path"},
    {"api-listen", listen_fine, "an address and a port such as 127.0.0.1:8080"},
};

static bool options_fine(const struct cli *cli) {
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        const char *value = cli_value(cli, checks[i].option);
        if (value && !checks[i].fine(value)) {
            const char *fault = checks[i].fine == endpoint_fine ? endpoint_fault(value) : NULL;
            cli_error("--%s takes %s; not \"%s\"%s%s", checks[i].option, checks[i].expected, value,
                      fault ? ", which " : "", fault ? fault : "");
            return false;
        }
    }
    return true;
}

/* Asks for the endpoint. Needs a terminal. */
static bool endpoint_ask(char *text, size_t size) {
    if (!isatty(STDIN_FILENO)) {
        cli_error("say what routers dial with --endpoint NAME, e.g. --endpoint vpn.example.com");
        return false;
    }
    for (;;) {
        fprintf(stderr, "Public name or address that routers dial, e.g. vpn.example.com: ");
        if (!fgets(text, (int)size, stdin)) {
            return false;
        }
        text[strcspn(text, "\r\n")] = '\0';
        if (endpoint_fine(text)) {
            return true;
        }
        fprintf(stderr, "That must be %s.\n", checks[0].expected);
    }
}

/* An option, else what the server has, else the default. */
static const char *choose(const char *given, const char *servers, const char *other) {
    return given ? given : servers && servers[0] ? servers : other;
}

static int config_write(const struct cli *cli, const char *endpoint, const struct init_server *server,
                        struct buf *out) {
    const char *port = choose(cli_value(cli, "listen-port"), server ? server->port : NULL, "51820");
    const char *pool = choose(cli_value(cli, "pool"), server ? server->pool : NULL, POOL_DEFAULT);
    const char *interface = choose(cli_value(cli, "interface"), server ? server->interface : NULL, "wg0");
    const char *listen = cli_value(cli, "api-listen"), *folder = cli_value(cli, "state-dir");
    struct prefix prefix;
    struct ip_addr hub_address;
    char hub[IP_TEXT_SIZE];
    if (prefix_parse(pool, &prefix, NULL) < 0) {
        return -EINVAL; /* pool_fine() would not have let it come here */
    }
    hub_address = ip_from_v4(ip_to_v4(&prefix.addr) + 1);
    ip_format(&hub_address, hub);
    buf_printf(out,
               "# Sallyport's gateway. Every key is explained in docs/sallyportd.md; what is commented out shows the "
               "default.\n"
               "\n[gateway]\n"
               "# what routers dial\n"
               "endpoint = %s\n"
               "listen_port = %s\n"
               "interface = %s\n"
               "# unique addresses and hub addresses come out of it; it may grow later, not move\n"
               "pool = %s\n"
               "# the gateway's own address in the tunnels\n"
               "hub_address = %s\n",
               endpoint, port, interface, pool, server && server->hub[0] ? server->hub : hub);
    if (server && server->mtu[0]) {
        buf_printf(out, "mtu = %s\n", server->mtu);
    }
    if (server && server->fwmark[0]) {
        buf_printf(out, "fwmark = %s\n", server->fwmark);
    }
    buf_text(out, "\n[api]\n"
                  "#socket = /run/sallyport/api.sock\n"
                  "#socket_group = sallyport\n");
    buf_printf(out, listen ? "listen = %s\n" : "#listen = 127.0.0.1:8080%s\n", listen ? listen : "");
    buf_text(out, "\n[daemon]\n");
    buf_printf(out, "%sstate_dir = %s\n", folder ? "" : "#", folder ? folder : INIT_STATE_FOLDER);
    buf_text(out, "#log_level = info\n");
    return out->failed ? -ENOMEM : 0;
}

static int folder_make(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path || (size_t)(slash - path) >= sizeof folder) {
        return 0;
    }
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    if (mkdir(folder, 0755) < 0 && errno != EEXIST) {
        cli_error("the folder %s cannot be made: %s%s", folder, strerror(errno),
                  errno == EACCES ? "; run this as root" : "");
        return -1;
    }
    return 0;
}

/* The configuration, and before it the key of the server that exists, if there is one. */
static int files_write(const struct cli *cli, const char *path, const char *endpoint,
                       const struct init_server *server) {
    const char *folder = cli_value(cli, "state-dir");
    struct buf text = {0};
    if (folder_make(path) < 0) {
        return -1;
    }
    struct print_file *file = print_file_open(path);
    if (!file) {
        return -1;
    }
    int error = config_write(cli, endpoint, server, &text);
    if (error == 0 && server) {
        error = init_key_write(&server->private_key, folder ? folder : INIT_STATE_FOLDER);
    }
    error = print_file_close(file, error < 0 ? NULL : &text) < 0 ? -1 : error;
    buf_free(&text);
    return error;
}

static bool options_match(const struct cli *cli, bool has_server) {
    static const char *const of_server[] = {"address", "private-key-file", "key-only"};
    for (size_t i = 0; i < sizeof of_server / sizeof *of_server; i++) {
        if (cli_flag(cli, of_server[i]) && !has_server) {
            cli_error("--%s goes with --from or --from-interface", of_server[i]);
            return false;
        }
    }
    return true;
}

/* Gives a gateway that is there, and has no tenants yet, the server's key. */
static enum cli_exit key_only(const struct cli *cli, const char *config) {
    const char *folder = cli_value(cli, "state-dir");
    struct init_server *server = NULL;
    if (init_server_read(cli, &server) < 0) {
        return CLI_REFUSED;
    }
    int error = init_key_replace(&server->private_key, config, folder);
    init_server_free(server);
    return error < 0 ? CLI_REFUSED : CLI_DONE;
}

static enum cli_exit init(struct cli *cli) {
    const char *path = cli_value(cli, "config");
    const char *endpoint = cli_value(cli, "endpoint");
    bool has_server = cli_flag(cli, "from") || cli_flag(cli, "from-interface");
    struct init_server *server = NULL;
    char asked[300];
    path = path ? path : CONFIG_DEFAULT;
    if (!options_fine(cli) || !options_match(cli, has_server)) {
        return CLI_USAGE;
    }
    if (cli_flag(cli, "key-only")) {
        return key_only(cli, path);
    }
    if (access(path, F_OK) == 0) {
        cli_error("%s exists already and is left as it is; edit it, or choose another with --config", path);
        return CLI_REFUSED;
    }
    if (has_server && init_server_read(cli, &server) < 0) {
        return CLI_REFUSED;
    }
    if (!endpoint) {
        if (!endpoint_ask(asked, sizeof asked)) {
            init_server_free(server);
            return CLI_USAGE;
        }
        endpoint = asked;
    }
    if (files_write(cli, path, endpoint, server) < 0) {
        init_server_free(server);
        return CLI_REFUSED;
    }
    if (server) {
        printf("Wrote %s.\n", path);
        init_server_say_next(cli, server);
        init_server_free(server);
        return CLI_DONE;
    }
    printf("Wrote %s. Next:\n"
           "  systemctl enable --now sallyportd              start the gateway\n"
           "  sallyport doctor                               check it and this host\n"
           "  sallyport tenant add \"Acme\"                    the first tenant\n"
           "  sallyport router add Acme roof > roof.conf     the first router: wg-quick up ./roof.conf on it\n"
           "Let UDP port %s through any firewall in front.\n",
           path, cli_value(cli, "listen-port") ? cli_value(cli, "listen-port") : "51820");
    return CLI_DONE;
}

static const struct cli_option init_options[] = {
    {"endpoint", 0, "HOST[:PORT]", "what routers dial (asked for if not given)", CLI_VALUE_FREE, NULL},
    {"listen-port", 0, "PORT", "UDP port (default: 51820)", CLI_VALUE_FREE, NULL},
    {"interface", 0, "NAME", "interface (default: wg0)", CLI_VALUE_FREE, NULL},
    {"pool", 0, "CIDR", "pool of unique and hub addresses (default: " POOL_DEFAULT "); the hub takes its first address",
     CLI_VALUE_FREE, NULL},
    {"api-listen", 0, "IP:PORT", "serve the API over TCP too (default: the Unix socket only)", CLI_VALUE_FREE, NULL},
    {"from-interface", 0, "NAME", "fit a live WireGuard interface of this host: its key, port and addresses",
     CLI_VALUE_FREE, NULL},
    {"from", 0, "FILE", "fit a WireGuard server's wg0.conf", CLI_VALUE_FILE, NULL},
    {"address", 0, "IP/LENGTH", "the server's own address in its tunnels, where FILE has none", CLI_VALUE_FREE, NULL},
    {"private-key-file", 0, "FILE", "the server's private key, where its FILE has none", CLI_VALUE_FILE, NULL},
    {"key-only", 0, NULL, "only give a gateway without tenants the server's key; its former one is kept beside it",
     CLI_VALUE_FREE, NULL},
    {"state-dir", 0, "FOLDER", "where keys and the database are kept (default: " INIT_STATE_FOLDER ")", CLI_VALUE_FILE,
     NULL},
    {"config", 0, "FILE", "the file to write (default: " CONFIG_DEFAULT ")", CLI_VALUE_FILE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command init_commands[] = {
    {"init", "", CLI_VALUE_FREE, 0, 0, "write the gateway's first configuration",
     "Run once, as root. Writes the configuration file from the options, asking for what is missing, and says what to "
     "do next. An existing file is never touched.\n\n"
     "A WireGuard server that exists is adopted with two lines; its routers keep their configuration:\n\n"
     "    sallyport init --from-interface wg0 --endpoint vpn.example.com && systemctl enable --now sallyportd\n\n"
     "    sallyport import --interface wg0 --tenant Acme --adopt\n\n"
     "--from-interface and --from take over its private key (to server.key), port, address, MTU and mark; the pool is "
     "the network of its address unless --pool names a wider one. What cannot be taken over is said.",
     init_options, init},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
