"""Several gateways on one PostgreSQL. SALLYPORT_BUILD names the build (default: build)."""
import itertools
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness import suite  # noqa: E402
from harness.netns import Network  # noqa: E402
from harness.postgresql import Server  # noqa: E402
from fleet import Fleet  # noqa: E402

BUILD = os.environ.get("SALLYPORT_BUILD", str(ROOT / "build"))
_serial = itertools.count()


def pytest_configure():
    suite.begin()


def pytest_collection_modifyitems(items):
    suite.skip_all(items, suite.missing())


@pytest.fixture(scope="session")
def server():
    with Server() as server:
        yield server


@pytest.fixture
def make_fleet(server, tmp_path):
    """make_fleet(settings=...): a fleet of its own, not started."""
    made = []

    def make(**options):
        number = next(_serial)
        network = Network("spf")
        made.append(network)
        fleet = Fleet(BUILD, tmp_path / str(number), network, server, f"fleet{number}", **options)
        made.append(fleet)
        return fleet

    yield make
    for one in reversed(made):
        one.close()
    assert [fault for one in made if isinstance(one, Fleet) for fault in one.faults()] == []


@pytest.fixture(scope="module")
def fleet(server, tmp_path_factory):
    """Three gateways that a module's tests share."""
    number = next(_serial)
    with Network("spf") as network:
        with Fleet(BUILD, tmp_path_factory.mktemp("fleet"), network, server, f"fleet{number}") as fleet:
            yield fleet
        assert fleet.faults() == []
