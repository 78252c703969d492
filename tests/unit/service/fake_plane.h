/* A data plane in memory behind the table of operations, with faults on demand. All connections meet the same one, as
 * clients of one engine do. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"

extern const struct backend_ops fake_plane_ops;

enum fake_call {
    FAKE_OPEN,
    FAKE_REVIVE,
    FAKE_SET_DEVICE,
    FAKE_APPLY,
    FAKE_EACH_PEER,
    FAKE_EACH_TENANT,
    FAKE_SET_ROUTES,
    FAKE_STATE,
    FAKE_CALLS,
};

/* Empties it and ends all faults. Once before each test. */
void fake_plane_reset(void);
void fake_plane_free(void);

/* Calls of this kind fail with `error` from the one after `good` more on, `times` times (0: for good). -ENOTCONN takes
 * the whole data plane away until revive() is let through again. */
void fake_plane_fail(enum fake_call call, unsigned good, unsigned times, int error);
/* An apply() that fails does so after half of its changes. */
void fake_plane_fail_half(bool half);
void fake_plane_heal(void);
/* Like kill -9 and a start: everything is lost, every connection is stale. */
void fake_plane_restart(void);
/* Changes of this peer are refused from now on; NULL: of none. */
void fake_plane_refuse(const struct key *public_key);
/* Gone, and revive() fails until fake_plane_heal(). */
void fake_plane_stop(void);

/* Once, after the next each_peer() has said all and before it returns. */
void fake_plane_after_each_peer(void (*fn)(void *context), void *context);

uint64_t fake_plane_calls(enum fake_call call);
uint64_t fake_plane_changes(void); /* applied */
size_t fake_plane_peers(void);
size_t fake_plane_tenants(void);
/* As somebody with ip(8) would. */
void fake_plane_route_by_hand(const struct prefix *prefix, bool add);
size_t fake_plane_routes(void);
bool fake_plane_has_route(const struct prefix *prefix);
/* A copy. False: no such peer. */
bool fake_plane_peer(const struct key *public_key, struct actual_peer *ret_peer);
bool fake_plane_tenant(const struct uuid *id, struct actual_tenant *ret_tenant);
/* Behind the service's back. */
void fake_plane_put(const struct actual_peer *peer);
void fake_plane_put_tenant(const struct actual_tenant *tenant);
void fake_plane_drop(const struct key *public_key);
void fake_plane_drop_tenant(const struct uuid *id);
void fake_plane_each(void (*fn)(void *context, struct actual_peer *peer), void *context);
