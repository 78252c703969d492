"""WireGuard's timers, with the engine's clock running RATE times faster than the world's.

    [far]  a test's own end (noise.py), or wireguard-go,              wg 10.9.0.1/24  [host]
      |    or a second engine with the same fast clock                                  |
    eth0 192.0.2.2/24 ------------------------------------------------------- eth0 192.0.2.1/24

Seconds below are WireGuard's unless called real. What a timer should do is from the whitepaper, section 6.
"""
import time

import pytest

import noise
from lab import SLOW, World, wait_until
from packets import ICMP, Packet, echo, ip4, ip_udp

pytestmark = pytest.mark.ours
RATE = 60 // SLOW


def clock(rate):
    return {"SALLYPORT_TEST_CLOCK_RATE": str(rate)}


class Scene:
    def __init__(self, world, rate=RATE):
        self.world = world
        self.far, self.host = world.space("far"), world.space("host")
        world.link(self.far, ["192.0.2.2/24"], self.host, ["192.0.2.1/24"])
        self.engine = world.device(self.host, addresses=["10.9.0.1/24"], environment=clock(rate))

    def end(self, keepalive=None, handshake=True):
        """The test's own end, known to the engine as 10.9.0.9. Without handshake the engine knows where it is."""
        s = self.far.udp("192.0.2.2")
        peer = noise.Peer(s, self.engine.key.public, ("192.0.2.1", self.engine.port))
        self.engine.set("replace_peers=true")
        self.engine.add(peer.key, ["10.9.0.9/32"], keepalive=keepalive,
                        endpoint=None if handshake else f"192.0.2.2:{s.getsockname()[1]}")
        if handshake:
            peer.handshake()
            peer.born = time.monotonic()
        return peer

    def called(self, **options):
        """The same, after the engine itself has begun the handshake."""
        peer = self.end(handshake=False, **options)
        self.knock()
        initiation = peer.receive(noise.INITIATION)
        assert initiation
        peer.send(peer.answer(initiation))
        peer.born = time.monotonic()
        assert peer.receive(noise.DATA), "the packet that waited"
        return peer

    def knock(self):
        """One packet from the host to the far end."""
        with self.host.udp("10.9.0.1") as s:
            s.sendto(b"knock", ("10.9.0.9", 9))


@pytest.fixture(scope="module")
def scene():
    with World() as world:
        yield Scene(world)


def virtual(since):
    return (time.monotonic() - since) * RATE


def listen(peer, seconds):
    """Everything that comes within that many seconds of WireGuard: (when, type, plaintext size or None)."""
    began, heard = time.monotonic(), []
    while (left := seconds / RATE - (time.monotonic() - began)) > 0:
        packet = peer.receive(timeout=left / SLOW)
        if packet:
            plain = peer.session.open(packet) if peer.session else None
            heard.append((virtual(began), packet[0], None if plain is None else len(plain)))
    return heard


def ping_through(peer):
    """Whether the session carries an echo there and back."""
    peer.send(peer.session.seal(ip4("10.9.0.9", "10.9.0.1", ICMP, echo())))
    return answers(peer)


def answers(peer):
    """Whether an echo's answer comes on the session."""
    end = time.monotonic() + 0.3 * SLOW
    while (left := end - time.monotonic()) > 0:
        packet = peer.receive(noise.DATA, left / SLOW)
        plain = packet and peer.session.open(packet)
        if plain and Packet(plain).protocol == ICMP:
            return True
    return False


def test_passive_keepalive_10s_after_data_with_nothing_to_say(scene):
    peer = scene.end()
    with scene.host.udp("10.9.0.1") as s:  # takes it in silence
        peer.send(peer.session.seal(ip_udp("10.9.0.9", 9, "10.9.0.1", s.getsockname()[1], b"x")))
        heard = [h for h in listen(peer, 60) if h[1] == noise.DATA]
    assert [h[2] for h in heard] == [0], "one keepalive, and silence after it"
    assert 9 <= heard[0][0] <= 13 + RATE * 0.02


def test_no_passive_keepalive_after_a_keepalive(scene):
    peer = scene.end()
    peer.send(peer.session.seal(b""))
    assert listen(peer, 60) == []


@pytest.mark.parametrize("interval", [5, 25])
def test_persistent_keepalive(scene, interval):
    peer = scene.end(keepalive=interval)
    heard = [h for h in listen(peer, 115) if h[1] == noise.DATA]
    assert all(h[2] == 0 for h in heard)
    assert abs(len(heard) - 115 // interval) <= max(1, 115 // interval // 8), heard


def test_persistent_keepalive_turned_on_sends_at_once(scene):
    peer = scene.end()
    scene.engine.set(f"public_key={peer.key.hex}", "persistent_keepalive_interval=100")
    heard = listen(peer, 20)
    assert [h[1:] for h in heard] == [(noise.DATA, 0)] and heard[0][0] < 10


def test_initiation_is_retried_every_5s_for_90s(scene):
    peer = scene.end(handshake=False)
    scene.knock()
    heard = listen(peer, 130)
    times = [h[0] for h in heard if h[1] == noise.INITIATION]
    assert 16 <= len(times) <= 20, times
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert min(gaps) > 3.5 and sum(gaps) / len(gaps) < 6.5, gaps
    assert times[-1] < 98 + RATE * 0.1
    scene.knock()  # giving up is not for ever
    assert peer.receive(noise.INITIATION)


def test_new_handshake_15s_after_data_that_nobody_answered(scene):
    peer = scene.end()
    began = time.monotonic()
    scene.knock()
    assert peer.receive(noise.DATA)
    assert peer.receive(noise.INITIATION, 1)
    assert 14 <= virtual(began) <= 17 + RATE * 0.05


def test_no_new_handshake_while_answers_come(scene):
    peer = scene.end()
    began, heard = time.monotonic(), []
    while virtual(began) < 60:
        scene.knock()
        packet = peer.receive(timeout=0.05 / SLOW)
        heard.append(packet and packet[0])
        peer.send(peer.session.seal(b""))
    assert noise.INITIATION not in heard


def test_initiator_rekeys_after_120s(scene):
    peer = scene.called()
    while virtual(peer.born) < 140:
        scene.knock()
        peer.send(peer.session.seal(b""))
        packet = peer.receive(noise.INITIATION, 0.02 / SLOW)
        if packet:
            break
    assert 118 <= virtual(peer.born) <= 126 + RATE * 0.05
    old = peer.session
    peer.send(peer.answer(packet))
    scene.knock()
    packet = peer.receive(noise.DATA)
    while packet and peer.session.open(packet) is None:
        packet = peer.receive(noise.DATA)
    assert packet, "speaks on the new session"
    # what was on its way on the old one still counts
    peer.send(old.seal(ip4("10.9.0.9", "10.9.0.1", ICMP, echo())))
    assert answers(peer)


def test_initiator_rekeys_on_receiving_after_165s(scene):
    """Nothing is sent between, so 120 s pass unnoticed; what is received at 170 s brings a new handshake."""
    peer = scene.called()
    time.sleep(150 / RATE)
    assert peer.receive(noise.INITIATION, 0.01) is None or virtual(peer.born) > 15
    while peer.receive(timeout=0.001):
        pass
    while virtual(peer.born) < 168:
        time.sleep(0.005)
    peer.send(peer.session.seal(b""))
    assert peer.receive(noise.INITIATION, 0.5)


def test_responder_does_not_rekey_at_120s(scene):
    peer = scene.end()
    seen = []
    while virtual(peer.born) < 170:
        scene.knock()
        peer.send(peer.session.seal(b""))
        packet = peer.receive(timeout=0.02 / SLOW)
        seen.append(packet and packet[0])
    assert noise.INITIATION not in seen and noise.DATA in seen


def test_session_is_dead_after_180s(scene):
    peer = scene.end()
    while virtual(peer.born) < 170:
        time.sleep(0.01)
    assert ping_through(peer)
    while virtual(peer.born) < 181 + RATE * 0.02:
        time.sleep(0.01)
    before = scene.engine.counters()["drop.expired"]
    assert not ping_through(peer)
    assert scene.engine.counters()["drop.expired"] > before
    # and it does not send on it either: a packet brings an initiation, not data
    scene.knock()
    assert peer.receive(noise.INITIATION)


def test_keys_are_forgotten_after_540s(world):
    """With a clock of its own, since it takes long."""
    rate = 4 * RATE
    scene = Scene(world, rate)
    peer = scene.end()

    def later(seconds):
        time.sleep(max(0.0, peer.born + seconds / rate - time.monotonic()))
        return scene.engine.counters()
    before = later(500)
    peer.send(peer.session.seal(b""))
    wait_until(lambda: scene.engine.counters()["drop.expired"] > before["drop.expired"])
    before = later(545 + rate * 0.1 * SLOW)
    peer.send(peer.session.seal(b""))
    wait_until(lambda: scene.engine.counters()["drop.unknown_index"] > before["drop.unknown_index"])


def test_cookie_is_stamped_on_the_retry(scene):
    peer = scene.end(handshake=False)
    scene.knock()
    first = peer.receive(noise.INITIATION)
    assert first[-16:] == bytes(16), "no cookie, no mac2"
    cookie = b"c" * 16
    peer.send(peer.cookie_reply(first, cookie))
    second = peer.receive(noise.INITIATION)
    assert second and second[-16:] == noise.mac(cookie, second[:-16])


def test_waiting_packets_go_when_the_handshake_ends(scene):
    peer = scene.end(handshake=False)
    with scene.host.udp("10.9.0.1") as s:
        for number in range(5):
            s.sendto(b"%d" % number, ("10.9.0.9", 9))
    initiation = peer.receive(noise.INITIATION)
    peer.send(peer.answer(initiation))
    said = [Packet(peer.session.open(peer.receive(noise.DATA))).payload[8:] for _ in range(5)]
    assert said == [b"0", b"1", b"2", b"3", b"4"], "in their order"


def test_two_engines_rekey_without_losing_a_packet(scene):
    """About 300 s: three sessions follow each other under a ping of 50 a (real) second."""
    other = scene.world.device(scene.far, addresses=["10.9.0.2/24"], environment=clock(RATE))
    scene.engine.set("replace_peers=true")
    scene.engine.add(other, ["10.9.0.2/32"])
    other.add(scene.engine, ["10.9.0.1/32"], endpoint=f"192.0.2.1:{scene.engine.port}")
    before = scene.engine.counters()["handshakes"]
    count = 300 * 50 // RATE
    said = scene.far.run("ping", "-c", count, "-i", "0.02", "-W", 1, "-q", "10.9.0.1", timeout=60).stdout
    assert f" {count} received" in said, said
    assert 3 <= scene.engine.counters()["handshakes"] - before <= 6
    other.end()


@pytest.mark.parametrize("initiator", ["engine", "wireguard-go"])
def test_wireguard_go_at_its_own_pace(scene, initiator):
    """Either side may be the one whose sessions age faster."""
    other = scene.world.device(scene.far, implementation="wireguard-go", addresses=["10.9.0.2/24"])
    scene.engine.set("replace_peers=true")
    begins = initiator == "engine"
    scene.engine.add(other, ["10.9.0.2/32"], endpoint=f"192.0.2.2:{other.port}" if begins else None)
    other.add(scene.engine, ["10.9.0.1/32"], endpoint=None if begins else f"192.0.2.1:{scene.engine.port}")
    space, target = (scene.host, "10.9.0.2") if initiator == "engine" else (scene.far, "10.9.0.1")
    before = scene.engine.counters()["handshakes"]
    count = 260 * 50 // RATE
    said = space.run("ping", "-c", count, "-i", "0.02", "-W", 1, "-q", target, check=False, timeout=60).stdout
    received = int(said.split(" received")[0].split()[-1])
    if initiator == "engine":
        assert received == count, said
        assert scene.engine.counters()["handshakes"] - before >= 2
    else:  # our end finds the session too old before the other does, and begins a new one itself
        assert received > count * 0.9, said
    other.end()
