"""Tokens: what each scope may do on each route, and what it does not get to see."""
import datetime
import json
import time

import pytest
from conftest import wait_until
from contract import CONTRACT

NOBODY = "0190b6a4-3c1e-7d2f-8a5b-6c7d8e9f0a1b"
SCOPES = ("admin", "tenant-write", "tenant-read", "metrics")

# Who may use each operation at all; within a tenant's scope, on its own tenant.
MAY = {
    "getStatus": {"admin", "metrics"}, "getCounters": {"admin", "metrics"},
    "listEvents": {"admin", "tenant-write", "tenant-read"},
    "createTenant": {"admin"}, "createTenants": {"admin"}, "updateTenant": {"admin"}, "deleteTenant": {"admin"},
    "disableTenant": {"admin"}, "enableTenant": {"admin"},
    "adoptServer": {"admin"}, "exportRouters": {"admin"},
    "listGateways": {"admin"}, "listAudit": {"admin"},
    "createToken": {"admin"}, "listTokens": {"admin"}, "revokeToken": {"admin"},
    **dict.fromkeys(("listTenants", "getTenant", "listRoutersOfTenant", "listRouters", "getRouter", "getRouterConfig"),
                    {"admin", "tenant-write", "tenant-read"}),
    **dict.fromkeys(("createRouter", "createRoutersOfTenant", "createRouters", "updateRouter", "deleteRouter",
                     "disableRouter", "enableRouter", "rotateRouter"), {"admin", "tenant-write"}),
}
OPEN = {"getHealth", "getOpenapi"}


def operations():
    for path, item in CONTRACT.document["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and "operationId" in operation:
                yield operation["operationId"], method.upper(), path


@pytest.fixture(scope="module")
def world(shared_gateway):
    """Two tenants with a router each, and a token of each scope; the tenant scopes for the first."""
    api = shared_gateway.api
    made = api.post("/tenants/bulk", {"tenants": [
        {"name": f"tokens {n}", "addressing": "private", "routers": [{"name": "r", "preshared_key": "generate"}]}
        for n in range(2)]})["items"]
    ours, theirs = ((item["tenant"]["id"], item["routers"][0]["id"]) for item in made)
    tokens = {}
    for scope in SCOPES:
        tenant = {"tenant_id": ours[0]} if scope.startswith("tenant") else {}
        tokens[scope] = api.post("/tokens", {"name": f"test {scope}", "scope": scope, **tenant})
    yield {"ours": ours, "theirs": theirs, "tokens": tokens}
    for token in tokens.values():
        api.raw("DELETE", f"/tokens/{token['id']}")
    for tenant_id, _ in (ours, theirs):
        api.raw("DELETE", f"/tenants/{tenant_id}")


def body_for(operation, tenant_id):
    return {"createTenant": {"name": "by token"}, "createTenants": {"tenants": [{"name": "by token"}]},
            "updateTenant": {}, "updateRouter": {}, "rotateRouter": {},
            "createRouter": {"name": "by token"}, "createRoutersOfTenant": {"routers": [{"name": "by token"}]},
            "createRouters": {"routers": [{"name": "by token", "tenant_id": tenant_id}]},
            "adoptServer": {"tenant": {"name": "by token"}, "peers": []},
            "createToken": {"name": "by token", "scope": "metrics"}}.get(operation)


def call(client, operation, method, path, tenant_id, router_id):
    target = path.removeprefix("/v1").format(tenant_id=tenant_id, router_id=router_id, token_id=NOBODY)
    body = body_for(operation, tenant_id)
    return client.raw(method, target, json.dumps(body).encode() if body is not None else None)


def test_the_matrix_names_every_operation():
    assert {operation for operation, _, _ in operations()} == set(MAY) | OPEN


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("operation, method, path", [row for row in operations() if row[0] in MAY],
                         ids=[row[0] for row in operations() if row[0] in MAY])
def test_each_route_for_each_scope(gateway, world, scope, operation, method, path):
    client = gateway.client(world["tokens"][scope]["token"])
    # on tenants and routers of its own for what removes them
    tenant_id, router_id = world["ours"]
    if scope in MAY[operation] and operation in ("deleteTenant", "deleteRouter"):
        made = gateway.api.post("/tenants/bulk", {"tenants": [{"name": "victim", "routers": [{"name": "r"}]}]})["items"][0]
        tenant_id, router_id = made["tenant"]["id"], made["routers"][0]["id"]
        if scope == "tenant-write":
            router_id = gateway.api.post(f"/tenants/{world['ours'][0]}/routers", {"name": "victim"})["id"]
    status, _, content = call(client, operation, method, path, tenant_id, router_id)
    if scope not in MAY[operation]:
        assert status == 403, content
    elif operation == "revokeToken":
        assert status == 404
    else:
        assert 200 <= status < 300, content


@pytest.mark.parametrize("scope", ["tenant-write", "tenant-read"])
@pytest.mark.parametrize("operation, method, path", [row for row in operations() if "{tenant_id}" in row[2] or "{router_id}" in row[2]],
                         ids=[row[0] for row in operations() if "{tenant_id}" in row[2] or "{router_id}" in row[2]])
def test_another_tenants_things_do_not_exist(gateway, world, scope, operation, method, path):
    client = gateway.client(world["tokens"][scope]["token"])
    before = gateway.api.get(f"/tenants/{world['theirs'][0]}"), gateway.api.get(f"/routers/{world['theirs'][1]}")
    status, _, content = call(client, operation, method, path, *world["theirs"])
    if scope in MAY[operation]:
        # and it is told in the same words as of what nobody has
        nowhere = call(client, operation, method, path, NOBODY, NOBODY)
        assert (status, content) == (404, nowhere[2])
    else:
        assert status == 403
    assert before == (gateway.api.get(f"/tenants/{world['theirs'][0]}"), gateway.api.get(f"/routers/{world['theirs'][1]}"))


def test_lists_show_a_tenant_only_itself(gateway, world):
    client = gateway.client(world["tokens"]["tenant-read"]["token"])
    tenant_id, _ = world["ours"]
    assert [tenant["id"] for tenant in client.get("/tenants")["items"]] == [tenant_id]
    assert client.get("/tenants", name="tokens 1")["items"] == []
    assert {router["tenant_id"] for router in client.get("/routers")["items"]} == {tenant_id}
    theirs = gateway.api.get(f"/routers/{world['theirs'][1]}")
    assert client.get("/routers", public_key=theirs["public_key"])["items"] == []
    assert client.get("/routers", address=theirs["hub_address"])["items"] == []
    events = client.get("/events", limit=1000)["items"]
    assert {event["tenant_id"] for event in events} <= {tenant_id}


def test_bulk_items_of_another_tenant_are_not_found(gateway, world, name):
    client = gateway.client(world["tokens"]["tenant-write"]["token"])
    made = client.post("/routers/bulk", {"routers": [{"tenant_id": world["theirs"][0], "name": name()},
                                                     {"tenant_id": world["ours"][0], "name": name()}]})
    assert [item["status"] for item in made["items"]] == [404, 201]


def test_a_collision_with_another_tenant_tells_nothing_of_it(gateway, world, name):
    client = gateway.client(world["tokens"]["tenant-write"]["token"])
    theirs = gateway.api.get(f"/routers/{world['theirs'][1]}")
    problem = client.refused(409, None, "POST", f"/tenants/{world['ours'][0]}/routers",
                             {"name": name(), "public_key": theirs["public_key"]}, field="public_key")
    for secret in (theirs["id"], theirs["tenant_id"], theirs["hub_address"]):
        assert secret not in str(problem)


def test_the_preshared_key_is_for_those_who_may_change_the_router(gateway, world):
    path = f"/routers/{world['ours'][1]}/config"
    for scope, shown in (("admin", True), ("tenant-write", True), ("tenant-read", False)):
        assert ("\nPresharedKey = " in gateway.client(world["tokens"][scope]["token"]).get(path)) == shown


def test_a_token_is_shown_once_and_listed_without_its_text(gateway, api, name):
    status, headers, made = api.with_headers("POST", "/tokens", {"name": name(), "scope": "metrics"})
    assert status == 201 and headers["Cache-Control"] == "no-store"
    assert headers["Location"] == f"/v1/tokens/{made['id']}"
    assert made["last_used_at"] is None and made["expires_at"] is None
    gateway.client(made["token"]).get("/status")

    def listed():
        return {token["id"]: token for token in api.get("/tokens")["items"]}[made["id"]]

    assert listed()["name"] == made["name"] and "token" not in listed()
    wait_until(lambda: listed()["last_used_at"])
    assert made["token"].encode() not in b"".join(path.read_bytes() for path in gateway.folder.glob("sallyport.db*"))
    api.delete(f"/tokens/{made['id']}")


def test_revoked_and_expired_tokens_are_nobody(gateway, api, name):
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    revoked = api.post("/tokens", {"name": name(), "scope": "admin"})
    expiring = api.post("/tokens", {"name": name(), "scope": "admin", "expires_at": soon})
    for token in (revoked, expiring):
        assert gateway.client(token["token"]).get("/status")
    api.delete(f"/tokens/{revoked['id']}")
    api.refused(404, None, "DELETE", f"/tokens/{revoked['id']}")
    gateway.client(revoked["token"]).refused(401, "invalid-token", "GET", "/status")
    time.sleep(2.1)
    gateway.client(expiring["token"]).refused(401, "invalid-token", "GET", "/status")
    api.delete(f"/tokens/{expiring['id']}")


@pytest.mark.parametrize("fields, field", [
    ({"scope": "root"}, "scope"), ({"scope": "tenant-read"}, "tenant_id"),
    ({"scope": "admin", "tenant_id": NOBODY}, "tenant_id"), ({"scope": "metrics", "expires_at": "tomorrow"}, "expires_at"),
    ({"scope": "metrics", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"), ({"scope": "metrics", "name": "a\nb"}, "name")])
def test_token_fields(api, fields, field):
    api.refused(422, None, "POST", "/tokens", {"name": "x", **fields}, field=field)


def test_a_token_for_no_tenant_is_not_made(api):
    api.refused(404, None, "POST", "/tokens", {"name": "x", "scope": "tenant-read", "tenant_id": NOBODY})


def test_a_deleted_tenants_token_sees_nothing(gateway, api, name):
    tenant = api.post("/tenants", {"name": name()})
    token = api.post("/tokens", {"name": name(), "scope": "tenant-write", "tenant_id": tenant["id"]})
    client = gateway.client(token["token"])
    assert client.get("/tenants")["items"]
    api.delete(f"/tenants/{tenant['id']}")
    status, _, content = client.raw("GET", "/tenants")
    assert status == 401 or json.loads(content)["items"] == []


def test_tcp_wants_a_token(gateway, world):
    anybody = gateway.tcp()
    for path in ("/tenants", "/status", "/events", "/tokens", "/routers"):
        anybody.refused(401, "unauthorized", "GET", path)
    anybody.refused(401, "unauthorized", "POST", "/tenants", {"name": "x"})
    assert anybody.get("/health")["status"] == "ok"
    assert anybody.get("/openapi.json")["openapi"] == "3.1.0"
    assert gateway.tcp(world["tokens"]["admin"]["token"]).get("/tenants")
    for wrong in ("sp_" + "A" * 43, "sp_", "x", world["tokens"]["admin"]["token"] + "A", world["tokens"]["admin"]["token"][:-1]):
        gateway.tcp(wrong).refused(401, "invalid-token", "GET", "/tenants")
    gateway.tcp().refused(401, "invalid-token", "GET", "/tenants", headers={"Authorization": "Basic cm9vdDo="})


def test_what_is_refused_before_the_caller_is_known_tells_nothing(gateway):
    # no difference between what is there and what is not
    anybody = gateway.tcp()
    anybody.refused(401, "unauthorized", "GET", f"/tenants/{NOBODY}")
    anybody.refused(401, "unauthorized", "POST", "/tenants", b"{broken")
