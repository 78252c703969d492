#include "backend/isolate/slots.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/isolate/load.h"
#include "bpf/isolate.h"

/* As the engine's (src/engine/path/space.c): what a tenant may send at once after silence. */
#define BURST_MS 200
#define BURST_BITS_LEAST (UINT64_C(8) * 65535)
#define BURST_PACKETS_LEAST 64

struct place {
    struct uuid id;
    uint32_t slot;
};

/* Both shared with the kernel. */
struct isolate_chunk {
    struct isolate_account *accounts; /* of each CPU */
    struct isolate_tenant *tenants;
};

#define CHUNKS_AT_ONCE 32

static struct isolate_account *account_at(const struct isolate_slots *slots, uint32_t cpu, uint32_t slot) {
    return &slots->chunks[slot >> ISOLATE_CHUNK_BITS].accounts[ISOLATE_ACCOUNT(cpu, slot)];
}

static const struct isolate_policy *policy_at(const struct isolate_slots *slots, uint32_t slot) {
    return &account_at(slots, 0, slot)->policy;
}

static struct isolate_tenant *tenant_at(const struct isolate_slots *slots, uint32_t slot) {
    return &slots->chunks[slot >> ISOLATE_CHUNK_BITS].tenants[slot & (ISOLATE_CHUNK_SLOTS - 1)];
}

/* The first CPU's last: as long as it has the old one, so has the tenant to whoever goes on if this process ends. */
static void policy_set(const struct isolate_slots *slots, uint32_t slot, struct isolate_policy policy) {
    for (uint32_t cpu = slots->load->cpus; cpu-- > 0;) {
        __atomic_store(&account_at(slots, cpu, slot)->policy, &policy, __ATOMIC_RELEASE);
    }
}

static bool has_egress(struct isolate_policy policy) {
    return policy.tenant != ISOLATE_NOBODY && policy.flags & ISOLATE_EGRESS;
}

/* The same, and counts who has egress. */
static void policy_change(struct isolate_slots *slots, uint32_t slot, struct isolate_policy policy) {
    slots->egress_count += has_egress(policy);
    slots->egress_count -= has_egress(*policy_at(slots, slot));
    policy_set(slots, slot, policy);
}

static int place_note(struct isolate_slots *slots, const void *id, uint32_t slot) {
    struct place *place = hash_put(&slots->places, id);
    if (!place) {
        return -ENOMEM;
    }
    place->slot = slot;
    return 0;
}

/* --- chunks --- */

static void inner_name(char name[32], enum isolate_map outer, uint32_t number) {
    snprintf(name, 32, "%s_%u", outer == ISOLATE_MAP_ACCOUNTS ? "accounts" : "tenants", number);
}

/* Pinned, not yet held by the outer map. A descriptor. */
static int inner_create(const struct isolate_load *load, enum isolate_map outer, uint32_t number) {
    char name[32];
    inner_name(name, outer, number);
    int fd = isolate_load_chunk(outer, load->cpus);
    if (fd < 0) {
        return fd;
    }
    int error = isolate_load_pin(load, fd, name);
    if (error) {
        close(fd);
        return error;
    }
    return fd;
}

/* One system call for all where the kernel can: after each it waits until no CPU is in a program (10 ms). */
static int outer_fill(int outer, uint32_t first, const int *fds, uint32_t count) {
    uint32_t numbers[CHUNKS_AT_ONCE] = {0}, done = count;
    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = first + i;
    }
    if (bpf_map_update_batch(outer, numbers, fds, &done, NULL) == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (bpf_map_update_elem(outer, &numbers[i], &fds[i], BPF_ANY) < 0) {
            return -errno;
        }
    }
    return 0;
}

static int inner_create_all(const struct isolate_load *load, enum isolate_map outer, uint32_t first, uint32_t count) {
    int fds[CHUNKS_AT_ONCE] = {0}, error = 0;
    uint32_t made = 0;
    while (made < count && !error) {
        fds[made] = inner_create(load, outer, first + made);
        error = fds[made] < 0 ? fds[made] : 0;
        made += !error;
    }
    error = error ? error : outer_fill(load->maps[outer], first, fds, count);
    while (made > 0) {
        close(fds[--made]);
    }
    return error;
}

/* The more there are, the more come at once: a quarter. */
static int chunks_create(const struct isolate_slots *slots) {
    uint32_t first = slots->chunk_count, count = first / 4;
    count = count < 1 ? 1 : count > CHUNKS_AT_ONCE ? CHUNKS_AT_ONCE : count;
    count = count > ISOLATE_CHUNKS - first ? ISOLATE_CHUNKS - first : count;
    int error = count ? 0 : -ENOSPC;
    error = error ? error : inner_create_all(slots->load, ISOLATE_MAP_ACCOUNTS, first, count);
    return error ? error : inner_create_all(slots->load, ISOLATE_MAP_TENANTS, first, count);
}

/* What is mapped stays without its descriptor. -ENOENT: there is none. */
static int inner_map(const struct isolate_load *load, enum isolate_map outer, uint32_t number, size_t size,
                     void **ret_memory) {
    char name[32];
    inner_name(name, outer, number);
    int fd = isolate_load_inner(load, outer, number, name);
    if (fd < 0) {
        return fd;
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int error = memory == MAP_FAILED ? -errno : 0;
    close(fd);
    if (!error) {
        *ret_memory = memory;
    }
    return error;
}

static size_t accounts_size(const struct isolate_load *load) {
    return load->cpus * ISOLATE_CHUNK_SLOTS * sizeof(struct isolate_account);
}

static void chunk_free(const struct isolate_load *load, struct isolate_chunk *chunk) {
    if (chunk->accounts) {
        munmap(chunk->accounts, accounts_size(load));
    }
    if (chunk->tenants) {
        munmap(chunk->tenants, ISOLATE_CHUNK_SLOTS * sizeof *chunk->tenants);
    }
}

/* -ENOENT: there is none. */
static int chunk_open(const struct isolate_load *load, uint32_t number, struct isolate_chunk *ret_chunk) {
    void *accounts = NULL, *tenants = NULL;
    int error = inner_map(load, ISOLATE_MAP_ACCOUNTS, number, accounts_size(load), &accounts);
    error = error ? error
                  : inner_map(load, ISOLATE_MAP_TENANTS, number, ISOLATE_CHUNK_SLOTS * sizeof(struct isolate_tenant),
                              &tenants);
    struct isolate_chunk chunk = {.accounts = accounts, .tenants = tenants};
    if (error) {
        chunk_free(load, &chunk);
        return error;
    }
    *ret_chunk = chunk;
    return 0;
}

static void give_free(struct isolate_slots *slots, uint32_t slot) {
    uint32_t room = slots->chunk_count << ISOLATE_CHUNK_BITS;
    slots->free[(slots->free_first + slots->free_count++) % room] = slot;
}

static void take_free(struct isolate_slots *slots) {
    slots->free_first = (slots->free_first + 1) % (slots->chunk_count << ISOLATE_CHUNK_BITS);
    slots->free_count--;
}

/* The next chunk, while no slot is free but those of chunks that were added just before. -ENOENT: there is no further
 * one. */
static int chunk_add(struct isolate_slots *slots) {
    uint32_t number = slots->chunk_count;
    if (number == ISOLATE_CHUNKS) {
        return -ENOENT;
    }
    struct isolate_chunk *chunks = reallocarray(slots->chunks, number + 1, sizeof *chunks);
    if (!chunks) {
        return -ENOMEM;
    }
    slots->chunks = chunks;
    uint32_t *free_slots = reallocarray(slots->free, (size_t)(number + 1) * ISOLATE_CHUNK_SLOTS, sizeof *free_slots);
    if (!free_slots) {
        return -ENOMEM;
    }
    slots->free = free_slots;
    int error = chunk_open(slots->load, number, &chunks[number]);
    if (error) {
        return error;
    }
    slots->chunk_count++;
    slots->free_first = slots->free_count > 0 ? slots->free_first : 0;
    for (uint32_t i = 0; i < ISOLATE_CHUNK_SLOTS; i++) {
        uint32_t slot = (number << ISOLATE_CHUNK_BITS) + i;
        if (slot == 0) {
            continue; /* of those that are no tenant */
        }
        policy_set(slots, slot, *policy_at(slots, slot)); /* an earlier run may have ended between two CPUs */
        if (policy_at(slots, slot)->tenant == ISOLATE_NOBODY) {
            give_free(slots, slot);
            continue;
        }
        error = place_note(slots, tenant_at(slots, slot)->id, slot);
        if (error) {
            return error;
        }
        slots->tenant_count++;
        slots->egress_count += has_egress(*policy_at(slots, slot));
    }
    return 0;
}

static int chunks_open(struct isolate_slots *slots) {
    int error;
    do {
        error = chunk_add(slots);
    } while (!error);
    return error == -ENOENT ? 0 : error;
}

int isolate_slots_open(struct isolate_slots *slots, const struct isolate_load *load) {
    *slots = (struct isolate_slots){.load = load};
    hash_open(&slots->places, sizeof(struct uuid), sizeof(struct place));
    int error = chunks_open(slots);
    if (error) {
        isolate_slots_close(slots);
    }
    return error;
}

void isolate_slots_close(struct isolate_slots *slots) {
    for (uint32_t i = 0; i < slots->chunk_count; i++) {
        chunk_free(slots->load, &slots->chunks[i]);
    }
    free(slots->chunks);
    free(slots->free);
    hash_free(&slots->places);
    *slots = (struct isolate_slots){0};
}

/* --- tenants --- */

static struct isolate_limit limit_of(uint64_t per_second, uint64_t burst_least) {
    if (per_second == 0) {
        return (struct isolate_limit){0};
    }
    uint64_t burst = per_second / 1000 * BURST_MS;
    burst = burst < burst_least ? burst_least : burst;
    unsigned __int128 debt = (unsigned __int128)(burst - 1) * ISOLATE_TICKS_PER_SECOND;
    return (struct isolate_limit){.per_second = per_second, .allowance = (uint64_t)(debt / per_second)};
}

static uint32_t flags_of(const struct desired_tenant *tenant) {
    const struct limits *limits = &tenant->limits;
    bool limited = limits->bits_per_second > 0 || limits->packets_per_second > 0;
    return (tenant->egress ? ISOLATE_EGRESS : 0u) | (limited ? ISOLATE_LIMITED : 0u);
}

/* The program may read while this writes: numbers whole, and at worst one packet by the old limit and the new debt. */
static void limit_set(struct isolate_limit *limit, const struct isolate_limit *wanted, __u64 paid_at[2]) {
    if (limit->per_second == wanted->per_second) {
        return;
    }
    __atomic_store_n(&limit->allowance, wanted->allowance, __ATOMIC_RELAXED);
    __atomic_store_n(&limit->per_second, wanted->per_second, __ATOMIC_RELAXED);
    for (int i = 0; i < ISOLATE_DIRECTIONS; i++) {
        __atomic_store_n(&paid_at[i], 0, __ATOMIC_RELAXED);
    }
}

static void limits_set(struct isolate_tenant *record, const struct limits *limits) {
    const struct isolate_limit bits = limit_of(limits->bits_per_second, BURST_BITS_LEAST);
    const struct isolate_limit packets = limit_of(limits->packets_per_second, BURST_PACKETS_LEAST);
    limit_set(&record->bits, &bits, record->bits_paid_at);
    limit_set(&record->packets, &packets, record->packets_paid_at);
}

static int make_room(struct isolate_slots *slots) {
    if (slots->free_count > 0) {
        return 0;
    }
    int error = chunks_create(slots);
    return error ? error : chunks_open(slots);
}

/* The record is whole before its number makes it known. */
static int slot_take(struct isolate_slots *slots, const struct desired_tenant *tenant) {
    int error = make_room(slots);
    if (error) {
        return error;
    }
    uint32_t slot = slots->free[slots->free_first];
    struct isolate_tenant *record = tenant_at(slots, slot);
    uint32_t number = ((record->number + (1u << ISOLATE_SLOT_BITS)) & ~ISOLATE_SLOT_MASK) | slot;
    error = place_note(slots, &tenant->id, slot);
    if (error) {
        return error;
    }
    *record = (struct isolate_tenant){.number = number};
    memcpy(record->id, &tenant->id, sizeof record->id);
    limits_set(record, &tenant->limits);
    take_free(slots);
    slots->tenant_count++;
    policy_change(slots, slot, (struct isolate_policy){.tenant = number, .flags = flags_of(tenant)});
    return 0;
}

int isolate_slots_set(struct isolate_slots *slots, const struct desired_tenant *tenant) {
    const struct place *place = hash_get(&slots->places, &tenant->id);
    if (!place) {
        return slot_take(slots, tenant);
    }
    struct isolate_tenant *record = tenant_at(slots, place->slot);
    limits_set(record, &tenant->limits);
    policy_change(slots, place->slot, (struct isolate_policy){.tenant = record->number, .flags = flags_of(tenant)});
    return 0;
}

void isolate_slots_remove(struct isolate_slots *slots, const struct uuid *id) {
    struct place *place = hash_get(&slots->places, id);
    if (!place) {
        return;
    }
    policy_change(slots, place->slot, (struct isolate_policy){.tenant = ISOLATE_NOBODY});
    give_free(slots, place->slot);
    hash_remove(&slots->places, place);
    slots->tenant_count--;
}

uint32_t isolate_slots_number(const struct isolate_slots *slots, const struct uuid *id) {
    const struct place *place = hash_get(&slots->places, id);
    return place ? policy_at(slots, place->slot)->tenant : ISOLATE_NOBODY;
}

int isolate_slots_id(const struct isolate_slots *slots, uint32_t number, struct uuid *ret_id) {
    uint32_t slot = number & ISOLATE_SLOT_MASK;
    if (slot == 0 || slot >> ISOLATE_CHUNK_BITS >= slots->chunk_count || policy_at(slots, slot)->tenant != number) {
        return -ENOENT;
    }
    memcpy(ret_id, tenant_at(slots, slot)->id, sizeof *ret_id);
    return 0;
}

/* --- usage --- */

static uint64_t count_of(const __u64 *count) {
    return __atomic_load_n(count, __ATOMIC_RELAXED);
}

static void actual_of(const struct isolate_slots *slots, uint32_t slot, struct actual_tenant *ret_tenant) {
    const struct isolate_tenant *record = tenant_at(slots, slot);
    const struct isolate_policy *policy = policy_at(slots, slot);
    struct actual_tenant t = {
        .is = {.addressing = ADDRESSING_UNIQUE,
               .egress = (policy->flags & ISOLATE_EGRESS) != 0,
               .limits = {.bits_per_second = record->bits.per_second,
                          .packets_per_second = record->packets.per_second}},
    };
    memcpy(&t.is.id, record->id, sizeof t.is.id);
    for (uint32_t cpu = 0; cpu < slots->load->cpus; cpu++) {
        const struct isolate_usage *usage = &account_at(slots, cpu, slot)->usage;
        if (__atomic_load_n(&usage->tenant, __ATOMIC_ACQUIRE) != policy->tenant) {
            continue; /* what is left of the slot's last tenant */
        }
        t.bytes_received += count_of(&usage->passed[ISOLATE_RECEIVED].bytes);
        t.bytes_sent += count_of(&usage->passed[ISOLATE_SENT].bytes);
        t.packets_received += count_of(&usage->passed[ISOLATE_RECEIVED].packets);
        t.packets_sent += count_of(&usage->passed[ISOLATE_SENT].packets);
        t.dropped += count_of(&usage->dropped);
    }
    *ret_tenant = t;
}

int isolate_slots_each(const struct isolate_slots *slots, backend_tenant_fn *fn, void *context) {
    uint32_t end = slots->chunk_count << ISOLATE_CHUNK_BITS;
    int error = 0;
    for (uint32_t slot = 0; slot < end && !error; slot++) {
        struct actual_tenant tenant;
        if (policy_at(slots, slot)->tenant != ISOLATE_NOBODY) {
            actual_of(slots, slot, &tenant);
            error = fn(context, &tenant);
        }
    }
    return error;
}
