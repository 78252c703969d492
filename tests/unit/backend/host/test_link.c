/* The interface itself, on a TUN in a network namespace of this process's own. Needs root and /dev/net/tun; skipped
 * without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/host/claim.h"
#include "backend/host/device.h"
#include "backend/host/link.h"
#include "fake_server.h"

#define NAME "sptest0"
#define OTHER "sptest1"

static int tun = -1;
static char warning[BACKEND_WARNING_SIZE];

static int open_tun(void **state) {
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    (void)state;
    if (unshare(CLONE_NEWNET) < 0) {
        return 0;
    }
    strcpy(request.ifr_name, NAME);
    tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (tun >= 0 && ioctl(tun, TUNSETIFF, &request) < 0) {
        close(tun);
        tun = -1;
    }
    return 0;
}

static int close_tun(void **state) {
    (void)state;
    if (tun >= 0) {
        close(tun);
    }
    return 0;
}

static void need_tun(void) {
    if (tun < 0) {
        print_message("needs root and /dev/net/tun\n");
        skip();
    }
}

static struct prefix address(const char *text) {
    struct prefix prefix;
    char copy[64];
    char *slash;
    snprintf(copy, sizeof copy, "%s", text);
    slash = strchr(copy, '/');
    *slash = '\0';
    assert_int_equal(ip_parse(copy, &prefix.addr), 0);
    prefix.length = (uint8_t)atoi(slash + 1);
    return prefix;
}

/* All prefixes as one text, in order. */
static int note(void *context, const struct prefix *prefix) {
    char text[PREFIX_TEXT_SIZE];
    char *all = context;
    snprintf(all + strlen(all), 512 - strlen(all), "%s ", prefix_format(prefix, text));
    return 0;
}

static const char *addresses(struct link *link) {
    static char all[512];
    *all = '\0';
    assert_int_equal(link_each_address(link, note, all), 0);
    return all;
}

/* In our table plainly, in another with its number. */
static int note_route(void *context, const struct prefix *prefix, uint32_t table) {
    char *all = context;
    note(context, prefix);
    if (table != LINK_ROUTE_TABLE) {
        snprintf(all + strlen(all), 512 - strlen(all), "(%u) ", table);
    }
    return 0;
}

static const char *routes(struct link *link) {
    static char all[512];
    *all = '\0';
    assert_int_equal(link_each_route(link, note_route, all), 0);
    return all;
}

static void an_interface_that_is_not_there_is_said(void **state) {
    (void)state;
    struct link *link = NULL;
    assert_int_equal(link_open("nosuch0", &link), -ENODEV);
    assert_null(link);
    link_free(NULL);
}

static void addresses_come_and_go_and_both_are_idempotent(void **state) {
    (void)state;
    struct link *link;
    need_tun();
    assert_int_equal(link_open(NAME, &link), 0);
    struct prefix four = address("10.0.0.1/8");
    struct prefix six = address("fd00::1/48");
    assert_int_equal(link_add_address(link, &four), 0);
    assert_int_equal(link_add_address(link, &four), 0);
    assert_int_equal(link_add_address(link, &six), 0);
    assert_string_equal(addresses(link), "10.0.0.1/8 fd00::1/48 ");
    assert_int_equal(link_remove_address(link, &four), 0);
    assert_int_equal(link_remove_address(link, &four), 0);
    assert_string_equal(addresses(link), "fd00::1/48 ");
    assert_int_equal(link_remove_address(link, &six), 0);
    link_free(link);
}

static void routes_come_and_go_and_both_are_idempotent(void **state) {
    (void)state;
    struct link *link;
    need_tun();
    assert_int_equal(link_open(NAME, &link), 0);
    struct prefix lan = address("192.168.7.0/24");
    struct prefix lan6 = address("2001:db8:7::/64");
    assert_int_equal(link_set_up(link), 0);
    assert_int_equal(link_add_route(link, &lan), 0);
    assert_int_equal(link_add_route(link, &lan), 0);
    assert_int_equal(link_add_route(link, &lan6), 0);
    assert_int_equal(link_add_route(link, &lan6), 0);
    assert_string_equal(routes(link), "192.168.7.0/24 2001:db8:7::/64 ");
    assert_int_equal(link_remove_route(link, &lan, LINK_ROUTE_TABLE), 0);
    assert_int_equal(link_remove_route(link, &lan, LINK_ROUTE_TABLE), 0);
    assert_int_equal(link_remove_route(link, &lan6, LINK_ROUTE_TABLE), 0);
    assert_string_equal(routes(link), "");
    link_free(link);
}

/* What `ip` says, in one line. */
static const char *said(const char *command) {
    static char all[1024];
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    all[fread(all, 1, sizeof all - 1, pipe)] = '\0';
    assert_int_equal(pclose(pipe), 0);
    return all;
}

/* An uplink of the host's, beside the tunnel. */
static void other_interface(void) {
    said("ip link add " OTHER " type veth peer name sptest2; ip link set sptest2 up; ip link set " OTHER " up;"
         "ip addr add 192.0.2.9/24 dev " OTHER);
}

static void a_lan_shadows_no_route_of_the_host(void **state) {
    (void)state;
    struct problem problem;
    need_tun();
    struct prefix lan = address("203.0.113.5/32");
    other_interface();
    said("ip route add default via 192.0.2.77");
    assert_int_equal(device_set_routes(NAME, &lan, 1, NULL, 0, &problem), 0);
    assert_non_null(strstr(said("ip route get 203.0.113.5"), NAME)); /* before the host's default route */
    said("ip route add 203.0.113.0/24 via 192.0.2.77");
    assert_null(strstr(said("ip route get 203.0.113.5"), NAME)); /* but behind any other, although it is longer */
    said("ip route del 203.0.113.0/24");
    assert_int_equal(device_set_routes(NAME, NULL, 0, &lan, 1, &problem), 0);
    assert_null(strstr(said("ip route get 203.0.113.5"), NAME));
    said("ip link del " OTHER);
}

static int add_prefix(void *context, const struct prefix *prefix) {
    return note(context, prefix);
}

static void routes_of_a_former_version_are_moved(void **state) {
    (void)state;
    struct link *link;
    struct problem problem;
    char all[512] = "";
    need_tun();
    said("ip route add 192.168.30.0/24 dev " NAME " proto 83 metric 23057;"
         "ip route add 2001:db8:30::/64 dev " NAME
         " proto 83 metric 23057; ip rule del pref 23057; ip rule del pref 23058; true");
    assert_int_equal(device_each_route(NAME, add_prefix, all, &problem), 0);
    assert_string_equal(all, "192.168.30.0/24 2001:db8:30::/64 ");
    assert_int_equal(link_open(NAME, &link), 0);
    assert_string_equal(routes(link), "192.168.30.0/24 2001:db8:30::/64 ");
    link_free(link);
    assert_string_equal(said("ip route show proto 83"), "");
    assert_non_null(strstr(said("ip rule"), "23058:")); /* flushed rules come back */
    struct prefix both[] = {address("192.168.30.0/24"), address("2001:db8:30::/64")};
    assert_int_equal(device_set_routes(NAME, NULL, 0, both, 2, &problem), 0);
}

static int note_fact(void *context, enum backend_host_fact fact, const struct ip_addr *addr) {
    struct prefix prefix = {.addr = *addr, .length = addr->family == AF_INET ? 32 : 128};
    char *all = context;
    snprintf(all + strlen(all), 512 - strlen(all), fact == BACKEND_HOST_NEXT_HOP ? "via " : "");
    return note(context, &prefix);
}

static void what_the_host_has_beside_the_interface_is_told(void **state) {
    (void)state;
    char all[512] = "";
    need_tun();
    other_interface();
    said("ip route add 198.51.100.0/24 via 192.0.2.77; ip addr add 172.29.1.1/24 dev " NAME);
    assert_int_equal(link_each_host_fact(NAME, note_fact, all), 0);
    said("ip link del " OTHER "; ip addr del 172.29.1.1/24 dev " NAME);
    assert_non_null(strstr(all, "192.0.2.9/32 "));
    assert_non_null(strstr(all, "via 192.0.2.77/32 "));
    assert_null(strstr(all, "172.29.1.1"));
}

static void the_device_is_mended_once_and_then_left_alone(void **state) {
    (void)state;
    struct link *link;
    struct link_state is;
    struct problem problem;
    struct desired_device device = {.mtu = 1380, .hub_address_count = 2};
    unsigned touched = 99;
    need_tun();
    device.hub_addresses[0] = address("10.0.0.1/8");
    device.hub_addresses[1] = address("fd00::1/48");
    assert_int_equal(device_mend(NAME, &device, &touched, warning, &problem), 0);
    assert_in_range(touched, 3, 4); /* up already if another test was here */
    assert_int_equal(device_mend(NAME, &device, &touched, warning, &problem), 0);
    assert_int_equal(touched, 0);
    assert_int_equal(link_open(NAME, &link), 0);
    assert_int_equal(link_get(link, &is), 0);
    assert_true(is.up);
    assert_int_equal(is.mtu, 1380);
    assert_string_equal(addresses(link), "10.0.0.1/8 fd00::1/48 ");
    /* another pool: the old address goes */
    device.hub_addresses[0] = address("10.64.0.1/10");
    assert_int_equal(device_mend(NAME, &device, &touched, warning, &problem), 0);
    assert_int_equal(touched, 2);
    assert_string_equal(addresses(link), "10.64.0.1/10 fd00::1/48 ");
    link_free(link);
    assert_int_equal(device_mend("nosuch0", &device, &touched, warning, &problem), -ENODEV);
}

static void ipv6_that_is_switched_off_is_switched_on_for_this_interface(void **state) {
    (void)state;
    struct link *link;
    struct problem problem;
    struct desired_device device = {.mtu = 1380, .hub_address_count = 1};
    unsigned touched;
    need_tun();
    int fd = open("/proc/sys/net/ipv6/conf/" NAME "/disable_ipv6", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        skip(); /* no IPv6 here, or /proc/sys is read-only */
    }
    assert_int_equal(write(fd, "1\n", 2), 2);
    close(fd);
    device.hub_addresses[0] = address("fd00::1/48");
    assert_int_equal(device_mend(NAME, &device, &touched, warning, &problem), 0);
    assert_int_equal(link_open(NAME, &link), 0);
    assert_string_equal(addresses(link), "fd00::1/48 ");
    link_free(link);
}

static void a_backend_sets_the_device_and_its_routes(void **state) {
    (void)state;
    char directory[64];
    struct backend *backend;
    struct problem problem;
    struct backend_state is;
    struct link *link;
    unsigned touched;
    struct backend_config config = {.interface_name = NAME};
    struct desired_device device = {.private_key = {{1}}, .listen_port = 51820, .mtu = 1400, .hub_address_count = 1};
    need_tun();
    device.hub_addresses[0] = address("10.0.0.1/8");
    fake_server_directory_make(directory);
    pid_t server = fake_server_start(NAME);
    assert_int_equal(backend_engine.open(&config, &backend, &problem), 0);
    assert_int_equal(backend_engine.set_device(backend, &device, &touched, &problem), 0);
    assert_true(touched >= 4); /* MTU, key, hub, port at least */
    assert_int_equal(backend_engine.set_device(backend, &device, &touched, &problem), 0);
    assert_int_equal(touched, 0);
    device.listen_port = 51821;
    assert_int_equal(backend_engine.set_device(backend, &device, &touched, &problem), 0);
    assert_int_equal(touched, 1);
    assert_int_equal(backend_engine.state(backend, &is), 0);
    assert_int_equal(is.listen_port, 51821);
    struct prefix lans[] = {address("192.168.8.0/24"), address("192.168.9.0/24")};
    assert_int_equal(backend_engine.set_routes(backend, lans, 2, NULL, 0, &problem), 0);
    assert_int_equal(backend_engine.set_routes(backend, lans, 1, lans + 1, 1, &problem), 0);
    assert_int_equal(link_open(NAME, &link), 0);
    assert_string_equal(routes(link), "192.168.8.0/24 ");
    link_free(link);
    backend_engine.close(backend);
    fake_server_stop(server);
    fake_server_directory_remove(directory);
}

/* Its second name for the host's network: /proc/sys as a container has it. */
static bool close_proc_sys(void) {
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL) == 0 &&
           mount("none", "/proc/sys", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0;
}

/* Last: it leaves the process with a /proc/sys that it cannot write. */
static void ipv4_works_where_ipv6_is_off_for_good(void **state) {
    (void)state;
    struct link *link;
    struct problem problem;
    struct desired_device device = {.mtu = 1380, .hub_address_count = 2};
    unsigned touched;
    need_tun();
    int fd = open("/proc/sys/net/ipv6/conf/" NAME "/disable_ipv6", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        skip(); /* no IPv6 here at all */
    }
    assert_int_equal(write(fd, "1\n", 2), 2);
    close(fd);
    assert_true(close_proc_sys());
    device.hub_addresses[0] = address("fd00::1/48");
    device.hub_addresses[1] = address("10.0.0.1/8");
    warning[0] = '\0';
    assert_int_equal(device_mend(NAME, &device, &touched, warning, &problem), 0);
    assert_non_null(strstr(warning, "net.ipv6.conf.all.disable_ipv6=0"));
    assert_int_equal(link_open(NAME, &link), 0);
    assert_string_equal(addresses(link), "10.0.0.1/8 ");
    struct prefix lans[] = {address("fd77::/48"), address("192.168.8.0/24")};
    assert_int_equal(device_set_routes(NAME, lans, 2, NULL, 0, &problem), 0);
    assert_string_equal(routes(link), "192.168.8.0/24 ");
    assert_int_equal(device_set_routes(NAME, NULL, 0, lans, 2, &problem), 0);
    assert_string_equal(routes(link), "");
    link_free(link);
}

/* The kernel's own refusals do not keep the others from their place. */
static void one_route_that_fails_is_told_and_the_others_are_set(void **state) {
    (void)state;
    struct link *link;
    struct problem problem = {0};
    need_tun();
    struct prefix lans[] = {address("224.0.0.0/4"), address("192.168.8.0/24")};
    lans[0].addr.bytes[3] = 1; /* host bits, which no route may have */
    assert_true(device_set_routes(NAME, lans, 2, NULL, 0, &problem) < 0);
    assert_string_equal(problem.type, "route-refused");
    assert_int_equal(link_open(NAME, &link), 0);
    assert_string_equal(routes(link), "192.168.8.0/24 ");
    link_free(link);
    assert_int_equal(device_set_routes(NAME, NULL, 0, lans + 1, 1, &problem), 0);
}

/* Containers that come and go tear dumps: somebody else's interface gets and loses addresses all the while. */
static void addresses_are_read_whole_while_others_change(void **state) {
    (void)state;
    struct link *link;
    need_tun();
    assert_int_equal(link_open(NAME, &link), 0);
    assert_int_equal(link_add_address(link, &(struct prefix){.addr = ip_from_v4(0x0a0a0a0a), .length = 32}), 0);
    pid_t churn = fork();
    if (churn == 0) {
        struct link *other;
        if (link_create(OTHER, "bridge") < 0 || link_open(OTHER, &other) < 0) {
            _exit(1);
        }
        for (uint32_t i = 0; i < 20000; i++) {
            struct prefix some = {.addr = ip_from_v4(0xac100000 + i % 200), .length = 32};
            (void)(i / 200 % 2 ? link_remove_address(other, &some) : link_add_address(other, &some));
        }
        _exit(0);
    }
    bool goes_on = true;
    while (goes_on) {
        goes_on = waitpid(churn, NULL, WNOHANG) == 0;
        assert_non_null(strstr(addresses(link), "10.10.10.10/32 "));
    }
    assert_int_equal(link_remove_address(link, &(struct prefix){.addr = ip_from_v4(0x0a0a0a0a), .length = 32}), 0);
    link_free(link);
    link_delete(OTHER);
}

static void half_a_place_for_filters_is_seen(void **state) {
    (void)state;
    struct link *link;
    char kind[LINK_KIND_SIZE] = "?";
    need_tun();
    assert_int_equal(link_open(NAME, &link), 0);
    assert_int_equal(link_ingress_kind(link, kind), 0);
    assert_string_equal(kind, "");
    assert_int_equal(system("tc qdisc add dev " NAME " handle ffff: ingress"), 0);
    assert_int_equal(link_ingress_kind(link, kind), 0);
    assert_string_equal(kind, "ingress");
    assert_int_equal(system("tc qdisc del dev " NAME " ingress && tc qdisc add dev " NAME " clsact"), 0);
    assert_int_equal(link_ingress_kind(link, kind), 0);
    assert_string_equal(kind, "clsact");
    assert_int_equal(system("tc qdisc del dev " NAME " clsact"), 0);
    link_free(link);
}

/* Two processes that keep one interface undo each other's work. */
static void an_interface_has_one_keeper(void **state) {
    (void)state;
    struct problem problem = {0};
    char owner[32];
    need_tun();
    int claim = claim_take(NAME, &problem);
    assert_true(claim >= 0);
    assert_int_equal(claim_take(NAME, &problem), -EBUSY);
    snprintf(owner, sizeof owner, "process %d", (int)getpid());
    assert_non_null(strstr(problem.detail, owner));
    int other = claim_take(OTHER, &problem);
    assert_true(other >= 0);
    close(other);
    close(claim);
    claim = claim_take(NAME, &problem);
    assert_true(claim >= 0);
    close(claim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interface_that_is_not_there_is_said),
        cmocka_unit_test(addresses_come_and_go_and_both_are_idempotent),
        cmocka_unit_test(routes_come_and_go_and_both_are_idempotent),
        cmocka_unit_test(a_lan_shadows_no_route_of_the_host),
        cmocka_unit_test(routes_of_a_former_version_are_moved),
        cmocka_unit_test(what_the_host_has_beside_the_interface_is_told),
        cmocka_unit_test(the_device_is_mended_once_and_then_left_alone),
        cmocka_unit_test(ipv6_that_is_switched_off_is_switched_on_for_this_interface),
        cmocka_unit_test(a_backend_sets_the_device_and_its_routes),
        cmocka_unit_test(one_route_that_fails_is_told_and_the_others_are_set),
        cmocka_unit_test(addresses_are_read_whole_while_others_change),
        cmocka_unit_test(half_a_place_for_filters_is_seen),
        cmocka_unit_test(an_interface_has_one_keeper),
        cmocka_unit_test(ipv4_works_where_ipv6_is_off_for_good),
    };
    return cmocka_run_group_tests(tests, open_tun, close_tun);
}
