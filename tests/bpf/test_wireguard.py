"""The programs on the kernel's own WireGuard, where there is one: conftest.py.

    a1 10.1.0.1      a2 10.1.0.2 + LAN       b1 10.2.0.1      namespaces with wg0, stock `wg`
        \\                 |                    /
         +-- veth pairs, 192.0.2.0/24 on a bridge --+
                           |
                    hub: wgt 10.0.0.1/8, with the programs and the fence
"""
import json
import socket
import subprocess
import time

import pytest

import lab
import packets
from scene import A, B, INTERFACE, Gate

PORT = 51820
IP_MTU = 14
ROUTERS = {"a1": ("10.1.0.1", A, "fd00::1:1"), "a2": ("10.1.0.2", A, "fd00::1:2"), "b1": ("10.2.0.1", B, "fd00::2:1")}


class Tunnels:
    """The hub and its routers. Offers what a Gate wants of a scene."""

    def __init__(self, world):
        self.hub = world.space("hub")
        self.hub.sysctl("net.ipv4.ip_forward", 1)
        self.hub.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.hub.ip("link add br0 type bridge", "addr add 192.0.2.254/24 dev br0", "link set br0 up",
                    f"link add {INTERFACE} type wireguard", f"addr add 10.0.0.1/8 dev {INTERFACE}",
                    f"addr add fd00::1/48 dev {INTERFACE} nodad", f"link set {INTERFACE} mtu 1420 up",
                    f"route add 192.168.0.0/16 dev {INTERFACE}")
        hub_private = self.key(self.hub)
        self.hub.run("wg", "set", INTERFACE, "listen-port", PORT, "private-key", "/dev/stdin", input=hub_private)
        hub_public = self.public(hub_private)
        self.routers = {}
        for number, (name, (address, _, address6)) in enumerate(ROUTERS.items(), 1):
            space = self.routers[name] = world.space(name)
            self.hub.ip(f"link add v{number} type veth peer name eth0 netns {space.name}", f"link set v{number} master br0 up")
            space.ip(f"addr add 192.0.2.{number}/24 dev eth0", "link set eth0 up", "link add wg0 type wireguard",
                     f"addr add {address}/8 dev wg0", f"addr add {address6}/48 dev wg0 nodad", "link set wg0 mtu 1420 up",
                     "route add default dev wg0")
            private = self.key(space)
            space.run("wg", "set", "wg0", "private-key", "/dev/stdin", "peer", hub_public, "endpoint", f"192.0.2.254:{PORT}",
                      "allowed-ips", "0.0.0.0/0,::/0", input=private)
            lan = ",192.168.1.0/24" if name == "a2" else ""
            self.hub.run("wg", "set", INTERFACE, "peer", self.public(private), "allowed-ips", f"{address},{address6}{lan}")
        self.routers["a2"].ip("addr", "add", "192.168.1.9/32", "dev", "lo")
        self.holder = self.hub.start("unshare", "--mount", "sh", "-c",
                                     "mount -t bpf bpf /sys/fs/bpf && echo ready && exec sleep infinity", stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        self.gate = Gate(self)
        self.gate.do("hub", "10.0.0.1/8", "fd00::1/48")
        for name, (address, tenant, address6) in ROUTERS.items():
            self.gate.do("tenant", tenant)
            self.gate.do("peer", name, tenant, address, address6, *(["192.168.1.0/24"] if name == "a2" else []))
        self.gate.do("attach")
        self.gate.do("fence")
        for space in self.routers.values():  # handshakes
            assert self.reaches(space, "10.0.0.1")

    @staticmethod
    def key(space):
        return space.run("wg", "genkey").stdout

    def public(self, private):
        return self.hub.run("wg", "pubkey", input=private).stdout.strip()

    @staticmethod
    def reaches(space, target, seconds=5):
        return space.run("ping", "-c", 1, "-W", seconds, target, check=False).returncode == 0


@pytest.fixture(scope="module")
def tunnels():
    with lab.World() as world:
        made = Tunnels(world)
        yield made
        made.gate.kill()


@pytest.mark.parametrize("source, target", [("a1", "10.0.0.1"), ("a1", "10.1.0.2"), ("a2", "10.1.0.1"), ("a1", "192.168.1.9"),
                                            ("b1", "10.0.0.1"), ("a1", "fd00::1"), ("a1", "fd00::1:2")])
def test_reaches(tunnels, source, target):
    assert tunnels.reaches(tunnels.routers[source], target)


@pytest.mark.parametrize("source, target", [("a1", "10.2.0.1"), ("b1", "10.1.0.1"), ("b1", "192.168.1.9"), ("a1", "10.9.9.9"),
                                            ("a1", "203.0.113.9"), ("a1", "fd00::2:1")])
def test_is_told_that_it_may_not_reach(tunnels, source, target):
    said = tunnels.routers[source].run("ping", "-n", "-c", 1, "-W", 5, target, check=False)
    assert said.returncode == 1
    words = "Administratively prohibited" if ":" in target else "Packet filtered"
    hub = "fd00::1" if ":" in target else "10.0.0.1"
    assert words in said.stdout and hub in said.stdout, said.stdout


@pytest.mark.parametrize("target", ["10.1.0.1", "192.168.1.9", "10.2.0.1", "fd00::2:1"])
def test_the_hub_reaches_everybody(tunnels, target):
    assert tunnels.reaches(tunnels.hub, target)


def test_a_stream_is_counted_as_on_the_wire(tunnels):
    """Received packets come put together; headers are counted in each all the same."""
    before, size = tunnels.gate.tenants()[A], 4_000_000
    with tunnels.hub.tcp_listen("10.0.0.1", 5201) as server:
        with tunnels.routers["a1"].tcp_connect("10.1.0.1", ("10.0.0.1", 5201), 30) as client:
            peer = server.accept()[0]
            reader = lab.Reader(lambda: sum(iter(lambda: len(peer.recv(1 << 16)), 0)))
            client.sendall(bytes(size))
            client.close()
            assert reader.result(60) == size
            peer.close()
    after = tunnels.gate.tenants()[A]
    packets_in, bytes_in = (after[name] - before[name] for name in ("rx_packets", "rx_bytes"))
    segments = -(-size // (1420 - 52))
    assert segments <= packets_in < segments * 1.1
    assert size + 52 * segments <= bytes_in < (size + 52 * segments) * 1.1
    assert after["dropped"] == before["dropped"]


def test_fragments_arrive(tunnels):
    assert tunnels.routers["a1"].run("ping", "-c", 1, "-s", 4000, "-W", 5, "10.1.0.2", check=False).returncode == 0
    assert tunnels.routers["a1"].run("ping", "-c", 1, "-s", 4000, "-W", 1, "10.2.0.1", check=False).returncode == 1


@pytest.mark.parametrize("target", ["10.1.0.1", "192.168.1.9", "fd00::2:1"])
def test_the_hub_hears_that_a_routers_port_is_closed(tunnels, target):
    with tunnels.hub.udp("fd00::1" if ":" in target else "10.0.0.1") as flow:
        flow.connect((target, 7))
        flow.send(b"is anybody there?")
        with pytest.raises(ConnectionRefusedError):
            flow.recv(1)


def test_the_hub_hears_that_a_path_behind_a_router_is_narrow(tunnels):
    a2 = tunnels.routers["a2"]
    a2.sysctl("net.ipv4.ip_forward", 1)
    a2.ip("link add narrow type veth peer name far", "link set narrow mtu 1300 up", "route add 192.168.1.128/25 dev narrow")
    with tunnels.hub.udp("10.0.0.1") as flow:
        flow.setsockopt(socket.IPPROTO_IP, packets.IP_MTU_DISCOVER, packets.IP_PMTUDISC_DO)
        flow.connect(("192.168.1.200", 7))
        assert flow.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1420
        flow.send(bytes(1350))
        lab.wait_until(lambda: flow.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1300)


def sent_by(space):
    return json.loads(space.run("ip", "-json", "-stats", "link", "show", INTERFACE).stdout)[0]["stats64"]["tx"]["packets"]


def test_what_is_held_is_not_lost_while_filters_get_their_place(tunnels):
    pings = [tunnels.hub.start("ping", "-q", "-n", "-c", 20, "-i", 0.05, "-W", 20, target, stdout=subprocess.PIPE, text=True)
             for target in ("10.1.0.1", "192.168.1.9", "fd00::2:1")]
    tunnels.gate.do("hold")
    sent = sent_by(tunnels.hub)
    time.sleep(0.5)
    for _ in range(3):
        tunnels.hub.run("tc", "qdisc", "del", "dev", INTERFACE, "clsact")
        tunnels.hub.run("tc", "qdisc", "add", "dev", INTERFACE, "clsact")
    assert tunnels.gate.do("attach") == 2
    assert sent_by(tunnels.hub) <= sent + 3  # keepalives
    tunnels.gate.do("release")
    for ping in pings:
        assert ", 20 received" in ping.communicate(timeout=60)[0]
    assert "_hold" not in tunnels.hub.run("nft", "list", "tables").stdout


def test_nothing_is_held_any_more_when_the_holder_is_killed(tunnels):
    holder = Gate(tunnels)
    holder.do("hold")
    assert not tunnels.reaches(tunnels.hub, "10.1.0.1", 1)
    holder.kill()
    assert tunnels.reaches(tunnels.hub, "10.1.0.1")
    assert "_hold" not in tunnels.hub.run("nft", "list", "tables").stdout


def test_nothing_comes_in_without_the_program_and_sessions_live_on(tunnels):
    """The last: it takes the program away."""
    a1 = tunnels.routers["a1"]
    hand = a1.run("wg", "show", "wg0", "latest-handshakes").stdout
    tunnels.hub.run("tc", "qdisc", "del", "dev", INTERFACE, "clsact")
    assert not tunnels.reaches(a1, "10.0.0.1", 1)
    assert not tunnels.reaches(a1, "10.1.0.2", 1)
    assert not tunnels.reaches(a1, "10.2.0.1", 1)
    assert tunnels.gate.do("attach") == 2
    assert tunnels.reaches(a1, "10.0.0.1") and tunnels.reaches(a1, "10.1.0.2")
    assert a1.run("wg", "show", "wg0", "latest-handshakes").stdout == hand
