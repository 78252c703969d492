"""A tenant's limits: policed each way, counted as drops, and nobody else's loss."""
import time

import pytest

from plane import wait_until

FLOWS = [("a1", "hub"), ("hub", "a1"), ("a1", "a2")]
IDS = ["up", "down", "site-to-site"]


@pytest.fixture
def limit(plane):
    def set_limits(**limits):
        plane.api.patch(f"/tenants/{plane.tenants['acme']}", {"limits": limits})

    yield set_limits
    set_limits(bits_per_second=0, packets_per_second=0)


@pytest.mark.parametrize("source, target", FLOWS, ids=IDS)
def test_packets_per_second(plane, limit, source, target):
    limit(packets_per_second=50)
    before = plane.counters()["drop.over_limit"]
    sent, arrived, took = plane.flood(source, target, 1.5, least=300)
    # one bucket may have been full at the start
    most = 50 * took + 70
    assert sent > most and 50 * took * 0.7 <= arrived <= most, (sent, arrived, took)
    wait_until(lambda: plane.counters()["drop.over_limit"] - before >= (sent - arrived) * 0.9, 5)


@pytest.mark.parametrize("source, target", FLOWS, ids=IDS)
def test_bits_per_second(plane, limit, source, target):
    limit(bits_per_second=400_000)  # 50 packets of 1000 bytes
    sent, arrived, took = plane.flood(source, target, 2.0, pause=0.0002, least=300)
    most = 50 * took + 75
    assert sent > most and 50 * took * 0.7 <= arrived <= most, (sent, arrived, took)


def test_a_limit_is_kept_for_tcp_too(plane, limit):
    """What the host leaves whole (segments of up to 64 KB) counts by its size."""
    limit(bits_per_second=8_000_000)
    began = time.monotonic()
    assert plane.carry("hub", "a1", 3 << 20) == 3 << 20
    assert time.monotonic() - began > (3 << 23) / 8_000_000 * 0.6


def test_another_tenant_does_not_feel_it(plane, limit):
    limit(packets_per_second=20)
    with plane.pings(["b1", "b2"]) as others:
        plane.flood("a1", "hub", 1.0)
        assert others.mark() == 0


def test_limits_are_lifted_live(plane, limit):
    limit(packets_per_second=20)
    sent, arrived, _ = plane.flood("a1", "hub", 0.5, least=100)
    assert arrived < sent * 0.9
    limit(packets_per_second=0, bits_per_second=0)
    sent, arrived, _ = plane.flood("a1", "hub", 0.5)
    assert arrived >= sent * 0.98, (sent, arrived)


def test_no_limit_no_drop(plane):
    before = plane.counters()["drop.over_limit"]
    sent, arrived, _ = plane.flood("b1", "hub", 0.5)
    assert arrived >= sent * 0.98 and plane.counters()["drop.over_limit"] == before
