#include "cli/doctor/checks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/host/ruleset.h"
#include "base/clock.h"
#include "cli/doctor/firewall.h"
#include "cli/doctor/host.h"
#include "cli/doctor/report.h"
#include "cli/show/field.h"

#define BUFFERS_LEAST "4194304" /* bytes: about 3 ms of 10 Gbit/s, the longest a worker is away from its socket */
#define SPACE_BAD (UINT64_C(64) << 20)
#define SPACE_NOTE (UINT64_C(512) << 20)
#define BUILT_AT_LEAST INT64_C(1735689600) /* 2025-01-01: a clock before it is not set */
#define ADDRESSES_MAX 64

static bool is_engine(const struct doctor_facts *facts) {
    return strcmp(facts->backend, "kernel") != 0;
}

static int read_text(const struct doctor_host *host, const char *path, char *text, size_t room) {
    return host->read(host->context, path, text, room);
}

/* A number in a file, or -1. */
static int64_t read_number(const struct doctor_host *host, const char *path) {
    char text[64], *end;
    if (read_text(host, path, text, sizeof text) < 0) {
        return -1;
    }
    int64_t number = strtoll(text, &end, 10);
    return end == text ? -1 : number;
}

static bool exists(const struct doctor_host *host, const char *path) {
    struct doctor_file file;
    return host->look(host->context, path, &file) == 0;
}

/* --- kernel --- */

/* Whether the running kernel has WireGuard: loaded, built in, or a module that can be loaded. */
static bool has_wireguard(const struct doctor_host *host, const char *release) {
    static const char *const lists[] = {"modules.builtin", "modules.dep"};
    static char text[2 << 20];
    char path[300];
    if (exists(host, "/sys/module/wireguard")) {
        return true;
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        snprintf(path, sizeof path, "/lib/modules/%s/%s", release, lists[i]);
        if (read_text(host, path, text, sizeof text) == 0 && strstr(text, "/net/wireguard/wireguard.ko")) {
            return true;
        }
    }
    return false;
}

static void check_kernel(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    char release[128] = "";
    unsigned major = 0, minor = 0;
    (void)host->release(host->context, release, sizeof release);
    (void)sscanf(release, "%u.%u", &major, &minor);
    bool wireguard = has_wireguard(host, release);
    if (is_engine(facts)) {
        bool old = major < 5 || (major == 5 && minor < 12);
        doctor_find(r, old ? DOCTOR_NOTE : DOCTOR_GOOD, "kernel",
                    "UDP_GRO is whole from 5.12 on; without it the engine receives each packet by itself",
                    "apt-get install linux-image-amd64, and a reboot", "kernel %s, %s WireGuard of its own", release,
                    wireguard ? "with" : "without");
        return;
    }
    doctor_find(r, wireguard ? DOCTOR_GOOD : DOCTOR_BAD, "kernel",
                "the kernel is the data plane, and it has no WireGuard that could be loaded; kind = engine needs none",
                "modprobe wireguard", "kernel %s, %s WireGuard of its own", release, wireguard ? "with" : "without");
}

/* Stable kernels that took threaded NAPI up without the fix: CVE-2026-52945. */
static bool may_stall(const char *release) {
    static const struct {
        unsigned major, minor, from, to;
    } ranges[] = {{5, 15, 186, 200}, {6, 1, 142, 163}, {6, 6, 94, 126}, {6, 12, 34, 73}};
    unsigned major, minor, patch;
    if (sscanf(release, "%u.%u.%u", &major, &minor, &patch) != 3) {
        return false;
    }
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (major == ranges[i].major && minor == ranges[i].minor && patch >= ranges[i].from && patch <= ranges[i].to) {
            return true;
        }
    }
    return false;
}

/* What a distribution's release says about the version it was built from: Debian's is in /proc/version. */
static void version_of(const struct doctor_host *host, const char *release, char text[128]) {
    char line[512] = "";
    unsigned major, minor, patch;
    snprintf(text, 128, "%.127s", release);
    if (read_text(host, "/proc/version", line, sizeof line) == 0) {
        const char *debian = strstr(line, "Debian ");
        if (debian && sscanf(debian, "Debian %u.%u.%u", &major, &minor, &patch) == 3) {
            snprintf(text, 128, "%u.%u.%u", major, minor, patch);
        }
    }
}

static void check_napi(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    char release[128] = "", version[128], path[64], mend[128];
    if (is_engine(facts)) {
        return;
    }
    (void)host->release(host->context, release, sizeof release);
    version_of(host, release, version);
    snprintf(path, sizeof path, "/sys/class/net/%s/threaded", facts->interface);
    snprintf(mend, sizeof mend, "echo 0 >%s", path);
    bool threaded = read_number(host, path) == 1;
    doctor_find(r, threaded ? DOCTOR_BAD : DOCTOR_GOOD, "napi",
                "each router is a kernel thread of its own then, thousands of them", mend, "threaded NAPI on %s is %s",
                facts->interface, threaded ? "on" : "off");
    if (may_stall(version)) {
        doctor_find(r, threaded ? DOCTOR_BAD : DOCTOR_NOTE, "napi",
                    "with threaded NAPI a router's reception may stall in this kernel (CVE-2026-52945); sallyportd "
                    "switches it off, others may switch it on again",
                    "apt-get install --only-upgrade linux-image-amd64, and a reboot", "kernel %s has CVE-2026-52945",
                    version);
    }
}

static void check_tun(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    static const char device[] = "/dev/net/tun";
    if (!is_engine(facts)) {
        return;
    }
    int error = host->open(host->context, device);
    if (error == -EACCES || error == -EPERM) {
        doctor_find(r, DOCTOR_NOTE, "tun", "only root may open it, so this could not be checked",
                    "run \"sallyport doctor\" as root", "%s is not open to you", device);
    } else {
        doctor_find(r, error < 0 ? DOCTOR_BAD : DOCTOR_GOOD, "tun",
                    "the engine makes its interface with it (a container needs --device /dev/net/tun and NET_ADMIN)",
                    "modprobe tun", error < 0 ? "%s does not open: %s" : "%s opens%s", device,
                    error < 0 ? strerror(-error) : "");
    }
}

static void check_bpf(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    char mounts[16384] = "";
    if (is_engine(facts)) {
        return;
    }
    (void)read_text(host, "/proc/mounts", mounts, sizeof mounts);
    bool mounted = strstr(mounts, " /sys/fs/bpf bpf ") != NULL;
    doctor_find(r, mounted ? DOCTOR_GOOD : DOCTOR_BAD, "bpf",
                "the programs that keep tenants apart are pinned there, so that they outlive sallyportd",
                "mount -t bpf bpf /sys/fs/bpf", "/sys/fs/bpf is %s", mounted ? "mounted" : "not mounted");
}

/* --- forwarding --- */

/* The interface whose IPv6 default route came by router advertisements (RTF_ADDRCONF): with forwarding on, the kernel
 * stops listening to them unless accept_ra is 2 (Documentation/networking/ip-sysctl.rst). */
static bool find_advertised(const struct doctor_host *host, char interface[16]) {
    static char text[1 << 20];
    if (read_text(host, "/proc/net/ipv6_route", text, sizeof text) < 0) {
        return false;
    }
    for (char *rest = NULL, *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char to[33];
        unsigned length, flags;
        if (sscanf(line, "%32s %x %*s %*x %*s %*s %*s %*s %x %15s", to, &length, &flags, interface) == 4 &&
            length == 0 && strspn(to, "0") == 32 && (flags & 0x00040000) && strcmp(interface, "lo") != 0) {
            return true;
        }
    }
    return false;
}

/* A key with the interface's own dots as sysctl.d(5) wants them. */
static void key_of(char *key, size_t room, const char *format, const char *interface) {
    char clean[16];
    snprintf(clean, sizeof clean, "%s", interface);
    for (char *at = clean; *at; at++) {
        *at = *at == '.' ? '/' : *at;
    }
    snprintf(key, room, format, clean);
}

static void check_forwarding(const struct doctor_facts *facts, const struct doctor_host *host,
                             struct doctor_report *r) {
    char interface[16], path[96], key[96];
    bool v4 = read_number(host, "/proc/sys/net/ipv4/ip_forward") == 1;
    int64_t v6 = read_number(host, "/proc/sys/net/ipv6/conf/all/forwarding");
    enum doctor_level bad = is_engine(facts) ? DOCTOR_NOTE : DOCTOR_BAD;
    const char *why = is_engine(facts)
                          ? "routers reach each other and this host without it, but nothing behind this host"
                          : "routers reach this host without it, but neither each other nor what is behind it";
    doctor_find_setting(r, v4 ? DOCTOR_GOOD : bad, "forwarding", why, "net.ipv4.ip_forward", "1",
                        "IPv4 forwarding is %s", v4 ? "on" : "off");
    if (v6 < 0) {
        return; /* no IPv6 in this kernel */
    }
    if (v6 != 1 && find_advertised(host, interface)) {
        snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_ra", interface);
        key_of(key, sizeof key, "net.ipv6.conf.%s.accept_ra", interface);
        if (read_number(host, path) != 2) {
            doctor_add_setting(r, key, "2", "keeps this host's own default route while it forwards");
        }
    }
    doctor_find_setting(r, v6 == 1 ? DOCTOR_GOOD : bad, "forwarding", why, "net.ipv6.conf.all.forwarding", "1",
                        "IPv6 forwarding is %s", v6 == 1 ? "on" : "off");
}

static void check_rp_filter(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    char path[96], key[96];
    if (!facts->interface[0]) {
        return;
    }
    snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/rp_filter", facts->interface);
    key_of(key, sizeof key, "net.ipv4.conf.%s.rp_filter", facts->interface);
    int64_t all = read_number(host, "/proc/sys/net/ipv4/conf/all/rp_filter"), own = read_number(host, path);
    /* the greater of the two counts */
    bool strict = all <= 1 && own <= 1 && (all == 1 || own == 1);
    doctor_find_setting(r, strict ? DOCTOR_NOTE : DOCTOR_GOOD, "rp_filter",
                        "packets from a LAN to which this host has another, better route are dropped without a word",
                        key, "2", "reverse path filtering on %s is %s", facts->interface,
                        strict ? "strict" : "not strict");
}

static void check_conntrack(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    char mend[320];
    int64_t most = read_number(host, "/proc/sys/net/netfilter/nf_conntrack_max");
    int64_t count = read_number(host, "/proc/sys/net/netfilter/nf_conntrack_count");
    if (most <= 0 || count < 0) {
        return; /* nobody tracks connections */
    }
    bool full = count * 5 > most * 4, small = (uint64_t)most < 2 * facts->routers;
    snprintf(
        mend, sizeof mend,
        "nft 'table inet untracked { chain before { type filter hook prerouting priority raw; udp dport %u notrack; }; "
        "chain after { type filter hook output priority raw; udp sport %u notrack; }; }'",
        facts->listen_port, facts->listen_port);
    doctor_find(r, full || small ? DOCTOR_NOTE : DOCTOR_GOOD, "conntrack",
                "each router's outer flow is an entry, which it does not need, and with a full table new ones are "
                "dropped; what is masqueraded for routers with egress needs its entries: raise "
                "net.netfilter.nf_conntrack_max for that",
                mend, "%" PRId64 " of %" PRId64 " tracked connections are in use", count, most);
}

static void check_buffers(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    static const char *const names[] = {"rmem_max", "wmem_max"};
    for (size_t i = 0; i < 2 && is_engine(facts); i++) {
        char path[64], key[64], is[FIELD_TEXT_SIZE];
        snprintf(path, sizeof path, "/proc/sys/net/core/%s", names[i]);
        snprintf(key, sizeof key, "net.core.%s", names[i]);
        int64_t value = read_number(host, path);
        /* net.core is that of the first network namespace; containers do not see it */
        if (value >= 0) {
            doctor_find_setting(r, value >= atoll(BUFFERS_LEAST) ? DOCTOR_GOOD : DOCTOR_NOTE, "buffers",
                                "bursts of many routers overflow the engine's UDP socket unless it has CAP_NET_ADMIN",
                                key, BUFFERS_LEAST, "UDP buffers may grow to %s (%s)", field_bytes((uint64_t)value, is),
                                key);
        }
    }
}

/* --- firewall --- */

static void find_gate(struct doctor_report *r, const char *what, const struct doctor_gate *gate, const char *why,
                      const char *mend, enum doctor_level closed) {
    switch (gate->passage) {
    case DOCTOR_OPEN:
        doctor_find(r, DOCTOR_GOOD, "firewall", "", "", "nftables lets %s through", what);
        break;
    case DOCTOR_UNKNOWN:
        doctor_find(r, DOCTOR_NOTE, "firewall", why, mend,
                    "whether chain %s %s %s lets %s through cannot be told from its rules", gate->family, gate->table,
                    gate->chain, what);
        break;
    case DOCTOR_CLOSED:
        doctor_find(r, closed, "firewall", why, mend, "chain %s %s %s drops %s", gate->family, gate->table, gate->chain,
                    what);
        break;
    }
}

static void check_nftables(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    char port[48], forwarded[64], mend[1024];
    struct doctor_gate gate;
    struct ruleset *ruleset = NULL;
    int error = host->ruleset(host->context, &ruleset);
    if (error < 0) {
        doctor_find(r, error == -EPERM ? DOCTOR_NOTE : DOCTOR_GOOD, "firewall",
                    "only root may read it, so this could not be checked", "run \"sallyport doctor\" as root",
                    error == -EPERM ? "the nftables ruleset is not open to you" : "this kernel has no nftables");
        return;
    }
    snprintf(port, sizeof port, "UDP port %u", facts->listen_port);
    snprintf(forwarded, sizeof forwarded, "what is forwarded from and to %s", facts->interface);
    doctor_firewall_input(ruleset, facts->listen_port, &gate);
    snprintf(mend, sizeof mend, "nft insert rule %s '%s' '%s' udp dport %u accept", gate.family, gate.table, gate.chain,
             facts->listen_port);
    find_gate(r, port, &gate, "routers dial it; without it none connects", mend, DOCTOR_BAD);
    doctor_firewall_forward(ruleset, facts->interface, &gate);
    snprintf(mend, sizeof mend,
             "nft insert rule %s '%s' '%s' iifname %s accept; nft insert rule %s '%s' '%s' oifname %s accept",
             gate.family, gate.table, gate.chain, facts->interface, gate.family, gate.table, gate.chain,
             facts->interface);
    find_gate(r, forwarded, &gate,
              is_engine(facts) ? "routers and what is behind this host do not reach each other"
                               : "routers reach neither each other nor what is behind this host",
              mend, is_engine(facts) ? DOCTOR_NOTE : DOCTOR_BAD);
    ruleset_free(ruleset);
}

static void check_legacy(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    struct doctor_legacy *legacy = NULL;
    char mend[192];
    if (host->legacy(host->context, &legacy) < 0) {
        return; /* not in use, or nobody may look; with nftables it was said already */
    }
    enum doctor_passage in = doctor_legacy_input(legacy, facts->listen_port);
    enum doctor_passage through = doctor_legacy_forward(legacy, facts->interface);
    snprintf(mend, sizeof mend, "iptables-legacy -I INPUT -p udp --dport %u -j ACCEPT", facts->listen_port);
    doctor_find(r,
                in == DOCTOR_CLOSED    ? DOCTOR_BAD
                : in == DOCTOR_UNKNOWN ? DOCTOR_NOTE
                                       : DOCTOR_GOOD,
                "firewall", "routers dial it; without it none connects", mend, "iptables-legacy %s UDP port %u",
                in == DOCTOR_CLOSED    ? "drops"
                : in == DOCTOR_UNKNOWN ? "may drop"
                                       : "lets through",
                facts->listen_port);
    snprintf(mend, sizeof mend,
             "iptables-legacy -I FORWARD -i %s -j ACCEPT; iptables-legacy -I FORWARD -o %s -j ACCEPT", facts->interface,
             facts->interface);
    bool open = through == DOCTOR_OPEN;
    doctor_find(r,
                open                                            ? DOCTOR_GOOD
                : is_engine(facts) || through == DOCTOR_UNKNOWN ? DOCTOR_NOTE
                                                                : DOCTOR_BAD,
                "firewall", "what is forwarded from and to routers is dropped", mend,
                "iptables-legacy %s what is forwarded from and to %s",
                open                        ? "lets through"
                : through == DOCTOR_UNKNOWN ? "may drop"
                                            : "drops",
                facts->interface);
    free(legacy);
}

static void check_firewall(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    if (facts->listen_port && facts->interface[0]) {
        check_nftables(facts, host, r);
        check_legacy(facts, host, r);
    }
}

/* --- the rest --- */

static void check_clock(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    bool set = host->wall_us(host->context) / USEC_PER_SEC > BUILT_AT_LEAST;
    bool synchronized = host->clock_synchronized(host->context);
    (void)facts;
    doctor_find(r,
                !set           ? DOCTOR_BAD
                : synchronized ? DOCTOR_GOOD
                               : DOCTOR_NOTE,
                "clock",
                "handshakes carry times, and a clock that jumps back makes this host's own be refused as replays",
                "timedatectl set-ntp true", "the clock is %s",
                !set           ? "not set"
                : synchronized ? "synchronized"
                               : "not synchronized");
}

static void check_disk(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    uint64_t left, whole;
    char text[FIELD_TEXT_SIZE];
    if (host->space(host->context, facts->state_dir, &left, &whole) < 0) {
        return; /* not this host's, or not open to us */
    }
    doctor_find(r,
                left < SPACE_BAD    ? DOCTOR_BAD
                : left < SPACE_NOTE ? DOCTOR_NOTE
                                    : DOCTOR_GOOD,
                "disk", "with a full disk nothing can be changed any more; tunnels go on",
                "journalctl --vacuum-size=200M", "%s free in %s", field_bytes(left, text), facts->state_dir);
}

static void check_key_file(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    char path[512], mend[1100];
    struct doctor_file file;
    snprintf(path, sizeof path, "%s/server.key", facts->state_dir);
    snprintf(mend, sizeof mend, "chown root: %s && chmod 0600 %s", path, path);
    if (host->look(host->context, path, &file) < 0) {
        return; /* elsewhere (private_key_file), or its folder is closed to us, as it should be */
    }
    bool open = (file.mode & 077) != 0;
    doctor_find(r, open ? DOCTOR_BAD : DOCTOR_GOOD, "key",
                "who reads it can be the gateway to every router; sallyportd refuses to start with it", mend,
                "%s has mode %04o", path, file.mode & 07777);
}

static bool is_inside(const struct ip_addr *list, size_t count, const struct ip_addr *addr) {
    for (size_t i = 0; i < count; i++) {
        if (ip_equal(&list[i], addr)) {
            return true;
        }
    }
    return false;
}

/* Whether every router can dial it, as far as this host knows. */
static void check_endpoint(const struct doctor_facts *facts, const struct doctor_host *host, struct doctor_report *r) {
    struct ip_addr found[ADDRESSES_MAX], own[ADDRESSES_MAX];
    size_t found_count = 0, own_count = 0, here = 0;
    char text[IP_TEXT_SIZE] = "";
    if (!facts->endpoint[0]) {
        return;
    }
    bool literal = ip_parse(facts->endpoint, &found[0]) == 0;
    found_count = literal;
    if (!literal && host->resolve(host->context, facts->endpoint, found, ADDRESSES_MAX, &found_count) < 0) {
        doctor_find(r, DOCTOR_NOTE, "endpoint",
                    "routers must be able to resolve it; if only this host cannot, all is well",
                    "point the name at this host in DNS, or set endpoint in /etc/sallyport/sallyport.conf",
                    "the endpoint %s does not resolve here", facts->endpoint);
        return;
    }
    (void)host->addresses(host->context, own, ADDRESSES_MAX, &own_count);
    for (size_t i = 0; i < found_count; i++) {
        bool mine = is_inside(own, own_count, &found[i]);
        here += mine;
        if (!mine) {
            ip_format(&found[i], text);
        }
    }
    char mend[192];
    snprintf(mend, sizeof mend,
             "forward UDP port %u of %s to this host, if there is a NAT in front; else correct the name in DNS",
             facts->listen_port, text);
    if (here == found_count) {
        doctor_find(r, DOCTOR_GOOD, "endpoint", "", "", "the endpoint %s is this host", facts->endpoint);
    } else {
        doctor_find(r, DOCTOR_NOTE, "endpoint",
                    "routers dial an address that is not this host's: right behind a NAT, wrong otherwise", mend,
                    literal ? "the endpoint %s is not on this host"
                            : "the endpoint %s is %s, which is not on this host",
                    facts->endpoint, text);
    }
}

const struct doctor_check doctor_checks[] = {
    {"kernel", check_kernel},
    {"napi", check_napi},
    {"tun", check_tun},
    {"bpf", check_bpf},
    {"forwarding", check_forwarding},
    {"rp_filter", check_rp_filter},
    {"conntrack", check_conntrack},
    {"buffers", check_buffers},
    {"firewall", check_firewall},
    {"clock", check_clock},
    {"disk", check_disk},
    {"key", check_key_file},
    {"endpoint", check_endpoint},
};
const size_t doctor_check_count = sizeof doctor_checks / sizeof *doctor_checks;
