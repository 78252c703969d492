import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "net"), str(HERE.parent)]

import lab  # noqa: E402
import scene as scenes  # noqa: E402
from harness import suite  # noqa: E402


def has_wireguard():
    made = subprocess.run(["unshare", "--net", "ip", "link", "add", "wgprobe", "type", "wireguard"], capture_output=True, check=False)
    return made.returncode == 0


# On a kernel without WireGuard there is nothing to run; the virtual machine's has it (scripts/test bpf-vm).
collect_ignore = [] if has_wireguard() else ["test_wireguard.py"]


def pytest_collection_modifyitems(items):
    suite.skip_all(items, scenes.missing())


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
    scenes.furnish(made)
    assert made.do("attach") == 2
    return made


@pytest.fixture(scope="module")
def shared():
    """A furnished scene that tests only look at: (scene, gate)."""
    with lab.World() as world:
        made = scenes.Scene(world)
        try:
            driver = made.gate()
            scenes.furnish(driver)
            driver.do("attach")
            yield made, driver
        finally:
            made.close()
