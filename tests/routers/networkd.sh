# Runs in namespaces of its own: a real systemd-networkd with a bus of its own, and the scripts FOLDER/1.sh, 2.sh, ... one after
# the other. FOLDER/N.wait is the route and FOLDER/N.key the key to wait for; what is then set stands in FOLDER/N.wg, N.address
# and N.route. The other end is FOLDER/far.conf. Where the kernel has no WireGuard, wireguard-go makes the interface that networkd
# would make.
#
# usage: networkd.sh FOLDER
set -eu
folder=$1
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /etc/systemd/network
mount -t tmpfs tmpfs /etc/systemd/system
mount -t sysfs -o ro sysfs /sys
mkdir -p /run/dbus /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp /run/wireguard
chown -R systemd-network /run/systemd/netif
ip link set lo up

dbus-daemon --system --nofork --nopidfile >"$folder/log" 2>&1 &
wireguard-go -f far >>"$folder/log" 2>&1 &
until wg setconf far "$folder/far.conf" 2>/dev/null; do sleep 0.1; done
ip link set far up
if ip link add probe type wireguard 2>/dev/null; then
    ip link del probe
else
    wireguard-go -f sallyport >>"$folder/log" 2>&1 &
fi
/usr/lib/systemd/systemd-networkd >>"$folder/log" 2>&1 &
until networkctl status >/dev/null 2>&1; do sleep 0.1; done

# waits until what the first argument prints holds the second
until_has() {
    for _ in $(seq 100); do
        ! $1 2>/dev/null | grep -qF -- "$2" || return 0
        sleep 0.1
    done
    echo "$1: never had $2" >&2
    exit 1
}

n=1
while [ -e "$folder/$n.sh" ]; do
    PATH=$folder/bin:$PATH sh -eu "$folder/$n.sh" || exit 1
    until_has "ip -4 route show dev sallyport" "$(cat "$folder/$n.wait")"
    until_has "ip -4 address show dev sallyport" "inet "
    ping -c 1 -W 0.1 -I sallyport 10.0.0.1 >/dev/null 2>&1 || true # what a router always has: something to send
    for _ in $(seq 100); do
        [ "$(wg show far latest-handshakes | grep -F "$(cat "$folder/$n.key")" | cut -f 2)" = 0 ] || break
        sleep 0.1
    done
    sleep 1.1 # a second handshake would have another second
    wg show sallyport dump >"$folder/$n.wg"
    ip address show dev sallyport >"$folder/$n.address"
    ip -4 route show dev sallyport >"$folder/$n.route"
    n=$((n + 1))
done
