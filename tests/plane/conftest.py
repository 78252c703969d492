"""Black-box scenarios of the data plane, through sallyportd's API, with stock WireGuard routers: one source for both
backends.

On a host whose kernel has no WireGuard they run against the engine, with wireguard-go as the router. In the virtual
machine (tests/kernel/vm) the routers are the kernel's, and SALLYPORT_PLANE names the backends: kernel (default), engine.
"""
import functools
import os
import pathlib
import signal
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "net")]

from harness.client import kernel_has_wireguard  # noqa: E402
from plane import Plane  # noqa: E402

BUILD = os.environ.get("SALLYPORT_BUILD", str(HERE.parents[1] / "build"))


@functools.lru_cache  # pytest knows a parameter again only if it is the very same object
def backends():
    default = "kernel" if os.geteuid() == 0 and kernel_has_wireguard() else "engine"
    return os.environ.get("SALLYPORT_PLANE", default).split(",")


def _interrupted(*_):
    raise KeyboardInterrupt


def pytest_configure(config):
    signal.signal(signal.SIGTERM, _interrupted)  # being told to stop must still take the namespaces down
    config.addinivalue_line("markers", "only(backend): there is nothing of the kind on the other backend")


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", backends(), scope="session")


def pytest_collection_modifyitems(items):
    def meant(item):
        """A scenario of the other backend is not skipped, which would mean that this machine lacks something."""
        only = item.get_closest_marker("only")
        return not only or item.callspec.params["backend"] in only.args

    items[:] = [item for item in items if meant(item)]
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def plane(backend):
    """One for all tests that leave it as they found it."""
    with Plane(BUILD, backend) as made:
        yield made.start().populate()


@pytest.fixture
def make_plane(backend):
    """Empty planes for one test, not started."""
    made = []

    def make(settings=None, kind=None):
        made.append(Plane(BUILD, kind or backend, settings))
        return made[-1]

    yield make
    for one in reversed(made):
        one.close()
