"""Peers, tenants and prefixes that come and go while everybody talks; then all must be as if nothing had happened.

The topology is drawn in tenancy.py, with 3 workers. The routers are held steady; what churns are hundreds of peers
beside them (no machines behind them: keys only), whole tenants, and now and then one of the routers itself.
"""
import random
import threading
import time

import pytest

from lab import Flow, Key, Reader, Uapi
from tenancy import A, B, C, HUB, Answerers, Stage, ask_tcp, ask_udp

pytestmark = pytest.mark.ours
SECONDS = 5
STEPS_LEAST = 100


@pytest.fixture(scope="module")
def stage():
    with Stage(workers=3) as made:
        answerers = Answerers(made)
        yield made
        answerers.close()


class Churn:
    """Random changes through the socket, and a model of what should be there afterwards."""

    def __init__(self, stage, seed):
        self.stage, self.dice = stage, random.Random(seed)
        self.seed = seed
        self.keys = [Key(self.dice.randbytes(32)) for _ in range(120)]
        self.tenants = [f"0190a0{seed:02x}-0000-7000-8000-{n:012x}" for n in range(6)]
        self.peers = {}  # public key -> (tenant, number)
        self.alive = set()
        self.steps = 0

    def step(self):
        self.steps += 1
        what = self.dice.random()
        if what < 0.08:
            self.tenant(self.dice.choice(self.tenants))
        elif what < 0.12 and self.alive:
            tenant = self.dice.choice(sorted(self.alive))
            self.stage.hub.set(f"tenant={tenant}", "remove=true")
            self.alive.discard(tenant)
            self.peers = {key: at for key, at in self.peers.items() if at[0] != tenant}
        elif what < 0.75 and self.alive:
            self.peer()
        elif self.peers:
            key = self.dice.choice(sorted(self.peers))
            self.stage.hub.set(f"public_key={key}", "remove=true")
            del self.peers[key]

    def tenant(self, tenant):
        # by its number private or unique, and so for ever: that is fixed while it has peers
        addressing = "private" if self.tenants.index(tenant) % 2 else "unique"
        egress = self.dice.choice(["true", "false"])
        self.stage.hub.set(f"tenant={tenant}", f"addressing={addressing}", f"egress={egress}")
        self.alive.add(tenant)

    def peer(self):
        tenant = self.dice.choice(sorted(self.alive))
        number = self.dice.randrange(len(self.keys))
        key = self.keys[number].hex
        index = self.tenants.index(tenant)
        hub = f"10.{64 + self.seed}.{index}.{number + 1}"
        inside = f"10.100.0.{number + 1}" if index % 2 else hub
        translated = f"={inside}" if index % 2 else ""
        lines = [f"public_key={key}", f"peer_tenant={tenant}", f"hub_address={hub}{translated}",
                 "replace_allowed_ips=true", f"allowed_ip={inside}/32",
                 f"allowed_ip=fd00:5a:{64 + self.seed:x}:{number:x}::/64"]
        if self.dice.random() < 0.5:
            lines += ["endpoint=198.51.100.250:1", f"persistent_keepalive_interval={self.dice.choice([0, 1, 25])}"]
        self.stage.hub.set(*lines)
        self.peers[key] = (tenant, inside)

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end or self.steps < STEPS_LEAST:
            self.step()
        return self.steps

    def check(self):
        peers = self.stage.hub.get("sallyport=1")["peers"]
        mine = {key.hex for key in self.keys}
        assert {key for key in peers if key in mine} == set(self.peers)
        for key, (tenant, inside) in self.peers.items():
            assert peers[key]["peer_tenant"] == tenant
            assert f"{inside}/32" in peers[key]["allowed_ip"], peers[key]

    def clear(self):
        for tenant in self.alive:
            self.stage.hub.set(f"tenant={tenant}", "remove=true")


def talk(stage, stop):
    """TCP and UDP among all who may, until told to stop; (asked, [what went wrong])."""
    asked, wrong = 0, []
    while not stop.is_set():
        for source, target in (("a1", "a2"), ("b1", "b2"), ("c2", "c1"), ("hub", "a1"), ("hub", "b2"), ("c1", "hub")):
            space, address = stage.where(source), stage.address(target, source)
            for function in (ask_udp, ask_tcp):
                asked += 1
                said = function(space, stage.source(source), address)
                if said != target:
                    wrong.append((source, target, function.__name__, said))
    return asked, wrong


def test_churn_beside_them_disturbs_nobody(stage):
    """Three clients change peers and tenants as fast as they can, for some seconds, under ping floods and questions."""
    flows = [Flow(stage.routers[name].space, target, 0.001, size)
             for name, target, size in (("a1", "10.100.0.3", 1200), ("b2", "10.100.0.2", 100), ("c1", HUB, 1200))]
    stop = threading.Event()
    talker = Reader(talk, stage, stop)
    churns = [Churn(stage, seed) for seed in (1, 2, 3)]
    workers = [Reader(churn.run, SECONDS) for churn in churns]
    for worker in workers:
        worker.result(SECONDS + 60)
    stop.set()
    asked, wrong = talker.result(30)
    lost = [flow.lost() for flow in flows]
    assert stage.hub.alive, stage.hub.failure()
    assert asked > 20
    assert wrong == []
    assert all(n <= max(3, flow.sent * 0.002) for n, flow in zip(lost, flows)), [flow.said for flow in flows]
    for churn in churns:
        churn.check()
        churn.clear()
    told = stage.hub.get("sallyport=1")
    assert set(told["tenants"]) == {A, B, C}
    assert set(told["peers"]) == {router.device.key.hex for router in stage.routers.values()}


def test_routers_themselves_come_and_go(stage):
    """a2 is removed and admitted again and again under traffic from its neighbour and the hub."""
    a1, a2 = stage.routers["a1"], stage.routers["a2"]
    floods = [space.start("ping", "-i", "0.001", "-q", target)
              for space, target in ((a1.space, a2.inside), (stage.gw, a2.hub_address), (a2.space, HUB))]
    for round_ in range(150):
        stage.hub.remove(a2.device)
        if round_ % 3 == 0:
            time.sleep(0.005)
        stage.admit(a2)
    for process in floods:
        process.terminate()
        process.wait()
    a2.device.set(f"public_key={stage.hub.key.hex}", "remove=true")
    a2.device.add(stage.hub, ["0.0.0.0/0", "::/0"], endpoint="198.51.100.1:51820", keepalive=25)
    stage.settle(a2)
    assert ask_udp(a1.space, a1.inside, a2.inside) == "a2" and ask_tcp(stage.gw, HUB, a2.hub_address) == "a2"
    assert ask_udp(stage.routers["b1"].space, "10.100.0.2", "10.100.0.3") == "b2"


def test_prefixes_fly_between_neighbours(stage):
    """A LAN moves between c1 and c2 thousands of times while c2 asks for it: each answer is right or none."""
    c1, c2 = stage.routers["c1"], stage.routers["c2"]

    def move():
        for n in range(600):
            owner = (c1, c2)[n % 2]
            stage.hub.set(f"public_key={owner.device.key.hex}", "allowed_ip=192.168.1.0/24")
    mover = Reader(move)
    heard = set()
    while mover.is_alive():
        heard.add(ask_udp(c2.space, c2.inside, "192.168.1.1", timeout=0.02))
    mover.result()
    assert heard <= {"c1", None, 113, 13}, heard
    stage.hub.set(f"public_key={c1.device.key.hex}", "allowed_ip=192.168.1.0/24")
    assert ask_udp(c2.space, c2.inside, "192.168.1.1") == "c1"


def test_listing_while_it_churns(stage):
    """A peer that is there throughout is in every list, exactly once."""
    churn = Churn(stage, 4)
    worker = Reader(churn.run, 2)
    steady = {router.device.key.hex for router in stage.routers.values()}
    lists = 0
    while worker.is_alive():
        keys = [value for key, value in stage.hub.request("get=1") if key == "public_key"]
        assert len(keys) == len(set(keys)) and steady <= set(keys)
        lists += 1
    worker.result()
    assert lists > 5
    churn.check()
    churn.clear()


def test_large_set_while_traffic_flows(stage):
    """10,000 peers of one tenant in one request; the others' pings go on."""
    tenant = "0190a0ff-0000-7000-8000-000000000001"
    flow = Flow(stage.routers["b1"].space, "10.100.0.3")
    dice = random.Random(5)
    lines = [f"tenant={tenant}", "addressing=private"]
    for n in range(10000):
        hub, inside = f"10.90.{n >> 8}.{n & 255}", f"10.100.{n >> 8}.{n & 255}"
        lines += [f"public_key={dice.randbytes(32).hex()}", f"peer_tenant={tenant}", f"hub_address={hub}={inside}",
                  f"allowed_ip={inside}/32"]
    stage.hub.set(*lines)
    assert len(stage.hub.get()["peers"]) == 10000 + len(stage.routers)
    stage.hub.set(f"tenant={tenant}", "remove=true")
    assert len(stage.hub.get()["peers"]) == len(stage.routers)
    assert flow.lost() == 0, flow.said


def test_everything_still_stands(stage):
    assert stage.hub.alive, stage.hub.failure()
    for name, router in stage.routers.items():
        assert ask_udp(stage.gw, HUB, router.hub_address) == name
    with pytest.raises(Uapi):
        stage.hub.set(f"public_key={Key().hex}", "peer_tenant=0190a0ff-0000-7000-8000-000000000001")
