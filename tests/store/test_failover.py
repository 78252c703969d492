"""A cluster changes hands, or has no room for the moment: that passes, and is no refusal."""
import json
import subprocess
import threading
import time

import pytest

from conftest import create, start_without_waiting, wait_until
from cutter import Cutter


def refused(api, method, path, body=None):
    status, headers, content = api.raw(method, path, json.dumps(body).encode() if body is not None else None)
    assert status == 503 and headers["Retry-After"], (status, content)
    return json.loads(content)


def test_a_standby_at_the_start_is_waited_for(server, make_gateway):
    url = server.database("fleet")
    server.demote()
    gateway = make_gateway(url, start=False)
    start_without_waiting(gateway)
    assert refused(gateway.api, "POST", "/tenants", {"name": "early"})["type"].endswith(":store-away")
    time.sleep(2)  # it asks again by itself, and is told the same
    assert gateway.process.poll() is None
    server.promote()
    gateway.wait_in_sync()
    assert gateway.api.post("/tenants", {"name": "late"})["name"] == "late"


def test_a_primary_that_becomes_a_standby_is_away_until_one_takes_over(server, make_gateway):
    gateway = make_gateway(server.database("fleet"))
    tenant = gateway.api.post("/tenants", {"name": "kept"})
    path = f"/tenants/{tenant['id']}"
    read = gateway.api.get(path)
    server.demote()
    assert refused(gateway.api, "POST", "/tenants", {"name": "x"})["type"].endswith(":store-away")
    status, headers, content = gateway.api.raw("GET", path)
    assert status == 200 and json.loads(content) == read and "Age" in headers
    wait_until(lambda: gateway.api.get("/health")["status"] == "degraded")
    server.promote()
    assert wait_until(lambda: create(gateway.api, "again"), 20)
    assert gateway.process.poll() is None


@pytest.mark.parametrize("moment", ["start", "run"])
def test_too_many_connections_are_no_refusal(server, make_gateway, moment):
    server.sql("CREATE ROLE gateway LOGIN")
    server.sql("CREATE DATABASE fleet OWNER gateway")
    gateway = make_gateway(server.url("fleet", user="gateway"), start=moment == "run")
    if moment == "run":  # it may open one more connection for either
        tenant = gateway.api.post("/tenants", {"name": "t"})
        gateway.api.get(f"/tenants/{tenant['id']}")
    server.sql("ALTER ROLE gateway CONNECTION LIMIT 0")
    if moment == "start":
        start_without_waiting(gateway)
    else:
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gateway'")
        assert gateway.api.raw("GET", f"/tenants/{tenant['id']}")[1]["Age"]
    assert refused(gateway.api, "POST", "/tenants", {"name": "x"})["type"].endswith(":store-away")
    assert "too many connections" in wait_until(lambda: gateway.api.get("/status")["store"]["trouble"])
    assert gateway.process.poll() is None
    server.sql("ALTER ROLE gateway CONNECTION LIMIT -1")
    assert wait_until(lambda: create(gateway.api, "again"), 20)


def test_a_start_while_others_write_for_long_waits(shared_server, database, make_gateway):
    gateway = make_gateway(database)
    gateway.end()
    name = database.partition("@/")[2].partition("?")[0]
    lock = "pg_advisory_lock(hashtext('sallyport'), hashtext('public'))"
    holder = threading.Thread(target=lambda: pytest.raises(subprocess.CalledProcessError, shared_server.sql,
                                                           f"SELECT {lock}, pg_sleep(60)", name=name))
    holder.start()
    wait_until(lambda: shared_server.sql("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND granted") != "0")
    start_without_waiting(gateway)
    assert refused(gateway.api, "POST", "/tenants", {"name": "early"})["type"].endswith(":store-away")
    assert gateway.process.poll() is None
    shared_server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND "
                      "pid <> pg_backend_pid()")
    holder.join()
    gateway.wait_in_sync()
    assert gateway.api.post("/tenants", {"name": "late"})["name"] == "late"


def test_a_server_that_lets_in_and_then_says_nothing_holds_nobody_up(server, make_gateway):
    cutter = Cutter(server)
    try:
        server.database("fleet")
        gateway = make_gateway(cutter.url("fleet"))
        gateway.api.post("/tenants", {"name": "t"})
        cutter.mute = True
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'fleet'")
        # an answer, before the client loses patience
        assert refused(gateway.client(timeout=50), "POST", "/tenants", {"name": "x"})["type"].endswith(":store-away")
        cutter.mute = False
        assert wait_until(lambda: create(gateway.api, "again"), 30)
    finally:
        cutter.mute = False
        cutter.close()
