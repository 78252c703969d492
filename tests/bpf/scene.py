"""A host whose routers are a file descriptor: raw packets go in and come out where WireGuard would decrypt and encrypt.

      routers (we)                     namespace                          the world (we)
        Tun wgt  <==>  wgt [from_router, to_router]  IP forwarding  out  <==>  Tun out
                       10.0.0.1/8 fd00::1/48         a UDP socket        203.0.113.1/24 2001:db8:113::1/64, default routes

`gate` (gate.c) drives the programs; several may live one after the other, the pins stay in a mount namespace of our own.
"""
import fcntl
import os
import pathlib
import select
import shutil
import socket
import struct
import subprocess
import time

import packets
from harness import suite
from harness.netns import die_with_parent

BUILD = pathlib.Path(os.environ.get("SALLYPORT_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
GATE = BUILD / "tests" / "bpf" / "gate"
INTERFACE = "wgt"
HUB4, HUB6 = "10.0.0.1", "fd00::1"
A, B, C = (f"00000000-0000-7000-8000-00000000000{i}" for i in "abc")  # tenants
HUB_PORT = 4000
OUT4, OUT6 = "203.0.113.7", "2001:db8:113::7"  # somebody in the world
QUIET = 0.25  # seconds of silence that end a listen() which nothing else ends
LOST = 10  # seconds within which what is sent last arrives, however slow the machine

# Who sends what comes last, to the hub: a router of a tenant, or somebody in the world, whom no program judges.
LAST = {"routers": "10.3.0.1", "world": OUT4}

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000


def missing():
    reason = suite.missing()
    if reason:
        return reason
    for tool in ("tc", "nft", "nsenter", "unshare"):
        if not shutil.which(tool):
            return f"no {tool}"
    return None


def enter(holder):
    """Into the mount namespace of a process; its root, too, which need not be the namespace's."""
    return "nsenter", f"--target={holder.pid}", "--mount", "--root", "--wd=/"


class GateError(Exception):
    def __init__(self, errno, words):
        super().__init__(words)
        self.errno = errno


class Gate:
    """One process that drives the programs."""

    def __init__(self, scene, *wrapper):
        self.process = subprocess.Popen([*enter(scene.holder), "--net", *wrapper, str(GATE), INTERFACE],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=die_with_parent)
        self.answer()

    def answer(self):
        """(what was mended, lines)."""
        lines = []
        for line in self.process.stdout:
            words = line.split(maxsplit=2)
            if words[0] == "ok":
                return int(words[1]), lines
            if words[0] == "error":
                raise GateError(int(words[1]), words[2].strip())
            lines.append(line.strip())
        raise AssertionError(f"the gate ended: {self.process.wait()}")

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def do(self, *words):
        """How much was mended."""
        return self.ask(*words)[0]

    def tenants(self):
        found = {}
        for line in self.ask("tenants")[1]:
            uuid, *pairs = line.split()
            found[uuid] = {key: int(value) for key, value in (pair.split("=") for pair in pairs)}
        return found

    def counters(self):
        return {name: int(value) for name, value in (line.split() for line in self.ask("counters")[1])}

    def fenced(self):
        return {name: int(value) for name, value in (line.split() for line in self.ask("fenced")[1])}

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """Ends by itself, and well."""
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


class Tun:
    def __init__(self, space, name):
        self.name = name
        with space.inside():
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))

    def send(self, packet):
        while True:
            try:
                os.write(self.fd, packet)
                return
            except BlockingIOError:
                time.sleep(0.001)

    def read_all(self):
        found = []
        while True:
            try:
                found.append(os.read(self.fd, 65536))
            except BlockingIOError:
                return found

    def close(self):
        os.close(self.fd)


class Scene:
    def __init__(self, world):
        self.space = world.space("gate")
        for name, value in (("net.ipv4.ip_forward", 1), ("net.ipv6.conf.all.forwarding", 1),
                            ("net.ipv4.conf.all.rp_filter", 0), ("net.ipv4.conf.default.rp_filter", 0),
                            ("net.ipv4.conf.all.send_redirects", 0), ("net.ipv4.conf.default.send_redirects", 0),
                            ("net.ipv6.conf.default.router_solicitations", 0)):
            self.space.sysctl(name, value)
        self.routers, self.world = Tun(self.space, INTERFACE), Tun(self.space, "out")
        self.space.ip(f"link set {INTERFACE} mtu 1420 up", f"addr add {HUB4}/8 dev {INTERFACE}",
                      f"addr add {HUB6}/48 dev {INTERFACE} nodad", "link set out up", "addr add 203.0.113.1/24 dev out",
                      "addr add 2001:db8:113::1/64 dev out nodad", "route add default dev out",
                      "route add ::/0 dev out", f"route add 192.168.0.0/16 dev {INTERFACE}",
                      f"route add fd77::/32 dev {INTERFACE}")
        self.hub = [self.space.udp(address, HUB_PORT) for address in (HUB4, HUB6)]
        for s in self.hub:
            s.setblocking(False)
        self.holder = self.space.start("unshare", "--mount", "sh", "-c",
                                       "mount -t bpf bpf /sys/fs/bpf && echo ready && exec sleep infinity",
                                       stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        self.gates = []

    def gate(self, *wrapper):
        gate = Gate(self, *wrapper)
        self.gates.append(gate)
        return gate

    def run(self, *command, **options):
        """In both namespaces, where the pins are."""
        return self.space.run(*enter(self.holder), *command, **options)

    def listen(self, seconds=QUIET):
        """Everything that comes out anywhere until it is quiet: a list of (where, bytes)."""
        sources = {self.routers.fd: "routers", self.world.fd: "world", **{s: "hub" for s in self.hub}}
        seen = []
        while ready := select.select(list(sources), [], [], seconds)[0]:
            for source in ready:
                raw = source.recv(65536) if isinstance(source, socket.socket) else os.read(source, 65536)
                if sources[source] == "hub" or not is_chatter(raw):
                    seen.append((sources[source], raw))
        return seen

    def hear_out(self, through):
        """Everything that came out anywhere of what was sent so far, as listen() says it: the end of it is a datagram that goes in
        last at the same place and reaches the hub. What has not come out before that one never will."""
        last = f"the last of {time.monotonic_ns()}".encode()
        (self.routers if through == "routers" else self.world).send(udp(LAST[through], HUB4, last))
        until, seen = time.monotonic() + LOST, []
        while ("hub", last) not in seen:
            assert time.monotonic() < until, f"what was sent last through {through} did not reach the hub"
            seen += self.listen(0.01)
        seen.remove(("hub", last))
        return seen

    def fate(self, packet, through="routers", last=None):
        """What becomes of a packet: 'hub', 'routers' (out again to a router), 'world', 'prohibited' (an ICMP error came
        back to the sender, nothing else), 'nothing'; or what happened instead. Where `through` lets nobody through, or counts
        who comes through, `last` names the other way in."""
        self.listen(0)
        (self.routers if through == "routers" else self.world).send(packet)
        seen = self.hear_out(last or through)
        if not seen:
            return "nothing"
        if len(seen) > 1:
            return [(where, packets.Packet(raw) if where != "hub" else raw) for where, raw in seen]
        where, raw = seen[0]
        if where == through and is_prohibited(packets.Packet(raw)):
            return "prohibited"
        return where

    def close(self):
        for gate in self.gates:
            gate.kill()
        self.routers.close()
        self.world.close()
        for s in self.hub:
            s.close()


def is_chatter(raw):
    """What IPv6 says by itself: multicast."""
    return raw[0] >> 4 == 6 and raw[24] == 0xFF


def is_prohibited(packet):
    return (packet.version, getattr(packet, "icmp_type", None), getattr(packet, "icmp_code", None)) in ((4, 3, 13), (6, 1, 1))


def udp(source, target, data=b"sallyport", **options):
    return packets.ip_udp(source, 5000, target, HUB_PORT, data, **options)


def furnish(gate):
    """Tenants A and B, and C with egress; two routers each, the second with a LAN."""
    gate.do("hub", f"{HUB4}/8", f"{HUB6}/48")
    for number, (tenant, word) in enumerate(((A, ""), (B, ""), (C, "egress")), 1):
        gate.do("tenant", tenant, word)
        gate.do("peer", f"{number}-1", tenant, f"10.{number}.0.1", f"fd00::{number}:1")
        gate.do("peer", f"{number}-2", tenant, f"10.{number}.0.2", f"fd00::{number}:2", f"192.168.{number}.0/24",
                f"fd77:0:{number}::/48")
