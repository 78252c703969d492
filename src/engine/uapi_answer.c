#include "engine/uapi_answer.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "engine/uapi_output.h"
#include "engine/uapi_text.h"

struct dump {
    const struct uapi_selection *selection;
    struct uapi_output *output;
    struct buf text; /* of one record; its memory is used again for the next */
};

/* Moves the record on to the output. Not buf_clear(): that wipes all the room, which a peer with many allowed IPs may
 * have made large; what held a secret is wiped here. */
static int pass_on(struct dump *dump) {
    if (dump->text.failed) {
        return -ENOMEM;
    }
    if (dump->text.size) {
        uapi_output_append(dump->output, dump->text.data, dump->text.size);
        explicit_bzero(dump->text.data, dump->text.size);
        dump->text.size = 0;
    }
    return dump->output->error;
}

static void offloads(struct buf *to, const struct engine_device *device) {
    char text[32];
    snprintf(text, sizeof text, "%s%s%s", device->gso ? ",gso" : "", device->gro ? ",gro" : "",
             device->tso ? ",tso" : "");
    uapi_line_text(to, "offloads", *text ? text + 1 : "none");
}

static int device_lines(struct engine *engine, struct dump *dump) {
    struct engine_device device;
    struct buf *to = &dump->text;
    engine_get_device(engine, &device);
    if (!key_is_zero(&device.private_key)) {
        uapi_line_key(to, "private_key", &device.private_key);
    }
    sodium_memzero(&device.private_key, sizeof device.private_key);
    uapi_line_u64(to, "listen_port", device.listen_port);
    if (device.fwmark) {
        uapi_line_u64(to, "fwmark", device.fwmark);
    }
    if (dump->selection->extended) {
        for (size_t i = 0; i < device.hub_count; i++) {
            uapi_line_prefix(to, "hub", &device.hub[i]);
        }
        uapi_line_u64(to, "workers", device.workers);
        uapi_line_text(to, "crypto", device.crypto);
        offloads(to, &device);
        uapi_line_u64(to, "peer_count", device.peers);
        uapi_line_u64(to, "tenant_count", device.tenants);
    }
    return pass_on(dump);
}

static int tenant_lines(void *context, const struct engine_tenant *tenant, const struct engine_usage *usage) {
    struct dump *dump = context;
    struct buf *to = &dump->text;
    uapi_line_uuid(to, "tenant", &tenant->id);
    uapi_line_text(to, "addressing", addressing_name(tenant->addressing));
    uapi_line_text(to, "egress", tenant->egress ? "true" : "false");
    uapi_line_u64(to, "limit_bits_per_second", tenant->limits.bits_per_second);
    uapi_line_u64(to, "limit_packets_per_second", tenant->limits.packets_per_second);
    uapi_line_u64(to, "rx_bytes", usage->bytes_received);
    uapi_line_u64(to, "rx_packets", usage->packets_received);
    uapi_line_u64(to, "tx_bytes", usage->bytes_sent);
    uapi_line_u64(to, "tx_packets", usage->packets_sent);
    uapi_line_u64(to, "dropped", usage->dropped);
    return pass_on(dump);
}

static void extension_lines(struct buf *to, const struct engine_peer *peer) {
    uapi_line_uuid(to, "peer_tenant", &peer->tenant);
    for (size_t i = 0; i < peer->hub_address_count; i++) {
        uapi_line_hub_address(to, "hub_address", &peer->hub_addresses[i]);
    }
    uapi_line_timestamp(to, "timestamp", peer->timestamp);
}

static int peer_lines(void *context, const struct engine_peer *peer) {
    struct dump *dump = context;
    struct buf *to = &dump->text;
    uapi_line_key(to, "public_key", &peer->public_key);
    uapi_line_key(to, "preshared_key", &peer->preshared_key);
    uapi_line_u64(to, "protocol_version", 1);
    if (peer->endpoint.sa.sa_family) {
        uapi_line_endpoint(to, "endpoint", &peer->endpoint);
    }
    uapi_line_u64(to, "last_handshake_time_sec", peer->last_handshake_wall_ns / NSEC_PER_SEC);
    uapi_line_u64(to, "last_handshake_time_nsec", peer->last_handshake_wall_ns % NSEC_PER_SEC);
    uapi_line_u64(to, "tx_bytes", peer->bytes_sent);
    uapi_line_u64(to, "rx_bytes", peer->bytes_received);
    uapi_line_u64(to, "persistent_keepalive_interval", peer->keepalive_s);
    for (size_t i = 0; i < peer->allowed_ip_count; i++) {
        uapi_line_prefix(to, "allowed_ip", &peer->allowed_ips[i]);
    }
    if (dump->selection->extended) {
        extension_lines(to, peer);
    }
    return pass_on(dump);
}

static int counter_lines(struct engine *engine, struct dump *dump) {
    struct engine_counters counters;
    struct buf *to = &dump->text;
    engine_get_counters(engine, &counters);
    for (int i = 0; i < ENGINE_DROP_COUNT; i++) {
        char key[64];
        snprintf(key, sizeof key, "counter.drop.%s", engine_drop_name((enum engine_drop)i));
        uapi_line_u64(to, key, counters.drops[i]);
    }
    uapi_line_u64(to, "counter.udp_received", counters.udp_received);
    uapi_line_u64(to, "counter.udp_sent", counters.udp_sent);
    uapi_line_u64(to, "counter.tun_received", counters.tun_received);
    uapi_line_u64(to, "counter.tun_sent", counters.tun_sent);
    uapi_line_u64(to, "counter.turned_around", counters.turned_around);
    uapi_line_u64(to, "counter.handed_over", counters.handed_over);
    uapi_line_u64(to, "counter.handshakes", counters.handshakes);
    uapi_line_u64(to, "counter.cookies_sent", counters.cookies_sent);
    return pass_on(dump);
}

void uapi_answer_begin(struct uapi_answer *answer, const struct uapi_selection *selection) {
    *answer = (struct uapi_answer){.selection = *selection, .now_ns = clock_mono_ns()};
}

/* A piece of one stage. 1: the stage goes on. */
static int step(struct uapi_answer *answer, struct engine *engine, struct dump *dump) {
    const struct uapi_selection *selection = &answer->selection;
    switch (answer->stage) {
    case UAPI_ANSWER_DEVICE:
        return selection->device ? device_lines(engine, dump) : 0;
    case UAPI_ANSWER_TENANTS:
        return selection->tenants ? engine_walk_tenants(engine, &answer->walk, tenant_lines, dump) : 0;
    case UAPI_ANSWER_PEERS:
        return selection->peers ? engine_walk_peers(engine, &answer->walk, selection->since_ns, peer_lines, dump) : 0;
    case UAPI_ANSWER_COUNTERS:
        return selection->counters ? counter_lines(engine, dump) : 0;
    case UAPI_ANSWER_DONE:
        if (selection->extended) {
            uapi_line_u64(&dump->text, "now", answer->now_ns);
        }
        return pass_on(dump);
    }
    return 0;
}

int uapi_answer_step(struct uapi_answer *answer, struct engine *engine, struct uapi_output *output) {
    struct dump dump = {.selection = &answer->selection, .output = output};
    int rc = step(answer, engine, &dump);
    buf_free(&dump.text);
    if (rc != 0) {
        return rc;
    }
    if (answer->stage == UAPI_ANSWER_DONE) {
        return 0;
    }
    answer->stage++;
    answer->walk = (struct engine_walk){0};
    return 1;
}

void uapi_answer_close(struct uapi_output *output, int error, const char *fault) {
    char text[512];
    int size = fault ? snprintf(text, sizeof text, "error=%s\nerrno=%d\n\n", fault, error)
                     : snprintf(text, sizeof text, "errno=%d\n\n", error);
    if (size > 0 && (size_t)size < sizeof text) {
        uapi_output_append(output, text, (size_t)size);
    }
}
