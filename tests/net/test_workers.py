"""Which worker does what, and what the kernel does for all of them: the counters of each, and the offloads.

    [clients]  24 ends of the test's own (noise.py)                 wg 10.9.0.1/16  [server]  4 workers
      |                                                                               |
    eth0 192.0.2.2/24 ------------------------------------------------------- eth0 192.0.2.1/24

A receiver index names its worker and the socket group is steered by it, so that data never crosses workers. Initiations
name nobody. A packet from the host arrives on the TUN queue that the kernel chose; it remembers on which queue the
flow's other direction came in, so an answer comes back to the worker that delivered the question.
"""
import pathlib
import signal
import time

import pytest

import noise
from lab import Reader, World, wait_until
from packets import ip_udp

pytestmark = pytest.mark.ours
WORKERS, ENDS, PACKETS = 4, 24, 60
PORT, SINK = 7777, 9


class Crowd:
    def __init__(self, world):
        self.client, self.server = world.space("clients"), world.space("server")
        world.link(self.client, ["192.0.2.2/24"], self.server, ["192.0.2.1/24"])
        self.device = world.device(self.server, addresses=["10.9.0.1/16"], arguments=["--workers", WORKERS])
        self.sink = self.server.udp("10.9.0.1", SINK)  # or the host would answer each that its port is closed
        self.ends = []
        for n in range(ENDS):
            end = noise.Peer(self.client.udp("192.0.2.2"), self.device.key.public, ("192.0.2.1", self.device.port))
            end.address = f"10.9.1.{n + 1}"
            self.device.add(end.key, [f"{end.address}/32"])
            self.ends.append(end)
        self.before = self.counters()
        for end in self.ends:
            end.handshake()
        self.settle(lambda now: now["handshakes"] == ENDS)

    def counters(self):
        """Of all, with a list of each worker's under "workers"."""
        said, workers = self.device.counters(), []
        for key, value in self.device.request("get=1", "sallyport=1", "only=workers"):
            if key == "worker":
                assert int(value) == len(workers)
                workers.append({})
            elif workers and key != "now":
                workers[-1][key] = int(value)
        return {**said, "workers": workers}

    def settle(self, done):
        wait_until(lambda: done(self.device.counters()), 10, what="the counters to add up")

    def say(self, end, text, count=1, target_port=PORT):
        for _ in range(count):
            inner = ip_udp(end.address, 4000, "10.9.0.1", target_port, text)
            end.send(end.session.seal(inner))

    def close(self):
        self.sink.close()
        for end in self.ends:
            end.socket.close()


@pytest.fixture(scope="module")
def crowd():
    with World() as world:
        made = Crowd(world)
        yield made
        made.close()


def grown(before, after, name):
    return after[name] - before[name]


def test_the_workers_counters_are_the_whole(crowd):
    said = crowd.counters()
    assert len(said["workers"]) == WORKERS
    for name, total in said.items():
        if name not in ("workers", "rounds"):  # asking is itself a round
            assert total == sum(worker[name] for worker in said["workers"]), name


def test_initiations_cross_and_nothing_else_of_a_handshake(crowd):
    said = crowd.counters()
    assert said["handshakes"] == ENDS
    assert 0 < said["handed_over_handshakes"] <= ENDS, "any worker takes one, its peer's owner works on it"
    assert said["handed_over_datagrams"] == 0
    assert said["handed_over"] == sum(said[f"handed_over_{kind}"] for kind in ("packets", "datagrams", "handshakes"))


def test_data_arrives_at_its_own_worker(crowd):
    before = crowd.counters()
    for end in crowd.ends:
        crowd.say(end, b"to nobody in particular", PACKETS, target_port=SINK)
    crowd.settle(lambda now: now["tun_sent"] - before["tun_sent"] >= ENDS * PACKETS)
    after = crowd.counters()
    assert grown(before, after, "handed_over_datagrams") == 0
    busy = [grown(old, new, "udp_received") for old, new in zip(before["workers"], after["workers"])]
    assert sum(busy) == ENDS * PACKETS
    assert sum(1 for n in busy if n >= PACKETS) >= 2, busy
    for old, new in zip(before["workers"], after["workers"]):
        # whose socket it came in by is who decrypts it and writes it to a queue of its own
        assert grown(old, new, "udp_received") == grown(old, new, "tun_sent")


def test_answers_of_the_host_arrive_at_the_worker_that_asked(crowd):
    """Flows that the host begins may arrive anywhere and are handed over; those that it answers are not."""
    with crowd.server.udp("10.9.0.1", PORT) as service:
        def echo():
            for _ in range(ENDS * 3):
                text, source = service.recvfrom(2048)
                service.sendto(text, source)
        before = crowd.counters()
        server = Reader(echo)
        for _ in range(3):
            for end in crowd.ends:
                crowd.say(end, b"who is there?")
                answer = end.receive(noise.DATA)
                assert answer and b"who is there?" in end.session.open(answer)
        server.result()
        after = crowd.counters()
        assert grown(before, after, "handed_over_packets") <= ENDS * 3 * 0.05
        before = after
        for end in crowd.ends:
            with crowd.server.udp("10.9.0.1") as caller:
                caller.sendto(b"who are you?", (end.address, 9))
            assert end.receive(noise.DATA)
        after = crowd.counters()
        assert 0 < grown(before, after, "handed_over_packets") <= ENDS
        assert grown(before, after, "handed_over_datagrams") == 0


@pytest.mark.parametrize("flows", [1, 1000])
def test_batches_take_few_system_calls(crowd, flows):
    before = crowd.counters()
    end = crowd.ends[0]
    packets = [end.session.seal(ip_udp(end.address, 4000 + n % flows, "10.9.0.1", SINK, b"x" * 400, ident=n))
               for n in range(1000)]
    crowd.device.process.send_signal(signal.SIGSTOP)  # so that all of them wait together
    wait_until(lambda: all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in
                           pathlib.Path(f"/proc/{crowd.device.process.pid}/task").glob("*/stat")))
    for packet in packets:
        end.send(packet)
    crowd.device.process.send_signal(signal.SIGCONT)
    crowd.settle(lambda now: now["udp_received"] - before["udp_received"] >= 900)
    time.sleep(0.1)
    after = crowd.counters()
    received = grown(before, after, "udp_received")
    assert grown(before, after, "udp_reads") < received / 16
    on = crowd.device.get("sallyport=1", "only=device")["offloads"].split(",")
    if "uring" in on or flows == 1 and "join_udp" in on:
        assert grown(before, after, "tun_writes") < received / 4


SWITCHES = {
    (): {"xdp"},
    ("--no-gso",): {"gso", "gro", "xdp"},
    ("--no-tso",): {"tso", "uso", "join_tcp", "join_udp", "xdp"},
    ("--no-uring",): {"uring", "xdp"},
    ("--no-gso", "--no-tso", "--no-uring"): {"gso", "gro", "tso", "uso", "join_tcp", "join_udp", "uring", "xdp"},
}


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda switches: "".join(switches) or "none")
def test_each_offload_is_on_or_off_for_a_reason(world, switches):
    space = world.space("a")
    device = world.device(space, arguments=["--log-level", "info", *switches])
    said = device.get("sallyport=1", "only=device")
    on = set(said["offloads"].split(",")) - {"none"}
    off = dict(item.split(":") for item in said["offloads_off"].split(",") if item != "none")
    assert on | set(off) == {"gso", "gro", "xdp", "tso", "uso", "join_tcp", "join_udp", "uring"} and not on & set(off)
    assert {name for name, why in off.items() if why == "switched_off"} == set(SWITCHES[switches])
    assert set(off.values()) <= {"switched_off", "unsupported"}
    log = device.log.read_text()
    assert f"offloads on: {said['offloads']}; off: {said['offloads_off']}" in log


def test_sockets_are_shared_evenly_by_initiations(crowd):
    """The kernel spreads what names no worker by its source."""
    before = crowd.counters()
    for _ in range(60):
        with crowd.client.udp("192.0.2.2") as s:
            stranger = noise.Peer(s, crowd.device.key.public, ("192.0.2.1", crowd.device.port))
            stranger.send(stranger.initiation())
    crowd.settle(lambda now: now["drop.unknown_peer"] - before["drop.unknown_peer"] == 60)
    after = crowd.counters()
    shares = [grown(old, new, "udp_received") for old, new in zip(before["workers"], after["workers"])]
    assert sum(shares) == 60 and min(shares) >= 2, shares
    assert grown(before, after, "handed_over") == 0, "nobody's: no worker to hand it to"
