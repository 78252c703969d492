#include "backend/isolate/isolate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host/link.h"
#include "backend/isolate/hold.h"
#include "backend/isolate/types.h"
#include "base/bytes.h"
#include "model/problem.h"

/* The first of all filters of the interface. */
#define FILTER_PRIORITY 1
#define FILTER_HANDLE 1

static const struct isolate_owner hub_owner = {.tenant = ISOLATE_HUB};
static const struct isolate_owner pool_owner = {.tenant = ISOLATE_POOL};

int isolate_usable(struct problem *ret_why_not) {
    return isolate_load_try(ret_why_not);
}

int isolate_open(const char *interface_name, struct isolate **ret_isolate, struct problem *ret_problem) {
    struct isolate *isolate = calloc(1, sizeof *isolate);
    if (!isolate) {
        return -ENOMEM;
    }
    strncpy(isolate->interface_name, interface_name, sizeof isolate->interface_name - 1);
    int error = isolate_load_open(interface_name, &isolate->load, ret_problem);
    if (error) {
        goto fail;
    }
    error = isolate_slots_open(&isolate->slots, &isolate->load);
    error = error ? error : isolate_hosts_open(&isolate->hosts, &isolate->load);
    if (error) {
        problem_set(
            ret_problem, PROBLEM_UNAVAILABLE, "no-bpf", "",
            "The maps pinned under %s cannot be read: %s. Stop sallyportd, remove that folder with all it holds, "
            "start it again.",
            isolate->load.path, strerror(-error));
        isolate_load_undo(&isolate->load);
        goto fail;
    }
    *ret_isolate = isolate;
    return 0;

fail:
    isolate_close(isolate);
    return error;
}

void isolate_close(struct isolate *isolate) {
    if (!isolate) {
        return;
    }
    isolate_hosts_close(&isolate->hosts);
    isolate_slots_close(&isolate->slots);
    isolate_load_close(&isolate->load);
    free(isolate);
}

/* --- filters --- */

static int filter_attach(unsigned ifindex, enum bpf_tc_attach_point point, int program, unsigned *touched) {
    struct bpf_prog_info info = {0};
    uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(program, &info, &size) < 0) {
        return -errno;
    }
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
    LIBBPF_OPTS(bpf_tc_opts, found, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
    if (bpf_tc_query(&hook, &found) == 0 && found.prog_id == info.id) {
        return 0;
    }
    LIBBPF_OPTS(bpf_tc_opts, wanted, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY, .prog_fd = program,
                .flags = BPF_TC_F_REPLACE);
    int error = bpf_tc_attach(&hook, &wanted);
    *touched += !error;
    return error;
}

/* The kernel's answer about filters of an interface that has no place for any. */
static bool has_no_hook(unsigned ifindex) {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
    LIBBPF_OPTS(bpf_tc_opts, ours, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
    return bpf_tc_query(&hook, &ours) == -EINVAL;
}

/* Without the hold, as in a kernel that has no such thing, what is sent to routers in that moment would be lost. */
static int hook_create(const struct isolate *isolate, unsigned ifindex) {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
    struct hold *hold = NULL;
    struct link_state state = {0};
    if (has_no_hook(ifindex) && link_look(isolate->interface_name, &state) == 0 && state.up) {
        (void)hold_begin(isolate->interface_name, &hold);
    }
    isolate_load_listen(); /* forget the message about the missing qdisc */
    int error = bpf_tc_hook_create(&hook);
    hold_end(hold);
    return error == -EEXIST ? 0 : error;
}

/* The older kind of place has room for incoming packets alone, and puts there whatever is attached to the other side:
 * the one program would take the other's place, and nothing would be judged on its way out. */
static bool has_half_a_place(const struct isolate *isolate) {
    char kind[LINK_KIND_SIZE] = "";
    struct link *link = NULL;
    int rc = link_open(isolate->interface_name, &link);
    rc = rc < 0 ? rc : link_ingress_kind(link, kind);
    link_free(link);
    return rc == 0 && strcmp(kind, "ingress") == 0;
}

int isolate_attach(struct isolate *isolate, unsigned ifindex, unsigned *ret_touched, struct problem *ret_problem) {
    unsigned touched = 0;
    if (has_half_a_place(isolate)) {
        problem_set(ret_problem, PROBLEM_CONFLICT, "ingress-qdisc", "", LINK_INGRESS_PROBLEM, isolate->interface_name,
                    isolate->interface_name);
        return -EBUSY;
    }
    int error = hook_create(isolate, ifindex);
    error = error ? error : filter_attach(ifindex, BPF_TC_INGRESS, isolate->load.from_router, &touched);
    error = error ? error : filter_attach(ifindex, BPF_TC_EGRESS, isolate->load.to_router, &touched);
    if (touched) {
        hold_until_passed();
    }
    *ret_touched += touched;
    if (error) {
        problem_set(
            ret_problem, PROBLEM_UNAVAILABLE, "not-isolated", "",
            "The isolation program could not be attached to %s: %s (%s). Routers reach nothing until it is. See "
            "what is in its place with: tc qdisc show dev %s; tc filter show dev %s ingress",
            isolate->interface_name, strerror(-error), isolate_load_said(), isolate->interface_name,
            isolate->interface_name);
        return error;
    }
    isolate_load_retire(&isolate->load);
    return 0;
}

static void filter_detach(unsigned ifindex, enum bpf_tc_attach_point point) {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
    LIBBPF_OPTS(bpf_tc_opts, ours, .handle = FILTER_HANDLE, .priority = FILTER_PRIORITY);
    bpf_tc_detach(&hook, &ours);
}

void isolate_destroy(struct isolate *isolate) {
    if (!isolate) {
        return;
    }
    unsigned ifindex = if_nametoindex(isolate->interface_name);
    if (ifindex) {
        filter_detach(ifindex, BPF_TC_INGRESS);
        filter_detach(ifindex, BPF_TC_EGRESS);
    }
    isolate_load_unpin(&isolate->load);
    isolate_close(isolate);
}

/* --- the hub --- */

int isolate_hub_get(const struct isolate *isolate, struct isolate_hub *ret_hub) {
    const uint32_t first = 0;
    return bpf_map_lookup_elem(isolate->load.maps[ISOLATE_MAP_HUB], &first, ret_hub) < 0 ? -errno : 0;
}

struct isolate_prefix isolate_hub_address(const struct isolate_hub *hub, uint32_t i) {
    struct isolate_prefix address = hub->addresses[i];
    address.length = ISOLATE_FAMILY_BITS + (address.address.family == 4 ? 32u : 128u);
    return address;
}

struct isolate_prefix isolate_hub_pool(const struct isolate_hub *hub, uint32_t i) {
    struct isolate_prefix pool = hub->addresses[i];
    for (uint32_t bit = pool.length - ISOLATE_FAMILY_BITS; bit < 128; bit++) {
        pool.address.bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
    }
    return pool;
}

static bool same_prefix(const struct isolate_prefix *a, const struct isolate_prefix *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

static bool hub_has(const struct isolate_hub *hub, struct isolate_prefix (*part)(const struct isolate_hub *, uint32_t),
                    const struct isolate_prefix *wanted) {
    for (uint32_t i = 0; i < hub->count; i++) {
        struct isolate_prefix one = part(hub, i);
        if (same_prefix(&one, wanted)) {
            return true;
        }
    }
    return false;
}

static int hub_of(const struct prefix *prefixes, size_t count, struct isolate_hub *ret_hub) {
    if (count > ISOLATE_HUB_MAX) {
        return -E2BIG;
    }
    struct isolate_hub hub = {.count = (uint32_t)count};
    for (uint32_t i = (uint32_t)count; i-- > 0;) { /* the first of a family speaks for it */
        const struct ip_addr *addr = &prefixes[i].addr;
        hub.addresses[i] = isolate_prefix_of(&prefixes[i]);
        if (addr->family == AF_INET) {
            memcpy(hub.v4, addr->bytes, sizeof hub.v4);
        } else {
            memcpy(hub.v6, addr->bytes, sizeof hub.v6);
        }
    }
    *ret_hub = hub;
    return 0;
}

static int own(struct isolate *isolate, const struct isolate_prefix *prefix, struct isolate_owner owner) {
    struct isolate_owner is;
    bool known = isolate_hosts_owner(&isolate->hosts, &prefix->address, &is) == 0 && is.tenant == owner.tenant;
    return known && isolate_prefix_is_host(prefix) ? 0 : isolate_hosts_set(&isolate->hosts, prefix, owner);
}

static int hub_add(struct isolate *isolate, const struct isolate_hub *hub) {
    int error = 0;
    for (uint32_t i = 0; i < hub->count && !error; i++) {
        struct isolate_prefix address = isolate_hub_address(hub, i), pool = isolate_hub_pool(hub, i);
        error = own(isolate, &address, hub_owner);
        if (!error && !isolate_prefix_is_host(&pool)) {
            error = own(isolate, &pool, pool_owner);
        }
    }
    return error ? error : isolate_hosts_flush(&isolate->hosts);
}

static int hub_drop(struct isolate *isolate, const struct isolate_hub *was, const struct isolate_hub *is) {
    int error = 0;
    for (uint32_t i = 0; i < was->count && !error; i++) {
        struct isolate_prefix address = isolate_hub_address(was, i), pool = isolate_hub_pool(was, i);
        if (!hub_has(is, isolate_hub_address, &address)) {
            error = isolate_hosts_remove(&isolate->hosts, &address, hub_owner, NULL);
        }
        if (!error && !hub_has(is, isolate_hub_pool, &pool)) {
            error = isolate_hosts_remove(&isolate->hosts, &pool, pool_owner, NULL);
        }
    }
    return error;
}

int isolate_set_hub(struct isolate *isolate, const struct prefix *hub, size_t count, unsigned *ret_touched) {
    const uint32_t first = 0;
    struct isolate_hub was, is;
    int error = hub_of(hub, count, &is);
    error = error ? error : isolate_hub_get(isolate, &was);
    error = error ? error : hub_add(isolate, &is);
    if (error || memcmp(&was, &is, sizeof is) == 0) {
        return error;
    }
    if (bpf_map_update_elem(isolate->load.maps[ISOLATE_MAP_HUB], &first, &is, BPF_ANY) < 0) {
        return -errno;
    }
    ++*ret_touched;
    return hub_drop(isolate, &was, &is);
}

/* --- tenants --- */

int isolate_set_tenant(struct isolate *isolate, const struct desired_tenant *tenant) {
    return tenant->addressing == ADDRESSING_UNIQUE ? isolate_slots_set(&isolate->slots, tenant) : -EOPNOTSUPP;
}

int isolate_remove_tenant(struct isolate *isolate, const struct uuid *id) {
    isolate_slots_remove(&isolate->slots, id);
    return 0;
}

size_t isolate_tenant_count(const struct isolate *isolate) {
    return isolate->slots.tenant_count;
}

bool isolate_has_egress(const struct isolate *isolate) {
    return isolate->slots.egress_count > 0;
}

int isolate_each_tenant(struct isolate *isolate, backend_tenant_fn *fn, void *context) {
    return isolate_slots_each(&isolate->slots, fn, context);
}

/* --- addresses --- */

static void claim(struct isolate_claim *c, const struct ip_addr *addr) {
    if (addr->family) {
        const struct prefix whole = {.addr = *addr, .length = ip_bits(addr)};
        c->prefixes[c->count++] = isolate_prefix_of(&whole);
    }
}

int isolate_claim_of(const struct isolate *isolate, const struct desired_peer *peer, struct isolate_claim *ret_claim) {
    *ret_claim = (struct isolate_claim){0};
    if (!peer) {
        return 0;
    }
    ret_claim->owner.tenant = isolate_slots_number(&isolate->slots, &peer->tenant);
    ret_claim->owner.peer = le32_get(peer->public_key.bytes);
    claim(ret_claim, &peer->address);
    claim(ret_claim, &peer->address6);
    for (uint32_t i = 0; i < peer->lan_count && i < ROUTER_LANS_MAX; i++) {
        ret_claim->prefixes[ret_claim->count++] = isolate_prefix_of(&peer->lans[i]);
    }
    return ret_claim->owner.tenant == ISOLATE_NOBODY ? -ENOENT : 0;
}

static bool claims(const struct isolate_claim *c, struct isolate_owner owner, const struct isolate_prefix *prefix) {
    if (c->owner.tenant != owner.tenant || c->owner.peer != owner.peer) {
        return false;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        if (same_prefix(&c->prefixes[i], prefix)) {
            return true;
        }
    }
    return false;
}

/* What is still mapped to a tenant that is gone means nobody, but takes room. */
static int clear_away(struct isolate *isolate, const struct isolate_claim *c) {
    int error = 0;
    for (uint32_t i = 0; i < c->count && !error; i++) {
        struct isolate_owner owner;
        struct uuid tenant;
        if (isolate_hosts_owner(&isolate->hosts, &c->prefixes[i].address, &owner) == 0 && owner.peer == c->owner.peer &&
            isolate_slots_id(&isolate->slots, owner.tenant, &tenant) < 0) {
            error = isolate_hosts_remove(&isolate->hosts, &c->prefixes[i], owner, NULL);
        }
    }
    return error;
}

int isolate_move(struct isolate *isolate, const struct desired_peer *was, const struct desired_peer *is) {
    struct isolate_claim before, after;
    int error = isolate_claim_of(isolate, is, &after);
    if (error) {
        return error;
    }
    if (isolate_claim_of(isolate, was, &before) < 0) {
        error = clear_away(isolate, &before);
        before.count = 0;
    }
    for (uint32_t i = 0; i < before.count && !error; i++) {
        if (!claims(&after, before.owner, &before.prefixes[i])) {
            error = isolate_hosts_remove(&isolate->hosts, &before.prefixes[i], before.owner, NULL);
        }
    }
    for (uint32_t i = 0; i < after.count && !error; i++) {
        if (!claims(&before, after.owner, &after.prefixes[i])) {
            error = isolate_hosts_set(&isolate->hosts, &after.prefixes[i], after.owner);
        }
    }
    return error;
}

int isolate_flush(struct isolate *isolate) {
    return isolate_hosts_flush(&isolate->hosts);
}

int isolate_owner(struct isolate *isolate, const struct ip_addr *address, struct uuid *ret_tenant) {
    const struct prefix whole = {.addr = *address, .length = ip_bits(address)};
    struct isolate_prefix key = isolate_prefix_of(&whole);
    struct isolate_owner owner;
    int error = isolate_hosts_owner(&isolate->hosts, &key.address, &owner);
    return error ? error : isolate_slots_id(&isolate->slots, owner.tenant, ret_tenant);
}

/* --- counters --- */

int isolate_each_counter(struct isolate *isolate, backend_counter_fn *fn, void *context) {
    static const char *const names[] = {
#define X(id, name) name,
        ISOLATE_TALLIES(X)
#undef X
    };
    int cpus = libbpf_num_possible_cpus(), error = 0;
    uint64_t *counts = calloc((size_t)cpus, sizeof *counts);
    if (!counts) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < ISOLATE_TALLY_COUNT && !error; i++) {
        uint64_t sum = 0;
        error = bpf_map_lookup_elem(isolate->load.maps[ISOLATE_MAP_TALLIES], &i, counts) < 0 ? -errno : 0;
        for (int cpu = 0; cpu < cpus; cpu++) {
            sum += counts[cpu];
        }
        error = error ? error : fn(context, names[i], sum);
    }
    free(counts);
    return error;
}
