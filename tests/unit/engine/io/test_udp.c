/* The sockets of a port: who gets which datagram, and what is told about it. All on the loopback. */
#include "dice.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "engine/io/steer.h"
#include "engine/io/udp.h"
#include "wire/message.h"

#define WORKERS 5

/* Which of the sockets has something to read, or -1. */
static int who_got_it(const struct udp_sockets *sockets, bool v6) {
    struct pollfd ready[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        ready[i] = (struct pollfd){.fd = v6 ? sockets[i].v6 : sockets[i].v4, .events = POLLIN};
    }
    if (poll(ready, WORKERS, 1000) != 1) {
        return -1;
    }
    for (int i = 0; i < WORKERS; i++) {
        if (ready[i].revents) {
            uint8_t bytes[256];
            assert_true(recv(ready[i].fd, bytes, sizeof bytes, 0) >= 0);
            return i;
        }
    }
    return -1;
}

static union endpoint loopback(bool v6, uint16_t port) {
    char text[ENDPOINT_TEXT_SIZE];
    union endpoint to;
    snprintf(text, sizeof text, v6 ? "[::1]:%u" : "127.0.0.1:%u", port);
    assert_int_equal(endpoint_parse(text, &to), 0);
    return to;
}

static void a_datagram_reaches_the_worker_its_index_names(void **state) {
    (void)state;
    struct udp_sockets sockets[WORKERS];
    uint16_t port;
    struct dice dice = {.state = 1};
    assert_int_equal(udp_open(WORKERS, 0, 0, sockets, &port), 0);
    for (int i = 0; i < 400; i++) {
        bool v6 = sockets[0].v6 >= 0 && dice_chance(&dice, 50);
        unsigned worker = dice_below(&dice, WORKERS);
        uint32_t index = steer_index(worker, dice_u32(&dice));
        uint8_t bytes[148];
        dice_fill(&dice, bytes, sizeof bytes);
        static const struct {
            uint8_t type;
            size_t at;
        } kinds[] = {{MESSAGE_DATA, offsetof(struct message_data, receiver)},
                     {MESSAGE_RESPONSE, offsetof(struct message_response, receiver)},
                     {MESSAGE_COOKIE_REPLY, offsetof(struct message_cookie_reply, receiver)}};
        size_t kind = dice_below(&dice, COUNT(kinds));
        bytes[0] = kinds[kind].type;
        le32_put(bytes + kinds[kind].at, index);
        union endpoint to = loopback(v6, port);
        int fd = socket(to.sa.sa_family, SOCK_DGRAM, 0); /* another port each time: no luck of the hash */
        assert_int_equal(sendto(fd, bytes, sizeof bytes, 0, &to.sa, endpoint_size(&to)), sizeof bytes);
        assert_int_equal(who_got_it(sockets, v6), worker);
        close(fd);
    }
    udp_close(sockets, WORKERS);
}

static void initiations_are_spread_but_a_source_stays_with_one(void **state) {
    (void)state;
    struct udp_sockets sockets[WORKERS];
    uint16_t port;
    bool seen[WORKERS] = {false};
    uint8_t bytes[148] = {MESSAGE_INITIATION};
    assert_int_equal(udp_open(WORKERS, 0, 0, sockets, &port), 0);
    union endpoint to = loopback(false, port);
    for (int i = 0; i < 100; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        int first = -1;
        for (int n = 0; n < 4; n++) {
            memset(bytes + 4, n * 77, 8);
            assert_int_equal(sendto(fd, bytes, sizeof bytes, 0, &to.sa, endpoint_size(&to)), sizeof bytes);
            int got = who_got_it(sockets, false);
            assert_in_range(got, 0, WORKERS - 1);
            assert_true(first < 0 || got == first);
            first = got;
            seen[got] = true;
        }
        close(fd);
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_true(seen[i]);
    }
    udp_close(sockets, WORKERS);
}

static void a_busy_port_is_refused_even_if_it_would_be_shared(void **state) {
    (void)state;
    struct udp_sockets first[2], second[2];
    uint16_t port, other;
    assert_int_equal(udp_open(2, 0, 0, first, &port), 0);
    assert_int_equal(udp_open(2, port, 0, second, &other), -EADDRINUSE);
    assert_int_equal(udp_open(1, port, 0, second, &other), -EADDRINUSE);
    udp_close(first, 2);
    assert_int_equal(udp_open(2, port, 0, second, &other), 0);
    assert_int_equal(other, port);
    udp_close(second, 2);
}

static void what_is_read_says_from_where_to_where_and_how_congested(void **state) {
    (void)state;
    struct udp_sockets sockets;
    struct udp_reader *reader;
    struct udp_received received[UDP_BATCH];
    uint16_t port;
    assert_int_equal(udp_open(1, 0, 0, &sockets, &port), 0);
    assert_int_equal(udp_reader_create(&reader), 0);
    assert_int_equal(udp_read(reader, sockets.v4, UDP_BATCH, received), 0);
    union endpoint to = loopback(false, port);
    to.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 6); /* 127.0.0.7 */
    struct udp_local from = {.family = AF_INET, .in.s_addr = htonl(INADDR_LOOPBACK + 4)};
    struct udp_run runs[3];
    for (int i = 0; i < 3; i++) {
        runs[i] = (struct udp_run){
            .to = &to, .from = &from, .bytes = (const uint8_t *)"abc", .size = (size_t)i, .tos = 0x88 + (uint8_t)i};
    }
    udp_write(&sockets, runs, 3);
    assert_int_equal(udp_read(reader, sockets.v4, UDP_BATCH, received), 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(runs[i].error, 0);
        assert_int_equal(received[i].size, i);
        assert_int_equal(received[i].ecn, i);
        assert_int_equal(ntohl(received[i].from.in.sin_addr.s_addr), INADDR_LOOPBACK + 4);
        assert_int_equal(ntohs(received[i].from.in.sin_port), port);
        assert_int_equal(received[i].to.family, AF_INET);
        assert_int_equal(ntohl(received[i].to.in.s_addr), INADDR_LOOPBACK + 6);
        assert_int_equal(received[i].interface, if_nametoindex("lo"));
    }
    to = loopback(true, port);
    from.family = AF_UNSPEC;
    udp_write(&sockets, runs, 1);
    assert_int_equal(udp_read(reader, sockets.v6, UDP_BATCH, received), 1);
    assert_int_equal(received[0].to.family, AF_INET6);
    assert_int_equal(received[0].interface, if_nametoindex("lo"));
    udp_reader_free(reader);
    udp_close(&sockets, 1);
}

static void a_source_that_is_not_ours_is_let_go(void **state) {
    (void)state;
    struct udp_sockets sockets;
    struct udp_reader *reader;
    struct udp_received received[UDP_BATCH];
    uint16_t port;
    assert_int_equal(udp_open(1, 0, 0, &sockets, &port), 0);
    assert_int_equal(udp_reader_create(&reader), 0);
    union endpoint to = loopback(false, port);
    struct udp_local from = {.family = AF_INET, .in.s_addr = htonl(0xcb007109)}; /* 203.0.113.9 */
    struct udp_run run = {.to = &to, .from = &from, .bytes = (const uint8_t *)"a", .size = 1};
    udp_write(&sockets, &run, 1);
    assert_int_equal(run.error, 0);
    assert_int_equal(from.family, AF_UNSPEC);
    assert_int_equal(udp_read(reader, sockets.v4, UDP_BATCH, received), 1);
    udp_reader_free(reader);
    udp_close(&sockets, 1);
}

/* All runs of a peer share the address that turns out to be gone. */
static void a_source_that_is_gone_costs_none_of_a_batch(void **state) {
    (void)state;
    struct udp_sockets sockets;
    struct udp_reader *reader;
    struct udp_received received[UDP_BATCH];
    struct udp_run runs[30];
    uint16_t port;
    assert_int_equal(udp_open(1, 0, 0, &sockets, &port), 0);
    assert_int_equal(udp_reader_create(&reader), 0);
    union endpoint to = loopback(false, port);
    struct udp_local from = {.family = AF_INET, .in.s_addr = htonl(0xcb007109)}; /* 203.0.113.9 */
    for (size_t i = 0; i < 30; i++) {
        runs[i] = (struct udp_run){.to = &to, .from = &from, .bytes = (const uint8_t *)"a", .size = 1};
    }
    udp_write(&sockets, runs, 30);
    for (size_t i = 0; i < 30; i++) {
        assert_int_equal(runs[i].error, 0);
    }
    assert_int_equal(from.family, AF_UNSPEC);
    assert_int_equal(udp_read(reader, sockets.v4, UDP_BATCH, received), 30);
    udp_reader_free(reader);
    udp_close(&sockets, 1);
}

static void a_run_arrives_as_its_datagrams(void **state) {
    (void)state;
    struct udp_sockets sockets;
    struct udp_reader *reader;
    struct udp_received received[UDP_BATCH];
    uint16_t port;
    uint8_t bytes[2500];
    assert_int_equal(udp_open(1, 0, 0, &sockets, &port), 0);
    if (!udp_probe_gso(&sockets)) {
        udp_close(&sockets, 1);
        skip();
    }
    assert_int_equal(udp_reader_create(&reader), 0);
    union endpoint to = loopback(false, port);
    struct udp_local from = {0};
    memset(bytes, 7, sizeof bytes);
    struct udp_run run = {.to = &to, .from = &from, .bytes = bytes, .size = sizeof bytes, .segment = 1000};
    udp_write(&sockets, &run, 1);
    assert_int_equal(run.error, 0);
    assert_int_equal(udp_read(reader, sockets.v4, UDP_BATCH, received), 3);
    assert_int_equal(received[0].size, 1000);
    assert_int_equal(received[2].size, 500);
    udp_reader_free(reader);
    udp_close(&sockets, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_datagram_reaches_the_worker_its_index_names),
        cmocka_unit_test(initiations_are_spread_but_a_source_stays_with_one),
        cmocka_unit_test(a_busy_port_is_refused_even_if_it_would_be_shared),
        cmocka_unit_test(what_is_read_says_from_where_to_where_and_how_congested),
        cmocka_unit_test(a_source_that_is_not_ours_is_let_go),
        cmocka_unit_test(a_source_that_is_gone_costs_none_of_a_batch),
        cmocka_unit_test(a_run_arrives_as_its_datagrams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
