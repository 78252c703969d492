import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import lab  # noqa: E402
from harness import suite  # noqa: E402


def pytest_configure(config):
    suite.begin()
    config.addinivalue_line("markers", "ours: needs sallyport-wg, whatever SALLYPORT_NET_SUT says")


def pytest_collection_modifyitems(items):
    suite.skip_all(items, suite.missing())
    for item in items:
        if not lab.OURS and item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason=f"{lab.SUT} has no such extension"))


@pytest.fixture
def world():
    with lab.World() as made:
        yield made


@pytest.fixture(scope="module")
def shared_world():
    with lab.World() as made:
        yield made
