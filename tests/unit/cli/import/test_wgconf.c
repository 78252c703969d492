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
        {"[Interface]\nAdress = 10.0.0.1/24\n", "line 2: there is no setting \"Adress\"; Address is meant"},
        {"[Interface]\nAllowedIPs = 10.0.0.1/24\n",
         "line 2: AllowedIPs stands in [Interface], where it has no meaning; it belongs into [Peer]"},
        {"[Interface]\nJc = 4\n", "line 2: WireGuard has no setting \"Jc\" in [Interface]"},
        {"[Interface]\n" KEY_A "\n", "line 2: WireGuard has no setting \"...\""},
        {"[Interface]\nPrivateKey " KEY_A "\n", "line 2: "},
        {"[" KEY_A "]\n", "line 1: there is no section ...;"},
        {"[Peer]\nPublicKey = " KEY_A "\nAllowedIPs = " KEY_B "\n",
         "line 3: AllowedIPs has prefixes such as 10.8.0.2/32, not \"...\""},
        {"[Peer]\nAllowedIPs = -10.0.0.1/24\n", "line 2: AllowedIPs"},
        {"[Peer]\nEndpoint = 192.0.2.1\n", "line 2: Endpoint is HOST:PORT"},
        {"[Peer]\nEndpoint = [2001:db8::1\n", "line 2: Endpoint is HOST:PORT"},
        {"[Peer]\nEndpoint = a b/c:1\n", "line 2: Endpoint has neither"},
        {"[Peer]\nPersistentKeepalive = 65536\n", "line 2: PersistentKeepalive"},
        {"[Interface]\nFwMark = 0x\n", "line 2: FwMark"},
        {"[Interface]\nFwMark = -1\n", "line 2: FwMark"},
        {"[Interface]\nPublic\xc2\xa0Key = 1\n", "line 2: there is no setting"},
        {"\xff\xfe[\n", "line 1: this file is in UTF-16"},
        {"{\"name\": 1}\n", "line 1: is neither"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wgconf *conf = NULL;
        struct buf fault = {0};
        assert_true(read_text(cases[i].text, &conf, &fault) < 0);
        assert_null(conf);
        if (strncmp(fault.data, cases[i].said, strlen(cases[i].said)) != 0) {
            fail_msg("%s, not %s", fault.data, cases[i].said);
        }
        assert_null(strstr(fault.data, "secret"));
        assert_null(strstr(fault.data, "yAnz5"));
        buf_free(&fault);
    }
}

static void an_unseen_character_is_named(void **state) {
    struct wgconf *conf = NULL;
    struct buf fault = {0};
    (void)state;
    assert_true(read_text("[Peer]\nPublicKey\xc2\xa0= " KEY_A "\n", &conf, &fault) < 0);
    assert_non_null(strstr(fault.data, "line 2: "));
    assert_non_null(strstr(fault.data, "no-break space (U+00A0), which cannot be seen"));
    buf_free(&fault);
}

/* --- what wg reads, too --- */

static void blanks_count_nowhere(void **state) {
    char text[PREFIX_TEXT_SIZE], key[KEY_BASE64_SIZE];
    (void)state;
    struct wgconf *conf = read_fine("[ Inter face ]\nPrivate Key = yAnz5TF+lXXJte14tji3 zlMNq+hd2rYUIgJBgB3fBmk=\n"
                                    "Listen\vPort = 45 00\nAddress = 10.8.0.1/24 fd00::1/64\nAddress=10.9.0.1/24,\n"
                                    "[Peer ]\nPublic Key = " KEY_B "\nAllowed IPs = 10.8.0.2 /32 , 10.8.0. 3");
    assert_string_equal(key_to_base64(&conf->private_key, key), KEY_A);
    assert_int_equal(conf->listen_port, 4500);
    assert_int_equal(conf->address_count, 3);
    assert_string_equal(prefix_format(&conf->addresses[1], text), "fd00::1/64");
    assert_int_equal(conf->peer_count, 1);
    assert_int_equal(conf->peers[0].allowed_count, 2);
    assert_string_equal(prefix_format(&conf->peers[0].allowed[1], text), "10.8.0.3/32");
    assert_int_equal(conf->notes[WGCONF_BLANKS].count, 6);
    assert_int_equal(conf->notes[WGCONF_COMMAS].count, 1);
    wgconf_free(conf);
}

static void empty_values_count_as_not_given(void **state) {
    (void)state;
    struct wgconf *conf = read_fine("[Interface]\nPrivateKey =\nMTU =\nPreUp = \nListenPort=\nFwMark = # none\n[Peer]\n"
                                    "PublicKey = " KEY_B "\nPresharedKey = \nAllowedIPs =\nEndpoint =\n"
                                    "PersistentKeepalive =\n");
    assert_int_equal(conf->mtu, 0);
    assert_false(conf->fwmark.given);
    assert_int_equal(conf->peers[0].allowed_count, 0);
    assert_int_equal(conf->notes[WGCONF_EMPTY].count, 7);
    assert_int_equal(conf->notes[WGCONF_EMPTY].lines[0], 2);
    wgconf_free(conf);
}

static void marks_are_read_as_wg_writes_them(void **state) {
    static const struct {
        const char *value;
        uint32_t mark;
    } cases[] = {{"off", 0},
                 {"OFF", 0},
                 {"0", 0},
                 {"0xca6c", 0xca6c},
                 {"51820", 51820},
                 {"010", 10},
                 {"0xffffffff", UINT32_MAX}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf text = {0};
        buf_printf(&text, "[Interface]\nFwMark = %s", cases[i].value);
        struct wgconf *conf = read_fine(text.data);
        assert_true(conf->fwmark.given);
        assert_int_equal(conf->fwmark.mark, cases[i].mark);
        wgconf_free(conf);
        buf_free(&text);
    }
}

static void endpoints_are_addresses_or_names(void **state) {
    static const struct {
        const char *value, *address, *host;
    } cases[] = {
        {"192.0.2.1:51820", "192.0.2.1:51820", NULL},
        {"[2001:db8::1]:51820", "[2001:db8::1]:51820", NULL},
        {"2001:db8::1:51820", "[2001:db8::1]:51820", NULL},
        {"site.dyn.example.net:13231", "", "site.dyn.example.net"},
        {"[fe80::1%eth0]:51820", "", NULL},
        {"192.0.2.1:0", "", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[ENDPOINT_TEXT_SIZE];
        struct buf file = {0};
        buf_printf(&file, "[Peer]\nPublicKey = " KEY_A "\nEndpoint = %s\nPersistentKeepalive = 25\n", cases[i].value);
        struct wgconf *conf = read_fine(file.data);
        const struct wgconf_peer *peer = &conf->peers[0];
        assert_string_equal(endpoint_format(&peer->endpoint, text), cases[i].address);
        assert_string_equal(peer->endpoint_host ? peer->endpoint_host : "", cases[i].host ? cases[i].host : "");
        assert_int_equal(peer->endpoint_port, cases[i].host ? 13231 : 0);
        assert_int_equal(peer->keepalive, 25);
        assert_int_equal(conf->notes[WGCONF_ENDPOINT].count, !cases[i].host && !*cases[i].address);
        assert_int_equal(conf->notes[WGCONF_KEEPALIVE].lines[0], 4);
        wgconf_free(conf);
        buf_free(&file);
    }
}

static void a_key_that_comes_again_replaces_the_former_peer(void **state) {
    char text[PREFIX_TEXT_SIZE], key[KEY_BASE64_SIZE];
    (void)state;
    struct wgconf *conf =
        read_fine("# roof\n[Peer]\nPublicKey = " KEY_A "\nPresharedKey = " KEY_B "\nAllowedIPs = 10.0.0.2\n"
                  "# cellar\n[Peer]\nPublicKey = " KEY_B "\nAllowedIPs = 10.0.0.3\n"
                  "[Peer]\nPublicKey = " KEY_A "\nAllowedIPs = 10.0.0.4\n");
    assert_int_equal(conf->peer_count, 2);
    assert_string_equal(conf->peers[0].name, "cellar");
    assert_string_equal(conf->peers[1].name, "roof");
    assert_int_equal(conf->peers[1].line, 10);
    assert_int_equal(conf->peers[1].allowed_count, 1);
    assert_string_equal(prefix_format(&conf->peers[1].allowed[0], text), "10.0.0.4/32");
    assert_string_equal(key_to_base64(&conf->peers[1].preshared_key, key), KEY_B);
    assert_int_equal(conf->notes[WGCONF_PEER_AGAIN].lines[0], 10);
    wgconf_free(conf);
}

static void what_is_not_taken_over_is_noted_with_its_lines(void **state) {
    struct buf said = {0};
    (void)state;
    struct wgconf *conf =
        read_fine("\xef\xbb\xbf[Interface]\r\nTable = off\r\nPostUp = a = b\r\nPostDown = c\r\n"
                  "SaveConfig = true\r\nDNS = 10.8.0.1, example.com\r\nAddress = 10.8.0.1/24\r\n"
                  "[Peer]\r\nPublicKey = " KEY_A "\r\nAllowedIPs = 192.168.1.1/24\r\n# " KEY_B "\r\n");
    wgconf_notes_format(conf, "wg0.conf", &said);
    for (const char *const *part =
             (const char *const[]){"wg0.conf:1: the file begins with a byte order mark", "wg0.conf:2: Table",
                                   "wg0.conf:3, 4: PreUp, PostUp", "wg0.conf:5: SaveConfig", "wg0.conf:6: DNS",
                                   "wg0.conf:10: bits", "wg0.conf:11: this comment", NULL};
         *part; part++) {
        assert_non_null(strstr(said.data, *part));
    }
    assert_null(strstr(said.data, "yAnz5"));
    assert_null(strstr(said.data, "xTIBA5"));
    wgconf_free(conf);
    buf_free(&said);
}

static void many_peers_keep_their_order_and_lines(void **state) {
    (void)state;
    struct buf text = {0};
    for (int i = 0; i < 1000; i++) {
        char base64[KEY_BASE64_SIZE];
        const struct key key = {{(uint8_t)i, (uint8_t)(i >> 8), 1}};
        buf_printf(&text, "[Peer]\nPublicKey = %s\nAllowedIPs = 10.0.%d.%d/32\n", key_to_base64(&key, base64), i / 250,
                   i % 250 + 1);
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
        cmocka_unit_test(an_unseen_character_is_named),
        cmocka_unit_test(blanks_count_nowhere),
        cmocka_unit_test(empty_values_count_as_not_given),
        cmocka_unit_test(marks_are_read_as_wg_writes_them),
        cmocka_unit_test(endpoints_are_addresses_or_names),
        cmocka_unit_test(a_key_that_comes_again_replaces_the_former_peer),
        cmocka_unit_test(what_is_not_taken_over_is_noted_with_its_lines),
        cmocka_unit_test(many_peers_keep_their_order_and_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
