"""What a gateway cannot work on it names and leaves alone; what is secret it keeps to itself."""
import pytest

from conftest import wait_until
from harness.postgresql import Server


def ends(gateway, status=1):
    """A start that is refused; what was said."""
    with pytest.raises(RuntimeError) as refused:
        gateway.start()
    assert gateway.process.poll() == status, str(refused.value)
    return str(refused.value)


@pytest.fixture(scope="module")
def locked_server():
    """One that wants passwords."""
    with Server(authentication="trust") as server:
        server.sql("CREATE ROLE gateway LOGIN PASSWORD 'correct-horse'; CREATE ROLE guest LOGIN PASSWORD 'guest'")
        (server.data / "pg_hba.conf").write_text(
            "local all sallyport trust\nlocal all all scram-sha-256\n", encoding="ascii")
        server.sql("SELECT pg_reload_conf()")
        yield server


def test_a_wrong_password_is_named_and_never_shown(locked_server, make_gateway):
    locked_server.sql("CREATE DATABASE guarded OWNER gateway")
    url = locked_server.url("guarded", user="gateway:wrong-battery")
    gateway = make_gateway(url, start=False)
    said = ends(gateway)
    assert "cannot be opened" in said and "gateway" in said and "wrong-battery" not in said
    assert locked_server.sql("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'", name="guarded") == "0"
    gateway.settings["store"]["url"] = locked_server.url("guarded", user="gateway:correct-horse")
    gateway.start()
    gateway.api.post("/tenants", {"name": "t"})
    everything = gateway.log.read_text() + str(gateway.status()) + str(gateway.api.get("/health"))
    assert "correct-horse" not in everything
    locked_server.sql("ALTER ROLE gateway PASSWORD 'changed'")
    locked_server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gateway'")
    wait_until(lambda: gateway.api.get("/status")["store"]["trouble"])
    status = gateway.api.raw("POST", "/tenants", b'{"name": "x"}')
    assert status[0] == 503 and b"correct-horse" not in status[2]
    assert "correct-horse" not in gateway.log.read_text() + str(gateway.status())


def test_missing_rights_and_databases_are_named(locked_server, make_gateway):
    locked_server.sql("CREATE DATABASE others")
    said = ends(make_gateway(locked_server.url("others", user="guest:guest"), start=False))
    assert "permission denied" in said
    said = ends(make_gateway(locked_server.url("nowhere"), start=False))
    assert "nowhere" in said and "does not exist" in said


def test_an_encoding_that_loses_names_is_refused(shared_server, make_gateway):
    shared_server.sql("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    said = ends(make_gateway(shared_server.url("latin"), start=False))
    assert "LATIN1" in said and "UTF8" in said
    assert shared_server.sql("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'", name="latin") == "0"


def test_a_newer_schema_is_refused_and_left_alone(shared_server, database, make_gateway):
    name = database.partition("@/")[2].partition("?")[0]
    gateway = make_gateway(database)
    gateway.end()
    shared_server.sql("INSERT INTO vpn_migrations (version, applied_at) VALUES (9999, now())", name=name)
    said = ends(gateway)
    assert "newer Sallyport" in said and "9999" in said


def test_another_servers_key_is_refused_and_left_alone(shared_server, database, make_gateway):
    name = database.partition("@/")[2].partition("?")[0]
    first = make_gateway(database)
    tenant = first.api.post("/tenants", {"name": "theirs"})
    before = dump(shared_server, name)
    said = ends(make_gateway(database, start=False))
    assert "made with the gateway key" in said
    assert dump(shared_server, name) == before
    assert first.api.get(f"/tenants/{tenant['id']}")["name"] == "theirs"


def dump(server, name):
    tables = ("vpn_settings", "vpn_revision", "vpn_changes", "vpn_migrations", "tenant_vpn_tunnels", "vpn_free_blocks")
    return [server.sql(f"SELECT * FROM {table} ORDER BY 1", name=name) for table in tables]


def test_odd_settings_of_the_server_change_nothing(shared_server, database, make_gateway):
    """A database whose defaults are as foreign as can be: times, numbers and names come back as they went in."""
    name = database.partition("@/")[2].partition("?")[0]
    for setting in ("TimeZone = 'Asia/Kathmandu'", "DateStyle = 'German, DMY'", "bytea_output = 'escape'",
                    "client_encoding = 'LATIN1'", "standard_conforming_strings = off",
                    "default_transaction_isolation = 'serializable'",
                    "synchronous_commit = off", "IntervalStyle = 'sql_standard'", "extra_float_digits = -10"):
        shared_server.sql(f'ALTER DATABASE "{name}" SET {setting}')
    gateway = make_gateway(database)
    made = gateway.api.post("/tenants", {"name": "Ærøskøbing 例え", "addressing": "private"})
    router = gateway.api.post(f"/tenants/{made['id']}/routers", {"name": "É", "lans": ["192.168.7.0/24", "2001:db8::/64"],
                                                                 "preshared_key": "generate"})
    gateway.end()
    gateway.start()
    assert gateway.api.get(f"/tenants/{made['id']}")["name"] == "Ærøskøbing 例え"
    again = gateway.api.get(f"/routers/{router['id']}")
    assert {key: again[key] for key in ("lans", "address", "address6", "created_at", "public_key")} == \
        {key: router[key] for key in ("lans", "address", "address6", "created_at", "public_key")}
    assert len(gateway.api.get("/routers", q="É")["items"]) == 1
    assert shared_server.sql("SHOW synchronous_commit", name=name) == "off"


def test_a_schema_of_its_own_beside_the_operators_tables(shared_server, database, make_gateway):
    name = database.partition("@/")[2].partition("?")[0]
    shared_server.sql("CREATE TABLE users (id bigint); CREATE TABLE tenants (id bigint); CREATE SCHEMA vpn", name=name)
    gateway = make_gateway(database + "&options=-csearch_path%3Dvpn")
    gateway.api.post("/tenants", {"name": "t"})
    assert shared_server.sql("SELECT COUNT(*) FROM vpn.tenant_vpn_tunnels", name=name) == "1"
    assert shared_server.sql("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'", name=name) == "2"
