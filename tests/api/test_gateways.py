"""The gateways of this database, and which of them holds a router's session. Several of them: tests/fleet."""
import socket


def test_a_lone_gateway_lists_itself(gateway, api):
    listed = api.get("/gateways")["items"]
    assert [item["name"] for item in listed] == [api.get("/status")["gateway"]["name"]]
    me = listed[0]
    assert me["self"] and me["alive"] and me["backend"] == "engine" and me["endpoint"] == "vpn.example.com"
    assert me["version"] == api.get("/status")["version"] and me["clock_offset_ms"] == 0
    assert me["name"] == gateway.settings["gateway"].get("name", socket.gethostname())


def test_a_router_that_is_not_connected_is_at_no_gateway(api, make_tenant, make_router):
    made = make_router(make_tenant())
    assert (made["connected"], made["connected_since"], made["gateway"]) == (False, None, None)


def test_only_administrators_see_the_gateways(gateway, api, make_tenant):
    for scope in ("metrics", "tenant-read", "tenant-write"):
        body = {"name": scope, "scope": scope}
        if scope != "metrics":
            body["tenant_id"] = make_tenant()["id"]
        token = api.post("/tokens", body)["token"]
        status, _, _ = gateway.tcp(token).raw("GET", "/gateways")
        assert status == 403
