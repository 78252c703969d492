"""Somebody alters the data plane by hand: it is noticed and mended within seconds, and healthy sessions go on."""
import contextlib
import re

import pytest

from harness.client import key_pair
from plane import WORLD, wait_until


@contextlib.contextmanager
def undisturbed(plane, names):
    with plane.pings(names) as pings:
        yield
        assert pings.mark() == 0, pings.lost_by_address


def as_it_should_be(plane):
    wanted = {r.public_key: {f"{r.address}/32", f"{r.address6}/128"} | ({r.lan} if r.lan else set())
              for r in plane.routers.values()}
    return plane.peers() == wanted


def test_a_removed_peer_comes_back(plane):
    a1 = plane.routers["a1"]
    with undisturbed(plane, ["a2", "b1", "b2"]):
        plane.wg("set", plane.interface, "peer", a1.public_key, "remove")
        wait_until(lambda: as_it_should_be(plane))
        # the gateway knows where it was: no need to wait until the router notices
        assert plane.reaches_all(plane.hub, a1.addresses, 12)


def test_changed_allowed_ips_are_set_right(plane):
    a2 = plane.routers["a2"]
    with undisturbed(plane, ["a1", "b1", "b2"]):
        plane.wg("set", plane.interface, "peer", a2.public_key, "allowed-ips", "10.99.0.0/16")
        wait_until(lambda: as_it_should_be(plane))
        assert plane.reaches_all(plane.hub, a2.addresses)


@pytest.mark.parametrize("thief", ["a2", "b1"])
def test_a_stolen_address_is_given_back(plane, thief):
    """Allowed IPs move silently from peer to peer, also from one tenant's to another's."""
    a1, other = plane.routers["a1"], plane.routers[thief]
    kept = [f"{other.address}/32", f"{other.address6}/128"] + ([other.lan] if other.lan else [])
    plane.wg("set", plane.interface, "peer", other.public_key, "allowed-ips", ",".join([*kept, f"{a1.address}/32", a1.lan]))
    wait_until(lambda: as_it_should_be(plane))
    assert plane.reaches_all(plane.hub, [*a1.addresses, a1.lan_address, *other.addresses])


def test_a_foreign_peer_is_removed(plane):
    with undisturbed(plane, ["a1", "a2", "b1", "b2"]):
        plane.wg("set", plane.interface, "peer", key_pair()[1], "allowed-ips", "10.77.0.7/32")
        wait_until(lambda: as_it_should_be(plane))


def test_a_foreign_preshared_key_is_removed(plane):
    a1 = plane.routers["a1"]
    secret = plane.folder / "psk"
    secret.write_text(plane.wg("genpsk"), encoding="ascii")
    plane.wg("set", plane.interface, "peer", a1.public_key, "preshared-key", str(secret))
    wait_until(lambda: dict(line.split() for line in plane.wg("show", plane.interface, "preshared-keys").splitlines())
               [a1.public_key] == "(none)")


def test_port_and_key_are_set_right(plane):
    plane.wg("set", plane.interface, "listen-port", "51999")
    wait_until(lambda: plane.wg("show", plane.interface, "listen-port").strip() == "51820")
    plane.wg("set", plane.interface, "private-key", "/dev/stdin", input=key_pair()[0] + "\n")
    wait_until(lambda: plane.wg("show", plane.interface, "public-key").strip() == plane.public_key)
    for router in plane.routers.values():
        assert plane.reaches_all(plane.hub, router.addresses, 20), router.name


def test_a_removed_hub_address_comes_back(plane):
    plane.hub.ip("addr", "flush", "dev", plane.interface)
    wait_until(lambda: plane.hub_address in plane.hub.ip("addr", "show", "dev", plane.interface)
               and plane.hub_address6 in plane.hub.ip("addr", "show", "dev", plane.interface))
    for router in plane.routers.values():
        assert plane.reaches_all(plane.hub, router.addresses, 5), router.name
    assert plane.reaches_all(plane.hub, [plane.routers["a1"].lan_address], 5)


def test_an_interface_that_was_put_down_comes_up(plane):
    plane.hub.ip("link", "set", plane.interface, "down")
    for router in plane.routers.values():
        assert plane.reaches_all(plane.hub, router.addresses, 20), router.name


@pytest.mark.mixed
def test_a_deleted_interface_comes_back_with_all_it_had(plane):
    plane.hub.ip("link", "del", plane.interface)
    for router in plane.routers.values():
        assert plane.reaches_all(plane.hub, router.addresses, 25), router.name
    wait_until(lambda: as_it_should_be(plane))
    plane.wait_in_sync()
    a1, b1 = plane.routers["a1"], plane.routers["b1"]
    assert plane.reaches_none(a1.namespace, [*b1.addresses, WORLD])
    assert plane.reaches_all(a1.namespace, plane.routers["a2"].addresses)


def test_nothing_is_mended_when_nothing_is_wrong(plane):
    before = plane.wait_in_sync()["reconcile"]
    after = wait_until(lambda: (s := plane.gateway.status()["reconcile"])["last_at"] != before["last_at"] and s, 10)
    assert (after["mended"], after["state"]) == (before["mended"], "in-sync")


# --- what guards the kernel's interface ---


def guarded(plane):
    """Isolation is in force and everything allowed works."""
    a1, b1 = plane.routers["a1"], plane.routers["b1"]
    assert plane.reaches_all(a1.namespace, [plane.hub_address, *plane.routers["a2"].addresses], 8)
    assert plane.reaches_all(b1.namespace, [WORLD], 8)
    assert plane.reaches_none(a1.namespace, [*b1.addresses, WORLD])


def rules(plane):
    """Without what they have counted."""
    return re.sub(r"packets \d+ bytes \d+", "", plane.hub.run("nft", "list", "ruleset"))


@pytest.mark.only("kernel")
def test_flushed_nftables_come_back(plane):
    before = rules(plane)
    assert before.strip()
    with undisturbed(plane, ["a1", "a2", "b1", "b2"]):
        plane.hub.run("nft", "flush", "ruleset")
        wait_until(lambda: rules(plane) == before)
    guarded(plane)


@pytest.mark.only("kernel")
def test_a_foreign_nftables_table_is_left_alone(plane):
    plane.hub.run("nft", "-f", "-", input="table inet theirs {\n chain c { counter; }\n}\n")
    before = plane.hub.run("nft", "list", "table", "inet", "theirs")
    plane.hub.run("nft", "delete", "table", "inet", f"sallyport_{plane.interface}")
    wait_until(lambda: f"sallyport_{plane.interface}" in rules(plane))
    assert plane.hub.run("nft", "list", "table", "inet", "theirs") == before
    plane.hub.run("nft", "delete", "table", "inet", "theirs")


@pytest.mark.only("kernel")
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_detached_program_comes_back(plane, direction):
    plane.hub.run("tc", "filter", "del", "dev", plane.interface, direction)
    wait_until(lambda: "bpf" in plane.hub.run("tc", "filter", "show", "dev", plane.interface, direction))
    guarded(plane)


@pytest.mark.only("kernel")
def test_a_removed_qdisc_comes_back(plane):
    plane.hub.run("tc", "qdisc", "del", "dev", plane.interface, "clsact")
    wait_until(lambda: "bpf" in plane.hub.run("tc", "filter", "show", "dev", plane.interface, "egress"))
    guarded(plane)


@pytest.mark.only("kernel")
def test_nothing_is_forwarded_while_the_program_is_missing(plane):
    """Fail closed: sallyportd is away and somebody takes the program off."""
    plane.gateway.kill()
    try:
        plane.hub.run("tc", "qdisc", "del", "dev", plane.interface, "clsact")
        a1, outside = plane.routers["a1"], (plane.world, WORLD.replace(".2", ".1"))  # whom no tunnel carries
        assert plane.reaches_none(a1.namespace, [*plane.routers["b1"].addresses, *plane.routers["a2"].addresses,
                                                 plane.hub_address, plane.hub_address6], 1.0, control=outside)
        assert plane.reaches_none(plane.routers["b1"].namespace, [WORLD, WORLD.replace(".2", ".1")], 1.0, control=outside)
    finally:
        plane.gateway.start(timeout=30)
    guarded(plane)
