#!/bin/sh
# Café "$(reboot)" `x` \ of it's {Acme}; #1
# For OpenWrt with wireguard-tools: run it on the router, as often as you like. Put the interface "sallyport" into a
# firewall zone: that decides what may be reached from the tunnel.
set -eu
uci -q delete network.sallyport || true
uci set network.sallyport='interface'
uci set network.sallyport.private_key='AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM='
uci set network.sallyport.proto='wireguard'
uci add_list network.sallyport.addresses='10.100.0.2/32'
uci add_list network.sallyport.addresses='fd12::7/128'
uci set network.sallyport.mtu='1420'
uci -q delete network.sallyport_peer || true
uci set network.sallyport_peer='wireguard_sallyport'
uci set network.sallyport_peer.description='Sallyport'
uci set network.sallyport_peer.public_key='AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI='
uci set network.sallyport_peer.preshared_key='BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ='
uci set network.sallyport_peer.endpoint_host='vpn.example.com'
uci set network.sallyport_peer.endpoint_port='51820'
uci set network.sallyport_peer.persistent_keepalive='25'
uci set network.sallyport_peer.route_allowed_ips='1'
uci add_list network.sallyport_peer.allowed_ips='10.0.0.0/8'
uci add_list network.sallyport_peer.allowed_ips='fd12::/48'
uci add_list network.sallyport_peer.allowed_ips='192.168.88.0/24'
uci commit network
cron=/etc/crontabs/root
grep -qs wireguard_watchdog "$cron" || {
    echo '* * * * * /usr/bin/wireguard_watchdog' >>"$cron"
    /etc/init.d/cron restart
}
ifup sallyport
