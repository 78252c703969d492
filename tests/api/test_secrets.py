"""Private keys and tokens are nowhere but in the one answer that hands them out."""
import base64
import sqlite3
import uuid

from harness.gateway import Gateway


def forms(key):
    raw = base64.b64decode(key)
    return [key.encode(), raw, raw.hex().encode(), base64.urlsafe_b64encode(raw)]


def held_by(gateway):
    """Every byte of every file the gateway writes, after a checkpoint of the database's log."""
    with sqlite3.connect(gateway.folder / "sallyport.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    files = [path for path in gateway.folder.rglob("*") if path.is_file() and path.name != "server.key"]
    assert any(path.name == "sallyport.db" for path in files) and any(path.suffix == ".log" for path in files)
    return {path.name: path.read_bytes() for path in files}


def test_no_file_and_no_later_answer_holds_them(make_gateway):
    gateway = make_gateway({"daemon": {"log_level": "debug"}})
    api = gateway.api
    tenant = api.post("/tenants", {"name": "t"})
    path = f"/tenants/{tenant['id']}/routers"
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    one = api.post(path, {"name": "one"})
    kept = api.post(path, {"name": "kept"}, headers)
    bulk = api.post(f"{path}/bulk", {"routers": [{"name": f"b{n}"} for n in range(20)]})
    rotated = api.post(f"/routers/{one['id']}/rotate")
    privates = [made["private_key"] for made in [one, kept, rotated] + [item["router"] for item in bulk["items"]]]
    token = api.post("/tokens", {"name": "x", "scope": "admin"}, {"Idempotency-Key": "for the token"})["token"]
    gateway.client(token).get("/tenants")
    gateway.client("sp_" + "w" * 43).refused(401, "invalid-token", "GET", "/tenants")

    answers = [str(list(api.all(listing))) for listing in ("/routers", "/tenants", path)]
    answers += [str(api.get(listing)) for listing in ("/events", "/tokens", "/status", "/counters")]
    answers += [str(api.get(f"/routers/{router['id']}")) + api.get(f"/routers/{router['id']}/config")
                for router in api.all("/routers")]
    for private in privates:
        assert not any(private in answer for answer in answers)
    assert not any(token in answer for answer in answers)

    def search():
        for name, content in held_by(gateway).items():
            for private in privates:
                for form in forms(private):
                    assert form not in content, f"a private key is in {name}"
            for secret in (token, "w" * 43, headers["Idempotency-Key"]):
                assert secret.encode() not in content, f"a secret is in {name}"
            server = (gateway.folder / "server.key").read_text().strip()
            for form in forms(server):
                assert form not in content, f"the gateway's private key is in {name}"

    search()
    gateway.end()
    search()
    assert isinstance(gateway, Gateway)


def test_files_are_for_the_owner_only(make_gateway):
    gateway = make_gateway()
    for path in gateway.folder.rglob("*"):
        if path.name not in ("sallyport.conf", "sallyportd.log", "api.sock"):  # the test's own, and the socket
            assert path.stat().st_mode & 0o077 == 0, path
