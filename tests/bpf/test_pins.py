"""The programs outlive whoever loaded them, are taken up again, and are mended when somebody takes them away."""
import threading

import pytest

from scene import A, B, HUB4, HUB6, INTERFACE, GateError, furnish, udp

PINS = f"/sys/fs/bpf/sallyport/{INTERFACE}/layout2"


def filters(scene):
    return [scene.run("tc", "filter", "show", "dev", INTERFACE, side).stdout for side in ("ingress", "egress")]


def test_they_judge_on_when_the_process_is_killed(scene, gate):
    gate.kill()
    assert scene.fate(udp("10.1.0.1", HUB4)) == "hub"
    assert scene.fate(udp("10.1.0.1", "10.1.0.2")) == "routers"
    assert scene.fate(udp("10.1.0.1", "10.2.0.1")) == "prohibited"


def test_a_new_process_takes_them_up_as_they_are(scene, gate):
    scene.fate(udp("10.1.0.1", HUB4))
    before, counted = filters(scene), gate.tenants()
    gate.kill()
    again = scene.gate()
    assert again.do("attach") == 0
    assert filters(scene) == before
    assert again.tenants() == counted and counted[A]["rx_packets"] == 1
    assert again.ask("owner", "192.168.1.9")[1] == [A]
    assert again.do("hub", f"{HUB4}/8", "fd00::1/48") == 0
    again.do("tenant", A, "egress")  # the same slot, not another
    assert scene.fate(udp("10.1.0.1", "203.0.113.7")) == "world"
    assert len(again.tenants()) == 3


def test_no_packet_is_lost_or_let_through_while_it_starts_again(scene, gate):
    stop, answers = threading.Event(), []
    good, bad = udp("10.1.0.1", HUB4), udp("10.1.0.1", "10.2.0.1")
    sent = 0

    def restart():
        gate.kill()
        for _ in range(3):
            again = scene.gate()
            furnish(again)
            answers.append(again.do("attach"))
            answers.append(again.do("check"))
            again.kill()
        stop.set()

    thread = threading.Thread(target=restart)
    scene.hub[0].setsockopt(1, 33, 64 << 20)  # SO_RCVBUFFORCE
    thread.start()
    while not stop.is_set():
        scene.routers.send(good)
        scene.routers.send(bad)
        sent += 1
    thread.join()
    assert answers == [0] * 6 and sent > 100
    seen = [where for where, raw in scene.listen() if where != "routers"]  # there, answers come out
    assert seen == ["hub"] * sent


@pytest.mark.parametrize("tamper, mended", [
    ("tc filter del dev {i} ingress", 1), ("tc filter del dev {i} egress", 1), ("tc qdisc del dev {i} clsact", 2),
    ("tc filter replace dev {i} ingress pref 1 handle 1 bpf direct-action object-pinned {p}/to_router", 1),
])
def test_what_was_detached_is_attached_again(scene, gate, tamper, mended):
    before = filters(scene)
    scene.run(*tamper.format(i=INTERFACE, p=PINS).split())
    assert filters(scene) != before
    assert gate.do("attach") == mended
    assert filters(scene) == before
    assert gate.do("attach") == 0
    assert scene.fate(udp("10.1.0.1", "10.2.0.1")) == "prohibited"


def test_filters_of_the_host_stay_and_see_what_passes(scene, gate):
    # any program that drops: what is for the hub has no router as its destination
    scene.run("tc", "filter", "add", "dev", INTERFACE, "ingress", "pref", "7", "bpf", "direct-action", "object-pinned",
              f"{PINS}/to_router")
    assert scene.fate(udp("10.1.0.1", HUB4), last="world") == "nothing"
    assert gate.do("attach") == 0
    scene.run("tc", "filter", "del", "dev", INTERFACE, "ingress", "pref", "7")
    assert scene.fate(udp("10.1.0.1", HUB4)) == "hub"


def test_pins_that_were_removed_are_made_anew(scene, gate):
    gate.kill()
    scene.run("rm", "-r", PINS)
    again = scene.gate()
    furnish(again)
    assert again.do("attach") == 2
    assert scene.fate(udp("10.1.0.1", "10.1.0.2")) == "routers"


def test_one_map_without_its_pin_is_made_anew(scene, gate):
    gate.kill()
    scene.run("rm", f"{PINS}/lans")
    again = scene.gate()
    furnish(again)
    assert again.do("attach") == 2
    assert scene.fate(udp("10.1.0.1", "192.168.1.9")) == "routers"


def test_maps_of_another_shape_are_refused_in_words(scene, gate):
    gate.kill()
    scene.run("mv", f"{PINS}/tallies", f"{PINS}/aside")
    scene.run("bpftool", "map", "create", f"{PINS}/tallies", "type", "hash", "key", "4", "value", "4", "entries", "1", "name", "x")
    with pytest.raises(GateError, match="isolation program"):
        scene.gate()


def test_a_start_that_fails_leaves_nothing(scene):
    """Maps are pinned before the programs are loaded, which takes one right more."""
    with pytest.raises(GateError, match="CAP_NET_ADMIN"):
        scene.gate("setpriv", "--bounding-set=-all,+cap_38,+cap_39", "--inh-caps=-all")
    assert scene.run("ls", "/sys/fs/bpf").stdout.split() == ["maps.debug", "progs.debug"]


def test_maps_of_another_layout_judge_until_there_are_new_ones(scene, gate):
    """An upgrade to a release with another layout; the former one's programs are still attached."""
    old = PINS.replace("layout2", "layout1")
    gate.kill()
    scene.run("mv", PINS, old)
    again = scene.gate()
    assert scene.fate(udp("10.1.0.1", HUB4)) == "hub"
    assert scene.fate(udp("10.1.0.1", "10.2.0.1")) == "prohibited"
    assert again.do("attach") == 2
    assert scene.fate(udp("10.1.0.1", HUB4), last="world") == "nothing"  # nobody is known to the new ones yet
    furnish(again)
    assert scene.fate(udp("10.1.0.1", HUB4)) == "hub"
    assert scene.fate(udp("10.1.0.1", "10.2.0.1")) == "prohibited"
    assert scene.run("ls", PINS.rpartition("/")[0]).stdout.split() == ["layout2"]


def test_giving_up_leaves_nothing(scene, gate):
    gate.do("destroy")
    assert filters(scene) == ["", ""]
    assert scene.run("ls", "/sys/fs/bpf").stdout.split() == [name for name in ("maps.debug", "progs.debug")]


def test_without_a_bpf_file_system_the_line_to_run_is_told(scene):
    scene.run("umount", "/sys/fs/bpf")
    with pytest.raises(GateError, match="mount -t bpf bpf /sys/fs/bpf"):
        scene.gate()


def test_the_rights_that_are_told_are_enough(scene):
    # by number: Debian's setpriv knows no names for the younger ones, CAP_PERFMON and CAP_BPF
    few = ("setpriv", "--bounding-set=-all,+net_admin,+cap_38,+cap_39", "--inh-caps=-all")
    gate = scene.gate(*few)
    furnish(gate)
    gate.do("fill", 3000)
    assert (gate.do("attach"), gate.do("fence"), gate.do("check")) == (2, 1, 6000)  # those of fill are told by nobody
    gate.kill()
    again = scene.gate(*few)
    again.do("hub", f"{HUB4}/8", f"{HUB6}/48")
    assert (again.do("attach"), again.do("fence"), len(again.tenants())) == (0, 0, 3003)
    assert scene.fate(udp("10.1.0.1", "192.168.1.9")) == "routers"


def test_check_mends_what_somebody_changed_in_the_maps(scene, gate):
    hosts = f"{PINS}/hosts"
    key = "4 0 0 0 10 1 0 1 0 0 0 0 0 0 0 0 0 0 0 0".split()
    stray = "4 0 0 0 10 1 0 99 0 0 0 0 0 0 0 0 0 0 0 0".split()
    value = scene.run("bpftool", "-j", "map", "lookup", "pinned", hosts, "key", *key).stdout
    assert "value" in value
    scene.run("bpftool", "map", "update", "pinned", hosts, "key", *stray, "value", *"2 0 16 0 1 0 0 0".split())
    scene.run("bpftool", "map", "delete", "pinned", hosts, "key", *key)
    assert scene.fate(udp("10.1.0.1", HUB4)) == "nothing"
    assert gate.do("check") == 2
    assert gate.do("check") == 0
    assert scene.fate(udp("10.1.0.1", HUB4)) == "hub"
    assert scene.fate(udp("10.1.0.99", HUB4)) == "nothing"


def test_a_tenant_that_is_removed_is_unknown_at_once_and_stays_so(scene, gate):
    gate.do("forget", A)
    assert scene.fate(udp("10.1.0.1", HUB4)) == "nothing"
    other = "00000000-0000-7000-8000-0000000000ff"
    gate.do("tenant", other, "egress")
    assert scene.fate(udp("10.1.0.1", HUB4)) == "nothing"
    assert scene.fate(udp("192.168.1.9", "10.1.0.1")) == "nothing"
    assert gate.tenants()[other]["rx_packets"] == 0
    assert B in gate.tenants() and A not in gate.tenants()


def test_a_router_that_moves_takes_its_addresses_along(scene, gate):
    gate.do("peer", "1-1", B, "10.1.0.1", "192.168.50.0/24")
    assert scene.fate(udp("10.1.0.1", "10.2.0.1")) == "routers"
    assert scene.fate(udp("192.168.50.3", "10.2.0.1")) == "routers"
    assert scene.fate(udp("fd00::1:1", "fd00::1")) == "nothing"
    gate.do("unpeer", "1-1")
    assert scene.fate(udp("10.1.0.1", HUB4)) == "nothing"
    assert scene.fate(udp("192.168.50.3", HUB4)) == "nothing"


def test_an_address_given_to_another_is_not_taken_from_him(scene, gate):
    gate.do("peer", "2-9", B, "10.1.0.1")
    gate.do("unpeer", "1-1")
    assert scene.fate(udp("10.1.0.1", "10.2.0.1")) == "routers"


def test_a_new_hub_address_takes_the_place_of_the_old(scene, gate):
    assert gate.do("hub", "10.0.0.2/8") == 1
    scene.space.ip("addr", "add", "10.0.0.2/8", "dev", INTERFACE)
    assert scene.fate(udp("10.1.0.1", "10.0.0.1"), last="world") == "prohibited"
    assert scene.fate(udp("fd00::1:1", "fd00::1"), last="world") == "nothing"  # refused, by a hub that has no such address to answer from


def test_a_private_tenant_is_refused(gate):
    with pytest.raises(GateError) as caught:
        gate.do("tenant", A, "private")
    assert caught.value.errno == 95  # EOPNOTSUPP


def test_a_hundred_thousand_tenants_are_taken_up(scene, gate):
    gate.do("fill", 100_000)
    gate.kill()
    again = scene.gate()
    assert again.do("attach") == 0
    assert len(again.tenants()) == 100_003
    for source, target, fate in (("10.128.0.9", HUB4, "hub"), ("10.129.134.159", HUB4, "hub"), ("10.1.0.1", "10.1.0.2", "routers"),
                                 ("10.128.0.9", "10.128.0.10", "prohibited"), ("10.129.134.160", HUB4, "nothing")):
        assert scene.fate(udp(source, target)) == fate


def test_a_place_for_incoming_packets_alone_is_refused_and_left_as_it_is(scene):
    """Such a qdisc puts both programs into one place: the second takes the first one's, and nothing is judged on its way out."""
    scene.run("tc", "qdisc", "add", "dev", INTERFACE, "handle", "ffff:", "ingress")
    gate = scene.gate()
    furnish(gate)
    before = filters(scene)
    with pytest.raises(GateError, match="clsact") as caught:
        gate.do("attach")
    assert caught.value.errno == 16 and filters(scene) == before  # EBUSY
    scene.run("tc", "qdisc", "del", "dev", INTERFACE, "ingress")
    assert gate.do("attach") == 2
    assert scene.fate(udp("10.1.0.1", "10.2.0.1")) == "prohibited"
