"""Black-box scenarios of the data plane, through sallyportd's API, with stock WireGuard routers: one source for both
backends.

On a host whose kernel has no WireGuard they run against the engine, with wireguard-go as the router. In the virtual
machine (tests/kernel/vm) they run against the kernel with its own WireGuard as the router, and those marked `mixed`
against the engine too. SALLYPORT_PLANE=engine or =kernel takes one backend for all.
"""
import functools
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "net")]

from harness import suite  # noqa: E402
from harness.client import kernel_has_wireguard  # noqa: E402
from plane import Plane  # noqa: E402

BUILD = os.environ.get("SALLYPORT_BUILD", str(HERE.parents[1] / "build"))


BACKENDS = ("kernel", "engine")


@functools.lru_cache
def backends(mixed):
    given = os.environ.get("SALLYPORT_PLANE")
    if given:
        return tuple(name for name in BACKENDS if name == given)
    if os.geteuid() != 0 or not kernel_has_wireguard():
        return BACKENDS[1:]
    return BACKENDS if mixed else BACKENDS[:1]


def pytest_configure(config):
    suite.begin()
    config.addinivalue_line("markers", "only(backend): there is nothing of the kind on the other backend")
    config.addinivalue_line("markers", "mixed: where the routers are the kernel's, with the engine as well")


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        mixed = metafunc.definition.get_closest_marker("mixed") is not None
        metafunc.parametrize("backend", backends(mixed), scope="session")


@pytest.hookimpl(trylast=True)  # pytest's own order would make the same plane again and again
def pytest_collection_modifyitems(items):
    def backend_of(item):
        return item.callspec.params.get("backend", "") if hasattr(item, "callspec") else ""

    def meant(item):
        """A scenario of the other backend is not skipped, which would mean that this machine lacks something."""
        only = item.get_closest_marker("only")
        return not only or backend_of(item) in only.args

    items[:] = sorted(filter(meant, items), key=lambda item: backend_of(item) == "engine")
    suite.skip_all(items, None if os.geteuid() == 0 else "needs root")


@pytest.fixture(scope="session")
def plane(backend):
    """One for all tests that leave it as they found it."""
    with Plane(BUILD, backend) as made:
        yield made.start().populate()


@pytest.fixture(autouse=True)
def _fresh_connection(request):
    """The server has ended a connection that was silent for long."""
    if "plane" in request.fixturenames:
        request.getfixturevalue("plane").api.close()


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
