#include "bare_tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "engine/io/tun.h"
#include "engine/io/udp.h"
#include "engine/packet/coalesce.h"
#include "engine/packet/packet.h"
#include "engine/packet/segment.h"
#include "wire/aead.h"
#include "wire/message.h"

#define TURN 16 /* large packets from the TUN before the socket has its turn */
#define JOBS UDP_SEGMENTS_MAX

static const struct key key;

struct end {
    struct udp_sockets sockets;
    int tun;
    union endpoint remote;
    const struct aead_ops *ops;
    struct aead *aead;
    struct udp_reader *reader;
    struct coalesce *coalesce;
    uint64_t counter;
};

/* --- out --- */

/* What goes out in one write: all but the last have the same size. */
struct run {
    uint8_t bytes[UDP_RUN_MAX];
    size_t size;
    size_t segment;
    size_t last;
    struct aead_job jobs[JOBS];
    size_t count;
};

static void send_run(struct end *end, struct run *run) {
    end->ops->seal(end->aead, run->jobs, run->count);
    struct udp_run datagrams = {
        .to = &end->remote,
        .from = &(struct udp_local){.family = 0},
        .bytes = run->bytes,
        .size = run->size,
        .segment = run->count > 1 ? run->segment : 0,
    };
    udp_write(&end->sockets, &datagrams, 1);
    run->size = run->count = 0;
}

static bool joins(const struct run *run, size_t wire) {
    return run->count == 0 || (run->count < JOBS && run->last == run->segment && wire <= run->segment &&
                               run->size + wire <= sizeof run->bytes);
}

static void add_packet(struct end *end, struct run *run, uint8_t *packet, size_t size,
                       const struct virtio_net_hdr *header) {
    struct segments segments;
    if (segments_begin(packet, size, header, &segments) < 0) {
        return;
    }
    for (size_t inner; (inner = segments_next_size(&segments)) > 0;) {
        size_t padded = message_padded_size(inner, TUN_MTU_DEFAULT);
        size_t wire = padded + MESSAGE_DATA_OVERHEAD;
        if (!joins(run, wire)) {
            send_run(end, run);
        }
        struct message_data message = {.type = {MESSAGE_DATA}};
        uint8_t *at = run->bytes + run->size;
        uint8_t *payload = at + sizeof message;
        le64_put(message.counter, end->counter);
        memcpy(at, &message, sizeof message);
        segments_take(&segments, payload);
        memset(payload + inner, 0, padded - inner);
        run->jobs[run->count++] =
            (struct aead_job){.key = &key, .counter = end->counter++, .from = payload, .to = payload, .size = padded};
        run->segment = run->count == 1 ? wire : run->segment;
        run->last = wire;
        run->size += wire;
    }
}

static bool from_tun(struct end *end) {
    static struct run run;
    static uint8_t buffer[sizeof(struct virtio_net_hdr) + UINT16_MAX];
    unsigned count = 0;
    for (; count < TURN; count++) {
        struct virtio_net_hdr header;
        ssize_t size = read(end->tun, buffer, sizeof buffer);
        if (size <= (ssize_t)sizeof header) {
            break;
        }
        memcpy(&header, buffer, sizeof header);
        add_packet(end, &run, buffer + sizeof header, (size_t)size - sizeof header, &header);
    }
    if (run.count > 0) {
        send_run(end, &run);
    }
    return count > 0;
}

/* --- in --- */

static int write_tun(void *context, const struct iovec *parts, size_t part_count, size_t packets) {
    const struct end *end = context;
    (void)packets;
    return writev(end->tun, parts, (int)part_count) < 0 ? -errno : 0;
}

static void open_run(struct end *end, const struct udp_received *received) {
    struct aead_job jobs[JOBS];
    size_t count = 0;
    for (size_t at = 0; at + MESSAGE_DATA_OVERHEAD < received->size && count < JOBS; at += received->segment) {
        size_t rest = received->size - at;
        size_t wire = rest < received->segment ? rest : received->segment;
        if (wire <= MESSAGE_DATA_OVERHEAD) {
            continue;
        }
        const struct message_data *message = (const struct message_data *)(received->bytes + at);
        uint8_t *payload = received->bytes + at + sizeof *message;
        jobs[count++] = (struct aead_job){
            .key = &key,
            .counter = le64_get(message->counter),
            .from = payload,
            .to = payload,
            .size = wire - MESSAGE_DATA_OVERHEAD,
        };
    }
    end->ops->open(end->aead, jobs, count);
    for (size_t i = 0; i < count; i++) {
        size_t size = jobs[i].ok ? packet_size(jobs[i].to, jobs[i].size) : 0;
        if (size > 0 && !coalesce_add(end->coalesce, jobs[i].to, size, true, true)) {
            coalesce_flush(end->coalesce, write_tun, end);
            coalesce_add(end->coalesce, jobs[i].to, size, true, true);
        }
    }
}

static bool from_udp(struct end *end) {
    struct udp_received received[UDP_BATCH];
    size_t count = udp_read(end->reader, end->sockets.v4, UDP_BATCH, received);
    for (size_t i = 0; i < count; i++) {
        open_run(end, &received[i]);
    }
    coalesce_flush(end->coalesce, write_tun, end);
    return count > 0;
}

static void carry(struct end *end, double seconds) {
    uint64_t until = clock_mono_ns() + (uint64_t)(seconds * (double)NSEC_PER_SEC);
    while (clock_mono_ns() < until) {
        bool out = from_tun(end);
        bool in = from_udp(end);
        if (!out && !in) {
            struct pollfd readable[] = {{.fd = end->tun, .events = POLLIN}, {.fd = end->sockets.v4, .events = POLLIN}};
            poll(readable, 2, 100);
        }
    }
}

int bare_tunnel(const char *name, uint16_t port, const char *address, double seconds) {
    struct end end = {.sockets = {.v4 = -1, .v6 = -1}, .ops = aead_choose(NULL)};
    struct tun *tun = NULL;
    end.remote.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &end.remote.in.sin_addr) != 1) {
        return -EINVAL;
    }
    int error = udp_open(1, port, 0, &end.sockets, &port);
    error = error ? error : udp_set_gro(&end.sockets, true);
    error = error ? error : tun_open(name, 1, 0, true, &tun);
    error = error ? error : udp_reader_create(&end.reader);
    error = error ? error : coalesce_create(&end.coalesce);
    error = error ? error : end.ops->create(&end.aead);
    if (!error) {
        end.tun = tun_fd(tun, 0);
        puts("ready");
        fflush(stdout);
        carry(&end, seconds);
    }
    if (end.aead) {
        end.ops->free(end.aead);
    }
    coalesce_free(end.coalesce);
    udp_reader_free(end.reader);
    tun_close(tun);
    udp_close(&end.sockets, 1);
    return error;
}
