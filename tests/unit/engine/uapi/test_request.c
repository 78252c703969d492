/* Requests and answers as text, against a fake engine; no sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "engine/uapi/output.h"
#include "engine/uapi/request.h"
#include "engine/uapi/text.h"
#include "fake_engine.h"

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define KEY_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define TENANT "01234567-89ab-7def-8123-456789abcdef"

struct world {
    struct engine *engine;
    struct uapi_request *request;
};

static int open_world(void **state) {
    struct world *w = calloc(1, sizeof *w);
    w->engine = fake_engine_create();
    assert_int_equal(uapi_request_create(w->engine, &w->request), 0);
    *state = w;
    return 0;
}

static int close_world(void **state) {
    struct world *w = *state;
    uapi_request_free(w->request);
    fake_engine_free(w->engine);
    free(w);
    return 0;
}

static struct fake_peer *peer(struct world *w, const char *hex) {
    struct key key;
    assert_int_equal(key_from_hex(hex, &key), 0);
    return fake_engine_peer(w->engine, &key);
}

/* One whole request in one piece. */
static enum uapi_event say(struct world *w, const char *text) {
    size_t used;
    enum uapi_event event = uapi_request_feed(w->request, text, strlen(text), &used);
    assert_int_equal(used, strlen(text));
    return event;
}

/* A set that must do, and one that must not. */
static void set(struct world *w, const char *text) {
    assert_int_equal(say(w, text), UAPI_EVENT_SET);
    assert_int_equal(uapi_request_error(w->request), 0);
}

static void refused(struct world *w, const char *text, int error, const char *fault) {
    assert_int_equal(say(w, text), UAPI_EVENT_SET);
    assert_int_equal(uapi_request_error(w->request), error);
    assert_non_null(uapi_request_fault(w->request));
    assert_string_equal(uapi_request_fault(w->request), fault);
}

/* The whole answer to a get, as text to free. */
static char *get(struct world *w, const char *text) {
    int ends[2];
    struct uapi_output output = {.fd = -1};
    struct buf all = {0};
    char part[4096];
    assert_int_equal(say(w, text), UAPI_EVENT_GET);
    assert_int_equal(uapi_request_error(w->request), 0);
    struct uapi_answer answer;
    int rc = 1;
    for (uapi_answer_begin(&answer, uapi_request_selection(w->request)); rc == 1;) {
        rc = uapi_answer_step(&answer, w->engine, &output);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    output.fd = ends[0];
    for (rc = -EAGAIN; rc == -EAGAIN;) {
        rc = uapi_output_send(&output);
        ssize_t size;
        while ((size = recv(ends[1], part, sizeof part, MSG_DONTWAIT)) > 0) {
            buf_append(&all, part, (size_t)size);
        }
    }
    close(ends[0]);
    close(ends[1]);
    uapi_output_free(&output);
    return all.data ? all.data : strdup("");
}

static void a_set_reaches_the_engine(void **state) {
    struct world *w = *state;
    set(w, "set=1\nprivate_key=" KEY_C "\nlisten_port=51820\nfwmark=7\npublic_key=" KEY_A "\npreshared_key=" KEY_B
           "\nendpoint=192.0.2.1:1234\npersistent_keepalive_interval=25\nprotocol_version=1\nreplace_allowed_ips=true\n"
           "allowed_ip=10.0.0.2/32\nallowed_ip=fd00::/64\n\n");
    assert_int_equal(w->engine->device.listen_port, 51820);
    assert_int_equal(w->engine->device.fwmark, 7);
    assert_int_equal(w->engine->device.private_key.bytes[0], 0xcc);
    struct fake_peer *p = peer(w, KEY_A);
    assert_non_null(p);
    assert_int_equal(p->is.preshared_key.bytes[31], 0xbb);
    assert_int_equal(p->is.keepalive_s, 25);
    assert_int_equal(p->is.allowed_ip_count, 2);
    assert_int_equal(ntohs(p->is.endpoint.in.sin_port), 1234);
    assert_int_equal(w->engine->flushes, 1);
}

static void the_last_peer_of_a_set_counts_too(void **state) {
    struct world *w = *state;
    set(w, "set=1\npublic_key=" KEY_A "\npublic_key=" KEY_B "\n\n");
    assert_int_equal(w->engine->device.peers, 2);
}

static void peers_are_removed_updated_and_replaced(void **state) {
    struct world *w = *state;
    set(w, "set=1\npublic_key=" KEY_A "\nallowed_ip=10.0.0.2/32\nallowed_ip=10.0.0.3/32\npublic_key=" KEY_B "\n\n");
    set(w, "set=1\npublic_key=" KEY_C "\nupdate_only=true\npersistent_keepalive_interval=1\n\n");
    assert_null(peer(w, KEY_C));
    set(w, "set=1\npublic_key=" KEY_B "\nremove=true\n\n");
    assert_null(peer(w, KEY_B));
    set(w, "set=1\npublic_key=" KEY_A "\nallowed_ip=-10.0.0.2/32\n\n");
    assert_int_equal(peer(w, KEY_A)->is.allowed_ip_count, 1);
    set(w, "set=1\nreplace_peers=true\npublic_key=" KEY_C "\n\n");
    assert_null(peer(w, KEY_A));
    assert_non_null(peer(w, KEY_C));
}

static void bytes_may_arrive_one_by_one(void **state) {
    struct world *w = *state;
    const char *text = "set=1\nlisten_port=5\npublic_key=" KEY_A "\nallowed_ip=10.0.0.2/32\n\n";
    enum uapi_event event = UAPI_EVENT_NONE;
    for (const char *at = text; *at; at++) {
        size_t used;
        assert_int_equal(event, UAPI_EVENT_NONE);
        event = uapi_request_feed(w->request, at, 1, &used);
        assert_int_equal(used, 1);
    }
    assert_int_equal(event, UAPI_EVENT_SET);
    assert_int_equal(uapi_request_error(w->request), 0);
    assert_int_equal(peer(w, KEY_A)->is.allowed_ip_count, 1);
}

static void requests_follow_one_another(void **state) {
    struct world *w = *state;
    static const char text[] = "get=1\n\nset=1\nlisten_port=9\n\nget=1\n\n";
    static const enum uapi_event events[] = {UAPI_EVENT_GET, UAPI_EVENT_SET, UAPI_EVENT_GET};
    static const size_t sizes[] = {7, 21, 7};
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        size_t used;
        assert_int_equal(uapi_request_feed(w->request, text + at, sizeof text - 1 - at, &used), events[i]);
        assert_int_equal(used, sizes[i]);
        assert_int_equal(w->engine->device.listen_port, i == 0 ? 0 : 9);
        at += used;
    }
    assert_int_equal(at, sizeof text - 1);
}

static void every_malformed_line_is_refused_and_named(void **state) {
    struct world *w = *state;
    static const char *const wrong[] = {
        "nothing",
        "=",
        "=1",
        "listen_port",
        "listen_port=",
        "listen_port=65536",
        "listen_port=-1",
        "listen_port=1x",
        "fwmark=4294967296",
        "fwmark=0x1",
        "private_key=",
        "private_key=zz",
        "private_key=" KEY_A "a",
        "replace_peers=false",
        "replace_peers=",
        "hub=10.0.0.1",
        "hub=10.0.0.1/33",
        "hub=10.0.0.1/24",
        "hub=x",
        "replace_hub=1",
        "unknown=1",
        "Listen_port=1",
        " listen_port=1",
        "listen_port =1",
        "public_key=",
        "tenant=",
        "tenant=00000000-0000-0000-0000-000000000000",
        "allowed_ip=10.0.0.0/8",
        "remove=true",
        "get=1",
        "set=1",
        "since=1",
        "sallyport=2",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[512];
        if (strcmp(wrong[i], "hub=10.0.0.1") == 0) {
            continue; /* a bare address is a host prefix */
        }
        snprintf(text, sizeof text, "set=1\nsallyport=1\n%s\nlisten_port=77\n\n", wrong[i]);
        assert_int_equal(say(w, text), UAPI_EVENT_SET);
        if (uapi_request_error(w->request) != -EINVAL) {
            fail_msg("accepted: %s", wrong[i]);
        }
        assert_memory_equal(uapi_request_fault(w->request), "line 3: ", 8);
        assert_int_not_equal(w->engine->device.listen_port, 77);
    }
    static const char *const wrong_in_peer[] = {
        "preshared_key=1",
        "endpoint=",
        "endpoint=host:1",
        "endpoint=1.2.3.4",
        "endpoint=1.2.3.4:0",
        "endpoint=::1:5",
        "persistent_keepalive_interval=65536",
        "persistent_keepalive_interval=off",
        "allowed_ip=",
        "allowed_ip=-",
        "allowed_ip=10.0.0.0/33",
        "allowed_ip=::/129",
        "allowed_ip=--10.0.0.0/8",
        "peer_tenant=x",
        "hub_address=10.0.0.9=fd00::1",
        "timestamp=00",
        "remove=false",
        "update_only=false",
        "replace_allowed_ips=0",
        "protocol_version=2",
        "listen_port=1",
        "hub=10.0.0.1/32",
        "addressing=unique",
        "allowed_ip=10.0.0.0/8 ",
    };
    for (size_t i = 0; i < sizeof wrong_in_peer / sizeof *wrong_in_peer; i++) {
        char text[512];
        snprintf(text, sizeof text, "set=1\nsallyport=1\npublic_key=" KEY_B "\n%s\n\n", wrong_in_peer[i]);
        assert_int_equal(say(w, text), UAPI_EVENT_SET);
        if (uapi_request_error(w->request) != -EINVAL) {
            fail_msg("accepted: %s", wrong_in_peer[i]);
        }
        assert_memory_equal(uapi_request_fault(w->request), "line 4: ", 8);
        assert_null(peer(w, KEY_B));
    }
}

static void a_request_must_begin_as_one(void **state) {
    struct world *w = *state;
    static const char *const wrong[] = {"set=2\n\n", "get=2\n\n", "hello\n\n", "public_key=" KEY_A "\n\n", "=\n\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        enum uapi_event event = say(w, wrong[i]);
        assert_int_not_equal(event, UAPI_EVENT_NONE);
        assert_int_equal(uapi_request_error(w->request), -EINVAL);
    }
    assert_int_equal(say(w, "\n\n\n"), UAPI_EVENT_NONE);
    set(w, "set=1\nlisten_port=3\n\n");
}

static void what_stands_before_a_fault_is_applied_and_in_force(void **state) {
    struct world *w = *state;
    refused(w,
            "set=1\nsallyport=1\nlisten_port=5\npublic_key=" KEY_A "\npublic_key=" KEY_B
            "\nallowed_ip=x\npublic_key=" KEY_C "\n\n",
            -EINVAL, "line 6: allowed_ip: give a prefix, as 10.0.0.0/24, with a - in front to take it away");
    assert_int_equal(w->engine->device.listen_port, 5);
    assert_non_null(peer(w, KEY_A));
    assert_null(peer(w, KEY_B));
    assert_null(peer(w, KEY_C));
    assert_int_equal(w->engine->flushes, 1);
}

static void the_fault_is_told_only_to_those_who_asked(void **state) {
    struct world *w = *state;
    assert_int_equal(say(w, "set=1\nunknown=1\n\n"), UAPI_EVENT_SET);
    assert_int_equal(uapi_request_error(w->request), -EINVAL);
    assert_null(uapi_request_fault(w->request));
    refused(w, "set=1\nsallyport=1\nw\x01o\x1b[31m=1\n\n", -EINVAL, "line 3: w?o?[31m: no key of the device");
}

static void lines_are_bounded_and_hold_no_nul(void **state) {
    struct world *w = *state;
    struct buf text = {0};
    size_t used;
    buf_printf(&text, "set=1\nsallyport=1\nlisten_port=%0*d\nlisten_port=1\n\n", 3 * UAPI_LINE_MAX, 0);
    refused(w, text.data, -EINVAL, "line 3: not a line of the form key=value with at most 1024 bytes");
    buf_free(&text);
    static const char nul[] = "set=1\nsallyport=1\nlisten_port=1\0002\n\n";
    assert_int_equal(uapi_request_feed(w->request, nul, sizeof nul - 1, &used), UAPI_EVENT_SET);
    assert_int_equal(uapi_request_error(w->request), -EINVAL);
    set(w, "set=1\nlisten_port=4\n\n"); /* and the next one is fine again */
}

static void the_engines_refusals_are_passed_on(void **state) {
    struct world *w = *state;
    w->engine->fail_listen_port = -EADDRINUSE;
    refused(w, "set=1\nsallyport=1\nlisten_port=51820\n\n", -EADDRINUSE,
            "line 3: listen_port: UDP port 51820: Address already in use");
    w->engine->fail_change = -ENOMEM;
    refused(w, "set=1\nsallyport=1\npublic_key=" KEY_A "\nallowed_ip=10.0.0.1/32\n\n", -ENOMEM,
            "line 3: public_key: the peer was refused: Cannot allocate memory");
    refused(w, "set=1\nsallyport=1\npublic_key=" KEY_A "\npeer_tenant=" TENANT "\n\n", -ENOENT,
            "line 3: peer_tenant: no such tenant; set it before its peers");
    w->engine->fail_flush = -ENOMEM;
    refused(w, "set=1\nsallyport=1\n\n", -ENOMEM, "line 2: the changes could not be applied: Cannot allocate memory");
}

static void tenants_come_and_go_also_between_peers(void **state) {
    struct world *w = *state;
    set(w, "set=1\nsallyport=1\ntenant=" TENANT
           "\naddressing=private\negress=true\nlimit_bits_per_second=1000\nlimit_packets_per_second=10\n"
           "public_key=" KEY_A "\npeer_tenant=" TENANT "\nhub_address=10.0.0.9=10.100.0.2\nhub_address=fd00::9\n"
           "timestamp=400000006500000012345678\n"
           "tenant=11111111-1111-1111-1111-111111111111\npublic_key=" KEY_B
           "\npeer_tenant=11111111-1111-1111-1111-111111111111\n\n");
    assert_int_equal(w->engine->device.tenants, 2);
    const struct engine_tenant *t = &w->engine->tenants[0].is;
    assert_int_equal(t->addressing, ADDRESSING_PRIVATE);
    assert_true(t->egress);
    assert_int_equal(t->limits.bits_per_second, 1000);
    assert_int_equal(t->limits.packets_per_second, 10);
    struct fake_peer *p = peer(w, KEY_A);
    assert_true(uuid_equal(&p->is.tenant, &t->id));
    assert_int_equal(p->is.hub_address_count, 2);
    assert_int_equal(ip_to_v4(&p->is.hub_addresses[0].inside), 0x0a640002);
    assert_int_equal(p->is.timestamp[0], 0x40);
    set(w, "set=1\nsallyport=1\npublic_key=" KEY_A "\nreset_timestamp=true\ntimestamp=300000000000000000000000\n\n");
    assert_int_equal(p->is.timestamp[0], 0x30);
    set(w, "set=1\ntenant=" TENANT "\nremove=true\ntenant=" TENANT "\nremove=true\n\n"); /* gone is gone */
    assert_int_equal(w->engine->device.tenants, 1);
    assert_null(peer(w, KEY_A));
    assert_non_null(peer(w, KEY_B));
}

static void hub_addresses_are_one_of_each_family(void **state) {
    struct world *w = *state;
    refused(w, "set=1\nsallyport=1\npublic_key=" KEY_A "\nhub_address=10.0.0.9\nhub_address=10.0.0.8\n\n", -EINVAL,
            "line 5: hub_address: at most one of each family");
    set(w, "set=1\npublic_key=" KEY_A "\nhub_address=10.0.0.9\n\n");
    assert_int_equal(peer(w, KEY_A)->is.hub_address_count, 1);
    set(w, "set=1\npublic_key=" KEY_A "\nhub_address=\n\n");
    assert_int_equal(peer(w, KEY_A)->is.hub_address_count, 0);
}

static void the_first_hub_line_replaces_the_list(void **state) {
    struct world *w = *state;
    set(w, "set=1\nhub=10.0.0.1/32\nhub=fd00::1/128\n\n");
    assert_int_equal(w->engine->device.hub_count, 2);
    set(w, "set=1\nlisten_port=1\n\n");
    assert_int_equal(w->engine->device.hub_count, 2);
    set(w, "set=1\nhub=10.0.0.2/32\npublic_key=" KEY_A "\n\n");
    assert_int_equal(w->engine->device.hub_count, 1);
    set(w, "set=1\nreplace_hub=true\n\n");
    assert_int_equal(w->engine->device.hub_count, 0);
    struct buf many = {0};
    buf_text(&many, "set=1\nsallyport=1\n");
    for (int i = 0; i < 17; i++) {
        buf_printf(&many, "hub=10.0.0.%d/32\n", i);
    }
    buf_text(&many, "\n");
    refused(w, many.data, -E2BIG, "line 19: hub: at most 16 prefixes");
    buf_free(&many);
}

static void a_peer_may_have_more_allowed_ips_than_fit_a_buffer(void **state) {
    struct world *w = *state;
    struct buf many = {0};
    buf_text(&many, "set=1\npublic_key=" KEY_A "\n");
    for (int i = 0; i < 20000; i++) {
        buf_printf(&many, "allowed_ip=10.%d.%d.0/24\n", i >> 8, i & 255);
    }
    buf_text(&many, "\n");
    set(w, many.data);
    buf_free(&many);
    assert_int_equal(peer(w, KEY_A)->is.allowed_ip_count, FAKE_ALLOWED_IPS_MAX);
    assert_int_equal(w->engine->changes, 1); /* in one piece: a replaced list is never half there */
}

static void a_broken_off_set_takes_effect_up_to_there(void **state) {
    struct world *w = *state;
    assert_int_equal(say(w, "set=1\npublic_key=" KEY_A "\npublic_key=" KEY_B "\nallowed"), UAPI_EVENT_NONE);
    uapi_request_free(w->request);
    w->request = NULL;
    assert_non_null(peer(w, KEY_A));
    assert_null(peer(w, KEY_B));
    assert_int_equal(w->engine->flushes, 1);
}

static void fill(struct world *w) {
    set(w, "set=1\nprivate_key=" KEY_C "\nlisten_port=51820\nhub=10.0.0.1/32\ntenant=" TENANT "\naddressing=private\n"
           "public_key=" KEY_A "\npreshared_key=" KEY_B "\nendpoint=[2001:db8::1]:9\npersistent_keepalive_interval=25\n"
           "allowed_ip=10.100.0.2/32\nallowed_ip=fd00::2/128\npeer_tenant=" TENANT
           "\nhub_address=10.0.0.9=10.100.0.2\n\n");
    peer(w, KEY_A)->is.bytes_received = 12;
    peer(w, KEY_A)->is.bytes_sent = 34;
    peer(w, KEY_A)->is.last_handshake_wall_ns = 5 * NSEC_PER_SEC + 6;
}

static void a_plain_get_shows_standard_keys_only(void **state) {
    struct world *w = *state;
    fill(w);
    char *text = get(w, "get=1\n\n");
    assert_string_equal(text, "private_key=" KEY_C "\nlisten_port=51820\npublic_key=" KEY_A "\npreshared_key=" KEY_B
                              "\nprotocol_version=1\nendpoint=[2001:db8::1]:9\nlast_handshake_time_sec=5\n"
                              "last_handshake_time_nsec=6\ntx_bytes=34\nrx_bytes=12\npersistent_keepalive_interval=25\n"
                              "allowed_ip=10.100.0.2/32\nallowed_ip=fd00::2/128\n");
    free(text);
}

static void an_extended_get_shows_everything(void **state) {
    struct world *w = *state;
    fill(w);
    char *text = get(w, "get=1\nsallyport=1\n\n");
    assert_non_null(strstr(text, "\nhub=10.0.0.1/32\nworkers=2\ncrypto=fake\noffloads=gso,tso,join_tcp,uring\n"
                                 "offloads_off=gro:switched_off,xdp:switched_off,uso:unsupported,join_udp:refused\n"
                                 "peer_count=1\ntenant_count=1\n"));
    assert_non_null(
        strstr(text, "\ntenant=" TENANT "\naddressing=private\negress=false\nlimit_bits_per_second=0\n"
                     "limit_packets_per_second=0\nrx_bytes=1\nrx_packets=2\ntx_bytes=3\ntx_packets=4\ndropped=5\n"));
    assert_non_null(strstr(text, "\npeer_tenant=" TENANT
                                 "\nhub_address=10.0.0.9=10.100.0.2\ntimestamp=000000000000000000000000\n"));
    assert_null(strstr(text, "clock_behind="));
    free(text);
    w->engine->peers[0].is.clock_behind_s = 7200;
    text = get(w, "get=1\nsallyport=1\n\n");
    assert_non_null(strstr(text, "timestamp=000000000000000000000000\nclock_behind=7200\n"));
    assert_non_null(strstr(text, "\ncounter.drop.bad_tag=7\n"));
    assert_non_null(strstr(text, "\ncounter.udp_received=11\n"));
    assert_non_null(strstr(text, "\nnow="));
    assert_true(strstr(text, "tenant=") < strstr(text, "public_key="));
    assert_true(strstr(text, "public_key=") < strstr(text, "counter."));
    free(text);
}

static void a_get_can_be_narrowed(void **state) {
    struct world *w = *state;
    fill(w);
    char *text = get(w, "get=1\nsallyport=1\nonly=tenants\nonly=counters\n\n");
    assert_null(strstr(text, "private_key"));
    assert_null(strstr(text, "public_key"));
    assert_non_null(strstr(text, "tenant="));
    assert_non_null(strstr(text, "counter."));
    free(text);
    char ask[128];
    uint64_t mark = clock_mono_ns();
    snprintf(ask, sizeof ask, "get=1\nsallyport=1\nonly=peers\nsince=%llu\n\n", (unsigned long long)mark);
    text = get(w, ask);
    assert_null(strstr(text, "public_key"));
    assert_memory_equal(text, "now=", 4);
    assert_true(strtoull(text + 4, NULL, 10) >= mark);
    free(text);
    set(w, "set=1\npublic_key=" KEY_A "\npersistent_keepalive_interval=1\n\n");
    text = get(w, ask);
    assert_non_null(strstr(text, "public_key=" KEY_A));
    free(text);
}

static void the_counters_of_each_worker_are_told_on_request(void **state) {
    struct world *w = *state;
    char *text = get(w, "get=1\nsallyport=1\n\n");
    assert_null(strstr(text, "\nworker="));
    free(text);
    text = get(w, "get=1\nsallyport=1\nonly=workers\n\n");
    assert_null(strstr(text, "counter."));
    const char *first = strstr(text, "worker=0\n");
    const char *second = strstr(text, "\nworker=1\n");
    assert_ptr_equal(first, text);
    assert_non_null(second);
    assert_true(strstr(first, "\ndrop.bad_tag=3\n") < second);
    assert_non_null(strstr(second, "\ndrop.bad_tag=4\n"));
    assert_non_null(strstr(second, "\nhanded_over=1\n"));
    free(text);
}

static void selectors_without_the_extension_are_refused(void **state) {
    struct world *w = *state;
    static const char *const wrong[] = {"get=1\nonly=peers\n\n",
                                        "get=1\nsince=1\n\n",
                                        "get=1\npublic_key=" KEY_A "\n\n",
                                        "get=1\nsallyport=1\nonly=all\n\n",
                                        "get=1\nsallyport=1\nsince=-1\n\n",
                                        "get=1\nlisten_port=1\n\n",
                                        "get=1\ntenant=" TENANT "\n\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(say(w, wrong[i]), UAPI_EVENT_GET);
        assert_int_equal(uapi_request_error(w->request), -EINVAL);
    }
    assert_int_equal(w->engine->flushes, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_set_reaches_the_engine),
        TEST(the_last_peer_of_a_set_counts_too),
        TEST(peers_are_removed_updated_and_replaced),
        TEST(bytes_may_arrive_one_by_one),
        TEST(requests_follow_one_another),
        TEST(every_malformed_line_is_refused_and_named),
        TEST(a_request_must_begin_as_one),
        TEST(what_stands_before_a_fault_is_applied_and_in_force),
        TEST(the_fault_is_told_only_to_those_who_asked),
        TEST(lines_are_bounded_and_hold_no_nul),
        TEST(the_engines_refusals_are_passed_on),
        TEST(tenants_come_and_go_also_between_peers),
        TEST(hub_addresses_are_one_of_each_family),
        TEST(the_first_hub_line_replaces_the_list),
        TEST(a_peer_may_have_more_allowed_ips_than_fit_a_buffer),
        TEST(a_broken_off_set_takes_effect_up_to_there),
        TEST(a_plain_get_shows_standard_keys_only),
        TEST(an_extended_get_shows_everything),
        TEST(a_get_can_be_narrowed),
        TEST(the_counters_of_each_worker_are_told_on_request),
        TEST(selectors_without_the_extension_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
