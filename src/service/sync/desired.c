#include "service/sync/desired.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "service/plane/plane.h"
#include "service/record/secrets.h"
#include "service/usage/usage.h"
#include "store/noun/routers.h"
#include "store/store.h"

void desired_tenant_from(const struct tenant *tenant, struct desired_change *ret_change) {
    *ret_change = (struct desired_change){
        .kind = DESIRED_TENANT_SET,
        .tenant = {.id = tenant->id,
                   .addressing = tenant->addressing,
                   .egress = tenant->egress,
                   .limits = tenant->limits},
    };
}

void desired_peer_of(const struct router *router, struct desired_change *ret_change) {
    struct desired_peer *peer = &ret_change->peer;
    memset(ret_change, 0, sizeof *ret_change);
    ret_change->kind = DESIRED_PEER_SET;
    peer->public_key = router->public_key;
    peer->preshared_key = router->preshared_key;
    peer->tenant = router->tenant_id;
    peer->hub_address = router->hub_address;
    peer->address = router->address;
    peer->address6 = router->address6;
    peer->endpoint = router->endpoint;
    peer->lan_count = router->lan_count;
    memcpy(peer->lans, router->lans, router->lan_count * sizeof *router->lans);
}

int desired_peer_from(const struct desired *d, const struct router_row *row, struct desired_change *ret_change) {
    desired_peer_of(&row->router, ret_change);
    memcpy(ret_change->peer.timestamp, row->timestamp, sizeof row->timestamp);
    usage_timestamp(d->usage, &row->router.public_key, ret_change->peer.timestamp);
    return secrets_unseal(d->secrets, row, &ret_change->peer.preshared_key);
}

void desired_apply_tenant(const struct desired *d, int64_t tunnel_id) {
    struct problem problem = {0};
    struct store_conn *conn = NULL;
    struct router_row *rows = malloc(PLANE_BATCH * sizeof *rows);
    struct desired_change *changes = malloc(PLANE_BATCH * sizeof *changes);
    int64_t after = 0;
    size_t count = PLANE_BATCH;
    int r = rows && changes ? store_reader_take(d->store, &conn, &problem) : -ENOMEM;
    /* This reads what is committed now, perhaps later than the change that brought us here: whoever committed that has
     * a place behind ours and brings it into force again. */
    while (r == 0 && count == PLANE_BATCH) {
        r = routers_list_desired(conn, tunnel_id, after, PLANE_BATCH, rows, &count);
        size_t good = 0;
        for (size_t i = 0; r == 0 && i < count; i++) {
            after = rows[i].id;
            good += desired_peer_from(d, &rows[i], &changes[good]) == 0;
        }
        if (r == 0 && !plane_apply(d->plane, changes, good)) {
            break; /* noted already */
        }
    }
    if (r < 0) {
        plane_trouble(d->plane, r, &problem);
    }
    store_reader_put(d->store, conn);
    if (changes) {
        sodium_memzero(changes, PLANE_BATCH * sizeof *changes);
    }
    free(changes);
    free(rows);
}
