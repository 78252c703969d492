"""LANs that the host of the gateway would suffer from: whatever a tenant's own token asks for, the hub's traffic to the database,
to name servers and to other routers stays out of his tunnel.

    sallyportd --- wg --- (the tenant's router, which never comes)
        |
        `--- uplink 198.51.100.1/24, default route by 198.51.100.2
"""
import pytest
from conftest import TCP, TestGateway, wait_until


@pytest.fixture(scope="module")
def gateway():
    gateway = TestGateway({"api": {"listen": TCP}})
    space = gateway.namespace
    try:
        space.ip("link", "add", "uplink", "type", "veth", "peer", "name", "world")
        space.ip("link", "set", "world", "up")
        space.ip("link", "set", "uplink", "up")
        space.ip("address", "add", "198.51.100.1/24", "dev", "uplink")
        space.ip("route", "add", "default", "via", "198.51.100.2")
        yield gateway.start()
    finally:
        gateway.close()


@pytest.fixture(scope="module")
def tenants_token(gateway):
    tenant = gateway.api.post("/tenants", {"name": "lans", "addressing": "unique"})
    token = gateway.api.post("/tokens", {"name": "lans", "scope": "tenant-write", "tenant_id": tenant["id"]})
    return tenant, gateway.tcp(token["token"])


@pytest.mark.parametrize("lan", ["2000::/3", "198.51.100.0/24", "1.1.1.1/32", "96.0.0.0/4", "203.0.113.0/24", "8.0.0.0/7"])
def test_a_tenant_places_lans_only_where_the_operator_lets_him(tenants_token, lan):
    tenant, api = tenants_token
    problem = api.refused(422, "lan-not-allowed", "POST", f"/tenants/{tenant['id']}/routers", {"name": "evil", "lans": [lan]})
    assert problem["field"] == "lans[0]"
    made = api.post(f"/tenants/{tenant['id']}/routers", {"name": "honest", "lans": ["192.168.77.0/24"]})
    api.refused(422, "lan-not-allowed", "PATCH", f"/routers/{made['id']}", {"lans": ["192.168.78.0/24", lan]})
    api.delete(f"/routers/{made['id']}")


@pytest.mark.parametrize("lan", ["198.51.100.0/24", "198.51.100.1/32", "198.51.100.2/32"])
def test_nobody_takes_what_the_host_stands_on(tenants_token, gateway, lan):
    tenant, _ = tenants_token
    gateway.api.refused(422, "lan-holds-gateway", "POST", f"/tenants/{tenant['id']}/routers", {"name": "r", "lans": [lan]})


def test_a_lan_is_routed_behind_all_but_the_default_route(tenants_token, gateway):
    tenant, _ = tenants_token
    api, uplink = gateway.api, gateway.namespace
    made = api.post(f"/tenants/{tenant['id']}/routers", {"name": "r", "lans": ["203.0.113.0/24"]})
    assert "uplink" not in uplink.ip("route", "get", "203.0.113.9")
    uplink.ip("route", "add", "203.0.112.0/20", "via", "198.51.100.2")
    assert "uplink" in uplink.ip("route", "get", "203.0.113.9")
    uplink.ip("route", "del", "203.0.112.0/20")
    api.delete(f"/routers/{made['id']}")
    assert "uplink" in uplink.ip("route", "get", "203.0.113.9")


def test_what_becomes_so_later_is_warned_of(make_gateway):
    gateway = make_gateway({"api": {"listen": TCP}})
    tenant = gateway.api.post("/tenants", {"name": "later", "addressing": "unique"})
    gateway.api.post(f"/tenants/{tenant['id']}/routers", {"name": "r", "lans": ["192.168.66.0/24"]})
    assert gateway.api.get("/status")["gateway"]["warning"] is None
    gateway.namespace.ip("address", "add", "192.168.66.7/32", "dev", "lo")
    warning = wait_until(lambda: gateway.api.get("/status")["gateway"]["warning"], 30)
    assert "192.168.66.0/24" in warning and "192.168.66.7" in warning


def test_flushed_routes_and_rules_come_back(make_gateway):
    gateway = make_gateway()
    space = gateway.namespace
    tenant = gateway.api.post("/tenants", {"name": "flushed", "addressing": "unique"})
    gateway.api.post(f"/tenants/{tenant['id']}/routers", {"name": "r", "lans": ["192.168.55.0/24"]})
    assert "192.168.55.0/24" in space.ip("route", "show", "table", "23057")
    space.ip("route", "flush", "table", "23057")
    space.ip("rule", "del", "priority", "23058")
    wait_until(lambda: "192.168.55.0/24" in space.ip("route", "show", "table", "all") and "23058:" in space.ip("rule"), 30)
