#include "export/wgquick.h"

#include <errno.h>
#include <sodium.h>

static void interface_format(const struct export_router *r, struct buf *out) {
    char key[KEY_BASE64_SIZE];
    char address[IP_TEXT_SIZE];
    /* The comment stands inside the section: RouterOS refuses some files that start with "#". */
    buf_text(out, "[Interface]\n");
    buf_printf(out, "# %s of %s\n", r->router_name, r->tenant_name);
    if (r->private_key) {
        buf_printf(out, "PrivateKey = %s\n", key_to_base64(r->private_key, key));
        sodium_memzero(key, sizeof key);
    } else {
        buf_printf(out, "# PrivateKey = (put here the private key that belongs to %s)\n",
                   key_to_base64(&r->public_key, key));
    }
    /* Host prefixes: what else is reachable comes from AllowedIPs, and a wider prefix would shadow it. */
    if (r->address.family) {
        buf_printf(out, "Address = %s/%u\n", ip_format(&r->address, address), ip_bits(&r->address));
    }
    if (r->address6.family) {
        buf_printf(out, "Address = %s/%u\n", ip_format(&r->address6, address), ip_bits(&r->address6));
    }
    if (r->mtu) {
        buf_printf(out, "MTU = %u\n", r->mtu);
    }
}

static void peer_format(const struct export_router *r, struct buf *out) {
    char key[KEY_BASE64_SIZE];
    char prefix[PREFIX_TEXT_SIZE];
    buf_text(out, "\n[Peer]\n");
    buf_printf(out, "PublicKey = %s\n", key_to_base64(&r->gateway_key, key));
    if (r->preshared_key) {
        buf_printf(out, "PresharedKey = %s\n", key_to_base64(r->preshared_key, key));
        sodium_memzero(key, sizeof key);
    } else if (r->preshared_key_withheld) {
        buf_text(out, "# PresharedKey = (there is one, which this token may not see)\n");
    }
    bool brackets = export_host_family(r->endpoint_host) == AF_INET6;
    buf_printf(out, brackets ? "Endpoint = [%s]:%u\n" : "Endpoint = %s:%u\n", r->endpoint_host, r->endpoint_port);
    for (size_t i = 0; i < r->allowed_count; i++) {
        buf_printf(out, "%s%s", i ? ", " : "AllowedIPs = ", prefix_format(&r->allowed[i], prefix));
    }
    buf_text(out, "\n");
    if (r->keepalive_s) {
        buf_printf(out, "PersistentKeepalive = %u\n", r->keepalive_s);
    }
}

int wgquick_format(const struct export_router *r, struct buf *out) {
    int error = export_router_check(r);
    if (error < 0) {
        return error;
    }
    interface_format(r, out);
    peer_format(r, out);
    return out->failed ? -ENOMEM : 0;
}
