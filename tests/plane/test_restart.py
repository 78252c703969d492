"""sallyportd stops, dies and starts; the data plane goes on without it."""
import signal
import time

import pytest

from plane import WORLD


@pytest.mark.mixed
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill-9"])
def test_a_stop_and_start_of_sallyportd_costs_no_packet(plane, ending):
    with plane.pings() as pings:
        time.sleep(0.5)
        plane.gateway.end(ending)
        time.sleep(0.5)
        plane.gateway.start(timeout=30)
        assert plane.gateway.status()["reconcile"]["mended"] == 0
        time.sleep(0.5)
        assert pings.mark() == 0, pings.lost_by_address
    assert pings.sent > 8 * 5


def test_isolation_holds_while_sallyportd_is_away(plane):
    plane.gateway.kill()
    try:
        a1 = plane.routers["a1"]
        assert plane.reaches_none(a1.namespace, [*plane.routers["b1"].addresses, WORLD])
        assert plane.reaches_all(a1.namespace, [plane.hub_address, *plane.routers["a2"].addresses])
    finally:
        plane.gateway.start(timeout=30)


def test_a_start_mends_what_was_changed_meanwhile(plane):
    a1, b1 = plane.routers["a1"], plane.routers["b1"]
    plane.gateway.end()
    plane.wg("set", plane.interface, "peer", a1.public_key, "remove")
    plane.wg("set", plane.interface, "peer", b1.public_key, "allowed-ips", f"{b1.address}/32,10.66.0.0/16")
    plane.gateway.start(timeout=30)
    assert plane.gateway.status()["reconcile"]["mended"] >= 2
    assert plane.peers()[b1.public_key] == {f"{b1.address}/32", f"{b1.address6}/128", b1.lan}
    assert plane.reaches_all(plane.hub, [*a1.addresses, *b1.addresses], 12)


def test_changes_made_just_before_a_kill_are_there_after_it(plane):
    tenant = plane.api.post("/tenants", {"name": "quick"})["id"]
    made = plane.api.post(f"/tenants/{tenant}/routers", {"name": "q1"})
    plane.gateway.kill()
    assert made["public_key"] in plane.peers()
    plane.gateway.start(timeout=30)
    assert plane.gateway.status()["reconcile"]["mended"] == 0
    plane.api.delete(f"/tenants/{tenant}")
    assert made["public_key"] not in plane.peers()
