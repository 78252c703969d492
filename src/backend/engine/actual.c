#include "backend/engine/actual.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/uapi/text.h"

static int good(int rc) {
    return rc < 0 ? -EBADMSG : 0;
}

/* --- peers --- */

static bool is_host(const struct prefix *prefix, const struct ip_addr *addr) {
    return addr->family && prefix->length == ip_bits(addr) && ip_equal(&prefix->addr, addr);
}

static int by_prefix(const void *a, const void *b) {
    return prefix_compare(a, b);
}

/* Parts the allowed IPs into the peer's own addresses and its LANs. What a desired peer would have and this one has
 * not, and what it could not have, is foreign. */
static void part_allowed_ips(struct actual_peer_reader *r) {
    struct actual_peer *peer = &r->peer;
    struct desired_peer *is = &peer->is;
    bool has_address = !is->address.family;
    bool has_address6 = !is->address6.family;
    size_t kept = r->allowed_count < ACTUAL_ALLOWED_IPS ? r->allowed_count : ACTUAL_ALLOWED_IPS;
    for (size_t i = 0; i < kept; i++) {
        const struct prefix *allowed = &r->allowed[i];
        if (is_host(allowed, &is->address)) {
            has_address = true;
        } else if (is_host(allowed, &is->address6)) {
            has_address6 = true;
        } else if (is->lan_count < ROUTER_LANS_MAX) {
            is->lans[is->lan_count++] = *allowed;
        } else {
            peer->foreign_allowed_ips = true;
        }
    }
    qsort(is->lans, is->lan_count, sizeof *is->lans, by_prefix);
    peer->foreign_allowed_ips |=
        kept < r->allowed_count || !has_address || !has_address6 || !ip_equal(&is->address6, &r->inside6);
}

int actual_peer_end(struct actual_peer_reader *reader) {
    struct actual_peer_reader *r = reader;
    if (!r->open) {
        return 0;
    }
    r->open = false;
    r->peer.last_handshake_at_us = (int64_t)(r->handshake_ns / 1000);
    part_allowed_ips(r);
    int rc = r->fn(r->context, &r->peer);
    sodium_memzero(&r->peer.is.preshared_key, sizeof r->peer.is.preshared_key);
    return rc;
}

static int begin_peer(struct actual_peer_reader *r, const char *value) {
    int rc = actual_peer_end(r);
    if (rc != 0) {
        return rc;
    }
    memset(&r->peer, 0, sizeof r->peer);
    memset(&r->inside6, 0, sizeof r->inside6);
    r->allowed_count = 0;
    r->handshake_ns = 0;
    r->open = true;
    return good(key_from_hex(value, &r->peer.is.public_key));
}

static int take_allowed_ip(struct actual_peer_reader *r, const char *value) {
    struct prefix prefix;
    if (prefix_parse(value, &prefix, NULL) < 0) {
        return -EBADMSG;
    }
    if (r->allowed_count < ACTUAL_ALLOWED_IPS) {
        r->allowed[r->allowed_count] = prefix;
    }
    r->allowed_count++;
    return 0;
}

static int take_hub_address(struct actual_peer_reader *r, const char *value) {
    struct engine_hub_address address;
    if (uapi_text_hub_address(value, &address) < 0) {
        return -EBADMSG;
    }
    if (address.hub.family == AF_INET) {
        r->peer.is.hub_address = address.hub;
        r->peer.is.address = address.inside;
    } else {
        r->peer.is.address6 = address.hub;
        r->inside6 = address.inside;
    }
    return 0;
}

static int take_handshake(struct actual_peer_reader *r, const char *value, uint64_t unit_ns) {
    uint64_t count;
    if (uapi_text_u64(value, INT64_MAX / unit_ns, &count) < 0) {
        return -EBADMSG;
    }
    r->handshake_ns += count * unit_ns;
    return 0;
}

int actual_peer_line(void *reader, const char *key, const char *value) {
    struct actual_peer_reader *r = reader;
    struct actual_peer *peer = &r->peer;
    if (strcmp(key, "public_key") == 0) {
        return begin_peer(r, value);
    }
    if (strcmp(key, "now") == 0) {
        return good(uapi_text_u64(value, UINT64_MAX, &r->now));
    }
    if (!r->open) {
        return 0;
    }
    if (strcmp(key, "allowed_ip") == 0) {
        return take_allowed_ip(r, value);
    }
    if (strcmp(key, "preshared_key") == 0) {
        return good(key_from_hex(value, &peer->is.preshared_key));
    }
    if (strcmp(key, "endpoint") == 0) {
        return good(uapi_text_endpoint(value, &peer->is.endpoint));
    }
    if (strcmp(key, "last_handshake_time_sec") == 0) {
        return take_handshake(r, value, NSEC_PER_SEC);
    }
    if (strcmp(key, "last_handshake_time_nsec") == 0) {
        return take_handshake(r, value, 1);
    }
    if (strcmp(key, "rx_bytes") == 0) {
        return good(uapi_text_u64(value, UINT64_MAX, &peer->bytes_received));
    }
    if (strcmp(key, "tx_bytes") == 0) {
        return good(uapi_text_u64(value, UINT64_MAX, &peer->bytes_sent));
    }
    if (strcmp(key, "peer_tenant") == 0) {
        return good(uuid_parse(value, &peer->is.tenant));
    }
    if (strcmp(key, "hub_address") == 0) {
        return take_hub_address(r, value);
    }
    if (strcmp(key, "timestamp") == 0) {
        return good(uapi_text_timestamp(value, peer->is.timestamp));
    }
    return 0; /* a later engine may say more */
}

/* --- tenants --- */

int actual_tenant_end(struct actual_tenant_reader *reader) {
    if (!reader->open) {
        return 0;
    }
    reader->open = false;
    return reader->fn(reader->context, &reader->tenant);
}

static int begin_tenant(struct actual_tenant_reader *r, const char *value) {
    int rc = actual_tenant_end(r);
    if (rc != 0) {
        return rc;
    }
    memset(&r->tenant, 0, sizeof r->tenant);
    r->open = true;
    return good(uuid_parse(value, &r->tenant.is.id));
}

int actual_tenant_line(void *reader, const char *key, const char *value) {
    struct actual_tenant_reader *r = reader;
    struct actual_tenant *tenant = &r->tenant;
    const struct {
        const char *key;
        uint64_t *to;
    } numbers[] = {
        {"limit_bits_per_second", &tenant->is.limits.bits_per_second},
        {"limit_packets_per_second", &tenant->is.limits.packets_per_second},
        {"rx_bytes", &tenant->bytes_received},
        {"rx_packets", &tenant->packets_received},
        {"tx_bytes", &tenant->bytes_sent},
        {"tx_packets", &tenant->packets_sent},
        {"dropped", &tenant->dropped},
    };
    if (strcmp(key, "tenant") == 0) {
        return begin_tenant(r, value);
    }
    if (!r->open) {
        return 0;
    }
    if (strcmp(key, "addressing") == 0) {
        return good(addressing_parse(value, &tenant->is.addressing));
    }
    if (strcmp(key, "egress") == 0) {
        return good(uapi_text_bool(value, &tenant->is.egress));
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(key, numbers[i].key) == 0) {
            return good(uapi_text_u64(value, UINT64_MAX, numbers[i].to));
        }
    }
    return 0;
}

/* --- device --- */

static int take_number(const char *value, uint64_t most, uint64_t *ret_number) {
    return good(uapi_text_u64(value, most, ret_number));
}

int actual_device_line(void *device, const char *key, const char *value) {
    struct actual_device *d = device;
    uint64_t number;
    int rc = 0;
    if (strcmp(key, "private_key") == 0) {
        return good(key_from_hex(value, &d->private_key));
    }
    if (strcmp(key, "listen_port") == 0) {
        rc = take_number(value, UINT16_MAX, &number);
        d->listen_port = rc < 0 ? 0 : (uint16_t)number;
    } else if (strcmp(key, "fwmark") == 0) {
        rc = take_number(value, UINT32_MAX, &number);
        d->fwmark = rc < 0 ? 0 : (uint32_t)number;
    } else if (strcmp(key, "hub") == 0 && d->hub_count < sizeof d->hub / sizeof *d->hub) {
        rc = good(prefix_parse(value, &d->hub[d->hub_count], NULL));
        d->hub_count += rc == 0;
    } else if (strcmp(key, "workers") == 0) {
        rc = take_number(value, UINT16_MAX, &number);
        d->workers = rc < 0 ? 0 : (unsigned)number;
    } else if (strcmp(key, "crypto") == 0) {
        snprintf(d->crypto, sizeof d->crypto, "%s", value);
    } else if (strcmp(key, "offloads") == 0) {
        snprintf(d->offloads, sizeof d->offloads, "%s", value);
    } else if (strcmp(key, "offloads_off") == 0) {
        snprintf(d->offloads_off, sizeof d->offloads_off, "%s", value);
    } else if (strcmp(key, "peer_count") == 0) {
        rc = take_number(value, UINT64_MAX, &d->peers);
    } else if (strcmp(key, "tenant_count") == 0) {
        rc = take_number(value, UINT64_MAX, &d->tenants);
    }
    return rc;
}
