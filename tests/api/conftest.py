r"""Fixtures: sallyportd with its engine in a namespace and a folder of its own, reached through the checked client.

        namespace "sp..-api"                     here
    +--------------------------+
    |  sallyportd  --- api.sock ------------ CheckedApi
    |     |        \-- 127.0.0.1:8080 ------ CheckedApi(namespace=...)
    |  sallyport-wg (TUN)      |
    +--------------------------+
"""
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from harness import suite  # noqa: E402
from harness.gateway import Gateway, program  # noqa: E402
from harness.netns import Namespace, short_name  # noqa: E402
from checked import CheckedApi  # noqa: E402

BUILD = pathlib.Path(os.environ.get("SALLYPORT_BUILD", HERE.parents[1] / "build"))
TCP = "127.0.0.1:8080"
_serial = itertools.count()


def pytest_configure():
    suite.begin()


def pytest_collection_modifyitems(items):
    suite.skip_all(items, suite.missing())


class TestGateway(Gateway):
    """A gateway whose clients are checked; removes its folder and namespace when closed."""

    __test__ = False

    def __init__(self, settings=None, environment=None):
        namespace = Namespace(f"{short_name('sp')}-api")
        folder = tempfile.mkdtemp(prefix="sallyport-api-")
        super().__init__(BUILD, folder, namespace, {"daemon": {"reconcile_seconds": 2, "usage_seconds": 1},
                                                    "gateway": {"endpoint": "vpn.example.com"}}, environment)
        for section, keys in (settings or {}).items():
            self.settings.setdefault(section, {}).update(keys)
        self.api = CheckedApi(self.socket)
        self.clients = []

    def client(self, token=None):
        """Another client of the socket (one per thread)."""
        made = CheckedApi(self.socket, token)
        self.clients.append(made)
        return made

    def tcp(self, token=None):
        made = CheckedApi(f"http://{TCP}", token, namespace=self.namespace)
        self.clients.append(made)
        return made

    def close(self):
        try:
            for client in self.clients:
                client.close()
            super().close()
            said = suite.sanitizers_words(*self.folder.glob("*.log"))
            assert not said, "\n".join(said)
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


@pytest.fixture
def make_gateway():
    """Gateways for one test, gone after it."""
    made = []

    def make(settings=None, environment=None, start=True):
        gateway = TestGateway(settings, environment)
        made.append(gateway)
        return gateway.start() if start else gateway

    yield make
    for gateway in reversed(made):
        gateway.close()


@pytest.fixture(scope="session")
def shared_gateway():
    gateway = TestGateway({"api": {"listen": TCP}})
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.close()


@pytest.fixture
def gateway(shared_gateway):
    """One for all tests that leave it as they found it, but for tenants and routers of their own."""
    return shared_gateway


@pytest.fixture
def api(gateway):
    gateway.api.close()  # the server has ended a connection that was silent for long
    return gateway.api


@pytest.fixture
def name():
    """A new name at each call."""
    return lambda what="thing": f"{what} {os.getpid()}-{next(_serial)}"


@pytest.fixture
def make_tenant(api, name):
    made = []

    def make(**fields):
        tenant = api.post("/tenants", {"name": name("tenant"), **fields})
        made.append(tenant["id"])
        return tenant

    yield make
    for tenant_id in made:
        api.raw("DELETE", f"/tenants/{tenant_id}")


@pytest.fixture
def tenant(make_tenant):
    return make_tenant()


@pytest.fixture
def private_tenant(make_tenant):
    return make_tenant(addressing="private")


@pytest.fixture
def make_router(api, name):
    def make(tenant, **fields):
        return api.post(f"/tenants/{tenant['id']}/routers", {"name": name("router"), **fields})

    return make


@pytest.fixture
def router(make_router, tenant):
    return make_router(tenant)


@pytest.fixture
def key():
    """A new public key at each call."""
    def make():
        private = subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout
        return subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True).stdout.strip()

    return make


@pytest.fixture(scope="session")
def daemon():
    return program(BUILD, "sallyportd")
