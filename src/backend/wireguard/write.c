/* Changes to peers, in messages as full as they can be. A peer that does not fit goes on in the next message, as an
 * update: flags that take something away, and what is set once, are in its first piece only. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "backend/wireguard/socket.h"

/* The most a peer takes without its allowed IPs: the nests' headers, public key, preshared key, flags, keepalive,
 * endpoint (sockaddr_in6). And an allowed IP: the nest's header, family, IPv6 address, length, flags. */
#define PEER_SIZE (4u + 36u + 36u + 8u + 8u + 32u + 4u)
#define ALLOWED_SIZE (4u + 8u + 20u + 8u + 8u)

static bool fits(const struct wireguard *w, size_t size) {
    return w->queued && w->queued->nlmsg_len + size <= WIREGUARD_MESSAGE_SIZE;
}

static void begin_message(struct wireguard *w) {
    w->queued = wireguard_begin(w, WG_CMD_SET_DEVICE, 0);
    w->peers = mnl_attr_nest_start(w->queued, WGDEVICE_A_PEERS);
}

int wireguard_flush(struct wireguard *w) {
    if (!w->queued) {
        return 0;
    }
    mnl_attr_nest_end(w->queued, w->peers);
    int rc = wireguard_exchange(w, w->queued, NULL, NULL, NULL);
    wireguard_forget(w);
    return rc;
}

/* One piece of a peer: open nests in the queued message. */
struct piece {
    const struct key *public_key;
    struct nlattr *peer;
    struct nlattr *allowed; /* NULL: not begun */
};

static void begin_piece(struct wireguard *w, struct piece *piece, uint32_t flags) {
    piece->peer = mnl_attr_nest_start(w->queued, 0);
    piece->allowed = NULL;
    mnl_attr_put(w->queued, WGPEER_A_PUBLIC_KEY, KEY_SIZE, piece->public_key->bytes);
    if (flags) {
        mnl_attr_put_u32(w->queued, WGPEER_A_FLAGS, flags);
    }
}

static void end_piece(struct wireguard *w, struct piece *piece) {
    if (piece->allowed) {
        mnl_attr_nest_end(w->queued, piece->allowed);
    }
    mnl_attr_nest_end(w->queued, piece->peer);
}

static int put_allowed(struct wireguard *w, struct piece *piece, const struct prefix *prefix, uint32_t flags) {
    if (!fits(w, ALLOWED_SIZE + 4u)) {
        end_piece(w, piece);
        int rc = wireguard_flush(w);
        if (rc < 0) {
            return rc;
        }
        begin_message(w);
        begin_piece(w, piece, WGPEER_F_UPDATE_ONLY);
    }
    if (!piece->allowed) {
        piece->allowed = mnl_attr_nest_start(w->queued, WGPEER_A_ALLOWEDIPS);
    }
    struct nlattr *nest = mnl_attr_nest_start(w->queued, 0);
    mnl_attr_put_u16(w->queued, WGALLOWEDIP_A_FAMILY, prefix->addr.family);
    mnl_attr_put(w->queued, WGALLOWEDIP_A_IPADDR, ip_bits(&prefix->addr) / 8u, prefix->addr.bytes);
    mnl_attr_put_u8(w->queued, WGALLOWEDIP_A_CIDR_MASK, prefix->length);
    if (flags) {
        mnl_attr_put_u32(w->queued, WIREGUARD_ALLOWEDIP_FLAGS, flags);
    }
    mnl_attr_nest_end(w->queued, nest);
    return 0;
}

static void put_settings(struct wireguard *w, const struct wireguard_change *change) {
    if (change->preshared_key) {
        mnl_attr_put(w->queued, WGPEER_A_PRESHARED_KEY, KEY_SIZE, change->preshared_key->bytes);
    }
    if (change->endpoint && change->endpoint->sa.sa_family != AF_UNSPEC) {
        mnl_attr_put(w->queued, WGPEER_A_ENDPOINT, endpoint_size(change->endpoint), change->endpoint);
    }
    if (change->has_keepalive) {
        mnl_attr_put_u16(w->queued, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, change->keepalive_s);
    }
}

int wireguard_put(struct wireguard *w, const struct wireguard_change *change) {
    struct piece piece = {.public_key = &change->public_key};
    uint32_t flags = change->remove ? WGPEER_F_REMOVE_ME
                                    : (change->update_only ? WGPEER_F_UPDATE_ONLY : 0u) |
                                          (change->replace_allowed ? WGPEER_F_REPLACE_ALLOWEDIPS : 0u);
    int rc = fits(w, PEER_SIZE + ALLOWED_SIZE) ? 0 : wireguard_flush(w);
    if (rc < 0) {
        return rc;
    }
    if (!w->queued) {
        begin_message(w);
    }
    begin_piece(w, &piece, flags);
    if (!change->remove) {
        put_settings(w, change);
        for (size_t i = 0; i < change->withdrawn_count && rc == 0; i++) {
            rc = put_allowed(w, &piece, &change->withdrawn[i], WIREGUARD_ALLOWEDIP_REMOVE_ME);
        }
        for (size_t i = 0; i < change->allowed_count && rc == 0; i++) {
            rc = put_allowed(w, &piece, &change->allowed[i], 0);
        }
    }
    if (rc == 0) {
        end_piece(w, &piece);
    }
    return rc;
}

/* A kernel that does not know the flag refuses it: it parses these attributes strictly. */
int wireguard_can_withdraw(struct wireguard *w, const struct key *owner, const struct prefix *example) {
    struct wireguard_change change = {
        .public_key = *owner, .update_only = true, .withdrawn = example, .withdrawn_count = 1};
    int rc = 0;
    if (w->withdrawal == WIREGUARD_UNKNOWN) {
        rc = wireguard_flush(w);
        rc = rc < 0 ? rc : wireguard_put(w, &change);
        if (rc < 0) {
            return rc;
        }
        rc = wireguard_flush(w);
        if (rc < 0 && rc != -EINVAL && rc != -EOPNOTSUPP) {
            return rc;
        }
        w->withdrawal = rc == 0 ? WIREGUARD_ABLE : WIREGUARD_UNABLE;
    }
    return w->withdrawal == WIREGUARD_ABLE;
}
