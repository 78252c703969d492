"""The audit log: who changed what, from where, before and after; without a secret, and only for the operator."""
import contextlib
import datetime
import json
import sqlite3

import pytest
from conftest import TCP, wait_until
from test_limits import answer_of, connect, head

FIELDS = {"revision", "at", "kind", "tenant_id", "router_id", "actor", "token_id", "origin", "request_id", "before", "after"}


@pytest.fixture
def logged(make_gateway):
    return make_gateway({"api": {"listen": TCP}})


def entries(gateway, **query):
    return list(gateway.api.all("/audit", **query))


def test_each_change_has_a_row_with_its_author_and_both_values(logged):
    api = logged.api
    tenant = api.post("/tenants", {"name": "Acme"})
    token = api.post("/tokens", {"name": "portal", "scope": "tenant-write", "tenant_id": tenant["id"]})
    with contextlib.closing(connect(logged)) as connection:
        body = json.dumps({"name": "roof", "lans": ["192.168.7.0/24"], "preshared_key": "generate"}).encode()
        connection.sendall(head("POST", f"/tenants/{tenant['id']}/routers", token["token"], "Content-Type: application/json",
                                f"Content-Length: {len(body)}") + body)
        status, headers, router = answer_of(connection)
    assert status == 201
    api.patch(f"/tenants/{tenant['id']}", {"name": "Acme GmbH", "egress": False})
    api.patch(f"/routers/{router['id']}", {"lans": []})
    api.post(f"/routers/{router['id']}/disable")
    api.post(f"/routers/{router['id']}/enable")
    rotated = api.post(f"/routers/{router['id']}/rotate", {})
    api.delete(f"/routers/{router['id']}")
    api.post(f"/tenants/{tenant['id']}/disable")
    api.delete(f"/tokens/{token['id']}")
    api.delete(f"/tenants/{tenant['id']}")

    rows = entries(logged)[::-1]
    assert [row["kind"] for row in rows] == [
        "tenant.created", "token.created", "router.created", "tenant.updated", "router.updated", "router.disabled",
        "router.enabled", "router.rotated", "router.deleted", "tenant.disabled", "token.revoked", "tenant.deleted"]
    assert all(set(row) == FIELDS for row in rows)
    events = api.get("/events", after=0, limit=100)["items"]
    assert [row["revision"] for row in rows] == [event["revision"] for event in events if not event["kind"].endswith("connected")]
    by = {row["kind"]: row for row in rows}
    made = by["router.created"]
    assert (made["actor"], made["token_id"], made["origin"]) == ("token:portal", token["id"], "127.0.0.1")
    assert made["request_id"] == headers["X-Request-Id"] and made["before"] is None
    assert made["after"] == {"name": "roof", "status": "pending", "public_key": router["public_key"], "has_preshared_key": True,
                             "address": router["address"], "lans": ["192.168.7.0/24"]}
    renamed = by["tenant.updated"]
    assert (renamed["actor"], renamed["token_id"], renamed["origin"]) == ("uid:0", None, "unix:0")
    assert (renamed["before"]["name"], renamed["after"]["name"]) == ("Acme", "Acme GmbH")
    assert by["router.updated"]["before"]["lans"] == ["192.168.7.0/24"] and by["router.updated"]["after"]["lans"] == []
    assert [by[f"router.{what}"]["after"]["status"] for what in ("disabled", "enabled")] == ["disabled", "pending"]
    assert by["router.rotated"]["before"]["public_key"] == router["public_key"]
    assert by["router.rotated"]["after"]["public_key"] == rotated["public_key"] != router["public_key"]
    assert by["router.deleted"]["after"] is None and by["router.deleted"]["before"]["name"] == "roof"
    assert by["token.created"]["after"]["scope"] == "tenant-write" == by["token.revoked"]["before"]["scope"]
    assert by["tenant.deleted"]["before"]["name"] == "Acme GmbH"
    # no secret, neither where it is shown nor where it lies
    with contextlib.closing(sqlite3.connect(logged.folder / "sallyport.db")) as store:
        kept = json.dumps(rows) + json.dumps(store.execute("SELECT * FROM vpn_audit").fetchall())
    for secret in (router["private_key"], rotated["private_key"], token["token"],
                   *(line.partition("= ")[2] for line in router["config"].splitlines() if line.startswith("PresharedKey"))):
        assert secret and secret not in kept


def test_what_is_refused_or_changes_nothing_has_no_row(logged):
    tenant = logged.api.post("/tenants", {"name": "one"})
    before = entries(logged)
    logged.api.patch(f"/tenants/{tenant['id']}", {"name": "one"})
    logged.api.refused(409, "duplicate-id", "POST", "/tenants", {"name": "two", "id": tenant["id"]})
    assert entries(logged) == before


def test_names_are_kept_as_they_are(logged):
    name = 'quote " backslash \\ slash / Grüße 東京'
    logged.api.post("/tenants", {"name": name})
    assert entries(logged)[0]["after"]["name"] == name


def test_bulk_has_a_row_for_each_and_pages_go_back_in_time(logged):
    made = logged.api.post("/tenants/bulk", {"tenants": [
        {"name": f"t{n}", "routers": [{"name": f"r{m}"} for m in range(3)]} for n in range(5)]})["items"]
    rows = entries(logged)
    assert [row["kind"] for row in rows].count("router.created") == 15 and len(rows) == 20
    assert [row["revision"] for row in rows] == sorted((row["revision"] for row in rows), reverse=True)
    assert len({row["request_id"] for row in rows}) == 1
    paged, cursor = [], None
    while True:
        page = logged.api.get("/audit", limit=7, **({"cursor": cursor} if cursor else {}))
        paged += page["items"]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert paged == rows
    first = made[0]["tenant"]["id"]
    assert {row["tenant_id"] for row in entries(logged, tenant_id=first)} == {first}
    router = made[0]["routers"][0]["id"]
    assert [row["router_id"] for row in entries(logged, router_id=router)] == [router]
    assert len(entries(logged, kind="tenant.created")) == 5 and entries(logged, actor="token:nobody") == []
    later = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert entries(logged, since=later) == [] and entries(logged, until=later) == rows


def test_old_rows_are_forgotten_and_the_feed_is_not(logged):
    logged.api.post("/tenants", {"name": "old"})
    logged.api.post("/tenants", {"name": "new"})
    logged.end()
    with contextlib.closing(sqlite3.connect(logged.folder / "sallyport.db")) as store, store:
        store.execute("UPDATE vpn_audit SET at = '2020-01-01T00:00:00.000000Z' WHERE revision = 1")
    logged.start()
    wait_until(lambda: [row["after"]["name"] for row in entries(logged)] == ["new"], 20, "the sweep at start")
    assert [event["revision"] for event in logged.api.get("/events", after=0)["items"]] == [1, 2]


def test_it_is_for_the_operator(logged):
    tenant = logged.api.post("/tenants", {"name": "Acme"})
    for scope in ("tenant-read", "tenant-write", "metrics"):
        of = {"tenant_id": tenant["id"]} if scope.startswith("tenant") else {}
        token = logged.api.post("/tokens", {"name": scope, "scope": scope, **of})["token"]
        logged.client(token).refused(403, "forbidden", "GET", "/audit")
