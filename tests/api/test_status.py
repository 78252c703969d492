"""What the gateway says of itself: health, status, counters, events, its own document."""
import json
import pathlib
import sqlite3
import threading
import time

import jsonschema
from conftest import wait_until
from contract import CONTRACT, DOCUMENT


def test_health(api):
    health = api.get("/health")
    assert (health["status"], health["store"], health["backend"]) == ("ok", "ok", "ok")


def test_status_is_true(gateway, api):
    status = api.get("/status")
    assert status["backend"]["pid"] == gateway.engine_pid()
    assert status["backend"]["interface"] == gateway.interface
    assert status["backend"]["name"] == "engine" and status["backend"]["up"]
    on, off = status["backend"]["offloads"], status["backend"]["offloads_off"]
    assert {name for name in on.split(",") if name != "none"} | set(off) == {
        "gso", "gro", "xdp", "tso", "uso", "join_tcp", "join_udp", "uring"}
    assert set(off.values()) <= {"switched_off", "unsupported", "refused"}
    assert status["gateway"]["endpoint"] == "vpn.example.com"
    assert (status["gateway"]["port"], status["gateway"]["listen_port"]) == (51820, 51820)
    assert (status["gateway"]["pool"], status["gateway"]["hub_address"]) == ("10.0.0.0/8", "10.0.0.1")
    assert status["gateway"]["ula"].startswith("fd") and status["gateway"]["hub_address6"].startswith("fd")
    assert status["store"]["kind"] == "sqlite"
    assert status["memory_bytes"] > 1 << 20 and status["backend"]["memory_bytes"] > 1 << 20
    assert status["pool"]["addresses_free"] <= status["pool"]["addresses_total"] <= 2**24
    assert status["reconcile"]["state"] == "in-sync" and status["reconcile"]["trouble"] is None


def test_status_counts(api, make_tenant, make_router):
    wait_until(lambda: (now := api.get("/status"))["backend"]["peers"] == now["counts"]["routers"])
    before = api.get("/status")
    tenant = make_tenant()
    make_router(tenant)
    make_router(tenant)
    after = api.get("/status")
    assert after["counts"]["tenants"] == before["counts"]["tenants"] + 1
    assert after["counts"]["routers"] == before["counts"]["routers"] + 2
    wait_until(lambda: api.get("/status")["backend"]["peers"] == before["backend"]["peers"] + 2)
    assert after["store"]["revision"] > before["store"]["revision"]
    assert after["pool"]["addresses_free"] == before["pool"]["addresses_free"] - 32


def test_counters_have_names(api):
    counters = api.get("/counters")["counters"]
    assert any(name.startswith("drop.") for name in counters)


def test_the_served_document_is_the_one_in_the_tree(api):
    served = api.get("/openapi.json")
    source = json.loads(pathlib.Path(DOCUMENT).read_text(encoding="utf-8"))
    served["info"].pop("version"), source["info"].pop("version")
    assert served == source


def test_the_documents_examples_are_of_its_own_schemas():
    def walk(value):
        if isinstance(value, dict):
            if "example" in value and "schema" in value:
                yield value["schema"], value["example"]
            for member in value.values():
                yield from walk(member)
        elif isinstance(value, list):
            for member in value:
                yield from walk(member)

    resolver = jsonschema.RefResolver("", CONTRACT.document)
    examples = list(walk(CONTRACT.document))
    assert len(examples) > 40
    for schema, example in examples:
        jsonschema.Draft202012Validator(schema, resolver=resolver).validate(example)


def test_events_tell_every_change_in_order(api, name):
    after = api.get("/status")["store"]["revision"]
    tenant = api.post("/tenants", {"name": name()})
    router = api.post(f"/tenants/{tenant['id']}/routers", {"name": name()})
    api.patch(f"/routers/{router['id']}", {"name": name()})
    api.post(f"/tenants/{tenant['id']}/disable")
    api.delete(f"/routers/{router['id']}")
    api.delete(f"/tenants/{tenant['id']}")
    page = api.get("/events", after=after)
    assert [event["kind"] for event in page["items"]][:2] == ["tenant.created", "router.created"]
    assert {event["kind"].partition(".")[0] for event in page["items"]} == {"tenant", "router"}
    assert page["items"][-1]["kind"] == "tenant.deleted"
    assert {event["tenant_id"] for event in page["items"]} == {tenant["id"]}
    assert {event["router_id"] for event in page["items"]} == {None, router["id"]}
    assert {event["actor"] for event in page["items"]} == {"uid:0"}
    revisions = [event["revision"] for event in page["items"]]
    assert revisions == sorted(revisions) and page["next_after"] == revisions[-1]
    assert page["oldest"] == 1 and page["newest"] >= revisions[-1]
    # in pieces, too
    pieces, at = [], after
    while piece := api.get("/events", after=at, limit=2)["items"]:
        pieces += piece
        at = piece[-1]["revision"]
    assert pieces == page["items"]


def test_who_asks_for_what_is_not_kept_can_tell(make_gateway, name):
    gateway = make_gateway()
    for _ in range(5):
        gateway.api.post("/tenants", {"name": name()})
    gateway.end()
    with sqlite3.connect(gateway.folder / "sallyport.db") as database:
        database.execute("DELETE FROM vpn_changes WHERE revision <= 3")
    gateway.start()
    page = gateway.api.get("/events", after=1)
    assert ([event["revision"] for event in page["items"]], page["oldest"], page["newest"]) == ([4, 5], 4, 5)
    # a tenant's token, too, although its own changes have gaps anyway
    tenant = page["items"][-1]["tenant_id"]
    token = gateway.api.post("/tokens", {"name": name(), "scope": "tenant-read", "tenant_id": tenant})["token"]
    page = gateway.client(token).get("/events", after=1)
    assert (len(page["items"]), page["oldest"], page["newest"]) == (2, 4, 6)
    # and who has seen more than there ever was
    page = gateway.api.get("/events", after=100)
    assert (page["items"], page["next_after"], page["newest"]) == ([], 100, 6)


def test_a_long_poll_comes_back_with_the_change(gateway, api, name):
    after = api.get("/events", after=api.get("/status")["store"]["revision"])["next_after"]
    answers = []

    def poll():
        began = time.monotonic()
        answers.append((gateway_client.get("/events", after=after, wait=20), time.monotonic() - began))

    gateway_client = gateway.client()
    thread = threading.Thread(target=poll)
    thread.start()
    time.sleep(0.5)
    tenant = api.post("/tenants", {"name": name()})
    thread.join(10)
    answer, seconds = answers[0]
    assert answer["items"][0]["tenant_id"] == tenant["id"]
    assert 0.4 < seconds < 5
    api.delete(f"/tenants/{tenant['id']}")


def test_a_long_poll_without_a_change_is_empty(api):
    after = api.get("/status")["store"]["revision"]
    began = time.monotonic()
    answer = api.get("/events", after=after, wait=1)
    assert answer["items"] == [] and answer["next_after"] == after
    assert 0.9 < time.monotonic() - began < 5


def test_every_answer_has_a_request_id_of_its_own(api):
    ids = [api.with_headers("GET", "/health")[1]["X-Request-Id"] for _ in range(5)]
    assert len(set(ids)) == 5
