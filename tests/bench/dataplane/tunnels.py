"""One tunnel with the same implementation at both ends: throughput, CPU, latency.

      a [tunnel 10.9.0.1] --- veth --- [10.9.0.2 tunnel] b

and site to site through a hub:

      a [10.16.0.0] --- veth --- hub [10.0.0.1] --- veth --- b [10.16.0.1]
"""
import json
import re
import subprocess
import time

from harness.client import key_pair

from .lab import (HUB, PORT, Endpoint, Lab, Link, die_with_parent, hex_key, median, percentile, short_name, system_calls,
                  thread_times_s)

BARE_SECONDS = 600  # it ends by itself then
MSS = 1420 - 20 - 32  # IPv4, TCP with timestamps


class Tunnel:
    """Two endpoints of one implementation."""

    def __init__(self, lab, command):
        self.a, self.b = lab.namespace("a"), lab.namespace("b")
        self.link, address_a, address_b = lab.join(self.a, self.b)
        self.bare = address_b
        (private_a, public_a), (private_b, public_b) = key_pair(), key_pair()
        self.end_a = Endpoint(lab, self.a, command).start()
        self.end_b = Endpoint(lab, self.b, command).start()
        self.end_a.set(f"private_key={hex_key(private_a)}", f"listen_port={PORT}", f"public_key={hex_key(public_b)}",
                       f"endpoint={address_b}:{PORT}", "allowed_ip=10.9.0.2/32")
        self.end_b.set(f"private_key={hex_key(private_b)}", f"listen_port={PORT}", f"public_key={hex_key(public_a)}",
                       f"endpoint={address_a}:{PORT}", "allowed_ip=10.9.0.1/32")
        self.end_a.up(["10.9.0.1/32"], ["10.9.0.2/32"])
        self.end_b.up(["10.9.0.2/32"], ["10.9.0.1/32"])
        self.target = "10.9.0.2"
        self.a.run("ping", "-c", "1", "-W", "5", self.target)


class BareEnd:
    """One end of a BareTunnel, as an Endpoint is of a Tunnel."""

    def __init__(self, lab, namespace, program, own, remote, other):
        name = short_name("spb")
        self.process = subprocess.Popen(
            namespace.command(str(program), "tunnel", name, str(PORT), str(BARE_SECONDS), remote),
            stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        lab.closing(self.close)
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError("the bare tunnel does not start")
        namespace.ip_batch([f"addr add {own}/32 dev {name}", f"link set {name} up", f"route replace {other}/32 dev {name}"])
        self.pid = self.process.pid

    def cpu_s(self):
        return thread_times_s(self.pid)[0]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class BareTunnel:
    """The engine's own means with nothing in between (tests/bench/bare_tunnel.c): what the kernel and the AEAD cost."""

    def __init__(self, lab, program):
        self.a, self.b = lab.namespace("a"), lab.namespace("b")
        self.link, address_a, address_b = lab.join(self.a, self.b)
        self.target = "10.9.0.2"
        self.end_a = BareEnd(lab, self.a, program, "10.9.0.1", address_b, self.target)
        self.end_b = BareEnd(lab, self.b, program, self.target, address_a, "10.9.0.1")
        self.a.run("ping", "-c", "1", "-W", "5", self.target)


def iperf(client, server, address, seconds):
    """TCP from one namespace to another: (payload bytes received, seconds)."""
    listener = server.popen("iperf3", "-s", "-1", "-B", address, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if address in server.run("ss", "-Htln"):
                break
            time.sleep(0.02)
        said = client.run("iperf3", "-J", "-t", str(seconds), "-c", address, timeout=seconds + 30)
        received = json.loads(said)["end"]["sum_received"]
        return received["bytes"], received["seconds"]
    finally:
        listener.kill()
        listener.wait()


def one_tcp_run(tunnel, seconds):
    """One direction, a to b."""
    links = Link(tunnel.a, tunnel.link)
    before = [(end.cpu_s(), system_calls(end.pid)) for end in (tunnel.end_a, tunnel.end_b)]
    sent_before = links.read()[3]
    size, took = iperf(tunnel.a, tunnel.b, tunnel.target, seconds)
    sent = links.read()[3] - sent_before
    after = [(end.cpu_s(), system_calls(end.pid)) for end in (tunnel.end_a, tunnel.end_b)]
    segments = size / MSS
    cpu = [new[0] - old[0] for new, old in zip(after, before)]
    return {
        "gbit_s": size * 8 / took / 1e9,
        "cpu_sender": cpu[0] / (size / 1e9),
        "cpu_receiver": cpu[1] / (size / 1e9),
        "tun_read": segments / max(after[0][1][0] - before[0][1][0], 1),
        "tun_write": segments / max(after[1][1][1] - before[1][1][1], 1),
        "udp_send": segments / max(sent, 1),
    }


def tcp(bench):
    """iperf3 through a tunnel, ours, the rival's and the bare one in turns. What ours costs more than the bare one is the
    median over the rounds: the machine may be quicker in one and slower in the next."""
    seconds, rounds = (2, 3) if bench.quick else (3, 9)
    with Lab(bench) as lab:
        tunnels = {name: Tunnel(lab, command) for name, command in bench.contenders}
        tunnels["_bare"] = BareTunnel(lab, bench.program("tests/bench/bare"))
        results = {name: [] for name in tunnels}
        for _ in range(rounds):
            for name, tunnel in tunnels.items():
                results[name].append(one_tcp_run(tunnel, seconds))
        bench.note_engine(tunnels[""].end_a.said())
    figures = {}
    for suffix, runs in results.items():
        middle = {key: median([one[key] for one in runs]) for key in runs[0]}
        figures |= {
            "tcp_gbit_s" + suffix: middle["gbit_s"],
            "cpu_s_per_gb" + suffix: (middle["cpu_sender"] + middle["cpu_receiver"]) / 2,
            "cpu_s_per_gb_sender" + suffix: middle["cpu_sender"],
            "cpu_s_per_gb_receiver" + suffix: middle["cpu_receiver"],
            "segments_per_tun_read" + suffix: middle["tun_read"],
            "segments_per_tun_write" + suffix: middle["tun_write"],
            "segments_per_udp_send" + suffix: middle["udp_send"],
        }
    cpu = {name: [one["cpu_sender"] + one["cpu_receiver"] for one in runs] for name, runs in results.items()}
    figures["cpu_s_per_gb_times_bare"] = median([ours / bare for ours, bare in zip(cpu[""], cpu["_bare"])])
    return figures


def round_trips_us(namespace, address, count):
    said = namespace.run("ping", "-n", "-i", "0.005", "-c", str(count), "-W", "2", address, timeout=count * 0.02 + 20)
    return [float(found) * 1000 for found in re.findall(r"time=([0-9.]+) ms", said)]


def latency(bench):
    """Pings through an idle tunnel less those of the bare veth, in turns. A percentile of a sum is not a sum of
    percentiles: p99 is the tunnel's less the bare path's median, which can only be too much."""
    count, rounds = (150, 3) if bench.quick else (400, 5)
    added = {}
    with Lab(bench) as lab:
        tunnels = {name: Tunnel(lab, command) for name, command in bench.contenders}
        for _ in range(rounds):
            for name, tunnel in tunnels.items():
                bare = median(round_trips_us(tunnel.a, tunnel.bare, count))
                through = round_trips_us(tunnel.a, tunnel.target, count)
                added.setdefault(name, []).append((median(through) - bare, percentile(through, 99) - bare))
    return {f"added_latency_us_{what}{name}": median([one[place] for one in runs])
            for name, runs in added.items() for place, what in enumerate(("p50", "p99"))}


class Sites:
    """Two sites and a hub, one implementation; our hub turns packets around inside a tenant, any other lets its kernel
    forward them."""

    TENANT = "0198c0de-0000-7000-8000-000000000001"

    def __init__(self, lab, command, ours):
        self.hub = lab.namespace("hub")
        self.sites = [lab.namespace(label) for label in "ab"]
        self.addresses = ["10.16.0.1", "10.16.0.2"]
        hub_private, hub_public = key_pair()
        self.hub_end = Endpoint(lab, self.hub, command).start()
        self.hub.sysctl("net.ipv4.ip_forward", 1)
        device = [f"private_key={hex_key(hub_private)}", f"listen_port={PORT}"]
        if ours:
            device += [f"hub={HUB}/32", f"tenant={self.TENANT}", "addressing=unique"]
        self.hub_end.set(*device)
        self.hub_end.up([f"{HUB}/32"], ["10.16.0.0/12"])
        self.ends = []
        for site, address in zip(self.sites, self.addresses):
            _, near, _ = lab.join(self.hub, site)
            private, public = key_pair()
            peer = [f"public_key={hex_key(public)}", f"allowed_ip={address}/32"]
            self.hub_end.set(*peer, *([f"peer_tenant={self.TENANT}", f"hub_address={address}"] if ours else []))
            end = Endpoint(lab, site, command).start()
            end.set(f"private_key={hex_key(private)}", f"public_key={hex_key(hub_public)}", f"endpoint={near}:{PORT}",
                    "allowed_ip=10.0.0.0/8")
            end.up([f"{address}/32"], ["10.0.0.0/8"])
            self.ends.append(end)
            site.run("ping", "-c", "1", "-W", "5", HUB)


def site_to_site(bench):
    """TCP between two sites of one tenant: three implementations in a row on this machine's CPUs."""
    seconds, rounds = (2, 1) if bench.quick else (4, 3)
    with Lab(bench) as lab:
        stages = {name: Sites(lab, command, ours=not name) for name, command in bench.contenders}
        results = {name: [] for name in stages}
        for _ in range(rounds):
            for name, stage in stages.items():
                before = stage.hub_end.cpu_s()
                size, took = iperf(stage.sites[0], stage.sites[1], stage.addresses[1], seconds)
                results[name].append((size * 8 / took / 1e9, (stage.hub_end.cpu_s() - before) / (size / 1e9)))
    figures = {}
    for name, runs in results.items():
        figures["site_tcp_gbit_s" + name] = median([one[0] for one in runs])
        figures["site_tcp_hub_cpu_s_per_gb" + name] = median([one[1] for one in runs])
    return figures
