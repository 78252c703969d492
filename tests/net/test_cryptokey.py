"""Cryptokey routing: who may say what, and what changes while they speak.

    [a]  wg 10.9.0.2/24 ---.  192.0.2.0/24, a bridge
    [b]  wg 10.9.0.3/24 ---+--- [hub]  wg 10.9.0.1/24
    [x]  192.0.2.9     ----'    the test's own end

The hub is the implementation under test; a and b are wireguard-go.
"""
import errno
import socket
import time

import pytest

import noise
from lab import OURS, SLOW, Uapi, World, wait_until
from packets import ICMP, IP_RECVERR, UDP, Packet, Sniffer, echo, ip4, ip6, ip_udp, raw_sender


class Scene:
    def __init__(self, world):
        self.world = world
        self.switch = world.space("switch")
        self.switch.ip("link add br0 type bridge", "link set br0 up")
        self.spaces = {}
        for number, name in ((1, "hub"), (2, "a"), (3, "b"), (9, "x")):
            space = self.spaces[name] = world.space(name)
            world.link(self.switch, [], space, [f"192.0.2.{number}/24"], names=(f"v{number}", "eth0"))
            self.switch.ip(f"link set v{number} master br0")
        self.hub = world.device(self.spaces["hub"], addresses=["10.9.0.1/24", "fd00:9::1/64"])
        self.a = world.device(self.spaces["a"], implementation="wireguard-go", addresses=["10.9.0.2/24"])
        self.b = world.device(self.spaces["b"], implementation="wireguard-go", addresses=["10.9.0.3/24"])

    def restore(self):
        """a and b joined as drawn."""
        self.hub.set("replace_peers=true")
        for device, address in ((self.a, "10.9.0.2/32"), (self.b, "10.9.0.3/32")):
            self.hub.add(device, [address])
            device.set("replace_peers=true")
            device.add(self.hub, ["10.9.0.0/24", "10.20.0.0/16"], endpoint=f"192.0.2.1:{self.hub.port}")
            assert device.space.ping("10.9.0.1")

    def own_end(self, allowed=("10.9.0.9/32", "fd00:9::9/128")):
        peer = noise.Peer(self.spaces["x"].udp("192.0.2.9"), self.hub.key.public, ("192.0.2.1", self.hub.port))
        self.hub.add(peer.key, list(allowed))
        peer.handshake()
        return peer

    def dropped(self, reason):
        return self.hub.counters()[f"drop.{reason}"] if OURS else 0


@pytest.fixture(scope="module")
def scene():
    with World() as world:
        yield Scene(world)


@pytest.fixture
def joined(scene):
    scene.restore()
    return scene


def arrives(scene, packet, send, seconds=0.3):
    """Whether the hub's interface hands exactly this inner packet to its host."""
    sniffer = Sniffer(scene.spaces["hub"], scene.hub.name)
    send()
    seen = sniffer.wait(lambda p: p.raw == packet, seconds * SLOW)
    sniffer.close()
    return seen is not None


@pytest.mark.parametrize("source", ["10.9.0.3", "10.9.0.1", "10.9.0.200", "127.0.0.1", "0.0.0.0", "255.255.255.255",
                                    "224.0.0.1"])
def test_source_that_is_not_the_peers_is_dropped_and_counted(joined, source):
    packet = ip_udp(source, 7, "10.9.0.1", 7, b"spoofed")
    before = joined.dropped("bad_source")
    send = raw_sender(joined.spaces["a"], joined.a.name)
    assert not arrives(joined, packet, lambda: send(packet))
    if OURS:
        assert joined.dropped("bad_source") == before + 1
    honest = ip_udp("10.9.0.2", 7, "10.9.0.1", 7, b"honest")
    assert arrives(joined, honest, lambda: send(honest), 2)


def test_source_of_a_more_specific_peer_is_dropped(joined):
    """a has 10.20/16, b has 10.20.5/24 of it: a may not speak as 10.20.5.1, though its own list covers it."""
    joined.hub.add(joined.a, ["10.9.0.2/32", "10.20.0.0/16"])
    joined.hub.add(joined.b, ["10.9.0.3/32", "10.20.5.0/24"])
    send = raw_sender(joined.spaces["a"], joined.a.name)
    for source, wanted in (("10.20.4.1", True), ("10.20.5.1", False), ("10.20.6.1", True)):
        packet = ip_udp(source, 7, "10.9.0.1", 7, source.encode())
        assert arrives(joined, packet, lambda p=packet: send(p), 2 if wanted else 0.3) == wanted, source
    send = raw_sender(joined.spaces["b"], joined.b.name)
    packet = ip_udp("10.20.5.1", 7, "10.9.0.1", 7, b"its own")
    assert arrives(joined, packet, lambda: send(packet), 2)


def test_prefix_moves_under_traffic(joined):
    send = {name: raw_sender(joined.spaces[name], getattr(joined, name).name) for name in "ab"}
    packet = ip_udp("10.20.0.1", 7, "10.9.0.1", 7, b"moving")
    for owner, other in (("a", "b"), ("b", "a"), ("a", "b")):
        joined.hub.set(f"public_key={getattr(joined, owner).key.hex}", "allowed_ip=10.20.0.0/16")
        assert arrives(joined, packet, lambda: send[owner](packet), 2)
        assert not arrives(joined, packet, lambda: send[other](packet))
        assert "10.20.0.0/16" not in joined.hub.peer(getattr(joined, other))["allowed_ip"]


@pytest.mark.ours  # wireguard-go drops it in silence
def test_destination_nobody_has_is_refused_with_an_icmp_error(joined):
    before = joined.dropped("no_route")
    with joined.spaces["hub"].udp("10.9.0.1") as s:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        s.connect(("10.9.0.99", 9))
        s.send(b"x")
        with pytest.raises(OSError) as error:
            s.recv(100)
        assert error.value.errno == errno.EHOSTUNREACH
    assert joined.dropped("no_route") == before + 1


def test_peer_removed_while_traffic_flows(joined):
    flow = joined.spaces["a"].start("ping", "-i", "0.005", "-q", "10.9.0.1")
    other = joined.spaces["b"].start("ping", "-i", "0.005", "-q", "10.9.0.1")
    time.sleep(0.2)
    joined.hub.remove(joined.a)
    assert joined.a.key.hex not in joined.hub.get()["peers"]
    assert not joined.spaces["a"].ping("10.9.0.1", timeout=0.3)
    assert joined.spaces["b"].ping("10.9.0.1"), "nobody else notices"
    before = joined.dropped("unknown_index")
    if OURS:
        wait_until(lambda: joined.dropped("unknown_index") > before, what="a's packets to be strangers'")
    joined.hub.add(joined.a, ["10.9.0.2/32"])
    for process in (flow, other):
        process.terminate()
        process.wait()


def test_allowed_ips_changed_while_traffic_flows(joined):
    """The session stays; only what may pass changes."""
    sniff = joined.hub.peer(joined.a)["last_handshake_time_nsec"]
    assert joined.spaces["a"].ping("10.9.0.1")
    joined.hub.add(joined.a, ["10.20.0.0/16"])
    assert not joined.spaces["a"].ping("10.9.0.1", timeout=0.3)
    joined.hub.add(joined.a, ["10.9.0.2/32"])
    assert joined.spaces["a"].ping("10.9.0.1")
    assert joined.hub.peer(joined.a)["last_handshake_time_nsec"] == sniff


@pytest.mark.ours
def test_one_allowed_ip_removed(joined):
    joined.hub.set(f"public_key={joined.a.key.hex}", "allowed_ip=10.20.0.0/16", "allowed_ip=10.21.0.0/16")
    joined.hub.set(f"public_key={joined.a.key.hex}", "allowed_ip=-10.20.0.0/16")
    assert sorted(joined.hub.peer(joined.a)["allowed_ip"]) == ["10.21.0.0/16", "10.9.0.2/32"]
    joined.hub.set(f"public_key={joined.b.key.hex}", "allowed_ip=-10.21.0.0/16")
    assert "10.21.0.0/16" in joined.hub.peer(joined.a)["allowed_ip"], "only its owner can lose it"


INNERS = {
    "version-0": bytes(40),
    "version-15": b"\xf5" + bytes(39),
    "header-cut": b"\x45" + bytes(15),
    "ihl-below-20": b"\x44\0\0\x20" + ip4("10.9.0.9", "10.9.0.1", UDP, bytes(12))[4:],
    "length-beyond-packet": (lambda p: p[:2] + b"\x02\0" + p[4:])(ip4("10.9.0.9", "10.9.0.1", UDP, bytes(12))),
    "length-below-header": (lambda p: p[:2] + b"\0\x0a" + p[4:])(ip4("10.9.0.9", "10.9.0.1", UDP, bytes(12))),
    "ihl-beyond-packet": b"\x4f\0\0\x20" + ip4("10.9.0.9", "10.9.0.1", UDP, bytes(12))[4:],
    "ip6-header-cut": b"\x60" + bytes(31),
    "ip6-length-beyond-packet": (lambda p: p[:4] + b"\x40\0" + p[6:])(ip6("fd00:9::9", "fd00:9::1", UDP, bytes(8))),
    "one-byte": b"\x45",
}


@pytest.mark.parametrize("inner", INNERS)
def test_malformed_inner_packet_is_dropped(joined, inner):
    if not OURS and inner.startswith("ihl"):
        pytest.skip("wireguard-go does not look at the header's length")
    peer = joined.own_end()
    before = joined.hub.counters() if OURS else {}
    sniffer = Sniffer(joined.spaces["hub"], joined.hub.name)
    for pad in (True, False):
        peer.send(peer.session.seal(INNERS[inner], pad=pad))
    peer.send(peer.session.seal(ip4("10.9.0.9", "10.9.0.1", ICMP, echo())))
    assert peer.receive(noise.DATA), "the session is unharmed"
    seen = [raw for _, raw in sniffer.read(0.1)]
    sniffer.close()
    for raw in seen:  # the echo and its answer, and what the host's own IPv6 says on a link
        assert len(raw) > 20 and raw[0] == 0x45 and Packet(raw).protocol == ICMP or raw[0] >> 4 == 6 and raw[7] == 255
    if OURS:
        grown = {name: count - before[name] for name, count in joined.hub.counters().items()}
        assert grown["drop.bad_inner"] >= 1 and grown["drop.bad_inner"] + grown["drop.bad_source"] >= 2


def test_padding_and_trailing_bytes_are_cut_to_the_inner_length(joined):
    peer = joined.own_end()
    packet = ip_udp("10.9.0.9", 7, "10.9.0.1", 7, b"odd")
    assert arrives(joined, packet, lambda: peer.send(peer.session.seal(packet + b"rubbish" + bytes(100))), 2)


@pytest.mark.ours
def test_replayed_reordered_and_old_packets(joined):
    """RFC 6479: a window of 8192, of which 8128 can be late."""
    peer = joined.own_end()

    def knocks(counter):
        packet = peer.session.seal(ip4("10.9.0.9", "10.9.0.1", ICMP, echo(1, counter & 0xFFFF)), counter=counter)
        before = joined.dropped("replayed")
        peer.send(packet)
        if peer.receive(noise.DATA, 0.3):
            return True
        assert joined.dropped("replayed") == before + 1
        return False

    assert [knocks(n) for n in (5, 3, 4, 5, 3)] == [True, True, True, False, False]
    assert knocks(20000)
    assert [knocks(n) for n in (20000 - 8000, 20000 - 8000, 20000 - 8300, 6)] == [True, False, False, False]
    assert knocks(1 << 40) and not knocks(20001)
    assert not knocks(1 << 40)


def test_replayed_initiation_moves_nothing_and_ends_nothing(joined):
    peer = noise.Peer(joined.spaces["x"].udp("192.0.2.9"), joined.hub.key.public, ("192.0.2.1", joined.hub.port))
    joined.hub.add(peer.key, ["10.9.0.9/32"])
    first = peer.initiation()
    peer.send(first)
    assert peer.finish(peer.receive(noise.RESPONSE))
    peer.send(peer.session.seal(ip4("10.9.0.9", "10.9.0.1", ICMP, echo())))
    assert peer.receive(noise.DATA)
    time.sleep(0.05)
    thief = joined.spaces["a"].udp("192.0.2.2")
    before = joined.dropped("replayed_handshake")
    thief.sendto(first, peer.endpoint)
    thief.settimeout(0.3)
    with pytest.raises(TimeoutError):
        thief.recv(2048)
    if OURS:
        assert joined.dropped("replayed_handshake") == before + 1
    peer.send(peer.session.seal(ip4("10.9.0.9", "10.9.0.1", ICMP, echo())))
    assert peer.receive(noise.DATA)


@pytest.mark.ours
def test_timestamp_floor_survives_what_the_engine_forgot(joined):
    """A peer made anew with its last timestamp refuses an old initiation (extension: timestamp=)."""
    peer = noise.Peer(joined.spaces["x"].udp("192.0.2.9"), joined.hub.key.public, ("192.0.2.1", joined.hub.port))
    joined.hub.add(peer.key, ["10.9.0.9/32"])
    old = peer.initiation()
    peer.send(old)
    assert peer.receive(noise.RESPONSE)
    floor = joined.hub.get("sallyport=1", "only=peers")["peers"][peer.key.hex]["timestamp"]
    assert len(floor) == 24 and int(floor, 16) > 0
    joined.hub.remove(peer.key)
    joined.hub.add(peer.key, ["10.9.0.9/32"], extra=[f"timestamp={floor}"])
    peer.send(old)
    assert peer.receive(noise.RESPONSE, 0.3) is None
    joined.hub.set(f"public_key={peer.key.hex}", "timestamp=000000000000000000000000")
    assert joined.hub.get("sallyport=1", "only=peers")["peers"][peer.key.hex]["timestamp"] == floor, "only ever raised"
    peer.send(peer.initiation())
    assert peer.receive(noise.RESPONSE)


@pytest.mark.parametrize("low_order", [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"],
                         ids=["zero", "one", "p-1"])
def test_low_order_peer_yields_nothing(joined, low_order):
    """Such a key may be configured; nothing is ever sent in its name."""
    try:
        joined.hub.set(f"public_key={low_order.hex()}", "endpoint=192.0.2.9:4000", "allowed_ip=10.9.0.66/32")
    except Uapi:
        return  # refused outright is as good
    with joined.spaces["x"].udp("192.0.2.9", 4000) as s:
        joined.spaces["hub"].ping("10.9.0.66", timeout=0.3)
        s.settimeout(0.3)
        with pytest.raises(TimeoutError):
            s.recv(2048)
    assert joined.hub.alive
