"""Which backend is taken, and what keeps it from starting: said in words, nothing left half done, mended once it can be."""
import socket

import pytest

from harness.api import ApiError
from harness.client import key_pair
from plane import WORLD, wait_until


def trouble(plane):
    """Waits until the data plane is in trouble; its words."""
    return wait_until(lambda: (s := plane.gateway.status()["reconcile"])["state"] == "failed" and s["trouble"], 15)


def start_in_trouble(plane):
    plane.gateway.start(wait=False)
    wait_until(plane.gateway.socket.exists, 15)
    return trouble(plane)


def test_a_busy_port_is_named_and_taken_once_it_is_free(make_plane):
    plane = make_plane()
    with plane.hub.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("0.0.0.0", 51820))
        assert "51820" in start_in_trouble(plane)
        made = plane.api.post("/tenants", {"name": "patient"})
        router = plane.api.post(f"/tenants/{made['id']}/routers", {"name": "r"})
        assert plane.api.get(f"/routers/{router['id']}")["status"] == "pending"
        with pytest.raises(ApiError) as refused:
            plane.api.get("/health")
        assert refused.value.status == 503
    plane.wait_in_sync(20)
    assert plane.api.get("/health")["status"] == "ok"
    assert router["public_key"] in plane.peers()


def test_the_tunnels_own_packets_carry_the_configured_mark(make_plane):
    def fwmark():
        return plane.wg("show", plane.interface, "fwmark").strip()

    plane = make_plane({"gateway": {"fwmark": "0x51"}}).start()
    assert fwmark() == "0x51"
    # a policy rule sends what carries the mark nowhere: what the tunnel sends is such a packet
    plane.add_tenant("marked")
    router = plane.join("marked", "m")
    plane.settle(router)
    plane.hub.ip("rule", "add", "fwmark", "0x51", "blackhole")
    assert plane.reaches_none(plane.hub, [router.address], 1.0, control=(plane.hub, WORLD))
    plane.hub.ip("rule", "del", "fwmark", "0x51", "blackhole")
    plane.wg("set", plane.interface, "fwmark", "0x99")
    wait_until(lambda: fwmark() == "0x51")
    # without the key it is the operator's
    plane.gateway.end()
    del plane.gateway.settings["gateway"]["fwmark"]
    plane.wg("set", plane.interface, "fwmark", "0x99")
    plane.start().wait_in_sync()
    assert fwmark() == "0x99"


def test_auto_takes_the_kernel_where_it_can(make_plane, backend):
    plane = make_plane(kind="auto")
    plane.start()
    said = plane.gateway.status()["backend"]
    assert said["name"] == backend and said["why"]


@pytest.mark.only("kernel")
def test_auto_takes_the_engine_when_a_tenant_is_private(make_plane):
    plane = make_plane(kind="engine")
    plane.start()
    plane.api.post("/tenants", {"name": "own space", "addressing": "private"})
    plane.gateway.end()
    plane.gateway.end_engine()
    plane.gateway.settings["backend"]["kind"] = "auto"
    plane.start()
    said = plane.gateway.status()["backend"]
    assert said["name"] == "engine" and "private" in said["why"]


@pytest.mark.only("kernel")
def test_a_private_tenant_is_refused_with_the_way_out(plane):
    with pytest.raises(ApiError) as refused:
        plane.api.post("/tenants", {"name": "own space", "addressing": "private"})
    assert 400 <= refused.value.status < 500
    assert refused.value.problem["field"] == "addressing"
    assert "engine" in refused.value.problem["detail"]
    assert not list(plane.api.all("/tenants", name="own space"))
    # one of many: the others are made
    said = plane.api.post("/tenants/bulk", {"tenants": [{"name": "bulk unique"},
                                                        {"name": "bulk private", "addressing": "private"}]})
    assert (said["created"], said["failed"]) == (1, 1)
    plane.api.delete(f"/tenants/{said['items'][0]['tenant']['id']}")


@pytest.mark.only("kernel")
def test_a_foreign_interface_is_left_alone_until_it_is_gone(make_plane):
    """Somebody's own WireGuard interface of that name, with a peer."""
    plane = make_plane()
    private, public = key_pair()
    name = plane.interface
    plane.hub.ip("link", "add", name, "type", "wireguard")
    plane.hub.ip("addr", "add", "10.55.0.1/24", "dev", name)
    plane.hub.run("wg", "set", name, "listen-port", "51999", "private-key", "/dev/stdin", "peer", public, "allowed-ips",
                  "10.55.0.2/32", input=private + "\n")
    plane.hub.ip("link", "set", name, "up")
    before = plane.wg("showconf", name), plane.hub.ip("addr", "show", "dev", name)
    said = start_in_trouble(plane)
    assert name in said and "import" in said
    assert before == (plane.wg("showconf", name), plane.hub.ip("addr", "show", "dev", name))
    assert not plane.hub.run("tc", "filter", "show", "dev", name, "ingress", check=False).strip()
    plane.hub.ip("link", "del", name)
    plane.wait_in_sync(20)


@pytest.mark.only("kernel")
def test_a_foreign_nftables_table_of_our_name_is_left_alone(make_plane):
    plane = make_plane()
    table = f"sallyport_{plane.interface}"
    plane.hub.run("nft", "-f", "-", input=f"table inet {table} {{\n chain theirs {{ counter; }}\n}}\n")
    before = plane.hub.run("nft", "list", "ruleset")
    assert table in start_in_trouble(plane)
    assert plane.hub.run("nft", "list", "ruleset") == before
    plane.hub.run("nft", "delete", "table", "inet", table)
    plane.wait_in_sync(20)
