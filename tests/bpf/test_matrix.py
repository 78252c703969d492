"""Who may talk to whom: the rules of src/engine/path/forward.c, held by the program in the kernel."""
import pytest

import packets
from scene import A, HUB4, HUB6, OUT4, OUT6, udp

# A is tenant 1, B tenant 2, both without egress; C is tenant 3, with it.
FROM_ROUTERS = [
    ("router to hub", "10.1.0.1", HUB4, "hub"),
    ("router to sibling", "10.1.0.1", "10.1.0.2", "routers"),
    ("router to a sibling's LAN", "10.1.0.1", "192.168.1.9", "routers"),
    ("LAN to hub", "192.168.1.9", HUB4, "hub"),
    ("LAN to a sibling of its router", "192.168.1.9", "10.1.0.1", "routers"),
    ("LAN to its own router", "192.168.1.9", "10.1.0.2", "prohibited"),
    ("router to itself", "10.1.0.1", "10.1.0.1", "prohibited"),
    ("router to another tenant", "10.1.0.1", "10.2.0.1", "prohibited"),
    ("router to another tenant's LAN", "10.1.0.1", "192.168.2.9", "prohibited"),
    ("LAN to another tenant's LAN", "192.168.1.9", "192.168.2.9", "prohibited"),
    ("egress tenant to another tenant", "10.3.0.1", "10.2.0.1", "prohibited"),
    ("egress tenant to another tenant's LAN", "10.3.0.1", "192.168.2.9", "prohibited"),
    ("router to an address of the pool that nobody has", "10.1.0.1", "10.9.9.9", "prohibited"),
    ("egress tenant to such an address", "10.3.0.1", "10.9.9.9", "prohibited"),
    ("router to the world", "10.1.0.1", OUT4, "prohibited"),
    ("egress tenant to the world", "10.3.0.1", OUT4, "world"),
    ("egress tenant's LAN to the world", "192.168.3.9", OUT4, "world"),
    ("router to multicast", "10.1.0.1", "224.0.0.251", "nothing"),
    ("router to broadcast", "10.1.0.1", "255.255.255.255", "nothing"),
    ("an address that no router has", "10.9.9.9", HUB4, "nothing"),
    ("an address outside the pool", "198.51.100.1", HUB4, "nothing"),
    ("a router that says it is the hub", HUB4, "10.1.0.2", "nothing"),
    ("router to hub, IPv6", "fd00::1:1", HUB6, "hub"),
    ("router to sibling, IPv6", "fd00::1:1", "fd00::1:2", "routers"),
    ("router to a sibling's LAN, IPv6", "fd00::1:1", "fd77:0:1::9", "routers"),
    ("LAN to hub, IPv6", "fd77:0:1::9", HUB6, "hub"),
    ("router to another tenant, IPv6", "fd00::1:1", "fd00::2:1", "prohibited"),
    ("router to another tenant's LAN, IPv6", "fd00::1:1", "fd77:0:2::9", "prohibited"),
    ("router to an address of the pool that nobody has, IPv6", "fd00::1:1", "fd00::9:9", "prohibited"),
    ("router to the world, IPv6", "fd00::1:1", OUT6, "prohibited"),
    ("egress tenant to the world, IPv6", "fd00::3:1", OUT6, "world"),
    ("egress tenant to the cloud's metadata, IPv6", "fd00::3:1", "fd00:ec2::254", "prohibited"),
    ("egress tenant to link-local, IPv6", "fd00::3:1", "fe80::1", "prohibited"),
    ("egress tenant to loopback, IPv6", "fd00::3:1", "::1", "prohibited"),
    ("egress tenant to IPv4 in IPv6's clothes", "fd00::3:1", "::ffff:203.0.113.7", "prohibited"),
    ("egress tenant to the cloud's metadata", "10.3.0.1", "169.254.169.254", "prohibited"),
    ("egress tenant to link-local", "10.3.0.1", "169.254.7.7", "prohibited"),
    ("egress tenant to loopback", "10.3.0.1", "127.0.0.1", "nothing"),
    ("egress tenant to this network", "10.3.0.1", "0.1.2.3", "nothing"),
    ("egress tenant to reserved space", "10.3.0.1", "240.0.0.1", "nothing"),
    ("router to multicast, IPv6", "fd00::1:1", "ff02::1", "nothing"),
    ("an address that no router has, IPv6", "fd00::9:9", HUB6, "nothing"),
    ("IPv4 in IPv6's clothes", "::ffff:10.1.0.1", HUB6, "nothing"),
]

TO_ROUTERS = [
    ("world to a router without egress", OUT4, "10.1.0.1", "nothing"),
    ("world to a router with egress", OUT4, "10.3.0.1", "routers"),
    ("world to a LAN with egress", OUT4, "192.168.3.9", "routers"),
    ("another tenant's address, from elsewhere", "10.2.0.1", "10.1.0.1", "nothing"),
    ("another tenant's address, from elsewhere, to a router with egress", "10.2.0.1", "10.3.0.1", "nothing"),
    ("to an address that no router has", OUT4, "10.9.9.9", "nothing"),
    ("world to a router without egress, IPv6", OUT6, "fd00::1:1", "nothing"),
    ("world to a router with egress, IPv6", OUT6, "fd00::3:1", "routers"),
    ("to an address that no router has, IPv6", OUT6, "fd00::9:9", "nothing"),
]


@pytest.mark.parametrize("source, target, fate", [row[1:] for row in FROM_ROUTERS], ids=[row[0] for row in FROM_ROUTERS])
def test_from_routers(shared, source, target, fate):
    assert shared[0].fate(udp(source, target)) == fate


@pytest.mark.parametrize("source, target, fate", [row[1:] for row in TO_ROUTERS], ids=[row[0] for row in TO_ROUTERS])
def test_to_routers(shared, source, target, fate):
    assert shared[0].fate(udp(source, target), through="world") == fate


@pytest.mark.parametrize("hub, target", [(0, "10.1.0.1"), (0, "10.3.0.1"), (0, "192.168.2.9"), (1, "fd00::1:1"), (1, "fd77:0:2::9")])
def test_the_hub_reaches_everybody(shared, hub, target):
    scene = shared[0]
    scene.listen(0)
    scene.hub[hub].sendto(b"hello", (target, 5000))
    where, raw = scene.listen()[0]
    assert where == "routers" and packets.Packet(raw).target == target


@pytest.mark.parametrize("target, fate", [("10.1.0.2", "routers"), ("10.2.0.1", "nothing")])
def test_later_fragments_are_judged_by_their_addresses(shared, target, fate):
    later = packets.ip4("10.1.0.1", target, packets.UDP, b"x" * 64, offset=1400)
    assert shared[0].fate(later) == fate


@pytest.mark.parametrize("target, fate", [("10.1.0.2", "routers"), ("10.2.0.1", "prohibited")])
def test_first_fragments_are_judged_by_their_addresses(shared, target, fate):
    whole = udp("10.1.0.1", target, b"x" * 1000)
    first = packets.ip4("10.1.0.1", target, packets.UDP, whole[20:20 + 512], flags=1)
    assert shared[0].fate(first) == fate


@pytest.mark.parametrize("target, fate", [("10.1.0.2", "routers"), ("10.2.0.1", "nothing")])
def test_icmp_errors_pass_to_siblings_and_are_never_answered(shared, target, fate):
    about = udp(target, "10.1.0.1")[:28]
    error = b"\x03\x01\0\0\0\0\0\0" + about
    error = error[:2] + packets.checksum(error).to_bytes(2, "big") + error[4:]
    assert shared[0].fate(packets.ip4("10.1.0.1", target, packets.ICMP, error)) == fate


def test_a_ping_that_is_refused_is_answered(shared):
    assert shared[0].fate(packets.ip4("10.1.0.1", "10.2.0.1", packets.ICMP, packets.echo())) == "prohibited"


@pytest.mark.parametrize("packet", [b"\x45" + bytes(10), b"\x60" + bytes(30), b"\x41" + udp("10.1.0.1", HUB4)[1:]],
                         ids=["short IPv4", "short IPv6", "IPv4 whose header is too short"])
def test_what_is_no_packet_goes_nowhere(shared, packet):
    scene, gate = shared
    before = gate.counters()["drop.bad_inner"]
    assert scene.fate(packet) == "nothing"
    assert gate.counters()["drop.bad_inner"] - before <= 1  # the TUN refuses some by itself


@pytest.mark.parametrize("size, quoted", [(9, 37), (400, 428), (1000, 576 - 28)])
def test_the_answer_says_what_was_refused_and_by_whom(shared, size, quoted):
    scene = shared[0]
    sent = udp("10.1.0.1", "10.2.0.1", b"q" * size)
    scene.listen(0)
    scene.routers.send(sent)
    (_, raw), = scene.listen()
    answer = packets.Packet(raw)
    assert answer.valid and (answer.source, answer.target) == (HUB4, "10.1.0.1")
    assert (answer.icmp_type, answer.icmp_code) == (3, 13)
    assert answer.payload[8:] == sent[:quoted]


@pytest.mark.parametrize("size, quoted", [(9, 57), (129, 177), (1300, 1280 - 48)])
def test_the_answer_says_what_was_refused_and_by_whom_in_ipv6(shared, size, quoted):
    scene = shared[0]
    sent = udp("fd00::1:1", "fd00::2:1", b"q" * size)
    scene.listen(0)
    scene.routers.send(sent)
    (_, raw), = scene.listen()
    answer = packets.Packet(raw)
    assert answer.valid and (answer.source, answer.target) == (HUB6, "fd00::1:1")
    assert (answer.icmp_type, answer.icmp_code) == (1, 1)
    assert answer.payload[8:] == sent[:quoted]


def test_drops_are_counted_by_reason_and_by_tenant(scene, gate):
    for source, target in (("10.1.0.1", "10.2.0.1"), ("10.9.9.9", HUB4), ("10.1.0.1", OUT4)):
        scene.fate(udp(source, target))
    scene.fate(udp(OUT4, "10.9.9.9"), through="world")
    counters = gate.counters()
    assert {name: counters[name] for name in ("drop.prohibited", "drop.bad_source", "answered")} == {
        "drop.prohibited": 2, "drop.bad_source": 1, "answered": 2}
    assert counters["drop.no_route"] >= 1  # IPv6 looks for neighbours by itself
    assert gate.tenants()[A]["dropped"] == 2
