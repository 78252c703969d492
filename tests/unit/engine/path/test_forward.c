/* Where packets may go and where not.
 *
 *   tenant 1, private, no egress     a1 10.100.0.2 = hub 10.200.0.2, LAN 192.168.1.0/24     a2 10.100.0.3 = 10.200.0.3
 *   tenant 2, private, egress        b1 10.100.0.2 = hub 10.201.0.2
 *   tenant 3, unique, egress         c1 10.101.0.2, fd00:c::2
 *   no tenant                        p1 10.150.0.0/16
 *   hub                              10.0.0.1/32, fd00::1/128
 */
#include "rig.h"

#include <linux/virtio_net.h>

#include "engine/path/forward.h"

#define ROOM 66000
#define ECN_CE 3

struct scene {
    struct rig rig;
    struct worker *worker;
    struct peer *a1, *a2, *b1, *c1, *p1;
    uint8_t packet[ROOM];
    uint8_t heard[ROOM];
};

static int setup(void **state) {
    struct scene *s = calloc(1, sizeof *s);
    const struct limits none = {0};
    rig_open(&s->rig, 1);
    s->worker = s->rig.workers[0];
    s->worker->device.hub[0] = rig_prefix("10.0.0.1/32");
    s->worker->device.hub[1] = rig_prefix("fd00::1/128");
    s->worker->device.hub_count = 2;
    rig_tenant(&s->rig, 0, 1, ADDRESSING_PRIVATE, false, none);
    rig_tenant(&s->rig, 0, 2, ADDRESSING_PRIVATE, true, none);
    rig_tenant(&s->rig, 0, 3, ADDRESSING_UNIQUE, true, none);
    s->a1 = rig_peer(&s->rig, 0, 1, 1, (const char *[]){"10.100.0.2/32", "192.168.1.0/24", "fd00:a::2/128", NULL},
                     "10.200.0.2=10.100.0.2");
    s->a2 =
        rig_peer(&s->rig, 0, 2, 1, (const char *[]){"10.100.0.3/32", "fd00:a::3/128", NULL}, "10.200.0.3=10.100.0.3");
    s->b1 = rig_peer(&s->rig, 0, 3, 2, (const char *[]){"10.100.0.2/32", NULL}, "10.201.0.2=10.100.0.2");
    s->c1 = rig_peer(&s->rig, 0, 4, 3, (const char *[]){"10.101.0.2/32", "fd00:c::2/128", NULL}, NULL);
    s->p1 = rig_peer(&s->rig, 0, 5, 0, (const char *[]){"10.150.0.0/16", NULL}, NULL);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    struct scene *s = *state;
    rig_close(&s->rig);
    free(s);
    return 0;
}

/* Lets a router send; the size of what the host then hears, in s->heard. */
static size_t from_peer(struct scene *s, struct peer *peer, const char *source, const char *destination) {
    size_t size = rig_packet(source, destination, 100, false, s->packet);
    memset(s->packet + size, 0, 12); /* padding */
    forward_from_peer(s->worker, peer, s->packet, size + 12, 0);
    return rig_heard(&s->rig, s->heard, ROOM);
}

/* Lets the host send; the size of what then waits for the peer, in s->heard. */
static size_t to_peer(struct scene *s, struct peer *peer, const char *source, const char *destination) {
    const struct virtio_net_hdr header = {0};
    size_t size = rig_packet(source, destination, 100, false, s->packet);
    forward_from_host(s->worker, s->packet, size, &header, false);
    return rig_waits(&s->rig, 0, peer, s->heard, ROOM);
}

static bool is_between(const struct scene *s, const char *source, const char *destination) {
    struct ip_addr from = rig_ip(source);
    struct ip_addr to = rig_ip(destination);
    bool v6 = s->heard[0] >> 4 == 6;
    size_t length = v6 ? 16 : 4;
    return memcmp(s->heard + (v6 ? 8 : 12), from.bytes, length) == 0 &&
           memcmp(s->heard + (v6 ? 24 : 16), to.bytes, length) == 0;
}

/* An ICMP error from the hub to the router, waiting for it. */
static bool was_told(struct scene *s, struct peer *peer, const char *to, uint8_t type, uint8_t code) {
    size_t size = rig_waits(&s->rig, 0, peer, s->heard, ROOM);
    return size > 28 && s->heard[9] == IPPROTO_ICMP && s->heard[20] == type && s->heard[21] == code &&
           is_between(s, "10.0.0.1", to);
}

static void the_hub_sees_a_private_router_by_its_hub_address(void **state) {
    struct scene *s = *state;
    assert_int_equal(from_peer(s, s->a1, "10.100.0.2", "10.0.0.1"), 128); /* trimmed of its padding */
    assert_true(is_between(s, "10.200.0.2", "10.0.0.1"));
    assert_true(flow_right(s->heard, 128));
    assert_int_equal(from_peer(s, s->b1, "10.100.0.2", "10.0.0.1"), 128);
    assert_true(is_between(s, "10.201.0.2", "10.0.0.1"));
}

static void a_private_lan_has_no_name_at_the_hub(void **state) {
    struct scene *s = *state;
    assert_int_equal(from_peer(s, s->a1, "192.168.1.7", "10.0.0.1"), 0);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_UNTRANSLATABLE), 1);
    assert_int_equal(from_peer(s, s->a1, "fd00:a::2", "fd00::1"), 0);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_UNTRANSLATABLE), 2);
}

static void a_source_must_be_the_peers_own(void **state) {
    struct scene *s = *state;
    assert_int_equal(from_peer(s, s->a1, "10.100.0.3", "10.0.0.1"), 0); /* its neighbour's */
    assert_int_equal(from_peer(s, s->a1, "10.200.0.2", "10.0.0.1"), 0); /* its own, but the hub's name for it */
    assert_int_equal(from_peer(s, s->c1, "10.100.0.2", "10.0.0.1"), 0); /* another tenant's */
    assert_int_equal(from_peer(s, s->p1, "10.101.0.2", "10.0.0.1"), 0);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_BAD_SOURCE), 4);
    assert_int_equal(s->a1->space->usage.dropped, 2);
    assert_int_equal(s->a1->space->usage.packets_received, 0);
}

/* Lets a router tell the hub that a packet from there to `quoted` did not arrive; the size of what the hub hears. */
static size_t complain(struct scene *s, struct peer *peer, const char *source, const char *hub, const char *quoted) {
    uint8_t error[8 + 128 + 20] = {1}; /* destination unreachable */
    struct ip_addr from = rig_ip(source);
    struct ip_addr to = rig_ip(hub);
    bool v6 = from.family == AF_INET6;
    size_t size = 8 + rig_packet(hub, quoted, 100, false, error + 8);
    error[0] = v6 ? 1 : 3;
    memset(s->packet, 0, 40);
    s->packet[0] = v6 ? 0x60 : 0x45;
    put16(s->packet + (v6 ? 4 : 2), (uint32_t)(v6 ? size : 20 + size));
    s->packet[v6 ? 6 : 9] = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    memcpy(s->packet + (v6 ? 8 : 12), from.bytes, v6 ? 16 : 4);
    memcpy(s->packet + (v6 ? 24 : 16), to.bytes, v6 ? 16 : 4);
    memcpy(s->packet + (v6 ? 40 : 20), error, size);
    forward_from_peer(s->worker, peer, s->packet, size + (v6 ? 40 : 20), 0);
    return rig_heard(&s->rig, s->heard, ROOM);
}

static void an_icmp_error_speaks_of_the_routers_own_flows(void **state) {
    struct scene *s = *state;
    assert_int_equal(complain(s, s->c1, "10.101.0.2", "10.0.0.1", "10.101.0.2"), 156);
    assert_int_equal(complain(s, s->c1, "fd00:c::2", "fd00::1", "fd00:c::2"), 196);
    assert_int_equal(complain(s, s->c1, "10.101.0.2", "203.0.113.9", "10.101.0.2"), 156); /* by egress */
    assert_int_equal(complain(s, s->a1, "10.100.0.2", "10.0.0.1", "10.100.0.2"), 156);
    assert_true(is_between(s, "10.200.0.2", "10.0.0.1"));
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_BAD_SOURCE), 0);

    assert_int_equal(complain(s, s->c1, "10.101.0.2", "10.0.0.1", "10.101.0.3"), 0);
    assert_int_equal(complain(s, s->c1, "10.101.0.2", "10.0.0.1", "10.200.0.2"),
                     0); /* a private tenant's, as the hub says */
    assert_int_equal(complain(s, s->c1, "10.101.0.2", "203.0.113.9", "198.51.100.1"), 0);
    assert_int_equal(complain(s, s->c1, "fd00:c::2", "fd00::1", "fd00:a::2"), 0);
    assert_int_equal(complain(s, s->a1, "10.100.0.2", "10.0.0.1", "10.100.0.3"), 0); /* its neighbour's */
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_BAD_SOURCE), 5);
}

static void routers_of_a_tenant_meet_without_the_host(void **state) {
    struct scene *s = *state;
    assert_int_equal(from_peer(s, s->a2, "10.100.0.3", "192.168.1.7"), 0);
    assert_int_equal(rig_waits(&s->rig, 0, s->a1, s->heard, ROOM), 128);
    assert_true(is_between(s, "10.100.0.3", "192.168.1.7"));
    assert_int_equal(from_peer(s, s->a2, "fd00:a::3", "fd00:a::2"), 0);
    assert_int_equal(rig_waits(&s->rig, 0, s->a1, s->heard, ROOM), 148);
    assert_int_equal(s->worker->counters.turned_around, 2);
    assert_int_equal(s->a1->space->usage.bytes_received, 128 + 148);
}

static void a_packet_does_not_go_back_where_it_came_from(void **state) {
    struct scene *s = *state;
    assert_int_equal(from_peer(s, s->a1, "10.100.0.2", "192.168.1.7"), 0);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_PROHIBITED), 1);
    assert_true(was_told(s, s->a1, "10.100.0.2", 3, 13));
}

static void tenants_do_not_meet(void **state) {
    struct scene *s = *state;
    static const char *const targets[] = {"10.101.0.2", "10.201.0.2", "10.200.0.3", "10.150.0.1"};
    for (size_t i = 0; i < COUNT(targets); i++) {
        assert_int_equal(from_peer(s, s->a1, "10.100.0.2", targets[i]), 0);
        assert_true(was_told(s, s->a1, "10.100.0.2", 3, 13));
        if (i != 0) { /* egress is no way round */
            assert_int_equal(from_peer(s, s->c1, "10.101.0.2", targets[i]), 0);
            assert_true(was_told(s, s->c1, "10.101.0.2", 3, 13));
        }
    }
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_PROHIBITED), 7);
    struct peer *others[] = {s->a2, s->b1, s->p1};
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_int_equal(rig_waits(&s->rig, 0, others[i], s->heard, ROOM), 0);
    }
}

static void the_world_is_for_those_with_egress(void **state) {
    struct scene *s = *state;
    assert_int_equal(from_peer(s, s->a1, "10.100.0.2", "203.0.113.9"), 0);
    assert_true(was_told(s, s->a1, "10.100.0.2", 3, 13));
    assert_int_equal(from_peer(s, s->b1, "10.100.0.2", "203.0.113.9"), 128);
    assert_true(is_between(s, "10.201.0.2", "203.0.113.9"));
    assert_int_equal(from_peer(s, s->c1, "10.101.0.2", "203.0.113.9"), 128);
    assert_true(is_between(s, "10.101.0.2", "203.0.113.9"));
}

/* The host, its link and its cloud may answer there. */
static void egress_leads_to_nothing_that_is_not_the_worlds(void **state) {
    struct scene *s = *state;
    static const char *const v4[] = {"0.0.0.0",         "0.1.2.3",      "127.0.0.1", "127.255.0.1",
                                     "169.254.169.254", "169.254.0.1",  "240.0.0.1", "255.255.255.254",
                                     "100.100.100.200", "168.63.129.16"};
    static const char *const v6[] = {"::",
                                     "::1",
                                     "fe80::1",
                                     "febf::1",
                                     "fec0::1",
                                     "::ffff:127.0.0.1",
                                     "::ffff:169.254.169.254",
                                     "64:ff9b::169.254.169.254",
                                     "2002:a9fe:a9fe::1",
                                     "fd00:ec2::254",
                                     "fd20:ce::254",
                                     "fd00:c1::a9fe:a9fe"};
    for (size_t i = 0; i < COUNT(v4); i++) {
        assert_int_equal(from_peer(s, s->c1, "10.101.0.2", v4[i]), 0);
    }
    for (size_t i = 0; i < COUNT(v6); i++) {
        assert_int_equal(from_peer(s, s->c1, "fd00:c::2", v6[i]), 0);
    }
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_PROHIBITED), COUNT(v4) + COUNT(v6));
    static const char *const world4[] = {"1.0.0.1",     "126.0.0.1", "128.0.0.1",   "169.253.0.1",
                                         "169.255.0.1", "223.0.0.1", "192.168.7.1", "100.100.100.201"};
    static const char *const world6[] = {"2001:db8::1", "64:ff9b::1.1.1.1", "2002:101:101::1", "fd00:ec3::1"};
    for (size_t i = 0; i < COUNT(world4); i++) {
        assert_int_equal(from_peer(s, s->c1, "10.101.0.2", world4[i]), 128);
    }
    for (size_t i = 0; i < COUNT(world6); i++) {
        assert_int_equal(from_peer(s, s->c1, "fd00:c::2", world6[i]), 148);
    }
}

/* The control plane keeps tenants apart. Should it err, the one that the hub would answer is the one that it hears. */
static void who_is_not_answered_is_not_heard(void **state) {
    struct scene *s = *state;
    const struct limits none = {0};
    rig_tenant(&s->rig, 0, 4, ADDRESSING_UNIQUE, false, none);
    rig_tenant(&s->rig, 0, 5, ADDRESSING_PRIVATE, false, none);
    struct peer *wide = rig_peer(&s->rig, 0, 6, 4, (const char *[]){"10.101.0.0/16", NULL}, NULL);
    struct peer *twin = rig_peer(&s->rig, 0, 7, 5, (const char *[]){"10.100.0.9/32", NULL}, "10.200.0.2=10.100.0.9");
    assert_int_equal(from_peer(s, wide, "10.101.7.7", "10.0.0.1"), 128);
    assert_int_equal(from_peer(s, wide, "10.101.0.2", "10.0.0.1"), 0); /* c1's, as the hub knows it */
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_BAD_SOURCE), 1);
    assert_int_equal(from_peer(s, s->c1, "10.101.0.2", "10.0.0.1"), 128);
    assert_int_equal(from_peer(s, twin, "10.100.0.9", "10.0.0.1"), 128); /* who came last has the hub address */
    assert_int_equal(from_peer(s, s->a1, "10.100.0.2", "10.0.0.1"), 0);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_BAD_SOURCE), 2);
}

static void a_hub_that_is_a_network_answers_by_its_first_address(void **state) {
    struct scene *s = *state;
    s->worker->device.hub[0] = rig_prefix("10.0.0.0/24");
    assert_int_equal(from_peer(s, s->a1, "10.100.0.2", "203.0.113.9"), 0);
    assert_true(was_told(s, s->a1, "10.100.0.2", 3, 13)); /* from 10.0.0.1 */
}

static void groups_are_not_forwarded_nor_answered(void **state) {
    struct scene *s = *state;
    assert_int_equal(from_peer(s, s->c1, "10.101.0.2", "224.0.0.251"), 0);
    assert_int_equal(from_peer(s, s->c1, "10.101.0.2", "255.255.255.255"), 0);
    assert_int_equal(from_peer(s, s->a1, "fd00:a::2", "ff02::1"), 0);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_PROHIBITED), 3);
    assert_int_equal(rig_waits(&s->rig, 0, s->c1, s->heard, ROOM), 0);
}

static void the_host_reaches_a_router_by_its_hub_address(void **state) {
    struct scene *s = *state;
    assert_int_equal(to_peer(s, s->a1, "10.0.0.1", "10.200.0.2"), 128);
    assert_true(is_between(s, "10.0.0.1", "10.100.0.2"));
    assert_true(flow_right(s->heard, 128));
    assert_int_equal(to_peer(s, s->c1, "10.0.0.1", "10.101.0.2"), 128);
    assert_int_equal(to_peer(s, s->p1, "198.51.100.1", "10.150.3.3"), 128);
    assert_int_equal(to_peer(s, s->a1, "10.0.0.1", "10.100.0.2"), 0); /* nobody's address at the hub */
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_NO_ROUTE), 1);
    assert_int_equal(rig_heard(&s->rig, s->heard, ROOM), 28 + 128);
    assert_int_equal(s->heard[20], 3);
}

static void the_host_carries_nothing_from_tenant_to_tenant(void **state) {
    struct scene *s = *state;
    assert_int_equal(to_peer(s, s->a1, "203.0.113.9", "10.200.0.2"), 0); /* no egress */
    assert_int_equal(to_peer(s, s->b1, "10.101.0.2", "10.201.0.2"), 0);  /* another tenant's router */
    assert_int_equal(to_peer(s, s->c1, "10.200.0.2", "10.101.0.2"), 0);
    assert_int_equal(to_peer(s, s->c1, "10.150.0.1", "10.101.0.2"), 0);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_PROHIBITED), 4);
    assert_int_equal(to_peer(s, s->b1, "203.0.113.9", "10.201.0.2"), 128); /* the world answers */
    assert_true(is_between(s, "203.0.113.9", "10.100.0.2"));
}

static void without_hub_prefixes_everybody_but_tenants_may_enter(void **state) {
    struct scene *s = *state;
    s->worker->device.hub_count = 0;
    assert_int_equal(to_peer(s, s->a1, "203.0.113.9", "10.200.0.2"), 128);
    assert_int_equal(to_peer(s, s->a1, "10.101.0.2", "10.200.0.2"), 0);
    assert_int_equal(rig_heard(&s->rig, s->heard, ROOM), 28 + 128); /* the host is told */
    assert_int_equal(from_peer(s, s->a1, "10.100.0.2", "203.0.113.9"), 0);
    assert_int_equal(rig_waits(&s->rig, 0, s->a1, s->heard, ROOM), 0); /* no name to answer in */
}

static void too_big_from_site_to_site_is_told(void **state) {
    struct scene *s = *state;
    size_t size = rig_packet("10.100.0.2", "10.100.0.3", 1393, true, s->packet);
    forward_from_peer(s->worker, s->a1, s->packet, size, 0);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_TOO_BIG), 1);
    assert_true(was_told(s, s->a1, "10.100.0.2", 3, 4));
    assert_int_equal(get16(s->heard + 26), 1420);
    size = rig_packet("10.100.0.2", "10.100.0.3", 1392, true, s->packet);
    forward_from_peer(s->worker, s->a1, s->packet, size, 0);
    assert_int_equal(rig_waits(&s->rig, 0, s->a2, s->heard, ROOM), 1420);
}

static void limits_hold_in_each_direction(void **state) {
    struct scene *s = *state;
    const struct limits limits = {.packets_per_second = 1000};
    rig_tenant(&s->rig, 0, 3, ADDRESSING_UNIQUE, true, limits);
    size_t passed = 0;
    for (int i = 0; i < 1000; i++) {
        passed += from_peer(s, s->c1, "10.101.0.2", "10.0.0.1") > 0;
    }
    assert_in_range(passed, 64, 300);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_OVER_LIMIT), 1000 - passed);
    assert_int_equal(to_peer(s, s->c1, "10.0.0.1", "10.101.0.2"), 128);
    s->worker->mono_ns += NSEC_PER_SEC;
    assert_int_equal(from_peer(s, s->c1, "10.101.0.2", "10.0.0.1"), 128);
}

static void congestion_seen_outside_is_told_inside(void **state) {
    struct scene *s = *state;
    size_t size = rig_packet("10.101.0.2", "10.0.0.1", 100, false, s->packet);
    s->packet[1] = 2;
    fix_ip_sum(s->packet);
    forward_from_peer(s->worker, s->c1, s->packet, size, ECN_CE);
    assert_int_equal(rig_heard(&s->rig, s->heard, ROOM), 128);
    assert_int_equal(s->heard[1], ECN_CE);
    assert_true(flow_right(s->heard, 128));
}

static void rubbish_inside_is_dropped(void **state) {
    struct scene *s = *state;
    struct dice dice = {.state = 1};
    for (int i = 0; i < 2000; i++) {
        size_t size = dice_below(&dice, 200);
        dice_fill(&dice, s->packet, size);
        s->packet[0] = (uint8_t)(dice_chance(&dice, 50) ? s->packet[0] : i % 2 ? 0x45 : 0x60);
        forward_from_peer(s->worker, i % 3 ? s->a1 : s->p1, s->packet, size, (uint8_t)(i & 3));
        assert_int_equal(rig_heard(&s->rig, s->heard, ROOM), 0);
    }
    assert_in_range(rig_drops(&s->rig, ENGINE_DROP_BAD_INNER), 1000, 2000);
}

static void a_large_packet_of_the_host_is_translated_and_cut(void **state) {
    struct scene *s = *state;
    static const uint8_t payload[3000];
    struct dice dice = {.state = 2};
    struct flow flow = flow_make(&dice, false, true);
    flow.options = false;
    memcpy(flow.addresses, "\x0a\x00\x00\x01\x0a\xc8\x00\x02", 8);
    size_t size = flow_next(&flow, FLOW_ACK, payload, sizeof payload, s->packet);
    put16(flow_checksum(s->packet), flow_pseudo(s->packet, size - 20));
    const struct virtio_net_hdr header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                          .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                          .gso_size = 1300,
                                          .csum_start = 20,
                                          .csum_offset = 16};
    forward_from_host(s->worker, s->packet, size, &header, false);
    static const size_t sizes[] = {1340, 1340, 440};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        assert_int_equal(rig_waits(&s->rig, 0, s->a1, s->heard, ROOM), sizes[i]);
        assert_true(is_between(s, "10.0.0.1", "10.100.0.2"));
        assert_true(flow_right(s->heard, sizes[i]));
    }
}

/* VXLAN: the host left the inner checksum undone, and the outer one is none. */
static void the_checksum_of_a_packet_within_is_not_the_outer_ones(void **state) {
    struct scene *s = *state;
    const struct virtio_net_hdr header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 100, .csum_offset = 6};
    size_t size = rig_packet("10.0.0.1", "10.200.0.2", 100, false, s->packet);
    put16(s->packet + 26, 0);
    forward_from_host(s->worker, s->packet, size, &header, false);
    assert_int_equal(rig_waits(&s->rig, 0, s->a1, s->heard, ROOM), size);
    assert_true(is_between(s, "10.0.0.1", "10.100.0.2"));
    assert_int_equal(get16(s->heard + 26), 0);
    assert_int_not_equal(get16(s->heard + 106), 0);
}

static void packets_for_another_worker_are_handed_over_once(void **state) {
    struct scene *s = *state;
    const struct virtio_net_hdr header = {0};
    struct rig rig;
    rig_open(&rig, 2);
    struct peer *peer = rig_peer(&rig, 1, 7, 0, (const char *[]){"10.7.0.0/16", NULL}, NULL);
    size_t size = rig_packet("10.0.0.1", "10.7.0.1", 100, false, s->packet);
    forward_from_host(rig.workers[0], s->packet, size, &header, false);
    assert_int_equal(rig.workers[0]->counters.handed_over, 1);
    assert_true(intake_pending(rig.workers[1]));
    intake_parcels(rig.workers[1]);
    assert_int_equal(rig_waits(&rig, 1, peer, s->heard, ROOM), size);
    /* The route went to the first worker meanwhile: what is on its way is not sent round and round. */
    forward_from_host(rig.workers[0], s->packet, size, &header, false);
    struct prefix prefix = rig_prefix("10.7.0.0/16");
    assert_int_equal(directory_insert_route(rig.directory, &prefix, directory_id(0, 9), NULL), 0);
    intake_parcels(rig.workers[1]);
    assert_int_equal(rig_drops(&rig, ENGINE_DROP_NO_ROUTE), 1);
    assert_false(intake_pending(rig.workers[0]));
    rig_close(&rig);
}

/* Packets of rig_packet() come from port 7. */
static void a_datagram_of_our_own_does_not_go_into_the_tunnel(void **state) {
    struct scene *s = *state;
    const struct virtio_net_hdr header = {0};
    size_t size = rig_packet("127.0.0.1", "10.150.0.9", 100, false, s->packet);
    forward_from_host(s->worker, s->packet, size, &header, false);
    assert_int_equal(rig_waits(&s->rig, 0, s->p1, s->heard, ROOM), size); /* from another port than ours */
    s->worker->io.port = 7;
    forward_from_host(s->worker, s->packet, size, &header, false);
    assert_int_equal(rig_waits(&s->rig, 0, s->p1, s->heard, ROOM), 0);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_LOOPED), 1);
    /* As a later fragment it has no ports; and what another host sent from that port is not ours. */
    put16(s->packet + 6, 100);
    forward_from_host(s->worker, s->packet, size, &header, false);
    assert_int_equal(rig_waits(&s->rig, 0, s->p1, s->heard, ROOM), size);
    size = rig_packet("192.0.2.77", "10.150.0.9", 100, false, s->packet);
    forward_from_host(s->worker, s->packet, size, &header, false);
    assert_int_equal(rig_waits(&s->rig, 0, s->p1, s->heard, ROOM), size);
    size = rig_packet("::1", "fd00:c::2", 100, false, s->packet);
    forward_from_host(s->worker, s->packet, size, &header, false);
    assert_int_equal(rig_drops(&s->rig, ENGINE_DROP_LOOPED), 2);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        SCENE(the_hub_sees_a_private_router_by_its_hub_address),
        SCENE(a_private_lan_has_no_name_at_the_hub),
        SCENE(a_source_must_be_the_peers_own),
        SCENE(an_icmp_error_speaks_of_the_routers_own_flows),
        SCENE(routers_of_a_tenant_meet_without_the_host),
        SCENE(a_packet_does_not_go_back_where_it_came_from),
        SCENE(tenants_do_not_meet),
        SCENE(a_datagram_of_our_own_does_not_go_into_the_tunnel),
        SCENE(the_world_is_for_those_with_egress),
        SCENE(egress_leads_to_nothing_that_is_not_the_worlds),
        SCENE(who_is_not_answered_is_not_heard),
        SCENE(a_hub_that_is_a_network_answers_by_its_first_address),
        SCENE(groups_are_not_forwarded_nor_answered),
        SCENE(the_host_reaches_a_router_by_its_hub_address),
        SCENE(the_host_carries_nothing_from_tenant_to_tenant),
        SCENE(without_hub_prefixes_everybody_but_tenants_may_enter),
        SCENE(too_big_from_site_to_site_is_told),
        SCENE(limits_hold_in_each_direction),
        SCENE(congestion_seen_outside_is_told_inside),
        SCENE(rubbish_inside_is_dropped),
        SCENE(a_large_packet_of_the_host_is_translated_and_cut),
        SCENE(the_checksum_of_a_packet_within_is_not_the_outer_ones),
        SCENE(packets_for_another_worker_are_handed_over_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
