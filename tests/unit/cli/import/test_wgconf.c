/* WireGuard configurations as people, wg-quick and containers write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/import/wgconf.h"

#define KEY_A "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
#define KEY_B "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="

static int read_text(const char *text, struct wgconf **ret_conf, struct buf *fault) {
    FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    assert_non_null(file);
    int error = wgconf_read(file, ret_conf, fault);
    fclose(file);
    return error;
}

static struct wgconf *read_fine(const char *text) {
    struct wgconf *conf = NULL;
    struct buf fault = {0};
    if (read_text(text, &conf, &fault) < 0) {
        fail_msg("%s", fault.data);
    }
    return conf;
}

static void everything_is_read_whatever_its_case_and_blanks(void **state) {
    char text[PREFIX_TEXT_SIZE];
    (void)state;
    struct wgconf *conf =
        read_fine("\t[interface]\r\nprivatekey=" KEY_A "  # secret\nLISTENPORT = 4500\n"
                  "Address = 10.8.0.1/24,fd00::1/64\nAddress = 10.9.0.1\nMTU=1400\nPostUp = a = b; c\n"
                  "[PEER]\n PublicKey = " KEY_B "\nPresharedKey = " KEY_A "\n"
                  "AllowedIPs = 10.8.0.2/32 , 192.168.1.7/24\nallowedips=fd00::2/128\n"
                  "Endpoint = 192.0.2.1:51820\nPersistentKeepalive = 25\n");
    assert_int_equal(conf->listen_port, 4500);
    assert_int_equal(conf->mtu, 1400);
    assert_false(key_is_zero(&conf->private_key));
    assert_int_equal(conf->address_count, 3);
    assert_string_equal(prefix_format(&conf->addresses[0], text), "10.8.0.1/24");
    assert_string_equal(prefix_format(&conf->addresses[1], text), "fd00::1/64");
    assert_string_equal(prefix_format(&conf->addresses[2], text), "10.9.0.1/32");
    assert_int_equal(conf->peer_count, 1);
    const struct wgconf_peer *peer = &conf->peers[0];
    assert_int_equal(peer->line, 8);
    assert_int_equal(peer->allowed_count, 3);
    assert_string_equal(prefix_format(&peer->allowed[1], text), "192.168.1.0/24");
    assert_false(key_is_zero(&peer->preshared_key));
    assert_int_equal(peer->endpoint.sa.sa_family, AF_INET);
    wgconf_free(conf);
}

static void a_key_may_be_given_by_a_comment_of_any_tool(void **state) {
    static const struct {
        const char *text, *name;
    } cases[] = {
        {"# Client: roof (5f5a1b1e-1111-4222-8333-444455556666)\n[Peer]\nPublicKey = " KEY_A, "roof"},
        {"[Peer]\n# peer_phone\nPublicKey = " KEY_A, "phone"},
        {"[Peer]\n# peer1\nPublicKey = " KEY_A, "peer1"},
        {"### begin laptop ###\n[Peer]\nPublicKey = " KEY_A "\n### end laptop ###", "laptop"},
        {"### Client laptop\n[Peer]\nPublicKey = " KEY_A, "laptop"},
        {"[Peer] # roof of the hotel\nPublicKey = " KEY_A, "roof of the hotel"},
        {"[Peer]\nPublicKey = " KEY_A " # roof", "roof"},
        {"#Name# = no\n# friendly_name = roof\n# added in May\n[Peer]\nPublicKey = " KEY_A, "roof"},
        {"# the one above\n[Peer]\n# Name = the one inside\nPublicKey = " KEY_A, "the one inside"},
        {"[Peer]\n#Endpoint = a:1\nPublicKey = " KEY_A, ""},
        {"# Client (east): roof (old)\n[Peer]\nPublicKey = " KEY_A, "(east): roof (old)"},
        {"# one\n[Peer]\nPublicKey = " KEY_B "\n[Peer]\nPublicKey = " KEY_A, ""},
        {"# of the server\n[Interface]\nListenPort = 1\n[Peer]\nPublicKey = " KEY_A, ""},
        {"# \x1b[2J\n[Peer]\nPublicKey = " KEY_A, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wgconf *conf = read_fine(cases[i].text);
        assert_string_equal(conf->peers[conf->peer_count - 1].name, cases[i].name);
        wgconf_free(conf);
    }
}

static void a_fault_is_named_by_its_line_and_never_shows_a_key(void **state) {
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"[Interface]\nPrivateKey = " KEY_A "A\n", "line 2: PrivateKey"},
        {"[Peer]\n\nPresharedKey = secretsecret\n", "line 3: PresharedKey"},
        {"[Peer]\nAllowedIPs = 10.0.0.0/33\n", "line 2: AllowedIPs"},
        {"[Peer]\nPublicKey = " KEY_A "\n[Peer]\nAllowedIPs = \n[Peer]\n", "line 3: this [Peer] has no PublicKey"},
        {"[Interface]\nListenPort = -1\n", "line 2: ListenPort"},
        {"ListenPort = 1\n", "line 1: \"ListenPort\""},
        {"[Other]\n", "line 1: there is no section"},
        {"{\"name\": 1}\n", "line 1: is neither"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wgconf *conf = NULL;
        struct buf fault = {0};
        assert_true(read_text(cases[i].text, &conf, &fault) < 0);
        assert_null(conf);
        assert_true(strncmp(fault.data, cases[i].said, strlen(cases[i].said)) == 0);
        assert_null(strstr(fault.data, "secret"));
        assert_null(strstr(fault.data, "yAnz5"));
        buf_free(&fault);
    }
}

static void many_peers_keep_their_order_and_lines(void **state) {
    (void)state;
    struct buf text = {0};
    for (int i = 0; i < 1000; i++) {
        buf_printf(&text, "[Peer]\nPublicKey = " KEY_A "\nAllowedIPs = 10.0.%d.%d/32\n", i / 250, i % 250 + 1);
    }
    struct wgconf *conf = read_fine(text.data);
    assert_int_equal(conf->peer_count, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(conf->peers[i].line, 3 * i + 1);
        assert_int_equal(ip_to_v4(&conf->peers[i].allowed[0].addr), 0x0a000000u + i / 250 * 256 + i % 250 + 1);
    }
    wgconf_free(conf);
    buf_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_read_whatever_its_case_and_blanks),
        cmocka_unit_test(a_key_may_be_given_by_a_comment_of_any_tool),
        cmocka_unit_test(a_fault_is_named_by_its_line_and_never_shows_a_key),
        cmocka_unit_test(many_peers_keep_their_order_and_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
