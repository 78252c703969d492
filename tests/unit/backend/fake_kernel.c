#include "fake_kernel.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/wireguard.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAMILY 0x25
#define PIECE_SIZE 16384u
#define MESSAGE_SIZE (128u * 1024)
#define CONNECTIONS_MAX 4096
#define HEAD_SIZE sizeof(struct nlattr)
#define ALLOWEDIP_FLAGS 4 /* WGALLOWEDIP_A_FLAGS, from Linux 6.16 */

struct fake_kernel fake_kernel;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_t threads[CONNECTIONS_MAX];
static size_t thread_count;

/* --- what it holds --- */

void fake_kernel_reset(void) {
    for (size_t i = 0; i < fake_kernel.peer_count; i++) {
        free(fake_kernel.peers[i].allowed);
    }
    free(fake_kernel.peers);
    memset(&fake_kernel, 0, sizeof fake_kernel);
}

struct key fake_kernel_key(unsigned number) {
    struct key key;
    memset(&key, (int)(number % 251) + 1, sizeof key);
    memcpy(key.bytes, &number, sizeof number);
    return key;
}

struct fake_peer *fake_kernel_peer(const struct key *public_key) {
    for (size_t i = 0; i < fake_kernel.peer_count; i++) {
        if (memcmp(&fake_kernel.peers[i].public_key, public_key, sizeof *public_key) == 0) {
            return &fake_kernel.peers[i];
        }
    }
    return NULL;
}

struct fake_peer *fake_kernel_add(const struct key *public_key) {
    fake_kernel.peers = realloc(fake_kernel.peers, (fake_kernel.peer_count + 1) * sizeof *fake_kernel.peers);
    struct fake_peer *peer = &fake_kernel.peers[fake_kernel.peer_count++];
    memset(peer, 0, sizeof *peer);
    peer->public_key = *public_key;
    return peer;
}

void fake_kernel_drop(const struct key *public_key) {
    struct fake_peer *peer = fake_kernel_peer(public_key);
    if (peer) {
        free(peer->allowed);
        size_t at = (size_t)(peer - fake_kernel.peers);
        memmove(peer, peer + 1, (fake_kernel.peer_count - at - 1) * sizeof *peer);
        fake_kernel.peer_count--;
    }
}

static void withdraw(struct fake_peer *peer, const struct prefix *prefix) {
    for (size_t i = 0; i < peer->allowed_count; i++) {
        if (prefix_equal(&peer->allowed[i], prefix)) {
            peer->allowed_count--;
            memmove(&peer->allowed[i], &peer->allowed[i + 1], (peer->allowed_count - i) * sizeof *prefix);
            return;
        }
    }
}

void fake_kernel_allow(struct fake_peer *peer, const struct prefix *prefix) {
    for (size_t i = 0; i < fake_kernel.peer_count; i++) {
        withdraw(&fake_kernel.peers[i], prefix);
    }
    peer->allowed = realloc(peer->allowed, (peer->allowed_count + 1) * sizeof *peer->allowed);
    peer->allowed[peer->allowed_count++] = *prefix;
}

/* --- attributes, by hand --- */

struct out {
    uint8_t bytes[MESSAGE_SIZE];
    size_t size, limit;
};

static size_t aligned(size_t size) {
    return (size + 3) & ~(size_t)3;
}

static bool put(struct out *out, uint16_t type, const void *value, size_t size) {
    struct nlattr attribute = {.nla_len = (uint16_t)(HEAD_SIZE + size), .nla_type = type};
    size_t whole = aligned(attribute.nla_len);
    if (out->size + whole > out->limit) {
        return false;
    }
    memset(out->bytes + out->size, 0, whole);
    memcpy(out->bytes + out->size, &attribute, sizeof attribute);
    if (size) {
        memcpy(out->bytes + out->size + HEAD_SIZE, value, size);
    }
    out->size += whole;
    return true;
}

static bool nest(struct out *out, uint16_t type, size_t *ret_at) {
    *ret_at = out->size;
    return put(out, type | NLA_F_NESTED, NULL, 0);
}

static void close_nest(struct out *out, size_t at) {
    uint16_t size = (uint16_t)(out->size - at);
    memcpy(out->bytes + at, &size, sizeof size);
}

static void begin(struct out *out, const struct nlmsghdr *request, uint16_t type, uint16_t flags) {
    struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = request->nlmsg_seq};
    out->limit = sizeof out->bytes;
    out->size = sizeof header;
    memcpy(out->bytes, &header, sizeof header);
}

static void send_out(int fd, struct out *out) {
    uint32_t size = (uint32_t)out->size;
    memcpy(out->bytes, &size, sizeof size);
    (void)!send(fd, out->bytes, out->size, MSG_NOSIGNAL);
}

/* As the kernel does, an error has behind it all of the request that it is about (netlink_ack()). */
static void answer(int fd, struct out *out, const struct nlmsghdr *request, const uint8_t *bytes, int error) {
    struct nlmsgerr verdict = {.error = error, .msg = *request};
    size_t rest = error ? request->nlmsg_len - sizeof *request : 0;
    begin(out, request, NLMSG_ERROR, 0);
    memcpy(out->bytes + out->size, &verdict, sizeof verdict);
    memcpy(out->bytes + out->size + sizeof verdict, bytes + sizeof *request, rest);
    out->size += sizeof verdict + rest;
    send_out(fd, out);
}

typedef bool attribute_fn(void *context, uint16_t type, const uint8_t *value, size_t size);

/* False: fn said so, or what is there is no sequence of attributes. */
static bool each(const uint8_t *bytes, size_t size, attribute_fn *fn, void *context) {
    while (size >= HEAD_SIZE) {
        struct nlattr attribute;
        memcpy(&attribute, bytes, sizeof attribute);
        if (attribute.nla_len < HEAD_SIZE || attribute.nla_len > size ||
            !fn(context, (uint16_t)(attribute.nla_type & 0x3fff) /* without NLA_F_NESTED */, bytes + HEAD_SIZE,
                attribute.nla_len - HEAD_SIZE)) {
            return false;
        }
        size_t whole = aligned(attribute.nla_len);
        whole = whole > size ? size : whole;
        bytes += whole;
        size -= whole;
    }
    return size == 0;
}

/* --- dumps --- */

struct dump {
    size_t peer;    /* the next */
    size_t allowed; /* of it */
    bool inside;    /* a piece of it is out */
};

static bool put_allowed(struct out *out, const struct prefix *prefix) {
    size_t at;
    size_t before = out->size;
    uint16_t family = fake_kernel.garble ? 77 : prefix->addr.family;
    if (nest(out, 0, &at) && put(out, WGALLOWEDIP_A_CIDR_MASK, &prefix->length, 1) &&
        put(out, WGALLOWEDIP_A_FAMILY, &family, 2) &&
        put(out, WGALLOWEDIP_A_IPADDR, prefix->addr.bytes, prefix->addr.family == AF_INET ? 4 : 16)) {
        close_nest(out, at);
        return true;
    }
    out->size = before;
    return false;
}

static bool put_head(struct out *out, const struct fake_peer *peer, bool first) {
    int64_t time[2] = {peer->handshake_s, peer->handshake_ns};
    uint32_t version = 1;
    return put(out, WGPEER_A_PUBLIC_KEY, &peer->public_key, KEY_SIZE) &&
           (!first || (put(out, WGPEER_A_PRESHARED_KEY, &peer->preshared_key, KEY_SIZE) &&
                       put(out, WGPEER_A_LAST_HANDSHAKE_TIME, time, sizeof time) &&
                       put(out, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, &peer->keepalive_s, 2) &&
                       put(out, WGPEER_A_TX_BYTES, &peer->bytes_sent, 8) &&
                       put(out, WGPEER_A_RX_BYTES, &peer->bytes_received, 8) &&
                       put(out, WGPEER_A_PROTOCOL_VERSION, &version, 4) &&
                       (peer->endpoint.sa.sa_family == AF_UNSPEC ||
                        put(out, WGPEER_A_ENDPOINT, &peer->endpoint, endpoint_size(&peer->endpoint)))));
}

/* True: all of the peer is out. */
static bool put_peer(struct out *out, const struct fake_peer *peer, struct dump *dump) {
    size_t before = out->size;
    size_t at, list;
    if (!nest(out, 0, &at) || !put_head(out, peer, !dump->inside) || !nest(out, WGPEER_A_ALLOWEDIPS, &list)) {
        out->size = before;
        return false;
    }
    while (dump->allowed < peer->allowed_count && put_allowed(out, &peer->allowed[dump->allowed])) {
        dump->allowed++;
    }
    close_nest(out, list);
    close_nest(out, at);
    dump->inside = dump->allowed < peer->allowed_count;
    return !dump->inside;
}

static void put_device(struct out *out) {
    struct key public_key;
    uint32_t index = 7;
    put(out, WGDEVICE_A_LISTEN_PORT, &fake_kernel.listen_port, 2);
    put(out, WGDEVICE_A_FWMARK, &fake_kernel.fwmark, 4);
    put(out, WGDEVICE_A_IFINDEX, &index, 4);
    put(out, WGDEVICE_A_IFNAME, FAKE_KERNEL_NAME, sizeof FAKE_KERNEL_NAME);
    if (!key_is_zero(&fake_kernel.private_key)) {
        key_public(&fake_kernel.private_key, &public_key);
        put(out, WGDEVICE_A_PRIVATE_KEY, &fake_kernel.private_key, KEY_SIZE);
        put(out, WGDEVICE_A_PUBLIC_KEY, &public_key, KEY_SIZE);
    }
}

static void serve_dump(int fd, struct out *out, const struct nlmsghdr *request) {
    struct dump dump = {0};
    bool cut = fake_kernel.cut > 0;
    bool torn = cut || fake_kernel.torn > 0;
    size_t room = fake_kernel.piece_size ? fake_kernel.piece_size : PIECE_SIZE;
    fake_kernel.torn -= fake_kernel.torn > 0;
    fake_kernel.cut -= cut;
    fake_kernel.dumps++;
    bool first = true;
    do {
        struct genlmsghdr generic = {.cmd = WG_CMD_GET_DEVICE, .version = 1};
        size_t at;
        begin(out, request, FAMILY, (uint16_t)(NLM_F_MULTI | (torn && !first ? NLM_F_DUMP_INTR : 0)));
        memcpy(out->bytes + out->size, &generic, sizeof generic);
        out->size += sizeof generic;
        if (first) {
            put_device(out);
        }
        out->limit = out->size + room;
        nest(out, WGDEVICE_A_PEERS, &at);
        while (dump.peer < fake_kernel.peer_count && put_peer(out, &fake_kernel.peers[dump.peer], &dump)) {
            dump.peer++;
            dump.allowed = 0;
        }
        close_nest(out, at);
        send_out(fd, out);
        if (first && fake_kernel.between) {
            fake_kernel.between(&fake_kernel);
        }
        first = false;
    } while (dump.peer < fake_kernel.peer_count && !cut);
    int zero = 0;
    begin(out, request, NLMSG_DONE, (uint16_t)(NLM_F_MULTI | (torn ? NLM_F_DUMP_INTR : 0)));
    memcpy(out->bytes + out->size, &zero, sizeof zero);
    out->size += sizeof zero;
    send_out(fd, out);
}

/* --- changes --- */

struct allowed_request {
    struct prefix prefix;
    uint32_t flags;
    bool known; /* every attribute is */
};

static bool read_allowed(void *context, uint16_t type, const uint8_t *value, size_t size) {
    struct allowed_request *request = context;
    switch (type) {
    case WGALLOWEDIP_A_FAMILY:
        request->prefix.addr.family = value[0];
        break;
    case WGALLOWEDIP_A_IPADDR:
        memcpy(request->prefix.addr.bytes, value, size);
        break;
    case WGALLOWEDIP_A_CIDR_MASK:
        request->prefix.length = value[0];
        break;
    case ALLOWEDIP_FLAGS:
        memcpy(&request->flags, value, sizeof request->flags);
        request->known &= fake_kernel.can_withdraw;
        break;
    default:
        return false;
    }
    return true;
}

struct peer_request {
    struct key public_key;
    const uint8_t *preshared_key, *endpoint, *allowed;
    size_t endpoint_size, allowed_size;
    uint32_t flags;
    bool has_keepalive;
    uint16_t keepalive_s;
    struct fake_peer *peer;
    int error;
};

static bool read_peer(void *context, uint16_t type, const uint8_t *value, size_t size) {
    struct peer_request *request = context;
    switch (type) {
    case WGPEER_A_PUBLIC_KEY:
        memcpy(&request->public_key, value, KEY_SIZE);
        return size == KEY_SIZE;
    case WGPEER_A_PRESHARED_KEY:
        request->preshared_key = value;
        return size == KEY_SIZE;
    case WGPEER_A_FLAGS:
        memcpy(&request->flags, value, sizeof request->flags);
        return size == sizeof request->flags;
    case WGPEER_A_ENDPOINT:
        request->endpoint = value;
        request->endpoint_size = size;
        return true;
    case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
        memcpy(&request->keepalive_s, value, sizeof request->keepalive_s);
        request->has_keepalive = true;
        return size == sizeof request->keepalive_s;
    case WGPEER_A_ALLOWEDIPS:
        request->allowed = value;
        request->allowed_size = size;
        return true;
    default:
        return false;
    }
}

static bool take_allowed(void *context, uint16_t type, const uint8_t *value, size_t size) {
    struct peer_request *request = context;
    struct allowed_request allowed = {.known = true};
    (void)type;
    if (!each(value, size, read_allowed, &allowed) || !allowed.known) {
        request->error = -EINVAL;
        return false;
    }
    if (allowed.flags) {
        withdraw(request->peer, &allowed.prefix);
    } else {
        fake_kernel_allow(request->peer, &allowed.prefix);
    }
    return true;
}

static void count_change(const struct peer_request *request) {
    fake_kernel.changes++;
    fake_kernel.replaced += (request->flags & WGPEER_F_REPLACE_ALLOWEDIPS) != 0;
    fake_kernel.update_only += (request->flags & WGPEER_F_UPDATE_ONLY) != 0;
    fake_kernel.removed += (request->flags & WGPEER_F_REMOVE_ME) != 0;
    fake_kernel.endpoints += request->endpoint != NULL;
}

static int change_peer(struct peer_request *request) {
    request->peer = fake_kernel_peer(&request->public_key);
    if (request->flags & WGPEER_F_REMOVE_ME) {
        fake_kernel_drop(&request->public_key);
        return 0;
    }
    if (!request->peer) {
        if (request->flags & WGPEER_F_UPDATE_ONLY) {
            return 0;
        }
        request->peer = fake_kernel_add(&request->public_key);
    }
    if (request->preshared_key) {
        memcpy(&request->peer->preshared_key, request->preshared_key, KEY_SIZE);
    }
    if (request->endpoint) {
        memcpy(&request->peer->endpoint, request->endpoint, request->endpoint_size);
    }
    if (request->has_keepalive) {
        request->peer->keepalive_s = request->keepalive_s;
    }
    if (request->flags & WGPEER_F_REPLACE_ALLOWEDIPS) {
        request->peer->allowed_count = 0;
    }
    if (request->allowed && !each(request->allowed, request->allowed_size, take_allowed, request)) {
        return request->error ? request->error : -EINVAL;
    }
    return 0;
}

struct device_request {
    int error;
};

static bool take_peer(void *context, uint16_t type, const uint8_t *value, size_t size) {
    struct device_request *device = context;
    struct peer_request request = {0};
    (void)type;
    if (!each(value, size, read_peer, &request)) {
        device->error = -EINVAL;
        return false;
    }
    count_change(&request);
    device->error =
        fake_kernel.error && fake_kernel.changes >= fake_kernel.peers_taken ? fake_kernel.error : change_peer(&request);
    return device->error == 0;
}

static bool take_device(void *context, uint16_t type, const uint8_t *value, size_t size) {
    struct device_request *device = context;
    switch (type) {
    case WGDEVICE_A_IFNAME:
        break;
    case WGDEVICE_A_PRIVATE_KEY:
        memcpy(&fake_kernel.private_key, value, KEY_SIZE);
        break;
    case WGDEVICE_A_LISTEN_PORT:
        if (fake_kernel.port_taken) {
            device->error = -EADDRINUSE;
            return false;
        }
        memcpy(&fake_kernel.listen_port, value, sizeof fake_kernel.listen_port);
        break;
    case WGDEVICE_A_FWMARK:
        memcpy(&fake_kernel.fwmark, value, sizeof fake_kernel.fwmark);
        break;
    case WGDEVICE_A_PEERS:
        return each(value, size, take_peer, device);
    default:
        device->error = -EINVAL;
        return false;
    }
    return true;
}

static int serve_set(const struct nlmsghdr *request, const uint8_t *bytes, size_t size) {
    struct device_request device = {0};
    size_t head = sizeof *request + sizeof(struct genlmsghdr);
    fake_kernel.sets++;
    fake_kernel.largest = size > fake_kernel.largest ? size : fake_kernel.largest;
    if (!each(bytes + head, size - head, take_device, &device) && device.error == 0) {
        device.error = -EINVAL;
    }
    return device.error;
}

/* --- connections --- */

static void serve_family(int fd, struct out *out, const struct nlmsghdr *request, const uint8_t *bytes) {
    struct genlmsghdr generic = {.cmd = CTRL_CMD_NEWFAMILY};
    uint16_t family = FAMILY;
    if (fake_kernel.absent) {
        answer(fd, out, request, bytes, -ENOENT);
        return;
    }
    begin(out, request, GENL_ID_CTRL, 0);
    memcpy(out->bytes + out->size, &generic, sizeof generic);
    out->size += sizeof generic;
    put(out, CTRL_ATTR_FAMILY_ID, &family, sizeof family);
    send_out(fd, out);
    answer(fd, out, request, bytes, 0);
}

static void serve(int fd, struct out *out, const uint8_t *bytes, size_t size) {
    struct nlmsghdr request;
    struct genlmsghdr generic;
    memcpy(&request, bytes, sizeof request);
    memcpy(&generic, bytes + sizeof request, sizeof generic);
    if (request.nlmsg_type == GENL_ID_CTRL) {
        serve_family(fd, out, &request, bytes);
    } else if (fake_kernel.no_rights || fake_kernel.no_interface) {
        answer(fd, out, &request, bytes, fake_kernel.no_rights ? -EPERM : -ENODEV);
    } else if (generic.cmd == WG_CMD_GET_DEVICE) {
        serve_dump(fd, out, &request);
    } else {
        answer(fd, out, &request, bytes, serve_set(&request, bytes, size));
    }
}

static void *serve_connection(void *context) {
    int fd = (int)(intptr_t)context;
    struct out *out = malloc(sizeof *out);
    uint8_t *bytes = malloc(MESSAGE_SIZE);
    ssize_t size;
    while ((size = recv(fd, bytes, MESSAGE_SIZE, 0)) > 0) {
        pthread_mutex_lock(&mutex);
        serve(fd, out, bytes, (size_t)size);
        pthread_mutex_unlock(&mutex);
    }
    close(fd);
    free(bytes);
    free(out);
    return NULL;
}

int fake_kernel_connect(void *context) {
    int pair[2];
    int room = 1 << 20;
    (void)context;
    if (thread_count == CONNECTIONS_MAX || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return -EMFILE;
    }
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    pthread_create(&threads[thread_count++], NULL, serve_connection, (void *)(intptr_t)pair[1]);
    return pair[0];
}

void fake_kernel_quiet(void) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
}

void fake_kernel_end(void) {
    while (thread_count) {
        pthread_join(threads[--thread_count], NULL);
    }
}
