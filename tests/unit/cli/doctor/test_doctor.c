/* Doctor's checks against a made-up host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sched.h>

#include "backend/host/ruleset.h"
#include "cli/doctor/checks.h"
#include "cli/doctor/firewall.h"
#include "cli/doctor/fix.h"
#include "cli/doctor/host.h"
#include "cli/doctor/report.h"
#include "cli/show/field.h"

#define FILES_MAX 32

struct fake_file {
    const char *path;
    char text[512];
    unsigned mode;
};

/* One host; its files are given by path. */
struct fake_host {
    struct fake_file files[FILES_MAX];
    size_t count;
    const char *release, *name, *address;
    bool synchronized;
    int64_t wall_us;
    uint64_t space;
    int open_error, ruleset_error;
};

static struct fake_host fake;
static struct doctor_facts facts;
static struct doctor_report report;

static struct fake_file *find_file(const char *path) {
    for (size_t i = 0; i < fake.count; i++) {
        if (strcmp(fake.files[i].path, path) == 0) {
            return &fake.files[i];
        }
    }
    return NULL;
}

static void put_file(const char *path, const char *text) {
    struct fake_file *file = find_file(path);
    assert_true(file || fake.count < FILES_MAX);
    file = file ? file : &fake.files[fake.count++];
    file->path = path;
    file->mode = 0100644;
    snprintf(file->text, sizeof file->text, "%s", text);
}

static int fake_read(void *context, const char *path, char *text, size_t room) {
    (void)context;
    struct fake_file *file = find_file(path);
    if (file) {
        snprintf(text, room, "%s", file->text);
    }
    return file ? 0 : -2;
}

static int fake_write(void *context, const char *path, const char *text) {
    (void)context;
    struct fake_file *file = find_file(path);
    if (file) {
        snprintf(file->text, sizeof file->text, "%s", text);
    }
    return file ? 0 : -2;
}

static int fake_look(void *context, const char *path, struct doctor_file *ret_file) {
    (void)context;
    struct fake_file *file = find_file(path);
    if (file) {
        *ret_file = (struct doctor_file){.mode = file->mode};
    }
    return file ? 0 : -2;
}

static int fake_open(void *context, const char *path) {
    (void)context;
    (void)path;
    return fake.open_error;
}

static int fake_release(void *context, char *text, size_t room) {
    (void)context;
    snprintf(text, room, "%s", fake.release);
    return 0;
}

static bool fake_synchronized(void *context) {
    (void)context;
    return fake.synchronized;
}

static int64_t fake_wall(void *context) {
    (void)context;
    return fake.wall_us;
}

static int fake_space(void *context, const char *path, uint64_t *ret_free, uint64_t *ret_whole) {
    (void)context;
    (void)path;
    *ret_free = fake.space;
    *ret_whole = UINT64_C(1) << 40;
    return 0;
}

static int fake_resolve(void *context, const char *name, struct ip_addr *ret_addrs, size_t room, size_t *ret_count) {
    (void)context;
    (void)room;
    if (!fake.name || strcmp(name, fake.name) != 0) {
        return -2;
    }
    *ret_count = 1;
    return ip_parse("192.0.2.1", ret_addrs);
}

static int fake_addresses(void *context, struct ip_addr *ret_addrs, size_t room, size_t *ret_count) {
    (void)context;
    (void)room;
    *ret_count = 1;
    return ip_parse(fake.address, ret_addrs);
}

static int fake_ruleset(void *context, struct ruleset **ret_ruleset) {
    (void)context;
    return fake.ruleset_error ? fake.ruleset_error : ruleset_read(ret_ruleset);
}

static int fake_legacy(void *context, struct doctor_legacy **ret_legacy) {
    (void)context;
    (void)ret_legacy;
    return -2;
}

static const struct doctor_host host = {
    .read = fake_read,
    .write = fake_write,
    .look = fake_look,
    .open = fake_open,
    .release = fake_release,
    .clock_synchronized = fake_synchronized,
    .wall_us = fake_wall,
    .space = fake_space,
    .resolve = fake_resolve,
    .addresses = fake_addresses,
    .ruleset = fake_ruleset,
    .legacy = fake_legacy,
};

/* A host on which all is well, with an engine. */
static int setup(void **state) {
    (void)state;
    memset(&fake, 0, sizeof fake);
    fake.release = "6.12.90";
    fake.name = "vpn.example.com";
    fake.address = "192.0.2.1";
    fake.synchronized = true;
    fake.wall_us = INT64_C(1900000000000000);
    fake.space = UINT64_C(1) << 39;
    facts = (struct doctor_facts){.backend = "engine",
                                  .interface = "wg0",
                                  .listen_port = 51820,
                                  .endpoint = "vpn.example.com",
                                  .state_dir = "/state"};
    put_file("/sys/module/wireguard", "");
    put_file("/proc/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n");
    put_file("/sys/class/net/wg0/threaded", "0\n");
    put_file("/proc/sys/net/ipv4/ip_forward", "1\n");
    put_file("/proc/sys/net/ipv6/conf/all/forwarding", "1\n");
    put_file("/proc/sys/net/ipv4/conf/all/rp_filter", "0\n");
    put_file("/proc/sys/net/ipv4/conf/wg0/rp_filter", "2\n");
    put_file("/proc/sys/net/core/rmem_max", "8388608\n");
    put_file("/proc/sys/net/core/wmem_max", "8388608\n");
    put_file("/state/server.key", "");
    find_file("/state/server.key")->mode = 0100600;
    return 0;
}

static void run(void) {
    assert_int_equal(doctor_report_open(&report), 0);
    for (size_t i = 0; i < doctor_check_count; i++) {
        doctor_checks[i].run(&facts, &host, &report);
    }
}

/* The level of the finding of a check whose text holds `piece`, and its line to mend. "" if there is none. */
static const char *level_of(const char *name, const char *piece, const char **ret_mend) {
    size_t i;
    const json_t *f;
    json_array_foreach(report.findings, i, f) {
        if (strcmp(field_text(f, "check"), name) == 0 && strstr(field_text(f, "what"), piece)) {
            *ret_mend = field_text(f, "mend");
            return field_text(f, "level");
        }
    }
    *ret_mend = "";
    return "";
}

/* Runs all checks: this one says `level` and mends with a line that holds `mend`. */
static void expect(const char *name, const char *piece, const char *level, const char *mend) {
    const char *line;
    run();
    assert_string_equal(level_of(name, piece, &line), level);
    assert_non_null(strstr(line, mend));
    doctor_report_free(&report);
}

static void a_host_on_which_all_is_well_has_nothing_to_mend(void **state) {
    (void)state;
    run();
    assert_int_equal(report.bad, 0);
    assert_int_equal(report.notes, 0);
    assert_int_equal(report.setting_count, 0);
    doctor_report_free(&report);
    snprintf(facts.backend, sizeof facts.backend, "kernel");
    run();
    assert_int_equal(report.bad + report.notes, 0);
    doctor_report_free(&report);
}

static void what_only_one_data_plane_needs_is_asked_of_that_one_only(void **state) {
    const char *line;
    (void)state;
    put_file("/proc/sys/net/core/rmem_max", "212992\n");
    fake.open_error = -2;
    expect("buffers", "rmem_max", "note", "net.core.rmem_max=4194304");
    expect("tun", "/dev/net/tun", "bad", "modprobe tun");
    snprintf(facts.backend, sizeof facts.backend, "kernel");
    run();
    assert_string_equal(level_of("buffers", "", &line), "");
    assert_string_equal(level_of("tun", "", &line), "");
    doctor_report_free(&report);
    put_file("/proc/mounts", "tmpfs /tmp tmpfs rw 0 0\n");
    expect("bpf", "/sys/fs/bpf", "bad", "mount -t bpf");
}

static void forwarding_weighs_more_for_the_kernel(void **state) {
    (void)state;
    put_file("/proc/sys/net/ipv4/ip_forward", "0\n");
    expect("forwarding", "IPv4", "note", "net.ipv4.ip_forward=1");
    snprintf(facts.backend, sizeof facts.backend, "kernel");
    expect("forwarding", "IPv4", "bad", "net.ipv4.ip_forward=1");
}

static void ipv6_forwarding_does_not_cost_the_host_its_own_default_route(void **state) {
    (void)state;
    put_file("/proc/sys/net/ipv6/conf/all/forwarding", "0\n");
    put_file("/proc/net/ipv6_route",
             "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 "
             "00000100 00000001 00000000 00000001     eth0\n"
             "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 "
             "00000400 00000001 00000000 00450003   eth0.7\n");
    put_file("/proc/sys/net/ipv6/conf/eth0.7/accept_ra", "1\n");
    run();
    assert_int_equal(report.setting_count, 2);
    assert_string_equal(report.settings[0].key, "net.ipv6.conf.eth0/7.accept_ra");
    assert_string_equal(report.settings[0].value, "2");
    assert_string_equal(report.settings[1].key, "net.ipv6.conf.all.forwarding");
    doctor_report_free(&report);
}

static void the_greater_rp_filter_counts(void **state) {
    (void)state;
    put_file("/proc/sys/net/ipv4/conf/all/rp_filter", "1\n");
    expect("rp_filter", "not strict", "good", "");
    put_file("/proc/sys/net/ipv4/conf/wg0/rp_filter", "0\n");
    expect("rp_filter", "strict", "note", "net.ipv4.conf.wg0.rp_filter=2");
}

static void kernels_that_stall_with_threads_are_known(void **state) {
    static const struct {
        const char *release, *level;
    } cases[] = {{"6.1.141", ""}, {"6.1.142", "note"},  {"6.1.163", "note"}, {"6.1.164", ""},   {"6.12.73", "note"},
                 {"6.12.74", ""}, {"5.15.186", "note"}, {"5.15.185", ""},    {"6.6.94", "note"}};
    const char *line;
    (void)state;
    snprintf(facts.backend, sizeof facts.backend, "kernel");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake.release = cases[i].release;
        run();
        assert_string_equal(level_of("napi", "CVE", &line), cases[i].level);
        doctor_report_free(&report);
    }
    fake.release = "6.1.0-37-cloud-amd64"; /* Debian's own number tells nothing, its version does */
    put_file("/proc/version", "Linux version 6.1.0-37-cloud-amd64 (...) #1 SMP Debian 6.1.150-1 (2025-08-01)\n");
    put_file("/sys/class/net/wg0/threaded", "1\n");
    expect("napi", "CVE", "bad", "upgrade");
    expect("napi", "threaded NAPI", "bad", "echo 0 >/sys/class/net/wg0/threaded");
}

static void a_kernel_without_wireguard_is_bad_for_the_kernels_data_plane_only(void **state) {
    (void)state;
    find_file("/sys/module/wireguard")->path = "/sys/module/other";
    expect("kernel", "without", "good", "");
    snprintf(facts.backend, sizeof facts.backend, "kernel");
    expect("kernel", "without", "bad", "modprobe wireguard");
    put_file("/lib/modules/6.12.90/modules.dep", "kernel/drivers/net/wireguard/wireguard.ko: a.ko\n");
    expect("kernel", "with WireGuard", "good", "");
}

static void clock_disk_key_and_endpoint_are_looked_at(void **state) {
    (void)state;
    fake.synchronized = false;
    expect("clock", "not synchronized", "note", "set-ntp");
    fake.wall_us = 0;
    expect("clock", "not set", "bad", "set-ntp");
    fake.space = 100 << 20;
    expect("disk", "free in /state", "note", "vacuum");
    fake.space = 1 << 20;
    expect("disk", "free in /state", "bad", "vacuum");
    find_file("/state/server.key")->mode = 0100640;
    expect("key", "0640", "bad", "chmod 0600 /state/server.key");
    fake.address = "10.1.1.1";
    expect("endpoint", "192.0.2.1", "note", "NAT");
    fake.name = NULL;
    expect("endpoint", "does not resolve", "note", "DNS");
}

static void a_full_table_of_connections_is_said_only_where_there_is_one(void **state) {
    const char *line;
    (void)state;
    run();
    assert_string_equal(level_of("conntrack", "", &line), "");
    doctor_report_free(&report);
    put_file("/proc/sys/net/netfilter/nf_conntrack_max", "1000\n");
    put_file("/proc/sys/net/netfilter/nf_conntrack_count", "700\n");
    expect("conntrack", "700 of 1000", "good", "");
    put_file("/proc/sys/net/netfilter/nf_conntrack_count", "900\n");
    expect("conntrack", "900 of 1000", "note", "udp dport 51820 notrack");
}

/* --- the firewall --- */

#define INPUT(policy, rules)                                                                                           \
    "table inet t { set ports { type inet_service; elements = { 53, 51820 }\n }\n"                                     \
    "set ranges { type inet_service; flags interval; elements = { 53, 51000-52000 }\n }\n"                             \
    "set others { type inet_service; flags interval; elements = { 53, 51821-52000 }\n }\n"                             \
    "chain open { udp dport 51820 accept\n }\n chain elsewhere { tcp dport 51820 accept\n }\n"                         \
    "chain shut { tcp dport 22 accept\n meta pkttype != unicast drop\n counter drop\n }\n"                             \
    "chain back { udp dport 51820 return\n drop\n }\n"                                                                 \
    "chain in { type filter hook input priority 0; policy " policy ";\n" rules "\n }\n }\n"
#define OTHER(hook, policy, rules)                                                                                     \
    "table ip o { chain c { type filter hook " hook " priority 0; policy " policy ";\n" rules "\n }\n }\n"

/* The nftables of a network namespace of this process's own. */
static bool has_nftables;

static int own_nftables(void **state) {
    (void)state;
    has_nftables = unshare(CLONE_NEWNET) == 0 && system("nft flush ruleset 2>/dev/null") == 0;
    return 0;
}

static void load_nftables(const char *text) {
    FILE *nft = popen("nft -f -", "w");
    assert_non_null(nft);
    fprintf(nft, "flush ruleset\n%s", text);
    assert_int_equal(pclose(nft), 0);
}

static void need_nftables(void) {
    if (!has_nftables) {
        print_message("needs root and nftables\n");
        skip();
    }
}

struct firewall_case {
    const char *text;
    enum doctor_passage passage;
};

static void try_firewall(const struct firewall_case *cases, size_t count, bool forward) {
    for (size_t i = 0; i < count; i++) {
        struct ruleset *ruleset = NULL;
        struct doctor_gate gate;
        load_nftables(cases[i].text);
        assert_int_equal(ruleset_read(&ruleset), 0);
        if (forward) {
            doctor_firewall_forward(ruleset, "wg0", &gate);
        } else {
            doctor_firewall_input(ruleset, 51820, &gate);
        }
        if (gate.passage != cases[i].passage) {
            fail_msg("%d: %s", gate.passage, cases[i].text);
        }
        ruleset_free(ruleset);
    }
}

static void what_rules_do_to_a_port_is_read_from_them(void **state) {
    static const struct firewall_case cases[] = {
        {"", DOCTOR_OPEN},
        {INPUT("accept", ""), DOCTOR_OPEN},
        {INPUT("drop", ""), DOCTOR_CLOSED},
        {OTHER("forward", "drop", ""), DOCTOR_OPEN},
        {INPUT("drop", "udp dport 51820 accept"), DOCTOR_OPEN},
        {INPUT("drop", "tcp dport 51820 accept"), DOCTOR_CLOSED},
        {INPUT("drop", "udp dport 51821 accept"), DOCTOR_CLOSED},
        {INPUT("drop", "udp dport { 22, 51000-52000 } accept"), DOCTOR_OPEN},
        {INPUT("drop", "udp dport { 22, 51000-51819 } accept"), DOCTOR_CLOSED},
        {INPUT("drop", "udp dport 51000-52000 accept"), DOCTOR_OPEN},
        {INPUT("drop", "udp dport != 51000-52000 accept"), DOCTOR_CLOSED},
        {INPUT("drop", "udp dport >= 51821 accept"), DOCTOR_CLOSED},
        {INPUT("drop", "th dport @ports accept"), DOCTOR_OPEN},
        {INPUT("drop", "udp dport @ranges accept"), DOCTOR_OPEN},
        {INPUT("drop", "udp dport @others accept"), DOCTOR_CLOSED},
        {INPUT("drop", "udp dport != @ports accept"), DOCTOR_CLOSED},
        {INPUT("drop", "ip saddr . udp dport { 192.0.2.1 . 51820 } accept"), DOCTOR_UNKNOWN},
        {INPUT("drop", "ct state established,related accept"), DOCTOR_CLOSED},
        {INPUT("drop", "ct state new accept"), DOCTOR_OPEN},
        {INPUT("drop", "ct state vmap { established : accept, new : drop }\nudp dport 51820 accept"), DOCTOR_CLOSED},
        {INPUT("drop", "iifname \"lo\" accept"), DOCTOR_CLOSED},
        {INPUT("drop", "iif lo accept"), DOCTOR_CLOSED},
        {INPUT("drop", "iifname \"eth0\" accept"), DOCTOR_UNKNOWN},
        {INPUT("accept", "iifname != \"lo\" drop"), DOCTOR_CLOSED},
        {INPUT("drop", "meta l4proto udp accept"), DOCTOR_OPEN},
        {INPUT("drop", "meta l4proto { tcp, udp } th dport 51820 accept"), DOCTOR_OPEN},
        {INPUT("drop", "ip protocol udp accept"), DOCTOR_OPEN},
        {INPUT("drop", "accept"), DOCTOR_OPEN},
        {INPUT("accept", "udp dport 51820 drop"), DOCTOR_CLOSED},
        {INPUT("accept", "counter reject"), DOCTOR_CLOSED},
        {INPUT("accept", "ip saddr 192.0.2.1 drop"), DOCTOR_OPEN},
        {INPUT("accept", "limit rate over 5/second drop"), DOCTOR_OPEN},
        {INPUT("accept", "udp dport 51820 accept\ndrop"), DOCTOR_OPEN},
        {INPUT("accept", "ip saddr 192.0.2.0/24 accept\ndrop"), DOCTOR_UNKNOWN},
        {INPUT("drop", "jump open"), DOCTOR_OPEN},
        {INPUT("drop", "jump elsewhere"), DOCTOR_CLOSED},
        {INPUT("drop", "tcp dport 1 jump open"), DOCTOR_CLOSED},
        {INPUT("drop", "ip saddr 192.0.2.1 jump open"), DOCTOR_UNKNOWN},
        {INPUT("accept", "jump shut"), DOCTOR_CLOSED},
        {INPUT("accept", "udp dport 51820 accept\njump shut"), DOCTOR_OPEN},
        {INPUT("accept", "ip saddr 192.0.2.1 jump shut"), DOCTOR_OPEN},
        {INPUT("accept", "goto back\ndrop"), DOCTOR_OPEN},
        {INPUT("accept", "jump back\ndrop"), DOCTOR_CLOSED},
        {INPUT("drop", "udp dport vmap { 53 : drop, 51820 : accept }"), DOCTOR_OPEN},
        {INPUT("accept", "udp dport vmap { 53 : accept, 51820 : jump shut }"), DOCTOR_CLOSED},
        {INPUT("drop", "limit rate 5/second accept"), DOCTOR_UNKNOWN},
        {INPUT("accept", "") OTHER("input", "drop", ""), DOCTOR_CLOSED},
        {"table ip6 t { chain in { type filter hook input priority 0; policy drop; }\n }\n", DOCTOR_OPEN},
        {"table inet sallyport_wg0 { chain in { type filter hook input priority 0; policy drop; }\n }\n", DOCTOR_OPEN},
        /* what is not tracked is in no state that a rule may have in mind */
        {INPUT("drop", "ct state new accept") "table inet sallyport_wg0 { chain p { type filter hook prerouting "
                                              "priority -310;\nudp dport 51820 notrack\n }\n }\n",
         DOCTOR_CLOSED},
        {INPUT("drop", "ct state { new, untracked } accept") "table inet sallyport_wg0 { chain p { type filter hook "
                                                             "prerouting priority -310;\nudp dport 51820 notrack\n "
                                                             "}\n }\n",
         DOCTOR_OPEN},
    };
    (void)state;
    need_nftables();
    try_firewall(cases, sizeof cases / sizeof *cases, false);
}

/* A policy that accepts says nothing: what counts is where the chain leads. */
static void a_firewall_of_nixos_is_closed_until_its_port_is_opened(void **state) {
    static const char nixos[] =
        "table ip filter {\n"
        "chain nixos-fw-accept { counter accept\n }\n"
        "chain nixos-fw-refuse { counter drop\n }\n"
        "chain nixos-fw-log-refuse { meta l4proto tcp counter log prefix \"refused connection: \" level info\n"
        "meta pkttype != unicast counter jump nixos-fw-refuse\ncounter jump nixos-fw-refuse\n }\n"
        "chain nixos-fw { iifname \"lo\" counter jump nixos-fw-accept\n"
        "ct state related,established counter jump nixos-fw-accept\ntcp dport 22 counter jump nixos-fw-accept\n%s\n"
        "meta l4proto icmp icmp type echo-request counter jump nixos-fw-accept\n"
        "counter jump nixos-fw-log-refuse\n }\n"
        "chain INPUT { type filter hook input priority filter; policy accept; counter jump nixos-fw\n }\n }\n";
    char shut[2048], opened[2048];
    (void)state;
    need_nftables();
    snprintf(shut, sizeof shut, nixos, "");
    snprintf(opened, sizeof opened, nixos, "udp dport 51820 counter jump nixos-fw-accept");
    const struct firewall_case cases[] = {{shut, DOCTOR_CLOSED}, {opened, DOCTOR_OPEN}};
    try_firewall(cases, sizeof cases / sizeof *cases, false);
}

/* A list of half a million addresses that are not welcome must not be read. */
static void elements_of_sets_are_asked_for_one_by_one(void **state) {
    (void)state;
    need_nftables();
    struct ruleset *ruleset = NULL;
    struct ruleset_verdict verdict = {0};
    load_nftables(INPUT("drop", "") "table inet t { map m { type ipv4_addr . inet_service : verdict\n }\n"
                                    "map v { type ifname : verdict; elements = { \"eth0\" : jump open }\n }\n }\n");
    assert_int_equal(ruleset_read(&ruleset), 0);
    const struct ruleset_chain *chain = &ruleset->chains[0];
    static const uint8_t port[] = {0xca, 0x6c}, other[] = {0xca, 0x6d};
    static const char eth0[16] = "eth0", eth1[16] = "eth1";
    assert_int_equal(ruleset_find(ruleset, chain, "ports", port, sizeof port, NULL), 1);
    assert_int_equal(ruleset_find(ruleset, chain, "ports", other, sizeof other, NULL), 0);
    assert_int_equal(ruleset_find(ruleset, chain, "ranges", other, sizeof other, NULL), 1);
    assert_true(ruleset_find(ruleset, chain, "m", port, sizeof port, NULL) < 0);
    assert_int_equal(ruleset_find(ruleset, chain, "v", eth1, sizeof eth1, &verdict), 0);
    assert_int_equal(ruleset_find(ruleset, chain, "v", eth0, sizeof eth0, &verdict), 1);
    assert_int_equal(verdict.decision, RULESET_JUMP);
    assert_string_equal(verdict.chain, "open");
    ruleset_free(ruleset);
    ruleset_free(NULL);
}

#define FORWARD(policy, rules)                                                                                         \
    "table inet t { chain f { type filter hook forward priority 0; policy " policy ";\n" rules "\n }\n }\n"

static void what_rules_do_to_forwarded_packets_is_read_from_them(void **state) {
    static const struct firewall_case cases[] = {
        {FORWARD("accept", ""), DOCTOR_OPEN},
        {FORWARD("drop", ""), DOCTOR_CLOSED},
        {FORWARD("drop", "iifname \"wg0\" accept"), DOCTOR_UNKNOWN},
        {FORWARD("drop", "iifname \"wg0\" accept\noifname \"wg0\" accept"), DOCTOR_OPEN},
        {FORWARD("drop", "iifname { \"eth0\", \"wg0\" } accept\noifname \"wg0\" accept"), DOCTOR_OPEN},
        {FORWARD("drop", "iifname \"wg*\" accept\nct state established accept"), DOCTOR_OPEN},
        {FORWARD("drop", "ct state vmap { invalid : drop, established : accept }\niifname \"wg*\" accept"),
         DOCTOR_OPEN},
        {FORWARD("drop", "iifname \"wg1\" accept\noifname \"wg1\" accept"), DOCTOR_UNKNOWN},
        {FORWARD("accept", "iifname \"wg0\" oifname != \"wg0\" drop"), DOCTOR_OPEN},
        {FORWARD("accept", "iifname \"wg0\" drop"), DOCTOR_CLOSED},
    };
    (void)state;
    need_nftables();
    try_firewall(cases, sizeof cases / sizeof *cases, true);
}

static void a_firewall_in_the_way_names_its_chain_and_the_rule_that_opens_it(void **state) {
    (void)state;
    need_nftables();
    load_nftables(INPUT("drop", ""));
    expect("firewall", "chain inet t in drops UDP port 51820", "bad",
           "nft insert rule inet 't' 'in' udp dport 51820 accept");
    fake.ruleset_error = -1;
    expect("firewall", "not open to you", "note", "as root");
}

/* --- mending --- */

static void only_what_is_wrong_is_written_each_under_its_reason(void **state) {
    struct buf first = {0}, again = {0};
    (void)state;
    put_file("/proc/sys/net/ipv4/ip_forward", "0\n");
    put_file("/proc/sys/net/ipv4/conf/wg0/rp_filter", "1\n");
    run();
    doctor_fix_text(&report, NULL, &first);
    assert_non_null(strstr(first.data, "\nnet.ipv4.ip_forward = 1\n"));
    assert_non_null(strstr(first.data, "\n-net.ipv4.conf.wg0.rp_filter = 2\n"));
    assert_null(strstr(first.data, "forwarding = "));
    assert_null(strstr(first.data, "rmem"));
    doctor_fix_text(&report, first.data, &again);
    assert_string_equal(again.data, first.data);
    buf_clear(&again);
    /* what somebody wrote by hand stays, but for a wrong value of ours */
    doctor_fix_text(&report, "# mine\nnet.core.somaxconn = 4096\n net.ipv4.ip_forward=0\nnet.ipv4.ip_forward = 0\n",
                    &again);
    const char *kept = "# mine\nnet.core.somaxconn = 4096\nnet.ipv4.ip_forward = 1\n# ";
    assert_memory_equal(again.data, kept, strlen(kept));
    doctor_report_free(&report);
    buf_free(&first);
    buf_free(&again);
}

static void fixing_sets_the_running_kernel_too(void **state) {
    char path[] = "/tmp/sallyport-doctor-XXXXXX";
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    put_file("/proc/sys/net/ipv4/ip_forward", "0\n");
    run();
    assert_int_equal(doctor_fix(&report, &host, path), 0);
    doctor_report_free(&report);
    assert_string_equal(find_file("/proc/sys/net/ipv4/ip_forward")->text, "1");
    expect("forwarding", "IPv4", "good", "");
    assert_int_equal(remove(path), 0);
}

#define T(name) cmocka_unit_test_setup(name, setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_host_on_which_all_is_well_has_nothing_to_mend),
        T(what_only_one_data_plane_needs_is_asked_of_that_one_only),
        T(forwarding_weighs_more_for_the_kernel),
        T(ipv6_forwarding_does_not_cost_the_host_its_own_default_route),
        T(the_greater_rp_filter_counts),
        T(kernels_that_stall_with_threads_are_known),
        T(a_kernel_without_wireguard_is_bad_for_the_kernels_data_plane_only),
        T(clock_disk_key_and_endpoint_are_looked_at),
        T(a_full_table_of_connections_is_said_only_where_there_is_one),
        T(what_rules_do_to_a_port_is_read_from_them),
        T(a_firewall_of_nixos_is_closed_until_its_port_is_opened),
        T(elements_of_sets_are_asked_for_one_by_one),
        T(what_rules_do_to_forwarded_packets_is_read_from_them),
        T(a_firewall_in_the_way_names_its_chain_and_the_rule_that_opens_it),
        T(only_what_is_wrong_is_written_each_under_its_reason),
        T(fixing_sets_the_running_kernel_too),
    };
    return cmocka_run_group_tests(tests, own_nftables, NULL);
}
