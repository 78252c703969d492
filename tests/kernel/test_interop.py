"""The engine and the kernel's own WireGuard, one at each end of a tunnel.

    [a]  wgA 10.9.0.1/24 fd00:9::1/64            wgB 10.9.0.2/24 fd00:9::2/64  [b]
      |  sallyport-wg                                          the kernel        |
    eth0 192.0.2.1/24 2001:db8::1/64 ------------- eth0 192.0.2.2/24 2001:db8::2/64
"""
import hashlib
import os
import pathlib
import socket
import subprocess
import time

import pytest

from harness.gateway import program
from harness.netns import Namespace, run, short_name
from harness.probe import Pings, ping

BUILD = pathlib.Path(os.environ["SALLYPORT_BUILD"])
OURS, THEIRS = ("10.9.0.1", "fd00:9::1"), ("10.9.0.2", "fd00:9::2")
OUTER = {"outer4": ("192.0.2.1", "192.0.2.2"), "outer6": ("[2001:db8::1]", "[2001:db8::2]")}
VARIANTS = {"offloads": [], "no-gso": ["--no-gso"], "no-tso": ["--no-tso"],
            "none": ["--no-gso", "--no-tso", "--no-uring", "--crypto", "sodium"]}


class End:
    """One end: a namespace with a WireGuard interface in it."""

    def __init__(self, label, addresses, outer):
        self.space = Namespace(f"{short_name('io')}-{label}")
        self.interface, self.addresses, self.outer = short_name("wi"), addresses, outer
        self.process = None
        self.private = run("wg", "genkey").strip()
        self.public = run("wg", "pubkey", input=self.private + "\n").strip()

    def make(self, arguments, environment=None):
        """By the engine with these arguments; None: by the kernel."""
        if arguments is None:
            self.space.ip("link", "add", self.interface, "type", "wireguard")
        else:
            self.process = self.space.popen(program(BUILD, "sallyport-wg", environment), "-f", "--log-level", "error", *arguments, self.interface,
                                            stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
            path, until = pathlib.Path(f"/var/run/wireguard/{self.interface}.sock"), time.monotonic() + 10
            while not path.exists():
                assert self.process.poll() is None and time.monotonic() < until
                time.sleep(0.02)
        self.wg("set", self.interface, "listen-port", "51820", "private-key", "/dev/stdin", input=self.private + "\n")
        self.space.ip_batch([f"addr add {self.addresses[0]}/24 dev {self.interface}",
                             f"addr add {self.addresses[1]}/64 dev {self.interface} nodad",
                             f"link set {self.interface} up"])

    def wg(self, *arguments, **options):
        return self.space.run("wg", *arguments, **options)

    def know(self, other, endpoint=None, secret=None):
        """Afresh: sessions of before are gone."""
        self.wg("set", self.interface, "peer", other.public, "remove")
        words = ["allowed-ips", f"{other.addresses[0]}/32,{other.addresses[1]}/128"]
        words += ["endpoint", f"{endpoint}:51820"] if endpoint else []
        words += ["preshared-key", "/dev/stdin"] if secret else []
        self.wg("set", self.interface, "peer", other.public, *words, input=secret)

    def told(self, what):
        """Of the one peer."""
        return self.wg("show", self.interface, what).split()[1:]

    def close(self):
        if self.process:
            self.process.terminate()
            assert self.process.wait(10) == 0
        self.space.close()


class Tunnel:
    def __init__(self, arguments, environment=None):
        self.ours, self.theirs = End("a", OURS, "192.0.2.1"), End("b", THEIRS, "192.0.2.2")
        a, b = self.ours.space, self.theirs.space
        a.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b.name)
        for space, number in ((a, 1), (b, 2)):
            space.ip_batch([f"addr add 192.0.2.{number}/24 dev eth0", f"addr add 2001:db8::{number}/64 dev eth0 nodad",
                            "link set eth0 up"])
        self.ours.make(arguments, environment)
        self.theirs.make(None)

    def join(self, outer="outer4", first="ours", secret=None, other_secret=None):
        """Both know each other afresh, and only `first` where the other is."""
        to_ours, to_theirs = OUTER[outer]
        self.ours.know(self.theirs, to_theirs if first == "ours" else None, secret)
        self.theirs.know(self.ours, to_ours if first == "theirs" else None, other_secret or secret)

    def ping(self, first="ours", wait=5.0):
        end, targets = (self.ours, THEIRS) if first == "ours" else (self.theirs, OURS)
        return ping(end.space, targets, wait) == set(targets)

    def carry(self, sender, receiver, address, size):
        """`size` bytes over TCP; whether the digests of both ends agree."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with receiver.space.socket(family, socket.SOCK_STREAM) as listener:
            listener.bind((address, 0))
            listener.listen(1)
            listener.settimeout(20)
            process = sender.space.popen(
                "/usr/bin/python3", "-c",
                "import hashlib, random, socket, sys\n"
                "data = random.Random(7).randbytes(int(sys.argv[3]))\n"
                "s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n"
                "s.sendall(data)\n"
                "print(hashlib.sha256(data).hexdigest())",
                address, str(listener.getsockname()[1]), str(size), stdout=subprocess.PIPE, text=True)
            digest = hashlib.sha256()
            connection, _ = listener.accept()
            connection.settimeout(30)
            with connection:
                while piece := connection.recv(1 << 18):
                    digest.update(piece)
            return process.communicate(timeout=30)[0].strip() == digest.hexdigest()

    def close(self):
        self.ours.close()
        self.theirs.close()


@pytest.fixture(scope="module")
def tunnel():
    made = Tunnel([])
    yield made
    made.close()


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_handshake_and_ping(tunnel, first, outer):
    tunnel.join(outer, first)
    assert tunnel.ping(first)
    assert tunnel.theirs.told("endpoints") == [f"{OUTER[outer][0]}:51820"]
    assert tunnel.ours.told("endpoints") == [f"{OUTER[outer][1]}:51820"]
    for end in (tunnel.ours, tunnel.theirs):
        assert int(end.told("latest-handshakes")[0]) > 0
        assert all(int(number) > 0 for number in end.told("transfer"))


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_a_preshared_key_is_agreed_upon(tunnel, first):
    tunnel.join(first=first, secret=run("wg", "genpsk"))
    assert tunnel.ping(first)


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_another_preshared_key_yields_no_session(tunnel, first):
    tunnel.join(first=first, secret=run("wg", "genpsk"), other_secret=run("wg", "genpsk"))
    assert not tunnel.ping(first, 1.0)


def test_every_size_up_to_the_mtu_and_beyond(tunnel):
    tunnel.join()
    assert tunnel.ping()
    for size in (0, 1, 16, 17, 1371, 1372, 1392, 1393, 20000):
        for end, target in ((tunnel.ours, THEIRS[0]), (tunnel.theirs, OURS[1])):
            said = end.space.run("ping", "-c", "1", "-W", "3", "-s", str(size), target, check=False)
            assert " 1 received" in said and "corrupted" not in said, (size, target)


def test_a_peer_may_roam(tunnel):
    """The kernel's end gets another address; its next packet tells the engine."""
    tunnel.join(first="theirs")
    assert tunnel.ping("theirs")
    space = tunnel.theirs.space
    try:
        space.ip_batch(["addr del 192.0.2.2/24 dev eth0", "addr add 192.0.2.9/24 dev eth0"])
        assert tunnel.ping("theirs", 8)
        assert tunnel.ours.told("endpoints") == ["192.0.2.9:51820"]
        assert tunnel.ping("ours")
    finally:
        space.ip_batch(["addr del 192.0.2.9/24 dev eth0", "addr add 192.0.2.2/24 dev eth0"])


def test_sessions_are_renewed_without_a_lost_packet():
    """The engine's timers run 60 times as fast, the kernel's as ever: the engine renews every 2 s of ours."""
    tunnel = Tunnel([], {"SALLYPORT_TEST_CLOCK_RATE": "60"})
    try:
        tunnel.join()
        assert tunnel.ping()
        began = int(tunnel.theirs.told("latest-handshakes")[0])
        with Pings([(tunnel.ours.space, THEIRS[0]), (tunnel.theirs.space, OURS[0])], per_second=20) as pings:
            time.sleep(7)
            assert pings.mark() == 0, pings.lost_by_address
        assert int(tunnel.theirs.told("latest-handshakes")[0]) > began + 2
    finally:
        tunnel.close()


@pytest.mark.parametrize("variant", VARIANTS)
def test_files_arrive_unharmed_in_every_variant_of_the_engine(variant):
    tunnel = Tunnel(VARIANTS[variant])
    try:
        tunnel.join()
        assert tunnel.ping()
        assert tunnel.carry(tunnel.ours, tunnel.theirs, THEIRS[0], 3 << 20)
        assert tunnel.carry(tunnel.theirs, tunnel.ours, OURS[1], 3 << 20)
    finally:
        tunnel.close()
