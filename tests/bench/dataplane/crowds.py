"""Thousands of routers against one gateway: small packets, site to site, loading, memory.

      hub [10.0.0.1, the gateway under test] --- veth --- far [a swarm at 198.18.0.0/16]

The gateway has one core to itself, the swarm the others.
"""
import json
import subprocess
import time

from .lab import GATEWAY_CPU, OTHER_CPUS, PORT, Lab, Link, die_with_parent, median, short_name

DISCARD_PORT = 9
SMALL = 128
MIX = 50  # routers whose packets the swarm hands to its kernel at once: one by one would not keep a gateway's core busy
LARGE = 1420


# Classic BPF over an IPv4 packet without options: UDP to DISCARD_PORT is dropped (TC_ACT_SHOT), the rest goes on.
DROP = f"6,48 0 0 9,21 0 3 17,40 0 0 22,21 0 1 {DISCARD_PORT},6 0 0 2,6 0 0 4294967295,"


def discard(endpoint):
    """Has the kernel drop the packets as soon as they are out of the TUN, by the cheapest means there is. What it does
    with a packet runs inside the write(2) that brings it, so it would count as the gateway's CPU."""
    endpoint.namespace.run("tc", "qdisc", "add", "dev", endpoint.name, "clsact")
    endpoint.namespace.run("tc", "filter", "add", "dev", endpoint.name, "ingress", "bpf", "da", "bytecode", DROP)


def connect(swarm, **options):
    result = swarm.do("connect", **options)
    if result["connected"] < result["peers"]:
        raise RuntimeError(f"only {result['connected']} of {result['peers']} routers connected in"
                           f" {result['seconds']:.0f} s")
    return result


class SmallPackets:
    """A gateway with connected routers that send it small packets."""

    def __init__(self, lab, command, peers, arguments=()):
        self.peers = peers
        self.hub, self.swarm = lab.crowd(command, peers, GATEWAY_CPU, OTHER_CPUS, split=True, arguments=arguments,
                                         share=MIX)
        self.bare_rss = self.hub.rss()
        self.swarm.do("load", socket=str(self.hub.socket))
        self.bytes_per_peer = (self.hub.rss() - self.bare_rss) / peers
        discard(self.hub)
        connect(self.swarm, seconds=60)
        self.link = Link(self.hub.namespace, self.hub.name)

    def run(self, seconds):
        """(packets a second of the gateway's CPU, packets a second of the clock, part of a core that it used)."""
        cpu, (size, packets, _, _), began = self.hub.cpu_s(), self.link.read(), time.monotonic()
        self.swarm.do("data", seconds=seconds, size=SMALL, burst=MIX, mix=True)
        took = time.monotonic() - began
        cpu, (new_size, new_packets, _, _) = self.hub.cpu_s() - cpu, self.link.read()
        packets = new_packets - packets
        if packets == 0 or abs((new_size - size) / packets - SMALL) > 1:
            raise RuntimeError(f"{packets} packets of {new_size - size} bytes came out of {self.hub.command}")
        return packets / cpu, packets / took, cpu / took


class BareLoop:
    """The engine's own reading, opening and writing with nothing in between (bare.c): what the kernel and the AEAD
    leave of a core. The sender's packets come as the swarm's do: the receiver is never short of them. `xdp`: by
    AF_XDP."""

    def __init__(self, lab, program, xdp):
        self.program, self.name = str(program), short_name("spb")
        self.namespace, self.far = lab.namespace("bare"), lab.namespace("far")
        name, self.address, _ = lab.join(self.namespace, self.far)
        self.far.ip("link", "set", "dev", name, "gso_max_segs", "1")
        self.way = (name,) if xdp else ()

    def command(self, namespace, cpus, *arguments):
        pinned = ("taskset", "-c", ",".join(map(str, cpus)), self.program)
        return namespace.command(*pinned, *map(str, arguments))

    def run(self, seconds):
        """Packets a second of CPU."""
        receiver = subprocess.Popen(self.command(self.namespace, GATEWAY_CPU, "receive", self.name, PORT, seconds, *self.way),
                                    stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        with receiver:
            receiver.stdout.readline()
            self.namespace.ip("link", "set", self.name, "up")
            discard(self)
            subprocess.run(self.command(self.far, OTHER_CPUS, "send", self.address, PORT, seconds + 0.2), check=True)
            result = json.loads(receiver.stdout.readline() or b"null")
        if not result:
            raise RuntimeError("the bare loop failed")
        return result["packets"] / result["cpu_s"]


def small(bench):
    """128-byte packets round robin from 10,000 routers to the hub, as fast as one core sends them: no two of the same
    router in a row, each a datagram of its own to the gateway. They count once they are out of its TUN; a second is one
    of its CPU time. Ours has --xdp, as a gateway that lives on small packets would; `plain` is without. `bare` is what is
    left of a core if nothing is done but to read, open and write them."""
    peers, seconds = (2000, 1) if bench.quick else (10000, 3)
    with Lab(bench) as lab:
        loops = {name: BareLoop(lab, bench.program("tests/bench/bare"), not name) for name in ("", "_plain")}
        bare = {name: [] for name in loops}
        stages = {name: SmallPackets(lab, command, peers) for name, command in bench.contenders if name}
        ours = dict(bench.contenders)[""]
        stages |= {"": SmallPackets(lab, ours, peers, ("--xdp", "e0")), "_plain": SmallPackets(lab, ours, peers)}
        runs = {name: [] for name in stages}
        for stage in stages.values():
            stage.run(0.5)
        for _ in range(3):
            for name, loop in loops.items():
                bare[name].append(loop.run(seconds))
            for name, stage in stages.items():
                runs[name].append(stage.run(seconds))
        echo = {name: stage.swarm.do("echo", count=2000, rate=1000) for name, stage in stages.items()}
    figures = {f"small_pps_per_core_bare{name}": median(results) for name, results in bare.items()}
    for name, results in runs.items():
        figures["small_pps_per_core" + name] = median([one[0] for one in results])
        figures["small_pps_wall" + name] = median([one[1] for one in results])
        figures["small_cores_used" + name] = median([one[2] for one in results])
        figures["small_echo_p50_us" + name] = echo[name]["latency_us_p50"]
        figures["small_echo_lost" + name] = echo[name]["sent"] - echo[name]["answered"]
        if name == "_rival":
            figures["bytes_per_peer_of_10k" + name] = stages[name].bytes_per_peer
    return figures


def hairpin(bench):
    """Full-size packets from router to router of one tenant, in bursts as a router with segmentation offload sends
    them. Counted where they come out. Our gateway turns them around, any other's kernel forwards them."""
    peers, seconds = 64, 1.5 if bench.quick else 3
    runs = {}
    with Lab(bench) as lab:
        stages = {}
        for name, command in bench.contenders:
            hub, swarm = lab.crowd(command, peers, GATEWAY_CPU, OTHER_CPUS)
            hub.namespace.sysctl("net.ipv4.ip_forward", 1)
            tenants = {} if name else {"tenants": "unique", "routers_per_tenant": peers}
            swarm.do("load", socket=str(hub.socket), **tenants)
            connect(swarm, seconds=20)
            stages[name] = hub, swarm
        for _ in range(3):
            for name, (hub, swarm) in stages.items():
                cpu = hub.cpu_s()
                result = swarm.do("data", seconds=seconds, size=LARGE, burst=44, site=True, open_every=64)
                cpu = hub.cpu_s() - cpu
                if result.get("bad_data") or not result.get("data_received"):
                    raise RuntimeError(f"site to site through {hub.command}: {result}")
                gbits = result["data_received"] * LARGE * 8 / 1e9
                runs.setdefault(name, []).append((gbits / result["seconds"], cpu / (gbits / 8)))
    figures = {}
    for name, results in runs.items():
        figures["hairpin_gbit_s" + name] = median([one[0] for one in results])
        figures["hairpin_cpu_s_per_gb" + name] = median([one[1] for one in results])
    return figures


def idle_percent(endpoint, seconds):
    before = endpoint.cpu_s()
    time.sleep(seconds)
    return (endpoint.cpu_s() - before) / seconds * 100


def load_once(bench, peers, idle_s=0.0, **options):
    """Peers with one allowed IP each into an empty engine: (seconds, bytes a peer, idle percent)."""
    with Lab(bench) as lab:
        hub, swarm = lab.crowd(bench.engine, peers)
        before = hub.rss()
        seconds = swarm.do("load", socket=str(hub.socket), silent=True, **options)["seconds"]
        size = (hub.rss() - before) / peers
        time.sleep(1 if idle_s else 0)
        return seconds, size, idle_percent(hub, idle_s) if idle_s else 0.0


def load(bench):
    """Loading peers over the UAPI: what it takes, what they take. The X25519 of a peer's static keys is not part of it:
    the engine does it when the peer first connects."""
    hundred_k, million = (20_000, 100_000) if bench.quick else (100_000, 1_000_000)
    runs = [load_once(bench, hundred_k) for _ in range(3)]
    with_tenants = load_once(bench, hundred_k, tenants="private")
    larger = [load_once(bench, million, idle_s=3 if bench.quick else 10)]
    larger += [load_once(bench, million) for _ in range(0 if bench.quick else 2)]
    figures = {
        "load_100k_s": median([one[0] for one in runs]),
        "load_100k_tenants_s": with_tenants[0],
        "bytes_per_idle_peer_and_tenant": with_tenants[1],
        "load_1m_s": median([one[0] for one in larger]),
        "bytes_per_idle_peer": median([one[1] for one in larger]),
        "idle_cpu_percent_1m_silent": larger[0][2],
    }
    return bench.scaled(figures, {"load_100k_s": hundred_k / 100_000, "load_100k_tenants_s": hundred_k / 100_000,
                                  "load_1m_s": million / 1_000_000})
