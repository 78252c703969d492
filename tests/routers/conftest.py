"""The scripts that routers are given, run on what they are for or on a model of it.

SALLYPORT_BUILD names the build (default: build)."""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness import suite  # noqa: E402
from harness.gateway import Gateway, program  # noqa: E402
from harness.netns import Network  # noqa: E402

BUILD = os.environ.get("SALLYPORT_BUILD", str(ROOT / "build"))


def pytest_configure():
    suite.begin()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    reason = suite.missing()
    if reason:
        pytest.skip(reason)
    with Network("spo") as network:
        settings = {"gateway": {"endpoint": "vpn.example.com"}}
        with Gateway(BUILD, tmp_path_factory.mktemp("gateway"), network.host("gateway"), settings) as gateway:
            gateway.start()
            yield gateway


@pytest.fixture
def tenant(gateway):
    made = gateway.api.post("/tenants", {"name": "it's {Acme}; $x", "addressing": "private"})
    yield made
    gateway.api.delete(f"/tenants/{made['id']}")


@pytest.fixture
def script(gateway):
    """script(router, form) is the text that this router gets now."""
    return lambda router, form, more="": gateway.api.raw(
        "GET", f"/routers/{router['id']}/config?format={form}{more}")[2].decode()
