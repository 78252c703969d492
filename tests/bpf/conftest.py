import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "net"), str(HERE.parent)]

import lab  # noqa: E402
import scene as scenes  # noqa: E402

A, B, C = (f"00000000-0000-7000-8000-00000000000{i}" for i in "abc")


def pytest_collection_modifyitems(items):
    reason = scenes.missing()
    for item in items:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def furnish(gate):
    """Tenants A and B, and C with egress; two routers each, the second with a LAN."""
    gate.do("hub", f"{scenes.HUB4}/8", f"{scenes.HUB6}/48")
    for number, (tenant, word) in enumerate(((A, ""), (B, ""), (C, "egress")), 1):
        gate.do("tenant", tenant, word)
        gate.do("peer", f"{number}-1", tenant, f"10.{number}.0.1", f"fd00::{number}:1")
        gate.do("peer", f"{number}-2", tenant, f"10.{number}.0.2", f"fd00::{number}:2", f"192.168.{number}.0/24",
                f"fd77:0:{number}::/48")


@pytest.fixture
def scene():
    with lab.World() as world:
        made = scenes.Scene(world)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def gate(scene):
    made = scene.gate()
    furnish(made)
    assert made.do("attach") == 2
    return made


@pytest.fixture(scope="module")
def shared():
    """A furnished scene that tests only look at: (scene, gate)."""
    with lab.World() as world:
        made = scenes.Scene(world)
        try:
            driver = made.gate()
            furnish(driver)
            driver.do("attach")
            yield made, driver
        finally:
            made.close()
