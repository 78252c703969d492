"""A grown single host moves from its file into PostgreSQL, and back: everything arrives, routers notice nothing."""
import json
import os
import shutil
import sqlite3
import subprocess
import threading
import time

from conftest import BUILD, wait_until
from harness.gateway import program


def migrate(source, target, *options, command=None, **environment):
    return subprocess.run([command or program(BUILD, "sallyport"), "store", "migrate", "--from", source, "--to", target, *options],
                          capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment})


def grow(gateway):
    """Some of everything, and numbers with gaps."""
    api = gateway.api
    made = []
    for number in range(6):
        tenant = api.post("/tenants", {"name": f"Zürich {number}", "addressing": "private" if number % 2 else "unique",
                                       "limits": {"bits_per_second": 1000 * number}})
        made.append(tenant["id"])
        for router in range(5):
            api.post(f"/tenants/{tenant['id']}/routers", {
                "name": f"r{router}", "lans": [f"192.168.{number * 8 + router}.0/24"],
                **({"preshared_key": "generate"} if router == 1 else {})})
    api.delete(f"/tenants/{made.pop()}")
    api.post(f"/tenants/{made[0]}/disable")
    api.post("/tokens", {"name": "billing", "scope": "admin"})
    api.post("/tenants", {"name": "kept"}, headers={"Idempotency-Key": "once"})
    api.delete(f"/tenants/{api.post('/tenants', {'name': 'last'})['id']}")


def content(api):
    tenants = {tenant["id"]: tenant for tenant in api.all("/tenants")}
    routers = {router["id"]: router for router in api.all("/routers")}
    return tenants, routers, api.get("/tokens")["items"], [event["revision"] for event in api.get("/events", limit=1000)["items"]]


def test_everything_arrives_and_routers_keep_keys_and_addresses(shared_server, database, make_gateway):
    gateway = make_gateway(None)
    grow(gateway)
    before = content(gateway.api)
    peers = sum(before[0][router["tenant_id"]]["status"] == "active" for router in before[1].values())
    source = gateway.settings["store"]["url"]
    assert gateway.end() == 0
    moved = migrate(source, database, "--json")
    assert moved.returncode == 0, moved.stderr
    told = json.loads(moved.stdout)
    assert told["tenants"] == len(before[0]) and told["routers"] == len(before[1])
    assert "100 %" in moved.stderr
    gateway.settings["store"]["url"] = database
    gateway.start()
    assert content(gateway.api)[:3] == before[:3]
    assert content(gateway.api)[3] == before[3]
    wait_until(lambda: gateway.status()["backend"]["peers"] == peers)
    again = gateway.api.raw("POST", "/tenants", json.dumps({"name": "kept"}).encode(), {"Idempotency-Key": "once"})
    assert again[0] == 201 and again[1]["Idempotency-Replayed"] == "true"
    highest = max(int(number) for number in shared_server.sql("SELECT id FROM tenant_vpn_tunnels",
                                                              name=name_of(database)).split())
    fresh = gateway.api.post("/tenants", {"name": "fresh"})
    router = gateway.api.post(f"/tenants/{fresh['id']}/routers", {"name": "fresh"})
    assert router["hub_address"] not in {r["hub_address"] for r in before[1].values()}
    number = int(shared_server.sql(f"SELECT id FROM tenant_vpn_tunnels WHERE tenant_id = '{fresh['id']}'",
                                   name=name_of(database)))
    assert number == highest + 2  # nor that of the last one, which was deleted


def name_of(url):
    return url.partition("@/")[2].partition("?")[0]


def test_there_and_back_again(database, make_gateway, tmp_path):
    gateway = make_gateway(None)
    grow(gateway)
    before = content(gateway.api)
    assert gateway.end() == 0
    file = f"sqlite:{tmp_path}/back.db"
    assert migrate(gateway.settings["store"]["url"], database).returncode == 0
    moved = migrate(database, file)
    assert moved.returncode == 0, moved.stderr
    gateway.settings["store"]["url"] = file
    gateway.start()
    assert content(gateway.api) == before


def test_a_store_in_use_is_not_moved(shared_server, database, make_gateway, tmp_path):
    gateway = make_gateway(None)
    gateway.api.post("/tenants", {"name": "t"})
    moved = migrate(gateway.settings["store"]["url"], database)
    assert moved.returncode == 1 and "locked by another process" in moved.stderr
    assert gateway.api.post("/tenants", {"name": "goes on"})
    assert rows(shared_server, database) == 0
    other = make_gateway(database)
    moved = migrate(database, f"sqlite:{gateway.folder}/copy.db")
    assert moved.returncode == 1 and "heard of just now" in moved.stderr
    # whatever the time is where it is moved
    wrong = {"SALLYPORT_TEST_CLOCK_OFFSET": "3600"}
    shutil.copy(program(BUILD, "sallyport"), tmp_path / "sallyport")
    shutil.copy(program(BUILD, "sallyportd", wrong), tmp_path / "sallyportd")  # it runs the one beside it
    moved = migrate(database, f"sqlite:{gateway.folder}/copy.db", command=tmp_path / "sallyport", **wrong)
    assert moved.returncode == 1 and "heard of just now" in moved.stderr
    other.end()
    gateway.end()
    moved = migrate(gateway.settings["store"]["url"], database)
    assert moved.returncode == 1 and "in use already" in moved.stderr
    assert rows(shared_server, database) == 0


def rows(server, url):
    there = server.sql("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'tenant_vpn_tunnels'",
                       name=name_of(url))
    return int(server.sql("SELECT COUNT(*) FROM tenant_vpn_tunnels", name=name_of(url))) if there == "1" else 0


def test_what_cannot_be_moved_says_why(shared_server, database, tmp_path):
    missing = migrate(f"sqlite:{tmp_path}/none.db", database)
    assert missing.returncode == 1 and "none.db" in missing.stderr and not os.path.exists(f"{tmp_path}/none.db")
    (tmp_path / "letter.db").write_text("this is a letter to my mother\n" * 1000)
    assert migrate(f"sqlite:{tmp_path}/letter.db", database).returncode == 1
    assert migrate(database, database).returncode == 1
    assert migrate("mysql:x", database).returncode == 1
    usage = subprocess.run([program(BUILD, "sallyport"), "store", "migrate", "--from", "sqlite:x"], capture_output=True,
                           text=True, check=False)
    assert usage.returncode == 2 and "--to" in usage.stderr
    secret = migrate(f"sqlite:{tmp_path}/none.db", "postgresql://u:hunter2%zz@/x")
    assert secret.returncode == 1 and "hunter2" not in secret.stderr + secret.stdout


def test_a_target_that_dies_in_the_middle_stays_empty(server, make_gateway):
    gateway = make_gateway(None)
    tenants = [{"name": f"t{n}", "routers": [{"name": f"r{r}"} for r in range(10)]} for n in range(300)]
    assert gateway.api.post("/tenants/bulk", {"tenants": tenants})["created"] == 300
    assert gateway.end() == 0
    source, database = gateway.settings["store"]["url"], server.database("fleet")
    result = []
    thread = threading.Thread(target=lambda: result.append(migrate(source, database)))
    thread.start()
    until = time.monotonic() + 10
    while time.monotonic() < until and server.sql(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO vpn_configurations%'") == "0":
        pass
    server.kill()
    thread.join(60)
    server.start()
    assert result[0].returncode == 1 and "does not answer" in result[0].stderr
    assert rows(server, database) == 0
    moved = migrate(source, database)
    assert moved.returncode == 0, moved.stderr
    assert rows(server, database) == 300
    with sqlite3.connect(source.partition(":")[2]) as file:
        assert file.execute("SELECT COUNT(*) FROM vpn_configurations").fetchone()[0] == 3000
