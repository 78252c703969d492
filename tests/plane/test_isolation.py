"""Who may speak with whom. The topology is drawn in plane.py."""
import itertools
import socket
import time

import pytest

from harness.probe import ask_name, ping, ping_each
from packets import Sniffer, ip_udp, raw_sender
from plane import WORLD, WORLD6, wait_until

NAMES = ("a1", "a2", "b1", "b2", "hub", "world")
PAIRS = list(itertools.permutations(NAMES, 2))
EGRESS = "b"


def allowed(source, target):
    """The policy, in one place."""
    ends = {source, target}
    if "hub" in ends:
        return True
    if "world" in ends:
        return (ends - {"world"}).pop()[0] in EGRESS
    return source[0] == target[0]


@pytest.fixture(scope="session")
def matrix(plane):
    """{source: addresses that answered it}, of all there are."""
    everybody = [address for name in NAMES for address in plane.addresses(name)]
    everybody += [router.lan_address for router in plane.routers.values() if router.lan]
    return ping_each({name: (plane.where(name), [a for a in everybody if a not in plane.addresses(name)])
                      for name in NAMES}, wait=4.0)


@pytest.mark.mixed
@pytest.mark.parametrize("source, target", PAIRS, ids=lambda name: name)
def test_matrix(plane, matrix, source, target):
    answered = [address in matrix[source] for address in plane.addresses(target)]
    assert answered == [allowed(source, target)] * 2


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("owner", ["a1", "b1"])
def test_lans(plane, matrix, source, owner):
    wanted = source != owner and (source == "hub" or source[0] == owner[0] or (source == "world" and owner[0] in EGRESS))
    if source != owner:
        assert (plane.routers[owner].lan_address in matrix[source]) == wanted


@pytest.mark.parametrize("source, target", [("hub", "a1"), ("hub", "b2"), ("a1", "a2"), ("b2", "b1"), ("b1", "hub")])
def test_who_answers_is_who_was_meant(plane, source, target):
    for address in plane.addresses(target):
        assert ask_name(plane.where(source), address) == target


def test_nothing_of_a_forbidden_pair_reaches_the_other(plane):
    """Not only no answer: no packet."""
    marks = {}
    with plane.watch("world", *plane.routers) as watch:
        for source, target in PAIRS:
            if source in plane.routers and not allowed(source, target):
                marks[source, target] = f"<{source}>{target}>".encode()
                for family, address in zip((socket.AF_INET, socket.AF_INET6), plane.addresses(target)):
                    with plane.where(source).socket(family, socket.SOCK_DGRAM) as s:
                        s.sendto(marks[source, target], (address, 9))
                        s.sendto(marks[source, target] + bytes(3000), (address, 9))  # fragments
        heard = watch.heard(*plane.routers)
    for name, packets in heard.items():
        assert not [raw for raw in packets for (source, _), mark in marks.items() if mark in raw and source != name], name


SPOOFED = {"neighbour": lambda plane: plane.routers["a2"].address, "hub": lambda plane: plane.hub_address,
           "other-tenant": lambda plane: plane.routers["b1"].address, "world": lambda _: WORLD,
           "nobody": lambda _: "10.250.250.250", "loopback": lambda _: "127.0.0.1", "nothing": lambda _: "0.0.0.0"}


@pytest.mark.parametrize("spoof", SPOOFED)
def test_a_source_that_is_not_the_routers_own_goes_nowhere(plane, spoof):
    a1 = plane.routers["a1"]
    send = raw_sender(a1.namespace, a1.client.interface)
    with plane.watch("hub", "world", "a2", "b1") as watch:
        for target in watch.sniffers:
            send(ip_udp(SPOOFED[spoof](plane), 9, plane.addresses(target)[0], 9, b"spoofed"))
        send(ip_udp(a1.address, 9, plane.hub_address, 9, b"honest"))
        heard = watch.heard("a1")
    assert [raw for raw in heard["hub"] if b"honest" in raw]
    for target, packets in heard.items():
        assert not [raw for raw in packets if b"spoofed" in raw], target


def test_a_spoofed_ipv6_source_goes_nowhere(plane):
    a1, a2 = plane.routers["a1"], plane.routers["a2"]
    send = raw_sender(a1.namespace, a1.client.interface, socket.AF_INET6)
    with plane.watch("a2") as watch:
        for source in (plane.routers["b1"].address6, plane.hub_address6, WORLD6, "::1", "fe80::1"):
            send(ip_udp(source, 9, a2.address6, 9, b"spoof6"))
        send(ip_udp(a1.address6, 9, a2.address6, 9, b"honest"))
        heard = watch.heard("a1")["a2"]
    assert [raw for raw in heard if b"honest" in raw] and not [raw for raw in heard if b"spoof6" in raw]


def test_addresses_of_the_pool_that_nobody_has_lead_nowhere(plane):
    """birch has egress; that is no way round to an address of ours."""
    others = [name for name in plane.routers if name != "b1"]
    with plane.watch("world", *others) as watch:
        with plane.routers["b1"].namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for address in ("10.250.250.250", "10.0.0.0", "10.255.255.255", "10.0.0.2"):
                try:
                    s.sendto(b"round the back", (address, 9))
                except OSError:
                    pass  # refused already
        heard = watch.heard("b1")
    for name, packets in heard.items():
        assert not [raw for raw in packets if b"round the back" in raw], name


def test_multicast_and_broadcast_stay_where_they_are(plane):
    a1 = plane.routers["a1"]
    send = raw_sender(a1.namespace, a1.client.interface)
    with plane.watch("world", "a2") as watch:
        for target in ("224.0.0.1", "239.1.2.3", "255.255.255.255"):
            send(ip_udp(a1.address, 9, target, 9, b"everybody"))
        raw_sender(a1.namespace, a1.client.interface, socket.AF_INET6)(
            ip_udp(a1.address6, 9, "ff02::1", 9, b"everybody"))
        heard = watch.heard("a1")
    for name, packets in heard.items():
        assert not [raw for raw in packets if b"everybody" in raw], name


@pytest.fixture(scope="session")
def container(plane):
    """A container on the gateway's host: a bridge, and somebody on it who sends whatever he likes."""
    space = plane.network.namespace("container")
    plane.hub.ip_batch(["link add br9 type bridge", f"link add veth9 type veth peer name eth0 netns {space.name}",
                        "link set veth9 master br9 up", "addr add 172.29.0.1/24 dev br9", "addr add fd29::1/64 dev br9 nodad",
                        "link set br9 up"])
    space.ip_batch(["addr add 172.29.0.2/24 dev eth0", "addr add fd29::2/64 dev eth0 nodad", "link set eth0 up"])
    for key in ("all", "br9", "eth1"):
        plane.hub.sysctl(f"net.ipv4.conf.{key}.rp_filter", 0)
    return space


def link_sender(space, gateway, version):
    """Raw IP from somebody's eth0 to the gateway's link address, whatever the source."""
    assert ping(space, [gateway])
    words = space.ip("neigh", "show", gateway, "dev", "eth0").split()
    address = bytes.fromhex(words[words.index("lladdr") + 1].replace(":", ""))
    s = space.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    return lambda packet: s.sendto(packet, ("eth0", 0x0800 if version == 4 else 0x86DD, 0, 0, address))


@pytest.mark.mixed
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("place", ["wire", "container"])
def test_nobody_elsewhere_speaks_in_the_hubs_or_a_routers_name(plane, container, place, version):
    """b1 has egress, so what comes from elsewhere under its own name gets through to it, which is sent last."""
    six = version == 6
    space = container if place == "container" else plane.world
    gateway = {"container": ("172.29.0.1", "fd29::1"), "wire": ("203.0.113.1", "2001:db8:113::1")}[place][six]
    honest = {"container": ("172.29.0.2", "fd29::2"), "wire": (WORLD, WORLD6)}[place][six]
    send, target = link_sender(space, gateway, version), plane.addresses("b1")[six]
    sniffer = Sniffer(plane.where("b1"), plane.routers["b1"].client.interface)
    hub = Sniffer(plane.hub, plane.interface)
    before = plane.counters()["drop.forged"]
    sources = [plane.addresses(name)[six] for name in ("hub", "b2", "a1")]
    for source in sources:
        for _ in range(3):
            send(ip_udp(source, 9, target, 9, b"in their name"))
    send(ip_udp(honest, 9, target, 9, b"honest"))
    seen = [raw for raw in wait_until(lambda: [r for _, r in sniffer.read(0.3)], 10, "what was honest")]
    sniffer.socket.close()
    assert [raw for raw in seen if b"honest" in raw] and not [raw for raw in seen if b"in their name" in raw]
    assert not [raw for _, raw in hub.read(0.1) if b"in their name" in raw]
    hub.socket.close()
    # Linux itself drops the hub's IPv4 address as a martian, but after our rules
    wait_until(lambda: plane.counters()["drop.forged"] >= before + 9, 5)


@pytest.mark.mixed
def test_a_container_cannot_speak_to_the_hub_in_a_routers_name(plane, container):
    with plane.hub.socket(socket.AF_INET, socket.SOCK_DGRAM) as hub:
        hub.bind((plane.hub_address, 0))
        hub.settimeout(5)
        send, port = link_sender(container, "172.29.0.1", 4), hub.getsockname()[1]
        send(ip_udp(plane.routers["a1"].address, 9, plane.hub_address, port, b"in its name"))
        send(ip_udp("172.29.0.2", 9, plane.hub_address, port, b"honest"))
        assert hub.recv(100) == b"honest"


def test_the_world_cannot_speak_in_a_tenants_name(plane):
    """What the host would forward for it: a source of ours that comes in from the other side."""
    send = raw_sender_to_gateway(plane)
    with plane.watch("b2") as watch:
        for router in ("a1", "a2"):
            send(ip_udp(plane.routers[router].address, 9, plane.routers["b2"].address, 9, b"in their name"))
        heard = watch.heard("world")["b2"]
    assert not [raw for raw in heard if b"in their name" in raw]


@pytest.mark.mixed
def test_no_router_gets_its_endpoint_into_the_tunnel(plane):
    """It sends one of its own sealed messages, which nobody has seen yet, to the hub's port through the tunnel."""
    a1, port = plane.routers["a1"], plane.gateway.status()["gateway"]["listen_port"]
    plane.hub.run("nft", "-f", "-", input=f"""table inet kept_back {{ chain c {{ type filter hook prerouting priority -350;
        ip saddr {a1.namespace.address} udp dport {port} drop
        }}\n}}""")
    outer = Sniffer(a1.namespace, "eth0")
    send = raw_sender(a1.namespace, a1.client.interface)
    send(ip_udp(a1.address, 9, plane.hub_address, 9, b"sealed"))
    sealed = wait_until(lambda: [raw[28:] for _, raw in outer.read(0.2) if raw[9] == 17 and raw[28:29] == b"\x04"], 10)[-1]
    outer.socket.close()
    plane.hub.run("nft", "delete", "table", "inet", "kept_back")
    before = plane.counters()["drop.looped"]
    send(ip_udp(a1.address, 4242, plane.hub_address, port, sealed))
    wait_until(lambda: plane.counters()["drop.looped"] > before, 10, "the drop is counted")
    told = plane.wg("show", plane.interface, "endpoints")
    assert f"{a1.public_key}\t{a1.namespace.address}:" in told, told
    assert plane.reaches_all(plane.hub, a1.addresses)


def raw_sender_to_gateway(plane):
    """Raw IP from the world to the gateway's link address, whatever the source."""
    assert ping(plane.world, ["203.0.113.1"])
    words = plane.world.ip("neigh", "show", "203.0.113.1", "dev", "eth0").split()
    address = bytes.fromhex(words[words.index("lladdr") + 1].replace(":", ""))
    s = plane.world.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    return lambda packet: s.sendto(packet, ("eth0", 0x0800, 0, 0, address))


def test_egress_is_given_and_taken_at_once(plane):
    a1, tenant = plane.routers["a1"], plane.tenants["acme"]
    assert plane.reaches_none(a1.namespace, [WORLD, WORLD6])
    plane.api.patch(f"/tenants/{tenant}", {"egress": True})
    try:
        assert plane.reaches_all(a1.namespace, [WORLD, WORLD6])
    finally:
        plane.api.patch(f"/tenants/{tenant}", {"egress": False})
    assert plane.reaches_none(a1.namespace, [WORLD, WORLD6])


def test_a_refusal_is_told_to_who_asked(plane):
    """ICMP administratively prohibited, to the router that may not, at least once in a while."""
    a1, b1 = plane.routers["a1"], plane.routers["b1"]
    sniffer = Sniffer(a1.namespace, a1.client.interface)
    send = raw_sender(a1.namespace, a1.client.interface)
    seen, until = [], time.monotonic() + 5
    while not seen and time.monotonic() < until:
        send(ip_udp(a1.address, 9, b1.address, 9, b"let me in"))
        seen = [raw for _, raw in sniffer.read(0.3) if raw[0] == 0x45 and raw[9] == 1 and raw[20:22] in (b"\3\x0d", b"\3\x0a")]
    sniffer.socket.close()
    assert seen
    assert socket.inet_ntoa(seen[0][12:16]) == plane.hub_address


@pytest.mark.mixed
@pytest.mark.parametrize("source, target", [("hub", "a1"), ("a1", "hub"), ("a1", "a2"), ("b1", "world")])
def test_tcp_carries_megabytes(plane, source, target):
    assert plane.carry(source, target, 4 << 20) == 4 << 20


def test_fragments_are_judged_as_the_packets_they_are_of(plane):
    a1 = plane.routers["a1"]
    said = a1.namespace.run("ping", "-c", "3", "-i", "0.2", "-W", "2", "-s", "4000", plane.routers["a2"].address)
    assert " 3 received" in said
    said = a1.namespace.run("ping", "-c", "2", "-i", "0.2", "-W", "1", "-s", "4000", plane.routers["b1"].address,
                            check=False)
    assert " 0 received" in said


def test_drops_are_counted_by_reason(plane):
    a1, b1 = plane.routers["a1"], plane.routers["b1"]
    before = plane.counters()["drop.prohibited"]
    send = raw_sender(a1.namespace, a1.client.interface)
    for _ in range(20):
        send(ip_udp(a1.address, 9, b1.address, 9, b"counted"))
    wait_until(lambda: plane.counters()["drop.prohibited"] >= before + 20, 5)
