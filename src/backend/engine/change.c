#include "backend/engine/change.h"

#include <string.h>

#include "base/buf.h"
#include "engine/uapi/text.h"
#include "model/desired.h"

static void host_text(struct buf *to, const struct ip_addr *addr) {
    if (addr->family) {
        struct prefix host = {.addr = *addr, .length = ip_bits(addr)};
        uapi_line_prefix(to, "allowed_ip", &host);
    }
}

static void hub_text(struct buf *to, const struct ip_addr *hub, const struct ip_addr *inside) {
    if (hub->family) {
        struct engine_hub_address pair = {.hub = *hub, .inside = inside->family ? *inside : *hub};
        uapi_line_hub_address(to, "hub_address", &pair);
    }
}

/* Everything is said, also what is none: the peer is to be exactly so. The tenant comes first, because moving a peer to
 * another one drops what it had. */
static void peer_text(struct buf *to, const struct desired_peer *peer) {
    static const uint8_t no_timestamp[DESIRED_TIMESTAMP_SIZE];
    uapi_line_key(to, "public_key", &peer->public_key);
    uapi_line_uuid(to, "peer_tenant", &peer->tenant);
    uapi_line_key(to, "preshared_key", &peer->preshared_key);
    uapi_line_u64(to, "persistent_keepalive_interval", 0); /* kept up by the router's side only */
    uapi_line_text(to, "replace_allowed_ips", "true");
    host_text(to, &peer->address);
    host_text(to, &peer->address6);
    for (uint32_t i = 0; i < peer->lan_count; i++) {
        uapi_line_prefix(to, "allowed_ip", &peer->lans[i]);
    }
    if (!peer->hub_address.family && !peer->address6.family) {
        uapi_line_text(to, "hub_address", "");
    }
    hub_text(to, &peer->hub_address, &peer->address);
    hub_text(to, &peer->address6, &peer->address6);
    if (peer->endpoint.sa.sa_family != AF_UNSPEC) {
        /* So that after a restart the hub may call on a router instead of waiting for its call. */
        uapi_line_endpoint(to, "last_endpoint", &peer->endpoint);
    }
    if (memcmp(peer->timestamp, no_timestamp, sizeof no_timestamp) != 0) {
        uapi_line_timestamp(to, "timestamp", peer->timestamp);
    }
}

static void tenant_text(struct buf *to, const struct desired_tenant *tenant) {
    uapi_line_uuid(to, "tenant", &tenant->id);
    uapi_line_text(to, "addressing", addressing_name(tenant->addressing));
    uapi_line_text(to, "egress", tenant->egress ? "true" : "false");
    uapi_line_u64(to, "limit_bits_per_second", tenant->limits.bits_per_second);
    uapi_line_u64(to, "limit_packets_per_second", tenant->limits.packets_per_second);
}

void change_text(struct buf *to, const struct desired_change *change) {
    switch (change->kind) {
    case DESIRED_PEER_SET:
        peer_text(to, &change->peer);
        break;
    case DESIRED_PEER_REMOVE:
        uapi_line_key(to, "public_key", &change->peer.public_key);
        uapi_line_text(to, "remove", "true");
        break;
    case DESIRED_TENANT_SET:
        tenant_text(to, &change->tenant);
        break;
    case DESIRED_TENANT_REMOVE:
        uapi_line_uuid(to, "tenant", &change->tenant.id);
        uapi_line_text(to, "remove", "true");
        break;
    }
}
