#include "fake_host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host/claim.h"
#include "backend/host/fence.h"
#include "backend/host/link.h"
#include "backend/host/sentinel.h"
#include "backend/isolate/isolate.h"
#include "backend/wireguard/wireguard.h"
#include "fake_kernel.h"

struct fake_host fake_host;

void fake_host_reset(void) {
    memset(&fake_host, 0, sizeof fake_host);
}

static int take(int *error) {
    int taken = *error;
    *error = 0;
    return taken;
}

/* --- WireGuard --- */

int wireguard_open(const char *interface_name, struct wireguard **ret_wireguard) {
    fake_kernel.no_interface = !fake_host.exists || strcmp(fake_host.kind, "wireguard") != 0;
    return wireguard_open_through(interface_name, fake_kernel_connect, NULL, ret_wireguard);
}

/* --- link.h --- */

struct link {
    unsigned index;
};

int link_create(const char *interface_name, const char *kind) {
    int rc = take(&fake_host.create_error);
    (void)interface_name;
    if (rc < 0 || fake_host.exists) {
        return rc < 0 ? rc : -EEXIST;
    }
    fake_host.exists = true;
    fake_host.up = false;
    fake_host.alias[0] = '\0';
    fake_host.index = 10 + fake_host.made++;
    fake_host.mtu = 1420;
    fake_host.address_count = 0;
    fake_host.attached = false;
    snprintf(fake_host.kind, sizeof fake_host.kind, "%s", kind);
    fake_kernel.no_interface = false;
    return 0;
}

int link_delete(const char *interface_name) {
    (void)interface_name;
    fake_host.exists = fake_host.attached = false;
    while (fake_kernel.peer_count) {
        struct key key = fake_kernel.peers[0].public_key;
        fake_kernel_drop(&key);
    }
    fake_kernel.listen_port = 0;
    memset(&fake_kernel.private_key, 0, sizeof fake_kernel.private_key);
    fake_kernel.no_interface = true;
    return 0;
}

int link_open(const char *interface_name, struct link **ret_link) {
    (void)interface_name;
    if (!fake_host.exists) {
        return -ENODEV;
    }
    *ret_link = calloc(1, sizeof **ret_link);
    return 0;
}

void link_free(struct link *link) {
    free(link);
}

int link_get(struct link *link, struct link_state *ret_state) {
    (void)link;
    *ret_state = (struct link_state){
        .up = fake_host.up, .mtu = fake_host.mtu, .index = fake_host.index, .packets_received = 5, .packets_sent = 7};
    memcpy(ret_state->kind, fake_host.kind, sizeof ret_state->kind);
    memcpy(ret_state->alias, fake_host.alias, sizeof ret_state->alias);
    return 0;
}

int link_look(const char *interface_name, struct link_state *ret_state) {
    struct link *link = NULL;
    int rc = link_open(interface_name, &link);
    rc = rc < 0 ? rc : link_get(link, ret_state);
    link_free(link);
    return rc;
}

int link_set_up(struct link *link) {
    int rc = take(&fake_host.up_error);
    (void)link;
    fake_host.up = rc == 0;
    return rc;
}

int link_set_mtu(struct link *link, unsigned mtu) {
    (void)link;
    fake_host.mtu = mtu;
    return 0;
}

int link_set_alias(struct link *link, const char *alias) {
    int rc = take(&fake_host.alias_error);
    (void)link;
    if (rc == 0) {
        snprintf(fake_host.alias, sizeof fake_host.alias, "%s", alias);
    }
    return rc;
}

int link_each_address(struct link *link, link_prefix_fn *fn, void *context) {
    (void)link;
    for (size_t i = 0; i < fake_host.address_count; i++) {
        fn(context, &fake_host.addresses[i]);
    }
    return 0;
}

int link_add_address(struct link *link, const struct prefix *address) {
    (void)link;
    fake_host.addresses[fake_host.address_count++] = *address;
    return 0;
}

/* As Linux: an address goes with an earlier one of its network. */
int link_remove_address(struct link *link, const struct prefix *address) {
    struct prefix gone = *address;
    bool first = false, still = false;
    size_t kept = 0;
    (void)link;
    for (size_t i = 0; i < fake_host.address_count; i++) {
        struct prefix one = fake_host.addresses[i];
        bool same = prefix_equal(&one, &gone);
        bool second = first && one.length == gone.length && prefix_contains(&gone, &one.addr);
        first |= same;
        if (!same && !second) {
            still |= ip_equal(&one.addr, &gone.addr);
            fake_host.addresses[kept++] = one;
        }
    }
    fake_host.bare += first && !still;
    fake_host.address_count = kept;
    return 0;
}

int link_each_route(struct link *link, link_route_fn *fn, void *context) {
    (void)link, (void)fn, (void)context;
    return 0;
}

int link_set_rules(struct link *link, uint8_t family) {
    (void)link, (void)family;
    return 0;
}

int link_each_host_fact(const char *interface_name, backend_host_fn *fn, void *context) {
    (void)interface_name, (void)fn, (void)context;
    return 0;
}

int link_add_route(struct link *link, const struct prefix *prefix) {
    (void)link, (void)prefix;
    return 0;
}

int link_remove_route(struct link *link, const struct prefix *prefix, uint32_t table) {
    (void)link, (void)prefix, (void)table;
    return 0;
}

/* --- isolate.h --- */

struct isolate {
    int nothing;
};

int isolate_usable(struct problem *ret_why_not) {
    (void)ret_why_not;
    return 0;
}

int isolate_open(const char *interface_name, struct isolate **ret_isolate, struct problem *ret_problem) {
    int rc = take(&fake_host.isolate_open_error);
    (void)interface_name;
    if (rc < 0) {
        problem_set(ret_problem, PROBLEM_UNAVAILABLE, "no-bpf", "", "No eBPF here.");
        return rc;
    }
    fake_host.programs = true;
    *ret_isolate = calloc(1, sizeof **ret_isolate);
    return 0;
}

void isolate_close(struct isolate *isolate) {
    free(isolate);
}

void isolate_destroy(struct isolate *isolate) {
    if (isolate) {
        fake_host.programs = fake_host.attached = false;
        fake_host.known_count = fake_host.tenant_count = 0;
    }
    free(isolate);
}

int isolate_attach(struct isolate *isolate, unsigned ifindex, unsigned *ret_touched, struct problem *ret_problem) {
    int rc = take(&fake_host.attach_error);
    (void)isolate, (void)ifindex;
    if (rc < 0) {
        problem_set(ret_problem, PROBLEM_UNAVAILABLE, "no-attach", "", "Cannot attach.");
        return rc;
    }
    *ret_touched += !fake_host.attached;
    fake_host.attached = true;
    return 0;
}

int isolate_set_hub(struct isolate *isolate, const struct prefix *hub, size_t count, unsigned *ret_touched) {
    (void)isolate, (void)hub, (void)count, (void)ret_touched;
    return 0;
}

static size_t tenant_at(const struct uuid *id) {
    size_t at = 0;
    while (at < fake_host.tenant_count && memcmp(&fake_host.tenants[at], id, sizeof *id) != 0) {
        at++;
    }
    return at;
}

int isolate_set_tenant(struct isolate *isolate, const struct desired_tenant *tenant) {
    (void)isolate;
    if (tenant_at(&tenant->id) == fake_host.tenant_count) {
        fake_host.tenants[fake_host.tenant_count++] = tenant->id;
        fake_host.egress_count += tenant->egress;
    }
    return 0;
}

int isolate_remove_tenant(struct isolate *isolate, const struct uuid *id) {
    (void)isolate;
    size_t at = tenant_at(id);
    if (at < fake_host.tenant_count) {
        fake_host.tenants[at] = fake_host.tenants[--fake_host.tenant_count];
    }
    return 0;
}

bool isolate_has_egress(const struct isolate *isolate) {
    (void)isolate;
    return fake_host.egress_count > 0;
}

size_t isolate_tenant_count(const struct isolate *isolate) {
    (void)isolate;
    return fake_host.tenant_count;
}

static size_t list_of(const struct desired_peer *peer, struct prefix list[ROUTER_LANS_MAX + 2]) {
    size_t count = 0;
    if (peer->address.family) {
        list[count++] = (struct prefix){.addr = peer->address, .length = 32};
    }
    if (peer->address6.family) {
        list[count++] = (struct prefix){.addr = peer->address6, .length = 128};
    }
    for (uint32_t i = 0; i < peer->lan_count; i++) {
        list[count++] = peer->lans[i];
    }
    return count;
}

static struct fake_address *find(const struct prefix *prefix) {
    for (size_t i = 0; i < fake_host.known_count; i++) {
        if (prefix_equal(&fake_host.known[i].prefix, prefix)) {
            return &fake_host.known[i];
        }
    }
    return NULL;
}

const struct key *fake_host_owner(const struct prefix *prefix) {
    struct fake_address *address = find(prefix);
    return address ? &address->peer : NULL;
}

int isolate_move(struct isolate *isolate, const struct desired_peer *was, const struct desired_peer *is) {
    struct prefix list[ROUTER_LANS_MAX + 2];
    int rc = take(&fake_host.move_error);
    (void)isolate;
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0, count = was ? list_of(was, list) : 0; i < count; i++) {
        struct fake_address *address = find(&list[i]);
        if (address && memcmp(&address->peer, &was->public_key, KEY_SIZE) == 0) {
            *address = fake_host.known[--fake_host.known_count];
            if (fake_host.on_forget) {
                fake_host.on_forget();
            }
        }
    }
    if (is && tenant_at(&is->tenant) == fake_host.tenant_count) {
        return -ENOENT;
    }
    for (size_t i = 0, count = is ? list_of(is, list) : 0; i < count; i++) {
        struct fake_address *address = find(&list[i]);
        address = address ? address : &fake_host.known[fake_host.known_count++];
        *address = (struct fake_address){.prefix = list[i], .peer = is->public_key, .tenant = is->tenant};
        fake_host.queued++;
    }
    return 0;
}

int isolate_flush(struct isolate *isolate) {
    (void)isolate;
    fake_host.queued = 0;
    return 0;
}

int isolate_owner(struct isolate *isolate, const struct ip_addr *address, struct uuid *ret_tenant) {
    (void)isolate;
    for (size_t i = 0; i < fake_host.known_count; i++) {
        if (ip_equal(&fake_host.known[i].prefix.addr, address)) {
            *ret_tenant = fake_host.known[i].tenant;
            return 0;
        }
    }
    return -ENOENT;
}

struct isolate_check {
    struct fake_address told[sizeof fake_host.known / sizeof *fake_host.known];
    size_t count;
};

int isolate_check_begin(struct isolate *isolate, struct isolate_check **ret_check) {
    (void)isolate;
    *ret_check = calloc(1, sizeof **ret_check);
    return 0;
}

int isolate_check_peer(struct isolate_check *check, const struct desired_peer *peer, unsigned *ret_touched) {
    struct prefix list[ROUTER_LANS_MAX + 2];
    (void)ret_touched;
    if (tenant_at(&peer->tenant) == fake_host.tenant_count) {
        return -ENOENT;
    }
    for (size_t i = 0, count = list_of(peer, list); i < count; i++) {
        check->told[check->count++] =
            (struct fake_address){.prefix = list[i], .peer = peer->public_key, .tenant = peer->tenant};
    }
    return 0;
}

int isolate_check_end(struct isolate_check *check, bool complete, unsigned *ret_touched) {
    if (complete) {
        memcpy(fake_host.known, check->told, sizeof check->told);
        *ret_touched += fake_host.known_count != check->count;
        fake_host.known_count = check->count;
    }
    free(check);
    return 0;
}

int isolate_each_tenant(struct isolate *isolate, backend_tenant_fn *fn, void *context) {
    (void)isolate;
    for (size_t i = 0; i < fake_host.tenant_count; i++) {
        struct actual_tenant tenant = {.is.id = fake_host.tenants[i]};
        fn(context, &tenant);
    }
    return 0;
}

int isolate_each_counter(struct isolate *isolate, backend_counter_fn *fn, void *context) {
    (void)isolate;
    return fn(context, "drop.prohibited", 3);
}

/* --- claim.h --- */

int claim_take(const char *interface_name, struct problem *ret_problem) {
    (void)interface_name;
    if (fake_host.claimed) {
        return problem_set(ret_problem, PROBLEM_CONFLICT, "interface-claimed", "", "Another sallyportd keeps it.");
    }
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* --- fence.h --- */

bool fence_is_half_blind(const struct fence *fence) {
    (void)fence;
    return fake_host.half_blind;
}

struct fence {
    int nothing;
};

int fence_open(const char *interface_name, struct fence **ret_fence, struct problem *ret_problem) {
    (void)interface_name, (void)ret_problem;
    *ret_fence = calloc(1, sizeof **ret_fence);
    return 0;
}

void fence_close(struct fence *fence) {
    free(fence);
}

int fence_set(struct fence *fence, const struct fence_rules *rules, unsigned *ret_touched,
              struct problem *ret_problem) {
    int rc = take(&fake_host.fence_error);
    (void)fence;
    fake_host.fence_rules = *rules;
    if (rc < 0) {
        problem_set(ret_problem, PROBLEM_CONFLICT, "foreign-table", "", "A table of that name is somebody else's.");
        return rc;
    }
    *ret_touched += !fake_host.fence;
    fake_host.fence = true;
    return 0;
}

int fence_count(struct fence *fence, struct fence_counts *ret_counts) {
    (void)fence;
    *ret_counts = (struct fence_counts){.forged = 5, .looped = 6};
    return 0;
}

int fence_remove(struct fence *fence, struct problem *ret_problem) {
    (void)fence, (void)ret_problem;
    fake_host.fence = false;
    return 0;
}

/* --- sentinel.h --- */

struct sentinel {
    int nothing;
};

int sentinel_usable(void) {
    return take(&fake_host.nftables_error);
}

int sentinel_open(const char *fence_table, struct sentinel **ret_sentinel) {
    (void)fence_table;
    *ret_sentinel = calloc(1, sizeof **ret_sentinel);
    return 0;
}

void sentinel_free(struct sentinel *sentinel) {
    free(sentinel);
}

void sentinel_watch(struct sentinel *sentinel, unsigned ifindex) {
    (void)sentinel, (void)ifindex;
}

bool sentinel_heed(struct sentinel *sentinel) {
    (void)sentinel;
    return atomic_exchange(&fake_host.rung, false);
}

void sentinel_settle(struct sentinel *sentinel) {
    (void)sentinel_heed(sentinel);
}

void sentinel_ring(struct sentinel *sentinel) {
    (void)sentinel;
    atomic_store(&fake_host.rung, true);
}
