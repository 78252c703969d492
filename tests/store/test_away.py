"""The database goes away and comes back: packets flow on, writes are told to wait, reads say how old they are."""
import json
import signal
import threading
import time

import pytest

from conftest import create, start_without_waiting, wait_until
from harness.api import ApiError


def refused(api, method, path, body=None):
    """The problem that a request was refused with, and the answer's headers."""
    status, headers, content = api.raw(method, path, json.dumps(body).encode() if body is not None else None)
    assert status == 503, (status, content)
    return json.loads(content), headers


def soon(call, seconds=3):
    """The answer. A thread of the gateway's own may have asked while the database was down, and then nobody asks at once."""
    until = time.monotonic() + seconds
    while True:
        try:
            return call()
        except ApiError as error:
            if error.status != 503 or time.monotonic() > until:
                raise
        time.sleep(0.1)


def test_a_restart_of_the_database_is_noticed_by_nobody(server, make_gateway):
    gateway = make_gateway(server.database("fleet"))
    tenant = gateway.api.post("/tenants", {"name": "before"})
    server.stop()
    server.start()
    assert soon(lambda: gateway.api.get(f"/tenants/{tenant['id']}"))["name"] == "before"
    server.stop()
    server.start()
    assert soon(lambda: gateway.api.post(f"/tenants/{tenant['id']}/routers", {"name": "after"}))["name"] == "after"


def test_while_it_is_away_writes_wait_and_reads_are_stale(server, make_gateway):
    gateway = make_gateway(server.database("fleet"))
    api = gateway.api
    tenant = api.post("/tenants", {"name": "kept"})
    router = api.post(f"/tenants/{tenant['id']}/routers", {"name": "kept"})
    paths = ["/tenants", f"/tenants/{tenant['id']}", f"/routers/{router['id']}", "/routers",
             f"/tenants/{tenant['id']}/routers"]
    read = {path: api.get(path) for path in paths}
    engine = gateway.engine_pid()
    server.kill()
    problem, headers = refused(api, "POST", "/tenants", {"name": "not now"})
    assert problem["type"].endswith(":store-away") and int(headers["Retry-After"]) >= 1
    assert "sallyport@" in problem["detail"] or "postgresql://" in problem["detail"]
    time.sleep(1.1)
    for path in paths:
        status, headers, content = api.raw("GET", path)
        assert status == 200 and json.loads(content) == read[path]
        assert int(headers["Age"]) >= 1 and headers["Warning"].startswith("110 ")
    for path in ("/tenants?limit=7", "/tokens", f"/routers/{router['id']}/config"):
        refused(api, "GET", path)
    wait_until(lambda: api.get("/health")["status"] == "degraded")
    assert api.get("/health")["backend"] == "ok" and api.get("/health")["store"] == "unavailable"
    store = api.get("/status")["store"]
    assert store["ok"] is False and store["kind"] == "postgresql" and store["trouble"]
    assert gateway.engine_pid() == engine and gateway.status()["backend"]["peers"] == 1
    server.start()
    wait_until(lambda: api.get("/health")["status"] == "ok", 15)
    assert wait_until(lambda: create(api, "again"), 15)
    status, headers, _ = api.raw("GET", "/tenants")
    assert status == 200 and "Age" not in headers


def test_it_may_be_away_at_the_start(server, make_gateway):
    url = server.database("fleet")
    server.stop()
    gateway = make_gateway(url, start=False)
    start_without_waiting(gateway)
    problem, headers = refused(gateway.api, "POST", "/tenants", {"name": "early"})
    assert problem["type"].endswith(":store-away") and headers["Retry-After"]
    problem, _ = refused(gateway.api, "GET", "/tenants")
    assert problem["type"].endswith(":store-away")
    assert gateway.api.get("/status")["store"]["ok"] is False
    server.start()
    gateway.wait_in_sync()
    assert gateway.api.post("/tenants", {"name": "late"})["name"] == "late"


def test_a_token_reads_on_from_memory(server, make_gateway):
    gateway = make_gateway(server.database("fleet"))
    tenant = gateway.api.post("/tenants", {"name": "t"})
    other = gateway.api.post("/tenants", {"name": "o"})
    made = gateway.api.post("/tokens", {"name": "reader", "scope": "tenant-read", "tenant_id": tenant["id"]})
    client = gateway.client()
    client.token = made["token"]
    gateway.api.get(f"/tenants/{other['id']}")
    assert client.get(f"/tenants/{tenant['id']}")["name"] == "t"
    server.kill()
    refused(gateway.api, "POST", "/tenants", {"name": "x"})
    assert client.get(f"/tenants/{tenant['id']}")["name"] == "t"
    assert client.raw("GET", f"/tenants/{other['id']}")[0] == 404  # what an administrator read is not for this token
    refused(client, "GET", "/tenants")
    client.token = "sp_" + "A" * 43
    assert client.raw("GET", f"/tenants/{tenant['id']}")[0] == 503


def test_a_database_that_hangs_does_not_hang_the_status(server, make_gateway):
    gateway = make_gateway(server.database("fleet"))
    gateway.api.post("/tenants", {"name": "t"})
    server.pause()
    try:
        time.sleep(4)
        api = gateway.client(timeout=3)
        assert api.get("/health")["status"] == "degraded"
        assert api.get("/status")["store"]["ok"] is False
    finally:
        server.resume()
    wait_until(lambda: gateway.api.get("/health")["status"] == "ok", 20)
    assert wait_until(lambda: create(gateway.api, "again"), 20)


class Writer(threading.Thread):
    """Creates and deletes for as long as it may; remembers what was acknowledged and what it does not know."""

    def __init__(self, gateway, number):
        super().__init__(daemon=True)
        self.api, self.number = gateway.client(), number
        self.made, self.deleted, self.unknown, self.refused = {}, set(), set(), 0
        self.stop, self.faults = threading.Event(), []

    def run(self):
        turn = 0
        try:
            while not self.stop.is_set():
                turn += 1
                name = f"w{self.number}-{turn}"
                try:
                    made = self.api.post("/tenants/bulk", {"tenants": [
                        {"name": f"{name}-{n}", "routers": [{"name": "r"}, {"name": "s"}]} for n in range(3)]})
                    assert made["created"] == 3
                    for item in made["items"]:
                        self.made[item["tenant"]["id"]] = {router["id"] for router in item["routers"]}
                    first = made["items"][0]["tenant"]["id"]
                    self.api.delete(f"/tenants/{first}")
                    self.deleted.add(first)
                except ApiError as error:
                    assert error.status == 503, error
                    self.refused += 1
                    if error.problem["type"].endswith(":store-unknown"):
                        self.unknown.add(name)
                    time.sleep(0.05)
        except Exception as fault:  # told to the one who waits
            self.faults.append(fault)


def check(api, writers):
    """What was acknowledged is there, whole; nothing is half made; events are without gaps."""
    tenants = {tenant["id"]: tenant for tenant in api.all("/tenants")}
    routers = {}
    for router in api.all("/routers"):
        routers.setdefault(router["tenant_id"], set()).add(router["id"])
    for writer in writers:
        assert not writer.faults, writer.faults
        doubtful = {tenant for tenant in writer.made if not tenant in tenants and not tenant in writer.deleted}
        # a deletion whose answer was lost may have been done: only of first ones, and only while it was away
        assert len(doubtful) <= writer.refused
        for tenant, made in writer.made.items():
            if tenant in tenants:
                assert routers.get(tenant) == made
        assert not writer.deleted & set(tenants)
    for tenant in tenants:
        assert tenants[tenant]["routers"] == len(routers.get(tenant, ())) == 2, tenants[tenant]
    revisions = [event["revision"] for event in events(api)]
    assert revisions == list(range(1, len(revisions) + 1))
    addresses = [router["hub_address"] for router in api.all("/routers")]
    assert len(addresses) == len(set(addresses))


def events(api):
    after = 0
    while True:
        page = api.get("/events", after=after, limit=1000)
        if not page["items"]:
            return
        yield from page["items"]
        after = page["next_after"]


def test_killing_postgresql_during_writes_loses_nothing(server, make_gateway):
    gateway = make_gateway(server.database("fleet"))
    writers = [Writer(gateway, number) for number in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(4):
        time.sleep(0.7)
        server.kill()
        time.sleep(0.2)
        server.start()
    time.sleep(0.5)
    finish(gateway, writers)


def finish(gateway, writers):
    for writer in writers:
        writer.stop.set()
    for writer in writers:
        writer.join(30)
        assert not writer.is_alive()
    assert sum(len(writer.made) for writer in writers) > 20, "hardly anything was written"
    wait_until(lambda: gateway.api.get("/health")["status"] == "ok", 20)
    check(gateway.api, writers)
    status = wait_until(lambda: in_force(gateway), 20)
    assert status["backend"]["peers"] == status["counts"]["routers"]


def in_force(gateway):
    status = gateway.status()
    there = len(list(gateway.api.all("/routers")))
    return status if status["backend"]["peers"] == there == status["counts"]["routers"] else None


@pytest.mark.parametrize("every", [0.003, 0.02, 0.1])
def test_ending_the_connections_during_writes_loses_nothing(server, make_gateway, every):
    """At every statement, sooner or later: the sessions end at moments that have nothing to do with ours."""
    gateway = make_gateway(server.database("fleet"))
    writers = [Writer(gateway, number) for number in range(3)]
    for writer in writers:
        writer.start()
    server.sql(f"""DO $$ BEGIN FOR i IN 1..{int(4 / every)} LOOP
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = 'fleet' AND state = 'active' AND random() < 0.3 AND i % 2 = 0 OR datname = 'fleet' AND random() < 0.05;
        PERFORM pg_stat_clear_snapshot();
        PERFORM pg_sleep({every});
    END LOOP; END $$""")
    time.sleep(0.5)
    finish(gateway, writers)


def test_a_deadlock_with_the_operators_own_transactions_is_tried_again(shared_server, database, make_gateway):
    gateway = make_gateway(database)
    tenants = [gateway.api.post("/tenants", {"name": str(n)})["id"] for n in range(4)]
    stop, faults = threading.Event(), []

    def meddle():
        while not stop.is_set():
            try:
                shared_server.sql("BEGIN; SELECT pg_advisory_xact_lock_shared(1); "
                                  "UPDATE tenant_vpn_tunnels SET updated_at = updated_at; SELECT pg_sleep(0.01); "
                                  "UPDATE vpn_revision SET value = value; COMMIT", name=database_name(database))
            except Exception as fault:  # the deadlock's other victim
                faults.append(fault)

    thread = threading.Thread(target=meddle, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            for tenant in tenants:
                gateway.api.patch(f"/tenants/{tenant}", {"name": f"{time.monotonic()}"})
    finally:
        stop.set()
        thread.join(10)


def database_name(url):
    return url.partition("@/")[2].partition("?")[0]


def test_the_gateway_stops_in_good_order_while_the_database_is_away(server, make_gateway):
    gateway = make_gateway(server.database("fleet"))
    server.kill()
    began = time.monotonic()
    assert gateway.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 12


def test_a_database_that_comes_late_and_is_not_ours_ends_the_gateway(server, make_gateway):
    url = server.database("fleet")
    first = make_gateway(url)
    first.api.post("/tenants", {"name": "t"})
    first.end()
    server.stop()
    other = make_gateway(url, start=False)
    start_without_waiting(other)
    server.start()
    assert other.process.wait(20) == 1
    assert "made with the gateway key" in other.log_tail()
