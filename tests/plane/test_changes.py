"""What the API answered is in force, and nobody else notices."""
import pytest

from harness.client import Client, key_pair
from harness.load import public_key
from plane import wait_until


@pytest.fixture
def others(plane):
    """Everybody who was there loses no packet meanwhile."""
    with plane.pings(["a1", "b1"]) as pings:
        yield
        assert pings.mark() == 0, pings.lost_by_address


@pytest.fixture(scope="module")
def guests(plane):
    """A tenant of two routers for these tests to be rough with."""
    plane.add_tenant("cedar")
    for name in ("c1", "c2"):
        plane.settle(plane.join("cedar", name))
    yield [plane.routers["c1"], plane.routers["c2"]]
    for name in ("c1", "c2"):
        router = plane.routers.pop(name)
        router.client.close()
        plane.api.raw("DELETE", f"/routers/{router.id}")
    plane.api.raw("DELETE", f"/tenants/{plane.tenants.pop('cedar')}")


def test_a_router_is_disabled_and_enabled(plane, guests, others):
    c1, c2 = guests
    plane.api.post(f"/routers/{c1.id}/disable")
    assert plane.reaches_none(c1.namespace, [plane.hub_address, plane.hub_address6, c2.address])
    assert plane.reaches_none(plane.hub, c1.addresses)
    assert plane.reaches_all(c2.namespace, [plane.hub_address])
    plane.api.post(f"/routers/{c1.id}/enable")
    assert plane.reaches_all(plane.hub, c1.addresses, 12)
    assert plane.reaches_all(c1.namespace, [plane.hub_address, c2.address], 12)


def test_a_tenant_is_disabled_and_enabled(plane, guests, others):
    plane.api.post(f"/tenants/{plane.tenants['cedar']}/disable")
    for router in guests:
        assert plane.reaches_none(router.namespace, [plane.hub_address, plane.hub_address6])
    assert plane.reaches_none(guests[0].namespace, guests[1].addresses, control=(plane.routers["a1"].namespace, plane.hub_address))
    assert plane.reaches_none(plane.hub, [*guests[0].addresses, *guests[1].addresses])
    plane.api.post(f"/tenants/{plane.tenants['cedar']}/enable")
    for router in guests:
        assert plane.reaches_all(plane.hub, router.addresses, 12)
    assert plane.reaches_all(guests[0].namespace, guests[1].addresses, 12)


def test_lans_come_and_go(plane, guests, others):
    c1, c2 = guests
    c1.namespace.ip("addr", "add", "192.168.7.1/32", "dev", "lo")
    assert plane.reaches_none(plane.hub, ["192.168.7.1"])
    plane.api.patch(f"/routers/{c1.id}", {"lans": ["192.168.7.0/24"]})
    assert plane.reaches_all(plane.hub, ["192.168.7.1"]) and plane.reaches_all(c2.namespace, ["192.168.7.1"])
    assert plane.reaches_none(plane.routers["a1"].namespace, ["192.168.7.1"])
    plane.api.patch(f"/routers/{c1.id}", {"lans": []})
    assert plane.reaches_none(plane.hub, ["192.168.7.1"]) and plane.reaches_none(c2.namespace, ["192.168.7.1"])
    assert plane.reaches_all(plane.hub, c1.addresses)


def test_a_lan_moves_from_one_tenant_to_another(plane, guests, others):
    """The address changes hands; from then on it is judged as the other's."""
    c1, a2 = guests[0], plane.routers["a2"]
    for router in (c1, a2):
        router.namespace.ip("addr", "add", "192.168.8.1/32", "dev", "lo")
    plane.api.patch(f"/routers/{c1.id}", {"lans": ["192.168.8.0/24"]})
    assert plane.reaches_all(guests[1].namespace, ["192.168.8.1"])
    plane.api.patch(f"/routers/{c1.id}", {"lans": []})
    plane.api.patch(f"/routers/{a2.id}", {"lans": ["192.168.8.0/24"]})
    try:
        assert plane.reaches_all(plane.routers["a1"].namespace, ["192.168.8.1"])
        assert plane.reaches_none(guests[1].namespace, ["192.168.8.1"])
    finally:
        plane.api.patch(f"/routers/{a2.id}", {"lans": []})
        a2.namespace.ip("addr", "del", "192.168.8.1/32", "dev", "lo")


def test_a_rotated_key_replaces_the_old_one(plane, guests, others):
    c1 = guests[0]
    private, public = key_pair()
    made = plane.api.post(f"/routers/{c1.id}/rotate", {"public_key": public})
    assert plane.reaches_none(c1.namespace, [plane.hub_address])
    assert c1.public_key not in plane.peers() and public in plane.peers()
    c1.client.close()
    c1.client = Client(c1.namespace, made["config"], private_key=private).up()
    assert plane.reaches_all(c1.namespace, [plane.hub_address, plane.hub_address6], 12)


def test_a_preshared_key_counts(plane, guests, others):
    c1 = guests[0]
    private, public = key_pair()
    made = plane.api.post(f"/routers/{c1.id}/rotate", {"public_key": public, "preshared_key": "generate"})
    c1.client.close()
    without = "\n".join(line for line in made["config"].splitlines() if not line.startswith("PresharedKey"))
    c1.client = Client(c1.namespace, without, private_key=private).up()
    assert plane.reaches_none(c1.namespace, [plane.hub_address], 2.0)
    c1.client.close()
    c1.client = Client(c1.namespace, made["config"], private_key=private).up()
    assert plane.reaches_all(c1.namespace, [plane.hub_address], 12)


def test_a_removed_router_is_gone_and_its_address_is_anothers(plane, others):
    plane.add_tenant("doomed")
    first = plane.join("doomed", "d1")
    plane.settle(first)
    plane.api.delete(f"/routers/{first.id}")
    assert plane.reaches_none(first.namespace, [plane.hub_address]) and plane.reaches_none(plane.hub, first.addresses)
    assert first.public_key not in plane.peers()
    made = plane.api.post(f"/tenants/{plane.tenants['birch']}/routers", {"name": "heir"})
    assert plane.reaches_none(plane.hub, first.addresses)
    plane.api.delete(f"/routers/{made['id']}")
    del plane.routers["d1"]
    first.client.close()


def test_a_removed_tenant_is_gone_with_its_routers(plane, others):
    plane.add_tenant("leaving")
    router = plane.join("leaving", "e1")
    plane.settle(router)
    plane.api.delete(f"/tenants/{plane.tenants.pop('leaving')}")
    assert plane.reaches_none(router.namespace, [plane.hub_address]) and plane.reaches_none(plane.hub, router.addresses)
    assert router.public_key not in plane.peers()
    del plane.routers["e1"]
    router.client.close()


def test_many_come_and_go_at_once_beside_the_living(plane, others):
    made = plane.api.post("/tenants/bulk?return=minimal", {"tenants": [
        {"name": f"crowd {n}", "routers": [{"name": f"r{r}", "public_key": public_key()} for r in range(2)]}
        for n in range(20)]})
    assert made["created"] == 20
    assert len(plane.peers()) == 40 + len(plane.routers)
    for item in made["items"]:
        plane.api.delete(f"/tenants/{item['id']}")
    assert len(plane.peers()) == len(plane.routers)
    wait_until(lambda: plane.peer_count() == len(plane.routers), 15)
