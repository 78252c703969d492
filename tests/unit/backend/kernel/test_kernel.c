/* The kernel backend on a host in memory: what it says to WireGuard and to the programs, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "backend/backend.h"
#include "backend/host/device.h"
#include "backend/host/link.h"
#include "fake_host.h"
#include "fake_kernel.h"

static const struct backend_ops *const ops = &backend_kernel;
static struct backend *b, *watch; /* as service/ has them: for deltas, for looks */
static struct problem problem;
static struct key private_key;

static struct prefix prefix_of(const char *text) {
    struct prefix prefix;
    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

static struct ip_addr ip_of(const char *text) {
    struct ip_addr addr;
    assert_int_equal(ip_parse(text, &addr), 0);
    return addr;
}

static struct uuid tenant_of(unsigned number) {
    struct uuid id = {{0}};
    id.bytes[15] = (uint8_t)number;
    return id;
}

static struct desired_device device_of(void) {
    struct desired_device device = {.listen_port = 51820, .hub_address_count = 2, .mtu = 1400};
    device.private_key = private_key;
    device.hub_addresses[0] = (struct prefix){.addr = ip_of("10.0.0.1"), .length = 8};
    device.hub_addresses[1] = (struct prefix){.addr = ip_of("fd00::1"), .length = 48};
    return device;
}

static struct backend *connect_one(void) {
    struct backend_config config = {.interface_name = FAKE_KERNEL_NAME};
    struct backend *made = NULL;
    int rc = ops->open(&config, &made, &problem);
    assert_true(rc == 0 || !made);
    return made;
}

static int set_device(unsigned *touched) {
    struct desired_device device = device_of();
    return ops->set_device(b, &device, touched, &problem);
}

static int begin_test(void **state) {
    (void)state;
    memset(&problem, 0, sizeof problem);
    fake_kernel_reset();
    fake_host_reset();
    key_make_private(&private_key);
    b = NULL;
    return 0;
}

static int begin_up(void **state) {
    unsigned touched;
    begin_test(state);
    b = connect_one();
    return b && set_device(&touched) == 0 ? 0 : -1;
}

static int end_test(void **state) {
    (void)state;
    ops->close(watch);
    ops->close(b);
    watch = b = NULL;
    fake_kernel_end();
    fake_kernel_reset();
    return 0;
}

/* --- changes, in few words --- */

static struct desired_change tenant_set(unsigned number) {
    return (struct desired_change){.kind = DESIRED_TENANT_SET, .tenant.id = tenant_of(number)};
}

static struct desired_change tenant_remove(unsigned number) {
    return (struct desired_change){.kind = DESIRED_TENANT_REMOVE, .tenant.id = tenant_of(number)};
}

/* Peer N of a tenant has 10.0.1.N, fd00::1:N, and LANs. */
static struct desired_change peer_set(unsigned number, unsigned tenant, const char *lan, const char *lan2) {
    struct desired_change change;
    char text[32];
    memset(&change, 0, sizeof change);
    change.kind = DESIRED_PEER_SET;
    change.peer.public_key = fake_kernel_key(number);
    change.peer.tenant = tenant_of(tenant);
    snprintf(text, sizeof text, "10.0.1.%u", number);
    change.peer.address = change.peer.hub_address = ip_of(text);
    snprintf(text, sizeof text, "fd00::1:%u", number);
    change.peer.address6 = ip_of(text);
    if (lan) {
        change.peer.lans[change.peer.lan_count++] = prefix_of(lan);
    }
    if (lan2) {
        change.peer.lans[change.peer.lan_count++] = prefix_of(lan2);
    }
    return change;
}

static struct desired_change peer_remove(unsigned number) {
    return (struct desired_change){.kind = DESIRED_PEER_REMOVE, .peer.public_key = fake_kernel_key(number)};
}

static int apply(const struct desired_change *changes, size_t count) {
    return ops->apply(b, changes, count, &problem);
}

static void apply_one(struct desired_change change) {
    assert_int_equal(apply(&change, 1), 0);
    assert_int_equal(fake_host.queued, 0);
}

static struct fake_peer *peer_of(unsigned number) {
    struct key key = fake_kernel_key(number);
    return fake_kernel_peer(&key);
}

static bool holds(unsigned number, const char *prefix) {
    struct prefix wanted = prefix_of(prefix);
    struct fake_peer *peer = peer_of(number);
    for (size_t i = 0; peer && i < peer->allowed_count; i++) {
        if (prefix_equal(&peer->allowed[i], &wanted)) {
            return true;
        }
    }
    return false;
}

/* 0: nobody's. */
static unsigned owner(const char *text) {
    struct prefix prefix = prefix_of(text);
    const struct key *key = fake_host_owner(&prefix);
    unsigned number = 0;
    if (key) {
        memcpy(&number, key->bytes, sizeof number);
    }
    return number;
}

static struct backend_state look(void) {
    struct backend_state state;
    assert_int_equal(ops->state(b, &state), 0);
    fake_kernel_quiet();
    return state;
}

struct told {
    size_t count, foreign;
    struct actual_peer peers[300];
};

static int tell(void *context, const struct actual_peer *peer) {
    struct told *told = context;
    if (told->count < sizeof told->peers / sizeof *told->peers) {
        told->peers[told->count] = *peer;
    }
    told->count++;
    told->foreign += peer->foreign_allowed_ips;
    return 0;
}

static struct told *ask(uint64_t since, uint64_t *ret_mark) {
    static struct told told;
    memset(&told, 0, sizeof told);
    assert_int_equal(ops->each_peer(b, since, tell, &told, ret_mark), 0);
    fake_kernel_quiet();
    return &told;
}

/* --- coming up --- */

static void everything_is_set_up_and_a_second_time_nothing_is_touched(void **state) {
    unsigned touched = 0;
    struct backend_state seen;
    (void)state;
    b = connect_one();
    assert_non_null(b);
    assert_int_equal(set_device(&touched), 0);
    assert_true(touched > 0);
    assert_true(fake_host.exists && fake_host.up && fake_host.attached && fake_host.fence);
    assert_int_equal(strncmp(fake_host.alias, "sallyport:", 10), 0);
    assert_int_equal(fake_kernel.listen_port, 51820);
    assert_memory_equal(&fake_kernel.private_key, &private_key, KEY_SIZE);
    assert_int_equal(fake_host.mtu, 1400);
    assert_int_equal(fake_host.address_count, 2);
    unsigned sets = fake_kernel.sets;
    assert_int_equal(set_device(&touched), 0);
    assert_int_equal(touched, 0);
    assert_int_equal(fake_kernel.sets, sets);
    seen = look();
    assert_true(seen.up);
    assert_string_equal(seen.name, "kernel");
    assert_int_equal(seen.listen_port, 51820);
    assert_true(seen.generation != 0);
    assert_false(ops->heed(b));
}

static void the_hub_keeps_its_address_while_its_pool_grows(void **state) {
    const struct prefix narrow = {.addr = ip_of("10.0.0.1"), .length = 24};
    unsigned touched = 0;
    (void)state;
    fake_host.addresses[0] = narrow;
    fake_host.address_count = 1;
    assert_int_equal(set_device(&touched), 0);
    assert_int_equal(fake_host.address_count, 2);
    assert_int_equal(fake_host.bare, 0);
}

static void an_address_that_goes_with_another_is_given_again(void **state) {
    const struct desired_device device = device_of();
    char warning[BACKEND_WARNING_SIZE] = "";
    unsigned touched = 0;
    (void)state;
    fake_host.addresses[0] = (struct prefix){.addr = ip_of("10.0.0.9"), .length = 8};
    fake_host.address_count = 1;
    assert_int_equal(device_mend(FAKE_KERNEL_NAME, &device, &touched, warning, &problem), 0);
    assert_int_equal(fake_host.address_count, 2);
}

static void what_cannot_be_finished_is_undone(void **state) {
    (void)state;
    for (int step = 0; step < 7; step++) {
        unsigned touched = 77;
        begin_test(state);
        fake_host.isolate_open_error = step == 0 ? -EPERM : 0;
        fake_host.alias_error = step == 5 ? -EPERM : 0;
        fake_host.create_error = step == 6 ? -ENOMEM : 0;
        b = connect_one();
        assert_int_equal(b != NULL, step != 0 && step < 5);
        fake_host.attach_error = step == 1 ? -EPERM : 0;
        fake_host.fence_error = step == 2 ? -EEXIST : 0;
        fake_kernel.port_taken = step == 3;
        fake_host.up_error = step == 4 ? -EADDRINUSE : 0;
        if (b) {
            assert_true(set_device(&touched) < 0);
            assert_int_equal(touched, 77);
        }
        assert_true(problem.detail[0]);
        if (step == 3 || step == 4) {
            assert_string_equal(problem.type, "port-in-use");
        }
        assert_false(fake_host.exists);
        assert_false(fake_host.fence);
        assert_false(fake_host.attached);
        assert_false(fake_host.programs);
        fake_kernel.port_taken = false;
        if (b) {
            /* and when the reason is gone it comes up */
            assert_int_equal(ops->revive(b, &problem), 0);
            assert_int_equal(set_device(&touched), 0);
            assert_true(fake_host.up);
        }
        end_test(state);
        b = NULL;
    }
}

static void an_interface_that_was_there_is_not_deleted_when_a_step_fails(void **state) {
    unsigned touched;
    (void)state;
    struct desired_change changes[] = {tenant_set(1), peer_set(1, 1, NULL, NULL)};
    assert_int_equal(apply(changes, 2), 0);
    fake_host.fence_error = -EEXIST;
    assert_true(set_device(&touched) < 0);
    assert_true(fake_host.exists);
    assert_non_null(peer_of(1));
}

static void a_foreign_interface_is_refused_untouched(void **state) {
    static const struct {
        const char *kind, *alias, *words;
        bool has_key;
    } cases[] = {
        {"wireguard", "", "sallyport import --interface wg0", true},
        {"wireguard", "of the office", "sallyport import", false},
        {"wireguard", "sallyports", "sallyport import", true},
        {"tun", "", "sallyport-wg", false},
        {"tun", "sallyport", "sallyport-wg", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake_host before;
        begin_test(state);
        fake_host.exists = true;
        fake_host.index = 5;
        snprintf(fake_host.kind, sizeof fake_host.kind, "%s", cases[i].kind);
        snprintf(fake_host.alias, sizeof fake_host.alias, "%s", cases[i].alias);
        if (cases[i].has_key) {
            fake_kernel.private_key = private_key;
        }
        before = fake_host;
        b = connect_one();
        assert_null(b);
        assert_non_null(strstr(problem.detail, cases[i].words));
        assert_string_equal(fake_host.alias, before.alias);
        assert_true(fake_host.exists);
        assert_false(fake_host.programs);
        assert_int_equal(fake_kernel.sets, 0);
        assert_int_equal(backend_kernel_usable("wg0", &problem),
                         strcmp(cases[i].kind, "wireguard") == 0 ? -EEXIST : -EBUSY);
        assert_int_equal(backend_kernel_release("wg0", &problem), 0);
        assert_true(fake_host.exists);
        fake_kernel_end();
    }
}

static void a_blank_interface_and_an_adopted_one_are_ours(void **state) {
    (void)state;
    for (int adopted = 0; adopted < 2; adopted++) {
        begin_test(state);
        fake_host.exists = true;
        fake_host.index = 5;
        strcpy(fake_host.kind, "wireguard");
        strcpy(fake_host.alias, adopted ? "sallyport" : "");
        if (adopted) {
            fake_kernel.private_key = private_key;
        }
        assert_int_equal(backend_kernel_usable("wg0", &problem), 0);
        b = connect_one();
        assert_non_null(b);
        assert_int_equal(strncmp(fake_host.alias, "sallyport:", 10), 0);
        assert_int_equal(fake_host.made, 0);
        end_test(state);
        b = NULL;
    }
}

static void usable_says_why_not(void **state) {
    (void)state;
    assert_int_equal(backend_kernel_usable("wg0", &problem), 0);
    assert_false(fake_host.exists);
    fake_host.nftables_error = -EOPNOTSUPP;
    assert_int_equal(backend_kernel_usable("wg0", &problem), -EOPNOTSUPP);
    assert_non_null(strstr(problem.detail, "nftables"));
    fake_kernel.absent = true;
    assert_int_equal(backend_kernel_usable("wg0", &problem), -EOPNOTSUPP);
    assert_non_null(strstr(problem.detail, "no WireGuard"));
    fake_kernel.absent = false;
    fake_kernel.no_rights = true;
    assert_int_equal(backend_kernel_usable("wg0", &problem), -EPERM);
    assert_non_null(strstr(problem.detail, "CAP_NET_ADMIN"));
    fake_kernel.no_rights = false;
    fake_host.create_error = -EPERM;
    assert_null(connect_one());
    assert_non_null(strstr(problem.detail, "CAP_NET_ADMIN"));
}

static void released_it_leaves_nothing(void **state) {
    (void)state;
    ops->close(b);
    b = NULL;
    assert_int_equal(backend_kernel_release("wg0", &problem), 1);
    assert_false(fake_host.exists || fake_host.fence || fake_host.programs);
    assert_int_equal(backend_kernel_release("wg0", &problem), 0);
    fake_host.fence = true; /* left alone, it would drop what comes from another wg0 */
    assert_int_equal(backend_kernel_release("wg0", &problem), 0);
    assert_false(fake_host.fence);
}

/* --- changes --- */

static void a_peer_gets_all_it_should_have(void **state) {
    (void)state;
    struct desired_change set = peer_set(1, 1, "192.168.1.0/24", NULL);
    set.peer.preshared_key = fake_kernel_key(99);
    assert_int_equal(endpoint_parse("192.0.2.7:1234", &set.peer.endpoint), 0);
    struct desired_change changes[] = {tenant_set(1), set};
    assert_int_equal(apply(changes, 2), 0);
    assert_true(holds(1, "10.0.1.1/32") && holds(1, "fd00::1:1/128") && holds(1, "192.168.1.0/24"));
    assert_memory_equal(&peer_of(1)->preshared_key, &set.peer.preshared_key, KEY_SIZE);
    assert_true(endpoint_equal(&peer_of(1)->endpoint, &set.peer.endpoint));
    assert_int_equal(owner("10.0.1.1/32"), 1);
    assert_int_equal(owner("192.168.1.0/24"), 1);
    assert_int_equal(look().peers, 1);
    assert_int_equal(look().tenants, 1);
    /* the same once more is not even said */
    size_t before = fake_kernel.changes;
    apply_one(set);
    assert_int_equal(fake_kernel.changes, before);
}

static void only_what_differs_is_said(void **state) {
    (void)state;
    apply_one(tenant_set(1));
    struct desired_change set = peer_set(1, 1, "192.168.1.0/24", NULL);
    assert_int_equal(endpoint_parse("192.0.2.7:1234", &set.peer.endpoint), 0);
    apply_one(set);
    size_t endpoints = fake_kernel.endpoints;
    set.peer.lans[set.peer.lan_count++] = prefix_of("192.168.2.0/24");
    apply_one(set);
    assert_int_equal(fake_kernel.replaced, 0); /* what it had was not taken from it */
    assert_true(holds(1, "192.168.1.0/24") && holds(1, "192.168.2.0/24"));
    set.peer.preshared_key = fake_kernel_key(5);
    apply_one(set);
    assert_int_equal(fake_kernel.replaced, 0);
    assert_memory_equal(&peer_of(1)->preshared_key, &set.peer.preshared_key, KEY_SIZE);
    memset(&set.peer.preshared_key, 0, KEY_SIZE);
    apply_one(set);
    assert_true(key_is_zero(&peer_of(1)->preshared_key));
    assert_int_equal(fake_kernel.endpoints, endpoints); /* where it is the kernel knows better */
}

static void a_lan_is_taken_away_by_old_kernels_and_new(void **state) {
    (void)state;
    for (int can = 0; can < 2; can++) {
        if (can) {
            begin_up(state);
        }
        fake_kernel.can_withdraw = can;
        apply_one(tenant_set(1));
        apply_one(peer_set(1, 1, "192.168.1.0/24", "192.168.2.0/24"));
        apply_one(peer_set(1, 1, "192.168.2.0/24", NULL));
        assert_true(holds(1, "10.0.1.1/32") && holds(1, "192.168.2.0/24"));
        assert_false(holds(1, "192.168.1.0/24"));
        assert_int_equal(owner("192.168.1.0/24"), 0);
        assert_int_equal(owner("192.168.2.0/24"), 1);
        assert_int_equal(fake_kernel.replaced, !can);
        if (!can) {
            end_test(state);
        }
    }
}

static void a_removed_peer_is_powerless_at_once_and_gone_soon(void **state) {
    uint64_t mark;
    (void)state;
    apply_one(tenant_set(1));
    apply_one(peer_set(1, 1, "192.168.1.0/24", NULL));
    apply_one(peer_set(2, 1, NULL, NULL));
    apply_one(peer_remove(1));
    assert_non_null(peer_of(1));
    assert_int_equal(peer_of(1)->allowed_count, 0);
    assert_int_equal(owner("10.0.1.1/32"), 0);
    assert_int_equal(owner("192.168.1.0/24"), 0);
    assert_int_equal(ask(0, &mark)->count, 1);
    assert_int_equal(look().peers, 1);
    assert_null(peer_of(1));
    assert_non_null(peer_of(2));
    assert_false(ops->heed(b));
    apply_one(peer_remove(1)); /* one that is not there */
}

static void thousands_are_revoked_in_few_messages(void **state) {
    static struct desired_change changes[200];
    (void)state;
    apply_one(tenant_set(1));
    for (unsigned i = 0; i < 200; i++) {
        changes[i] = peer_set(i + 1, 1, NULL, NULL);
    }
    assert_int_equal(apply(changes, 200), 0);
    unsigned sets = fake_kernel.sets;
    size_t removed = fake_kernel.removed;
    apply_one(tenant_remove(1));
    assert_int_equal(fake_kernel.sets, sets + 1);
    assert_int_equal(fake_kernel.removed, removed);
    for (unsigned i = 1; i <= 200; i++) {
        assert_int_equal(peer_of(i)->allowed_count, 0);
    }
    assert_int_equal(fake_host.known_count, 0);
    assert_int_equal(fake_host.tenant_count, 0);
    for (int i = 0; i < 50 && fake_kernel.peer_count; i++) {
        look();
    }
    assert_int_equal(fake_kernel.peer_count, 0);
}

static void many_new_ones_are_told_of_as_wrong_by_either_side(void **state) {
    static struct desired_change changes[200];
    uint64_t mark;
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        changes[i] = peer_set(i + 1, 1, NULL, NULL);
    }
    assert_int_equal(apply(changes, 200), -ENOENT); /* the programs do not know the tenant */
    assert_string_equal(problem.type, "unknown-tenant");
    fake_kernel_quiet();
    for (unsigned i = 1; i <= 200; i++) {
        apply_one(peer_remove(i));
    }
    for (int i = 0; i < 50 && fake_kernel.peer_count; i++) {
        look();
    }
    changes[0] = tenant_set(1);
    fake_kernel.peers_taken = fake_kernel.changes + 100;
    fake_kernel.error = -ENOBUFS;
    assert_int_equal(apply(changes, 200), -ENOBUFS);
    fake_kernel_quiet();
    assert_in_range(fake_kernel.peer_count, 1, 150);
    fake_kernel.error = 0;
    assert_int_equal(apply(changes, 200), 0);
    assert_int_equal(fake_kernel.peer_count, 199);
    assert_int_equal(owner("10.0.1.200/32"), 200);
    assert_int_equal(ask(0, &mark)->foreign, 0);
}

static void a_peer_that_comes_back_counts_from_zero(void **state) {
    (void)state;
    apply_one(tenant_set(1));
    apply_one(peer_set(1, 1, NULL, NULL));
    peer_of(1)->bytes_received = 1000;
    struct desired_change changes[] = {peer_remove(1), peer_set(1, 1, NULL, NULL)};
    assert_int_equal(apply(changes, 2), 0);
    assert_int_equal(peer_of(1)->bytes_received, 0);
    assert_true(holds(1, "10.0.1.1/32"));
    assert_int_equal(owner("10.0.1.1/32"), 1);
    look();
    assert_non_null(peer_of(1));
}

static void expect_moved(void) {
    assert_true(holds(2, "192.168.1.0/24"));
    assert_false(holds(1, "192.168.1.0/24"));
    assert_int_equal(owner("192.168.1.0/24"), 2);
    assert_true(holds(1, "10.0.1.1/32") && holds(2, "10.0.1.2/32"));
}

static void a_lan_moves_from_one_peer_to_another_in_one_batch(void **state) {
    (void)state;
    for (int order = 0; order < 4; order++) {
        if (order) {
            end_test(state);
            begin_up(state);
        }
        fake_kernel.can_withdraw = order & 1;
        struct desired_change begin[] = {tenant_set(1), tenant_set(2), peer_set(1, 1, "192.168.1.0/24", NULL),
                                         peer_set(2, 2, NULL, NULL)};
        assert_int_equal(apply(begin, 4), 0);
        struct desired_change lose = peer_set(1, 1, NULL, NULL), gain = peer_set(2, 2, "192.168.1.0/24", NULL);
        struct desired_change move[] = {order & 2 ? lose : gain, order & 2 ? gain : lose};
        assert_int_equal(apply(move, 2), 0);
        expect_moved();
    }
}

/* When the programs forget the address of somebody, the kernel has not yet given it to another. */
static void check_order(void) {
    assert_false(holds(2, "192.168.1.0/24"));
}

static void an_address_is_nobodys_while_it_moves(void **state) {
    (void)state;
    struct desired_change begin[] = {tenant_set(1), tenant_set(2), peer_set(1, 1, "192.168.1.0/24", NULL),
                                     peer_set(2, 2, NULL, NULL)};
    assert_int_equal(apply(begin, 4), 0);
    fake_host.on_forget = check_order;
    struct desired_change move[] = {peer_set(2, 2, "192.168.1.0/24", NULL), peer_set(1, 1, NULL, NULL)};
    assert_int_equal(apply(move, 2), 0);
    expect_moved();
}

/* A peer that was there before us, as a server's configuration made it. */
static void an_adopted_peer_is_only_added_to(void **state) {
    struct desired_change changes[] = {tenant_set(1), peer_set(1, 1, NULL, NULL)};
    const struct prefix own = {.addr = ip_of("10.0.1.1"), .length = 32};
    uint64_t mark;
    (void)state;
    fake_kernel_quiet();
    struct fake_peer *peer = fake_kernel_add(&changes[1].peer.public_key);
    peer->keepalive_s = 25;
    fake_kernel_allow(peer, &own);
    assert_int_equal(apply(changes, 2), 0);
    assert_int_equal(ask(0, &mark)->foreign, 0);
    assert_int_equal(apply(changes, 2), 0);
    assert_int_equal(fake_kernel_peer(&changes[1].peer.public_key)->keepalive_s, 0);
    assert_true(holds(1, "10.0.1.1/32"));
    assert_int_equal(fake_kernel.replaced, 0);
}

static void an_error_half_way_is_told_and_everything_is_said_again(void **state) {
    uint64_t mark;
    (void)state;
    apply_one(tenant_set(1));
    apply_one(peer_set(1, 1, NULL, NULL));
    struct desired_change changes[] = {peer_set(1, 1, "192.168.1.0/24", NULL), peer_set(2, 1, NULL, NULL)};
    fake_kernel.peers_taken = fake_kernel.changes + 2;
    fake_kernel.error = -ENOBUFS;
    assert_int_equal(apply(changes, 2), -ENOBUFS);
    assert_true(problem.detail[0]);
    fake_kernel.error = 0;
    assert_int_equal(ask(0, &mark)->foreign, 1);
    assert_int_equal(apply(changes, 2), 0);
    assert_true(holds(1, "192.168.1.0/24") && holds(2, "10.0.1.2/32"));
    assert_int_equal(owner("192.168.1.0/24"), 1);
    assert_int_equal(ask(0, &mark)->foreign, 0);
    fake_host.move_error = -ENOSPC;
    assert_int_equal(apply(changes, 2), -ENOSPC);
    assert_int_equal(ask(0, &mark)->foreign, 2);
    assert_int_equal(apply(changes, 2), 0);
    assert_int_equal(ask(0, &mark)->foreign, 0);
}

static void private_addressing_is_refused_with_the_way_out(void **state) {
    (void)state;
    struct desired_change tenant = tenant_set(1);
    tenant.tenant.addressing = ADDRESSING_PRIVATE;
    assert_int_equal(apply(&tenant, 1), -EOPNOTSUPP);
    assert_string_equal(problem.field, "addressing");
    assert_non_null(strstr(problem.detail, "kind = engine"));
    apply_one(tenant_set(1));
    struct desired_change peer = peer_set(1, 1, NULL, NULL);
    peer.peer.hub_address = ip_of("10.9.9.9");
    assert_int_equal(apply(&peer, 1), -EOPNOTSUPP);
    assert_int_equal(fake_kernel.peer_count, 0);
}

/* --- looking --- */

static void what_it_holds_is_told_as_it_was_set(void **state) {
    uint64_t mark;
    (void)state;
    struct desired_change set = peer_set(1, 3, "192.168.1.0/24", "10.77.0.0/16");
    set.peer.preshared_key = fake_kernel_key(99);
    apply_one(tenant_set(3));
    apply_one(set);
    peer_of(1)->bytes_received = 5;
    peer_of(1)->handshake_s = 1700000000;
    struct told *told = ask(0, &mark);
    const struct desired_peer *is = &told->peers[0].is;
    assert_int_equal(told->count, 1);
    assert_false(told->peers[0].foreign_allowed_ips);
    assert_memory_equal(&is->tenant, &set.peer.tenant, sizeof is->tenant);
    assert_true(ip_equal(&is->address, &set.peer.address) && ip_equal(&is->hub_address, &set.peer.address));
    assert_true(ip_equal(&is->address6, &set.peer.address6));
    assert_int_equal(is->lan_count, 2);
    assert_memory_equal(&is->preshared_key, &set.peer.preshared_key, KEY_SIZE);
    assert_int_equal(told->peers[0].bytes_received, 5);
    assert_true(told->peers[0].last_handshake_at_us == INT64_C(1700000000000000));
}

static void only_news_are_told_since_a_mark(void **state) {
    uint64_t mark, second;
    (void)state;
    apply_one(tenant_set(1));
    for (unsigned i = 1; i <= 5; i++) {
        apply_one(peer_set(i, 1, NULL, NULL));
    }
    assert_int_equal(ask(0, &mark)->count, 5);
    assert_int_equal(ask(mark, &second)->count, 0);
    peer_of(3)->bytes_sent++;
    assert_int_equal(endpoint_parse("192.0.2.1:9", &peer_of(4)->endpoint), 0);
    look(); /* patrols on the way, which must not eat the news */
    assert_int_equal(ask(mark, &second)->count, 2);
    assert_int_equal(ask(second, &mark)->count, 0);
    assert_int_equal(ask(0, &mark)->count, 5);
}

static void a_hand_on_a_peer_is_noticed_and_mended(void **state) {
    uint64_t mark;
    (void)state;
    struct prefix stolen = prefix_of("10.0.1.1/32");
    struct key stranger = fake_kernel_key(200), one = fake_kernel_key(1);
    apply_one(tenant_set(1));
    struct prefix stray = prefix_of("10.9.9.9/32");
    struct desired_change set = peer_set(1, 1, "192.168.1.0/24", NULL), other = peer_set(2, 1, NULL, NULL);
    assert_int_equal(endpoint_parse("192.0.2.7:7", &set.peer.endpoint), 0); /* where it was before it roamed */
    apply_one(set);
    apply_one(other);
    look();
    assert_false(ops->heed(b));
    for (int hand = 0; hand < 7; hand++) {
        union endpoint endpoint;
        assert_int_equal(endpoint_parse("192.0.2.8:8", &endpoint), 0);
        peer_of(1)->endpoint = endpoint;
        ask(0, &mark);
        assert_false(ops->heed(b));
        switch (hand) {
        case 0:
            fake_kernel_allow(peer_of(2), &stolen);
            break;
        case 1:
            peer_of(1)->allowed_count--;
            break;
        case 2:
            peer_of(1)->preshared_key = fake_kernel_key(7);
            break;
        case 3:
            peer_of(1)->keepalive_s = 25;
            break;
        case 4:
            fake_kernel_drop(&one);
            break;
        case 5:
            fake_kernel_allow(peer_of(1), &stray);
            break;
        default:
            fake_kernel_allow(fake_kernel_add(&stranger), &stolen);
            break;
        }
        ask(mark, &mark); /* the counters, as every few seconds */
        assert_true(ops->heed(b));
        /* what service/sync/reconcile.c then does */
        struct told *told = ask(0, &mark);
        for (size_t i = 0; i < told->count; i++) {
            if (memcmp(&told->peers[i].is.public_key, &stranger, KEY_SIZE) == 0) {
                apply_one(peer_remove(200));
            }
        }
        apply_one(set);
        apply_one(other);
        look();
        assert_true(holds(1, "10.0.1.1/32") && holds(1, "192.168.1.0/24") && holds(1, "fd00::1:1/128"));
        assert_true(key_is_zero(&peer_of(1)->preshared_key));
        assert_int_equal(peer_of(1)->keepalive_s, 0);
        assert_int_equal(peer_of(1)->allowed_count, 3);
        assert_int_equal(peer_of(2)->allowed_count, 2);
        assert_int_equal(fake_kernel.peer_count, 2);
        assert_int_equal(owner("10.0.1.1/32"), 1);
        if (hand != 4) {
            assert_true(endpoint_equal(&peer_of(1)->endpoint, &endpoint)); /* its session was not touched */
        }
        ask(mark, &mark);
        assert_false(ops->heed(b));
    }
}

static void peers_are_known_again_after_a_restart(void **state) {
    uint64_t mark;
    unsigned touched;
    (void)state;
    struct desired_change set = peer_set(1, 1, "192.168.1.0/24", NULL);
    set.peer.preshared_key = fake_kernel_key(9);
    apply_one(tenant_set(1));
    apply_one(set);
    uint64_t generation = look().generation;
    ops->close(b);
    b = connect_one();
    assert_int_equal(set_device(&touched), 0);
    assert_int_equal(touched, 0);
    assert_true(look().generation == generation);
    struct told *told = ask(0, &mark);
    assert_int_equal(told->count, 1);
    assert_int_equal(told->foreign, 0);
    const struct desired_peer *is = &told->peers[0].is;
    assert_memory_equal(&is->tenant, &set.peer.tenant, sizeof set.peer.tenant);
    assert_true(ip_equal(&is->address, &set.peer.address) && ip_equal(&is->hub_address, &set.peer.address));
    assert_true(ip_equal(&is->address6, &set.peer.address6));
    assert_int_equal(is->lan_count, 1);
    assert_true(prefix_equal(&is->lans[0], &set.peer.lans[0]));
    size_t before = fake_kernel.changes;
    apply_one(set);
    assert_int_equal(fake_kernel.changes, before);
    assert_int_equal(look().peers, 1);
    assert_false(ops->heed(b));
}

static void a_peer_that_the_programs_do_not_know_is_set_whole_after_a_restart(void **state) {
    uint64_t mark;
    unsigned touched;
    union endpoint endpoint;
    (void)state;
    struct desired_change set = peer_set(1, 1, NULL, NULL);
    apply_one(tenant_set(1));
    apply_one(set);
    assert_int_equal(endpoint_parse("192.0.2.8:8", &endpoint), 0);
    peer_of(1)->endpoint = endpoint;
    ops->close(b);
    fake_host.known_count = 0;
    b = connect_one();
    assert_int_equal(set_device(&touched), 0);
    assert_int_equal(ask(0, &mark)->foreign, 1);
    apply_one(set);
    assert_int_equal(owner("10.0.1.1/32"), 1);
    assert_true(endpoint_equal(&peer_of(1)->endpoint, &endpoint));
    assert_int_equal(ask(0, &mark)->foreign, 0);
}

static void the_maps_of_the_programs_are_mended_with_the_rest(void **state) {
    uint64_t mark;
    (void)state;
    struct prefix stray = prefix_of("10.5.5.5/32");
    apply_one(tenant_set(1));
    apply_one(peer_set(1, 1, "192.168.1.0/24", NULL));
    apply_one(peer_set(2, 1, NULL, NULL));
    apply_one(peer_remove(2));
    fake_host.known[0].prefix = stray; /* and 10.0.1.1 is gone */
    assert_int_equal(owner("10.0.1.1/32"), 0);
    ask(0, &mark);
    assert_int_equal(owner("10.0.1.1/32"), 1);
    assert_int_equal(owner("192.168.1.0/24"), 1);
    assert_null(fake_host_owner(&stray));
    assert_int_equal(owner("10.0.1.2/32"), 0);
}

static void changes_of_our_own_during_a_dump_ring_no_alarm(void **state) {
    uint64_t mark;
    (void)state;
    watch = connect_one();
    apply_one(tenant_set(1));
    for (unsigned i = 1; i <= 200; i++) {
        apply_one(peer_set(i, 1, NULL, NULL));
    }
    struct told *told = ask(0, &mark);
    assert_int_equal(told->count, 200);
    fake_kernel.cut = 1; /* a dump that breaks off, as when its next peer is removed */
    assert_int_equal(ops->each_peer(watch, mark, tell, told, &mark), 0);
    assert_false(ops->heed(b));
    fake_kernel.cut = 2;
    fake_kernel.piece_size = 2000;
    assert_in_range(ask(0, &mark)->count, 200, 500); /* repeated until it was whole */
    assert_int_equal(ops->state(watch, &(struct backend_state){{0}}), 0);
    assert_false(ops->heed(b));
}

struct beside {
    atomic_bool over;
    int rc; /* of the first delta that failed */
};

/* Makes, changes and removes peers 1 to 40 again and again. No assertions: they jump, which only the main thread may.
 */
static void *deltas(void *context) {
    struct beside *beside = context;
    for (unsigned i = 0; i < 1500 && beside->rc == 0; i++) {
        unsigned number = i * 7 % 40 + 1;
        char lan[32];
        snprintf(lan, sizeof lan, "192.168.%u.0/24", number);
        struct desired_change change = i % 3 == 0   ? peer_remove(number)
                                       : i % 3 == 1 ? peer_set(number, 1 + number % 2, NULL, NULL)
                                                    : peer_set(number, 1 + number % 2, i % 2 ? lan : NULL, NULL);
        beside->rc = apply(&change, 1);
    }
    atomic_store(&beside->over, true);
    return NULL;
}

static void deltas_beside_looks_ring_no_alarm_and_lose_nothing(void **state) {
    struct beside beside = {.rc = 0};
    struct told *told = calloc(1, sizeof *told);
    struct backend_state seen;
    uint64_t mark = 0;
    int rc = 0, alarms = 0;
    pthread_t thread;
    (void)state;
    watch = connect_one();
    apply_one(tenant_set(1));
    apply_one(tenant_set(2));
    assert_int_equal(ops->each_peer(watch, 0, tell, told, &mark), 0);
    pthread_create(&thread, NULL, deltas, &beside);
    for (unsigned i = 0; rc == 0 && !atomic_load(&beside.over); i++) {
        told->count = 0;
        rc = ops->each_peer(watch, i % 5 ? mark : 0, tell, told, &mark);
        rc = rc ? rc : ops->state(watch, &seen);
        alarms += ops->heed(watch);
    }
    pthread_join(thread, NULL);
    assert_int_equal(rc, 0);
    assert_int_equal(beside.rc, 0);
    assert_int_equal(alarms, 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ops->state(watch, &seen), 0);
    }
    assert_int_equal(fake_kernel.peer_count, seen.peers);
    told->count = told->foreign = 0;
    assert_int_equal(ops->each_peer(watch, 0, tell, told, &mark), 0);
    assert_int_equal(told->count, seen.peers);
    assert_int_equal(told->foreign, 0);
    for (size_t i = 0; i < told->count; i++) {
        struct prefix own = {.addr = told->peers[i].is.address, .length = 32};
        assert_memory_equal(fake_host_owner(&own), &told->peers[i].is.public_key, KEY_SIZE);
    }
    free(told);
}

static void both_connections_know_what_was_set_through_one(void **state) {
    uint64_t mark = 0;
    struct told *told = calloc(1, sizeof *told);
    (void)state;
    watch = connect_one();
    apply_one(tenant_set(1));
    apply_one(peer_set(1, 1, NULL, NULL));
    assert_int_equal(ops->each_peer(watch, 0, tell, told, &mark), 0);
    assert_int_equal(told->count, 1);
    assert_int_equal(told->foreign, 0);
    free(told);
}

static void an_interface_that_was_deleted_is_made_anew(void **state) {
    unsigned touched;
    (void)state;
    apply_one(tenant_set(1));
    struct desired_change set = peer_set(1, 1, NULL, NULL);
    apply_one(set);
    uint64_t generation = look().generation;
    link_delete("wg0");
    assert_false(look().up);
    assert_int_equal(apply(&set, 1), -ENOTCONN);
    assert_int_equal(set_device(&touched), -ENOTCONN);
    assert_int_equal(ops->each_peer(b, 0, tell, NULL, NULL), -ENOTCONN);
    assert_int_equal(ops->revive(b, &problem), 0);
    assert_int_equal(set_device(&touched), 0);
    assert_true(fake_host.up);
    assert_true(look().generation != generation);
    apply_one(set);
    assert_true(holds(1, "10.0.1.1/32"));
}

static void a_mark_that_was_wiped_is_put_back(void **state) {
    unsigned touched;
    (void)state;
    char alias[sizeof fake_host.alias];
    memcpy(alias, fake_host.alias, sizeof alias);
    fake_host.alias[0] = '\0';
    assert_true(look().up);
    assert_int_equal(set_device(&touched), 0);
    assert_int_equal(touched, 1);
    assert_string_equal(fake_host.alias, alias);
}

static void another_port_or_key_is_noticed(void **state) {
    unsigned touched;
    (void)state;
    look();
    assert_false(ops->heed(b));
    fake_kernel.listen_port = 99;
    look();
    assert_true(ops->heed(b));
    assert_int_equal(set_device(&touched), 0);
    assert_int_equal(touched, 1);
    assert_int_equal(fake_kernel.listen_port, 51820);
    key_make_private(&fake_kernel.private_key);
    look();
    assert_true(ops->heed(b));
    assert_int_equal(set_device(&touched), 0);
    assert_memory_equal(&fake_kernel.private_key, &private_key, KEY_SIZE);
}

static void the_mark_of_the_tunnels_packets_is_the_operators_unless_it_is_given(void **state) {
    struct desired_device device = device_of();
    unsigned touched;
    (void)state;
    fake_kernel.fwmark = 7;
    look();
    assert_false(ops->heed(b));
    assert_int_equal(ops->set_device(b, &device, &touched, &problem), 0);
    assert_int_equal(touched, 0);
    assert_int_equal(fake_kernel.fwmark, 7);
    device.fwmark = (struct fwmark){.given = true, .mark = 0x51};
    assert_int_equal(ops->set_device(b, &device, &touched, &problem), 0);
    assert_int_equal(touched, 1);
    assert_int_equal(fake_kernel.fwmark, 0x51);
    look();
    assert_false(ops->heed(b));
    fake_kernel.fwmark = 7;
    look();
    assert_true(ops->heed(b));
    device.fwmark.mark = 0;
    assert_int_equal(ops->set_device(b, &device, &touched, &problem), 0);
    assert_int_equal(touched, 1);
    assert_int_equal(fake_kernel.fwmark, 0);
}

/* A chain that masquerades has the host track every connection, the routers' own datagrams among them. */
static void the_fence_masquerades_while_a_tenant_has_egress(void **state) {
    unsigned touched;
    struct desired_change change = tenant_set(1);
    (void)state;
    assert_false(fake_host.fence_rules.egress);
    assert_int_equal(fake_host.fence_rules.listen_port, 51820);
    assert_int_equal(fake_host.fence_rules.hub_count, 2);
    assert_int_equal(fake_host.fence_rules.passed, 0x5a11c0de);
    change.tenant.egress = true;
    assert_int_equal(ops->apply(b, &change, 1, &problem), 0);
    assert_true(fake_host.fence_rules.egress);
    fake_host.egress_count = 0;
    assert_int_equal(set_device(&touched), 0);
    assert_false(fake_host.fence_rules.egress);
    fake_host.fence_error = -EIO;
    fake_host.tenant_count = 0;
    assert_int_equal(ops->apply(b, &change, 1, &problem), -EIO);
    assert_int_equal(fake_host.tenant_count, 0); /* nobody leaves unmasqueraded */
}

static void an_interface_that_another_process_keeps_is_left_to_it(void **state) {
    struct backend *other = NULL;
    struct backend_config config = {.interface_name = "wg9"};
    (void)state;
    fake_host.claimed = true;
    assert_int_equal(ops->open(&config, &other, &problem), -ENOTCONN);
    assert_string_equal(problem.type, "interface-claimed");
    assert_null(other);
    assert_true(fake_host.exists && fake_host.fence && fake_host.programs);
    assert_int_equal(ops->revive(b, &problem), 0); /* ours is ours */
}

/* What kind = auto asks before it takes the engine, which would cut everybody off. */
static void a_data_plane_of_an_earlier_run_is_seen_at_work(void **state) {
    (void)state;
    assert_true(backend_kernel_is_at_work(FAKE_KERNEL_NAME));
    strcpy(fake_host.alias, "");
    assert_false(backend_kernel_is_at_work(FAKE_KERNEL_NAME));
    strcpy(fake_host.alias, "sallyport");
    assert_true(backend_kernel_is_at_work(FAKE_KERNEL_NAME));
    fake_host.exists = false;
    assert_false(backend_kernel_is_at_work(FAKE_KERNEL_NAME));
}

static void what_the_fence_cannot_do_is_a_warning(void **state) {
    unsigned touched;
    (void)state;
    assert_string_equal(look().warning, "");
    fake_host.half_blind = true;
    assert_int_equal(set_device(&touched), 0);
    assert_non_null(strstr(look().warning, "CONFIG_NFT_FIB_INET"));
}

static int take_counter(void *context, const char *name, uint64_t value) {
    uint64_t *found = context;
    found[0] += strcmp(name, "packets_received") == 0 ? value : 0;
    found[1] += strcmp(name, "packets_sent") == 0 ? value : 0;
    found[2] += strcmp(name, "drop.prohibited") == 0 ? value : 0;
    found[3] += strcmp(name, "drop.forged") == 0 ? value : 0;
    found[4] += strcmp(name, "drop.looped") == 0 ? value : 0;
    return 0;
}

static void its_counters_are_the_interfaces_the_programs_and_the_fences(void **state) {
    uint64_t found[5] = {0};
    (void)state;
    assert_int_equal(ops->each_counter(b, take_counter, found), 0);
    assert_int_equal(found[0], 5);
    assert_int_equal(found[1], 7);
    assert_int_equal(found[2], 3);
    assert_int_equal(found[3], 5);
    assert_int_equal(found[4], 6);
    fake_host.exists = false;
    assert_int_equal(ops->each_counter(b, take_counter, found), -ENOTCONN);
}

#define ALONE(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin_up, end_test)

int main(void) {
    const struct CMUnitTest tests[] = {
        ALONE(everything_is_set_up_and_a_second_time_nothing_is_touched),
        CASE(the_hub_keeps_its_address_while_its_pool_grows),
        CASE(an_address_that_goes_with_another_is_given_again),
        ALONE(what_cannot_be_finished_is_undone),
        CASE(an_interface_that_was_there_is_not_deleted_when_a_step_fails),
        ALONE(a_foreign_interface_is_refused_untouched),
        ALONE(a_blank_interface_and_an_adopted_one_are_ours),
        ALONE(usable_says_why_not),
        CASE(released_it_leaves_nothing),
        CASE(a_peer_gets_all_it_should_have),
        CASE(only_what_differs_is_said),
        CASE(a_lan_is_taken_away_by_old_kernels_and_new),
        CASE(a_removed_peer_is_powerless_at_once_and_gone_soon),
        CASE(thousands_are_revoked_in_few_messages),
        CASE(many_new_ones_are_told_of_as_wrong_by_either_side),
        CASE(a_peer_that_comes_back_counts_from_zero),
        CASE(a_lan_moves_from_one_peer_to_another_in_one_batch),
        CASE(an_address_is_nobodys_while_it_moves),
        CASE(an_adopted_peer_is_only_added_to),
        CASE(an_error_half_way_is_told_and_everything_is_said_again),
        CASE(private_addressing_is_refused_with_the_way_out),
        CASE(what_it_holds_is_told_as_it_was_set),
        CASE(only_news_are_told_since_a_mark),
        CASE(a_hand_on_a_peer_is_noticed_and_mended),
        CASE(peers_are_known_again_after_a_restart),
        CASE(a_peer_that_the_programs_do_not_know_is_set_whole_after_a_restart),
        CASE(the_maps_of_the_programs_are_mended_with_the_rest),
        CASE(changes_of_our_own_during_a_dump_ring_no_alarm),
        CASE(deltas_beside_looks_ring_no_alarm_and_lose_nothing),
        CASE(both_connections_know_what_was_set_through_one),
        CASE(an_interface_that_was_deleted_is_made_anew),
        CASE(a_mark_that_was_wiped_is_put_back),
        CASE(another_port_or_key_is_noticed),
        CASE(the_mark_of_the_tunnels_packets_is_the_operators_unless_it_is_given),
        CASE(its_counters_are_the_interfaces_the_programs_and_the_fences),
        CASE(an_interface_that_another_process_keeps_is_left_to_it),
        CASE(a_data_plane_of_an_earlier_run_is_seen_at_work),
        CASE(what_the_fence_cannot_do_is_a_warning),
        CASE(the_fence_masquerades_while_a_tenant_has_egress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
