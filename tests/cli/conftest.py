"""The program `sallyport` against a real gateway: sallyportd and its engine in a namespace and a folder of their own.

SALLYPORT_BUILD names the build (default: build)."""
import json
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


class Done:
    """What a run left: .status, .out, .err; .json reads .out."""

    def __init__(self, completed):
        self.status, self.out, self.err = completed.returncode, completed.stdout, completed.stderr

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Cli:
    """cli("tenant", "list") runs the program against the gateway; nothing of our environment reaches it."""

    def __init__(self, socket, folder):
        self.socket, self.folder = socket, folder
        self.program = program(BUILD, "sallyport")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("SALLYPORT_")}
        self.environment["LC_ALL"] = "C"

    def __call__(self, *arguments, input=None, environment=None, timeout=60):
        given = {**self.environment, **({"SALLYPORT_SOCKET": str(self.socket)} if self.socket else {}),
                 **(environment or {})}
        return Done(subprocess.run([self.program, *arguments], input=input if input is not None else "", text=True,
                                   capture_output=True, cwd=self.folder, env=given, timeout=timeout, check=False))


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    reason = suite.missing()
    if reason:
        pytest.skip(reason)  # what needs no gateway runs all the same
    with Network("spc") as network:
        namespace = network.host("gateway")
        settings = {"gateway": {"endpoint": "vpn.example.com"}, "api": {"listen": "127.0.0.1:8080"}}
        with Gateway(BUILD, tmp_path_factory.mktemp("gateway"), namespace, settings) as gateway:
            gateway.start()
            yield gateway


@pytest.fixture
def cli(gateway, tmp_path):
    """With an empty store: what a test left is removed after it."""
    yield Cli(gateway.socket, tmp_path)
    for tenant in list(gateway.api.all("/tenants")):
        gateway.api.delete(f"/tenants/{tenant['id']}")


@pytest.fixture
def alone(tmp_path):
    """The program without any gateway."""
    return Cli(None, tmp_path)
