"""Gateways that die, that are cut off, that should not be there; and a database that goes away."""
import json
import time

import pytest

from fleet import until
from harness import load
from harness.api import ApiError
from harness.client import key_pair
from harness.gateway import program
from harness.postgresql import Server
from harness.probe import ping

HUB = "10.0.0.1"


def refusal(member):
    """Why a gateway does not start."""
    with pytest.raises(RuntimeError) as caught:
        member.start()
    return str(caught.value)


def doctor(member):
    """What "sallyport doctor" finds on a gateway's host."""
    said = member.namespace.run(program(member.build, "sallyport"), "--socket", str(member.socket), "doctor", "--json",
                                check=False)
    return json.loads(said)["findings"]


def dump(fleet):
    """What a refused gateway must not have touched: its heartbeats and clock aside."""
    tables = ("vpn_settings", "tenant_vpn_tunnels", "vpn_configurations", "vpn_changes")
    return [fleet.server.sql(f"SELECT * FROM {table} ORDER BY 1", fleet.database) for table in tables] + [
        fleet.server.sql("SELECT id, name, instance FROM vpn_gateways ORDER BY id", fleet.database)]


# --- who may come ---

def test_two_gateways_with_one_name(make_fleet):
    fleet = make_fleet(names=("north", "south")).start()
    fleet.tenant()
    before = dump(fleet)
    twin = fleet.join("north")
    said = refusal(twin)
    assert 'Another gateway named "north"' in said and fleet.north.address in said
    assert dump(fleet) == before
    fleet.north.end()  # it says goodbye
    twin.start()
    assert sorted(g["name"] for g in fleet.south.api.get("/gateways")["items"]) == ["north", "south"]


def test_a_killed_gateway_comes_back_at_once_under_its_name(make_fleet):
    fleet = make_fleet(names=("north",)).start()
    fleet.north.kill()
    fleet.north.start()  # its last heartbeat is fresh, and nobody takes it for another
    assert [g["name"] for g in fleet.north.api.get("/gateways")["items"]] == ["north"]


def test_a_new_name_is_the_same_gateway(make_fleet):
    fleet = make_fleet(names=("north", "south")).start()
    fleet.north.end()
    fleet.north.settings["gateway"]["name"] = "nord"
    fleet.north.start()
    assert [g["name"] for g in fleet.south.api.get("/gateways")["items"]] == ["nord", "south"]


def test_a_clock_that_is_an_hour_off_is_refused(make_fleet):
    fleet = make_fleet(names=("north",)).start()
    before = dump(fleet)
    for offset, word in (("3600", "ahead of"), ("-3600", "behind")):
        wrong = fleet.join("south", environment={"SALLYPORT_TEST_CLOCK_OFFSET": offset})
        said = refusal(wrong)
        assert 'The clock of gateway "south" is 3' in said and word in said
    assert dump(fleet) == before


def test_clocks_an_hour_apart_agree_on_who_holds_a_session(make_fleet):
    """Where a wrong clock is put up with, it decides nothing: the routers' own timestamps do."""
    fleet = make_fleet(names=("north",), settings={"gateway": {"clock_tolerance_seconds": 0}})
    fleet.join("south", environment={"SALLYPORT_TEST_CLOCK_OFFSET": "3600"})
    fleet.start()
    made = fleet.router(fleet.tenant())
    assert fleet.everywhere(lambda m: m.peer(made["public_key"])) is not None
    client = fleet.client(made, fleet.north).up()
    for member in (fleet.north, fleet.south, fleet.north, fleet.south):
        fleet.dial(client, member)
        assert ping(client.namespace, [HUB], wait=5)
        for witness in fleet.members:
            assert until(lambda w=witness, m=member: w.api.get(f"/routers/{made['id']}")["gateway"] == m.name)
    offsets = {g["name"]: g["clock_offset_ms"] for g in fleet.north.api.get("/gateways")["items"]}
    assert abs(offsets["north"]) < 5000 and abs(offsets["south"] - 3600000) < 5000


def test_another_server_key_is_refused_even_before_there_are_tenants(make_fleet, tmp_path):
    fleet = make_fleet(names=("north",)).start()
    other = tmp_path / "other.key"
    other.write_text(key_pair()[0] + "\n", encoding="ascii")
    other.chmod(0o600)
    before = dump(fleet)
    assert "was made with the gateway key" in refusal(fleet.join("south", private_key_file=str(other)))
    fleet.tenant()
    assert "was made with the gateway key" in refusal(fleet.join("east", private_key_file=str(other)))
    assert dump(fleet)[0] == before[0]


def test_a_key_made_for_nothing_is_not_left_behind(make_fleet, tmp_path):
    fleet = make_fleet(names=("north",)).start()
    missing = tmp_path / "none.key"
    assert "was made with the gateway key" in refusal(fleet.join("south", private_key_file=str(missing)))
    assert not missing.exists()


def test_the_key_comes_from_a_credential(make_fleet, tmp_path):
    fleet = make_fleet(names=("north",))
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "server.key").write_text(fleet.key.read_text(encoding="ascii"), encoding="ascii")
    (credentials / "server.key").chmod(0o440)
    fleet.start()
    south = fleet.join("south", environment={"CREDENTIALS_DIRECTORY": str(credentials)})
    del south.settings["gateway"]["private_key_file"]
    south.start()
    keys = {member.status()["gateway"]["public_key"] for member in fleet.members}
    assert len(keys) == 1


def test_the_key_is_not_in_the_database(make_fleet):
    fleet = make_fleet(names=("north",)).start()
    fleet.router(fleet.tenant())
    key = fleet.key.read_text(encoding="ascii").strip()
    dumped = fleet.server.run("pg_dump", "-h", str(fleet.server.socket), "-U", "sallyport", fleet.database).stdout
    assert "vpn_configurations" in dumped and key not in dumped


# --- who goes ---

def test_a_killed_gateways_tunnels_go_on_and_its_sessions_are_its_own(make_fleet):
    fleet = make_fleet(names=("north", "south")).start()
    made = fleet.router(fleet.tenant())
    client = fleet.client(made, fleet.north).up()
    assert ping(client.namespace, [HUB], wait=5)
    assert until(lambda: fleet.south.api.get(f"/routers/{made['id']}")["gateway"] == "north")
    fleet.north.kill()
    assert ping(client.namespace, [HUB], wait=5)
    new = fleet.router(made["tenant_id"], at=fleet.south)
    fleet.dial(client, fleet.south)
    assert ping(client.namespace, [HUB], wait=5)
    assert until(lambda: fleet.south.api.get(f"/routers/{made['id']}")["gateway"] == "south")
    fleet.north.start()
    assert until(lambda: fleet.north.peer(new["public_key"]))
    time.sleep(2.5)  # what its engine remembers of the old session is no news
    assert fleet.north.api.get(f"/routers/{made['id']}")["gateway"] == "south"


def test_silent_gateways_are_told_apart(make_fleet):
    fleet = make_fleet(names=("north", "south")).start()
    fleet.north.kill()
    fleet.server.sql("UPDATE vpn_gateways SET heartbeat_at = heartbeat_at - interval '1 hour' WHERE name = 'north'",
                     fleet.database)
    seen = {g["name"]: g for g in fleet.south.api.get("/gateways")["items"]}
    assert not seen["north"]["alive"] and seen["south"]["alive"]


def test_sessions_of_a_gateway_that_is_gone_for_long_end(make_fleet):
    fleet = make_fleet(names=("north", "south")).start()
    made = fleet.router(fleet.tenant())
    client = fleet.client(made, fleet.north).up()
    assert ping(client.namespace, [HUB], wait=5)
    assert until(lambda: fleet.south.api.get(f"/routers/{made['id']}")["gateway"] == "north")
    fleet.north.kill()
    fleet.server.sql("UPDATE vpn_gateways SET heartbeat_at = heartbeat_at - interval '1 hour' WHERE name = 'north'",
                     fleet.database)
    assert until(lambda: not fleet.south.api.get(f"/routers/{made['id']}")["connected"], 12)
    assert fleet.south.api.get(f"/tenants/{made['tenant_id']}")["connected_routers"] == 0
    fleet.north.start()  # its engine has the session still
    assert until(lambda: fleet.south.api.get(f"/routers/{made['id']}")["gateway"] == "north")


def test_sessions_of_a_gateway_that_was_cut_off_come_back_with_the_database(make_fleet):
    """Its tunnels ran on all the time; its routers make a new handshake every two minutes only, and need not."""
    fleet = make_fleet(names=("north", "south")).start()
    made = fleet.router(fleet.tenant())
    client = fleet.client(made, fleet.north).up()
    assert ping(client.namespace, [HUB], wait=5)
    path = f"/routers/{made['id']}"
    assert until(lambda: fleet.south.api.get(path)["gateway"] == "north")
    fleet.north.relay.cut()
    time.sleep(1)
    fleet.server.sql("UPDATE vpn_gateways SET heartbeat_at = heartbeat_at - interval '1 hour' WHERE name = 'north'",
                     fleet.database)
    assert until(lambda: not fleet.south.api.get(path)["connected"], 12)
    handshake = fleet.north.peer(made["public_key"])["handshake"]
    fleet.north.relay.heal()
    assert until(lambda: fleet.south.api.get(path)["gateway"] == "north", 12)
    assert fleet.south.api.get(f"/tenants/{made['tenant_id']}")["connected_routers"] == 1
    assert fleet.north.peer(made["public_key"])["handshake"] == handshake


def test_thousands_of_sessions_of_a_gateway_that_is_gone_end_soon(make_fleet):
    fleet = make_fleet(names=("north", "south")).start()
    routers = [{"name": f"r{n}", "public_key": load.public_key()} for n in range(4000)]
    tenant = fleet.tenant(at=fleet.south)
    assert fleet.south.api.post(f"/tenants/{tenant}/routers/bulk", {"routers": routers})["created"] == 4000
    fleet.north.kill()
    for told in ("vpn_configurations SET status = 'active', connected_since = now(),"
                 " gateway_id = (SELECT id FROM vpn_gateways WHERE name = 'north')",
                 "tenant_vpn_tunnels SET connected_peers = 4000",
                 "vpn_gateways SET heartbeat_at = heartbeat_at - interval '1 hour' WHERE name = 'north'"):
        fleet.server.sql(f"UPDATE {told}", fleet.database)
    assert until(lambda: fleet.server.sql("SELECT COUNT(*) FROM vpn_configurations WHERE connected_since IS NOT NULL",
                                          fleet.database) == "0", 40, every=0.5)
    assert fleet.south.api.get(f"/tenants/{tenant}")["connected_routers"] == 0
    assert not fleet.south.api.get(f"/tenants/{tenant}/routers", limit=1)["items"][0]["connected"]


# --- cut off from the database ---

@pytest.mark.parametrize("how", ["cut", "silence"])
def test_a_gateway_cut_off_lets_nobody_new_in(make_fleet, how):
    """Those who are connected go on; who comes anew is refused; until the database is back and all was compared."""
    fleet = make_fleet(names=("north", "south"), settings={"gateway": {"database_grace_seconds": 3}}).start()
    tenant = fleet.tenant()
    here, anew, revoked = (fleet.router(tenant, name) for name in ("here", "anew", "revoked"))
    assert fleet.everywhere(lambda m: len(m.peers()) == 3) is not None
    client = fleet.client(here, fleet.south).up()
    assert ping(client.namespace, [HUB], wait=5)
    time.sleep(1.5)
    getattr(fleet.south.relay, how)()
    fleet.north.api.delete(f"/routers/{revoked['id']}")
    added = fleet.router(tenant, "added")
    assert fleet.south.peer(anew["public_key"])  # within the time of grace nothing happens
    assert until(lambda: fleet.south.peers() == {here["public_key"]}, 10)
    late = fleet.client(anew, fleet.south).up()
    assert not ping(late.namespace, [HUB], wait=2)
    assert ping(client.namespace, [HUB], wait=5)
    fleet.south.relay.heal()
    wanted = {r["public_key"] for r in (here, anew, added)}
    assert until(lambda: fleet.south.peers() == wanted, 60)
    assert ping(late.namespace, [HUB], wait=12)
    fleet.south.wait_in_sync()
    assert until(lambda: fleet.south.status()["gateway"]["warning"] is None)


def test_what_a_gateway_says_while_it_is_cut_off(make_fleet):
    fleet = make_fleet(names=("north",), settings={"gateway": {"database_grace_seconds": 2}}).start()
    fleet.tenant()
    fleet.north.relay.cut()
    with pytest.raises(ApiError) as caught:
        fleet.north.api.post("/tenants", {"name": "x"})
    assert caught.value.status == 503
    assert until(lambda: "could not be followed" in (fleet.north.status()["gateway"]["warning"] or ""), 10)
    assert ["could not be followed" in item["what"] for item in doctor(fleet.north) if item["check"] == "fleet"] == [True]
    fleet.north.relay.heal()
    assert until(lambda: fleet.north.status()["gateway"]["warning"] is None, 20)
    assert not [item for item in doctor(fleet.north) if item["check"] == "fleet"]


def test_a_newer_gateway_migrates_the_database(make_fleet):
    """A gateway that does not know the schema any more leaves the database alone and forwards on, like one cut off."""
    fleet = make_fleet(names=("north", "south"), settings={"gateway": {"database_grace_seconds": 4}}).start()
    tenant = fleet.tenant()
    here, idle = (fleet.router(tenant, name) for name in ("here", "idle"))
    assert fleet.everywhere(lambda m: len(m.peers()) == 2) is not None
    client = fleet.client(here, fleet.north).up()
    assert ping(client.namespace, [HUB], wait=5)

    def refused(method, path, body=None):
        with pytest.raises(ApiError) as caught:
            fleet.north.api.call(method, path, body)
        assert caught.value.status == 503
        return caught.value.problem["type"].removeprefix("urn:sallyport:problem:")

    # rows went elsewhere, as far as this version can tell: and a change about one of them
    fleet.server.sql("BEGIN; INSERT INTO vpn_migrations (version, applied_at) VALUES (9999, now());"
                     "CREATE TABLE moved AS SELECT * FROM vpn_configurations; DELETE FROM vpn_configurations;"
                     "UPDATE vpn_revision SET value = value + 1;"
                     "INSERT INTO vpn_changes (revision, at, kind, tenant_id, router_id, gone_public_key, actor) SELECT value, now(),"
                     f"'router.updated', '{tenant}', '{here['id']}', '{here['public_key']}', 'x' FROM vpn_revision;"
                     "COMMIT", fleet.database)
    before = dump(fleet)
    assert refused("POST", "/tenants", {"name": "x"}) == "store-newer-schema"  # the very next one
    assert until(lambda: not fleet.north.status()["store"]["ok"], 5)
    assert "newer Sallyport" in fleet.north.status()["store"]["trouble"]
    assert refused("GET", "/routers") == "store-newer-schema"  # what it would read may mean something else now
    assert fleet.north.api.get("/health")["status"] == "degraded"
    assert [item["level"] for item in doctor(fleet.north) if item["check"] == "store"] == ["bad"]
    assert fleet.north.peers() == {here["public_key"], idle["public_key"]}
    # after the time of grace nobody new, as with any database that cannot be followed
    assert until(lambda: fleet.north.peers() == {here["public_key"]}, 15)
    assert "could not be followed" in fleet.north.status()["gateway"]["warning"]
    assert ping(client.namespace, [HUB], wait=5)
    assert until(lambda: "newer Sallyport" in fleet.north.log.read_text(), 10)
    assert dump(fleet) == before and fleet.north.process.poll() is None
    # the upgrade is taken back
    fleet.server.sql("BEGIN; INSERT INTO vpn_configurations SELECT * FROM moved; DROP TABLE moved;"
                     "DELETE FROM vpn_migrations WHERE version = 9999; COMMIT", fleet.database)
    assert until(lambda: len(fleet.north.peers()) == 2, 20)
    fleet.north.wait_in_sync()
    fleet.router(tenant, "added")
    assert fleet.everywhere(lambda m: len(m.peers()) == 3) is not None
    assert ping(client.namespace, [HUB], wait=5)


def test_the_database_is_killed_under_all_of_them(make_fleet):
    with Server(fsync=True) as server:
        fleet = make_fleet()
        for member in fleet.members:
            member.relay.target = str(server.socket / ".s.PGSQL.5432")
        fleet.server = server
        server.database(fleet.database)
        fleet.start()
        tenant = fleet.tenant()
        acknowledged = [fleet.router(tenant, f"r{i}", at=fleet.members[i % 3]) for i in range(9)]
        assert fleet.everywhere(lambda m: len(m.peers()) == 9) is not None
        server.kill()
        with pytest.raises(ApiError):
            fleet.router(tenant)
        assert all(len(member.peers()) == 9 for member in fleet.members)  # the data planes go on
        server.start()
        made = None
        end = time.monotonic() + 30
        while made is None and time.monotonic() < end:
            try:
                made = fleet.router(tenant, at=fleet.east)
            except ApiError as error:
                assert error.status == 503
                time.sleep(0.1)
        wanted = {r["public_key"] for r in (*acknowledged, made)}
        assert fleet.everywhere(lambda m: m.peers() == wanted, 20) is not None
        fleet.close()
