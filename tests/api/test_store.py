"""A database that is locked, read-only, of a newer schema, broken, or on a full disk: told clearly, nothing half done."""
import contextlib
import os
import shutil
import sqlite3
import subprocess
import threading
import time

import pytest
from conftest import wait_until
from harness.api import ApiError
from test_daemon import refused_to_start


@contextlib.contextmanager
def mounted(folder, options):
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "sallyport-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def locked(path, how="IMMEDIATE"):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(f"BEGIN {how}")
    return database


def test_another_program_holds_the_lock(make_gateway):
    gateway = make_gateway()
    tenant = gateway.api.post("/tenants", {"name": "before"})
    other = locked(gateway.folder / "sallyport.db")
    began = time.monotonic()
    problem = gateway.api.refused(503, None, "POST", "/tenants", {"name": "meanwhile"})
    assert time.monotonic() - began < 30
    assert "lock" in problem["detail"].lower() or "busy" in problem["detail"].lower()
    assert gateway.api.with_headers("GET", "/health")[0] == 200
    # reading goes on
    assert [item["id"] for item in gateway.api.get("/tenants")["items"]] == [tenant["id"]]
    other.execute("ROLLBACK")
    other.close()
    assert gateway.api.post("/tenants", {"name": "after"})["name"] == "after"
    assert [item["name"] for item in gateway.api.get("/tenants")["items"]] == ["before", "after"]


def test_a_short_lock_is_waited_for(make_gateway):
    gateway = make_gateway()
    other = locked(gateway.folder / "sallyport.db")
    other.close()
    done = threading.Event()

    def hold():
        held = locked(gateway.folder / "sallyport.db")
        done.set()
        time.sleep(0.5)
        held.execute("ROLLBACK")
        held.close()

    thread = threading.Thread(target=hold)
    thread.start()
    done.wait(5)
    assert gateway.api.post("/tenants", {"name": "patient"})["name"] == "patient"
    thread.join()


def test_a_newer_schema_is_left_alone(make_gateway):
    gateway = make_gateway()
    gateway.end()
    path = gateway.folder / "sallyport.db"
    with sqlite3.connect(path) as database:
        newest = database.execute("SELECT MAX(version) FROM vpn_migrations").fetchone()[0]
        database.execute("INSERT INTO vpn_migrations (version, applied_at) VALUES (?, '2030-01-01T00:00:00.000000Z')", (newest + 1,))
    database.close()
    before = path.read_bytes()
    said = refused_to_start(gateway)
    assert "newer" in said
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"This is no database at all. " * 1000, b"SQLite format 3\0" + os.urandom(8000)])
def test_a_file_that_is_no_database_is_left_alone(make_gateway, content):
    gateway = make_gateway(start=False)
    path = gateway.folder / "sallyport.db"
    path.write_bytes(content)
    (gateway.folder / "server.key").write_text("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n")
    (gateway.folder / "server.key").chmod(0o600)
    said = refused_to_start(gateway)
    assert "sallyport.db" in said
    assert path.read_bytes() == content


def test_a_read_only_file_system_is_told(make_gateway, tmp_path):
    gateway = make_gateway()
    gateway.end()
    with mounted(tmp_path / "ro", "size=64m") as folder:
        shutil.copy(gateway.folder / "sallyport.db", folder)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        gateway.settings["store"]["url"] = f"sqlite:{folder}/sallyport.db"
        said = refused_to_start(gateway)
    assert f"{folder}/sallyport.db cannot be written" in said


def test_a_folder_that_is_not_there_is_told(make_gateway):
    gateway = make_gateway({"store": {"url": "sqlite:/nonexistent/folder/sallyport.db"}}, start=False)
    assert "/nonexistent/folder/sallyport.db" in refused_to_start(gateway)


def test_a_full_disk_refuses_and_keeps_what_there_is(make_gateway, tmp_path):
    gateway = make_gateway(start=False)
    with mounted(tmp_path / "small", "size=6m") as folder:
        gateway.settings["store"]["url"] = f"sqlite:{folder}/sallyport.db"
        gateway.start()
        acknowledged, refusal = [], None
        for turn in range(200):
            try:
                made = gateway.api.post("/tenants/bulk?return=minimal", {"tenants": [
                    {"name": f"t{turn}-{n}", "addressing": "private"} for n in range(200)]})
                acknowledged += [item["id"] for item in made["items"]]
            except ApiError as error:
                refusal = error
                break
        assert refusal is not None and refusal.status == 503
        assert "full" in refusal.problem["detail"].lower() or "space" in refusal.problem["detail"].lower()
        # reading goes on, and all that was acknowledged is there; nothing of what was refused
        assert [tenant["id"] for tenant in gateway.api.all("/tenants")] == acknowledged
        assert gateway.api.get("/status")["counts"]["tenants"] == len(acknowledged)
        # with room again, so does writing
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        tenant = wait_until(lambda: made_at_last(gateway), 10)
        assert [item["id"] for item in gateway.api.all("/tenants")] == acknowledged + [tenant["id"]]
        # also after a crash
        gateway.kill()
        gateway.start()
        assert [item["id"] for item in gateway.api.all("/tenants")] == acknowledged + [tenant["id"]]
        gateway.end()


def made_at_last(gateway):
    try:
        return gateway.api.post("/tenants", {"name": "room again"})
    except ApiError as error:
        assert error.status == 503
        return None
