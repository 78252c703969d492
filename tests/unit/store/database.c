#include "database.h"

#include <ftw.h>
#include <unistd.h>

#include "base/bytes.h"
#include "schema.h"

const struct gateway_columns database_gateway = {
    .public_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    .hub_address = {.family = AF_INET, .bytes = {10, 0, 0, 1}},
    .endpoint = "vpn.example.com",
    .port = 51820,
};

int database_setup(void **state) {
    struct database *d = calloc(1, sizeof *d);
    struct problem problem = {0};
    snprintf(d->folder, sizeof d->folder, "/tmp/sallyport-test-XXXXXX");
    assert_non_null(mkdtemp(d->folder));
    snprintf(d->file, sizeof d->file, "%s/store.db", d->folder);
    if (!schema_url(d->url, sizeof d->url)) {
        snprintf(d->url, sizeof d->url, "sqlite:%s", d->file);
    }
    if (store_open(d->url, NULL, &d->store, &problem) < 0) {
        fail_msg("store_open: %s", problem.detail);
    }
    d->conn = store_writer(d->store);
    *state = d;
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

int database_teardown(void **state) {
    struct database *d = *state;
    store_close(d->store);
    schema_drop(d->url);
    nftw(d->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(d);
    return 0;
}

struct prefix prefix_of(const char *text) {
    struct prefix prefix;
    assert_int_equal(prefix_parse(text, &prefix, NULL), 0);
    return prefix;
}

struct ip_addr ip_of(const char *text) {
    struct ip_addr addr;
    assert_int_equal(ip_parse(text, &addr), 0);
    return addr;
}

struct uuid uuid_of(unsigned number) {
    struct uuid uuid = {.bytes = {[6] = 0x70, [8] = 0x80}};
    be32_put(uuid.bytes + 12, number);
    return uuid;
}

struct key key_of(unsigned number) {
    struct key key = {{1}};
    be32_put(key.bytes + 4, number);
    return key;
}

struct tenant_row add_tenant(struct database *d, unsigned number, enum addressing addressing) {
    struct tenant_row row = {
        .tenant = {.id = uuid_of(number),
                   .addressing = addressing,
                   .subnet = {.addr = ip_from_v4(0x0a640000), .length = 16},
                   .egress = number % 2,
                   .limits = {.bits_per_second = 1000 + number, .packets_per_second = 10, .routers = 7},
                   .created_at = 1700000000000000 + number,
                   .updated_at = 1700000000000001 + number},
        .next_offset = 256,
    };
    snprintf(row.tenant.name, sizeof row.tenant.name, "Tenant %u", number);
    assert_int_equal(tenants_insert(d->conn, &row, &database_gateway, &row.id), 0);
    return row;
}

struct router_row add_router(struct database *d, const struct tenant_row *tenant, unsigned number) {
    struct router_row row = {
        .tunnel_id = tenant->id,
        .router = {.id = uuid_of(1000000 + number),
                   .tenant_id = tenant->tenant.id,
                   .status = ROUTER_PENDING,
                   .public_key = key_of(number),
                   .address = ip_from_v4(0x0a640000 + number),
                   .hub_address = ip_from_v4(0x0a000000 + number),
                   .address6 = ip_of("fd00::"),
                   .created_at = 1700000000000000 + number,
                   .updated_at = 1700000000000000 + number},
    };
    be32_put(row.router.address6.bytes + 12, 0x0a000000 + number);
    snprintf(row.router.name, sizeof row.router.name, "Router %u", number);
    assert_int_equal(routers_insert(d->conn, &row, &database_gateway, &row.id), 0);
    return row;
}
