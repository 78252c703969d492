#include "export/openwrt.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

#include "export/shell.h"

static void set(struct buf *out, const char *verb, const char *option, const char *value) {
    buf_printf(out, "uci %s network.%s=", verb, option);
    shell_quote(out, value);
    buf_text(out, "\n");
}

static void set_number(struct buf *out, const char *option, unsigned value) {
    char text[16];
    snprintf(text, sizeof text, "%u", value);
    set(out, "set", option, text);
}

static void set_key(struct buf *out, const char *option, const struct key *key) {
    char text[KEY_BASE64_SIZE];
    set(out, "set", option, key_to_base64(key, text));
    sodium_memzero(text, sizeof text);
}

static void add_address(struct buf *out, const struct ip_addr *address) {
    char text[PREFIX_TEXT_SIZE];
    if (address->family) {
        struct prefix prefix = prefix_make(address, ip_bits(address));
        set(out, "add_list", "sallyport.addresses", prefix_format(&prefix, text));
    }
}

static void interface_format(const struct export_router *r, struct buf *out) {
    if (r->private_key) {
        buf_text(out, "uci -q delete network.sallyport || true\n");
        set(out, "set", "sallyport", "interface");
        set_key(out, "sallyport.private_key", r->private_key);
    } else {
        /* the key it made the first time stays */
        buf_text(out, "key=$(uci -q get network.sallyport.private_key || wg genkey)\n"
                      "uci -q delete network.sallyport || true\n");
        set(out, "set", "sallyport", "interface");
        buf_text(out, "uci set network.sallyport.private_key=\"$key\"\n");
    }
    set(out, "set", "sallyport.proto", "wireguard");
    add_address(out, &r->address);
    add_address(out, &r->address6);
    if (r->mtu) {
        set_number(out, "sallyport.mtu", r->mtu);
    }
}

static void peer_format(const struct export_router *r, struct buf *out) {
    char text[PREFIX_TEXT_SIZE];
    if (r->preshared_key_withheld) {
        buf_text(out, "shared=$(uci -q get network.sallyport_peer.preshared_key || true)\n");
    }
    buf_text(out, "uci -q delete network.sallyport_peer || true\n");
    set(out, "set", "sallyport_peer", "wireguard_sallyport");
    set(out, "set", "sallyport_peer.description", "Sallyport");
    set_key(out, "sallyport_peer.public_key", &r->gateway_key);
    if (r->preshared_key) {
        set_key(out, "sallyport_peer.preshared_key", r->preshared_key);
    } else if (r->preshared_key_withheld) {
        buf_text(out, "[ -z \"$shared\" ] || uci set network.sallyport_peer.preshared_key=\"$shared\"\n");
    }
    set(out, "set", "sallyport_peer.endpoint_host", r->endpoint_host);
    set_number(out, "sallyport_peer.endpoint_port", r->endpoint_port);
    if (r->keepalive_s) {
        set_number(out, "sallyport_peer.persistent_keepalive", r->keepalive_s);
    }
    set(out, "set", "sallyport_peer.route_allowed_ips", "1");
    for (size_t i = 0; i < r->allowed_count; i++) {
        set(out, "add_list", "sallyport_peer.allowed_ips", prefix_format(&r->allowed[i], text));
    }
}

int openwrt_format(const struct export_router *r, struct buf *out) {
    int error = export_router_check(r);
    if (error < 0) {
        return error;
    }
    shell_begin(out, r,
                "For OpenWrt with wireguard-tools: run it on the router, as often as you like. Put the interface "
                "\"sallyport\" into a\n# firewall zone: that decides what may be reached from the tunnel.");
    interface_format(r, out);
    peer_format(r, out);
    buf_text(out, "uci commit network\n");
    if (!export_host_family(r->endpoint_host)) {
        buf_text(out, "cron=/etc/crontabs/root\n"
                      "grep -qs wireguard_watchdog \"$cron\" || {\n"
                      "    echo '* * * * * /usr/bin/wireguard_watchdog' >>\"$cron\"\n"
                      "    /etc/init.d/cron restart\n"
                      "}\n");
    }
    buf_text(out, "ifup sallyport\n");
    if (!r->private_key) {
        shell_check_key(out, r, "echo \"$key\" | wg pubkey");
    }
    return out->failed ? -ENOMEM : 0;
}
