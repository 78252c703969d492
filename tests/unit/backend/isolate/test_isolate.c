/* The programs' maps through isolate.h, and the programs by test runs of the kernel: no interface, no packet on any
 * wire. In a mount namespace with a BPF file system of its own; needs root, skipped without. tests/bpf has the system
 * tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "backend/isolate/isolate.h"
#include "base/bytes.h"
#include "bpf/isolate.h"
#include "model/problem.h"

#define NAME "sp.test" /* with a dot, which no pin may have */
#define PINS "/sys/fs/bpf/sallyport/sp:test/layout2/"
#define LINK_HEADER 14 /* of a test run */

static bool able;

static int own_namespace(void **state) {
    struct problem problem;
    (void)state;
    able = unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) == 0 && isolate_usable(&problem) == 0;
    return 0;
}

static struct isolate *opened(void) {
    struct isolate *isolate;
    struct problem problem;
    if (!able) {
        print_message("needs root and a kernel with BPF\n");
        skip();
    }
    if (isolate_open(NAME, &isolate, &problem) < 0) {
        fail_msg("%s", problem.detail);
    }
    return isolate;
}

/* --- values --- */

static struct uuid id_of(uint32_t number) {
    struct uuid id = {0};
    be32_put(id.bytes + 12, number);
    return id;
}

static void set_tenant(struct isolate *isolate, uint32_t number, bool egress) {
    const struct desired_tenant tenant = {.id = id_of(number), .egress = egress};
    assert_int_equal(isolate_set_tenant(isolate, &tenant), 0);
}

static struct prefix prefix_of(const char *text) {
    struct prefix prefix;
    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

static struct desired_peer peer_of(uint32_t key, uint32_t tenant, const char *address, const char *lan) {
    struct desired_peer peer = {.tenant = id_of(tenant), .address = prefix_of(address).addr};
    be32_put(peer.public_key.bytes, key);
    peer.hub_address = peer.address;
    if (lan) {
        peer.lans[peer.lan_count++] = prefix_of(lan);
    }
    return peer;
}

static void add(struct isolate *isolate, const struct desired_peer *peer) {
    assert_int_equal(isolate_move(isolate, NULL, peer), 0);
    assert_int_equal(isolate_flush(isolate), 0);
}

/* 0: nobody's. */
static uint32_t owner_of(struct isolate *isolate, const char *address) {
    struct uuid id;
    const struct ip_addr addr = prefix_of(address).addr;
    return isolate_owner(isolate, &addr, &id) < 0 ? 0 : be32_get(id.bytes + 12);
}

static int keep_tenant(void *context, const struct actual_tenant *tenant) {
    struct actual_tenant *all = context;
    all[be32_get(tenant->is.id.bytes + 12)] = *tenant;
    return 0;
}

static struct actual_tenant tenant_of(struct isolate *isolate, uint32_t number) {
    struct actual_tenant all[16] = {0};
    assert_in_range(number, 1, 15);
    assert_int_equal(isolate_each_tenant(isolate, keep_tenant, all), 0);
    return all[number];
}

/* Which place in the pinned map says that it is this tenant's. */
static uint32_t slot_of(uint32_t number) {
    const struct uuid id = id_of(number);
    int fd = bpf_obj_get(PINS "tenants_0");
    assert_true(fd >= 0);
    for (uint32_t slot = 1; slot < ISOLATE_CHUNK_SLOTS; slot++) {
        struct isolate_tenant record;
        assert_int_equal(bpf_map_lookup_elem(fd, &slot, &record), 0);
        if (memcmp(record.id, &id, sizeof record.id) == 0) {
            close(fd);
            return slot;
        }
    }
    fail_msg("tenant %u has no slot", number);
    return 0;
}

/* --- test runs --- */

/* What the program says to this packet; with `segments` of `segment_size` bytes if it is a large one. */
static int judge(const char *program, const uint8_t *packet, size_t size, uint32_t segments, uint32_t segment_size) {
    uint8_t frame[4096] = {0}; /* a test run takes no more than a page */
    char path[128];
    struct __sk_buff context = {.gso_segs = segments, .gso_size = segment_size};
    be16_put(frame + 12, packet[0] >> 4 == 4 ? 0x0800 : 0x86dd);
    memcpy(frame + LINK_HEADER, packet, size);
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = (uint32_t)(LINK_HEADER + size),
                .ctx_in = &context, .ctx_size_in = sizeof context);
    snprintf(path, sizeof path, PINS "%s", program);
    int fd = bpf_obj_get(path);
    assert_true(fd >= 0);
    assert_int_equal(bpf_prog_test_run_opts(fd, &options), 0);
    close(fd);
    return (int)options.retval;
}

static size_t make_v4(uint8_t *packet, const char *from, const char *to, uint8_t protocol, size_t size) {
    memset(packet, 0, size);
    packet[0] = 0x45;
    be16_put(packet + 2, (uint16_t)size);
    packet[8] = 64;
    packet[9] = protocol;
    memcpy(packet + 12, prefix_of(from).addr.bytes, 4);
    memcpy(packet + 16, prefix_of(to).addr.bytes, 4);
    return size;
}

static int judge_v4(const char *program, const char *from, const char *to) {
    uint8_t packet[128];
    return judge(program, packet, make_v4(packet, from, to, 17, 60), 0, 0);
}

/* --- tests --- */

static void tables_grow_and_are_taken_up(void **state) {
    const uint32_t count = 270000; /* more than the second table holds */
    struct isolate *isolate = opened();
    (void)state;
    for (uint32_t i = 1; i <= count; i++) {
        struct desired_peer peer = {.tenant = id_of(i), .address = ip_from_v4(0x0a000000 + i)};
        be32_put(peer.public_key.bytes, i);
        set_tenant(isolate, i, false);
        assert_int_equal(isolate_move(isolate, NULL, &peer), 0);
    }
    assert_int_equal(isolate_flush(isolate), 0);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(isolate_tenant_count(isolate), count);
        for (uint32_t i = 1; i <= count; i += 997) {
            char text[IP_TEXT_SIZE];
            const struct ip_addr address = ip_from_v4(0x0a000000 + i);
            assert_int_equal(owner_of(isolate, ip_format(&address, text)), i);
        }
        isolate_close(isolate);
        isolate = opened();
    }
    isolate_destroy(isolate);
    assert_int_not_equal(access("/sys/fs/bpf/sallyport", F_OK), 0);
}

static void a_slot_used_again_inherits_neither_addresses_nor_usage(void **state) {
    struct isolate *isolate = opened();
    const struct prefix hub = {.addr = prefix_of("10.0.0.1").addr, .length = 8};
    struct desired_peer peer = peer_of(1, 1, "10.1.0.1", NULL);
    unsigned touched = 0;
    (void)state;
    assert_int_equal(isolate_set_hub(isolate, &hub, 1, &touched), 0);
    set_tenant(isolate, 1, false);
    add(isolate, &peer);
    assert_int_equal(judge_v4("from_router", "10.1.0.1", "10.0.0.1"), (int)(uint32_t)TC_ACT_UNSPEC);
    assert_int_equal(tenant_of(isolate, 1).packets_received, 1);
    uint32_t slot = slot_of(1);
    const struct uuid id = id_of(1);
    assert_int_equal(isolate_remove_tenant(isolate, &id), 0);
    /* all others have their turn before the slot comes again */
    for (uint32_t i = 0; i < ISOLATE_CHUNK_SLOTS - 2; i++) {
        const struct uuid other = id_of(3);
        set_tenant(isolate, 3, false);
        assert_int_equal(isolate_remove_tenant(isolate, &other), 0);
    }
    set_tenant(isolate, 2, true);
    assert_int_equal(slot_of(2), slot);
    assert_int_equal(owner_of(isolate, "10.1.0.1"), 0);
    assert_int_equal(judge_v4("from_router", "10.1.0.1", "10.0.0.1"), TC_ACT_SHOT);
    assert_int_equal(tenant_of(isolate, 2).packets_received, 0);
    /* and the place of the address can be had again */
    assert_int_equal(isolate_move(isolate, &peer, NULL), 0);
    peer.tenant = id_of(2);
    add(isolate, &peer);
    assert_int_equal(judge_v4("from_router", "10.1.0.1", "10.0.0.1"), (int)(uint32_t)TC_ACT_UNSPEC);
    assert_int_equal(tenant_of(isolate, 2).packets_received, 1);
    isolate_destroy(isolate);
}

/* Each CPU has its copy of a policy, the first one's written last: what a process that ended in between left of a
 * tenant that it made, or removed, or changed, is what it was before. */
static void what_was_written_for_some_cpus_only_is_taken_back(void **state) {
    struct isolate *isolate = opened();
    const struct isolate_policy forged = {.tenant = (7u << ISOLATE_SLOT_BITS) | 9, .flags = ISOLATE_EGRESS};
    struct isolate_account account;
    struct isolate_policy kept;
    (void)state;
    set_tenant(isolate, 1, false);
    uint32_t slot = slot_of(1);
    isolate_close(isolate);
    int fd = bpf_obj_get(PINS "accounts_0");
    struct bpf_map_info info = {0};
    uint32_t size = sizeof info;
    assert_true(fd >= 0);
    assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
    uint32_t cpus = info.max_entries / ISOLATE_CHUNK_SLOTS, first = ISOLATE_ACCOUNT(0, slot);
    assert_int_equal(bpf_map_lookup_elem(fd, &first, &account), 0);
    kept = account.policy;
    assert_int_equal(kept.tenant & ISOLATE_SLOT_MASK, slot);
    for (uint32_t cpu = 1; cpu < cpus; cpu++) {
        uint32_t changed = ISOLATE_ACCOUNT(cpu, slot), made = ISOLATE_ACCOUNT(cpu, 9);
        account = (struct isolate_account){.policy = {.tenant = kept.tenant, .flags = ISOLATE_EGRESS}};
        assert_int_equal(bpf_map_update_elem(fd, &changed, &account, BPF_ANY), 0);
        account.policy = forged;
        assert_int_equal(bpf_map_update_elem(fd, &made, &account, BPF_ANY), 0);
    }
    isolate = opened();
    assert_int_equal(isolate_tenant_count(isolate), 1);
    for (uint32_t cpu = 0; cpu < cpus; cpu++) {
        uint32_t changed = ISOLATE_ACCOUNT(cpu, slot), made = ISOLATE_ACCOUNT(cpu, 9);
        assert_int_equal(bpf_map_lookup_elem(fd, &changed, &account), 0);
        assert_memory_equal(&account.policy, &kept, sizeof kept);
        assert_int_equal(bpf_map_lookup_elem(fd, &made, &account), 0);
        assert_int_equal(account.policy.tenant, ISOLATE_NOBODY);
    }
    close(fd);
    isolate_destroy(isolate);
}

/* There are 4096 numbers for each slot. What is mapped to one that is gone must not come alive with the next round. */
static void numbers_come_back_late(void **state) {
    struct isolate *isolate = opened();
    struct desired_peer peer = peer_of(1, 1, "10.1.0.1", NULL);
    const struct uuid first = id_of(1);
    (void)state;
    set_tenant(isolate, 1, false);
    add(isolate, &peer);
    assert_int_equal(isolate_remove_tenant(isolate, &first), 0);
    for (uint32_t i = 2; i < 9000; i++) {
        const struct uuid id = id_of(i);
        set_tenant(isolate, i, false);
        assert_int_equal(owner_of(isolate, "10.1.0.1"), 0);
        assert_int_equal(isolate_remove_tenant(isolate, &id), 0);
    }
    assert_int_equal(isolate_tenant_count(isolate), 0);
    isolate_destroy(isolate);
}

/* A tenant that has all of IPv6 behind a router has none of IPv4, and the other way round. */
static void no_prefix_of_a_family_holds_addresses_of_the_other(void **state) {
    struct isolate *isolate = opened();
    struct desired_peer six = peer_of(1, 1, "10.1.0.1", "::/0"), four = peer_of(2, 2, "10.2.0.1", "0.0.0.0/0");
    (void)state;
    set_tenant(isolate, 1, false);
    add(isolate, &six);
    assert_int_equal(owner_of(isolate, "2001:db8::1"), 1);
    assert_int_equal(owner_of(isolate, "192.0.2.1"), 0);
    set_tenant(isolate, 2, false);
    add(isolate, &four);
    assert_int_equal(owner_of(isolate, "192.0.2.1"), 2);
    assert_int_equal(owner_of(isolate, "::ffff:192.0.2.1"), 1);
    assert_int_equal(isolate_move(isolate, &six, NULL), 0);
    assert_int_equal(owner_of(isolate, "2001:db8::1"), 0);
    isolate_destroy(isolate);
}

static void lans_are_found_by_the_longest_prefix(void **state) {
    struct isolate *isolate = opened();
    struct desired_peer wide = peer_of(1, 1, "10.1.0.1", "192.168.0.0/16"),
                        narrow = peer_of(2, 2, "10.2.0.1", "192.168.7.0/24"),
                        host = peer_of(3, 3, "10.3.0.1", "192.168.7.7/32");
    (void)state;
    set_tenant(isolate, 1, false);
    set_tenant(isolate, 2, false);
    set_tenant(isolate, 3, false);
    add(isolate, &host);
    add(isolate, &narrow);
    add(isolate, &wide);
    assert_int_equal(owner_of(isolate, "192.168.7.7"), 3);
    assert_int_equal(owner_of(isolate, "192.168.7.8"), 2);
    assert_int_equal(owner_of(isolate, "192.168.8.8"), 1);
    /* taking the one away does not take the other */
    assert_int_equal(isolate_move(isolate, &narrow, NULL), 0);
    assert_int_equal(owner_of(isolate, "192.168.7.8"), 1);
    assert_int_equal(owner_of(isolate, "192.168.7.7"), 3);
    isolate_destroy(isolate);
}

static void only_what_changed_of_a_peer_is_changed(void **state) {
    struct isolate *isolate = opened();
    struct desired_peer was = peer_of(1, 1, "10.1.0.1", "192.168.1.0/24"),
                        is = peer_of(1, 1, "10.1.0.1", "192.168.2.0/24");
    (void)state;
    set_tenant(isolate, 1, false);
    add(isolate, &was);
    assert_int_equal(isolate_move(isolate, &was, &is), 0);
    assert_int_equal(owner_of(isolate, "10.1.0.1"), 1); /* before any flush */
    assert_int_equal(isolate_flush(isolate), 0);
    assert_int_equal(owner_of(isolate, "192.168.1.9"), 0);
    assert_int_equal(owner_of(isolate, "192.168.2.9"), 1);
    isolate_destroy(isolate);
}

static void large_packets_count_as_what_they_are_on_the_wire(void **state) {
    uint8_t packet[4096];
    struct isolate *isolate = opened();
    struct desired_peer peer = peer_of(1, 1, "10.1.0.1", NULL);
    const struct prefix hub = {.addr = prefix_of("10.0.0.1").addr, .length = 8};
    unsigned touched = 0;
    (void)state;
    set_tenant(isolate, 1, false);
    assert_int_equal(isolate_set_hub(isolate, &hub, 1, &touched), 0);
    add(isolate, &peer);
    /* 3 segments of 1000 bytes behind one header of 20 + 32 bytes */
    make_v4(packet, "10.1.0.1", "10.0.0.1", 6, 52 + 3000);
    packet[20 + 12] = 8 << 4;
    assert_int_equal(judge("from_router", packet, 52 + 3000, 3, 1000), (int)(uint32_t)TC_ACT_UNSPEC);
    make_v4(packet, "10.0.0.1", "10.1.0.1", 17, 28 + 2500);
    assert_int_equal(judge("to_router", packet, 28 + 2500, 3, 1000), (int)(uint32_t)TC_ACT_UNSPEC);
    /* a test run's frames have a link header, which is part of what is counted */
    struct actual_tenant tenant = tenant_of(isolate, 1);
    assert_int_equal(tenant.packets_received, 3);
    assert_int_equal(tenant.bytes_received, LINK_HEADER + 3 * (52 + 1000));
    assert_int_equal(tenant.packets_sent, 3);
    assert_int_equal(tenant.bytes_sent, LINK_HEADER + 3 * 28 + 2500);
    isolate_destroy(isolate);
}

static void check_finds_strays_and_gaps(void **state) {
    struct isolate *isolate = opened();
    struct isolate_check *check;
    struct desired_peer right = peer_of(1, 1, "10.1.0.1", "192.168.1.0/24"),
                        stray = peer_of(2, 1, "10.1.0.2", "192.168.2.0/24"),
                        missing = peer_of(3, 1, "10.1.0.3", "192.168.3.0/24");
    unsigned touched = 0;
    (void)state;
    set_tenant(isolate, 1, false);
    add(isolate, &right);
    add(isolate, &stray);
    /* a walk that breaks off removes nothing */
    assert_int_equal(isolate_check_begin(isolate, &check), 0);
    assert_int_equal(isolate_check_end(check, false, &touched), 0);
    assert_int_equal(touched, 0);
    assert_int_equal(isolate_check_begin(isolate, &check), 0);
    assert_int_equal(isolate_check_peer(check, &right, &touched), 0);
    assert_int_equal(touched, 0);
    assert_int_equal(isolate_check_peer(check, &missing, &touched), 0);
    assert_int_equal(isolate_check_end(check, true, &touched), 0);
    assert_int_equal(touched, 4);
    assert_int_equal(owner_of(isolate, "10.1.0.1"), 1);
    assert_int_equal(owner_of(isolate, "192.168.1.9"), 1);
    assert_int_equal(owner_of(isolate, "10.1.0.2"), 0);
    assert_int_equal(owner_of(isolate, "192.168.2.9"), 0);
    assert_int_equal(owner_of(isolate, "10.1.0.3"), 1);
    assert_int_equal(owner_of(isolate, "192.168.3.9"), 1);
    assert_int_equal(isolate_check_end(NULL, true, &touched), 0);
    isolate_destroy(isolate);
}

static void what_is_told_of_tenants_is_what_was_set(void **state) {
    struct isolate *isolate = opened();
    const struct desired_tenant wanted = {
        .id = id_of(5), .egress = true, .limits = {.bits_per_second = 12345678, .packets_per_second = 1}};
    const struct desired_tenant private = {.id = id_of(6), .addressing = ADDRESSING_PRIVATE};
    struct desired_peer of_nobody = peer_of(1, 9, "10.1.0.1", NULL);
    (void)state;
    assert_int_equal(isolate_set_tenant(isolate, &wanted), 0);
    assert_int_equal(isolate_set_tenant(isolate, &wanted), 0);
    assert_int_equal(isolate_set_tenant(isolate, &private), -EOPNOTSUPP);
    assert_int_equal(isolate_move(isolate, NULL, &of_nobody), -ENOENT);
    assert_int_equal(isolate_tenant_count(isolate), 1);
    struct actual_tenant tenant = tenant_of(isolate, 5);
    assert_true(tenant.is.egress);
    assert_int_equal(tenant.is.addressing, ADDRESSING_UNIQUE);
    assert_int_equal(tenant.is.limits.bits_per_second, 12345678);
    assert_int_equal(tenant.is.limits.packets_per_second, 1);
    isolate_destroy(isolate);
}

static void nothing_is_opened_without_a_bpf_file_system(void **state) {
    struct isolate *isolate = NULL;
    struct problem problem = {0};
    (void)state;
    if (!able) {
        skip();
    }
    while (umount("/sys/fs/bpf") == 0) { /* ours, and the one below it */
    }
    assert_int_equal(isolate_usable(&problem), -ENOTDIR);
    assert_int_equal(isolate_open(NAME, &isolate, &problem), -ENOTDIR);
    assert_null(isolate);
    assert_non_null(strstr(problem.detail, "mount -t bpf bpf /sys/fs/bpf"));
    isolate_close(NULL);
    isolate_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_grow_and_are_taken_up),
        cmocka_unit_test(a_slot_used_again_inherits_neither_addresses_nor_usage),
        cmocka_unit_test(what_was_written_for_some_cpus_only_is_taken_back),
        cmocka_unit_test(numbers_come_back_late),
        cmocka_unit_test(no_prefix_of_a_family_holds_addresses_of_the_other),
        cmocka_unit_test(lans_are_found_by_the_longest_prefix),
        cmocka_unit_test(only_what_changed_of_a_peer_is_changed),
        cmocka_unit_test(large_packets_count_as_what_they_are_on_the_wire),
        cmocka_unit_test(check_finds_strays_and_gaps),
        cmocka_unit_test(what_is_told_of_tenants_is_what_was_set),
        cmocka_unit_test(nothing_is_opened_without_a_bpf_file_system), /* the last: it takes the file system away */
    };
    return cmocka_run_group_tests(tests, own_namespace, NULL);
}
