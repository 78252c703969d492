"""A tenant's limits: policed each way, counted as drops, and nobody else's loss.

The topology is drawn in tenancy.py; here with a1, a2 (limited) and b1 (not).
"""
import time

import pytest

from lab import SLOW, wait_until
from packets import ip_udp, raw_sender
from tenancy import A, B, HUB, Answerers, Stage, ask_udp

pytestmark = pytest.mark.ours
A1, A2, SINK = "10.100.0.2", "10.100.0.3", 9


@pytest.fixture(scope="module")
def stage():
    with Stage(wanted=("a1", "a2", "b1")) as made:
        answerers = Answerers(made)
        yield made
        answerers.close()


def limit(stage, bits=0, packets=0):
    stage.hub.set(f"tenant={A}", "addressing=private", "egress=true",
                  f"limit_bits_per_second={bits}", f"limit_packets_per_second={packets}")


@pytest.fixture(autouse=True)
def unlimited(stage):
    yield
    limit(stage)


def flood(stage, source, target, inside, seconds=1.0, size=1000, pause=0.0005):
    """Sends UDP for a while; (sent, arrived) packets. `inside` is the target's own address."""
    receiver = stage.where(target).udp(inside)
    receiver.settimeout(0.0)
    got, sent, port = 0, 0, receiver.getsockname()[1]

    def drain():
        nonlocal got
        try:
            while receiver.recv(2048):
                got += 1
        except BlockingIOError:
            pass
    with stage.where(source).udp(stage.source(source)) as s:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            s.sendto(bytes(size - 28), (stage.address(target, source), port))
            sent += 1
            drain()
            time.sleep(pause)
    time.sleep(0.1)
    drain()
    receiver.close()
    return sent, got


def over_limit(stage):
    return stage.hub.counters()["drop.over_limit"]


FLOWS = [("a1", "hub", HUB), ("hub", "a1", A1), ("a1", "a2", A2)]


@pytest.mark.parametrize("source, target, inside", FLOWS, ids=["up", "down", "site-to-site"])
def test_packets_per_second(stage, source, target, inside):
    limit(stage, packets=200)
    before, dropped = over_limit(stage), int(stage.hub.tenant(A)["dropped"])
    began = time.monotonic()
    sent, got = flood(stage, source, target, inside)
    took = time.monotonic() - began
    assert sent > 450 / SLOW
    # one bucket may have been full at the start
    assert 150 * took * 0.8 <= got <= 200 * took + 200
    assert over_limit(stage) - before >= (sent - got) * 0.9
    assert int(stage.hub.tenant(A)["dropped"]) - dropped >= (sent - got) * 0.9


@pytest.mark.parametrize("source, target, inside", FLOWS, ids=["up", "down", "site-to-site"])
def test_bits_per_second(stage, source, target, inside):
    limit(stage, bits=2_000_000)  # 250 packets of 1000 bytes
    before = over_limit(stage)
    began = time.monotonic()
    sent, got = flood(stage, source, target, inside)
    took = time.monotonic() - began
    assert 250 * took * 0.7 <= got <= 250 * took + 150, (sent, got)
    assert over_limit(stage) > before


def volley(stage, sources, each):
    """`each` packets at once from each source to a2, after enough silence to fill the bucket; (arrived, seconds)."""
    time.sleep(1)
    receiver = stage.where("a2").udp(A2)
    receiver.settimeout(0.5)
    senders = [(stage.where(source).udp(stage.source(source)), (stage.address("a2", source), receiver.getsockname()[1]))
               for source in sources]
    began = time.monotonic()
    for sender, address in senders:
        for _ in range(each):
            sender.sendto(bytes(100), address)
    took, got = time.monotonic() - began, 0
    try:
        while receiver.recv(2048):
            got += 1
    except TimeoutError:
        pass
    for sender, _ in senders:
        sender.close()
    receiver.close()
    return got, took


def test_what_the_hub_sends_and_what_neighbours_send_share_the_way_down(stage):
    """At 100/s the burst is 64 packets: 50 from the hub alone pass, 50 more from a1 in the same instant do not."""
    limit(stage, packets=100)
    assert volley(stage, ["hub"], 50)[0] == 50
    assert volley(stage, ["a1"], 50)[0] == 50
    for _ in range(5):
        got, took = volley(stage, ["hub", "a1"], 50)
        if took < 0.2:  # else the bucket filled again meanwhile, and this says nothing
            break
    assert got <= 64 + 100 * (took + 0.1), (got, took)


def test_no_limit_no_drop(stage):
    before = over_limit(stage)
    sent, got = flood(stage, "a1", "hub", HUB, seconds=0.5)
    assert got >= sent * 0.98 and over_limit(stage) == before


def test_another_tenant_does_not_feel_it(stage):
    limit(stage, packets=50)
    process = stage.routers["a1"].space.start("ping", "-f", "-q", HUB)
    sent, got = flood(stage, "b1", "hub", HUB, seconds=0.5)
    process.terminate()
    process.wait()
    assert got >= sent * 0.95
    assert stage.hub.tenant(B)["dropped"] == "0" or int(stage.hub.tenant(B)["dropped"]) < 5


def test_limits_are_shown_and_lifted_live(stage):
    limit(stage, bits=123456, packets=77)
    said = stage.hub.tenant(A)
    assert (said["limit_bits_per_second"], said["limit_packets_per_second"]) == ("123456", "77")
    limit(stage)
    before = over_limit(stage)
    sent, got = flood(stage, "a1", "hub", HUB, seconds=0.3)
    assert got >= sent * 0.98 and over_limit(stage) == before


def test_silence_saves_up_no_more_than_a_burst(stage):
    """After a second of silence at 100/s not more than about the burst passes at once."""
    limit(stage, packets=100)
    time.sleep(1)
    send = raw_sender(stage.routers["a1"].space, stage.routers["a1"].device.name)
    before = int(stage.hub.tenant(A)["rx_packets"])
    dropped = over_limit(stage)
    for _ in range(400):
        send(ip_udp(A1, 9, HUB, SINK, b"burst"))
    wait_until(lambda: over_limit(stage) - dropped >= 200)
    assert int(stage.hub.tenant(A)["rx_packets"]) - before <= 150


def test_everything_still_stands(stage):
    assert stage.hub.alive, stage.hub.failure()
    for name in ("a1", "a2", "b1"):
        assert ask_udp(stage.gw, HUB, stage.routers[name].hub_address) == name
