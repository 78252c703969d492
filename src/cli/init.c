/* sallyport init: the first configuration file. */
#include "cli/init.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/field.h"
#include "cli/print.h"
#include "model/prefix.h"

#define POOL_DEFAULT "10.0.0.0/8"
#define CONFIG_DEFAULT "/etc/sallyport/sallyport.conf"

/* A name, an address or either with a port: nothing that could leave its line in the file. */
static bool endpoint_fine(const char *text) {
    size_t size = strlen(text);
    return size > 0 && size < 256 && text[0] != '-' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]") == size;
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

static bool listen_fine(const char *text) {
    union endpoint endpoint;
    return endpoint_parse(text, &endpoint) == 0;
}

/* Every value with its check and what to say when it fails. */
static const struct {
    const char *option;
    bool (*fine)(const char *text);
    const char *expected;
} checks[] = {
    {"endpoint", endpoint_fine, "a host name or address, with :PORT if routers dial another than the listening port"},
    {"listen-port", port_fine, "a UDP port from 1 to 65535"},
    {"interface", interface_fine, "an interface name of at most 15 letters, digits, '-', '_' and '.'"},
    {"pool", pool_fine, "an IPv4 prefix such as 10.0.0.0/8, at least a /24"},
    {"api-listen", listen_fine, "an address and a port such as 127.0.0.1:8080"},
};

static bool options_fine(const struct cli *cli) {
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        const char *value = cli_value(cli, checks[i].option);
        if (value && !checks[i].fine(value)) {
            cli_error("--%s takes %s; not \"%s\"", checks[i].option, checks[i].expected, value);
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

static int config_write(const struct cli *cli, const char *endpoint, struct buf *out) {
    const char *port = cli_value(cli, "listen-port"), *pool = cli_value(cli, "pool");
    const char *interface = cli_value(cli, "interface"), *listen = cli_value(cli, "api-listen");
    struct prefix prefix;
    struct ip_addr hub_address;
    char hub[IP_TEXT_SIZE];
    pool = pool ? pool : POOL_DEFAULT;
    if (prefix_parse(pool, &prefix, NULL) < 0) {
        return -EINVAL; /* pool_fine() would not have let it come here */
    }
    hub_address = ip_from_v4(ip_to_v4(&prefix.addr) + 1);
    buf_printf(out,
               "# Sallyport's gateway. Every key is explained in docs/sallyportd.md; what is commented out shows the "
               "default.\n"
               "\n[gateway]\n"
               "# what routers dial\n"
               "endpoint = %s\n"
               "listen_port = %s\n"
               "interface = %s\n"
               "# unique addresses and hub addresses come out of it; cannot be changed later\n"
               "pool = %s\n"
               "# the gateway's own address in the tunnels\n"
               "hub_address = %s\n"
               "\n[api]\n"
               "#socket = /run/sallyport/api.sock\n"
               "#socket_group = sallyport\n",
               endpoint, port ? port : "51820", interface ? interface : "wg0", pool, ip_format(&hub_address, hub));
    buf_printf(out, listen ? "listen = %s\n" : "#listen = 127.0.0.1:8080%s\n", listen ? listen : "");
    buf_text(out, "\n[daemon]\n"
                  "#state_dir = /var/lib/sallyport\n"
                  "#log_level = info\n");
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

static enum cli_exit init(struct cli *cli) {
    const char *path = cli_value(cli, "config");
    const char *endpoint = cli_value(cli, "endpoint");
    char asked[300];
    struct buf text = {0};
    path = path ? path : CONFIG_DEFAULT;
    if (!options_fine(cli)) {
        return CLI_USAGE;
    }
    if (access(path, F_OK) == 0) {
        cli_error("%s exists already and is left as it is; edit it, or choose another with --config", path);
        return CLI_REFUSED;
    }
    if (!endpoint) {
        if (!endpoint_ask(asked, sizeof asked)) {
            return CLI_USAGE;
        }
        endpoint = asked;
    }
    if (folder_make(path) < 0) {
        return CLI_REFUSED;
    }
    struct print_file *file = print_file_open(path);
    if (!file) {
        return CLI_REFUSED;
    }
    int error = config_write(cli, endpoint, &text);
    error = print_file_close(file, error < 0 ? NULL : &text) < 0 ? -1 : error;
    buf_free(&text);
    if (error < 0) {
        return CLI_REFUSED;
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
    {"config", 0, "FILE", "the file to write (default: " CONFIG_DEFAULT ")", CLI_VALUE_FILE, NULL},
    {NULL, 0, NULL, NULL, CLI_VALUE_FREE, NULL},
};

const struct cli_command init_commands[] = {
    {"init", "", CLI_VALUE_FREE, 0, 0, "write the gateway's first configuration",
     "Run once, as root. Writes the configuration file from the options, asking for what is missing, and says what to "
     "do "
     "next. An existing file is never touched.",
     init_options, init},
    {NULL, NULL, CLI_VALUE_FREE, 0, 0, NULL, NULL, NULL, NULL},
};
