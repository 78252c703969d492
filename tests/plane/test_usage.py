"""What the API tells of traffic and sessions."""
import datetime
import re
import signal
import subprocess

from harness.gateway import program
from plane import wait_until


def usage(plane, name):
    said = plane.tenant(name)
    return said["bytes_received"], said["bytes_sent"]


def test_routers_that_speak_are_connected(plane):
    for name, router in plane.routers.items():
        said = wait_until(lambda n=name: (r := plane.router(n))["connected"] and r, 5, name)
        assert said["status"] == "active"
        assert said["endpoint"].rpartition(":")[0] == router.namespace.address
        at = datetime.datetime.fromisoformat(said["last_handshake_at"])
        assert abs((datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()) < 180


def test_traffic_is_counted_both_ways(plane):
    before = usage(plane, "acme"), plane.router("a1")
    _, up, _ = plane.flood("a1", "hub", 0.5)
    wait_until(lambda: usage(plane, "acme")[0] - before[0][0] >= up * 1000, 8)
    _, down, _ = plane.flood("hub", "a1", 0.5)
    wait_until(lambda: usage(plane, "acme")[1] - before[0][1] >= down * 1000, 8)
    said = wait_until(lambda: (r := plane.router("a1"))["bytes_sent"] > before[1]["bytes_sent"] + down * 1000 and r, 8)
    assert up and down and said["bytes_received"] > before[1]["bytes_received"] + up * 1000


def test_a_tenants_usage_is_not_another_tenants(plane):
    before = usage(plane, "birch")
    plane.flood("a1", "a2", 0.5)
    plane.wait_in_sync()
    after = usage(plane, "birch")
    assert max(b - a for a, b in zip(before, after)) < 20_000  # keepalives and pings of other tests


def test_large_segments_are_counted_by_their_size(plane):
    before = usage(plane, "acme")[1]
    assert plane.carry("hub", "a1", 4 << 20) == 4 << 20
    grown = wait_until(lambda: (n := usage(plane, "acme")[1] - before) >= 4 << 20 and n, 8)
    assert grown < (4 << 20) * 1.3


def test_top_shows_the_packets_of_this_moment(plane):
    with plane.pings(per_second=20), subprocess.Popen(
            [program(plane.gateway.build, "sallyport"), "--socket", str(plane.gateway.socket), "top"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as top:
        try:
            shown = (re.search(r"([\d,]+) packets/s in, ([\d,]+) out", line) for line in top.stdout)
            rates = next([int(n.replace(",", "")) for n in found.groups()] for found in shown if found)
        finally:
            top.terminate()
    assert min(rates) >= 20  # eight pings, twenty times a second, each with its answer


def test_usage_goes_on_after_a_restart(plane):
    wait_until(lambda: plane.router("a1")["bytes_received"] > 0, 5)
    for ending in (signal.SIGTERM, signal.SIGKILL):
        before = usage(plane, "acme"), plane.router("a1")["bytes_received"]
        plane.gateway.end(ending)
        plane.flood("a1", "hub", 0.3)
        plane.gateway.start(timeout=30)
        # what passed meanwhile is counted too, and nothing twice
        grown = wait_until(lambda b=before: (n := usage(plane, "acme")[0] - b[0][0]) > 0 and n, 8)
        assert grown < 5_000_000
        wait_until(lambda b=before: plane.router("a1")["bytes_received"] > b[1], 8)


def test_counts_in_status(plane):
    wait_until(lambda: plane.gateway.status()["counts"]["connected_routers"] == len(plane.routers), 8)
    said = plane.gateway.status()
    assert said["backend"]["name"] == plane.backend and said["backend"]["up"]
    assert said["backend"]["listen_port"] == 51820 and said["backend"]["interface"] == plane.interface
