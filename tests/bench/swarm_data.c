/* Data through the tunnels: a load of equal packets round robin over the routers, and echoes for latency and loss. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "swarm.h"

#define BATCH_MAX 1024
#define BURST_BYTES 65507 /* the most of one UDP_SEGMENT send, and at most 64 segments (UDP_MAX_SEGMENTS) */
#define BURST_MAX 64
#define DISCARD_PORT 9
#define ECHO_SIZE 84

static uint16_t checksum(const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    uint32_t sum = 0;
    for (; size > 1; size -= 2, at += 2) {
        sum += be16_get(at);
    }
    sum += size ? (uint32_t)(*at << 8) : 0;
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t) ~(sum + (sum >> 16));
}

/* An IPv4 header; what follows it is the caller's. */
static void put_ip(uint8_t *at, uint32_t from, uint32_t to, uint8_t protocol, size_t size) {
    struct iphdr ip = {
        .version = 4,
        .ihl = 5,
        .ttl = 64,
        .protocol = protocol,
        .tot_len = htons((uint16_t)size),
        .saddr = htonl(from),
        .daddr = htonl(to),
        .frag_off = htons(IP_DF),
    };
    be16_put(&ip.check, checksum(&ip, sizeof ip));
    memcpy(at, &ip, sizeof ip);
}

/* Nothing but zeros inside. With a checksum, as nearly all UDP has (RFC 768). */
static void put_udp(uint8_t *at, uint32_t from, uint32_t to, size_t size) {
    struct udphdr udp = {
        .source = htons(DISCARD_PORT),
        .dest = htons(DISCARD_PORT),
        .len = htons((uint16_t)(size - sizeof(struct iphdr))),
    };
    const struct {
        uint32_t from, to;
        uint16_t protocol, size;
        struct udphdr udp;
    } summed = {htonl(from), htonl(to), htons(IPPROTO_UDP), udp.len, udp};
    uint16_t sum = checksum(&summed, sizeof summed);
    be16_put(&udp.check, sum ? sum : UINT16_MAX);
    put_ip(at, from, to, IPPROTO_UDP, size);
    memcpy(at + sizeof(struct iphdr), &udp, sizeof udp);
    memset(at + sizeof(struct iphdr) + sizeof udp, 0, size - sizeof(struct iphdr) - sizeof udp);
}

struct load {
    double seconds;
    double rate; /* packets a second; 0: as many as go */
    json_int_t size;
    json_int_t peers;
    json_int_t burst; /* packets sent with one call, from one address and port */
    json_int_t open_every;
    int site; /* to the next router instead of the hub */
    int mix;  /* a burst is of neighbours that share their address, not of one router */
    size_t padded;
    uint32_t next;
};

static uint32_t destination(const struct load *load, uint32_t number) {
    return load->site ? SWARM_FIRST_ADDRESS + (number ^ 1) : SWARM_HUB_ADDRESS;
}

static uint32_t next_router(struct load *load) {
    uint32_t number = load->next;
    load->next = number + 1 < (uint32_t)load->peers ? number + 1 : 0;
    return number;
}

static void put_packet(struct swarm *swarm, const struct load *load, uint32_t number, uint8_t *message,
                       struct aead_job *ret_job) {
    uint8_t *inner = message + sizeof(struct message_data);
    put_udp(inner, SWARM_FIRST_ADDRESS + number, destination(load, number), (size_t)load->size);
    memset(inner + load->size, 0, load->padded - (size_t)load->size);
    router_seal_job(&swarm->routers[number], message, load->padded, ret_job);
}

/* One packet each of as many routers as the sockets take at once. How many. */
static unsigned send_round(struct swarm *swarm, struct load *load, struct aead_job *jobs, unsigned most) {
    unsigned count = 0;
    size_t size = load->padded + MESSAGE_DATA_OVERHEAD;
    while (count < most) {
        uint32_t number = load->next;
        uint8_t *message = net_slot(swarm->net, swarm_source(swarm, number), size);
        if (!message) {
            break;
        }
        put_packet(swarm, load, next_router(load), message, &jobs[count++]);
    }
    swarm->aead_ops->seal(swarm->aead, jobs, count);
    net_flush(swarm->net);
    return count;
}

/* A burst of one router, or of as many as share its address and port. How many packets. */
static unsigned send_burst(struct swarm *swarm, struct load *load, struct aead_job *jobs, uint8_t *bytes) {
    size_t segment = load->padded + MESSAGE_DATA_OVERHEAD;
    uint32_t number = next_router(load);
    struct net_source source = swarm_source(swarm, number);
    unsigned count = 0;
    while (count < (unsigned)load->burst && (count + 1) * segment <= BURST_BYTES) {
        number = load->mix && count > 0 ? next_router(load) : number;
        put_packet(swarm, load, number, bytes + count * segment, &jobs[count]);
        count++;
    }
    swarm->aead_ops->seal(swarm->aead, jobs, count);
    int error = net_burst(swarm->net, source, bytes, count * segment, segment);
    return error < 0 ? 0 : count;
}

static int take_load(struct swarm *swarm, json_t *arguments, struct load *load) {
    json_error_t fault;
    *load = (struct load){.seconds = 5, .size = 128, .peers = swarm->count, .burst = 1};
    if (json_unpack_ex(arguments, &fault, 0, "{s?F, s?F, s?I, s?I, s?I, s?I, s?b, s?b !}", "seconds", &load->seconds,
                       "rate", &load->rate, "size", &load->size, "peers", &load->peers, "burst", &load->burst,
                       "open_every", &load->open_every, "site", &load->site, "mix", &load->mix) < 0) {
        return swarm_fail(swarm, -EINVAL, "%s", fault.text);
    }
    size_t least = sizeof(struct iphdr) + sizeof(struct udphdr);
    if (load->size < (json_int_t)least || load->size > SWARM_MTU || load->burst < 1 || load->burst > BURST_MAX ||
        load->peers < 1 || load->peers > swarm->count || (load->site && load->peers % 2 != 0)) {
        return swarm_fail(swarm, -EINVAL, "size: %zu to %d; burst: 1 to %d; peers: 1 to %u, even from site to site",
                          least, SWARM_MTU, BURST_MAX, swarm->count);
    }
    if (load->mix && (load->peers % load->burst != 0 || swarm->share % load->burst != 0)) {
        return swarm_fail(swarm, -EINVAL, "mix: peers and --share must be multiples of burst");
    }
    load->padded = message_padded_size((size_t)load->size, SWARM_MTU);
    return 0;
}

/* All of the routers need a session. */
static int check_connected(struct swarm *swarm, uint32_t peers) {
    for (uint32_t i = 0; i < peers; i++) {
        if (!swarm->routers[i].connected) {
            return swarm_fail(swarm, -ENOTCONN, "router %u is not connected", i);
        }
    }
    return 0;
}

static void drain(struct swarm *swarm, double seconds) {
    uint64_t until = clock_mono_ns() + (uint64_t)(seconds * (double)NSEC_PER_SEC);
    while (clock_mono_ns() < until) {
        net_receive(swarm->net, 5, swarm_take, swarm);
        net_flush(swarm->net);
    }
}

int swarm_data(struct swarm *swarm, json_t *arguments, json_t *result) {
    struct load load;
    int error = take_load(swarm, arguments, &load);
    error = error < 0 ? error : swarm_need(swarm, true, true);
    error = error < 0 ? error : check_connected(swarm, (uint32_t)load.peers);
    if (error < 0) {
        return error;
    }
    struct aead_job *jobs = malloc(BATCH_MAX * sizeof *jobs);
    uint8_t *bytes = malloc(BURST_BYTES);
    if (!jobs || !bytes) {
        error = swarm_fail(swarm, -ENOMEM, "out of memory");
        goto end;
    }
    uint64_t sent = 0;
    uint64_t began = clock_mono_ns();
    uint64_t elapsed = 0;
    double cpu = swarm_cpu_s();
    swarm->open_every = (uint32_t)load.open_every;
    while (elapsed < (uint64_t)(load.seconds * (double)NSEC_PER_SEC)) {
        elapsed = clock_mono_ns() - began;
        double due = load.rate > 0 ? load.rate * ((double)elapsed / (double)NSEC_PER_SEC) : (double)UINT64_MAX;
        bool behind = (double)sent < due;
        if (behind) {
            double missing = due - (double)sent;
            unsigned most = missing < BATCH_MAX ? (unsigned)missing + 1 : BATCH_MAX;
            sent += load.burst > 1 ? send_burst(swarm, &load, jobs, bytes) : send_round(swarm, &load, jobs, most);
        }
        net_receive(swarm->net, behind ? 0 : 1, swarm_take, swarm);
    }
    double seconds = (double)(clock_mono_ns() - began) / (double)NSEC_PER_SEC;
    json_object_set_new(result, "seconds", json_real(seconds));
    json_object_set_new(result, "cpu_s", json_real(swarm_cpu_s() - cpu));
    json_object_set_new(result, "sent", json_integer((json_int_t)sent));
    json_object_set_new(result, "received_in_time", json_integer((json_int_t)swarm->tally.data_received));
    drain(swarm, 0.2);
    swarm->tally.data_sent += sent;
end:
    swarm->open_every = 0;
    free(jobs);
    free(bytes);
    return error;
}

/* --- echoes --- */

struct echoes {
    double *latencies_us;
    size_t count, room;
};

/* The time of sending travels in the packet, so nothing needs to be remembered. */
static void put_echo(uint8_t *inner, uint32_t number, uint64_t now_ns) {
    uint8_t *icmp = inner + sizeof(struct iphdr);
    put_ip(inner, SWARM_FIRST_ADDRESS + number, SWARM_HUB_ADDRESS, IPPROTO_ICMP, ECHO_SIZE);
    memset(icmp, 0, ECHO_SIZE - sizeof(struct iphdr));
    icmp[0] = ICMP_ECHO;
    be64_put(icmp + 8, now_ns);
    be16_put(icmp + 2, checksum(icmp, ECHO_SIZE - sizeof(struct iphdr)));
}

static void take_echo(struct swarm *swarm, struct router *router, const uint8_t *plain, size_t size) {
    struct echoes *echoes = swarm->on_data_context;
    uint32_t address = SWARM_FIRST_ADDRESS + (uint32_t)(router - swarm->routers);
    const uint8_t *icmp = plain + sizeof(struct iphdr);
    if (size >= ECHO_SIZE && icmp[0] == ICMP_ECHOREPLY && be32_get(plain + 16) == address &&
        echoes->count < echoes->room) {
        echoes->latencies_us[echoes->count++] = (double)(clock_mono_ns() - be64_get(icmp + 8)) / 1000.0;
    }
}

static void send_echo(struct swarm *swarm, uint32_t number) {
    size_t padded = message_padded_size(ECHO_SIZE, SWARM_MTU);
    struct aead_job job;
    uint8_t *message = net_slot(swarm->net, swarm_source(swarm, number), padded + MESSAGE_DATA_OVERHEAD);
    if (!message) {
        return; /* cannot be: each echo is flushed */
    }
    memset(message + sizeof(struct message_data), 0, padded);
    put_echo(message + sizeof(struct message_data), number, clock_mono_ns());
    router_seal_job(&swarm->routers[number], message, padded, &job);
    swarm->aead_ops->seal(swarm->aead, &job, 1);
    net_flush(swarm->net);
}

int swarm_echo(struct swarm *swarm, json_t *arguments, json_t *result) {
    json_error_t fault;
    json_int_t count = 1000;
    json_int_t peers = swarm->count;
    double rate = 1000;
    if (json_unpack_ex(arguments, &fault, 0, "{s?I, s?I, s?F !}", "count", &count, "peers", &peers, "rate", &rate) <
        0) {
        return swarm_fail(swarm, -EINVAL, "%s", fault.text);
    }
    if (count < 1 || count > 10000000 || peers < 1 || peers > swarm->count || rate <= 0) {
        return swarm_fail(swarm, -EINVAL, "count: 1 to 10000000; peers: 1 to %u; rate: above 0", swarm->count);
    }
    int error = swarm_need(swarm, true, true);
    error = error < 0 ? error : check_connected(swarm, (uint32_t)peers);
    if (error < 0) {
        return error;
    }
    struct echoes echoes = {.room = (size_t)count, .latencies_us = malloc((size_t)count * sizeof(double))};
    if (!echoes.latencies_us) {
        return swarm_fail(swarm, -ENOMEM, "out of memory");
    }
    swarm->open_every = 1;
    swarm->on_data = take_echo;
    swarm->on_data_context = &echoes;
    uint64_t began = clock_mono_ns();
    for (json_int_t sent = 0; sent < count;) {
        double due = rate * ((double)(clock_mono_ns() - began) / (double)NSEC_PER_SEC);
        bool behind = (double)sent < due;
        if (behind) {
            send_echo(swarm, (uint32_t)(sent++ % peers));
        }
        net_receive(swarm->net, behind ? 0 : 1, swarm_take, swarm);
    }
    drain(swarm, 0.5);
    swarm->open_every = 0;
    swarm->on_data = NULL;
    swarm->on_data_context = NULL;
    json_object_set_new(result, "sent", json_integer(count));
    json_object_set_new(result, "answered", json_integer((json_int_t)echoes.count));
    swarm_add_percentiles(result, "latency_us", echoes.latencies_us, echoes.count);
    free(echoes.latencies_us);
    return 0;
}
