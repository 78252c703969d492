"""kill -9 at any moment: what was acknowledged is there, what was not is there whole or not at all, tunnels never notice."""
import http.client
import os
import random
import signal
import threading
import time

from conftest import wait_until
from harness.api import ApiError

ROUNDS = 6
WRITERS = 4


class Writer(threading.Thread):
    """Makes tenants with routers in bulk until it is cut off; remembers what was acknowledged."""

    def __init__(self, gateway, number):
        super().__init__(daemon=True)
        self.api, self.number = gateway.client(), number
        self.acknowledged = []  # (tenant id, [router ids])
        self.single = []  # router ids
        self.stop = threading.Event()

    def run(self):
        turn = 0
        try:
            while not self.stop.is_set():
                turn += 1
                made = self.api.post("/tenants/bulk", {"tenants": [
                    {"name": f"w{self.number}-{turn}-{n}", "addressing": "private" if n % 2 else "unique",
                     "routers": [{"name": f"r{r}"} for r in range(3)]} for n in range(20)]})
                assert made["created"] == 20
                self.acknowledged += [(item["tenant"]["id"], [router["id"] for router in item["routers"]])
                                      for item in made["items"]]
                one = made["items"][0]["tenant"]["id"]
                self.single.append(self.api.post(f"/tenants/{one}/routers", {"name": "one more"})["id"])
        except (OSError, http.client.HTTPException):
            pass  # cut off


def test_kill_during_bulk_writes_loses_nothing_acknowledged(make_gateway):
    gateway = make_gateway()
    engine = gateway.engine_pid()
    acknowledged, single = [], []
    for turn in range(ROUNDS):
        writers = [Writer(gateway, number) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(random.uniform(0.05, 0.6))
        gateway.kill()
        for writer in writers:
            writer.join(10)
            assert not writer.is_alive()
            acknowledged += writer.acknowledged
            single += writer.single
        gateway.start()
        there = {router["id"]: router["tenant_id"] for router in gateway.api.all("/routers")}
        lost = [router for tenant, routers in acknowledged for router in routers if there.get(router) != tenant]
        lost += [router for router in single if router not in there]
        assert not lost, f"round {turn}: {len(lost)} of {len(acknowledged) * 3 + len(single)} acknowledged routers lost"
        # whole or not at all
        for tenant in gateway.api.all("/tenants"):
            assert tenant["routers"] in (3, 4), tenant
        assert gateway.engine_pid() == engine
        status = gateway.status()
        assert status["counts"]["routers"] == len(there)
        wait_until(lambda: gateway.status()["backend"]["peers"] == len(there))
    assert len(acknowledged) > 0
    # addresses were not given twice, whatever was cut off
    hubs = [router["hub_address"] for router in gateway.api.all("/routers")]
    assert len(hubs) == len(set(hubs))


def test_restarts_leave_the_engine_alone(make_gateway):
    gateway = make_gateway()
    engine = gateway.engine_pid()
    tenant = gateway.api.post("/tenants", {"name": "t"})
    gateway.api.post(f"/tenants/{tenant['id']}/routers", {"name": "r"})
    for ending in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        gateway.end(ending)
        assert gateway.engine_pid() == engine
        gateway.start()
        status = gateway.status()
        assert (status["backend"]["pid"], status["backend"]["peers"]) == (engine, 1)
        assert status["reconcile"]["mended"] == 0


def test_sigterm_ends_it_cleanly_and_soon(make_gateway):
    gateway = make_gateway()
    poll = gateway.client()
    thread = threading.Thread(target=lambda: poll.get("/events", after=10**6, wait=30))
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert gateway.end() == 0
    assert time.monotonic() - began < 5
    thread.join(5)
    assert not thread.is_alive()
    assert not gateway.socket.exists()


def test_sighup_changes_nothing(make_gateway):
    gateway = make_gateway()
    gateway.process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert gateway.api.get("/health")["status"] == "ok"


def test_an_engine_that_died_is_started_again_with_all_it_had(make_gateway):
    gateway = make_gateway()
    made = gateway.api.post("/tenants/bulk", {"tenants": [{"name": f"t{n}", "routers": [{"name": "r"}]} for n in range(50)]})
    assert made["created"] == 50
    assert gateway.status()["reconcile"]["mended"] == 0  # nobody changed what this one filled
    before = gateway.engine_pid()
    gateway_pid = gateway.process.pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: gateway.engine_pid() not in (None, before), 15, "a new engine")
    wait_until(lambda: gateway.status()["backend"]["peers"] == 50 and gateway.status()["reconcile"]["state"] == "in-sync", 15)
    assert gateway.process.pid == gateway_pid and gateway.process.poll() is None
    assert gateway.status()["reconcile"]["mended"] == 0  # nor the new engine
    wait_until(lambda: "filled anew" in gateway.log_tail(), 10, "a word in the log")
    assert "by hand" not in gateway.log_tail()


def test_writes_go_on_while_the_engine_is_away(make_gateway):
    gateway = make_gateway({"backend": {"engine_path": "/nonexistent/sallyport-wg"}}, start=False)
    gateway.start(wait=False)
    wait_until(gateway.socket.exists)
    tenant = gateway.api.post("/tenants", {"name": "t"})
    router = gateway.api.post(f"/tenants/{tenant['id']}/routers", {"name": "r"})
    assert gateway.api.get(f"/routers/{router['id']}")["status"] == "pending"
    try:
        gateway.api.get("/health")
        raise AssertionError("healthy without a data plane")
    except ApiError as error:
        assert (error.status, error.problem["backend"], error.problem["store"]) == (503, "unavailable", "ok")
    status = gateway.status()
    assert not status["backend"]["up"] and status["reconcile"]["state"] != "in-sync"
