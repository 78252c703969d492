"""The connection is cut at each statement of a write in turn: what is answered is true, and nothing is done twice or by
halves."""
import json
import time

import pytest

from conftest import wait_until
from cutter import Cutter

STATEMENTS_MOST = 60


@pytest.fixture
def cutter(shared_server):
    made = Cutter(shared_server)
    yield made
    made.close()


@pytest.fixture
def gateway(cutter, database, make_gateway):
    return make_gateway(cutter.url(database.partition("@/")[2].partition("?")[0]))


def each_statement(cutter, unheard, write):
    """Calls write(n) with the connection cut at the nth statement, until a write ends before it comes to that."""
    for statement in range(1, STATEMENTS_MOST):
        cutter.arm(statement, unheard)
        write(statement)
        if not cutter.fired:
            assert statement > 4, "nothing was cut"
            return
    raise AssertionError("a write without end")


def post(api, path, body):
    """The answer, once there is one: what is refused for now was not done, but for what nobody can know."""
    until = time.monotonic() + 20
    while True:
        status, _, content = api.raw("POST", path, json.dumps(body).encode())
        answer = json.loads(content) if content else None
        if status != 503 or time.monotonic() > until:
            return status, answer
        assert not answer["type"].endswith(":store-unknown"), answer
        time.sleep(0.05)


@pytest.mark.parametrize("unheard", [False, True], ids=["before", "after"])
def test_creating(cutter, gateway, unheard):
    api = gateway.api
    made = {}

    def write(number):
        status, tenant = post(api, "/tenants", {"name": f"t{number}", "addressing": "private"})
        assert status == 201, tenant
        status, router = post(api, f"/tenants/{tenant['id']}/routers", {"name": "r", "lans": ["192.168.0.0/24"]})
        assert status == 201, router
        made[tenant["id"]] = router["id"]

    each_statement(cutter, unheard, write)
    check(gateway, made)


@pytest.mark.parametrize("unheard", [False, True], ids=["before", "after"])
def test_creating_in_bulk(cutter, gateway, unheard):
    api = gateway.api
    made = {}

    def write(number):
        status, answer = post(api, "/tenants/bulk", {"tenants": [
            {"name": f"t{number}-{n}", "routers": [{"name": "r"}]} for n in range(3)]})
        assert status == 200 and answer["created"] == 3, answer
        made.update({item["tenant"]["id"]: item["routers"][0]["id"] for item in answer["items"]})

    each_statement(cutter, unheard, write)
    check(gateway, made)


@pytest.mark.parametrize("unheard", [False, True], ids=["before", "after"])
def test_deleting_and_rotating(cutter, gateway, unheard):
    api = gateway.api
    made = {}
    spare = [api.post("/tenants", {"name": f"t{n}"})["id"] for n in range(2 * STATEMENTS_MOST)]

    def rotate(number):
        cutter.armed = False
        tenant = spare.pop()
        router = api.post(f"/tenants/{tenant}/routers", {"name": "r"})
        made[tenant] = router["id"]
        cutter.arm(number, unheard)
        status, answer = post(api, f"/routers/{router['id']}/rotate", {})
        assert status == 200 and answer["public_key"] != router["public_key"], answer
        assert api.get(f"/routers/{router['id']}")["public_key"] == answer["public_key"]

    def delete(number):
        gone = spare.pop() if spare else api.post("/tenants", {"name": "spare"})["id"]
        cutter.arm(number, unheard)
        status = api.raw("DELETE", f"/tenants/{gone}")[0]
        assert status == 204, status
        assert api.raw("GET", f"/tenants/{gone}")[0] == 404

    each_statement(cutter, unheard, rotate)
    each_statement(cutter, unheard, delete)
    for tenant in spare:
        api.delete(f"/tenants/{tenant}")
    there = {tenant["id"] for tenant in api.all("/tenants")}
    for tenant in there - set(made):
        api.delete(f"/tenants/{tenant}")
    check(gateway, made)


def check(gateway, made):
    api = gateway.api
    assert {tenant["id"] for tenant in api.all("/tenants")} == set(made)
    assert {router["tenant_id"]: router["id"] for router in api.all("/routers")} == made
    assert len(list(api.all("/routers"))) == len(made)
    events, after = [], 0
    while True:
        page = api.get("/events", after=after, limit=1000)
        if not page["items"]:
            break
        events += [event["revision"] for event in page["items"]]
        after = page["next_after"]
    assert events == list(range(1, len(events) + 1))
    wait_until(lambda: gateway.status()["backend"]["peers"] == len(made), 20)
