#include "store/migrations.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "store/conn.h"
#include "store/schema.h"
#include "store/store.h"

/* Words in braces are types that the databases write differently (driver.h). Tables of ours carry the prefix vpn_ so
 * that they fit beside the operator's own in one database. UNIQUE constraints are the last word on who owns a key or an
 * address, whatever the code above believes. */
static const char *const steps[] = {
    /* 1 */
    "CREATE TABLE vpn_settings ("
    "  name {text} PRIMARY KEY,"
    "  value {text} NOT NULL);"

    "CREATE TABLE vpn_revision ("
    "  id SMALLINT PRIMARY KEY,"
    "  value BIGINT NOT NULL);"
    "INSERT INTO vpn_revision (id, value) VALUES (1, 0);"

    "CREATE TABLE vpn_changes ("
    "  revision {id},"
    "  at {time} NOT NULL,"
    "  kind {text} NOT NULL,"
    "  tenant_id {uuid},"
    "  router_id {uuid},"
    "  gone_public_key {text}," /* the peer that left the data plane with this change */
    "  actor {text} NOT NULL);"
    "CREATE INDEX vpn_changes_tenant_index ON vpn_changes (tenant_id, revision);"

    "CREATE TABLE tenant_vpn_tunnels ("
    "  id {serial},"
    "  tenant_id {uuid} NOT NULL UNIQUE,"
    "  name {text} NOT NULL,"
    "  addressing {text} NOT NULL,"
    "  server_public_key {text} NOT NULL,"
    "  server_ip {inet} NOT NULL,"
    "  subnet_cidr {inet} NOT NULL,"
    "  status {text} NOT NULL DEFAULT 'active',"
    "  egress SMALLINT NOT NULL DEFAULT 0,"
    "  limit_bits_per_second BIGINT NOT NULL DEFAULT 0,"
    "  limit_packets_per_second BIGINT NOT NULL DEFAULT 0,"
    "  limit_routers BIGINT NOT NULL DEFAULT 0,"
    "  routers BIGINT NOT NULL DEFAULT 0,"
    "  connected_peers BIGINT NOT NULL DEFAULT 0,"
    "  bytes_received BIGINT NOT NULL DEFAULT 0,"
    "  bytes_sent BIGINT NOT NULL DEFAULT 0,"
    "  next_offset BIGINT NOT NULL DEFAULT 0," /* private: addresses of the prefix from here on are in no range yet */
    "  created_at {time} NOT NULL,"
    "  updated_at {time} NOT NULL);"
    "CREATE INDEX tenant_vpn_tunnels_name_index ON tenant_vpn_tunnels (name);"

    "CREATE TABLE vpn_configurations ("
    "  id {serial},"
    "  tenant_id {uuid} NOT NULL,"
    "  tenant_vpn_tunnel_id BIGINT NOT NULL REFERENCES tenant_vpn_tunnels (id) ON DELETE CASCADE,"
    "  router_id {uuid} NOT NULL UNIQUE,"
    "  name {text} NOT NULL,"
    "  status {text} NOT NULL DEFAULT 'pending',"
    "  client_private_key {text}," /* stays null: the private half is shown once, never kept */
    "  client_public_key {text} NOT NULL UNIQUE,"
    "  preshared_key_sealed {bytes},"
    "  client_ip {inet} NOT NULL,"
    "  hub_address {inet} NOT NULL UNIQUE,"
    "  address6 {inet} NOT NULL,"
    "  server_ip {inet} NOT NULL,"
    "  server_public_key {text} NOT NULL,"
    "  server_endpoint {text} NOT NULL,"
    "  server_port INTEGER NOT NULL DEFAULT 51820,"
    "  last_handshake_at {time},"
    "  handshake_stamp {bytes}," /* TAI64N of the newest initiation: older ones are replays */
    "  endpoint {text},"
    "  bytes_received BIGINT NOT NULL DEFAULT 0,"
    "  bytes_sent BIGINT NOT NULL DEFAULT 0,"
    "  counted_received BIGINT NOT NULL DEFAULT 0," /* the data plane's counters as last added to the above */
    "  counted_sent BIGINT NOT NULL DEFAULT 0,"
    "  counted_generation {text} NOT NULL DEFAULT '',"
    "  lans BIGINT NOT NULL DEFAULT 0,"
    "  created_at {time} NOT NULL,"
    "  updated_at {time} NOT NULL,"
    "  UNIQUE (client_ip, tenant_vpn_tunnel_id));"
    "CREATE INDEX vpn_configurations_tunnel_index ON vpn_configurations (tenant_vpn_tunnel_id, id);"
    "CREATE INDEX vpn_configurations_lans_index ON vpn_configurations (tenant_vpn_tunnel_id, id) WHERE lans > 0;"
    "CREATE INDEX vpn_configurations_name_index ON vpn_configurations (name);"

    "CREATE TABLE vpn_lans ("
    "  router_id BIGINT NOT NULL REFERENCES vpn_configurations (id) ON DELETE CASCADE,"
    "  position SMALLINT NOT NULL,"
    "  space BIGINT NOT NULL," /* 0: shared by unique tenants; else the private tenant's tunnel */
    "  prefix {inet} NOT NULL,"
    "  low {bytes} NOT NULL,"  /* family and first address */
    "  high {bytes} NOT NULL," /* family and last address */
    "  PRIMARY KEY (router_id, position),"
    "  UNIQUE (space, low));"

    /* What a tenant may number its routers from, in stretches of at most 256 addresses with a bitmap each. */
    "CREATE TABLE vpn_address_ranges ("
    "  tunnel_id BIGINT NOT NULL REFERENCES tenant_vpn_tunnels (id) ON DELETE CASCADE,"
    "  space SMALLINT NOT NULL," /* 0: hub addresses; 1: the private tenant's own prefix */
    "  first BIGINT NOT NULL,"
    "  size BIGINT NOT NULL,"
    "  block_first BIGINT NOT NULL," /* hub addresses: the block of the pool it belongs to */
    "  block_size BIGINT NOT NULL,"
    "  taken {bytes} NOT NULL,"
    "  resting {bytes} NOT NULL," /* given back, to be handed out again after all that never were */
    "  used BIGINT NOT NULL,"
    "  free BIGINT NOT NULL," /* neither taken nor resting */
    "  rested BIGINT NOT NULL,"
    "  last_freed BIGINT NOT NULL,"
    "  PRIMARY KEY (tunnel_id, space, first));"
    "CREATE INDEX vpn_address_ranges_free_index ON vpn_address_ranges (tunnel_id, space, first) WHERE free > 0;"

    /* The pool's buddies: powers of two on their own boundary. */
    "CREATE TABLE vpn_free_blocks ("
    "  first {id},"
    "  size BIGINT NOT NULL);"
    "CREATE INDEX vpn_free_blocks_size_index ON vpn_free_blocks (size, first);"
    "CREATE TABLE vpn_resting_blocks ("
    "  id {serial},"
    "  first BIGINT NOT NULL UNIQUE,"
    "  size BIGINT NOT NULL,"
    "  rests_until {time} NOT NULL);"

    "CREATE TABLE vpn_tokens ("
    "  id {serial},"
    "  token_id {uuid} NOT NULL UNIQUE,"
    "  name {text} NOT NULL,"
    "  scope {text} NOT NULL,"
    "  tenant_id {uuid},"
    "  hash {bytes} NOT NULL UNIQUE,"
    "  created_at {time} NOT NULL,"
    "  expires_at {time},"
    "  last_used_at {time});"

    "CREATE TABLE vpn_answers ("
    "  key_hash {bytes} PRIMARY KEY,"
    "  request_hash {bytes} NOT NULL,"
    "  status INTEGER NOT NULL,"
    "  body {bytes} NOT NULL,"
    "  created_at {time} NOT NULL);"
    "CREATE INDEX vpn_answers_created_index ON vpn_answers (created_at);"

    /* Routes on the host that may have outlived their LAN. */
    "CREATE TABLE vpn_stale_routes ("
    "  prefix {inet} PRIMARY KEY);",

    /* 2: several gateways on one database */
    "CREATE TABLE vpn_gateways ("
    "  id {serial},"
    "  identity {uuid} UNIQUE," /* of the installation; survives a new name */
    "  instance {uuid},"        /* of the process that speaks for it */
    "  name {text} NOT NULL UNIQUE,"
    "  endpoint {text} NOT NULL DEFAULT '',"
    "  region {text} NOT NULL DEFAULT '',"
    "  version {text} NOT NULL DEFAULT '',"
    "  backend {text} NOT NULL DEFAULT '',"
    "  revision BIGINT NOT NULL DEFAULT 0," /* up to here its data plane follows */
    "  connected_routers BIGINT NOT NULL DEFAULT 0,"
    "  load_percent BIGINT NOT NULL DEFAULT 0,"
    "  clock_offset_ms BIGINT NOT NULL DEFAULT 0," /* its clock against the database's */
    "  started_at {time},"
    "  heartbeat_at {time});" /* by the database's clock */

    /* A data plane's counters as last added to the router's sums. What was counted before there were gateways belongs
     * to the first one that comes: it takes the row without a name over. */
    "CREATE TABLE vpn_counted ("
    "  router_id BIGINT NOT NULL REFERENCES vpn_configurations (id) ON DELETE CASCADE,"
    "  gateway_id BIGINT NOT NULL,"
    "  generation {text} NOT NULL,"
    "  received BIGINT NOT NULL,"
    "  sent BIGINT NOT NULL,"
    "  PRIMARY KEY (router_id, gateway_id));"
    "INSERT INTO vpn_gateways (name) SELECT '' WHERE EXISTS (SELECT 1 FROM vpn_configurations);"
    "INSERT INTO vpn_counted (router_id, gateway_id, generation, received, sent) "
    "SELECT r.id, g.id, r.counted_generation, r.counted_received, r.counted_sent "
    "FROM vpn_configurations r, vpn_gateways g WHERE r.counted_generation <> '';"

    "ALTER TABLE vpn_configurations DROP COLUMN counted_received;"
    "ALTER TABLE vpn_configurations DROP COLUMN counted_sent;"
    "ALTER TABLE vpn_configurations DROP COLUMN counted_generation;"

    /* Who holds the session, and since when; both null: nobody. */
    "ALTER TABLE vpn_configurations ADD COLUMN gateway_id BIGINT;"
    "ALTER TABLE vpn_configurations ADD COLUMN connected_since {time};"
    "CREATE INDEX vpn_configurations_gateway_index ON vpn_configurations (gateway_id) WHERE gateway_id IS NOT NULL;"
    "UPDATE tenant_vpn_tunnels SET connected_peers = 0 WHERE connected_peers <> 0;"

    "ALTER TABLE vpn_changes ADD COLUMN gateway_id BIGINT NOT NULL DEFAULT 0;" /* where it was made */
    "ALTER TABLE vpn_stale_routes ADD COLUMN at {time};",

    /* 3: who changed what, for each change that a caller made */
    "CREATE TABLE vpn_audit ("
    "  revision {id}," /* the change's */
    "  at {time} NOT NULL,"
    "  kind {text} NOT NULL,"
    "  tenant_id {uuid},"
    "  router_id {uuid},"
    "  actor {text} NOT NULL,"
    "  token_id {uuid},"
    "  origin {text} NOT NULL,"
    "  request_id {text} NOT NULL,"
    "  value_before {text},"
    "  value_after {text});"
    "CREATE INDEX vpn_audit_tenant_index ON vpn_audit (tenant_id, revision);"
    "CREATE INDEX vpn_audit_router_index ON vpn_audit (router_id, revision);"
    /* and whose an answer is, so that one caller's do not fill the database */
    "ALTER TABLE vpn_answers ADD COLUMN caller {bytes};"
    "ALTER TABLE vpn_answers ADD COLUMN size BIGINT NOT NULL DEFAULT 0;"
    "CREATE INDEX vpn_answers_caller_index ON vpn_answers (caller, created_at);"
    "CREATE INDEX vpn_tokens_tenant_index ON vpn_tokens (tenant_id);",
};

static_assert(sizeof steps / sizeof *steps == SCHEMA_VERSION, "each step is a version of the schema");

/* The step in this database's words. */
static int translate(const struct driver *driver, const char *step, struct buf *sql) {
    for (const char *at = step; *at;) {
        const char *open = strchr(at, '{');
        if (!open) {
            buf_text(sql, at);
            break;
        }
        const char *close = strchr(open, '}');
        char word[16] = "";
        if (!close || (size_t)(close - open) > sizeof word) {
            return -EINVAL;
        }
        memcpy(word, open + 1, (size_t)(close - open) - 1);
        const char *type = driver->type(word);
        if (!type) {
            return -EINVAL;
        }
        buf_append(sql, at, (size_t)(open - at));
        buf_text(sql, type);
        at = close + 1;
    }
    return sql->failed ? -ENOMEM : 0;
}

static int apply(struct store_conn *conn, int version) {
    struct buf sql = {0};
    int r = translate(conn->driver, steps[version - 1], &sql);
    if (r < 0) {
        goto fail;
    }
    r = store_begin(conn, true);
    if (r < 0) {
        goto fail;
    }
    /* Another process may have been faster. */
    int reached = 0;
    r = schema_reached(conn, &reached);
    if (r == 0 && reached < version) {
        const struct value values[] = {value_number(version), value_time(clock_wall_us())};
        r = conn->driver->script(conn->conn, sql.data);
        r = r < 0 ? r
                  : query_run(conn, "INSERT INTO vpn_migrations (version, applied_at) VALUES ($1, $2)", values,
                              VALUE_COUNT(values), NULL);
    }
    if (r < 0) {
        store_rollback(conn);
    } else {
        r = store_commit(conn);
    }
fail:
    buf_free(&sql);
    return r;
}

/* The table that says how far the schema is. Two gateways may start at once. */
static int make_table(struct store_conn *conn) {
    static const char table[] = "CREATE TABLE IF NOT EXISTS vpn_migrations ("
                                "  version {id},"
                                "  applied_at {time} NOT NULL)";
    struct buf sql = {0};
    int r = translate(conn->driver, table, &sql);
    r = r < 0 ? r : store_begin(conn, true);
    if (r == 0) {
        r = conn->driver->script(conn->conn, sql.data);
        r = r < 0 ? r : store_commit(conn);
        if (r < 0) {
            store_rollback(conn);
        }
    }
    buf_free(&sql);
    return r;
}

int migrations_run(struct store_conn *conn, struct problem *ret_problem) {
    int version = 0;
    int r = schema_reached(conn, &version);
    if (r == -EIO) { /* no such table */
        r = make_table(conn);
        r = r < 0 ? r : schema_reached(conn, &version);
    }
    if (r < 0) {
        return store_problem(conn, r, ret_problem);
    }
    if (version > SCHEMA_VERSION) {
        return schema_newer(conn->where, version, ret_problem);
    }
    for (int next = version + 1; next <= SCHEMA_VERSION; next++) {
        r = apply(conn, next);
        if (r < 0) {
            return store_problem(conn, r, ret_problem);
        }
    }
    return 0;
}
