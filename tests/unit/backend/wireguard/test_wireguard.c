/* WireGuard over generic netlink, against a fake kernel that cuts its answers wherever it likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "backend/wireguard/wireguard.h"
#include "fake_kernel.h"

#include "../../sanitized.h"

static struct wireguard *w;

static int begin_test(void **state) {
    (void)state;
    fake_kernel_reset();
    return wireguard_open_through(FAKE_KERNEL_NAME, fake_kernel_connect, NULL, &w);
}

static int end_test(void **state) {
    (void)state;
    wireguard_free(w);
    w = NULL;
    fake_kernel_end();
    fake_kernel_reset();
    return 0;
}

static struct prefix v4(uint32_t host_order, uint8_t length) {
    struct ip_addr addr = ip_from_v4(host_order);
    return prefix_make(&addr, length);
}

static struct prefix v6(unsigned number) {
    struct prefix prefix = {.addr = {.family = AF_INET6, .bytes = {0xfd, 1}}, .length = 128};
    memcpy(prefix.addr.bytes + 8, &number, sizeof number);
    return prefix;
}

/* Peers with as many allowed IPs as their number says, so that pieces end everywhere. */
static size_t allowed_of(unsigned number) {
    return number % 7 == 0 ? 0 : number % 11;
}

static void fill(size_t count) {
    for (unsigned i = 1; i <= count; i++) {
        struct key key = fake_kernel_key(i);
        struct fake_peer *peer = fake_kernel_add(&key);
        peer->bytes_received = i;
        peer->bytes_sent = i * 2u;
        peer->handshake_s = (int64_t)i * 3;
        peer->handshake_ns = 5000;
        peer->preshared_key.bytes[31] = (uint8_t)i;
        peer->keepalive_s = (uint16_t)i;
        if (i % 2) {
            peer->endpoint.in =
                (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(i), .sin_port = htons(77)};
        } else if (i % 3) {
            peer->endpoint.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(78)};
        }
        peer->allowed = calloc(allowed_of(i) + 1, sizeof *peer->allowed);
        for (unsigned j = 0; j < allowed_of(i); j++) {
            peer->allowed[peer->allowed_count++] = j % 2 ? v6(i * 16 + j) : v4(0x0a000000 + i * 16 + j, 32);
        }
    }
}

struct heard {
    size_t count, again;
    size_t cut; /* attempts whose last peer may lack allowed IPs */
    unsigned char seen[20000];
};

static int hear(void *context, const struct wireguard_peer *peer) {
    struct heard *heard = context;
    unsigned number;
    memcpy(&number, peer->public_key.bytes, sizeof number);
    const struct fake_peer *is = &fake_kernel.peers[number - 1];
    assert_in_range(number, 1, sizeof heard->seen - 1);
    heard->count++;
    heard->seen[number]++;
    assert_true(peer->allowed_count == is->allowed_count ||
                (heard->again < heard->cut && peer->allowed_count < is->allowed_count));
    for (size_t i = 0; i < peer->allowed_count; i++) {
        assert_true(prefix_equal(&peer->allowed[i], &is->allowed[i]));
    }
    assert_memory_equal(&peer->public_key, &is->public_key, KEY_SIZE);
    assert_memory_equal(&peer->preshared_key, &is->preshared_key, KEY_SIZE);
    assert_int_equal(peer->bytes_received, is->bytes_received);
    assert_int_equal(peer->bytes_sent, is->bytes_sent);
    assert_int_equal(peer->last_handshake_at_us, is->handshake_s * 1000000 + is->handshake_ns / 1000);
    assert_int_equal(peer->keepalive_s, is->keepalive_s);
    assert_true(peer->endpoint.sa.sa_family == is->endpoint.sa.sa_family);
    return 0;
}

static void hear_again(void *context) {
    struct heard *heard = context;
    size_t again = heard->again + 1, cut = heard->cut;
    memset(heard, 0, sizeof *heard);
    heard->again = again;
    heard->cut = cut;
}

static void expect_all(size_t count) {
    static struct heard heard;
    memset(&heard, 0, sizeof heard);
    assert_int_equal(wireguard_dump(w, NULL, hear, &heard), 0);
    assert_int_equal(heard.count, count);
    for (size_t i = 1; i <= count; i++) {
        assert_int_equal(heard.seen[i], 1);
    }
}

static void every_count_of_peers_is_read_whole_however_it_is_cut(void **state) {
    static const size_t pieces[] = {300, 333, 1000, 4096, 0};
    (void)state;
    for (size_t count = 0; count <= 300; count += SANITIZED ? 7 : 1) {
        fake_kernel_reset();
        fill(count);
        for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
            fake_kernel.piece_size = pieces[i];
            expect_all(count);
        }
    }
}

static void powers_of_two_and_their_neighbours_are_read_whole(void **state) {
    (void)state;
    for (size_t power = 512; power <= (SANITIZED ? 1024U : 16384U); power *= 2) {
        for (size_t count = power - 1; count <= power + 1; count++) {
            fake_kernel_reset();
            fill(count);
            expect_all(count);
        }
    }
}

static void a_peer_longer_than_many_pieces_is_one_peer(void **state) {
    (void)state;
    fill(3);
    for (unsigned i = 0; i < 5000; i++) {
        struct prefix prefix = v4(0xc0000000 + i * 256, 24);
        fake_kernel.peers[1].allowed =
            realloc(fake_kernel.peers[1].allowed, (fake_kernel.peers[1].allowed_count + 1) * sizeof(struct prefix));
        fake_kernel.peers[1].allowed[fake_kernel.peers[1].allowed_count++] = prefix;
    }
    fake_kernel.piece_size = 1500;
    expect_all(3);
}

static void a_dump_during_a_change_is_told_and_repeated(void **state) {
    static struct heard heard;
    (void)state;
    fill(200);
    fake_kernel.piece_size = 2000;
    fake_kernel.torn = 1;
    memset(&heard, 0, sizeof heard);
    assert_int_equal(wireguard_dump(w, NULL, hear, &heard), -EAGAIN);
    fake_kernel.cut = 2;
    memset(&heard, 0, sizeof heard);
    heard.cut = 2;
    assert_int_equal(wireguard_dump_whole(w, NULL, hear_again, hear, &heard), 0);
    assert_int_equal(heard.again, 2);
    assert_int_equal(heard.count, 200);
}

static void changes_without_end_do_not_hold_a_dump_for_ever(void **state) {
    static struct heard heard;
    (void)state;
    fill(20);
    fake_kernel.torn = 1000;
    memset(&heard, 0, sizeof heard);
    assert_int_equal(wireguard_dump_whole(w, NULL, hear_again, hear, &heard), -EAGAIN);
    assert_int_equal(fake_kernel.dumps, WIREGUARD_ATTEMPTS);
}

static int refuse_second(void *context, const struct wireguard_peer *peer) {
    size_t *count = context;
    (void)peer;
    return ++*count == 2 ? 42 : 0;
}

static void what_the_caller_returns_is_the_result_and_ends_the_telling(void **state) {
    size_t count = 0;
    (void)state;
    fill(30);
    fake_kernel.piece_size = 500;
    assert_int_equal(wireguard_dump(w, NULL, refuse_second, &count), 42);
    assert_int_equal(count, 2);
    expect_all(30);
}

static void nonsense_is_refused(void **state) {
    static struct heard heard;
    (void)state;
    fill(5);
    fake_kernel.garble = true;
    assert_int_equal(wireguard_dump(w, NULL, hear, &heard), -EBADMSG);
    fake_kernel.garble = false;
    expect_all(5);
}

static void the_device_is_read_without_all_its_peers(void **state) {
    struct wireguard_device device;
    struct key public_key;
    (void)state;
    fill(300);
    fake_kernel.piece_size = 500;
    key_make_private(&fake_kernel.private_key);
    key_public(&fake_kernel.private_key, &public_key);
    fake_kernel.listen_port = 51820;
    fake_kernel.fwmark = 9;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wireguard_get_device(w, &device), 0);
        assert_int_equal(device.listen_port, 51820);
        assert_int_equal(device.fwmark, 9);
        assert_int_equal(device.ifindex, 7);
        assert_memory_equal(&device.private_key, &fake_kernel.private_key, KEY_SIZE);
        assert_memory_equal(&device.public_key, &public_key, KEY_SIZE);
        expect_all(300);
    }
}

static void settings_are_set_one_by_one(void **state) {
    struct key key;
    struct wireguard_settings settings = {.has_listen_port = true, .listen_port = 1234};
    (void)state;
    fake_kernel.fwmark = 5;
    key_make_private(&key);
    assert_int_equal(wireguard_set_device(w, &settings), 0);
    assert_int_equal(fake_kernel.listen_port, 1234);
    assert_int_equal(fake_kernel.fwmark, 5);
    settings = (struct wireguard_settings){.private_key = &key, .has_fwmark = true};
    assert_int_equal(wireguard_set_device(w, &settings), 0);
    assert_memory_equal(&fake_kernel.private_key, &key, KEY_SIZE);
    assert_int_equal(fake_kernel.fwmark, 0);
    assert_int_equal(fake_kernel.listen_port, 1234);
    fake_kernel.port_taken = true;
    settings = (struct wireguard_settings){.has_listen_port = true, .listen_port = 80};
    assert_int_equal(wireguard_set_device(w, &settings), -EADDRINUSE);
}

static void thousands_of_peers_go_in_full_messages(void **state) {
    (void)state;
    for (unsigned i = 1; i <= 5000; i++) {
        struct prefix allowed[2] = {v4(0x0a000000 + i, 32), v6(i)};
        struct wireguard_change change = {.public_key = fake_kernel_key(i), .allowed = allowed, .allowed_count = 2};
        assert_int_equal(wireguard_put(w, &change), 0);
    }
    assert_int_equal(wireguard_flush(w), 0);
    assert_int_equal(fake_kernel.peer_count, 5000);
    assert_int_equal(fake_kernel.changes, 5000); /* none was parted */
    assert_in_range(fake_kernel.largest, 64000, 65535);
    /* 116 bytes a peer: header, key, two allowed IPs */
    assert_in_range(fake_kernel.sets, 1, 5000 * 116 / 64000 + 1);
    for (unsigned i = 1; i <= 5000; i++) {
        assert_int_equal(fake_kernel.peers[i - 1].allowed_count, 2);
    }
    assert_int_equal(wireguard_flush(w), 0); /* nothing is left */
    assert_int_equal(fake_kernel.changes, 5000);
}

static void a_peer_longer_than_a_message_loses_nothing_on_the_way(void **state) {
    static struct prefix allowed[5000];
    (void)state;
    struct key key = fake_kernel_key(2);
    struct prefix old = v4(0x01020304, 32);
    fake_kernel_allow(fake_kernel_add(&key), &old);
    for (unsigned i = 0; i < 5000; i++) {
        allowed[i] = v4(0xc0000000 + i * 256, 24);
    }
    struct wireguard_change change = {
        .public_key = key, .replace_allowed = true, .allowed = allowed, .allowed_count = 5000};
    assert_int_equal(wireguard_put(w, &change), 0);
    assert_int_equal(wireguard_flush(w), 0);
    assert_int_equal(fake_kernel.replaced, 1); /* in its first piece only */
    assert_int_equal(fake_kernel.update_only, fake_kernel.changes - 1);
    assert_in_range(fake_kernel.changes, 2, 4);
    assert_int_equal(fake_kernel.peers[0].allowed_count, 5000);
    for (size_t i = 0; i < 5000; i++) {
        assert_true(prefix_equal(&fake_kernel.peers[0].allowed[i], &allowed[i]));
    }
}

static void a_peer_longer_than_a_message_that_is_refused_ends_there(void **state) {
    static struct prefix allowed[5000];
    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        allowed[i] = v4(0xc0000000 + i * 256, 24);
    }
    struct wireguard_change change = {.public_key = fake_kernel_key(2), .allowed = allowed, .allowed_count = 5000};
    fake_kernel.peers_taken = 1;
    fake_kernel.error = -ENOMEM;
    assert_int_equal(wireguard_put(w, &change), -ENOMEM);
    fake_kernel.error = 0;
    assert_int_equal(wireguard_flush(w), 0);
    assert_int_equal(fake_kernel.changes, 1);
    assert_int_equal(fake_kernel.peer_count, 0);
}

/* The kernel's answer to it is longer than the message, which may be as long as messages get: some mixture of IPv4 and
 * IPv6 fills it to the last byte. */
static void the_refusal_of_a_full_message_is_told_as_it_is(void **state) {
    static struct prefix allowed[3000];
    (void)state;
    for (unsigned small = 0; small < 10; small++) {
        for (unsigned i = 0; i < 3000; i++) {
            allowed[i] = i < small ? v4(0xc0000000 + i * 256, 24) : v6(i);
        }
        struct wireguard_change change = {.public_key = fake_kernel_key(2), .allowed = allowed, .allowed_count = 3000};
        fake_kernel.changes = 0;
        fake_kernel.peers_taken = 1;
        fake_kernel.error = -ENOMEM;
        assert_int_equal(wireguard_put(w, &change), -ENOMEM);
    }
}

static void all_parts_of_a_change_arrive(void **state) {
    struct key psk = fake_kernel_key(99);
    union endpoint endpoint;
    struct prefix allowed = v4(0x0a000001, 32);
    (void)state;
    assert_int_equal(endpoint_parse("[2001:db8::1]:51820", &endpoint), 0);
    struct wireguard_change change = {.public_key = fake_kernel_key(1),
                                      .preshared_key = &psk,
                                      .endpoint = &endpoint,
                                      .has_keepalive = true,
                                      .keepalive_s = 25,
                                      .allowed = &allowed,
                                      .allowed_count = 1};
    assert_int_equal(wireguard_put(w, &change), 0);
    assert_int_equal(wireguard_flush(w), 0);
    struct fake_peer *peer = fake_kernel_peer(&change.public_key);
    assert_non_null(peer);
    assert_memory_equal(&peer->preshared_key, &psk, KEY_SIZE);
    assert_true(endpoint_equal(&peer->endpoint, &endpoint));
    assert_int_equal(peer->keepalive_s, 25);
    /* what is not said stays */
    struct wireguard_change nothing = {.public_key = change.public_key, .update_only = true};
    assert_int_equal(wireguard_put(w, &nothing), 0);
    assert_int_equal(wireguard_flush(w), 0);
    assert_memory_equal(&peer->preshared_key, &psk, KEY_SIZE);
    assert_int_equal(peer->keepalive_s, 25);
    assert_int_equal(peer->allowed_count, 1);
    struct wireguard_change gone = {.public_key = change.public_key, .remove = true};
    assert_int_equal(wireguard_put(w, &gone), 0);
    assert_int_equal(wireguard_flush(w), 0);
    assert_int_equal(fake_kernel.peer_count, 0);
    assert_int_equal(wireguard_put(w, &nothing), 0); /* an update makes no peer */
    assert_int_equal(wireguard_flush(w), 0);
    assert_int_equal(fake_kernel.peer_count, 0);
}

static void an_error_half_way_leaves_the_first_part_and_forgets_the_rest(void **state) {
    (void)state;
    fake_kernel.peers_taken = 1500;
    fake_kernel.error = -ENOMEM;
    int rc = 0;
    unsigned put = 0;
    for (unsigned i = 1; i <= 3000 && rc == 0; i++, put++) {
        struct prefix allowed = v4(0x0a000000 + i, 32);
        struct wireguard_change change = {.public_key = fake_kernel_key(i), .allowed = &allowed, .allowed_count = 1};
        rc = wireguard_put(w, &change);
    }
    rc = rc ? rc : wireguard_flush(w);
    assert_int_equal(rc, -ENOMEM);
    assert_int_equal(fake_kernel.peer_count, 1499);
    fake_kernel.error = 0;
    size_t before = fake_kernel.changes;
    assert_int_equal(wireguard_flush(w), 0);
    assert_int_equal(fake_kernel.changes, before);
}

static void single_allowed_ips_are_withdrawn_where_the_kernel_can(void **state) {
    (void)state;
    struct key key = fake_kernel_key(1);
    struct prefix three[] = {v4(0x0a000001, 32), v4(0x0a000002, 32), v4(0x0a000003, 32)};
    for (int can = 0; can < 2; can++) {
        fake_kernel_reset();
        fake_kernel.can_withdraw = can;
        struct fake_peer *peer = fake_kernel_add(&key);
        for (size_t i = 0; i < 3; i++) {
            fake_kernel_allow(peer, &three[i]);
        }
        assert_int_equal(wireguard_can_withdraw(w, &key, &three[0]), can);
        assert_int_equal(peer->allowed_count, can ? 2 : 3);
        size_t changes = fake_kernel.changes;
        assert_int_equal(wireguard_can_withdraw(w, &key, &three[0]), can); /* is known now */
        assert_int_equal(fake_kernel.changes, changes);
        if (can) {
            struct wireguard_change change = {
                .public_key = key, .withdrawn = &three[1], .withdrawn_count = 1, .update_only = true};
            assert_int_equal(wireguard_put(w, &change), 0);
            assert_int_equal(wireguard_flush(w), 0);
            assert_int_equal(peer->allowed_count, 1);
        } else {
            end_test(state);
            begin_test(state);
        }
    }
}

static void refusals_come_through(void **state) {
    static struct heard heard;
    struct wireguard_device device;
    struct wireguard *other;
    (void)state;
    fake_kernel.no_interface = true;
    assert_int_equal(wireguard_get_device(w, &device), -ENODEV);
    assert_int_equal(wireguard_dump(w, NULL, hear, &heard), -ENODEV);
    fake_kernel.no_interface = false;
    fake_kernel.no_rights = true;
    assert_int_equal(wireguard_get_device(w, &device), -EPERM);
    fake_kernel.no_rights = false;
    assert_int_equal(wireguard_get_device(w, &device), 0);
    fake_kernel.absent = true;
    assert_int_equal(wireguard_open_through("wg0", fake_kernel_connect, NULL, &other), -EOPNOTSUPP);
    assert_int_equal(wireguard_open_through("a-name-too-long-for-it", fake_kernel_connect, NULL, &other), -ENODEV);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(every_count_of_peers_is_read_whole_however_it_is_cut),
        CASE(powers_of_two_and_their_neighbours_are_read_whole),
        CASE(a_peer_longer_than_many_pieces_is_one_peer),
        CASE(a_dump_during_a_change_is_told_and_repeated),
        CASE(changes_without_end_do_not_hold_a_dump_for_ever),
        CASE(what_the_caller_returns_is_the_result_and_ends_the_telling),
        CASE(nonsense_is_refused),
        CASE(the_device_is_read_without_all_its_peers),
        CASE(settings_are_set_one_by_one),
        CASE(thousands_of_peers_go_in_full_messages),
        CASE(a_peer_longer_than_a_message_loses_nothing_on_the_way),
        CASE(a_peer_longer_than_a_message_that_is_refused_ends_there),
        CASE(the_refusal_of_a_full_message_is_told_as_it_is),
        CASE(all_parts_of_a_change_arrive),
        CASE(an_error_half_way_leaves_the_first_part_and_forgets_the_rest),
        CASE(single_allowed_ips_are_withdrawn_where_the_kernel_can),
        CASE(refusals_come_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
