#include "cli/init/server.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/host/foreign.h"
#include "cli/cli.h"
#include "cli/import/text.h"
#include "cli/import/wgconf.h"
#include "cli/init/key.h"

#define POOL_LONGEST 24 /* as sallyportd wants it */
#define POOL_SHORTEST 8
#define MTU_LEAST 1280 /* as sallyportd wants it: of IPv6 */
#define MTU_DEFAULT 1420

void init_server_free(struct init_server *server) {
    if (server) {
        sodium_memzero(server, sizeof *server);
        free(server);
    }
}

/* --- the pool --- */

/* Shortened until it holds the address, but never beyond what a pool may be. */
static void widen(struct prefix *pool, const struct ip_addr *addr) {
    struct prefix wider = *pool;
    while (!prefix_contains(&wider, addr) && wider.length > POOL_SHORTEST) {
        wider = prefix_make(&wider.addr, (uint8_t)(wider.length - 1));
    }
    if (prefix_contains(&wider, addr)) {
        *pool = wider;
    }
}

/* A peer's own address is its first /32; it must be in the pool. */
static void hold(struct prefix *pool, const struct prefix *allowed, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (allowed[i].addr.family == AF_INET && allowed[i].length == 32) {
            widen(pool, &allowed[i].addr);
            return;
        }
    }
}

/* The first IPv4 address is the hub's, unless --address says it. */
static int begin_pool(struct init_server *server, const struct cli *cli, const struct prefix *addresses, size_t count,
                      struct prefix *ret_pool) {
    const char *given = cli_value(cli, "address");
    const struct prefix *hub = NULL;
    struct prefix address;
    char text[IP_TEXT_SIZE];
    for (size_t i = count; i-- > 0;) {
        hub = addresses[i].addr.family == AF_INET ? &addresses[i] : hub;
        server->has_ipv6 |= addresses[i].addr.family == AF_INET6;
    }
    if (given && address_parse(given, &address) == 0) {
        hub = &address;
    }
    if (!hub) {
        cli_error("%s has no IPv4 address, which the gateway needs as the hub's; say it with --address, as --address "
                  "10.8.0.1/24",
                  server->source);
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (addresses[i].addr.family == AF_INET && !ip_equal(&addresses[i].addr, &hub->addr)) {
            cli_error("%s: the gateway has one hub address, %s, and no longer answers at %s: routers that talk to the "
                      "server there need the new one",
                      server->source, ip_format(&hub->addr, server->hub), ip_format(&addresses[i].addr, text));
        }
    }
    uint8_t length = hub->length;
    length = length > POOL_LONGEST ? POOL_LONGEST : length < POOL_SHORTEST ? POOL_SHORTEST : length;
    *ret_pool = prefix_make(&hub->addr, length);
    ip_format(&hub->addr, server->hub);
    return 0;
}

/* --- where it comes from --- */

/* The key in a file as wg(8) keeps it: one line of base64. */
static int read_key_file(const char *path, struct key *ret_key) {
    char text[KEY_BASE64_SIZE + 2] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (size >= 0) {
        text[size] = '\0';
        text[strcspn(text, "\r\n")] = '\0';
    }
    int parsed = size < 0 ? -EIO : key_from_base64(text, ret_key);
    sodium_memzero(text, sizeof text);
    if (size < 0) {
        cli_error("%s cannot be read: %s", path, strerror(error));
    } else if (parsed < 0) {
        cli_error("%s does not hold a WireGuard private key (44 characters of base64, as \"wg genkey\" prints)", path);
    }
    return parsed < 0 ? -1 : 0;
}

static int take_key(struct init_server *server, const struct cli *cli, const struct key *private_key) {
    const char *path = cli_value(cli, "private-key-file");
    if (path) {
        return read_key_file(path, &server->private_key);
    }
    if (key_is_zero(private_key)) {
        cli_error("%s has no private key, by which its routers know it; name the file that has it with "
                  "--private-key-file",
                  server->source);
        return -1;
    }
    server->private_key = *private_key;
    return 0;
}

static void take_numbers(struct init_server *server, unsigned port, unsigned mtu, struct fwmark fwmark) {
    if (port) {
        snprintf(server->port, sizeof server->port, "%u", port);
    }
    if (mtu && mtu < MTU_LEAST) {
        cli_error("%s: MTU = %u is not taken over: tunnels carry IPv6, too, which needs %d; the gateway has %d",
                  server->source, mtu, MTU_LEAST, MTU_LEAST);
        mtu = MTU_LEAST;
    }
    if (mtu && mtu != MTU_DEFAULT) {
        snprintf(server->mtu, sizeof server->mtu, "%u", mtu);
    }
    if (fwmark.mark) {
        snprintf(server->fwmark, sizeof server->fwmark, "0x%x", fwmark.mark);
    }
}

static int read_interface(struct init_server *server, const struct cli *cli) {
    struct foreign *f = NULL;
    struct problem problem = {0};
    struct prefix pool;
    if (foreign_read(server->source, &f, &problem) < 0) {
        cli_error("%s", problem.detail);
        return -1;
    }
    int error = take_key(server, cli, &f->private_key);
    if (error == 0 && !cli_flag(cli, "key-only")) {
        take_numbers(server, f->listen_port, f->mtu, (struct fwmark){.given = true, .mark = f->fwmark});
        error = begin_pool(server, cli, f->addresses, f->address_count, &pool);
        for (size_t i = 0; error == 0 && i < f->peer_count; i++) {
            hold(&pool, f->peers[i].allowed_ips, f->peers[i].allowed_ip_count);
        }
        if (error < 0) {
            foreign_free(f);
            return error;
        }
        prefix_format(&pool, server->pool);
        snprintf(server->interface, sizeof server->interface, "%s", server->source);
        server->peers = f->peer_count;
    }
    foreign_free(f);
    return error;
}

/* "/etc/wireguard/wg0.conf" is of wg0. */
static void name_of(const char *path, char name[16]) {
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    size_t size = strcspn(base, ".");
    if (size > 0 && size < 16 && strcmp(base + size, ".conf") == 0) {
        memcpy(name, base, size);
        name[size] = '\0';
    }
}

/* What is odd in the file, and what is not taken over. Keepalives and the like are the import's to say. */
static void say_notes(const struct wgconf *conf, const char *name) {
    struct buf said = {0};
    wgconf_notes_format(conf, name, &said);
    if (said.size) {
        fwrite(said.data, 1, said.size, stderr);
    }
    buf_free(&said);
}

static int read_file(struct init_server *server, const struct cli *cli) {
    struct wgconf *conf = NULL;
    struct buf fault = {0};
    struct prefix pool;
    FILE *file = fopen(server->source, "re");
    if (!file) {
        cli_error("%s cannot be read: %s", server->source, strerror(errno));
        return -1;
    }
    setvbuf(file, NULL, _IONBF, 0); /* no copy of the key is left in a buffer */
    int error = wgconf_read(file, &conf, &fault);
    fclose(file);
    if (error < 0) {
        cli_error("%s: %s", server->source, fault.data ? fault.data : strerror(-error));
        buf_free(&fault);
        return -1;
    }
    error = take_key(server, cli, &conf->private_key);
    if (error == 0 && !cli_flag(cli, "key-only")) {
        say_notes(conf, server->source);
        take_numbers(server, conf->listen_port, conf->mtu, conf->fwmark);
        error = begin_pool(server, cli, conf->addresses, conf->address_count, &pool);
        for (size_t i = 0; error == 0 && i < conf->peer_count; i++) {
            hold(&pool, conf->peers[i].allowed, conf->peers[i].allowed_count);
        }
        if (error < 0) {
            wgconf_free(conf);
            return error;
        }
        prefix_format(&pool, server->pool);
        name_of(server->source, server->interface);
        server->peers = conf->peer_count;
    }
    wgconf_free(conf);
    return error;
}

/* The server with what is to be known of it. */
static int read_source(const struct cli *cli, struct init_server **ret_server) {
    const char *interface = cli_value(cli, "from-interface"), *file = cli_value(cli, "from");
    if (interface && file) {
        cli_error("give --from-interface or --from, not both");
        return -1;
    }
    struct init_server *server = calloc(1, sizeof *server);
    if (!server) {
        cli_error("out of memory");
        return -1;
    }
    server->live = interface != NULL;
    server->source = interface ? interface : file;
    if ((interface ? read_interface(server, cli) : read_file(server, cli)) < 0) {
        init_server_free(server);
        return -1;
    }
    *ret_server = server;
    return 0;
}

int init_server_read(const struct cli *cli, struct init_server **ret_server) {
    struct init_server *server = NULL;
    const char *pool_text = cli_value(cli, "pool");
    struct prefix pool;
    struct ip_addr hub;
    if (read_source(cli, &server) < 0) {
        return -1;
    }
    if (!cli_flag(cli, "key-only") && pool_text && prefix_parse(pool_text, &pool, NULL) == 0 &&
        ip_parse(server->hub, &hub) == 0 && !prefix_contains(&pool, &hub)) {
        cli_error("--pool %s does not hold the server's address %s, by which its routers know it; give a wider one",
                  pool_text, server->hub);
        init_server_free(server);
        return -1;
    }
    *ret_server = server;
    return 0;
}

/* --- what now --- */

void init_server_say_next(const struct cli *cli, const struct init_server *server) {
    const char *folder = cli_value(cli, "state-dir");
    struct buf source = {0};
    text_put_word(&source, server->source);
    const char *word = source.data ? source.data : "";
    printf("The gateway has the key of %s (in %s/server.key; back it up), its port, and the hub address %s.\nNext:\n",
           server->source, folder ? folder : INIT_STATE_FOLDER, server->hub);
    if (server->live) {
        printf("  systemctl enable --now sallyportd\n"
               "  sallyport import --interface %s --tenant Acme --dry-run\n"
               "  sallyport import --interface %s --tenant Acme --adopt\n"
               "sallyportd leaves %s alone until it is adopted; --dry-run says what would become of its %zu peers.\n",
               word, word, server->source, server->peers);
    } else {
        printf(
            "  systemctl enable --now sallyportd\n"
            "  sallyport import %s --tenant Acme --dry-run\n"
            "  sallyport import %s --tenant Acme\n"
            "Stop the former server first, so that its port and interface are free; --dry-run says what would become "
            "of its %zu peers. Acme stands for the tenant's name.\n",
            word, word, server->peers);
    }
    if (server->has_ipv6) {
        printf(
            "It has IPv6 addresses too. The gateway numbers itself and routers from a prefix of its own instead; the "
            "routers' old ones become LANs, which the hub reaches, but it no longer has its own old one.\n");
    }
    buf_free(&source);
}
