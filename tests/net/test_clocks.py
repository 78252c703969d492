"""Routers whose clocks are wrong, and the gateway's own.

    [far]  192.0.2.2 ---- 192.0.2.1 [gw]  wg 10.9.0.1/24

The router is an end of the test's own (noise.py), which says what time it likes.
"""
import time

import pytest

import noise
from lab import SLOW, World, wait_until

YEAR = 365 * 86400
ZEROS = "0" * 24

pytestmark = pytest.mark.ours


class Scene:
    def __init__(self, world):
        self.far, self.gw = world.space("far"), world.space("gw")
        world.link(self.far, ["192.0.2.2/24"], self.gw, ["192.0.2.1/24"])
        self.device = world.device(self.gw, addresses=["10.9.0.1/24"])

    def router(self):
        peer = noise.Peer(self.far.udp("192.0.2.2"), self.device.key.public, ("192.0.2.1", self.device.port))
        self.device.add(peer.key, ["10.9.0.9/32"])
        return peer

    def call(self, peer, seconds):
        """Whether an initiation of that time is answered."""
        time.sleep(0.03 * SLOW)  # at most 50 per second are taken
        peer.send(peer.initiation(noise.tai64n(seconds)))
        return peer.receive(noise.RESPONSE, 0.4) is not None

    def shown(self, peer):
        return self.device.get("sallyport=1", "only=peers")["peers"][peer.key.hex]


@pytest.fixture(scope="module")
def scene():
    with World() as world:
        yield Scene(world)


def test_a_clock_from_the_future_counts_but_is_not_to_be_kept(scene):
    peer, now = scene.router(), time.time()
    assert scene.call(peer, now - 10)
    kept = scene.shown(peer)["timestamp"]
    assert kept == noise.tai64n(now - 10).hex() and "clock_behind" not in scene.shown(peer)
    assert scene.call(peer, now + 50 * YEAR)
    assert scene.shown(peer)["timestamp"] == ZEROS
    assert not scene.call(peer, now), "as in the kernel: it could be a replay"
    behind = int(scene.shown(peer)["clock_behind"])
    assert 50 * YEAR - 2 <= behind <= 50 * YEAR + 2
    scene.device.set("sallyport=1", f"public_key={peer.key.hex}", "update_only=true", "reset_timestamp=true")
    assert "clock_behind" not in scene.shown(peer)
    assert scene.call(peer, now)
    assert scene.shown(peer)["timestamp"] == noise.tai64n(now).hex()


def test_a_clock_that_is_a_little_ahead_is_kept(scene):
    peer, now = scene.router(), time.time()
    assert scene.call(peer, now + 1800)
    assert scene.shown(peer)["timestamp"] == noise.tai64n(now + 1800).hex()
    assert not scene.call(peer, now)
    assert 1798 <= int(scene.shown(peer)["clock_behind"]) <= 1802
    assert scene.call(peer, now + 1801)
    assert "clock_behind" not in scene.shown(peer), "it goes with the next that is accepted"


def test_sessions_do_not_hear_of_clocks(scene):
    """A refused handshake ends nothing: the session of before goes on."""
    peer, now = scene.router(), time.time()
    peer.handshake()
    assert not scene.call(peer, now - 100)
    peer.send(peer.session.seal(b""))
    wait_until(lambda: int(scene.shown(peer)["rx_bytes"]) >= 148 + 32)
