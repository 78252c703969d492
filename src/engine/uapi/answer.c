#include "engine/uapi/answer.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "engine/uapi/output.h"
#include "engine/uapi/text.h"

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

static const char *const offload_names[ENGINE_OFFLOAD_COUNT] = {
#define X(id, name) [ENGINE_OFFLOAD_##id] = (name),
    ENGINE_OFFLOADS(X)
#undef X
};

static const char *state_name(enum engine_offload_state state) {
    switch (state) {
    case ENGINE_OFFLOAD_ON:
        return "on";
    case ENGINE_OFFLOAD_SWITCHED_OFF:
        return "switched_off";
    case ENGINE_OFFLOAD_UNSUPPORTED:
        return "unsupported";
    case ENGINE_OFFLOAD_REFUSED:
        return "refused";
    }
    return "";
}

void uapi_answer_offloads(const struct engine_device *device, bool on, char ret_text[UAPI_OFFLOADS_SIZE]) {
    char text[UAPI_OFFLOADS_SIZE] = "";
    size_t used = 0;
    for (size_t i = 0; i < ENGINE_OFFLOAD_COUNT; i++) {
        enum engine_offload_state state = device->offloads[i];
        if ((state == ENGINE_OFFLOAD_ON) != on) {
            continue;
        }
        int size = snprintf(text + used, sizeof text - used, "%s%s%s%s", used ? "," : "", offload_names[i],
                            on ? "" : ":", on ? "" : state_name(state));
        used += size > 0 ? (size_t)size : 0;
    }
    snprintf(ret_text, UAPI_OFFLOADS_SIZE, "%s", used ? text : "none");
}

static void offloads(struct buf *to, const struct engine_device *device) {
    char text[UAPI_OFFLOADS_SIZE];
    uapi_answer_offloads(device, true, text);
    uapi_line_text(to, "offloads", text);
    uapi_answer_offloads(device, false, text);
    uapi_line_text(to, "offloads_off", text);
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
    if (peer->clock_behind_s > 0) {
        uapi_line_u64(to, "clock_behind", peer->clock_behind_s);
    }
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

static void counters(struct buf *to, const char *prefix, const struct engine_counters *counters) {
    char key[64];
    for (int i = 0; i < ENGINE_DROP_COUNT; i++) {
        snprintf(key, sizeof key, "%sdrop.%s", prefix, engine_drop_name((enum engine_drop)i));
        uapi_line_u64(to, key, counters->drops[i]);
    }
#define X(name)                                                                                                        \
    snprintf(key, sizeof key, "%s" #name, prefix);                                                                     \
    uapi_line_u64(to, key, counters->name);
    ENGINE_TALLIES(X)
#undef X
}

static int counter_lines(struct engine *engine, struct dump *dump) {
    struct engine_counters sum;
    engine_get_counters(engine, &sum);
    counters(&dump->text, "counter.", &sum);
    return pass_on(dump);
}

/* One worker a step. */
static int worker_lines(struct engine *engine, struct engine_walk *walk, struct dump *dump) {
    struct engine_device device;
    struct engine_counters own;
    engine_get_device(engine, &device);
    sodium_memzero(&device.private_key, sizeof device.private_key);
    engine_get_worker_counters(engine, walk->worker, &own);
    uapi_line_u64(&dump->text, "worker", walk->worker);
    counters(&dump->text, "", &own);
    int rc = pass_on(dump);
    return rc ? rc : ++walk->worker < device.workers;
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
    case UAPI_ANSWER_WORKERS:
        return selection->workers ? worker_lines(engine, &answer->walk, dump) : 0;
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
