/* Loads a gateway with the swarm's routers over its UAPI socket, as one `set`. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "model/prefix.h"
#include "model/uuid.h"
#include "swarm.h"

#define ANSWER_SIZE 4096
#define PRIVATE_ADDRESS 0x0a640002 /* 10.100.0.2: where a private tenant's first router is */

struct load {
    const char *socket;
    const char *tenants; /* "none", "unique", "private", "one" */
    json_int_t peers;
    json_int_t routers_per_tenant;
    json_int_t listen_port;
    json_int_t keepalive;
    int silent;
};

static void tenant_uuid(const struct swarm *swarm, uint32_t number, char text[UUID_TEXT_SIZE]) {
    uint8_t secret[KEY_SIZE];
    struct uuid id;
    swarm_derive(swarm, "tenant", number, secret);
    memcpy(id.bytes, secret, sizeof id.bytes);
    uuid_format(&id, text);
}

static void put_tenants(const struct swarm *swarm, const struct load *load, struct buf *out) {
    char id[UUID_TEXT_SIZE];
    uint32_t per = (uint32_t)load->routers_per_tenant;
    uint32_t tenants = ((uint32_t)load->peers + per - 1) / per;
    for (uint32_t i = 0; i < tenants; i++) {
        tenant_uuid(swarm, i, id);
        buf_printf(out, "tenant=%s\naddressing=%s\n", id, load->tenants);
    }
}

/* A silent peer never speaks, so nobody needs to know its private key: any 32 bytes will do for a public one. */
static void put_peer(const struct swarm *swarm, const struct load *load, uint32_t number, struct buf *out) {
    char hex[KEY_HEX_SIZE];
    char id[UUID_TEXT_SIZE];
    char address[IP_TEXT_SIZE];
    char inside[IP_TEXT_SIZE];
    struct key key;
    struct ip_addr hub_address = ip_from_v4(SWARM_FIRST_ADDRESS + number);
    if (load->silent) {
        swarm_derive(swarm, "silent", number, key.bytes);
    } else {
        key = swarm->routers[number].public_key;
    }
    ip_format(&hub_address, address);
    buf_printf(out, "public_key=%s\n", key_to_hex(&key, hex));
    if (load->keepalive > 0) {
        buf_printf(out, "persistent_keepalive_interval=%d\n", (int)load->keepalive);
    }
    if (strcmp(load->tenants, "none") == 0) {
        buf_printf(out, "allowed_ip=%s/32\n", address);
        return;
    }
    uint32_t per = (uint32_t)load->routers_per_tenant;
    tenant_uuid(swarm, number / per, id);
    if (strcmp(load->tenants, "unique") == 0) {
        buf_printf(out, "peer_tenant=%s\nhub_address=%s\nallowed_ip=%s/32\n", id, address, address);
        return;
    }
    struct ip_addr inside_address = ip_from_v4(PRIVATE_ADDRESS + number % per);
    ip_format(&inside_address, inside);
    buf_printf(out, "peer_tenant=%s\nhub_address=%s=%s\nallowed_ip=%s/32\n", id, address, inside, inside);
}

static void put_device(const struct swarm *swarm, const struct load *load, struct buf *out) {
    char hex[KEY_HEX_SIZE];
    buf_printf(out, "set=1\nprivate_key=%s\nlisten_port=%d\nreplace_peers=true\n", key_to_hex(&swarm->hub_private, hex),
               (int)load->listen_port);
    if (strcmp(load->tenants, "none") != 0) {
        buf_text(out, "hub=10.0.0.1/32\n");
        put_tenants(swarm, load, out);
    }
}

static int write_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t written = send(fd, bytes, size, MSG_NOSIGNAL);
        if (written < 0) {
            return -errno;
        }
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

/* Reads up to the empty line; the errno it tells. */
static int read_answer(struct swarm *swarm, int fd) {
    char answer[ANSWER_SIZE];
    size_t used = 0;
    answer[0] = '\0';
    while (!strstr(answer, "\n\n") && used < sizeof answer - 1) {
        ssize_t got = read(fd, answer + used, sizeof answer - 1 - used);
        if (got <= 0) {
            return swarm_fail(swarm, -EPIPE, "the gateway closed its socket after '%.100s'", answer);
        }
        used += (size_t)got;
        answer[used] = '\0';
    }
    return strstr(answer, "errno=0\n") ? 0 : swarm_fail(swarm, -EINVAL, "the gateway refused: %.200s", answer);
}

static int converse(struct swarm *swarm, const char *path, const struct buf *text) {
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof where.sun_path) {
        return swarm_fail(swarm, -ENAMETOOLONG, "%s: too long", path);
    }
    memcpy(where.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&where, sizeof where) < 0) {
        int error = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return swarm_fail(swarm, error, "%s: %s", path, strerror(-error));
    }
    /* A gateway that refuses may close before it has read all: its answer says why. */
    write_all(fd, text->data, text->size);
    int error = read_answer(swarm, fd);
    close(fd);
    return error;
}

static int take_arguments(struct swarm *swarm, json_t *arguments, struct load *load) {
    json_error_t fault;
    *load = (struct load){.tenants = "none", .peers = swarm->count, .routers_per_tenant = 1, .listen_port = 51820};
    if (json_unpack_ex(arguments, &fault, 0, "{s:s, s?s, s?I, s?I, s?I, s?I, s?b !}", "socket", &load->socket,
                       "tenants", &load->tenants, "peers", &load->peers, "routers_per_tenant",
                       &load->routers_per_tenant, "listen_port", &load->listen_port, "keepalive", &load->keepalive,
                       "silent", &load->silent) < 0) {
        return swarm_fail(swarm, -EINVAL, "%s", fault.text);
    }
    bool known = strcmp(load->tenants, "none") == 0 || strcmp(load->tenants, "unique") == 0 ||
                 strcmp(load->tenants, "private") == 0;
    if (!known || load->routers_per_tenant < 1 || load->peers < 0 || load->peers > swarm->count) {
        return swarm_fail(swarm, -EINVAL, "tenants: none, unique or private; peers: at most %u", swarm->count);
    }
    return 0;
}

int swarm_load(struct swarm *swarm, json_t *arguments, json_t *result) {
    struct load load;
    struct buf text = {0};
    int error = take_arguments(swarm, arguments, &load);
    if (error == 0 && !load.silent) {
        error = swarm_need(swarm, true, false);
    }
    if (error < 0) {
        return error;
    }
    put_device(swarm, &load, &text);
    for (uint32_t i = 0; i < (uint32_t)load.peers; i++) {
        put_peer(swarm, &load, i, &text);
    }
    buf_text(&text, "\n");
    if (text.failed) {
        error = swarm_fail(swarm, -ENOMEM, "out of memory");
        goto end;
    }
    uint64_t began = clock_mono_ns();
    error = converse(swarm, load.socket, &text);
    double seconds = (double)(clock_mono_ns() - began) / (double)NSEC_PER_SEC;
    if (error == 0) {
        json_object_set_new(result, "peers", json_integer(load.peers));
        json_object_set_new(result, "bytes", json_integer((json_int_t)text.size));
        json_object_set_new(result, "seconds", json_real(seconds));
    }
end:
    buf_free(&text);
    return error;
}
