"""Every peer is read, once and whole, whatever number of them there is (sweep.c does the work).

A dump comes in pieces of up to 32 KB, and a peer may be split over several: other tools lost peers at about 20, at
exactly 23, at 90."""
import os
import pathlib

import pytest

from harness.netns import run, short_name

SWEEP = pathlib.Path(os.environ["SALLYPORT_BUILD"]) / "tests/kernel/sweep"
POWERS = [count for power in range(9, 15) for count in (2 ** power - 1, 2 ** power, 2 ** power + 1)]


@pytest.fixture
def interface():
    """It goes with the machine: the kernel takes minutes to remove that many peers."""
    return short_name("sw")


def sweep(*words, timeout=120):
    return run(str(SWEEP), *(str(word) for word in words), timeout=timeout)


@pytest.mark.parametrize("shape, counts", [
    ("plain", range(1, 301)), ("varied", range(1, 301)), ("plain", POWERS), ("varied", [c for c in POWERS if c < 5000]),
], ids=["plain-1-to-300", "varied-1-to-300", "plain-powers-of-two-to-16384", "varied-powers-of-two-to-4096"])
def test_every_count_is_read_whole(interface, shape, counts):
    sweep("fill", interface, shape, *counts)


def test_what_we_read_is_what_wg_reads(interface):
    sweep("fill", interface, "varied", 700)
    ours = {(key, frozenset(allowed.split())) for key, _, allowed in
            (line.partition("\t") for line in sweep("print", interface).splitlines())}
    lines = (line.partition("\t") for line in run("wg", "show", interface, "allowed-ips").splitlines())
    theirs = {(key, frozenset(allowed.replace("(none)", "").split())) for key, _, allowed in lines}
    assert len(ours) == 700 and ours == theirs


def test_nothing_that_stays_is_missed_while_others_come_and_go(interface):
    said = sweep("churn", interface, 500, 5)
    assert int(said.split()[0]) > 0, said
