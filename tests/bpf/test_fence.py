"""Our table in nftables: nothing gets in without the program, egress is masqueraded, nobody else's table is touched."""
import json

import pytest

import packets
from scene import HUB4, HUB6, INTERFACE, OUT4, OUT6, GateError, udp

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
    f"add table inet {TABLE} {{ flags dormant; }}", f"add rule inet {TABLE} postrouting drop",
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
    assert scene.gate().do("fence") == 0


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
