"""Who may speak with whom: every pair of {A, B, C, hub, internet}, by ping, UDP and TCP, over IPv4 and IPv6.

The topology is drawn in tenancy.py. The matrix is asked once for each number of workers; then each cell is a test.
"""
import concurrent.futures
import errno
import itertools
import socket
import time

import pytest

import noise
from lab import SLOW, Flow, Uapi, base64, wait_until
from packets import ICMP, ICMP6, UDP, Packet, Sniffer, checksum, ip4, ip_udp, raw_sender
from tenancy import A, B, C, HUB, HUB6, INET, INET6, LAN, Answerers, Stage, ask_tcp, ask_udp

pytestmark = pytest.mark.ours
WORKERS = [1, 2, 4]
NAMES = ["a1", "a2", "b1", "b2", "c1", "c2", "hub", "inet"]
PAIRS = list(itertools.permutations(NAMES, 2))
QUESTIONS = list(itertools.product(("ping", "udp", "tcp"), (4, 6)))
EGRESS = "ac"


def allowed(source, target):
    """The policy, in one place."""
    ends = {source, target}
    if ends == {"hub", "inet"}:
        return True  # the operator's own routing
    if "hub" in ends:
        return True
    if "inet" in ends:  # replies need the way back, so a tenant with egress can also be spoken to by its hub address
        return (ends - {"inet"}).pop()[0] in EGRESS
    return source[0] == target[0]


def ping(stage, source, target, family):
    space, address = stage.where(source), stage.address(target, source, family)
    return space.ping(address, source=stage.source(source, family), timeout=1)


def ask(stage, source, target, protocol, family):
    space, address = stage.where(source), stage.address(target, source, family)
    function = {"ping": None, "udp": ask_udp, "tcp": ask_tcp}[protocol]
    if function is None:
        said = space.run("ping", "-c", 1, "-W", SLOW, "-I", stage.source(source, family), address, check=False).stdout
        if " 1 received" in said:
            return target
        return errno.EHOSTUNREACH if "filtered" in said or "prohibited" in said else None
    return function(space, stage.source(source, family), address)


@pytest.fixture(scope="module", params=WORKERS, ids=lambda n: f"{n}-workers")
def stage(request):
    with Stage(workers=request.param) as made:
        made.workers = request.param
        answerers = Answerers(made)
        yield made
        answerers.close()


@pytest.fixture(scope="module")
def matrix(stage):
    """{(source, target, protocol, family): who answered, or how it failed}"""
    cells = [(source, target, *question) for source, target in PAIRS for question in QUESTIONS]
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        said = dict(zip(cells, pool.map(lambda cell: ask(stage, *cell), cells)))
    # refusals are told within a rate, which asking everything at once exceeds: who heard nothing asks again, alone
    return {cell: ask(stage, *cell) if answer is None else answer for cell, answer in said.items()}


@pytest.mark.parametrize("source, target", PAIRS, ids=lambda name: name)
def test_matrix(matrix, source, target):
    wanted = target if allowed(source, target) else "refused"
    said = {question: matrix[source, target, *question] for question in QUESTIONS}
    if wanted == target:
        assert said == dict.fromkeys(said, target)
    else:
        assert not set(said.values()) & set(NAMES), said
        if source in ("hub", "inet") or source[0] in "abc":
            # each refusal is told to who asked: ICMP administratively prohibited
            told = {errno.EHOSTUNREACH, errno.EACCES}
            assert all(value in told for value in said.values()), said


def test_nothing_of_a_forbidden_pair_reaches_the_other(stage):
    """Not only no answer: no packet. Listening where it would come out, on all routers and behind the gateway."""
    sniffers = {name: Sniffer(router.space, router.device.name) for name, router in stage.routers.items()}
    marks = {}
    for source, target in PAIRS:
        if source in stage.routers and not allowed(source, target):
            mark = marks[source, target] = f"<{source}>{target}>".encode()
            with stage.where(source).udp(stage.source(source)) as s:
                for address in {stage.address(target, source), stage.source(target)}:
                    if address != stage.source(source):
                        s.sendto(mark, (address, 9))
    time.sleep(0.3)
    for name, sniffer in sniffers.items():
        own = f"<{name}>".encode()
        for _, raw in sniffer.read(0.02):
            for (source, target), mark in marks.items():
                if mark in raw and own not in raw:
                    # an address of both tenants' means a neighbour of its own: that is no crossing
                    crossed = stage.routers[name].tenant != stage.routers[source].tenant
                    assert not crossed, f"{source} reached {name} asking for {target}"
        sniffer.close()


def test_the_same_address_is_another_router_in_another_tenant(stage):
    for name in ("a1", "b1"):
        router = stage.routers[name]
        assert ask_udp(router.space, router.inside, "10.100.0.3") == name[0] + "2"
    assert ask_udp(stage.gw, HUB, "10.200.0.3") == "a2"
    assert ask_udp(stage.gw, HUB, "10.201.0.3") == "b2"


def test_the_same_lan_is_another_in_each_tenant(stage):
    for name in ("a2", "b2", "c2"):
        router = stage.routers[name]
        assert ask_udp(router.space, router.inside, LAN) == name[0] + "1"
        assert ask_tcp(router.space, router.inside, LAN) == name[0] + "1"


def test_hub_reaches_the_lan_of_a_unique_tenant_only(stage):
    """Of the three LANs with this prefix, c1's is the only one in the hub's space."""
    assert ask_udp(stage.gw, HUB, LAN) == "c1"
    assert ask_tcp(stage.routers["c1"].space, LAN, HUB) == "hub"


def test_inside_addresses_of_private_tenants_mean_nothing_to_the_hub(stage):
    for address in ("10.100.0.2", "10.100.0.3"):
        assert ask_udp(stage.gw, HUB, address) in (errno.EHOSTUNREACH, errno.ENETUNREACH)


def test_site_to_site_never_crosses_the_tun(stage):
    before = stage.hub.counters()
    sniffer = Sniffer(stage.gw, stage.hub.name)
    a1 = stage.routers["a1"]
    assert a1.space.ping("10.100.0.3", count=20)
    assert ask_tcp(a1.space, a1.inside, "10.100.0.3") == "a2"
    seen = [raw for _, raw in sniffer.read(0.2) if b"\x0a\x64\x00" in raw]
    sniffer.close()
    after = stage.hub.counters()
    assert seen == []
    assert after["turned_around"] - before["turned_around"] >= 40
    assert after["tun_sent"] - before["tun_sent"] <= 5, "nothing of it went to the host"


def test_workers_hand_over_what_is_not_theirs(stage):
    """Initiations and packets from the host arrive at any worker; a tenant lives on one."""
    before = stage.hub.counters()["handed_over"]
    for _ in range(3):
        for router in stage.routers.values():
            with stage.gw.udp(HUB) as s:
                for _ in range(20):
                    s.sendto(b"x", (router.hub_address, 9))
    time.sleep(0.1)
    handed_over = stage.hub.counters()["handed_over"]
    assert stage.hub.get("sallyport=1", "only=device")["workers"] == str(stage.workers)
    if stage.workers == 1:
        assert handed_over == 0
    else:
        assert handed_over > before


SPOOFED = {
    "neighbour": "10.100.0.3", "hub": HUB, "own-hub-address": "10.200.0.2", "other-tenant": "10.201.0.2",
    "unique-tenant": "10.101.0.2", "internet": INET, "its-lans-neighbour": "192.168.2.1", "loopback": "127.0.0.1",
    "nothing": "0.0.0.0", "broadcast": "255.255.255.255",
}


@pytest.mark.parametrize("spoof", SPOOFED)
@pytest.mark.parametrize("target", ["neighbour", "hub", "internet"])
def test_spoofed_source_inside_a_tenant_is_dropped(stage, spoof, target):
    a1 = stage.routers["a1"]
    address, space, interface = {
        "neighbour": ("10.100.0.3", stage.routers["a2"].space, stage.routers["a2"].device.name),
        "hub": (HUB, stage.gw, stage.hub.name),
        "internet": (INET, stage.inet, "eth0"),
    }[target]
    sniffer = Sniffer(space, interface)
    before = stage.hub.counters()["drop.bad_source"]
    mark = f"spoof {spoof} {target}".encode()
    raw_sender(a1.space, a1.device.name)(ip_udp(SPOOFED[spoof], 9, address, 9, mark))
    wait_until(lambda: stage.hub.counters()["drop.bad_source"] > before)
    assert not [raw for _, raw in sniffer.read(0.03) if mark in raw]
    sniffer.close()


def test_spoofed_ipv6_source_is_dropped(stage):
    a1 = stage.routers["a1"]
    send = raw_sender(a1.space, a1.device.name, socket.AF_INET6)
    for source in ("fd00:5a:a::3", "fd00:5a:b::2", HUB6, INET6, "::1", "fe80::1"):
        before = stage.hub.counters()["drop.bad_source"]
        send(ip_udp(source, 9, HUB6, 9, b"spoof"))
        wait_until(lambda: stage.hub.counters()["drop.bad_source"] > before, what=source)


def test_forwarding_host_is_no_way_round(stage):
    """ip_forward=1: what a tenant with egress sends must not come back in for another by the host's own routing."""
    before = stage.hub.counters()["drop.prohibited"]
    sniffers = [Sniffer(stage.routers[name].space, stage.routers[name].device.name) for name in ("b1", "c1", "a2")]
    a1, c2 = stage.routers["a1"], stage.routers["c2"]
    for router, targets in ((a1, ["10.201.0.2", "10.101.0.2", "10.0.0.0", "10.255.255.255"]),
                            (c2, ["10.200.0.2", "10.201.0.2", "10.200.0.3"])):
        for address in targets:
            with router.space.udp(router.inside) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                s.sendto(b"round the back", (address, 9))
    # and what somebody behind the gateway makes the host forward in a tenant's name
    from_inet = raw_sender_routed(stage.inet, "eth0")
    for source, target in (("10.101.0.2", "10.200.0.2"), ("10.200.0.2", "10.201.0.2"), ("10.201.0.3", "10.101.0.2"),
                           (HUB, "10.201.0.2")):
        from_inet(ip_udp(source, 9, target, 9, b"round the back"))
    time.sleep(0.2)
    for sniffer in sniffers[:2]:
        assert not [raw for _, raw in sniffer.read(0.02) if b"round the back" in raw]
    for sniffer in sniffers:
        sniffer.close()
    assert stage.hub.counters()["drop.prohibited"] >= before + 7


def raw_sender_routed(space, interface):
    """Raw IP to the gateway's link address, whatever the source."""
    assert space.ping("203.0.113.1")
    words = space.ip(f"neigh show 203.0.113.1 dev {interface}").split()
    address = bytes.fromhex(words[words.index("lladdr") + 1].replace(":", ""))
    s = space.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    return lambda packet: s.sendto(packet, (interface, 0x0800, 0, 0, address))


def test_multicast_and_broadcast_stay_where_they_are(stage):
    a1 = stage.routers["a1"]
    send = raw_sender(a1.space, a1.device.name)
    sniffers = [Sniffer(stage.gw, stage.hub.name), Sniffer(stage.routers["a2"].space, stage.routers["a2"].device.name)]
    for target in ("224.0.0.1", "239.1.2.3", "255.255.255.255"):
        send(ip_udp(a1.inside, 9, target, 9, b"everybody"))
    raw_sender(a1.space, a1.device.name, socket.AF_INET6)(ip_udp(a1.address6, 9, "ff02::1", 9, b"everybody"))
    time.sleep(0.1)
    for sniffer in sniffers:
        assert not [raw for _, raw in sniffer.read(0.02) if b"everybody" in raw]
        sniffer.close()


def test_refusal_comes_from_the_hub_and_quotes_the_packet(stage):
    b1 = stage.routers["b1"]
    for family, source, target, wanted in ((socket.AF_INET, b1.inside, "10.101.0.2", (3, 13)),
                                           (socket.AF_INET6, b1.address6, "fd00:5a:c::2", (1, 1))):
        sniffer = Sniffer(b1.space, b1.device.name)
        question = ip_udp(source, 1234, target, 9, b"may I")
        raw_sender(b1.space, b1.device.name, family)(question)
        answer = sniffer.wait(lambda p: p.protocol in (ICMP, ICMP6) and p.target == source
                              and (p.icmp_type, p.icmp_code) == wanted)
        sniffer.close()
        assert answer and answer.valid
        assert answer.source == (HUB if family == socket.AF_INET else HUB6)
        assert answer.payload[8:] == question, "quoted as it was sent"


def test_no_refusal_of_a_refusal(stage):
    """ICMP errors are never answered by ICMP errors (RFC 1122, 3.2.2)."""
    b1 = stage.routers["b1"]
    sniffer = Sniffer(b1.space, b1.device.name)
    quoted = ip_udp("10.101.0.2", 9, b1.inside, 9, b"original")[:28]
    error = b"\x03\x01\0\0\0\0\0\0" + quoted
    error = error[:2] + checksum(error).to_bytes(2, "big") + error[4:]
    before = stage.hub.counters()["drop.prohibited"]
    raw_sender(b1.space, b1.device.name)(ip4(b1.inside, "10.101.0.2", ICMP, error))
    wait_until(lambda: stage.hub.counters()["drop.prohibited"] > before)
    assert sniffer.wait(lambda p: p.protocol == ICMP and p.target == b1.inside, 0.1) is None
    sniffer.close()


def test_usage_is_counted_for_the_tenant_that_caused_it(stage):
    before = {name: stage.hub.tenant(name) for name in (A, B, C)}
    b1 = stage.routers["b1"]
    assert b1.space.ping("10.100.0.3", size=972, count=10)  # 1000 bytes of IP
    assert b1.space.ping(HUB, size=972, count=10)
    after = {name: stage.hub.tenant(name) for name in (A, B, C)}

    def grown(name, key):
        return int(after[name][key]) - int(before[name][key])
    assert 30 <= grown(B, "rx_packets") <= 36 and 30000 <= grown(B, "rx_bytes") <= 36000
    assert 30 <= grown(B, "tx_packets") <= 36 and 30000 <= grown(B, "tx_bytes") <= 36000
    assert grown(A, "rx_packets") <= 3 and grown(C, "rx_packets") <= 3
    assert ask_udp(b1.space, b1.inside, "10.101.0.2") == errno.EHOSTUNREACH
    assert int(stage.hub.tenant(B)["dropped"]) > int(after[B]["dropped"])


def test_egress_is_switched_live(stage):
    b1 = stage.routers["b1"]
    try:
        stage.hub.set(f"tenant={B}", "addressing=private", "egress=true")
        assert ask_tcp(b1.space, b1.inside, INET) == "inet"
        assert ask_udp(b1.space, b1.address6, INET6) == "inet"
        stage.hub.set(f"tenant={B}", "addressing=private", "egress=false")
        assert ask_udp(b1.space, b1.inside, INET) == errno.EHOSTUNREACH
        assert ask_udp(stage.inet, INET, b1.hub_address) == errno.EHOSTUNREACH
    finally:
        stage.hub.set(f"tenant={B}", "addressing=private", "egress=false")


def test_egress_does_not_lead_to_what_is_not_the_worlds(stage):
    """A cloud tells a machine its credentials at 169.254.169.254; here a neighbour of the gateway plays that. The gateway's
    own loopback and what is link-local on its wires are not for tenants either."""
    targets = {"169.254.169.254": "169.254.169.254/32", "100.100.100.200": "100.100.100.200/32", "fd00:ec2::254": "fd00:ec2::254/128"}
    for target, address in targets.items():
        stage.inet.ip(f"addr add {address} dev lo{' nodad' if ':' in target else ''}")
        stage.gw.ip(f"route add {address} via {INET6 if ':' in target else INET}")
        for name in ("a1", "c1"):
            stage.routers[name].space.ip(f"route add {address} dev {stage.routers[name].device.name}")
    try:
        for name in ("a1", "c1"):
            router = stage.routers[name]
            before = stage.hub.counters()["drop.prohibited"]
            for target in targets:
                source = router.address6 if ":" in target else router.inside
                assert ask_udp(router.space, source, target) in (errno.EHOSTUNREACH, errno.EACCES), target
            assert stage.hub.counters()["drop.prohibited"] - before >= len(targets)
            assert ask_udp(router.space, router.inside, INET) == "inet", "the world is where it was"
        assert ask_udp(stage.gw, "203.0.113.1", "169.254.169.254") == "inet", "the gateway itself reaches it"
    finally:
        for target, address in targets.items():
            stage.inet.ip(f"addr del {address} dev lo")
            stage.gw.ip(f"route del {address}")
            for name in ("a1", "c1"):
                stage.routers[name].space.ip(f"route del {address} dev {stage.routers[name].device.name}")


def test_two_tenants_with_one_address_are_told_apart_by_the_hubs_routes(stage):
    """The control plane keeps tenants apart; should it err, nobody speaks in another's name."""
    c1, c2 = stage.routers["c1"], stage.routers["c2"]
    tenant = "0190a000-0000-7000-8000-00000000000d"

    def call_anew():  # who is moved loses its session, and would notice after 15 s
        c2.device.remove(stage.hub)
        c2.device.add(stage.hub, ["0.0.0.0/0", "::/0"], endpoint="198.51.100.1:51820", keepalive=25)
        stage.settle(c2)
    stage.hub.set(f"tenant={tenant}", "addressing=unique")
    c2.space.ip(f"addr add {c1.inside}/32 dev {c2.device.name}")
    try:
        stage.hub.set(f"public_key={c2.device.key.hex}", f"peer_tenant={tenant}", "allowed_ip=10.101.0.0/16")
        call_anew()
        before = stage.hub.counters()["drop.bad_source"]
        assert not c2.space.ping(HUB, source=c1.inside, timeout=0.5)
        assert stage.hub.counters()["drop.bad_source"] > before
        assert c2.space.ping(HUB, source=c2.inside, timeout=2)
        assert c1.space.ping(HUB, source=c1.inside, timeout=2)
    finally:
        c2.space.ip(f"addr del {c1.inside}/32 dev {c2.device.name}")
        stage.admit(c2)
        call_anew()
        stage.hub.set(f"tenant={tenant}", "remove=true")


def test_egress_is_seen_by_its_hub_address(stage):
    sniffer = Sniffer(stage.inet, "eth0")
    a1 = stage.routers["a1"]
    assert ask_udp(a1.space, a1.inside, INET, b"who am I") == "inet"
    seen = sniffer.wait(lambda p: p.protocol == UDP and b"who am I" in p.raw)
    sniffer.close()
    assert seen.source == a1.hub_address and seen.valid


def test_lan_of_a_private_tenant_has_no_hub_address_so_it_stays_inside(stage):
    before = stage.hub.counters()["drop.untranslatable"]
    assert ask_udp(stage.routers["a1"].space, LAN, HUB, timeout=0.3) is None
    assert stage.hub.counters()["drop.untranslatable"] > before


def test_router_moves_to_another_tenant(stage):
    """b2 leaves B for A (as 10.100.0.4 there): at once it is a neighbour of A's and a stranger to B's."""
    b1, b2, a1 = (stage.routers[name] for name in ("b1", "b2", "a1"))
    assert ask_udp(b1.space, b1.inside, "10.100.0.3") == "b2"
    try:
        b2.space.ip(f"addr add 10.100.0.4/32 dev {b2.device.name}")
        stage.hub.set(f"public_key={b2.device.key.hex}", f"peer_tenant={A}", "hub_address=10.200.0.4=10.100.0.4",
                      "replace_allowed_ips=true", "allowed_ip=10.100.0.4/32", f"allowed_ip={b2.address6}/128")
        said = stage.hub.get("sallyport=1")["peers"][b2.device.key.hex]
        assert said["peer_tenant"] == A and said["hub_address"] == ["10.200.0.4=10.100.0.4"]
        b2.device.set(f"public_key={stage.hub.key.hex}", "remove=true")
        b2.device.add(stage.hub, ["0.0.0.0/0", "::/0"], endpoint="198.51.100.1:51820")
        wait_until(lambda: ask_udp(b2.space, "10.100.0.4", "10.100.0.2") == "a1")
        assert ask_udp(a1.space, a1.inside, "10.100.0.4") == "b2"
        assert ask_udp(stage.gw, HUB, "10.200.0.4") == "b2"
        assert ask_udp(b1.space, b1.inside, "10.100.0.3", timeout=0.3) not in NAMES
    finally:
        b2.space.ip(f"addr del 10.100.0.4/32 dev {b2.device.name}")
        stage.hub.remove(b2.device)
        stage.admit(b2)
        b2.device.set(f"public_key={stage.hub.key.hex}", "remove=true")
        b2.device.add(stage.hub, ["0.0.0.0/0", "::/0"], endpoint="198.51.100.1:51820", keepalive=25)
        stage.settle(b2)
    assert ask_udp(b1.space, b1.inside, "10.100.0.3") == "b2"


def test_tenant_removed_and_made_again_under_traffic(stage):
    """B goes, and its routers with it; nobody else notices. Then it comes back."""
    flow = Flow(stage.routers["a1"].space, "10.100.0.3", 0.005)
    storm = stage.routers["b1"].space.start("ping", "-i", "0.002", "-q", "10.100.0.3")
    time.sleep(0.2)
    stage.hub.set(f"tenant={B}", "remove=true")
    told = stage.hub.get("sallyport=1")
    assert B not in told["tenants"]
    assert not {stage.routers[name].device.key.hex for name in ("b1", "b2")} & set(told["peers"])
    b1, b2 = stage.routers["b1"], stage.routers["b2"]
    assert not b1.space.ping("10.100.0.3", timeout=0.3)
    assert ask_udp(stage.gw, HUB, "10.201.0.2", timeout=0.3) not in NAMES
    stage.hub.set(f"tenant={B}", "addressing=private", "egress=false")
    for router in (b1, b2):
        stage.admit(router)
        router.device.set(f"public_key={stage.hub.key.hex}", "remove=true")
        router.device.add(stage.hub, ["0.0.0.0/0", "::/0"], endpoint="198.51.100.1:51820", keepalive=25)
    for router in (b1, b2):
        stage.settle(router)
    assert ask_udp(b1.space, b1.inside, "10.100.0.3") == "b2"
    assert ask_udp(stage.gw, HUB, "10.201.0.2") == "b1"
    storm.terminate()
    storm.wait()
    assert flow.lost() == 0, flow.said


def test_peer_without_a_tenant_is_on_the_hubs_side_of_no_wall(stage):
    """A plain WireGuard peer on the same interface: the hub and it may talk, tenants and it may not."""
    a1, c1 = stage.routers["a1"], stage.routers["c1"]
    plain = noise.Peer(a1.space.udp("198.51.100.10"), stage.hub.key.public, ("198.51.100.1", 51820))
    stage.hub.add(plain.key, ["10.50.0.2/32"])
    try:
        plain.handshake()
        plain.send(plain.session.seal(ip_udp("10.50.0.2", 9, HUB, Answerers.PORT, b"plain")))
        answer = plain.session.open(plain.receive(noise.DATA))
        assert Packet(answer).payload[8:] == b"hub plain"
        sniffers = [Sniffer(router.space, router.device.name) for router in (a1, c1)]
        for address in (a1.hub_address, a1.inside, c1.inside):
            plain.send(plain.session.seal(ip_udp("10.50.0.2", 9, address, Answerers.PORT, b"sneaking in")))
        for router in (a1, c1):  # both with egress, which ends where somebody lives
            assert ask_udp(router.space, router.inside, "10.50.0.2") == errno.EHOSTUNREACH
        for sniffer in sniffers:
            assert not [raw for _, raw in sniffer.read(0.1) if b"sneaking in" in raw]
            sniffer.close()
        while packet := plain.receive(timeout=0.05):
            assert plain.session.open(packet)[9:10] != b"\x11", "nothing but refusals came to it"
    finally:
        stage.hub.remove(plain.key)


def test_addressing_of_a_tenant_with_peers_cannot_change(stage):
    with pytest.raises(Uapi):
        stage.hub.set(f"tenant={A}", "addressing=unique")
    assert stage.hub.tenant(A)["addressing"] == "private"
    assert ask_udp(stage.gw, HUB, "10.200.0.2") == "a1"


def test_plain_wg_sees_standard_keys_only(stage):
    said = stage.hub.wg("show", stage.hub.name).stdout
    for router in stage.routers.values():
        assert f"allowed ips: {', '.join(sorted(router.allowed))}" in said or router.inside in said
    plain = dict(stage.hub.request("get=1"))
    assert not [key for key in plain if key.startswith(("tenant", "hub", "counter", "peer_tenant", "now", "timestamp"))]
    # changing something with plain wg leaves the tenancy alone
    a1 = stage.routers["a1"]
    stage.hub.wg("set", stage.hub.name, "peer", base64(a1.device.key.public), "persistent-keepalive", "0")
    assert ask_udp(stage.gw, HUB, a1.hub_address) == "a1"


def test_everything_still_stands(stage):
    """After all of the above: engine alive, every session as it was."""
    assert stage.hub.alive, stage.hub.failure()
    for name in stage.routers:
        assert ask_udp(stage.gw, HUB, stage.routers[name].hub_address) == name
