#include "cli/init/server.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/host/foreign.h"
#include "cli/cli.h"
#include "cli/import/wgconf.h"

#define POOL_LONGEST 24 /* as sallyportd wants it */
#define POOL_SHORTEST 8
#define PATH_SIZE 512

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

/* The first IPv4 address is the hub's. */
static int begin_pool(struct init_server *server, const struct prefix *addresses, size_t count,
                      struct prefix *ret_pool) {
    const struct prefix *hub = NULL;
    for (size_t i = count; i-- > 0;) {
        hub = addresses[i].addr.family == AF_INET ? &addresses[i] : hub;
        server->has_ipv6 |= addresses[i].addr.family == AF_INET6;
    }
    if (!hub) {
        cli_error("%s has no IPv4 address, which the gateway needs as the hub's; add one (Address = 10.8.0.1/24)",
                  server->source);
        return -1;
    }
    uint8_t length = hub->length;
    length = length > POOL_LONGEST ? POOL_LONGEST : length < POOL_SHORTEST ? POOL_SHORTEST : length;
    *ret_pool = prefix_make(&hub->addr, length);
    ip_format(&hub->addr, server->hub);
    return 0;
}

/* --- where it comes from --- */

static int take_facts(struct init_server *server, const struct key *private_key, unsigned port, unsigned mtu) {
    if (key_is_zero(private_key)) {
        cli_error("%s has no private key, so its routers could not be adopted", server->source);
        return -1;
    }
    server->private_key = *private_key;
    if (port) {
        snprintf(server->port, sizeof server->port, "%u", port);
    }
    if (mtu >= 1280 && mtu != 1420) {
        snprintf(server->mtu, sizeof server->mtu, "%u", mtu);
    }
    return 0;
}

static int read_interface(struct init_server *server) {
    struct foreign *f = NULL;
    struct problem problem = {0};
    struct prefix pool;
    if (foreign_read(server->source, &f, &problem) < 0) {
        cli_error("%s", problem.detail);
        return -1;
    }
    int error = take_facts(server, &f->private_key, f->listen_port, f->mtu);
    error = error < 0 ? error : begin_pool(server, f->addresses, f->address_count, &pool);
    for (size_t i = 0; error == 0 && i < f->peer_count; i++) {
        hold(&pool, f->peers[i].allowed_ips, f->peers[i].allowed_ip_count);
    }
    if (error == 0) {
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

static int read_file(struct init_server *server) {
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
    error = take_facts(server, &conf->private_key, conf->listen_port, conf->mtu);
    error = error < 0 ? error : begin_pool(server, conf->addresses, conf->address_count, &pool);
    for (size_t i = 0; error == 0 && i < conf->peer_count; i++) {
        hold(&pool, conf->peers[i].allowed, conf->peers[i].allowed_count);
    }
    if (error == 0) {
        prefix_format(&pool, server->pool);
        name_of(server->source, server->interface);
        server->peers = conf->peer_count;
    }
    wgconf_free(conf);
    return error;
}

int init_server_read(const struct cli *cli, struct init_server **ret_server) {
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
    if ((interface ? read_interface(server) : read_file(server)) < 0) {
        init_server_free(server);
        return -1;
    }
    const char *pool_text = cli_value(cli, "pool");
    struct prefix pool;
    struct ip_addr hub;
    if (pool_text && prefix_parse(pool_text, &pool, NULL) == 0 && ip_parse(server->hub, &hub) == 0 &&
        !prefix_contains(&pool, &hub)) {
        cli_error("--pool %s does not hold the server's address %s, by which its routers know it; give a wider one",
                  pool_text, server->hub);
        init_server_free(server);
        return -1;
    }
    *ret_server = server;
    return 0;
}

/* --- its key --- */

/* Whether the file is there and holds just this key. */
static bool is_same_key(const char *path, const char *text) {
    char there[KEY_BASE64_SIZE] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool same = fd >= 0 && read(fd, there, KEY_BASE64_SIZE - 1) == KEY_BASE64_SIZE - 1 &&
                sodium_memcmp(there, text, KEY_BASE64_SIZE - 1) == 0;
    if (fd >= 0) {
        close(fd);
    }
    sodium_memzero(there, sizeof there);
    return same;
}

int init_server_write_key(const struct init_server *server, const char *state_folder) {
    char path[PATH_SIZE], text[KEY_BASE64_SIZE];
    if (mkdir(state_folder, 0700) < 0 && errno != EEXIST) {
        cli_error("the folder %s cannot be made: %s%s", state_folder, strerror(errno),
                  errno == EACCES ? "; run this as root" : "");
        return -1;
    }
    snprintf(path, sizeof path, "%s/server.key", state_folder);
    key_to_base64(&server->private_key, text);
    bool same = is_same_key(path, text);
    text[KEY_BASE64_SIZE - 1] = '\n';
    int fd = same ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int error = same ? 0 : fd < 0 ? -errno : 0;
    if (fd >= 0) {
        error = write(fd, text, KEY_BASE64_SIZE) != KEY_BASE64_SIZE || fsync(fd) < 0 ? -EIO : 0;
        close(fd);
        if (error < 0) {
            unlink(path);
        }
    }
    sodium_memzero(text, sizeof text);
    if (error == -EEXIST) {
        cli_error("%s exists already and is another key; if no router knows the gateway by it, move it away and run "
                  "this again",
                  path);
    } else if (error < 0) {
        cli_error("%s cannot be written: %s", path, strerror(-error));
    }
    return error;
}

/* --- what now --- */

void init_server_say_next(const struct cli *cli, const struct init_server *server) {
    const char *folder = cli_value(cli, "state-dir");
    printf("The gateway has the key of %s (in %s/server.key; back it up), its port, and the hub address %s.\nNext:\n",
           server->source, folder ? folder : "/var/lib/sallyport", server->hub);
    if (server->live) {
        printf(
            "  systemctl enable --now sallyportd                     (it leaves %s alone until it is adopted)\n"
            "  sallyport import --interface %s --tenant NAME --dry-run   what would become of its %zu peers\n"
            "  sallyport import --interface %s --tenant NAME --adopt     they are routers, and %s is the gateway's\n",
            server->source, server->source, server->peers, server->source, server->source);
    } else {
        printf("  stop the former server, so that its port and interface are free\n"
               "  systemctl enable --now sallyportd\n"
               "  sallyport import %s --tenant NAME --dry-run   what would become of its %zu peers\n"
               "  sallyport import %s --tenant NAME             they are routers\n",
               server->source, server->peers, server->source);
    }
    if (server->has_ipv6) {
        printf(
            "It has IPv6 addresses too. The gateway numbers itself and routers from a prefix of its own instead; the "
            "routers' old ones become LANs, which the hub reaches, but it no longer has its own old one.\n");
    }
}
