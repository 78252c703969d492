"""Tests of the kernel's WireGuard and of what we do with it. They run inside the virtual machine only:

    tests/kernel/vm /usr/bin/python3 -m pytest -q tests/kernel            (scripts/test kernel does it)
"""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


def pytest_configure(config):
    if os.environ.get("SALLYPORT_VM") != "1":
        pytest.exit(f"these tests need the virtual machine: {HERE.parent.name}/{HERE.name}/vm /usr/bin/python3 -m pytest ...",
                    returncode=2)
