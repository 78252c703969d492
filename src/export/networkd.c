#include "export/networkd.h"

#include <errno.h>
#include <sodium.h>

#include "export/shell.h"

/* Seconds without a handshake after which the name is looked up again: as long as wireguard-tools' reresolve-dns. */
#define SILENCE_S 135

static void file_begin(struct buf *out, const char *path) {
    buf_printf(out, "cat >\"$root%s\" <<'SALLYPORT'\n", path);
}

/* No line that is written here is the word that ends it. */
static void file_end(struct buf *out) {
    buf_text(out, "SALLYPORT\n");
}

static void key_file(struct buf *out, const char *path, const struct key *key) {
    char text[KEY_BASE64_SIZE];
    buf_printf(out, "(umask 077; echo %s >\"$root%s\")\n", key_to_base64(key, text), path);
    sodium_memzero(text, sizeof text);
}

static void keys_format(const struct export_router *r, struct buf *out) {
    if (r->private_key) {
        key_file(out, "/etc/systemd/network/sallyport.key", r->private_key);
    } else {
        /* the key it made the first time stays */
        buf_text(out, "key=$root/etc/systemd/network/sallyport.key\n"
                      "[ -s \"$key\" ] || (umask 077; wg genkey >\"$key\")\n");
    }
    if (r->preshared_key) {
        key_file(out, "/etc/systemd/network/sallyport.psk", r->preshared_key);
    } else if (!r->preshared_key_withheld) {
        buf_text(out, "rm -f \"$root/etc/systemd/network/sallyport.psk\"\n");
    }
    buf_text(out,
             "for file in \"$root\"/etc/systemd/network/sallyport.key \"$root\"/etc/systemd/network/sallyport.psk; "
             "do\n"
             "    [ ! -e \"$file\" ] || { chgrp systemd-network \"$file\"; chmod 640 \"$file\"; }\n"
             "done\n");
}

static void dial_format(const struct export_router *r, struct buf *out) {
    bool brackets = export_host_family(r->endpoint_host) == AF_INET6;
    buf_printf(out, brackets ? "[%s]:%u" : "%s:%u", r->endpoint_host, r->endpoint_port);
}

static void netdev_format(const struct export_router *r, struct buf *out) {
    char text[PREFIX_TEXT_SIZE], key[KEY_BASE64_SIZE];
    file_begin(out, "/etc/systemd/network/sallyport.netdev");
    buf_text(out, "[NetDev]\nName=sallyport\nKind=wireguard\n");
    buf_text(out, "\n[WireGuard]\nPrivateKeyFile=/etc/systemd/network/sallyport.key\n\n[WireGuardPeer]\n");
    buf_printf(out, "PublicKey=%s\n", key_to_base64(&r->gateway_key, key));
    if (r->preshared_key || r->preshared_key_withheld) {
        buf_text(out, "PresharedKeyFile=/etc/systemd/network/sallyport.psk\n");
    }
    for (size_t i = 0; i < r->allowed_count; i++) {
        buf_printf(out, "AllowedIPs=%s\n", prefix_format(&r->allowed[i], text));
    }
    buf_text(out, "Endpoint=");
    dial_format(r, out);
    buf_text(out, "\n");
    if (r->keepalive_s) {
        buf_printf(out, "PersistentKeepalive=%u\n", r->keepalive_s);
    }
    file_end(out);
}

static void address_format(const struct ip_addr *address, struct buf *out) {
    char text[IP_TEXT_SIZE];
    if (address->family) {
        buf_printf(out, "Address=%s/%u\n", ip_format(address, text), ip_bits(address));
    }
}

static void network_format(const struct export_router *r, struct buf *out) {
    char text[PREFIX_TEXT_SIZE];
    file_begin(out, "/etc/systemd/network/sallyport.network");
    buf_text(out, "[Match]\nName=sallyport\n\n");
    if (r->mtu) {
        buf_printf(out, "[Link]\nMTUBytes=%u\n\n", r->mtu); /* here a tunnel that runs gets it, too */
    }
    buf_text(out, "[Network]\n");
    address_format(&r->address, out);
    address_format(&r->address6, out);
    for (size_t i = 0; i < r->allowed_count; i++) {
        buf_printf(out, "\n[Route]\nDestination=%s\n", prefix_format(&r->allowed[i], text));
    }
    file_end(out);
}

static void watch_format(const struct export_router *r, struct buf *out) {
    char key[KEY_BASE64_SIZE];
    file_begin(out, "/etc/systemd/network/sallyport-endpoint");
    buf_printf(out,
               "seen=$(wg show sallyport latest-handshakes | cut -f 2)\n"
               "[ $(($(date +%%s) - ${seen:-0})) -lt %d ] ||\n"
               "    wg set sallyport peer %s endpoint ",
               SILENCE_S, key_to_base64(&r->gateway_key, key));
    dial_format(r, out);
    buf_text(out, "\n");
    file_end(out);
    file_begin(out, "/etc/systemd/system/sallyport-endpoint.service");
    buf_text(out, "[Unit]\nDescription=Look up the name of the WireGuard gateway again if it is silent\n\n"
                  "[Service]\nType=oneshot\nExecStart=/bin/sh /etc/systemd/network/sallyport-endpoint\n");
    file_end(out);
    file_begin(out, "/etc/systemd/system/sallyport-endpoint.timer");
    buf_text(out, "[Unit]\nDescription=Look up the name of the WireGuard gateway again if it is silent\n\n"
                  "[Timer]\nOnBootSec=60\nOnUnitActiveSec=60\n\n[Install]\nWantedBy=timers.target\n");
    file_end(out);
}

/* systemd-networkd reads a .netdev for an interface that it makes, and never again. What has changed goes into a tunnel
 * that runs by hand, so that its session goes on: to make it anew would cut all connections. The endpoint comes last,
 * as its name may not be found. */
static void apply_format(const struct export_router *r, struct buf *out) {
    char key[KEY_BASE64_SIZE], text[PREFIX_TEXT_SIZE];
    buf_printf(out,
               "    if wg show sallyport >/dev/null 2>&1; then\n"
               "        peer=%s\n"
               "        shared=/etc/systemd/network/sallyport.psk\n"
               "        [ -s \"$shared\" ] || shared=/dev/null\n"
               "        wg set sallyport private-key /etc/systemd/network/sallyport.key\n"
               "        wg set sallyport peer \"$peer\" preshared-key \"$shared\" persistent-keepalive %u allowed-ips ",
               key_to_base64(&r->gateway_key, key), r->keepalive_s);
    for (size_t i = 0; i < r->allowed_count; i++) {
        buf_printf(out, "%s%s", i ? "," : "", prefix_format(&r->allowed[i], text));
    }
    buf_text(out, "\n"
                  "        for other in $(wg show sallyport peers); do\n"
                  "            [ \"$other\" = \"$peer\" ] || wg set sallyport peer \"$other\" remove\n"
                  "        done\n"
                  "        wg set sallyport peer \"$peer\" endpoint ");
    dial_format(r, out);
    buf_text(out, "\n"
                  "    elif [ -e /sys/class/net/sallyport ]; then\n"
                  "        echo \"What has changed is not in the running tunnel: wg, of wireguard-tools, does not "
                  "reach it.\" >&2\n"
                  "        exit 1\n"
                  "    fi\n");
}

int networkd_format(const struct export_router *r, struct buf *out) {
    int error = export_router_check(r);
    if (error < 0) {
        return error;
    }
    bool named = !export_host_family(r->endpoint_host);
    shell_begin(out, r,
                "For systemd-networkd: run it as root, as often as you like. With a folder as its argument it only "
                "writes the files there.");
    buf_text(out, "root=${1-}\numask 022\nmkdir -p \"$root/etc/systemd/network\" \"$root/etc/systemd/system\"\n");
    keys_format(r, out);
    netdev_format(r, out);
    network_format(r, out);
    if (named) {
        watch_format(r, out);
    }
    buf_text(out,
             "if [ -z \"$root\" ]; then\n    systemctl daemon-reload\n    systemctl enable --now systemd-networkd");
    buf_text(out, named ? " sallyport-endpoint.timer\n"
                        : "\n    systemctl disable --now sallyport-endpoint.timer 2>/dev/null || true\n");
    buf_text(out, "    networkctl reload\n");
    apply_format(r, out);
    buf_text(out, "fi\n");
    if (!r->private_key) {
        shell_check_key(out, r, "wg pubkey <\"$key\"");
    }
    return out->failed ? -ENOMEM : 0;
}
