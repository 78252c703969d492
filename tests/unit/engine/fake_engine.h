/* An engine without a data plane, put behind the UAPI at link time: it remembers what it was told, in plain lists.
 *
 * For tests of the socket and of its clients. Faults can be injected. Not thread-safe. */
#pragma once

#include "engine/engine.h"

#define FAKE_ALLOWED_IPS_MAX 64

struct fake_peer {
    struct engine_peer is; /* allowed_ips points into `allowed` */
    struct prefix allowed[FAKE_ALLOWED_IPS_MAX];
    uint64_t changed_ns; /* clock_mono_ns() when it was set or touched last */
};

struct fake_tenant {
    struct engine_tenant is;
    struct engine_usage usage;
};

struct engine {
    struct engine_device device;
    struct fake_peer *peers; /* owned, `device.peers` of them */
    size_t peer_room;
    struct fake_tenant *tenants; /* owned, `device.tenants` of them */
    size_t tenant_room;
    unsigned changes; /* calls of engine_peer_change() */
    unsigned flushes;
    unsigned walk_steps; /* over peers */
    unsigned private_key_sets;
    unsigned listen_port_sets;
    unsigned hub_sets;
    /* faults: returned by the next call if not 0 */
    int fail_listen_port;
    int fail_change;
    int fail_flush;
};

struct engine *fake_engine_create(void);
void fake_engine_free(struct engine *engine);
/* NULL if there is none. */
struct fake_peer *fake_engine_peer(struct engine *engine, const struct key *public_key);
