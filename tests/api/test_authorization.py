"""Who may do what, as one table: each operation of the document for each kind of caller against its own, a foreign and a missing
object. The code is asserted to the number, and that no answer but those that make keys holds a private one.

The world: two tenants with a router each; tokens of each scope (the tenant scopes are the first tenant's), one that was revoked,
nobody, and root on the Unix socket. An operation without a row in test_tokens.MAY fails there and here."""
import json

import pytest
from test_tokens import MAY, NOBODY, OPEN, body_for, operations

CALLERS = ("socket", "admin", "tenant-write", "tenant-read", "metrics", "none", "revoked")
OBJECTS = ("own", "foreign", "missing")
ROWS = list(operations())
MAKES_KEYS = {"createRouter", "createRouters", "createRoutersOfTenant", "rotateRouter", "createTenants"}
SUCCESS = {"createTenant": 201, "createRouter": 201, "createToken": 201, "deleteTenant": 204, "deleteRouter": 204}


@pytest.fixture(scope="module")
def world(shared_gateway):
    """Made anew for each operation, since some remove what they are about."""
    api = shared_gateway.api
    tokens = {}

    class World:
        def __init__(self):
            made = api.post("/tenants/bulk", {"tenants": [
                {"name": f"authorization {n}", "addressing": "private", "routers": [{"name": "r"}]} for n in range(2)]})["items"]
            self.objects = {"own": (made[0]["tenant"]["id"], made[0]["routers"][0]["id"]),
                            "foreign": (made[1]["tenant"]["id"], made[1]["routers"][0]["id"]), "missing": (NOBODY, NOBODY)}
            self.keys = [router["private_key"] for item in made for router in item["routers"]]
            self.tokens = []
            for scope in ("admin", "tenant-write", "tenant-read", "metrics", "revoked"):
                of = {"tenant_id": self.objects["own"][0]} if scope.startswith("tenant") else {}
                token = api.post("/tokens", {"name": scope, "scope": "admin" if scope == "revoked" else scope, **of})
                self.tokens.append(token["id"])
                tokens[scope] = token["token"]
            api.delete(f"/tokens/{self.tokens.pop()}")

        def client(self, caller):
            return shared_gateway.client() if caller == "socket" else shared_gateway.tcp(tokens.get(caller))

        def close(self):
            for token in self.tokens:
                api.raw("DELETE", f"/tokens/{token}")
            for tenant_id, _ in list(self.objects.values())[:2]:
                api.raw("DELETE", f"/tenants/{tenant_id}")

    return World


def expected(operation, path, caller, which):
    """The status of the answer."""
    scope = "admin" if caller == "socket" else caller
    if operation in OPEN:
        return 200
    if caller in ("none", "revoked"):
        return 401
    if scope not in MAY[operation]:
        return 403
    named = "{tenant_id}" in path or "{router_id}" in path
    hidden = which == "missing" or (which == "foreign" and scope.startswith("tenant"))
    if operation == "revokeToken" or (named and hidden):
        return 404
    return SUCCESS.get(operation, 200)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("which", OBJECTS)
def test_each_operation(shared_gateway, world, caller, which):
    here = world()
    for operation, method, path in ROWS:
        assert operation in MAY or operation in OPEN, f"{operation} has no row in the table"
        here = here or world()
        try:
            tenant_id, router_id = here.objects[which]
            body = body_for(operation, tenant_id)
            target = path.removeprefix("/v1").format(tenant_id=tenant_id, router_id=router_id, token_id=NOBODY)
            client = here.client(caller)
            status, _, content = client.raw(method, target, json.dumps(body).encode() if body is not None else None)
            said = f"{caller} {method} {path} ({which}): {status} {content[:300]}"
            assert status == expected(operation, path, caller, which), said
            if operation not in MAKES_KEYS and operation != "getOpenapi":
                assert b'"private_key"' not in content, said
            for key in here.keys:
                assert key.encode() not in content, said
            if operation in ("createRouters",) and status == 200 and which != "own":
                item = json.loads(content)["items"][0]
                assert item["status"] == (201 if which == "foreign" and caller in ("socket", "admin") else 404), said
            if method == "GET" and caller.startswith("tenant") and status == 200 and operation not in OPEN:
                for foreign in here.objects["foreign"]:
                    assert foreign.encode() not in content, said
        except BaseException:
            here.close()
            raise
        if operation in ("deleteTenant", "deleteRouter", "disableTenant", "rotateRouter"):
            here.close()
            here = None
    if here:
        here.close()


@pytest.mark.parametrize("path", ["/routers", "/tenants", "/tenants/{own}/routers", "/events"])
def test_filters_and_cursors_do_not_reach_over(shared_gateway, world, path):
    """Another tenant's names, ids, keys and addresses as filters, and its cursors, find nothing."""
    here = world()
    try:
        theirs = shared_gateway.api.get(f"/routers/{here.objects['foreign'][1]}")
        tenant = shared_gateway.api.get(f"/tenants/{here.objects['foreign'][0]}")
        filters = {"/routers": [{"public_key": theirs["public_key"]}, {"address": theirs["hub_address"]}, {"q": tenant["name"]},
                                {"tenant_id": tenant["id"]}],
                   "/tenants": [{"name": tenant["name"]}, {"q": tenant["name"]}]}.get(path, [{}])
        for filtered in filters:
            query = "&".join(f"{name}={value}".replace("+", "%2B").replace(" ", "%20").replace("=", "=", 1)
                             for name, value in filtered.items())
            status, _, content = here.client("tenant-read").raw_unchecked(
                "GET", path.format(own=here.objects["own"][0]) + (f"?{query}" if query else ""))
            assert status in (200, 404), content
            for secret in (theirs["id"], tenant["id"], theirs["public_key"]):
                assert secret.encode() not in content, (path, filtered, content)
        page = shared_gateway.api.get("/routers", limit=1)
        if page["next_cursor"]:
            status, _, content = here.client("tenant-read").raw("GET", f"/routers?cursor={page['next_cursor']}")
            assert status == 200 and theirs["id"].encode() not in content
    finally:
        here.close()


def test_an_idempotency_key_is_its_callers_alone(shared_gateway, world):
    here = world()
    try:
        made = {}
        for caller, which in (("tenant-write", "own"), ("admin", "own"), ("admin", "foreign")):
            body = json.dumps({"name": "once"}).encode()
            status, headers, content = here.client(caller).raw("POST", f"/tenants/{here.objects[which][0]}/routers", body,
                                                               {"Idempotency-Key": f"same {which}"})
            assert status == 201 and headers["Idempotency-Replayed"] is None, (caller, which, content)
            made[caller, which] = json.loads(content)
        assert len({router["id"] for router in made.values()}) == 3
        assert len({router["private_key"] for router in made.values()}) == 3
    finally:
        here.close()


