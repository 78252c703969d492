"""Every operation refuses, and as documented: each with what is no text, too large, not announced, unknown, without a token,
with one of another scope, for what does not exist, and while the database is away. Nothing of it changes anything."""
import json

import pytest
from checked import URN
from conftest import TCP, TestGateway
from contract import CONTRACT
from harness.postgresql import Server
from test_tokens import NOBODY, OPEN, body_for, operations

ALL = list(operations())
GUARDED = [row for row in ALL if row[0] not in OPEN]
BODIES = [row for row in ALL if "requestBody" in CONTRACT.document["paths"][row[2]][row[1].lower()]]
# These ask the gateway itself.
WITHOUT_DATABASE = {"getStatus", "getCounters"}
NAMED = [row for row in ALL if "{" in row[2]]


def named(rows):
    return {"argvalues": rows, "ids": [row[0] for row in rows]}


@pytest.fixture(scope="module")
def world(shared_gateway):
    api = shared_gateway.api
    made = api.post("/tenants/bulk", {"tenants": [
        {"name": "refusals", "addressing": "private", "routers": [{"name": "r", "lans": ["192.168.7.0/24"]}, {"name": "s"}]}]})
    item = made["items"][0]
    ids = {"tenant_id": item["tenant"]["id"], "router_id": item["routers"][0]["id"], "token_id": NOBODY}
    ids["other_router_id"] = item["routers"][1]["id"]
    revision = api.get("/status")["store"]["revision"]
    yield ids
    # whoever else has a token made meanwhile would count too: only this tenant's changes do
    changes = [event for event in api.get("/events", after=revision, limit=1000)["items"]
               if event["tenant_id"] == ids["tenant_id"]]
    assert changes == []
    api.delete(f"/tenants/{ids['tenant_id']}")


def target(path, ids, query=""):
    return path.removeprefix("/v1").format(**ids) + query


def body_of(operation, ids):
    body = body_for(operation, ids["tenant_id"])
    return None if body is None else json.dumps(body).encode()


@pytest.mark.parametrize("operation, method, path", **named(ALL))
def test_a_parameter_that_is_unknown(api, world, operation, method, path):
    api.refused(422, "unknown-parameter", method, target(path, world, "?moon=full"), body_of(operation, world), field="moon")


@pytest.mark.parametrize("operation, method, path", **named(ALL))
def test_a_query_that_is_no_text(api, world, operation, method, path):
    api.refused(400, "invalid-utf8", method, target(path, world, "?q=%ff"), body_of(operation, world))


@pytest.mark.parametrize("operation, method, path", **named(ALL))
def test_a_body_that_is_too_large(api, world, operation, method, path):
    if path == "/v1/adoption":  # whole servers are: their head is enough to refuse them
        api.refused(413, "body-too-large", method, target(path, world), b"", headers={"Content-Length": str((64 << 20) + 1)})
    else:
        api.refused(413, "body-too-large", method, target(path, world), b" " * ((8 << 20) + 1))


@pytest.mark.parametrize("operation, method, path", **named(BODIES))
def test_a_body_that_is_not_announced(api, world, operation, method, path):
    api.refused(415, "unsupported-media-type", method, target(path, world), body_of(operation, world) or b"{}",
                headers={"Content-Type": "text/plain"})


@pytest.mark.parametrize("operation, method, path", **named(BODIES))
def test_a_body_with_a_field_that_is_unknown(api, world, operation, method, path):
    body = body_for(operation, world["tenant_id"]) or {}
    api.refused(422, "unknown-field", method, target(path, world), {**body, "moon": "full"}, field="moon")


@pytest.mark.parametrize("operation, method, path", **named(GUARDED))
def test_without_a_token(gateway, world, operation, method, path):
    gateway.tcp().refused(401, None, method, target(path, world), body_of(operation, world))


@pytest.mark.parametrize("operation, method, path", **named(NAMED))
def test_what_does_not_exist(api, world, operation, method, path):
    nobody = dict.fromkeys(world, NOBODY)
    api.refused(404, None, method, target(path, nobody), body_of(operation, nobody))


def test_what_collides(api, world):
    tenant_id, router_id, other = world["tenant_id"], world["router_id"], world["other_router_id"]
    key = api.get(f"/routers/{other}")["public_key"]
    for method, path, body in (
            ("POST", "/tenants", {"name": "x", "id": tenant_id}),
            ("POST", f"/tenants/{tenant_id}/routers", {"name": "x", "id": router_id}),
            ("PATCH", f"/routers/{other}", {"lans": ["192.168.7.0/25"]}),
            ("POST", f"/routers/{router_id}/rotate", {"public_key": key})):
        api.refused(409, None, method, path, body)


@pytest.fixture(scope="module")
def cut_off():
    """A gateway whose database was stopped, and what it had."""
    with Server() as server:
        gateway = TestGateway({"store": {"url": server.database("refusals")}, "api": {"listen": TCP}})
        try:
            api = gateway.start().api
            tenant = api.post("/tenants", {"name": "refusals"})
            router = api.post(f"/tenants/{tenant['id']}/routers", {"name": "r", "preshared_key": "generate"})
            token = api.post("/tokens", {"name": "never used", "scope": "admin"})["token"]
            gateway.wait_in_sync()
            server.stop()
            api.refused(503, None, "POST", "/tenants", {"name": "x"})
            yield gateway, {"tenant_id": tenant["id"], "router_id": router["id"], "token_id": NOBODY, "token": token}
        finally:
            gateway.close()


@pytest.mark.parametrize("operation, method, path", **named([row for row in GUARDED if row[0] not in WITHOUT_DATABASE]))
def test_while_the_database_is_away(cut_off, operation, method, path):
    """What was never read is not in memory (tests/store has what is), and every change is to come back later."""
    gateway, ids = cut_off
    body = body_of(operation, ids)
    _, headers, content = gateway.api.with_headers(method, target(path, ids), body)
    assert content["type"] == URN + "store-away" and int(headers["Retry-After"]) >= 1


@pytest.mark.parametrize("operation, method, path", **named([row for row in ALL if row[0] in OPEN | WITHOUT_DATABASE]))
def test_what_needs_no_database(cut_off, operation, method, path):
    gateway, ids = cut_off
    assert gateway.api.raw(method, target(path, ids))[0] == 200


@pytest.mark.parametrize("operation, method, path", **named(GUARDED))
def test_a_token_that_cannot_be_looked_up(cut_off, operation, method, path):
    """It may be right: so this is no 401."""
    gateway, ids = cut_off
    _, headers, content = gateway.tcp(ids["token"]).with_headers(method, target(path, ids), body_of(operation, ids))
    assert content["type"] == URN + "tokens-unreadable" and int(headers["Retry-After"]) >= 1
