"""RouterOS's script, run by an interpreter of its language over a model of a router (routeros.py)."""
import copy
import itertools

import pytest

from routeros import Broken, Parser, MENUS, Router, Time, Wrong

OWN = {"comment": "sallyport"}


@pytest.fixture
def scripts(gateway, tenant, script):
    """What one router is given over time: made, after a change of LANs, with new keys, with IPv4 alone."""
    api = gateway.api
    path = f"/tenants/{tenant['id']}/routers"
    old = api.post(path, {"name": "old", "lans": ["192.168.70.0/24"]})
    made = api.post(f"{path}?format=routeros", {"name": 'Caf\u00e9 "$(x)" \\ [y] ?', "preshared_key": "generate"})
    api.call("PATCH", f"/routers/{old['id']}", {"lans": ["192.168.77.0/24"]})
    lans = script(made, "routeros")
    ipv4 = script(made, "routeros", "&family=ipv4")
    api.call("PATCH", f"/routers/{old['id']}", {"lans": ["192.168.70.0/24", "192.168.71.0/24"]})
    merged = script(made, "routeros")
    rotated = api.post(f"/routers/{made['id']}/rotate?format=routeros", {"preshared_key": "generate"})
    return {"made": made, "first": made["config"], "lans": lans, "ipv4": ipv4, "merged": merged, "rotated": rotated["config"],
            "gateway": api.get("/status")["gateway"], "new key": rotated["private_key"]}


def own(router, menu):
    return [item for item in router.tree[menu].values() if item.get("comment") == "sallyport"]


def pasted(router, text):
    errors = router.paste(text)
    assert errors == []
    return router


def fresh(scripts, **options):
    """A router in use, with things of its owner's that look much like ours, set up by the first script."""
    router = Router(**options)
    router.tree["/interface/wireguard"]["*F0"] = {"name": "wg-office", "private-key": scripts["made"]["private_key"][::-1]}
    router.tree["/ip/address"]["*F1"] = {"interface": "wg-office", "address": "192.0.2.1/24"}
    router.tree["/ip/route"]["*F2"] = {"dst-address": "192.168.70.0/24", "gateway": "wg-office"}
    router.names["vpn.example.com"] = "198.51.100.1"
    return pasted(router, scripts["first"])


def assert_reachable(router, scripts):
    """Through the tunnel, by the hub: key, peer, address and the hub's route."""
    (link,), (peer,), (address,) = (own(router, menu) for menu in ("/interface/wireguard", "/interface/wireguard/peers", "/ip/address"))
    hub = f"{scripts['gateway']['hub_address']}/32"
    assert link["private-key"] and peer["public-key"] == scripts["gateway"]["public_key"] and peer["interface"] == link["name"]
    assert peer["endpoint-address"] == "vpn.example.com" and hub in peer["allowed-address"].split(",") and not peer.get("disabled")
    assert address == {"interface": link["name"], "address": f"{scripts['made']['address']}/32", **OWN}
    assert any(route["dst-address"] == hub and route["gateway"] == link["name"] for route in own(router, "/ip/route"))


@pytest.mark.parametrize("version", ["7.1 (stable)", "7.12.1 (long-term)", "7.13.2 (stable)", "7.20 (stable)", "10.1 (stable)"])
def test_a_router_is_set_up_and_again_changes_nothing(scripts, version):
    router = fresh(scripts, version=version)
    assert_reachable(router, scripts)
    assert own(router, "/interface/wireguard")[0]["private-key"] == scripts["made"]["private_key"]
    assert own(router, "/ipv6/address")[0]["address"] == f"{scripts['made']['address6']}/128"
    assert any("Caf\u00c3\u00a9 \"$(x)\" \\ [y] ?" in said and "it's {Acme}; $x" in said for said in router.said)
    before = router.plain()
    assert pasted(router, scripts["first"]).plain() == before


def test_a_change_of_lans_comes_and_goes_and_nothing_else_is_touched(scripts):
    router = fresh(scripts)
    private = own(router, "/interface/wireguard")[0]["private-key"]
    pasted(router, scripts["lans"])
    routes = {route["dst-address"] for route in own(router, "/ip/route")}
    assert "192.168.77.0/24" in routes and "192.168.70.0/24" not in routes
    assert "192.168.77.0/24" in own(router, "/interface/wireguard/peers")[0]["allowed-address"]
    assert own(router, "/interface/wireguard")[0]["private-key"] == private
    assert router.tree["/ip/route"]["*F2"] == {"dst-address": "192.168.70.0/24", "gateway": "wg-office"}
    pasted(router, scripts["rotated"])
    assert own(router, "/interface/wireguard")[0]["private-key"] == scripts["new key"]


def test_a_network_has_a_route_at_every_moment(scripts):
    """Also where its own one is replaced by that of the neighbours together."""
    base = fresh(scripts)
    for changes in itertools.count():
        router = copy.deepcopy(base)
        router.changes_left = changes
        try:
            router.paste(scripts["merged"])
            break
        except Broken:
            assert {"192.168.70.0/24", "192.168.70.0/23"} & {route["dst-address"] for route in own(router, "/ip/route")}
    assert {"192.168.70.0/23"} == {"192.168.70.0/24", "192.168.70.0/23"} & {route["dst-address"] for route in own(router, "/ip/route")}


@pytest.mark.parametrize("then", ["lans", "rotated", "ipv4", "first"])
def test_a_run_that_breaks_off_anywhere_leaves_the_router_reachable(scripts, then):
    """And the next run makes it whole."""
    whole = pasted(fresh(scripts), scripts[then]).plain()
    base = fresh(scripts)
    for changes in itertools.count():
        router = copy.deepcopy(base)
        router.changes_left = changes
        try:
            router.paste(scripts[then])
            break
        except Broken:
            assert_reachable(router, scripts)
            assert own(router, "/ip/route"), "no moment without routes"
            router.changes_left = None
            assert pasted(router, scripts[then]).plain() == whole
    assert changes > 5


def test_a_first_run_that_breaks_off_is_made_whole_by_the_next(scripts):
    whole = pasted(Router(), scripts["first"]).plain()
    for changes in itertools.count():
        router = Router()
        router.changes_left = changes
        try:
            router.paste(scripts["first"])
            break
        except Broken:
            router.changes_left = None
            assert pasted(router, scripts["first"]).plain() == whole
    assert changes > 5


def test_without_ipv6_all_the_rest_is_there(scripts):
    router = fresh(scripts, ipv6=False)
    assert_reachable(router, scripts)
    assert own(router, "/system/scheduler") and any("--family ipv4" in said for said in router.said)


def test_one_family_alone_takes_the_other_away(scripts):
    router = pasted(fresh(scripts), scripts["ipv4"])
    assert_reachable(router, scripts)
    assert not own(router, "/ipv6/address") and not own(router, "/ipv6/route")
    assert ":" not in own(router, "/interface/wireguard/peers")[0]["allowed-address"]
    assert not [said for said in pasted(Router(ipv6=False), scripts["ipv4"]).said if "IPv6" in said]


def test_routeros_6_is_told_and_nothing_is_changed(scripts):
    router = Router(version="6.49.10 (long-term)")
    before = router.plain()
    errors = router.paste(scripts["first"])
    assert "RouterOS 7" in errors[0] and router.plain() == before


def test_a_gateway_that_moved_is_looked_up_after_minutes_of_silence(scripts):
    router = fresh(scripts)
    event = own(router, "/system/scheduler")[0]["on-event"]
    peer = own(router, "/interface/wireguard/peers")[0]
    for seen, used, acts in ((Time(30), "198.51.100.9", False), (Time(300), "198.51.100.1", False), (Time(300), "198.51.100.9", True),
                             (None, "", True)):
        peer.update({"last-handshake": seen, "current-endpoint-address": used})
        changes = router.changes
        pasted(router, "{\n" + event + "}\n")
        assert (router.changes - changes == 2) is acts and not own(router, "/interface/wireguard/peers")[0].get("disabled")
        peer = own(router, "/interface/wireguard/peers")[0]


@pytest.mark.parametrize("wrong", [
    ':put "a', ':put "\\q"', ':put "\\3f"', ':put "$"', ':put "?"', "/ip/address/add colour=1", "/ip/addresses/add address=1", "{ :put 1",
    ':put caf\u00e9', "ip/address/add", ":if (1 = 1) do={ :put 1", "/ip/address/find where colour=1", "[:len 1]",
])
def test_the_interpreter_refuses_what_routeros_would(wrong):
    with pytest.raises(Wrong):
        Parser(wrong + "\n", MENUS).statement()


def test_the_interpreter_knows_scopes_and_errors():
    router = Router()
    assert router.paste(':local x 1') == [] and router.paste(":put $x") != []
    assert router.paste(':do { :error "no" } on-error={ :put "caught" }') == [] and router.said == ["caught"]
    assert router.paste('{ :local a 1\n{ :local a 2 }\n{ :set a 3 }\n:put ("a" . $a) }') == [] and router.said[-1] == "a3"
    assert router.paste(":if (1) do={ :put 1 }") != [] and router.paste(":nothing") != []
