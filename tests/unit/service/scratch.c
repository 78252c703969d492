#include "scratch.h"

#include "../store/schema.h"

#include <errno.h>
#include <ftw.h>
#include <sodium.h>
#include <unistd.h>

#include "base/clock.h"

int scratch_setup(void **state) {
    static const struct store_options waits = {.waits = true};
    struct scratch *scratch = calloc(1, sizeof *scratch);
    struct problem problem = {0};
    assert_true(sodium_init() >= 0);
    snprintf(scratch->folder, sizeof scratch->folder, "/tmp/sallyport-test-XXXXXX");
    assert_non_null(mkdtemp(scratch->folder));
    if (!schema_url(scratch->url, sizeof scratch->url)) {
        snprintf(scratch->url, sizeof scratch->url, "sqlite:%s/store.db", scratch->folder);
    }
    snprintf(scratch->identity.name, sizeof scratch->identity.name, "north");
    scratch->identity.id = 1;
    scratch->identity.columns.hub_address = ip_from_v4(0x0a000001);
    pthread_mutex_init(&scratch->identity.mutex, NULL);
    bell_open(&scratch->bell);
    turn_open(&scratch->queue);
    if (store_open(scratch->url, &waits, &scratch->store, &problem) < 0 || store_wake(scratch->store, &problem) < 0) {
        fail_msg("store_open: %s", problem.detail);
    }
    store_admit(scratch->store);
    assert_int_equal(reach_open(scratch->store, &scratch->reach), 0);
    reach_settled(scratch->reach, NULL, false);
    scratch_queue(scratch, &scratch->queue);
    *state = scratch;
    return 0;
}

void scratch_queue(struct scratch *scratch, struct turn *queue) {
    ledger_free(scratch->ledger);
    assert_int_equal(ledger_open(scratch->store, scratch->reach, &scratch->identity, queue, &scratch->ledger), 0);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

int scratch_teardown(void **state) {
    struct scratch *scratch = *state;
    ledger_free(scratch->ledger);
    reach_free(scratch->reach);
    store_close(scratch->store);
    turn_close(&scratch->queue);
    bell_close(&scratch->bell);
    pthread_mutex_destroy(&scratch->identity.mutex);
    schema_drop(scratch->url);
    nftw(scratch->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(scratch);
    return 0;
}

static void begin(struct scratch *scratch, struct write *w) {
    struct problem problem = {0};
    if (write_begin(scratch->ledger, "test", w, &problem) < 0) {
        fail_msg("write_begin: %s", problem.detail);
    }
}

static void note(struct write *w, const char *kind, const struct uuid *tenant_id, const struct uuid *router_id,
                 const struct key *gone, int64_t by) {
    assert_int_equal(write_note(w, kind, tenant_id, router_id, gone), 0);
    w->changes[w->change_count - 1].gateway_id = by;
}

static void commit(struct write *w) {
    struct problem problem = {0};
    if (write_commit_silent(w, &problem) < 0) {
        fail_msg("write_commit_silent: %s", problem.detail);
    }
}

struct tenant_row scratch_tenant(struct scratch *scratch, int64_t by) {
    struct write w;
    struct tenant_row row = {.tenant = {.name = "t", .addressing = ADDRESSING_UNIQUE}};
    begin(scratch, &w);
    row.tenant.created_at = row.tenant.updated_at = w.now;
    row.tenant.subnet = (struct prefix){.addr = ip_from_v4(0x0a010000), .length = 16};
    uuid_make((uint64_t)w.now / 1000, &row.tenant.id);
    assert_int_equal(tenants_insert(w.conn, &row, &scratch->identity.columns, &row.id), 0);
    note(&w, "tenant.created", &row.tenant.id, NULL, NULL, by);
    commit(&w);
    return row;
}

struct router_row scratch_router(struct scratch *scratch, const struct tenant_row *tenant, int64_t by) {
    struct write w;
    struct router_row row = {.tunnel_id = tenant->id, .router = {.tenant_id = tenant->tenant.id, .name = "r"}};
    begin(scratch, &w);
    row.router.created_at = row.router.updated_at = w.now;
    uuid_make((uint64_t)w.now / 1000, &row.router.id);
    randombytes_buf(row.router.public_key.bytes, KEY_SIZE);
    uint64_t there = 0;
    assert_int_equal(routers_count(w.conn, &there), 0);
    row.router.address = row.router.hub_address = ip_from_v4(0x0a010002 + (uint32_t)there);
    row.router.address6 = (struct ip_addr){.family = AF_INET6, .bytes = {0xfd, [14] = 1, [15] = (uint8_t)(2 + there)}};
    assert_int_equal(routers_insert(w.conn, &row, &scratch->identity.columns, &row.id), 0);
    assert_int_equal(tenants_add_routers(w.conn, tenant->id, 1), 0);
    note(&w, "router.created", &tenant->tenant.id, &row.router.id, NULL, by);
    commit(&w);
    return row;
}

void scratch_delete(struct scratch *scratch, const struct router_row *row, int64_t by) {
    struct write w;
    begin(scratch, &w);
    assert_int_equal(routers_delete(w.conn, row->id), 0);
    assert_int_equal(tenants_add_routers(w.conn, row->tunnel_id, -1), 0);
    note(&w, "router.deleted", &row->router.tenant_id, &row->router.id, &row->router.public_key, by);
    commit(&w);
}

int64_t scratch_number(struct scratch *scratch, const char *sql) {
    int64_t number = 0;
    ledger_turn_begin(scratch->ledger);
    int r = query_number(store_writer(scratch->store), sql, NULL, 0, &number);
    ledger_turn_end(scratch->ledger);
    assert_true(r == 0 || r == -ENOENT); /* a statement that changes something has no row */
    return number;
}
