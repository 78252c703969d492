"""Routers, and whole tenants, are removed while packets of theirs fill every queue of the engine.

The topology is drawn in tenancy.py, with 4 workers. Between six pairs of participants UDP is sent as fast as the machine
can, from site to site, to the hub and from it, with a breath in each second in which handshakes get through however slow
the engine is; meanwhile those very routers come and go. Under AddressSanitizer and ThreadSanitizer (scripts/test net-asan,
net-tsan) this is what looks for a worker that still holds what another thread took away.
"""
import random
import sys
import threading
import time

import pytest

from lab import Reader, add_address, wait_until
from tenancy import A, B, C, HUB, Answerers, Stage, ask_tcp, ask_udp

pytestmark = pytest.mark.ours
SECONDS = 6  # at least
ENOUGH = 90  # at most, until enough has happened for the test to mean something
PORT = 9
PAIRS = [("a1", "a2"), ("a2", "hub"), ("b1", "b2"), ("hub", "b1"), ("hub", "c2"), ("c1", "c2")]
BLAST = """
import random, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 0))
sizes = [random.randrange(1, 1380) for _ in range(64)]
while True:
    for size in sizes:
        try:
            s.sendto(bytes(size), (sys.argv[2], int(sys.argv[3])))
        except OSError:
            pass
    part = time.time() % 1
    if part > 0.6:
        time.sleep(1 - part)
"""
SINK = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", int(sys.argv[1])))
while True:
    s.recv(2048)
"""


@pytest.fixture(scope="module")
def stage():
    with Stage(workers=4) as made:
        answerers = Answerers(made)
        yield made
        answerers.close()


class Traffic:
    """The floods. The sinks keep the receivers from answering each packet with an error."""

    def __init__(self, stage):
        places = {name for pair in PAIRS for name in pair}
        self.processes = [stage.where(name).start(sys.executable, "-c", SINK, PORT) for name in places]
        for source, target in PAIRS:
            self.processes.append(stage.where(source).start(sys.executable, "-c", BLAST, stage.source(source),
                                                            stage.address(target, source), PORT))

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.wait()


def admit(stage, router):
    """As Stage.admit(), but the engine knows where the router is and calls it at once: else it would be silent for the
    15 s in which the router takes its old session for alive."""
    number = list(stage.routers).index(router.name)
    stage.hub.add(router.device, router.allowed, extra=router.extra, keepalive=1,
                  endpoint=f"198.51.100.{10 + number}:{router.device.port}")


class Reaper:
    """Takes routers away and brings them back, in all the ways there are. One of them is a client of the socket."""

    def __init__(self, stage, seed, names):
        self.stage, self.dice, self.names = stage, random.Random(seed), names
        self.steps = 0

    def run(self, stop):
        while not stop.is_set():
            router = self.stage.routers[self.dice.choice(self.names)]
            self.dice.choice([self.remove, self.strip, self.move, self.requeue])(router)
            admit(self.stage, router)
            self.steps += 1
            # long enough for a handshake, so that there is a session to take away: what that is depends on the machine
            time.sleep(self.dice.choices([0, 0.02, 0.3], [60, 25, 15])[0])

    def remove(self, router):
        self.stage.hub.remove(router.device)

    def strip(self, router):
        """Sessions stay, but nothing may pass any more."""
        self.stage.hub.set(f"public_key={router.device.key.hex}", "replace_allowed_ips=true")

    def move(self, router):
        """To no tenant, which may be another worker's."""
        self.stage.hub.set(f"public_key={router.device.key.hex}", "peer_tenant=00000000-0000-0000-0000-000000000000",
                           "allowed_ip=10.250.0.1/32")

    def requeue(self, router):
        """The endpoint is forgotten with the peer: what the host sends waits, in vain."""
        self.stage.hub.set(f"public_key={router.device.key.hex}", "remove=true", f"public_key={router.device.key.hex}",
                           f"peer_tenant={router.tenant}", f"allowed_ip={router.inside}/32", *router.extra[1:])


def mend(stage):
    """Everybody is admitted, and every router told to begin anew."""
    for router in stage.routers.values():
        stage.hub.remove(router.device)
        stage.admit(router)
        router.device.set(f"public_key={stage.hub.key.hex}", "remove=true")
        router.device.add(stage.hub, ["0.0.0.0/0", "::/0"], endpoint="198.51.100.1:51820", keepalive=25)
    for router in stage.routers.values():
        stage.settle(router)


def everything_is_right(stage):
    assert stage.hub.alive, stage.hub.failure()
    mend(stage)
    for source, target in (("a1", "a2"), ("a2", "a1"), ("b1", "b2"), ("c1", "c2"), ("hub", "a1"), ("hub", "c2")):
        space, address = stage.where(source), stage.address(target, source)
        assert ask_udp(space, stage.source(source), address) == target
        assert ask_tcp(space, stage.source(source), address) == target
    told = stage.hub.get("sallyport=1")
    assert set(told["tenants"]) == {A, B, C}
    assert set(told["peers"]) == {router.device.key.hex for router in stage.routers.values()}


def test_routers_are_removed_under_full_traffic(stage):
    before = stage.hub.counters()
    traffic = Traffic(stage)
    reapers = [Reaper(stage, 1, ["a1", "a2", "c1"]), Reaper(stage, 2, ["b1", "b2", "c2"])]
    stop = threading.Event()
    readers = [Reader(reaper.run, stop) for reaper in reapers]
    least = {"handshakes": 21, "drop.unknown_index": 1, "udp_received": 5001, "tun_received": 5001, "steps": 21}
    grown = {}

    def peers_that_were_talking_were_taken_away():
        grown.update({name: value - before[name] for name, value in stage.hub.counters().items() if name in least},
                     steps=min(reaper.steps for reaper in reapers))
        return all(grown[name] >= least[name] for name in least)

    time.sleep(SECONDS)
    try:
        wait_until(peers_that_were_talking_were_taken_away, ENOUGH, every=0.5, what=grown)
    finally:
        stop.set()
        for reader in readers:
            reader.result(30)
        traffic.stop()
    everything_is_right(stage)


def test_tenants_are_removed_under_full_traffic(stage):
    traffic = Traffic(stage)
    for _ in range(40):
        for tenant, addressing in ((A, "private"), (B, "private"), (C, "unique")):
            stage.hub.set(f"tenant={tenant}", "remove=true")
            stage.hub.set(f"tenant={tenant}", f"addressing={addressing}", f"egress={'false' if tenant == B else 'true'}")
            for router in stage.routers.values():
                if router.tenant == tenant:
                    admit(stage, router)
            time.sleep(0.02)
    traffic.stop()
    everything_is_right(stage)


def test_the_interface_goes_down_and_up_under_full_traffic(stage):
    traffic = Traffic(stage)
    name = stage.hub.name
    for _ in range(10):
        stage.gw.ip(f"link set {name} down")
        stage.hub.set("replace_peers=true")
        stage.gw.ip(f"link set {name} up", "route add 192.168.0.0/16 dev " + name,
                    add_address("fd00:5a::1/32", name))  # which going down takes away
        for router in stage.routers.values():
            admit(stage, router)
        time.sleep(0.1)
    traffic.stop()
    everything_is_right(stage)
    assert stage.gw.ping(HUB)
