"""Outer paths that are not plain: narrow, local to a link, without IPv6, or leading nowhere.

    [a]  wg 10.9.0.1/24                         wg 10.9.0.2/24  [b]
      |                                                          |
    eth0 192.0.2.1/24 2001:db8::1/64 fe80::a ------ eth0 192.0.2.2/24 2001:db8::2/64 fe80::b

a is the implementation under test, b is wireguard-go; each test has the pair for itself.
"""
import contextlib
import re
import socket
import time

import pytest

import noise
from lab import OURS, SLOW, Flow, Key, Reader, Uapi, bracketed, wait_until
from packets import ICMP, echo, ip4
from test_interop import transfer


class Pair:
    def __init__(self, world):
        self.a, self.b = world.space("a"), world.space("b")
        world.link(self.a, ["192.0.2.1/24", "2001:db8::1/64", "fe80::a/64"],
                   self.b, ["192.0.2.2/24", "2001:db8::2/64", "fe80::b/64"])
        self.world = world

    def build(self, **options):
        self.left = self.world.device(self.a, addresses=["10.9.0.1/24"], **options)
        self.right = self.world.device(self.b, implementation="wireguard-go", addresses=["10.9.0.2/24"])
        return self

    def join(self, left_knows=None, right_knows=None):
        self.left.add(self.right, ["10.9.0.2/32"], endpoint=left_knows and bracketed(left_knows, self.right.port))
        self.right.add(self.left, ["10.9.0.1/32"], endpoint=right_knows and bracketed(right_knows, self.left.port))
        return self


@pytest.fixture
def pair(world):
    return Pair(world)


@pytest.mark.parametrize("outer, mtu", [("192.0.2", 1300), ("192.0.2", 600), ("2001:db8:", 1300)])
def test_outer_path_narrower_than_the_tunnel(pair, outer, mtu):
    """Outer packets may be fragmented; the tunnel's MTU is a promise."""
    ends = [f"{outer}.1", f"{outer}.2"] if "." in outer else [f"{outer}:1", f"{outer}:2"]
    for space in (pair.a, pair.b):
        space.ip(f"link set eth0 mtu {mtu}")
    pair.build().join(ends[1], ends[0])
    for size in (56, 1000, 1392):
        assert pair.a.ping("10.9.0.2", size=size, dont_fragment=True), size
        assert pair.b.ping("10.9.0.1", size=size, dont_fragment=True), size
    assert transfer(pair.a, pair.b, "10.9.0.1", "10.9.0.2", 4 << 20)


def test_outer_path_becomes_narrow_under_traffic(pair):
    pair.build().join("192.0.2.2", "192.0.2.1")
    sending = Reader(transfer, pair.a, pair.b, "10.9.0.1", "10.9.0.2", 32 << 20)
    wait_until(lambda: int(pair.left.peer(pair.right)["tx_bytes"]) > 1 << 20)
    for space in (pair.a, pair.b):
        space.ip("link set eth0 mtu 1300")
    assert sending.result(40)
    assert pair.a.ping("10.9.0.2", size=1392, dont_fragment=True)


@pytest.mark.parametrize("begins", ["left", "right"])
def test_link_local_endpoint(pair, begins):
    """An address that means something on one link only, named with its interface."""
    pair.build().join("fe80::b%eth0" if begins == "left" else None, "fe80::a%eth0" if begins == "right" else None)
    space, target = (pair.a, "10.9.0.2") if begins == "left" else (pair.b, "10.9.0.1")
    assert space.ping(target), pair.left.failure()
    assert pair.a.ping("10.9.0.2") and pair.b.ping("10.9.0.1")
    if not OURS:
        return  # wireguard-go does not say which interface
    said = pair.left.peer(pair.right)["endpoint"]
    assert re.fullmatch(rf"\[fe80::b%\w+\]:{pair.right.port}", said)
    # wg shows it and reads what it shows
    assert re.search(rf"endpoint: \[fe80::b%\w+\]:{pair.right.port}", pair.left.wg("show", pair.left.name).stdout)
    pair.left.wg("setconf", pair.left.name, "/dev/stdin", input=pair.left.wg("showconf", pair.left.name).stdout)
    assert pair.left.peer(pair.right)["endpoint"] == said


def test_host_without_ipv6(pair):
    for space in (pair.a, pair.b):
        space.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    pair.build().join("192.0.2.2")
    assert pair.a.ping("10.9.0.2") and pair.b.ping("10.9.0.1")


@pytest.mark.ours  # wireguard-go has one sender for each peer, so for it this says nothing
def test_unreachable_neighbour_costs_nobody_a_packet(pair):
    """Sends that fail are in one batch with sends that do not."""
    pair.build(arguments=["--workers", "1"]).join("192.0.2.2")
    assert pair.a.ping("10.9.0.2")
    # nowhere to go: no route, and a route that refuses
    pair.a.ip("route add prohibit 198.51.100.0/24")
    lost = [Key() for _ in range(20)]
    for number, key in enumerate(lost):
        endpoint = f"203.0.113.{number}:1" if number % 2 else f"198.51.100.{number}:1"
        pair.left.add(key, [f"10.9.1.{number}/32"], endpoint=endpoint, keepalive=1)
    pair.a.ip(f"route add 10.9.1.0/24 dev {pair.left.name}")
    knocks = [pair.a.start("ping", "-i", "0.005", "-q", f"10.9.1.{number}") for number in range(4)]
    flow = Flow(pair.a, "10.9.0.2", 0.001)
    time.sleep(1)
    assert flow.lost() == 0, flow.said
    assert transfer(pair.a, pair.b, "10.9.0.1", "10.9.0.2", 16 << 20)
    for process in knocks:
        process.terminate()


@pytest.mark.parametrize("round_", range(3))
def test_both_begin_at_once(pair, round_):
    """Two initiations cross; one session comes of it, and it carries both ways."""
    pair.build().join("192.0.2.2", "192.0.2.1")
    pings = [Reader(pair.a.ping, "10.9.0.2", 56, 5, None, 7), Reader(pair.b.ping, "10.9.0.1", 56, 5, None, 7)]
    assert [ping.result(30) for ping in pings] == [True, True]


@pytest.mark.ours
def test_initiations_of_one_peer_are_taken_at_most_50_a_second(pair):
    """Linux: INITIATIONS_PER_SECOND. Each is authentic and newer than the last, yet only the first is answered."""
    pair.build()
    peer = noise.Peer(pair.b.udp("192.0.2.2"), pair.left.key.public, ("192.0.2.1", pair.left.port))
    pair.left.add(peer.key, ["10.9.0.9/32"])
    burst = [peer.initiation(noise.tai64n(1.7e9 + second)) for second in range(10)]
    before = pair.left.counters()["drop.replayed_handshake"]
    for packet in burst:
        peer.send(packet)
    answers = 0
    while peer.receive(noise.RESPONSE, 0.2):
        answers += 1
    assert answers == 1 if SLOW == 1 else answers <= 3
    assert pair.left.counters()["drop.replayed_handshake"] - before == 10 - answers


def test_session_survives_the_link_going_away_for_a_while(pair):
    pair.build().join("192.0.2.2", "192.0.2.1")
    assert pair.a.ping("10.9.0.2")
    before = pair.left.peer(pair.right)["last_handshake_time_nsec"]
    pair.a.ip("link set eth0 down")
    assert not pair.a.ping("10.9.0.2", timeout=0.2)
    pair.a.ip("link set eth0 up", "addr replace 2001:db8::1/64 dev eth0 nodad")
    wait_until(lambda: pair.a.ping("10.9.0.2", timeout=0.3))
    assert pair.left.peer(pair.right)["last_handshake_time_nsec"] == before


@pytest.mark.skipif(not OURS, reason="wireguard-go takes an endpoint without address")
@pytest.mark.parametrize("endpoint", ["0.0.0.0:51820", "[::]:51820", "192.0.2.2:0", "255.255.255.255:51820"])
def test_endpoint_that_cannot_be_sent_to_harms_nobody(pair, endpoint):
    pair.build().join("192.0.2.2")
    with contextlib.suppress(Uapi):  # to refuse it is as good
        pair.left.add(Key(), ["10.9.1.1/32"], endpoint=endpoint, keepalive=1)
    pair.a.ip(f"route add 10.9.1.0/24 dev {pair.left.name}")
    pair.a.ping("10.9.1.1", timeout=0.1)
    assert pair.a.ping("10.9.0.2") and pair.left.alive


@pytest.mark.ours
def test_packet_to_the_engines_own_port_through_the_tunnel(pair):
    """A routing loop: the peer's endpoint lies inside its own allowed IPs. It must not eat the machine."""
    pair.build()
    peer = noise.Peer(pair.b.udp("192.0.2.2"), pair.left.key.public, ("192.0.2.1", pair.left.port))
    pair.left.add(peer.key, ["0.0.0.0/0"])
    peer.handshake()
    pair.a.ip(f"route add 192.0.2.2/32 dev {pair.left.name}")
    with pair.a.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        s.sendto(ip4("10.9.0.1", "192.0.2.2", ICMP, echo()), ("192.0.2.2", 0))
    pair.a.ip(f"route del 192.0.2.2/32 dev {pair.left.name}")
    assert pair.left.alive
    peer.send(peer.session.seal(ip4("10.9.0.9", "10.9.0.1", ICMP, echo())))
    assert "listen_port" in pair.left.get()
