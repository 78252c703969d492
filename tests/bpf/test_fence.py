"""Our table in nftables: nothing gets in without the program, egress is masqueraded, nobody else's table is touched."""
import json

import pytest

import packets
from scene import C, HUB4, HUB6, HUB_PORT, INTERFACE, OUT4, OUT6, GateError, udp

TABLE = f"sallyport_{INTERFACE}"
OTHERS = """
table inet filter {
    chain input {
        type filter hook input priority filter; policy accept;
        counter
    }
}
table ip nat {
    chain post {
        type nat hook postrouting priority srcnat; policy accept;
    }
}
"""


@pytest.fixture
def fenced(scene, gate):
    scene.run("nft", "-f", "-", input=OTHERS)
    assert gate.do("fence") == 1
    return gate


def others(scene):
    """Every object of every other table, with its handle, without what counting changes."""
    listed = json.loads(scene.run("nft", "-j", "list", "ruleset").stdout)["nftables"]
    text = json.dumps([entry for entry in listed if TABLE not in json.dumps(entry) and "metainfo" not in entry])
    return [word for word in text.split(",") if '"packets"' not in word and '"bytes"' not in word]


def test_what_the_program_passes_comes_in(scene, fenced):
    assert scene.fate(udp("10.1.0.1", HUB4)) == "hub"
    assert scene.fate(udp("10.1.0.1", "10.1.0.2")) == "routers"
    assert scene.fate(udp("fd00::1:1", HUB6)) == "hub"


@pytest.mark.parametrize("source, target", [("10.1.0.1", HUB4), ("10.1.0.1", "10.1.0.2"), ("10.1.0.1", "10.2.0.1"), ("10.3.0.1", OUT4),
                                            ("fd00::1:1", HUB6), ("fd00::1:1", "fd00::1:2"), ("fd00::3:1", OUT6)])
def test_nothing_comes_in_without_the_program(scene, fenced, source, target):
    scene.run("tc", "qdisc", "del", "dev", INTERFACE, "clsact")
    fenced.kill()
    assert scene.fate(udp(source, target), last="world") == "nothing"


def test_it_comes_in_again_when_the_program_is_mended(scene, fenced):
    scene.run("tc", "filter", "del", "dev", INTERFACE, "ingress")
    assert scene.fate(udp("10.1.0.1", HUB4), last="world") == "nothing"
    assert fenced.do("attach") == 1
    assert scene.fate(udp("10.1.0.1", HUB4)) == "hub"


def test_without_the_way_out_alone_tenants_stay_apart_and_do_not_answer_the_world(scene, fenced):
    """docs/isolation.md: what is forwarded from the world gets in until the program is back, and no further."""
    def world():
        return scene.fate(udp(OUT4, "10.1.0.1"), through="world")
    assert world() == "nothing"
    scene.run("tc", "filter", "del", "dev", INTERFACE, "egress")
    assert world() == "routers"
    assert scene.fate(udp("10.1.0.1", OUT4)) == "prohibited"
    assert scene.fate(udp("10.3.0.1", "10.1.0.1")) == "prohibited"
    assert fenced.do("attach") == 1
    assert world() == "nothing"


@pytest.mark.parametrize("source, target, masquerade", [("10.3.0.1", OUT4, "203.0.113.1"), ("192.168.3.9", OUT4, "203.0.113.1"),
                                                        ("fd00::3:1", OUT6, "2001:db8:113::1")])
def test_egress_is_masqueraded_and_answers_come_back(scene, fenced, source, target, masquerade):
    scene.listen(0)
    scene.routers.send(udp(source, target))
    (where, raw), = scene.listen()
    seen = packets.Packet(raw)
    assert where == "world" and seen.source == masquerade and seen.valid
    scene.world.send(packets.ip_udp(target, 4000, masquerade, seen.source_port, b"back"))
    (where, raw), = scene.listen()
    assert where == "routers" and packets.Packet(raw).target == source


NAMES = {"hub": (HUB4, HUB6), "sibling": ("10.1.0.2", "fd00::1:2"), "other": ("10.2.0.1", "fd00::2:1"),
         "lan": ("192.168.1.9", "fd77:0:1::9"), "nobody": ("10.9.9.9", "fd00::9:9")}


def fragments(source, target):
    """Of an IPv4 packet: two, the second without a UDP header."""
    data = packets.ip_udp(source, 5000, target, HUB_PORT, bytes(64))[20:]
    return [packets.ip4(source, target, 17, data[:24], ident=7, flags=1, offset=0),
            packets.ip4(source, target, 17, data[24:], ident=7, flags=0, offset=3)]


@pytest.mark.parametrize("kind", ["fence", "engine"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [4, 6])
def test_nobody_elsewhere_speaks_in_the_tunnels_name(scene, gate, kind, name, version):
    """To the hub, and forwarded to a router: C has egress, so what comes from the world gets through to it."""
    if kind == "engine":  # nothing but the fence in between
        scene.run("tc", "qdisc", "del", "dev", INTERFACE, "clsact")
    gate.do(kind)
    hub, router, honest = ((HUB4, "10.3.0.1", OUT4), (HUB6, "fd00::3:1", OUT6))[version == 6]
    forged = NAMES[name][version == 6]
    sibling = {"sibling": ("10.3.0.2", "fd00::3:2"), "lan": ("192.168.3.9", "fd77:0:3::9")}.get(name)
    source = sibling[version == 6] if sibling else forged
    scene.listen(0)
    for target in (hub, router):
        for packet in [udp(source, target, b"forged" * 10)] + ([] if version == 6 else fragments(source, target)):
            scene.world.send(packet)
    for target in (hub, router):
        scene.world.send(udp(honest, target, b"honest"))
    seen = scene.listen()
    assert sorted(where for where, _ in seen) == ["hub", "routers"] and all(raw.endswith(b"honest") for _, raw in seen)
    # with masquerading, fragments are put together before
    assert gate.fenced() == {"forged": 2 if version == 6 else 4 if kind == "fence" else 6, "looped": 0}


def test_a_network_of_the_hosts_own_within_the_pool_is_not_the_tunnels(scene, gate):
    """The pool may be as wide as 10.0.0.0/8, and the host's management be in it: routes decide."""
    gate.do("fence")
    scene.space.ip("route add 10.200.0.0/16 dev out")
    assert scene.fate(udp("10.200.0.7", HUB4), through="world") == "hub"
    scene.space.ip("route del 10.200.0.0/16 dev out")
    assert scene.fate(udp("10.200.0.7", HUB4), through="world") == "nothing"


@pytest.mark.parametrize("source, target", [("10.1.0.1", HUB4), ("fd00::1:1", HUB6), ("10.3.0.1", "203.0.113.1"),
                                            ("fd00::3:1", "2001:db8:113::1")])
def test_no_datagram_of_a_tunnel_comes_out_of_a_tunnel(scene, fenced, source, target):
    """A router that seals one for the hub's own port would have its endpoint inside, and every answer would be sealed anew."""
    listener = scene.space.udp(target, 51820)
    listener.setblocking(False)
    scene.routers.send(packets.ip_udp(source, 5000, target, 51820, b"a datagram within a datagram"))
    assert fenced.fenced()["looped"] == 1
    with pytest.raises(BlockingIOError):
        listener.recv(100)
    outside = OUT6 if ":" in target else OUT4
    if target not in (HUB4, HUB6):
        scene.world.send(packets.ip_udp(outside, 5000, target, 51820, b"from outside"))
        scene.listen()
        assert listener.recv(100) == b"from outside"
    listener.close()


@pytest.mark.parametrize("hub, router", [(HUB4, "10.1.0.1"), (HUB6, "fd00::1:1")])
def test_no_datagram_of_a_tunnel_goes_into_a_tunnel(scene, fenced, hub, router):
    scene.listen(0)
    with scene.space.inside():
        own = scene.space.udp(hub, 51820)
        for size in (10, 3000):
            try:
                own.sendto(bytes(size), (router, 5000))
            except PermissionError:
                pass  # the host's stack says so
    scene.hub[":" in hub].sendto(b"honest", (router, 5000))
    seen = scene.listen()
    own.close()
    assert [raw.endswith(b"honest") for _, raw in seen] == [True]
    assert fenced.fenced()["looped"] >= 2


WITH_THE_LAST = 2  # connections: the one meant, and that of what fate() sends last


def tracked(scene):
    return int(scene.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count").stdout)


def test_connections_are_tracked_only_for_egress_and_never_the_tunnels_own(scene, gate):
    gate.do("tenant", C)
    gate.do("fence")
    assert "masquerade" not in scene.run("nft", "list", "ruleset").stdout
    assert scene.fate(udp("10.1.0.1", HUB4)) == "hub" and tracked(scene) == 0
    gate.do("tenant", C, "egress")
    assert gate.do("fence") == 1
    own = scene.space.udp("203.0.113.1", 51820)
    own6 = scene.space.udp("2001:db8:113::1", 51820)
    for source, target, socket in ((OUT4, "203.0.113.1", own), (OUT6, "2001:db8:113::1", own6)):
        scene.world.send(packets.ip_udp(source, 5000, target, 51820, b"sealed"))
        assert socket.recv(100) == b"sealed"
        socket.sendto(b"sealed", (source, 5000))
    assert [where for where, _ in scene.listen()] == ["world", "world"] and tracked(scene) == 0
    assert scene.fate(udp("10.3.0.1", OUT4)) == "world" and tracked(scene) == WITH_THE_LAST
    own.close()
    own6.close()
    gate.do("tenant", C)
    gate.do("fence")
    assert "masquerade" not in scene.run("nft", "list", "ruleset").stdout


def test_a_datagram_that_is_forwarded_to_the_same_port_is_tracked_as_any(scene, fenced):
    """Somebody behind the host may have a WireGuard of its own, and be behind address translation."""
    assert scene.fate(packets.ip_udp("10.3.0.1", 5000, OUT4, 51820, b"another's")) == "world"
    assert tracked(scene) == WITH_THE_LAST


def test_nothing_else_is_masqueraded(scene, fenced):
    scene.listen(0)
    scene.routers.send(udp("10.1.0.1", "10.1.0.2"))
    scene.hub[0].sendto(b"x", ("10.1.0.1", 5000))
    with scene.space.inside():
        scene.space.udp("203.0.113.1").sendto(b"x", (OUT4, 1))
    assert {packets.Packet(raw).source for _, raw in scene.listen()} == {"10.1.0.1", HUB4, "203.0.113.1"}


def test_nobody_elses_table_is_touched(scene, fenced):
    before = others(scene)
    scene.run("nft", "flush", "table", "inet", TABLE)
    assert fenced.do("fence") == 1
    fenced.do("unfence")
    assert others(scene) == before
    assert TABLE not in scene.run("nft", "list", "ruleset").stdout


@pytest.mark.parametrize("tamper", [
    "flush ruleset", f"delete table inet {TABLE}", f"flush table inet {TABLE}", f"flush chain inet {TABLE} prerouting",
    f"insert rule inet {TABLE} prerouting accept", f"add chain inet {TABLE} more", f"add set inet {TABLE} s {{ type mark; }}",
    f"add table inet {TABLE} {{ flags dormant; }}", f"add rule inet {TABLE} postrouting drop", f"flush chain inet {TABLE} output",
    f"delete chain inet {TABLE} postrouting", f"insert rule inet {TABLE} input accept",
    f"add chain inet {TABLE} prerouting {{ policy drop; }}",
])
def test_what_was_changed_is_put_right(scene, fenced, tamper):
    before = scene.run("nft", "list", "table", "inet", TABLE).stdout
    scene.run("nft", tamper)
    assert fenced.do("fence") == 1
    assert scene.run("nft", "list", "table", "inet", TABLE).stdout == before
    assert fenced.do("fence") == 0
    assert scene.fate(udp("10.1.0.1", HUB4)) == "hub"


def test_a_new_process_finds_it_right(scene, fenced):
    fenced.kill()
    again = scene.gate()
    again.do("hub", f"{HUB4}/8", f"{HUB6}/48")
    assert again.do("fence") == 0


def test_a_foreign_table_of_the_same_name_is_refused_and_stays(scene, gate):
    scene.run("nft", f"table inet {TABLE} {{ comment \"mine\"; chain c {{ counter; }}; }}")
    before = scene.run("nft", "list", "table", "inet", TABLE).stdout
    with pytest.raises(GateError, match=TABLE) as caught:
        gate.do("fence")
    assert caught.value.errno == 17  # EEXIST
    gate.do("unfence")
    assert scene.run("nft", "list", "table", "inet", TABLE).stdout == before


def test_removing_what_is_not_there_is_no_error(gate):
    assert gate.do("unfence") == 0
