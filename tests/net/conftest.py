import pathlib
import signal
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import lab  # noqa: E402


def _interrupted(*_):
    raise KeyboardInterrupt


def pytest_configure(config):
    # being told to stop must still take the namespaces down
    signal.signal(signal.SIGTERM, _interrupted)
    config.addinivalue_line("markers", "ours: needs sallyport-wg, whatever SALLYPORT_NET_SUT says")


def pytest_collection_modifyitems(items):
    reason = lab.missing()
    for item in items:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
        elif not lab.OURS and item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason=f"{lab.SUT} has no such extension"))


@pytest.fixture
def world():
    with lab.World() as made:
        yield made


@pytest.fixture(scope="module")
def shared_world():
    with lab.World() as made:
        yield made
