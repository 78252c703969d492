#!/bin/sh
# Café "$(reboot)" `x` \ of it's {Acme}; #1
# For systemd-networkd: run it as root, as often as you like. With a folder as its argument it only writes the files there.
set -eu
root=${1-}
umask 022
mkdir -p "$root/etc/systemd/network" "$root/etc/systemd/system"
key=$root/etc/systemd/network/sallyport.key
[ -s "$key" ] || (umask 077; wg genkey >"$key")
rm -f "$root/etc/systemd/network/sallyport.psk"
for file in "$root"/etc/systemd/network/sallyport.key "$root"/etc/systemd/network/sallyport.psk; do
    [ ! -e "$file" ] || { chgrp systemd-network "$file"; chmod 640 "$file"; }
done
cat >"$root/etc/systemd/network/sallyport.netdev" <<'SALLYPORT'
[NetDev]
Name=sallyport
Kind=wireguard

[WireGuard]
PrivateKeyFile=/etc/systemd/network/sallyport.key

[WireGuardPeer]
PublicKey=AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=
AllowedIPs=10.0.0.0/8
AllowedIPs=fd12::/48
AllowedIPs=192.168.88.0/24
Endpoint=vpn.example.com:51820
PersistentKeepalive=25
SALLYPORT
cat >"$root/etc/systemd/network/sallyport.network" <<'SALLYPORT'
[Match]
Name=sallyport

[Link]
MTUBytes=1420

[Network]
Address=10.100.0.2/32
Address=fd12::7/128

[Route]
Destination=10.0.0.0/8

[Route]
Destination=fd12::/48

[Route]
Destination=192.168.88.0/24
SALLYPORT
cat >"$root/etc/systemd/network/sallyport-endpoint" <<'SALLYPORT'
seen=$(wg show sallyport latest-handshakes | cut -f 2)
[ $(($(date +%s) - ${seen:-0})) -lt 135 ] ||
    wg set sallyport peer AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI= endpoint vpn.example.com:51820
SALLYPORT
cat >"$root/etc/systemd/system/sallyport-endpoint.service" <<'SALLYPORT'
[Unit]
Description=Look up the name of the WireGuard gateway again if it is silent

[Service]
Type=oneshot
ExecStart=/bin/sh /etc/systemd/network/sallyport-endpoint
SALLYPORT
cat >"$root/etc/systemd/system/sallyport-endpoint.timer" <<'SALLYPORT'
[Unit]
Description=Look up the name of the WireGuard gateway again if it is silent

[Timer]
OnBootSec=60
OnUnitActiveSec=60

[Install]
WantedBy=timers.target
SALLYPORT
if [ -z "$root" ]; then
    systemctl daemon-reload
    systemctl enable --now systemd-networkd sallyport-endpoint.timer
    networkctl reload
    if wg show sallyport >/dev/null 2>&1; then
        peer=AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=
        shared=/etc/systemd/network/sallyport.psk
        [ -s "$shared" ] || shared=/dev/null
        wg set sallyport private-key /etc/systemd/network/sallyport.key
        wg set sallyport peer "$peer" preshared-key "$shared" persistent-keepalive 25 allowed-ips 10.0.0.0/8,fd12::/48,192.168.88.0/24
        for other in $(wg show sallyport peers); do
            [ "$other" = "$peer" ] || wg set sallyport peer "$other" remove
        done
        wg set sallyport peer "$peer" endpoint vpn.example.com:51820
    elif [ -e /sys/class/net/sallyport ]; then
        echo "What has changed is not in the running tunnel: wg, of wireguard-tools, does not reach it." >&2
        exit 1
    fi
fi
public=$(wg pubkey <"$key")
[ "$public" = 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=' ] || {
    echo "The key of this router is another one than the gateway knows. At the gateway:" >&2
    echo "sallyport router rotate ROUTER --public-key $public" >&2
    exit 1
}
