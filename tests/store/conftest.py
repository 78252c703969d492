r"""Fixtures: gateways over one PostgreSQL of ours.

     namespace "sp..-store"        namespace "sp..-store"            here
    +-----------------------+     +-----------------------+
    | sallyportd            |     | sallyportd            |    Server (PostgreSQL)
    |   |   \-- api.sock -------- |   |   \-- api.sock ------- Api
    | sallyport-wg (TUN)    |     | sallyport-wg (TUN)    |        ^
    +---+-------------------+     +---+-------------------+        |
        +-----------------------------+--- Unix socket ------------+
"""
import os
import pathlib
import shutil
import sys
import tempfile
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from harness import suite  # noqa: E402
from harness.api import Api, ApiError  # noqa: E402
from harness.gateway import Gateway, program  # noqa: E402
from harness.netns import Namespace, short_name  # noqa: E402
from harness.postgresql import Server  # noqa: E402

BUILD = pathlib.Path(os.environ.get("SALLYPORT_BUILD", HERE.parents[1] / "build"))


def pytest_configure():
    suite.begin()


def pytest_collection_modifyitems(items):
    suite.skip_all(items, suite.missing())


class StoreGateway(Gateway):
    """A gateway on a store of the test's choice; removes its folder and namespace when closed. With `key_of` it is a
    second one of the same fleet: same key, same database."""

    def __init__(self, url, key_of=None, settings=None):
        program(BUILD, "sallyportd")  # or nothing is made
        program(BUILD, "sallyport-wg")
        namespace = Namespace(f"{short_name('sp')}-store")
        folder = tempfile.mkdtemp(prefix="sallyport-store-")
        super().__init__(BUILD, folder, namespace, {"daemon": {"reconcile_seconds": 2, "usage_seconds": 1},
                                                    "gateway": {"endpoint": "vpn.example.com"}})
        if url:
            self.settings["store"] = {"url": url}
        for section, keys in (settings or {}).items():
            self.settings.setdefault(section, {}).update(keys)
        if key_of:
            self.settings["gateway"]["private_key_file"] = str(key_of.folder / "server.key")
        self.clients = []

    def client(self, timeout=60):
        """Another client of the socket (one per thread)."""
        made = Api(self.socket, timeout=timeout)
        self.clients.append(made)
        return made

    def close(self):
        try:
            for client in self.clients:
                client.close()
            super().close()
            for log in self.folder.glob("*.log"):
                text = log.read_text(errors="replace")
                assert "Sanitizer" not in text and "runtime error" not in text, text[-20000:]
        finally:
            self.namespace.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def wait_until(ready, seconds=10.0, what=None):
    """Polls until `ready()` is true and returns what it returned."""
    until = time.monotonic() + seconds
    while True:
        value = ready()
        if value:
            return value
        assert time.monotonic() < until, f"not within {seconds} s: {what or ready}"
        time.sleep(0.02)


def start_without_waiting(gateway):
    """Until it answers at all."""
    def answers():
        try:
            return gateway.api.raw("GET", "/health")
        except OSError:
            gateway.api.close()
            return None
    gateway.start(wait=False)
    wait_until(lambda: gateway.socket.exists() and answers())


def create(api, name):
    """A tenant, or None while the database is away."""
    try:
        return api.post("/tenants", {"name": name})
    except ApiError as error:
        assert error.status == 503
        return None


@pytest.fixture(scope="session")
def shared_server():
    """For tests that do it no harm."""
    with Server() as server:
        yield server


@pytest.fixture
def server():
    """For tests that kill it: what it acknowledged it must not lose."""
    with Server(fsync=True) as server:
        yield server


@pytest.fixture
def database(shared_server, request):
    return shared_server.database(request.node.name[:60])


@pytest.fixture
def make_gateway():
    """Gateways for one test, gone after it."""
    made = []

    def make(url, key_of=None, settings=None, start=True):
        gateway = StoreGateway(url, key_of, settings)
        made.append(gateway)
        return gateway.start() if start else gateway

    yield make
    for gateway in reversed(made):
        gateway.close()
