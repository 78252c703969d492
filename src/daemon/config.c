#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "model/dial.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf" /* some editors write one */
#define BLANKS " \t\r\n\v\f"

/* --- how values are read: each returns NULL, or what is wrong --- */

struct row;
typedef const char *read_fn(const struct row *row, const char *value, void *at);

struct row {
    const char *section;
    const char *name;
    read_fn *read;
    size_t offset;
    size_t size;          /* of a text */
    uint32_t least, most; /* of a number */
};

static const char *read_text(const struct row *row, const char *value, void *at) {
    if (strlen(value) >= row->size) {
        return "is too long";
    }
    memcpy(at, value, strlen(value) + 1);
    return NULL;
}

static const char *read_number(const struct row *row, const char *value, void *at) {
    char *end;
    errno = 0;
    unsigned long number = strtoul(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end || errno) {
        return "is not a number";
    }
    if (number < row->least || number > row->most) {
        return "is out of range";
    }
    *(uint32_t *)at = (uint32_t)number;
    return NULL;
}

/* As wg(8) takes it. */
static const char *read_fwmark(const struct row *row, const char *value, void *at) {
    const char *digits = strcmp(value, "off") == 0 ? "0" : value;
    char *end;
    errno = 0;
    unsigned long long mark = strtoull(digits, &end, strncmp(digits, "0x", 2) == 0 ? 16 : 10);
    (void)row;
    if (!isdigit((unsigned char)*digits) || *end || errno || mark > UINT32_MAX) {
        return "is neither \"off\" nor a number up to 0xffffffff";
    }
    *(struct fwmark *)at = (struct fwmark){.given = true, .mark = (uint32_t)mark};
    return NULL;
}

static const char *read_bool(const struct row *row, const char *value, void *at) {
    (void)row;
    bool yes = strcmp(value, "true") == 0;
    if (!yes && strcmp(value, "false") != 0) {
        return "is neither true nor false";
    }
    *(bool *)at = yes;
    return NULL;
}

static const char *read_interface(const struct row *row, const char *value, void *at) {
    for (const char *c = value; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("_-.", *c)) {
            return "is not an interface name; use letters, digits, _ - and .";
        }
    }
    if (!*value || strcmp(value, ".") == 0 || strcmp(value, "..") == 0) {
        return "is not an interface name";
    }
    return read_text(row, value, at);
}

/* The name that goes into routers' configurations: "host" or "host:port". The characters are those of names and
 * addresses; whether it resolves is not asked, the daemon may start before the network. */
static const char *read_endpoint(const struct row *row, const char *value, void *at) {
    const char *fault;
    struct dial dial;
    return *value && dial_parse(value, &dial, &fault) < 0 ? fault : read_text(row, value, at);
}

static const char *read_family(const struct row *row, const char *value, void *at) {
    (void)row;
    for (size_t i = 0; dial_families[i]; i++) {
        if (strcmp(value, dial_families[i]) == 0) {
            *(enum dial_family *)at = (enum dial_family)i;
            return NULL;
        }
    }
    return "is none of ipv4, ipv6 and both";
}

/* Names of gateways and regions: for people, for logs, for labels. */
static const char *read_name(const struct row *row, const char *value, void *at) {
    for (const char *c = value; *c; c++) {
        if (!isalnum((unsigned char)*c) && !strchr("_-.", *c)) {
            return "is not a name; use letters, digits, _ - and .";
        }
    }
    return read_text(row, value, at);
}

static const char *read_pool(const struct row *row, const char *value, void *at) {
    struct prefix prefix;
    bool host_bits;
    (void)row;
    if (prefix_parse(value, &prefix, &host_bits) < 0 || prefix.addr.family != AF_INET) {
        return "is not an IPv4 prefix such as 10.0.0.0/8";
    }
    if (host_bits) {
        return "has bits set beyond its length";
    }
    if (prefix.length < 8 || prefix.length > 24) {
        return "must have a length from /8 to /24";
    }
    *(struct prefix *)at = prefix;
    return NULL;
}

static const char *read_hub_address(const struct row *row, const char *value, void *at) {
    struct ip_addr addr;
    (void)row;
    if (ip_parse(value, &addr) < 0 || addr.family != AF_INET) {
        return "is not an IPv4 address such as 10.0.0.1";
    }
    *(struct ip_addr *)at = addr;
    return NULL;
}

static const char *read_ula(const struct row *row, const char *value, void *at) {
    struct prefix prefix;
    bool host_bits;
    (void)row;
    if (strcmp(value, "auto") == 0) {
        *(struct prefix *)at = (struct prefix){0};
        return NULL;
    }
    if (prefix_parse(value, &prefix, &host_bits) < 0 || host_bits || prefix.length != 48 ||
        (prefix.addr.bytes[0] & 0xfe) != 0xfc) {
        return "is neither \"auto\" nor a /48 of fc00::/7 such as fd12:3456:789a::/48";
    }
    *(struct prefix *)at = prefix;
    return NULL;
}

/* Where tenants' own callers may place LANs. */
static const char *read_prefixes(const struct row *row, const char *value, void *at) {
    struct config_prefixes prefixes = {.count = 0};
    (void)row;
    for (const char *rest = value + strspn(value, ", "); *rest; rest += strspn(rest, ", ")) {
        char text[PREFIX_TEXT_SIZE];
        size_t size = strcspn(rest, ", ");
        bool host_bits = false;
        if (prefixes.count == CONFIG_PREFIXES_MAX) {
            return "has too many prefixes; there may be 32";
        }
        if (size >= sizeof text) {
            return "is not a list of prefixes with commas between them";
        }
        memcpy(text, rest, size);
        text[size] = '\0';
        if (prefix_parse(text, &prefixes.list[prefixes.count], &host_bits) < 0 || host_bits) {
            return "is not a list of prefixes such as 10.0.0.0/8, fc00::/7 (without bits behind the length)";
        }
        prefixes.count++;
        rest += size;
    }
    *(struct config_prefixes *)at = prefixes;
    return NULL;
}

int config_backend_parse(const char *name, enum config_backend *ret_backend) {
    static const char *const names[] = {"auto", "engine", "kernel"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            if (ret_backend) {
                *ret_backend = (enum config_backend)i;
            }
            return 0;
        }
    }
    return -EINVAL;
}

static const char *read_backend(const struct row *row, const char *value, void *at) {
    (void)row;
    return config_backend_parse(value, at) == 0 ? NULL : "is none of auto, engine, kernel";
}

static const char *read_offloads(const struct row *row, const char *value, void *at) {
    static const struct {
        const char *name;
        enum backend_offload offload;
    } known[] = {{"gso", BACKEND_OFFLOAD_GSO}, {"tso", BACKEND_OFFLOAD_TSO}, {"uring", BACKEND_OFFLOAD_URING}};
    const char *name = value;
    unsigned found = 0;
    (void)row;
    while (*value) {
        size_t size = strcspn(name, ",");
        unsigned one = 0;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            if (strlen(known[i].name) == size && memcmp(known[i].name, name, size) == 0) {
                one = known[i].offload;
            }
        }
        if (!one) {
            return "is not made of gso, tso and uring, with commas between them";
        }
        found |= one;
        name += size;
        if (*name++ != ',') {
            break;
        }
    }
    *(unsigned *)at = found;
    return NULL;
}

static const char *read_log_level(const struct row *row, const char *value, void *at) {
    (void)row;
    return log_level_parse(value, at) == 0 ? NULL : "is none of error, warning, info, debug";
}

static const char *read_store(const struct row *row, const char *value, void *at) {
    static const char *const schemes[] = {"sqlite:", "postgresql:", "postgres:"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t size = strlen(schemes[i]);
        if (strncmp(value, schemes[i], size) == 0 && value[size]) {
            return read_text(row, value, at);
        }
    }
    return "must be sqlite:PATH or postgresql://USER@HOST/DATABASE";
}

/* What may be shown of a value that is wrong. */
static const char *shown(const struct row *row, const char *value) {
    return row->read == read_store ? "(hidden, it may hold a password)" : value;
}

/* --- the table --- */

#define AT(member) .offset = offsetof(struct config, member)
#define TEXT(member) AT(member), .size = sizeof((struct config *)0)->member
static const struct row rows[] = {
    {"gateway", "interface", read_interface, TEXT(interface_name)},
    {"gateway", "listen_port", read_number, AT(listen_port), .least = 1, .most = 65535},
    {"gateway", "endpoint", read_endpoint, TEXT(endpoint)},
    {"gateway", "family", read_family, AT(family)},
    {"gateway", "pool", read_pool, AT(pool)},
    {"gateway", "hub_address", read_hub_address, AT(hub_address)},
    {"gateway", "ula", read_ula, AT(ula)},
    {"gateway", "lan_prefixes", read_prefixes, AT(lan_prefixes)},
    {"gateway", "mtu", read_number, AT(mtu), .least = 1280, .most = 65455},
    {"gateway", "fwmark", read_fwmark, AT(fwmark)},
    {"gateway", "private_key_file", read_text, TEXT(private_key_file)},
    {"gateway", "name", read_name, TEXT(name)},
    {"gateway", "region", read_name, TEXT(region)},
    {"gateway", "database_grace_seconds", read_number, AT(database_grace_seconds), .most = 86400},
    {"gateway", "clock_tolerance_seconds", read_number, AT(clock_tolerance_seconds), .most = 86400},
    {"backend", "kind", read_backend, AT(backend)},
    {"backend", "engine_path", read_text, TEXT(engine_path)},
    {"backend", "workers", read_number, AT(workers), .most = 64},
    {"backend", "xdp", read_text, TEXT(xdp)},
    {"backend", "offloads_off", read_offloads, AT(offloads_off)},
    {"store", "url", read_store, TEXT(store_url)},
    {"api", "socket", read_text, TEXT(socket)},
    {"api", "socket_group", read_text, TEXT(socket_group)},
    {"api", "listen", read_text, TEXT(listen)},
    {"api", "tls_cert", read_text, TEXT(tls_cert)},
    {"api", "tls_key", read_text, TEXT(tls_key)},
    {"api", "tenant_writes_per_second", read_number, AT(tenant_writes_per_second), .most = 1000000},
    {"api", "insecure", read_bool, AT(insecure)},
    {"daemon", "state_dir", read_text, TEXT(state_dir)},
    {"daemon", "log_level", read_log_level, AT(log_level)},
    {"daemon", "reconcile_seconds", read_number, AT(reconcile_seconds), .least = 1, .most = 86400},
    {"daemon", "audit_days", read_number, AT(audit_days), .most = 36500},
    {"daemon", "usage_seconds", read_number, AT(usage_seconds), .least = 1, .most = 86400},
};
#define ROWS (sizeof rows / sizeof *rows)

static const struct row *row_find(const char *section, const char *name) {
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].section, section) == 0 && strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static bool section_known(const char *section) {
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].section, section) == 0) {
            return true;
        }
    }
    return false;
}

/* --- the file --- */

struct reading {
    const char *name;
    unsigned line;
    char section[32];
    struct config *config;
    struct buf *faults;
};

static void fault_at(struct reading *r, const char *what) {
    buf_printf(r->faults, "%s:%u: %s\n", r->name, r->line, what);
}

static void take_value(struct reading *r, const char *name, const char *value) {
    char what[256];
    const struct row *row = row_find(r->section, name);
    if (row) {
        const char *fault = row->read(row, value, (char *)r->config + row->offset);
        snprintf(what, sizeof what, "%s: \"%.80s\" %s", name, shown(row, value), fault ? fault : "");
        if (fault) {
            fault_at(r, what);
        }
        return;
    }
    if (section_known(r->section)) {
        snprintf(what, sizeof what, "there is no key \"%.40s\" in [%s]; docs/sallyportd.md lists all", name,
                 r->section);
    } else {
        snprintf(what, sizeof what, "there is no section [%.40s]; there are [gateway] [backend] [store] [api] [daemon]",
                 r->section);
    }
    fault_at(r, what);
}

/* Drops blanks at both ends. */
static char *trimmed(char *text) {
    text += strspn(text, BLANKS);
    size_t size = strlen(text);
    while (size && strchr(BLANKS, text[size - 1])) {
        size--;
    }
    text[size] = '\0';
    return text;
}

/* A comment behind a value begins with a blank and ";". */
static void cut_comment(char *text) {
    for (char *at = strchr(text, ';'); at; at = strchr(at + 1, ';')) {
        if (at > text && strchr(BLANKS, at[-1])) {
            *at = '\0';
            return;
        }
    }
}

static void take_line(struct reading *r, char *text) {
    char *line = trimmed(text);
    if (*line == '\0' || *line == '#' || *line == ';') {
        return;
    }
    if (*line == '[') {
        char *end = strchr(line, ']');
        if (end) {
            *end = '\0';
            snprintf(r->section, sizeof r->section, "%s", line + 1);
            return;
        }
    }
    char *equals = *line == '[' ? NULL : line + strcspn(line, "=:");
    if (!equals || !*equals) {
        fault_at(r, "is neither [section], nor name = value, nor a comment");
        return;
    }
    *equals = '\0';
    cut_comment(equals + 1);
    take_value(r, trimmed(line), trimmed(equals + 1));
}

static int file_read(const char *path, bool may_miss, struct config *config, struct buf *faults) {
    struct reading r = {.name = path, .config = config, .faults = faults};
    char *text = NULL;
    size_t room = 0;
    ssize_t length;
    FILE *file = fopen(path, "re");
    if (!file) {
        int error = -errno;
        if (error == -ENOENT && may_miss) {
            return 0;
        }
        buf_printf(faults, "%s: %s\n", path, strerror(-error));
        return error;
    }
    while ((length = getline(&text, &room, file)) >= 0) {
        r.line++;
        if (strlen(text) != (size_t)length) {
            fault_at(&r, "contains a NUL byte");
        } else {
            take_line(&r, r.line == 1 && strncmp(text, BYTE_ORDER_MARK, 3) == 0 ? text + 3 : text);
        }
    }
    int error = feof(file) ? 0 : -errno;
    if (error < 0) {
        buf_printf(faults, "%s: %s\n", path, strerror(-error));
    }
    if (text) {
        explicit_bzero(text, room); /* the database's URL may hold a password */
    }
    free(text);
    fclose(file);
    return error;
}

/* --- the environment --- */

static void take_variable(const char *variable, const struct row *row, struct config *config, struct buf *faults) {
    const char *value = getenv(variable);
    if (!value || !*value) {
        return;
    }
    const char *fault = row->read(row, value, (char *)config + row->offset);
    if (fault) {
        buf_printf(faults, "environment variable %s: \"%.80s\" %s\n", variable, shown(row, value), fault);
    }
}

/* The variables of compose files made for other gateways; our own names win over them. */
static void environment_read(struct config *config, struct buf *faults) {
    static const struct {
        const char *variable, *section, *name;
    } known[] = {
        {"VPN_INTERFACE", "gateway", "interface"},
        {"VPN_SERVER_IP", "gateway", "endpoint"},
        {"VPN_SERVER_PORT", "gateway", "listen_port"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        take_variable(known[i].variable, row_find(known[i].section, known[i].name), config, faults);
    }
    const char *mode = getenv("VPN_MODE");
    if (mode) {
        snprintf(config->vpn_mode, sizeof config->vpn_mode, "%s", mode);
        read_backend(NULL, mode, &config->backend);
    }
    for (size_t i = 0; i < ROWS; i++) {
        char variable[96];
        snprintf(variable, sizeof variable, "SALLYPORT_%s_%s", rows[i].section, rows[i].name);
        for (char *c = variable; *c; c++) {
            *c = (char)toupper((unsigned char)*c);
        }
        take_variable(variable, &rows[i], config, faults);
    }
}

/* --- the whole --- */

static void set_defaults(struct config *config) {
    static const char private_ranges[] = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7";
    *config = (struct config){
        .interface_name = "wg0",
        .listen_port = 51820,
        .pool = {.addr = ip_from_v4(0x0a000000), .length = 8},
        .hub_address = ip_from_v4(0x0a000001),
        .mtu = 1420,
        .socket = "/run/sallyport/api.sock",
        .socket_group = "sallyport",
        .state_dir = "/var/lib/sallyport",
        .log_level = LOG_LEVEL_INFO,
        .reconcile_seconds = 60,
        .usage_seconds = 2,
        .tenant_writes_per_second = 20,
        .audit_days = 365,
        .database_grace_seconds = 300,
        .clock_tolerance_seconds = 30,
    };
    (void)read_prefixes(NULL, private_ranges, &config->lan_prefixes);
}

/* What is derived from other keys, and what must fit together. */
static void complete(struct config *c, struct buf *faults) {
    /* systemd hands over what LoadCredential=server.key names (systemd.exec, "Credentials"). */
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    if (!c->private_key_file[0] && credentials) {
        char path[CONFIG_TEXT_SIZE];
        int size = snprintf(path, sizeof path, "%s/server.key", credentials);
        if (size > 0 && (size_t)size < sizeof path && access(path, F_OK) == 0) {
            memcpy(c->private_key_file, path, sizeof path);
        }
    }
    if (!c->private_key_file[0] && (size_t)snprintf(c->private_key_file, sizeof c->private_key_file, "%s/server.key",
                                                    c->state_dir) >= sizeof c->private_key_file) {
        buf_text(faults, "[daemon] state_dir is too long\n");
    }
    if (!c->store_url[0] && (size_t)snprintf(c->store_url, sizeof c->store_url, "sqlite:%s/sallyport.db",
                                             c->state_dir) >= sizeof c->store_url) {
        buf_text(faults, "[daemon] state_dir is too long\n");
    }
    if (!c->endpoint[0]) {
        buf_text(faults, "[gateway] endpoint is not set: the host name or address that routers dial, such as "
                         "vpn.example.com (in the file, or as SALLYPORT_GATEWAY_ENDPOINT or VPN_SERVER_IP)\n");
    }
    uint32_t hub = ip_to_v4(&c->hub_address);
    uint32_t host_mask = UINT32_MAX >> c->pool.length;
    if (!prefix_contains(&c->pool, &c->hub_address) || (hub & host_mask) == 0 || (hub & host_mask) == host_mask) {
        buf_text(faults, "[gateway] hub_address must be a host address within [gateway] pool\n");
    }
    if (!c->tls_cert[0] != !c->tls_key[0]) {
        buf_text(faults, "[api] tls_cert and tls_key go together: set both or none\n");
    }
    if (!c->socket[0] && !c->listen[0]) {
        buf_text(faults, "[api] socket and listen are both empty: nobody could reach the gateway\n");
    }
}

int config_load(const char *file, struct config *ret_config, struct buf *faults) {
    struct config config;
    size_t before = faults->size;
    set_defaults(&config);
    int error = file_read(file ? file : CONFIG_DEFAULT_FILE, !file, &config, faults);
    environment_read(&config, faults);
    complete(&config, faults);
    if (error < 0 || faults->failed || faults->size > before) {
        return error < 0 ? error : -EINVAL;
    }
    *ret_config = config;
    return 0;
}
