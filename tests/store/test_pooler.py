"""pgbouncer in between: it may pool sessions; one that pools transactions is named."""
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from conftest import wait_until
from harness.netns import die_with_parent
from harness.postgresql import SUPERUSER, identity

PORT = 6432


class Pooler:
    """pgbouncer in front of one database. set(mode) also while it runs."""

    def __init__(self, server, name, mode):
        self.server, self.name = server, name
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-pooler-"))
        self.folder.chmod(0o755)
        if identity():
            shutil.chown(self.folder, identity()["user"])
        self.process = None
        self.set(mode)
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([program, "-q", str(self.folder / "pgbouncer.ini")], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=die_with_parent, **identity())
        wait_until((self.folder / f".s.PGSQL.{PORT}").exists, what=(self.folder / "log").read_text)

    def set(self, mode):
        (self.folder / "users").write_text(f'"{SUPERUSER}" ""\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n{self.name} = host={self.server.socket} dbname={self.name}\n"
            f"[pgbouncer]\nlisten_port = {PORT}\nunix_socket_dir = {self.folder}\nauth_type = trust\n"
            f"auth_file = {self.folder}/users\npool_mode = {mode}\n")
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    @property
    def url(self):
        return f"postgresql://{SUPERUSER}@/{self.name}?host={self.folder}&port={PORT}"

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


@pytest.fixture
def pooled(shared_server, database):
    """pooled(mode): a pooler in front of this test's database."""
    made = []

    def make(mode):
        made.append(Pooler(shared_server, database.partition("@/")[2].partition("?")[0], mode))
        return made[-1]

    yield make
    for pooler in made:
        pooler.close()


def test_sessions_may_be_pooled(pooled, make_gateway):
    pooler = pooled("session")
    gateway = make_gateway(pooler.url)
    other = make_gateway(pooler.url, key_of=gateway, settings={"gateway": {"name": "other"}})
    tenant = gateway.api.post("/tenants", {"name": "t"})
    router = other.api.post(f"/tenants/{tenant['id']}/routers", {"name": "r"})
    assert gateway.api.get(f"/routers/{router['id']}")["name"] == "r"
    wait_until(lambda: gateway.status()["backend"]["peers"] == other.status()["backend"]["peers"] == 1)


def test_transactions_may_not(pooled, shared_server, database, make_gateway):
    gateway = make_gateway(pooled("transaction").url, start=False)
    with pytest.raises(RuntimeError) as said:
        gateway.start()
    assert gateway.process.poll() == 1
    assert "pool_mode = session" in str(said.value)
    assert shared_server.sql("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'",
                             name=database.partition("@/")[2].partition("?")[0]) == "0"


def test_a_pooler_that_changes_its_ways_is_named(pooled, make_gateway):
    """Found out while it runs: no statement of another's is ever taken for one of ours."""
    pooler = pooled("session")
    gateway = make_gateway(pooler.url)
    gateway.api.post("/tenants", {"name": "t"})
    pooler.set("transaction")
    until = time.monotonic() + 20
    while time.monotonic() < until:
        status, _, content = gateway.api.raw("POST", "/tenants", b'{"name": "x"}')
        assert status in (201, 503), content
        if b"pool_mode" in content:
            return
    raise AssertionError("nobody noticed")
